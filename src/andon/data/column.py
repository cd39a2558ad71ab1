"""What each column of a dataset holds: how much is missing, how many different values, and how they are spread.

A column of numbers or times is spread over bars of equal width, everything else over its most frequent values. Texts that
are nearly all different are spread by their length, images not at all.

>>> from andon.core.record import Field
>>> contract = Contract((Field("age", "int", optional=True), Field("sex", "category")), "y", ("a", "b"))
>>> frame = pl.DataFrame({"age": [20, 30, None], "sex": ["f", "m", "f"], "y": ["a", "a", "b"]})
>>> age, sex, y = columns(frame, contract)
>>> age.missing, [(bar.label, bar.n) for bar in age.bars], age.low, age.high
(1, [('20', 1), ('30', 1)], 20.0, 30.0)
>>> sex.spread, [(bar.label, bar.n) for bar in sex.bars], y.role
('values', [('f', 2), ('m', 1)], 'target')
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

import msgspec
import numpy as np
import polars as pl

from andon.core.record import Field
from andon.data.contract import Contract

__all__ = ["BARS", "Bar", "Column", "columns", "plain"]

#: Bars of a spread at most; more different values than this are counted in ``others``.
BARS = 24

Spread = Literal["values", "range", "length", "none"]


class Bar(msgspec.Struct, frozen=True):
    """One value, or one stretch of a range (from its start, the last one including its end): how many rows."""

    label: str
    n: int


class Column(msgspec.Struct, frozen=True):
    """One column. ``role`` is input, target or meta-data; ``kind`` is the contract's or the stored type.

    ``spread`` says what ``bars`` are: the most frequent ``values`` (``others`` rows have another one), a ``range`` cut
    into equal parts, or the ``length`` of texts in characters, cut likewise. ``low``, ``high`` and ``mean`` are of
    numbers; ``first`` and ``last`` the ends of a range or of times as text. ``categories``, ``allowed_low`` and
    ``allowed_high`` are what the contract allows.
    """

    name: str
    role: Literal["input", "target", "meta-data"]
    kind: str
    rows: int
    missing: int
    distinct: int
    optional: bool = False
    spread: Spread = "none"
    bars: tuple[Bar, ...] = ()
    others: int = 0
    low: float | None = None
    high: float | None = None
    mean: float | None = None
    first: str = ""
    last: str = ""
    categories: tuple[str, ...] | None = None
    allowed_low: float | None = None
    allowed_high: float | None = None


def columns(frame: pl.DataFrame, contract: Contract) -> list[Column]:
    """Every column of a dataset's rows (images as hashes): inputs, then the target, then the meta-data."""
    fields = {field.name: field for field in contract.fields}
    fields[contract.target] = Field(contract.target, "category", categories=contract.classes)
    return [_column(frame[name], fields.get(name), name == contract.target) for name in frame.columns]


def plain(value: Any) -> Any:
    """A value of a frame as JSON has it: times as ISO text, numbers that JSON does not know as null, bytes not at all.

    >>> plain(date(2020, 3, 11)), plain(float("nan")), plain("x")
    ('2020-03-11', None, 'x')
    """
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return None if isinstance(value, bytes) else value


def _column(column: pl.Series, field: Field | None, target: bool) -> Column:
    column = column.fill_nan(None) if column.dtype.is_float() else column
    if field is None and column.name == "time_us" and column.dtype == pl.Int64:
        column = column.cast(pl.Datetime("us"))  # event time, wherever it stands
    kind = field.kind if field is not None else str(column.dtype).split("(")[0].lower()
    found = Column(
        name=column.name,
        role="target" if target else "input" if field is not None else "meta-data",
        kind=kind,
        rows=column.len(),
        missing=column.null_count(),
        distinct=column.drop_nulls().n_unique(),
        optional=field is not None and field.optional,
        categories=field.categories if field is not None else None,
        allowed_low=field.low if field is not None else None,
        allowed_high=field.high if field is not None else None,
    )
    return msgspec.structs.replace(found, **_spread(column.drop_nulls(), kind, found))


def _spread(column: pl.Series, kind: str, found: Column) -> dict[str, Any]:
    if not column.len() or kind == "image":
        return {}
    if column.dtype.is_numeric() or column.dtype.is_temporal():
        return _ends(column) | (_values(column, by_value=True) if found.distinct <= BARS else _range(column))
    if column.dtype == pl.String and found.distinct > BARS and found.distinct * 2 > column.len():
        return {**_range(column.str.len_chars().cast(pl.Int64)), "spread": "length"}
    return _values(column, declared=found.categories)


def _ends(column: pl.Series) -> dict[str, Any]:
    first, last = column.min(), column.max()
    ends = {"first": _text(first), "last": _text(last)}
    if not column.dtype.is_numeric():
        return ends
    return {**ends, "low": float(first), "high": float(last), "mean": float(column.mean())}  # type: ignore[arg-type]


def _values(column: pl.Series, *, by_value: bool = False, declared: tuple[str, ...] | None = None) -> dict[str, Any]:
    """The most frequent values; declared ones in their order and also where no row has them."""
    counts = column.value_counts(name="\0n").sort(
        pl.col("\0n") if not by_value else pl.col(column.name), descending=not by_value
    )
    pairs = [(_text(value), int(n)) for value, n in counts.head(BARS).iter_rows()]
    if declared is not None:
        known = dict(counts.iter_rows())
        pairs = [(name, int(known.get(name, 0))) for name in declared][:BARS]
    elif not by_value:
        pairs.sort(key=lambda pair: (-pair[1], pair[0]))
    bars = tuple(Bar(label, n) for label, n in pairs)
    return {"spread": "values", "bars": bars, "others": column.len() - sum(bar.n for bar in bars)}


def _range(column: pl.Series) -> dict[str, Any]:
    """Bars of equal width from the least to the largest value; whole numbers get bars of whole width."""
    numbers = column.to_physical() if column.dtype.is_temporal() else column
    values = numbers.to_numpy().astype(np.float64)
    low, high = float(values.min()), float(values.max())
    if numbers.dtype.is_integer():
        step = max(1.0, np.ceil((high - low + 1) / BARS))
        edges = low + step * np.arange(int(np.ceil((high - low + 1) / step)) + 1)
    else:
        edges = np.linspace(low, high, BARS + 1) if high > low else np.array([low, low + 1.0])
    counts, _ = np.histogram(values, edges)
    labels = [_edge(column, edge) for edge in edges[:-1]]
    bars = tuple(Bar(label, int(n)) for label, n in zip(labels, counts, strict=True))
    return {"spread": "range", "bars": bars, "first": _edge(column, low), "last": _edge(column, high)}


def _edge(column: pl.Series, value: float) -> str:
    if column.dtype.is_temporal():
        return _text(pl.Series([int(value)]).cast(column.to_physical().dtype).cast(column.dtype)[0])
    return f"{value:.6g}" if not column.dtype.is_integer() or abs(value) >= 1e15 else f"{int(value)}"


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    return value.isoformat() if isinstance(value, (datetime, date)) else str(value)
