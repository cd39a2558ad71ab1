"""Blue/green by evidence: everything at once, or by steps; then all but a holdback, until the new version is cleared.

The holdback is what it is compared with after it took over: the old version answers so much of the units, stays loaded,
and one step leads back. Cleared, it bakes with the same share. Without a holdback it is cleared in the last of the steps,
and where there are none either, it is held against the charter's goals.
"""

from __future__ import annotations

from andon.deploy.rollout_bake import begin_bake
from andon.deploy.rollout_look import Look
from andon.deploy.rollout_proof import unsafe
from andon.deploy.rollout_record import LEAST_SHADOWED, Do, Transition
from andon.deploy.rollout_wait import too_many, undecided, without_units

__all__ = ["blue_green", "next_step", "take_over"]


def next_step(look: Look) -> float:
    """The share after the one now; the one now where there is none higher."""
    plan, now = look.plan, look.rollout.share
    shares = (*plan.steps, *((1.0 - plan.holdback,) if plan.holdback else ()))
    return min((share for share in shares if share > now), default=now)


def take_over(look: Look, why: str) -> Transition:
    """The next step of a blue/green, from wherever the rollout is; behind the last one it bakes."""
    plan, share = look.plan, next_step(look)
    if share <= look.rollout.share:
        return begin_bake(look, why)
    do: Do = "ramp" if look.route.candidate == plan.version and look.route.share > 0 else "canary"
    last = share >= max((*plan.steps, 1.0 - plan.holdback if plan.holdback else 0.0))
    rest = (
        "to compare with, until it is cleared" if last else f"until it has answered {LEAST_SHADOWED} cases without harm"
    )
    said = f"{why}: {plan.version} gets {share * 100:.4g} % of the units, {plan.old} keeps the rest {rest}"
    return look.to("blue_green", "", said, do=do, share=share)


def blue_green(look: Look) -> Transition | None:
    """What comes next of a blue/green that has begun."""
    waits, held = without_units(look)
    if waits:
        return held
    if next_step(look) > look.rollout.share:
        return _by_steps(look)
    plan = look.plan
    left = unsafe(plan, look.evidence.rails, matured=True)
    late = any(rail.late for rail in look.evidence.rails)
    if left:
        return undecided(look, left)
    if look.evidence.fresh < LEAST_SHADOWED or (late and look.now_us < look.rollout.share_us + plan.horizon_us):
        return look.go_on()  # what breaks under load breaks by then
    return take_over(look, "every guardrail is shown to be safe")


def _by_steps(look: Look) -> Transition | None:
    seen = look.evidence.fresh
    if seen < LEAST_SHADOWED or look.now_us - look.rollout.share_us < look.evidence.every_us:
        return look.go_on()
    if told := too_many(look):
        return look.hold("capacity", told)
    return take_over(look, f"{seen} cases at {look.rollout.share * 100:.4g} % and no harm shown")
