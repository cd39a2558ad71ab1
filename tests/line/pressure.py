"""Clients that never stop asking and forgive nothing: keep-alive connections in a process of their own, no second try.

Run as ``python -m tests.line.pressure PORT CONNECTIONS PATH BODY``; it asks until its standard input ends, then prints
one line per answer. ``Pressure`` runs it and reads what it says.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

__all__ = ["Heard", "Pressure"]

_ROOT = Path(__file__).parents[2]
_PAUSE = 0.002  # seconds that a client rests between an answer and its next request


class Heard(msgspec.Struct, frozen=True):
    """One answer: when it had arrived (monotonic seconds), its status (0: none came), its epoch (0: none is told)."""

    at: float
    status: int
    epoch: int
    text: str = ""

    @property
    def failed(self) -> bool:
        """Whether the client was let down."""
        return self.status not in (200, 202)


@dataclass
class Pressure:
    """Load on a line from ``begin`` to ``end``."""

    port: int
    connections: int = 8
    path: str = "/v1/projects/toy/decisions"
    x: str = '{"a": %r, "b": null, "c": "x"}'
    _process: subprocess.Popen[str] | None = None

    def begin(self) -> Pressure:
        """Start asking."""
        command = [
            sys.executable,
            "-m",
            "tests.line.pressure",
            str(self.port),
            str(self.connections),
            self.path,
            self.x,
        ]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, cwd=_ROOT, stdin=pipe, stdout=pipe, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "asking\n"
        return self

    def end(self) -> list[Heard]:
        """Stop asking; every answer, by time."""
        assert self._process is not None
        output = self._process.communicate("", timeout=60)[0]
        self._process = None
        return sorted(msgspec.json.decode(output, type=list[Heard]), key=lambda heard: heard.at)

    def kill(self) -> None:
        """End it without asking for anything."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()


async def _client(port: int, path: str, x: str, number: int, ending: asyncio.Event, heard: list[Heard]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    count = 0
    while not ending.is_set():
        count += 1
        values = x % (0.001 * ((count * 37 + number) % 4000 - 2000))
        body = b'{"id": "p%d-%d-%d", "x": %b}' % (number, count, time.monotonic_ns(), values.encode())
        head = f"POST {path} HTTP/1.1\r\nhost: line\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        try:
            writer.write(head.encode() + body)
            heard.append(await asyncio.wait_for(_answer(reader), 20))
        except (TimeoutError, OSError, EOFError) as error:
            heard.append(Heard(time.monotonic(), 0, 0, f"{type(error).__name__}: {error}"))
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.sleep(_PAUSE)
    writer.close()


async def _answer(reader: asyncio.StreamReader) -> Heard:
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    body = await reader.readexactly(length)
    at, status = time.monotonic(), int(head.split(b" ", 2)[1])
    epoch = msgspec.json.decode(body).get("epoch", 0) if status == 200 else 0
    return Heard(at, status, epoch, "" if status in (200, 202) else body.decode())


async def _main(port: int, connections: int, path: str, x: str) -> list[Heard]:
    heard: list[Heard] = []
    ending = asyncio.Event()
    clients = [asyncio.create_task(_client(port, path, x, n, ending, heard)) for n in range(connections)]
    sys.stdout.write("asking\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    ending.set()
    await asyncio.gather(*clients)
    return heard


if __name__ == "__main__":
    found = asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]))
    sys.stdout.buffer.write(msgspec.json.encode(found))
