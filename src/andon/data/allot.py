"""Exact allotment: whole rows into parts, so that totals and every stratum are as near their share as whole rows allow.

>>> largest_remainder(100, (0.6, 0.2, 0.2))
[60, 20, 20]
>>> controlled_rounding(np.outer([30, 70], [0.6, 0.2, 0.2])).tolist()
[[18, 6, 6], [42, 14, 14]]
>>> f"{unlucky(100, 30, (20, 20), 3):.1%} {1 - unlucky(100, 30, (20, 20), 1):.2%}"
'30.7% 4.73%'
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csr_array
from scipy.stats import hypergeom

__all__ = ["controlled_rounding", "largest_remainder", "unlucky"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_EPSILON = 1e-9
#: Missing a part's total by one row costs more than any choice inside the strata can gain.
_TOTAL = 1_000.0
#: Beyond this many cells the exact probability is not worth its time; it is nil by then.
_CELLS_MAX = 4_000_000


def largest_remainder(total: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers that add up to ``total``, each below one from its share; earlier ones first where remainders tie.

    >>> largest_remainder(10, (1, 1, 1))
    [4, 3, 3]
    """
    ideal = np.asarray(shares, dtype=np.float64) / sum(shares) * total
    floor = np.floor(ideal + _EPSILON).astype(np.int64)
    order = np.argsort(-np.round(ideal - floor, 9), kind="stable")
    floor[order[: total - int(floor.sum())]] += 1
    return [int(n) for n in floor]


def controlled_rounding(ideal: Floats) -> Ints:
    """Round a table (strata x parts) so that every cell goes to a neighbouring whole number and all totals fit.

    Row totals must be whole; column totals become the largest-remainder rounding of theirs (where the table allows it:
    it nearly always does). This is Cox's controlled rounding (JASA 82, 1987), solved as a small transport problem.
    """
    floor = np.floor(ideal + _EPSILON).astype(np.int64)
    part = np.clip(ideal - floor, 0.0, 1.0)
    part[part < _EPSILON] = 0.0
    rows = np.rint(ideal.sum(axis=1)).astype(np.int64) - floor.sum(axis=1)
    busy = np.flatnonzero(rows > 0)
    if not busy.size:
        return floor
    total = int(np.rint(ideal.sum()))
    columns = np.asarray(largest_remainder(total, [float(n) for n in ideal.sum(axis=0)])) - floor.sum(axis=0)
    rounded: Ints = floor.copy()
    rounded[busy] += _transport(part[busy], rows[busy], columns)
    return rounded


def unlucky(total: int, positives: int, sizes: Sequence[int], off: int) -> float | None:
    """The chance that a random draw leaves at least one of the parts ``off`` or more positives from its share.

    ``sizes`` are the parts drawn (all but one). Exact (hypergeometric, part after part); None when the table would be
    too large to be worth it.
    """
    if total <= 0 or (positives + 1) * (max(sizes, default=0) + 1) > _CELLS_MAX:
        return None
    chance = np.zeros(positives + 1)
    chance[positives] = 1.0  # by how many positives are left
    rows = total
    for size in sizes:
        drawn = np.arange(0, min(size, positives) + 1)
        fine = drawn[np.abs(drawn - size * positives / total) < off - _EPSILON]
        after = np.zeros_like(chance)
        for left in np.flatnonzero(chance):
            possible = fine[fine <= left]
            after[left - possible] += chance[left] * hypergeom.pmf(possible, rows, left, size)
        chance, rows = after, rows - size
    return float(min(1.0, max(0.0, 1.0 - chance.sum())))


def _transport(part: Floats, rows: Ints, columns: Ints) -> Ints:
    """Ones in the cells with a remainder: ``rows`` of them per stratum, ``columns`` per part, largest remainders first."""
    strata, parts = part.shape
    cells = strata * parts
    index = np.arange(cells)
    slack = np.arange(parts)
    row_of = np.concatenate([index // parts, strata + index % parts, strata + slack, strata + slack])
    column_of = np.concatenate([index, index, cells + slack, cells + parts + slack])
    signs = np.concatenate([np.ones(2 * cells), np.ones(parts), -np.ones(parts)])
    equal = csr_array((signs, (row_of, column_of)), shape=(strata + parts, cells + 2 * parts))
    cost = np.concatenate([-part.ravel(), np.full(2 * parts, _TOTAL)])
    upper = np.concatenate([(part.ravel() > 0).astype(np.float64), np.full(2 * parts, np.inf)])
    bounds = np.column_stack([np.zeros_like(upper), upper])
    solved = linprog(cost, A_eq=equal, b_eq=np.concatenate([rows, columns]), bounds=bounds, method="highs-ds")
    ones: Ints = np.rint(solved.x[:cells]).astype(np.int64).reshape(strata, parts)
    return ones
