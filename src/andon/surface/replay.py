"""A replay put to the gateway of another line: where it may go, and how it is asked."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from andon.core.reach import Reach
from andon.deploy.replay import Asked, Said
from andon.errors import Denied, Unavailable, UsageError

if TYPE_CHECKING:
    from andon.config import Project

__all__ = ["Elsewhere", "check_target", "gateway_of"]

_SECONDS = 15.0
_TRIES = 20
_BUSY = (429, 503)


def check_target(url: str, reach: Reach) -> tuple[bool, str, int]:
    """(TLS?, host, port) of a gateway's address; raises ``UsageError`` for what is none, or where rows may not go.

    >>> check_target("http://127.0.0.1:8700", Reach("device"))
    (False, '127.0.0.1', 8700)
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.scheme not in ("http", "https") or not host or "@" in parts.netloc or parts.query or parts.fragment:
        raise UsageError("--to: expected a gateway's address such as http://127.0.0.1:8700, without a user")
    if not reach.allows(host):
        raise UsageError(f"--to: rows may not go to {host}: {reach.why_not()}")
    return parts.scheme == "https", host, port or (443 if parts.scheme == "https" else 80)


class Elsewhere:
    """Puts rows to the gateway of another line. It decides and writes them down there, as any others: never this line's own.

    Raises ``UsageError`` where it is this line's, ``Unavailable`` where none answers, ``Denied`` without a token.
    """

    def __init__(self, project: Project, url: str, token: str | None) -> None:
        privacy = project.charter.checklist.privacy
        secure, host, port = check_target(url, Reach(privacy.stays, privacy.hosts))
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._connection = kind(host, port, timeout=_SECONDS)
        self.name = f"{host}:{port}"
        self._headers = {"content-type": "application/json", "host": self.name}
        if token:
            self._headers["authorization"] = f"Bearer {token}"
        path = urlsplit(url).path.rstrip("/")
        self._path = f"{path or f'/v1/projects/{project.charter.project}'}/decisions"
        mark = project.workspace.unit_hash("this line")
        _, found, _ = self._call("GET", "/v2/health/live", None)
        if found.get("line") == mark:
            self.close()
            raise UsageError(
                f"{self.name} is this line's own gateway: a replay would be written into the log that it is read from",
                hint="leave out --to: the sealed bundle answers in this process",
            )

    def __call__(self, rows: Sequence[Asked]) -> list[Said]:
        """Ask for every row, one after the other."""
        return [self._ask(row) for row in rows]

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _ask(self, row: Asked) -> Said:
        body = json.dumps({"x": {name: value for name, value in row.x.items() if value is not None}}).encode()
        for _ in range(_TRIES):
            status, found, wait = self._call("POST", self._path, body)
            if status in _BUSY:
                time.sleep(wait)
                continue
            if status in (401, 403):
                raise Denied(f"{self.name} wants a token that may decide; give one with --token")
            if status == 200 and found.get("decided_by") == "model":
                return Said(found.get("decision"), found.get("confidence"))
            if status in (200, 202):
                return Said(why="no model decides it there")
            error = found.get("error")
            code = error.get("code") if isinstance(error, dict) else status
            return Said(why=f"refused there ({code})")
        raise Unavailable(f"{self.name} is too busy; try again when it is not")

    def _call(self, method: str, path: str, body: bytes | None) -> tuple[int, dict[str, Any], float]:
        try:
            self._connection.request(method, path, body, self._headers)
            answer = self._connection.getresponse()
            data = answer.read(1 << 20)
            wait = float(answer.getheader("retry-after") or 1)
            found = json.loads(data) if data else {}
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._connection.close()
            raise Unavailable(f"{self.name} does not answer as a gateway does ({type(error).__name__})") from None
        return answer.status, found if isinstance(found, dict) else {}, min(max(0.0, wait), 5.0)


def gateway_of(project: Project, url: str, token: str | None) -> Elsewhere:
    """Another line's gateway, ready to be asked."""
    return Elsewhere(project, url, token)
