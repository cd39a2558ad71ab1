"""The state database: tables, and transactions that either happen or say in one sentence why not.

SQLite by default, PostgreSQL by URL. SQLite runs in WAL mode; a writing transaction takes its lock at once (BEGIN
IMMEDIATE), so it never fails half-way for want of it. Nothing on the live path comes here.

>>> import tempfile
>>> from pathlib import Path
>>> from sqlalchemy import select, func
>>> with tempfile.TemporaryDirectory() as folder:
...     db = Database.create(f"sqlite:///{folder}/andon.db")
...     with db.read() as connection:
...         print(connection.scalar(select(func.count()).select_from(events)))
...     db.close()
0
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    exc,
    make_url,
    text,
)

from andon.errors import Conflict, Corrupt, Unavailable, UsageError

__all__ = [
    "Database",
    "events",
    "items",
    "leases",
    "metadata",
    "offsets",
    "records",
    "states",
    "windows",
]

HEAD_REVISION = "0004"
"""The newest migration; a database that has it is opened without importing alembic."""

metadata = MetaData()

events = Table(
    "events",
    metadata,
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("time_us", BigInteger, nullable=False),
    Column("wall_us", BigInteger, nullable=False),
    Column("action", String(64), nullable=False, index=True),
    Column("subject", String(256), nullable=False, index=True),
    Column("actor", String(256), nullable=False, index=True),
    Column("reason", Text, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    Index("events_time", "time_us", "sequence"),
)

records = Table(
    "records",
    metadata,
    Column("kind", String(64), primary_key=True),
    Column("name", String(256), primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("time_us", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
)

states = Table(
    "states",
    metadata,
    Column("kind", String(64), primary_key=True),
    Column("key", String(256), primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
)

items = Table(
    "items",
    metadata,
    Column("id", String(256), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("risk", Float, nullable=False),
    Column("due_us", BigInteger, nullable=False),
    Column("decided_us", BigInteger, nullable=False),
    Column("outboxed", Boolean, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    Column("kind", String(16), nullable=False, server_default=""),
    Column("created_us", BigInteger, nullable=False, server_default="0"),
    Column("person", String(256), nullable=False, server_default=""),
    Column("decided_by", String(16), nullable=False, server_default=""),
    Column("wake_us", BigInteger, nullable=False, server_default="0"),
    Column("said_1", String(256), nullable=False, server_default=""),
    Column("said_2", String(256), nullable=False, server_default=""),
    Index("items_queue", "state", "risk", "due_us"),
    Index("items_due", "state", "due_us"),
    Index("items_outbox", "state", "outboxed", "decided_us"),
    Index("items_waiting", "state", "kind", "created_us", "due_us"),
    Index("items_person", "person", "state", "decided_by", "decided_us"),
    Index("items_wake", "state", "wake_us"),
)

leases = Table(
    "leases",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("holder", String(256), nullable=False),
    Column("term", BigInteger, nullable=False),
    Column("ttl_us", BigInteger, nullable=False),
    Column("expires_wall_us", BigInteger, nullable=False),
)

offsets = Table(
    "offsets",
    metadata,
    Column("consumer", String(128), primary_key=True),
    Column("stream", String(128), primary_key=True),
    Column("position", BigInteger, nullable=False),
)

windows = Table(
    "windows",
    metadata,
    Column("metric", String(128), primary_key=True),
    Column("cohort", String(256), primary_key=True),
    Column("start_us", BigInteger, primary_key=True),
    Column("length_us", BigInteger, primary_key=True),
    Column("summary", Text, nullable=False),
    Index("windows_time", "start_us"),
)

_SQLITE_GONE = "was moved, deleted or replaced"


class Database:
    """One database. Nothing is opened before the first transaction, so a line starts with its database gone.

    ``busy_seconds`` is how long a transaction waits for a lock before it is ``Unavailable``.
    """

    def __init__(self, url: str, *, busy_seconds: float = 5.0) -> None:
        self.url = make_url(url)
        if self.url.drivername == "postgresql":
            self.url = self.url.set(drivername="postgresql+psycopg")
        self.sqlite = self.url.get_backend_name() == "sqlite"
        if not self.sqlite and self.url.get_backend_name() != "postgresql":
            raise UsageError(f"a database URL: expected sqlite:// or postgresql://, found {self.url.drivername}://")
        if self.sqlite and not self.url.database:
            raise UsageError("a database URL: expected the path of a file, as in sqlite:////var/lib/andon/andon.db")
        self.busy_seconds = busy_seconds
        self._may_begin = False
        self._opening = threading.Lock()
        self._engine: Engine | None = None
        self._inode = (-1, -1)

    @classmethod
    def create(cls, url: str, *, busy_seconds: float = 5.0) -> Database:
        """Create the database where there is none, with its tables. Raises ``Unavailable``."""
        db = cls(url, busy_seconds=busy_seconds)
        db._may_begin = True
        if db.sqlite:
            try:
                db._path.parent.mkdir(parents=True, exist_ok=True)
                db._path.touch()
            except OSError as error:
                raise db._unavailable(error.strerror or str(error)) from error
        with db.read():
            db._may_begin = False  # from now on it has something to lose
        return db

    @property
    def name(self) -> str:
        """What messages call it; no password in it, also none that stands behind the question mark."""
        return str(self.url.database) if self.sqlite else self.url.set(query={}).render_as_string(hide_password=True)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that may change things: committed at the end of the block, undone when the block raises.

        Raises ``Unavailable`` (locked, gone, full), ``Conflict`` (a key that exists), ``Corrupt``.
        """
        with self._transaction("IMMEDIATE") as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state of the database; it waits for no writer. Raises ``Unavailable``."""
        with self._transaction("DEFERRED") as connection:
            yield connection

    def lock(self, connection: Connection, name: str) -> None:
        """Until the transaction ends, let no other one pass this point with the same name (SQLite: already so)."""
        if not self.sqlite:
            key = int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": key})

    def revision(self) -> str | None:
        """The newest migration that the database has had, None where it is empty; nothing is migrated by asking.

        Raises ``Unavailable`` or ``Corrupt``.
        """
        if self.sqlite:
            self._file()
        engine = self._connectable()
        try:
            return _revision(engine)
        except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as error:
            raise self._unavailable(str(getattr(error, "orig", None) or error).strip()) from error
        except exc.DatabaseError as error:
            raise Corrupt(f"the database {self.name} cannot be used: {error.orig}; restore it from a backup") from error
        finally:
            engine.dispose()

    def close(self) -> None:
        """Close all connections; the next transaction opens new ones."""
        with self._opening:
            if self._engine is not None:
                self._engine.dispose()
            self._engine = None

    @property
    def _path(self) -> Path:
        return Path(str(self.url.database))

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        try:
            engine = self._ready().execution_options(andon_begin=begin)
            with engine.begin() as connection:
                yield connection
        except exc.IntegrityError as error:
            raise Conflict(f"the database {self.name} refused a change: {error.orig}; read it and try again") from error
        except exc.DataError as error:
            raise UsageError(f"the database {self.name} cannot hold a value: {error.orig}; shorten it") from error
        except (exc.OperationalError, exc.InterfaceError, exc.TimeoutError) as error:
            raise self._unavailable(str(getattr(error, "orig", None) or error).strip()) from error
        except exc.DatabaseError as error:
            raise Corrupt(f"the database {self.name} cannot be used: {error.orig}; restore it from a backup") from error

    def _unavailable(self, why: str) -> Unavailable:
        advice = "bring it back; what waits then goes on"
        if "locked" in why:
            advice = "another process holds it; try again"
        elif "full" in why:
            advice = "free some space; what waits then goes on"
        return Unavailable(f"the database {self.name} is unavailable: {why}; {advice}")

    def _ready(self) -> Engine:
        """The engine, with the file still in place and the tables migrated."""
        engine = self._engine
        if engine is not None and (not self.sqlite or self._file() == self._inode):
            return engine
        self.close()
        with self._opening:
            if self._engine is None:
                inode = self._file()
                fresh = self._connectable()
                self._migrate(fresh)
                self._inode, self._engine = inode, fresh
            return self._engine

    def _file(self) -> tuple[int, int]:
        """Which file this is: SQLite would go on writing into one that has been deleted, and nobody would know."""
        if not self.sqlite:
            return (0, 0)
        try:
            status = self._path.stat()
        except OSError as error:
            raise self._unavailable(f"its file {_SQLITE_GONE} ({error.strerror})") from error
        return status.st_dev, status.st_ino

    def _connectable(self) -> Engine:
        if self.sqlite:
            engine = create_engine(self.url, creator=self._connect_sqlite)
            event.listen(engine, "begin", _begin)
            return engine
        options = {"connect_timeout": max(2, round(self.busy_seconds))}
        try:
            return create_engine(self.url, pool_pre_ping=True, connect_args=options)
        except ModuleNotFoundError:
            raise UsageError("PostgreSQL needs its driver; install andon[postgres]") from None

    def _connect_sqlite(self) -> sqlite3.Connection:
        uri = f"{self._path.absolute().as_uri()}?mode=rw"
        connection = sqlite3.connect(
            uri, uri=True, timeout=self.busy_seconds, isolation_level=None, check_same_thread=False
        )
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _migrate(self, engine: Engine) -> None:
        """Bring the tables to this release, once, whoever comes first."""
        found = _revision(engine)
        if found == HEAD_REVISION:
            return
        if found is None and not self._may_begin:
            raise Corrupt(f"the database {self.name} is empty, but was in use before; restore it from a backup")
        from andon.store.migrations.apply import upgrade

        with engine.execution_options(andon_begin="IMMEDIATE").begin() as connection:
            self.lock(connection, "andon-migrations")
            upgrade(connection)


def _begin(connection: Connection) -> None:
    mode: Any = connection.get_execution_options().get("andon_begin", "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {mode}")


def _revision(engine: Engine) -> str | None:
    with engine.connect() as connection:
        if not engine.dialect.has_table(connection, "alembic_version"):
            return None
        row = connection.execute(text("SELECT version_num FROM alembic_version")).first()
        return None if row is None else str(row[0])
