"""The journal for people: one plain sentence for each action there is, and the page where what it is about can be seen.

>>> made = Event("model.release", "v3", "ann", "fewer misses", 0, 0, {"run": "r7", "overridden": False})
>>> told(made), href_of(made)
('run r7 passed its gates and is release v3', '/models/r7')
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote

from andon.core.record import Event
from andon.monitor.alarm import alarm_key
from andon.surface.station import State, count, minute
from andon.surface.view.watch_alarms import judged
from andon.surface.view.watch_card import link

if TYPE_CHECKING:
    from andon.surface.visit import Visit

__all__ = ["ACTIONS", "Units", "href_of", "reason_of", "state_of", "told", "units_of"]

Units = Mapping[str, str]
"""The unit of each metric by name, in which an alarm's figures are told."""


def units_of(visit: Visit) -> Units:
    """The units of a project's metrics."""
    from andon.monitor.window import Measured

    return {name: metric.unit for name, metric in Measured.of(visit.project.charter).metrics.items()}


def told(event: Event, units: Units | None = None) -> str:
    """What happened, in one sentence without its actor and its reason; an action of another release is told plainly.

    >>> told(Event("kiln.heat", "kiln 3", "ann", "", 0, 0))
    'kiln.heat: kiln 3'
    """
    told_of = _TOLD.get(event.action)
    sentence = told_of(event, units or {}) if told_of is not None else ""
    return sentence or f"{event.action}: {event.subject}"


def reason_of(event: Event) -> str:
    """Why, as it was given; empty where the sentence says it already."""
    return "" if event.action in _SAY_WHY else event.reason


def state_of(event: Event) -> State | None:
    """How grave it was; None for what is neither good nor bad."""
    return _STATES.get(event.action)


def href_of(event: Event) -> str:
    """The page of what it is about; empty where there is none."""
    evidence = event.evidence
    if event.action in ("data.add", "data.split"):
        return link("/data", event.subject)
    if event.action == "model.train":
        return link("/models", event.subject)
    if event.action == "model.release":
        return link("/models", str(evidence.get("run") or event.subject))
    if event.action.startswith("rollout."):
        return f"/deploy/rollout?name={quote(event.subject, safe='')}"
    if event.action.startswith("automation.") or event.subject.startswith("automation/"):
        return "/automation"
    if event.action.startswith("deploy."):
        return f"/deploy/history#{event.subject.replace(' ', '-')}"
    if event.action.startswith("alarm."):
        return link("/watch/alarms", *_alarm(event))
    return _PLACES.get(event.action, "")


def _alarm(event: Event) -> tuple[str, ...]:
    """The metric of an alarm, and its slice where it has one; as its evidence names them, else by its key."""
    metric, cohort = event.evidence.get("metric"), event.evidence.get("cohort")
    if isinstance(metric, str) and isinstance(cohort, str) and alarm_key(metric, cohort) == event.subject:
        return (metric, cohort) if cohort else (metric,)
    return (event.subject,)


# ------------------------------------------------------------------------------------------------------- the sentences


def _number(event: Event, name: str) -> int:
    found = event.evidence.get(name)
    return found if isinstance(found, int) else 0


def _text(event: Event, name: str) -> str:
    found = event.evidence.get(name)
    return found if isinstance(found, str) else ""


def _added(event: Event, units: Units) -> str:
    left = _number(event, "rejected")
    rest = f"; {count(left, 'row')} did not fit" if left else ""
    return f"{count(_number(event, 'rows'), 'row')} of {_text(event, 'name')} were frozen as {event.subject}{rest}"


def _split(event: Event, units: Units) -> str:
    parts = event.evidence.get("parts")
    sizes = ", ".join(f"{name} {n:,}" for name, n in parts.items()) if isinstance(parts, dict) else ""
    return f"{event.subject} was divided" + (f": {sizes}" if sizes else "")


def _trained(event: Event, units: Units) -> str:
    legs = event.evidence.get("legs")
    data = f" on {legs['data']}" if isinstance(legs, dict) and "data" in legs else ""
    if _text(event, "error"):
        return f"the training of {event.subject}{data} failed: {_text(event, 'error')}"
    return f"{event.subject} was trained{data}"


def _released(event: Event, units: Units) -> str:
    run = f"run {_text(event, 'run')}" if _text(event, "run") else "a run"
    if event.evidence.get("overridden"):
        return f"{run} is release {event.subject} although its gates say {_text(event, 'verdict') or 'no'}"
    return f"{run} passed its gates and is release {event.subject}"


def _route(event: Event, units: Units) -> str:
    said = _text(event, "said")
    return f"{said} ({event.subject})" if said else ""


def _why(event: Event, units: Units) -> str:
    return event.reason


def _fed(event: Event, units: Units) -> str:
    left = _number(event, "rejected")
    rest = f", {left:,} were not taken" if left else ""
    return f"{count(_number(event, 'recorded'), 'row')} of feedback came from {event.subject}{rest}"


def _judged(event: Event, units: Units) -> str:
    return judged(event, units.get(_text(event, "metric"), ""))


def _fired(event: Event, units: Units) -> str:
    return f"alarm {event.subject} fired: {_judged(event, units)}"


def _resolved(event: Event, units: Units) -> str:
    rest = event.reason.partition("; ")[2]
    return f"alarm {event.subject} is over: {_judged(event, units)}" + (f"; {rest}" if rest else "")


