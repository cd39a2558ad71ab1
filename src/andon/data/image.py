"""Images as the contract sees them: bytes that really decode, and what can be measured on them cheaply.

An image is accepted only when all of its pixels decode: a truncated JPEG has a perfect header. Formats are a short
list, because every further decoder is a way in for a hostile file.

>>> from io import BytesIO
>>> out = BytesIO()
>>> Image.new("L", (4, 2), 255).save(out, "PNG")
>>> image_stats(out.getvalue())
{'brightness': 1.0, 'contrast': 0.0, 'width': 4.0, 'height': 2.0}
>>> image_fault(out.getvalue()[:40])
'expected an image, found PNG data that do not decode (truncated or damaged)'
"""

from __future__ import annotations

import binascii
import struct
import warnings
import zlib
from base64 import b64decode
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from andon.errors import ContractError

__all__ = ["FORMATS", "IMAGE_BYTES_MAX", "PIXELS_MAX", "decode_base64", "image_fault", "image_stats", "open_image"]

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")
#: Largest encoded image in bytes, and largest decoded one in pixels.
IMAGE_BYTES_MAX = 10 << 20
PIXELS_MAX = 50_000_000

# What Pillow's decoders raise on damaged data, as found by fuzzing; each is the image's fault, never ours.
_DAMAGED = (
    OSError,
    ValueError,
    SyntaxError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RuntimeError,
    MemoryError,
    EOFError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def open_image(data: bytes) -> Image.Image:
    """Decode all pixels; raises ``ContractError`` when the bytes are no image, damaged, too big or of another format."""
    if len(data) > IMAGE_BYTES_MAX:
        raise ContractError(f"expected an image of at most {IMAGE_BYTES_MAX} bytes, found {len(data)} bytes")
    kind = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(BytesIO(data), formats=FORMATS)
            kind = image.format
            if image.width * image.height <= PIXELS_MAX:
                image.load()
                return image
    except _DAMAGED as error:
        found = (
            f"{kind or _kind(data)} data that do not decode (truncated or damaged)"
            if kind or _kind(data)
            else (f"{len(data)} bytes of no known format; known: {', '.join(FORMATS)}")
        )
        raise ContractError(f"expected an image, found {found}") from error
    raise ContractError(f"expected an image of at most {PIXELS_MAX} pixels, found {image.width} x {image.height}")


def decode_base64(text: str) -> bytes:
    """The bytes behind base64 text; raises ``ContractError`` when it is not base64 or too long."""
    if len(text) > IMAGE_BYTES_MAX * 4 // 3 + 4:
        raise ContractError(
            f"expected an image of at most {IMAGE_BYTES_MAX} bytes, found {len(text)} characters of base64"
        )
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ContractError("expected an image as base64 text, found text that is not base64") from error


def image_fault(value: Any) -> str | None:
    """What is wrong with an image given as bytes or base64 text, as the end of a sentence; None when it decodes."""
    if not isinstance(value, (bytes, str)):
        return f"expected an image as base64 text, found a value of type {type(value).__name__}"
    try:
        open_image(decode_base64(value) if isinstance(value, str) else value)
    except ContractError as error:
        return error.message
    return None


def image_stats(data: bytes) -> dict[str, float]:
    """Mean and standard deviation of the grey pixels as shares of white (``brightness``, ``contrast``), and the size.

    Raises ``ContractError`` when the bytes are not an image that decodes.
    """
    image = open_image(data)
    grey = np.asarray(image.convert("L"), dtype=np.float64) / 255.0
    return {
        "brightness": float(grey.mean()),
        "contrast": float(grey.std()),
        "width": float(image.width),
        "height": float(image.height),
    }


def _kind(data: bytes) -> str | None:
    """The format that the first bytes promise."""
    for start, kind in (
        (b"\xff\xd8", "JPEG"),
        (b"\x89PNG", "PNG"),
        (b"GIF8", "GIF"),
        (b"BM", "BMP"),
        (b"RIFF", "WEBP"),
    ):
        if data.startswith(start):
            return kind
    return "TIFF" if data[:4] in (b"II*\0", b"MM\0*") else None
