"""Pairs: two answers to the same case, the candidate's and another's; only those bear on it where one alone is wrong.

A shadow sees every case that the live model or a person decides, so the two are compared in pairs. Given that exactly
one is wrong, and if both err equally often, it is the candidate with probability one half: events with rho = 1/2 (a
sequential test of McNemar's). That takes a fraction of the labels that two separate samples do.

Margins are ratios of these discordant counts. Where the candidate's is below ``margin`` (at least 1), so is the ratio
of the two error rates, because cases that both get wrong only bring them closer.

People are raters with errors of their own. ``rater_error`` finds how often one errs from how often two disagree who did
not see each other's answer; ``model_error`` takes that out of a disagreement with people, and ``error_gap`` says how much
more one person errs than the model. ``Trio`` is the test: of a model and two people who answered a case blindly, who
stands alone. ``Rated`` compares model and person where the outcome errs in a share that is known, as that of an
adjudicated double review (``reference_error``). The error rates take it that raters err independently of one another:
where all find the same cases hard, only an outcome from outside helps. With neither doubles nor outcomes there is only
agreement, and no verdict.

>>> pairs = Pairs.begin(margin=1.5).add(wrong=25, other_wrong=60, neither=900, both=15)
>>> pairs.verdict(), pairs.n, str(pairs.rail.ratio(0.05, 0.05))
('safe', 1000, '0.417 (0.198 to 0.784, n 85)')
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Self

import msgspec
from msgspec.structs import replace

from andon.errors import UsageError
from andon.measure.detect import events_needed
from andon.measure.estimate import Estimate, undefined, wilson
from andon.measure.evidence import Means
from andon.measure.guardrail import Guardrail, Said

__all__ = [
    "Pairs",
    "Rated",
    "Trio",
    "doubles_needed",
    "error_gap",
    "model_error",
    "rater_error",
    "reference_error",
    "trio_shares",
]

#: Of three who err equally often, each is the one who stands alone with this probability.
_THIRD = 1 / 3


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


class Trio(msgspec.Struct, frozen=True):
    """A model and two people on the same cases, none of whom saw another's answer: who of the three stands alone.

    No outcome is needed. Were the model one more of these people, each of the three would stand alone equally often,
    however hard the cases are. So a case where one stands alone is an event, the model's with probability one third if
    it errs as often as a person: more is harm, and below ``margin`` times as often as one person it is safe. What this
    cannot see: a model that is right where most people are wrong stands alone, too. ``same`` and ``apart`` count the
    cases where all three say the same, and where all differ.

    >>> found = Trio.begin(margin=1.5).add(model=20, person=110, same=870)
    >>> found.verdict(), found.n, str(found.rail.ratio(0.05, 0.05))
    ('safe', 1000, '0.364 (0.165 to 0.678, n 130)')
    """

    rail: Guardrail
    same: int = 0
    apart: int = 0

    @classmethod
    def begin(cls, margin: float = 1.5, name: str = "alone") -> Self:
        """Before the first case that two people answered; the margin is a ratio of how often each stands alone."""
        return cls(Guardrail.begin(name, margin))

    @property
    def n(self) -> int:
        """Cases that all three answered."""
        return self.rail.events + self.same + self.apart

    def add(self, model: int, person: int, same: int = 0, apart: int = 0) -> Self:
        """Count cases where the model stood alone, where one of the two people did, where nobody did, and all."""
        if same < 0 or apart < 0:
            raise UsageError(f"who stands alone: expected counts of at least 0, found {same} and {apart}")
        rail = self.rail.add(model, person, _THIRD)
        return replace(self, rail=rail, same=self.same + same, apart=self.apart + apart)

    def verdict(self, alpha: float = 0.05, beta: float = 0.05) -> Said:
        """Harm, safe or not yet, as a guardrail says it."""
        return self.rail.verdict(alpha, beta)


def trio_shares(model: float, rater: float, classes: int = 2) -> tuple[float, float]:
    """How often the model stands alone, and each of two people, where these err in shares ``model`` and ``rater``.

    Errors are independent, any wrong class being as likely as another. So a margin of standing alone can be read as one
    of errors: where people err in 10 %, 1.5 times as often alone is 1.56 times their errors.

    >>> model, person = trio_shares(0.15625, 0.1)
    >>> round(model / person, 3)
    1.5
    """
    wrong, other = rater / (classes - 1), model / (classes - 1)
    mine = (1 - rater) ** 2 * model + rater * wrong * (1 - other)
    theirs = (1 - rater) * (1 - model) * rater + rater * other * (1 - wrong)
    return mine, theirs


def doubles_needed(
    model: float, rater: float, margin: float = 1.5, alpha: float = 0.05, beta: float = 0.05, classes: int = 2
) -> int | None:
    """About how many cases that two people answer there will be at a verdict of `Trio`; None where there is none at all.

    An average, on the safe side (``andon.measure.detect``). ``model`` and ``rater`` are shares of errors.

    >>> doubles_needed(0.05, 0.1), doubles_needed(0.2, 0.1), doubles_needed(0.1, 0.0)
    (170, 255, 50)
    """
    mine, theirs = trio_shares(model, rater, classes)
    if mine + 2 * theirs <= 0:
        return None
    start = Guardrail.begin("alone", margin)
    # Where a person never errs the ratio has no end; a large one is as good.
    ratio = mine / theirs if theirs > mine / 1000 else 1000.0
    found = [events_needed(start.harm, ratio, _THIRD, alpha), events_needed(start.safe, max(ratio, 1e-3), _THIRD, beta)]
    events = min((one for one in found if one is not None), default=None)
    return None if events is None else math.ceil(math.ceil(events) / (mine + 2 * theirs))


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


def model_error(disagreement: Estimate, rater: float | Estimate, classes: int = 2) -> Estimate:
    """The model's error rate from its disagreement with single raters who err in a share ``rater``, independently of it.

    With a number for ``rater`` the interval is that of the disagreement alone; with an estimate it has both.

    >>> print(model_error(wilson(140, 1000), rater=0.1))   # 5 % wrong looks like 14 % disagreement
    0.05 (0.025 to 0.0786, n 1000)
    >>> print(model_error(wilson(140, 1000), rater_error(18, 100)))
    0.05 (0 to 0.0981, n 1000)
    """
    spare = classes / (classes - 1)

    def error(seen: float, rate: float) -> float:
        return (seen - rate) / (1 - rate * spare)

    return _from_both(error, disagreement, rater, spare, (0.0, 1.0))


def error_gap(disagreement: Estimate, rater: Estimate, classes: int = 2) -> Estimate:
    """How much more often one rater errs than the model, from the model's disagreement with single raters.

    Above 0 the model is better. It is, just when it disagrees with a person less than another person does.

    >>> print(error_gap(wilson(140, 1000), rater_error(180, 1000)))
    0.05 (0.0093 to 0.0928, n 1000)
    """
    spare = classes / (classes - 1)

    def gap(seen: float, rate: float) -> float:
        return rate - (seen - rate) / (1 - rate * spare)

    return _from_both(gap, disagreement, rater, spare, (-1.0, 1.0))


def _from_both(
    found: Callable[[float, float], float],
    disagreement: Estimate,
    rater: float | Estimate,
    spare: float,
    limits: tuple[float, float],
) -> Estimate:
    """A function of both, with an interval recovered from theirs as if they were independent (MOVER, Zou & Donner 2008).

    What disagrees with one person more does so because that one errs more, which makes the interval a little too wide.
    """
    rate = rater if isinstance(rater, Estimate) else Estimate(rater, rater, rater, disagreement.n, "given")
    seen, n = disagreement, disagreement.n
    if seen.value is None or seen.low is None or seen.high is None:
        return undefined(seen.reason or "nothing was compared", n)
    if rate.value is None or rate.low is None or rate.high is None:
        return undefined(rate.reason or "nobody knows how often raters err", n)
    if rate.value * spare >= 1:
        return undefined("raters who err this often show nothing", n)
    middle = found(seen.value, rate.value)
    # A share of errors below 0 came by chance; how far it may reach beyond 0 is not less known for that.
    value = min(max(middle, limits[0]), limits[1])
    if rate.high * spare >= 1:
        return Estimate(value, limits[0], limits[1], n, "corrected for raters")
    ends = [
        [found(one, rate.value) for one in (seen.low, seen.high)],
        [found(seen.value, one) for one in (rate.low, rate.high)],
    ]
    low = value - math.hypot(*(max(0.0, middle - min(pair)) for pair in ends))
    high = value + math.hypot(*(max(0.0, max(pair) - middle) for pair in ends))
    return Estimate(value, max(limits[0], low), min(limits[1], high), n, "corrected for raters")
