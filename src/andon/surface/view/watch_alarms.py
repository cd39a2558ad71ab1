"""The alarms, each with its story: what was seen, who said that they saw it, what was done because of it, how it ended."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec

from andon.core.clock import HOUR, iso
from andon.core.record import Event
from andon.core.registry import did_you_mean
from andon.core.verdict import Verdict
from andon.errors import AndonError, NotFound
from andon.measure.estimate import Estimate
from andon.measure.gate import Bound, GateResult
from andon.monitor.alarm import Alarm, alarm_key
from andon.monitor.overview import Point
from andon.monitor.watch import acknowledge_alarm, alarms, silence_alarm, watched
from andon.monitor.window import Measured
from andon.surface.page import Command, Done, Empty, Page, Preview
from andon.surface.station import bound_words, minute, told, unit_shown
from andon.surface.view.watch_card import Ring, link, ring_of, unit_of
from andon.surface.view.watch_metric import Happened, happened
from andon.surface.view.watch_span import Span, points, read, span_of

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.surface.visit import Visit

__all__ = [
    "COMMANDS",
    "PAGES",
    "AlarmView",
    "AlarmsView",
    "Episode",
    "Told",
    "alarm_view",
    "alarms_view",
    "episodes",
    "judged",
]

_EVENTS = 500
_WINDOWS = 96
_ORDER = ("firing", "recovering", "pending", "resolved", "inactive")
_THEN = {
    "notify": "tell people",
    "people": "every decision goes to people",
    "rollback": "the line goes back to the release before",
}

Key = Annotated[str, msgspec.Meta(max_length=400, description="The alarm's name: the metric, or metric/slice.")]


class Told(msgspec.Struct, frozen=True):
    """One line of a story: when (event time), who, what in words, and which event of the journal says so."""

    time_us: int
    actor: str
    what: str
    action: str
    sequence: int


class Episode(msgspec.Struct, frozen=True):
    """One firing of an alarm: what it was for, what followed in order, and when it ended (None: it has not)."""

    number: int
    fired_us: int
    ended_us: int | None
    sentence: str
    story: tuple[Told, ...]


class AlarmsView(msgspec.Struct, frozen=True):
    """Every alarm of the charter, the loudest first; ``waiting`` have judged no window yet, ``gone`` are no longer asked for."""

    now_us: int
    alarms: tuple[Ring, ...]
    waiting: tuple[str, ...]
    gone: tuple[Ring, ...]


class AlarmParams(msgspec.Struct, frozen=True):
    """Which alarm, by its metric."""

    key: Key


class SliceAlarmParams(msgspec.Struct, frozen=True):
    """Which alarm, by its metric and slice."""

    metric: Key
    slice: Key


class AlarmView(msgspec.Struct, frozen=True):
    """One alarm with its story. ``bound``, ``for_windows`` and ``then`` are what the charter asks for now.

    ``episodes`` are its firings, the newest first; ``other`` is what happened outside of any. ``cut`` says that older
    events were left out. ``cases_href`` leads to the decisions of the window that was judged last ("": none was).
    """

    now_us: int
    ring: Ring
    unit: str
    bound: str
    held: str | None
    for_windows: int
    then: str
    asked: bool
    cause: str
    span: Span
    points: tuple[Point, ...]
    happened: tuple[Happened, ...]
    episodes: tuple[Episode, ...]
    other: tuple[Told, ...]
    cut: bool
    metric_href: str
    cases_href: str


def alarms_view(visit: Visit, params: Empty) -> AlarmsView:
    """All alarms. Raises ``Unavailable``."""
    charter = visit.project.charter
    plan, kept = Measured.of(charter), alarms(visit.project.workspace)
    asked = [alarm_key(one.metric, one.cohort) for one in watched(charter)]
    rung = [ring_of(alarm, unit_of(plan, alarm.metric)) for alarm in kept.values()]
    rung.sort(key=lambda one: (one.state != "stop", _ORDER.index(one.phase), -one.since_us, one.key))
    return AlarmsView(
        now_us=visit.now_us,
        alarms=tuple(one for one in rung if one.key in asked),
        waiting=tuple(key for key in asked if key not in kept),
        gone=tuple(one for one in rung if one.key not in asked),
    )


def alarm_view(visit: Visit, params: AlarmParams | SliceAlarmParams) -> AlarmView:
    """One alarm. Raises ``NotFound``."""
    key = params.key if isinstance(params, AlarmParams) else alarm_key(params.metric, params.slice)
    charter, now = visit.project.charter, visit.now_us
    plan, alarm = Measured.of(charter), _found(visit, key, charter)
    metric = plan.metrics.get(alarm.metric)
    spec, unit = charter.metrics.get(alarm.metric), unit_of(plan, alarm.metric)
    if alarm.result is not None:
        unit = unit_shown(unit, alarm.result.estimate)
    asked = any(alarm_key(one.metric, one.cohort) == alarm.key for one in watched(charter))
    span = span_of(visit, plan, _WINDOWS)
    rows = read(visit, plan, [alarm.metric], [alarm.cohort], span) if metric is not None else {}
    told_, other, cut = _story(visit, alarm.key, unit)
    return AlarmView(
        now_us=now, ring=ring_of(alarm, unit), unit=unit,
        bound=bound_words(spec.alarm, unit) if spec is not None else "",
        held=str(spec.alarm) if spec is not None and isinstance(spec.alarm, Bound) else None,
        for_windows=spec.for_windows if spec is not None else 1,
        then=_THEN[spec.then] if spec is not None else "", asked=asked,
        cause=told(alarm.cause, unit) if alarm.cause is not None else "",
        span=span,
        points=points(metric, rows.get((alarm.metric, alarm.cohort), []), plan, span, now) if metric else (),
        happened=tuple(happened(visit, span, alarm.key)), episodes=told_, other=other, cut=cut,
        metric_href=link("/watch/metrics", alarm.metric, slice=alarm.cohort) if metric is not None else "",
        cases_href=_cases(alarm, charter.monitor.window_us),
    )  # fmt: skip


def _cases(alarm: Alarm, window_us: int) -> str:
    if alarm.window_us is None:
        return ""
    since, until = iso(alarm.window_us), iso(alarm.window_us + window_us)
    return link("/decisions", since=since, until=until, slice=alarm.cohort)


def _found(visit: Visit, key: str, charter: Charter) -> Alarm:
    kept = alarms(visit.project.workspace)
    if key in kept:
        return kept[key]
    for one in watched(charter):
        if alarm_key(one.metric, one.cohort) == key:
            return Alarm(key, one.metric, one.cohort)
    raise NotFound(f"no alarm is called {key[:80]!r}; {did_you_mean(key, kept)}", field="key")


def _story(visit: Visit, key: str, unit: str) -> tuple[tuple[Episode, ...], tuple[Told, ...], bool]:
    newest = visit.project.workspace.journal.latest(_EVENTS, subject=key)
    mine = [event for event in reversed(newest) if event.action.startswith("alarm.")]
    found, before = episodes(mine, unit)
    return tuple(reversed(found)), before, len(newest) == _EVENTS


def episodes(events: Sequence[Event], unit: str) -> tuple[list[Episode], tuple[Told, ...]]:
    """An alarm's events, oldest first, as its firings; and what came before the first of them.

    >>> made = [Event(f"alarm.{what}", "error", "controller", "", time, 0, sequence=time) for time, what in
    ...     enumerate(["silenced", "fired", "people", "resolved", "fired"])]
    >>> [(one.number, one.ended_us, [told.action for told in one.story]) for one in episodes(made, "share")[0]]
    [(1, 3, ['alarm.people', 'alarm.resolved']), (2, None, [])]
    """
    groups: list[list[Event]] = [[]]
    for event in events:
        if event.action == "alarm.fired":
            groups.append([])
        groups[-1].append(event)
    return [_episode(number, group, unit) for number, group in enumerate(groups[1:], 1)], tuple(_told(groups[0], unit))


def _episode(number: int, events: Sequence[Event], unit: str) -> Episode:
    fired, rest = events[0], events[1:]
    ended = next((event.time_us for event in rest if event.action == "alarm.resolved"), None)
    return Episode(number, fired.time_us, ended, judged(fired, unit), tuple(_told(rest, unit)))


def _told(events: Sequence[Event], unit: str) -> Iterator[Told]:
    for event in events:
        yield Told(event.time_us, event.actor, _words(event, unit), event.action, event.sequence)


def _words(event: Event, unit: str) -> str:
    """What an event says, in words."""
    done = event.reason.partition("; ")[2] if event.evidence.get("sentence") else ""
    if event.action == "alarm.resolved":
        return f"it ended: {judged(event, unit)}" + (f"; {done}" if done else "")
    if event.action in ("alarm.people", "alarm.rollback"):
        return done or event.reason
    if event.action == "alarm.silenced":
        until = event.evidence.get("until_us")
        silent = f"silenced until {minute(until)}" if until else "the silence ended"
        return silent + (f": {event.reason}" if event.reason else "")
    if event.action == "alarm.acknowledged":
        return "seen" + (f": {event.reason}" if event.reason else "")
    return event.reason


def judged(event: Event, unit: str) -> str:
    """The verdict that an event was written for, in the metric's unit; as it was written where it cannot be read."""
    body: Mapping[str, Any] = event.evidence
    try:
        result = GateResult(
            metric=str(body["metric"]),
            verdict=Verdict(body["verdict"]),
            sentence=str(body["sentence"]),
            estimate=msgspec.convert(body["estimate"], Estimate),
            bound=Bound.parse(str(body["bound"])),
            cohort=str(body.get("cohort", "")),
        )
    except (KeyError, msgspec.ValidationError, ValueError, AndonError):
        return event.reason
    silent = event.reason.partition("; ")[2]
    return told(result, unit) + (f"; {silent}" if silent and event.action == "alarm.fired" else "")


