"""Why a rollout cannot go on now, or waits: what it depends on, no traffic, people's capacity, evidence that is to come."""

from __future__ import annotations

from andon.deploy.ladder import ROOM
from andon.deploy.rollout_look import Look
from andon.deploy.rollout_record import Rail, Transition
from andon.measure.detect import events_needed
from andon.measure.evidence import safe_test

__all__ = ["cut_off", "dependency", "quiet", "too_many", "undecided", "without_units"]

_QUIET_US = 600_000_000


def dependency(look: Look) -> str:
    """Why no evidence can come, whoever wants it; empty where it can."""
    if look.route.stopped:
        return "the line is stopped"
    if not look.route.asked:
        return "people decide everything and no model is asked; raise the level with: andon automate"
    return look.route.trouble or look.evidence.failed or look.evidence.loading


def quiet(look: Look, said: str, *, none: bool = False) -> tuple[bool, Transition | None]:
    """Whether no case came for longer than is usual (or there was ``none``), and the hold that says so once one waited."""
    last, evidence = look.evidence.last_us, look.evidence
    gap = 10 * 3.6e9 / evidence.per_hour if evidence.per_hour else 0.0
    if not none and last is not None and evidence.as_of_us - last <= max(_QUIET_US, 3 * evidence.every_us, gap):
        return False, None
    waited = look.now_us - max(look.rollout.since_us, look.rollout.share_us) > _QUIET_US
    return True, look.hold("no_data", said) if waited or look.rollout.state == "hold" else None


def without_units(look: Look) -> tuple[bool, Transition | None]:
    """Whether nothing can be decided on units now (a person holds it, it depends on something, none came lately), and the
    hold that says so.
    """
    if look.route.held:
        return True, None
    if waiting := cut_off(look):
        return True, look.hold("dependency", waiting)
    return quiet(look, "no unit came lately, so there is no evidence; nothing is promoted and nothing taken back")


def cut_off(look: Look) -> str:
    """Why what comes now shows nothing of the version; empty where it does."""
    return dependency(look) or _unused(look)


def _unused(look: Look) -> str:
    """Where people decide everything by themselves both versions have the same outcomes, and where a person gave it all units
    there is no other one: that shows nothing.
    """
    if look.compared and look.route.share >= 1.0:
        return (
            f"{look.plan.version} has all units by hand, so there is nobody to compare it with; andon deploy switch ends it, "
            "andon deploy ramp gives some back"
        )
    if look.route.used:
        return ""
    return (
        f"people decide every case without a model, so nothing that {look.plan.version} says is used; raise the level with: "
        "andon automate"
    )


def too_many(look: Look) -> str:
    """Whether people could not keep up with what the candidate passes on to them."""
    rate, comes = look.plan.reviewers_per_hour, look.evidence.deferred_per_hour
    if rate is None or comes <= ROOM * rate:
        return ""
    return (
        f"{look.plan.version} would send {comes:.3g} cases an hour to people, more than {ROOM:g} of the "
        f"{rate:g} that the charter counts on"
    )


def undecided(look: Look, left: tuple[Rail, ...]) -> Transition | None:
    """Labels that are to come, or evidence that does not decide; else it goes on."""
    names = ", ".join(rail.name for rail in left)
    if all(rail.late for rail in left) and _lags(look, left):
        said = f"the labels of {names} come later; what is known at once is safe"
        return look.hold("label_lag", said, eta_us=look.eta())
    if any(_stuck(look, rail) for rail in left):
        said = f"{names}: twice the evidence that clears a good candidate has come and does not decide it"
        return look.hold("inconclusive", said, eta_us=look.eta())
    return look.go_on()


def _lags(look: Look, left: tuple[Rail, ...]) -> bool:
    within = look.now_us - look.rollout.share_us < look.plan.horizon_us
    return within or any(not any(rail.units) or (not all(rail.units) and not look.plan.limits) for rail in left)


def _stuck(look: Look, rail: Rail) -> bool:
    most = look.plan.cap if look.rollout.place == "canary" else 0.999
    share = min(max(look.rollout.share, 0.001), most)
    needed = events_needed(safe_test(look.plan.margin), 1.0, share, look.plan.beta)
    return needed is not None and rail.other is None and rail.guard.events > 2 * needed
