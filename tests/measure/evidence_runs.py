"""Many simulated rollouts at once, for the tests of the evidence: who had an event when, and what each rule said of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from andon.measure.detect import walk
from andon.measure.evidence import harm_test, safe_test

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

NEVER = 2**62


@dataclass(frozen=True)
class Race:
    """Which event ended each run: the first at which a test was conclusive, or NEVER."""

    harm: Ints
    safe: Ints

    @property
    def harmed(self) -> Bools:
        return (self.harm < NEVER) & (self.harm <= self.safe)

    @property
    def cleared(self) -> Bools:
        return (self.safe < NEVER) & (self.safe < self.harm)

    @property
    def end(self) -> Ints:
        """How many events each run took."""
        return np.minimum(self.harm, self.safe) + 1


def race(
    mine: Bools, rho: npt.ArrayLike, *, margin: float = 1.5, alpha: float = 0.05, counted: Bools | None = None
) -> Race:
    """Look after every event at both tests; ``counted`` leaves events out."""
    level = -math.log(alpha)
    rho = np.broadcast_to(np.asarray(rho, dtype=np.float64), mine.shape)
    found = []
    for test in (harm_test(), safe_test(margin)):
        found.append(first(walk(test, mine, rho, counted) >= level))
    return Race(found[0], found[1])


def first(hits: Bools) -> Ints:
    """Where each row is first true."""
    return np.where(hits.any(axis=1), hits.argmax(axis=1), NEVER).astype(np.int64)


def at_most(k: int, n: int, share: float) -> bool:
    """Whether k of n may come from a share of at most ``share``, at 99 %."""
    return bool(k <= binom.ppf(0.99, n, share))


def simpson(rng: np.random.Generator) -> tuple[Bools, Floats, tuple[int, int, int, int]]:
    """Four steps of 8,000 requests, the base rate falling while the share rises; both arms alike.

    Returns whose each event was, rho at each event, and (candidate's errors, requests, live errors, requests).
    """
    mine: list[Bools] = []
    rho: list[Floats] = []
    total = np.zeros(4, dtype=np.int64)
    for share, error in zip((0.05, 0.10, 0.25, 0.50), (0.03, 0.02, 0.012, 0.006), strict=True):
        arm = rng.random(8000) < share
        bad = rng.random(8000) < error
        mine.append(arm[bad])
        rho.append(np.full(int(bad.sum()), share))
        total += np.array([(arm & bad).sum(), arm.sum(), (~arm & bad).sum(), (~arm).sum()])
    a, b, c, d = (int(one) for one in total)
    return np.concatenate(mine), np.concatenate(rho), (a, b, c, d)


def pooled(bad: int, n: int, other_bad: int, other_n: int) -> float:
    """The z of two pooled rates."""
    share = (bad + other_bad) / (n + other_n)
    return (bad / n - other_bad / other_n) / math.sqrt(share * (1 - share) * (1 / n + 1 / other_n))


def requests_of(rng: np.random.Generator, units: int) -> Ints:
    """How many requests each unit makes: Pareto(1.2), at least 1, capped at 3,000."""
    return np.minimum(np.ceil(rng.pareto(1.2, units) + 1e-9), 3000).astype(np.int64)


def sticky(rng: np.random.Generator, rho: float, units: int = 4000) -> tuple[Bools, Bools]:
    """Users of whom 2 % fail half of the time. For each event in random order: whose it is, whether it is the user's first."""
    arm = rng.random(units) < rho
    bad = np.where(rng.random(units) < 0.02, 0.5, 0.0)
    who = np.repeat(np.arange(units), rng.binomial(requests_of(rng, units), bad))
    rng.shuffle(who)
    return arm[who], first_of_each(who)


def first_of_each(who: Ints) -> Bools:
    """Whether each entry is the first of its kind."""
    seen = np.zeros(len(who), dtype=bool)
    seen[np.unique(who, return_index=True)[1]] = True
    return seen


def world(rng: np.random.Generator, *, ratio: float, delayed: bool, units: int = 6000) -> tuple[Bools, Floats, Bools]:
    """Users who come back over a day whose base rate changes by the hour, while the share ramps from 2 to 50 %.

    A user is drawn once: the candidate's from when the share passes its place. A user may fail at all with a share that is
    ``ratio`` times as large on the candidate; those who may, do so at half of their requests, as long as the hour's rate
    lets them. Labels come after up to six hours if ``delayed``, and are counted then, with the share at the request.
    Returns for each event in the order in which it is known: whose, rho, and whether it is the user's first.
    """
    place = rng.random(units)
    fragile = rng.random(units)
    many = requests_of(rng, units)
    who = np.repeat(np.arange(units), many)
    at = rng.random(len(who)) * 24
    share = np.asarray([0.02, 0.1, 0.25, 0.5])[np.minimum(at // 5, 3).astype(np.int64)]
    mine = place[who] < share
    hour = 0.3 + 0.2 * np.sin(at / 24 * 2 * math.pi)
    may = fragile[who] < 0.1 * np.where(mine, ratio, 1.0)
    bad = may & (rng.random(len(who)) < hour)
    who, at, share, mine = who[bad], at[bad], share[bad], mine[bad]
    # The first event is the first that happened: a later one may be known sooner, and must not stand for it.
    order = np.argsort(at)
    firsts = np.zeros(len(who), dtype=bool)
    firsts[order] = first_of_each(who[order])
    known = np.argsort(at + (rng.random(len(at)) * 6 if delayed else 0.0))
    return mine[known], share[known], firsts[known]


def stretched(rng: np.random.Generator, *, runs: int, units: int, steps: int, rho: float) -> Bools:
    """The same failing units again in every step."""
    arm = rng.random((runs, units)) < rho
    return np.concatenate([arm] * steps, axis=1)
