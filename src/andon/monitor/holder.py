"""Who holds the lease: a name from which others on the same machine can see whether that process still runs.

So a controller that was killed is followed at once and not only when its lease has run out.
"""

from __future__ import annotations

import os
from pathlib import Path

from andon.deploy.crew import process_began
from andon.store.segment import boot_tag

__all__ = ["holder_name", "is_dead"]


def holder_name() -> str:
    """The name of the calling process: boot, namespace of process ids, process id, and when it began.

    >>> is_dead(holder_name())
    False
    """
    pid = os.getpid()
    return f"{_machine()}-{pid}-{process_began(pid)}"


def is_dead(holder: str) -> bool:
    """Whether a holder was a process that would be seen from here, and no longer runs."""
    machine, _, rest = holder.partition("-")
    pid, _, began = rest.partition("-")
    if machine != _machine() or not pid.isdigit() or not began.isdigit() or began == "0":
        return False
    return str(process_began(int(pid))) != began


def _machine() -> str:
    """The present boot of the machine, as far as process ids mean the same: containers have their own."""
    try:
        namespace = Path("/proc/self/ns/pid").stat().st_ino
    except OSError:
        namespace = 0
    return f"{boot_tag():016x}.{namespace:x}"
