"""What the routes tell: one sentence for each, and their events in the journal.

The route plane comes first, the journal follows from it. So a line can be stopped or rolled back with the database
gone, and what happened is in the journal as soon as it is back: once, in order, with its actor and reason.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from andon.core.record import Level, Route
from andon.errors import Corrupt, NotFound, Unavailable

if TYPE_CHECKING:
    from andon.store.workspace import Workspace

__all__ = ["levels_of", "levels_text", "reconcile", "route_view", "sentence", "subject"]

_LEASE = "route-journal"
_STATE = ("routes", "journalled")


class _Journalled(msgspec.Struct, frozen=True):
    epoch: int = 0


def subject(epoch: int) -> str:
    """What the journal calls a route.

    >>> subject(7)
    'route 7'
    """
    return f"route {epoch}"


def sentence(route: Route) -> str:
    """What a route changed, for people.

    >>> sentence(Route(2, 0, 0, "maria", "ramp", "fine so far", live="v1", candidate="v2", share=0.2))
    'v2 answers 20 % of the units, v1 the rest'
    """
    rest = route.live or "people"
    told = {
        "begin": f"the line begins at level {levels_text(route)}",
        "policy": "the charter's rules were taken over",
        "warm": f"{_first(route.warm)} is loaded and answers nothing yet",
        "cool": "a version that did not load was given up",
        "shadow": f"{_last(route.shadows)} runs in the shadow of {rest}",
        "unshadow": f"shadows now: {', '.join(route.shadows) or 'none'}",
        "canary": f"{route.candidate} answers {route.share * 100:.4g} % of the units, {rest} the rest",
        "ramp": f"{route.candidate} answers {route.share * 100:.4g} % of the units, {rest} the rest",
        "blue-green": f"{route.candidate} stands by, loaded, beside {rest}",
        "switch": f"{rest} is live",
        "rollback": f"back to {rest} at level {levels_text(route)}",
        "automate": f"level of automation: {levels_text(route)}",
        "stop": _stopped(route),
        "start": f"the line goes on with {rest} at level {levels_text(route)}",
        "hold": f"{route.candidate} stays at {route.share * 100:.4g} % of the units until somebody resumes",
        "freeze": "the automatic rollout is frozen: nothing moves by itself, not even back",
        "go-on": "the automatic rollout may go on",
        "resume": f"the rollout of {route.candidate} may go on from {route.share * 100:.4g} % of the units",
    }
    return told.get(route.action, f"{route.action}: {rest} answers")


def route_view(route: Route) -> dict[str, Any]:
    """A route for programs: the fields of CONTRACT, and who put it there, when and why."""
    body: dict[str, Any] = {
        "epoch": route.epoch,
        "live": route.live,
        "candidate": route.candidate,
        "share": route.share,
        "shadows": list(route.shadows),
        "levels": dict(route.levels),
        "warm": list(route.warm),
        "stopped": route.stopped,
        "held": route.held,
        "thresholds": dict(route.thresholds),
        "only": None if route.only is None else list(route.only),
        "action": route.action,
        "actor": route.actor,
        "reason": route.reason,
        "time_us": route.time_us,
        "previous": route.previous,
        "sentence": sentence(route),
    }
    return body


def reconcile(workspace: Workspace, patience: float = 2.0) -> int:
    """Write every route that the journal does not have yet as an event; returns how many were written.

    One at a time does it, the others wait until it is done. Raises ``Unavailable`` when the database is gone, or when
    another process holds the work for more than ``patience`` seconds. Calling it twice writes nothing twice, also after
    a crash in between.
    """
    newest = workspace.routes.current()
    holder = f"{os.getpid()}-{time.monotonic_ns():x}"
    end = time.monotonic() + patience
    while newest is not None and _done(workspace) < newest.epoch:
        term = workspace.leases.acquire(_LEASE, holder, 10.0, workspace.clock)
        if term is not None:
            try:
                return _write(workspace)
            finally:
                workspace.leases.release(_LEASE, holder, term)
        if time.monotonic() >= end:
            raise Unavailable("another process is writing routes into the journal and has not finished")
        time.sleep(0.02)
    return 0


def _write(workspace: Workspace) -> int:
    done, written = _done(workspace), 0
    for route in reversed(_after(workspace, done)):
        if not workspace.journal.read(subject=subject(route.epoch), limit=1):
            workspace.journal.append(
                f"deploy.{route.action}", subject(route.epoch), route.actor, route.reason, _evidence(route)
            )
            written += 1
        workspace.states.put(*_STATE, _Journalled(route.epoch))
    return written


def _after(workspace: Workspace, epoch: int) -> list[Route]:
    """Routes newer than ``epoch``, newest first; each is asked for by its epoch, since others come while this is read."""
    newest, found = workspace.routes.current(), []
    for number in range(0 if newest is None else newest.epoch, epoch, -1):
        with suppress(NotFound, Corrupt):  # what cannot be read is told by the route plane's faults
            found.append(workspace.routes.at(number))
    return found


def _done(workspace: Workspace) -> int:
    stored = workspace.states.get(*_STATE, _Journalled)
    return 0 if stored is None else stored[0].epoch


def _evidence(route: Route) -> dict[str, Any]:
    """The route as the journal keeps it: everything but what the event says already."""
    body: dict[str, Any] = msgspec.to_builtins(route)
    told = {key: value for key, value in body.items() if key not in ("actor", "reason", "action")}
    return {**told, "said": sentence(route)}


def levels_of(route: Route) -> list[tuple[str, Level]]:
    """(slice, level) in the order in which they are tried; "*" is everything that no slice matches."""
    named = [(name, level) for name, level in route.levels.items() if name != "*"]
    return [*named, ("*", route.levels.get("*", "human"))]


def levels_text(route: Route) -> str:
    """The levels of a route, that without a slice first.

    >>> levels_text(Route(2, 0, 0, "maria", "automate", "", levels={"older": "human", "*": "full"}))
    'full, human in older'
    """
    *named, (_, rest) = levels_of(route)
    return ", ".join([rest, *(f"{level} in {name}" for name, level in named)])


def _stopped(route: Route) -> str:
    if route.stopped == "safe_default":
        return f"the line is stopped: every answer is {route.safe_default!r}"
    return "the line is stopped: people decide everything"


def _first(names: tuple[str, ...]) -> str:
    return names[0] if names else "nothing"


def _last(names: tuple[str, ...]) -> str:
    return names[-1] if names else "nothing"
