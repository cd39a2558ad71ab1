"""The workspace's clock: one straight line from wall time to event time, shared by all processes through a mapped file.

Two slots, each with a revision and a checksum; a change goes into the older one. So a reader needs no lock, and a
process that is killed while it sets the clock leaves the line before in force.
"""

from __future__ import annotations

import math
import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path
from struct import Struct
from zlib import crc32

from andon.core.clock import Affine
from andon.errors import Corrupt, UsageError
from andon.store.files import create_file, locked, unavailable

__all__ = ["WorkspaceClock"]

_SLOT = Struct("<QQqqd")
_CHECKSUM = Struct("<I4x")
_SLOT_SIZE = _SLOT.size + _CHECKSUM.size
_SIZE = 2 * _SLOT_SIZE


def _wall() -> int:
    return time.time_ns() // 1000


def _pack(revision: int, jumps: int, line: Affine) -> bytes:
    packed = _SLOT.pack(revision, jumps, line.base_wall, line.base_time, line.rate)
    return packed + _CHECKSUM.pack(crc32(packed))


def _unpack(raw: bytes) -> tuple[int, int, Affine] | None:
    """(revision, jumps, line) of the newer sound slot."""
    sound = []
    for start in (0, _SLOT_SIZE):
        packed = raw[start : start + _SLOT.size]
        if _CHECKSUM.unpack_from(raw, start + _SLOT.size)[0] == crc32(packed):
            revision, jumps, base_wall, base_time, rate = _SLOT.unpack(packed)
            sound.append((revision, jumps, Affine(base_wall, base_time, rate)))
    return max(sound, key=lambda slot: slot[0], default=None)


class WorkspaceClock:
    """Implements ``andon.core.clock.Clock`` over a file; a change made by one process holds for all at once.

    Within a process event time never steps back: a step is clamped and counted in ``stepped_back``. Only an explicit
    ``set(time_us=...)`` may move it, since whoever does that means it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     wall = iter(range(0, 10_000, 1000))
    ...     clock = WorkspaceClock(Path(folder) / "clock", wall=lambda: next(wall))
    ...     clock.set(time_us=1_000_000, rate=60.0)
    ...     print(clock.now(), clock.now(), clock.rate())
    ...     clock.close()
    1060000 1120000 60.0
    """

    def __init__(self, path: Path, *, wall: Callable[[], int] = _wall) -> None:
        self.stepped_back = 0
        self._path = Path(path)
        self._wall = wall
        self._map = self._open()
        self._raw = b""
        self._revision, self._jumps, self._last = 0, -1, 0
        self._line = Affine(0, 0, 1.0)
        self._refresh()
        if not self._revision:
            self._map.close()
            raise Corrupt(f"the clock {self._path} has no sound line; delete it to restart from the machine's time")

    def _open(self) -> mmap.mmap:
        try:
            if not self._path.exists():
                now = self._wall()
                create_file(self._path, _pack(1, 0, Affine(now, now, 1.0)) + bytes(_SLOT_SIZE))
            fd = os.open(self._path, os.O_RDWR)
            try:
                if os.fstat(fd).st_size != _SIZE:
                    raise Corrupt(
                        f"the clock {self._path}: expected {_SIZE} bytes, found another size; delete it to restart it"
                    )
                return mmap.mmap(fd, _SIZE)
            finally:
                os.close(fd)
        except OSError as error:
            raise unavailable(f"the clock {self._path} could not be opened", error) from error

    def _refresh(self) -> None:
        raw = self._map[:]
        if raw == self._raw:
            return
        slot = _unpack(raw)
        if slot is None or slot[0] < self._revision:
            return
        self._raw = raw
        revision, jumps, line = slot
        if jumps != self._jumps:
            self._last = line.base_time if self._jumps >= 0 else 0
        self._revision, self._jumps, self._line = revision, jumps, line

    def now(self) -> int:
        """Event time in microseconds since 1970 UTC."""
        self._refresh()
        value = self._line.at(self._wall())
        if value < self._last:
            self.stepped_back += 1
            return self._last
        self._last = value
        return value

    def wall(self) -> int:
        """The machine's time in microseconds since 1970 UTC."""
        return self._wall()

    def monotonic(self) -> float:
        """Seconds that only grow."""
        return time.monotonic()

    def rate(self) -> float:
        """Seconds of event time in one second of wall time."""
        self._refresh()
        return self._line.rate

    def line(self) -> Affine:
        """The line in force."""
        self._refresh()
        return self._line

    def set(self, time_us: int | None = None, rate: float | None = None) -> None:
        """Move event time, change its rate, or both, for every process; what is not given goes on without a step."""
        if rate is not None and not (math.isfinite(rate) and rate >= 0):
            raise UsageError(f"clock rate: expected a number from 0 on, found {rate!r}")
        with locked(self._path.with_name(self._path.name + ".lock")):
            wall = self._wall()
            self._refresh()
            base = max(self._line.at(wall), self._last) if time_us is None else time_us
            line = Affine(wall, base, self._line.rate if rate is None else rate)
            revision, jumps = self._revision + 1, self._jumps + (time_us is not None)
            at = 0 if revision % 2 else _SLOT_SIZE
            self._map[at : at + _SLOT_SIZE] = _pack(revision, jumps, line)
            self._refresh()

    def close(self) -> None:
        """Release the mapped file."""
        self._map.close()
