"""Which route follows which action, decided purely: from the route in force and a stamp to the next route.

Whoever publishes it (see ``andon.deploy.line``) gives the hour, the actor and the reason as a ``Stamp``; nothing here
looks anything up. What makes no sense raises ``UsageError``, what somebody else has begun raises ``Conflict``.

>>> stamp = Stamp(actor="maria", reason="first release", time_us=0, wall_us=0)
>>> route = switch(blank(stamp), stamp, "v1", bundles={"v1": "ab12"})
>>> route = canary(route, stamp, "v2", 0.05, bundles={"v2": "cd34"})
>>> route.live, route.candidate, route.share, route.salt
('v1', 'v2', 0.05, 'v2@2')
>>> ramp(route, stamp, 0.2).salt                         # the same: units only move forward
'v2@2'
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec.structs import replace

from andon.core.record import Level, Route
from andon.deploy.automation import LEVELS
from andon.deploy.careful import more_careful
from andon.errors import Conflict, UsageError

__all__ = [
    "ANSWERING",
    "KEPT_WARM",
    "Stamp",
    "automate",
    "begin",
    "blank",
    "blue_green",
    "canary",
    "cool",
    "hold",
    "policy",
    "ramp",
    "resume",
    "rollback",
    "shadow",
    "start",
    "stop",
    "switch",
    "to_people",
    "unshadow",
    "warm",
]

#: The fields of a route that a rollback restores, as far as nothing was taken away since: who answers, and how far by itself.
ANSWERING = ("live", "candidate", "share", "salt", "shadows", "levels", "slices", "thresholds")

#: How many versions that no longer answer stay loaded, so that the way back needs no loading.
KEPT_WARM = 2


class Stamp(msgspec.Struct, frozen=True):
    """Who acts, why and when (event time and the machine's time, microseconds since 1970 UTC)."""

    actor: str
    reason: str
    time_us: int
    wall_us: int


def blank(stamp: Stamp) -> Route:
    """The route before the first: people decide everything. It has epoch 0 and is never published."""
    return Route(0, stamp.time_us, stamp.wall_us, stamp.actor, "blank", stamp.reason, levels={"*": "human"})


def begin(stamp: Stamp, **fields: Any) -> Route:
    """The first route of a line: no version yet; ``fields`` are the charter's levels, slices and policy."""
    return _next(blank(stamp), stamp, "begin", previous=-1, **fields)


def policy(route: Route, stamp: Stamp, **fields: Any) -> Route:
    """Take over what the charter says now: ``only``, ``blind``, ``audit_share``, ``safe_default``, deadlines, slices."""
    return _next(route, stamp, "policy", previous=route.previous, **fields)


def warm(route: Route, stamp: Stamp, version: str, bundles: Mapping[str, str]) -> Route:
    """Have the workers load ``version`` before it answers anything; nothing else changes."""
    kept = (version, *(v for v in route.warm if v != version))
    return _next(route, stamp, "warm", previous=route.previous, warm=kept, bundles={**route.bundles, **bundles})


def cool(route: Route, stamp: Stamp, version: str) -> Route:
    """Have the workers drop a warm version again, for one that did not load."""
    return _next(route, stamp, "cool", previous=route.previous, warm=tuple(v for v in route.warm if v != version))


def shadow(route: Route, stamp: Stamp, version: str, bundles: Mapping[str, str]) -> Route:
    """Let ``version`` predict beside whoever answers, unseen. People alone become people with a shadow."""
    _refuse_answering(route, version, "run in the shadow of")
    if version in route.shadows:
        raise Conflict(f"{version} runs in the shadow already")
    levels: dict[str, Level] = {k: "shadow" if v == "human" else v for k, v in route.levels.items()}
    return _next(
        route,
        stamp,
        "shadow",
        previous=route.previous,
        shadows=(*route.shadows, version),
        levels=levels,
        bundles={**route.bundles, **bundles},
    )


def unshadow(route: Route, stamp: Stamp, version: str) -> Route:
    """End a shadow."""
    if version not in route.shadows:
        known = ", ".join(route.shadows) or "none"
        raise UsageError(f"{version} does not run in the shadow; running there: {known}")
    left = tuple(v for v in route.shadows if v != version)
    return _next(route, stamp, "unshadow", previous=route.previous, shadows=left)


def canary(
    route: Route,
    stamp: Stamp,
    version: str,
    share: float,
    *,
    bundles: Mapping[str, str],
    thresholds: Mapping[str, float] | None = None,
) -> Route:
    """Send a ``share`` in (0, 1] of the units to ``version``, the candidate; the rest stays where it is."""
    return _candidate(route, stamp, "canary", version, _share(share), bundles, thresholds)


def blue_green(
    route: Route,
    stamp: Stamp,
    version: str,
    *,
    bundles: Mapping[str, str],
    thresholds: Mapping[str, float] | None = None,
) -> Route:
    """Make ``version`` the loaded candidate without traffic, to be switched to at once or ramped."""
    return _candidate(route, stamp, "blue-green", version, 0.0, bundles, thresholds)


def ramp(route: Route, stamp: Stamp, share: float) -> Route:
    """Change the candidate's share, with the same salt: while it grows, units only move forward."""
    if route.candidate is None:
        raise UsageError("there is no candidate to ramp; begin with: andon deploy canary VERSION")
    _refuse_held(route)
    return _next(route, stamp, "ramp", previous=route.previous, share=_share(share))


def switch(
    route: Route,
    stamp: Stamp,
    version: str | None = None,
    *,
    bundles: Mapping[str, str] | None = None,
    thresholds: Mapping[str, float] | None = None,
) -> Route:
    """Make the candidate (or the version named, where there is no candidate) live; the old one stays warm."""
    target = version or route.candidate
    if target is None:
        raise UsageError(
            "there is nothing to switch to; name a version, or begin with: andon deploy blue-green VERSION"
        )
    if target == route.live:
        raise UsageError(f"{target} is live already")
    if route.candidate not in (None, target):
        raise Conflict(f"{route.candidate} is the candidate; switch to it or roll it back before switching to {target}")
    _refuse_held(route)
    return _next(
        route,
        stamp,
        "switch",
        live=target,
        candidate=None,
        share=0.0,
        salt="",
        shadows=tuple(v for v in route.shadows if v != target),
        warm=_kept(route, target),
        bundles={**route.bundles, **(bundles or {})},
        thresholds={**route.thresholds, **(thresholds or {})},
    )


def rollback(route: Route, stamp: Stamp, target: Route, of: Route | None = None) -> Route:
    """The answering part of an earlier route again; a stopped line stays stopped, and what answered stays warm.

    What was taken away since (a level, a stricter threshold, a shadow) stays away: of then and now the more careful.
    ``target`` is the route at ``route.previous``. Rolled back twice, it goes back twice: never forward again.
    Where ``of`` is given, only the versions that it names are taken back.
    """
    if of is not None and (route.live, route.candidate) != (of.live, of.candidate):
        raise Conflict(f"route {route.epoch} by {route.actor} has changed who answers meanwhile")
    if target.epoch >= route.epoch or (route.previous != target.epoch and route.previous >= 0):
        raise Conflict(f"route {route.epoch} goes back to route {route.previous}, not to route {target.epoch}")
    restored = {name: getattr(target, name) for name in ANSWERING} | more_careful(route, target)
    left = tuple(v for v in (route.candidate, route.live, *route.warm) if v is not None)
    return _next(
        route,
        stamp,
        "rollback",
        previous=target.previous,
        warm=left,
        held=False,
        bundles={**target.bundles, **route.bundles},
        **restored,
    )


def automate(
    route: Route,
    stamp: Stamp,
    level: Level,
    slice: str = "*",
    *,
    slices: Mapping[str, str] | None = None,
    thresholds: Mapping[str, float] | None = None,
) -> Route:
    """Set the level of automation of a slice ("*": everything that no slice matches).

    ``slices`` holds the charter's predicates in the order they are tried. Assist, partial and full need a release;
    where nothing but one shadow is, it becomes the live version. Lowering a level is no step that a rollback undoes.
    ``thresholds`` are all that the slice has from then on: what was learnt before is not brought back by a level.
    """
    target = route.live
    named = {**(slices or {}), **{name: text for name, text in route.slices.items() if name not in (slices or {})}}
    if slice != "*" and slice not in named:
        raise UsageError(f"slice {slice!r} has no predicate")
    if level in ("assist", "partial", "full") and target is None and route.candidate is None:
        target = _only_shadow(route, level)
    raised = LEVELS.index(level) > LEVELS.index(route.levels.get(slice, route.levels.get("*", "human")))
    return _next(
        route,
        stamp,
        "automate",
        previous=_undo(route) if raised or target != route.live else route.previous,
        live=target,
        shadows=tuple(v for v in route.shadows if v != target),
        levels={**route.levels, slice: level},
        slices={name: text for name, text in named.items() if name in route.levels or name == slice},
        thresholds={key: value for key, value in route.thresholds.items() if key.partition("/")[2] != slice}
        | dict(thresholds or {}),
    )


def to_people(route: Route, stamp: Stamp) -> Route:
    """Every level above shadow becomes shadow: people decide everything, and the model is watched on."""
    levels: dict[str, Level] = {name: level if level == "human" else "shadow" for name, level in route.levels.items()}
    if levels == route.levels:
        raise UsageError("people decide everything already")
    return _next(route, stamp, "automate", previous=route.previous, levels=levels)


def stop(route: Route, stamp: Stamp, mode: Literal["people", "safe_default"] = "people") -> Route:
    """Stop the line: every decision goes to people, or is the safe default at once. A second stop is recorded too."""
    if mode == "safe_default" and route.safe_default is None:
        raise UsageError(
            "the charter names no safe_default to answer with; stop the line with: andon stop --mode people"
        )
    return _next(route, stamp, "stop", previous=route.previous, stopped=mode)


def start(route: Route, stamp: Stamp) -> Route:
    """Let a stopped line go on as it was."""
    if not route.stopped:
        raise UsageError("the line is not stopped")
    return _next(route, stamp, "start", previous=route.previous, stopped="")


def hold(route: Route, stamp: Stamp) -> Route:
    """Keep the candidate's share as it is: nothing ramps or switches until ``resume``. A rollback remains possible."""
    if route.candidate is None:
        raise UsageError("there is no candidate whose share could be held; begin with: andon deploy canary VERSION")
    if route.held:
        raise Conflict(f"the rollout of {route.candidate} is held already")
    return _next(route, stamp, "hold", previous=route.previous, held=True)


def resume(route: Route, stamp: Stamp) -> Route:
    """Let a held rollout go on."""
    if not route.held:
        raise UsageError("no rollout is held")
    return _next(route, stamp, "resume", previous=route.previous, held=False)


def _candidate(
    route: Route,
    stamp: Stamp,
    action: str,
    version: str,
    share: float,
    bundles: Mapping[str, str],
    thresholds: Mapping[str, float] | None,
) -> Route:
    if version == route.live:
        raise UsageError(f"{version} is live already")
    if route.candidate is not None and (route.candidate != version or route.share > 0.0):
        raise Conflict(
            f"{route.candidate} is the candidate already, with a share of {route.share:.4g}; "
            "ramp it, switch to it or roll it back first"
        )
    _refuse_held(route)
    return _next(
        route,
        stamp,
        action,
        candidate=version,
        share=share,
        salt=route.salt or f"{version}@{route.epoch + 1}",
        shadows=tuple(v for v in route.shadows if v != version),
        bundles={**route.bundles, **bundles},
        thresholds={**route.thresholds, **(thresholds or {})},
    )


def _undo(route: Route) -> int:
    """What a rollback from the route after this one restores: this one, or where it has a candidate the last without."""
    return route.epoch if route.candidate is None and route.epoch else route.previous


def _next(route: Route, stamp: Stamp, action: str, **changes: Any) -> Route:
    changes.setdefault("previous", _undo(route))
    made = replace(
        route,
        epoch=route.epoch + 1,
        action=action,
        actor=stamp.actor,
        reason=stamp.reason,
        time_us=stamp.time_us,
        wall_us=stamp.wall_us,
        **changes,
    )
    return _tidy(made)


def _tidy(route: Route) -> Route:
    """Drop what nothing names any more: warm versions beyond the last few, their bundles and thresholds; an empty hold."""
    answering = {route.live, route.candidate}
    # A shadow predicts in a process of its own; the workers load it only when it is warm, too.
    kept = tuple(dict.fromkeys(v for v in route.warm if v not in answering))[:KEPT_WARM]
    named = {v for v in (*answering, *route.shadows, *kept) if v is not None}
    return replace(
        route,
        warm=kept,
        held=route.held and route.candidate is not None,
        bundles={v: hash for v, hash in route.bundles.items() if v in named},
        thresholds={key: value for key, value in route.thresholds.items() if key.split("/", 1)[0] in named},
    )


def _kept(route: Route, target: str) -> tuple[str, ...]:
    return tuple(v for v in (route.live, *route.warm) if v is not None and v != target)


def _share(share: float) -> float:
    if not 0.0 < share <= 1.0:
        raise UsageError(f"share: expected a number above 0 and at most 1, found {share:g}")
    return share


def _refuse_held(route: Route) -> None:
    if route.held:
        raise Conflict(
            f"the rollout of {route.candidate} is held at a share of {route.share:.4g}; "
            "let it go on first with: andon deploy resume"
        )


def _refuse_answering(route: Route, version: str, what: str) -> None:
    if version in (route.live, route.candidate):
        role = "live" if version == route.live else "the candidate"
        raise UsageError(f"{version} is {role}; it cannot {what} itself")


def _only_shadow(route: Route, level: Level) -> str:
    if len(route.shadows) == 1:
        return route.shadows[0]
    if route.shadows:
        raise UsageError(
            f"{level} needs a live version and several run in the shadow; choose with: andon deploy switch"
        )
    raise UsageError(f"{level} needs a release; make one with: andon release")
