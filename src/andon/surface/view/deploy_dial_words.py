"""What is said of one slice's degree of automation: its lamp, what happens now, what is automatic, what is missing.

The Automation page, its JSON and ``andon automate`` say the same sentences. None claims more than the rung has decided: where
no answer is automatic that is said, whatever the level is called, and where people are the truth nothing is called wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from andon.core.clock import DAY, HOUR
from andon.core.record import Level, Route
from andon.deploy.ladder import Rung, Why
from andon.surface.station import State, count, share_text, span

if TYPE_CHECKING:
    from andon.scope.charter import Charter

__all__ = ["DOES", "automatic", "counted", "error_is", "errs", "lamp_of", "missing", "now_does", "work"]

DOES: dict[Level, str] = {
    "human": "people decide, no model is asked",
    "shadow": "people decide, the model is asked unseen",
    "assist": "people decide and see what the model says",
    "partial": "the model decides what it is sure of",
    "full": "the model decides everything",
}
_STAYS: dict[Why, tuple[State, str]] = {
    "breach": ("stop", "promise broken"),
    "top": ("good", "as high as it goes"),
    "release": ("idle", "no release on the line"),
    "labels": ("idle", "too few labels yet"),
    "evidence": ("idle", "not shown yet"),
    "capacity": ("look", "more than people can decide"),
    "only": ("good", "as far as the charter allows"),
    "people": ("good", "people err less here"),
    "watch": ("good", "a shadow costs nothing"),
    "earned": ("good", "earned"),
    "unjudged": ("idle", "too few were judged"),
}
_YEAR = 365 * DAY
_AUTOMATIC: tuple[Level, ...] = ("partial", "full")


def error_is(charter: Charter) -> str:
    """What an error is: the words after "an automatic answer that"."""
    return "differs from people's" if charter.target.truth == "human" else "is wrong"


def _answers(route: Route) -> bool:
    """Whether any case is put to a version whose answer may count."""
    return route.live is not None or (route.candidate is not None and route.share > 0)


def _idle(rung: Rung, route: Route) -> str:
    """Why the level does nothing now, whatever it is called; empty where it does."""
    if route.stopped:
        return "the line is stopped"
    if rung.level not in ("human", "shadow") and not _answers(route):
        return "no version is live"
    if rung.level == "partial" and rung.threshold is None and not _candidate_may(rung, route):
        return "no confidence is known from which the model may decide"
    return ""


def _candidate_may(rung: Rung, route: Route) -> bool:
    """Whether a candidate has a threshold of its own in the slice."""
    return bool(route.share) and f"{route.candidate}/{rung.slice}" in route.thresholds


def lamp_of(rung: Rung, charter: Charter, route: Route) -> tuple[State, str]:
    """State and word of a rung."""
    if rung.kind == "demote":
        return "stop", f"down to {rung.to}"
    if rung.kind == "promote":
        return "look", f"ready for {rung.to}" if rung.why == "earned" else f"{rung.to} is possible"
    if route.stopped:
        return "idle", "the line is stopped"
    if idle := _idle(rung, route):
        return ("idle", idle) if route.live is None else ("look", "nothing is automatic")
    if rung.why in ("labels", "evidence") and rung.labels_needed is None:
        return "idle", "differs too often" if charter.target.truth == "human" else "errs too often"
    if rung.why == "unjudged" and (seen := _never(charter)):
        return "idle", seen
    if rung.overdue and rung.level in _AUTOMATIC:
        return "look", "audits nobody does"
    state, word = _STAYS[rung.why]
    if state == "good" and rung.level in _AUTOMATIC:
        if _too_many(rung):
            return _STAYS["capacity"]
        if not rung.error.defined:
            return "idle", f"{word}, nothing judged yet"
    return state, word


def _too_many(rung: Rung) -> bool:
    """Whether more comes to people now than they can decide."""
    return rung.capacity.deferral is not None and rung.capacity.short(rung.capacity.deferral)


def _never(charter: Charter) -> str:
    """Why the charter lets nothing show that all answers keep the promise; empty where it does."""
    partial = charter.automation.partial
    if charter.target.truth == "human" and not partial.blind:
        return "people see its answer"
    return "nothing is audited" if not partial.audit_share else ""


def now_does(rung: Rung, route: Route) -> str:
    """What happens with a case now."""
    if route.stopped == "safe_default":
        return f"the line is stopped, every answer is “{route.safe_default}”"
    idle = _idle(rung, route)
    if idle:
        return f"{idle}, so people decide everything"
    if rung.level == "shadow" and not _answers(route) and not route.shadows:
        return "people decide; there is no model on the line to ask"
    return DOES[rung.level]


def automatic(rung: Rung, charter: Charter, route: Route) -> str:
    """Which answers are automatic now."""
    if rung.level not in _AUTOMATIC:
        return f"none at level {rung.level}"
    if idle := _idle(rung, route):
        return f"none: {idle}"
    if rung.level == "full":
        return "every answer"
    if rung.threshold is None:
        return "only a candidate's"
    only = charter.automation.partial.only
    limited = "" if only is None else f", only {', '.join(only)}"
    lately = "" if rung.coverage is None else f": {share_text(rung.coverage)} of the cases lately"
    return f"from a confidence of {rung.threshold:.4g} on{limited}{lately}"


def counted(rung: Rung, charter: Charter) -> str:
    """The cases that the next step is decided from; empty where it needs none."""
    if rung.level == "human":
        return ""
    automatic = rung.level in _AUTOMATIC
    short = rung.labels_needed is not None and rung.labels < rung.labels_needed
    n = rung.labels_needed if short else rung.labels
    number = f"{rung.labels:,} of about {rung.labels_needed:,}" if short else f"{rung.labels:,}"
    things = f"{number} {'answer' if automatic else 'case'}{'' if n == 1 else 's'}"
    if not automatic:
        return f"{things} {'that people answered' if charter.target.truth == 'human' else 'with a known truth'}"
    drawn = f"; {count(rung.drawn, 'automatic answer')} drawn into the audit" if rung.drawn else ""
    return f"{things} judged since it began anew{drawn}"


def errs(errs_less: str) -> str:
    """Who errs less on the same cases, as far as the intervals tell."""
    told = {"people": "people err less than the model here", "model": "the model errs less than people here"}
    return told.get(errs_less, "who errs less cannot be told yet")


def missing(rung: Rung, charter: Charter, route: Route) -> str:
    """What the next level waits for, and who does what, in one sentence."""
    if rung.kind == "demote":
        return f"Nothing is missing: the promise is broken, and the controller lowers it to {rung.to}."
    if rung.kind == "promote":
        if rung.automatic:
            return f"Nothing is missing: the controller raises it to {rung.to} with its next look."
        return f"Only a person's word: {rung.held or 'raise it below'}."
    if rung.level == "partial" and rung.threshold is None and rung.version is not None:
        return _threshold(charter, route)
    if rung.level not in ("human", "shadow") and not _answers(route):
        return "A live release: `andon deploy canary VERSION --auto` brings one there; `andon release RUN` makes one."
    if rung.overdue and rung.level in _AUTOMATIC:
        return f"People who judge what was drawn into the audit: {count(rung.overdue, 'answer')} waited too long (`andon review list`)."
    if rung.labels_needed is not None:
        return _more(rung, charter)
    if rung.why == "unjudged":
        return _judges(charter)
    return {
        "top": "Nothing: there is no level above it on the charter's path.",
        "release": "A release on the line: `andon deploy shadow VERSION`; `andon train` and `andon release RUN` make one.",
        "capacity": "People: more of them (`review: {reviewers_per_hour}`), or a model that leaves them less.",
        "only": "Nothing: `automation.partial.only` leaves the other labels to people.",
        "people": "A better model: this one errs more than people do here.",
    }.get(rung.why, f"A better model: no number of labels would show it with {_seen(charter)}.")


def _seen(charter: Charter) -> str:
    return "differences as seen" if charter.target.truth == "human" else "errors as seen"


def _threshold(charter: Charter, route: Route) -> str:
    """What makes a threshold where the level is partial and nothing is automatic."""
    if charter.automation.partial.only is not None and not charter.automation.partial.only:
        return "Nothing: `automation.partial.only` leaves every label to people."
    if route.stopped:
        return "A threshold, once the line runs again: `andon automate partial` looks for one."
    if charter.target.truth == "human":
        return (
            "A threshold: where people are the truth only what they decide at level shadow makes one, so set the level to "
            "shadow until enough is there, then to partial again."
        )
    return "A threshold: `andon automate partial` looks for one in the cases whose truth became known; labels make it."


def _more(rung: Rung, charter: Charter) -> str:
    assert rung.labels_needed is not None
    more = max(0, rung.labels_needed - rung.labels)
    if not more:
        return "The labels are there: the controller (`andon up`) looks at them next."
    pace = ""
    if rung.eta_hours is not None:
        long = rung.eta_hours * HOUR > _YEAR
        pace = f", {'more than a year' if long else 'about ' + span(round(rung.eta_hours * HOUR))} at today's pace"
    known = "with a known truth"
    if charter.target.truth == "human":
        known = "that people answer who did not see the model's answer"
    return f"{count(more, 'more case')} {known}, as far as can be told now{pace}."


def _judges(charter: Charter) -> str:
    """Who has to judge what was answered, and what keeps them from it."""
    never = _never(charter)
    if never == "people see its answer":
        return (
            "Nothing can show it: people see the model's answer at level partial and theirs is the truth "
            "(`automation: {partial: {blind: true}}` would hide it)."
        )
    if never:
        return "Audits: with `automation: {partial: {audit_share: 0}}` nobody looks at an automatic answer again."
    return "People's word or labels for what was answered already, from people who did not see the model's answer."


def work(rung: Rung) -> str:
    """What people have to decide of a slice, and what they can."""
    room = rung.capacity
    if not room.arrivals or room.deferral is None:
        return "No case came in the last day, so what comes to people is not known."
    comes = f"{_per_hour(room.arrivals)} cases an hour come, {share_text(room.deferral)} of them wait for people"
    if room.allowed is None:
        return f"{comes}; the charter does not say how many they can decide (`review: {{reviewers_per_hour}}`)."
    return f"{comes}, who can decide {share_text(min(1.0, room.allowed))}."


def _per_hour(rate: float) -> str:
    return f"About {rate:,.0f}" if rate >= 10 else f"About {rate:.2g}"
