"""A ramp by hand, rehearsed: shares fixed beforehand, a look after every event, all runs at once.

>>> course_of("0.05:2h, 0.5")
((0.0, 0.05), (2.0, 0.5))
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from msgspec.structs import replace
from scipy.special import betaln

from andon.core.clock import HOUR
from andon.deploy.rehearsal_traffic import Bools, Floats, Potential, Traffic
from andon.deploy.rollout_proof import level_of
from andon.deploy.rollout_record import Plan
from andon.errors import UsageError
from andon.measure.detect import walk
from andon.measure.evidence import harm_test, safe_test
from andon.measure.guardrail import Said
from andon.scope.scalar import duration

__all__ = ["MOST_EVENTS", "Course", "Ended", "course_of", "play_course"]

#: From which hour on which share.
Course = tuple[tuple[float, float], ...]
#: A run that is not decided by then is not decided.
MOST_EVENTS = 50_000
_MOST_STEPS = 50
_AT_ONCE = 1_000_000
_HALVINGS = 50


@dataclass(frozen=True, slots=True)
class Ended:
    """How one run ended: what was said, after how many hours (infinite: never), and how many bad units more that cost.

    ``everything`` is after how many hours the candidate had all that it gets before it is settled, ``cleared`` whether it
    was ever called safe (it may have been taken back since).
    """

    said: Said
    hours: float
    extra: int
    everything: float = math.inf
    cleared: bool = False


def course_of(text: str) -> Course:
    """Steps as written: shares, each but the last with how long it lasts. Raises ``UsageError``.

    >>> course_of("0.1")
    ((0.0, 0.1),)
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) > _MOST_STEPS:
        raise UsageError(f"--ramp: expected at most {_MOST_STEPS} steps, found {len(parts)}")
    found: list[tuple[float, float]] = []
    begins = 0.0
    for number, part in enumerate(parts, start=1):
        share, colon, lasts = (one.strip() for one in part.partition(":"))
        last = number == len(parts)
        try:
            value = float(share)
            long = 0.0 if last else duration(lasts) / HOUR
        except (ValueError, OverflowError):
            raise _no_step(number, part) from None
        if not 0 < value < 1 or (not last and not long > 0) or (last and colon):
            raise _no_step(number, part)
        found.append((begins, value))
        begins += long
    return tuple(found)


def _no_step(number: int, part: str) -> UsageError:
    return UsageError(
        f"--ramp, step {number}: expected a share above 0 and below 1, and for all but the last how long it lasts, as in "
        f"0.05:2h,0.2:6h,0.5; found {part[:40]!r}"
    )


def play_course(
    traffic: Traffic,
    plan: Plan,
    course: Course,
    ratio: float,
    most: float,
    rngs: Sequence[np.random.Generator],
) -> list[Ended]:
    """Play one run with each generator, of at most ``most`` hours."""
    if traffic.sample is not None:
        plan = replace(plan, negligible=plan.negligible / traffic.sample.cases)
    runs = [_Run(traffic, course, ratio, rng) for rng in rngs]
    found: dict[int, Ended] = {}
    wanted = 1
    while left := [number for number in range(len(runs)) if number not in found]:
        for number in left:
            runs[number].extend(wanted, most)
        for block in _blocks(left, runs):
            for number, ended in zip(block, _judge([runs[one] for one in block], plan, most), strict=True):
                if ended is not None:
                    found[number] = ended
        wanted *= 2
    return [found[number] for number in range(len(runs))]


