"""Changing who answers while clients ask all the time: what is done, and how late the old route's last answer was."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.line.pressure import Heard
from tests.line.toyline import Running

from andon.deploy.line import Act

__all__ = ["PATIENCE", "Told", "change_over", "lateness"]

#: Seconds that a command waits for a database that another process holds; the product waits 5.
PATIENCE = 0.2


@dataclass(frozen=True)
class Told:
    """One command: its route's epoch, when the route was published and when the command returned (monotonic seconds)."""

    command: str
    epoch: int
    published: float
    returned: float
    act: Act


def change_over(line: Running, rest: float = 0.08) -> list[Told]:
    """Switch to v2, roll back to v1, stop, start; a little load in between. The line is live with v1, v2 is warm."""
    acts: dict[str, Callable[[], Act]] = {
        "switch": lambda: line.line.switch("v2", actor="test", reason="test"),
        "rollback": lambda: line.line.rollback(actor="test", reason="test"),
        "stop": lambda: line.line.stop(actor="test", reason="test"),
    }
    told = []
    for command, act in acts.items():
        time.sleep(rest)
        told.append(_tell(command, act()))
    time.sleep(rest)
    line.line.start(actor="test", reason="test")
    return told


def _tell(command: str, act: Act) -> Told:
    returned = time.monotonic()
    published = act.route.wall_us / 1e6 - time.time() + returned
    return Told(command, act.epoch, published, returned, act)


def lateness(told: Told, heard: Sequence[Heard]) -> tuple[float, float]:
    """Milliseconds from a command's (return, publication) to the arrival of the last answer by an older route.

    Negative when that answer had arrived before. An answer to which no epoch belongs waits for a person: that is what a
    stopped line says, and no older route said it.
    """
    old = [answer.at for answer in heard if 0 < answer.epoch < told.epoch]
    last = max(old)
    return (last - told.returned) * 1000, (last - told.published) * 1000
