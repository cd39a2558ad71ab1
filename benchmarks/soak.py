"""Five million requests with distinct ids through one worker: does its memory stay where it is once the id window is full?

The worker is built as it runs (`benchmarks.core`), with its real log on disk and its committer, but without sockets.
Requests are made in blocks before they are sent, so that making them is no part of what grows. Resident memory is read
after each block. The index of ids holds half of ``--ids`` to all of them, by generations, so memory goes up and down with
a period of half of ``--ids``: means and peaks are taken for each period, and the slope is that of the means.

Afterwards ids are sent again: the newest half of the window must get the very answer they had and no second record; those
that are older than the whole window must be new cases.

    python -m benchmarks.soak --requests 5000000 --ids 1000000
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import uvloop

from andon.deploy.worker import Worker
from benchmarks.core import Bench, Sink
from benchmarks.project import COLUMNS, build, free_port

__all__ = ["Soaked", "resident_kb", "soak"]

_BLOCK = 12_800
_SAMPLE = 2_000
_HEAD = (
    b"POST /v1/projects/bench/decisions HTTP/1.1\r\nHost: 127.0.0.1:8700\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b"
)


@dataclass
class Soaked:
    """What was seen: resident memory (KB) after so many requests, and what became of ids that came again.

    ``means`` and ``peaks`` are for each period of half the window, from when the window was full. ``slope`` is in KB for a
    million requests, with its standard error. ``again`` ids of the newest half of the window were sent again, ``same`` of
    them got their first answer, ``old`` ids from beyond the window were sent again and ``fresh`` of them were new cases.
    """

    requests: int
    ids: int
    seconds: float = 0.0
    at: list[int] = field(default_factory=list)
    kb: list[float] = field(default_factory=list)
    remembered: list[int] = field(default_factory=list)
    again: int = 0
    same: int = 0
    old: int = 0
    fresh: int = 0

    def periods(self) -> list[tuple[float, float]]:
        """(mean, peak) of resident KB in every whole period after the window was full."""
        half, at, kb = self.ids // 2, np.array(self.at), np.array(self.kb)
        starts = range(4 * half, self.requests - half + 1, half)  # both generations have been as large as they get
        parts = [kb[(at > start) & (at <= start + half)] for start in starts]
        return [(float(part.mean()), float(part.max())) for part in parts if len(part)]

    def slope(self) -> tuple[float, float]:
        """KB of resident memory for a million requests, over the means of the periods, and its standard error."""
        means = [mean for mean, _ in self.periods()]
        x = np.arange(len(means)) * (self.ids / 2e6)
        (slope, _), covariance = np.polyfit(x, means, 1, cov=True)
        return float(slope), float(np.sqrt(covariance[0, 0]))


def resident_kb(pid: int | None = None) -> float:
    """Resident memory of a process (this one if not given), in KB."""
    pages = int(Path(f"/proc/{pid or 'self'}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


def _bodies(seed: int = 5, n: int = 4096) -> list[bytes]:
    draw = random.Random(seed)
    return [json.dumps({name: round(draw.gauss(0, 1), 6) for name in COLUMNS}).encode() for _ in range(n)]


def _request(number: int, bodies: Sequence[bytes]) -> bytes:
    """The same request for the same number; ids never repeat, an x does only after thousands."""
    body = b'{"id": "soak-%012d", "x": %b}' % (number, bodies[number * 2654435761 % len(bodies)])
    return _HEAD % (len(body), body)


class _Asker:
    """Sends requests by number over connections, all of a turn at once, and reads the answers."""

    def __init__(self, bench: Bench, connections: int) -> None:
        self._bodies = _bodies()
        self._worker = bench.worker
        self._open = bench.connections(bench.worker._front, connections)

    def send(self, numbers: Sequence[int], kept: dict[int, bytes] | None = None) -> None:
        """Ask; where ``kept`` has the number it receives the answer's body. Raises SystemExit for one that is no 200."""
        made = [_request(number, self._bodies) for number in numbers]
        turn, n = self._worker._gateway.turn, len(self._open)
        for start in range(0, len(made), n):
            part = list(zip(self._open, made[start : start + n], strict=False))
            for (connection, _), request in part:
                connection.data_received(request)
            turn()
            for place, ((_, sink), _) in enumerate(part):
                _expect(sink)
                if kept is not None and numbers[start + place] in kept:
                    kept[numbers[start + place]] = sink.last.partition(b"\r\n\r\n")[2]

    def close(self) -> None:
        """Close the connections."""
        for connection, _ in self._open:
            connection.connection_lost(None)


