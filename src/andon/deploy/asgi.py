"""The ASGI face of the gateway: the same core, driven by any ASGI server instead of ``protocol``.

``Face`` makes one ``Request`` of what the server hands over and sends the ``Answer``; what a request means is decided
behind both faces by the same code (``tests/deploy/test_asgi.py`` sends the same requests through both). Limits of body,
target and time are the gateway's; heads, keep-alive and pipelining are the server's business.

Source: ASGI 3.0, HTTP and lifespan, https://asgi.readthedocs.io/en/latest/specs/

>>> import asyncio
>>> class Echo:
...     def submit(self, request, reply):
...         reply(Answer(200, request.path.encode(), "text/plain"))
>>> sent = []
>>> async def receive(): return {"type": "http.request", "body": b""}
>>> async def send(message): sent.append(message)
>>> scope = {"type": "http", "method": "GET", "path": "/api/metrics", "root_path": "/api", "query_string": b"", "headers": []}
>>> asyncio.run(Face(Echo())(scope, receive, send))
>>> sent[0]["status"], sent[1]["body"]
(200, b'/metrics')
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol
from urllib.parse import quote

import msgspec

from andon.deploy.protocol_message import JSON, REQUEST_ID, Answer, Application, Request, made_id, request_id
from andon.deploy.protocol_reader import Limits
from andon.errors import AndonError

__all__ = ["Face", "Running"]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
_REFUSED = frozenset({"CONNECT", "TRACE", "PRI"})
_DIGITS = 18  # no body has a length of more


class Running(Protocol):
    """What begins and ends with the server, for its lifespan."""

    async def start(self) -> None:
        """Begin; raises ``AndonError`` when it cannot."""
        ...

    async def stop(self) -> None:
        """Finish what was begun."""
        ...


class Face:
    """An ASGI application around a sans-IO one.

    ``running`` is started and stopped by the server's lifespan. Under a mount (``root_path``) paths count from there.
    """

    def __init__(self, application: Application, limits: Limits | None = None, running: Running | None = None) -> None:
        self._application = application
        self._limits = limits or Limits()
        self._running = running

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one connection of the server's kind: HTTP, lifespan; a websocket is turned away."""
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        answer = _refusal(scope, self._limits)
        if answer is None:
            try:
                async with asyncio.timeout(self._limits.request_seconds):
                    body = await self._body(receive)
            except TimeoutError:
                seconds = self._limits.request_seconds
                answer = _fault(408, "timeout", f"the request did not arrive within {seconds:g} seconds")
            else:
                if body is None:
                    return  # the client is gone, and its request is not whole: nothing was asked
                if len(body) > self._limits.body_bytes:
                    answer = _too_large(self._limits)
                else:
                    answer = await self._asked(_request(scope, body))
        name = request_id((bytes(name).lower(), bytes(value)) for name, value in scope["headers"])
        if name or answer.status >= 400:
            answer = msgspec.structs.replace(answer, headers=(*answer.headers, (REQUEST_ID, name or made_id())))
        await _tell(answer, send, whole=scope["method"] != "HEAD")

    async def _body(self, receive: Receive) -> bytes | None:
        """The whole body, or more than is allowed of it; None when the client went away."""
        parts: list[bytes] = []
        size = 0
        while size <= self._limits.body_bytes:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if not message.get("more_body", False):
                break
        return b"".join(parts)

    async def _asked(self, request: Request) -> Answer:
        """A client that goes away now changes nothing: what it asked is decided and written down."""
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

        def reply(answer: Answer) -> None:
            if not answered.done():
                answered.set_result(answer)

        self._application.submit(request, reply)
        return await answered

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    if self._running is not None:
                        await self._running.start()
                except AndonError as error:
                    await send({"type": "lifespan.startup.failed", "message": error.message})
                    return
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                if self._running is not None:
                    await self._running.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return


def _request(scope: Message, body: bytes) -> Request:
    return Request(
        scope["method"],
        _path(scope).decode("latin-1"),
        scope.get("query_string", b"").decode("latin-1"),
        tuple((bytes(name).lower(), bytes(value)) for name, value in scope["headers"]),
        body,
    )


def _path(scope: Message) -> bytes:
    """The path as it was sent, from the mount on.

    >>> _path({"path": "/a b", "raw_path": b"/a%20b"}), _path({"path": "/a b"}), _path({"path": "/x/y", "root_path": "/x"})
    (b'/a%20b', b'/a%20b', b'/y')
    """
    path: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    root = quote(scope.get("root_path", "")).rstrip("/").encode()
    if root and (path == root or path.startswith(root + b"/")):
        return path[len(root) :] or b"/"
    return path


def _refusal(scope: Message, limits: Limits) -> Answer | None:
    """What ``protocol_reader`` refuses of a head, as far as an ASGI server lets it through."""
    query = scope.get("query_string", b"")
    if len(_path(scope)) + len(query) + bool(query) > limits.target_bytes:
        return _fault(414, "too_large", f"the request's target is longer than {limits.target_bytes} bytes")
    if scope["method"] in _REFUSED:
        return _fault(501, "usage", f"this server does not speak {scope['method']}")
    for name, value in scope["headers"]:
        digits = bytes(value).lstrip(b"0") if bytes(name).lower() == b"content-length" else b""
        if digits.isdigit() and (len(digits) > _DIGITS or int(digits) > limits.body_bytes):
            return _too_large(limits)
    return None


def _too_large(limits: Limits) -> Answer:
    return _fault(413, "too_large", f"the body is larger than {limits.body_bytes} bytes")


def _fault(status: int, code: str, message: str) -> Answer:
    return Answer(status, msgspec.json.encode({"error": {"code": code, "message": message}}), JSON)


async def _tell(answer: Answer, send: Send, *, whole: bool) -> None:
    headers = [
        (b"content-type", answer.content_type.encode("latin-1")),
        (b"content-length", b"%d" % len(answer.body)),
        *((name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers),
    ]
    try:
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body if whole else b""})
    except OSError:
        return  # the client is gone; what it asked is written down
