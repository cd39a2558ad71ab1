"""Images of datasets, as they are stored or as small ones: named by the hash of their content, and by nothing else.

Only what really decodes as an image is sent, with the media type of what it is. A file that would take more memory than
an image may (a decompression bomb) is refused before it is unpacked, and few are unpacked at a time.
"""

from __future__ import annotations

import re
import threading
from io import BytesIO
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from andon.errors import ContractError, NotFound
from andon.surface.page import Content

if TYPE_CHECKING:
    from PIL.Image import Image

    from andon.store.blob import Blobs
    from andon.store.workspace import Workspace
    from andon.surface.visit import Visit

__all__ = ["LARGEST", "SMALLEST", "ImageParams", "image", "recorded", "thumbnail"]

SMALLEST, LARGEST = 16, 1024
"""The longer side of a small image, in pixels."""

_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "BMP": "image/bmp",
    "TIFF": "image/tiff",
    "GIF": "image/gif",
}
_HASH = re.compile(r"[0-9a-f]{64}")
#: An image of the largest size takes a few hundred megabytes while it is made small.
_FEW = threading.BoundedSemaphore(2)


class ImageParams(msgspec.Struct, frozen=True):
    """``hash`` is the blob's, 64 hex digits; ``size`` the longer side of a small one in pixels (None: as it is stored)."""

    hash: Annotated[str, Meta(pattern="^[0-9a-f]{64}$", max_length=64)]
    size: Annotated[int, Meta(ge=SMALLEST, le=LARGEST)] | None = None


def image(visit: Visit, params: ImageParams) -> Content:
    """The bytes of an image. Raises ``NotFound`` where no blob has the hash, ``ContractError`` where it is no image."""
    from andon.data.image import open_image

    data = _blob(visit.project.workspace, params.hash)
    with _FEW:
        found = open_image(data)
        kind = _TYPES[found.format or ""]
        if params.size is None:
            return Content(data, kind)
        return Content(thumbnail(found, params.size), "image/png")


def recorded(blobs: Blobs, value: str) -> bytes:
    """The image of a recorded input: the value is the hash of a blob that holds it, or the image itself in base64."""
    from andon.data.image import decode_base64

    return blobs.get(value) if _HASH.fullmatch(value) else decode_base64(value)


def thumbnail(found: Image, size: int) -> bytes:
    """A PNG of at most ``size`` pixels on the longer side, upright, without the file's meta-data; never made larger."""
    from PIL import Image, ImageOps

    if found.mode.startswith(("I", "F")):
        found = _levelled(found)
    elif found.mode not in ("L", "LA", "RGB", "RGBA"):
        found = found.convert("RGBA" if "transparency" in found.info else "RGB")
    found = ImageOps.exif_transpose(found)
    found.thumbnail((size, size), Image.Resampling.LANCZOS)
    found.info.clear()
    out = BytesIO()
    found.save(out, "PNG")
    return out.getvalue()


def _levelled(found: Image) -> Image:
    """Numbers beyond 8 bits, from their least to their largest, as greys: converting alone would cut them off."""
    low, high = found.convert("F").getextrema()
    assert isinstance(low, float)
    assert isinstance(high, float)
    span = max(high - low, 1e-9)
    return found.convert("F").point(lambda value: value * (255.0 / span) - low * 255.0 / span).convert("L")


def _blob(workspace: Workspace, hash: str) -> bytes:
    from andon.data.image import IMAGE_BYTES_MAX

    path = workspace.blobs.path(hash)
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        raise NotFound(f"no image has the hash {hash[:12]}; it was deleted or belongs to another workspace") from None
    if size > IMAGE_BYTES_MAX:
        raise ContractError(f"expected an image of at most {IMAGE_BYTES_MAX} bytes, found a blob of {size} bytes")
    return workspace.blobs.get(hash)
