"""A person's freeze of the automatic rollout, as routes: whoever decides without the database sees it, too.

A freeze publishes a route with the action ``freeze`` that changes nothing about who answers; taking it back publishes
``go-on``. Routes are files, and each is published right behind the one that it was decided on. So a controller cannot do
what it decided before a freeze, however it raced with it, and one that has lost the database learns of a freeze that
came after. It also means that a rollout can be frozen with the database gone.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Literal

import msgspec

from andon.deploy.chronicle import reconcile
from andon.deploy.publish import publish
from andon.deploy.rollout_record import Rollout, Standing, Word
from andon.errors import Conflict, Corrupt, NotFound, Unavailable, UsageError

if TYPE_CHECKING:
    from andon.core.record import Route
    from andon.store.routes import RoutePlane
    from andon.store.workspace import Workspace

__all__ = ["FREEZE", "GO_ON", "asked", "put", "refuse", "word_of"]

FREEZE, GO_ON = "freeze", "go-on"
_WORDS: dict[str, Literal["freeze", "resume"]] = {FREEZE: "freeze", GO_ON: "resume"}
#: With these a person (or a newer rollout) has gone on by themselves: a freeze from before says nothing any more.
_ENDS = frozenset({"switch", "rollback", "canary", "blue-green"})


def put(workspace: Workspace, what: Literal["freeze", "resume"], *, actor: str, reason: str = "") -> Route:
    """Publish a freeze of the rollout that is on its way, or that it may go on; who answers stays as it is.

    The journal follows. Raises ``UsageError`` where the line has no route yet, and ``Unavailable``.
    """
    plane, clock = workspace.routes, workspace.clock

    def current() -> Route:
        found = plane.current()
        if found is None:
            raise UsageError("the line has not begun, so no rollout is on its way; nothing is to be frozen")
        return found

    def change(route: Route) -> Route:
        action = FREEZE if what == "freeze" else GO_ON
        stamp = {"actor": actor, "reason": reason, "time_us": clock.now(), "wall_us": clock.wall()}
        return msgspec.structs.replace(route, action=action, **stamp)

    made = publish(plane, current, change)
    with suppress(Unavailable, Corrupt):  # the journal follows once the database is back
        reconcile(workspace)
    return made


def word_of(plane: RoutePlane, since_epoch: int) -> Word | None:
    """What a person last asked of a rollout by a route after ``since_epoch``: freeze, or resume; None where nothing stands.

    Raises ``Unavailable``: a route that cannot be read now may be a freeze.
    """
    newest = plane.current()
    for epoch in range(0 if newest is None else newest.epoch, since_epoch, -1):
        try:
            route = plane.at(epoch)
        except (NotFound, Corrupt):
            continue
        if route.action in _ENDS:
            return None
        if route.action in _WORDS:
            return Word(_WORDS[route.action], route.actor, route.reason)
    return None


def asked(plane: RoutePlane, rollout: Rollout, said: Word | None) -> Word | None:
    """What a person asked of a rollout: ``said`` is in the database; a freeze and its end are routes as well, which count."""
    found = word_of(plane, rollout.first_epoch)
    if found is None:
        return said
    if found.what == "freeze":
        return said if rollout.state == "frozen" else found
    if (rollout.state, rollout.reason) == ("frozen", "person"):
        return found
    return None if said is not None and said.what == "freeze" else said


def refuse(plane: RoutePlane, route: Route, seen: Standing) -> None:
    """Raise ``Conflict`` where what was decided on ``seen`` may not be done to ``route``: others answer, or somebody froze it."""
    now = (route.live, route.candidate, route.share, route.held, route.shadows)
    if now != (seen.live, seen.candidate, seen.share, seen.held, seen.shadows):
        raise Conflict(f"route {route.epoch} by {route.actor} has changed who answers meanwhile")
    word = word_of(plane, seen.epoch)
    if word is not None and word.what == "freeze":
        raise Conflict(f"{word.actor} froze the rollout meanwhile")
