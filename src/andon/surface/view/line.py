"""The Line page, the board's first: is every station good, what needs me, who decides, what is on its way, what happened.

It says all that ``andon status`` says, and what a terminal has no room for. It reads and judges nothing anew, and works
for a project with nothing in it, while the line stands still, and with the database gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from andon.core.record import Route
from andon.monitor.deciders import labels_so_far
from andon.surface.page import Empty, Page
from andon.surface.station import Known, State, count, minute
from andon.surface.status import LineStatus, Need, line_status
from andon.surface.view.journal_words import units_of
from andon.surface.view.line_deciders import Deciders, deciders
from andon.surface.view.line_improve import Improve, improve
from andon.surface.view.line_rollout import RolloutView, rollout
from andon.surface.view.line_wall import Wall, wall
from andon.surface.view.line_words import Happened, Word, happened, href_of, linked

if TYPE_CHECKING:
    from andon.config import Project
    from andon.surface.visit import Visit

__all__ = ["PAGES", "Back", "Card", "LineView", "Notice", "Wanted", "line_view"]

_ROUTES = 400
_EVENTS = 8
_HREFS = {"Scope": "/scope", "Data": "/data", "Model": "/models", "Deploy": "/deploy", "Watch": "/watch"}
_TONES: dict[State, Literal["ok", "warn", "alarm", "plain"]] = {
    "good": "ok",
    "look": "warn",
    "stop": "alarm",
    "idle": "plain",
}


class Card(msgspec.Struct, frozen=True):
    """How a station is shown: where it leads, the colour of its trend, and what to do next in pieces."""

    name: str
    href: str
    tone: Literal["ok", "warn", "alarm", "plain"]
    next: tuple[Word, ...]


class Wanted(msgspec.Struct, frozen=True):
    """How a need is shown: where its button leads (empty: there is no page for it) and what the button says."""

    need: Need
    href: str
    label: str
    next: tuple[Word, ...] = ()


class Notice(msgspec.Struct, frozen=True):
    """Something about the line itself that a person should know: what it is, and what to do."""

    state: State
    text: str
    next: tuple[Word, ...] = ()


class Back(msgspec.Struct, frozen=True):
    """What came back: of ``n`` decisions ``labelled`` have a label by now. None: not known."""

    labelled: int | None
    n: int


class LineView(LineStatus, frozen=True, kw_only=True):
    """The whole page: the line's status, and what only a page has room for."""

    cards: tuple[Card, ...]
    wanted: tuple[Wanted, ...]
    notices: tuple[Notice, ...]
    back: Back
    deciders: Deciders
    rollout: RolloutView
    wall: Wall
    happened: tuple[Happened, ...]
    improve: Improve


def line_view(visit: Visit, params: Empty) -> LineView:
    """Look at everything once. Raises ``Unavailable`` only when the workspace's own files cannot be read."""
    project, known = visit.project, Known()
    status = line_status(project, known)
    routes = project.workspace.routes.history(limit=_ROUTES)
    route = routes[0] if routes else None
    who = deciders(project, known, routes)
    window_us = project.charter.monitor.window_us
    events = known.ask(lambda: project.workspace.journal.latest(_EVENTS)) or []
    units = units_of(visit)
    return LineView(
        **{name: getattr(status, name) for name in LineStatus.__struct_fields__},
        cards=tuple(Card(one.name, _HREFS[one.name], _TONES[one.state], linked(one.next)) for one in status.stations),
        wanted=tuple(_wanted(need) for need in status.needs),
        notices=_notices(project, status, route),
        back=Back(known.ask(lambda: labels_so_far(project.workspace, window_us)), who.n),
        deciders=who,
        rollout=rollout(project, known, routes),
        wall=wall(project, known),
        happened=tuple(happened(event, units) for event in events),
        improve=improve(project, known, route),
    )


def _wanted(need: Need) -> Wanted:
    labels = {
        "alarm": "Open",
        "review": "Review",
        "checklist": "Answer",
        "stopped": "Start the line",
        "automation": "Look",
    }
    href = href_of(need.command)
    return Wanted(need, href, labels.get(need.kind, ""), () if href else linked(f"`{need.command}`"))


def _notices(project: Project, status: LineStatus, route: Route | None) -> tuple[Notice, ...]:
    """What stands still or was lost, the gravest first; a line that never ran has a station that says so."""
    found, runs = [], status.running
    if status.trouble:
        said = (
            f"{status.trouble} What is below comes from the files of the line; figures and cases wait until it is back."
        )
        found.append(Notice("look", said))
    began = route is not None or runs.address is not None
    if runs.state != "good" and began:
        found.append(Notice(runs.state, f"{runs.sentence}.", linked(runs.next)))
    for one in runs.troubles[1:]:  # the sentence above has the first
        found.append(Notice("look", f"Since {minute(one.since_us)}: {one.sentence}."))
    if project.clock.rate() == 0:
        found.append(Notice("idle", "The clock is moved by hand, as in a story: between its steps nothing comes due."))
    if runs.gaps:
        lost = f"{count(runs.lost_rows, 'row')} lost, as far as known"
        said = f"The log was damaged in {count(runs.gaps, 'place')}: {lost}."
        found.append(Notice("look", said, (Word("which", False, "/journal?action=log.gap"),)))
    if runs.log_failures:
        said = f"{count(runs.log_failures, 'frame')} could not be written to the log; is the disk full?"
        found.append(Notice("look", said))
    if runs.shadow_dropped:
        share = runs.shadow_dropped / max(1, runs.shadow_offered)
        said = f"The shadow was too slow for {count(runs.shadow_dropped, 'case')} ({share:.2g} of those offered)."
        found.append(Notice("look", said))
    return tuple(found)


PAGES = (
    Page(
        name="line",
        path="/",
        title="Line",
        section="line",
        view=line_view,
        params=Empty,
        result=LineView,
        template="line.html",
        live=("route", "journal", "items", "windows", "crew"),
    ),
)
