"""Measuring again: windows whose labels, reviews or feedback have just arrived get new summaries of their late metrics.

What arrives names decisions; their times name the windows; each of those is computed anew from the records and put in
the place of what was there. So the result does not depend on how often that was done, and a kill costs nothing.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import polars as pl

from andon.errors import Corrupt
from andon.measure.summary import Count
from andon.monitor.arms import Rollouts
from andon.monitor.deciders import labelled, reviewed
from andon.monitor.inputs import measured
from andon.monitor.performance import performance
from andon.monitor.rollup import roll_up
from andon.monitor.tap import LATE, Entry, Tap, Taps
from andon.monitor.window import Measured, WindowRow, profile
from andon.store.codec import decode_feedback, decode_reviews
from andon.store.frame import Frame, FrameKind
from andon.store.view import outcomes, times_of
from andon.store.workspace import Workspace

__all__ = ["LABELS", "Remeasure"]

LABELS = "labels"
"""The share of decisions with a label so far, kept for every window unless the charter has a metric of this name."""

_REST = 4.0  # after a round that took t seconds, rest for this many times t: at most a fifth of a core


class Remeasure:
    """Collects which decisions something arrived for, and measures their windows again every ``seconds`` or later."""

    def __init__(self, workspace: Workspace, plan: Measured, taps: Taps, *, seconds: float = 2.0) -> None:
        self._workspace = workspace
        self._plan = plan
        self._taps = taps
        self._rollouts = Rollouts(workspace, plan)
        self._seconds = seconds
        self._due = 0.0
        self._ids: set[str] = set()
        self._noted: dict[str, int] = {}
        self.rounds = 0

    @property
    def waiting(self) -> bool:
        """Whether something arrived that is not measured yet."""
        return bool(self._ids)

    def note(self) -> None:
        """Remember for which decisions something has arrived."""
        for tap in self._taps:
            entries = [entry for entry in tap.waiting(LATE) if entry.end > self._noted.get(tap.stream, 0)]
            if entries:
                self._ids.update(_ids(entries))
                self._noted[tap.stream] = entries[-1].end
        if not self._ids:
            self._settle()

    def run(self, *, now: bool = False) -> int:
        """Measure again if something arrived and it is time (or ``now``); returns the number of windows. Raises ``Unavailable``."""
        began = time.monotonic()
        if not self._ids or (began < self._due and not now):
            return 0
        starts = {self._plan.window.start(time_us) for time_us in times_of(self._workspace, sorted(self._ids)).values()}
        for since, until in _runs(sorted(starts), self._plan.window.length_us):
            rows, rolled = self._rows(since, until)
            self._workspace.windows.replace([*rows, *rolled])
            roll_up(self._workspace, rolled)
        self._ids.clear()
        self._settle()
        self.rounds += 1
        self._due = time.monotonic() + max(self._seconds, _REST * (time.monotonic() - began))
        return len(starts)

    def _settle(self) -> None:
        for tap in self._taps:
            self._advance(tap)

    def _advance(self, tap: Tap) -> None:
        noted = self._noted.get(tap.stream, 0)
        tap.advance(LATE, [entry for entry in tap.waiting(LATE) if entry.end <= noted])

    def _rows(self, since_us: int, until_us: int) -> tuple[list[WindowRow], list[WindowRow]]:
        """The windows measured again: those that are kept in one length only, and those to be rolled up."""
        plan = self._plan
        found_rows = outcomes(self._workspace, since_us, until_us, truth=plan.truth)
        table = measured(found_rows, plan.fields, plan.columns)
        # A case that still waits for a person is not wrong yet, whatever its label says already.
        decided = measured(found_rows.filter(pl.col("status") != "pending"), plan.fields, plan.columns)
        other = {name: metric for name, metric in plan.late.items() if not metric.needs_label}
        rows = profile(table, other, plan.slices, plan.window, plan.where)
        found = performance(
            decided,
            plan.late,
            plan.slices,
            window_us=plan.window.length_us,
            now=until_us,
            delay_us=plan.delay_us,
            where=plan.where,
        )
        rows += [WindowRow(row.metric, row.cohort, row.start_us, row.length_us, row.summary) for row in found]
        rows += [] if LABELS in plan.metrics else _coverage(table, plan)
        length = plan.window.length_us
        return rows, reviewed(table, length) + labelled(table, length) + self._rollouts.late(table)


def _coverage(table: pl.DataFrame, plan: Measured) -> list[WindowRow]:
    start = (pl.col("time_us") // plan.window.length_us * plan.window.length_us).alias("start")
    counted = table.group_by(start).agg(n=pl.len(), labelled=pl.col("label").is_not_null().sum()).sort("start")
    return [
        WindowRow(LABELS, "", at, plan.window.length_us, Count(n, float(labelled), float(n), float(n)))
        for at, n, labelled in counted.iter_rows()
    ]


def _runs(starts: list[int], length: int) -> Iterator[tuple[int, int]]:
    """Windows side by side as one span: (since, until).

    >>> list(_runs([0, 10, 30], 10))
    [(0, 20), (30, 40)]
    """
    since = until = None
    for start in starts:
        if since is None or until is None:
            since = start
        elif start != until:
            yield since, until
            since = start
        until = start + length
    if since is not None and until is not None:
        yield since, until


def _ids(entries: Iterable[Entry]) -> Iterator[str]:
    for entry in entries:
        if not isinstance(entry, Frame) or entry.kind not in (FrameKind.FEEDBACK, FrameKind.REVIEW):
            continue
        try:
            rows = decode_feedback(entry) if entry.kind is FrameKind.FEEDBACK else decode_reviews(entry)
        except Corrupt:
            continue  # the shipper counts it as lost
        yield from (row.id for row in rows)
