"""Publishing a change of who answers: decided anew on whatever is in force, until nobody was quicker."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from andon.errors import Conflict

if TYPE_CHECKING:
    from andon.core.record import Route
    from andon.store.routes import RoutePlane

__all__ = ["TRIES", "publish"]

#: How often a change is decided again when somebody else published first.
TRIES = 50


def publish(
    plane: RoutePlane,
    current: Callable[[], Route],
    change: Callable[[Route], Route],
    only: Callable[[Route], None] | None = None,
) -> Route:
    """Put in force what ``change`` makes of the ``current`` route; the same route changes nothing.

    ``only`` may refuse, by raising ``Conflict``, a route that one does not want to act on. It is asked about every route
    that the change is decided on, and the change is published right behind that very one or decided again: what others
    publish at any moment is seen. Raises ``Conflict`` when others are quicker time and again, and ``Unavailable``.

    >>> import tempfile
    >>> from pathlib import Path
    >>> from msgspec.structs import replace
    >>> from andon.core.record import Route
    >>> from andon.store.routes import RoutePlane
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     plane = RoutePlane(Path(folder))
    ...     first = plane.publish(Route(epoch=1, time_us=0, wall_us=0, actor="ann", action="begin", reason=""))
    ...     made = publish(plane, lambda: first, lambda route: replace(route, action="policy", actor="bob"))
    ...     print(made.epoch, made.actor, publish(plane, lambda: made, lambda route: route).epoch)
    ...     plane.close()
    2 bob 2
    """
    for _ in range(TRIES):
        now = current()
        if only is not None:
            only(now)
        made = change(now)
        if made is now:
            return now
        try:
            return plane.publish(msgspec.structs.replace(made, epoch=max(now.epoch, plane.word()) + 1))
        except Conflict:
            continue
    raise Conflict(f"others published {TRIES} routes while this one was tried; look at deploy status and try again")
