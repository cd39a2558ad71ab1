"""The journal: who did what when and why, appended and never edited, each event chained by hash to the one before.

The hash is SHA-256 over a JSON array of the event's columns and the previous hash (Haber and Stornetta 1991), so an
edited, removed or reordered event shows in ``check``. Events cut off at the end do not: keep the ``head`` elsewhere, too.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Select, func, insert, select

from andon.core.clock import Clock
from andon.core.record import Event
from andon.errors import UsageError
from andon.store.tables import Database, events

__all__ = ["Journal", "Verification", "Wanted"]

_FIRST = "0" * 64
_BATCH = 1000
_HASH = -1  # the last column is the hash, over all before it


class Wanted(msgspec.Struct, frozen=True):
    """Which events: of any of ``actions`` (None: all), by whom, about what, in [``since_us``, ``until_us``) of event time."""

    actions: tuple[str, ...] | None = None
    actor: str | None = None
    subject: str | None = None
    since_us: int | None = None
    until_us: int | None = None


class Verification(msgspec.Struct, frozen=True):
    """What came of recomputing the chain: ``events`` were checked from the sequence ``first`` on, in ``seconds``.

    ``bad`` is the first sequence that does not fit (None: all fit); ``fault`` says in one sentence what was expected
    there and found. ``head`` is the hash of the newest event: keep it elsewhere to see that none is cut off.
    """

    events: int
    first: int
    head: str
    seconds: float
    bad: int | None = None
    fault: str = ""

    @property
    def sound(self) -> bool:
        """Whether every event fits the one before it."""
        return self.bad is None


def _digest(columns: Sequence[Any]) -> str:
    """The hash of an event: over exactly what is stored, in the order of the columns."""
    return sha256(msgspec.json.encode(columns)).hexdigest()


def _event(row: Row[Any]) -> Event:
    columns = dict(row._mapping)
    columns["evidence"] = msgspec.json.decode(columns["evidence"])
    return Event(**columns)


class Journal:
    """The journal of a workspace; it implements ``andon.core.port.JournalWriter``.

    >>> import tempfile
    >>> from andon.core.clock import ManualClock
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     journal = Journal(Database.create(f"sqlite:///{folder}/andon.db"), ManualClock(5))
    ...     _ = journal.append("release", "v1", "ann", "passed its gates", {"recall": 0.91})
    ...     print(journal.read()[0].evidence, journal.verify())
    {'recall': 0.91} (True, None)
    """

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    def append(
        self, action: str, subject: str, actor: str, reason: str, evidence: Mapping[str, Any] | None = None
    ) -> Event:
        """Append one event; one writer at a time. ``evidence`` is anything msgspec can write as JSON; no personal data.

        Raises ``Unavailable`` when the database is gone or locked; then nothing was written.
        """
        columns: dict[str, Any] = {"action": action, "subject": subject, "actor": actor, "reason": reason}
        try:
            columns["evidence"] = msgspec.json.encode(dict(evidence or {})).decode()
        except TypeError as error:
            raise UsageError(f"the evidence of {action} {subject}: expected JSON values; {error}") from error
        with self._db.write() as connection:
            self._db.lock(connection, "andon-journal")
            newest = select(events.c.sequence, events.c.hash).order_by(events.c.sequence.desc()).limit(1)
            last = connection.execute(newest).first()
            columns["sequence"], columns["previous"] = (1, _FIRST) if last is None else (last[0] + 1, last[1])
            columns["time_us"], columns["wall_us"] = self._clock.now(), self._clock.wall()
            columns["hash"] = _digest([columns[column.name] for column in events.columns if column.name != "hash"])
            connection.execute(insert(events), columns)
        return Event(**{**columns, "evidence": msgspec.json.decode(columns["evidence"])})

    def read(
        self,
        after: int = 0,
        limit: int = 100,
        *,
        action: str | None = None,
        subject: str | None = None,
        actor: str | None = None,
    ) -> list[Event]:
        """Events with a sequence greater than ``after``, oldest first, filtered by equality."""
        query = select(events).where(events.c.sequence > after).order_by(events.c.sequence).limit(limit)
        for column, value in ((events.c.action, action), (events.c.subject, subject), (events.c.actor, actor)):
            if value is not None:
                query = query.where(column == value)
        with self._db.read() as connection:
            return [_event(row) for row in connection.execute(query)]

    def latest(self, limit: int = 20, *, action: str | None = None, subject: str | None = None) -> list[Event]:
        """The newest events, newest first."""
        return self.page(Wanted(None if action is None else (action,), subject=subject), limit=limit)

    def head(self) -> tuple[int, str]:
        """Sequence and hash of the newest event; (0, zeros) before the first."""
        newest = self.latest(1)
        return (newest[0].sequence, newest[0].hash) if newest else (0, _FIRST)

    def page(
        self, wanted: Wanted | None = None, *, before: int | None = None, after: int | None = None, limit: int = 50
    ) -> list[Event]:
        """Up to ``limit`` events, newest first: the newest of those before the sequence ``before``, or of all.

        With ``after`` those that follow that sequence most closely. As quick at a million events as at ten.
        """
        wanted = wanted or Wanted()
        order = events.c.sequence.asc() if after is not None else events.c.sequence.desc()
        rows: list[Row[Any]] = []
        with self._db.read() as connection:
            query = _narrowed(connection, wanted).order_by(order).limit(limit)
            if before is not None:
                query = query.where(events.c.sequence < before)
            if after is not None:
                query = query.where(events.c.sequence > after)
            # One query for each action: each walks its own index in order, where a set of them would have to be sorted.
            for action in (None,) if wanted.actions is None else wanted.actions:
                rows += connection.execute(query if action is None else query.where(events.c.action == action))
        rows.sort(key=lambda row: int(row.sequence), reverse=after is None)
        return sorted(map(_event, rows[:limit]), key=lambda event: -event.sequence)

    def actions(self) -> list[str]:
        """Every action there is in the journal, sorted."""
        return self._distinct(events.c.action, 200)

    def actors(self, limit: int = 100) -> list[str]:
        """The first ``limit`` of those who did anything, sorted."""
        return self._distinct(events.c.actor, limit)

    def _distinct(self, column: ColumnElement[str], limit: int) -> list[str]:
        """Different values, each found by one step in the column's index."""
        found: list[str] = []
        with self._db.read() as connection:
            value = connection.scalar(select(func.min(column)))
            while value is not None and len(found) < limit:
                found.append(str(value))
                value = connection.scalar(select(func.min(column)).where(column > value))
        return found

    def verify(self) -> tuple[bool, int | None]:
        """Recompute the whole chain: (True, None), or (False, the first sequence that does not fit)."""
        found = self.check()
        return found.sound, found.bad

    def check(self, last: int | None = None) -> Verification:
        """Recompute the chain, whole or its ``last`` events, and say where it breaks first."""
        began = time.monotonic()
        with self._db.read() as connection:
            newest = connection.scalar(select(func.max(events.c.sequence))) or 0
            first = 1 if last is None else max(1, newest - last + 1)
            previous = _FIRST
            if first > 1:
                before = connection.scalar(select(events.c.hash).where(events.c.sequence == first - 1))
                previous = "nothing: it is gone" if before is None else str(before)
            count, bad, fault = 0, None, ""
            query = select(events).where(events.c.sequence >= first).order_by(events.c.sequence)
            with connection.execution_options(yield_per=_BATCH).execute(query) as rows:
                for row in rows:
                    fault = _fault(row, first + count, previous)
                    if fault:
                        bad = first + count
                        break
                    count, previous = count + 1, row[_HASH]
        return Verification(count, first, previous, time.monotonic() - began, bad, fault)


