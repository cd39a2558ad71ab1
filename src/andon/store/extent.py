"""How much room a workspace takes, part by part, and whether what its tables name is there. Nothing is written.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...     _ = (Path(folder) / "blobs").mkdir(), (Path(folder) / "blobs" / "a").write_bytes(b"1234")
...     print(measured("blobs", [Path(folder) / "blobs"]))
Extent(name='blobs', bytes=4, files=1, whole=True)
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import msgspec
from sqlalchemy import text

from andon.errors import Corrupt, Unavailable
from andon.store.segment import segment_starts, streams
from andon.store.shape import is_decisions, unreadable
from andon.store.tables import Database

if TYPE_CHECKING:
    from andon.store.log import DecisionLog
    from andon.store.workspace import Workspace

__all__ = [
    "MOST_FILES",
    "Extent",
    "TableFiles",
    "database_damage",
    "database_version",
    "extents",
    "measured",
    "oldest_day",
    "readable",
    "segments",
    "table_files",
    "written",
]

MOST_FILES = 200_000
"""So many files are looked at in one part; a part with more is at least as large as is said."""

_FOLDERS = {"write-ahead log": "wal", "decision log": "log", "blobs": "blobs", "bundles": "bundles"}
_DATABASE = ("andon.db", "andon.db-wal", "andon.db-shm")


class Extent(msgspec.Struct, frozen=True):
    """One part of a workspace; ``whole`` is False where it has more files than were looked at."""

    name: str
    bytes: int
    files: int
    whole: bool = True


class TableFiles(msgspec.Struct, frozen=True):
    """The files that a table's newest version names: how many, with how many rows and bytes; ``gone`` names a few that
    are missing or have another size, of ``faulty`` in all.
    """

    table: str
    files: int
    rows: int
    bytes: int
    faulty: int = 0
    gone: tuple[str, ...] = ()


def extents(workspace: Workspace) -> tuple[Extent, ...]:
    """The parts: the database, the write-ahead log, the decision log, blobs, bundles. Raises ``Unavailable``."""
    home = workspace.home
    return (
        _database(workspace),
        *(measured(name, [home / folder]) for name, folder in _FOLDERS.items()),
    )


def measured(name: str, roots: Iterable[Path], since_ns: int = 0, most: int = MOST_FILES) -> Extent:
    """Files under some folders, of those changed since a moment of the machine's time (in nanoseconds)."""
    size = files = seen = 0
    for entry in _files(roots):
        seen += 1
        if seen > most:
            return Extent(name, size, files, whole=False)
        try:
            found = entry.stat(follow_symlinks=False)
        except OSError:  # tidied up in this moment
            continue
        if found.st_mtime_ns >= since_ns:
            size, files = size + found.st_size, files + 1
    return Extent(name, size, files)


def _files(roots: Iterable[Path]) -> Iterator[os.DirEntry[str]]:
    folders = [str(root) for root in roots]
    while folders:
        try:
            with os.scandir(folders.pop()) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
                    else:
                        yield entry
        except OSError:  # tidied up in this moment, or not there yet
            continue


def _database(workspace: Workspace) -> Extent:
    if workspace.db.sqlite:
        found = [path for name in _DATABASE if (path := workspace.home / name).is_file()]
        return Extent("database", sum(path.stat().st_size for path in found), len(found))
    with workspace.db.read() as connection:
        size = connection.scalar(text("SELECT pg_database_size(current_database())"))
    return Extent("database", int(size or 0), 0)


def database_version(db: Database) -> str:
    """What the database is, with its version. Raises ``Unavailable``.

    >>> database_version(Database("sqlite:////nowhere/andon.db")).split()[0]
    'SQLite'
    """
    if db.sqlite:
        return f"SQLite {sqlite3.sqlite_version}"
    with db.read() as connection:
        return f"PostgreSQL {connection.scalar(text('SHOW server_version'))}"


def database_damage(db: Database) -> str:
    """What SQLite finds wrong when it reads all of itself, in its own words; empty where nothing is."""
    if not db.sqlite:
        return ""
    with db.read() as connection:
        said = str(connection.scalar(text("PRAGMA quick_check(1)")))
    return "" if said == "ok" else said


def written(workspace: Workspace, since_us: int, most: int = MOST_FILES) -> int:
    """Bytes in files of the logs and blobs that were changed since then (the machine's time), of at most so many."""
    folders = [workspace.home / folder for folder in _FOLDERS.values()]
    return measured("written", folders, since_us * 1000, most).bytes


def segments(workspace: Workspace) -> int:
    """How many segments the write-ahead log has, of all streams together."""
    return sum(len(segment_starts(workspace.wal_dir / stream)) for stream in streams(workspace.wal_dir))


def oldest_day(log: DecisionLog) -> date | None:
    """The first day of which decisions are kept, by the names of the folders; None before the first."""
    folders = [path for table in filter(is_decisions, log.tables()) for path in (log.root / table).glob("day=*")]
    for path in sorted(folders, key=lambda path: path.name):
        with suppress(OSError, ValueError):
            if any(path.iterdir()):  # a day that was deleted leaves its folder
                return date.fromisoformat(path.name.removeprefix("day="))
    return None


def readable(log: DecisionLog, table: str) -> int:
    """Read every column of every file of a table, for its rows alone. Raises ``Unavailable`` or ``Corrupt``."""
    import polars as pl

    handle = log.open(table)
    if handle is None:
        return 0
    try:
        rows = pl.scan_delta(handle).select(pl.len(), pl.all().is_null().sum().name.prefix("null "))
        return int(rows.collect(engine="streaming").item(0, 0))
    except (OSError, pl.exceptions.PolarsError) as error:
        raise unreadable(table, error) from error


def table_files(log: DecisionLog, table: str) -> TableFiles:
    """Whether the files are there that a table's newest version names. Raises ``Unavailable`` or ``Corrupt``."""
    import polars as pl

    for _ in range(2):
        handle = log.open(table)
        if handle is None:
            raise Corrupt(f"the decision log's table {table} has no version any more; restore the folder log")
        named = pl.DataFrame(handle.get_add_actions(flatten=True)).select("path", "size_bytes", "num_records")
        faulty = [path for path, size, _ in named.iter_rows() if _size(log.root / table / unquote(path)) != size]
        if not faulty:
            break  # else somebody may have tidied up between the two looks: look once more
    size, rows = named["size_bytes"].sum(), named["num_records"].sum()
    return TableFiles(table, named.height, int(rows), int(size), len(faulty), tuple(faulty[:3]))


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Unavailable(f"the file {path.name} of the decision log cannot be looked at: {error.strerror}") from error
