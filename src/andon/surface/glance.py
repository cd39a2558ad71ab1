"""What was looked up a moment ago is not looked up again: twenty people with the same page open cost one reading.

A value is kept for a second at most and dropped as soon as something changed (``forget``). Who asks for what another is
just reading waits for that reading.

>>> glances, read = Glances(seconds=60.0), []
>>> [glances.get("line", lambda: read.append(1) or len(read)) for _ in range(3)]
[1, 1, 1]
>>> glances.forget(); glances.get("line", lambda: read.append(1) or len(read))
2
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

__all__ = ["Glances"]

T = TypeVar("T")
_MOST = 256


class Glances:
    """A small cache that lives for ``seconds``; errors are not kept."""

    def __init__(self, seconds: float = 1.0) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._locks: dict[Hashable, threading.Lock] = {}
        self._found: dict[Hashable, tuple[float, int, Any]] = {}
        self._generation = 0

    def get(self, key: Hashable, read: Callable[[], T]) -> T:
        """The value of a key: read now, or less than ``seconds`` ago with nothing changed since."""
        with self._lock:
            one = self._locks.setdefault(key, threading.Lock())
        with one:
            with self._lock:
                kept, generation = self._found.get(key), self._generation
            if kept is not None and kept[1] == generation and time.monotonic() - kept[0] < self._seconds:
                found: T = kept[2]
                return found
            fresh = read()
            with self._lock:
                if len(self._found) >= _MOST:
                    self._found.clear()
                    self._locks = {key: one}
                # What was read before something changed is the past, whenever the reading ended.
                self._found[key] = (time.monotonic(), generation, fresh)
            return fresh

    def forget(self) -> None:
        """Something changed: everything is read again."""
        with self._lock:
            self._generation += 1
