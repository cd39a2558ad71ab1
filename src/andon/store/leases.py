"""Leases: one leader at a time, for a stated time, with a term that fences off whoever held it before.

A lease counts in wall time, which all processes of a machine share. The term grows with every new holder: what an old
holder still sends carries an old term and can be refused (Gray and Cheriton 1989; fencing as in Burrows 2006).
"""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import CursorResult, insert, select, update

from andon.core.clock import SECOND, Clock
from andon.errors import UsageError
from andon.store.tables import Database, leases

__all__ = ["Leases"]


class Leases:
    """The leases of a workspace; a holder's name must be unique to its process.

    >>> import tempfile
    >>> from andon.core.clock import ManualClock
    >>> clock = ManualClock()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     kept = Leases(Database.create(f"sqlite:///{folder}/andon.db"), clock)
    ...     print(kept.acquire("leader", "a", 5.0), kept.acquire("leader", "b", 5.0))
    ...     clock.advance(6)
    ...     print(kept.acquire("leader", "b", 5.0), kept.renew("leader", "a", 1))
    1 None
    2 False
    """

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    def acquire(self, name: str, holder: str, ttl_s: float, clock: Clock | None = None) -> int | None:
        """Take a lease that is free or has run out; its term, or None while somebody else holds it.

        Who holds it already keeps the term and gets the time anew. ``clock`` stands in for the workspace's.
        """
        if not ttl_s > 0:
            raise UsageError(f"a lease's time: expected more than 0 seconds, found {ttl_s}")
        now, ttl = (clock or self._clock).wall(), round(ttl_s * SECOND)
        row = {"holder": holder, "ttl_us": ttl, "expires_wall_us": now + ttl}
        with self._db.write() as connection:
            self._db.lock(connection, f"andon-lease-{name}")
            held = connection.execute(select(leases).where(leases.c.name == name)).first()
            if held is None:
                connection.execute(insert(leases), {"name": name, "term": 1, **row})
                return 1
            if held.expires_wall_us > now and held.holder != holder:
                return None
            term: int = held.term + (1 if held.expires_wall_us <= now else 0)
            connection.execute(update(leases).where(leases.c.name == name).values(term=term, **row))
            return term

    def renew(self, name: str, holder: str, term: int, ttl_s: float | None = None, clock: Clock | None = None) -> bool:
        """Go on holding for ``ttl_s`` more (None: as long as before); False when the lease was lost or ran out."""
        now = (clock or self._clock).wall()
        mine = (leases.c.name == name) & (leases.c.holder == holder) & (leases.c.term == term)
        until = now + (leases.c.ttl_us if ttl_s is None else round(ttl_s * SECOND))
        with self._db.write() as connection:
            change = update(leases).where(mine & (leases.c.expires_wall_us > now)).values(expires_wall_us=until)
            return cast("CursorResult[Any]", connection.execute(change)).rowcount == 1

    def release(self, name: str, holder: str, term: int | None = None) -> bool:
        """Give a lease back at once; False when it was not held (any more). The term stays, so the next one is higher."""
        mine = (leases.c.name == name) & (leases.c.holder == holder) & (leases.c.expires_wall_us > 0)
        if term is not None:
            mine &= leases.c.term == term
        with self._db.write() as connection:
            change = connection.execute(update(leases).where(mine).values(expires_wall_us=0))
            return cast("CursorResult[Any]", change).rowcount == 1

    def holder(self, name: str, clock: Clock | None = None) -> str | None:
        """Who holds a lease now, or None."""
        now = (clock or self._clock).wall()
        with self._db.read() as connection:
            query = select(leases.c.holder).where(leases.c.name == name, leases.c.expires_wall_us > now)
            found = connection.scalar(query)
        return None if found is None else str(found)

    def seen(self, name: str) -> int | None:
        """When the last holder gave its last sign of life (the machine's time); None where it gave the lease back."""
        query = select(leases.c.expires_wall_us, leases.c.ttl_us).where(leases.c.name == name)
        with self._db.read() as connection:
            found = connection.execute(query).first()
        return None if found is None or not found.expires_wall_us else int(found.expires_wall_us - found.ttl_us)
