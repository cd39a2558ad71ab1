"""The automatic rollout, decided purely: from where it is, the evidence and the hour to its next transition.

::

    draft > preflight > shadow > canary > blue_green > bake (all but the holdback) > settled (everything)
                 |         |        |         |         |
              rejected     +--------+---------+---------+--> rolling_back > rolled_back
                                        also from any: hold, frozen, superseded, aborted

Shadow, canary and blue/green are there as the plan's path has them; the canary and the blue/green of a path differ in
how the share grows: by harm budget, until the candidate is cleared, or at once, until it is. Cleared, it bakes with all but
the holdback and is compared with it on (``andon.deploy.rollout_bake``).

What is promised: without evidence nothing is promoted and nothing taken back; harm acts in every state, held and baking
included; what a person does to the line wins; the same rollout, evidence and hour give the same transition, so that a
journal can be replayed (``replayed``). Evidence, not the clock, ends a step; shares grow as the harm budget allows.

>>> plan = Plan("v2", "v1", ("canary", "live"), ("error",))
>>> evidence = Evidence(Standing(epoch=7, live="v1"))
>>> step(Rollout("v2#1", plan), evidence, now_us=0).after
'preflight'
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from andon.deploy.rollout_bake import bake, begin_bake
from andon.deploy.rollout_first import FIRST
from andon.deploy.rollout_green import blue_green, take_over
from andon.deploy.rollout_look import Look, Rule
from andon.deploy.rollout_proof import Ramp, ramp, unsafe
from andon.deploy.rollout_record import (
    LEAST_SHADOWED,
    Do,
    Evidence,
    Plan,
    Rail,
    Rollout,
    Standing,
    State,
    Transition,
)
from andon.deploy.rollout_wait import dependency, quiet, too_many, undecided, without_units

__all__ = ["Evidence", "Plan", "Rollout", "Standing", "record", "replayed", "step"]


def step(rollout: Rollout, evidence: Evidence, now_us: int) -> Transition | None:
    """The next transition, or None where nothing is to be done; ``rollout`` carries its plan."""
    look = Look(rollout, evidence, now_us)
    if rollout.ended:
        return None
    for rule in FIRST:
        if (found := rule(look)) is not None:
            return found
    return _PLACES[rollout.state if rollout.state not in ("hold",) else rollout.place](look)


def record(rollout: Rollout, evidence: Evidence, now_us: int, made: Transition) -> dict[str, Any]:
    """A transition as the journal keeps it: with all that it was decided from."""
    parts = {"rollout": rollout, "evidence": evidence, "now_us": now_us, "transition": made}
    found: dict[str, Any] = msgspec.to_builtins(parts)
    return found


def replayed(kept: Mapping[str, Any]) -> tuple[bytes, bytes]:
    """A transition from the journal, as it was decided and as it is decided again from what was kept: equal bytes."""
    rollout = msgspec.convert(kept["rollout"], Rollout)
    evidence = msgspec.convert(kept["evidence"], Evidence)
    again = step(rollout, evidence, int(kept["now_us"]))
    return msgspec.json.encode(msgspec.convert(kept["transition"], Transition)), msgspec.json.encode(again)


# ------------------------------------------------------------------------------------------------- from place to place


def _draft(look: Look) -> Transition | None:
    if look.evidence.older:
        return None
    plan = look.plan
    against = f"against {plan.live}" if plan.live else "where no version is live, against the charter's goals"
    said = f"{plan.actor or 'somebody'} began the rollout of {plan.version} {against}"
    return look.to("preflight", "", f"{said}{f': {plan.reason}' if plan.reason else ''}")


def _preflight(look: Look) -> Transition | None:
    plan, route = look.plan, look.route
    unfit = look.evidence.unfit or look.evidence.failed
    if not unfit and not look.on_old:
        unfit = f"{route.live or 'no version'} is live, the rollout was to compare with {plan.old}"
    if not unfit and route.candidate is not None:
        unfit = f"{route.candidate} is the candidate already, with a share of {route.share:.4g}"
    if unfit:
        return look.to("rejected", "unfit", f"{plan.version} is not rolled out: {unfit}")
    if waiting := dependency(look):
        return look.hold("dependency", waiting)
    held = look.go_on()
    if held is not None:
        return held
    if "shadow" in plan.path and not _seen_enough(look):
        do: Do = "" if plan.version in route.shadows else "shadow"
        return look.to("shadow", "", f"{plan.version} predicts beside {plan.old}, unseen", do=do)
    return _begin(look, f"{plan.version} is fit")


def _begin(look: Look, why: str) -> Transition:
    if "canary" not in look.plan.path:
        return take_over(look, why)
    share = look.plan.start_share
    said = f"{why}: it gets {share * 100:.4g} % of the units, {look.plan.old} the rest"
    return look.to("canary", "", said, do="canary", share=share)


def _seen_enough(look: Look) -> bool:
    return look.evidence.shadow is not None and look.evidence.shadow.cases >= LEAST_SHADOWED


def _shadow(look: Look) -> Transition | None:
    shadow = look.evidence.shadow
    if waiting := dependency(look):
        return look.hold("dependency", waiting)
    cases = 0 if shadow is None else shadow.cases
    said = f"no case was shadowed lately, {cases} of {LEAST_SHADOWED} so far"
    none, held = quiet(look, said, none=not cases)
    if none:
        return held
    if not _seen_enough(look) or shadow is None:
        return look.go_on()
    return look.go_on() or _begin(look, f"{cases} cases in the shadow, {shadow.failed} not answered, no harm shown")


def _canary(look: Look) -> Transition | None:
    waits, held = without_units(look)
    if waits:
        return held
    left = unsafe(look.plan, look.evidence.rails)
    grown = ramp(look.rollout, look.evidence)
    can_grow = not left or (_grows(look, grown))
    if can_grow and (told := too_many(look)):
        return look.hold("capacity", told)
    if not left:
        told = "every guardrail is shown to be safe"
        if "blue-green" in look.plan.path:
            return take_over(look, told)
        return begin_bake(look, told)
    return _ramp(look, grown) or _wait(look, left, grown)


def _ramp(look: Look, grown: Ramp) -> Transition | None:
    """More where the harm budget allows it, less where it is spent."""
    now, plan = look.rollout, look.plan
    if _grows(look, grown):
        said = (
            f"the harm budget allows {grown.share * 100:.4g} % of the units: {grown.left:.3g} of {plan.budget:g} units "
            f"with an event are left{f' ({grown.limit})' if grown.limit else ''}"
        )
        return look.to("canary", "", said, do="ramp", share=grown.share, eta_us=look.eta())
    least = max(min(plan.start_share, now.share), now.floor)
    if now.share > least and grown.share < now.share / 2 and look.now_us - now.share_us >= look.evidence.every_us:
        share = max(grown.share, least)
        said = f"only {grown.left:.3g} of {plan.budget:g} units with an event are left by {grown.limit}"
        after = look.to("hold", "budget", f"{said}: the share falls to {share * 100:.4g} %", do="ramp", share=share)
        return after if grown.left <= 0 else look.to("canary", "budget", after.sentence, do="ramp", share=share)
    return None


def _grows(look: Look, grown: Ramp) -> bool:
    """Whether there is room for more, and every guardrail has seen something of the candidate at the share now."""
    now = look.rollout
    seen = look.evidence.fresh > 0 and all(rail.units[0] for rail in look.evidence.rails)
    known = {rail.name for rail in look.evidence.rails} >= set(look.plan.guardrails)
    rested = look.now_us - now.share_us >= look.evidence.every_us
    return seen and known and rested and grown.left > 0 and grown.share > now.share


def _wait(look: Look, left: tuple[Rail, ...], grown: Ramp) -> Transition | None:
    """Why nothing moves, where that has a name."""
    if grown.left <= 0:
        names = ", ".join(rail.name for rail in left)
        said = f"the harm budget of {look.plan.budget:g} units may be spent by {grown.limit}; {names}: not decided yet"
        return look.hold("budget", said, eta_us=look.eta())
    return undecided(look, left)


def _rolling_back(look: Look) -> Transition | None:
    route, plan = look.route, look.plan
    if plan.version not in (route.live, route.candidate):
        after: State = "superseded" if look.rollout.reason == "superseded" else "rolled_back"
        who = f"{route.live} answers" if route.live else "people answer"
        return look.to(after, look.rollout.reason, f"{who}; {look.rollout.sentence}", share=0.0)
    return look.to("aborted", "person", f"{route.actor} put {plan.version} back on the line", share=route.share)


def _stay(look: Look) -> None:
    """Only a person moves what is frozen."""


_PLACES: dict[State, Rule] = {
    "draft": _draft,
    "preflight": _preflight,
    "shadow": _shadow,
    "canary": _canary,
    "blue_green": blue_green,
    "bake": bake,
    "rolling_back": _rolling_back,
    "frozen": _stay,
}
