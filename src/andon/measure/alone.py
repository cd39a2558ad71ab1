"""A release held against the charter's goal, where there is no live one to compare it with: harm, safe or not yet.

Each unit gives one value in [low, high], with its first case (for a share: 1 where it had the event, else 0). Two bets
on the mean: *harm* against "the mean is within the goal", *safe* against "it is not". Between them lies what is not
known. As nothing is compared, a bad hour counts against the release: its units may differ from one another and the
times may change, but the promise is about the mean that each unit is expected to have given those before it.

What is promised, at all looks together: a release that keeps to the goal throughout is called harmful with a
probability of at most alpha; one that misses it throughout is called safe with at most beta.

Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", JRSS B 2023.

>>> errors = Alone.begin(limit=0.05)
>>> errors.add([False] * 200).verdict(), errors.add([True] * 20).verdict(), errors.verdict()
('safe', 'harm', 'not_yet')
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal, Self

import msgspec
import numpy as np
from msgspec.structs import replace

from andon.errors import UsageError
from andon.measure.bounded import Array, Bounded, bets
from andon.measure.budget import share_sequence
from andon.measure.estimate import Estimate, undefined
from andon.measure.evidence import Means
from andon.measure.guardrail import Said

__all__ = ["Alone"]


class Alone(msgspec.Struct, frozen=True, tag="alone"):
    """Evidence about the mean of values in [``low``, ``high``], which is ``worse`` "higher" or "lower" than ``limit``.

    ``total`` is the sum of the ``n`` values; ``shares`` says that each was 0 or 1.
    """

    low: float
    high: float
    limit: float
    worse: Literal["higher", "lower"]
    harm: Means
    safe: Means
    bounds: Bounded
    n: int = 0
    total: float = 0.0
    shares: bool = True

    @classmethod
    def begin(
        cls,
        limit: float,
        low: float = 0.0,
        high: float = 1.0,
        *,
        worse: Literal["higher", "lower"] = "higher",
        alpha: float = 0.05,
    ) -> Self:
        """Before the first unit; ``alpha`` is that of the interval. Raises ``UsageError`` unless low < limit < high.

        >>> Alone.begin(0.0)
        Traceback (most recent call last):
        ...
        andon.errors.UsageError: a goal by itself: expected low < limit < high, found 0, 0, 1; what no figure can be ...
        """
        if not -math.inf < low < limit < high < math.inf:
            raise UsageError(
                f"a goal by itself: expected low < limit < high, found {low:g}, {limit:g}, {high:g}; what no figure can "
                "be beyond, or must never be, is not shown by any number of cases"
            )
        over, under = Means(limit, low, high), Means(-limit, -high, -low)
        harm, safe = (over, under) if worse == "higher" else (under, over)
        return cls(low, high, limit, worse, harm, safe, Bounded(alpha))

    def add(self, values: Iterable[float]) -> Self:
        """Count units one after the other; evidence is looked at after each. Raises ``UsageError`` out of bounds."""
        return self.many(np.array(list(values), dtype=np.float64))

    def many(self, values: Array) -> Self:
        """As ``add``, of an array."""
        if not len(values):
            return self
        sign = 1.0 if self.worse == "higher" else -1.0
        binary = bool(np.isin(values, (0.0, 1.0)).all())
        low, high = np.full(len(values), self.low), np.full(len(values), self.high)
        return replace(
            self,
            harm=bets(self.harm, sign * values),
            safe=bets(self.safe, -sign * values),
            bounds=self.bounds.many(values, low, high),
            n=self.n + len(values),
            total=self.total + float(values.sum()),
            shares=self.shares and binary and (self.low, self.high) == (0.0, 1.0),
        )

    def verdict(self, alpha: float = 0.05, beta: float = 0.05) -> Said:
        """Harm, once it was shown at alpha, whatever else; safe, once that was shown at beta; else not yet."""
        if self.harm.reached(alpha):
            return "harm"
        return "safe" if self.safe.reached(beta) else "not_yet"

    def interval(self) -> Estimate:
        """The mean, with an interval that holds at all looks together: a share's, or empirical Bernstein.

        >>> print(Alone.begin(0.05).add([1.0] + [0.0] * 99).interval())
        0.01 (1.42e-05 to 0.084, n 100)
        """
        if not self.n:
            return undefined("no units yet")
        if self.shares:
            return share_sequence(round(self.total), self.n, self.bounds.alpha)
        found = self.bounds.interval()
        low, high = (None if end is None else min(max(end, self.low), self.high) for end in (found.low, found.high))
        return replace(found, value=self.total / self.n, low=low, high=high)

    def excess(self) -> float:
        """At most so much is a unit's mean beyond the limit, as a part of the whole range; all of it where nothing is known.

        >>> Alone.begin(0.05).excess(), round(Alone.begin(0.05).add([0.0] * 100).excess(), 3)
        (1.0, 0.0)
        """
        found = self.interval()
        if found.low is None or found.high is None:
            return 1.0
        beyond = found.high - self.limit if self.worse == "higher" else self.limit - found.low
        return min(1.0, max(0.0, beyond) / (self.high - self.low))

    def sentence(self, name: str, alpha: float = 0.05, beta: float = 0.05) -> str:
        """The verdict for people.

        >>> Alone.begin(0.05).add([True] * 20).sentence("errors")
        'errors: harm: 1 (0.776 to 1, 20 units), the goal is at most 0.05'
        """
        said, found = self.verdict(alpha, beta).replace("_", " "), self.interval()
        goal = f"the goal is at {'most' if self.worse == 'higher' else 'least'} {self.limit:g}"
        if found.value is None or found.low is None or found.high is None:
            units = f"{self.harm.n} units so far" if self.harm.n else "no unit yet"
            return f"{name}: {said}: {units}, {goal}"
        return f"{name}: {said}: {found.value:.3g} ({found.low:.3g} to {found.high:.3g}, {self.n} units), {goal}"
