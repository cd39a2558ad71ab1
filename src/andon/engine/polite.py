"""Work that may wait gives way to other sessions, and is never starved by them for long.

Where Linux shares a processor among sessions (``sched_autogroup(7)``, on by default), the niceness of a process counts
only against others of its own session, and each process of a line has a session of its own: a polite one would get as much
as any. So its session is made nice, too. At niceness 19 that leaves about a seventieth of a contended processor, which is
right for seconds and wrong for minutes: alarms would come late just when a machine is busy. So a process that has waited
for a processor most of the last ``WINDOW`` seconds gets a quarter of one (niceness ``HURRIED``) until it waits little; and
it begins with its full share, the first time: one that ends again and again would else take it all the time.

Giving way is also a matter of when. Who wakes may not preempt who runs before the slice of that one is over, whatever
their weights, and where it is not over it is only looked again at the next tick: an answer that takes half a millisecond
would wait four. Since Linux 6.12 a process may ask for shorter slices, so these do; what they get in all stays the same.

>>> one = Polite(1, 19, Path("nowhere"))     # not Linux, or no sessions: nothing to change
>>> one.turn(0.0)
>>> one.yielding
False
"""

from __future__ import annotations

import ctypes
import errno
import platform
import struct
import sys
from collections import deque
from contextlib import suppress
from pathlib import Path

__all__ = ["FED", "HURRIED", "RECENT", "SLICE", "STARVED", "WINDOW", "Polite", "shorten"]

#: Seconds that are looked back, and what part of them a process may wait before it is hurried. A load that comes in bursts
#: is no reason: between them it gets on.
WINDOW, STARVED = 30.0, 2 / 3
#: Waiting less than this part of so many seconds, it is polite (again).
RECENT, FED = 10.0, 0.2
#: The niceness of a session that would starve: weight 335 against the 1,024 of others.
HURRIED = 5
#: Nanoseconds that one who wakes waits at most: the least that the kernel takes.
SLICE = 100_000
_EVERY = 1.0
_NANO = 1e-9
#: ``sched_setattr`` by machine: glibc has no name for it before 2.41.
_SETATTR = {"x86_64": 314, "aarch64": 274}
#: ``struct sched_attr``: size, policy (0: SCHED_OTHER), flags, niceness, priority, runtime, deadline, period, two clamps.
_ATTRIBUTES = struct.Struct("=IIQiIQQQII")


def shorten(pid: int, niceness: int) -> bool:
    """Give a process short slices, and this niceness; whether the system took it. Threads and children inherit both.

    Kernels before 6.12 take it and do nothing.
    """
    number = _SETATTR.get(platform.machine()) if sys.platform == "linux" else None
    if number is None:
        return False
    given = _ATTRIBUTES.pack(_ATTRIBUTES.size, 0, 0, niceness, 0, SLICE, 0, 0, 0, 0)
    answer: int = ctypes.CDLL(None).syscall(number, pid, given, 0)
    return answer == 0


class Polite:
    """One process of our own, ``again`` where it was started before; ``turn`` is called every second or so."""

    def __init__(self, pid: int, niceness: int, proc: Path = Path("/proc"), *, again: bool = False) -> None:
        self._niceness = niceness
        self._group = proc / str(pid) / "autogroup"
        self._tasks = proc / str(pid) / "task"
        self._now, self._wanted = 0, HURRIED if again else 0
        self._waits: deque[tuple[float, float]] = deque()

    @property
    def yielding(self) -> bool:
        """Whether it gives way to everything else now."""
        return self._now == self._niceness

    def turn(self, now: float) -> None:
        """Look how long it waited, and set its session's niceness; ``now`` is a steady clock's, in seconds."""
        if self._waits and now - self._waits[-1][0] < _EVERY and self._wanted == self._now:
            return
        waited = self._waited()
        if waited is None:
            return
        self._waits.append((now, waited))
        while len(self._waits) > 2 and now - self._waits[1][0] >= WINDOW:
            self._waits.popleft()
        if self._now and self._part(now, waited, WINDOW) > STARVED:
            self._wanted = HURRIED
        elif now - self._waits[0][0] >= RECENT and self._part(now, waited, RECENT) < FED:
            self._wanted = self._niceness
        if self._wanted != self._now:
            self._set(self._wanted)

    def _part(self, now: float, waited: float, seconds: float) -> float:
        """What part of the last seconds it waited."""
        before = next(then for at, then in reversed(self._waits) if now - at >= seconds or at == self._waits[0][0])
        return (waited - before) / seconds

    def _waited(self) -> float | None:
        """Seconds that its threads stood ready without a processor; None where the system does not say."""
        found: list[float] = []
        for task in self._tasks.glob("*/schedstat"):
            with suppress(OSError, ValueError, IndexError):
                found.append(int(task.read_text().split()[1]) * _NANO)
        return sum(found) if found else None

    def _set(self, niceness: int) -> None:
        try:
            self._group.write_text(str(niceness))
        except OSError as error:
            if error.errno == errno.EAGAIN:  # a user may change one in a tenth of a second: the next turn tries again
                return
        self._now = niceness