def _expect(sink: Sink) -> None:
    if not sink.last.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"a request was refused: {sink.last[:300]!r}")


async def _soak(folder: Path, found: Soaked, connections: int) -> None:
    bench = Bench(folder, idempotency_ids=found.ids, deadline_seconds=3600.0)  # what is measured is memory
    await bench.begin()
    worker, asker = bench.worker, _Asker(bench, connections)
    draw = random.Random(11)
    watched = sorted(draw.sample(range(found.requests - found.ids // 2, found.requests), min(_SAMPLE, found.ids // 4)))
    first = dict.fromkeys(watched, b"")
    begun = time.monotonic()
    for start in range(0, found.requests, _BLOCK):
        numbers = range(start, min(start + _BLOCK, found.requests))
        asker.send(numbers, first)
        worker._desk.tick()
        await asyncio.sleep(0)
        found.at.append(numbers[-1] + 1)
        found.kb.append(resident_kb())
        found.remembered.append(len(worker._desk.parts.memory.seen))
    found.seconds = time.monotonic() - begun
    _ask_again(worker, asker, found, watched, first)
    asker.close()
    worker._close()


def _ask_again(worker: Worker, asker: _Asker, found: Soaked, watched: list[int], first: dict[int, bytes]) -> None:
    """The newest ids again, then ones from beyond the window."""
    desk = worker._desk
    wal, before = desk.parts.recorder.wal, desk.meter.repeated
    rows, second = wal.next_sequence, dict.fromkeys(watched, b"")
    asker.send(watched, second)
    found.again = len(watched)
    found.same = sum(second[number] == first[number] for number in watched)
    if (desk.meter.repeated - before, wal.next_sequence - rows) != (found.again, 0):
        raise SystemExit(f"{desk.meter.repeated - before} of {found.again} newest ids were known")
    beyond = found.requests - found.ids
    old = random.Random(12).sample(range(beyond), min(_SAMPLE, beyond))
    asker.send(old)
    found.old, found.fresh = len(old), wal.next_sequence - rows


def soak(folder: Path, requests: int, ids: int, connections: int = 64) -> Soaked:
    """Send so many requests with distinct ids to a worker that remembers ``ids`` of them at most."""
    found = Soaked(requests, ids)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_soak(folder, found, connections))
    return found


def main() -> None:
    """Print memory by period, its slope, and what became of ids that came again."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=5_000_000)
    parser.add_argument("--ids", type=int, default=1_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = build(Path(scratch) / "bench", port=free_port())
        found = soak(folder, given.requests, given.ids)
    slope, error = found.slope()
    print(f"{found.requests:,} requests in {found.seconds:.0f} s, at most {max(found.remembered):,} ids remembered")
    for number, (mean, peak) in enumerate(found.periods(), start=1):
        print(f"period {number:2d} of {found.ids // 2:,} ids: mean {mean / 1024:7.1f} MB, peak {peak / 1024:7.1f} MB")
    print(f"slope {slope:.0f} +- {2 * error:.0f} KB for a million requests")
    print(
        f"asked again: {found.same} of {found.again} newest ids had their answer, {found.fresh} of {found.old} old ones were new"
    )


if __name__ == "__main__":
    main()
