"""An inbox's stores in memory: for simulations, notebooks and tests; what a process forgets when it ends.

They keep the same promises as those of ``andon.store`` (an id is added once, a swap wins once), from any thread.

>>> items = MemoryItems()
>>> items.add([Item("a1", "decision", created_us=0, due_us=9, x={})]), items.add([Item("a1", "decision", 5, 6, {})])
(1, 0)
>>> items.get("a1").due_us
9
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from threading import Lock

from andon.core.record import Item, ItemState, Review

__all__ = ["MemoryItems", "MemoryOutbox"]


class MemoryItems:
    """Review items in a dictionary; implements ``andon.core.port.Items``."""

    def __init__(self) -> None:
        self._items: dict[str, Item] = {}
        self._lock = Lock()

    def add(self, items: Sequence[Item]) -> int:
        """Insert those whose id is new; returns how many were."""
        with self._lock:
            new = {item.id: item for item in items if item.id not in self._items}
            self._items.update(new)
            return len(new)

    def get(self, id: str) -> Item | None:
        """The item, or None."""
        return self._items.get(id)

    def many(self, ids: Iterable[str]) -> dict[str, Item]:
        """The items of these ids that exist, by id."""
        return {id: self._items[id] for id in ids if id in self._items}

    def queue(
        self, limit: int, state: ItemState | None = "open", offset: int = 0, reviewer: str | None = None
    ) -> list[Item]:
        """Highest rank first, then earliest due, then by id; without those that ``reviewer`` answered before."""
        with self._lock:
            found = [item for item in self._items.values() if state is None or item.state == state]
        found = [item for item in found if reviewer not in item.said]
        return sorted(found, key=_order)[offset : offset + limit]

    def taken(self, person: str, limit: int) -> list[Item]:
        """The taken items that a person holds, in the order of the queue."""
        with self._lock:
            found = [item for item in self._items.values() if item.state == "taken" and item.holder == person]
        return sorted(found, key=_order)[:limit]

    def due(self, now_us: int, limit: int) -> list[Item]:
        """Undecided items whose deadline is at or before ``now_us``, earliest first."""
        with self._lock:
            late = [item for item in self._items.values() if item.state != "decided" and item.due_us <= now_us]
        return sorted(late, key=lambda item: item.due_us)[:limit]

    def lapsed(self, now_us: int, limit: int) -> list[Item]:
        """Taken items whose lease, or the time to take a held answer back, ended at or before ``now_us``, in no order."""
        with self._lock:
            taken = [item for item in self._items.values() if item.state == "taken" and _wakes_us(item) <= now_us]
        return taken[:limit]

    def swap(self, item: Item) -> bool:
        """Replace the stored item if its revision is one less; False when somebody was first."""
        with self._lock:
            stored = self._items.get(item.id)
            if stored is None or stored.revision != item.revision - 1:
                return False
            self._items[item.id] = item
            return True

    def swap_many(self, items: Sequence[Item]) -> list[Item]:
        """As ``swap``, for many: those that were replaced, in order."""
        return [item for item in items if self.swap(item)]

    def pending_outbox(self, limit: int) -> list[Item]:
        """Decided items not yet written to the people stream, in the order they were decided."""
        with self._lock:
            waiting = [item for item in self._items.values() if item.state == "decided" and not item.outboxed]
        return sorted(waiting, key=lambda item: item.decided_us)[:limit]


class MemoryOutbox:
    """A people stream in a list; implements ``andon.core.port.ReviewOutbox``."""

    def __init__(self) -> None:
        self.reviews: list[Review] = []

    def append(self, reviews: Sequence[Review]) -> None:
        """Keep the reviews, in order."""
        self.reviews.extend(reviews)


def _order(item: Item) -> tuple[float, int, str]:
    return (-item.rank, item.due_us, item.id)


def _wakes_us(item: Item) -> int:
    return item.lease_until_us if item.draft is None else item.draft.until_us
