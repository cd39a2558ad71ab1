"""A simulated clinic: doctors who are programs, answer the review inbox with stated error rates, and say what they are.

They stand for people where the data have none. What each decides is the known truth, flipped with a probability of their
own, independently of the others; so a comparison of a model with them says how it compares with these numbers, and
proves nothing about people.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from contextlib import suppress

from andon.config import open_project
from andon.demo.operator_desk import OperatorDesk
from andon.errors import Unavailable

__all__ = ["DOCTORS", "Clinic"]

#: How often each of them is wrong. Assumptions, not measurements; 3 % on average.
DOCTORS = {"simulated doctor A": 0.02, "simulated doctor B": 0.03, "simulated doctor C": 0.04}


class Clinic:
    """Works through the inbox in a thread of its own until closed, the doctors by turns.

    ``truths`` maps a case's id to its label, ``doctors`` a name to how often that one is wrong.
    """

    def __init__(
        self,
        root: str,
        truths: Mapping[str, str],
        *,
        seed: int,
        doctors: Mapping[str, float] = DOCTORS,
        at_once: int = 60,
    ) -> None:
        self._project = open_project(root)
        self._desks = deque(
            OperatorDesk(self._project, truths, error=error, seed=seed + at, name=name)
            for at, (name, error) in enumerate(doctors.items())
        )
        self._at_once = at_once
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="clinic", daemon=True)
        self._thread.start()

    @property
    def decided(self) -> int:
        """How many answers they have given."""
        return sum(desk.decided for desk in self._desks)

    def close(self) -> None:
        """Finish the cases in hand and go home."""
        self._ending.set()
        self._thread.join(timeout=30)
        self._project.workspace.close()

    def _work(self) -> None:
        while not self._ending.is_set():
            # The database may be busy for a moment; the clinic simply looks again.
            with suppress(Unavailable):
                self._desks.rotate()
                if sum(desk.work(self._at_once) for desk in self._desks):
                    continue
            self._ending.wait(0.03)
