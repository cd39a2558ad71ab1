"""Risk against coverage: how often a model is wrong where it answers by itself, by the share of cases it answers.

A model that may leave cases to people is judged by two numbers: its *coverage*, the share of the cases that it answers
itself, and its *selective risk*, the share of wrong answers among those. Asked to be surer it answers less and errs
less; the risk-coverage curve shows every such trade (El-Yaniv & Wiener, JMLR 2010; Geifman & El-Yaniv, NeurIPS 2017).

>>> import numpy as np
>>> curve = risk_coverage([0.99, 0.9, 0.9, 0.6, 0.5], [True, True, False, True, False])
>>> [(round(float(c), 2), round(float(r), 2)) for c, r in zip(curve.coverage, curve.risk)]
[(0.2, 0.0), (0.6, 0.33), (0.8, 0.25), (1.0, 0.4)]
>>> print(curve.at(0.9).risk)                    # exact interval, for this one threshold
0.333 (0.0084 to 0.906, n 3)
>>> round(curve.aurc, 3)
0.263
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
import numpy.typing as npt

from andon.errors import UsageError
from andon.measure.estimate import CONFIDENCE, Estimate, undefined

__all__ = ["KnownCurve", "Point", "RiskCoverage", "clopper_pearson", "known_curve", "risk_coverage"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Point(msgspec.Struct, frozen=True):
    """One threshold: of all cases, ``coverage`` (of 1) have at least that confidence, ``accepted`` in number.

    ``risk`` is the share of wrong ones among them, ``errors`` in number, with the exact interval for this threshold
    alone.
    """

    threshold: float
    coverage: float
    accepted: int
    errors: int
    risk: Estimate


@dataclass(frozen=True, slots=True, eq=False)
class RiskCoverage:
    """The curve of ``n`` labelled cases: one entry for each distinct confidence, from the strictest threshold on.

    ``threshold`` has shape (k,) and falls; ``accepted`` and ``errors``, shape (k,), count the cases with at least that
    confidence, and the wrong ones among them. ``aurc`` is the area under the curve and ``excess`` how much of it a
    perfect order of the same answers would save; both are of all cases also where the curve was thinned, in units of
    risk, and NaN where no case may be accepted.
    """

    n: int
    threshold: Floats
    accepted: Ints
    errors: Ints
    aurc: float
    excess: float

    @property
    def coverage(self) -> Floats:
        """The share of all cases that are accepted, shape (k,); it rises."""
        return self.accepted / max(self.n, 1)

    @property
    def risk(self) -> Floats:
        """The share of wrong answers among the accepted ones, shape (k,)."""
        return self.errors / self.accepted

    def interval(self, confidence: float = CONFIDENCE) -> tuple[Floats, Floats]:
        """Both ends of the risk at each threshold, shape (k,) each: Clopper-Pearson, exact at one threshold.

        They hold **pointwise**: each covers its own true risk with ``confidence``, not all of them together. So they
        show how much is known; a threshold that is chosen by looking at them promises nothing
        (`andon.deploy.automation.learn_threshold` does). Thin a long curve first.

        >>> curve = risk_coverage([0.9, 0.8], [True, False])
        >>> [[round(float(end), 3) for end in ends] for ends in curve.interval()]
        [[0.0, 0.013], [0.975, 0.987]]
        """
        return clopper_pearson(self.errors, self.accepted, confidence)

    def at(self, threshold: float, confidence: float = CONFIDENCE) -> Point:
        """What a threshold accepts, such as the one that was promised.

        >>> risk_coverage([0.9, 0.8], [True, False]).at(0.95).risk.reason
        'no case is so sure'
        """
        index = int(np.searchsorted(-self.threshold, -threshold, side="right")) - 1
        if index < 0:
            return Point(threshold, 0.0, 0, 0, undefined("no case is so sure"))
        accepted, errors = int(self.accepted[index]), int(self.errors[index])
        low, high = clopper_pearson(errors, accepted, confidence)
        risk = Estimate(errors / accepted, float(low), float(high), accepted, "clopper-pearson")
        return Point(threshold, accepted / self.n, accepted, errors, risk)

    def thinned(self, points: int = 200, least: int = 1) -> RiskCoverage:
        """The curve with at most ``points`` entries, about evenly spaced in coverage; the last one stays.

        ``least`` leaves out thresholds that accept fewer cases: the risk of three cases is no picture of anything.
        Raises ``UsageError`` unless both are at least 1.

        >>> risk_coverage(np.linspace(1, 0, 1000), np.ones(1000, bool)).thinned(4).coverage.tolist()
        [0.25, 0.5, 0.75, 1.0]
        """
        if points < 1 or least < 1:
            raise UsageError(f"a curve is thinned to 1 point or more, found points {points} and least {least}")
        if not len(self.accepted):
            return self
        last = int(self.accepted[-1])
        wanted = np.linspace(last, 0, points, endpoint=False)
        kept = np.unique(np.searchsorted(self.accepted, np.maximum(np.ceil(wanted), min(least, last))))
        return RiskCoverage(
            self.n, self.threshold[kept], self.accepted[kept], self.errors[kept], self.aurc, self.excess
        )


def risk_coverage(
    confidence: Sequence[float] | Floats,
    correct: Sequence[bool] | npt.NDArray[np.bool_],
    labels: Sequence[str] | None = None,
    only: Collection[str] | None = None,
) -> RiskCoverage:
    """The risk-coverage curve of labelled cases: a ``confidence`` and whether the answer was ``correct``, shape (n,) each.

    Cases of equal confidence are accepted together. A case whose confidence is NaN, or whose answer (``labels``, shape
    (n,)) is not in ``only``, is never accepted, and counts in the coverage all the same. ``aurc`` is the mean of the risk
    over the coverages that can be reached (Geifman & El-Yaniv 2017; with distinct confidences the mean over all numbers
    of accepted cases), ``excess`` what is left of it when that of the best order is taken away (Geifman, Uziel &
    El-Yaniv, ICLR 2019).

    Takes n log n; 100,000 cases take a few hundredths of a second. Raises ``UsageError`` when the lengths differ, or
    ``only`` comes without ``labels``.

    >>> only_negatives = risk_coverage([0.9, 0.8, 0.7], [True, False, True], ["neg", "pos", "neg"], only={"neg"})
    >>> only_negatives.coverage.round(2).tolist(), only_negatives.risk.tolist()
    ([0.33, 0.67], [0.0, 0.0])
    """
    scores, right = np.asarray(confidence, dtype=np.float64), np.asarray(correct, dtype=np.bool_)
    if scores.shape != right.shape or scores.ndim != 1:
        raise UsageError(f"a curve needs one truth per confidence; found {right.shape} for {scores.shape}")
    if only is not None:
        if labels is None or len(labels) != len(scores):
            found = "none" if labels is None else f"{len(labels)}"
            raise UsageError(f"`only` needs the answer of each of the {len(scores)} cases as `labels`; found {found}")
        scores = np.where(np.isin(np.asarray(labels, dtype=object), list(only)), scores, np.nan)
    usable = ~np.isnan(scores)
    order = np.argsort(-scores[usable], kind="stable")
    ranked, wrong = scores[usable][order], np.cumsum(~right[usable][order], dtype=np.int64)
    if not len(ranked):
        return RiskCoverage(len(scores), ranked, wrong, wrong, float("nan"), float("nan"))
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    accepted, errors = last.astype(np.int64) + 1, wrong[last]
    area = float(np.average(errors / accepted, weights=np.diff(accepted, prepend=0)))
    return RiskCoverage(len(scores), ranked[last], accepted, errors, area, area - _best(len(ranked), int(wrong[-1])))


def _best(n: int, wrong: int) -> float:
    """The area where every right answer is surer than every wrong one."""
    counts = np.arange(1, n + 1)
    return float(np.mean(np.maximum(counts - (n - wrong), 0) / counts))


def clopper_pearson(k: npt.ArrayLike, n: npt.ArrayLike, confidence: float = CONFIDENCE) -> tuple[Floats, Floats]:
    """Both ends of the exact interval of the share ``k / n`` (Clopper & Pearson 1934), for arrays of any one shape.

    It covers the true share with at least ``confidence`` whatever that is. Nothing seen (n 0) leaves it at 0 to 1.
    Raises ``UsageError`` unless 0 <= k <= n and the confidence is inside (0, 1).

    >>> [round(float(end), 4) for end in clopper_pearson(0, 299)]
    [0.0, 0.0123]
    >>> clopper_pearson([1, 0], [1, 0])[1].tolist()
    [1.0, 1.0]
    """
    from scipy.special import betaincinv

    if not 0.0 < confidence < 1.0:
        raise UsageError(f"a confidence lies between 0 and 1, found {confidence:g}; 0.95 is usual")
    hits, all_ = np.asarray(k, dtype=np.float64), np.asarray(n, dtype=np.float64)
    if not np.all((hits >= 0) & (hits <= all_)):
        raise UsageError("a share needs 0 <= k <= n in every place")
    tail = (1 - confidence) / 2
    # Where an end is that of the scale the beta distribution has no such parameter: 1 stands in, and is thrown away.
    low = betaincinv(np.maximum(hits, 1), all_ - hits + 1, tail)
    high = betaincinv(hits + 1, np.maximum(all_ - hits, 1), 1 - tail)
    return np.where(hits == 0, 0.0, low), np.where(hits == all_, 1.0, high)


@dataclass(frozen=True, slots=True, eq=False)
class KnownCurve:
    """The curve of a simulated world, where the chance to be wrong is known for every case: nothing is estimated.

    ``threshold`` falls, ``coverage`` and ``risk`` belong to it, shape (k,) each.
    """

    threshold: Floats
    coverage: Floats
    risk: Floats

    def at(self, threshold: float) -> tuple[float, float]:
        """(coverage, true selective risk) at a threshold; (0, 0) where no case is so sure."""
        index = int(np.searchsorted(-self.threshold, -threshold, side="right")) - 1
        return (float(self.coverage[index]), float(self.risk[index])) if index >= 0 else (0.0, 0.0)

    def oracle(self, max_error: float) -> tuple[float | None, float]:
        """(threshold, coverage): the largest coverage whose true risk is at most ``max_error``, for who knows the truth.

        >>> known_curve([0.9, 0.8, 0.7, 0.6], [0.0, 0.02, 0.04, 0.5]).oracle(0.02)
        (0.7, 0.75)
        >>> known_curve([0.9], [0.5]).oracle(0.02)
        (None, 0.0)
        """
        # Shares of sums: an equality that is meant must not fail by the last bit.
        inside = np.flatnonzero(self.risk <= max_error * (1 + 1e-9))
        return (float(self.threshold[inside[-1]]), float(self.coverage[inside[-1]])) if len(inside) else (None, 0.0)


def known_curve(confidence: Sequence[float] | Floats, chance: Sequence[float] | Floats) -> KnownCurve:
    """The true curve of a population of cases: each one's ``confidence`` and ``chance`` to be answered wrongly, shape (n,).

    Cases whose confidence is NaN are never accepted. Raises ``UsageError`` when the lengths differ or there is none.

    >>> known_curve([0.9, 0.6, 0.6], [0.1, 0.3, 0.2]).risk.round(3).tolist()
    [0.1, 0.2]
    """
    scores, wrong = np.asarray(confidence, dtype=np.float64), np.asarray(chance, dtype=np.float64)
    if scores.shape != wrong.shape or scores.ndim != 1 or not len(scores):
        raise UsageError(f"a known curve needs one chance per confidence; found {wrong.shape} for {scores.shape}")
    usable = ~np.isnan(scores)
    order = np.argsort(-scores[usable], kind="stable")
    ranked, summed = scores[usable][order], np.cumsum(wrong[usable][order])
    last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1) if len(ranked) else np.empty(0, dtype=np.int64)
    return KnownCurve(ranked[last], (last + 1) / len(scores), summed[last] / (last + 1))
