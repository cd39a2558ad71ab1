"""Protocols through which rooms that must not import one another meet.

``andon.store`` implements them; ``andon.people``, ``andon.deploy`` and ``andon.monitor`` use them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from andon.core.record import Event, Item, ItemState, Review

__all__ = ["Items", "JournalWriter", "ReviewOutbox"]


class Items(Protocol):
    """Where review items are kept."""

    def add(self, items: Sequence[Item]) -> int:
        """Insert those whose id is new; returns how many were. Called again with the same items it does nothing."""
        ...

    def get(self, id: str) -> Item | None:
        """The item, or None."""
        ...

    def many(self, ids: Iterable[str]) -> dict[str, Item]:
        """The items of these ids that exist, by id."""
        ...

    def queue(
        self, limit: int, state: ItemState | None = "open", offset: int = 0, reviewer: str | None = None
    ) -> list[Item]:
        """Items in the order to be worked on: highest rank first, then earliest due; all states when ``state`` is None.

        The first ``offset`` of them are left out, and those that ``reviewer`` answered before (``Item.said``).
        """
        ...

    def taken(self, person: str, limit: int) -> list[Item]:
        """The taken items that a person holds, in the order to be worked on."""
        ...

    def due(self, now_us: int, limit: int) -> list[Item]:
        """Items not yet decided whose deadline is at or before ``now_us``."""
        ...

    def lapsed(self, now_us: int, limit: int) -> list[Item]:
        """Taken items whose lease, or the time to take a held answer back, ended at or before ``now_us`` (machine time)."""
        ...

    def swap(self, item: Item) -> bool:
        """Replace the stored item if its revision is ``item.revision - 1``; False when somebody was first."""
        ...

    def swap_many(self, items: Sequence[Item]) -> list[Item]:
        """As ``swap``, for many at once: those that were replaced, in order; the others had been changed by somebody."""
        ...

    def pending_outbox(self, limit: int) -> list[Item]:
        """Decided items not yet written to the people stream."""
        ...


class ReviewOutbox(Protocol):
    """The people stream: what reviewers decided, for the gateway workers to answer with."""

    def append(self, reviews: Sequence[Review]) -> None:
        """Write the reviews durably, in order."""
        ...


class JournalWriter(Protocol):
    """The append-only journal."""

    def append(
        self, action: str, subject: str, actor: str, reason: str, evidence: Mapping[str, Any] | None = None
    ) -> Event:
        """Append one event, chained to the one before; returns it with its sequence and hash."""
        ...
