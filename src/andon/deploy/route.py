"""Who answers what: the draw that gives each unit a version, and a route made ready for the live path.

A ``Route`` is immutable. Assignment is a pure function of the route and the unit: no cookie, no table, the same on
every worker, after every restart and in every other language (``docs/deploy.md`` has test vectors).

>>> route = Route(7, 0, 0, "maria", "canary", "try v2", live="v1", candidate="v2", share=0.05, salt="v2@7")
>>> assign(route, "unit-1")
Assignment(arm='live', version='v1', probability=0.95, sticky=True)
>>> sum(assign(route, f"unit-{n}").arm == "candidate" for n in range(10_000))
518
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
from msgspec.structs import replace

from andon.core.record import Level, Route, Scalar
from andon.deploy.automation import Policy, policy_of
from andon.errors import AndonError, UsageError

__all__ = [
    "Assignment",
    "CompiledRoute",
    "assign",
    "compile_or_people",
    "compile_route",
    "fraction",
    "in_force",
    "versions",
]

_TWO64 = float(2**64)


class Assignment(msgspec.Struct, frozen=True, gc=False):
    """The arm and version that a unit got, with the probability of that arm; not sticky where no unit was given."""

    arm: Literal["live", "candidate", "none"]
    version: str | None
    probability: float
    sticky: bool = True


def fraction(salt: str, unit: str) -> int:
    """A unit's place in [0, 2**64): BLAKE2b-64 of ``salt``, a zero byte and ``unit``, read big-endian.

    >>> hex(fraction("v2@7", "unit-1"))
    '0xe99a98579058bd5d'
    """
    text = _salted(salt) + unit.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")


def _salted(salt: str) -> bytes:
    return salt.encode("utf-8", "surrogatepass") + b"\0"


def assign(route: Route, unit: str | None, request_id: str = "") -> Assignment:
    """Which version answers a unit: the candidate when ``fraction(salt, unit) < share * 2**64``, else the live one.

    The same unit stays where it is while the share is kept, and moves only forward while it grows. Without a unit the
    request's id is drawn and the assignment is not sticky. A route without a live version has the arm "none".

    >>> assign(Route(1, 0, 0, "maria", "begin", "people only"), "unit-1")
    Assignment(arm='none', version=None, probability=1.0, sticky=True)
    """
    sticky = unit is not None
    live: Literal["live", "none"] = "none" if route.live is None else "live"
    if route.candidate is None or route.share <= 0.0:
        return Assignment(live, route.live, 1.0, sticky)
    if fraction(route.salt, request_id if unit is None else unit) < route.share * _TWO64:
        return Assignment("candidate", route.candidate, route.share, sticky)
    return Assignment(live, route.live, 1.0 - route.share, sticky)


class CompiledRoute:
    """A route made ready for the live path: slices are closures over the values in the contract's order.

    ``route``, ``epoch`` and ``policy`` are what it was made from. Built by ``compile_route``.
    """

    __slots__ = (
        "_default",
        "_drawing",
        "_drawn",
        "_limit",
        "_salted",
        "_stay",
        "_tests",
        "_thresholds",
        "epoch",
        "policy",
        "route",
    )

    def __init__(self, route: Route, tests: Sequence[tuple[str, Level, Callable[[Sequence[Scalar]], bool]]]) -> None:
        self.route = route
        self.epoch = route.epoch
        self.policy: Policy = policy_of(route)
        self._tests = tuple((predicate, (level, name)) for name, level, predicate in tests)
        self._default: tuple[Level, str] = (route.levels.get("*", "human"), "*")
        self._thresholds: dict[tuple[str | None, str], float] = {}
        for key, value in route.thresholds.items():
            version, _, slice = key.partition("/")
            self._thresholds[version, slice] = value
        share = route.share if route.candidate is not None else 0.0
        live: Literal["live", "none"] = "none" if route.live is None else "live"
        # As eight bytes, most significant first, fractions are in the order of their numbers; None: all are drawn.
        limit = math.ceil(share * _TWO64)
        self._limit = limit.to_bytes(8, "big") if limit < 1 << 64 else None
        self._drawing = limit > 0
        self._salted = hashlib.blake2b(_salted(route.salt), digest_size=8)
        self._stay = tuple(Assignment(live, route.live, 1.0 - share, sticky) for sticky in (False, True))
        self._drawn = tuple(Assignment("candidate", route.candidate, share, sticky) for sticky in (False, True))

    def assign(self, unit: str | None, request_id: str = "") -> Assignment:
        """As ``assign``; free when there is nothing to draw."""
        sticky = unit is not None
        if not self._drawing:
            return self._stay[sticky]
        if self._limit is None:
            return self._drawn[sticky]
        place = self._salted.copy()
        place.update((request_id if unit is None else unit).encode("utf-8", "surrogatepass"))
        return (self._drawn if place.digest() < self._limit else self._stay)[sticky]

    def level(self, values: Sequence[Scalar]) -> tuple[Level, str]:
        """The level of automation of these inputs and the slice that gave it: the first that matches, else "*"."""
        for predicate, found in self._tests:
            if predicate(values):
                return found
        return self._default

    def threshold(self, version: str | None, slice: str) -> float | None:
        """The least confidence at which ``version`` decides in ``slice`` at level partial; None: it decides nothing."""
        return self._thresholds.get((version, slice))


def compile_route(route: Route, field_names: Sequence[str]) -> CompiledRoute:
    """Make a route ready for inputs that come in the order of ``field_names``.

    Raises ``UsageError`` when a slice cannot be read or names a column that the contract does not have.

    >>> compile_route(Route(1, 0, 0, "maria", "begin", "people only", levels={"*": "human"}), ["fever"]).level([True])
    ('human', '*')
    """
    named = [(name, level) for name, level in route.levels.items() if name != "*"]
    missing = [name for name, _ in named if name not in route.slices]
    if missing:
        raise UsageError(f"route {route.epoch}: slice {missing[0]!r} has a level but no predicate; automate it again")
    if not named:
        return CompiledRoute(route, [])
    from andon.measure.slice import parse_slice

    order = [name for name in route.slices if name in route.levels]
    tests = [
        (name, route.levels[name], parse_slice(route.slices[name], field_names).row(field_names)) for name in order
    ]
    return CompiledRoute(route, tests)


def compile_or_people(route: Route, field_names: Sequence[str]) -> tuple[CompiledRoute, str]:
    """The same, but a route whose slices this contract cannot answer leaves everything to people; the text says why."""
    try:
        return compile_route(route, field_names), ""
    except AndonError as error:
        return compile_route(replace(route, levels={"*": "human"}), field_names), error.message


def in_force(route: Route | None, safe_default: str | None) -> Route:
    """A route as it is followed: one under which people decide where there is none, with the charter's safe default
    where it names none.

    >>> route = in_force(None, "refer")
    >>> route.epoch, route.levels, route.safe_default
    (0, {'*': 'human'}, 'refer')
    """
    found = route or Route(0, 0, 0, "andon", "blank", "nothing was released yet", levels={"*": "human"})
    return found if found.safe_default is not None else replace(found, safe_default=safe_default)


def versions(route: Route) -> tuple[str, ...]:
    """Every version that a worker keeps loaded for this route: live, candidate and warm ones (shadows run elsewhere).

    >>> versions(Route(epoch=1, time_us=0, wall_us=0, actor="a", action="x", reason="", live="v2", warm=("v1",)))
    ('v2', 'v1')
    """
    return tuple(dict.fromkeys(v for v in (route.live, route.candidate, *route.warm) if v is not None))
