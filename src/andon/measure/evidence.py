"""Anytime-valid evidence: e-processes, which may be looked at after every event and acted on at once.

An e-process starts at 1 and is not expected to grow while its null hypothesis holds, whatever decides when one looks and
stops; so it ever reaches 1/alpha with a probability of at most alpha (Ville's inequality). Two of them watch each
guardrail (``andon.measure.guardrail``): one against "not worse", which shows *harm*, and one against "worse by the
margin or more", which shows that it is *safe*. Between the two lies what is not known yet. The state is a few floats,
may be stored, and adds up.

* Rare events (``Counts``): given an event of a unit that was assigned to the candidate with probability rho, the event is
  the candidate's with probability ``r rho / (r rho + 1 - rho)``, where r is the ratio of the two rates. So base rates
  that change over time cancel, and so do ramps. A mixture over ratios makes it sensitive to small and large harm alike.
  Lindon & Malek, "Anytime-Valid Inference for Multinomial Count Data", NeurIPS 2022.
* Bounded values (``Means``): a bet at fixed stakes on the mean of values in [low, high]; a mixture over the stakes.
  Waudby-Smith & Ramdas, "Estimating means of bounded random variables by betting", JRSS B 2023.
* Assignment (``Assigned``): a Dirichlet-multinomial e-process against the promised split (the sample ratio).

>>> harm = harm_test(margin=1.0)
>>> harm.add(candidate=2, live=60, rho=0.05).log_e < 0 < harm.add(candidate=30, live=60, rho=0.05).log_e
True
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Self

import msgspec
from msgspec.structs import replace

from andon.errors import UsageError

__all__ = [
    "HARM_GRID",
    "SAFE_GRID",
    "STAKES",
    "Assigned",
    "Counts",
    "Means",
    "combined",
    "harm_test",
    "safe_test",
    "share_of",
]

#: Ratios of harm, over the largest ratio that is no harm.
HARM_GRID = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 20.0)
#: Ratios of a safe candidate, as parts of the margin.
SAFE_GRID = (0.25, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
#: Stakes of a bet on a mean, as parts of the largest that cannot lose more than everything.
STAKES = (0.003, 0.01, 0.03, 0.1, 0.3, 0.6, 0.9)
#: The evidence of what cannot happen at all; finite, because it is stored.
_CERTAIN = 1e9
_ROUNDING = 1e-9


def _log_mean(logs: Sequence[float]) -> float:
    """The logarithm of the mean of exp(logs), without overflow.

    >>> _log_mean([0.0, 0.0]), round(_log_mean([1000.0, 0.0]), 3), _log_mean([-math.inf])
    (0.0, 999.307, -inf)
    """
    top = max(logs)
    if top == -math.inf:
        return top
    return top + math.log(math.fsum(math.exp(one - top) for one in logs) / len(logs))


class Counts(msgspec.Struct, frozen=True):
    """An e-process on events of two arms, against the ratio ``null``; ``ratios`` are what it bets on.

    ``logs`` holds the logarithm of each ratio's likelihood ratio. ``peak`` is the largest ``log_e`` so far: an
    e-process that has once reached 1/alpha stays conclusive.
    """

    null: float
    ratios: tuple[float, ...]
    logs: tuple[float, ...]
    candidate: int = 0
    live: int = 0
    peak: float = 0.0

    @classmethod
    def begin(cls, null: float, ratios: Iterable[float]) -> Self:
        """Before the first event. Raises ``UsageError`` unless all ratios are above 0, and on one side of ``null``."""
        given = tuple(ratios)
        if not given or not all(0 < one < math.inf for one in (null, *given)):
            raise UsageError(f"an e-process on counts: expected ratios above 0, found {null:g} against {given}")
        if not (min(given) > null or max(given) < null):
            raise UsageError(f"an e-process on counts: expected ratios on one side of {null:g}, found {given}")
        return cls(null, given, (0.0,) * len(given))

    @property
    def log_e(self) -> float:
        """The natural logarithm of the e-value now."""
        return _log_mean(self.logs)

    def reached(self, alpha: float) -> bool:
        """Whether it has ever reached 1/alpha."""
        return self.peak >= -math.log(alpha)

    def add(self, candidate: int, live: int, rho: float) -> Self:
        """Count events of units that had the probability ``rho`` of being the candidate's.

        Only whole counts per step of a ramp are needed. A unit counts once in a rollout: its first event. Raises
        ``UsageError`` unless 0 < rho < 1 and both counts are at least 0.
        """
        if not 0 < rho < 1 or candidate < 0 or live < 0:
            raise UsageError(
                "an e-process on counts: expected counts of at least 0 and a probability above 0 and below 1, "
                f"found {candidate}, {live} and {rho:g}"
            )
        null = share_of(self.null, rho)
        logs = []
        for log, ratio in zip(self.logs, self.ratios, strict=True):
            mine = share_of(ratio, rho)
            logs.append(log + candidate * math.log(mine / null) + live * math.log((1 - mine) / (1 - null)))
        found = replace(self, logs=tuple(logs), candidate=self.candidate + candidate, live=self.live + live)
        return replace(found, peak=max(self.peak, found.log_e))


def share_of(ratio: float, rho: float) -> float:
    """The share of events that are the candidate's when its rate is ``ratio`` times the live one's.

    >>> share_of(1.0, 0.1), round(share_of(2.0, 0.1), 4)
    (0.1, 0.1818)
    """
    return ratio * rho / (ratio * rho + 1 - rho)


def harm_test(margin: float = 1.0) -> Counts:
    """Evidence that the candidate's rate is more than ``margin`` times the live one's."""
    return Counts.begin(margin, (margin * ratio for ratio in HARM_GRID))


def safe_test(margin: float) -> Counts:
    """Evidence that the candidate's rate is less than ``margin`` times the live one's (non-inferiority)."""
    return Counts.begin(margin, (margin * part for part in SAFE_GRID))


class Means(msgspec.Struct, frozen=True):
    """An e-process on the mean of values in [low, high], against "the mean is at most ``null``".

    For the other side negate the values and the bounds. Each stake is a part of the largest bet that cannot lose more
    than everything; the mean over the stakes is an e-process too, so none needs to be chosen beforehand. Only the mean
    given what came before has to be at most ``null``: the values need not be alike.
    """

    null: float
    low: float
    high: float
    logs: tuple[float, ...] = (0.0,) * len(STAKES)
    n: int = 0
    peak: float = 0.0

    def __post_init__(self) -> None:
        if not -math.inf < self.low < self.null < self.high < math.inf:
            raise UsageError(
                f"an e-process on a mean: expected low < null < high, found {self.low:g}, {self.null:g}, {self.high:g}"
            )

    @property
    def log_e(self) -> float:
        """The natural logarithm of the e-value now."""
        return _log_mean(self.logs)

    def reached(self, alpha: float) -> bool:
        """Whether it has ever reached 1/alpha."""
        return self.peak >= -math.log(alpha)

    def add(self, values: Iterable[float]) -> Self:
        """Bet on values one after the other; the peak is taken at the end. Raises ``UsageError`` for one out of bounds.

        >>> Means(null=0.5, low=0.0, high=1.0).add([0.9] * 40).reached(0.05)
        True
        """
        given = list(values)
        slack = _ROUNDING * (self.high - self.low)
        if wrong := [value for value in given if not self.low - slack <= value <= self.high + slack]:
            raise UsageError(
                f"an e-process on a mean: expected values from {self.low:g} to {self.high:g}, found {wrong[0]:g}"
            )
        room = self.null - self.low
        gains = [(value - self.null) / room for value in given]
        logs = tuple(
            log + math.fsum(math.log1p(stake * gain) for gain in gains)
            for log, stake in zip(self.logs, STAKES, strict=True)
        )
        return replace(self, logs=logs, n=self.n + len(given), peak=max(self.peak, _log_mean(logs)))


class Assigned(msgspec.Struct, frozen=True):
    """An e-process against the promised split of units between the arms; any other split makes it grow.

    Only units that are new to the rollout count. While the share stays, the prior is centred on it (``weight`` units
    worth); a new share closes the block and begins another one, and the e-values of blocks multiply.
    """

    share: float
    weight: float = 100.0
    candidate: int = 0
    live: int = 0
    closed: float = 0.0
    peak: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1 or not 0 < self.weight < math.inf:
            raise UsageError(f"the sample ratio: expected a share from 0 to 1, found {self.share:g}")

    @property
    def log_e(self) -> float:
        """The natural logarithm of the e-value now (Lindon & Malek 2022, the Dirichlet-multinomial with two arms)."""
        c, n = self.candidate, self.live
        if not 0 < self.share < 1:
            return _CERTAIN if (n if self.share >= 1 else c) else self.closed
        a, b = self.weight * self.share, self.weight * (1 - self.share)
        mixed = math.lgamma(a + c) + math.lgamma(b + n) - math.lgamma(a + b + c + n)
        prior = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
        return self.closed + mixed - prior - c * math.log(self.share) - n * math.log1p(-self.share)

    def reached(self, alpha: float) -> bool:
        """Whether it has ever reached 1/alpha: the arms are not what the route promised."""
        return self.peak >= -math.log(alpha)

    def add(self, candidate: int, live: int) -> Self:
        """Count units seen for the first time under the share now.

        >>> Assigned(0.5).add(500, 500).reached(0.001), Assigned(0.5).add(600, 400).reached(0.001)
        (False, True)
        """
        if candidate < 0 or live < 0:
            raise UsageError(f"the sample ratio: expected counts of at least 0, found {candidate} and {live}")
        found = replace(self, candidate=self.candidate + candidate, live=self.live + live)
        return replace(found, peak=max(self.peak, found.log_e))

    def ramped(self, share: float) -> Self:
        """The same under another share.

        >>> Assigned(0.1).add(10, 90).ramped(0.5).add(300, 100).reached(0.001)
        True
        """
        return replace(self, share=share, candidate=0, live=0, closed=self.log_e)


def combined(log_es: Iterable[float]) -> float:
    """The mean of e-values, which is an e-value whatever their dependence, as a logarithm (Vovk & Wang 2021).

    >>> round(combined([math.log(60), math.log(0.1)]), 3)   # the mean of 60 and 0.1 is 30.05
    3.403
    """
    found = list(log_es)
    if not found:
        raise UsageError("no e-values to combine")
    return _log_mean(found)
