"""The journal: who did what when and why, appended and never edited, each event chained by hash to the one before.

The hash is SHA-256 over a JSON array of the event's columns and the previous hash (Haber and Stornetta 1991), so an
edited, removed or reordered event shows in ``verify``. Events cut off at the end do not: keep the ``head`` elsewhere, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import msgspec
from sqlalchemy import Row, insert, select

from andon.core.clock import Clock
from andon.core.record import Event
from andon.errors import UsageError
from andon.store.tables import Database, events

__all__ = ["Journal"]

_FIRST = "0" * 64
_BATCH = 1000


def _digest(columns: Mapping[str, Any]) -> str:
    """The hash of an event: over exactly what is stored, in the order of the columns."""
    row = [columns[column.name] for column in events.columns if column.name != "hash"]
    return sha256(msgspec.json.encode(row)).hexdigest()


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
            columns["hash"] = _digest(columns)
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
        query = select(events).order_by(events.c.sequence.desc()).limit(limit)
        for column, value in ((events.c.action, action), (events.c.subject, subject)):
            if value is not None:
                query = query.where(column == value)
        with self._db.read() as connection:
            return [_event(row) for row in connection.execute(query)]

    def head(self) -> tuple[int, str]:
        """Sequence and hash of the newest event; (0, zeros) before the first."""
        newest = self.latest(1)
        return (newest[0].sequence, newest[0].hash) if newest else (0, _FIRST)

    def verify(self) -> tuple[bool, int | None]:
        """Recompute the whole chain: (True, None), or (False, the first sequence that does not fit)."""
        expected, previous = 1, _FIRST
        query = select(events).order_by(events.c.sequence)
        with self._db.read() as connection, connection.execution_options(yield_per=_BATCH).execute(query) as rows:
            for row in rows:
                columns = dict(row._mapping)
                sound = columns["sequence"] == expected and columns["previous"] == previous
                if not sound or columns["hash"] != _digest(columns):
                    return False, expected
                expected, previous = expected + 1, columns["hash"]
        return True, None
