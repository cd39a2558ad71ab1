"""The decision log: Delta tables that hold every frame of the write-ahead log exactly once.

The write-ahead log (`andon.store.wal`) is the truth until its frames are *shipped* here; from then on the log is. Five
kinds of table: ``decisions/<contract>`` (one per contract version, with typed input columns), ``feedback``,
``reviews``, ``shadow`` and ``losses``, all partitioned by day.

**Exactly once** is ours to do, since Delta accepts the same application transaction twice. Every commit carries the
application transaction (application = stream and its generation, version = offset at which the last frame ends). A
shipment opens the table, reads the version reached, drops the frames that end at or before it, and commits *on that
very handle*: a commit by somebody else in between is then refused by Delta as concurrent, and the shipment looks again.
A kill leaves either the whole commit or a data file that no commit names, which `DecisionLog.compact` sweeps up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import date
from functools import partial
from pathlib import Path

import msgspec
import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from andon.core.record import Field
from andon.errors import Corrupt, Unavailable
from andon.store.frame import Frame, Gap
from andon.store.shape import DECISIONS, SCHEMAS, application, day_of, is_decisions, rows_of, table_of

__all__ = ["Contracts", "DecisionLog", "Decode", "OldDays", "deletions"]

Contracts = Callable[[str], Sequence[Field]]
"""From the hash of a contract, in hex, to its fields; raises ``NotFound`` when it is not known."""

Decode = Callable[..., pl.DataFrame]
"""What makes rows of frames: (table, frames, fields=..., near_us=...)."""

_Build = Callable[[Sequence[Frame | Gap]], pl.DataFrame]
_ATTEMPTS = 8
_CONFIGURATION: dict[str, str | None] = {
    "delta.checkpointInterval": "50",
    "delta.dataSkippingStatsColumns": "id,time_us",  # inputs may be long texts or images: no statistics of those
    "delta.logRetentionDuration": "interval 2 days",
    "delta.enableExpiredLogCleanup": "true",
}
_FILE_BYTES = 32 << 20  # files of this size are not rewritten any more
_SWEEP_HOURS = 1  # a reader that opened a table may go on reading the files of that version for so long
_ORPHAN_HOURS = 24  # files that no commit names are swept when they are older than this
_RETAINED = "andon/retention"  # the application whose transactions are deletions of old days

OLD_DAYS = 32
"""So many days at most are deleted from a table at a time."""


class OldDays(msgspec.Struct, frozen=True):
    """What is to be deleted from a table: ``days`` (ISO, sorted) with so many ``rows``, as its deletion ``number``."""

    number: int
    days: tuple[str, ...]
    rows: int


class DecisionLog:
    """The Delta tables under one folder; see the module's text for how it keeps its promise.

    >>> import tempfile
    >>> log = DecisionLog(Path(tempfile.mkdtemp()))
    >>> log.tables(), log.rows("feedback"), log.version("feedback", "w0")
    ([], 0, 0)
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._handles: dict[str, DeltaTable] = {}

    def ship(
        self, stream: str, frames: Sequence[Frame | Gap], contracts: Contracts, decode: Decode = rows_of
    ) -> dict[str, int]:
        """Append the rows of these frames of one stream, in order; returns the rows added to each table.

        Frames that a table has already are dropped, so that shipping again after a kill changes nothing. A gap, and a
        sound frame whose payload cannot be read, become a row of ``losses``. ``decode`` stands in for `andon.store.shape.rows_of`. Raises ``NotFound`` for an unknown contract and ``Unavailable`` when the disk refuses; what
        was not committed then may be shipped again.
        """
        near_us = max((frame.time_us for frame in frames if isinstance(frame, Frame)), default=0)
        parts: dict[str, list[Frame | Gap]] = {}
        for frame in frames:
            parts.setdefault(table_of(frame), []).append(frame)
        added = {}
        for table, part in parts.items():
            fields = tuple(contracts(table.removeprefix(DECISIONS))) if is_decisions(table) else ()
            added[table] = self._ship(table, stream, part, partial(decode, table, fields=fields, near_us=near_us))
        return added

    def _ship(self, table: str, stream: str, part: Sequence[Frame | Gap], build: _Build) -> int:
        try:
            return self._append(table, application(stream), part, build)
        except (Corrupt, pl.exceptions.PolarsError):
            sound, damaged = _sift(part, build)
            near_us = max((frame.time_us for frame in part if isinstance(frame, Frame)), default=0)
            count = partial(rows_of, "losses", near_us=near_us)
            # First the loss, then the rest: a kill in between finds the same damage again, and counts it once.
            self._append("losses", application(stream, table), damaged, count)
            return self._append(table, application(stream), sound, build)

    def _append(self, table: str, app: str, part: Sequence[Frame | Gap], build: _Build) -> int:
        for _ in range(_ATTEMPTS):
            handle = self._fresh(table) or self._created(table, build([]).schema)
            reached = handle.transaction_version(app) or 0
            fresh = [frame for frame in part if frame.end > reached]
            if not fresh:
                return 0
            rows = build(fresh)
            try:
                self._commit(table, handle, rows, Transaction(app, fresh[-1].end))
            except CommitFailedError:
                self._handles.pop(table, None)
                continue
            return rows.height
        raise Unavailable(
            f"decision log: {_ATTEMPTS} commits to {table} in a row met another writer; it is tried again"
        )

    def _commit(self, table: str, handle: DeltaTable, rows: pl.DataFrame, transaction: Transaction) -> None:
        properties = CommitProperties(app_transactions=[transaction], max_commit_retries=0)
        try:
            write_deltalake(handle, rows, mode="append", commit_properties=properties)
        except CommitFailedError:
            raise
        except (DeltaError, OSError) as error:
            self._handles.pop(table, None)
            raise Unavailable(
                f"decision log: {table} in {self.root} could not be written: {_first_line(error)}"
            ) from error

    def _created(self, table: str, schema: pl.Schema) -> DeltaTable:
        path = self.root / table
        try:
            path.mkdir(parents=True, exist_ok=True)
            handle = DeltaTable.create(
                path, schema, mode="ignore", partition_by=["day"], configuration=_CONFIGURATION, name=table
            )
        except (DeltaError, OSError) as error:
            raise Unavailable(
                f"decision log: {table} in {self.root} could not be created: {_first_line(error)}"
            ) from error
        self._handles[table] = handle
        return handle

    def _fresh(self, table: str) -> DeltaTable | None:
        """The table at its newest version, or None when there is none."""
        handle = self._handles.get(table)
        if handle is None or not (self.root / table / "_delta_log").is_dir():
            handle = self.open(table)
        else:
            try:
                handle.update_incremental()
            except DeltaError:
                handle = self.open(table)  # its log may have been cleaned up behind the version we stood at
        if handle is None:
            self._handles.pop(table, None)
        else:
            self._handles[table] = handle
        return handle

    def open(self, table: str) -> DeltaTable | None:
        """The table at its newest version, for reading and unmoved by later shipments; None when there is none yet."""
        try:
            return DeltaTable(self.root / table)
        except TableNotFoundError:
            return None
        except (DeltaError, OSError) as error:
            raise Unavailable(
                f"decision log: {table} in {self.root} could not be read: {_first_line(error)}"
            ) from error

    def tables(self) -> list[str]:
        """The names of the tables there are, sorted."""
        found = [name for name in SCHEMAS if (self.root / name / "_delta_log").is_dir()]
        return sorted(found + [DECISIONS + contract for contract in self.contracts()])

    def contracts(self) -> list[str]:
        """The contracts (hash in hex) that have a table of decisions."""
        folder = self.root / DECISIONS
        return sorted(path.parent.name for path in folder.glob("*/_delta_log")) if folder.is_dir() else []

    def version(self, table: str, stream: str) -> int:
        """The offset in the stream up to which its frames are in the table; 0 when none is."""
        handle = self._fresh(table)
        return 0 if handle is None else handle.transaction_version(application(stream)) or 0

    def newest_day(self) -> date | None:
        """The newest day that any table holds; None where there is none."""
        handles = [handle for table in self.tables() if (handle := self._fresh(table)) is not None]
        days = [str(partition["day"]) for handle in handles for partition in handle.partitions()]
        return date.fromisoformat(max(days)) if days else None

    def rows(self, table: str) -> int:
        """How many rows the table has."""
        handle = self._fresh(table)
        return 0 if handle is None else handle.count()

    def compact(self, *, orphans: bool = False) -> dict[str, int]:
        """Rewrite many small files as few, and delete what no version of the last hour needs; files merged by table.

        With ``orphans`` the folder itself is listed too, and files older than a day that no commit names are deleted:
        what a kill inside a commit leaves behind.
        """
        return {table: self._compact(table, orphans) for table in self.tables()}

    def _compact(self, table: str, orphans: bool) -> int:
        handle = self._fresh(table)
        if handle is None:
            return 0
        try:
            merged = int(handle.optimize.compact(target_size=_FILE_BYTES)["numFilesRemoved"])
            handle.vacuum(retention_hours=_SWEEP_HOURS, dry_run=False, enforce_retention_duration=False)
            if orphans:
                handle.vacuum(retention_hours=_ORPHAN_HOURS, dry_run=False, enforce_retention_duration=False, full=True)
        except CommitFailedError:
            self._handles.pop(table, None)
            return 0  # somebody else wrote meanwhile; the next round merges
        except (DeltaError, OSError) as error:
            self._handles.pop(table, None)
            raise Unavailable(f"decision log: {table} could not be compacted: {_first_line(error)}") from error
        return merged

    def retain(self, before_us: int) -> dict[str, int]:
        """Delete, for good, the days that lie wholly before ``before_us``; returns the rows deleted by table.

        Who has to count them even if it is killed goes step by step: ``old``, ``drop``, ``sweep``.
        """
        day, gone = day_of(before_us), {}
        for table in self.tables():
            gone[table] = 0
            while (old := self.old(table, day)) is not None:
                gone[table] += old.rows if self.drop(table, old) else 0
            self.sweep(table, day)
        return gone

    def old(self, table: str, before: date, but: Collection[str] = (), most: int = OLD_DAYS) -> OldDays | None:
        """The first ``most`` days before a day that a table holds, without those in ``but`` (ISO); None: there is none."""
        handle = self._fresh(table)
        if handle is None:
            return None
        found = {str(partition["day"]) for partition in handle.partitions()}
        days = sorted(day for day in found - set(but) if day < before.isoformat())[:most]
        return _counted(handle, tuple(days)) if days else None

    def drop(self, table: str, old: OldDays) -> bool:
        """Take these days out of the table's newest version; False where somebody wrote meanwhile: look again.

        The commit carries the number, so ``dropped`` can tell whether a kill came before it or behind. Raises
        ``Unavailable``.
        """
        handle = self._fresh(table)
        if handle is None or _counted(handle, old.days) != old:
            return False
        days = ", ".join(f"'{day}'" for day in old.days)
        transaction = Transaction(_RETAINED, old.number)
        properties = CommitProperties(app_transactions=[transaction], max_commit_retries=0)
        try:
            handle.delete(f"day IN ({days})", commit_properties=properties)
        except CommitFailedError:
            self._handles.pop(table, None)
            return False
        except (DeltaError, OSError) as error:
            self._handles.pop(table, None)
            raise Unavailable(f"decision log: {table}: old days were not deleted: {_first_line(error)}") from error
        return True

    def dropped(self, table: str, number: int) -> bool:
        """Whether the deletion of this number is in the table."""
        handle = self._fresh(table)
        return handle is not None and deletions(handle) >= number

    def sweep(self, table: str, before: date) -> bool:
        """Delete the files of days before a day that the newest version no longer names; whether there were any.

        Files of a commit that never came to be are left to ``compact``: somebody may be about to name them.
        """
        folders = [path for path in (self.root / table).glob("day=*") if path.name[4:] < before.isoformat()]
        handle = self._fresh(table) if folders else None
        if handle is None:
            return False
        named = {f"day={partition['day']}" for partition in handle.partitions()}
        left = {path.name: path for path in folders if path.name not in named}
        if not left:
            return False
        try:
            # What a reader of another day may still be reading is not in these folders; `compact` sees to it in time.
            tombs = handle.vacuum(retention_hours=0, dry_run=True, enforce_retention_duration=False)
            for tomb in tombs:
                if tomb.partition("/")[0] in left:
                    (self.root / table / tomb).unlink(missing_ok=True)
            handle.create_checkpoint()
            handle.cleanup_metadata()  # its older entries hold ids
        except (DeltaError, OSError) as error:
            self._handles.pop(table, None)
            raise Unavailable(f"decision log: {table}: old files were not deleted: {_first_line(error)}") from error
        for folder in left.values():
            with suppress(OSError):  # a file of a commit that never came to be is in it
                folder.rmdir()
        return True


def deletions(handle: DeltaTable) -> int:
    """How often days were deleted from a table, as of the version that is open."""
    return handle.transaction_version(_RETAINED) or 0


def _counted(handle: DeltaTable, days: tuple[str, ...]) -> OldDays:
    """The deletion of these days from the table as it is, with how many rows that costs."""
    named = pl.DataFrame(handle.get_add_actions(flatten=True)).select(
        pl.col("partition.day").cast(pl.String), "num_records"
    )
    rows = named.filter(pl.col("partition.day").is_in(days))["num_records"].sum()
    return OldDays(deletions(handle) + 1, days, int(rows))


def _sift(part: Sequence[Frame | Gap], build: _Build) -> tuple[list[Frame | Gap], list[Gap]]:
    """The entries whose rows can be read, and the others as gaps."""
    sound: list[Frame | Gap] = []
    damaged: list[Gap] = []
    for entry in part:
        try:
            build([entry])
            sound.append(entry)
        except (Corrupt, pl.exceptions.PolarsError):
            rows = entry.count if isinstance(entry, Frame) else entry.rows
            damaged.append(Gap(entry.stream, entry.offset, entry.end, rows))
    return sound, damaged


def _first_line(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
