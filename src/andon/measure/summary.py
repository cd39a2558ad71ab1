"""Summaries that add up: what is kept of a window, so that a minute, a month and a cluster give the same answer.

Every summary obeys three laws (property-tested): ``a + b`` is associative, ``type(a)()`` changes nothing, and the
summary of two tables together is the sum of their summaries. Counts are exact; sums of floats agree to rounding.

>>> import polars as pl
>>> monday = Moments.of(pl.Series([1.0, 2.0, None]))
>>> tuesday = Moments.of(pl.Series([6.0]))
>>> week = monday + tuesday
>>> week.n, week.mean, week.nulls
(3, 3.0, 1)
>>> summary_from_dict(summary_to_dict(week)) == week
True
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import cache, reduce
from operator import or_
from typing import Any, Protocol, Self, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from andon.errors import Corrupt, UsageError

__all__ = [
    "Confusion",
    "Count",
    "Histogram",
    "Mergeable",
    "Moments",
    "Span",
    "Summary",
    "add",
    "summary_from_dict",
    "summary_from_json",
    "summary_to_dict",
]


class Mergeable(Protocol):
    """What every summary can do. The identity is ``cls()``."""

    def __add__(self, other: Self) -> Self:
        """The summary of both tables together."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, with the kind of summary under ``type``."""
        ...

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Self:
        """The other way; raises ``Corrupt`` for something else."""
        ...


class Summary(msgspec.Struct, frozen=True, tag=True, omit_defaults=True):
    """The common half of every summary: how it becomes JSON and comes back."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, with the kind of summary under ``type``."""
        body: dict[str, Any] = msgspec.to_builtins(self, str_keys=True)
        return body

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Self:
        """The other way; raises ``Corrupt`` when the body is not such a summary."""
        try:
            return msgspec.convert(body, cls, str_keys=True)
        except msgspec.ValidationError as error:
            raise Corrupt(f"a stored {cls.__name__} summary can not be read: {error}") from error

    def __add__(self, other: Self) -> Self:
        raise NotImplementedError


class Count(Summary, frozen=True):
    """Rows and how many of them hit; weighted rows count by their weight.

    ``n`` rows with total weight ``total`` (``squares``: the sum of squared weights), of which ``hits`` hit.

    >>> import polars as pl
    >>> Count.of(pl.Series([True, False, True]))
    Count(n=3, hits=2.0, total=3.0, squares=3.0)
    """

    n: int = 0
    hits: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    @classmethod
    def of(cls, hits: pl.Series, weight: pl.Series | None = None) -> Count:
        """Count a boolean column; rows where it is null are left out."""
        known = hits.is_not_null()
        values = hits.filter(known).to_numpy().astype(np.float64)
        w = np.ones(len(values)) if weight is None else weight.filter(known).cast(pl.Float64).to_numpy()
        return cls(len(values), float(values @ w), float(w.sum()), float(w @ w))

    @property
    def scale(self) -> float:
        """What turns weighted counts into effective ones (Kish 1965): 1 when all weights are 1."""
        return self.total / self.squares if self.squares else 1.0

    def __add__(self, other: Count) -> Count:
        return Count(self.n + other.n, self.hits + other.hits, self.total + other.total, self.squares + other.squares)


class Moments(Summary, frozen=True):
    """Mean and spread of a numeric column, merged without loss of precision (Chan, Golub and LeVeque 1979).

    ``n`` finite values with ``mean`` and sum of squared deviations ``m2``; ``nulls``, ``nans`` and ``infinite`` values
    are counted apart.
    """

    n: int = 0
    mean: float = 0.0
    m2: float = 0.0
    low: float | None = None
    high: float | None = None
    nulls: int = 0
    nans: int = 0
    infinite: int = 0
    zeros: int = 0

    @classmethod
    def of(cls, column: pl.Series) -> Moments:
        """Summarise a numeric or boolean column; raises ``UsageError`` for another kind."""
        nulls = column.null_count()
        if nulls == len(column):
            return cls(nulls=nulls)
        if not (column.dtype.is_numeric() or column.dtype == pl.Boolean):
            raise UsageError(f"column {column.name!r}: a mean needs numbers or true/false, found {column.dtype}")
        values = column.drop_nulls().cast(pl.Float64).to_numpy()
        nans, infinite = int(np.isnan(values).sum()), int(np.isinf(values).sum())
        values = values[np.isfinite(values)] if nans or infinite else values
        if len(values) == 0:
            return cls(nulls=nulls, nans=nans, infinite=infinite)
        mean = float(values.mean())
        m2 = float(((values - mean) ** 2).sum())
        low, high, zeros = float(values.min()), float(values.max()), int((values == 0).sum())
        return cls(len(values), mean, m2, low, high, nulls, nans, infinite, zeros)

    @property
    def total(self) -> int:
        """All rows, with those that hold no usable number."""
        return self.n + self.nulls + self.nans + self.infinite

    @property
    def variance(self) -> float | None:
        """The sample variance, or None for fewer than two values."""
        return self.m2 / (self.n - 1) if self.n > 1 else None

    @property
    def binary(self) -> bool:
        """Whether every value is 0 or 1: only then is the sum of squares equal to the sum."""
        if self.n == 0 or self.low not in (0.0, 1.0) or self.high not in (0.0, 1.0):
            return False
        return math.isclose(self.m2, self.n * self.mean * (1 - self.mean), rel_tol=1e-9, abs_tol=1e-9)

    def __add__(self, other: Moments) -> Moments:
        n = self.n + other.n
        delta = other.mean - self.mean
        share = other.n / n if n else 0.0
        mean = other.mean if self.n == 0 else self.mean + delta * share
        m2 = self.m2 + other.m2 + (delta * delta * self.n * share if self.n and other.n else 0.0)
        low = min((end for end in (self.low, other.low) if end is not None), default=None)
        high = max((end for end in (self.high, other.high) if end is not None), default=None)
        counts = [getattr(self, name) + getattr(other, name) for name in ("nulls", "nans", "infinite", "zeros")]
        return Moments(n, mean, m2, low, high, *counts)


