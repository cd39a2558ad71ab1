"""Numbers measured from inputs that are no numbers: how long a text is, how bright an image.

They become columns of the record frame, so that ``mean(brightness)`` is a metric like any other. A column is called
``<input>_<measure>``; where only one input has the measure it is also called by the measure alone.

>>> import polars as pl
>>> from andon.core.record import Field
>>> measured(pl.DataFrame({"note": ["hello", None, ""]}), [Field("note", "text")])["length"].to_list()
[5, None, 0]
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import polars as pl

from andon.core.record import Field
from andon.errors import ContractError

__all__ = ["IMAGE", "TEXT", "measured", "measured_names"]

TEXT = ("length",)
IMAGE = ("brightness", "contrast", "width", "height")
_MEASURES = {"text": TEXT, "image": IMAGE}


def measured_names(fields: Sequence[Field]) -> list[str]:
    """The columns that ``measured`` adds for a contract's fields.

    >>> measured_names([Field("photo", "image"), Field("age", "int")])[:3]
    ['brightness', 'contrast', 'height']
    """
    return sorted(name for field in fields for _, names in _targets(field, fields) for name in names)


def measured(frame: pl.DataFrame, fields: Sequence[Field], wanted: frozenset[str] | None = None) -> pl.DataFrame:
    """The frame with the measured columns of its text and image inputs; what is there already is left alone.

    ``wanted`` limits them to those that some metric reads: measuring an image costs about a millisecond. An image that
    does not decode is measured as null.
    """
    columns: dict[str, pl.Series] = {}
    for field in fields:
        targets = [
            (measure, names)
            for measure, all_names in _targets(field, fields)
            if (names := [n for n in all_names if n not in frame.columns and (wanted is None or n in wanted)])
        ]
        if targets and field.name in frame.columns:
            found = _MEASURE[field.kind](frame[field.name])
            columns |= {name: found[measure].alias(name) for measure, names in targets for name in names}
    return frame.with_columns(list(columns.values()))


def _targets(field: Field, fields: Sequence[Field]) -> Iterator[tuple[str, list[str]]]:
    """Each measure of a field, with the names that its column has."""
    alone = sum(other.kind == field.kind for other in fields) == 1
    taken = {other.name for other in fields}
    for measure in _MEASURES.get(field.kind, ()):
        names = [f"{field.name}_{measure}", *([measure] if alone else [])]
        yield measure, [name for name in names if name not in taken]


def _text(column: pl.Series) -> dict[str, pl.Series]:
    return {"length": column.cast(pl.String).str.len_chars().cast(pl.Int64)}


def _image(column: pl.Series) -> dict[str, pl.Series]:
    rows = [_stats(value) for value in column.to_list()]
    return {measure: pl.Series(measure, [row.get(measure) for row in rows], dtype=pl.Float64) for measure in IMAGE}


def _stats(value: Any) -> dict[str, float]:
    from andon.data.image import decode_base64, image_stats

    if value is None:
        return {}
    try:
        return image_stats(decode_base64(value) if isinstance(value, str) else value)
    except ContractError:
        return {}


_MEASURE: dict[str, Callable[[pl.Series], dict[str, pl.Series]]] = {"text": _text, "image": _image}
