"""Does what was written down add up? The write-ahead log, the decision log and the inbox, compared row by row and by id.

Three promises are counted: every row of the write-ahead log that was shipped is in the decision log exactly once; no id
was decided twice while its answer is remembered; every decision that waits for a person has an item or a review. Nothing
is written, and the line may run meanwhile: the tables are opened before the streams are read, so what a table says it
has is held against what was written up to there. How much is looked at is bounded, and said.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec
import polars as pl

from andon.errors import Corrupt, Unavailable
from andon.store.codec import SHED, decode_losses
from andon.store.frame import Frame, FrameKind
from andon.store.reader import read_stream
from andon.store.segment import segment_path, segment_starts, streams
from andon.store.shape import DECISIONS, application, is_decisions, readable_rows, table_of, unreadable

if TYPE_CHECKING:
    from deltalake import DeltaTable

    from andon.store.workspace import Workspace

__all__ = ["MOST_BYTES", "MOST_PENDING", "Shedding", "TableTally", "Tally", "newest", "tally"]

MOST_BYTES = 256 << 20
"""So much of the write-ahead log is compared, the newest of it."""

MOST_PENDING = 50_000
"""So many cases that waited for a person are looked up, the newest of them."""

_BATCH = 8 << 20
_SHOWN = 5
_INBOX = "inbox"
_KEY = ("id", "stream", "sequence")
_ROW = pl.Schema({"id": pl.String(), "stream": pl.String(), "sequence": pl.Int64(), "time_us": pl.Int64()})


class TableTally(msgspec.Struct, frozen=True):
    """One table: ``rows`` of the write-ahead log were shipped to it; so many are ``missing``, or there ``twice``.

    ``unreadable`` rows could not be read in the write-ahead log itself. ``ids`` names a few of the faulty ones.
    """

    table: str
    rows: int
    missing: int = 0
    twice: int = 0
    unreadable: int = 0
    ids: tuple[str, ...] = ()


class Shedding(msgspec.Struct, frozen=True):
    """``rows`` answers of a worker between two times are in no log (``logging: {pressure: shed}``)."""

    stream: str
    rows: int
    since_us: int
    until_us: int


class Tally(msgspec.Struct, frozen=True):
    """What was compared, [``since_us``, ``until_us``] of event time (None: nothing), and what does not add up.

    ``whole`` says that all of the write-ahead log was looked at. ``waiting`` rows were not shipped yet. ``repeated`` ids
    were decided twice within the time for which an id is remembered. Of ``pending`` cases that the inbox has passed,
    ``unasked`` have neither an item nor a review (None: the database is gone). ``shed`` is what the log says is missing from it.
    """

    since_us: int | None
    until_us: int | None
    whole: bool
    tables: tuple[TableTally, ...]
    waiting: int
    repeated: tuple[str, ...]
    pending: int
    unasked: int | None
    unasked_ids: tuple[str, ...] = ()
    shed: tuple[Shedding, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether everything adds up."""
        wrong = any(one.missing or one.twice for one in self.tables)
        return not (wrong or self.repeated or self.unasked)


