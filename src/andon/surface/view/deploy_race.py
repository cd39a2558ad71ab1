"""One automatic rollout, the running or a past one: its share and states, the race of its evidence, and every transition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from andon.core.registry import did_you_mean
from andon.errors import NotFound
from andon.monitor.explain import Explained
from andon.monitor.race import Drawn
from andon.surface.page import Page
from andon.surface.running import running
from andon.surface.station import Known, State
from andon.surface.view.deploy_rollout_words import Outlook, lamp_of, outlook, word_of

if TYPE_CHECKING:
    from andon.deploy.rollout_store import Kept
    from andon.surface.visit import Visit

__all__ = ["PAGE", "Chosen", "Params", "RaceView", "race_view"]

_LISTED = 20


class Params(msgspec.Struct, frozen=True):
    """Which rollout (the newest if left out), and whether its evidence is drawn over time or over units."""

    name: Annotated[str, msgspec.Meta(max_length=80, description="Such as v2#3; the newest if left out.")] = ""
    by: Literal["time", "units"] = "time"


class Chosen(msgspec.Struct, frozen=True):
    """A rollout to choose: where it is (``word``), since when it ran, and whether it is the one that is shown."""

    name: str
    word: str
    lamp: State
    began_us: int
    ended: bool
    shown: bool


class RaceView(msgspec.Struct, frozen=True):
    """The whole page. ``found`` and ``course`` are None where there is no rollout, or it cannot be read now (``trouble``).

    ``found`` is what ``andon deploy explain`` says, ``course`` the same over time. The charts run over [``since_us``,
    ``until_us``], which reaches to the ``outlook``'s time where that is near. ``controller`` says whether somebody leads who
    moves it: "leads", "none" or "unknown". ``rollouts`` are the newest first, ``older`` more there are.
    """

    now_us: int
    by: Literal["time", "units"]
    rollouts: tuple[Chosen, ...]
    older: int
    found: Explained | None
    course: Drawn | None
    lamp: State
    word: str
    since_us: int
    until_us: int
    may_freeze: bool
    may_resume: bool
    trouble: str = ""
    outlook: Outlook = Outlook()
    controller: str = "unknown"


def race_view(visit: Visit, params: Params) -> RaceView:
    """Look once. Raises ``NotFound`` for a rollout that there never was."""
    from andon.deploy.rollout_store import kept
    from andon.monitor.course import course_of
    from andon.monitor.explain import explain

    project, known = visit.project, Known()
    all_of = known.ask(lambda: kept(project.workspace)) or {}
    one = None if known.trouble else _chosen(all_of, params.name)
    found = None if one is None else known.ask(lambda: explain(project.workspace, project.charter, one))
    why = known.why
    course = None if one is None else known.ask(lambda: course_of(project.workspace, one.rollout))
    why, route = why or known.why, project.workspace.routes.current()
    name = "" if one is None else one.rollout.name
    newest = list(all_of.values())[::-1]
    going = one is not None and not one.rollout.ended
    comes = Outlook() if one is None else outlook(one.rollout, found, route, visit.now_us)
    since, until = _span(comes.eta_us, course)
    return RaceView(
        now_us=visit.now_us,
        by=params.by,
        rollouts=tuple(_listed(kept_, kept_.rollout.name == name) for kept_ in newest[:_LISTED]),
        older=max(0, len(newest) - _LISTED),
        found=found,
        course=course,
        lamp="idle" if one is None else lamp_of(one.rollout.state),
        word="" if one is None else word_of(one.rollout.state, one.rollout.reason),
        since_us=since,
        until_us=until,
        may_freeze=going and one is not None and one.rollout.state not in ("frozen", "rolling_back"),
        may_resume=comes.may_resume,
        trouble=known.trouble or why,
        outlook=comes,
        controller=running(project, known, route).controller,
    )


def _chosen(all_of: dict[str, Kept], name: str) -> Kept | None:
    """The rollout of a name, or the newest."""
    if not name:
        return next(reversed(all_of.values()), None)
    if name not in all_of:
        raise NotFound(f"there was no automatic rollout {name!r}; {did_you_mean(name, all_of)}")
    return all_of[name]


def _listed(one: Kept, shown: bool) -> Chosen:
    now = one.rollout
    return Chosen(now.name, word_of(now.state, now.reason), lamp_of(now.state), now.began_us, now.ended, shown)


def _span(eta: int | None, course: Drawn | None) -> tuple[int, int]:
    """The time that is drawn: as far as is known, and on to where safe may be proven if that is not far."""
    if course is None:
        return 0, 0
    since, until = course.since_us, course.until_us
    if eta is not None and until < eta <= until + (until - since):
        until = eta
    return since, until


PAGE = Page(
    name="deploy.rollout",
    path="/deploy/rollout",
    title="Rollout",
    section="deploy",
    view=race_view,
    params=Params,
    result=RaceView,
    template="deploy_rollout.html",
    live=("route", "journal", "windows"),
)
