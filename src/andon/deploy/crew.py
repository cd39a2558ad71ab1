"""The workers that answer, as the route plane sees them: who is alive, what they have loaded, whom they follow.

A new version is loaded everywhere before it answers anything, so a switch or a rollback costs no request. A line whose
gateway does not run has nobody to wait for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from andon.errors import Unavailable

__all__ = ["Acknowledged", "Following", "alive", "process_began", "wait_followed", "wait_loaded"]

#: Seconds between two looks.
STEP = 0.005


class Acknowledged(Protocol):
    """What a worker says about itself; ``andon.store.routes.Ack`` is one."""

    @property
    def worker(self) -> str: ...
    @property
    def pid(self) -> int: ...
    @property
    def epoch(self) -> int: ...
    @property
    def loaded(self) -> tuple[str, ...]: ...
    @property
    def faults(self) -> dict[str, str]: ...
    @property
    def began(self) -> int: ...


Look = Callable[[], Sequence[Acknowledged]]
#: (workers that follow the newest route, workers alive)
Following = tuple[int, int]


def alive(acks: Sequence[Acknowledged]) -> list[Acknowledged]:
    """Those whose process exists, and is not another one that got its id since."""
    return [ack for ack in acks if _exists(ack.pid) and ack.began in (0, process_began(ack.pid))]


def wait_loaded(look: Look, version: str, epoch: int, patience: float, sleep: Callable[[float], None]) -> int:
    """Wait until every live worker has loaded ``version``; returns how many there are, 0 when none runs.

    What a worker says is wrong counts from the route ``epoch`` on, which asked for it. Raises ``Unavailable`` as soon as one says that it cannot, or when ``patience`` seconds have gone by.
    """
    for _ in range(_looks(patience)):
        workers = alive(look())
        for ack in workers:
            if ack.epoch >= epoch and version in ack.faults:
                raise Unavailable(f"worker {ack.worker} could not load {version}: {ack.faults[version]}")
        late = [ack.worker for ack in workers if version not in ack.loaded]
        if not late:
            return len(workers)
        sleep(STEP)
    raise Unavailable(f"{', '.join(late)}: {version} is not loaded after {patience:g} s")


def wait_followed(look: Look, epoch: int, patience: float, sleep: Callable[[float], None]) -> Following:
    """Wait at most ``patience`` seconds until every live worker follows the route ``epoch``; never raises."""
    following, workers = 0, 0
    for _ in range(_looks(patience)):
        acks = alive(look())
        following, workers = sum(ack.epoch >= epoch for ack in acks), len(acks)
        if following == workers:
            break
        sleep(STEP)
    return following, workers


def process_began(pid: int) -> int:
    """When a process began, in ticks since the boot; 0 when there is none, or where the system does not tell.

    >>> process_began(os.getpid()) == process_began(os.getpid()), process_began(-1)
    (True, 0)
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in ("Z", "X") else int(fields[19])


def _looks(patience: float) -> int:
    return max(1, round(patience / STEP))


def _exists(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