def _fault(row: Row[Any], expected: int, previous: str) -> str:
    """What does not fit, in one sentence; empty where all does."""
    if row.sequence != expected:
        return f"expected event {expected} there, found event {row.sequence}: what was between is gone"
    if row.previous != previous:
        return (
            f"expected event {expected} to follow the hash {previous[:16]}, found {row.previous[:16]}:"
            " it, or the event before it, was changed"
        )
    digest = _digest(list(row)[:_HASH])
    if row.hash != digest:
        return f"expected event {expected} to have the hash {digest[:16]} of its content, found {row.hash[:16]}: it was changed"
    return ""


def _narrowed(connection: Connection, wanted: Wanted) -> Select[Any]:
    """The events wanted of any action. A stretch of time is first made one of sequences, from the index alone.

    Event time may be set back, so the times themselves are compared, too.
    """
    query, times = select(events), events.c.time_us
    number = events.c.sequence + 0  # as it is, SQLite would look for its least by walking the table
    for column, value in ((events.c.actor, wanted.actor), (events.c.subject, wanted.subject)):
        if value is not None:
            query = query.where(column == value)
    if wanted.since_us is not None:
        first = connection.scalar(select(func.min(number)).where(times >= wanted.since_us))
        query = query.where(events.c.sequence >= (first or 0), times >= wanted.since_us)
    if wanted.until_us is not None:
        last = connection.scalar(select(func.max(number)).where(times < wanted.until_us))
        query = query.where(events.c.sequence <= (last or 0), times < wanted.until_us)
    return query
