"""A planned rollout played many times before it begins: how often it errs, how long it takes and what it costs.

The candidate has ``ratio`` times as many units with an event as the live version, on assumed traffic or on a past one. Each
run is the rollout by one guardrail, from its first unit through canary, blue/green and bake until it is settled (safe), until
harm takes it back, or until time is over. Or a ramp by hand is played (``course``), which ends with its verdict.

>>> from andon.deploy.rehearsal_traffic import Assumed
>>> plan = Plan("v2", "v1", ("canary", "live"), ("errors",))
>>> (bad,) = rehearse(Assumed(0.01, 3600), plan, [10.0], Wish(runs=40))
>>> bad.rolled_back.value, bad.false, bad.units.median < 2000
(1.0, 'safe', True)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np

from andon.deploy.rehearsal_auto import play_auto
from andon.deploy.rehearsal_course import Course, Ended, play_course
from andon.deploy.rehearsal_traffic import Traffic
from andon.deploy.rollout_record import Plan
from andon.errors import UsageError
from andon.measure.estimate import Estimate, wilson

__all__ = ["Outcome", "Spread", "Tell", "Wish", "default_ratios", "rehearse"]

#: How far it is: the stage, its number, how many there are.
Tell = Callable[[str, int, int], None]
_RUNS = (10, 10_000)
_RATIOS = 20
_FARTHEST = 100.0
_HOURS = 24 * 366


class Spread(msgspec.Struct, frozen=True):
    """The median of all runs and what nine of ten stay within; None where that many never came so far."""

    median: float | None
    most: float | None


class Outcome(msgspec.Struct, frozen=True):
    """What became of the runs with one ratio: ``rolled_back``, ``safe`` (settled) or ``undecided``, each a share of them.

    ``cleared`` is the share that was ever called safe, those included that went back while they baked. ``false`` says which
    end is an error there: "rolled_back" (the candidate is not worse), "safe" (it is worse by the margin), or none.
    ``everything`` is the hours until the candidate had all but the holdback. ``hours``, ``units`` (of which it is known how
    they went) and ``requests`` (all) are until the end, of both arms; runs that never came so far count as never.
    ``extra`` is how many units had an event that the live version would have spared them, undecided runs included.
    """

    ratio: float
    runs: int
    rolled_back: Estimate
    safe: Estimate
    undecided: Estimate
    cleared: Estimate
    false: str
    everything: Spread
    hours: Spread
    units: Spread
    requests: Spread
    extra: Spread


class Wish(msgspec.Struct, frozen=True):
    """How it is played: so many ``runs`` for each ratio, of at most so many ``hours``, with chance from ``seed``.

    ``course`` is a ramp by hand; without one the automatic rollout is played. Raises ``UsageError``.
    """

    runs: int = 100
    hours: float = 28 * 24.0
    seed: int = 0
    course: Course | None = None

    def __post_init__(self) -> None:
        low, high = _RUNS
        if not low <= self.runs <= high:
            raise UsageError(f"--runs: expected {low} to {high:,}, found {self.runs:,}")
        if not 0 < self.hours <= _HOURS:
            raise UsageError(f"--most: expected a time above 0 and at most 366d, found {self.hours:g} hours")
        if self.seed < 0:
            raise UsageError(f"--seed: expected a whole number of at least 0, found {self.seed}")


def default_ratios(margin: float) -> tuple[float, ...]:
    """As good, worse by the margin, and 2, 3 and 10 times as many events.

    >>> default_ratios(1.5)
    (1.0, 1.5, 2.0, 3.0, 10.0)
    """
    return tuple(sorted({1.0, margin, 2.0, 3.0, 10.0}))


def rehearse(
    traffic: Traffic, plan: Plan, ratios: Sequence[float], wish: Wish, tell: Tell | None = None
) -> tuple[Outcome, ...]:
    """Play a plan with one guardrail; the same arguments give the same result. Raises ``UsageError``."""
    wrong = [one for one in ratios if not 0 < one <= _FARTHEST]
    if wrong or not 0 < len(ratios) <= _RATIOS:
        raise UsageError(
            f"--ratio: expected 1 to {_RATIOS} ratios above 0 and at most {_FARTHEST:g}, "
            f"found {f'{wrong[0]:g}' if wrong else len(ratios)}"
        )
    found = []
    for number, ratio in enumerate(ratios):
        if tell is not None:
            tell(f"{wish.runs:,} runs with {ratio:g} times as many events", number + 1, len(ratios))
        # One stream of chance for each run: neither other ratios nor more runs change it.
        seeds = [[wish.seed, round(ratio * 1_000_000), run] for run in range(wish.runs)]
        rngs = [np.random.default_rng(seed) for seed in seeds]
        if wish.course is not None:
            ended = play_course(traffic, plan, wish.course, ratio, wish.hours, rngs)
        else:
            ended = [play_auto(traffic, plan, ratio, wish.hours, rng) for rng in rngs]
        found.append(_outcome(traffic, plan, ratio, ended))
    return tuple(found)


def _outcome(traffic: Traffic, plan: Plan, ratio: float, ended: Sequence[Ended]) -> Outcome:
    share = {said: wilson(sum(one.said == said for one in ended), len(ended)) for said in ("harm", "safe", "not_yet")}
    units = [traffic.units(one.hours) if math.isfinite(one.hours) else math.inf for one in ended]
    return Outcome(
        ratio,
        len(ended),
        share["harm"],
        share["safe"],
        share["not_yet"],
        wilson(sum(one.cleared for one in ended), len(ended)),
        _false(traffic, plan, ratio),
        _spread([one.everything for one in ended]),
        _spread([one.hours for one in ended]),
        _spread(units),
        _spread([n * traffic.requests for n in units]),
        _spread([float(one.extra) for one in ended]),
    )


def _false(traffic: Traffic, plan: Plan, ratio: float) -> str:
    """Which verdict is an error; what has negligibly few events may be called safe at any ratio."""
    if ratio <= 1:
        return "rolled_back"
    cases = 1.0 if traffic.sample is None else traffic.sample.cases
    return "safe" if ratio >= plan.margin and traffic.rate * ratio * cases > plan.negligible else ""


def _spread(values: Sequence[float]) -> Spread:
    """Quantiles that some run really had.

    >>> _spread([1.0, 2.0, 3.0, math.inf])
    Spread(median=3.0, most=None)
    """
    found = np.quantile(np.asarray(values), [0.5, 0.9], method="higher").tolist()
    return Spread(*(one if math.isfinite(one) else None for one in found))
