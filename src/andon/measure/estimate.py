"""An estimate is a number with how sure we are of it, or the reason why there is none.

``low`` and ``high`` bound the 95 % interval (unless another confidence was asked for); one of them is None where the
data leave that side open. ``n`` is the number of rows the number rests on. An undefined estimate has ``value`` None and
says why: it is never shown as 0 and never counts as good news.

>>> import msgspec
>>> msgspec.json.encode(wilson(68, 77)).decode()
'{"value":0.8831...,"low":0.7925...,"high":0.9372...,"n":77,"method":"wilson"}'
>>> msgspec.json.encode(undefined("nothing was predicted positive", 0)).decode()
'{"value":null,"low":null,"high":null,"n":0,"method":"undefined","reason":"nothing was predicted positive"}'
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import msgspec
import numpy as np
import numpy.typing as npt

from andon.errors import UsageError

__all__ = [
    "CONFIDENCE",
    "Estimate",
    "bootstrap",
    "exact",
    "mean_interval",
    "mover",
    "normal_quantile",
    "rate",
    "undefined",
    "wilson",
]

#: The confidence of every interval unless another is asked for.
CONFIDENCE = 0.95

Array = npt.NDArray[np.float64]


class Estimate(msgspec.Struct, frozen=True, omit_defaults=True):
    """A value with its interval, the number of rows ``n`` behind it and the method; or None with a ``reason``."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    method: str
    reason: str | None = None

    @property
    def defined(self) -> bool:
        """Whether there is a value."""
        return self.value is not None

    def scaled(self, factor: float) -> Estimate:
        """The same estimate in another unit.

        >>> wilson(1, 2).scaled(100).value
        50.0
        """
        ends = [None if end is None else end * factor for end in (self.value, self.low, self.high)]
        if factor < 0:
            ends[1], ends[2] = ends[2], ends[1]
        return Estimate(ends[0], ends[1], ends[2], self.n, self.method, self.reason)

    def __str__(self) -> str:
        """For people: ``0.883 (0.793 to 0.937, n 77)``."""
        if self.value is None:
            return f"undefined ({self.reason})"
        return f"{_show(self.value)} ({_show(self.low)} to {_show(self.high)}, n {self.n})"


def undefined(reason: str, n: int = 0) -> Estimate:
    """No value, and why.

    >>> str(undefined("no labels yet"))
    'undefined (no labels yet)'
    """
    return Estimate(None, None, None, n, "undefined", reason)


def exact(value: float, n: int) -> Estimate:
    """A number that was counted and not estimated.

    >>> exact(3, 3).high
    3.0
    """
    return Estimate(float(value), float(value), float(value), n, "exact")


def wilson(k: float, n: float, confidence: float = CONFIDENCE, *, rows: int | None = None) -> Estimate:
    """The share ``k / n`` with Wilson's score interval (Wilson 1927), which stays honest at 0, at 1 and for small n.

    ``k`` and ``n`` may be effective (weighted) numbers; ``rows`` is then the number of rows behind them. Raises
    ``UsageError`` unless 0 <= k <= n.

    >>> print(wilson(68, 86))
    0.791 (0.693 to 0.863, n 86)
    >>> print(wilson(0, 0))
    undefined (0 of 0)
    """
    _check_confidence(confidence)
    if not 0 <= k <= n * (1 + 1e-9) or not math.isfinite(n):
        raise UsageError(f"a share needs 0 <= k <= n, found k {k:g} and n {n:g}")
    count = round(n) if rows is None else rows
    if n == 0:
        return undefined("0 of 0", count)
    z2 = normal_quantile(confidence) ** 2
    share = min(k / n, 1.0)
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) / n + z2 / (4 * n * n))) / (1 + z2 / n)
    low = 0.0 if share == 0 else max(0.0, centre - half)
    high = 1.0 if share == 1 else min(1.0, centre + half)
    return Estimate(share, low, high, count, "wilson")


def mean_interval(n: int, mean: float, m2: float, confidence: float = CONFIDENCE) -> Estimate:
    """A mean with Student's interval, from ``n``, the mean and the sum of squared deviations ``m2``.

    One row has a mean but no interval: both ends are open.

    >>> print(mean_interval(4, 2.5, 5.0))
    2.5 (0.446 to 4.55, n 4)
    >>> print(mean_interval(1, 2.5, 0.0))
    2.5 (open to open, n 1)
    """
    _check_confidence(confidence)
    if n == 0:
        return undefined("no values", 0)
    if n == 1:
        return Estimate(mean, None, None, 1, "t")
    from scipy.special import stdtrit

    half = float(stdtrit(n - 1, 0.5 + confidence / 2)) * math.sqrt(max(m2, 0.0) / (n - 1) / n)
    return Estimate(mean, mean - half, mean + half, n, "t")


