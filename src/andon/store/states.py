"""States that change: the place where a pure decider's state is kept between its steps, with a revision against lost updates."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import msgspec
from sqlalchemy import CursorResult, delete, insert, select, update

from andon.errors import Conflict
from andon.store.records import decode_body
from andon.store.tables import Database, states

__all__ = ["States"]

T = TypeVar("T")


class States:
    """Values by kind and key, each with a revision from 1.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     kept = States(Database.create(f"sqlite:///{folder}/andon.db"))
    ...     print(kept.put("alarm", "error", {"firing": False}), kept.put("alarm", "error", {"firing": True}))
    ...     print(kept.get("alarm", "error", dict), kept.get("alarm", "recall", dict))
    1 2
    ({'firing': True}, 2) None
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    def get(self, kind: str, key: str, type: type[T]) -> tuple[T, int] | None:
        """(value, revision), or None. Raises ``Corrupt``."""
        query = select(states.c.body, states.c.revision).where(states.c.kind == kind, states.c.key == key)
        with self._db.read() as connection:
            row = connection.execute(query).first()
        return None if row is None else (decode_body(row[0], type, f"the {kind} {key!r}"), int(row[1]))

    def put(self, kind: str, key: str, value: object, expected_revision: int | None = None) -> int:
        """Store a value; returns its revision. With ``expected_revision`` (0: new), ``Conflict`` when it is another."""
        body = msgspec.json.encode(value).decode()
        where = (states.c.kind == kind) & (states.c.key == key)
        with self._db.write() as connection:
            self._db.lock(connection, f"andon-states-{kind}-{key}")
            revision = connection.scalar(select(states.c.revision).where(where)) or 0
            if expected_revision is not None and revision != expected_revision:
                raise Conflict(
                    f"the {kind} {key!r}: expected revision {expected_revision}, found {revision}; read it and try again"
                )
            if revision:
                connection.execute(update(states).where(where).values(body=body, revision=revision + 1))
            else:
                connection.execute(insert(states), {"kind": kind, "key": key, "body": body, "revision": 1})
        return int(revision) + 1

    def list(self, kind: str, type: type[T]) -> dict[str, T]:
        """All values of a kind, by key."""
        query = select(states.c.key, states.c.body).where(states.c.kind == kind).order_by(states.c.key)
        with self._db.read() as connection:
            rows = list(connection.execute(query))
        return {str(key): decode_body(body, type, f"the {kind} {key!r}") for key, body in rows}

    def delete(self, kind: str, key: str) -> bool:
        """Forget a value; False when there was none."""
        with self._db.write() as connection:
            gone = connection.execute(delete(states).where(states.c.kind == kind, states.c.key == key))
            return cast("CursorResult[Any]", gone).rowcount == 1
