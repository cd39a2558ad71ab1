"""Simulated people: programs that answer the review inbox with a stated error rate, and are named so wherever it shows."""

from __future__ import annotations

import random
from collections.abc import Mapping

from andon.config import Project
from andon.core.record import Item
from andon.deploy.line import open_inbox

__all__ = ["OPERATOR", "OperatorDesk"]

OPERATOR = "simulated operator"


class OperatorDesk:
    """Answers the inbox whenever ``work`` is called: the known type, or with probability ``error`` another one."""

    def __init__(
        self, project: Project, truths: Mapping[str, str], *, error: float, seed: int, name: str = OPERATOR
    ) -> None:
        self._name = name
        self._inbox = open_inbox(project.workspace, project.charter)
        self._truths = truths
        self._classes = project.charter.target.classes
        self._error = error
        self._random = random.Random(seed)
        self.decided = 0

    def work(self, at_once: int = 100) -> int:
        """Take what waits and decide it; returns how many cases were taken."""
        taken = self._inbox.take(self._name, at_once)
        if taken:
            opinions = {item.id: self._opinion(item) for item in taken}
            self.decided += len(self._inbox.decide_many(opinions, self._name, simulated=True))
        return len(taken)

    def _opinion(self, item: Item) -> str:
        truth = self._truths.get(item.id, self._classes[0])
        if self._random.random() >= self._error:
            return truth
        return self._random.choice([label for label in self._classes if label != truth])
