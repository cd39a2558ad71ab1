"""Records that are written once: datasets, runs, releases. A fact is appended, never edited."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec
from sqlalchemy import Connection, func, insert, select

from andon.core.clock import Clock
from andon.core.registry import did_you_mean
from andon.errors import Conflict, Corrupt, NotFound
from andon.store.tables import Database, records

__all__ = ["Records", "decode_body"]

T = TypeVar("T")


def decode_body(body: str, type: type[T], what: str) -> T:
    """A stored JSON body as a record. Raises ``Corrupt`` naming ``what``."""
    try:
        return msgspec.json.decode(body, type=type)
    except msgspec.DecodeError as error:
        raise Corrupt(
            f"{what} cannot be read as {type.__name__}: {error}; was it written by a newer release?"
        ) from error


class Records:
    """Insert-only records by kind and name, kept as JSON (a float that is not a number is not kept: leave it out).

    >>> import tempfile
    >>> from andon.core.clock import ManualClock
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     kept = Records(Database.create(f"sqlite:///{folder}/andon.db"), ManualClock())
    ...     print(kept.add("run", "r", lambda name: {"id": name}), kept.next_number("run"))
    ...     print(kept.get("run", "r1", dict))
    r1 2
    {'id': 'r1'}
    """

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    def put(self, kind: str, name: str, record: object) -> None:
        """Store a record under a new name. Raises ``Conflict`` when the name is taken."""
        with self._db.write() as connection:
            self._db.lock(connection, f"andon-records-{kind}")
            self._insert(connection, kind, name, record)

    def add(self, kind: str, prefix: str, make: Callable[[str], object]) -> str:
        """Store a record under the next free name (``prefix`` and a number from 1); ``make`` gets that name."""
        with self._db.write() as connection:
            self._db.lock(connection, f"andon-records-{kind}")
            name = f"{prefix}{self._next(connection, kind)}"
            self._insert(connection, kind, name, make(name))
        return name

    def get(self, kind: str, name: str, type: type[T]) -> T:
        """The record. Raises ``NotFound`` with the closest names, or ``Corrupt``."""
        with self._db.read() as connection:
            body = connection.scalar(select(records.c.body).where(records.c.kind == kind, records.c.name == name))
        if body is None:
            raise NotFound(f"no {kind} is called {name!r}; {did_you_mean(name, self.names(kind))}")
        return decode_body(body, type, f"the {kind} {name!r}")

    def list(self, kind: str, type: type[T]) -> list[T]:
        """All records of a kind, in the order they were stored."""
        query = select(records.c.name, records.c.body).where(records.c.kind == kind).order_by(records.c.number)
        with self._db.read() as connection:
            rows = list(connection.execute(query))
        return [decode_body(body, type, f"the {kind} {name!r}") for name, body in rows]

    def names(self, kind: str) -> tuple[str, ...]:
        """The names of a kind, in the order they were stored."""
        query = select(records.c.name).where(records.c.kind == kind).order_by(records.c.number)
        with self._db.read() as connection:
            return tuple(str(name) for name in connection.scalars(query))

    def next_number(self, kind: str) -> int:
        """One more than how many there are. Two who ask at once get the same: the second ``put`` is a ``Conflict``; see ``add``."""
        with self._db.read() as connection:
            return self._next(connection, kind)

    def _next(self, connection: Connection, kind: str) -> int:
        highest = connection.scalar(select(func.max(records.c.number)).where(records.c.kind == kind))
        return 1 if highest is None else int(highest) + 1

    def _insert(self, connection: Connection, kind: str, name: str, record: object) -> None:
        taken = select(records.c.name).where(records.c.kind == kind, records.c.name == name)
        if connection.scalar(taken) is not None:
            raise Conflict(f"a {kind} called {name!r} exists already; records are never changed, choose another name")
        row = {
            "kind": kind,
            "name": name,
            "number": self._next(connection, kind),
            "time_us": self._clock.now(),
            "body": msgspec.json.encode(record).decode(),
        }
        connection.execute(insert(records), row)
