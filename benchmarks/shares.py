"""Where a request's processor time goes inside the gateway: routing, validation, the log, idempotency, in microseconds.

The worker of `benchmarks.core` takes whole requests; between its blocks the same rows go through one part alone, called as
the quick way calls it, so that all blocks see the same machine. Parts:

* routing: the draw of the canary by the request's id, and the level of automation of the inputs;
* validation: reading the body by the contract, less reading it into the same fields without types, bounds or required ones;
  what reading costs in all is printed beside it;
* WAL: packing the columns of a batch, and the frame with its checksum and ``write(2)``;
* idempotency: whether each id was seen, and remembering those of the batch.

    python -m benchmarks.shares --rounds 9 --seconds 0.3 --connections 1,16,64
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from andon.data.validator import row_type
from andon.deploy.idempotency import SeenIds
from andon.deploy.placing import Terms
from andon.deploy.route import compile_route
from andon.store.frame import FrameKind
from andon.store.wal import Frame, FrameIndex, WalWriter
from benchmarks.core import Bench, requests
from benchmarks.paired import take_turns
from benchmarks.project import build, free_port
from benchmarks.results import read, write
from benchmarks.tables import render

__all__ = ["BARS"]

#: Per cent of a request's processor time, at most.
BARS: dict[str, float | None] = {"routing": 3, "validation": 10, "reading the body": None, "WAL": 8, "idempotency": 8}
_ROWS = 512

Block = Callable[[], float]


class Parts:
    """The rows of some batches, ready for every part; ``n`` rows are one batch."""

    def __init__(self, bench: Bench, n: int, scratch: Path) -> None:
        worker = bench.worker
        placer, parts = worker._desk.placer, worker._desk.parts
        live = placer.route.live
        replica = parts.replicas.get(live) if live else None
        if live is None or replica is None:
            raise SystemExit("no model is live: there is nothing to measure")
        self._terms: Terms = placer.terms_for(live, replica)
        drawn = msgspec.structs.replace(placer.route, candidate=live, share=0.1, salt="v2@1")
        self._route = compile_route(drawn, self._terms.contract.names)
        self._n = n
        self._busy = worker._desk.busy
        self._payloads = _captured(bench, n)
        self._bodies = [request.partition(b"\r\n\r\n")[2] for request in requests(_ROWS // n * n, seed=0)]
        fields = self._terms.contract.fields
        self._strict = _reader(row_type(fields))
        self._loose = _reader(msgspec.defstruct("Row", [(field.name, Any, None) for field in fields], gc=False))
        self._given = [self._strict(body) for body in self._bodies]
        self._values = [msgspec.structs.astuple(given.x) for given in self._given]
        self._wal = WalWriter(scratch, f"w{n}")
        self._seen, self._frames = SeenIds(1_000_000, 3600.0), FrameIndex()

    def close(self) -> None:
        """Let the log go."""
        self._wal.close()

    def routing(self) -> int:
        """Version and level of every row."""
        route = self._route
        for given, values in zip(self._given, self._values, strict=True):
            route.assign(None, given.id)
            route.level(values)
        return len(self._given)

    def reading(self) -> int:
        """Every body by the contract."""
        for body in self._bodies:
            self._strict(body)
        return len(self._bodies)

    def loosely(self) -> int:
        """Every body into the same fields, whatever they hold."""
        for body in self._bodies:
            self._loose(body)
        return len(self._bodies)

    def wal(self) -> int:
        """Every batch as a frame."""
        pack = msgspec.msgpack.Encoder().encode
        for columns in self._payloads:
            self._wal.append(FrameKind.DECISION, pack(columns), count=self._n, epoch=1, time_us=1)
        return self._n * len(self._payloads)

    def idempotency(self) -> int:
        """Every id asked for and remembered."""
        seen, turn = self._seen, set[str]()
        for start in range(0, len(self._given), self._n):
            ids = [given.id for given in self._given[start : start + self._n]]
            for id in ids:
                if id.isprintable() and id not in turn and not seen.holds(id) and not self._busy(id):
                    turn.add(id)
            self._frames.add(start, start)
            seen.add_frame("w0", start, ids, 1.0)
            turn.clear()
        return len(self._given)


def _reader(row: type[msgspec.Struct]) -> Callable[[bytes], Any]:
    body = msgspec.defstruct(
        "Body", [("x", row), ("id", str | None, None), ("unit", str | None, None)], forbid_unknown_fields=True, gc=False
    )
    return msgspec.json.Decoder(body).decode


def _captured(bench: Bench, n: int) -> list[Any]:
    """The columns of the frames that the worker writes for some batches of ``n``."""
    wal = bench.worker._desk.parts.recorder.wal
    append, kept = wal.append, []

    def keep(kind: FrameKind, payload: bytes, **how: Any) -> Frame:
        if kind == FrameKind.DECISION and how["count"] == n:
            kept.append(msgspec.msgpack.decode(payload))
        return append(kind, payload, **how)

    wal.append = keep  # type: ignore[method-assign]
    bench.run(bench.worker._front, bench.worker._gateway.turn, n, 0.01)
    wal.append = append  # type: ignore[method-assign]
    if not kept:
        raise SystemExit(f"no frame of {n} rows was written: a canary splits batches, build the project without one")
    return kept[: max(1, _ROWS // n)]


def _timed(work: Callable[[], int], seconds: float) -> Block:
    """Microseconds of processor time a row, over about so many seconds."""

    def block() -> float:
        spent, rows = 0.0, 0
        while spent < seconds:
            begun = time.process_time()
            rows += work()
            spent += time.process_time() - begun
        return spent / rows * 1e6

    return block


async def _measure(
    folder: Path, rounds: int, seconds: float, sizes: Sequence[int]
) -> dict[str, dict[str, list[float]]]:
    bench = Bench(folder)
    await bench.begin()
    found: dict[str, dict[str, list[float]]] = {}
    front, turn = bench.worker._front, bench.worker._gateway.turn
    with tempfile.TemporaryDirectory() as scratch:
        for n in sizes:
            parts = Parts(bench, n, Path(scratch))
            blocks: dict[str, Block] = {
                "gateway": lambda n=n: bench.run(front, turn, n, seconds),  # type: ignore[misc]
                "routing": _timed(parts.routing, seconds),
                "reading the body": _timed(parts.reading, seconds),
                "loosely": _timed(parts.loosely, seconds),
                "WAL": _timed(parts.wal, seconds),
                "idempotency": _timed(parts.idempotency, seconds),
            }
            turns = take_turns(blocks, rounds)
            pairs = zip(turns["reading the body"], turns.pop("loosely"), strict=True)
            turns["validation"] = [strict - loose for strict, loose in pairs]
            found[str(n)] = turns
            parts.close()
    bench.worker._close()
    return found


def main() -> None:
    """Measure, keep, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--connections", default="1,16,64")
    given = parser.parse_args()
    sizes = [int(text) for text in given.connections.split(",")]
    with tempfile.TemporaryDirectory() as scratch:
        folder = build(Path(scratch) / "bench", port=free_port(), kind="plain")
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            found = runner.run(_measure(folder, given.rounds, given.seconds, sizes))
    settings = {"rounds": given.rounds, "seconds": given.seconds}
    write("shares", {"settings": settings, "bars": BARS, "sizes": found})
    parts = {name: part for name in ("shares", "floor") if (part := read(name)) is not None}
    print(render(json.loads(json.dumps(parts))))


if __name__ == "__main__":
    main()