# ------------------------------------------------------------------------------------------------------------- commands


class Acknowledge(msgspec.Struct, frozen=True):
    """Say that you have seen a firing alarm."""

    key: Key
    reason: Annotated[str, msgspec.Meta(max_length=2000, title="What you know of it")] = ""


class Silence(msgspec.Struct, frozen=True):
    """Send nobody a notice of an alarm for a while."""

    key: Key
    hours: Annotated[
        float, msgspec.Meta(ge=0, le=720, title="For so many hours", description="0 ends the silence.")
    ] = 2.0
    reason: Annotated[str, msgspec.Meta(max_length=2000, title="Why")] = ""


def acknowledge(visit: Visit, params: Acknowledge) -> Done:
    """Raises ``NotFound``, or ``Conflict`` when it is not firing."""
    found = acknowledge_alarm(visit.project.workspace, params.key, visit.viewer.name, params.reason)
    return Done(sentence=f"Alarm {found.key} is {found.phase}; {found.acknowledged_by} has seen it.")


def silence(visit: Visit, params: Silence) -> Done:
    """Raises ``NotFound``, or ``UsageError`` for too long a time."""
    length = round(params.hours * HOUR)
    found = silence_alarm(visit.project.workspace, params.key, visit.viewer.name, length, params.reason)
    if not found.silenced_until_us:
        return Done(sentence=f"Alarm {found.key} is no longer silent.")
    until = minute(found.silenced_until_us)
    return Done(sentence=f"Nobody is sent a notice of alarm {found.key} until {until} UTC.")


