"""Models that answer from elsewhere (a process of their own, another server): what a replica needs to know of them.

>>> Limits().isolated("python"), Limits().isolated("onnx"), Limits(isolation="process").isolated("onnx")
(True, False, True)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
import numpy as np

from andon.core.record import Stays
from andon.data.contract import Contract
from andon.model.columns import Columns

__all__ = ["LOAD_SECONDS", "Away", "Isolation", "Limits", "Model"]

#: ``auto``: models that are kept as Python objects get a process of their own; ``process``: all do; ``none``: none does.
Isolation = Literal["auto", "process", "none"]


LOAD_SECONDS = 600.0
"""Seconds in which a model's process has to have loaded its model: large ones take minutes."""


class Limits(msgspec.Struct, frozen=True):
    """What a model may take. ``seconds`` is for one batch in all, with what its restarts take; 0 memory is no limit.

    ``memory_mb`` (2**20 bytes of address space) is counted from what the process has before the model is loaded.
    ``stays`` and ``hosts`` say where rows may be sent (`andon.core.reach`); ``redacts`` that some inputs are hidden.
    """

    isolation: Isolation = "auto"
    memory_mb: int = 0
    seconds: float = 5.0
    load_seconds: float = LOAD_SECONDS
    stays: Stays = "anywhere"
    hosts: tuple[str, ...] = ()
    redacts: bool = False

    def isolated(self, engine: str) -> bool:
        """Whether a model of this engine gets a process of its own."""
        if engine == "remote":
            return False
        return self.isolation == "process" or (self.isolation == "auto" and engine == "python")


class Model(Protocol):
    """A loaded model, wherever it is (``andon.model.bundle.Served`` is one)."""

    contract: Contract
    classes: tuple[str, ...]
    path: Path
    engine: Any

    def predict(self, columns: Columns, /) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Scores of shape (rows, classes)."""
        ...


class Away:
    """A model that is elsewhere: it may be gone for a while, and come back.

    ``begin`` and ``end`` stand around the calls for one batch, in the thread of the version. ``wants`` is asked on the
    serving thread while no call is under way; where it says yes, ``revive`` is called in the version's thread.
    """

    @property
    def fault(self) -> str:
        """What is wrong with it now, or was a moment ago; empty when nothing is."""
        return ""

    def begin(self) -> None:
        """A batch begins."""

    def end(self) -> None:
        """The batch has been answered."""

    def wants(self, now: float) -> bool:
        """Whether it should be revived."""
        return False

    def revive(self) -> None:
        """Begin to bring it back; does not wait for it."""

    def close(self) -> None:
        """Let it go, waiting until it is gone."""
