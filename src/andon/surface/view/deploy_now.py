"""The Deploy page: who answers now, what else is loaded, and what could be done next.

The route and the workers are files, so all of that is there with the database gone, and while no gateway runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from andon.deploy.chronicle import sentence
from andon.deploy.prospect import Prospects
from andon.surface.page import Empty, Page
from andon.surface.running import Running, running
from andon.surface.station import Known, State
from andon.surface.view.deploy_change import changes, who_answers
from andon.surface.view.deploy_pace import Decided, decided
from andon.surface.view.deploy_release import Possible, ReleaseRow, possible, releases_now
from andon.surface.view.deploy_rollout import RolloutNow, rollout_now
from andon.surface.view.deploy_route import LevelNow, Loaded, RouteNow, levels_now, route_now, versions_now

if TYPE_CHECKING:
    from andon.core.record import Route
    from andon.surface.visit import Visit

__all__ = ["MOST_ROUTES", "PAGE", "DeployView", "Step", "deploy_view", "steps"]

MOST_ROUTES = 1000
"""How many routes are looked back at."""
_RECENT = 5


class Step(msgspec.Struct, frozen=True):
    """One change of the line: what it says, what changed, who, when and why."""

    epoch: int
    time_us: int
    action: str
    actor: str
    reason: str
    sentence: str
    changes: tuple[str, ...]


class DeployView(msgspec.Struct, frozen=True):
    """The whole page. ``route`` is None before the first one; ``first`` then says how the line will begin.

    ``start_share`` is the charter's first share of a canary; ``slices`` are all slices of the charter, whose level may be
    set. ``older`` counts releases that are not listed; ``trouble`` says what could not be read.
    """

    project: str
    state: State
    sentence: str
    now_us: int
    route: RouteNow | None
    rollout: RolloutNow | None
    first: str
    levels: tuple[LevelNow, ...]
    slices: tuple[str, ...]
    decided: Decided | None
    running: Running
    versions: tuple[Loaded, ...]
    actions: tuple[Possible, ...]
    releases: tuple[ReleaseRow, ...]
    older: int
    recent: tuple[Step, ...]
    start_share: float
    safe_default: str | None
    trouble: str = ""


def deploy_view(visit: Visit, params: Empty) -> DeployView:
    """Look once. Raises ``Unavailable`` only when the route plane itself cannot be read."""
    project, known = visit.project, Known()
    workspace, charter = project.workspace, project.charter
    prospects = Prospects(workspace, charter, actor=visit.viewer.name)
    routes = workspace.routes.history(MOST_ROUTES) if prospects.begun else []
    if routes:
        prospects.now = routes[0]  # one route for the whole page, also where another came meanwhile
    runs = running(project, known, prospects.now if prospects.begun else None)
    shadowed = {version for route in routes for version in route.shadows}
    rows, older = releases_now(workspace, prospects, shadowed, known)
    state, said = _judged(prospects, runs)
    return DeployView(
        project=charter.project,
        state=state,
        sentence=said,
        now_us=visit.now_us,
        route=route_now(routes) if routes else None,
        rollout=rollout_now(project, known),
        first="" if routes else sentence(prospects.now),
        levels=levels_now(prospects.now, project),
        slices=tuple(charter.slices),
        decided=decided(visit, known),
        running=runs,
        versions=versions_now(prospects.now, runs.workers),
        actions=possible(prospects),
        releases=rows,
        older=older,
        recent=steps(routes[: _RECENT + 1])[:_RECENT],
        start_share=charter.rollout.start_share,
        safe_default=charter.safe_default,
        trouble=known.trouble or _unreadable(workspace.routes.faults),
    )


def steps(routes: list[Route]) -> tuple[Step, ...]:
    """Routes, newest first, each with what it changed against the one after it in the list."""
    befores = [*routes[1:], None][: len(routes)]
    return tuple(
        Step(
            route.epoch,
            route.time_us,
            route.action,
            route.actor,
            route.reason,
            sentence(route),
            changes(before, route),
        )
        for route, before in zip(routes, befores, strict=True)
    )


def _judged(prospects: Prospects, runs: Running) -> tuple[State, str]:
    """The lamp of the page and its sentence."""
    route = prospects.now
    if not prospects.begun:
        return "idle", "nothing was deployed yet"
    said = who_answers(route)
    if route.stopped:
        return "stop", said
    if faults := [fault for one in runs.workers for fault in one.faults]:
        return "stop", f"{said}; a worker says: {faults[0]}"
    return runs.state, said if runs.state == "good" else f"{said}; {runs.sentence}"


def _unreadable(faults: dict[str, str]) -> str:
    return next(iter(faults.values()), "")


PAGE = Page(
    name="deploy",
    path="/deploy",
    title="Deploy",
    section="deploy",
    view=deploy_view,
    params=Empty,
    result=DeployView,
    template="deploy.html",
    live=("route", "crew", "windows"),
)
