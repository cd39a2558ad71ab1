"""The Automation page: each slice's degree of automation, where evidence would put it, and what is missing for that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from andon.core.clock import MINUTE
from andon.core.record import Level
from andon.deploy.automation import LEVELS
from andon.deploy.chronicle import levels_of
from andon.deploy.ladder_stretch import version_of
from andon.surface.page import Empty, Page
from andon.surface.running import running
from andon.surface.station import Known, State, count
from andon.surface.view.deploy_dial import Dial, dial
from andon.surface.view.deploy_dial_words import error_is

if TYPE_CHECKING:
    from andon.config import Project
    from andon.core.record import Route
    from andon.deploy.ladder import Rung
    from andon.deploy.ladder_evidence import Rungs
    from andon.deploy.learning import Evidence
    from andon.deploy.prospect import Prospects
    from andon.surface.visit import Visit

__all__ = ["MOST_ROWS", "PAGES", "AutomationView", "automation_view"]

#: Curves are drawn of so many of the newest decisions.
MOST_ROWS = 100_000
#: A look of the controller that is older than this is not shown: it has stopped.
_YOUNG = 10 * MINUTE
_WORST: tuple[State, ...] = ("stop", "look", "good", "idle")


class AutomationView(msgspec.Struct, frozen=True):
    """The whole page: one dial for each slice that the route or the charter gives a level, in the order they are tried.

    ``max_error`` is promised with ``confidence``; ``audit_share`` of the automatic answers are looked at by a person.
    ``promote`` and ``highest`` say what the machine may raise by itself, ``path`` the levels there are. ``free`` are the
    slices of the charter that have no level of their own. An error is an answer that ``error_is``: where people are the
    ``truth``, one that differs from theirs. ``begun`` is False before the first route. ``stop`` says who answers while the
    line is stopped ("people" or "safe_default"), and ``controller`` whether somebody is there who lowers and raises levels:
    "leads", "none" or "unknown".
    """

    project: str
    state: State
    sentence: str
    now_us: int
    as_of_us: int
    begun: bool
    stopped: bool
    dials: tuple[Dial, ...]
    free: tuple[str, ...]
    max_error: float
    confidence: float
    audit_share: float
    only: tuple[str, ...] | None
    path: tuple[Level, ...]
    promote: Literal["suggest", "automatic"]
    highest: Level
    since_us: int | None = None
    trouble: str = ""
    truth: Literal["external", "human"] = "external"
    error_is: str = "is wrong"
    stop: Literal["", "people", "safe_default"] = ""
    controller: str = "unknown"


def automation_view(visit: Visit, params: Empty) -> AutomationView:
    """Look once; nothing is learnt and nothing changes. Raises ``Unavailable`` only when the route cannot be read."""
    from andon.deploy.prospect import Prospects
    from andon.store.browse import kth_newest

    project, known = visit.project, Known()
    workspace, charter = project.workspace, project.charter
    prospects = Prospects(workspace, charter, actor=visit.viewer.name)
    route = prospects.now
    looked = known.ask(lambda: _looked(project, prospects))
    found = _bare(project, route) if looked is None else looked.rungs
    since = known.ask(lambda: kth_newest(workspace, MOST_ROWS, project.clock.now() + 1))
    read = _evidence(project, found, since or 0)
    dials = tuple(dial(one, charter, route, read.get(one.version or ""), known) for one in found)
    automation, partial = charter.automation, charter.automation.partial
    return AutomationView(
        project=charter.project,
        state=next((state for state in _WORST if any(one.state == state for one in dials)), "idle"),
        sentence="what is known of it cannot be read now"
        if looked is None
        else _sentence(found, route, prospects.begun),
        now_us=visit.now_us,
        as_of_us=visit.now_us if looked is None else looked.as_of_us,
        begun=prospects.begun,
        stopped=bool(route.stopped),
        dials=dials,
        free=tuple(name for name in charter.slices if name not in route.levels),
        max_error=partial.max_error,
        confidence=partial.confidence,
        audit_share=partial.audit_share,
        only=None if partial.only is None else tuple(partial.only),
        path=automation.path,
        promote=automation.promote,
        highest=automation.highest,
        since_us=since,
        trouble=known.trouble,
        truth=charter.target.truth,
        error_is=error_is(charter),
        stop=route.stopped,
        controller=running(project, known, route).controller if prospects.begun else "none",
    )


def _evidence(project: Project, found: tuple[Rung, ...], since_us: int) -> dict[str, Evidence]:
    """The labelled cases of each version, read when they are asked for."""
    from andon.deploy.learning import Evidence

    versions = {one.version for one in found if one.version is not None}
    return {one: Evidence(project.workspace, project.charter, one, since_us=since_us) for one in versions}


def _looked(project: Project, prospects: Prospects) -> Rungs:
    """What the controller found with its last look, where that is of this route and young; else a look of our own."""
    from andon.deploy.ladder_evidence import Rungs, kept, rungs

    if not prospects.begun:
        return Rungs(_bare(project, prospects.now), 0, project.clock.now())
    last = kept(project.workspace)
    if last is not None and last.epoch == prospects.now.epoch and project.clock.now() - last.as_of_us < _YOUNG:
        return last
    return rungs(project.workspace, project.charter)


def _bare(project: Project, route: Route) -> tuple[Rung, ...]:
    """The rungs by the route alone: of a line that has not begun, or with the database gone."""
    from andon.deploy.ladder import Facts, decide, rules_of

    rules, version = rules_of(project.charter), version_of(route)
    return tuple(
        decide(
            rules,
            Facts(
                name,
                level,
                version,
                threshold=route.thresholds.get(f"{version}/{name}") if level == "partial" else None,
            ),
        )
        for name, level in levels_of(route)
    )


def _sentence(found: tuple[Rung, ...], route: Route, begun: bool) -> str:
    """What the page is about, in a few words."""
    down = [one for one in found if one.kind == "demote"]
    up = [one for one in found if one.kind == "promote"]
    if down:
        return f"{count(len(down), 'slice')} must go down"
    if route.stopped:
        return "the line is stopped"
    if up:
        return f"{count(len(up), 'slice')} could go up"
    if not begun:
        return "nothing was deployed yet"
    bare = [one for one in found if one.level == "partial" and one.threshold is None and route.live is not None]
    if bare:
        return f"{count(len(bare), 'slice')} at partial without a confidence from which the model may decide"
    crowded = [one for one in found if one.why == "capacity"]
    if crowded:
        return f"{count(len(crowded), 'slice')} could go up if people could decide the rest"
    highest = max((LEVELS.index(one.level) for one in found), default=0)
    if route.live is None and not route.share and LEVELS[highest] not in ("human", "shadow"):
        return "no version is live, so people decide everything"
    return f"nothing is to change; {LEVELS[highest]} is the highest level now"


PAGES = (
    Page(
        name="automation",
        path="/automation",
        title="Automation",
        section="deploy",
        view=automation_view,
        params=Empty,
        result=AutomationView,
        template="automation.html",
        live=("route",),
    ),
)
