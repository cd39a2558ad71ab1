"""A model on another server behind a replica: its time is a part of the deadline, and it says when it is left alone."""

from __future__ import annotations

import time

from andon.deploy.away import Away, Limits
from andon.model.bundle import Served
from andon.model.remote import RemoteScorer

__all__ = ["RemoteModel"]


class RemoteModel(Away):
    """A loaded bundle of the engine ``remote``."""

    def __init__(self, served: Served, scorer: RemoteScorer, limits: Limits) -> None:
        self.contract = served.contract
        self.classes = served.classes
        self.path = served.path
        self.engine = served.engine
        self.predict = served.predict
        self._scorer = scorer
        self._seconds = limits.seconds

    @property
    def fault(self) -> str:
        """That the server is left alone, while it is."""
        return self._scorer.fault

    def begin(self) -> None:
        """A batch begins: its time runs."""
        self._scorer.until = time.monotonic() + self._seconds

    def close(self) -> None:
        """Close the connection."""
        self._scorer.close()
