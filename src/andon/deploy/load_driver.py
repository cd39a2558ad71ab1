"""The load driver: sends requests by a schedule fixed beforehand, whatever becomes of the answers, and times them.

Latency counts from when a request *should* have been sent (as wrk2 does), so that a stall of the gateway shows in every
request that was due meanwhile and not only in those that were under way. How late the driver itself was is measured apart.

It has a loop of its own over plain sockets, for two reasons: timers of asyncio and uvloop tick in milliseconds, which is
the size of what is measured here (``select`` waits in microseconds); and one core drives more than 10,000 requests a
second with it. It reads the answers of our own gateway: HTTP/1.1 with a content length.
"""

from __future__ import annotations

import gc
import math
import select
import selectors
import socket
import time
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from andon.errors import Unavailable

__all__ = ["BROKEN", "TIMEOUT", "Driver", "Trace", "read_answer"]

#: What stands for a status where there was none: no answer in time; the connection broke, or what came was no HTTP.
TIMEOUT, BROKEN = 0, -1
_SWEEP_SECONDS = 0.05
_TELL_SECONDS = 0.5
_AGAIN_SECONDS = 0.05
_HEAD_MAX = 64 * 1024
_FRESH = -2

Say = Callable[[float, int, int], None]


class Trace:
    """What became of every request, by its number: columns of equal length.

    ``due`` is when it should have been sent, in seconds from the start; ``latency`` seconds from then to the whole answer
    (infinite: none came); ``lag`` how many seconds late the driver was in looking at it; ``status`` that of HTTP,
    ``TIMEOUT`` or ``BROKEN``. ``waited`` counts those that found no free connection, ``reopened`` the connections that
    broke. ``seconds`` is from the start to the last answer, ``cpu_seconds`` the driver's own processor time meanwhile.
    """

    def __init__(self, due: Sequence[float]) -> None:
        n = len(due)
        self.due = array("d", due)
        self.latency = array("d", [math.inf]) * n
        self.lag = array("d", [0.0]) * n
        self.status = array("h", [_FRESH]) * n
        self.waited = 0
        self.reopened = 0
        self.seconds = 0.0
        self.cpu_seconds = 0.0

    def add(self, due: float) -> int:
        """One more request, due now (a closed loop has no schedule); its number."""
        self.due.append(due)
        self.latency.append(math.inf)
        self.lag.append(0.0)
        self.status.append(_FRESH)
        return len(self.due) - 1


def read_answer(data: bytes | bytearray) -> tuple[int, int] | None:
    """(status, length of the whole answer), or None while its head is not whole; raises ``ValueError`` for no HTTP of ours.

    >>> read_answer(b"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\nhi")
    (200, 40)
    >>> read_answer(b"HTTP/1.1 200 OK\\r\\ncont") is None
    True
    >>> read_answer(b"SSH-2.0-OpenSSH")
    Traceback (most recent call last):
    ...
    ValueError: no HTTP/1.1
    """
    if data[:9] != b"HTTP/1.1 "[: len(data)]:
        raise ValueError("no HTTP/1.1")
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if len(data) > _HEAD_MAX:
            raise ValueError("a head without end")
        return None
    status = data[9:12]
    at = data.find(b"content-length: ", 0, end)
    if at < 0:
        at = bytes(data[:end]).lower().find(b"content-length: ")
    if at < 0 or not status.isdigit():
        raise ValueError("no content length or no status")
    stop = data.find(b"\r\n", at)
    length = data[at + 16 : stop]
    if not length.isdigit() or len(length) > 12:
        raise ValueError("no content length")
    return int(status), end + 4 + int(length)


class _Line:
    """One keep-alive connection: the request it carries (-1: none), what is still to be sent, what has come."""

    __slots__ = ("came", "carries", "opening", "rest", "socket")

    def __init__(self) -> None:
        self.socket: socket.socket | None = None
        self.carries = -1
        self.rest = b""
        self.came = bytearray()
        self.opening = False


