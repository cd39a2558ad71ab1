"""A process of a line in a world that is bent: a disk that syncs slowly, a machine's clock that is wrong.

python bent.py WORLD process worker ...

``World`` is the test's end: three numbers in a mapped file, read by every process that was started with it, so that the
world changes under processes that run.
"""

from __future__ import annotations

import mmap
import os
import random
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from struct import Struct

from andon.engine.port import ProcessSpec

__all__ = ["World"]

_STATE = Struct("<ddd")


class World:
    """What the bent processes live in. At first nothing is wrong."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            path.write_bytes(_STATE.pack(0.0, 0.0, 0.0))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _STATE.size)

    def disk(self, least_ms: float, most_ms: float) -> None:
        """From now on a sync takes so long, each somewhere in between."""
        self._map[:16] = Struct("<dd").pack(least_ms, most_ms)

    def clock(self, seconds: float) -> None:
        """From now on the machine's clock is off by so much."""
        self._map[16:] = Struct("<d").pack(seconds)

    @property
    def state(self) -> tuple[float, float, float]:
        """(least ms of a sync, most ms, seconds that the clock is off)."""
        least, most, off = _STATE.unpack(self._map[:])
        return least, most, off

    def around(self, specs: Iterable[ProcessSpec]) -> tuple[ProcessSpec, ...]:
        """The same processes, in this world."""
        mine = (sys.executable, str(Path(__file__)), str(self._path))
        return tuple(replace(one, command=(*mine, *one.command[3:])) for one in specs)


def _bend(world: World) -> None:
    from andon.store.writer import WalWriter

    right, right_ns = time.time, time.time_ns

    def sync(descriptor: int) -> None:
        least, most, _ = world.state
        time.sleep(random.uniform(least, most) / 1000)
        os.fdatasync(descriptor)

    defaults = WalWriter.__init__.__kwdefaults__
    assert defaults is not None
    assert defaults["sync"] is os.fdatasync
    defaults["sync"] = sync
    time.time = lambda: right() + world.state[2]
    time.time_ns = lambda: right_ns() + round(world.state[2] * 1e9)


if __name__ == "__main__":
    _bend(World(Path(sys.argv.pop(1))))
    from andon.surface.cli import main

    main()
