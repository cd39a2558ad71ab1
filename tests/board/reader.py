"""Somebody at this machine who only reads the board of a project that asks for no tokens; all in this process."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx

from andon.config import Project
from andon.surface.board.app import make_app

__all__ = ["Reader"]


class Reader:
    """Asks the board of one project.

    It is the application itself that answers, so an error that nobody caught is raised here.
    """

    def __init__(self, project: Project) -> None:
        self._transport = httpx.ASGITransport(app=make_app(project))

    def get(self, path: str) -> httpx.Response:
        """The answer to one request."""

        async def once() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url="http://localhost") as client:
                return await client.get(path)

        return asyncio.run(once())

    def both(self, path: str, status: int = 200) -> tuple[dict[str, Any], str]:
        """The JSON twin and the page, both with this status."""
        twin, page = self.get(f"/api/v1{path}"), self.get(path)
        assert (twin.status_code, page.status_code) == (status, status), twin.text[:600]
        found: dict[str, Any] = twin.json()
        return found, page.text
