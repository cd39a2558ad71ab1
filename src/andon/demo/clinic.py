"""A simulated clinic: a program that answers the review inbox, with a stated error rate, and says that it is one.

It stands for people where the data have none. What it decides is the known truth, flipped with probability ``error``;
so a comparison of a model with it says how the model compares with that number, and proves nothing about people.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress

from andon.config import open_project
from andon.demo.operator_desk import OperatorDesk
from andon.errors import Unavailable

__all__ = ["REVIEWER", "Clinic"]

REVIEWER = "simulated clinic"


class Clinic:
    """Works through the inbox in a thread of its own until closed. ``truths`` maps a case's id to its label."""

    def __init__(self, root: str, truths: Mapping[str, str], *, error: float, seed: int, at_once: int = 200) -> None:
        self._project = open_project(root)
        self._desk = OperatorDesk(self._project, truths, error=error, seed=seed, name=REVIEWER)
        self._at_once = at_once
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="clinic", daemon=True)
        self._thread.start()

    @property
    def decided(self) -> int:
        """How many cases it has decided."""
        return self._desk.decided

    def close(self) -> None:
        """Finish the cases in hand and go home."""
        self._ending.set()
        self._thread.join(timeout=30)
        self._project.workspace.close()

    def _work(self) -> None:
        while not self._ending.is_set():
            # The database may be busy for a moment; the clinic simply looks again.
            with suppress(Unavailable):
                if self._desk.work(self._at_once):
                    continue
            self._ending.wait(0.03)
