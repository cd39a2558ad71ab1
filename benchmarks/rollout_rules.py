"""How Flagger, Argo Rollouts, Kayenta and GrowthBook decide about a canary, and how Andon does; many runs at once.

Each rule is a class with ``shares()`` (the candidate's share of the traffic now, for each run) and ``look(start, minutes,
seen)`` after each tick, which sets ``state``: 0 undecided, 1 promoted, -1 reverted. A rule that watches on with nearly all of
the traffic says in ``handed`` since when; a run that is still so when the week is over counts as promoted. Parameters are the documented defaults or,
where there are none, those of the documented example; "told the base rate" is the same rule with its limit at the margin
times the true base rate, which nobody knows in practice: a favour.

* Flagger: pkg/controller/scheduler.go and scheduler_metrics.go; docs.flagger.app/usage/metrics and the canary examples:
  interval 1m, threshold 5, stepWeight 10, maxWeight 50, request-success-rate min 99 over 1m. No value is a failed check;
  failed checks never decay.
* Argo Rollouts: its page on analysis, "Background Analysis": setWeight 20, 40, 60, 80 with pauses of 10m, analysis from
  step 2 (40 %), interval 5m, result >= 0.95, failureLimit 3 (failed when more than 3 failed, analysis.go), a measurement
  without data is an error, five errors in a row fail (consecutiveErrorLimit 4). It is asked about the canary alone.
* Kayenta: NetflixACAJudge (Mann-Whitney, confidence 0.98, tolerance 0.25 of the shift) and Spinnaker's canary best practices:
  lifetime 3 h, interval 1 h, no warm-up, a fresh baseline as large as the canary, one value a minute; below 75 fails, the
  last above 95 passes. Data grow from look to look (the stage's default). One metric: it scores 0 or 100. Kayenta sets no
  weight: 10 % here. Direction: increase.
* GrowthBook Safe Rollouts: docs/features/safe-rollouts.mdx and gbstats (one-sided sequential, alpha 0.05, tuning parameter
  5,000, Waudby-Smith et al. 2021): 10, 25, 50, 75, 100 % in the first quarter of 4 days (the documented example), half of it
  rollout and half control; a lower bound above zero reverts (auto rollback on); inconclusive at the end ships. By units.
* Andon: harm against a ratio of 1 and safe against the margin, alpha = beta = 5 %, a look every tick, units with a first
  event. At a fixed share, and by harm budget. What is safe bakes for a day with 95 % of the traffic (the defaults of
  ``rollout.bake`` and ``rollout.holdback``), compared with the rest by the same evidence; harm takes it back.
"""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from andon.measure.budget import excess, next_share, suffered
from andon.measure.evidence import harm_test, safe_test
from andon.measure.guardrail import Guardrail
from benchmarks.rollout_world import Seen

__all__ = ["Andon", "Argo", "Flagger", "GrowthBook", "Kayenta", "Rule"]

Floats = npt.NDArray[np.float64]


class Rule(Protocol):
    """What the benchmark asks of a rule. ``baseline`` is the share of its control arm; 0 is all the rest of the traffic."""

    state: npt.NDArray[np.int64]
    handed: Floats

    def shares(self) -> Floats: ...
    def baseline(self) -> Floats: ...
    def look(self, start: int, minutes: int, candidate: Seen, live: Seen) -> None: ...


class _Rule:
    def __init__(self, runs: int) -> None:
        self.runs = runs
        self.state = np.zeros(runs, dtype=np.int64)
        self.handed = np.full(runs, np.inf)
        self.weight = np.zeros(runs)

    def shares(self) -> Floats:
        return self.weight

    def baseline(self) -> Floats:
        return 1 - self.weight


