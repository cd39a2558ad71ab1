"""What became of a run: its release, and where that is on the line now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from andon.surface.view.deploy_change import place_of

if TYPE_CHECKING:
    from andon.config import Project

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
        place = place_of(one.version, route)
        share = route.share if route is not None and place == "candidate" else None
        found[one.run] = (*found.get(one.run, ()), Became(one.version, place, share))
    return found
