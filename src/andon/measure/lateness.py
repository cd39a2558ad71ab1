"""How long answers took: exact quantiles with intervals that need no distribution, and the share that came too late.

A request that was never answered is a latency of infinity: it counts as late in every quantile, and is never left out.

>>> import numpy as np
>>> took = np.arange(1.0, 10_001.0)
>>> print(quantile(took, 0.95))
9.5e+03 (9.46e+03 to 9.54e+03, n 10000)
>>> quantile(took[:100], 0.999).high is None, fewest(0.999)
(True, 3688)
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from andon.measure.estimate import CONFIDENCE, Estimate, undefined, wilson

__all__ = ["fewest", "late_share", "quantile"]

Array = npt.NDArray[np.float64]


def fewest(level: float, confidence: float = CONFIDENCE) -> int:
    """How many values it takes before the upper end of this quantile's interval can be told at all."""
    return math.ceil(math.log((1 - confidence) / 2) / math.log(level))


def quantile(values: Array, level: float, confidence: float = CONFIDENCE) -> Estimate:
    """The smallest value that at least ``level`` of all values do not exceed; its interval is between two order statistics.

    ``values`` may be in any order and hold infinities. An end that lies at infinity, or beyond all values, is open (None).

    >>> import numpy as np
    >>> quantile(np.array([]), 0.5).reason
    'nothing was measured'
    >>> quantile(np.array([1.0, 2.0, np.inf]), 0.9).reason
    'more than 10 % were never answered'
    """
    n = len(values)
    if n == 0:
        return undefined("nothing was measured")
    from scipy.special import bdtrik

    ordered = np.sort(values)
    tail = (1 - confidence) / 2
    at = max(0, math.ceil(level * n - 1e-9) - 1)
    if not math.isfinite(ordered[at]):
        return undefined(f"more than {100 * (1 - level):.3g} % were never answered", n)
    below, above = float(bdtrik(tail, n, level)), float(bdtrik(1 - tail, n, level))
    low = max(0, math.floor(below) - 1) if math.isfinite(below) else 0
    high = math.ceil(above) if math.isfinite(above) else n
    if level**n > tail:
        high = n  # even the largest value may lie below the quantile
    end = float(ordered[high]) if high < n else math.inf
    return Estimate(
        float(ordered[at]),
        float(ordered[min(low, at)]),
        end if math.isfinite(end) else None,
        n,
        "order statistics",
    )


def late_share(late: npt.NDArray[np.bool_], block: npt.NDArray[np.int64]) -> Estimate:
    """The share of late answers with Wilson's interval; ``block`` is the second each request belongs to.

    Late answers come in heaps (one stall makes many), so that n of them say less than n coins would: the interval is that
    of as many independent answers as the scatter between blocks is worth (the design effect, Kish 1965).

    >>> import numpy as np
    >>> second = np.repeat(np.arange(10), 100)
    >>> print(late_share(np.tile(np.arange(10) == 0, 100), second))
    0.1 (0.0829 to 0.12, n 1000)
    >>> print(late_share(np.repeat(np.arange(10) == 0, 100), second))
    0.1 (0.0...
    """
    n, k = len(late), int(late.sum())
    if n == 0:
        return undefined("nothing was measured")
    effect = max(1.0, _design_effect(late, block, k / n))
    return wilson(k / effect, n / effect, rows=n)


def _design_effect(late: npt.NDArray[np.bool_], block: npt.NDArray[np.int64], share: float) -> float:
    """The variance of the share over blocks, in units of what independent answers would have."""
    size = np.bincount(block).astype(np.float64)
    found = np.bincount(block, weights=late)
    blocks = int((size > 0).sum())
    if blocks < 2 or share in (0.0, 1.0):
        return 1.0
    residual = found - share * size
    variance = blocks / (blocks - 1) * float((residual**2).sum()) / len(late) ** 2
    return variance / (share * (1 - share) / len(late))
