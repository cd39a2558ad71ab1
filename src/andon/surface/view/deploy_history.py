"""The history of the line: every route with what it changed, how long it was in force, and shares and levels over time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec

from andon.core.record import Level, Route
from andon.surface.page import Page
from andon.surface.station import State
from andon.surface.view.deploy_change import tone_of
from andon.surface.view.deploy_now import MOST_ROUTES, Step, steps

if TYPE_CHECKING:
    from andon.surface.visit import Visit

__all__ = ["PAGE", "At", "HistoryView", "Lasted", "Marked", "Params", "Stretch", "Strip", "history_view"]

_PER_PAGE = 50
_MOST_MARKS = 14
_LOUD = ("stop", "rollback")


class Params(msgspec.Struct, frozen=True):
    """Which fifty routes, the newest first."""

    page: Annotated[int, msgspec.Meta(ge=1, le=100_000, description="Fifty routes a page.")] = 1


class Lasted(msgspec.Struct, frozen=True):
    """One route and how long it was in force, in event time; ``current``: it still is.

    ``state`` is how grave its step was: a stop, a rollback or something done by an alarm stands out.
    """

    step: Step
    lasted_us: int
    current: bool
    state: State


class At(msgspec.Struct, frozen=True):
    """Who was asked from one moment on, as shares of the units that sum to 1."""

    time_us: int
    people: float
    live: float
    candidate: float
    safe_default: float


class Marked(msgspec.Struct, frozen=True):
    """A moment worth a mark in the chart."""

    time_us: int
    text: str
    tone: str


class Stretch(msgspec.Struct, frozen=True):
    """A slice had one level in [``since_us``, ``until_us``)."""

    level: Level
    since_us: int
    until_us: int


class Strip(msgspec.Struct, frozen=True):
    """The levels of one slice over time."""

    slice: str
    stretches: tuple[Stretch, ...]


class HistoryView(msgspec.Struct, frozen=True):
    """One page of routes, and the shares and levels of all of them (at most ``most``; ``cut``: there are older ones)."""

    rows: tuple[Lasted, ...]
    total: int
    page: int
    pages: int
    since_us: int
    until_us: int
    shares: tuple[At, ...]
    marks: tuple[Marked, ...]
    strips: tuple[Strip, ...]
    most: int = MOST_ROUTES
    cut: bool = False


def history_view(visit: Visit, params: Params) -> HistoryView:
    """Every route there is; only files are read. Raises ``Unavailable`` when they cannot be."""
    plane, now = visit.project.workspace.routes, visit.now_us
    routes = plane.history(MOST_ROUTES)
    pages = max(1, -(-len(routes) // _PER_PAGE))
    page = min(params.page, pages)
    first = (page - 1) * _PER_PAGE
    ends = [max(now, routes[0].time_us) if routes else now, *(route.time_us for route in routes)]
    told = steps(routes[first : first + _PER_PAGE + 1])[:_PER_PAGE]
    rows = tuple(_lasted(step, ends[first + at], first + at == 0) for at, step in enumerate(told))
    oldest = routes[::-1]
    return HistoryView(
        rows=rows,
        total=len(routes),
        page=page,
        pages=pages,
        since_us=oldest[0].time_us if oldest else now,
        until_us=ends[0],
        shares=_shares(oldest, ends[0]),
        marks=_marks(oldest),
        strips=_strips(oldest, ends[0]),
        cut=len(routes) == MOST_ROUTES and oldest[0].epoch > 1,
    )


def _lasted(step: Step, end_us: int, current: bool) -> Lasted:
    grave = step.action in _LOUD or step.actor == "controller"
    state: State = "stop" if step.action == "stop" else "look" if grave else "good"
    return Lasted(step, max(0, end_us - step.time_us), current, state)


def _shares(oldest: Sequence[Route], until_us: int) -> tuple[At, ...]:
    """Two points for each change, where it begins and where it ends, so that a step is drawn as a step."""
    found: list[At] = []
    last: tuple[float, float, float, float] | None = None
    for route, end in _ended(oldest, until_us):
        share = _deciding(route)
        # Event time may stand still or be set back; a chart's time does not.
        start = max(route.time_us, found[-1].time_us) if found else route.time_us
        if share == last:
            found.pop()
        else:
            found.append(At(start, *share))
        found.append(At(max(end, start), *share))
        last = share
    return tuple(found)


def _ended(oldest: Sequence[Route], until_us: int) -> Iterator[tuple[Route, int]]:
    """Each route with the time at which it ended."""
    for at, route in enumerate(oldest):
        yield route, oldest[at + 1].time_us if at + 1 < len(oldest) else until_us


def _deciding(route: Route) -> tuple[float, float, float, float]:
    """(people, live version, candidate, safe default): who may decide, as shares of the units."""
    tone = tone_of(route)
    if tone == "idle":
        return 0.0, 0.0, 0.0, 1.0
    if tone == "people":
        return 1.0, 0.0, 0.0, 0.0
    rest = 1.0 - route.share
    return (rest, 0.0, route.share, 0.0) if route.live is None else (0.0, rest, route.share, 0.0)


def _marks(oldest: Sequence[Route]) -> tuple[Marked, ...]:
    """The moments that matter most; the newest of them where there are too many."""
    told: dict[str, Callable[[Route], str]] = {
        "stop": lambda route: "stopped",
        "rollback": lambda route: f"back to {route.live or 'people'}",
        "switch": lambda route: f"{route.live} live",
        "canary": lambda route: f"canary {route.candidate}",
        "automate": lambda route: f"level {route.levels.get('*', 'human')}",
    }
    befores = [None, *oldest[:-1]][: len(oldest)]
    found = [
        (route, told[route.action](route))
        for route, before in zip(oldest, befores, strict=True)
        if route.action in told
        and not (before is not None and before.levels == route.levels and route.action == "automate")
    ]
    if len(found) > _MOST_MARKS:
        found = [one for one in found if one[0].action in (*_LOUD, "switch")]
    return tuple(Marked(route.time_us, text, _tone(route)) for route, text in found[-_MOST_MARKS:])


def _tone(route: Route) -> str:
    if route.action == "stop" or route.actor == "controller":
        return "alarm"
    return "warn" if route.action == "rollback" else "plain"


def _strips(oldest: Sequence[Route], until_us: int) -> tuple[Strip, ...]:
    """The levels of every slice that ever had one, everything else last."""
    names = dict.fromkeys(name for route in oldest for name in route.levels if name != "*")
    return tuple(Strip(name, tuple(_stretches(oldest, name, until_us))) for name in (*names, "*")) if oldest else ()


def _stretches(oldest: Sequence[Route], name: str, until_us: int) -> list[Stretch]:
    found: list[Stretch] = []
    for route, end in _ended(oldest, until_us):
        level = route.levels.get(name, route.levels.get("*", "human"))
        if found and found[-1].level == level:
            found[-1] = msgspec.structs.replace(found[-1], until_us=max(end, found[-1].since_us))
        else:
            found.append(Stretch(level, route.time_us, max(end, route.time_us)))
    return found


PAGE = Page(
    name="deploy.history",
    path="/deploy/history",
    title="History",
    section="deploy",
    view=history_view,
    params=Params,
    result=HistoryView,
    template="deploy_history.html",
    live=("route",),
)
