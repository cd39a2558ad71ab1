"""A simulated clinic: a program that answers the review inbox, with a stated error rate, and says that it is one.

It stands for people where the data have none. What it decides is the known truth, flipped with probability ``error``;
so a comparison of a model with it says how the model compares with that number, and proves nothing about people.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Mapping
from contextlib import suppress

from andon.config import open_project
from andon.core.record import Item
from andon.deploy.line import open_inbox
from andon.errors import Unavailable

__all__ = ["REVIEWER", "Clinic"]

REVIEWER = "simulated clinic"


class Clinic:
    """Works through the inbox in a thread of its own until closed. ``truths`` maps a case's id to its label."""

    def __init__(self, root: str, truths: Mapping[str, str], *, error: float, seed: int, at_once: int = 200) -> None:
        self._project = open_project(root)
        self._truths = truths
        self._error = error
        self._random = random.Random(seed)
        self._at_once = at_once
        charter = self._project.charter
        self._inbox = open_inbox(self._project.workspace, charter)
        self._classes = charter.target.classes
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="clinic", daemon=True)
        self.decided = 0
        self._thread.start()

    def close(self) -> None:
        """Finish the cases in hand and go home."""
        self._ending.set()
        self._thread.join(timeout=30)
        self._project.workspace.close()

    def _work(self) -> None:
        while not self._ending.is_set():
            # The database may be busy for a moment; the clinic simply looks again.
            with suppress(Unavailable):
                if self._round():
                    continue
            self._ending.wait(0.03)

    def _round(self) -> int:
        taken = self._inbox.take(REVIEWER, self._at_once)
        opinions = {item.id: self._opinion(item) for item in taken}
        self.decided += len(self._inbox.decide_many(opinions, REVIEWER, simulated=True))
        return len(taken)

    def _opinion(self, item: Item) -> str:
        truth = self._truths.get(item.id, self._classes[0])
        if self._random.random() >= self._error:
            return truth
        return self._random.choice([label for label in self._classes if label != truth])
