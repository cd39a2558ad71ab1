"""What the evidence of a rollout says: verdicts, the share that the harm budget allows, and how long it will take.

Pure: from a plan and its evidence alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from andon.deploy.rollout_record import Evidence, Plan, Rail, Rollout
from andon.errors import UsageError
from andon.measure.alone import Alone
from andon.measure.bounded import Difference
from andon.measure.budget import excess, next_share, share_sequence, suffered
from andon.measure.detect import detectable, events_needed
from andon.measure.estimate import Estimate, undefined
from andon.measure.evidence import STAKES, combined, safe_test
from andon.measure.guardrail import Guardrail, Said, request_ratio

__all__ = [
    "LADDER",
    "Judged",
    "Ramp",
    "baked_us",
    "can_detect",
    "eta_us",
    "harmed",
    "judged",
    "level_of",
    "ramp",
    "said_of",
    "told_of",
    "units_of",
    "unsafe",
]

#: Shares that a ramp stops at; a charter's start share is one more.
LADDER = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)

_HOUR = 3.6e9


class Judged(msgspec.Struct, frozen=True):
    """One guardrail for people and programs: its verdict, the ratio with its interval and the two thresholds.

    ``log_harm`` and ``log_safe`` are the evidence now, each to be held against its threshold (natural logarithms).
    ``share`` is the candidate's own share of units with an event. ``says`` is the sentence. ``by_requests`` is the ratio
    of the shares of requests: shown, not decided on. ``kind`` says what ``ratio`` is: a "ratio" of shares, a "difference" of
    means (``share`` is then undefined), or "alone", the candidate's own figure that is held against the goal (``share`` is the
    same); in both ``events`` counts units.
    """

    name: str
    said: Said
    late: bool
    ratio: Estimate
    share: Estimate
    events: int
    units: tuple[int, int]
    log_harm: float
    log_safe: float
    harm_at: float
    safe_at: float
    says: str
    by_requests: Estimate
    kind: Literal["ratio", "difference", "alone"] = "ratio"


class Ramp(msgspec.Struct, frozen=True):
    """What the harm budget allows: the largest ``share`` by ``limit`` (a guardrail), and what is ``left`` of the budget."""

    share: float
    left: float
    limit: str


def level_of(plan: Plan) -> float:
    """The alpha of one guardrail: the plan's over their number, and over both phases where a shadow comes first.

    >>> level_of(Plan("v2", "v1", ("shadow", "canary", "live"), ("error", "latency")))
    0.0125
    """
    return plan.alpha / max(1, len(plan.guardrails)) / (2 if "shadow" in plan.path else 1)


def said_of(plan: Plan, rail: Rail, *, matured: bool = False) -> Said:
    """Harm at `level_of` the plan; safe at beta, or where the candidate's share is shown negligible.

    With ``matured``, a late guardrail is judged by the cases alone whose labels had time to come; negligible it always is by
    these: right answers may be known sooner than wrong ones, and no other arm shares that.
    """
    if rail.other is not None:
        found = rail.matured_other if matured and rail.late else rail.other
        return "not_yet" if found is None else found.verdict(level_of(plan), plan.beta)
    guard = rail.matured or _blank(rail) if matured and rail.late else rail.guard
    said = guard.verdict(level_of(plan), plan.beta)
    if said == "not_yet" and _negligible(plan, *_ripe(plan, rail, matured=matured), rail.cases):
        return "safe"
    return said


def _ripe(plan: Plan, rail: Rail, *, matured: bool = False) -> tuple[Guardrail, int]:
    """What tells that a share is negligible, and of how many units of the candidate."""
    if rail.late and (matured or plan.edition > 1):
        return rail.matured or _blank(rail), rail.matured_units[0]
    return rail.guard, rail.units[0]


def _blank(rail: Rail) -> Guardrail:
    return Guardrail.begin(rail.name, rail.guard.margin)


def _negligible(plan: Plan, guard: Guardrail, units: int, cases: float = 1.0) -> bool:
    high = share_sequence(guard.harm.candidate, max(units, guard.harm.candidate), plan.beta).high
    # In a sample at most so many times as many units have an event as are seen to: one may hide in each of their answers.
    return high is not None and high * cases <= plan.negligible


def harmed(plan: Plan, rails: Sequence[Rail]) -> tuple[Rail, ...]:
    """The guardrails that show harm."""
    return tuple(rail for rail in rails if said_of(plan, rail) == "harm")


def unsafe(plan: Plan, rails: Sequence[Rail], *, matured: bool = False) -> tuple[Rail, ...]:
    """The guardrails that are not shown to be safe; one that there is no evidence of at all is among them."""
    known = {rail.name: rail for rail in rails}
    found = []
    for name in plan.guardrails:
        rail = known.get(name) or Rail(name, Guardrail.begin(name, plan.margin))
        if said_of(plan, rail, matured=matured) != "safe":
            found.append(rail)
    return tuple(found)


def told_of(plan: Plan, rail: Rail) -> str:
    """What a guardrail says, as a sentence."""
    level = level_of(plan)
    if rail.other is not None:
        return rail.other.sentence(rail.name, level, plan.beta)
    if said_of(plan, rail) == "safe" and rail.guard.verdict(level, plan.beta) != "safe":
        high = _own(plan, rail, *_ripe(plan, rail)).high
        return (
            f"{rail.name}: safe: at most {high:.2g} of the candidate's units have an event, "
            f"which is below {plan.negligible:g}"
        )
    return rail.guard.sentence(level, plan.beta)


def _own(plan: Plan, rail: Rail, guard: Guardrail, units: int) -> Estimate:
    """The candidate's own share of units with an event, of so many units."""
    bad = guard.harm.candidate
    found = share_sequence(bad, max(units, bad), plan.beta)
    return found if found.high is None else msgspec.structs.replace(found, high=min(1.0, found.high * rail.cases))


