"""Work that may wait gives way to other sessions, and is never starved by them for long.

Where Linux shares a processor among sessions (``sched_autogroup(7)``, on by default), the niceness of a process counts
only against others of its own session, and each process of a line has a session of its own: a polite one would get as much
as any. So its session is made nice, too. At niceness 19 that leaves about a seventieth of a contended processor, which is
right for seconds and wrong for minutes: alarms would come late just when a machine is busy. So a process that has waited
for a processor most of the last ``WINDOW`` seconds gets its full share back until it waits little; and it begins with it.

>>> one = Polite(1, 19, Path("nowhere"))     # not Linux, or no sessions: nothing to change
>>> one.turn(0.0)
>>> one.yielding
False
"""

from __future__ import annotations

import errno
from collections import deque
from contextlib import suppress
from pathlib import Path

__all__ = ["STARVED", "WINDOW", "Polite"]

#: Seconds that are looked back, and what part of them a process may wait before it gets its full share again.
WINDOW, STARVED = 10.0, 0.5
_FED = 0.2  # waiting less than this part of the window, it is polite again
_EVERY = 1.0
_NANO = 1e-9


class Polite:
    """One process of our own. ``yielding`` says whether its session is nice now; ``turn`` is called every second or so."""

    def __init__(self, pid: int, niceness: int, proc: Path = Path("/proc")) -> None:
        self.yielding = False
        self._niceness = niceness
        self._group = proc / str(pid) / "autogroup"
        self._tasks = proc / str(pid) / "task"
        self._wanted = False
        self._waits: deque[tuple[float, float]] = deque()

    def turn(self, now: float) -> None:
        """Look how long it waited, and set its session's niceness; ``now`` is a steady clock's, in seconds."""
        if self._waits and now - self._waits[-1][0] < _EVERY and self._wanted == self.yielding:
            return
        waited = self._waited()
        if waited is None:
            return
        self._waits.append((now, waited))
        while len(self._waits) > 2 and now - self._waits[1][0] >= WINDOW:
            self._waits.popleft()
        part = (waited - self._waits[0][1]) / WINDOW
        if part > STARVED:
            self._wanted = False
        elif part < _FED and now - self._waits[0][0] >= WINDOW:
            self._wanted = True
        if self._wanted != self.yielding:
            self._set(self._wanted)

    def _waited(self) -> float | None:
        """Seconds that its threads stood ready without a processor; None where the system does not say."""
        found: list[float] = []
        for task in self._tasks.glob("*/schedstat"):
            with suppress(OSError, ValueError, IndexError):
                found.append(int(task.read_text().split()[1]) * _NANO)
        return sum(found) if found else None

    def _set(self, yielding: bool) -> None:
        try:
            self._group.write_text(str(self._niceness if yielding else 0))
        except OSError as error:
            if error.errno == errno.EAGAIN:  # a user may change one in a tenth of a second: the next turn tries again
                return
        self.yielding = yielding
