"""The more careful of two routes, decided purely: what a rollback may restore without giving back what was taken away.

A level, a threshold or a shadow that somebody took away after the earlier route stays away; everything else is as it was
then. Each route has its own slices, and the first that matches a case counts. So the levels are compared for what a case
can meet in either route, and a slice that only one of them knows stays where dropping it would let a model do more.

>>> then = Route(3, 0, 0, "", "switch", "", live="v1", levels={"*": "partial"}, thresholds={"v1/*": 0.9})
>>> now = Route(9, 0, 0, "", "automate", "", live="v2", levels={"*": "human"})
>>> more_careful(now, then)["levels"]
{'*': 'human'}
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from andon.core.record import Level, Route
from andon.deploy.automation import LEVELS

__all__ = ["more_careful"]

_PARTIAL = LEVELS.index("partial")


def more_careful(now: Route, then: Route) -> dict[str, Any]:
    """Levels, slices, thresholds and shadows of ``then`` as far as ``now`` allows them: fields of a route.

    No case gets a higher level than it has in either; where nothing was taken away, all are those of ``then``. A slice
    is what ``now`` says it is, since the charter may have changed it.
    """
    order = tuple(dict.fromkeys((*now.slices, *then.slices)))
    floor = _least(now, then, "*", order)
    kept: dict[str, int] = {}
    for place in reversed(range(len(order))):
        name, passed = order[place], order[:place]
        below = max(floor, *kept.values()) if kept else floor
        had = min(_met(now, name, passed))
        if name in then.slices or below > had or below == had == _PARTIAL:
            kept[name] = _least(now, then, name, passed)
    names = [name for name in order if name in kept]
    texts = {**then.slices, **now.slices}
    levels = {"*": floor, **{name: kept[name] for name in names}}
    return {
        "levels": {name: LEVELS[level] for name, level in levels.items()},
        "slices": {name: texts[name] for name in names},
        "thresholds": _thresholds(now, then, levels, order),
        "shadows": tuple(v for v in then.shadows if v in (*now.shadows, now.live, now.candidate)),
    }


def _places(route: Route, name: str, passed: Sequence[str]) -> list[str]:
    """The slices of a route that a case can be in which is in ``name`` and in none of ``passed``."""
    found = []
    for each in route.slices:
        if each not in passed:
            found.append(each)
            if each == name:
                return found
    return [*found, "*"]


def _met(route: Route, name: str, passed: Sequence[str]) -> list[int]:
    """The levels that such a case can meet, as places in ``LEVELS``."""
    return [LEVELS.index(_level(route, place)) for place in _places(route, name, passed)]


def _level(route: Route, place: str) -> Level:
    return route.levels.get(place, route.levels.get("*", "human"))


def _least(now: Route, then: Route, name: str, passed: Sequence[str]) -> int:
    return min(*_met(now, name, passed), *_met(then, name, passed))


def _thresholds(now: Route, then: Route, levels: dict[str, int], order: Sequence[str]) -> dict[str, float]:
    """The stricter threshold of each version and slice; none where either route lets none be automatic."""
    found = {key: max(value, now.thresholds.get(key, value)) for key, value in then.thresholds.items()}
    for name in (name for name, level in levels.items() if level == _PARTIAL):
        passed = order if name == "*" else order[: order.index(name)]
        for version in filter(None, (then.live, then.candidate)):
            value = _stricter((now, then), version, name, passed)
            found.pop(f"{version}/{name}", None)
            if value is not None:
                found[f"{version}/{name}"] = value
    return found


def _stricter(routes: Sequence[Route], version: str, name: str, passed: Sequence[str]) -> float | None:
    values = []
    for route in routes:
        for place in _places(route, name, passed):
            value = route.thresholds.get(f"{version}/{place}")
            # A route in which the version does not answer may have forgotten its thresholds: it has no say then.
            if _level(route, place) == "partial" and (value is not None or version in (route.live, route.candidate)):
                values.append(value)
    known = [value for value in values if value is not None]
    return max(known) if known and len(known) == len(values) else None
