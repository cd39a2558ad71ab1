"""An automatic rollout, rehearsed from its first unit until it is settled or back: the controller's own decisions
(``andon.deploy.rollout.step``) on events as they come, through canary, blue/green and bake, whichever the plan has.

The tests are looked at after every event; a test that has spoken is looked at by the controller within three seconds, and
so is what is due by the clock or by the number of cases. What else may change (how far the share grows) is looked at in
steps of the time that the share is kept: more seldom than the controller does.

>>> from andon.deploy.rehearsal_traffic import Assumed
>>> plan = Plan("v2", "v1", ("canary", "live"), ("errors",))
>>> ended = play_auto(Assumed(0.01, 3600), plan, 10.0, 100.0, np.random.default_rng(1))
>>> ended.said, ended.hours < 1, ended.everything
('harm', True, inf)
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from msgspec.structs import replace

from andon.core.clock import HOUR
from andon.deploy.rehearsal_course import Ended
from andon.deploy.rehearsal_evidence import Happened, Walked, nothing
from andon.deploy.rehearsal_traffic import Floats, Traffic
from andon.deploy.rollout import step
from andon.deploy.rollout_proof import level_of
from andon.deploy.rollout_record import (
    CONTROLLER,
    LEAST_SHADOWED,
    Evidence,
    Plan,
    Rail,
    Rollout,
    Standing,
    Transition,
)
from andon.measure.guardrail import Guardrail, Said

__all__ = ["play_auto"]

Ints = npt.NDArray[np.int64]

#: How often the controller looks, and how long it keeps a share at least, in hours.
_LOOKS, _KEEPS = 3 / 3600, 300 / 3600
#: Parts of the time that a share was kept after which it is looked at again; of a canary so much of all the time at least.
_GROWS = {"canary": 1 / 3, "blue_green": 1 / 8}
_BAKES, _OF_ALL = 1 / 2, 1 / 10
#: So many potential events of a run come one by one; what comes then comes in numbers, so many for each look.
_EXACT, _SLOTS = 20_000, 256
#: Transitions in one look, as the controller has it.
_STEPS = 8
_BACK = ("rolling_back", "frozen")


def play_auto(traffic: Traffic, plan: Plan, ratio: float, most: float, rng: np.random.Generator) -> Ended:
    """One run of a plan with one guardrail, of at most ``most`` hours."""
    run = _Run(traffic, plan, ratio, rng)
    while run.said == "not_yet" and run.now < most:
        run.look(run.until(min(run.due(), most)))
    return Ended(run.said, math.inf if run.said == "not_yet" else run.now, run.cost, run.everything, run.cleared)


@dataclass
class _Run:
    """One run: the rollout, the line as it is, its guardrail, and the events that are to come or to become known.

    ``shares`` are all there were: since which hour, which one, and how many units had come by then.
    """

    traffic: Traffic
    plan: Plan
    ratio: float
    rng: np.random.Generator
    said: Said = "not_yet"
    now: float = 0.0
    everything: float = math.inf
    cleared: bool = False
    end: float = 0.0
    drawn: int = 0
    extra: float = 0.0
    waiting: Happened = field(default_factory=nothing)
    past: list[Happened] = field(default_factory=list)
    shares: list[tuple[float, float, float]] = field(default_factory=list)

    def __post_init__(self) -> None:
        plan = self.plan
        self.parts = self.traffic.parts(self.rng, self.ratio)
        self.coming = _Rows(np.empty(0), np.empty(0), np.empty(0, np.int64), np.empty(0, np.int64))
        self.guard = Guardrail.begin(plan.guardrails[0], plan.margin)
        self.rollout = Rollout("rehearsal", plan, "preflight", "preflight")
        self.standing = Standing(0, plan.live)
        self.look(0.0)

    @property
    def cost(self) -> int:
        """Units too many so far; one that was seen of a sample stands for others."""
        sample = self.traffic.sample
        return round(self.extra * (1.0 if sample is None else sample.weight))

    @property
    def share(self) -> float:
        """What of the units the candidate has."""
        if self.standing.live == self.plan.version:
            return 1.0
        return self.standing.share if self.standing.candidate == self.plan.version else 0.0

    # -------------------------------------------------------------------------------------------- what comes

    def until(self, hours: float) -> float:
        """Let events come until then, or until the first look after a test has spoken; when that is."""
        self._draw(hours)
        came = self._armed(self.coming.until(hours))
        waiting = self.waiting.and_(came)
        walked = Walked(self.guard, waiting.where(waiting.known <= hours))
        spoke = walked.spoke(level_of(self.plan), self.plan.beta)
        if spoke is not None:
            soon = math.ceil(float(waiting.known[spoke]) / _LOOKS) * _LOOKS
            hours = min(hours, max(self.now + _LOOKS, soon))
            # Nobody has drawn an arm for what comes after this look.
            came, waiting = came.where(came.at <= hours), waiting.where(waiting.at <= hours)
            walked = Walked(self.guard, waiting.where(waiting.known <= hours))
        known = waiting.known <= hours
        self.coming = self.coming.after(hours)
        self.extra += float(came.extra.sum())
        self.guard = walked.after(int(known.sum()))
        if self.plan.horizon_us > 0:
            self.past.append(waiting.where(known))
        self.waiting = waiting.where(~known)
        return hours

    def _draw(self, hours: float) -> None:
        """Events that may happen until then."""
        while self.end < hours:
            if self.drawn < _EXACT:
                self.end, came = next(self.parts)
                self.drawn += came.at.size
                rows = _Rows(came.at, came.known, came.base.astype(np.int64), (~came.base).astype(np.int64))
            else:
                edges = np.linspace(self.end, hours, _SLOTS + 1)
                units = np.diff(self.traffic.came(edges))
                rate = self.traffic.rate
                counts = (
                    self.rng.poisson(share * units) for share in (rate, max(0.0, min(1.0, rate * self.ratio) - rate))
                )
                rows, self.end = _Rows(edges[1:], edges[1:] + self.traffic.wait, *counts), hours
            self.coming = self.coming.and_(rows)

    def _armed(self, rows: _Rows) -> Happened:
        """What happens of it at the share now."""
        share = self.share
        mine, more = (self.rng.binomial(one, share) for one in (rows.base, rows.extra))
        kept = mine if self.ratio >= 1 else self.rng.binomial(mine, self.ratio)
        columns = (kept + more, rows.base - mine, np.full(rows.at.size, share), more - (mine - kept))
        return Happened(rows.at, rows.known, *(one.astype(np.float64) for one in columns))

    # --------------------------------------------------------------------------------------- what is decided

    def due(self) -> float:
        """When it is looked at next, if no test speaks before."""
        now, plan = self.rollout, self.plan
        began = self.shares[-1][0]
        kept = self.now - began
        grown = max(kept * _GROWS.get(now.place, _BAKES), self.now * _OF_ALL)
        hours = [self.now + max(_KEEPS, grown), began + _KEEPS]
        spans = {plan.bake_us, plan.horizon_us, max(plan.bake_us, plan.horizon_us)}
        hours += [(base + span) / HOUR for base in {now.since_us, now.share_us} for span in spans]
        if now.place in ("blue_green", "bake"):
            cases = self.share * self.traffic.per_hour * self.traffic.requests
            few = began + LEAST_SHADOWED / cases + _LOOKS
            hours.append(few if now.place == "blue_green" else max(few, *hours[2:]))
        return min(one for one in hours if one > self.now)

    def look(self, hours: float) -> None:
        """What the controller does then."""
        self.now = hours
        now_us = round(hours * HOUR)
        for _ in range(_STEPS):
            made = step(self.rollout, self._evidence(now_us), now_us)
            if made is None:
                return
            self._do(made)
            self.rollout = made.applied(self.rollout, now_us)
            if made.after in _BACK or self.rollout.ended:
                self.said = "safe" if made.after == "settled" else "harm"
                return

    def _do(self, made: Transition) -> None:
        """The line after a transition."""
        plan = self.plan
        changes: dict[str, dict[str, Any]] = {
            "canary": {"candidate": plan.version, "share": made.share},
            "ramp": {"share": made.share},
            "switch": {"live": plan.version, "candidate": None, "share": 0.0},
        }
        if change := changes.get(made.do):
            stands = replace(self.standing, epoch=self.standing.epoch + 1, actor=CONTROLLER, action=made.do)
            self.standing = replace(stands, **change)
            self.shares.append((self.now, self.share, self.traffic.units(self.now)))
        cleared = made.after in ("bake", "settled")
        self.cleared = self.cleared or cleared
        if cleared or (made.place == "blue_green" and made.share >= plan.bake_share):
            self.everything = min(self.everything, self.now)

    def _evidence(self, now_us: int) -> Evidence:
        candidate, live = self._arms(self.now)
        traffic, since = self.traffic, self.shares[-1] if self.shares else (0.0, 0.0, 0.0)
        lately = (traffic.units(self.now) - traffic.units(max(0.0, self.now - 1))) / min(1.0, max(self.now, 1 / 60))
        return Evidence(
            self.standing,
            as_of_us=now_us,
            rails=(self._rail(),),
            candidate=candidate,
            live=live,
            fresh=int(self.share * (traffic.units(self.now) - since[2]) * traffic.requests),
            last_us=now_us,
            per_hour=lately * traffic.everyone,
            every_us=round(_KEEPS * HOUR),
        )

    def _rail(self) -> Rail:
        traffic, horizon = self.traffic, self.plan.horizon_us / HOUR
        units, late = self._arms(self.now - traffic.wait), horizon > 0
        made = Rail(self.guard.name, self.guard, units, late)
        if late:
            ripe = self._arms(self.now - max(traffic.wait, horizon))
            made = replace(made, matured=self._matured(self.now - horizon), matured_units=ripe)
        if traffic.sample is None:
            return made
        return replace(made, sampled=True, weight=traffic.sample.weight, cases=traffic.sample.cases)

    def _matured(self, until: float) -> Guardrail:
        """What the cases say whose labels had time to come; asked for where the share is the last one."""
        if self.rollout.place not in ("blue_green", "bake"):
            return self.guard
        rows = nothing()
        for one in self.past:
            rows = rows.and_(one)
        self.past = [rows]
        ripe = rows.at <= until + 1e-9
        if ripe.all():
            return self.guard
        found = rows.where(ripe)
        return Walked(Guardrail.begin(self.guard.name, self.plan.margin), found).after(found.at.size)

    def _arms(self, hours: float) -> tuple[int, int]:
        """How many units of each arm came until then, while both answered."""
        found = [0.0, 0.0]
        came = self.traffic.units(max(0.0, hours))
        ends = [*(one[2] for one in self.shares[1:]), math.inf]
        for (_, share, begins), end in zip(self.shares, ends, strict=False):
            if share < 1 and came > begins:
                found[0] += share * (min(came, end) - begins)
                found[1] += (1 - share) * (min(came, end) - begins)
        return int(found[0]), int(found[1])


@dataclass(frozen=True, slots=True)
class _Rows:
    """Events that may happen: how many on the live version (``base``), and on the candidate alone (``extra``)."""

    at: Floats
    known: Floats
    base: Ints
    extra: Ints

    def until(self, hours: float) -> _Rows:
        n = int(np.searchsorted(self.at, hours, side="right"))
        return _Rows(self.at[:n], self.known[:n], self.base[:n], self.extra[:n])

    def after(self, hours: float) -> _Rows:
        n = int(np.searchsorted(self.at, hours, side="right"))
        return _Rows(self.at[n:], self.known[n:], self.base[n:], self.extra[n:])

    def and_(self, more: _Rows) -> _Rows:
        at, known = np.concatenate([self.at, more.at]), np.concatenate([self.known, more.known])
        return _Rows(at, known, np.concatenate([self.base, more.base]), np.concatenate([self.extra, more.extra]))