def judged(plan: Plan, rail: Rail) -> Judged:
    """A guardrail with everything that may be shown of it."""
    level, other = level_of(plan), rail.other
    tested = rail.guard if other is None else other
    ratio, events = rail.guard.ratio(level, plan.beta), rail.guard.events
    share = _own(plan, rail, rail.guard, rail.units[0])
    if other is not None:
        ratio, events = other.interval(), other.n
        share = ratio if isinstance(other, Alone) else undefined("a mean is no share", other.n)
    return Judged(
        rail.name,
        said_of(plan, rail),
        rail.late,
        ratio,
        share,
        events,
        rail.units,
        max(tested.harm.log_e, -99.0),
        max(tested.safe.log_e, -99.0),
        -math.log(level),
        -math.log(plan.beta),
        told_of(plan, rail),
        request_ratio(*rail.requests),
        "ratio" if other is None else "alone" if isinstance(other, Alone) else "difference",
    )


def ramp(rollout: Rollout, evidence: Evidence) -> Ramp:
    """The largest share of the ladder under which no guardrail spends more than what is left of its budget.

    Until harm could be seen, units come in for as long as it takes to look again, and where labels are late for that long.
    What is shown to be safe limits nothing more.
    """
    plan = rollout.plan
    allowed, left, limit = plan.cap, plan.budget, ""
    for rail in evidence.rails:
        if said_of(plan, rail) == "safe":
            continue
        spent, worst = _cost(plan, rail)
        wait_us = evidence.every_us + (plan.horizon_us if rail.late else 0)
        share = next_share(
            cap=plan.cap,
            budget=plan.budget,
            suffered=spent,
            excess=worst,
            forecast=evidence.per_hour * wait_us / _HOUR,
        )
        left = min(left, plan.budget - spent)
        if share < allowed:
            allowed, limit = share, rail.name
    steps = sorted({*LADDER, plan.start_share, plan.cap})
    fits = [step for step in steps if step <= allowed and step <= plan.cap]
    return Ramp(fits[-1] if fits else 0.0, left, limit)


def _cost(plan: Plan, rail: Rail) -> tuple[float, float]:
    """What was spent of the budget at most, and what a unit may cost at most: in units with an event too many.

    Of a sample each unit seen counts for those that nobody looked at (its ``weight`` is 1 over the chance it had).
    Of a mean the whole range counts as one such unit, and what was spent is what the difference seems to be.
    """
    if isinstance(rail.other, Alone):
        worst = rail.other.excess()
        return rail.weight * rail.other.n * worst, worst
    if isinstance(rail.other, Difference):
        found, span = rail.other.interval(), rail.other.high - rail.other.low
        if found.value is None or found.low is None or found.high is None:
            return 0.0, 1.0
        seems, most = (found.value, found.high) if rail.other.worse == "higher" else (-found.value, -found.low)
        return rail.weight * rail.units[0] * max(0.0, seems) / span, min(1.0, max(0.0, most) / span)
    bad = rail.guard.harm.candidate, rail.guard.harm.live
    candidate, live = (max(n, some) for n, some in zip(rail.units, bad, strict=True))
    worst = min(1.0, rail.cases * excess(rail.guard, candidate, live, plan.beta))
    return rail.weight * suffered(rail.guard, plan.beta), worst


