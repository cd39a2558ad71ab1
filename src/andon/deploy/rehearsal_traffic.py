"""The traffic that a rollout is rehearsed on: assumed (units at random, a share of them with an event) or a past one.

Either gives, part by part and without end, the *potential* events of a run: units that have an event on the live version
(``base``), and units that would have one on the candidate alone. Which of them happen depends on the arm a unit has then.

>>> traffic = Assumed(rate=0.01, per_hour=3600)
>>> end, first = next(traffic.parts(np.random.default_rng(1), ratio=2.0))
>>> round(end, 2), bool((np.diff(first.at) >= 0).all()), first.at.size == first.base.size
(3.56, True, True)
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Protocol

import numpy as np
import numpy.typing as npt

from andon.errors import NotEnoughEvidence, UsageError

__all__ = ["LEAST_EVENTS", "LEAST_UNITS", "Assumed", "Bools", "Floats", "Past", "Potential", "Sample", "Traffic"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

#: What a past must have, at least, to be played again.
LEAST_UNITS, LEAST_EVENTS = 100, 10
#: About how many potential events a part has.
_PART = 256


@dataclass(frozen=True, slots=True)
class Potential:
    """Events that may happen, by time: hours since the rollout began, and when they become known."""

    at: Floats
    known: Floats
    base: Bools


@dataclass(frozen=True, slots=True)
class Sample:
    """Where people look at a part of the answers: for how many units one that was looked at stands (``weight``, 1 over the
    chance it had), and how many automatic answers each unit has (``cases``).
    """

    weight: float
    cases: float


class Traffic(Protocol):
    """What comes: units of which it is known (by and by) how they went, ``per_hour``, ``rate`` of them with an event.

    ``requests`` is how many requests come, of all units, for each of these, and ``everyone`` how many units; ``wait`` is after
    how many hours it is known, on average. Where these units are a ``sample``, the others are automatic answers, too.
    """

    @property
    def rate(self) -> float: ...

    @property
    def per_hour(self) -> float: ...

    @property
    def requests(self) -> float: ...

    @property
    def everyone(self) -> float: ...

    @property
    def wait(self) -> float: ...

    @property
    def sample(self) -> Sample | None: ...

    def parts(self, rng: np.random.Generator, ratio: float) -> Iterator[tuple[float, Potential]]:
        """One run's events, each part with the hour at which it ends."""

    def came(self, hours: Floats) -> Floats:
        """How many units came until each of these hours, on average."""

    def units(self, hours: float) -> float:
        """The same of one hour."""

    def judged(self, hours: float) -> float:
        """Of how many units it is known then how they went, on average."""


@dataclass(frozen=True)
class Assumed:
    """``per_hour`` units, at random, ``rate`` of them with an event on the live version, known after ``delay`` hours.

    Raises ``UsageError`` unless 0 < rate < 1, per_hour > 0 and delay >= 0.
    """

    rate: float
    per_hour: float
    delay: float = 0.0
    requests: float = 1.0
    everyone: float = 1.0
    sample: Sample | None = None

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise UsageError(
                f"--rate: expected a share of units with an event above 0 and below 1, found {self.rate:g}"
            )
        if not 0 < self.per_hour <= 1e9:
            raise UsageError(f"--per-hour: expected units an hour, above 0 and at most 1e9, found {self.per_hour:g}")
        if not 0 <= self.delay < math.inf:
            raise UsageError(f"--delay: expected hours of at least 0, found {self.delay:g}")

    @property
    def wait(self) -> float:
        """After how many hours it is known how a unit went."""
        return self.delay

    def parts(self, rng: np.random.Generator, ratio: float) -> Iterator[tuple[float, Potential]]:
        """One run's events, each part with the hour at which it ends."""
        more = max(0.0, min(1.0, self.rate * ratio) - self.rate)
        hours = _PART / (self.per_hour * (self.rate + more))
        for number in count():
            base, extra = (int(rng.poisson(self.per_hour * share * hours)) for share in (self.rate, more))
            at = number * hours + rng.random(base + extra) * hours
            order = np.argsort(at)
            at = at[order]
            yield (number + 1) * hours, Potential(at, at + self.delay, order < base)

    def came(self, hours: Floats) -> Floats:
        """How many units came until each of these hours, on average."""
        return self.per_hour * hours

    def units(self, hours: float) -> float:
        """The same of one hour."""
        return self.per_hour * hours

    def judged(self, hours: float) -> float:
        """Of how many units it is known then how they went, on average."""
        return self.units(max(0.0, hours - self.delay))


