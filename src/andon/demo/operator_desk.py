"""A simulated operator who sorts photographs by eye when the line asks for people, and is named so wherever it shows."""

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

    def __init__(self, project: Project, truths: Mapping[str, str], *, error: float, seed: int) -> None:
        self._inbox = open_inbox(project.workspace, project.charter)
        self._truths = truths
        self._classes = project.charter.target.classes
        self._error = error
        self._random = random.Random(seed)
        self.decided = 0

    def work(self, at_once: int = 100) -> None:
        """Take what waits and decide it."""
        opinions = {item.id: self._opinion(item) for item in self._inbox.take(OPERATOR, at_once)}
        if opinions:
            self.decided += len(self._inbox.decide_many(opinions, OPERATOR, simulated=True))

    def _opinion(self, item: Item) -> str:
        truth = self._truths[item.id]
        if self._random.random() >= self._error:
            return truth
        return self._random.choice([label for label in self._classes if label != truth])
