"""What stands at the head of every page: the project, the time of its story, its lamp, what waits for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from andon.surface.station import Known, State

if TYPE_CHECKING:
    from andon.config import Project

__all__ = ["Head", "head_of"]


class Head(msgspec.Struct, frozen=True):
    """The head: ``now_us`` is event time and ``rate`` how fast it runs; ``why`` says what the lamp means.

    ``waiting`` counts the cases that wait for a person, and is None with the database gone.
    """

    project: str
    now_us: int
    wall_us: int
    rate: float
    state: State
    why: str
    stopped: bool
    waiting: int | None


def head_of(project: Project) -> Head:
    """Look once; with the database gone it says what is known without."""
    from andon.monitor.watch import alarms
    from andon.surface.running import running
    from andon.surface.stations import rings

    known = Known()
    workspace, charter = project.workspace, project.charter
    route = workspace.routes.current()
    stored = known.ask(lambda: alarms(workspace)) or {}
    ringing = sum(rings(alarm) and alarm.metric in charter.metrics for alarm in stored.values())
    counts = known.ask(lambda: workspace.items.counts("open", "taken"))
    state: State = "good"
    why = "nothing rings"
    if route is not None and route.stopped:
        state, why = "stop", "the line is stopped"
    elif ringing:
        state, why = "stop", f"{ringing} alarm{'s' if ringing > 1 else ''} firing"
    elif known.trouble:
        state, why = "look", "the database is gone"
    elif route is None:
        state, why = "idle", "the line never ran"
    elif (runs := running(project, known, route)).state != "good":
        state, why = runs.state, runs.sentence
    return Head(
        project=charter.project,
        now_us=project.clock.now(),
        wall_us=project.clock.wall(),
        rate=project.clock.rate(),
        state=state,
        why=why,
        stopped=route is not None and bool(route.stopped),
        waiting=None if counts is None else counts.get("open", 0) + counts.get("taken", 0),
    )
