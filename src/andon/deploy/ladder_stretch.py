"""Since when a slice of automation is as it is, from the routes: what was measured before is about something else.

>>> first = Route(1, 10, 0, "ann", "begin", "", live="v1", levels={"*": "full"})
>>> later = Route(2, 20, 0, "bob", "automate", "", live="v1", levels={"*": "assist"})
>>> found = stretch([later, first], "*")
>>> found.level, found.level_us, found.lowered_by
('assist', 20, 'bob')
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from andon.core.record import Level, Route
from andon.deploy.automation import LEVELS

__all__ = ["ACTOR", "Stretch", "broken_us", "level_of", "slices_of", "stretch", "turns", "version_of"]

ACTOR = "controller"
"""The actor of everything that the machine does to a level."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Since when a slice has its ``level`` (``level_us``, the route ``level_epoch``), and since when all is the same that its answers depend on.

    ``epoch`` and ``time_us`` are those of the route with which the latter began. ``lowered_by`` is the person who lowered
    the level, where that was the last change of it by a person.
    What was known before ``since_us`` does not count (0: all since ``epoch``), and neither do answers given before
    ``read_us``, however late their truth comes; all answers together are those from ``all_us`` on.
    """

    level: Level
    level_us: int = 0
    level_epoch: int = 0
    epoch: int = 0
    time_us: int = 0
    lowered_by: str = ""
    since_us: int = 0
    read_us: int = 0
    all_us: int = 0
    windows: int = 0

    def within(self, now: int, window_us: int, delay_us: int = 0) -> Stretch:
        """The same, its evidence begun anew every ``window_us``, ``windows`` times until now.

        What became known in this window and the one before counts (``since_us``): a window is looked at for as long again
        as it took to fill, so that a breach of which little is seen at a time is not thrown away. Truth is there after
        ``delay_us``, so answers count that were given so long before: an answer whose truth comes after the window that
        it was given in counts in a later one.

        >>> found = Stretch("full", time_us=100).within(now=350, window_us=100, delay_us=20)
        >>> found.since_us, found.read_us, found.all_us, found.windows
        (200, 180, 280, 2)
        """
        passed = max(0, now - self.time_us) // window_us
        begun = self.time_us + passed * window_us
        whole = max(self.time_us, begun - delay_us) if passed else 0
        if passed < 2:
            return replace(self, since_us=0, read_us=0, all_us=whole, windows=passed)
        since = begun - window_us
        return replace(self, since_us=since, read_us=max(self.time_us, since - delay_us), all_us=whole, windows=passed)


def stretch(routes: Sequence[Route], slice: str) -> Stretch:
    """The present stretch of a slice; ``routes`` are newest first, at least one."""
    now = routes[0]
    level, answers = level_of(now, slice), _answers(now, slice)
    begun = changed = now
    for route in routes[1:]:
        if level_of(route, slice) != level:
            break
        changed = route
    for route in routes[1:]:
        if _answers(route, slice) != answers:
            break
        begun = route
    return Stretch(level, changed.time_us, changed.epoch, begun.epoch, begun.time_us, _lowered_by(routes, slice))


def level_of(route: Route, slice: str) -> Level:
    """The level of a slice under a route; one that it does not name has that of everything else."""
    return route.levels.get(slice, route.levels.get("*", "human"))


def _answers(route: Route, slice: str) -> tuple[object, ...]:
    """What the automatic answers of a slice depend on."""
    threshold = route.thresholds.get(f"{route.live}/{slice}")
    # What an earlier condition takes away is not this slice's: everything else is what none of them takes.
    names = slices_of(route)
    before = names[: names.index(slice)] if slice in names else names
    taken = tuple(route.slices[name] for name in before if name != "*")
    return level_of(route, slice), route.live, threshold, route.slices.get(slice), taken, route.only


def _lowered_by(routes: Sequence[Route], slice: str) -> str:
    """Who lowered the slice's level, where the last change of it by a person was that; else nobody."""
    for route, before in pairwise(routes):
        was, now = LEVELS.index(level_of(before, slice)), LEVELS.index(level_of(route, slice))
        if was != now and route.actor != ACTOR:
            return route.actor if now < was else ""
    return ""


def broken_us(routes: Sequence[Route], slice: str, version: str | None) -> int:
    """When the machine last lowered the slice under this version (event time); 0: never.

    What was known until then promises nothing of after it.
    """
    for route, before in pairwise(routes):
        down = LEVELS.index(level_of(route, slice)) < LEVELS.index(level_of(before, slice))
        if down and route.actor == ACTOR and version in (before.live, before.candidate):
            return route.time_us
    return 0


def turns(routes: Sequence[Route], slice: str, window_us: int) -> int:
    """How often the live version was measured at level partial in a slice before the present stretch.

    Each stretch counts once, and once more for every ``window_us`` of it, with which evidence begins anew.
    """
    found, end = 0, None
    for route, before in zip(routes, [*routes[1:], None], strict=True):
        if before is not None and _answers(before, slice) == _answers(route, slice):
            continue
        if end is not None and level_of(route, slice) == "partial" and route.live == routes[0].live:
            found += 1 + (end - route.time_us) // window_us
        end = route.time_us
    return found


def slices_of(route: Route) -> list[str]:
    """The slices that have a level, in the order in which they are tried; everything else comes last."""
    return [*(name for name in route.slices if name in route.levels), "*"]


def version_of(route: Route) -> str | None:
    """The version whose answers count: the live one, else the only one in the shadow."""
    if route.live is not None:
        return route.live
    return route.shadows[0] if len(route.shadows) == 1 else None
