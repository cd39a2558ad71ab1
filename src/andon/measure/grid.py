"""A frozen grid: what is kept of a numeric column so that drift can be judged without a sketch's error.

The edges are quantiles of the reference, fixed once; every later window counts into the same cells, so merging is
addition, reruns and shards agree bit for bit, and statistics between two windows have no error at the edges. A value
that the reference repeats (an atom, like 0) has a cell of its own. The two outermost cells are open tails.

>>> import numpy as np
>>> reference = from_reference(np.arange(1000.0), cells=10)
>>> same, moved = reference.like(np.arange(1000.0)), reference.like(np.arange(1000.0) + 300)
>>> reference.ks(same), round(reference.ks(moved), 2)
(0.0, 0.3)
>>> (same + moved).n
2000
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from andon.errors import UsageError
from andon.measure.summary import Summary

__all__ = ["Grid", "from_reference"]

Array = npt.NDArray[np.float64]

#: Cells with fewer expected rows than this are pooled with their neighbours before PSI and JS (the usual rule for chi2).
POOL = 5.0


class Grid(Summary, frozen=True):
    """Counts and sums per cell of a numeric column, on fixed ``edges``.

    Cell 0 holds what is below the first edge, cell i what is in [edges[i-1], edges[i]), the last one the rest: there
    are ``len(edges) + 1`` cells. ``nulls``, ``nans`` and ``infinite`` values are counted apart. ``Grid()`` is the
    identity of ``+``.
    """

    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()
    sums: tuple[float, ...] = ()
    nulls: int = 0
    nans: int = 0
    infinite: int = 0

    @property
    def n(self) -> int:
        """How many finite values were counted."""
        return sum(self.counts)

    @property
    def tails(self) -> tuple[int, int]:
        """How many values lay below and above all that the reference held."""
        return (self.counts[0], self.counts[-1]) if self.counts else (0, 0)

    def like(self, values: npt.ArrayLike) -> Grid:
        """Only these values, on the same edges."""
        return _counted(np.array(self.edges), _as_floats(values))

    def add(self, values: npt.ArrayLike) -> Grid:
        """The same grid with more values counted in; raises ``UsageError`` when it has no edges yet."""
        if not self.edges:
            raise UsageError("a grid without edges can not count; build it with from_reference")
        return self + self.like(values)

    def __add__(self, other: Grid) -> Grid:
        if not self.edges or not other.edges:
            most, less = (self, other) if self.edges else (other, self)
            return _with_missing(most, less)
        self._same_edges(other)
        counts = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        sums = tuple(a + b for a, b in zip(self.sums, other.sums, strict=True))
        return _with_missing(Grid(self.edges, counts, sums, self.nulls, self.nans, self.infinite), other)

    def ks(self, other: Grid) -> float:
        """The Kolmogorov-Smirnov statistic at the edges: the largest distance between the two distributions.

        The exact statistic of the rows lies between this and ``ks_high``.
        """
        p, q = self._shares(other)
        return float(np.abs(np.cumsum(p - q)).max())

    def ks_high(self, other: Grid) -> float:
        """An upper bound of the exact statistic: within a cell the distance can grow by at most the cell's share.

        >>> import numpy as np
        >>> grid = from_reference(np.arange(100.0), cells=4)
        >>> grid.ks(grid) <= grid.ks_high(grid) <= 0.3
        True
        """
        p, q = self._shares(other)
        before = np.cumsum(p - q) - (p - q)
        return float(np.maximum(before + p, q - before).clip(0, 1).max())

    def psi(self, other: Grid) -> float:
        """The population stability index of ``other`` against this reference, on pooled cells.

        A cell that one side never fills counts there as half a row, so the index stays finite.
        """
        p, q = self._pooled(other)
        return float(((q - p) * np.log(q / p)).sum())

    def js(self, other: Grid) -> float:
        """The Jensen-Shannon distance (base 2, in [0, 1]) on pooled cells."""
        p, q = self._pooled(other)
        middle = (p + q) / 2
        divergence = (p * np.log2(p / middle) + q * np.log2(q / middle)).sum() / 2
        return math.sqrt(max(float(divergence), 0.0))

    def psi_limit(self, other: Grid, alpha: float = 0.05) -> float:
        """What PSI exceeds with probability ``alpha`` when nothing changed, given both sizes.

        PSI / (1/n + 1/m) tends to chi2 with (cells - 1) degrees of freedom.
        """
        from scipy.special import chdtri

        cells = len(self._pooled(other)[0])
        return (1 / self.n + 1 / other.n) * float(chdtri(max(cells - 1, 1), alpha))

    def _shares(self, other: Grid) -> tuple[Array, Array]:
        self._same_edges(other)
        if self.n == 0 or other.n == 0:
            raise UsageError("distributions can only be compared when both have values")
        return np.array(self.counts) / self.n, np.array(other.counts) / other.n

    def _pooled(self, other: Grid) -> tuple[Array, Array]:
        """Shares on cells that hold at least ``POOL`` expected rows of the smaller side."""
        self._shares(other)
        a, b = np.array(self.counts, dtype=np.float64), np.array(other.counts, dtype=np.float64)
        expected = (a + b) / (self.n + other.n) * min(self.n, other.n)
        pool = np.minimum(np.floor((np.cumsum(expected) - expected / 2) / POOL), max(expected.sum() // POOL - 1, 0))
        group = np.unique(pool, return_inverse=True)[1]
        sides = [np.maximum(np.bincount(group, weights=side), 0.5) for side in (a, b)]
        return sides[0] / sides[0].sum(), sides[1] / sides[1].sum()

    def _same_edges(self, other: Grid) -> None:
        if self.edges != other.edges:
            raise UsageError(
                "grids with different edges can neither be added nor compared; count both on one reference"
            )


def from_reference(values: npt.ArrayLike, cells: int = 256) -> Grid:
    """A grid whose edges are the quantiles of these values, with the values counted in.

    Raises ``UsageError`` when no value is finite or ``cells`` is below 1.

    >>> from_reference([0.0, 0.0, 0.0, 1.0, 2.0], cells=4).counts[1]
    3
    """
    if cells < 1:
        raise UsageError(f"a grid has at least one cell, found {cells}")
    column = _as_floats(values)
    finite = column[np.isfinite(column)]
    if len(finite) == 0:
        raise UsageError("a reference grid needs at least one finite value")
    quantiles = np.quantile(finite, np.linspace(0, 1, cells + 1), method="inverted_cdf")
    distinct, repeats = np.unique(quantiles, return_counts=True)
    # A value on two quantiles is an atom: an edge right above it gives it a cell of its own. The largest value also
    # gets one, so that the upper tail holds only what the reference never reached.
    atoms = np.nextafter(np.append(distinct[repeats > 1], distinct[-1]), np.inf)
    return _counted(np.unique(np.concatenate([distinct, atoms])), column)


def _counted(edges: Array, column: Array) -> Grid:
    missing = np.isnan(column)
    infinite = np.isinf(column)
    finite = column[~missing & ~infinite]
    cell = np.searchsorted(edges, finite, side="right")
    counts = np.bincount(cell, minlength=len(edges) + 1)
    sums = np.bincount(cell, weights=finite, minlength=len(edges) + 1)
    return Grid(
        tuple(float(edge) for edge in edges),
        tuple(int(count) for count in counts),
        tuple(float(total) for total in sums),
        0,
        int(missing.sum()),
        int(infinite.sum()),
    )


def _with_missing(grid: Grid, other: Grid) -> Grid:
    missing = (grid.nulls + other.nulls, grid.nans + other.nans, grid.infinite + other.infinite)
    return Grid(grid.edges, grid.counts, grid.sums, *missing)


def _as_floats(values: npt.ArrayLike) -> Array:
    return np.asarray(values, dtype=np.float64).reshape(-1)
