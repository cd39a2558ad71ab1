"""Review items: questions for people, kept with compare-and-swap so that nothing is decided twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, bindparam, delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from andon.core.clock import DAY
from andon.core.record import Item, ItemKind, ItemState
from andon.store.tables import Database, items

__all__ = [
    "ItemTable",
    "Waiting",
    "by_deadline",
    "decided_before",
    "drop_decided",
    "last_decided",
    "unanswered",
    "waiting_days",
]

_CHUNK = 500
_decode = msgspec.json.Decoder(Item).decode


_NAME = 256
_ORDER = (items.c.risk.desc(), items.c.due_us, items.c.id)


def _columns(item: Item) -> dict[str, Any]:
    """The row of an item: what queries need as columns, all of it as JSON. ``risk`` is its rank, which orders the queue.

    ``person`` is who decided or, where nobody did, who holds or held it. ``wake_us`` is when something is due with a
    taken item: a held answer is sent, else its lease ends. ``said_1`` and ``said_2`` are who answered the case before, and
    so does not take this look at it.
    """
    first, second, *_ = *(name[:_NAME] for name in item.said), "", ""
    wake = item.lease_until_us if item.draft is None else item.draft.until_us
    return {
        "id": item.id,
        "state": item.state,
        "risk": item.rank,
        "due_us": item.due_us,
        "decided_us": item.decided_us,
        "outboxed": item.outboxed,
        "revision": item.revision,
        "body": msgspec.json.encode(item).decode(),
        "kind": item.kind,
        "created_us": item.created_us,
        "person": ((item.reviewer if item.decided_by == "person" else item.holder) or "")[:_NAME],
        "decided_by": item.decided_by,
        "wake_us": wake if item.state == "taken" else 0,
        "said_1": first,
        "said_2": second,
    }


class Waiting(msgspec.Struct, frozen=True):
    """How many items are open, since when the oldest one is, and when the first one is due; times are None without any."""

    n: int = 0
    oldest_us: int | None = None
    due_us: int | None = None


class ItemTable:
    """The items of a workspace; it implements ``andon.core.port.Items``.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     table = ItemTable(Database.create(f"sqlite:///{folder}/andon.db"))
    ...     item = Item(id="a", kind="decision", created_us=0, due_us=9, x={"cough": True})
    ...     print(table.add([item]), table.add([item]), table.counts())
    ...     taken = msgspec.structs.replace(item, state="taken", holder="ann", revision=1)
    ...     print(table.swap(taken), table.swap(taken))
    1 0 {'open': 1}
    True False
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    def add(self, items_: Sequence[Item]) -> int:
        """Insert those whose id is new; returns how many were. Called again with the same items it does nothing."""
        if not items_:
            return 0
        insert = sqlite.insert if self._db.sqlite else postgresql.insert
        with self._db.write() as connection:
            known = self._revisions(connection, [item.id for item in items_])
            new = {item.id: _columns(item) for item in items_ if item.id not in known}
            if new:
                connection.execute(insert(items).on_conflict_do_nothing(index_elements=["id"]), list(new.values()))
        return len(new)

    def get(self, id: str) -> Item | None:
        """The item, or None."""
        found = self._read(select(items.c.body).where(items.c.id == id))
        return found[0] if found else None

    def many(self, ids: Iterable[str]) -> dict[str, Item]:
        """The items of these ids that exist, by id."""
        found: dict[str, Item] = {}
        rest = iter(ids)
        while chunk := list(islice(rest, _CHUNK)):
            found.update((item.id, item) for item in self._read(select(items.c.body).where(items.c.id.in_(chunk))))
        return found

    def queue(
        self, limit: int, state: ItemState | None = "open", offset: int = 0, reviewer: str | None = None
    ) -> list[Item]:
        """Items in the order to be worked on: highest rank first, then earliest due; all states when ``state`` is None.

        The first ``offset`` of them are left out, and those that ``reviewer`` answered before.
        """
        first = select(items.c.id).order_by(*_ORDER).limit(limit).offset(offset)
        first = first if state is None else first.where(items.c.state == state)
        if reviewer is not None:
            first = first.where(items.c.said_1 != reviewer[:_NAME], items.c.said_2 != reviewer[:_NAME])
        return self._read(select(items.c.body).where(items.c.id.in_(first.scalar_subquery())).order_by(*_ORDER))

    def taken(self, person: str, limit: int) -> list[Item]:
        """The taken items that a person holds, in the order to be worked on."""
        theirs = (items.c.person == person[:_NAME]) & (items.c.state == "taken")
        return self._read(select(items.c.body).where(theirs).order_by(*_ORDER).limit(limit))

    def due(self, now_us: int, limit: int) -> list[Item]:
        """Items not yet decided whose deadline is at or before ``now_us``, earliest first."""
        late = items.c.state.in_(["open", "taken"]) & (items.c.due_us <= now_us)
        return self._read(select(items.c.body).where(late).order_by(items.c.due_us, items.c.id).limit(limit))

    def lapsed(self, now_us: int, limit: int) -> list[Item]:
        """Taken items whose lease, or the time to take a held answer back, ended at or before ``now_us``, in no order."""
        ended = (items.c.state == "taken") & (items.c.wake_us <= now_us)
        return self._read(select(items.c.body).where(ended).limit(limit))

    def swap(self, item: Item) -> bool:
        """Replace the stored item if its revision is ``item.revision - 1``; False when somebody was first."""
        return bool(self.swap_many([item]))

    def swap_many(self, items_: Sequence[Item]) -> list[Item]:
        """As ``swap``, for many in one transaction: those that were replaced, in order."""
        if not items_:
            return []
        won: list[Item] = []
        with self._db.write() as connection:
            now = self._revisions(connection, [item.id for item in items_])
            for item in items_:
                if now.get(item.id) == item.revision - 1:
                    now[item.id] = item.revision
                    won.append(item)
            if won:
                change = update(items).where(items.c.id == bindparam("this_id"))
                connection.execute(change, [{**_columns(item), "this_id": item.id} for item in won])
        return won

    @staticmethod
    def _revisions(connection: Connection, ids: Sequence[str]) -> dict[str, int]:
        """The revisions of these items, held until the transaction ends."""
        found: dict[str, int] = {}
        for start in range(0, len(ids), _CHUNK):
            chunk = ids[start : start + _CHUNK]
            query = select(items.c.id, items.c.revision).where(items.c.id.in_(chunk)).with_for_update()
            found.update((id, revision) for id, revision in connection.execute(query))
        return found

    def pending_outbox(self, limit: int) -> list[Item]:
        """Decided items not yet written to the people stream, in the order they were decided."""
        waiting = (items.c.state == "decided") & (items.c.outboxed.is_(False))
        return self._read(select(items.c.body).where(waiting).order_by(items.c.decided_us, items.c.id).limit(limit))

    def counts(self, *states: ItemState, kind: ItemKind | None = None) -> dict[str, int]:
        """How many items there are, by state; only of some states where these are named: the decided ones are many."""
        query = select(items.c.state, func.count()).group_by(items.c.state).order_by(items.c.state)
        query = query.where(items.c.state.in_(states)) if states else query
        query = query.where(items.c.kind == kind) if kind is not None else query
        with self._db.read() as connection:
            return {str(state): int(n) for state, n in connection.execute(query)}

    def waiting(self) -> dict[str, Waiting]:
        """What is open, by kind (``decision``, ``audit``)."""
        query = select(items.c.kind, func.count(), func.min(items.c.created_us), func.min(items.c.due_us))
        with self._db.read() as connection:
            found = connection.execute(query.where(items.c.state == "open").group_by(items.c.kind)).all()
        return {str(kind): Waiting(int(n), oldest, due) for kind, n, oldest, due in found}

    def due_by(self, times_us: Sequence[int]) -> list[int]:
        """How many open items are due at or before each of these times."""
        open_ = items.c.state == "open"
        with self._db.read() as connection:
            return [
                int(connection.scalar(select(func.count()).where(open_, items.c.due_us <= time)) or 0)
                for time in times_us
            ]

    def decided(self, person: str, since_us: int = 0) -> int:
        """How many items a person has decided since then."""
        return self._ended(person, items.c.decided_by == "person", items.c.decided_us >= since_us)

    def missed(self, person: str, since_us: int = 0) -> int:
        """How many items a deadline answered or closed since then while the person had them, or had let them lie."""
        return self._ended(person, items.c.decided_by != "person", items.c.decided_us >= since_us)

    def _ended(self, person: str, *conditions: ColumnElement[bool]) -> int:
        theirs = select(func.count()).where(items.c.person == person[:_NAME], items.c.state == "decided", *conditions)
        with self._db.read() as connection:
            return int(connection.scalar(theirs) or 0)

    def _read(self, query: Select[Any]) -> list[Item]:
        with self._db.read() as connection:
            bodies = list(connection.scalars(query))
        return [_decode(body) for body in bodies]


