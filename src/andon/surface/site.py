"""What every door of the board shares: the project, who may come in, what was just looked at, what just changed."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from andon.errors import Denied, UsageError
from andon.people.access import Access
from andon.surface.board.session import Session, Sessions
from andon.surface.catalog import COMMANDS, PAGES, RAWS
from andon.surface.events import Pulse
from andon.surface.glance import Glances
from andon.surface.head import Head, head_of
from andon.surface.page import Command, Page
from andon.surface.running import is_loopback
from andon.surface.visit import Viewer, Visit, local_viewer, viewer_of

if TYPE_CHECKING:
    from starlette.requests import Request

    from andon.config import Project

__all__ = ["Site"]

_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Site:
    """One project's board. ``host`` is the address it listens on.

    Without tokens (the charter's ``checklist.security.tokens: none``) it serves this machine only, and its user may do
    everything, as they may with the files: ``UsageError`` for another address.
    """

    def __init__(self, project: Project, *, host: str = "127.0.0.1", poll_seconds: float = 1.0) -> None:
        from andon.store.tokens import TokenFile

        self.project = project
        self.local = project.charter.checklist.security.tokens == "none"
        if self.local and not is_loopback(host):
            raise UsageError(
                f"the board would be open to everyone who reaches {host}: the charter asks for no tokens",
                hint="listen on 127.0.0.1, or set `checklist: {security: {tokens: required}}` in andon.yaml",
            )
        self.access = Access(TokenFile(project.workspace.home))
        self.sessions = Sessions(project.workspace.key)
        self.glances = Glances()
        self.pulse = Pulse(project, self.glances.forget, poll_seconds)
        self.pages: tuple[Page, ...] = PAGES
        self.raws = RAWS
        self.commands: dict[str, Command] = {command.name: command for command in COMMANDS}

    def refuses(self, request: Request) -> str | None:
        """Why a request is not even looked at: without tokens only this machine's own names are answered.

        Another site could otherwise have its name point to this machine and let a visitor's browser act here (DNS
        rebinding); the name it used gives it away.
        """
        name = re.sub(r":\d*$", "", request.headers.get("host", "")) if self.local else "localhost"
        if name.lower() in _NAMES:
            return None
        return f"this board answers to localhost only, not to {name[:80]!r}: the charter asks for no tokens"

    def session(self, request: Request) -> Session | None:
        """The browser's session, if it has one that still counts."""
        found = self.sessions.read(request.cookies.get(self.sessions.cookie, ""))
        if found is None or (found.token is None and not self.local):
            return None
        return found

    def visit(self, request: Request) -> Visit:
        """Who asks: by their bearer token, their session, or as this machine's user. Raises ``Denied``."""
        return Visit(self.project, self._viewer(request), self.access)

    def _viewer(self, request: Request) -> Viewer:
        wall = self.project.clock.wall()
        header = request.headers.get("authorization")
        if header is not None:
            return viewer_of(self.access, header, wall)
        session = self.session(request)
        if session is not None and session.token is not None:
            token = self.access.holds(session.token, now_us=wall)
            return Viewer(token.name, token.role, token.id)
        if self.local:
            return local_viewer()
        raise Denied("a token is required here", hint="log in with a token, or send `Authorization: Bearer <token>`")

    def head(self) -> Head:
        """The head of every page."""
        return self.glances.get("head", lambda: head_of(self.project))

    def look(self, page: Page, visit: Visit, params: msgspec.Struct) -> Any:
        """A page's view. Raises ``Denied`` and whatever the view raises."""
        visit.require(page.may)
        if page.personal:
            return page.view(visit, params)
        read: Callable[[], Any] = lambda: page.view(visit, params)  # noqa: E731 - the cache takes a function
        return self.glances.get((page.name, msgspec.json.encode(params)), read)

    def act(self, command: Command, visit: Visit, params: msgspec.Struct) -> Any:
        """Do it. Raises ``Denied`` and whatever the command raises."""
        visit.require(command.may)
        try:
            return command.run(visit, params)
        finally:
            self.glances.forget()
