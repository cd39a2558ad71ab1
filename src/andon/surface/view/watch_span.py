"""The stretch of time that a watch page shows, and the stored windows in it, added up to as many points as can be seen.

Times are event time in UTC. Windows that labels still change are told apart: they are points, but no part of a sum.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec

from andon.core.clock import iso, parse_time
from andon.errors import UsageError
from andon.measure.estimate import Estimate, undefined
from andon.measure.metric import Metric
from andon.measure.summary import Summary, add
from andon.monitor.overview import Point
from andon.monitor.performance import is_mature
from andon.monitor.window import STANDARD, Measured, is_late
from andon.surface.station import minute

if TYPE_CHECKING:
    from andon.store.windows import WindowRow
    from andon.surface.visit import Visit

__all__ = ["Moment", "Rows", "Span", "moment", "points", "read", "span_of", "total", "typed"]

#: The most windows that are read of one metric, and the most points that are drawn.
MOST_WINDOWS = 5_000
MOST_POINTS = 120
_LAST_US = 253_402_300_799_000_000
_TIMES = (1, 2, 3, 4, 6, 8, 12, 24, 48, 72, 96, 144, 168, 288, 336, 720, 1440, 2016, 4320, 8760)

Moment = Annotated[
    str, msgspec.Meta(max_length=40, description="A date or a time, such as 2020-05-01 or 2020-05-01T10:00; UTC.")
]
Rows = dict[tuple[str, str], list["WindowRow"]]
"""Stored windows by metric and slice ("" is everyone)."""


class Span(msgspec.Struct, frozen=True):
    """[``since_us``, ``until_us``), in windows of ``window_us``, of which each point has a few: ``point_us``.

    ``whole`` says that it is the latest there is; ``note`` says what is not as it was asked for.
    """

    since_us: int
    until_us: int
    window_us: int
    point_us: int
    latest: bool
    note: str = ""


def moment(text: str, name: str) -> int | None:
    """Event time of what somebody wrote; None for nothing. Raises ``UsageError`` with the field's name.

    >>> moment("2020-03-11", "since"), moment("", "since")
    (1583884800000000, None)
    >>> moment("yesterday", "since")
    Traceback (most recent call last):
    ...
    andon.errors.UsageError: since: expected a date or time such as 2020-05-01 or 2020-05-01T10:00 (UTC), found 'yesterday'
    """
    if not text.strip():
        return None
    try:
        found = parse_time(text.strip())
    except (ValueError, OverflowError):
        found = -1
    if not 0 <= found <= _LAST_US:
        expected = "expected a date or time such as 2020-05-01 or 2020-05-01T10:00 (UTC)"
        raise UsageError(f"{name}: {expected}, found {text[:60]!r}", field=name)
    return found


def typed(time_us: int) -> str:
    """A time as a field for a date and time takes it, to the minute; `moment` reads it.

    >>> typed(1_583_884_800_000_000)
    '2020-03-11T00:00'
    """
    return iso(time_us)[:16]


def span_of(visit: Visit, plan: Measured, windows: int, since: str = "", until: str = "") -> Span:
    """What to show: the last ``windows``, or what lies between two times. Raises ``UsageError``.

    Where nothing was measured lately, the last windows are those before the line stood still.
    """
    length, now = plan.window.length_us, visit.now_us
    first, last = moment(since, "since"), moment(until, "until")
    if first is not None and (last if last is not None else now) <= first:
        when = iso(last) if last is not None else f"now, {iso(now)}"
        raise UsageError(f"since: expected a time before {when}, found {iso(first)}", field="since")
    note, end = "", last if last is not None else now
    if first is None:
        if last is None:
            end, note = _newest(visit, plan, windows)
        first = plan.window.start(end - 1) - (windows - 1) * length
    if (end - first) // length > MOST_WINDOWS:
        first = plan.window.start(end - 1) - (MOST_WINDOWS - 1) * length
        note = f"that is more than {MOST_WINDOWS:,} windows: the last {MOST_WINDOWS:,} of them are shown"
    first = max(0, first)
    return Span(first, end, length, length * _factor(-(-(end - first) // length)), not since and not until, note)


def _factor(windows: int) -> int:
    wanted = -(-windows // MOST_POINTS)
    return next((times for times in _TIMES if times >= wanted), wanted)


def _newest(visit: Visit, plan: Measured, windows: int) -> tuple[int, str]:
    """The end of the last windows: now, or the end of the last one that anything was measured in."""
    now, stored = visit.now_us, visit.project.workspace.windows
    length = plan.window.length_us
    since = plan.window.start(now) - windows * length
    if stored.read(STANDARD[0], "", since):
        return now, ""
    before = stored.read(STANDARD[0], "", None, since)
    if not before:
        return now, ""
    end = before[-1].start_us + before[-1].length_us
    return end, f"nothing was measured after {minute(end)}: these are the last windows before that"


def read(visit: Visit, plan: Measured, names: Sequence[str], cohorts: Sequence[str], span: Span) -> Rows:
    """The stored windows of these metrics and slices, in one query.

    Of a late metric also those before, whose labels had time to come, where the latest are shown.
    """
    delay = plan.delay_us if span.latest and any(is_late(plan.metrics[name]) for name in names) else 0
    since = max(span.since_us - delay, span.until_us - MOST_WINDOWS * span.window_us)
    stored = visit.project.workspace.windows.read(names, cohorts, since, span.until_us, span.window_us)
    found: Rows = {}
    for row in stored:
        metric = plan.metrics[row.metric]
        early = row.start_us < span.since_us and not is_late(metric)
        if isinstance(row.summary, metric.kind) and not early:
            found.setdefault((row.metric, row.cohort), []).append(row)
    return found


def points(metric: Metric, rows: Iterable[WindowRow], plan: Measured, span: Span, now: int) -> tuple[Point, ...]:
    """A metric over time; a point that is made of several windows is mature when all of them are."""
    sums: dict[int, Summary] = {}
    for row in rows:
        start = row.start_us // span.point_us * span.point_us
        sums[start] = _sum(metric, [*([sums[start]] if start in sums else []), row.summary])
    delay = plan.delay_us if is_late(metric) else 0
    return tuple(
        Point(start, metric.estimate(summary), is_mature(start, span.point_us, now, delay))
        for start, summary in sorted(sums.items())
    )


def total(metric: Metric, rows: Sequence[WindowRow], plan: Measured, now: int) -> tuple[Estimate, int]:
    """All windows together that are over and whose labels had time to come, and how many others were left out."""
    delay = plan.delay_us if is_late(metric) else 0
    ripe = [row for row in rows if is_mature(row.start_us, row.length_us, now, delay)]
    left_out = len(rows) - len(ripe)
    if not ripe:
        return undefined("labels may still come" if left_out else "nothing was measured then"), left_out
    return metric.estimate(_sum(metric, [row.summary for row in ripe])), left_out


def _sum(metric: Metric, summaries: Sequence[object]) -> Summary:
    return add([one for one in summaries if isinstance(one, metric.kind)], metric.kind)
