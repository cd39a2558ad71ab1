"""The bake: a version that was cleared answers everything but a holdback, and goes on being compared with it.

By the same evidence: nothing begins anew, so what is promised of the rollout holds over the bake, too. Harm takes the
version back in one step, as everywhere. It gets the rest once it has baked, has answered cases meanwhile, and labels that
had time to come clear it. Time in which nothing could be compared (a stopped line, people who decide by themselves) is no
part of it.

Where nobody is compared with (a holdback of 0, a first release, a version to which a person gave everything) it has everything,
and what still comes are the labels of cases from before, or what is held against the charter's goals.
"""

from __future__ import annotations

from typing import Any

from andon.deploy.rollout_look import Look
from andon.deploy.rollout_proof import baked_us, unsafe
from andon.deploy.rollout_record import LEAST_SHADOWED, Do, Transition
from andon.deploy.rollout_wait import cut_off, too_many, undecided, without_units

__all__ = ["bake", "begin_bake"]


def begin_bake(look: Look, why: str) -> Transition:
    """A cleared version gets all that it gets while it bakes; a larger share that it has already is not lowered."""
    plan, now = look.plan, look.rollout
    if plan.bake_share >= 1.0:
        said = f"{why}: {plan.version} gets everything, {plan.old} stays loaded"
        return look.to("bake", "", said, do="switch", share=1.0, floor=0.0)
    share = max(now.share, plan.bake_share)
    do: Do = "ramp" if share != now.share else ""
    gets = f"{'gets' if do else 'keeps'} {share * 100:.4g} % of the units"
    said = f"{why}: {plan.version} {gets} while it bakes, {plan.old} the rest to compare with"
    return look.to("bake", "", said, do=do, share=share)


def bake(look: Look) -> Transition | None:
    """What comes next of a bake."""
    return _compared(look) if look.compared and look.route.share < 1.0 else _with_everything(look)


def _compared(look: Look) -> Transition | None:
    waits, held = without_units(look)
    if waits:
        return held
    plan, rails, now = look.plan, look.evidence.rails, look.rollout
    if plan.edition > 1 and (now.state, now.reason) == ("hold", "dependency"):
        return look.go_on()
    seen = look.evidence.fresh >= LEAST_SHADOWED or plan.edition < 2
    if look.now_us < baked_us(now, rails) or not seen:
        return look.go_on()
    if left := unsafe(plan, rails, matured=True):
        return undecided(look, left)
    if told := too_many(look):
        return look.hold("capacity", told)
    said = f"{_cleared(look)}: {plan.version} gets everything, {plan.old} stays loaded, the rollout is over"
    return look.to("settled", "", said, do="switch", share=1.0, floor=0.0)


def _with_everything(look: Look) -> Transition | None:
    plan, rails, now = look.plan, look.evidence.rails, look.rollout
    if plan.limits and plan.edition > 1:  # it is held against its goals, by what it answers now
        if why := cut_off(look):
            return look.hold("dependency", why)
        if (now.state, now.reason) == ("hold", "dependency"):
            return look.go_on()
    if look.now_us < baked_us(now, rails):
        return None
    # What is known at once gave its verdict before everything was handed over; labels may tell another story.
    left = unsafe(plan, rails, matured=True)
    if not left:
        # A person's ramp may have given it all units, beside an old version that is still the live one.
        rest: dict[str, Any] = {"do": "switch", "share": 1.0, "floor": 0.0} if look.compared else {}
        return look.to("settled", "", f"{_cleared(look)}: {plan.version} stays, the rollout is over", **rest)
    names = ", ".join(rail.name for rail in left)
    if any(rail.late and not any(rail.matured_units) for rail in left):
        return look.hold("label_lag", f"{names}: no label came in time, so nothing clears {plan.version}")
    said = f"{names}: what is known does not clear {plan.version}, and no more comes; roll back, or resume to keep it"
    return look.hold("inconclusive", said)


def _cleared(look: Look) -> str:
    rails = look.evidence.rails
    late = not rails or any(rail.late for rail in rails)
    return "matured labels clear it" if late else "nothing went wrong while it baked"
