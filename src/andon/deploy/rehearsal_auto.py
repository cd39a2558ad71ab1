"""An automatic rollout, rehearsed: the controller's own decisions (``andon.deploy.rollout.step``) on events as they come.

Evidence is counted event by event. The share is looked at when a test has spoken, and else whenever the time since the
beginning has grown by a quarter: more seldom than the controller does, so that what it would notice in between, such as a
budget that is spent, is noticed late here.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass, field

import numpy as np

from andon.core.clock import HOUR
from andon.deploy.rehearsal_course import MOST_EVENTS, Ended
from andon.deploy.rehearsal_traffic import Traffic
from andon.deploy.rollout import step
from andon.deploy.rollout_proof import level_of
from andon.deploy.rollout_record import Evidence, Plan, Rail, Rollout, Standing
from andon.measure.guardrail import Guardrail

__all__ = ["play_auto"]

#: How often the controller looks at the tests, and how long it keeps a share at least, in hours.
_LOOKS, _KEEPS = 3 / 3600, 300 / 3600
_GROWS = 1.25


def play_auto(traffic: Traffic, plan: Plan, ratio: float, most: float, rng: np.random.Generator) -> Ended:
    """One run of the canary of a plan with one guardrail, of at most ``most`` hours."""
    run = _Run(traffic, plan, ratio, rng)
    hours = _KEEPS
    while True:
        hours = min(run.until(hours), most)
        said = run.look(hours)
        if said is not None:
            return Ended("harm" if said == "harm" else "safe", hours, run.cost)
        if hours >= most or (run.full and not run.unknown):
            return Ended("not_yet", math.inf, run.cost)
        hours = max(hours + _KEEPS, hours * _GROWS)


@dataclass
class _Run:
    """One run: the rollout, its guardrail, and the events that happened and are not known yet."""

    traffic: Traffic
    plan: Plan
    ratio: float
    rng: np.random.Generator
    coming: deque[tuple[float, float, bool]] = field(default_factory=deque)
    unknown: list[tuple[float, bool, float]] = field(default_factory=list)
    end: float = 0.0
    now: float = 0.0
    units: tuple[float, float] = (0.0, 0.0)
    fresh: float = 0.0
    extra: int = 0
    happened: int = 0

    def __post_init__(self) -> None:
        plan = self.plan
        self.parts = self.traffic.parts(self.rng, self.ratio)
        self.guard = Guardrail.begin(plan.guardrails[0], plan.margin)
        self.rollout = Rollout("rehearsal", plan, "canary", "canary", share=min(plan.start_share, plan.cap))

    @property
    def full(self) -> bool:
        return self.happened >= MOST_EVENTS

    @property
    def cost(self) -> int:
        """Bad units too many so far; of a full run the rest at the same pace."""
        return round(self.extra * max(1.0, self.now / self.end))

    def until(self, hours: float) -> float:
        """Let events come until then, or until the first look after a test has spoken."""
        while self.coming or (self.end < hours and not self.full):
            if not self.coming:
                self.end, came = next(self.parts)
                self.coming.extend(zip(came.at.tolist(), came.known.tolist(), came.base.tolist(), strict=True))
                continue
            at, known, base = self.coming[0]
            hours = self._learn(min(at, hours), hours)
            if at > hours:
                break
            self.coming.popleft()
            self._happen(known, base)
        return self._learn(hours, hours)

    def _happen(self, known: float, base: bool) -> None:
        share = self.rollout.share
        mine = bool(self.rng.random() < share)
        if base and mine and self.ratio < 1 and self.rng.random() >= self.ratio:
            self.extra -= 1
            return
        if not base:
            if not mine:
                return
            self.extra += 1
        self.happened += 1
        heapq.heappush(self.unknown, (known, mine, share))

    def _learn(self, until: float, hours: float) -> float:
        """Count what is known by then; the next look comes forward once a test has spoken."""
        while self.unknown and self.unknown[0][0] <= until:
            known, mine, share = heapq.heappop(self.unknown)
            self.guard = self.guard.add(int(mine), int(not mine), share)
            if self.guard.verdict(level_of(self.plan), self.plan.beta) != "not_yet":
                hours = min(hours, max(self.now + _LOOKS, math.ceil(known / _LOOKS) * _LOOKS))
        return hours

    def look(self, hours: float) -> str | None:
        """What the controller does then; what it says once it is over."""
        share, since = self.rollout.share, self.now
        # Of a full run only those are judged that came while it had events.
        most = self.traffic.units(self.end)
        came = max(0.0, min(most, self.traffic.judged(hours)) - min(most, self.traffic.judged(since)))
        self.units = (self.units[0] + share * came, self.units[1] + (1 - share) * came)
        self.fresh += share * max(0.0, self.traffic.units(hours) - self.traffic.units(since))
        self.now = hours
        now_us = round(hours * HOUR)
        made = step(self.rollout, self._evidence(now_us), now_us)
        if made is None:
            return None
        if made.after == "bake":
            return "safe"
        if made.after in ("rolling_back", "frozen"):
            return "harm"
        self.fresh = 0.0 if made.share != share else self.fresh
        self.rollout = made.applied(self.rollout, now_us)
        return None

    def _evidence(self, now_us: int) -> Evidence:
        candidate, live = (int(n) for n in self.units)
        standing = Standing(1, self.plan.live, self.plan.version, self.rollout.share)
        rail = Rail(self.guard.name, self.guard, (candidate, live), self.plan.horizon_us > 0)
        return Evidence(
            standing,
            as_of_us=now_us,
            rails=(rail,),
            candidate=candidate,
            live=live,
            fresh=int(self.fresh),
            last_us=now_us,
            per_hour=self.traffic.per_hour,
            every_us=round(_KEEPS * HOUR),
        )
