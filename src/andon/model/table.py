"""Any table of predictions, made ready to be measured: polars or pandas, labels of any kind, groups by column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from andon.core.registry import did_you_mean
from andon.errors import UsageError
from andon.measure.slice import parse_slice

__all__ = ["Cohorts", "as_polars", "cohorts", "labelled", "texts", "typed"]

#: Slice name -> one boolean for every row; in the order in which they are shown.
Cohorts = dict[str, pl.Series]

#: What stands for a missing value in the name of a group.
MISSING = "(missing)"


def as_polars(frame: Any) -> pl.DataFrame:
    """A polars frame from a polars or pandas one; raises ``UsageError`` for anything else."""
    if isinstance(frame, pl.DataFrame):
        return frame
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if hasattr(frame, "iloc") and hasattr(frame, "columns"):
        plain = frame.astype(object).where(frame.notna(), None)  # pandas knows many kinds of missing
        return pl.DataFrame({str(name): plain[name].tolist() for name in plain.columns}, strict=False)
    raise UsageError(f"expected a polars or pandas data frame, found {type(frame).__name__}")


def typed(frame: pl.DataFrame) -> pl.DataFrame:
    """Columns of texts that are all numbers, as numbers: what a CSV does not say about itself.

    >>> typed(pl.DataFrame({"n": ["1", "2.5", None], "code": ["7", "x", None]})).schema
    Schema([('n', Float64), ('code', String)])
    """
    found = []
    for series in frame.iter_columns():
        numbers = series.cast(pl.Float64, strict=False) if series.dtype == pl.String else series
        found.append(numbers if numbers.null_count() == series.null_count() else series)
    return pl.DataFrame(found)


def texts(series: pl.Series) -> pl.Series:
    """Labels as strings: whole numbers without a decimal point, booleans as true and false, missing stays missing.

    >>> texts(pl.Series([1.0, None, 0.0])).to_list(), texts(pl.Series([True])).to_list()
    (['1', None, '0'], ['true'])
    """
    if series.dtype.is_float():
        series = series.fill_nan(None)
        if (series.drop_nulls() % 1 == 0).all():
            series = series.cast(pl.Int64)
    return series.cast(pl.String)


def labelled(frame: Any, label: str, prediction: str) -> pl.DataFrame:
    """The frame with its truth as ``label`` and its answers as ``prediction``, both strings or null."""
    table = as_polars(frame)
    for name, option in ((label, "--label"), (prediction, "--prediction")):
        require(table, name, option)
    return table.with_columns(label=texts(table[label]), prediction=texts(table[prediction]))


def require(table: pl.DataFrame, name: str, option: str) -> None:
    """Raise ``UsageError`` when a column is not there."""
    if name not in table.columns:
        raise UsageError(f"the data have no column {name!r} ({option}); {did_you_mean(name, table.columns)}")


def cohorts(frame: pl.DataFrame, by: Sequence[str] = (), slices: Mapping[str, str] | None = None) -> Cohorts:
    """The rows of every slice, then those of every value of every column in ``by``.

    With one column the groups are called by their values, with several ``column=value``.

    >>> frame = pl.DataFrame({"noise": ["car", None, "car"]})
    >>> {name: mask.to_list() for name, mask in cohorts(frame, ["noise"]).items()}
    {'car': [True, False, True], '(missing)': [False, True, False]}
    """
    result = {name: parse_slice(text, frame.columns).mask(frame) for name, text in (slices or {}).items()}
    for column in by:
        require(frame, column, "--by")
        prefix = f"{column}=" if len(by) > 1 else ""
        values = texts(frame[column]).fill_null(MISSING)
        for value in sorted(values.unique().to_list(), key=lambda text: (text == MISSING, text)):
            result[f"{prefix}{value}"] = values == value
    return result