class Past:
    """A past again and again, anew each time: its units are drawn with replacement, each with all that it did and when.

    A unit is a block: its requests stay together, and it counts once, with its first event. Drawing is by Poisson
    weights (each unit comes once on average), so that hours may be drawn one after the other. Where the candidate is
    worse, units without an event have one too, at a request as early or late among theirs as others have it; where it is
    better, some of the events are left out.

    ``unit`` names the unit of each row, ``at`` and ``known`` are hours since the past began, ``bad`` says which rows are
    events; ``span`` is the past's length, ``came`` how many requests and units there were with those of which nothing is
    known (else as many as here), ``sample`` what a unit here stands for. Raises ``NotEnoughEvidence`` where there are too few units or events.
    """

    def __init__(
        self,
        unit: npt.NDArray[np.uint64],
        at: Floats,
        known: Floats,
        bad: Bools,
        span: float,
        came: tuple[int, int] | None = None,
        sample: Sample | None = None,
    ) -> None:
        _, whose, sizes = np.unique(unit, return_inverse=True, return_counts=True)
        has = np.zeros(sizes.size, dtype=bool)
        has[whose[bad]] = True
        events = int(has.sum())
        self._enough(sizes.size, events, span)
        self.span, self.n = span, int(sizes.size)
        self.rate, self.per_hour, self.sample = events / self.n, self.n / span, sample
        self.requests, self.everyone = (n / self.n for n in came or (unit.size, self.n))
        order = np.lexsort((at, whose))
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        rank = np.empty(unit.size, dtype=np.int64)
        rank[order] = np.arange(unit.size) - np.repeat(starts, sizes)
        rows = np.flatnonzero(bad)
        rows = rows[np.argsort(known[rows], kind="stable")]
        rows = rows[np.unique(whose[rows], return_index=True)[1]]
        self._base = _by_time(rows, at, known)
        # A unit without an event would have had it where in their row of requests those have it that had one.
        places = np.random.default_rng(0).choice(rank[rows] / sizes[whose[rows]], self.n - events)
        calm = np.flatnonzero(~has)
        self._calm = _by_time(order[starts[calm] + (places * sizes[calm]).astype(np.int64)], at, known)
        self.wait = float(np.mean(known - at))
        self._first = np.sort(_first_of(whose, at, sizes.size))

    @staticmethod
    def _enough(units: int, events: int, span: float) -> None:
        if units < LEAST_UNITS or events < LEAST_EVENTS or not span > 0:
            raise NotEnoughEvidence(
                f"the log has {units:,} units, {events:,} of them with an event, over {max(span, 0.0):.3g} hours; "
                f"a rollout is played on at least {LEAST_UNITS} units and {LEAST_EVENTS} with an event; look further "
                "back with --past, or assume a traffic with --rate and --per-hour"
            )
        if events == units:
            raise NotEnoughEvidence(
                f"each of the log's {units:,} units had an event, so no candidate can be worse; nothing can be rehearsed"
            )

    def parts(self, rng: np.random.Generator, ratio: float) -> Iterator[tuple[float, Potential]]:
        """One run's events, each part with the hour at which it ends."""
        (base_at, base_wait), (calm_at, calm_wait) = self._base, self._calm
        more = max(0.0, min(1.0, self.rate * ratio) - self.rate) / (1 - self.rate)
        slices = max(1, math.ceil((base_at.size + more * calm_at.size) / _PART))
        edges = np.linspace(0, self.span, slices + 1)
        # What came in the very last moment belongs to the last part.
        ends, calm_ends = (
            np.concatenate([[0], np.searchsorted(one, edges[1:-1]), [one.size]]) for one in (base_at, calm_at)
        )
        for number in count():
            lap, part = divmod(number, slices)
            picked = _drawn(rng, ends[part], ends[part + 1], 1.0)
            rows = _drawn(rng, calm_ends[part], calm_ends[part + 1], more)
            at = np.concatenate([base_at[picked], calm_at[rows]]) + lap * self.span
            known = at + np.concatenate([base_wait[picked], calm_wait[rows]])
            order = np.argsort(at, kind="stable")
            yield lap * self.span + edges[part + 1], Potential(at[order], known[order], order < picked.size)

    def came(self, hours: Floats) -> Floats:
        """How many units came until each of these hours, on average."""
        laps, rest = np.divmod(hours, self.span)
        found: Floats = laps * self.n + np.searchsorted(self._first, rest, side="right")
        return found

    def units(self, hours: float) -> float:
        """The same of one hour."""
        return float(self.came(np.array([hours]))[0])

    def judged(self, hours: float) -> float:
        """Of how many units it is known then how they went, on average."""
        return self.units(max(0.0, hours - self.wait))


def _by_time(rows: npt.NDArray[np.int64], at: Floats, known: Floats) -> tuple[Floats, Floats]:
    """When each of the rows was, in this order, and how long after that it was known."""
    rows = rows[np.argsort(at[rows], kind="stable")]
    return at[rows], known[rows] - at[rows]


def _drawn(rng: np.random.Generator, low: int, high: int, weight: float) -> npt.NDArray[np.int64]:
    """Numbers from low to below high, each ``weight`` times on average."""
    return low + rng.integers(0, max(1, high - low), rng.poisson(weight * (high - low)))


def _first_of(whose: npt.NDArray[np.int64], at: Floats, units: int) -> Floats:
    first = np.full(units, math.inf)
    np.minimum.at(first, whose, at)
    return first
