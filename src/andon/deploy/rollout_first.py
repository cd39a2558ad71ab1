"""What comes before everything else in a rollout: a person's act, a newer rollout, a false split, harm, a person's word.

Each of these may end or stop a rollout wherever it is.
"""

from __future__ import annotations

from andon.deploy.rollout_look import Look, Rule
from andon.deploy.rollout_proof import harmed, told_of
from andon.deploy.rollout_record import CONTROLLER, HARM, State, Transition, waits_for_a_word

__all__ = ["FIRST", "SPLIT_ALPHA"]

#: How sure it must be that the arms are not what the route promised.
SPLIT_ALPHA = 0.001
#: States in which neither the split nor harm changes anything any more.
_SETTLED_MINDS: frozenset[State] = frozenset({"frozen", "rolling_back"})


def _person(look: Look) -> Transition | None:
    """Whoever changed the line since: what they did counts, and is told."""
    place = look.rollout.place
    if place in ("draft", "preflight") or look.rollout.state == "rolling_back":
        return None
    version, route = look.plan.version, look.route
    by = f"{route.actor or 'somebody'} ({route.action or 'a route'}{f': {route.why}' if route.why else ''})"
    if route.live == version:
        return _made_live(look, by)
    alone = place == "bake" and look.plan.bake_share >= 1.0
    if route.candidate == version and route.share > 0 and look.on_old and not alone:
        return _share_changed(look, by)
    if place == "shadow" and version in (*route.shadows, route.candidate) and look.on_old:
        return None
    return _gone(look, by)


def _made_live(look: Look, by: str) -> Transition | None:
    """It has everything: before it was cleared it still bakes, with nobody to compare with; in the bake that settles it."""
    version, candidate = look.plan.version, look.route.candidate
    said = f"{version} was made live by {by}"
    if look.rollout.place != "bake":
        return look.to("bake", "person", f"{said}; {look.plan.old} stays loaded", share=1.0)
    if candidate is not None:
        told = f"{by} began {candidate}; {version} stays live, unwatched"
        return look.to("superseded", "person", told, share=1.0)
    if look.rollout.share < 1.0:
        return look.to("settled", "person", f"{said} before its bake was over; the rollout is over", share=1.0)
    return None


def _gone(look: Look, by: str) -> Transition:
    """The version does not answer any more, by somebody else's act."""
    back = look.on_old and look.route.candidate is None
    if back and (look.route.actor, look.route.action) == (CONTROLLER, "rollback"):
        # Done while the database was gone, so that no transition tells it yet.
        return look.to("rolled_back", HARM, f"{look.plan.old} took over again: {look.route.why}", share=0.0)
    what = f"{look.plan.version} was taken off the line by {by}"
    return look.to("rolled_back" if back else "aborted", "person", what, share=0.0)


def _share_changed(look: Look, by: str) -> Transition | None:
    """A share, a hold or a resume by a person, while the version is the candidate."""
    now, route = look.rollout, look.route
    if now.place == "shadow":
        said = f"the canary of {look.plan.version} was begun by {by}"
        return look.to("canary", "person", said, share=route.share, floor=route.share)
    if route.share != now.share:
        said = f"the share is {route.share * 100:.4g} % of the units by {by}"
        after = now.state if now.state == "frozen" else now.place
        reason = now.reason if now.state == "frozen" else "person"
        return look.to(after, reason, said, share=route.share, floor=route.share)
    if now.state == "frozen":
        return None
    if route.held and now.reason != "human_gate":
        return look.hold("human_gate", f"held by {by}; `andon deploy resume` lets it go on, harm still acts")
    if not route.held and (now.state, now.reason) == ("hold", "human_gate"):
        return look.go_on()
    return None


