"""Who looks at a project, and what they may do: every page and command of the board and the API is given one of these.

>>> Viewer("maria", "reviewer").may("review"), Viewer("maria", "reviewer").may("deploy")
(True, False)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from andon.errors import Denied
from andon.people.access import MAY, Access, Action, Role, bearer

if TYPE_CHECKING:
    from andon.config import Project

__all__ = ["Viewer", "Visit", "local_viewer", "viewer_of"]


class Viewer(msgspec.Struct, frozen=True):
    """A person or program at the door: their name, their role, and the id of their token.

    ``token`` is None for the machine's own user, where the charter asks for no tokens.
    """

    name: str
    role: Role
    token: str | None = None

    def may(self, action: Action) -> bool:
        """Whether their role allows it."""
        return action in MAY[self.role]


@dataclass(frozen=True, slots=True)
class Visit:
    """One look at one project by one viewer."""

    project: Project
    viewer: Viewer
    access: Access

    def require(self, action: Action) -> None:
        """Raises ``Denied`` where the viewer's role does not allow the action."""
        if not self.viewer.may(action):
            others = " and ".join(role for role in MAY if action in MAY[role])
            raise Denied(f"{self.viewer.name} has the role {self.viewer.role}, which may not {action}; {others} may")

    @property
    def now_us(self) -> int:
        """Event time."""
        return self.project.clock.now()

    @property
    def wall_us(self) -> int:
        """The machine's time."""
        return self.project.clock.wall()


def local_viewer() -> Viewer:
    """The person at this machine, who owns the workspace's files and so may do everything."""
    from andon.deploy.line import user_name

    return Viewer(user_name(), "owner")


def viewer_of(access: Access, header: str | None, wall_us: int) -> Viewer:
    """The viewer behind an ``Authorization`` header; raises ``Denied``. What they may do is asked later."""
    token = access.check(bearer(header), None, now_us=wall_us)
    return Viewer(token.name, token.role, token.id)
