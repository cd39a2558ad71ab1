"""Who decides, over all the time that there is: shares of people and of each version, with what changed it.

The counts are windows (`andon.monitor.deciders`), the marks are the routes. Nothing is estimated here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import msgspec

from andon.core.record import Route
from andon.deploy.automation import LEVELS
from andon.monitor.deciders import Decider, Share, over_time
from andon.surface.station import Known

if TYPE_CHECKING:
    from andon.config import Project

__all__ = ["Deciders", "Layer", "RouteMark", "deciders", "marks"]

_MOST_VERSIONS = 3
_DEFAULT = Decider("safe_default")


class Layer(msgspec.Struct, frozen=True):
    """One decider: how many decisions in all, and its share of those in each stretch of time (None: there were none)."""

    name: str
    tone: Literal["people", "machine", "candidate", "idle"]
    n: int
    values: tuple[float | None, ...]


class RouteMark(msgspec.Struct, frozen=True):
    """What a route changed, in a word or two; ``tone`` is alarm where it fell back or stopped."""

    time_us: int
    text: str
    tone: Literal["plain", "alarm"] = "plain"


class Deciders(msgspec.Struct, frozen=True):
    """``times`` are the starts of stretches of ``length_us``; ``waiting`` of the people's decisions are not answered yet.

    ``trouble`` says why nothing is known.
    """

    layers: tuple[Layer, ...] = ()
    times: tuple[int, ...] = ()
    length_us: int = 0
    marks: tuple[RouteMark, ...] = ()
    n: int = 0
    waiting: int = 0
    trouble: str = ""


def deciders(project: Project, known: Known, routes: Sequence[Route]) -> Deciders:
    """All of it; ``routes`` are the newest, newest first."""
    window_us = project.charter.monitor.window_us
    found = known.ask(lambda: over_time(project.workspace, window_us))
    if found is None:
        return Deciders(trouble=known.why)
    if not found:
        return Deciders()
    length = found[0].length_us
    times = tuple(range(found[0].start_us, found[-1].start_us + length, length))
    by_time = {share.start_us: share for share in found}
    live = {routes[0].live} if routes else set()
    parts = [(name, tone, who) for name, tone, who in _grouped(found, live)]
    return Deciders(
        layers=tuple(_layer(name, tone, who, [by_time.get(time) for time in times]) for name, tone, who in parts),
        times=times,
        length_us=length,
        marks=tuple(mark for mark in marks(routes) if times[0] <= mark.time_us <= times[-1] + length),
        n=sum(share.total for share in found),
        waiting=sum(share.waiting for share in found),
    )


_Group = tuple[str, Literal["people", "machine", "candidate", "idle"], frozenset[Decider]]


def _grouped(found: Sequence[Share], live: set[str | None]) -> Iterator[_Group]:
    """The layers from the top: people, the safe default, versions (the older ones together), candidates."""
    seen: dict[Decider, None] = {}
    for share in found:
        seen.update(dict.fromkeys(share.counts))
    yield "people", "people", frozenset({Decider("people")})
    if _DEFAULT in seen:
        yield "safe default", "idle", frozenset({_DEFAULT})
    versions = [one for one in seen if one.kind == "model" and one.arm == "live"]
    older, shown = versions[:-_MOST_VERSIONS], versions[-_MOST_VERSIONS:]
    if older:
        yield f"{len(older)} earlier versions" if len(older) > 1 else older[0].version, "machine", frozenset(older)
    for one in shown:
        yield f"{one.version or 'a model'}{' (live)' if one.version in live else ''}", "machine", frozenset({one})
    candidates = [one for one in seen if one.kind == "model" and one.arm == "candidate"]
    older, shown = candidates[:-_MOST_VERSIONS], candidates[-_MOST_VERSIONS:]
    if older:
        yield "earlier canaries", "candidate", frozenset(older)
    for one in shown:
        yield f"{one.version or 'a model'} (canary)", "candidate", frozenset({one})


def _layer(
    name: str,
    tone: Literal["people", "machine", "candidate", "idle"],
    who: frozenset[Decider],
    stretches: Sequence[Share | None],
) -> Layer:
    counts = [None if share is None else sum(share.counts.get(one, 0) for one in who) for share in stretches]
    shares = (
        None if share is None or n is None or not share.total else n / share.total
        for n, share in zip(counts, stretches, strict=True)
    )
    return Layer(name, tone, sum(n or 0 for n in counts), tuple(shares))


def marks(routes: Sequence[Route]) -> list[RouteMark]:
    """What the routes (newest first) changed, oldest first; what changed nothing that one could see is left out."""
    found = []
    for before, route in pairwise((None, *reversed(routes))):
        if route is not None and (mark := _mark(before, route)) is not None:
            found.append(mark)
    return found


def _mark(before: Route | None, route: Route) -> RouteMark | None:
    share = f"{route.share * 100:.3g} %"
    told = {
        "begin": route.levels.get("*", "human"),
        "shadow": f"shadow {route.shadows[-1]}" if route.shadows else "",
        "canary": f"canary {route.candidate} {share}",
        "ramp": share,
        "blue-green": f"{route.candidate} ready",
        "switch": f"{route.live} live",
        "start": "goes on",
        "hold": "held",
        "freeze": "frozen",
    }
    if route.action == "stop":
        return RouteMark(route.time_us, "stopped", "alarm")
    if route.action == "rollback":
        return RouteMark(route.time_us, f"back to {route.live or 'people'}", "alarm")
    if route.action == "automate":
        return _leveled(before, route)
    text = told.get(route.action, "")
    return RouteMark(route.time_us, text) if text else None


def _leveled(before: Route | None, route: Route) -> RouteMark | None:
    """A change of levels: the slice's where only that changed; red where less is decided by a model than before."""
    old = before.levels if before is not None else {}
    changed = [name for name in {**old, **route.levels} if _rank(old, name) != _rank(route.levels, name)]
    if not changed:
        return None
    name = "*" if "*" in changed else changed[0]
    text = route.levels.get(name, "human") + ("" if name == "*" else f" in {name}")
    if _rank(route.levels, name) < _rank(old, name):
        return RouteMark(route.time_us, "fell back" if route.actor == "controller" else f"back to {text}", "alarm")
    return RouteMark(route.time_us, text)


def _rank(levels: dict[str, Literal["human", "shadow", "assist", "partial", "full"]], name: str) -> int:
    return LEVELS.index(levels.get(name, levels.get("*", "human")))
