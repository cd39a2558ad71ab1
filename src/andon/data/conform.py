"""Typing a whole frame by the contract: columns at once, faults row by row.

Each column is cast as its field demands; what the cast cannot take becomes a sentence, formed once per distinct value,
so that millions of good rows cost milliseconds and a million bad ones seconds.

>>> contract = Contract((Field("cough", "bool"),), "y", ("a", "b"))
>>> checked = check_frame(contract, pl.DataFrame({"cough": [0, 1, 2], "y": ["a", "b", "c"], "day": [1, 2, 3]}))
>>> checked.frame.columns, checked.frame.height
(['cough', 'y', 'day'], 2)
>>> checked.rejects["reason"].to_list()
["cough: expected true or false, found 2; y: expected one of 'a', 'b', found 'c'"]
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from andon.core.record import Field
from andon.core.registry import did_you_mean
from andon.data.contract import CheckedFrame, Contract
from andon.data.image import decode_base64, image_fault
from andon.data.validator import CATEGORY_MAX, FLOAT_MAX, INT_MAX, TEXT_MAX, fault, show
from andon.errors import ContractError

__all__ = ["REJECTS_SCHEMA", "check_frame", "typed"]

REJECTS_SCHEMA = {"row": pl.Int64(), "reason": pl.String()}
_FAULTS = {"index": pl.UInt32(), "said": pl.String()}
_BOOLS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}


def check_frame(
    contract: Contract, frame: pl.DataFrame, *, rows: pl.Series | None = None, unlabelled: bool = False
) -> CheckedFrame:
    """See ``Contract.check_frame``."""
    answer = Field(contract.target, "category", optional=unlabelled, categories=contract.classes)
    fields = (*contract.fields, answer)
    _require(fields, frame)
    numbers = pl.int_range(1, frame.height + 1, dtype=pl.Int64, eager=True) if rows is None else rows.cast(pl.Int64)
    columns: list[pl.Series] = []
    faults: list[pl.DataFrame] = []
    for field in fields:
        column, said = typed(field, _column(field, frame))
        columns.append(column)
        faults.append(said)
    known = {field.name for field in fields}
    whole = pl.DataFrame([*columns, *(frame[name] for name in frame.columns if name not in known)])
    return _divide(whole, numbers.rename("row"), faults)


def typed(field: Field, column: pl.Series) -> tuple[pl.Series, pl.DataFrame]:
    """A column in the field's type, null where it does not fit, and the faults: ``index`` (from 0) and ``said``.

    >>> typed(Field("n", "int"), pl.Series("n", ["1", "x"]))[1].rows()
    [(1, "n: expected a whole number, found 'x'")]
    """
    if column.dtype in (pl.Categorical, pl.Enum):
        column = column.cast(pl.String)
    if column.dtype.is_nested() or column.dtype == pl.Object:
        column = pl.Series(column.name, [f"a value of type {column.dtype}"]).new_from_index(0, column.len())
        found = _nothing(column, pl.String())
    else:
        found = _CASTS[field.kind](field, column)
    wrong = found.is_null() & column.is_not_null() if field.optional else found.is_null()
    return found.alias(field.name), _faults(field, column, wrong.arg_true())


def _faults(field: Field, column: pl.Series, index: pl.Series) -> pl.DataFrame:
    """One sentence per distinct value, spread over the rows that have it."""
    if not index.len():
        return pl.DataFrame(schema=_FAULTS)
    values = column.gather(index)
    distinct = values.unique()
    said = [f"{field.name}: {_fault(field, value)}" for value in distinct.to_list()]
    lookup = pl.DataFrame({"value": distinct, "said": pl.Series(said, dtype=pl.String)})
    rows = pl.DataFrame({"index": index.cast(pl.UInt32), "value": values})
    return rows.join(lookup, on="value", how="left", nulls_equal=True).select("index", "said")


def _require(fields: tuple[Field, ...], frame: pl.DataFrame) -> None:
    missing = [field.name for field in fields if not field.optional and field.name not in frame.columns]
    if missing:
        names = ", ".join(repr(name) for name in missing)
        hint = did_you_mean(missing[0], frame.columns)
        raise ContractError(f"the data have no column {names}, which the contract requires; {hint}", field=missing[0])


def _column(field: Field, frame: pl.DataFrame) -> pl.Series:
    if field.name in frame.columns:
        return frame[field.name]
    return pl.Series(field.name, [None] * frame.height, dtype=pl.String)


def _divide(whole: pl.DataFrame, numbers: pl.Series, faults: list[pl.DataFrame]) -> CheckedFrame:
    said = pl.concat(faults)
    if said.is_empty():
        return CheckedFrame(whole, numbers, pl.DataFrame(schema=REJECTS_SCHEMA))
    by_row = (
        said.group_by("index", maintain_order=True).agg(pl.col("said").str.join("; ").alias("reason")).sort("index")
    )
    good = pl.repeat(True, whole.height, eager=True).scatter(by_row["index"], False)
    rejects = pl.DataFrame({"row": numbers.gather(by_row["index"]), "reason": by_row["reason"]}, schema=REJECTS_SCHEMA)
    return CheckedFrame(whole.filter(good), numbers.filter(good), rejects)


def _fault(field: Field, value: object) -> str:
    """The row validator's sentence; a value that only a column can hold (a date, text for a number) gets one as well."""
    said = fault(field, value)
    return said or f"expected a value of kind {field.kind}, found {show(value)}"


