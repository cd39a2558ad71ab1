"""Summaries that keep a bounded picture of an unbounded column, each with its error stated.

>>> import polars as pl
>>> Latency.of(pl.Series(range(1, 1001))).quantile(0.95)
948.65...
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_left
from collections.abc import Collection
from itertools import accumulate
from typing import ClassVar

import msgspec
import numpy as np
import polars as pl

from andon.errors import UsageError
from andon.measure.estimate import CONFIDENCE, Estimate, normal_quantile, undefined
from andon.measure.summary import Summary

__all__ = ["SKETCHES", "Categories", "Distinct", "Latency", "TopK"]


class Latency(Summary, frozen=True):
    """Numbers >= 0 in cells of equal ratio (DDSketch; Masson, Rim and Lee 2019): every quantile within 0.5 %.

    Values up to ``FLOOR`` share the cell of zero. Memory grows with the ratio of the largest to the smallest value only:
    from a microsecond to a day there are about 2,500 cells.
    """

    ERROR: ClassVar[float] = 0.005
    FLOOR: ClassVar[float] = 1e-9
    _LOG: ClassVar[float] = math.log((1 + 0.005) / (1 - 0.005))

    cells: dict[int, int] = msgspec.field(default_factory=dict)
    zeros: int = 0
    nulls: int = 0
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, column: pl.Series) -> Latency:
        """Count a numeric column; null, NaN, infinite and negative values count as nulls."""
        values = column.cast(pl.Float64).drop_nulls().to_numpy()
        values = values[np.isfinite(values) & (values >= 0)]
        nulls = len(column) - len(values)
        if len(values) == 0:
            return cls(nulls=nulls)
        large = values[values > cls.FLOOR]
        index, count = np.unique(np.ceil(np.log(large) / cls._LOG).astype(np.int64), return_counts=True)
        cells = {int(i): int(c) for i, c in zip(index, count, strict=True)}
        return cls(cells, len(values) - len(large), nulls, float(values.min()), float(values.max()))

    @property
    def n(self) -> int:
        """How many values were counted."""
        return self.zeros + sum(self.cells.values())

    def quantile(self, q: float) -> float | None:
        """The value with rank ceil(q n), within 0.5 %; None when there are no values."""
        return self._ranked(max(1, math.ceil(q * self.n - 1e-9)))[0] if self.n else None

    def estimate(self, q: float, confidence: float = CONFIDENCE) -> Estimate:
        """The quantile with the interval of order statistics (normal approximation of the ranks).

        Too few values leave an end open: the 99th percentile of 100 values has no upper end.

        >>> import polars as pl
        >>> print(Latency.of(pl.Series(range(1, 1001))).estimate(0.5))
        500 (471 to 531, n 1000)
        """
        if not 0 < q < 1:
            raise UsageError(f"a quantile lies between 0 and 1, found {q:g}")
        n = self.n
        if n == 0:
            return undefined("no values", 0)
        half = normal_quantile(confidence) * math.sqrt(n * q * (1 - q))
        below, above = math.floor(n * q - half), math.ceil(n * q + half) + 1
        middle = max(1, math.ceil(q * n - 1e-9))
        low, value, high = self._ranked(max(below, 1), middle, min(above, n))
        return Estimate(value, low if below >= 1 else None, high if above <= n else None, n, "order statistic")

    def _ranked(self, *ranks: int) -> list[float]:
        """The values of these ranks, from 1 on; the cells are put in order once for all of them."""
        order = sorted(self.cells)
        reached = list(accumulate((self.cells[index] for index in order), initial=self.zeros))[1:]
        return [0.0 if rank <= self.zeros else self._cell(order, bisect_left(reached, rank)) for rank in ranks]

    def _cell(self, order: list[int], place: int) -> float:
        if place >= len(order):
            return self.high or 0.0
        middle = 2 * math.exp(order[place] * self._LOG) / (1 + math.exp(self._LOG))
        return min(max(middle, self.low or 0.0), self.high or middle)

    def __add__(self, other: Latency) -> Latency:
        cells = dict(self.cells)
        for index, count in other.cells.items():
            cells[index] = cells.get(index, 0) + count
        low = min((end for end in (self.low, other.low) if end is not None), default=None)
        high = max((end for end in (self.high, other.high) if end is not None), default=None)
        return Latency(cells, self.zeros + other.zeros, self.nulls + other.nulls, low, high)


class TopK(Summary, frozen=True):
    """The most frequent texts in bounded memory (Space-Saving, Metwally et al. 2005; merging, Agarwal et al. 2012).

    ``counts`` never lies below the true count and exceeds it by at most ``excess``; exact while there are at most ``K``
    different texts.

    >>> import polars as pl
    >>> TopK.of(pl.Series(["a", "b", "a"])).counts
    {'a': 2, 'b': 1}
    """

    K: ClassVar[int] = 50

    counts: dict[str, int] = msgspec.field(default_factory=dict)
    excess: int = 0
    n: int = 0

    @classmethod
    def of(cls, column: pl.Series) -> TopK:
        """Count a column of texts; nulls are left out."""
        values = column.drop_nulls().cast(pl.String)
        table = values.rename("value").value_counts()
        return cls._cut(dict(zip(table["value"], table["count"], strict=True)), 0, len(values))

    @classmethod
    def _cut(cls, counts: dict[str, int], excess: int, n: int) -> TopK:
        ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
        # What is dropped may come back later: it could have had as much as the first one dropped.
        lost = ranked[cls.K][1] if len(ranked) > cls.K else 0
        return cls(dict(ranked[: cls.K]), max(excess, lost), n)

    def __add__(self, other: TopK) -> TopK:
        names = set(self.counts) | set(other.counts)
        counts = {
            name: self.counts.get(name, self.excess) + other.counts.get(name, other.excess) for name in sorted(names)
        }
        return self._cut(counts, self.excess + other.excess, self.n + other.n)


class Categories(Summary, frozen=True):
    """Exact counts of the values known from the reference, the ``unseen`` ones by name, and nulls.

    >>> import polars as pl
    >>> found = Categories.of(pl.Series(["yes", "no", "maybe", None]), {"yes", "no"})
    >>> found.counts, found.unseen.counts, found.nulls
    ({'no': 1, 'yes': 1}, {'maybe': 1}, 1)
    """

    counts: dict[str, int] = msgspec.field(default_factory=dict)
    unseen: TopK = TopK()
    nulls: int = 0

    @classmethod
    def of(cls, column: pl.Series, known: Collection[str]) -> Categories:
        """Count a column of texts."""
        values = column.cast(pl.String)
        table = values.drop_nulls().rename("value").value_counts().sort("value")
        pairs = dict(zip(table["value"], table["count"], strict=True))
        unseen = values.filter(values.is_not_null() & ~values.is_in(list(known)))
        counts = {name: count for name, count in pairs.items() if name in known}
        return cls(counts, TopK.of(unseen), values.null_count())

    @property
    def n(self) -> int:
        """How many values were not null."""
        return sum(self.counts.values()) + self.unseen.n

    def __add__(self, other: Categories) -> Categories:
        names = sorted(set(self.counts) | set(other.counts))
        counts = {name: self.counts.get(name, 0) + other.counts.get(name, 0) for name in names}
        return Categories(counts, self.unseen + other.unseen, self.nulls + other.nulls)


class Distinct(Summary, frozen=True):
    """How many different values there were (HyperLogLog, Flajolet et al. 2007): 4096 registers, standard error 1.6 %.

    >>> import polars as pl
    >>> round((Distinct.of(pl.Series(["a", "b"])) + Distinct.of(pl.Series(["b", "c"]))).value)
    3
    """

    BITS: ClassVar[int] = 12

    registers: bytes = b""

    @classmethod
    def of(cls, column: pl.Series) -> Distinct:
        """Take in a column of any kind that can be written as text; nulls are left out."""
        texts = column.drop_nulls().cast(pl.String).unique().to_list()
        if not texts:
            return cls()
        digests = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
        hashes = np.frombuffer(digests, dtype=">u8").astype(np.uint64)
        cell = (hashes >> np.uint64(64 - cls.BITS)).astype(np.int64)
        rest = (hashes << np.uint64(cls.BITS)) | np.uint64((1 << cls.BITS) - 1)
        # The position of the first 1 bit, from the exponent of the upper 53 bits: they fit a float exactly.
        rank = 54 - np.frexp((rest >> np.uint64(11)).astype(np.float64))[1]
        registers = np.zeros(1 << cls.BITS, dtype=np.uint8)
        np.maximum.at(registers, cell, rank.astype(np.uint8))
        return cls(registers.tobytes())

    @property
    def value(self) -> float:
        """The estimated number of different values; linear counting while there are few."""
        if not self.registers:
            return 0.0
        registers = np.frombuffer(self.registers, dtype=np.uint8)
        m = len(registers)
        raw = 0.7213 / (1 + 1.079 / m) * m * m / float(np.power(2.0, -registers.astype(np.float64)).sum())
        empty = int((registers == 0).sum())
        return m * math.log(m / empty) if raw <= 2.5 * m and empty else raw

    def __add__(self, other: Distinct) -> Distinct:
        if not self.registers or not other.registers:
            return Distinct(self.registers or other.registers)
        pair = [np.frombuffer(part.registers, dtype=np.uint8) for part in (self, other)]
        return Distinct(np.maximum(pair[0], pair[1]).tobytes())


#: Every summary of this module, for reading them back.
SKETCHES: tuple[type[Summary], ...] = (Latency, TopK, Categories, Distinct)
