"""Pairs: two answers to the same case, the candidate's and another's; only those bear on it where one alone is wrong.

A shadow sees every case that the live model or a person decides, so the two are compared in pairs. Given that exactly
one is wrong, and if both err equally often, it is the candidate with probability one half: events with rho = 1/2 (a
sequential test of McNemar's). That takes a fraction of the labels that two separate samples do.

Margins are ratios of these discordant counts. Where the candidate's is below ``margin`` (at least 1), so is the ratio
of the two error rates, because cases that both get wrong only bring them closer.

People are raters with errors of their own. ``rater_error`` finds how often one errs from how often two disagree who did
not see each other's answer; ``model_error`` takes that out of a disagreement with people; ``Rated`` compares model and
person on cases that were decided twice and adjudicated, and allows for the adjudication's own errors
(``reference_error``). All three take it that raters err independently of one another: where all find the same cases
hard, only an outcome from outside helps. With neither doubles nor outcomes there is only agreement, and no verdict.

>>> pairs = Pairs.begin(margin=1.5).add(wrong=25, other_wrong=60, neither=900, both=15)
>>> pairs.verdict(), pairs.n, str(pairs.rail.ratio(0.05, 0.05))
('safe', 1000, '0.417 (0.198 to 0.784, n 85)')
"""

from __future__ import annotations

import math
from typing import Self

import msgspec
from msgspec.structs import replace

from andon.errors import UsageError
from andon.measure.estimate import Estimate, undefined, wilson
from andon.measure.evidence import Means
from andon.measure.guardrail import Guardrail, Said

__all__ = ["Pairs", "Rated", "model_error", "rater_error", "reference_error"]


class Pairs(msgspec.Struct, frozen=True):
    """Both e-processes on discordant pairs with a known outcome; ``neither`` and ``both`` count the other cases."""

    rail: Guardrail
    neither: int = 0
    both: int = 0

    @classmethod
    def begin(cls, margin: float = 1.5, name: str = "pairs") -> Self:
        """Before the first pair; from ``margin`` times as many cases that only the candidate gets wrong, it is not safe."""
        return cls(Guardrail.begin(name, margin))

    @property
    def n(self) -> int:
        """Cases with a known outcome."""
        return self.rail.events + self.neither + self.both

    def add(self, wrong: int, other_wrong: int, neither: int = 0, both: int = 0) -> Self:
        """Count cases that only the candidate got wrong, only the other, neither, both."""
        if neither < 0 or both < 0:
            raise UsageError(f"pairs: expected counts of at least 0, found {neither} and {both}")
        rail = self.rail.add(wrong, other_wrong, 0.5)
        return replace(self, rail=rail, neither=self.neither + neither, both=self.both + both)

    def verdict(self, alpha: float = 0.05, beta: float = 0.05) -> Said:
        """Harm, safe or not yet, as a guardrail says it."""
        return self.rail.verdict(alpha, beta)


class Rated(msgspec.Struct, frozen=True):
    """Model against a person where the outcome is an adjudicated double review, which errs in ``reference`` of the cases.

    A wrong outcome turns a difference of one case around, so what is seen may be off by twice ``reference``: harm is
    more than that, and safe is less than ``margin`` (a difference of error rates) by that much.
    """

    margin: float
    reference: float
    harm: Means
    safe: Means

    @classmethod
    def begin(cls, margin: float, reference: float) -> Self:
        """Before the first case. Raises ``UsageError`` where the outcomes err too much to show anything.

        >>> Rated.begin(0.02, 0.02)
        Traceback (most recent call last):
        ...
        andon.errors.UsageError: model against people: the reference errs in 0.02 of the cases, which may look like ...
        """
        if not 0 <= 2 * reference < margin < 1:
            raise UsageError(
                f"model against people: the reference errs in {reference:g} of the cases, which may look like a "
                f"difference of {2 * reference:g}; expected a margin above that and below 1, found {margin:g}"
            )
        off = 2 * reference
        return cls(margin, reference, Means(off, -1.0, 1.0), Means(off - margin, -1.0, 1.0))

    def add(self, wrong: int, other_wrong: int, same: int) -> Self:
        """Count cases that only the model, only the person, both or neither got wrong (``same``).

        Evidence of a bet on counts does not depend on their order.
        """
        if min(wrong, other_wrong, same) < 0:
            raise UsageError(f"pairs: expected counts of at least 0, found {wrong}, {other_wrong} and {same}")
        seen = [1.0] * wrong + [-1.0] * other_wrong + [0.0] * same
        return replace(self, harm=self.harm.add(seen), safe=self.safe.add([-one for one in seen]))

    def verdict(self, alpha: float = 0.05, beta: float = 0.05) -> Said:
        """Harm, safe or not yet."""
        if self.harm.reached(alpha):
            return "harm"
        return "safe" if self.safe.reached(beta) else "not_yet"


def rater_error(disagreed: int, doubles: int, classes: int = 2) -> Estimate:
    """How often one rater errs, from how often two differ who are alike and blind to each other.

    Of two raters who err in a share e, any wrong class being as likely as another, 2e - e²K/(K-1) disagree. It is
    undefined where they agree no better than chance. Dawid & Skene 1979 is the model; this its symmetric case.

    >>> print(rater_error(18, 100))
    0.1 (0.0624 to 0.158, n 100)
    >>> rater_error(60, 100).reason
    'two raters agree no better than chance'
    """
    if classes < 2:
        raise UsageError(f"raters choose among at least 2 classes, found {classes}")
    seen = wilson(disagreed, doubles)
    if seen.value is None or seen.low is None or seen.high is None:
        return undefined("no case was decided twice", doubles)
    spare = (classes - 1) / classes
    if seen.value >= spare:
        return undefined("two raters agree no better than chance", doubles)
    ends = [spare * (1 - math.sqrt(max(0.0, 1 - end / spare))) for end in (seen.value, seen.low, seen.high)]
    return Estimate(ends[0], ends[1], ends[2], doubles, "double review")


def reference_error(rater: float) -> float:
    """How often an adjudicated double review is wrong: two of three raters who err independently in a share ``rater``.

    >>> round(reference_error(0.1), 3)
    0.028
    """
    return rater * rater * (3 - 2 * rater)


def model_error(disagreement: Estimate, rater: float, classes: int = 2) -> Estimate:
    """The model's error rate from its disagreement with single raters who err in a share ``rater``, independently of it.

    The interval is that of the disagreement alone; give the ends of ``rater_error`` to see how much that adds.

    >>> print(model_error(wilson(140, 1000), rater=0.1))   # 5 % wrong looks like 14 % disagreement
    0.05 (0.025 to 0.0786, n 1000)
    """
    scale = 1 - rater * classes / (classes - 1)
    if disagreement.value is None or scale <= 0:
        return undefined(disagreement.reason or "raters who err this often show nothing", disagreement.n)
    value, low, high = (
        None if end is None else min(max((end - rater) / scale, 0.0), 1.0)
        for end in (disagreement.value, disagreement.low, disagreement.high)
    )
    return Estimate(value, low, high, disagreement.n, "corrected for raters")
