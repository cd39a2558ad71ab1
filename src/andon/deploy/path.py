"""The way of a release, and of a slice's level, as a plan: which step is done, which one is now, which comes next.

The charter's case gives it: *new* goes by a small canary and its ramp, *replace* by a shadow beside the old release, a
canary and a blue/green, *automate* by levels (people, shadow, assist, partial, full) with releases by shadow and canary.
Decided purely, from the charter's words, the route and the rollout; nothing here moves anything.

>>> way = release_way(("shadow", "canary", "live"), Route(4, 0, 0, "ann", "shadow", "", live="v1", shadows=("v2",)), None)
>>> str(way)
'v2: shadow now > canary next > live'
>>> way.next
'andon deploy canary v2 --auto'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from andon.core.record import Level, Route
from andon.deploy.rollout_record import ENDED, LEAST_SHADOWED, Rollout

__all__ = ["Stage", "Way", "level_way", "release_way", "rollout_way", "ways"]

Where = Literal["done", "now", "stopped", "next", "later"]


class Stage(msgspec.Struct, frozen=True):
    """One step of a way, where the line stands to it, and what it is."""

    name: str
    where: Where
    says: str


class Way(msgspec.Struct, frozen=True):
    """The steps of ``what`` (a release, or the slice whose level it is), in order; ``next`` is the command that goes on."""

    what: str
    stages: tuple[Stage, ...]
    next: str = ""

    def __str__(self) -> str:
        told = (one.name if one.where == "later" else f"{one.name} {one.where}" for one in self.stages)
        return f"{self.what}: {' > '.join(told)}"


_STEPS = {
    "shadow": f"it predicts beside those who answer, unseen, for {LEAST_SHADOWED} cases without harm",
    "canary": "it answers a small share of the units, more as the harm budget allows, until every guardrail is safe",
    "blue-green": "it answers everything but a holdback, at once or in steps, until what labels say clears it",
    "live": "it bakes: everything but the holdback, compared with on until labels had time to come; then everything",
}
_LEVELS: dict[str, str] = {
    "human": "people decide, and no model is asked",
    "shadow": "people decide, and the model predicts unseen",
    "assist": "people decide and see what the model suggests",
    "partial": "the model decides where it is sure enough, people the rest",
    "full": "the model decides, and a share is audited",
}
_PLACES = {"shadow": "shadow", "canary": "canary", "blue_green": "blue-green", "bake": "live"}


def ways(
    case: str,
    path: Sequence[str],
    rungs: Sequence[Level],
    route: Route | None,
    rollout: Rollout | None,
) -> tuple[Way, ...]:
    """All ways of a line: the release's (``rollout`` is the newest automatic one), and with case "automate" each slice's.

    >>> [str(way) for way in ways("new", ("canary", "live"), (), None, None)]
    ['the first release: canary next > live']
    """
    found = [release_way(path, route, rollout)]
    if case == "automate":
        levels: Mapping[str, Level] = {"*": rungs[0]} if route is None else route.levels
        found = [*(level_way(slice, rungs, level) for slice, level in levels.items()), *found]
    return tuple(found)


def level_way(slice: str, rungs: Sequence[Level], level: Level) -> Way:
    """The way of a slice's level up the charter's ``automation.path``; a level that is not on it is shown where it is.

    >>> str(level_way("*", ("human", "shadow", "partial"), "shadow"))
    'everything else: human done > shadow now > partial next'
    """
    order = ("human", "shadow", "assist", "partial", "full")
    named = [one for one in order if one in rungs or one == level]
    at = named.index(level)
    stages = tuple(Stage(one, _where(place, at), _LEVELS[one]) for place, one in enumerate(named))
    higher = named[at + 1 : at + 2]
    option = "" if slice == "*" else f" --slice {slice}"
    command = f"andon automate {higher[0]}{option}" if higher else ""
    return Way("everything else" if slice == "*" else slice, stages, command)


def release_way(path: Sequence[str], route: Route | None, rollout: Rollout | None) -> Way:
    """The way of the release that is on its way, automatically or by hand; else of the next one."""
    if rollout is not None and not rollout.ended:
        return rollout_way(rollout)
    if route is None or not (route.live or route.candidate or route.shadows):
        return _from("the first release", path, -1, "VERSION")
    if route.candidate is not None:
        name = "canary" if route.share > 0 or "blue-green" not in path else "blue-green"
        return _from(route.candidate, path, _at(path, name), route.candidate)
    if route.shadows:
        return _from(route.shadows[-1], path, _at(path, "shadow"), route.shadows[-1])
    if rollout is not None and rollout.state in ENDED and rollout.state != "settled":
        return rollout_way(rollout)
    return _from(str(route.live), path, len(path), "")


def rollout_way(rollout: Rollout) -> Way:
    """The way of an automatic rollout, whether it is over or not."""
    plan = rollout.plan
    at = len(plan.path) if rollout.state == "settled" else _at(plan.path, _PLACES.get(rollout.place, ""))
    way = _from(plan.version, plan.path, at, "")
    if not rollout.ended and rollout.state not in ("frozen", "rolling_back"):
        return way
    stages = tuple(
        msgspec.structs.replace(
            one, where="stopped" if one.where == "now" else "later" if one.where == "next" else one.where
        )
        for one in way.stages
    )
    return way if rollout.state == "settled" else Way(way.what, stages)


def _from(what: str, path: Sequence[str], at: int, version: str) -> Way:
    stages = tuple(Stage(one, _where(place, at), _STEPS[one]) for place, one in enumerate(path))
    following = next((one.name for one in stages if one.where == "next"), "")
    return Way(what, stages, _command(following, version) if version else "")


def _command(step: str, version: str) -> str:
    if step == "live":
        return "andon deploy switch"
    return f"andon deploy {step} {version}{'' if step == 'shadow' else ' --auto'}" if step else ""


def _where(place: int, at: int) -> Where:
    if place < at:
        return "done"
    return "now" if place == at else "next" if place == at + 1 else "later"


def _at(path: Sequence[str], step: str) -> int:
    """The place of a step, or of the one before it that the path has."""
    order = ("shadow", "canary", "blue-green", "live")
    before = order[: order.index(step) + 1] if step in order else ()
    return max((path.index(one) for one in before if one in path), default=-1)