def rate(n: int, span: float, confidence: float = CONFIDENCE) -> Estimate:
    """Events per unit of time with Garwood's exact Poisson interval (1936).

    >>> print(rate(10, 5.0))
    2 (0.959 to 3.68, n 10)
    """
    _check_confidence(confidence)
    if span <= 0:
        return undefined("no time passed", n)
    from scipy.special import gammaincinv

    tail = (1 - confidence) / 2
    low = float(gammaincinv(n, tail)) if n else 0.0
    return Estimate(n / span, low / span, float(gammaincinv(n + 1, 1 - tail)) / span, n, "poisson")


def mover(parts: Sequence[Estimate], weights: Sequence[float], correlation: Array, n: int) -> Estimate:
    """A weighted sum of estimates with an interval recovered from theirs.

    MOVER (Zou and Donner 2008) with the correlations of the parts: it keeps what is good in the parts' own intervals, so that
    a class never seen to fail still counts as one that may. ``correlation`` has shape (parts, parts).

    >>> import numpy as np
    >>> print(mover([wilson(5, 10), wilson(10, 10)], [0.5, 0.5], np.eye(2), 10))
    0.75 (0.559 to 0.882, n 10)
    """
    missing = [part.reason for part in parts if part.value is None]
    if missing or not parts:
        return undefined(missing[0] or "a part is undefined" if missing else "no parts", n)
    value = np.array([part.value for part in parts], dtype=np.float64)
    low = np.array([-np.inf if part.low is None else part.low for part in parts])
    high = np.array([np.inf if part.high is None else part.high for part in parts])
    weight = np.asarray(weights, dtype=np.float64)
    down = weight * np.where(weight >= 0, value - low, value - high)
    up = weight * np.where(weight >= 0, high - value, low - value)
    total = float(weight @ value)
    # The correlation of weighted parts: a negative weight turns its sign.
    correlation = correlation * np.outer(np.sign(weight), np.sign(weight))
    below, above = _norm(down, correlation), _norm(up, correlation)
    return Estimate(
        total, None if below is None else total - below, None if above is None else total + above, n, "mover"
    )


def bootstrap(
    values: npt.ArrayLike,
    statistic: Callable[[Array], float],
    confidence: float = CONFIDENCE,
    *,
    draws: int = 2000,
    seed: int = 0,
) -> Estimate:
    """Any statistic of rows with the percentile bootstrap interval (Efron 1979); the same seed gives the same ends.

    ``values`` has shape (n,) or (n, columns); rows are drawn together. Fewer than two rows leave both ends open.

    >>> print(bootstrap([1.0, 2.0, 3.0, 4.0, 5.0], np.median))
    3 (1 to 5, n 5)
    """
    _check_confidence(confidence)
    rows = np.asarray(values, dtype=np.float64)
    n = len(rows)
    if n == 0:
        return undefined("no values", 0)
    value = float(statistic(rows))
    if n == 1:
        return Estimate(value, None, None, 1, "bootstrap")
    random = np.random.default_rng(seed)
    drawn = [float(statistic(rows[random.integers(0, n, n)])) for _ in range(draws)]
    # A draw in which the statistic does not exist (nan) says nothing about where it lies.
    low, high = np.nanquantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Estimate(value, float(low), float(high), n, "bootstrap")


def _norm(parts: Array, correlation: Array) -> float | None:
    if not np.isfinite(parts).all():
        return None
    return math.sqrt(max(float(parts @ correlation @ parts), 0.0))


def normal_quantile(confidence: float) -> float:
    """How many standard deviations a two-sided interval reaches to each side.

    >>> round(normal_quantile(0.95), 6)
    1.959964
    """
    return NormalDist().inv_cdf(0.5 + confidence / 2)


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise UsageError(f"a confidence lies between 0 and 1, found {confidence:g}; 0.95 is usual")


def _show(value: float | None) -> str:
    return "open" if value is None else f"{value:.3g}"