def _cast_bool(field: Field, column: pl.Series) -> pl.Series:
    if column.dtype == pl.Boolean:
        return column
    if column.dtype == pl.String:
        return column.str.strip_chars().str.to_lowercase().replace_strict(_BOOLS, default=None, return_dtype=pl.Boolean)
    if column.dtype.is_numeric():
        return column.to_frame().select(pl.when(pl.first().is_in([0, 1])).then(pl.first() == 1)).to_series()
    return _nothing(column, pl.Boolean())


def _cast_int(field: Field, column: pl.Series) -> pl.Series:
    if column.dtype == pl.String:
        column = column.str.strip_chars()
        whole = column.cast(pl.Int64, strict=False)
        if whole.null_count() > column.null_count():  # "3.0" is a whole number too
            number = column.cast(pl.Float64, strict=False)
            whole = whole.zip_with(whole.is_not_null(), _whole(number))
    elif column.dtype.is_integer():
        whole = column.cast(pl.Int64, strict=False)
    elif column.dtype.is_numeric():
        whole = _whole(column.cast(pl.Float64))
    else:
        return _nothing(column, pl.Int64())
    return _keep(whole, whole.is_between(*_bounds(field, -INT_MAX, INT_MAX)))


def _whole(number: pl.Series) -> pl.Series:
    return number.set((number.round() != number) | (number.abs() > INT_MAX), None).cast(pl.Int64, strict=False)


def _cast_float(field: Field, column: pl.Series) -> pl.Series:
    if column.dtype == pl.String:
        number = column.str.strip_chars().cast(pl.Float64, strict=False)
    elif column.dtype.is_numeric():
        number = column.cast(pl.Float64)
    else:
        return _nothing(column, pl.Float64())
    low, high = _bounds(field, -FLOAT_MAX, FLOAT_MAX)
    return _keep(number, number.is_finite() & (number >= low) & (number <= high))


def _cast_text(field: Field, column: pl.Series) -> pl.Series:
    longest = TEXT_MAX if field.kind == "text" else CATEGORY_MAX
    if column.dtype.is_float() or column.dtype.is_decimal():
        number = column.cast(pl.Float64)
        text = _whole(number).cast(pl.String)
        text = text.zip_with(text.is_not_null(), number.cast(pl.String))
    elif column.dtype in (pl.Binary, pl.Null):
        return _nothing(column, pl.String())
    else:
        text = column.cast(pl.String)
    fits = text.str.len_chars() <= longest
    if field.categories is not None:
        fits &= text.is_in(list(field.categories))
    return _keep(text, fits)


def _cast_image(field: Field, column: pl.Series) -> pl.Series:
    if column.dtype not in (pl.Binary, pl.String):
        return _nothing(column, pl.Binary())
    data = [None if value is None or image_fault(value) else value for value in column]
    decoded = [decode_base64(value) if isinstance(value, str) else value for value in data]
    return pl.Series(decoded, dtype=pl.Binary)


def _nothing(column: pl.Series, dtype: pl.DataType) -> pl.Series:
    return pl.Series(column.name, [None], dtype=dtype).new_from_index(0, column.len())


def _bounds(field: Field, low: float, high: float) -> tuple[float, float]:
    return (low if field.low is None else max(low, field.low), high if field.high is None else min(high, field.high))


def _keep(column: pl.Series, fits: pl.Series) -> pl.Series:
    return column.set(~fits.fill_null(False), None) if not fits.all(ignore_nulls=False) else column


_CASTS: dict[str, Callable[[Field, pl.Series], pl.Series]] = {
    "bool": _cast_bool,
    "int": _cast_int,
    "float": _cast_float,
    "category": _cast_text,
    "text": _cast_text,
    "image": _cast_image,
}
