"""Windows of windows: what is looked at over months is also kept by the hour and by the day.

A line that has run for a year has a hundred thousand windows of five minutes. Where a page shows all of that time, the
same summaries are kept in longer windows, too: added up as they come, or made again from the short ones where those
were replaced. So a year is read as 365 rows.

>>> from andon.core.clock import MINUTE
>>> [length // MINUTE for length in lengths(5 * MINUTE)], [length // MINUTE for length in lengths(45 * MINUTE)]
([5, 60, 1440], [45, 1440])
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from andon.core.clock import DAY, HOUR
from andon.measure.summary import Mergeable
from andon.monitor.window import WindowRow

if TYPE_CHECKING:
    from andon.store.workspace import Workspace

__all__ = ["coarser", "lengths", "roll_up"]


def lengths(window_us: int) -> tuple[int, ...]:
    """The lengths in which windows are kept: the line's own, the hour and the day where whole windows make one."""
    return (window_us, *(length for length in (HOUR, DAY) if length > window_us and length % window_us == 0))


def coarser(rows: Iterable[WindowRow], longer: Sequence[int]) -> list[WindowRow]:
    """The same summaries, added up in longer windows of each of these lengths.

    >>> from andon.measure.summary import Count
    >>> rows = [WindowRow("m", "", start, 5, Count(1, 1, 1, 1)) for start in (0, 5, 10)]
    >>> [(row.start_us, row.summary.n) for row in coarser(rows, [10])]
    [(0, 2), (10, 1)]
    """
    sums: dict[tuple[str, str, int, int], Mergeable] = {}
    for row in rows:
        for length in longer:
            key = (row.metric, row.cohort, row.start_us // length * length, length)
            sums[key] = sums[key] + row.summary if key in sums else row.summary
    return [WindowRow(*key, summary) for key, summary in sums.items()]


def roll_up(workspace: Workspace, rows: Sequence[WindowRow]) -> None:
    """Make the longer windows again in which these lie, which have just been stored, from all that they are made of."""
    windows = workspace.windows
    for base in {row.length_us for row in rows}:
        mine = [row for row in rows if row.length_us == base]
        longer = lengths(base)[1:]
        if not longer:
            continue
        whole = max(longer)
        keys = {(row.metric, row.cohort, row.start_us // length * length, length) for row in mine for length in longer}
        since = min(row.start_us for row in mine) // whole * whole
        until = (max(row.start_us for row in mine) // whole + 1) * whole
        metrics, cohorts = {row.metric for row in mine}, {row.cohort for row in mine}
        found = coarser(windows.read(metrics, cohorts, since, until, base), longer)
        windows.replace(row for row in found if (row.metric, row.cohort, row.start_us, row.length_us) in keys)
