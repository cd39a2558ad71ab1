"""The simulated line that all rules of `benchmarks.rollouts` are played against: many runs of one canary at once.

A tick is one minute for the first four hours and ten after that. In each, an arm with a share of the traffic gets
requests and errors, and the *units* that were new in it and those of them that had an event.

* ``steady``: every request is a unit of its own, the error rate stays.
* ``day``: the rate swings by 80 % over the day, and an incident triples it for both arms from minute 15 to 45.
* ``clients``: a unit makes Pareto(1.2) requests (capped at 3,000), over about ten minutes; a client that fails, fails always.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["WEEK", "WORLDS", "Seen", "World", "ticks"]

Floats = npt.NDArray[np.float64]
#: Minutes until a canary that is not decided about counts as held.
WEEK = 7 * 24 * 60
WORLDS = ("steady", "day", "clients")
_CAP, _TAIL = 3000, 1.2
_SIZES = np.arange(1, _CAP + 1)
_CHANCES = _SIZES**-_TAIL - np.append((_SIZES[:-1] + 1.0) ** -_TAIL, 0.0)
#: Requests of a client, on average.
MEAN_REQUESTS = float((_SIZES * _CHANCES).sum())
_RELEASED = 0.1


def ticks() -> list[tuple[int, int]]:
    """(start, minutes) of every tick of a week."""
    return [(at, 1) for at in range(240)] + [(at, 10) for at in range(240, WEEK, 10)]


class Seen:
    """What one arm had in one tick, an array each of all runs."""

    def __init__(self, requests: Floats, errors: Floats, units: Floats, bad: Floats) -> None:
        self.requests, self.errors, self.units, self.bad = requests, errors, units, bad


class World:
    """``runs`` copies of a line with ``traffic`` requests a minute, of which ``base`` are errors on the live version."""

    def __init__(self, name: str, traffic: float, base: float, runs: int, seed: list[int]) -> None:
        self.name, self.traffic, self.base, self.runs = name, traffic, base, runs
        self.rng = np.random.default_rng(seed)
        self._pools: dict[str, Floats] = {}

    def rate(self, start: int, ratio: float) -> float:
        """The share of units with an event."""
        rate = self.base
        if self.name == "day":
            rate *= 1 + 0.8 * math.sin(2 * math.pi * start / 1440)
            rate *= 3 if 15 <= start < 45 else 1
        return min(0.9, rate * ratio)

    def extra(self, start: int, minutes: int, share: Floats, ratio: float) -> Floats:
        """How many errors more than on the live version are expected at this share of the candidate."""
        return self.traffic * minutes * share * (self.rate(start, ratio) - self.rate(start, 1.0))

    def arm(self, which: str, start: int, minutes: int, share: Floats, ratio: float = 1.0) -> Seen:
        """One tick of an arm with its share of the traffic."""
        rate, expected = self.rate(start, ratio), self.traffic * minutes * share
        if self.name != "clients":
            requests = self.rng.poisson(expected).astype(np.float64)
            errors = self.rng.binomial(requests.astype(np.int64), rate).astype(np.float64)
            return Seen(requests, errors, requests, errors)
        units = self.rng.poisson(expected / MEAN_REQUESTS)
        bad = self.rng.binomial(units, rate)
        failed = self._flow(which + " bad", self._requests(bad), minutes)
        fine = self._flow(which, self._requests(units - bad), minutes)
        return Seen(failed + fine, failed, units.astype(np.float64), bad.astype(np.float64))

    def _requests(self, units: npt.NDArray[np.int64]) -> Floats:
        """The sum of the requests of so many clients, for each run."""
        sizes = np.ceil(self.rng.pareto(_TAIL, int(units.sum())) + 1e-12).clip(1, _CAP)
        ends = np.cumsum(units)
        sums = np.concatenate([[0.0], np.cumsum(sizes)])
        found: Floats = sums[ends] - sums[ends - units]
        return found

    def _flow(self, which: str, more: Floats, minutes: int) -> Floats:
        """Clients ask over some minutes: each minute a tenth of what is left of their requests comes."""
        pool = self._pools.get(which, np.zeros(self.runs)) + more
        out = self.rng.binomial(pool.astype(np.int64), 1 - (1 - _RELEASED) ** minutes).astype(np.float64)
        self._pools[which] = pool - out
        return out