def eta_us(rollout: Rollout, evidence: Evidence) -> int | None:
    """When every guardrail would be shown to be safe if the candidate is as good as the live version; None: not known.

    From how fast events and units came so far; where labels are late, no sooner than these come, and in the bake no
    sooner than it is over.
    """
    plan, found = rollout.plan, [evidence.as_of_us]
    hours = (evidence.as_of_us - rollout.began_us) / _HOUR
    share = min(max(rollout.share, plan.start_share), plan.cap)
    if rollout.place in ("blue_green", "bake"):
        share = min(max(rollout.share, 0.01), 0.99)
    if rollout.place == "bake":
        found.append(baked_us(rollout, evidence.rails))
    for rail in unsafe(plan, evidence.rails):
        if hours <= 0 or not evidence.per_hour or not any(rail.units):
            return None
        found_in = (_by_events(plan, rail, share, hours), _by_units(plan, rail, share, evidence))
        ways = [one for one in (found_in if rail.other is None else (_by_growth(plan, rail, hours),)) if one]
        if not ways:
            return None
        wait_us = plan.horizon_us if rail.late else 0
        found.append(evidence.as_of_us + round(min(ways) * _HOUR) + wait_us)
    return max(found)


def baked_us(rollout: Rollout, rails: Sequence[Rail]) -> int:
    """Until when it bakes at least: so long at the share that it has, and until labels of these cases had time to come."""
    plan, late = rollout.plan, not rails or any(rail.late for rail in rails)
    return rollout.share_us + max(plan.bake_us, plan.horizon_us if late else 0)


def _by_events(plan: Plan, rail: Rail, share: float, hours: float) -> float | None:
    """Hours until the ratio is shown to be below the margin."""
    needed = events_needed(safe_test(plan.margin), 1.0, share, plan.beta)
    if needed is None or not rail.guard.events:
        return None
    done = min(max(rail.guard.safe.log_e / -math.log(plan.beta), 0.0), 0.95)
    return needed * (1 - done) / (rail.guard.events / hours)


def _by_growth(plan: Plan, rail: Rail, hours: float) -> float | None:
    """Hours until a goal is shown to be kept, or a mean not to be worse, if the evidence grows as it did."""
    assert rail.other is not None
    level, now = -math.log(plan.beta), rail.other.safe.log_e
    return hours * max(level - now, 0.0) / now if now > level / 20 else None


def _by_units(plan: Plan, rail: Rail, share: float, evidence: Evidence) -> float | None:
    """Hours until a candidate without an event is shown to be negligible."""
    per_hour, (_, units) = evidence.per_hour * share, _ripe(plan, rail)
    if rail.guard.harm.candidate or plan.negligible <= 0 or not per_hour or rail.sampled:
        return None
    return max(units_of(plan) - units, 1) / per_hour


def units_of(plan: Plan) -> int:
    """How many units of the candidate without any event show that its share is negligible.

    >>> units_of(Plan("v2", "v1", ("canary", "live"), ("error",)))
    8062
    """
    low, high = 1, 2
    while not _negligible(plan, Guardrail.begin("", plan.margin), high):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _negligible(plan, Guardrail.begin("", plan.margin), middle) else (middle, high)
    return high


def can_detect(plan: Plan, name: str, rate: float | None, per_hour: float) -> str:
    """What a guardrail can find and when, at the traffic and the rate of now, at the share that a canary begins with."""
    if not per_hour > 0:
        return f"{name}: there is no traffic now, so nothing can be said of when"
    share = min(plan.start_share, plan.cap)
    level = level_of(plan)
    if name in plan.limits or name in plan.margins:
        return _can_detect_mean(plan, name, per_hour * (share if "canary" in plan.path else 1 - plan.holdback))
    if rate is None or not 0 < rate < 1:
        if plan.negligible <= 0:
            return f"{name}: no event was seen lately, and without any nothing can be shown"
        hours = units_of(plan) / (per_hour * share)
        return (
            f"{name}: no event was seen lately; a candidate without one is cleared after about "
            f"{units_of(plan) / share:,.0f} units ({hours:.2g} hours) at a share of {share:g}"
        )
    try:
        found = detectable(rate, share, per_hour, plan.margin, level, plan.beta)
    except UsageError as error:
        return f"{name}: {error.message}"
    return f"{name}: {found.sentence}, at a share of {share:g} and {rate:.2g} of the units with an event now"


def _can_detect_mean(plan: Plan, name: str, per_hour: float) -> str:
    """The same of a goal by itself, and of a mean, of which the traffic says nothing before."""
    if name in plan.margins and name not in plan.limits:
        return f"{name}: a mean, safe when less than {plan.margins[name]:g} worse; when, is said once cases have come"
    limit = plan.limits[name]
    if name in plan.margins or not 0 < limit < 1:
        return f"{name}: held against its goal of {limit:g}; when it is shown to be kept, is said once cases have come"
    low, high = 1, 2
    while not _kept_by(limit, high, plan.beta):
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _kept_by(limit, middle, plan.beta) else (middle, high)
    return (
        f"{name}: a release without an event is shown to keep to {limit:g} after about {high:,} of its units "
        f"({high / per_hour:.2g} hours), one with events later"
    )


def _kept_by(limit: float, units: int, beta: float) -> bool:
    return combined(units * math.log1p(stake * limit / (1 - limit)) for stake in STAKES) >= -math.log(beta)
