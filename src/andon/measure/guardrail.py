"""A guardrail of a rollout: harm, safe or not yet, and the interval of the ratio that says so.

The estimand is the share of *units* with an event (an error, a wrong answer, one that came late): the candidate's over
the live one's. A unit is what was assigned, and counts once in a rollout, with its first event; a client that fails two
hundred times is one fact. Margins are stated on this ratio. The ratio of requests may be shown beside it
(``request_ratio``); nothing is decided by it.

What is promised, whatever the times one looks at: a candidate whose share of units with an event is at no time above the
live one's is called harmful with a probability of at most alpha; one whose share is at all times at least ``margin``
times as large is called safe with a probability of at most beta. Why this also holds for units that come back: given
its first event, and if the share does not differ, the arm of a unit is still a draw with probability rho that nobody
has seen yet; and fewer events of the candidate only make the first e-process smaller, more only the second.

>>> errors = Guardrail.begin("errors", margin=1.5)
>>> errors.verdict(), errors.add(candidate=40, live=100, rho=0.1).verdict()
('not_yet', 'harm')
>>> calm = errors.add(candidate=30, live=320, rho=0.1)
>>> calm.verdict(), str(calm.ratio(0.05, 0.05))
('safe', '0.844 (0.454 to 1.39, n 350)')
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, Self

import msgspec
from msgspec.structs import replace

from andon.errors import UsageError
from andon.measure.estimate import Estimate, undefined
from andon.measure.evidence import HARM_GRID, SAFE_GRID, Counts, combined, harm_test, safe_test, share_of

__all__ = ["Guardrail", "Judgement", "Said", "Step", "judge", "request_ratio"]

Said = Literal["harm", "safe", "not_yet"]
#: Events under one probability of assignment: (rho, candidate, live).
Step = tuple[float, int, int]

#: How near the logarithm of a ratio is found, and after how many steps at most.
_NEAR, _STEPS = 1e-10, 200
#: Ratios outside of this are called open.
_FARTHEST = math.log(1e6)


class Guardrail(msgspec.Struct, frozen=True):
    """Both e-processes of one guardrail, on first events of units; ``steps`` are the counts by assignment probability."""

    name: str
    harm: Counts
    safe: Counts
    steps: tuple[Step, ...] = ()

    @classmethod
    def begin(cls, name: str, margin: float = 1.5, tolerated: float = 1.0) -> Self:
        """Before the first event. Up to ``tolerated`` a ratio is no harm; below ``margin`` it is safe.

        Raises ``UsageError`` unless 0 < tolerated <= margin.
        """
        if not 0 < tolerated <= margin < math.inf:
            raise UsageError(
                f"guardrail {name}: the margin is a ratio of two shares and at least {tolerated:g}, found {margin:g}; "
                "1.5 accepts up to half as many events more"
            )
        return cls(name, harm_test(tolerated), safe_test(margin))

    @property
    def margin(self) -> float:
        """From this ratio on it is not safe."""
        return self.safe.null

    @property
    def events(self) -> int:
        """Units with an event, of both arms."""
        return self.harm.candidate + self.harm.live

    def add(self, candidate: int, live: int, rho: float) -> Self:
        """Count units that had their first event, and the probability ``rho`` of being the candidate's then."""
        harm, safe = self.harm.add(candidate, live, rho), self.safe.add(candidate, live, rho)
        steps = {one: (mine, other) for one, mine, other in self.steps}
        mine, other = steps.get(rho, (0, 0))
        steps[rho] = (mine + candidate, other + live)
        return replace(self, harm=harm, safe=safe, steps=tuple((one, *counts) for one, counts in steps.items()))

    def verdict(self, alpha: float = 0.05, beta: float = 0.05) -> Said:
        """Harm, once it was shown at alpha, whatever else; safe, once that was shown at beta; else not yet."""
        if self.harm.reached(alpha):
            return "harm"
        return "safe" if self.safe.reached(beta) else "not_yet"

    def ratio(self, alpha: float = 0.025, beta: float = 0.025) -> Estimate:
        """The ratio of the shares, with an interval that holds at all looks together with confidence 1 - alpha - beta.

        What lies outside is what the very e-processes of the verdict would reject now, had that been their null. So, at
        the rollout's own alpha and beta, an interval above ``tolerated`` is harm, and one below ``margin`` is safe.

        >>> str(Guardrail.begin("errors").add(0, 7, 0.5).ratio())
        '0 (0 to 2.38, n 7)'
        """
        if not self.events:
            return undefined("no unit had an event yet")
        low = _turn(self.steps, [math.log(one) for one in HARM_GRID], alpha)
        best = _best(self.steps)
        return Estimate(
            None if best is None else math.exp(best),
            0.0 if low is None else math.exp(low),
            self.highest(beta),
            self.events,
            "e-process",
            "only the candidate had events" if best is None else None,
        )

    def highest(self, beta: float = 0.025) -> float | None:
        """The upper end of that interval alone, which is all that a budget asks for; None where it is open.

        >>> rail = Guardrail.begin("errors").add(30, 320, 0.1)
        >>> rail.highest() == rail.ratio().high, Guardrail.begin("errors").highest()
        (True, None)
        """
        high = _turn(self.steps, [math.log(one) for one in SAFE_GRID], beta) if self.events else None
        return None if high is None else math.exp(high)

    def sentence(self, alpha: float = 0.05, beta: float = 0.05) -> str:
        """The verdict for people.

        >>> Guardrail.begin("errors").add(40, 100, 0.1).sentence()
        'errors: harm: 3.6 times as many units as on the live version (2.01 to 5.97, 140 units with an event)'
        """
        found, said = self.ratio(alpha, beta), self.verdict(alpha, beta).replace("_", " ")
        if not self.events:
            return f"{self.name}: {said}: no unit had an event yet"
        low, high = (("open" if end is None else f"{end:.3g}") for end in (found.low, found.high))
        interval = f"({low} to {high}, {self.events} units with an event)"
        if found.value is None:
            return (
                f"{self.name}: {said}: only the candidate had any, so there is no ratio to the live version {interval}"
            )
        return f"{self.name}: {said}: {found.value:.3g} times as many units as on the live version {interval}"


