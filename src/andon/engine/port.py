"""What an engine does: keep named processes alive, and end them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

__all__ = ["IDLE", "Engine", "ProcessSpec", "ProcessState"]

#: The niceness of what should run only where nobody else wants to, as long as that is not for long.
IDLE = 19


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process to keep alive: its name, its command line and how politely it runs.

    ``{parent_fd}`` in the command is replaced by the number of a file descriptor that reaches its end when the engine
    is gone, however it went; a process that sees it must finish. ``niceness`` > 0 is for work that may wait; from
    ``IDLE`` on it gives way to other sessions, too. ``files`` are
    numbers of open files that the process gets, too, under the same numbers.
    """

    name: str
    command: tuple[str, ...]
    niceness: int = 0
    files: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ProcessState:
    """What is known of one process: its pid (None when down), how often it was started again, its last exit code."""

    name: str
    pid: int | None
    restarts: int
    last_exit: int | None


class Engine(Protocol):
    """Keeps replicas alive until closed."""

    def replicas(self, specs: tuple[ProcessSpec, ...]) -> None:
        """Start these processes and keep them alive: one that ends is started again, ever more slowly if it keeps ending."""
        ...

    def states(self) -> list[ProcessState]:
        """What is known of every process."""
        ...

    def poll(self) -> list[str]:
        """Look once: start again what ended; returns a sentence for each thing that happened."""
        ...

    def close(self, grace_seconds: float = 12.0) -> None:
        """Ask all to finish, wait so long, then end them."""
        ...
