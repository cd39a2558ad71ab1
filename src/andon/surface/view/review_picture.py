"""A case's picture, made to fit a screen; what no browser shows is shown as PNG."""

from __future__ import annotations

import re
from io import BytesIO
from typing import TYPE_CHECKING, Annotated

import msgspec

from andon.errors import NotFound
from andon.surface.page import Content, Raw

if TYPE_CHECKING:
    from PIL.Image import Image

    from andon.store.blob import Blobs
    from andon.surface.visit import Visit

__all__ = ["RAW", "PictureParams", "picture"]

_SHOWN = {"JPEG": "image/jpeg", "PNG": "image/png", "WEBP": "image/webp", "GIF": "image/gif"}
_HASH = re.compile(r"[0-9a-f]{64}")


class PictureParams(msgspec.Struct, frozen=True):
    """Which input of which case, and the side of the square that it must fit, in pixels."""

    id: Annotated[str, msgspec.Meta(max_length=256)]
    input: Annotated[str, msgspec.Meta(max_length=256)]
    size: Annotated[int, msgspec.Meta(ge=16, le=4000)] = 1200


def picture(visit: Visit, params: PictureParams) -> Content:
    """The picture. Raises ``NotFound``, and ``ContractError`` where the value is no image that decodes."""
    from andon.data.image import open_image

    workspace = visit.project.workspace
    item = workspace.items.get(params.id)
    value = item.x.get(params.input) if item is not None else None
    if not isinstance(value, str):
        raise NotFound(f"case {params.id!r} has no picture called {params.input!r}")
    data = _bytes(workspace.blobs, value)
    image = open_image(data)
    if image.format in _SHOWN and max(image.size) <= params.size:
        return Content(data, _SHOWN[image.format])
    return Content(_fitted(image, params.size), "image/png")


def _bytes(blobs: Blobs, value: str) -> bytes:
    """A value is the image itself, in base64, or the hash of a blob that holds it."""
    from andon.data.image import decode_base64

    return blobs.get(value) if _HASH.fullmatch(value) else decode_base64(value)


def _fitted(image: Image, size: int) -> bytes:
    from PIL import ImageOps

    turned = ImageOps.exif_transpose(image)
    turned.thumbnail((size, size))
    if turned.mode not in ("L", "LA", "RGB", "RGBA", "P", "1"):
        turned = turned.convert("RGB")
    out = BytesIO()
    turned.save(out, "PNG")
    return out.getvalue()


RAW = Raw("review.picture", "/review/picture", picture, PictureParams, may="review")
