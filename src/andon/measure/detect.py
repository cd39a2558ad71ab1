"""What a rollout can find, and when, before it starts: how fast each e-process grows under what may be true.

Evidence grows, per event, by the divergence of what is true from the null less that from the nearest ratio bet on
(Kullback and Leibler). ``detectable`` turns that into events, units and hours. It tells the average, on the safe side:
simulated averages lie within a quarter of it, mostly below, and half of the runs need a third less (the tests check).

>>> found = detectable(rate=0.01, rho=0.1, per_hour=3600)
>>> round(found.clear.events), [one.ratio for one in found.harm]
(488, [1.5, 2.0, 3.0, 10.0])
>>> found.sentence
'a good candidate is cleared after about 49,000 units (14 hours); one with 2 times as many events is found after ...'
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from andon.errors import UsageError
from andon.measure.evidence import Counts, combined, harm_test, safe_test, share_of

__all__ = ["Detectable", "Expected", "detectable", "events_needed", "growth", "walk", "walk_on"]

Array = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
_FARTHEST = 1e12


class Expected(msgspec.Struct, frozen=True):
    """When a candidate of this ratio is decided about: events of both arms, units of both arms, hours; ``extra`` bad units.

    ``extra`` is how many units of the candidate had an event more than on the live version until then.
    """

    ratio: float
    events: float
    units: float
    hours: float
    extra: float


class Detectable(msgspec.Struct, frozen=True):
    """When a good candidate is cleared (None: never, at this margin), and when harm of each ratio is found."""

    clear: Expected | None
    harm: tuple[Expected, ...]
    sentence: str


def growth(test: Counts, ratio: float, rho: float) -> tuple[float, ...]:
    """How much the logarithm of each part of a test grows per event, on average, when ``ratio`` is true.

    >>> [round(one, 4) for one in growth(harm_test(), 2.0, 0.5)]
    [0.031, 0.0472, 0.0566, 0.0393, -0.0257, -0.1697, -0.3542]
    """
    true, null = share_of(ratio, rho), share_of(test.null, rho)
    return tuple(
        true * math.log(mine / null) + (1 - true) * math.log((1 - mine) / (1 - null))
        for mine in (share_of(one, rho) for one in test.ratios)
    )


def events_needed(test: Counts, ratio: float, rho: float, alpha: float = 0.05) -> float | None:
    """About how many events of both arms a test needs to reach 1/alpha when ``ratio`` is true; None when it never does.

    >>> round(events_needed(harm_test(), 3.0, 0.1)), events_needed(harm_test(), 1.0, 0.1)
    (46, None)
    """
    found = growth(test, ratio, rho)
    level = -math.log(alpha)
    if max(found) <= 0:
        return None
    low, high = 0.0, (level + math.log(len(found))) / max(found)
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if combined(middle * one for one in found) < level else (low, middle)
    return high if high < _FARTHEST else None


def detectable(
    rate: float,
    rho: float,
    per_hour: float,
    margin: float = 1.5,
    alpha: float = 0.05,
    beta: float = 0.05,
    ratios: Sequence[float] = (1.5, 2.0, 3.0, 10.0),
) -> Detectable:
    """When a rollout decides, at a share ``rho`` and ``per_hour`` units of both arms of which ``rate`` have an event live.

    Raises ``UsageError`` unless 0 < rate < 1, 0 < rho < 1 and per_hour > 0.
    """
    if not 0 < rate < 1 or not 0 < rho < 1 or not 0 < per_hour < math.inf:
        raise UsageError(
            "what can be detected: expected a rate and a share above 0 and below 1 and units per hour above 0, "
            f"found {rate:g}, {rho:g} and {per_hour:g}"
        )

    def expected(test: Counts, ratio: float, level: float) -> Expected | None:
        events = events_needed(test, ratio, rho, level)
        if events is None:
            return None
        mine = min(1.0, rate * ratio)
        units = math.ceil(events) / (rho * mine + (1 - rho) * rate)
        return Expected(ratio, events, units, units / per_hour, units * rho * (mine - rate))

    clear = expected(safe_test(margin), 1.0, beta)
    harm = tuple(one for ratio in ratios if (one := expected(harm_test(), ratio, alpha)) is not None)
    return Detectable(clear, harm, _sentence(clear, harm))


def _sentence(clear: Expected | None, harm: Sequence[Expected]) -> str:
    told = "a good candidate is never cleared at this margin"
    if clear is not None:
        told = f"a good candidate is cleared after about {_units(clear)}"
    worse = [one for one in harm if one.ratio >= 2] or list(harm)
    if not worse:
        return told
    return f"{told}; one with {worse[0].ratio:g} times as many events is found after about {_units(worse[0])}"


def _units(one: Expected) -> str:
    return f"{float(f'{one.units:.2g}'):,.0f} units ({one.hours:.2g} hours)"


def walk(test: Counts, mine: Bools, rho: npt.ArrayLike, counted: Bools | None = None) -> Array:
    """The logarithm of the e-value after every event of many simulated runs at once.

    ``mine`` has shape (runs, events): whether an event is the candidate's; ``rho``, the probability of that at each
    event, is a number or broadcasts to it; events that are not ``counted`` leave the evidence as it is. The same as
    ``Counts.add`` event by event.

    >>> walk(harm_test(), np.array([[True, False]]), 0.1).round(3).tolist()
    [[1.176, 0.692]]
    """
    total: Array | None = None
    for steps in _steps(test, mine, rho):
        if counted is not None:
            steps *= counted
        np.cumsum(steps, axis=1, out=steps)
        total = steps if total is None else np.logaddexp(total, steps, out=total)
    assert total is not None
    return total - math.log(len(test.ratios))


def walk_on(test: Counts, mine: Bools, rho: Array, logs: Sequence[float]) -> tuple[Array, tuple[float, ...]]:
    """The same of one run that goes on where each ratio's part was at ``logs``; and where each part is then.

    ``mine`` and ``rho`` have shape (events,). In whatever parts a run is walked, it is the same to the bit.

    >>> first, logs = walk_on(harm_test(), np.array([True]), np.array([0.1]), [0.0] * 7)
    >>> walk_on(harm_test(), np.array([False]), np.array([0.1]), logs)[0].round(3).tolist()
    [0.692]
    """
    total, ends = np.full(len(mine), -np.inf), []
    for steps, log in zip(_steps(test, mine, rho), logs, strict=True):
        path = np.cumsum(np.concatenate([[log], steps]))[1:]
        total = np.logaddexp(total, path, out=total)
        ends.append(float(path[-1]) if len(path) else log)
    return total - math.log(len(test.ratios)), tuple(ends)


def _steps(test: Counts, mine: Bools, rho: npt.ArrayLike) -> Iterator[Array]:
    """For each ratio, how much every event adds to the logarithm of its part."""
    shares = np.asarray(rho, dtype=np.float64)
    null = _shares(test.null, shares)
    for ratio in test.ratios:
        alone = _shares(ratio, shares)
        yield np.where(mine, np.log(alone / null), np.log((1 - alone) / (1 - null)))


def _shares(ratio: float, rho: Array) -> Array:
    found: Array = ratio * rho / (ratio * rho + 1 - rho)
    return found
