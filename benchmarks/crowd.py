"""Ten thousand connections that ask nothing, and clients that drip: what they cost, and what others notice of them.

One worker, one class of model; a client asks over one connection in blocks, in turn with and without the crowd. Printed:
memory of the worker per idle connection, medians of the blocks with their ratio, and when dripping clients were cut.

    python -m benchmarks.crowd [--idle 10000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import resource
import select
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp

from tests.deploy.line_rig import DECISIONS, Line

__all__ = ["Asker", "Dripping", "crowd", "memory_of", "paired", "raise_files"]

_BODY = b'{"x": {"age": 20.0}}'
_HEAD = b"POST %s HTTP/1.1\r\nHost: line\r\nContent-Length: %d\r\n\r\n" % (DECISIONS.encode(), len(_BODY))
#: One address has some 28,000 ports; more connections come from others of the loopback.
_PER_ADDRESS = 20_000


def raise_files(wanted: int) -> int:
    """Let this process open as many files as it may; how many connections of ``wanted`` that leaves room for."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(wanted, hard - 500)


def memory_of(pid: int) -> int:
    """Resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()


@contextmanager
def crowd(port: int, count: int) -> Iterator[list[socket.socket]]:
    """So many connections; each has asked once (so each is known to be accepted) and then is silent."""
    clients: list[socket.socket] = []
    try:
        for number in range(count):
            client = socket.socket()
            client.bind((f"127.0.0.{2 + number // _PER_ADDRESS}", 0))
            client.connect(("127.0.0.1", port))
            client.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: line\r\n\r\n")
            clients.append(client)
            if number % 100 == 99:
                for one in clients[-100:]:
                    one.settimeout(30)
                    assert one.recv(4096).startswith(b"HTTP/1.1 200")
        yield clients
    finally:
        for client in clients:
            client.close()


class Asker:
    """A client with one connection."""

    def __init__(self, port: int) -> None:
        self._client = socket.create_connection(("127.0.0.1", port), timeout=30)
        self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, count: int) -> list[float]:
        """Seconds of each of so many requests, one after the other; each is answered with 200."""
        took = []
        for _ in range(count):
            begun = time.perf_counter()
            self._client.sendall(_HEAD + _BODY)
            assert self._client.recv(65_536).startswith(b"HTTP/1.1 200")
            took.append(time.perf_counter() - begun)
        return took

    def close(self) -> None:
        self._client.close()


@dataclass
class Dripping:
    """Clients that send a byte a second: half of them heads, half of them bodies."""

    port: int
    count: int
    clients: dict[socket.socket, bytes] = field(default_factory=dict)
    begun: float = 0.0
    said: dict[socket.socket, bytes] = field(default_factory=dict)
    ended: list[float] = field(default_factory=list)

    def start(self) -> None:
        self.begun = time.monotonic()
        for number in range(self.count):
            client = socket.create_connection(("127.0.0.1", self.port))
            client.setblocking(False)
            self.clients[client] = _HEAD[:20] if number % 2 else _HEAD
            client.sendall(self.clients[client])

    def drip(self) -> None:
        """One byte from everybody who is still there."""
        for client in list(self.clients):
            try:
                client.send(b"x")
            except (BrokenPipeError, ConnectionResetError):
                self._gone(client)

    def listen(self) -> None:
        """Notice who was answered and who was cut."""
        poll = select.poll()
        by_number = {client.fileno(): client for client in self.clients}
        for number in by_number:
            poll.register(number, select.POLLIN)
        for number, _ in poll.poll(0):
            client = by_number[number]
            try:
                data = client.recv(65_536)
            except ConnectionResetError:
                data = b""
            self.said[client] = self.said.get(client, b"") + data
            if not data:
                self._gone(client)

    def _gone(self, client: socket.socket) -> None:
        if self.clients.pop(client, None) is not None:
            self.ended.append(time.monotonic() - self.begun)
            client.close()

    def close(self) -> None:
        for client in self.clients:
            client.close()


def paired(line: Line, idle: int, rounds: int, requests: int = 1_000) -> tuple[float, list[float], list[float]]:
    """(bytes per idle connection, medians with the crowd, medians without), the blocks in turn."""
    asker, pid = Asker(line.port), line.processes[0].pid
    asker.ask(requests)
    with_crowd, without, grown = [], [], []
    for number in range(rounds):
        before = memory_of(pid)
        without.append(statistics.median(asker.ask(requests)))
        with crowd(line.port, idle):
            if number == 0:
                grown.append((memory_of(pid) - before) / idle)
            with_crowd.append(statistics.median(asker.ask(requests)))
        time.sleep(1.5)  # a sweep, in which they are gone
    asker.close()
    return grown[0], with_crowd, without


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--idle", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    idle = raise_files(chosen.idle)
    line = Line(Path(mkdtemp()) / "home", workers=1)
    try:
        line.route(live="v1", bundles={"v1": line.seal()}, levels={"*": "full"})
        line.start()
        each, busy, alone = paired(line, idle, chosen.rounds)
        ratios = [a / b for a, b in zip(busy, alone, strict=True)]
        print(f"{idle} idle connections: {each / 1024:.1f} KiB of the worker each")
        print(
            f"median of a request: {statistics.median(busy) * 1e6:.0f} us among them, "
            f"{statistics.median(alone) * 1e6:.0f} us alone; ratio {statistics.median(ratios):.2f} "
            f"({min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} pairs)"
        )
        _drip(line)
    finally:
        line.close()


def _drip(line: Line, count: int = 1_000) -> None:
    dripping, asker = Dripping(line.port, count), Asker(line.port)
    took: list[float] = []
    dripping.start()
    while dripping.clients and time.monotonic() - dripping.begun < 40:
        dripping.drip()
        dripping.listen()
        end = time.monotonic() + 1
        while time.monotonic() < end:
            took += asker.ask(50)
    took.sort()
    print(
        f"{count} clients that drip: {len(dripping.ended)} cut after {min(dripping.ended):.1f} to "
        f"{max(dripping.ended):.1f} s; {len(took)} requests of another meanwhile, median {statistics.median(took) * 1e6:.0f} us, "
        f"p99 {took[int(len(took) * 0.99)] * 1e6:.0f} us"
    )
    asker.close()
    dripping.close()


if __name__ == "__main__":
    main()
