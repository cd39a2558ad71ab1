"""What became of a run: its release, and where that is on the line now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from andon.config import Project
    from andon.core.record import Route

__all__ = ["Became", "became_of"]


class Became(msgspec.Struct, frozen=True):
    """A release made of a run, and where it is on the line: live, candidate, shadow, warm or "" (nowhere)."""

    version: str
    place: str
    share: float | None = None


def became_of(project: Project) -> dict[str, tuple[Became, ...]]:
    """Releases, oldest first, by the id of the run that they were made of."""
    from andon.deploy.release import releases

    made, route = releases(project.workspace), project.workspace.routes.current()
    found: dict[str, tuple[Became, ...]] = {}
    for one in made:
        place = _place(one.version, route)
        share = route.share if route is not None and place == "candidate" else None
        found[one.run] = (*found.get(one.run, ()), Became(one.version, place, share))
    return found


def _place(version: str, route: Route | None) -> str:
    if route is None:
        return ""
    if version in (route.live, route.candidate):
        return "live" if version == route.live else "candidate"
    return "shadow" if version in route.shadows else "warm" if version in route.warm else ""
