"""From the log to people: every pending decision, and every automatic one drawn for the audit, becomes a review item.

Items are inserted by the decision's id, so the same frames may come again. Deadlines count from the decision's time.
A review whose item is still open (the database was restored from a backup, or is new) closes that item.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import polars as pl
from msgspec.structs import replace

from andon.core.clock import SECOND
from andon.core.record import Field, Item, Review, Route
from andon.deploy.line import doubling
from andon.errors import AndonError, Corrupt
from andon.monitor.tap import Entry
from andon.people.double import follow_up, item_id
from andon.scope.charter import Charter
from andon.store.codec import decode_reviews
from andon.store.frame import Frame, FrameKind
from andon.store.workspace import Workspace

__all__ = ["AUDIT_DEADLINES", "Intake", "item_of"]

AUDIT_DEADLINES = 24
"""An audit keeps nobody waiting: it stays open for so many deadlines of a pending decision."""

_CHUNK = 2000
_UNMATCHED = 100_000


class Intake:
    """Keeps the inbox in step with the log."""

    def __init__(self, workspace: Workspace, charter: Charter) -> None:
        self._workspace = workspace
        self._deadline_us = charter.review.deadline_us
        self._blind = charter.automation.partial.blind
        self._doubling = doubling(charter)
        self._routes: dict[int, Route | None] = {}
        self._unmatched: dict[str, Review] = {}

    def ask(self, fields: Sequence[Field], rows: pl.DataFrame) -> int:
        """Make the items of recorded decisions of one contract; returns how many were new. Raises ``Unavailable``."""
        audited = (pl.col("audit") > 0) & (pl.col("decided_by") == "model")
        rows = rows.filter((pl.col("status") == "pending") | audited)
        names = [field.name for field in fields]
        items = (self._item(row, names) for row in rows.iter_rows(named=True))
        return sum(self._workspace.items.add(chunk) for chunk in _chunks(items))

    def _item(self, row: dict[str, Any], names: Sequence[str]) -> Item:
        route = self._route(row["epoch"])
        deadline = self._deadline_us if route is None else round(route.review_seconds * SECOND)
        item = item_of(row, names, deadline, self._blind if route is None else route.blind)
        review = self._unmatched.pop(item.id, None)
        return item if review is None else _closed(item, review)

    def _route(self, epoch: int) -> Route | None:
        if epoch not in self._routes:
            try:
                self._routes[epoch] = self._workspace.routes.at(epoch)
            except AndonError:  # not there or not readable: the charter's deadline counts
                self._routes[epoch] = None
        return self._routes[epoch]

    def close(self, entries: Iterable[Entry]) -> int:
        """Close items that reviews have answered and that are open still; returns how many were."""
        reviews: dict[str, Review] = {}
        for review in _reviews(entries):
            reviews.setdefault(item_id(review.id, review.kind), review)
        items = self._workspace.items.many(reviews) if reviews else {}
        for id, review in reviews.items():
            if id not in items and len(self._unmatched) < _UNMATCHED:
                self._unmatched[id] = review
        late = [item for item in items.values() if item.state != "decided"]
        closed = self._workspace.items.swap_many([_closed(item, reviews[item.id]) for item in late])
        self._ask_again(closed)
        return len(closed)

    def _ask_again(self, closed: Sequence[Item]) -> None:
        """Second looks and adjudications follow from what is closed here, too; those that were answered are closed."""
        while asked := [item for item in (follow_up(one, self._doubling) for one in closed) if item is not None]:
            known = {item.id: self._unmatched.pop(item.id, None) for item in asked}
            made = [item if (review := known[item.id]) is None else _closed(item, review) for item in asked]
            self._workspace.items.add(made)
            closed = [item for item in made if item.state == "decided"]


def item_of(row: dict[str, Any], names: Sequence[str], deadline_us: int, blind: bool) -> Item:
    """The question that a decision puts to people; ``names`` are its inputs, ``blind`` holds at level partial.

    The least confident come first. An audit comes after everything that somebody waits for.
    """
    audit = row["status"] == "decided"
    confidence = row["confidence"]
    wait = deadline_us * AUDIT_DEADLINES if audit else deadline_us
    return Item(
        id=row["id"],
        kind="audit" if audit else "decision",
        created_us=row["time_us"],
        due_us=row["time_us"] + wait,
        x={name: row[name] for name in names},
        level=row["level"],
        slice=row["slice"],
        blind=audit or not (row["level"] == "assist" or (row["level"] == "partial" and not blind)),
        suggestion=row["prediction"] if audit else row["suggestion"],
        confidence=confidence,
        risk=-1.0 if audit else 0.0 if confidence is None else 1.0 - confidence,
    )


def _closed(item: Item, review: Review) -> Item:
    return replace(
        item,
        state="decided",
        decision=review.decision,
        decided_by=review.decided_by,
        reviewer=review.reviewer,
        decided_us=review.time_us,
        seconds=review.seconds,
        simulated=review.simulated,
        outboxed=True,
        draft=None,
        revision=item.revision + 1,
    )


def _reviews(entries: Iterable[Entry]) -> Iterator[Review]:
    for entry in entries:
        if isinstance(entry, Frame) and entry.kind is FrameKind.REVIEW:
            try:
                yield from decode_reviews(entry)
            except Corrupt:
                continue  # the shipper counts it as lost


def _chunks(items: Iterator[Item]) -> Iterator[list[Item]]:
    chunk: list[Item] = []
    for item in items:
        chunk.append(item)
        if len(chunk) >= _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
