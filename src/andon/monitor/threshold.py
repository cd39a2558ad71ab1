"""Where an alarm's bound comes from: the charter (static), or what the reference windows did.

A reference bound is a prediction interval for the next window. Windows differ for two reasons: few rows (known from
the reference windows' own intervals) and the process itself (``tau2``, what is left of their spread, by the method of
moments). So a bound from it is wider for a window with few rows, and a quiet night does not ring. How much rows differ
is taken from the reference, never from the window judged: one in which a lamp failed half-way differs very much within
itself, and would excuse itself.

>>> from andon.measure.estimate import wilson
>>> calm = reference([wilson(15 + i % 3, 100) for i in range(20)], alpha=0.001)
>>> judge("cough", wilson(4, 200), calm).verdict.value, judge("cough", wilson(1, 10), calm).verdict.value
('fail', 'pass')
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec

from andon.core.clock import DAY
from andon.core.verdict import Verdict
from andon.measure.estimate import CONFIDENCE, Estimate, exact, normal_quantile
from andon.measure.gate import Bound, GateResult, gate

__all__ = ["LEAST_WINDOWS", "Reference", "alarm_alpha", "judge", "reference"]

#: Fewer reference windows than this say too little about how windows differ.
LEAST_WINDOWS = 5
_MONTH = 30 * DAY


class Reference(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the reference windows were like: their mean, the spread of the process, and how often an alarm may be false.

    ``reason`` says why there is no bound (too few windows); ``windows`` is how many there were; ``row_variance`` is the
    variance of a single row, so that of a window with n rows is an n-th of it.
    """

    mean: float
    tau2: float
    variance: float
    windows: int
    alpha: float
    reason: str | None = None
    row_variance: float = 0.0

    def bound(self, rows: int) -> Bound:
        """The prediction interval for a window with so many ``rows`` (at least 1)."""
        from scipy.special import stdtrit

        reach = float(stdtrit(self.windows - 1, 1 - self.alpha / 2))
        half = reach * math.sqrt(self.tau2 + self.variance / self.windows + self.row_variance / rows)
        return Bound(self.mean - half, self.mean + half)


def alarm_alpha(false_per_month: float, window_us: int, alarms: int) -> float:
    """How often one alarm may be false per window, for all of them together to keep the month's budget.

    >>> round(alarm_alpha(1, 7 * DAY, 2), 4)
    0.1167
    >>> alarm_alpha(1, 300_000_000, 10) < 1.2e-5
    True
    """
    return min(max(false_per_month * window_us / _MONTH / max(alarms, 1), 1e-9), 0.2)


def reference(windows: Sequence[Estimate], alpha: float) -> Reference:
    """Learn from the estimates of the reference's windows; undefined ones are left out."""
    known = [
        (float(window.value), error, window.n)
        for window in windows
        if window.value is not None and (error := _error(window)) is not None
    ]
    k = len(known)
    if k < LEAST_WINDOWS:
        return Reference(0.0, 0.0, 0.0, k, alpha, f"{k} reference windows; at least {LEAST_WINDOWS} are needed")
    mean = sum(value for value, _, _ in known) / k
    variance = sum((value - mean) ** 2 for value, _, _ in known) / (k - 1)
    sampling = sum(error * error for _, error, _ in known) / k
    of_row = sum(error * error * n for _, error, n in known) / k
    return Reference(mean, max(variance - sampling, 0.0), variance, k, alpha, row_variance=of_row)


def judge(metric: str, estimate: Estimate, limits: Reference, cohort: str = "") -> GateResult:
    """Hold a window's value against the prediction interval for a window of its size.

    The interval already allows for how few rows the window has, so here the value decides: outside is a fail. Without a
    value, with a single row, or without enough reference windows, the verdict is unsure.
    """
    if limits.reason is not None or estimate.value is None or _error(estimate) is None:
        reason = limits.reason or estimate.reason or "one row, so no interval"
        sentence = f"{metric}: {reason}, so the reference can not be compared"
        return GateResult(metric, Verdict.UNSURE, sentence, estimate, Bound(), cohort)
    bound = limits.bound(estimate.n)
    found = gate(metric, exact(estimate.value, estimate.n), bound, cohort)
    name = f"{metric} on {cohort}" if cohort else metric
    side = "inside" if found.verdict is Verdict.PASS else "outside"
    low, high = bound.low or 0.0, bound.high or 0.0
    sentence = f"{name} is {estimate}: {side} what the reference leads to expect, {low:.3g} to {high:.3g}"
    return GateResult(metric, found.verdict, sentence, estimate, bound, cohort)


def _error(estimate: Estimate) -> float | None:
    """The standard error that an estimate's interval shows, or None where an end is open."""
    if estimate.low is None or estimate.high is None:
        return None
    return (estimate.high - estimate.low) / (2 * normal_quantile(CONFIDENCE))
