"""What one request costs inside the gateway, in microseconds of processor time: bytes in, bytes out, no socket.

A worker is built as it runs, with its real log, routes and model, but its connections write into a list. Each turn gives
one request to each of n connections and lets the desk take its turn; so n is the size of the batch. Contestants take
turns in blocks (`benchmarks.paired`): the whole path, and a server that answers a constant through the same protocol.

    python -m benchmarks.core --rounds 9 --seconds 0.5 --connections 1,16,64
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from andon.config import open_project
from andon.deploy.protocol import Connection, Front
from andon.deploy.settings import GatewayConfig
from andon.deploy.worker import Worker
from benchmarks.constant import Constant
from benchmarks.paired import median, take_turns
from benchmarks.project import COLUMNS, build, free_port

#: Ids of this run were never seen before, also in a project that was measured before.
_RUN = time.time_ns()

__all__ = ["Bench", "Sink", "requests"]


class Sink:
    """A transport that keeps the last thing written and counts."""

    def __init__(self) -> None:
        self.count = 0
        self.last = b""

    def write(self, data: bytes) -> None:
        self.count += 1
        self.last = data

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def can_write_eof(self) -> bool:
        return False

    def close(self) -> None: ...

    def abort(self) -> None: ...


def requests(n: int, seed: int = 1, *, ids: bool = True) -> list[bytes]:
    """Requests for decisions as a keep-alive client sends them: bodies and ids differ."""
    draw = random.Random(seed)
    made = []
    for number in range(n):
        body: dict[str, Any] = {"x": {name: round(draw.gauss(0, 1), 6) for name in COLUMNS}}
        if ids:
            body["id"] = f"{_RUN:x}-{seed:x}-{number:06d}-"
        text = json.dumps(body).encode()
        made.append(
            b"POST /v1/projects/bench/decisions HTTP/1.1\r\nHost: 127.0.0.1:8700\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(text), text)
        )
    return made


class Bench:
    """One worker without sockets."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        """``settings`` take the place of the charter's (`andon.deploy.settings.GatewayConfig`)."""
        project = open_project(folder)
        config = msgspec.structs.replace(GatewayConfig.from_charter(project.charter), **settings)
        self.worker = Worker(config, project.workspace, 0, 1)
        self.seed = 1

    async def begin(self) -> None:
        """Build it and wait until its model is loaded."""
        self.worker._ending = asyncio.Event()
        await self.worker._build(asyncio.get_running_loop())
        await self.worker._wait_loaded()
        self.worker._wake = lambda: None  # type: ignore[method-assign]
        gc.collect()
        gc.freeze()  # as a worker does when it begins to serve

    def connections(self, front: Front, n: int) -> list[tuple[Connection, Sink]]:
        """Open connections."""
        made = []
        for _ in range(n):
            connection, sink = front.connection(), Sink()
            connection.connection_made(sink)  # type: ignore[arg-type]
            made.append((connection, sink))
        return made

    def run(self, front: Front, turn: Callable[[], None], n: int, seconds: float) -> float:
        """Microseconds of processor time per request, over about so many seconds."""
        made = self.connections(front, n)
        spent, done, expected = 0.0, 0, b"HTTP/1.1 200"
        while spent < seconds:
            self.seed += 1
            batch = requests(max(n, 512) // n * n, self.seed)
            begun = time.process_time()
            for start in range(0, len(batch), n):
                for (connection, _), request in zip(made, batch[start : start + n], strict=True):
                    connection.data_received(request)
                turn()
            spent += time.process_time() - begun
            done += len(batch)
            bad = [sink.last for _, sink in made if not sink.last.startswith(expected)]
            if bad or sum(sink.count for _, sink in made) != done:
                raise SystemExit(f"not every request was answered: {bad[:1]}")
        for connection, _ in made:
            connection.connection_lost(None)
        return spent / done * 1e6


async def _main(folder: Path, rounds: int, seconds: float, sizes: list[int]) -> None:
    bench = Bench(folder)
    await bench.begin()
    worker = bench.worker
    constant = Front(Constant())
    for n in sizes:
        contestants: dict[str, Callable[[], float]] = {
            "gateway": lambda n=n: bench.run(worker._front, worker._gateway.turn, n, seconds),  # type: ignore[misc]
            "constant": lambda n=n: bench.run(constant, lambda: None, n, seconds),  # type: ignore[misc]
        }
        found = take_turns(contestants, rounds)
        for name, values in found.items():
            print(f"{n:3d} at once  {name:10} {median(values).text(1)} us")
    worker._close()


def main() -> None:
    """Print microseconds per request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--connections", default="1,16,64")
    parser.add_argument("--folder", type=Path, default=None, help="A project built before.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or build(Path(scratch) / "bench", port=free_port())
        sizes = [int(text) for text in given.connections.split(",")]
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_main(folder, given.rounds, given.seconds, sizes))


if __name__ == "__main__":
    main()
