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
from msgspec.structs import replace

from andon.errors import UsageError
from andon.measure.estimate import Estimate, undefined
from andon.measure.evidence import Means
from andon.measure.guardrail import Said

__all__ = ["Bounded", "Difference", "Scored", "score"]

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

    def interval(self) -> Estimate:
        """The mean (weighted by the bets) and its interval now.

        >>> str(Bounded().interval())
        'undefined (no values yet)'
        """
        if not self.n:
            return undefined("no values yet")
        value, half = self.total / self.weight, (math.log(2 / self.alpha) + self.penalty) / self.weight
        return Estimate(value, value - half, value + half, self.n, "empirical-bernstein")


class Difference(msgspec.Struct, frozen=True):
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
        """Count units one after the other; the peaks are taken at the end.

        Raises ``UsageError`` for a value out of bounds or a probability that is not between 0 and 1.
        """
        span, sign = self.high - self.low, 1.0 if self.worse == "higher" else -1.0
        n, centre, bounds = self.n, self.centre, self.bounds
        harm: list[float] = []
        safe: list[float] = []
        for candidate, rho, value in units:
            if not self.low <= value <= self.high or not 0 < rho < 1:
                raise UsageError(
                    f"a guardrail on a mean: expected a value from {self.low:g} to {self.high:g} and a probability "
                    f"above 0 and below 1, found {value:g} and {rho:g}"
                )
            found, most = score(candidate, rho, value, centre), span / min(rho, 1 - rho)
            # Divided by the most that it can be, each payoff lies in [-1, 1]: a small share bets less, not worse.
            harm.append((sign * found - self.tolerated) / (most + self.tolerated))
            safe.append((self.margin - sign * found) / (most + self.margin))
            bounds = bounds.add(found, -most, most)
            n += 1
            centre += (value - centre) / (n + 1)
        return replace(self, harm=self.harm.add(harm), safe=self.safe.add(safe), bounds=bounds, n=n, centre=centre)

    def verdict(self, alpha: float = 0.05, beta: float = 0.05) -> Said:
        """Harm, once it was shown at alpha, whatever else; safe, once that was shown at beta; else not yet."""
        if self.harm.reached(alpha):
            return "harm"
        return "safe" if self.safe.reached(beta) else "not_yet"

    def interval(self) -> Estimate:
        """The difference, candidate less live, with an interval that holds at all looks together."""
        return self.bounds.interval()
