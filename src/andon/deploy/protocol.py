"""HTTP/1.1 on a socket: an asyncio Protocol that drives a sans-IO application.

It knows nothing of decisions. Its promises: answers leave in the order of their requests, errors included; what was
refused is answered and then the connection is closed; time, memory and the number of unanswered requests are bounded;
draining finishes what was begun. Reading and its limits are in ``protocol_reader``.

>>> class Echo:
...     def submit(self, request, reply):
...         reply(Answer(200, request.body, "text/plain"))
>>> front = Front(Echo())
>>> front.render(Answer(200, b"hi", "text/plain"), keep=False, body=True, old=False).split(b"\\r\\n")[0]
b'HTTP/1.1 200 OK'
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any

import msgspec

from andon.deploy.protocol_message import JSON, REQUEST_ID, Answer, Application, Request, Take, made_id
from andon.deploy.protocol_reader import Limits, Reader

__all__ = ["Connection", "Front"]

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_HEAD_END = b"\r\n\r\n"
_PIECE = 8192  # bytes that are parsed before it is looked whether that was enough for a turn
_KNOWN_HEADS = 1024
_KNOWN_BYTES = 2048
_SIZES = [b"%d\r\n\r\n" % size for size in range(_KNOWN_BYTES)]
_CODES = {500: "error", 408: "timeout", 413: "too_large", 414: "too_large", 431: "too_large"}


class Front:
    """All connections of one worker: what they share, their timeouts and their drain.

    ``shortcut`` may name who takes a body alone whose head came before; ``later`` calls something in the next turn.
    ``connection()`` is the protocol factory; ``sweep(now)`` closes what is too slow (call it about every second with
    ``time.monotonic()``); ``drain()`` asks every connection to finish.
    """

    def __init__(
        self,
        application: Application,
        limits: Limits | None = None,
        shortcut: Callable[[Request], Take | None] = lambda request: None,
        later: Callable[[Callable[[], None]], object] = lambda call: asyncio.get_running_loop().call_soon(call),
    ) -> None:
        self.application = application
        self.limits = limits or Limits()
        self._shortcut = shortcut
        self.later = later
        self.connections: set[Connection] = set()
        self.draining = False
        self.accepted = 0
        self.refused = 0
        self._heads: dict[tuple[int, str], bytes] = {}
        self.known: dict[bytes, tuple[Request, int, Take | None]] = {}
        self.sweep(time.monotonic())

    def connection(self) -> Connection:
        """A protocol for one new connection."""
        return Connection(self)

    def sweep(self, now: float) -> None:
        """Close connections that are idle, dripping or not reading for too long; renew the date header."""
        self._heads.clear()  # they hold the date
        for connection in tuple(self.connections):
            connection.check(now)

    def learn(self, data: bytes, request: Request) -> None:
        """Remember the head of a request that came whole in one piece and went well.

        The same bytes mean the same again: the next request with this very head (keep-alive clients send it each time)
        needs no parser. A head holds its content length, so what follows it is known, too.
        """
        at = data.find(_HEAD_END) + 4
        if 4 <= at <= _KNOWN_BYTES and len(data) - at == len(request.body) and request.method in ("GET", "POST"):
            if len(self.known) >= _KNOWN_HEADS:
                self.known.clear()
            like = msgspec.structs.replace(request, body=b"")
            self.known[data[:at]] = like, len(request.body), self._shortcut(like)

    def drain(self) -> None:
        """From now on every answer closes its connection; idle ones close at once."""
        self.draining = True
        for connection in tuple(self.connections):
            connection.finish()

    def render(self, answer: Answer, *, keep: bool, body: bool, old: bool) -> bytes:
        """The bytes of an answer; ``body`` is False for HEAD, ``old`` True for an HTTP/1.0 client."""
        content = answer.body
        head = self._heads.get((answer.status, answer.content_type)) or self._head(answer)
        if keep and body and not old and not answer.headers:
            size = len(content)
            return head + (_SIZES[size] if size < _KNOWN_BYTES else b"%d\r\n\r\n" % size) + content
        parts = [head, b"%d\r\n" % len(content)]
        parts.extend(f"{name}: {value}\r\n".encode("latin-1") for name, value in answer.headers)
        if not keep:
            parts.append(b"connection: close\r\n")
        elif old:
            parts.append(b"connection: keep-alive\r\n")
        parts.append(b"\r\n")
        if body:
            parts.append(content)
        return b"".join(parts)

    def _head(self, answer: Answer) -> bytes:
        """The head that all answers of this kind share within a second, up to the number of their content length.

        An error has a head of its own: it always carries a request's id.
        """
        reason = _REASONS.get(answer.status, "Unknown")
        kind = f"HTTP/1.1 {answer.status} {reason}\r\ncontent-type: {answer.content_type}"
        if answer.status >= 400 and all(name != REQUEST_ID for name, _ in answer.headers):
            kind = f"{kind}\r\n{REQUEST_ID}: {made_id()}"
        head = f"{kind}\r\ndate: {formatdate(usegmt=True)}\r\ncontent-length: ".encode("latin-1")
        if answer.status < 400 and len(self._heads) < 256:
            self._heads[answer.status, answer.content_type] = head
        return head


class _Slot(msgspec.Struct, gc=False, eq=False):
    """The place of one answer in the order of a connection; calling it fills it (the first call counts).

    A struct, because one is made for every request; its connection lets go of it (``connection_lost`` at the latest).
    """

    connection: Connection
    head: bool = False
    keep: bool = False
    old: bool = False
    data: bytes | None = None

    def __call__(self, answer: Answer) -> None:
        if self.data is not None:
            return
        connection = self.connection
        self.data = connection.front.render(answer, keep=self.keep, body=not self.head, old=self.old)
        connection.flush()


class _Named(_Slot, gc=False, eq=False):
    """The place of the answer to a request that has an id, which every answer to it repeats."""

    request_id: str = ""

    def __call__(self, answer: Answer) -> None:
        named = (*answer.headers, (REQUEST_ID, self.request_id))
        _Slot.__call__(self, msgspec.structs.replace(answer, headers=named))


class Connection(asyncio.Protocol):
    """One client's connection: the order of its answers, its pace and its end."""

    def __init__(self, front: Front) -> None:
        self.front = front
        self._transport: Any = None
        self._reader = Reader(front.limits, self._take, self._expect)
        self._slots: deque[_Slot] = deque()
        self._ended_at = 0.0  # when our side was closed; what still arrives is thrown away for ``linger_seconds``
        self._client_ended = False
        self._reading_paused = False
        self._writing_paused = False
        self._quiet_since = time.monotonic()
        self._stalled_since = 0.0
        self._waiting_continue = False
        self._whole = b""  # what arrived at once between two requests, while it is read
        self._taken = 0  # requests that the parser found
        self._rest = b""  # what arrived and waits to be parsed, since enough was taken for this turn
        self._called = False  # for that

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        self._transport = transport
        self.front.connections.add(self)
        self.front.accepted += 1
        if self.front.draining:
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone; answers still to come are thrown away."""
        self._transport = None
        self._reader.stopped = True
        self._rest = b""
        self._slots.clear()
        self.front.connections.discard(self)

    def pause_writing(self) -> None:
        """The client reads too slowly: take no more of its requests."""
        self._writing_paused = True
        self._stalled_since = time.monotonic()
        self._pace()

    def resume_writing(self) -> None:
        """The client reads again."""
        self._writing_paused = False
        self._stalled_since = 0.0
        self._pace()

    def eof_received(self) -> bool:
        """The client sends no more: keep our side open until what it asked is answered."""
        self._client_ended = True
        return self._transport is not None and self._half_open(self._transport.can_write_eof())  # TLS knows none

    def _half_open(self, may: bool) -> bool:
        """Whether there is something to say still to a client that says no more."""
        if self._rest and may and not self._reader.stopped:
            return True  # that comes first
        self._reader.stopped = True
        if not self._slots or self._ended_at or not may:
            return False
        self._slots[-1].keep = False
        return True

    def data_received(self, data: bytes) -> None:
        """Parse; every whole request goes to the application at once, up to as many as may be unanswered."""
        reader = self._reader
        if reader.stopped:
            return
        if reader.idle and not self._rest:
            at = data.find(_HEAD_END) + 4
            known = self.front.known.get(data[:at])
            if known is not None and len(data) - at == known[1]:
                self._take_known(data[at:], known[0], known[2])
                return
            self._whole = data
        if self._rest:
            self._rest += data
        else:
            self._read(data)

    def _read(self, data: bytes) -> None:
        """Parse piece by piece; once enough was taken for a turn the rest waits for the next, when others had theirs."""
        reader, at, begun = self._reader, 0, self._taken
        while len(data) - at > _PIECE:
            reader.feed(data[at : at + _PIECE])
            at, most = at + _PIECE, self.front.limits.pipeline
            if self._taken - begun >= most or len(self._slots) >= most or self._writing_paused:
                self._rest = data[at:]
                break
        else:
            reader.feed(data[at:] if at else data)
        self._whole = b""
        if reader.fault is not None and not reader.stopped:
            self._refuse(*reader.fault)
        self._pace()

    def _read_on(self) -> None:
        self._called = False
        data, self._rest = self._rest, b""
        if self._transport is None or self._reader.stopped:
            return
        self._read(data)
        if self._client_ended and not self._rest and not self._half_open(True):
            self._transport.close()

    def _take_known(self, body: bytes, like: Request, take: Take | None) -> None:
        """A request whose head came before: only its body is new."""
        front, slots = self.front, self._slots
        slot = _Slot(self, False, not front.draining)
        slots.append(slot)
        self._reader.stopped = front.draining
        if take is None or not take(body, slot):
            front.application.submit(Request(like.method, like.path, like.query, like.headers, body), slot)
        if len(slots) >= front.limits.pipeline:
            self._pace()

    def flush(self) -> None:
        """Send the answers that are ready and next in order."""
        slots = self._slots
        if self._transport is None or not slots or slots[0].data is None:
            return
        if len(slots) == 1 and slots[0].keep:
            self._transport.write(slots.popleft().data)
        elif not self._write_ready():
            return
        self._quiet_since = time.monotonic()
        if self._waiting_continue and not slots:
            self._send_continue()
        if self._reading_paused:
            self._pace()

    def _write_ready(self) -> bool:
        """Write all answers that are ready, up to the last one of the connection; whether it lives on."""
        slots, ready = self._slots, []
        while slots and (data := slots[0].data) is not None:
            ready.append(data)
            if not slots.popleft().keep:
                self._transport.write(b"".join(ready))
                self._end()
                return False
        self._transport.write(b"".join(ready))
        return True

    def finish(self) -> None:
        """Drain: close when nothing is unanswered, else after the last answer."""
        if self._transport is None or self._ended_at:
            return
        if self._slots:
            self._slots[-1].keep = False
            self._reader.stopped = True
        elif not self._reader.since and not self._rest:
            self._transport.close()

    def check(self, now: float) -> None:
        """Close when too slow, as the limits say."""
        if self._transport is None:
            return
        limits, since = self.front.limits, self._reader.since
        if self._ended_at:
            if now - self._ended_at > limits.linger_seconds:
                self._transport.abort()
        elif self._stalled_since and now - self._stalled_since > limits.stall_seconds:
            self._transport.abort()
        elif self._reading_paused or self._reader.stopped:
            return
        elif since and now - since > limits.request_seconds:
            self._refuse(408, f"the request did not arrive within {limits.request_seconds:g} seconds")
        elif not self._slots and not since and now - self._quiet_since > limits.idle_seconds:
            self._transport.close()

    def _take(self, request: Request, keep: bool, old: bool) -> None:
        if self._transport is None:
            return
        self._waiting_continue = False
        self._taken += 1
        slot = self._slot(request.method == "HEAD", keep and not self.front.draining, old)
        self._slots.append(slot)
        self._reader.stopped = not slot.keep
        if self._whole and slot.keep and not old and self._reader.plain:
            self.front.learn(self._whole, request)
        self.front.application.submit(request, slot)

    def _slot(self, head: bool, keep: bool = False, old: bool = False) -> _Slot:
        """The place of the answer to the request that was read last."""
        name = self._reader.request_id
        return _Named(self, head, keep, old, request_id=name) if name else _Slot(self, head, keep, old)

    def _expect(self) -> None:
        """The client waits for permission to send its body; earlier answers go first."""
        self._waiting_continue = True
        if not self._slots:
            self._send_continue()

    def _send_continue(self) -> None:
        self._waiting_continue = False
        self._transport.write(_CONTINUE)

    def _refuse(self, status: int, message: str) -> None:
        """Answer with an error in its turn, read no more, then close."""
        self._reader.stopped = True
        self._waiting_continue = False
        self.front.refused += 1
        body = msgspec.json.encode({"error": {"code": _CODES.get(status, "usage"), "message": message}})
        if status == 500 and not self._reader.since and self._slots and self._slots[-1].data is None:
            # The request that made us fail was whole, and waits for its answer.
            slot = self._slots[-1] = self._slot(self._slots[-1].head)
        else:
            slot = self._slot(self._reader.asks_head)
            self._slots.append(slot)
        slot(Answer(status, body, JSON))

    def _end(self) -> None:
        """Close our side; let the client read the answer before the socket goes (an early close would reset it)."""
        self._reader.stopped = True
        self._slots.clear()
        self._ended_at = time.monotonic()
        if self._client_ended or not self._transport.can_write_eof():
            self._transport.close()
        else:
            self._transport.write_eof()
            self._pace()

    def _pace(self) -> None:
        """Pause reading while too much is unanswered or unread, resume when it is not."""
        if self._transport is None or self._transport.is_closing():
            return
        full = not self._ended_at and (self._writing_paused or len(self._slots) >= self.front.limits.pipeline)
        if self._rest and not self._reader.stopped:
            if not full and not self._called:
                self._called = True
                self.front.later(self._read_on)
            full = True
        if full and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()
        elif not full and self._reading_paused:
            self._reading_paused = False
            if self._reader.since:
                self._reader.since = time.monotonic()
            self._transport.resume_reading()
