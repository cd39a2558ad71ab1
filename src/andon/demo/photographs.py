"""The inspection story's traffic: held-out photographs, one after the other, some of them made dark by a failed lamp."""

from __future__ import annotations

from base64 import b64encode
from io import BytesIO

import polars as pl
from PIL import Image

from andon.demo.cases import Case

__all__ = ["DIMMED", "arrivals", "darkened"]

#: What is left of the light when the lamp has failed. MADE: the photographs are real, their darkness is not.
DIMMED = 0.35


def darkened(image: bytes, factor: float = DIMMED) -> bytes:
    """The image with every value multiplied by ``factor``, as a PNG.

    >>> out = BytesIO()
    >>> Image.new("L", (2, 2), 200).save(out, "PNG")
    >>> Image.open(BytesIO(darkened(out.getvalue(), 0.5))).getpixel((0, 0))
    100
    """
    out = BytesIO()
    with Image.open(BytesIO(image)) as found:
        found.point(lambda value: round(value * factor)).save(out, "PNG")
    return out.getvalue()


def arrivals(rows: pl.DataFrame, target: str, *, since: int, until: int, dark: range) -> list[Case]:
    """The rows (``image``, the target) spread evenly over a time; those that come within ``dark`` are darkened."""
    cases = []
    for number, row in enumerate(rows.iter_rows(named=True)):
        time_us = since + number * (until - since) // rows.height
        image = darkened(row["image"]) if time_us in dark else row["image"]
        x = {"image": b64encode(image).decode()}
        cases.append(Case(f"photo-{number:04d}", time_us, x, row[target]))
    return cases