def _word(look: Look) -> Transition | None:
    """What a person asked for by name: freeze or resume."""
    word, now = look.evidence.word, look.rollout
    if word is None or now.state == "rolling_back":
        return None
    told = f"{word.actor}{f': {word.reason}' if word.reason else ''}"
    if word.what == "freeze" and now.state != "frozen":
        said = f"frozen by {told}; nothing moves by itself, not even back, until somebody resumes or rolls back"
        return look.to("frozen", "person", said, do=look.pin())
    if word.what == "resume" and (now.state, now.reason) == ("frozen", "person"):
        return look.to(now.place, "", f"goes on by the word of {told}")
    if word.what == "resume" and waits_for_a_word(now):
        said = f"{look.plan.version} stays by the word of {told}; it held: {now.sentence}"
        if look.compared:
            return look.to("settled", "person", said, do="switch", share=1.0, floor=0.0)
        return look.to("settled", "person", said)
    return None


def _superseded(look: Look) -> Transition | None:
    """A rollout that was begun later takes the place of one that has not taken over yet."""
    if not look.evidence.newer or look.rollout.state == "rolling_back" or look.rollout.place in ("blue_green", "bake"):
        return None
    if look.frozen:
        return None  # who froze it asked that nothing moves: the newer one waits
    said = f"{look.evidence.newer} was begun, so {look.plan.version} is taken off the line"
    if look.rollout.place in ("draft", "preflight"):
        return look.to("superseded", "superseded", said)
    return look.back("superseded", said)


def _split(look: Look) -> Transition | None:
    """Arms that are not what the route promised make every verdict of this rollout worthless: freeze."""
    split, now = look.evidence.assigned, look.rollout
    if split is None or not split.reached(SPLIT_ALPHA) or now.state in _SETTLED_MINDS:
        return None
    if now.place not in ("canary", "blue_green") and not (now.place == "bake" and look.compared):
        return None
    said = (
        f"{look.evidence.candidate} units came to {look.plan.version} and {look.evidence.live} to {look.plan.old}, which "
        "is not what the route promised: something else decides who gets which, so no verdict of this rollout can be "
        "trusted; find out what, roll back, begin again"
    )
    return look.to("frozen", "srm", said, do=look.pin())


def _harm(look: Look) -> Transition | None:
    """Harm acts wherever the rollout is; frozen by a person, it is told once."""
    now, plan = look.rollout, look.plan
    if now.place not in ("shadow", "canary", "blue_green", "bake") or now.state == "rolling_back":
        return None
    worse = _worse(look)
    if not worse or (now.state == "frozen" and now.reason != "person"):
        return None
    if look.frozen and now.state != "frozen":
        return None  # a person froze it before this look: that comes first, and the harm is told behind it
    told = "; ".join(worse)
    if now.state == "frozen":
        return look.to("frozen", HARM, f"{told}; frozen by a person, so nothing was changed")
    if plan.on_harm == "rollback":
        return look.back(HARM, f"{told}; {f'{plan.live} answers' if plan.live else 'people answer'} again")
    if plan.on_harm == "freeze":
        return look.to("frozen", HARM, f"{told}; the share stays until a person decides", do=look.pin())
    return look.to("frozen", HARM, f"{told}; people decide everything until a person acts", do="people")


def _worse(look: Look) -> list[str]:
    """Sentences about what shows harm."""
    found = [told_of(look.plan, rail) for rail in harmed(look.plan, look.evidence.rails)]
    if look.rollout.place == "shadow" and look.evidence.shadow is not None:
        part = look.plan.alpha / 2 / max(1, len(look.evidence.shadow.rails))
        pairs = [one for one in look.evidence.shadow.rails if one.verdict(part, look.plan.beta) == "harm"]
        found += [f"in the shadow, on the same cases: {one.sentence(part, look.plan.beta)}" for one in pairs]
    return found


def _unfit(look: Look) -> Transition | None:
    """What runs in the shadow and cannot be loaded to answer is taken out of it."""
    if not look.evidence.unfit or look.rollout.place != "shadow" or look.rollout.state in _SETTLED_MINDS:
        return None
    return look.back("unfit", f"{look.plan.version} is taken out of the shadow: {look.evidence.unfit}")


FIRST: tuple[Rule, ...] = (_person, _superseded, _split, _harm, _word, _unfit)
"""The rules, in this order; the first that asks for something has it."""