class Judgement(msgspec.Struct, frozen=True):
    """What all guardrails say together, ``by`` those that decide it: the harmed ones, or those not known yet."""

    said: Said
    by: tuple[str, ...]
    sentence: str


def judge(guardrails: Sequence[Guardrail], alpha: float = 0.05, beta: float = 0.05) -> Judgement:
    """Harm where any of K guardrails shows it at alpha/K; safe where every one is safe at beta; else not yet.

    The first is a union bound. (The mean of the e-values would need less, but needs one history in which all are
    e-processes: a unit that was slow first and failed later has shown its arm before its error counts.) The second
    needs no correction: a candidate is called safe wrongly only if a guardrail that is not safe is called so.
    Without guardrails nothing is ever safe. Schultzberg, Ankargren, Frånberg, "Risk-aware product decisions" 2024.

    >>> calm = Guardrail.begin("errors").add(30, 320, 0.1)
    >>> judge([calm]).said, judge([calm, Guardrail.begin("latency")]).by, judge([]).said
    ('safe', ('latency',), 'not_yet')
    """
    if not guardrails:
        return Judgement("not_yet", (), "no guardrail is watched, so nothing can show that it is safe")
    share = alpha / len(guardrails)
    found = {one.name: one.verdict(share, beta) for one in guardrails}
    told = {one.name: one.sentence(share, beta) for one in guardrails}
    for said in ("harm", "not_yet"):
        if by := tuple(name for name, one in found.items() if one == said):
            return Judgement(said, by, "; ".join(told[name] for name in by))
    return Judgement("safe", tuple(found), "; ".join(told.values()))


def request_ratio(candidate: tuple[int, int], live: tuple[int, int]) -> Estimate:
    """The ratio of (events, requests) of both arms, without an interval: requests of one client are not independent.

    >>> request_ratio((20, 1000), (10, 1000)).value, request_ratio((20, 1000), (10, 1000)).low
    (2.0, None)
    >>> request_ratio((0, 0), (0, 10)).reason
    'one arm had no request, or the live one no event'
    """
    (mine, asked), (other, rest) = candidate, live
    if not asked or not rest or not other:
        return undefined("one arm had no request, or the live one no event", asked + rest)
    return Estimate(mine / asked / (other / rest), None, None, asked + rest, "requests")


def _likelihood(steps: Sequence[Step], theta: float) -> float:
    """The logarithm of the likelihood of the ratio exp(theta); it is concave in theta."""
    total = 0.0
    for rho, mine, other in steps:
        share = share_of(math.exp(theta), rho)
        total += mine * math.log(share) + other * math.log1p(-share)
    return total


def _turn(steps: Sequence[Step], grid: Sequence[float], alpha: float) -> float | None:
    """The logarithm of the null ratio whose e-process with this grid is at 1/alpha; None where none is.

    Because the likelihood is concave, the e-value falls in the null for ratios above it and rises for those below.
    """
    level = -math.log(alpha)

    def excess(null: float) -> float:
        base = _likelihood(steps, null)
        return combined(_likelihood(steps, null + one) - base for one in grid) - level

    return _root(excess if grid[0] > 0 else lambda null: -excess(null))


def _best(steps: Sequence[Step]) -> float | None:
    """The logarithm of the most likely ratio; -inf where the candidate had no event, None where the live one had none."""
    if not any(other for _, _, other in steps):
        return None
    if not any(mine for _, mine, _ in steps):
        return -math.inf

    def slope(theta: float) -> float:
        return sum(mine - (mine + other) * share_of(math.exp(theta), rho) for rho, mine, other in steps)

    return _root(slope)


def _root(falling: Callable[[float], float]) -> float | None:
    """Where a falling function is 0; None outside of what is looked at.

    By the secant of both ends; an end that stays twice counts for half then (the Illinois rule), so that both come near.
    """
    low, high = -_FARTHEST, _FARTHEST
    above, below = falling(low), falling(high)
    if above <= 0 or below >= 0:
        return None
    rose = False
    for step in range(_STEPS):
        if high - low <= _NEAR:
            break
        # Were a function so odd that this is slow, halving ends it.
        middle = (low + high) / 2 if step % 4 == 3 else low + (high - low) * above / (above - below)
        value = falling(middle)
        stays = (value > 0) == rose if step else False
        rose = value > 0
        if rose:
            low, above, below = middle, value, below / 2 if stays else below
        else:
            high, below, above = middle, value, above / 2 if stays else above
    return (low + high) / 2