class Flagger(_Rule):
    def __init__(self, runs: int, *, most_errors: float = 0.01, threshold: int = 5, step: float = 0.1) -> None:
        super().__init__(runs)
        self.most_errors, self.threshold, self.step, self.most = most_errors, threshold, step, 0.5
        self.failed = np.zeros(runs, dtype=np.int64)
        self.weight += step

    def look(self, start: int, minutes: int, candidate: Seen, live: Seen) -> None:
        going = self.state == 0
        bad = candidate.errors / np.maximum(candidate.requests, 1)
        passed = (candidate.requests > 0) & (bad <= self.most_errors)
        self.failed += going & ~passed
        self.state[going & (self.failed >= self.threshold)] = -1
        done = going & passed & (self.weight >= self.most - 1e-9)
        self.state[done] = 1
        self.weight[going & passed & ~done] += self.step


class Argo(_Rule):
    def __init__(self, runs: int, *, most_errors: float = 0.05, limit: int = 3) -> None:
        super().__init__(runs)
        self.most_errors, self.limit = most_errors, limit
        self.failed = np.zeros(runs, dtype=np.int64)
        self.errors = np.zeros(runs, dtype=np.int64)
        self.window: list[tuple[Floats, Floats]] = []
        self.weight += 0.2

    def look(self, start: int, minutes: int, candidate: Seen, live: Seen) -> None:
        self.window = [*self.window[-4:], (candidate.requests, candidate.errors)]
        end = start + minutes
        going = self.state == 0
        if 10 <= end < 40 and end % 5 == 0:
            asked = np.sum([one for one, _ in self.window], axis=0)
            bad = np.sum([one for _, one in self.window], axis=0) / np.maximum(asked, 1)
            self.failed += going & (asked > 0) & (bad > self.most_errors)
            self.errors = np.where(asked > 0, 0, self.errors + 1)
            self.state[going & ((self.failed > self.limit) | (self.errors > 4))] = -1
        self.weight[:] = 0.2 * min(4, 1 + end // 10)
        if end >= 40:
            self.state[self.state == 0] = 1


class Kayenta(_Rule):
    def __init__(self, runs: int, *, share: float = 0.1, confidence: float = 0.98, tolerance: float = 0.25) -> None:
        super().__init__(runs)
        self.weight += share
        self.z, self.tolerance = float(norm.ppf(0.5 + confidence / 2)), tolerance
        self.points: list[tuple[Floats, Floats]] = []

    def baseline(self) -> Floats:
        return self.weight

    def look(self, start: int, minutes: int, candidate: Seen, live: Seen) -> None:
        with np.errstate(invalid="ignore"):
            self.points.append((candidate.errors / candidate.requests, live.errors / live.requests))
        if (start + minutes) % 60:
            return
        mine, other = (np.stack(side) for side in zip(*self.points, strict=True))
        for run in np.flatnonzero(self.state == 0):
            if self._high(mine[:, run], other[:, run]):
                self.state[run] = -1
        if start + minutes >= 180:
            self.state[self.state == 0] = 1

    def _high(self, mine: Floats, other: Floats) -> bool:
        """Whether the interval of the shift lies above a quarter of it; no data passes (a group without data scores 100)."""
        mine, other = mine[~np.isnan(mine)], other[~np.isnan(other)]
        n, m = len(mine), len(other)
        if not n or not m or len(np.unique(np.concatenate([mine, other]))) == 1:
            return False
        _, ties = np.unique(np.concatenate([mine, other]), return_counts=True)
        spread = math.sqrt(n * m / 12 * (n + m + 1 - (ties**3 - ties).sum() / ((n + m) * (n + m - 1))))
        shifts = (mine[:, None] - other[None, :]).ravel()
        at = max(0, int(n * m / 2 - self.z * spread))
        low = np.partition(shifts, at)[at]
        return bool(low > self.tolerance * abs(float(np.median(shifts))))


class GrowthBook(_Rule):
    def __init__(self, runs: int, *, days: float = 4, alpha: float = 0.05, tuning: float = 5000) -> None:
        super().__init__(runs)
        self.length, self.alpha = days * 1440, alpha
        two = 2 * alpha
        self.rho2 = (-2 * math.log(two) + math.log(-2 * math.log(two) + 1)) / tuning
        self.sums = np.zeros((4, runs))
        self.weight += 0.05

    def baseline(self) -> Floats:
        return self.weight

    def look(self, start: int, minutes: int, candidate: Seen, live: Seen) -> None:
        self.sums += np.stack([candidate.bad, candidate.units, live.bad, live.units])
        end = start + minutes
        self.weight[:] = np.array([0.1, 0.25, 0.5, 0.75, 1.0])[min(4, int(5 * end / (self.length / 4)))] / 2
        if end % 60:
            return
        bad, n, other, m = self.sums
        p, q, total = bad / np.maximum(n, 1), other / np.maximum(m, 1), n + m
        variance = (p * (1 - p) / np.maximum(n, 1) + q * (1 - q) / np.maximum(m, 1)) * total
        grown = total * self.rho2 + 1
        half = np.sqrt(variance * 2 * grown / (total**2 * self.rho2) * np.log1p(np.sqrt(grown) / (2 * self.alpha)))
        self.state[(self.state == 0) & (n > 0) & (m > 0) & (variance > 0) & (p - q > half)] = -1
        if end >= self.length:
            self.state[self.state == 0] = 1


class Andon(_Rule):
    def __init__(
        self,
        runs: int,
        *,
        share: float = 0.1,
        margin: float = 1.5,
        alpha: float = 0.05,
        budget: float | None = None,
        holdback: float = 0.05,
        bake: float = 1440,
    ) -> None:
        super().__init__(runs)
        self.holdback, self.bake = holdback, bake
        self.weight += share
        self.margin, self.level, self.budget = margin, -math.log(alpha), budget
        self.tests = [harm_test(), safe_test(margin)]
        self.logs = [np.zeros((len(test.ratios), runs)) for test in self.tests]
        self.rails = [Guardrail.begin("errors", margin) for _ in range(runs)] if budget is not None else []
        self.units = np.zeros((2, runs))
        self.steps = {10, 30, 60, 120, 240, 480, 960, 1440, 2880, 4320, 5760, 7200, 8640}
        self.open: Floats = np.zeros((2, runs))

    def look(self, start: int, minutes: int, candidate: Seen, live: Seen) -> None:
        going, rho, end = self.state == 0, self.weight, start + minutes
        for test, logs in zip(self.tests, self.logs, strict=True):
            null = test.null * rho / (test.null * rho + 1 - rho)
            for at, ratio in enumerate(test.ratios):
                mine = ratio * rho / (ratio * rho + 1 - rho)
                logs[at] += candidate.bad * np.log(mine / null) + live.bad * np.log((1 - mine) / (1 - null))
        harm, safe = (np.logaddexp.reduce(logs, axis=0) - math.log(len(logs)) for logs in self.logs)
        self.state[going & (end >= self.handed + self.bake)] = 1
        self.state[going & (harm >= self.level)] = -1
        if self.budget is not None:
            self.units += np.stack([candidate.units, live.units])
            self.open += np.stack([candidate.bad, live.bad])
            if end in self.steps:
                self._step(end)
        cleared = (self.state == 0) & np.isinf(self.handed) & (safe >= self.level)
        self.handed[cleared], self.weight[cleared] = end, 1 - self.holdback

    def _step(self, now: int) -> None:
        """The next share by harm budget: never less than one in a hundred, or nothing would ever be learnt."""
        assert self.budget is not None
        ahead = min((one for one in self.steps if one > now), default=2 * now) - now
        for run in np.flatnonzero((self.state == 0) & np.isinf(self.handed)):
            rail = self.rails[run].add(int(self.open[0, run]), int(self.open[1, run]), float(self.weight[run]))
            self.rails[run] = rail
            mine, other = (int(one) for one in self.units[:, run])
            forecast = (mine + other) / now * ahead
            worst = excess(rail, mine, other)
            share = next_share(
                cap=0.5, budget=self.budget, suffered=suffered(rail), excess=worst, forecast=max(1.0, forecast)
            )
            self.weight[run] = max(0.01, share)
        self.open[:] = 0