class Confusion(Summary, frozen=True):
    """Truth against answer: ``counts[t][p]`` weighs the rows of class ``t`` answered with class ``p``.

    The last column, ``p == len(classes)``, holds answers that are no class: null, or "refer". ``outside`` counts rows
    whose truth is no class; they are in no other figure. Classes that another summary adds come after those known.

    >>> import polars as pl
    >>> Confusion.of(pl.Series(["a", "b", "b"]), pl.Series(["a", "a", None]), ("a", "b")).counts
    ((1.0, 0.0, 0.0), (1.0, 0.0, 1.0))
    """

    classes: tuple[str, ...] = ()
    counts: tuple[tuple[float, ...], ...] = ()
    n: int = 0
    total: float = 0.0
    squares: float = 0.0
    outside: int = 0

    @classmethod
    def of(
        cls, truth: pl.Series, answer: pl.Series, classes: Sequence[str], weight: pl.Series | None = None
    ) -> Confusion:
        """Cross two columns; rows without a truth (null) are left out."""
        codes = {name: code for code, name in enumerate(classes)}
        size = len(codes)
        t = _codes(truth, codes, -1)
        known = t >= 0
        outside = int((truth.is_not_null().to_numpy() & ~known).sum())
        w = np.ones(len(t)) if weight is None else weight.cast(pl.Float64).to_numpy()
        t, p, w = t[known], _codes(answer, codes, size)[known], w[known]
        flat = np.bincount(t * (size + 1) + p, weights=w, minlength=size * (size + 1))
        rows = tuple(tuple(float(cell) for cell in row) for row in flat.reshape(size, size + 1))
        return cls(tuple(classes), rows, len(t), float(w.sum()), float(w @ w), outside)

    @property
    def matrix(self) -> npt.NDArray[np.float64]:
        """The counts, shape (classes, classes + 1)."""
        return np.array(self.counts, dtype=np.float64).reshape(len(self.classes), len(self.classes) + 1)

    @property
    def scale(self) -> float:
        """What turns weighted counts into effective ones (Kish 1965): 1 when all weights are 1."""
        return self.total / self.squares if self.squares else 1.0

    def over(self, classes: tuple[str, ...]) -> npt.NDArray[np.float64]:
        """The matrix with its rows and columns in the order of ``classes``, which must hold all of its own."""
        place = [classes.index(name) for name in self.classes]
        matrix = np.zeros((len(classes), len(classes) + 1))
        matrix[np.ix_(place, [*place, len(classes)])] = self.matrix
        return matrix

    def onto(self, classes: tuple[str, ...]) -> Confusion:
        """The same rows for a target with other classes: truths that are no longer one are ``outside``.

        >>> Confusion(("a", "b"), ((1.0, 0.0, 0.0), (2.0, 0.0, 0.0)), 3, 3.0, 3.0).onto(("b",)).counts
        ((0.0, 2.0),)
        """
        if self.classes == classes:
            return self
        extra = tuple(name for name in self.classes if name not in classes)
        matrix, size = self.over(classes + extra), len(classes)
        kept = np.column_stack([matrix[:size, :size], matrix[:size, size:].sum(axis=1)])
        total, gone = float(kept.sum()), float(matrix[size:].sum())
        share = total / (total + gone) if total + gone else 1.0
        n = round(self.n * share)
        rows = tuple(tuple(float(cell) for cell in row) for row in kept)
        return Confusion(classes, rows, n, total, self.squares * share, self.outside + self.n - n)

    def __add__(self, other: Confusion) -> Confusion:
        classes = self.classes + tuple(name for name in other.classes if name not in self.classes)
        summed = self.over(classes) + other.over(classes)
        rows = tuple(tuple(float(cell) for cell in row) for row in summed)
        return Confusion(
            classes,
            rows,
            self.n + other.n,
            self.total + other.total,
            self.squares + other.squares,
            self.outside + other.outside,
        )