def last_decided(db: Database) -> int:
    """When the newest decision of all was made; 0 before the first. Found in an index, however many there are."""
    newest = select(func.max(items.c.decided_us)).where(items.c.state == "decided")
    with db.read() as connection:
        return max(connection.scalar(newest.where(items.c.outboxed.is_(sent))) or 0 for sent in (True, False))


def unanswered(db: Database, kind: str, since_us: int = 0) -> int:
    """How many items of a kind were closed since then without an answer."""
    closed = (items.c.state == "decided") & (items.c.decided_by == "nobody") & (items.c.kind == kind)
    query = select(func.count()).where(closed, items.c.decided_us >= since_us)
    with db.read() as connection:
        return int(connection.scalar(query) or 0)


def by_deadline(db: Database, since_us: int = 0) -> int:
    """How many cases that somebody waited for got the safe default since then, because no person answered in time."""
    late = (items.c.state == "decided") & (items.c.decided_by == "safe_default") & (items.c.kind == "decision")
    query = select(func.count()).where(late, items.c.decided_us >= since_us)
    with db.read() as connection:
        return int(connection.scalar(query) or 0)


def decided_before(db: Database, before_us: int, limit: int) -> list[str]:
    """The ids of the first items that were decided before then and are written to the people stream, oldest first."""
    done = (items.c.state == "decided") & items.c.outboxed.is_(True) & (items.c.decided_us < before_us)
    query = select(items.c.id).where(done).order_by(items.c.decided_us, items.c.id).limit(limit)
    with db.read() as connection:
        return [str(id) for id in connection.scalars(query)]


def drop_decided(db: Database, ids: Sequence[str]) -> None:
    """Delete these items for good, if they are decided; those that are gone already stay so."""
    with db.write() as connection:
        for start in range(0, len(ids), _CHUNK):
            chosen = items.c.id.in_(ids[start : start + _CHUNK]) & (items.c.state == "decided")
            connection.execute(delete(items).where(chosen))


def waiting_days(db: Database, before_us: int) -> list[int]:
    """The days (whole ones since 1970, UTC) before a time on which cases were asked that nobody has decided yet."""
    waiting = items.c.state.in_(["open", "taken"]) & (items.c.created_us < before_us)
    query = select(items.c.created_us // DAY).where(waiting).distinct()
    with db.read() as connection:
        return sorted(int(day) for day in connection.scalars(query))