def _acknowledge_preview(visit: Visit, params: Acknowledge) -> Preview:
    ring = _ring(visit, params.key)
    seen = f", seen by {ring.acknowledged_by}" if ring.acknowledged_by else ", and nobody has said that they saw it"
    warnings = () if ring.active else (f"it is {ring.phase}: only one that is firing can be acknowledged",)
    return Preview(
        f"I have seen alarm {ring.key}",
        f"{ring.sentence}. It is {ring.phase}{seen}.",
        f"The journal says that {visit.viewer.name} has seen it. The line's lamp is no longer red for it, until it fires "
        "again. Nothing else changes: it is judged as before.",
        warnings,
    )


def _silence_preview(visit: Visit, params: Silence) -> Preview:
    ring, now = _ring(visit, params.key), visit.now_us
    silent = f"silent until {iso(ring.silenced_until_us)}" if ring.silenced_until_us > now else "not silent"
    until = minute(now + round(params.hours * HOUR))
    then = f"Nobody is sent a notice of it until {until} UTC" if params.hours > 0 else "Notices of it are sent again"
    return Preview(
        f"Silence alarm {ring.key}",
        f"It is {ring.phase} and {silent}.",
        f"{then}. It is judged, shown, and does what the charter says as before.",
        ("you can give the hours below",) if params.hours == Silence(params.key).hours else (),
    )


def _ring(visit: Visit, key: str) -> Ring:
    charter = visit.project.charter
    alarm = _found(visit, key, charter)
    return ring_of(alarm, unit_of(Measured.of(charter), alarm.metric))


COMMANDS = (
    Command(
        "alarms.ack", "I have seen it", Acknowledge, acknowledge, "stop", _acknowledge_preview, back="/watch/alarms"
    ),
    Command("alarms.silence", "Silence it", Silence, silence, "deploy", _silence_preview, back="/watch/alarms"),
)

PAGES = (
    Page(
        "watch.alarms", "/watch/alarms", "Alarms", "watch", alarms_view, Empty, AlarmsView, "watch_alarms.html",
        live=("journal", "windows"),
    ),
    Page(
        "watch.alarm", "/watch/alarms/{key}", "Alarm", "watch", alarm_view, AlarmParams, AlarmView,
        "watch_alarm.html", live=("journal", "windows"),
    ),
    Page(
        "watch.alarm.slice", "/watch/alarms/{metric}/{slice}", "Alarm", "watch", alarm_view, SliceAlarmParams, AlarmView,
        "watch_alarm.html", live=("journal", "windows"),
    ),
)  # fmt: skip