def _acted(event: Event, units: Units) -> str:
    done = event.reason.partition("; ")[2] or event.reason
    return f"because alarm {event.subject} fires: {done}"


def _silenced(event: Event, units: Units) -> str:
    until = _number(event, "until_us")
    if not until:
        return f"notices of alarm {event.subject} are sent again"
    return f"no notice of alarm {event.subject} is sent until {minute(until)} UTC"


def _told_off(event: Event, units: Units) -> str:
    kind, _, slice = event.subject.partition("/")
    if kind == "automation":
        return f"a notice of automation in {'all other cases' if slice == '*' else slice}: {event.reason}"
    return f"a notice of alarm {event.subject}: {event.reason}"


def _token(event: Event, units: Units) -> str:
    role = _text(event, "role")
    of = f" of role {role}" if role else ""
    return f"the token {event.subject}{of} was {'made' if event.action == 'token.create' else 'revoked'}"


def _tested(event: Event, units: Units) -> str:
    sent, failed = _number(event, "sent"), _number(event, "failed")
    return f"a test notice reached {sent} of {sent + failed} address{'' if sent + failed == 1 else 'es'}"


def _loaded(event: Event, units: Units) -> str:
    return f"{count(_number(event, 'sent'), 'request')} were sent to see what the line bears ({event.subject})"


def _leveled(event: Event, units: Units) -> str:
    if not event.evidence:
        return f"automation stands still: {event.reason}"
    slice = _text(event, "slice")
    named = "all cases that no slice matches" if slice == "*" else slice
    way = f"{named} of {_text(event, 'version')} from {_text(event, 'from')} to {_text(event, 'to')}"
    if event.action == "automation.failed":
        return f"automation could not go on in {way}: {event.reason}"
    return f"automation goes {'down' if event.action == 'automation.demote' else 'up'} in {way}: {event.reason}"


def _asked(event: Event, units: Units) -> str:
    return f"the rollout {event.subject}: {_text(event, 'what')}"


def _rolled(event: Event, units: Units) -> str:
    made = event.evidence.get("transition")
    after = str(made.get("after", "")).replace("_", " ") if isinstance(made, dict) else ""
    return f"the rollout {event.subject} is {after}: {event.reason}"


_ROUTES = (
    "begin", "policy", "warm", "cool", "shadow", "unshadow", "canary", "ramp", "blue-green", "switch", "hold", "resume",
    "rollback", "automate", "stop", "start", "freeze", "go-on",
)  # fmt: skip
_TOLD: dict[str, Callable[[Event, Units], str]] = {
    "data.add": _added,
    "data.split": _split,
    "model.train": _trained,
    "model.release": _released,
    **{f"deploy.{action}": _route for action in _ROUTES},
    "automation.learn": _why,
    "automation.demote": _leveled,
    "automation.promote": _leveled,
    "automation.failed": _leveled,
    "rollout.asked": _asked,
    "rollout.transition": _rolled,
    "controller.failed": lambda event, units: f"the controller cannot do all that it should: {event.reason}",
    "controller.recovered": lambda event, units: f"the controller does all of it again: {event.reason}",
    "rollout.failed": lambda event, units: f"the rollout {event.subject} could not go on: {event.reason}",
    "feedback.import": _fed,
    "log.gap": _why,
    "log.retained": _why,
    "log.shed": _why,
    "clock.doubted": lambda event, units: f"{event.subject} is not believed: {event.reason}",
    "clock.confirmed": lambda event, units: f"{event.subject} is right, it was said",
    "alarm.fired": _fired,
    "alarm.resolved": _resolved,
    "alarm.people": _acted,
    "alarm.rollback": _acted,
    "alarm.notified": _told_off,
    "alarm.acknowledged": lambda event, units: f"alarm {event.subject} was seen",
    "alarm.silenced": _silenced,
    "token.create": _token,
    "token.revoke": _token,
    "notify.test": _tested,
    "load.run": _loaded,
}
ACTIONS: tuple[str, ...] = tuple(_TOLD)
"""Every action that this release writes, each with a sentence."""

#: Their reason is what happened, put together by the line itself.
_SAY_WHY = frozenset(
    (
        "automation.learn",
        "automation.demote",
        "automation.promote",
        "automation.failed",
        "rollout.transition",
        "rollout.failed",
        "log.gap",
        "log.shed",
        "log.retained",
        "clock.doubted",
        "alarm.fired",
        "alarm.resolved",
        "alarm.people",
        "alarm.rollback",
    )
) | {"alarm.notified"}
_STATES: dict[str, State] = {
    "deploy.stop": "stop",
    "deploy.rollback": "look",
    "automation.demote": "stop",
    "automation.promote": "good",
    "automation.failed": "look",
    "alarm.fired": "stop",
    "alarm.resolved": "good",
    "alarm.people": "look",
    "alarm.rollback": "look",
    "log.gap": "stop",
    "log.shed": "stop",
    "clock.doubted": "look",
}
_PLACES = {
    "feedback.import": "/watch/feedback",
    "log.gap": "/settings#health",
    "log.shed": "/settings#health",
    "log.retained": "/settings#storage",
    "clock.doubted": "/settings#health",
    "clock.confirmed": "/settings#health",
    "token.create": "/settings#tokens",
    "token.revoke": "/settings#tokens",
    "notify.test": "/settings#notifications",
    "load.run": "/watch",
}
