"""The board as one ASGI application: pages, their JSON twins, events and static files behind the same strict headers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from andon.errors import AndonError
from andon.surface.api import PREFIX, error_response, routes
from andon.surface.board.pages import Pages
from andon.surface.board.render import STATIC, environment
from andon.surface.site import Site

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from andon.config import Project

__all__ = ["LARGEST_BODY", "POLICY", "make_app"]

LARGEST_BODY = 1_000_000
"""Bytes of a form or JSON body."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}
_YEAR = "public, max-age=31536000, immutable"


def make_app(project: Project, *, host: str = "127.0.0.1", poll_seconds: float = 1.0) -> Starlette:
    """The application for one project, to be served on ``host``.

    ``poll_seconds`` is how often the line is looked at while somebody listens. Raises ``UsageError`` where the charter
    asks for no tokens and the address is not this machine's own.
    """
    site = Site(project, host=host, poll_seconds=poll_seconds)
    pages = Pages(site, environment())

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        await site.pulse.close()

    app = Starlette(
        routes=[Mount("/static", StaticFiles(directory=STATIC)), *routes(site), *pages.routes()],
        lifespan=lifespan,
        max_body_size=LARGEST_BODY,
        exception_handlers={AndonError: _said, 500: _failed},
    )
    app.state.site = site
    app.add_middleware(_Shield, site=site)
    return app


class _Shield:
    """Refuses requests that were meant for another name, and puts the same headers on every answer."""

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self._app = app
        self._site = site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def shielded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/static/") and b"v=" in scope["query_string"]:
                    headers["cache-control"] = _YEAR
            await send(message)

        refused = self._site.refuses(Request(scope))
        if refused is not None:
            await PlainTextResponse(refused + "\n", 421)(scope, receive, shielded)
            return
        await self._app(scope, receive, shielded)


async def _said(request: Request, error: Exception) -> PlainTextResponse:
    """An error of ours that no page caught."""
    assert isinstance(error, AndonError)
    if request.url.path.startswith(PREFIX):
        return error_response(error)  # type: ignore[return-value]
    return PlainTextResponse(f"{error.message}\n", error.http)


async def _failed(request: Request, error: Exception) -> PlainTextResponse:
    """A fault of the board: told in the log, not to the visitor."""
    text = "the board has a fault here; its log (run/board.log in the workspace) says which\n"
    if request.url.path.startswith(PREFIX):
        from andon.errors import Corrupt

        return error_response(Corrupt(text.strip()), 500)  # type: ignore[return-value]
    return PlainTextResponse(text, 500)
