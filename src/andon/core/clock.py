"""Time, passed in and never looked up: what a record carries and what a deadline uses.

Two times exist. *Event time* (``now``) is the story's time: it runs at the workspace's rate from the workspace's
offset, so that months pass in a minute in all processes alike. *Wall time* (``wall``) is the machine's. Both are whole
microseconds since 1970-01-01 UTC. Deadlines inside one process use ``monotonic`` seconds.

>>> clock = ManualClock(now=1_000_000)
>>> clock.advance(2.5)
>>> clock.now()
3500000
>>> line = Affine(base_wall=0, base_time=100, rate=10.0)
>>> line.at(7)
170
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

__all__ = ["DAY", "HOUR", "MINUTE", "SECOND", "Affine", "Clock", "ManualClock", "SystemClock", "iso", "parse_time"]

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR


class Clock(Protocol):
    """Where time comes from; every room receives one."""

    def now(self) -> int:
        """Event time in microseconds since 1970 UTC; never steps back within one process."""
        ...

    def wall(self) -> int:
        """The machine's time in microseconds since 1970 UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow, for deadlines inside one process."""
        ...

    def rate(self) -> float:
        """How many seconds of event time pass in one second of wall time; 0 when the story stands still."""
        ...

    def at(self, wall_us: int) -> int:
        """Event time when the machine's clock says ``wall_us``, by how the clock runs now; nothing is held back."""
        ...


class SystemClock:
    """Event time is wall time. A step backwards is clamped and counted in ``stepped_back``."""

    def __init__(self) -> None:
        self.stepped_back = 0
        self._last = 0

    def now(self) -> int:
        """Event time, clamped so that it never steps back."""
        value = self.wall()
        if value < self._last:
            self.stepped_back += 1
            return self._last
        self._last = value
        return value

    def wall(self) -> int:
        """The machine's time."""
        return time.time_ns() // 1000

    monotonic = staticmethod(time.monotonic)
    """Seconds that only grow."""

    def rate(self) -> float:
        """Always 1."""
        return 1.0

    def at(self, wall_us: int) -> int:
        """The same."""
        return wall_us


class ManualClock:
    """A clock that moves when told to; for tests and for replays."""

    def __init__(self, now: int = 0) -> None:
        self._now = now

    def advance(self, seconds: float) -> None:
        """Move event time, wall time and monotonic time on by ``seconds``."""
        self._now += round(seconds * SECOND)

    def now(self) -> int:
        """Event time."""
        return self._now

    def wall(self) -> int:
        """The same as ``now``."""
        return self._now

    def monotonic(self) -> float:
        """The same, in seconds."""
        return self._now / SECOND

    def rate(self) -> float:
        """Always 1."""
        return 1.0

    def at(self, wall_us: int) -> int:
        """The same."""
        return wall_us


@dataclass(frozen=True, slots=True)
class Affine:
    """Event time as a straight line over wall time: ``base_time + rate * (wall - base_wall)``."""

    base_wall: int
    base_time: int
    rate: float

    def at(self, wall: int) -> int:
        """Event time at a wall time."""
        return self.base_time + round((wall - self.base_wall) * self.rate)


def iso(time_us: int) -> str:
    """ISO 8601 in UTC to the second, as shown to people and written in the journal.

    >>> iso(1_583_884_800_000_000)
    '2020-03-11T00:00:00Z'
    """
    return datetime.fromtimestamp(time_us / SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(text: str) -> int:
    """Microseconds since 1970 UTC of an ISO 8601 date or time; one without a zone is UTC.

    >>> parse_time("2020-03-11")
    1583884800000000
    """
    value = datetime.fromisoformat(text)
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    return round(value.timestamp() * SECOND)
