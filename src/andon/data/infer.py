"""Inferring a contract from the rows one has: kinds from types, and from texts what all of them parse as.

>>> frame = pl.DataFrame({"day": ["2020-03-11", "2020-03-12"], "n": ["1", "2"], "y": ["a", "b"]})
>>> infer_contract(frame.with_columns(pl.col("day").str.to_date()), "y", None, ()).fields
(Field(name='n', kind='int', optional=False, categories=None, low=None, high=None),)
"""

from __future__ import annotations

import polars as pl

from andon.core.record import Field, Kind
from andon.core.registry import did_you_mean
from andon.data.contract import Contract
from andon.errors import ContractError

__all__ = ["CLASSES_MAX", "infer_contract", "kind_of"]

#: More classes than this in a target that was not declared is taken for a mistake.
CLASSES_MAX = 1_000
#: A text column with at most this many different values, or this share of its rows, is a category.
_CATEGORIES = 50
_CATEGORY_SHARE = 0.02
_CATEGORY_LENGTH = 100
#: Columns beside the inputs, by convention: who or what a row is, when it was, how much it counts.
_BESIDE = frozenset({"id", "time_us", "unit", "weight"})


def infer_contract(
    frame: pl.DataFrame, target: str, classes: tuple[str, ...] | None, hints: tuple[Field, ...]
) -> Contract:
    """See ``andon.data.contract.infer``."""
    if target not in frame.columns:
        hint = did_you_mean(target, frame.columns)
        raise ContractError(f"the data have no column {target!r}, which is the target; {hint}", field=target)
    return Contract(hints or _fields(frame, target), target, classes or _classes(frame[target]))


def kind_of(column: pl.Series) -> Kind | None:
    """The kind of a column's values; None for dates and times, which are meta-data and not inputs.

    >>> kind_of(pl.Series(["1", "2.5"])), kind_of(pl.Series(["yes", "no"])), kind_of(pl.Series([True]))
    ('float', 'category', 'bool')
    """
    dtype = column.dtype
    if dtype == pl.Boolean:
        return "bool"
    if dtype.is_integer():
        return "int"
    if dtype.is_numeric():
        return "float"
    if dtype == pl.Binary:
        return "image"
    if dtype in (pl.String, pl.Categorical, pl.Enum):
        return _kind_of_text(column.cast(pl.String))
    return None


def _kind_of_text(column: pl.Series) -> Kind:
    values = column.drop_nulls().unique()
    text = values.str.strip_chars()
    text = text.filter(text != "")
    if text.len() and text.str.to_lowercase().is_in(["true", "false"]).all():
        return "bool"
    if text.len() and text.cast(pl.Int64, strict=False).null_count() == 0:
        return "int"
    if text.len() and text.cast(pl.Float64, strict=False).null_count() == 0:
        return "float"
    few = values.len() <= max(_CATEGORIES, _CATEGORY_SHARE * column.len())
    longest = values.str.len_chars().max()
    return "category" if few and isinstance(longest, int) and longest <= _CATEGORY_LENGTH else "text"


def _fields(frame: pl.DataFrame, target: str) -> tuple[Field, ...]:
    from andon.scope.consistency import RESERVED  # only here: whoever has a charter needs no inference

    names = [name for name in frame.columns if name != target and name not in _BESIDE]
    fields = tuple(field for name in names if (field := _field(frame[name])) is not None)
    for field in fields:
        if field.name in RESERVED:
            raise ContractError(
                f"{field.name}: this is the name of a column of Andon's own; rename it", field=field.name
            )
    return fields


def _field(column: pl.Series) -> Field | None:
    if column.dtype.is_temporal():
        return None
    if column.null_count() == column.len():
        raise ContractError(
            f"{column.name}: none of the {column.len()} rows has a value, so its kind cannot be inferred; "
            "name it in the charter's inputs or drop the column",
            field=column.name,
        )
    kind = kind_of(column)
    if kind is None:
        raise ContractError(
            f"{column.name}: columns of type {column.dtype} cannot be inputs; expected one value per row",
            field=column.name,
        )
    blank = column.dtype == pl.String and kind in ("bool", "int", "float") and (column.str.strip_chars() == "").any()
    return Field(column.name, kind, optional=column.null_count() > 0 or bool(blank))


def _classes(column: pl.Series) -> tuple[str, ...]:
    found = column.drop_nulls().unique().cast(pl.String).sort()
    if not 0 < found.len() <= CLASSES_MAX:
        raise ContractError(
            f"{column.name}: expected 1 to {CLASSES_MAX} classes in the target, found {found.len()}; "
            "is this the right column?",
            field=column.name,
        )
    return tuple(found.to_list())