class Span(Summary, frozen=True):
    """How many rows there were, and from when to when (microseconds of event time).

    >>> Span(2, 0, 5) + Span(1, 9, 9)
    Span(n=3, first_us=0, last_us=9)
    """

    n: int = 0
    first_us: int | None = None
    last_us: int | None = None

    @classmethod
    def of(cls, time_us: pl.Series) -> Span:
        """The span of a column of times."""
        times = time_us.drop_nulls().to_numpy()
        return cls(len(times), int(times.min()), int(times.max())) if len(times) else cls()

    def __add__(self, other: Span) -> Span:
        firsts = [time for time in (self.first_us, other.first_us) if time is not None]
        lasts = [time for time in (self.last_us, other.last_us) if time is not None]
        return Span(self.n + other.n, min(firsts, default=None), max(lasts, default=None))


class Histogram(Summary, frozen=True):
    """Scores in [0, 1] in cells of equal width; ``counts`` is empty until something was counted.

    >>> import polars as pl
    >>> Histogram.of(pl.Series([0.0, 0.49, 1.0, None]), cells=2)
    Histogram(counts=(2, 1), nulls=1)
    """

    counts: tuple[int, ...] = ()
    nulls: int = 0

    @classmethod
    def of(cls, scores: pl.Series, cells: int = 100) -> Histogram:
        """Count a column of scores; those outside [0, 1] and NaN count with the nulls."""
        values = scores.cast(pl.Float64).drop_nulls().to_numpy()
        values = values[(values >= 0) & (values <= 1)]
        cell = np.minimum((values * cells).astype(np.int64), cells - 1)
        counts = np.bincount(cell, minlength=cells)
        return cls(tuple(int(count) for count in counts), len(scores) - len(values))

    def __add__(self, other: Histogram) -> Histogram:
        if not self.counts or not other.counts:
            return Histogram(self.counts or other.counts, self.nulls + other.nulls)
        if len(self.counts) != len(other.counts):
            raise UsageError(f"histograms of {len(self.counts)} and {len(other.counts)} cells do not add up")
        summed = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        return Histogram(summed, self.nulls + other.nulls)


M = TypeVar("M", bound=Summary)


def add(summaries: Sequence[M], kind: type[M]) -> M:
    """All of them together; of none, the identity of ``kind``.

    >>> add([Count(1, 1, 1, 1), Count(2, 0, 2, 2)], Count).n
    3
    """
    total = kind()
    for summary in summaries:
        total = total + summary
    return total


def summary_to_dict(summary: Mergeable) -> dict[str, Any]:
    """JSON-ready, with the kind of summary under ``type``.

    >>> summary_to_dict(Count(2, 1.0, 2.0, 2.0))
    {'type': 'Count', 'n': 2, 'hits': 1.0, 'total': 2.0, 'squares': 2.0}
    """
    return summary.to_dict()


def summary_from_dict(body: Mapping[str, Any]) -> Summary:
    """Any stored summary; raises ``Corrupt`` when it is none that this release knows.

    >>> summary_from_dict({"type": "Nonsense"})
    Traceback (most recent call last):
    ...
    andon.errors.Corrupt: a stored summary is of the unknown kind 'Nonsense'
    """
    kind = _kinds().get(str(body.get("type")))
    if kind is None:
        raise Corrupt(f"a stored summary is of the unknown kind {body.get('type')!r}")
    return kind.from_dict(body)


def summary_from_json(text: str) -> Summary:
    """Any summary stored as JSON, in which NaN and infinity are as Python writes them; raises ``Corrupt``.

    >>> summary_from_json('{"type":"Count","n":2,"hits":1.0,"total":2.0,"squares":2.0}')
    Count(n=2, hits=1.0, total=2.0, squares=2.0)
    """
    try:
        return _decoder().decode(text)
    except msgspec.DecodeError:  # NaN is no JSON, and an unknown kind deserves its own sentence
        return summary_from_dict(json.loads(text))


@cache
def _kinds() -> dict[str, type[Summary]]:
    # The sketches are imported here so that this module can define what they inherit.
    from andon.measure import grid, sketch

    kinds: tuple[type[Summary], ...] = (Count, Moments, Confusion, Span, Histogram, grid.Grid, *sketch.SKETCHES)
    return {kind.__name__: kind for kind in kinds}


@cache
def _decoder() -> msgspec.json.Decoder[Summary]:
    return msgspec.json.Decoder(reduce(or_, _kinds().values()))


def _codes(column: pl.Series, codes: Mapping[str, int], other: int) -> npt.NDArray[np.int64]:
    """The place of each value among the classes, or ``other``."""
    if not codes:
        return np.full(len(column), other, dtype=np.int64)
    kind = pl.Enum(list(codes))
    found = column.cast(pl.String).cast(kind, strict=False).to_physical().cast(pl.Int64)
    return found.fill_null(other).to_numpy()
