"""The route in force as a product owner reads it: who is asked and who decides, since when, and how far by itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from andon.core.record import Level, Route
from andon.deploy.automation import LEVELS
from andon.deploy.chronicle import levels_of
from andon.surface.view.deploy_change import tone_of, who_answers
from andon.surface.view.deploy_pace import Tone

if TYPE_CHECKING:
    from andon.config import Project
    from andon.surface.running import Working

__all__ = ["Answering", "LevelNow", "Loaded", "RouteNow", "Since", "Sure", "levels_now", "route_now", "versions_now"]

_DOES: dict[Level, str] = {
    "human": "no model is asked",
    "shadow": "asked unseen, people decide",
    "assist": "suggests, people decide",
    "partial": "decides where it is sure, people the rest",
    "full": "decides alone",
}


class Since(msgspec.Struct, frozen=True):
    """Who made it so, when and why, with the epoch of that route."""

    time_us: int
    actor: str
    reason: str
    epoch: int
    action: str


class Answering(msgspec.Struct, frozen=True):
    """One who answers: ``role`` is live, candidate, people or safe default; ``share`` is of the units, of 1.

    ``does`` says what becomes of the answer; ``since`` is None where it was always so.
    """

    name: str
    role: str
    tone: Tone
    share: float
    does: str
    since: Since | None = None


class Sure(msgspec.Struct, frozen=True):
    """From which confidence on (in [0, 1]) a version decides by itself; None: never."""

    version: str
    confidence: float | None


class LevelNow(msgspec.Struct, frozen=True):
    """The level of one slice ("*": everything that no slice matches), on a ladder of five: ``rung`` counts from 0.

    ``predicate`` is what the slice means; ``sure`` the thresholds where the level is partial.
    """

    slice: str
    predicate: str | None
    level: Level
    rung: int
    sentence: str
    sure: tuple[Sure, ...] = ()


class RouteNow(msgspec.Struct, frozen=True):
    """The route in force. ``says`` is its state, ``sentence`` what its last change was, ``since`` who made that.

    ``answering`` sums to 1. ``watching`` are versions that are asked and decide nothing. ``stop`` and ``hold`` say who
    stopped the line and who holds the share, where somebody does.
    """

    epoch: int
    says: str
    sentence: str
    since: Since
    tone: Tone
    live: str | None
    candidate: str | None
    share: float
    answering: tuple[Answering, ...]
    watching: tuple[Answering, ...]
    stop: Since | None = None
    hold: Since | None = None
    safe_default: str | None = None


class Loaded(msgspec.Struct, frozen=True):
    """A version that the route names: its role, and which living workers have it loaded (``missing``: which have not).

    ``wanted`` False: workers need not load it, since a shadow predicts in a process of its own. ``bundle`` is its hash.
    """

    version: str
    role: str
    tone: Tone
    bundle: str
    wanted: bool
    loaded: tuple[str, ...]
    missing: tuple[str, ...]


def route_now(routes: Sequence[Route]) -> RouteNow:
    """The newest of the routes, which come newest first."""
    from andon.deploy.chronicle import sentence

    route = routes[0]
    return RouteNow(
        epoch=route.epoch,
        says=who_answers(route),
        sentence=sentence(route),
        since=_since(route),
        tone=tone_of(route),
        live=route.live,
        candidate=route.candidate,
        share=route.share,
        answering=_answering(routes),
        watching=_watching(routes),
        stop=_began(routes, lambda one: one.stopped) if route.stopped else None,
        hold=_began(routes, lambda one: one.held) if route.held else None,
        safe_default=route.safe_default,
    )


def _since(route: Route) -> Since:
    return Since(route.time_us, route.actor, route.reason, route.epoch, route.action)


def _began(routes: Sequence[Route], same: Callable[[Route], object]) -> Since:
    """The route with which something began that has been so since."""
    first = routes[0]
    for route in routes:
        if same(route) != same(routes[0]):
            break
        first = route
    return _since(first)


def _answering(routes: Sequence[Route]) -> tuple[Answering, ...]:
    route = routes[0]
    if route.stopped:
        since = _began(routes, lambda one: one.stopped)
        if route.stopped == "safe_default":
            return (Answering(f"“{route.safe_default}”", "safe default", "idle", 1.0, "is every answer", since),)
        return (Answering("people", "people", "people", 1.0, "decide everything", since),)
    parts = []
    if route.share < 1.0:
        if route.live is None:
            parts.append(Answering("people", "people", "people", 1.0 - route.share, "decide"))
        else:
            since = _began(routes, lambda one: one.live)
            parts.append(Answering(route.live, "live", "machine", 1.0 - route.share, _does(route), since))
    if route.candidate is not None and route.share > 0:
        since = _began(routes, lambda one: (one.candidate, one.share))
        parts.append(Answering(route.candidate, "candidate", "candidate", route.share, _does(route), since))
    return tuple(parts)


def _watching(routes: Sequence[Route]) -> tuple[Answering, ...]:
    """Those who are asked or stand ready, and decide nothing."""
    route = routes[0]
    found = []
    if route.candidate is not None and not route.share:
        since = _began(routes, lambda one: one.candidate)
        found.append(Answering(route.candidate, "standing by", "candidate", 0.0, "loaded, answers nothing yet", since))
    for version in route.shadows:
        since = _began(routes, lambda one, version=version: version in one.shadows)  # type: ignore[misc]
        found.append(Answering(version, "shadow", "idle", 0.0, "predicts every case, unseen", since))
    return tuple(found)


def _does(route: Route) -> str:
    """What becomes of a version's answers, where everything has one level; else by slice."""
    levels = levels_of(route)
    said = _DOES[levels[-1][1]]
    others = [f"{level} in {name}" for name, level in levels[:-1] if level != levels[-1][1]]
    return f"{said}; {', '.join(others)}" if others else said


def levels_now(route: Route, project: Project) -> tuple[LevelNow, ...]:
    """Every slice's level, in the order in which they are tried."""
    from andon.surface.status import deciding

    versions = [one for one in (route.live, route.candidate if route.share else None) if one is not None]

    def sure(name: str, level: Level) -> tuple[Sure, ...]:
        if level != "partial":
            return ()
        return tuple(Sure(version, route.thresholds.get(f"{version}/{name}")) for version in versions)

    return tuple(
        LevelNow(
            one.slice,
            None if one.slice == "*" else route.slices.get(one.slice),
            one.level,
            LEVELS.index(one.level),
            one.sentence,
            sure(one.slice, one.level),
        )
        for one in deciding(route, project).levels
    )


def versions_now(route: Route, workers: Sequence[Working]) -> tuple[Loaded, ...]:
    """Every version that the route names, those that answer first."""
    roles: dict[str, tuple[str, Tone]] = {}
    if route.live is not None:
        roles[route.live] = ("live", "machine")
    if route.candidate is not None:
        roles[route.candidate] = ("candidate", "candidate")
    for version in route.shadows:
        roles.setdefault(version, ("shadow", "idle"))
    for version in route.warm:
        roles.setdefault(version, ("kept loaded", "idle"))
    return tuple(
        Loaded(
            version,
            role,
            tone,
            route.bundles.get(version, ""),
            role != "shadow",
            tuple(one.worker for one in workers if version in one.loaded),
            tuple(one.worker for one in workers if version not in one.loaded),
        )
        for version, (role, tone) in roles.items()
    )
