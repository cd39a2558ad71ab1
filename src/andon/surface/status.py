"""The whole line at one look: five stations, what needs a person, who decides, whether it runs, and what happened last.

``line_status`` reads and judges nothing anew. It works for a project with nothing in it, while the line is not running,
and with the database gone: then it says so and shows what the files of the line know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from andon.core.record import Event, Level, Route
from andon.deploy.chronicle import levels_of, sentence
from andon.surface.reads import alarms_of
from andon.surface.running import Running, running
from andon.surface.station import Known, State, Station, count, minute, span, told
from andon.surface.stations import (
    data_station,
    deploy_station,
    model_station,
    rings,
    scope_station,
    unit_of,
    watch_station,
)

if TYPE_CHECKING:
    from rich.console import Console

    from andon.config import Project
    from andon.deploy.ladder import Rung

__all__ = ["Deciding", "LevelView", "LineStatus", "Need", "deciding", "line_status", "show"]

_EVENTS = 5
_ORDER: tuple[State, ...] = ("good", "idle", "look", "stop")
_FOREVER = 1 << 62


class Need(msgspec.Struct, frozen=True):
    """Something that waits for a person: what, in numbers, and the command that deals with it.

    ``subject`` is the name of the one thing that it is about, such as an alarm's.
    """

    kind: Literal["alarm", "review", "checklist", "stopped", "database", "automation"]
    state: State
    what: str
    detail: str
    command: str
    n: int = 1
    subject: str = ""


class LevelView(msgspec.Struct, frozen=True):
    """How much the model decides in one slice of the charter ("*": everything else), in words too."""

    slice: str
    level: Level
    sentence: str


class Deciding(msgspec.Struct, frozen=True):
    """Who decides now, who put it there, when and why."""

    sentence: str
    epoch: int = 0
    live: str | None = None
    candidate: str | None = None
    share: float = 0.0
    shadows: tuple[str, ...] = ()
    stopped: str = ""
    levels: tuple[LevelView, ...] = ()
    actor: str = ""
    reason: str = ""
    since_us: int = 0


class LineStatus(msgspec.Struct, frozen=True):
    """Everything ``andon status`` says. ``now_us`` is event time, ``rate`` how fast it runs; ``trouble`` says what
    could not be read.
    """

    project: str
    state: State
    sentence: str
    now_us: int
    rate: float
    stations: tuple[Station, ...]
    needs: tuple[Need, ...]
    deciding: Deciding
    running: Running
    journal: tuple[Event, ...]
    trouble: str | None = None


def line_status(project: Project, known: Known | None = None) -> LineStatus:
    """Look at everything once. Raises ``Unavailable`` only when the workspace's own files cannot be read.

    ``known`` is a look at the line that has begun already or goes on afterwards.
    """
    known = Known() if known is None else known
    route = project.workspace.routes.current()
    runs = running(project, known, route)
    faults = list(dict.fromkeys(fault for worker in runs.workers for fault in worker.faults))
    stations = (
        scope_station(project),
        data_station(project, known),
        model_station(project, known, route),
        deploy_station(project, known, route, faults if runs.workers else None),
        watch_station(project, known, bool(runs.workers)),
    )
    needs = _needs(project, known, route)
    events = known.ask(lambda: project.workspace.journal.latest(_EVENTS)) or []
    return LineStatus(
        project=project.charter.project,
        state=max((*(one.state for one in stations), runs.state), key=_ORDER.index),
        sentence=_whole(runs, route, needs),
        now_us=project.clock.now(),
        rate=project.clock.rate(),
        stations=stations,
        needs=needs,
        deciding=deciding(route, project),
        running=runs,
        journal=tuple(events),
        trouble=known.trouble or None,
    )


def show(status: LineStatus, console: Console) -> None:
    """Print it, for a terminal of any width."""
    from andon.surface.status_view import render

    render(status, console)


def _whole(runs: Running, route: Route | None, needs: tuple[Need, ...]) -> str:
    """The line in one sentence."""
    parts = []
    if not runs.workers:
        parts.append("the line is not running" if runs.state == "idle" else "no worker answers")
    elif route is not None and route.stopped:
        parts.append("the line is stopped")
    else:
        parts.append(_deciders(route))
    alarms = sum(one.n for one in needs if one.kind == "alarm")
    cases = sum(one.n for one in needs if one.kind == "review")
    if alarms:
        parts.append(f"{count(alarms, 'alarm')} firing")
    if cases:
        parts.append(f"{count(cases, 'case')} waiting for a person")
    return "; ".join(parts)


def _deciders(route: Route | None) -> str:
    if route is None or (route.live is None and not (route.candidate and route.share)):
        return "people decide"
    levels = set(route.levels.values())
    models = " and ".join(name for name in (route.live, route.candidate if route.share else None) if name)
    if levels <= {"human", "shadow", "assist"}:
        return "people decide" + (f", {models} advises" if "assist" in levels else "")
    return (
        models + (" decides" if " and " not in models else " decide")
        if levels == {"full"}
        else f"people and {models} decide"
    )


# --------------------------------------------------------------------------------------------------------- needs you


def _needs(project: Project, known: Known, route: Route | None) -> tuple[Need, ...]:
    found = [*_stopped(route), *_alarms(project, known), *_cases(project, known), *_earned(project, known, route)]
    found += _questions(project)
    if known.trouble:
        found.insert(
            0, Need("database", "look", "the database is gone", known.trouble, "bring it back; nothing is lost")
        )
    return tuple(found)


def _stopped(route: Route | None) -> list[Need]:
    if route is None or not route.stopped:
        return []
    detail = f"by {route.actor} since {minute(route.time_us)}" + (f": {route.reason}" if route.reason else "")
    return [Need("stopped", "stop", "the line is stopped", detail, "andon start --reason WHY")]


def _alarms(project: Project, known: Known) -> list[Need]:
    stored = alarms_of(project, known) or {}
    return [
        Need(
            "alarm",
            "stop",
            f"alarm {alarm.key} since {minute(alarm.fired_us)}",
            told(alarm.result, unit_of(project, alarm.result)) if alarm.result is not None else "",
            f"andon alarms ack {alarm.key}",
            subject=alarm.key,
        )
        for alarm in stored.values()
        if rings(alarm) and alarm.metric in project.charter.metrics
    ]


def _cases(project: Project, known: Known) -> list[Need]:
    items, now = project.workspace.items, project.clock.now()
    counts = known.ask(lambda: items.counts("open", "taken")) or {}
    if not counts:
        return []
    waiting = sum((known.ask(lambda: items.counts("open", "taken", kind="decision")) or {}).values())
    again = sum(counts.values()) - waiting  # audits, second looks, adjudications: they have their answer
    asked = [count(waiting, "case") + " to decide"] if waiting else []
    asked += [count(again, "answered case") + " to look at again"] if again else []
    first = known.ask(lambda: items.due(_FOREVER, 1))
    detail = f"{count(counts['taken'], 'case')} taken; " if counts.get("taken") else ""
    late = bool(first) and first is not None and first[0].due_us <= now
    if first:
        due = first[0].due_us - now
        detail += f"the first came {span(now - first[0].created_us)} ago, " + (
            f"overdue by {span(-due)}" if late else f"due in {span(due)}"
        )
    return [
        Need(
            "review",
            "look" if late else "good",
            ", ".join(asked),
            detail,
            "andon review list",
            waiting,
        )
    ]


def _earned(project: Project, known: Known, route: Route | None) -> list[Need]:
    """Slices that have earned more automation, or lost some, by the controller's last look at this very route."""
    from andon.deploy.ladder_evidence import kept

    found = known.ask(lambda: kept(project.workspace))
    if found is None or route is None or found.epoch != route.epoch:
        return []
    down = [rung for rung in found.rungs if rung.kind == "demote"]
    up = [rung for rung in found.rungs if rung.kind == "promote" and not rung.automatic]
    rest = "everything else" if len(found.rungs) > 1 else "everything"

    def need(rungs: list[Rung], state: State, what: str) -> Need:
        names = [f"{rest if one.slice == '*' else one.slice} to {one.to}" for one in rungs]
        said = f"automation {what} in {count(len(rungs), 'slice')}"
        return Need("automation", state, said, ", ".join(names), "andon automate", len(rungs))

    lowered = [need(down, "stop", "must go down")] if down else []
    return [*lowered, need(up, "good", "could go up")] if up else lowered


