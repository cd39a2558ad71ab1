"""From the write-ahead log to everything that is derived from it: review items, window summaries, the decision log.

One ``tick`` reads what is new in every stream and gives it to the consumers, each of which keeps its own place (see
`andon.monitor.tap`). Summaries are merged in one transaction with their place, so they count every row once. Shipments
carry their place inside Delta, so they hold every row once. Items are inserted by id. So all of it may be killed
anywhere and begun again.

When nothing is new, a tick lists a few directories and touches neither the database nor Delta.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise

import msgspec
import polars as pl

from andon.core.clock import SECOND
from andon.core.record import Field
from andon.errors import Conflict, NotFound, Unavailable
from andon.monitor.arms import Rollouts
from andon.monitor.deciders import decided
from andon.monitor.decoded import Decoded
from andon.monitor.inputs import measured
from andon.monitor.intake import Intake
from andon.monitor.shedding import note_recorded
from andon.monitor.tap import CONSUMERS, INBOX, WINDOWS, Entry, Tap, Taps
from andon.monitor.window import Measured, WindowRow, profile
from andon.scope.charter import Charter
from andon.store.frame import Frame, FrameKind, Gap
from andon.store.rolling import ROLL_SECONDS, roll_left
from andon.store.segment import drop_segments, segment_path, segment_starts
from andon.store.shape import DECISIONS, readable_rows
from andon.store.snapshot import SHIPPED
from andon.store.view import recorded
from andon.store.workspace import Workspace

__all__ = ["Ingest", "Pace", "Tick"]

_SETTLE = 0.5
"""Seconds of wall time after which a decision is taken to be in its stream: a window is closed that much later."""


class Pace(msgspec.Struct, frozen=True):
    """How often, in seconds of wall time: merge windows, commit to Delta (or at ``ship_bytes``), tidy the streams.

    ``measure`` is the least time between two rounds of measuring again what labels arrived for.
    """

    window: float = 1.0
    ship: float = 5.0
    ship_bytes: int = 64 << 20
    tidy: float = 30.0
    measure: float = 2.0


class Tick(msgspec.Struct):
    """What one tick did. ``faults`` are sentences about streams that wait; ``more`` says that there is more to read."""

    rows: int = 0
    items: int = 0
    windows: int = 0
    shipped: dict[str, int] = {}
    gaps: list[Gap] = []
    faults: list[str] = []
    more: bool = False

    @property
    def busy(self) -> bool:
        """Whether anything happened."""
        return bool(self.rows or self.items or self.windows or self.shipped or self.gaps)


class Ingest:
    """Reads every stream of a workspace; made anew by each leader, since places are loaded here.

    ``wall`` is the machine's time (microseconds since 1970 UTC) by which files are old.
    """

    def __init__(
        self,
        workspace: Workspace,
        charter: Charter,
        *,
        plan: Measured | None = None,
        pace: Pace | None = None,
        wall: Callable[[], int] = lambda: time.time_ns() // 1000,
    ):
        self._wall = wall
        self._workspace = workspace
        self._plan = plan or Measured.of(charter)
        self._pace = pace or Pace()
        self._decoded = Decoded()
        self._intake = Intake(workspace, charter)
        self._rollouts = Rollouts(workspace, self._plan)
        self._keep = max(charter.gateway.idempotency_seconds, charter.review.deadline_us / SECOND)
        self._contract = lru_cache(maxsize=256)(lambda name: workspace.load_contract(name)[0])
        self._due = dict.fromkeys(("discover", "window", "ship", "tidy"), 0.0)
        self.taps = Taps(workspace)
        self.closed_us: int | None = None
        """Every decision made before this time has been measured; None until all streams were read to their end."""

    def tick(self) -> Tick:
        """Read what is new and pass it on. Raises ``Unavailable`` when the database is gone; call it again then."""
        tick = Tick()
        began = self._workspace.clock.now() - round(_SETTLE * SECOND * self._workspace.clock.rate())
        if self._is_due("discover", 1.0):
            self.taps.discover()
        tick.more = self.taps.poll()
        tick.faults += [tap.fault for tap in self.taps if tap.fault is not None]
        for tap in self.taps:
            self._take_in(tap, tick)
        if self._is_due("window", self._pace.window):
            self._merge(tick)
            if not tick.more and not tick.faults:
                self.closed_us = began
        if self._ship_is_due():
            self._ship(tick)
        if self._is_due("tidy", self._pace.tidy):
            self._tidy()
        for tap in self.taps:
            tap.prune()
        return tick

    def finish(self) -> Tick:
        """Pass on everything that is there, whatever the pace: for an orderly end."""
        last = Tick(more=True)
        while last.more:
            self._due = dict.fromkeys(self._due, 0.0)
            last = self.tick()
        return last

    def _is_due(self, what: str, seconds: float) -> bool:
        now = time.monotonic()
        if now < self._due[what]:
            return False
        self._due[what] = now + seconds
        return True

    # ------------------------------------------------------------------------------------------------ review items

    def _take_in(self, tap: Tap, tick: Tick) -> None:
        entries = tap.waiting(INBOX)
        if not entries:
            return
        try:
            for fields, rows in self._recorded(entries):
                tick.items += self._intake.ask(fields, rows)
        except NotFound as error:
            tick.faults.append(error.message)
            return
        tick.items += self._intake.close(entries)
        for entry in entries:
            if isinstance(entry, Frame):
                note_recorded(self._workspace, entry)
        gaps = [entry for entry in entries if isinstance(entry, Gap)]
        for gap in gaps:
            self._journal_gap(gap)
        tick.gaps += gaps
        tick.rows += sum(entry.count for entry in entries if isinstance(entry, Frame))
        tap.advance(INBOX, entries)

    def _journal_gap(self, gap: Gap) -> None:
        """One event for each damage, however often it is met."""
        journal, subject = self._workspace.journal, f"stream {gap.stream} at {gap.offset}"
        if not journal.read(action="log.gap", subject=subject, limit=1):
            lost = "an unknown number of rows" if gap.rows is None else f"{gap.rows} rows"
            reason = f"bytes {gap.offset} to {gap.end} of the stream {gap.stream} cannot be read: {lost} are lost"
            evidence = {"stream": gap.stream, "offset": gap.offset, "end": gap.end, "rows": gap.rows}
            journal.append("log.gap", subject, "controller", reason, evidence)

    def _recorded(self, entries: Iterable[Entry]) -> Iterator[tuple[tuple[Field, ...], pl.DataFrame]]:
        """The decisions among entries of one stream, by contract; raises ``NotFound`` for a contract that nobody saved."""
        parts: dict[str, list[Frame]] = {}
        for entry in entries:
            if isinstance(entry, Frame) and entry.kind is FrameKind.DECISION:
                parts.setdefault(entry.contract.hex(), []).append(entry)
        for name, frames in parts.items():
            fields = self._contract(name)
            rows = readable_rows(DECISIONS + name, frames, fields, self._decoded.rows)
            yield fields, recorded(fields, rows)

    # ------------------------------------------------------------------------------------------- window summaries

    def _merge(self, tick: Tick) -> None:
        """Measure what came, and store the summaries and every place reached, in one transaction for each stream."""
        for tap in self.taps:
            entries = tap.waiting(WINDOWS)
            if not entries and not tap.moved():
                continue
            try:
                rows = self._profile(entries)
            except NotFound as error:
                tick.faults.append(error.message)
                continue
            end = entries[-1].end if entries else tap.reached[WINDOWS]
            self._store(tap, end, rows)
            tick.windows += len(rows)

    def _profile(self, entries: Sequence[Entry]) -> list[WindowRow]:
        plan, rows = self._plan, list[WindowRow]()
        for fields, recorded_rows in self._recorded(entries):
            table = measured(recorded_rows, fields, plan.columns)
            rows += profile(table, plan.early, plan.slices, plan.window, plan.where)
            rows += decided(table, plan.window.length_us) + self._rollouts.early(table)
        return rows

    def _store(self, tap: Tap, end: int, rows: list[WindowRow]) -> None:
        windows, db = self._workspace.windows, self._workspace.db
        reached = {**tap.reached, WINDOWS: end}
        with db.write() as connection:
            db.lock(connection, f"andon-offset-{WINDOWS}-{tap.stream}")
            if windows.offsets(WINDOWS).get(tap.stream, 0) != tap.stored[WINDOWS]:
                raise Conflict(f"another controller has measured the stream {tap.stream} further; this one stands by")
            for consumer in CONSUMERS:
                if consumer == WINDOWS:
                    windows.merge(connection, WINDOWS, tap.stream, end, rows)
                elif reached[consumer] > tap.stored[consumer]:
                    windows.move(connection, consumer, tap.stream, reached[consumer])
        tap.reached[WINDOWS] = end
        tap.stored = dict(reached)

    # ------------------------------------------------------------------------------------------- the decision log

    def _ship_is_due(self) -> bool:
        if self.taps.held_bytes >= self._pace.ship_bytes and self.taps.unshipped_bytes() >= self._pace.ship_bytes:
            self._due["ship"] = 0.0
        return self._is_due("ship", self._pace.ship)

    def _ship(self, tick: Tick) -> None:
        for tap in self.taps:
            entries = tap.waiting(SHIPPED)
            if not entries:
                continue
            try:
                added = self._workspace.log.ship(tap.stream, entries, self._contract, self._decoded.rows)
            except (NotFound, Unavailable) as error:
                tick.faults.append(error.message)
                continue
            tap.advance(SHIPPED, entries)
            self._decoded.forget(tap.stream, min(tap.reached[consumer] for consumer in (INBOX, WINDOWS, SHIPPED)))
            for table, rows in added.items():
                tick.shipped[table] = tick.shipped.get(table, 0) + rows

    # --------------------------------------------------------------------------------------------------- tidiness

    def _tidy(self) -> None:
        """Delete segments that every consumer has had, that nobody may ask for again, and that are closed.

        The last one of a stream is closed by its writer, or here where it has none, when it is old.
        """
        clock = self._workspace.clock
        before_us = clock.now() - round(ROLL_SECONDS * SECOND * clock.rate())
        wall = self._wall() / SECOND
        for tap in self.taps:
            roll_left(self._workspace.wal_dir, tap.stream, before_us)
            folder = self._workspace.wal_dir / tap.stream
            starts = segment_starts(folder)
            had, offset = min(tap.stored.values()), 0
            for start, following in pairwise(starts):
                if following > had or wall - segment_path(folder, start).stat().st_mtime < self._keep:
                    break
                offset = following
            if offset:
                drop_segments(folder, offset)
