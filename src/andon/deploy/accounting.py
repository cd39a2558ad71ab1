"""What the processes of a line cost, from the kernel's own books (``/proc``): processor seconds and memory, by kind.

>>> accounts("nowhere")
{}
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

__all__ = ["Account", "accounts", "load_average", "spent"]

_PROC = Path("/proc")
_KINDS = frozenset(("worker", "controller", "shadow", "board"))


class Account(msgspec.Struct, frozen=True):
    """One kind of process: how many, processor seconds since they began, and resident memory in 2**20 bytes.

    What they share (the interpreter, libraries) is counted once, in equal parts, where the kernel tells.
    """

    processes: int = 0
    cpu_seconds: float = 0.0
    memory_mb: float = 0.0


def accounts(root: str | Path, *, memory: bool = False) -> dict[str, Account]:
    """The processes of the line in folder ``root`` by kind: worker, controller, shadow, board; empty where there are none.

    Memory is left at 0 unless asked for: the kernel has to look through all pages for it.
    """
    found: dict[str, Account] = {}
    for kind, pid in _processes(str(root)):
        one = found.get(kind, Account())
        held = _memory_mb(pid) if memory else 0.0
        found[kind] = Account(one.processes + 1, one.cpu_seconds + _cpu_seconds(pid), one.memory_mb + held)
    return found


def spent(before: Mapping[str, Account], after: Mapping[str, Account]) -> dict[str, float]:
    """Processor seconds between two looks, by kind; a kind whose processes began anew meanwhile is left out.

    >>> spent({"worker": Account(1, 2.0)}, {"worker": Account(1, 2.5), "shadow": Account(1, 1.0)})
    {'worker': 0.5}
    """
    return {
        kind: round(after[kind].cpu_seconds - one.cpu_seconds, 6)
        for kind, one in before.items()
        if kind in after and after[kind].cpu_seconds >= one.cpu_seconds
    }


def load_average() -> float:
    """How many processes wanted a processor over the last minute; 0 where nobody tells."""
    try:
        return os.getloadavg()[0]
    except OSError:
        return 0.0


def _processes(root: str) -> Iterator[tuple[str, int]]:
    """(kind, process id) of everything that was started as ``andon process KIND --project ROOT``."""
    try:
        pids = [int(path.name) for path in _PROC.iterdir() if path.name.isdigit()]
    except OSError:
        return
    for pid in pids:
        words = _words(pid)
        if "process" not in words or root not in words:
            continue
        kind = words[words.index("process") + 1 : words.index("process") + 2]
        if kind and kind[0] in _KINDS and "andon" in words and words[0].rpartition("/")[2] != "nice":
            yield kind[0], pid


def _words(pid: int) -> list[str]:
    try:
        return (_PROC / str(pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return []


def _cpu_seconds(pid: int) -> float:
    """User and system time of all threads; the scheduler's nanoseconds where it tells them, else ticks."""
    total = 0
    try:
        for task in (_PROC / str(pid) / "task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        total = 0
    return total / 1e9 if total else _ticks(pid) / os.sysconf("SC_CLK_TCK")


def _ticks(pid: int) -> int:
    try:
        rest = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return int(rest[11]) + int(rest[12])
    except (OSError, ValueError, IndexError):
        return 0


def _memory_mb(pid: int) -> float:
    for name, mark in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        try:
            for line in (_PROC / str(pid) / name).read_text().splitlines():
                if line.startswith(mark):
                    return float(line.split()[1]) / 1024
        except (OSError, ValueError, IndexError):
            continue
    return 0.0
