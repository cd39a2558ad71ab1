"""Simulated people: programs that answer the review inbox with a stated error rate, and are named so wherever it shows."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from andon.config import Project
from andon.core.record import Item
from andon.deploy.line import open_inbox

__all__ = ["OPERATOR", "OPERATORS", "OperatorDesk"]

OPERATOR = "simulated operator"
#: Whoever sorts, who looks again, and who decides where these differ.
OPERATORS = (OPERATOR, f"{OPERATOR} 2", f"{OPERATOR} 3")


class OperatorDesk:
    """Answers the inbox whenever ``work`` is called: the known type, or with probability ``error`` another one."""

    def __init__(
        self, project: Project, truths: Mapping[str, str], *, error: float, seed: int, name: str = OPERATOR
    ) -> None:
        self._name = name
        self._inbox = open_inbox(project.workspace, project.charter)
        self._items = project.workspace.items
        self._truths = truths
        self._classes = project.charter.target.classes
        self._error = error
        self._random = random.Random(seed)
        self.decided = 0

    def work(self, at_once: int = 100) -> int:
        """Take what waits and decide it; returns how many cases were taken."""
        taken = self._inbox.take(self._name, at_once)
        if taken:
            cases = self._cases(taken)
            opinions = {item.id: self._opinion(cases[item.id]) for item in taken}
            self.decided += len(self._inbox.decide_many(opinions, self._name, simulated=True))
        return len(taken)

    def _cases(self, taken: Sequence[Item]) -> dict[str, str]:
        """Which case each item is about. People see that in the case itself, programs only where it is kept."""
        again = [item.id for item in taken if item.kind in ("second", "adjudication")]
        kept = self._items.many(again) if again else {}
        return {item.id: kept[item.id].of if item.id in kept else item.id for item in taken}

    def _opinion(self, case: str) -> str:
        truth = self._truths.get(case, self._classes[0])
        if self._random.random() >= self._error:
            return truth
        return self._random.choice([label for label in self._classes if label != truth])
