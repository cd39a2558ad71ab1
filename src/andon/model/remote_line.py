"""One kept HTTP connection to a model on another server: whole answers in time, to an address that rows may go to.

A server may end the connection behind every answer (``Connection: close``, HTTP/1.0): ``http.client`` lets the socket go
before the body is read then, so a socket here stays open until the last of its readers is closed, as those of Python do.

A kept connection is looked at before it is used again: one that the server ended meanwhile, or on which it said what
nobody asked for (it would be taken for the next answer), is let go. A question is asked a second time only where a kept
connection broke before anything came back: a server that hangs up on a new one may have taken the question.
"""

from __future__ import annotations

import http.client
import io
import select
import socket
import ssl
import time
from typing import Any
from urllib.parse import urlsplit

import msgspec

from andon.core.reach import Reach
from andon.core.record import Stays
from andon.errors import AndonError, Denied, Unavailable

__all__ = ["ANSWER_MAX", "Line", "may_go_to", "said_in"]

#: The longest answer that is read, in bytes.
ANSWER_MAX = 32 << 20
#: Statuses that say nothing about the rows.
_NOT_THE_ROWS = frozenset({401, 403, 404, 405, 408, 429, 502, 503, 504})


class _Said(msgspec.Struct):
    error: Any = ""


class Line:
    """One kept connection."""

    def __init__(self, url: str, stays: Stays, hosts: tuple[str, ...] = ()) -> None:
        self.hosts = hosts
        self._connection: http.client.HTTPConnection | None = None
        parts = urlsplit(url)
        self.stays = stays
        self._host, self._port, self._secure = parts.hostname or "", parts.port, parts.scheme == "https"
        self._url = url
        self._clock = _Clock()

    def call(self, method: str, address: str, body: bytes, until: float) -> tuple[int, bytes]:
        """The status and body of an answer that tells of the rows: 200, or one where they may be to blame.

        Raises ``Unavailable`` where they are not, ``Denied`` where they may not be sent there.
        """
        self._clock.until = until
        try:
            status, said = self._twice(method, urlsplit(address).path, body)
        except TimeoutError:
            self.close()
            late = f"{self._url} did not answer in time"
            raise Unavailable(late, kept=late) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            reason = _line_of(getattr(error, "strerror", None) or str(error)) or type(error).__name__
            raise Unavailable(f"{self._url} does not answer: {reason}", kept=f"{self._url} does not answer") from None
        except AndonError:
            self.close()
            raise
        if status in _NOT_THE_ROWS or (status != 200 and status < 400):
            answered = f"{self._url} answered {status}"
            raise Unavailable(f"{answered}: {said_in(said)}", kept=answered)
        return status, said

    def _twice(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        kept = self._kept()
        try:
            return self._once(method, path, body)
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            if self._clock.heard or not kept:
                raise
            self.close()
            return self._once(method, path, body)

    def _kept(self) -> bool:
        """Whether there is a connection that can be used again."""
        timed: Any = None if self._connection is None else self._connection.sock
        if timed is not None and timed.speaks:
            self.close()
        return self._connection is not None

    def _once(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        connection = self._connection or self._connect()
        self._clock.heard = False
        connection.request(
            method, path, body or None, {"content-type": "application/json", "accept": "application/json"}
        )
        with connection.getresponse() as answer:
            said = answer.read(ANSWER_MAX + 1)
            if len(said) > ANSWER_MAX:
                raise ValueError(f"its answer is longer than {ANSWER_MAX} bytes")
            if answer.length:  # a read of at most so many bytes says nothing of an end that came too soon
                raise http.client.IncompleteRead(b"", answer.length)
        if answer.will_close:
            self.close()
        return answer.status, said

    def _connect(self) -> http.client.HTTPConnection:
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self._clock.left())
        connection.connect()
        connection.auto_open = 0  # never by itself again: where it leads is looked at below
        found = connection.sock
        try:
            may_go_to(str(found.getpeername()[0]), self._url, self.stays, self.hosts)
        except Denied:
            connection.close()
            raise
        connection.sock = _Timed(found, self._clock)
        self._connection = connection
        return connection

    def close(self) -> None:
        """Close the connection; the next call makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def __del__(self) -> None:
        self.close()  # an evaluation lets its model go without a word


def may_go_to(host: str, url: str, stays: Stays, hosts: tuple[str, ...] = ()) -> None:
    """Raise ``Denied`` when an address is outside of what ``stays`` allows."""
    if stays == "device" or not Reach(stays, hosts).allows(host, urlsplit(url).hostname or ""):
        said = f"rows may not be sent to {url} ({host}): checklist.privacy.stays is {stays!r}"
        raise Denied(
            said,
            kept=said,
            hint="only loopback, private addresses and checklist.privacy.hosts are inside the organisation",
        )


def said_in(said: bytes) -> str:
    """What a server says is wrong, shortened."""
    try:
        found = msgspec.json.decode(said, type=_Said).error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found = said[:300].decode("utf-8", "replace")
    text = found if isinstance(found, str) else msgspec.json.encode(found).decode()
    return _line_of(text) or "(nothing)"


def _line_of(text: str) -> str:
    """The beginning of a text as one line."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[:300]).split())


class _Clock:
    """When the call under way must be over, and whether anything came back."""

    def __init__(self) -> None:
        self.until = 0.0
        self.heard = False

    def left(self) -> float:
        """Seconds left; raises ``TimeoutError`` when there are none."""
        left = self.until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


class _Timed:
    """A socket whose every wait ends when the call must be over, however slowly bytes come.

    It is closed when it was told to and all its readers are.
    """

    def __init__(self, inner: socket.socket, clock: _Clock) -> None:
        self.inner = inner
        self.clock = clock
        self._readers = 0
        self._closed = False

    @property
    def speaks(self) -> bool:
        """Whether there is something to hear (its end, too) without waiting."""
        if isinstance(self.inner, ssl.SSLSocket) and self.inner.pending():
            return True
        look = select.poll()  # `select` knows no numbers beyond 1,023, and a gateway has as many connections
        look.register(self.inner, select.POLLIN)
        return bool(look.poll(0))

    def sendall(self, data: bytes) -> None:
        self.inner.settimeout(self.clock.left())
        self.inner.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        self._readers += 1
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        self._closed = True
        if not self._readers:
            self.inner.close()

    def let_go(self) -> None:
        """A reader was closed."""
        self._readers -= 1
        if self._closed and not self._readers:
            self.inner.close()


class _Reader(io.RawIOBase):
    def __init__(self, timed: _Timed) -> None:
        super().__init__()
        self._timed = timed

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        clock = self._timed.clock
        self._timed.inner.settimeout(clock.left())
        count = self._timed.inner.recv_into(into)
        clock.heard = clock.heard or count > 0
        return count

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._timed.let_go()