def _questions(project: Project) -> list[Need]:
    from andon.scope.checklist import unanswered

    left = unanswered(project.charter)
    if not left:
        return []
    what = f"{count(len(left), 'question')} of the checklist left to a default"
    return [Need("checklist", "look", what, f"first: {left[0].asks}", "andon check", len(left))]


# ------------------------------------------------------------------------------------------------------- who decides


def deciding(route: Route | None, project: Project) -> Deciding:
    """Who decides under a route; with None, who will."""
    if route is None:
        level = project.charter.automation.level
        return Deciding(f"nobody yet: the first route begins at level {level}, as the charter says")
    return Deciding(
        sentence=sentence(route),
        epoch=route.epoch,
        live=route.live,
        candidate=route.candidate,
        share=route.share,
        shadows=route.shadows,
        stopped=route.stopped,
        levels=tuple(_level(route, name, level) for name, level in levels_of(route)),
        actor=route.actor,
        reason=route.reason,
        since_us=route.time_us,
    )


def _level(route: Route, name: str, level: Level) -> LevelView:
    models = [one for one in (route.live, route.candidate if route.share else None) if one]
    if level in ("assist", "partial", "full") and not models:
        return LevelView(name, level, "people decide: no model answers")
    told = {
        "human": "people decide; no model is asked",
        "shadow": "people decide; the model is asked, unseen",
        "assist": f"people decide; {' and '.join(models)} suggest{'s' if len(models) == 1 else ''}",
        "full": f"{' and '.join(models)} decides" if len(models) == 1 else f"{' and '.join(models)} decide",
        "partial": _partial(route, name, models),
    }
    return LevelView(name, level, told[level])


def _partial(route: Route, name: str, models: list[str]) -> str:
    only = f" {' or '.join(route.only)}" if route.only else ""
    found = [(model, route.thresholds.get(f"{model}/{name}")) for model in models]
    sure = [f"{model} decides{only} from a confidence of {value:.3g}" for model, value in found if value is not None]
    return (
        f"{', '.join(sure)}; people the rest" if sure else "people decide: nothing is sure enough to be automatic yet"
    )