class Driver:
    """Drives one address over ``connections`` connections. ``message`` gives the bytes of request number i.

    ``timeout`` is in seconds from when a request was due. Raises ``Unavailable`` when nothing listens there at the start.
    """

    def __init__(
        self,
        address: tuple[str, int],
        message: Callable[[int], bytes],
        *,
        connections: int,
        timeout: float = 12.0,
        tell: Say | None = None,
    ) -> None:
        self._address = address
        self._message = message
        self._timeout = timeout
        self._tell = tell
        self._selector = selectors.DefaultSelector()
        self._lines = [_Line() for _ in range(connections)]
        self._idle: deque[_Line] = deque()
        self._broken: deque[tuple[float, _Line]] = deque()
        self._waiting: deque[int] = deque()
        self._trace = Trace(())
        self._open = 0
        self._again = False
        self._first = 0
        self._start = 0.0
        self._connect_all()

    def run(self, due: Sequence[float], first: int = 0) -> Trace:
        """Send request i at ``due[i]`` seconds (they grow); returns when all are answered or given up.

        Numbers given to ``message`` begin at ``first``.
        """
        trace = self._begin(due, first)
        at, n = 0, len(due)
        sweep = told = 0.0
        while at < n or self._open:
            now = time.perf_counter() - self._start
            while at < n and due[at] <= now:
                trace.lag[at] = now - due[at]
                self._launch(at)
                at += 1
                now = time.perf_counter() - self._start
            self._wait(min(due[at], sweep) - now if at < n else sweep - now)
            now = time.perf_counter() - self._start
            if now >= sweep:
                self._sweep(now)
                sweep = now + _SWEEP_SECONDS
            if self._tell is not None and now >= told:
                self._tell(now, at, at - self._open)
                told = now + _TELL_SECONDS
        return self._end(trace)

    def run_closed(self, seconds: float, first: int = 0) -> Trace:
        """Every connection asks again as soon as it was answered, for so long; numbers begin at ``first``.

        Latencies are those of a closed loop: a stall delays the questions, too, so they promise nothing under a rate.
        """
        trace = self._begin((), first)
        self._again = True
        sweep = told = 0.0
        while self._idle:
            self._ask_again()
        while self._again or self._open:
            self._wait(sweep - (time.perf_counter() - self._start))
            now = time.perf_counter() - self._start
            self._again = now < seconds
            if now >= sweep:
                self._sweep(now)
                sweep = now + _SWEEP_SECONDS
                while self._again and self._idle:
                    self._ask_again()
            if self._tell is not None and now >= told:
                self._tell(now, len(trace.due), len(trace.due) - self._open)
                told = now + _TELL_SECONDS
        return self._end(trace)

    def close(self) -> None:
        """Close the connections."""
        for line in self._lines:
            self._drop(line)
        self._selector.close()

    def _begin(self, due: Sequence[float], first: int) -> Trace:
        self._trace = Trace(due)
        self._first = first
        gc.collect()
        gc.freeze()  # nothing of ours is a cycle; a collection would be a stall that looks like the gateway's
        gc.disable()
        self._cpu = time.process_time()
        self._start = time.perf_counter()
        return self._trace

    def _end(self, trace: Trace) -> Trace:
        trace.seconds = time.perf_counter() - self._start
        trace.cpu_seconds = time.process_time() - self._cpu
        gc.enable()
        gc.unfreeze()
        return trace

    def _connect_all(self) -> None:
        try:
            for line in self._lines:
                line.socket = socket.create_connection(self._address, timeout=5.0)
                self._family, self._peer = line.socket.family, line.socket.getpeername()
                self._opened(line)
        except OSError as error:
            self.close()
            host, port = self._address
            raise Unavailable(
                f"nothing takes requests at {host}:{port} ({error.strerror or error})",
                hint="`andon up` starts the line",
            ) from error

    def _opened(self, line: _Line) -> None:
        assert line.socket is not None
        line.socket.setblocking(False)
        line.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._selector.register(line.socket, selectors.EVENT_READ, line)
        self._idle.append(line)

    def _ask_again(self) -> None:
        number = self._trace.add(time.perf_counter() - self._start)
        self._launch(number)

    def _launch(self, number: int) -> None:
        self._open += 1
        if self._idle:
            self._send(self._idle.popleft(), number)
        else:
            self._trace.waited += 1
            self._waiting.append(number)

    def _send(self, line: _Line, number: int) -> None:
        line.carries = number
        data = self._message(number + self._first)
        assert line.socket is not None
        try:
            sent = line.socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._break(line, BROKEN)
            return
        if sent < len(data):
            line.rest = data[sent:]
            self._selector.modify(line.socket, selectors.EVENT_READ | selectors.EVENT_WRITE, line)

    def _wait(self, seconds: float) -> None:
        """Until something comes or so many seconds have gone by, whatever is first; to the microsecond."""
        if seconds > 0:
            select.select([self._selector.fileno()], [], [], seconds)
        for key, events in self._selector.select(0):
            line: _Line = key.data
            if events & selectors.EVENT_WRITE:
                self._writable(line)
            if events & selectors.EVENT_READ and line.socket is not None and not line.opening:
                self._readable(line)

    def _readable(self, line: _Line) -> None:
        assert line.socket is not None
        try:
            data = line.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data or line.carries < 0:
            self._break(line, BROKEN)
            return
        came: bytes | bytearray = data
        if line.came:
            line.came += data
            came = line.came
        try:
            found = read_answer(came)
        except ValueError:
            self._break(line, BROKEN)
            return
        if found is None or len(came) < found[1]:
            if came is data:
                line.came += data
            return
        self._answered(line, found[0], came)

    def _answered(self, line: _Line, status: int, came: bytes | bytearray) -> None:
        trace, number = self._trace, line.carries
        trace.latency[number] = time.perf_counter() - self._start - trace.due[number]
        trace.status[number] = status
        self._open -= 1
        line.carries = -1
        if came.find(b"\r\nconnection: close", 0, 1024) > 0:
            self._break(line, BROKEN)  # it says that it goes; opened anew
            return
        if line.came:
            line.came.clear()
        if self._waiting:
            self._send(line, self._waiting.popleft())
        else:
            self._idle.append(line)
            if self._again:
                self._ask_again()

    def _writable(self, line: _Line) -> None:
        assert line.socket is not None
        if line.opening:
            line.opening = False
            self._selector.unregister(line.socket)
            if line.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._break(line, BROKEN)
                return
            self._opened(line)
            if self._waiting:
                self._send(self._idle.pop(), self._waiting.popleft())
            return
        try:
            sent = line.socket.send(line.rest)
        except BlockingIOError:
            return
        except OSError:
            self._break(line, BROKEN)
            return
        line.rest = line.rest[sent:]
        if not line.rest:
            self._selector.modify(line.socket, selectors.EVENT_READ, line)

    def _break(self, line: _Line, status: int) -> None:
        """The connection is of no more use: what it carried has no answer, and it is opened again a little later."""
        if line.carries >= 0:
            self._trace.status[line.carries] = status
            self._open -= 1
        self._drop(line)
        self._trace.reopened += 1
        self._broken.append((time.perf_counter() + _AGAIN_SECONDS, line))

    def _drop(self, line: _Line) -> None:
        if line.socket is not None:
            with suppress(KeyError, ValueError):
                self._selector.unregister(line.socket)
            line.socket.close()
        with suppress(ValueError):
            self._idle.remove(line)
        line.socket, line.carries, line.rest, line.opening = None, -1, b"", False
        line.came.clear()

    def _sweep(self, now: float) -> None:
        """Give up what took too long, and open again what broke."""
        for line in self._lines:
            if line.carries >= 0 and now - self._trace.due[line.carries] > self._timeout:
                self._break(line, TIMEOUT)
        while self._waiting and now - self._trace.due[self._waiting[0]] > self._timeout:
            self._trace.status[self._waiting.popleft()] = TIMEOUT
            self._open -= 1
        clock = time.perf_counter()
        while self._broken and self._broken[0][0] <= clock:
            self._reopen(self._broken.popleft()[1])

    def _reopen(self, line: _Line) -> None:
        line.socket = socket.socket(self._family, socket.SOCK_STREAM)
        line.socket.setblocking(False)
        line.opening = True
        line.socket.connect_ex(self._peer)
        self._selector.register(line.socket, selectors.EVENT_WRITE, line)