def tally(workspace: Workspace, *, remembered_us: int = 0, most_bytes: int = MOST_BYTES) -> Tally:
    """Compare; ``remembered_us`` is how long an id keeps its answer.

    Raises ``Unavailable`` where a stream cannot be read and ``Corrupt`` where a table cannot.
    """
    count = _Count(workspace)
    whole = True
    names = streams(workspace.wal_dir)
    for stream in names:
        start, all_of_it = newest(workspace, stream, most_bytes // len(names))
        whole &= all_of_it
        count.read(stream, start)
    tables = tuple(count.compared(table) for table in sorted(count.shipped))
    pending = count.pending.tail(MOST_PENDING)
    unasked = _unasked(workspace, count, pending)
    return Tally(
        since_us=count.since_us,
        until_us=count.until_us,
        whole=whole,
        tables=tables,
        waiting=count.waiting,
        repeated=count.repeated(remembered_us),
        pending=pending.height,
        unasked=None if unasked is None else len(unasked),
        unasked_ids=tuple((unasked or [])[:_SHOWN]),
        shed=tuple(count.shed),
    )


def newest(workspace: Workspace, stream: str, most: int = MOST_BYTES) -> tuple[int, bool]:
    """From which segment on a stream is read so that it is at most so many bytes, and whether that is all of it."""
    folder, size = workspace.wal_dir / stream, 0
    starts = segment_starts(folder)
    for place in reversed(range(len(starts))):
        try:
            size += segment_path(folder, starts[place]).stat().st_size
        except FileNotFoundError:  # tidied up in this moment
            return (starts[place + 1] if place + 1 < len(starts) else starts[-1]), False
        if size > most and place + 1 < len(starts):
            return starts[place + 1], False
    return (starts[0] if starts else 0), True


class _Count:
    """What the streams hold, held against the tables as they were before the first stream was read."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        log = workspace.log
        found = {name: log.open(name) for name in log.tables()}
        self._handles: dict[str, DeltaTable] = {name: one for name, one in found.items() if one is not None}
        self._passed = _passed(workspace)  # before the streams: what they hold then was asked by now
        self._offsets: dict[tuple[str, str], int] = {}
        self.shipped: dict[str, list[pl.DataFrame]] = {}
        self._unreadable: dict[str, int] = {}
        self._decided: list[pl.DataFrame] = []
        self._pending: list[pl.DataFrame] = []
        self.shed: list[Shedding] = []
        self.waiting = 0
        self.since_us: int | None = None
        self.until_us: int | None = None

    @property
    def known(self) -> bool:
        """Whether the database could tell how far the inbox is."""
        return self._passed is not None

    @property
    def pending(self) -> pl.DataFrame:
        """The cases that waited for a person and that the inbox has passed, the newest last."""
        return pl.concat([pl.DataFrame(schema=_ROW), *self._pending]).sort("time_us")

    def read(self, stream: str, start: int) -> None:
        """Take in one stream, piece by piece."""
        parts: dict[tuple[str, bool], list[Frame]] = {}
        size = 0
        for entry in read_stream(self._workspace.wal_dir, stream, start):
            if not isinstance(entry, Frame):
                continue
            self._saw(entry.time_us)
            self._missing(entry)
            table = table_of(entry)
            parts.setdefault((table, entry.end <= self._reached(table, stream)), []).append(entry)
            size += entry.end - entry.offset
            if size > _BATCH:
                self._take(parts, stream)
                parts, size = {}, 0
        self._take(parts, stream)

    def _missing(self, frame: Frame) -> None:
        """What a frame of losses says is in no log; one that cannot be read is counted as unreadable."""
        if frame.kind is FrameKind.LOSS:
            with suppress(Corrupt):
                losses = [loss for loss in decode_losses(frame) if loss.what == SHED]
                self.shed += [Shedding(frame.stream, loss.n, loss.since_us, loss.until_us) for loss in losses]

    def _saw(self, time_us: int) -> None:
        self.since_us = time_us if self.since_us is None else min(self.since_us, time_us)
        self.until_us = time_us if self.until_us is None else max(self.until_us, time_us)

    def _reached(self, table: str, stream: str) -> int:
        if (table, stream) not in self._offsets:
            handle = self._handles.get(table)
            found = None if handle is None else handle.transaction_version(application(stream))
            self._offsets[table, stream] = found or 0
        return self._offsets[table, stream]

    def _take(self, parts: dict[tuple[str, bool], list[Frame]], stream: str) -> None:
        for (table, shipped), frames in parts.items():
            rows = self._rows(table, frames)
            if shipped:
                self.shipped.setdefault(table, []).append(rows.select(*_ROW))
                lost = sum(frame.count for frame in frames) - rows.height
                self._unreadable[table] = self._unreadable.get(table, 0) + lost
            else:
                self.waiting += rows.height
            if is_decisions(table):
                self._decided.append(rows.select(*_ROW))
                passed = (self._passed or {}).get(stream, 0)
                asked = [frame for frame in frames if frame.end <= passed]
                last = asked[-1].first + asked[-1].count if asked else 0
                waits = (pl.col("status") == "pending") & (pl.col("sequence") < last)
                self._pending.append(rows.filter(waits).select(*_ROW))

    def _rows(self, table: str, frames: Sequence[Frame]) -> pl.DataFrame:
        """The rows of frames of one table; those that cannot be read are left out."""
        fields = self._workspace.load_contract(table.removeprefix(DECISIONS))[0] if is_decisions(table) else ()
        rows = readable_rows(table, frames, fields)
        return rows if "id" in rows.columns else rows.with_columns(id=pl.lit("", dtype=pl.String))

    def compared(self, table: str) -> TableTally:
        """One table against what was shipped to it."""
        wanted = pl.concat(self.shipped[table])
        unreadable = self._unreadable.get(table, 0)
        if not wanted.height:
            return TableTally(table, 0, unreadable=unreadable)
        times = wanted.join(self._found(table, wanted), on=list(_KEY), how="left")
        missing = times.filter(pl.col("times").is_null())
        twice = times.filter(pl.col("times") > 1)
        ids = [*missing["id"].head(_SHOWN), *twice["id"].head(_SHOWN)][:_SHOWN]
        return TableTally(table, wanted.height, missing.height, twice.height, unreadable, tuple(ids))

    def _found(self, table: str, wanted: pl.DataFrame) -> pl.DataFrame:
        """How often each key is in a table, among the rows of the stretches that were shipped."""
        bounds = wanted.group_by("stream").agg(first=pl.col("sequence").min(), last=pl.col("sequence").max())
        within = pl.any_horizontal(
            (pl.col("stream") == stream) & pl.col("sequence").is_between(first, last)
            for stream, first, last in bounds.iter_rows()
        )
        try:
            rows = pl.scan_delta(self._handles[table]).filter(within)
            if "id" not in rows.collect_schema():
                rows = rows.with_columns(id=pl.lit("", dtype=pl.String))
            return rows.group_by(_KEY).agg(times=pl.len()).collect()
        except (OSError, pl.exceptions.PolarsError) as error:
            raise unreadable(table, error) from error

    def repeated(self, within_us: int) -> tuple[str, ...]:
        """A few of the ids that were decided twice within so long."""
        if not self._decided:
            return ()
        rows = pl.concat(self._decided).sort("time_us")
        again = rows.with_columns(after=pl.col("time_us").diff().over("id")).filter(pl.col("after") <= within_us)
        return tuple(again["id"].unique(maintain_order=True).head(_SHOWN))

    def reviewed(self, ids: Sequence[str]) -> set[str]:
        """Which of these ids have a review, in the decision log or on the way there."""
        seen = {id for frame in self._reviews() for id in frame["id"]}
        handle = self._handles.get("reviews")
        if handle is not None:
            wanted = pl.LazyFrame({"id": pl.Series(ids, dtype=pl.String)})
            found = pl.scan_delta(handle).select("id").join(wanted, on="id", how="semi").collect()
            seen |= set(found["id"])
        return seen & set(ids)

    def _reviews(self) -> Iterator[pl.DataFrame]:
        for stream in streams(self._workspace.wal_dir):
            reached = self._reached("reviews", stream)
            frames = [
                entry
                for entry in read_stream(self._workspace.wal_dir, stream, 0)
                if isinstance(entry, Frame) and table_of(entry) == "reviews" and entry.end > reached
            ]
            yield readable_rows("reviews", frames)


def _passed(workspace: Workspace) -> dict[str, int] | None:
    """How far the inbox has read each stream; None with the database gone."""
    try:
        return workspace.windows.offsets(_INBOX)
    except Unavailable:
        return None


def _unasked(workspace: Workspace, count: _Count, pending: pl.DataFrame) -> list[str] | None:
    """The pending cases that have neither an item nor a review; None with the database gone."""
    if not count.known:
        return None
    ids = pending["id"].to_list()
    try:
        asked = workspace.items.many(ids)
    except Unavailable:
        return None
    left = [id for id in ids if id not in asked]
    answered = count.reviewed(left) if left else set()
    return [id for id in left if id not in answered]
