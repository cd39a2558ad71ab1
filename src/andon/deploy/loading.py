"""A version on its way into the workers, as the route plane shows it: who has not loaded it yet, since when, who cannot.

Nobody waits for it. The route that asks for it (``warm``) and what the workers say are files, so whoever looks, also after
a restart, sees how far it is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from andon.core.clock import SECOND
from andon.core.record import Route
from andon.deploy import transition
from andon.deploy.crew import Acknowledged, alive
from andon.deploy.publish import publish
from andon.deploy.transition import Stamp
from andon.errors import Corrupt, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from andon.store.routes import RoutePlane
    from andon.store.workspace import Workspace

__all__ = ["LONGEST", "Loading", "ask_for", "give_up", "is_needed", "loading"]

LONGEST = 900.0
"""Seconds after which a version that a worker has not loaded is given up: longer than a worker gives a model's process
(``andon.deploy.away.LOAD_SECONDS``), so that its own sentence comes first."""


class Loading(msgspec.Struct, frozen=True):
    """A version that is asked for: ``workers`` have not loaded it since ``since_wall_us``; ``fault`` is why one cannot.

    >>> one = Loading("v2", ("w0", "w1"), 10_000_000)
    >>> one.sentence(50_000_000)
    'v2 is loading since 40 s in workers w0 and w1'
    >>> one.given_up(50_000_000), one.given_up(911_000_000)
    ('', 'v2 is not loaded in workers w0 and w1 after 15 min')
    """

    version: str
    workers: tuple[str, ...]
    since_wall_us: int
    fault: str = ""

    def sentence(self, wall_us: int) -> str:
        """How far it is, as of a time of the machine's clock."""
        seconds = max(0.0, (wall_us - self.since_wall_us) / SECOND)
        since = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
        return f"{self.version} is loading since {since} in {self.where}"

    def given_up(self, wall_us: int) -> str:
        """Why it is not waited for any longer; empty while it is."""
        if self.fault:
            return self.fault
        if wall_us - self.since_wall_us <= LONGEST * SECOND:
            return ""
        return f"{self.version} is not loaded in {self.where} after {LONGEST / 60:.0f} min"

    @property
    def where(self) -> str:
        """The workers, for people."""
        *rest, last = self.workers
        return f"workers {', '.join(rest)} and {last}" if rest else f"worker {last}"


def loading(plane: RoutePlane, version: str, wall_us: int) -> Loading | None:
    """A version that a route asks the workers to load before it answers; None where it answers, or all have it, or none runs.

    A worker's fault counts from the route on that asked for it; so does its time, or since it began itself where that was
    later: a version may be kept loaded for days. ``wall_us`` is the machine's time now. Raises ``Unavailable``.
    """
    route = plane.current()
    if route is None or version not in route.warm or version in (route.live, route.candidate):
        return None
    workers = alive(plane.acks())
    late = [ack for ack in workers if version not in ack.loaded]
    if not late:
        return None
    asked = _asked(plane, route, version)
    faults = [
        f"worker {ack.worker} could not load {version}: {ack.faults[version]}"
        for ack in workers
        if ack.epoch >= asked.epoch and version in ack.faults
    ]
    since = min(max(asked.wall_us, _began_us(ack, wall_us)) for ack in late)
    return Loading(version, tuple(ack.worker for ack in late), since, faults[0] if faults else "")


def is_needed(plane: RoutePlane, version: str) -> bool:
    """Whether workers run that nobody has asked to load a version yet."""
    route = plane.current()
    if route is None or version in (route.live, route.candidate, *route.warm):
        return False
    return bool(alive(plane.acks()))


def ask_for(
    workspace: Workspace,
    version: str,
    bundles: Mapping[str, str],
    *,
    actor: str,
    reason: str,
    only: Callable[[Route], None] | None = None,
) -> Route:
    """Have the workers load a version, and do not wait. Raises what ``publish`` does."""
    return _publish(workspace, lambda r, s: transition.warm(r, s, version, bundles), actor, reason, only)


def give_up(workspace: Workspace, version: str, *, actor: str, reason: str) -> Route:
    """Have the workers drop a version that they have not loaded."""
    return _publish(workspace, lambda r, s: transition.cool(r, s, version), actor, reason)


def _publish(
    workspace: Workspace,
    change: Callable[[Route, Stamp], Route],
    actor: str,
    reason: str,
    only: Callable[[Route], None] | None = None,
) -> Route:
    plane, clock = workspace.routes, workspace.clock

    def current() -> Route:
        found = plane.current()
        if found is None:
            raise NotFound("no route is in force, so no worker can be asked for anything")
        return found

    return publish(plane, current, lambda route: change(route, Stamp(actor, reason, clock.now(), clock.wall())), only)


def _began_us(ack: Acknowledged, wall_us: int) -> int:
    """When a worker's process began, by the machine's clock; 0 where that is not told."""
    if not ack.began:
        return 0
    lived = time.clock_gettime(time.CLOCK_BOOTTIME) - ack.began / os.sysconf("SC_CLK_TCK")
    return wall_us - round(max(0.0, lived) * SECOND)


def _asked(plane: RoutePlane, route: Route, version: str) -> Route:
    """The route that asked for a version that is warm now."""
    asked = route
    for epoch in range(route.epoch - 1, 0, -1):
        try:
            before = plane.at(epoch)
        except (NotFound, Corrupt):
            continue
        if version not in (before.live, before.candidate, *before.warm):
            break
        asked = before
    return asked
