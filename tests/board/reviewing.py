"""A board with a review queue, in this process, its clock moved by hand; and the people who stand before it."""

from __future__ import annotations

import asyncio
import re
from html import unescape
from pathlib import Path
from typing import Any

import httpx

from andon.config import Project, open_project
from andon.core.clock import MINUTE, ManualClock
from andon.core.record import Item
from andon.people.access import Access
from andon.people.inbox import Inbox
from andon.store.tokens import TokenFile
from andon.surface.board.app import make_app

__all__ = ["BEGIN", "CHARTER", "Person", "Room"]

BEGIN = 1_583_884_800_000_000
CHARTER = """
project: clinic
problem: Decide who needs a second test.
inputs: {cough: bool?, age: int?, story: text?, picture: image?}
target: {name: test_result, classes: [negative, positive]}
safe_default: refer
metrics: {nulls: {of: null_outputs, alarm: "<= 0.1"}}
review: {deadline: 1h, undo: 10s}
checklist: {security: {tokens: required}}
"""


class Person:
    """Somebody with a browser that keeps cookies, and their token for programs."""

    def __init__(self, app: Any, token: str, name: str) -> None:
        self.name = name
        self.token = token
        self._app = app
        self._cookies = httpx.Cookies()
        self.ask("POST", "/login", data={"token": token})

    def ask(self, method: str, path: str, **given: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app)
            async with httpx.AsyncClient(
                transport=transport, base_url="http://localhost", cookies=self._cookies
            ) as client:
                answer = await client.request(method, path, **given)
                self._cookies = client.cookies
                return answer

        return asyncio.run(once())

    def page(self, path: str = "/review/case", status: int = 200) -> str:
        """A page's text."""
        answer = self.ask("GET", path)
        assert answer.status_code == status, answer.text
        return answer.text

    def twin(self, path: str = "/review/case") -> dict[str, Any]:
        """A page's JSON."""
        answer = self.ask("GET", "/api/v1" + path)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def press(self, command: str, path: str = "/review/case", **fields: str) -> httpx.Response:
        """Send the form for a command that the page at ``path`` has, as its button does."""
        text = self.page(path)
        forms = re.findall(rf'<form method="post" action="/act/{command}"[^>]*>(.*?)</form>', text, re.DOTALL)
        assert forms, f"no form for {command} on {path}"
        hidden = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', forms[0])
        return self.ask("POST", f"/act/{command}", data={name: unescape(value) for name, value in hidden} | fields)

    def answer(self, decision: str) -> str:
        """Answer the case at hand by its button; returns where that leads."""
        reply = self.press("review/decide", decision=decision)
        assert reply.status_code == 303, reply.text
        return reply.headers["location"]

    def post(self, command: str, **body: Any) -> httpx.Response:
        """Post a command as a program does."""
        return self.ask("POST", f"/api/v1/{command}", json=body, headers={"authorization": f"Bearer {self.token}"})


class Room:
    """The project, its board and its people; ``charter`` may say something else than the usual."""

    def __init__(self, root: Path, charter: str = CHARTER) -> None:
        root.mkdir(parents=True, exist_ok=True)
        (root / "andon.yaml").write_text(charter)
        self.project: Project = open_project(root)
        self.workspace = self.project.workspace
        self._kept = self.workspace.clock
        self.clock = ManualClock(BEGIN)
        self.workspace.clock = self.clock  # type: ignore[assignment]
        self.app = make_app(self.project)
        self._access = Access(TokenFile(self.workspace.home))

    def person(self, name: str, role: str = "reviewer") -> Person:
        """Somebody logged in."""
        token, _ = self._access.create(name, role, now_us=self.clock.wall())
        return Person(self.app, token, name)

    def add(self, *ids: str, **fields: Any) -> None:
        """Cases that wait, due in an hour."""
        given: dict[str, Any] = {
            "kind": "decision",
            "created_us": self.clock.now() - MINUTE,
            "due_us": self.clock.now() + 60 * MINUTE,
            "x": {"cough": True, "age": 61, "story": None, "picture": None},
            **fields,
        }
        self.workspace.items.add([Item(id=id, **given) for id in ids])

    def item(self, id: str) -> Item:
        """A case as it is stored."""
        item = self.workspace.items.get(id)
        assert item is not None
        return item

    @property
    def inbox(self) -> Inbox:
        """The inbox, for whoever acts beside the board."""
        from andon.deploy.line import open_inbox

        return open_inbox(self.workspace, self.project.charter)

    def close(self) -> None:
        """Let go of the workspace."""
        self.workspace.clock = self._kept
        self.workspace.close()
