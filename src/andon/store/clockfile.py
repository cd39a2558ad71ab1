"""The workspace's clock: one straight line from wall time to event time, shared by all processes through a mapped file.

Two slots, each with a revision and a checksum; a change goes into the older one. So a reader needs no lock, and a
process that is killed while it sets the clock leaves the line before in force. Behind them is one word: the latest event
time that any process told. A machine's clock that is set back moves event time back nowhere, then, not even in a process
that begins afterwards; it runs at half its rate until the machine's clock has caught up.
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

from andon.core.clock import DAY, SECOND, Affine
from andon.errors import Corrupt, UsageError
from andon.store.files import create_file, locked, unavailable

__all__ = ["WorkspaceClock"]

_SLOT = Struct("<QQqqd")
_CHECKSUM = Struct("<I4x")
_SLOT_SIZE = _SLOT.size + _CHECKSUM.size
_LINES = 2 * _SLOT_SIZE
_SIZE = _LINES + 8
_TIME = (1 << 56) - 1  # of the word; above it is which jump the time belongs to
_MARK_EVERY = 100_000
_SLEW = 0.5
_BELIEVED = DAY  # of the machine's clock: who begins is not held to a time that is further ahead


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

    Event time never steps back when the machine's clock does: what was told is held, goes on at half the rate until the
    machine's clock has caught up, and each telling of a held time is counted in ``stepped_back``. A process that begins is
    held to what others told, unless that is more than a day of the machine's clock ahead: then that clock was wrong before,
    and whoever has seen that goes by the machine's clock alone.
    Only an explicit ``set(time_us=...)`` may move event time back, since whoever does that means it. ``wall`` (microseconds)
    and ``steady`` (seconds) are the ports to the machine's clocks, for tests.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     wall = iter(range(0, 10_000, 1000))
    ...     clock = WorkspaceClock(Path(folder) / "clock", wall=lambda: next(wall))
    ...     clock.set(time_us=1_000_000, rate=60.0)
    ...     print(clock.now(), clock.now(), clock.rate())
    ...     clock.close()
    1060000 1120000 60.0
    """

    def __init__(
        self, path: Path, *, wall: Callable[[], int] = _wall, steady: Callable[[], float] = time.monotonic
    ) -> None:
        self.stepped_back = 0
        self._path = Path(path)
        self._wall, self._steady = wall, steady
        self._map = self._open()
        self._mark = memoryview(self._map)[_LINES:].cast("Q")
        self._marked = 0
        self._held: float | None = None
        self._raw = b""
        self._revision, self._jumps, self._last = 0, -1, 0
        self._doubted = False
        self._line = Affine(0, 0, 1.0)
        self._refresh()
        if not self._revision:
            self.close()
            raise Corrupt(f"the clock {self._path} has no sound line; delete it to restart from the machine's time")

    def _open(self) -> mmap.mmap:
        try:
            if not self._path.exists():
                now = self._wall()
                create_file(self._path, _pack(1, 0, Affine(now, now, 1.0)) + bytes(_SIZE - _SLOT_SIZE))
            fd = os.open(self._path, os.O_RDWR)
            try:
                if os.fstat(fd).st_size == _LINES:
                    os.posix_fallocate(fd, 0, _SIZE)  # of a workspace that had no word yet
                elif os.fstat(fd).st_size != _SIZE:
                    raise Corrupt(
                        f"the clock {self._path}: expected {_SIZE} bytes, found another size; delete it to restart it"
                    )
                return mmap.mmap(fd, _SIZE)
            finally:
                os.close(fd)
        except OSError as error:
            raise unavailable(f"the clock {self._path} could not be opened", error) from error

    def _refresh(self) -> None:
        raw = self._map[:_LINES]
        if raw == self._raw:
            return
        slot = _unpack(raw)
        if slot is None or slot[0] < self._revision:
            return
        self._raw = raw
        revision, jumps, line = slot
        if jumps != self._jumps:
            began = self._jumps < 0
            self._last = self._told_before(jumps, line) if began else line.base_time
            self._marked, self._held, self._doubted = 0, None, False
        self._revision, self._jumps, self._line = revision, jumps, line

    def _told_before(self, jumps: int, line: Affine) -> int:
        """What this process, which begins, is held to."""
        told = self._marked_time(jumps)
        return told if told - line.at(self._wall()) <= self._believed(line) else 0

    @staticmethod
    def _believed(line: Affine) -> float:
        """How far ahead a told time may be, in event time."""
        return _BELIEVED * max(1.0, line.rate)

    def _marked_time(self, jumps: int) -> int:
        """The latest event time that any process told since the last jump; 0 where none did."""
        word = self._mark[0]
        return word & _TIME if word >> 56 == jumps & 0xFF else 0

    def now(self) -> int:
        """Event time in microseconds since 1970 UTC."""
        self._refresh()
        told = self._marked_time(self._jumps)  # before the time is read: what another tells meanwhile is no step back
        value = self._line.at(self._wall())
        # For good: the other goes on slowly, and comes within a day again. That is no reason to leap to where it is.
        self._doubted = self._doubted or told - value > self._believed(self._line)
        if self._doubted:
            told = 0
        if value < told or value < self._last:
            value = self._hold(told)
        elif self._held is not None:
            self._held = None
        self._last = value
        if not 0 <= value - self._marked < _MARK_EVERY:
            self._tell(value, told)
        return value

    def _hold(self, told: int) -> int:
        """Event time while the machine's clock is behind it: on from what was told, slowly."""
        self.stepped_back += 1
        steady = self._steady()
        since, self._held = self._held, steady
        slow = 0.0 if since is None else (steady - since) * self._line.rate * _SLEW
        return max(self._last + round(slow * SECOND), told)

    def _tell(self, value: int, told: int) -> None:
        """Let others know how far event time is; two who write at once differ by what they lag behind each other."""
        self._marked = value
        if value > told and 0 <= value <= _TIME:
            self._mark[0] = (self._jumps & 0xFF) << 56 | value

    def wall(self) -> int:
        """The machine's time in microseconds since 1970 UTC."""
        return self._wall()

    monotonic = staticmethod(time.monotonic)
    """Seconds that only grow."""

    def rate(self) -> float:
        """Seconds of event time in one second of wall time."""
        self._refresh()
        return self._line.rate

    def at(self, wall_us: int) -> int:
        """Event time when the machine's clock says ``wall_us``, on the line in force."""
        return self.line().at(wall_us)

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
            if time_us is not None and 0 <= base <= _TIME:
                self._mark[0] = (jumps & 0xFF) << 56 | base
            self._refresh()

    def close(self) -> None:
        """Release the mapped file."""
        self._mark.release()
        self._map.close()
