"""What is said of an automatic rollout's state: its lamp, its word, and what somebody can do about it now.

>>> word_of("hold", "no_data"), lamp_of("hold"), lamp_of("superseded")
('hold (no data)', 'look', 'idle')
>>> next_of("hold", "label_lag")
'Labels: `andon feedback import FILE` brings them. It goes on by itself when they decide.'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from andon.surface.station import State

if TYPE_CHECKING:
    from andon.core.record import Route
    from andon.deploy.rollout_record import Rollout
    from andon.monitor.explain import Explained

__all__ = ["Back", "Outlook", "Split", "earliest", "lamp_of", "next_of", "outlook", "split_of", "way_back", "word_of"]

Split = Literal["unknown", "open", "broken"]
"""The sample ratio: nobody was assigned yet, nothing speaks against what the route promised, or it is not what it promised."""

Back = Literal["", "deploy.rollback", "deploy.unshadow"]
"""The command that takes the version off the line now; "" where it is not on it."""


class Outlook(msgspec.Struct, frozen=True):
    """What may come of a rollout and who can do what: ``next`` says it, "" where it is over as it should be.

    ``eta_us`` is when it may be shown to be safe, where evidence is what it waits for (None: not known). ``split`` says what
    is known of the sample ratio. ``way_back`` is the command that takes the version off the line now; ``held`` says that a
    person holds its share, so that a resume of the line lets it go on; ``may_resume`` that it waits for a person's word.
    """

    next: str = ""
    eta_us: int | None = None
    split: Split = "unknown"
    way_back: Back = ""
    held: bool = False
    may_resume: bool = False


_LAMPS: dict[str, State] = {
    "draft": "idle",
    "preflight": "idle",
    "hold": "look",
    "rolling_back": "stop",
    "frozen": "stop",
    "rolled_back": "stop",
    "rejected": "stop",
    "aborted": "stop",
    "superseded": "idle",
}
_BACK = "`andon deploy rollback` takes it back"
_FROZEN: dict[str, str] = {
    "person": f"A person: let it go on, or {_BACK}. Nothing moves by itself, not even back.",
    "srm": "A person: find out who decides which unit gets which version, roll back, begin again. No verdict of it counts.",
    "harm": f"A person: {_BACK}; it does not go on.",
}
_HELD: dict[str, str] = {
    "no_data": "Cases: it goes on by itself when they come. The Watch page shows whether anybody asks.",
    "dependency": "What the sentence above names; it goes on by itself once that is mended.",
    "human_gate": f"A person: `andon deploy resume` lets it go on, {_BACK}. Harm takes it back all the same.",
    "label_lag": "Labels: `andon feedback import FILE` brings them. It goes on by itself when they decide.",
    "inconclusive": f"More cases may still decide it, then it goes on by itself; {_BACK} meanwhile.",
    "capacity": "Fewer cases for people or more of them (`review: {reviewers_per_hour}`); then it goes on by itself.",
}
_ENDED: dict[str, str] = {
    "rejected": "Mend what the sentence names, then begin again: `andon deploy canary VERSION --auto`.",
    "rolled_back": "What went wrong is in the transitions below; a better release begins its own rollout.",
}
#: States that evidence moves.
_MOVING = ("shadow", "canary", "blue_green", "bake")
_WAITING = ("label_lag", "inconclusive", "no_data", "human_gate")


def lamp_of(state: str) -> State:
    """How grave a rollout's state is; good where it moves, or is over as it should be."""
    return _LAMPS.get(state, "good")


def word_of(state: str, reason: str) -> str:
    """A rollout's state for people.

    >>> word_of("rolled_back", ""), word_of("frozen", "srm"), word_of("superseded", "superseded")
    ('rolled back', 'frozen (split not as promised)', 'superseded')
    """
    said = {"srm": "split not as promised", "unfit": "not fit", "human_gate": "by a person"}
    if reason == state:
        reason = ""
    return state.replace("_", " ") + (f" ({said.get(reason, reason.replace('_', ' '))})" if reason else "")


def next_of(state: str, reason: str, *, may_keep: bool = False) -> str:
    """What the rollout needs from somebody, or that it needs nobody; empty where it is over as it should be.

    ``may_keep``: a person's word may keep it though the evidence does not clear it.

    >>> next_of("settled", ""), next_of("canary", "")
    ('', 'Nobody: it goes on by itself as evidence comes.')
    """
    if state == "frozen":
        return _FROZEN.get(reason, _FROZEN["person"])
    if state == "hold":
        if may_keep and reason == "inconclusive":
            return f"A person: let it go on to keep it, or {_BACK}. What still comes may decide it before."
        keeps = f" Or a person's word: let it go on to keep it, or {_BACK}." if may_keep else ""
        return _HELD.get(reason, "What the sentence above names.") + keeps
    if state in ("draft", "preflight"):
        return "The controller, which takes it on with its next look while the line runs (`andon up`)."
    if state == "rolling_back":
        return "Nobody: the controller's next look sees who answers."
    return "Nobody: it goes on by itself as evidence comes." if state in _MOVING else _ENDED.get(state, "")


def earliest(found: Explained, now_us: int) -> int | None:
    """When it may be shown to be safe, where evidence is what it waits for and that time is still to come."""
    waits = found.state in _MOVING or (found.state == "hold" and found.reason in _WAITING)
    waits = waits and all(one.said != "harm" for one in found.guardrails)
    return found.eta_us if waits and found.eta_us is not None and found.eta_us > max(now_us, found.as_of_us) else None


def split_of(found: Explained) -> Split:
    """What is known of the sample ratio."""
    if not any(found.units):
        return "unknown"
    return "broken" if found.log_split >= found.split_at else "open"


def way_back(rollout: Rollout, route: Route | None) -> Back:
    """The command that takes the version off the line; a rollback where it answers nothing would take back another."""
    version = rollout.plan.version
    if rollout.ended or route is None:
        return ""
    if version == route.live or (version == route.candidate):
        return "deploy.rollback"
    return "deploy.unshadow" if version in route.shadows else ""


def outlook(rollout: Rollout, found: Explained | None, route: Route | None, now_us: int) -> Outlook:
    """What can be told under the route in force; ``found`` is None where the evidence cannot be read."""
    from andon.deploy.rollout_store import may_resume

    version, keeps = rollout.plan.version, not rollout.ended and may_resume(rollout)
    return Outlook(
        next=next_of(rollout.state, rollout.reason, may_keep=keeps),
        eta_us=None if found is None else earliest(found, now_us),
        split="unknown" if found is None else split_of(found),
        way_back=way_back(rollout, route),
        held=not rollout.ended and route is not None and route.held and route.candidate == version,
        may_resume=keeps,
    )
