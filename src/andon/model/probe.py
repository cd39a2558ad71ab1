"""Rows on which a compiled model is compared with its original: the ones on which compiled models go wrong.

Besides rows of the training data: missing values, categories never seen, extremes, and both sides of split thresholds.
Thresholds are found from outside, by bisecting between data values where the original's answer changes until the two
sides are neighbouring float64 numbers; that needs no knowledge of the model and reaches through scalers and imputers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from andon.core.record import Field
from andon.model.adapter import Layout
from andon.model.columns import NUMERIC, frame_of, take

__all__ = ["Probe", "Table", "layout_of", "probes"]

Array = np.ndarray[Any, Any]
Rows = dict[str, Array]

#: Names of columns that are probed one by one, and data rows that are compared; more would only cost time.
COLUMNS_MAX = 48
ROWS_MAX = 400
CUTS = 8


@dataclass(frozen=True, slots=True)
class Table:
    """What a model is called with, taken apart into columns and put together again.

    ``shape`` is how it is put together: ``columns`` (canonical numpy columns), ``frame`` (a polars frame from
    ``features``) or ``matrix`` (a numpy matrix from ``features``; its columns are named "0", "1", ...).
    """

    fields: tuple[Field, ...]
    columns: Rows
    shape: str

    @classmethod
    def of(cls, x: Any) -> Table | None:
        """The table of what ``features`` returned; None when it is neither a polars frame nor a numeric matrix."""
        if isinstance(x, pl.DataFrame) and pl.Binary not in x.dtypes:
            fields = tuple(Field(series.name, _kind(series), optional=series.null_count() > 0) for series in x)
            return cls(fields, {f.name: _values(x[f.name], f) for f in fields}, "frame")
        if isinstance(x, np.ndarray) and x.ndim == 2 and x.dtype.kind in "bifu":
            gaps = np.asarray(np.isnan(x.astype(np.float64)).any(axis=0))
            fields = tuple(Field(str(i), "float", optional=bool(gaps[i])) for i in range(x.shape[1]))
            return cls(fields, {str(i): x[:, i].astype(np.float64) for i in range(x.shape[1])}, "matrix")
        return None

    def build(self, rows: Mapping[str, Array]) -> Any:
        """Columns as what the compiled model is called with."""
        if self.shape == "matrix":
            return np.column_stack([rows[field.name] for field in self.fields])
        return frame_of(rows, self.fields) if self.shape == "frame" else rows

    def original(self, rows: Mapping[str, Array]) -> Any:
        """Columns as what the original is called with."""
        return frame_of(rows, self.fields) if self.shape == "columns" else self.build(rows)


def _kind(series: pl.Series) -> Any:
    return "text" if series.dtype == pl.String else "float"


def _values(series: pl.Series, field: Field) -> Array:
    if field.kind == "float":
        return series.cast(pl.Float64).to_numpy()
    return np.array([*series.to_list(), None], dtype=object)[:-1]


def layout_of(table: Table) -> Layout:
    """The inputs of a graph that is given rows of this table."""
    if table.shape == "matrix":
        return Layout(width=len(table.fields))
    numbers = tuple(field.name for field in table.fields if field.kind in NUMERIC)
    texts = tuple(field.name for field in table.fields if field.kind not in NUMERIC)
    return Layout(numbers, texts)


@dataclass(frozen=True, slots=True)
class Probe:
    """Rows of one sort, named so that a disagreement can be explained."""

    what: str
    rows: Rows


def probes(table: Table, answer: Callable[[Rows], Array], seed: int = 0) -> Iterator[Probe]:
    """All probes for a model that answers ``answer`` (NaN rows where it raises)."""
    count = len(next(iter(table.columns.values())))
    random = np.random.default_rng(seed)
    chosen = np.sort(random.choice(count, size=min(count, ROWS_MAX), replace=False))
    sample = take(table.columns, chosen)
    fields = _spread(table.fields)
    yield Probe("training rows", sample)
    yield from _missing(sample, fields)
    yield from _extremes(sample, fields)
    yield from _thresholds(sample, fields, answer)


def _spread(fields: Sequence[Field]) -> list[Field]:
    step = max(1, -(-len(fields) // COLUMNS_MAX))
    return list(fields[::step])


def _with(sample: Rows, field: Field, values: Sequence[Any]) -> Rows:
    """The first rows of the sample, with one column replaced by ``values``."""
    count = len(next(iter(sample.values())))
    rows = take(sample, np.arange(len(values)) % count)
    kind = np.float64 if field.kind in NUMERIC else object
    return {**rows, field.name: np.array([*values, None], dtype=object)[:-1].astype(kind)}


def _missing(sample: Rows, fields: Sequence[Field]) -> Iterator[Probe]:
    optional = [field for field in fields if field.optional]
    for field in optional:
        yield Probe(f"{field.name} missing", _with(sample, field, [None] * 3))
    if optional:
        rows = take(sample, slice(0, 1))
        for field in optional:
            rows = {**rows, field.name: _with(rows, field, [None])[field.name]}
        yield Probe("everything missing", rows)


def _extremes(sample: Rows, fields: Sequence[Field]) -> Iterator[Probe]:
    for field in fields:
        if field.kind in ("category", "text"):
            yield Probe(f"{field.name} never seen", _with(sample, field, ["never seen before", "", "None", "nan", "é"]))
        elif field.kind == "bool":
            yield Probe(f"{field.name} true and false", _with(sample, field, [0.0, 1.0]))
        elif field.kind in NUMERIC:
            yield Probe(f"{field.name} extreme", _with(sample, field, _ends(sample[field.name], field)))


def _ends(values: Array, field: Field) -> list[float]:
    seen = values[~np.isnan(values)]
    span = max(1.0, float(np.abs(seen).max())) if len(seen) else 1.0
    low = field.low if field.low is not None else -1000.0 * span
    high = field.high if field.high is not None else 1000.0 * span
    return [low, high, *([float(seen.min()), float(seen.max())] if len(seen) else []), 0.0]


def _thresholds(sample: Rows, fields: Sequence[Field], answer: Callable[[Rows], Array]) -> Iterator[Probe]:
    for field in fields:
        if field.kind not in ("int", "float"):
            continue
        low, high = _cuts(sample[field.name])
        if len(low):
            low, high = _bisect(sample, field, low, high, answer)
            yield Probe(f"{field.name} at a threshold", _with(sample, field, [*low, *high]))


def _cuts(values: Array) -> tuple[Array, Array]:
    """Up to ``CUTS`` intervals between quantiles of the values."""
    seen = np.unique(values[~np.isnan(values)])
    if len(seen) < 2:
        return np.zeros(0), np.zeros(0)
    points = np.unique(seen[np.linspace(0, len(seen) - 1, CUTS + 1).astype(int)])
    return points[:-1], points[1:]


def _bisect(
    sample: Rows, field: Field, low: Array, high: Array, answer: Callable[[Rows], Array]
) -> tuple[Array, Array]:
    """Narrow each interval to two neighbouring numbers, keeping a change of the answer inside it where there is one."""
    low, high = low.copy(), high.copy()
    at_low = answer(_with(sample, field, list(low)))
    for _ in range(64):
        middle = low + (high - low) / 2
        open_ = (middle > low) & (middle < high)
        if not open_.any():
            break
        same = (answer(_with(sample, field, list(middle))) == at_low).all(axis=1)
        low = np.where(open_ & same, middle, low)
        high = np.where(open_ & ~same, middle, high)
    return low, high