def _blocks(left: Sequence[int], runs: Sequence[_Run]) -> Iterator[list[int]]:
    """So many runs at once as memory takes."""
    widest = max(1, max(runs[number].known.size for number in left))
    step = max(1, _AT_ONCE // widest)
    for start in range(0, len(left), step):
        yield list(left[start : start + step])


@dataclass
class _Run:
    """One run so far: the events that happened, sorted by when they became known, and what the candidate cost and spared."""

    traffic: Traffic
    course: Course
    ratio: float
    rng: np.random.Generator
    end: float = 0.0
    known: Floats = field(default_factory=lambda: np.empty(0))
    mine: Bools = field(default_factory=lambda: np.empty(0, dtype=bool))
    rho: Floats = field(default_factory=lambda: np.empty(0))
    extra: Floats = field(default_factory=lambda: np.empty(0))
    spared: Floats = field(default_factory=lambda: np.empty(0))

    def __post_init__(self) -> None:
        self.parts = self.traffic.parts(self.rng, self.ratio)

    @property
    def full(self) -> bool:
        return self.known.size >= MOST_EVENTS

    def until(self, most: float) -> float:
        """Up to when it is known what became known; a full run counts what it has."""
        return most if self.full else min(self.end, most)

    def extend(self, parts: int, most: float) -> None:
        for _ in range(parts):
            if self.end >= most or self.full:
                break
            self.end, came = next(self.parts)
            self._happen(came)

    def _happen(self, came: Potential) -> None:
        begins, shares = np.asarray(self.course).T
        rho = shares[np.searchsorted(begins, came.at, side="right") - 1]
        mine = self.rng.random(came.at.size) < rho
        kept = self.rng.random(came.at.size) < self.ratio if self.ratio < 1 else np.ones(came.at.size, dtype=bool)
        happens = np.where(came.base, ~mine | kept, mine)
        self.extra = np.concatenate([self.extra, came.at[~came.base & mine]])
        self.spared = np.concatenate([self.spared, came.at[came.base & mine & ~kept]])
        known = np.concatenate([self.known, came.known[happens]])
        order = np.argsort(known, kind="stable")
        self.known = known[order]
        self.mine = np.concatenate([self.mine, mine[happens]])[order]
        self.rho = np.concatenate([self.rho, rho[happens]])[order]

    def cost(self, hours: float) -> int:
        """Bad units too many until then; of a full run the rest at the same pace."""
        found = int((self.extra <= hours).sum()) - int((self.spared <= hours).sum())
        stands = 1.0 if self.traffic.sample is None else self.traffic.sample.weight
        return round(stands * found * max(1.0, hours / self.end))

    def on_candidate(self, hours: float) -> float:
        """How many of the candidate's units are judged by then."""
        total = 0.0
        for (begins, share), (ends, _) in zip(self.course, (*self.course[1:], (math.inf, 0.0)), strict=True):
            if hours > begins:
                total += share * (self._judged(min(hours, ends)) - self._judged(begins))
        return total

    def _judged(self, hours: float) -> float:
        """Of a full run only those that came while it had events."""
        return min(self.traffic.judged(hours), self.traffic.units(self.end))


def _judge(runs: Sequence[_Run], plan: Plan, most: float) -> list[Ended | None]:
    """What each run says by now; None where it has to go on."""
    sizes = [int(np.searchsorted(run.known, run.until(most), side="right")) for run in runs]
    widest = max(1, *sizes)
    mine, counted = np.zeros((len(runs), widest), dtype=bool), np.zeros((len(runs), widest), dtype=bool)
    rho = np.full((len(runs), widest), 0.5)
    for row, (run, size) in enumerate(zip(runs, sizes, strict=True)):
        mine[row, :size], rho[row, :size], counted[row, :size] = run.mine[:size], run.rho[:size], True
    harm = walk(harm_test(), mine, rho, counted) >= -math.log(level_of(plan))
    safe = walk(safe_test(plan.margin), mine, rho, counted) >= -math.log(plan.beta)
    return [
        _ended(run, plan, most, size, harm[row], safe[row])
        for row, (run, size) in enumerate(zip(runs, sizes, strict=True))
    ]


def _ended(run: _Run, plan: Plan, most: float, size: int, harm: Bools, safe: Bools) -> Ended | None:
    hits = harm | safe
    at = int(hits.argmax()) if hits.any() else size
    hours = float(run.known[at]) if at < size else math.inf
    said: Said = "not_yet" if at == size else "harm" if harm[at] else "safe"
    rare = _negligible(run, plan, min(hours, run.until(most)))
    if rare < hours:
        said, hours = "safe", rare
    if said == "not_yet" and run.end < most and not run.full:
        return None
    cleared = said == "safe"
    return Ended(said, hours, run.cost(min(hours, run.until(most))), hours if cleared else math.inf, cleared)


def _negligible(run: _Run, plan: Plan, until: float) -> float:
    """When the candidate's own share is shown to be below ``plan.negligible``; infinite: not by then."""
    if plan.negligible <= 0:
        return math.inf
    known = run.known[run.mine & (run.known < until)]
    edges = np.concatenate([[0.0], known, [until]])
    units = np.array([run.on_candidate(one) for one in edges[1:]])
    shown = _is_negligible(np.arange(units.size), units, plan)
    if not shown.any():
        return math.inf
    k = int(shown.argmax())
    low, high = float(edges[k]), float(edges[k + 1])
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        there = _is_negligible(np.array([k]), np.array([run.on_candidate(middle)]), plan)[0]
        low, high = (low, middle) if there else (middle, high)
    return high


def _is_negligible(k: np.ndarray, units: Floats, plan: Plan) -> Bools:
    """As ``andon.measure.budget.share_sequence``, for many shares at once."""
    n = np.maximum(units, k)
    mixed = betaln(k + 0.5, n - k + 0.5) - math.log(math.pi)
    fits = k * math.log(plan.negligible) + (n - k) * math.log1p(-plan.negligible)
    found: Bools = (k < plan.negligible * n) & (mixed - fits >= -math.log(plan.beta))
    return found
