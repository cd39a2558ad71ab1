"""Workers of one line talk through Unix sockets: a case whose id another worker keeps is handed to that one.

A message is four bytes of length (little-endian) and JSON. Many questions travel on one connection at a time. When the
other worker dies, what it has not answered is asked again as soon as it is back: a case that is handed over carries an
id, so asking twice decides once. After the deadline the client is told to try again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import msgspec

from andon.core.clock import Clock
from andon.deploy.case import Case, Done, Outcome, Shown
from andon.deploy.desk import Desk
from andon.errors import AndonError, CharterError, Overloaded, Unavailable

__all__ = ["Links", "Listener", "Messages", "socket_path"]

_RETRY_SECONDS = 0.03
_LENGTH = 4
_PATH_MAX = 100  # sun_path holds 108 bytes on Linux


def _tree(kind: type[AndonError]) -> Iterator[type[AndonError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from _tree(below)


_CODES = {kind.code: kind for kind in _tree(AndonError) if kind is not CharterError}


class Ask(msgspec.Struct, frozen=True, array_like=True):
    """A question: decide this case, or find this decision."""

    number: int
    kind: Literal["decide", "find"]
    id: str
    x: dict[str, bool | int | float | str | None] = {}
    unit: str | None = None
    tags: dict[str, str] = {}
    human: str | None = None
    pin: str | None = None


class Tell(msgspec.Struct, frozen=True, array_like=True):
    """Its answer: what the client may know, or the error as (code, message, field, hint)."""

    number: int
    shown: Shown | None = None
    error: tuple[str, str, str | None, str | None] | None = None


_encode = msgspec.json.Encoder().encode
_ask = msgspec.json.Decoder(Ask).decode
_tell = msgspec.json.Decoder(Tell).decode


def socket_path(run_dir: Path, index: int) -> str:
    """Where worker ``index`` listens; through an open directory where the path is too long for a socket."""
    path = str(run_dir / f"w{index}.sock")
    if len(os.fsencode(path)) <= _PATH_MAX or not Path("/proc/self/fd").exists():
        return path
    return f"/proc/self/fd/{_directory(run_dir)}/w{index}.sock"


_DIRECTORIES: dict[Path, int] = {}


def _directory(path: Path) -> int:
    if path not in _DIRECTORIES:
        _DIRECTORIES[path] = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    return _DIRECTORIES[path]


def _framed(message: Ask | Tell) -> bytes:
    body = _encode(message)
    return len(body).to_bytes(_LENGTH, "little") + body


class Messages(asyncio.Protocol):
    """Cuts a stream into messages and gives each to ``take``; ``lost`` is called when the connection is gone."""

    def __init__(self, take: Callable[[Messages, bytes], None], lost: Callable[[], None] = lambda: None) -> None:
        self.transport: Any = None
        self._take = take
        self._lost = lost
        self._buffer = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The other side is there."""
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """The other side is gone."""
        self.transport = None
        self._lost()

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        buffer = self._buffer
        buffer += data
        at = 0
        while len(buffer) - at >= _LENGTH:
            end = at + _LENGTH + int.from_bytes(buffer[at : at + _LENGTH], "little")
            if len(buffer) < end:
                break
            self._take(self, bytes(buffer[at + _LENGTH : end]))
            at = end
        del buffer[:at]

    def send(self, message: Ask | Tell) -> None:
        """Send one message; nothing happens when the connection is gone."""
        if self.transport is not None:
            self.transport.write(_framed(message))


