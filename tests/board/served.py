"""A board in a process of its own, and what a program needs to knock at its door."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.ports import free_port

__all__ = ["Answer", "Served"]


class Answer:
    """One HTTP answer, read to its end."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self.text = answer.read().decode("utf-8", "replace")

    @property
    def cookies(self) -> dict[str, str]:
        """The cookies that it sets, by name."""
        found = [one.split(";")[0].partition("=") for one in self.headers.get_all("set-cookie") or []]
        return {name: value for name, _, value in found}


def _call(
    port: int, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> Answer:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        return Answer(connection.getresponse())
    finally:
        connection.close()


class Served:
    """The board of the project in ``root`` on a free port, alone or with its ``line`` of real processes."""

    def __init__(self, root: Path, tokens: dict[str, str], *, line: bool = False) -> None:
        self.root = root
        self.tokens = tokens
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.gateway = free_port() if line else 0
        self._process: subprocess.Popen[bytes] | None = None
        self._sessions: dict[str, dict[str, str]] = {}

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "-m", "andon", *self._words(), "--project", str(self.root)]
        log = self.root / "board.test.log"
        with log.open("ab") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out, cwd=self.root, env=dict(os.environ))
        end = time.monotonic() + 60
        while not self.answers():
            if self._process.poll() is not None or time.monotonic() > end:
                self.stop()
                raise AssertionError(f"the board did not start\n{log.read_text()[-3000:]}")
            time.sleep(0.05)

    def _words(self) -> tuple[str, ...]:
        if not self.gateway:
            return ("board", "--port", str(self.port))
        line = ("--port", str(self.gateway), "--workers", "1", "--ship-seconds", "0.3")
        return ("up", "--board-port", str(self.port), *line)

    def answers(self) -> bool:
        """Whether the board answers, and the line."""
        try:
            ready = not self.gateway or _call(self.gateway, "GET", "/v2/health/ready").status == 200
            return ready and self.call("GET", "/login").status == 200
        except OSError:
            return False

    def stop(self) -> None:
        """End it, in order."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(10)
            self._process = None

    def call(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        """One request over a connection of its own; redirects are not followed."""
        return _call(self.port, method, path, body, headers)

    def decide(self, number: int, project: str = "toy") -> dict[str, Any]:
        """Ask the line for ``number`` decisions about good bolts; returns the last answer."""
        head = {"authorization": f"Bearer {self.tokens['operator']}", "content-type": "application/json"}
        body = json.dumps({"x": {"width": 10.0, "length": 50.0, "coating": "none", "note": None}}).encode()
        for _ in range(number):
            answer = _call(self.gateway, "POST", f"/v1/projects/{project}/decisions", body, head)
            assert answer.status in (200, 202), answer.text
        found: dict[str, Any] = json.loads(answer.text)
        return found

    def session(self, role: str) -> dict[str, str]:
        """The cookies of a browser that logged in with a role's token."""
        if role not in self._sessions:
            answer = self.form("/login", {"token": self.tokens[role]})
            assert answer.status == 303, answer.text
            self._sessions[role] = answer.cookies
        return self._sessions[role]

    def get(self, path: str, role: str = "owner") -> Answer:
        """A page, as a browser with a session asks for it."""
        return self.call("GET", path, headers=self._cookie(self.session(role)))

    def form(self, path: str, fields: dict[str, str], cookies: dict[str, str] | None = None, **headers: str) -> Answer:
        """Send a form."""
        head = {"content-type": "application/x-www-form-urlencoded", **self._cookie(cookies or {}), **headers}
        return self.call("POST", path, urlencode(fields).encode(), head)

    @staticmethod
    def _cookie(cookies: dict[str, str]) -> dict[str, str]:
        return {"cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())} if cookies else {}
