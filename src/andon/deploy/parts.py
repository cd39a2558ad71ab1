"""What a desk needs of the world, as ports: tests hand over simple ones, a worker the real ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from andon.core.clock import Clock
from andon.core.record import Route
from andon.deploy.case import Case, Done
from andon.deploy.memory import Memory
from andon.deploy.placing import Terms
from andon.deploy.recorder import Recorder
from andon.deploy.replica import Replicas
from andon.deploy.reviews import Reviews
from andon.deploy.shed import Shed
from andon.store.routes import Ack
from andon.store.wal import Frame

__all__ = ["Parts", "Peers", "Quick", "Routes", "Sink"]


class Peers(Protocol):
    """The other workers of this line."""

    def decide(self, owner: int, case: Case) -> None:
        """Have the owner of the case's id decide it; the case is finished with what it says."""
        ...

    def find(self, owner: int, id: str, done: Done) -> None:
        """Ask the owner of an id for the decision."""
        ...


class Routes(Protocol):
    """The route plane (``andon.store.routes``)."""

    def word(self) -> int:
        """The newest epoch."""
        ...

    def current(self) -> Route | None:
        """The newest route."""
        ...

    def at(self, epoch: int) -> Route:
        """The route of an epoch."""
        ...

    def acknowledge(self, worker: str, ack: Ack) -> None:
        """Say what this worker serves."""
        ...


class Sink(Protocol):
    """Where frames go that shadows predict on. It never waits; what does not fit is counted."""

    recorded: int

    @property
    def offered(self) -> int:
        """Rows that were offered."""
        ...

    @property
    def dropped(self) -> int:
        """Rows that found no room."""
        ...

    def offer(self, frame: Frame) -> None:
        """Take a frame or drop it."""
        ...


class Quick(Protocol):
    """The quick way beside the desk (`andon.deploy.express`)."""

    @property
    def behind(self) -> int:
        """How many of its rows wait for a slow model."""

    def run(self) -> None:
        """Settle what came in this turn, and what slow models answered."""

    def late(self, now: float) -> None:
        """Answer those whose deadline has passed."""

    def after(self, id: str, again: Callable[[], None]) -> bool:
        """Call ``again`` once the row with this id that waits for a slow model is answered; False where there is none."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a desk is built from. ``wake`` asks for a turn soon; ``post`` runs a call on the desk's thread.

    ``shed`` takes answers that the log cannot; None: there are none such.
    """

    clock: Clock
    routes: Routes
    replicas: Replicas
    recorder: Recorder
    memory: Memory
    reviews: Reviews
    keep_contract: Callable[[Terms], None]
    wake: Callable[[], None]
    post: Callable[[Callable[[], None]], None]
    peers: Peers | None = None
    sink: Sink | None = None
    shed: Shed | None = None