class Listener:
    """The answering side of a worker."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def connection(self) -> Messages:
        """A protocol for one other worker."""
        return Messages(self._take)

    def _take(self, connection: Messages, body: bytes) -> None:
        try:
            ask = _ask(body)
        except msgspec.MsgspecError:
            connection.transport.close()
            return

        def done(outcome: Outcome) -> None:
            if isinstance(outcome, AndonError):
                error = (outcome.code, outcome.message, outcome.field, outcome.hint)
                connection.send(Tell(ask.number, error=error))
            else:
                connection.send(Tell(ask.number, outcome))

        if ask.kind == "find":
            self._desk.find(ask.id, done, handed=True)
        else:
            case = Case(ask.x, done, id=ask.id, unit=ask.unit, tags=ask.tags, human=ask.human, pin=ask.pin)
            self._desk.submit(case, handed=True)


class _Question(msgspec.Struct):
    ask: Ask
    done: Done
    deadline: float


class _Link:
    """The asking side towards one other worker: connects when there is something to ask, and again when it was lost."""

    def __init__(self, path: str, limit: int) -> None:
        self.questions: dict[int, _Question] = {}
        self._path = path
        self._limit = limit
        self._connection: Messages | None = None
        self._task: asyncio.Task[None] | None = None

    def put(self, question: _Question) -> None:
        """Ask; what cannot be sent now is sent when the other worker is back."""
        if len(self.questions) >= self._limit:
            question.done(Overloaded(f"{self._limit} requests wait for another worker already; try again in a second"))
            return
        self.questions[question.ask.number] = question
        if self._connection is not None:
            self._connection.send(question.ask)
        elif self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._connect())

    def expire(self, now: float) -> None:
        """Give up what has waited too long."""
        for number in [number for number, question in self.questions.items() if now > question.deadline]:
            question = self.questions.pop(number)
            question.done(Unavailable("the worker that keeps this id does not answer; try again"))

    def close(self) -> None:
        """Hang up."""
        if self._task is not None:
            self._task.cancel()
        if self._connection is not None and self._connection.transport is not None:
            self._connection.transport.close()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        while self.questions:
            with suppress(OSError):
                _, connection = await loop.create_unix_connection(lambda: Messages(self._take, self._lost), self._path)
                self._connection = connection
                for question in self.questions.values():
                    connection.send(question.ask)
                break
            await asyncio.sleep(_RETRY_SECONDS)
        self._task = None

    def _lost(self) -> None:
        self._connection = None
        if self.questions and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._connect())

    def _take(self, connection: Messages, body: bytes) -> None:
        tell = _tell(body)
        question = self.questions.pop(tell.number, None)
        if question is None:
            return
        if tell.shown is not None:
            question.done(tell.shown)
        else:
            code, message, field, hint = tell.error or ("unavailable", "the other worker gave no reason", None, None)
            question.done(_CODES.get(code, AndonError)(message, field=field, hint=hint))


class Links:
    """All other workers, for the desk (``andon.deploy.parts.Peers``)."""

    def __init__(self, run_dir: Path, workers: int, clock: Clock, seconds: float, limit: int) -> None:
        self._links = {index: _Link(socket_path(run_dir, index), limit) for index in range(workers)}
        self._clock = clock
        self._seconds = seconds
        self._number = 0

    @property
    def idle(self) -> bool:
        """Whether nothing was asked that is not answered."""
        return not any(link.questions for link in self._links.values())

    def decide(self, owner: int, case: Case) -> None:
        """Hand a case to the worker that keeps its id."""
        self._put(owner, case.finish, "decide", case.id, case)

    def find(self, owner: int, id: str, done: Done) -> None:
        """Ask the worker that keeps an id for its decision."""
        self._put(owner, done, "find", id, None)

    def expire(self) -> None:
        """Give up what has waited too long; call it now and then."""
        now = self._clock.monotonic()
        for link in self._links.values():
            link.expire(now)

    def close(self) -> None:
        """Hang up everywhere."""
        for link in self._links.values():
            link.close()

    def _put(self, owner: int, done: Done, kind: Literal["decide", "find"], id: str, case: Case | None) -> None:
        self._number += 1
        if case is None:
            ask = Ask(self._number, kind, id)
        else:
            ask = Ask(self._number, kind, id, dict(case.x), case.unit, case.tags, case.human, case.pin)
        self._links[owner].put(_Question(ask, done, self._clock.monotonic() + self._seconds))
