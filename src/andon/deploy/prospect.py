"""What an action would do, without doing it: the next route of each action of ``andon.deploy.line.Line``, unpublished.

Same names, same arguments, same refusals. Nothing is loaded, learnt, published or written; so a threshold that the act
would learn is not in the route, and neither is a version's way through ``warm``. The sentence is that of the act.

>>> from andon.core.record import Route
>>> [wish for wish in WISHES if wish.startswith("r")]
['ramp', 'resume', 'rollback']
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from andon.core.record import Route
from andon.deploy import transition
from andon.deploy.automation import parse_level
from andon.deploy.crew import alive
from andon.deploy.standing import bundles_of, first_route, predicates_of, route_before
from andon.deploy.transition import Stamp

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.store.workspace import Workspace

__all__ = ["WISHES", "Prospects"]

#: The actions there are; each is a method of ``Prospects`` and of ``Line``.
WISHES = (
    "shadow",
    "unshadow",
    "canary",
    "blue_green",
    "ramp",
    "hold",
    "resume",
    "switch",
    "rollback",
    "automate",
    "stop",
    "start",
)


class Prospects:
    """The next route of each action on the route in force, which is ``now`` (the charter's first where there is none).

    Each method raises what the same method of ``Line`` raises before it changes anything: ``UsageError``, ``NotFound``,
    ``Conflict``, and ``Unavailable`` where a version cannot be looked up.
    """

    def __init__(self, workspace: Workspace, charter: Charter, *, actor: str = "", reason: str = "") -> None:
        clock = workspace.clock
        self._workspace = workspace
        self._charter = charter
        self._stamp = Stamp(actor, reason, clock.now(), clock.wall())
        found = workspace.routes.current()
        self._known: dict[str, dict[str, str]] = {}
        self.begun = found is not None
        self.now: Route = first_route(charter, self._stamp) if found is None else found

    def shadow(self, version: str) -> Route:
        """A version predicts beside whoever answers, unseen."""
        return transition.shadow(self.now, self._stamp, version, self._bundles(version))

    def unshadow(self, version: str) -> Route:
        """A shadow ends."""
        return transition.unshadow(self.now, self._stamp, version)

    def canary(self, version: str, share: float | None = None) -> Route:
        """A share of the units goes to a version; the charter's ``rollout.start_share`` when none is given."""
        part = self._charter.rollout.start_share if share is None else share
        bundles = self._bundles(version)
        return transition.canary(self.now, self._stamp, version, part, bundles=bundles)

    def blue_green(self, version: str) -> Route:
        """A version stands by, loaded, without traffic."""
        bundles = self._bundles(version)
        return transition.blue_green(self.now, self._stamp, version, bundles=bundles)

    def ramp(self, share: float) -> Route:
        """The candidate's share changes."""
        return transition.ramp(self.now, self._stamp, share)

    def hold(self) -> Route:
        """The candidate's share stays as it is."""
        return transition.hold(self.now, self._stamp)

    def resume(self) -> Route:
        """A held rollout may go on."""
        return transition.resume(self.now, self._stamp)

    def switch(self, version: str | None = None) -> Route:
        """The candidate, or the version named, is live at once."""
        target = version or self.now.candidate
        bundles = {} if target is None else self._bundles(target)
        return transition.switch(self.now, self._stamp, target, bundles=bundles)

    def rollback(self) -> Route:
        """The answers of the last settled route again."""
        return transition.rollback(self.now, self._stamp, route_before(self._workspace, self.now))

    def automate(self, level: str, slice: str = "*") -> Route:
        """The level of a slice, or of everything that no slice matches."""
        wanted, predicates = parse_level(level), predicates_of(self._charter, slice)
        return transition.automate(self.now, self._stamp, wanted, slice, slices=predicates)

    def stop(self, mode: Literal["people", "safe_default"] = "people") -> Route:
        """The line is stopped."""
        return transition.stop(self.now, self._stamp, mode)

    def start(self) -> Route:
        """A stopped line goes on as it was."""
        return transition.start(self.now, self._stamp)

    def without(self, version: str) -> tuple[tuple[str, ...], int]:
        """The workers that live and have not loaded a version, and how many live."""
        workers = alive(self._workspace.routes.acks())
        return tuple(one.worker for one in workers if version not in one.loaded), len(workers)

    def _bundles(self, version: str) -> dict[str, str]:
        """Looked up once for each version."""
        if version not in self._known:
            self._known[version] = bundles_of(self._workspace, version)
        return self._known[version]
