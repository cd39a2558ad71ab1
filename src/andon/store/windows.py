"""Window summaries, added exactly once: what a consumer measured and how far it had read change in one transaction.

So a consumer that is killed anywhere starts again from the stored offset and counts nothing twice.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Column, ColumnElement, Connection, func, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite

from andon.measure.summary import Mergeable, summary_from_json, summary_to_dict
from andon.store.tables import Database, offsets, windows

__all__ = ["WindowLike", "WindowRow", "WindowStore"]


class WindowLike(Protocol):
    """What ``merge`` and ``replace`` take: anything with these attributes."""

    @property
    def metric(self) -> str:
        """The metric's name."""
        ...

    @property
    def cohort(self) -> str:
        """The slice's name; "" is everything."""
        ...

    @property
    def start_us(self) -> int:
        """Start of the window, event time."""
        ...

    @property
    def length_us(self) -> int:
        """Length of the window."""
        ...

    @property
    def summary(self) -> Mergeable:
        """What was measured."""
        ...


@dataclass(frozen=True, slots=True)
class WindowRow:
    """One metric's summary for one cohort ("" is everything) in one window, ``length_us`` from ``start_us`` on."""

    metric: str
    cohort: str
    start_us: int
    length_us: int
    summary: Mergeable


_KEY = ("metric", "cohort", "start_us", "length_us")
_CHUNK = 200


def _pack(summary: Mergeable) -> str:
    """JSON with NaN and infinity as Python writes them: an empty minimum is infinite."""
    return json.dumps(summary_to_dict(summary), separators=(",", ":"))


def _among(column: Column[str], wanted: str | Collection[str] | None) -> ColumnElement[bool] | None:
    if wanted is None:
        return None
    return column == wanted if isinstance(wanted, str) else column.in_(list(wanted))


def _made(rows: Iterable[Any]) -> list[WindowRow]:
    return [
        WindowRow(metric, cohort, start_us, length_us, summary_from_json(text))
        for metric, cohort, start_us, length_us, text in rows
    ]


