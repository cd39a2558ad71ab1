"""Bounded values in a rollout (a score, a loss, revenue per case): the difference of the arms' means, at any look.

Each unit gives a score whose mean is the difference, whatever the other arm would have said: the value less what was
expected of it (``centre``), over the probability with which its arm was drawn. So base rates may change and shares may
ramp, as with counts (inverse propensity weights). Two bets on these scores make the three-way verdict; an
empirical-Bernstein confidence sequence is the interval beside it. A unit counts once.

Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", JRSS B 2023; Howard, Ramdas, McAuliffe
& Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals of Statistics 2021.

>>> cost = Difference.begin(low=0.0, high=1.0, margin=0.1)
>>> arms = [(n % 2 == 0, 0.5, 0.9 if n % 2 == 0 else 0.2) for n in range(200)]
>>> found = cost.add(arms)
>>> found.verdict(), round(found.interval().value, 2)
('harm', 0.7)
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, Self

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from andon.errors import UsageError
from andon.measure.estimate import Estimate, undefined
from andon.measure.evidence import STAKES, Means
from andon.measure.guardrail import Said

__all__ = ["Bounded", "Difference", "Scored", "bets", "score"]

Array = npt.NDArray[np.float64]

#: A unit's (candidate, rho, value): whether it was the candidate's, with which probability, and what it gave.
Scored = tuple[bool, float, float]

#: The largest bet of the confidence sequence.
_MOST = 0.5


def score(candidate: bool, rho: float, value: float, centre: float) -> float:
    """A unit's score: its mean is the candidate's mean less the live one's, for any ``centre`` chosen before.

    >>> round(0.1 * score(True, 0.1, 5.0, 4.0) + 0.9 * score(False, 0.1, 3.0, 4.0), 9)   # 5 less 3
    2.0
    """
    return ((1.0 - rho if candidate else -rho) / (rho * (1.0 - rho))) * (value - centre)


class Bounded(msgspec.Struct, frozen=True):
    """A confidence sequence for a mean of bounded values, each with its own bounds if need be: seven floats.

    The predictable plug-in empirical-Bernstein sequence (Waudby-Smith & Ramdas 2023, theorem 2). It holds at all times
    together with confidence 1 - ``alpha``, and needs of the values only that each has this mean given those before.
    """

    alpha: float = 0.05
    weight: float = 0.0
    total: float = 0.0
    penalty: float = 0.0
    n: int = 0
    mean: float = 0.5
    spread: float = 0.25

    def add(self, value: float, low: float = 0.0, high: float = 1.0) -> Self:
        """One value within [low, high], bounds that were known before it. Raises ``UsageError`` outside of them."""
        slack = 1e-9 * (high - low)
        if not low < high or not low - slack <= value <= high + slack:
            raise UsageError(f"a confidence sequence: expected a value from {low:g} to {high:g}, found {value:g}")
        step, width = self.n + 1, high - low
        place = min(max((value - low) / width, 0.0), 1.0)
        bet = min(_MOST, math.sqrt(2 * math.log(2 / self.alpha) / (self.spread * step * math.log1p(step))))
        mean = self.mean + (place - self.mean) / (step + 1)
        return replace(
            self,
            weight=self.weight + bet / width,
            total=self.total + bet * value / width,
            penalty=self.penalty + (place - self.mean) ** 2 * (-math.log1p(-bet) - bet),
            n=step,
            mean=mean,
            spread=self.spread + ((place - mean) ** 2 - self.spread) / (step + 1),
        )

    def many(self, values: Array, low: Array, high: Array) -> Self:
        """As ``add``, value by value, of arrays of one length; equal to it up to rounding.

        >>> one = Bounded().add(0.2).add(0.6)
        >>> both = Bounded().many(np.array([0.2, 0.6]), np.zeros(2), np.ones(2))
        >>> both.n, bool(abs(both.penalty - one.penalty) < 1e-12)
        (2, True)
        """
        if not len(values):
            return self
        width = high - low
        slack = 1e-9 * width
        if wrong := values[~((values >= low - slack) & (values <= high + slack))].tolist():
            raise UsageError(f"a confidence sequence: a value is out of its bounds, found {wrong[0]:g}")
        steps = self.n + 1 + np.arange(len(values) + 1, dtype=np.float64)
        place = np.clip((values - low) / width, 0.0, 1.0)
        means = np.cumsum(np.concatenate([[self.mean * steps[0]], place])) / steps
        off = (place - means[1:]) ** 2
        spread = np.cumsum(np.concatenate([[self.spread * steps[0]], off])) / steps
        bets_ = np.minimum(_MOST, np.sqrt(2 * math.log(2 / self.alpha) / (spread * steps * np.log1p(steps))))[:-1]
        return replace(
            self,
            weight=self.weight + float(np.sum(bets_ / width)),
            total=self.total + float(np.sum(bets_ * values / width)),
            penalty=self.penalty + float(np.sum((place - means[:-1]) ** 2 * (-np.log1p(-bets_) - bets_))),
            n=self.n + len(values),
            mean=float(means[-1]),
            spread=float(spread[-1]),
        )

    def interval(self) -> Estimate:
        """The mean (weighted by the bets) and its interval now.

        >>> str(Bounded().interval())
        'undefined (no values yet)'
        """
        if not self.n:
            return undefined("no values yet")
        value, half = self.total / self.weight, (math.log(2 / self.alpha) + self.penalty) / self.weight
        return Estimate(value, value - half, value + half, self.n, "empirical-bernstein")


def bets(test: Means, values: Array) -> Means:
    """As ``test.add``, with the peak taken after every value. Raises ``UsageError`` for a value out of bounds.

    >>> values = np.array([0.9] * 40 + [0.1] * 400)
    >>> bets(Means(0.5, 0.0, 1.0), values).reached(0.05), Means(0.5, 0.0, 1.0).add(values.tolist()).reached(0.05)
    (True, False)
    """
    if not len(values):
        return test
    slack = 1e-9 * (test.high - test.low)
    if wrong := values[~((values >= test.low - slack) & (values <= test.high + slack))].tolist():
        raise UsageError(
            f"an e-process on a mean: expected values from {test.low:g} to {test.high:g}, found {wrong[0]:g}"
        )
    gains = (values - test.null) / (test.null - test.low)
    logs, walked = [], np.full(len(values), -np.inf)
    for log, stake in zip(test.logs, STAKES, strict=True):
        steps = log + np.cumsum(np.log1p(stake * gains))
        logs.append(float(steps[-1]))
        np.logaddexp(walked, steps, out=walked)
    peak = float(walked.max()) - math.log(len(STAKES))
    return replace(test, logs=tuple(logs), n=test.n + len(values), peak=max(test.peak, peak))


class Difference(msgspec.Struct, frozen=True, tag="difference"):
    """Harm, safe or not yet, for the difference of two means: the candidate's less the live one's.

    Values lie in [``low``, ``high``]; ``margin`` and ``tolerated`` are in their unit. Where ``worse`` is "lower" (of
    revenue, say), a difference below -tolerated is harm, and one above -margin is safe.
    """

    low: float
    high: float
    margin: float
    tolerated: float
    worse: Literal["higher", "lower"]
    harm: Means
    safe: Means
    bounds: Bounded
    n: int = 0
    centre: float = 0.0

    @classmethod
    def begin(
        cls,
        low: float,
        high: float,
        margin: float,
        *,
        tolerated: float = 0.0,
        worse: Literal["higher", "lower"] = "higher",
        alpha: float = 0.05,
    ) -> Self:
        """Before the first unit; ``alpha`` is that of the interval. Raises ``UsageError`` for bounds out of order."""
        if not -math.inf < low < high < math.inf or not 0 <= tolerated < margin <= high - low:
            raise UsageError(
                "a guardrail on a mean: expected low < high and 0 <= tolerated < margin <= high - low, "
                f"found low {low:g}, high {high:g}, tolerated {tolerated:g}, margin {margin:g}"
            )
        even = Means(0.0, -1.0, 1.0)
        return cls(low, high, margin, tolerated, worse, even, even, Bounded(alpha), 0, (low + high) / 2)

    def add(self, units: Iterable[Scored]) -> Self:
        """Count units one after the other; evidence is looked at after each of them.

        Raises ``UsageError`` for a value out of bounds or a probability that is not between 0 and 1.
        """
        given = list(units)
        mine = np.array([one for one, _, _ in given], dtype=np.bool_)
        rho, values = (np.array([one[at] for one in given], dtype=np.float64) for at in (1, 2))
        return self.many(mine, rho, values)

    def many(self, mine: npt.NDArray[np.bool_], rho: Array, values: Array) -> Self:
        """As ``add``, of arrays of one length: whether a unit was the candidate's, with which probability, its value."""
        if not len(values):
            return self
        wrong = (values < self.low) | (values > self.high) | (rho <= 0) | (rho >= 1) | np.isnan(values)
        if wrong.any():
            at = int(wrong.argmax())
            raise UsageError(
                f"a guardrail on a mean: expected a value from {self.low:g} to {self.high:g} and a probability "
                f"above 0 and below 1, found {values[at]:g} and {rho[at]:g}"
            )
        span, sign = self.high - self.low, 1.0 if self.worse == "higher" else -1.0
        steps = self.n + 1 + np.arange(len(values) + 1, dtype=np.float64)
        # What is expected of a unit is the mean of those before it, whichever arm they were in.
        centres = np.cumsum(np.concatenate([[self.centre * steps[0]], values])) / steps
        found = np.where(mine, 1.0 - rho, -rho) / (rho * (1.0 - rho)) * (values - centres[:-1])
        most = span / np.minimum(rho, 1.0 - rho)
        # Divided by the most that it can be, each payoff lies in [-1, 1]: a small share bets less, not worse.
        return replace(
            self,
            harm=bets(self.harm, (sign * found - self.tolerated) / (most + self.tolerated)),
            safe=bets(self.safe, (self.margin - sign * found) / (most + self.margin)),
            bounds=self.bounds.many(found, -most, most),
            n=self.n + len(values),
            centre=float(centres[-1]),
        )

    def verdict(self, alpha: float = 0.05, beta: float = 0.05) -> Said:
        """Harm, once it was shown at alpha, whatever else; safe, once that was shown at beta; else not yet."""
        if self.harm.reached(alpha):
            return "harm"
        return "safe" if self.safe.reached(beta) else "not_yet"

    def interval(self) -> Estimate:
        """The difference, candidate less live, with an interval that holds at all looks together."""
        return self.bounds.interval()

    def sentence(self, name: str, alpha: float = 0.05, beta: float = 0.05) -> str:
        """The verdict for people.

        >>> Difference.begin(0.0, 1.0, 0.1).sentence("loss")
        'loss: not yet: no unit has a value yet'
        """
        said, found = self.verdict(alpha, beta).replace("_", " "), self.interval()
        if found.value is None or found.low is None or found.high is None:
            return f"{name}: {said}: no unit has a value yet"
        return (
            f"{name}: {said}: the mean differs by {found.value:.3g} from the live version's "
            f"({found.low:.3g} to {found.high:.3g}, {self.n} units; not safe from {self.margin:g} {self.worse} on)"
        )