def _last(rows: Sequence[Any], length_us: int, most: int) -> Sequence[Any]:
    """The rows of the last ``most`` stretches, of rows ordered by start."""
    starts = sorted({row[2] // length_us for row in rows})
    return rows if len(starts) <= most else [row for row in rows if row[2] // length_us >= starts[-most]]


def _row(window: WindowLike) -> dict[str, Any]:
    return {**{name: getattr(window, name) for name in _KEY}, "summary": _pack(window.summary)}


class WindowStore:
    """The window summaries and consumers' offsets of a workspace."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def merge(
        self, connection: Connection, consumer: str, stream: str, end_offset: int, rows: Iterable[WindowLike]
    ) -> bool:
        """Add summaries to what is stored and move the offset, in the caller's transaction (``with db.write()``).

        False, and nothing done, when the consumer has been at ``end_offset`` or further already.
        """
        if not self.move(connection, consumer, stream, end_offset):
            return False
        sums: dict[tuple[str, str, int, int], Mergeable] = {}
        for row in rows:
            key = (row.metric, row.cohort, row.start_us, row.length_us)
            sums[key] = sums[key] + row.summary if key in sums else row.summary
        order = sorted(sums)  # the same for everybody, so that two who wait for one another cannot be
        for first in range(0, len(order), _CHUNK):
            self._add(connection, {key: sums[key] for key in order[first : first + _CHUNK]})
        return True

    def move(self, connection: Connection, consumer: str, stream: str, end_offset: int) -> bool:
        """Move a consumer's offset forward in the caller's transaction; False when it is there or further already."""
        self._db.lock(connection, f"andon-offset-{consumer}-{stream}")
        where = (offsets.c.consumer == consumer) & (offsets.c.stream == stream)
        position = connection.scalar(select(offsets.c.position).where(where))
        if position is not None and position >= end_offset:
            return False
        if position is None:
            connection.execute(insert(offsets), {"consumer": consumer, "stream": stream, "position": end_offset})
        else:
            connection.execute(update(offsets).where(where).values(position=end_offset))
        return True

    def replace(self, rows: Iterable[WindowLike]) -> None:
        """Store summaries in place of what was there: for windows that are measured again when labels arrive."""
        made = [_row(row) for row in rows]
        if made:
            with self._db.write() as connection:
                self._put(connection, made)

    def read(
        self,
        metric: str | Collection[str] | None = None,
        cohort: str | Collection[str] | None = None,
        since_us: int | None = None,
        until_us: int | None = None,
        length_us: int | None = None,
    ) -> list[WindowRow]:
        """Windows that start in [``since_us``, ``until_us``), by start, metric and cohort.

        Of one metric or cohort, of several (in one query), or of all; with ``length_us`` only windows of that length.
        """
        query = select(windows).order_by(windows.c.start_us, windows.c.metric, windows.c.cohort)
        for condition in (
            _among(windows.c.metric, metric),
            _among(windows.c.cohort, cohort),
            None if since_us is None else windows.c.start_us >= since_us,
            None if until_us is None else windows.c.start_us < until_us,
            None if length_us is None else windows.c.length_us == length_us,
        ):
            if condition is not None:
                query = query.where(condition)
        with self._db.read() as connection:
            found = connection.execute(query).all()
        return _made(found)

    def tails(
        self,
        metrics: Collection[str],
        cohort: str,
        since_us: int,
        length_us: int,
        most: int,
        until_us: int | None = None,
    ) -> dict[str, list[WindowRow]]:
        """The newest windows of several metrics, those that began at ``since_us`` or later (before ``until_us``), by start.

        Of each metric the last ``most`` stretches of ``length_us`` in which something was measured; only those are decoded.
        """
        where = (windows.c.cohort == cohort) & (windows.c.start_us >= since_us)
        query = select(windows).where(windows.c.metric.in_(list(metrics)) & where).order_by(windows.c.start_us)
        query = query if until_us is None else query.where(windows.c.start_us < until_us)
        with self._db.read() as connection:
            found = connection.execute(query).all()
        parts: dict[str, list[Any]] = {}
        for row in found:
            parts.setdefault(row[0], []).append(row)
        return {name: _made(_last(rows, length_us, most)) for name, rows in parts.items()}

    def newest(self, metric: str, cohort: str = "") -> int | None:
        """The start of the newest window of a metric; None where there is none."""
        query = select(func.max(windows.c.start_us)).where(windows.c.metric == metric, windows.c.cohort == cohort)
        with self._db.read() as connection:
            found = connection.scalar(query)
        return None if found is None else int(found)

    def offsets(self, consumer: str) -> dict[str, int]:
        """How far a consumer has read, by stream."""
        query = select(offsets.c.stream, offsets.c.position).where(offsets.c.consumer == consumer)
        with self._db.read() as connection:
            return {str(stream): int(position) for stream, position in connection.execute(query)}

    def _add(self, connection: Connection, sums: dict[tuple[str, str, int, int], Mergeable]) -> None:
        for key in sums:
            self._db.lock(connection, f"andon-window-{'/'.join(map(str, key))}")
        keys = [windows.c[name] for name in _KEY]
        stored = connection.execute(select(*keys, windows.c.summary).where(tuple_(*keys).in_(list(sums)))).all()
        for row in stored:
            before: Mergeable = summary_from_json(row.summary)
            key = (row.metric, row.cohort, row.start_us, row.length_us)
            sums[key] = before + sums[key]
        self._put(connection, [_row(WindowRow(*key, summary)) for key, summary in sums.items()])

    def _put(self, connection: Connection, rows: list[dict[str, Any]]) -> None:
        make = sqlite.insert if self._db.sqlite else postgresql.insert
        statement = make(windows)
        put = statement.on_conflict_do_update(index_elements=_KEY, set_={"summary": statement.excluded.summary})
        connection.execute(put, rows)
