"""What came back: feedback of each kind over time, how late labels are, how many decisions have one, and the latest rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from andon.core.clock import SECOND
from andon.errors import Unavailable
from andon.measure.estimate import Estimate, undefined, wilson
from andon.monitor.overview import Point
from andon.monitor.performance import is_mature
from andon.monitor.window import Measured
from andon.surface.page import Page
from andon.surface.view.decision_veil import veiled_ids
from andon.surface.view.watch import Windows
from andon.surface.view.watch_card import link
from andon.surface.view.watch_span import Moment, Span, span_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    import polars as pl

    from andon.surface.visit import Visit

__all__ = ["MOST_ROWS", "PAGES", "FeedbackParams", "FeedbackRow", "FeedbackView", "KindCount", "feedback_view"]

#: Labels are looked up for so many of the newest decisions.
MOST_ROWS = 200_000
_ROWS = 50
_KINDS = 6
_TONES = ("machine", "people", "candidate", "idle", "ok", "warn")


class FeedbackParams(msgspec.Struct, frozen=True):
    """When: the last windows, or what lies between two times."""

    windows: Windows = 48
    since: Moment = ""
    until: Moment = ""


class KindCount(msgspec.Struct, frozen=True):
    """Feedback of one kind: how much in all, and in each stretch of time (``FeedbackView.times``)."""

    name: str
    tone: str
    n: int
    values: tuple[int, ...]


class FeedbackRow(msgspec.Struct, frozen=True):
    """One event of feedback; ``hidden``: its value is hidden, because a person is still to decide that case blindly."""

    id: str
    kind: str
    value: str | None
    time_us: int
    received_us: int | None
    event: str | None
    hidden: bool
    href: str


class FeedbackView(msgspec.Struct, frozen=True):
    """The page. ``delay`` is the median from a decision to its label in seconds of event time, ``late`` the 95th percentile.

    ``share`` is that of decisions with a label, of those whose labels had time to come; ``promised_us`` is how late the
    charter says that labels are, ``promised`` the same in the ``delay_unit`` of ``delays``. ``truth`` is where labels come from. ``cut_us``: labels were looked up for the newest
    decisions only, those made from then on.
    """

    now_us: int
    span: Span
    times: tuple[int, ...]
    kinds: tuple[KindCount, ...]
    decisions: int
    cut_us: int | None
    share: Estimate
    shares: tuple[Point, ...]
    delay: Estimate
    late: Estimate
    delays: tuple[Point, ...]
    delay_unit: str
    promised: float
    promised_us: int
    truth: str
    latest: tuple[FeedbackRow, ...]


def feedback_view(visit: Visit, params: FeedbackParams) -> FeedbackView:
    """What came back in the time shown. Raises ``UsageError``."""
    from andon.store.browse import count, delays, feedback_counts, kth_newest

    plan, workspace = Measured.of(visit.project.charter), visit.project.workspace
    span = span_of(visit, plan, params.windows, params.since, params.until)
    step, now = span.point_us, visit.now_us
    times = tuple(range(span.since_us // step * step, span.until_us, step))
    counts = feedback_counts(workspace, times[0], span.until_us, step)
    oldest = kth_newest(workspace, MOST_ROWS, span.until_us)
    cut_us = oldest if oldest is not None and oldest > times[0] else None
    table = delays(workspace, cut_us or times[0], span.until_us, step)
    ripe = [is_mature(start, step, now, plan.delay_us) for start in table["start_us"]]
    late = _late(table["delays"].explode().drop_nulls())
    unit, size = _unit(plan.delay_us / SECOND or late[0].value or 0.0)
    return FeedbackView(
        now_us=now, span=span, times=times, kinds=_kinds(counts, times), decisions=count(workspace, span.since_us, span.until_us), cut_us=cut_us,
        share=_share(table.filter(ripe)), shares=_shares(table, ripe),
        delay=late[0], late=late[1], delays=_delays(table, ripe, size),
        delay_unit=unit, promised=plan.delay_us / SECOND / size, promised_us=plan.delay_us, truth=plan.truth, latest=_latest(visit),
    )  # fmt: skip


def _kinds(counts: pl.DataFrame, times: Sequence[int]) -> tuple[KindCount, ...]:
    """The commonest kinds, and the rest as one."""
    sums: dict[str, dict[int, int]] = {}
    for start, kind, n in counts.iter_rows():
        sums.setdefault(kind, {})[start] = n
    order = sorted(sums, key=lambda kind: (-sum(sums[kind].values()), kind))
    shown, rest = (order, []) if len(order) <= _KINDS else (order[: _KINDS - 1], order[_KINDS - 1 :])
    groups = [(kind, [sums[kind]]) for kind in shown]
    if rest:
        groups.append((f"{len(rest)} other kinds", [sums[kind] for kind in rest]))
    made = []
    for tone, (name, parts) in zip(_TONES, groups, strict=False):
        values = tuple(sum(part.get(time, 0) for part in parts) for time in times)
        made.append(KindCount(name, tone, sum(values), values))
    return tuple(made)


def _share(table: pl.DataFrame) -> Estimate:
    n = int(table["n"].sum())
    if not n:
        return undefined("no decision is old enough for its label to have had time to come")
    return wilson(int(table["labelled"].sum()), n)


def _shares(table: pl.DataFrame, ripe: Sequence[bool]) -> tuple[Point, ...]:
    rows = table.select("start_us", "n", "labelled").iter_rows()
    return tuple(Point(at, wilson(labelled, n), old) for (at, n, labelled), old in zip(rows, ripe, strict=True))


def _late(found: pl.Series) -> tuple[Estimate, Estimate]:
    """Median and 95th percentile in seconds."""
    from andon.measure.sketch import Latency

    kept = Latency.of(found.cast(float) / SECOND)
    return kept.estimate(0.5), kept.estimate(0.95)


def _unit(seconds: float) -> tuple[str, float]:
    """The unit in which a delay of about so long is read, and its seconds.

    >>> _unit(14 * 86_400), _unit(4 * 3_600), _unit(30)
    (('days', 86400), ('h', 3600), ('s', 1))
    """
    sizes = (("days", 86_400), ("h", 3_600), ("min", 60))
    return next(((name, size) for name, size in sizes if seconds >= 2 * size), ("s", 1))


def _delays(table: pl.DataFrame, ripe: Sequence[bool], size: float) -> tuple[Point, ...]:
    """The median delay of each stretch, in units of so many seconds."""
    import polars as pl

    points = []
    for (at, found), old in zip(table.select("start_us", "delays").iter_rows(), ripe, strict=True):
        if found:
            points.append(Point(at, _late(pl.Series(found))[0].scaled(1 / size), old))
    return tuple(points)


def _latest(visit: Visit) -> tuple[FeedbackRow, ...]:
    from andon.store.browse import latest_feedback

    workspace = visit.project.workspace
    rows = latest_feedback(workspace, _ROWS)
    ids = [str(row["id"]) for row in rows]
    try:
        hidden = veiled_ids(workspace, ids)
    except Unavailable:
        hidden = set(ids)  # nobody can say which of them are blind
    return tuple(_row(row, row["id"] in hidden) for row in rows)


def _row(row: dict[str, Any], hidden: bool) -> FeedbackRow:
    number = row["number"]
    value = row["value"] if row["value"] is not None else None if number is None else f"{number:g}"
    return FeedbackRow(
        id=row["id"],
        kind=row["kind"],
        value=None if hidden else value,
        time_us=row["time_us"],
        received_us=row["received_us"],
        event=row["event"],
        hidden=hidden,
        href=link("/decisions", row["id"]),
    )


PAGES = (
    Page(
        "watch.feedback", "/watch/feedback", "Feedback", "watch", feedback_view, FeedbackParams, FeedbackView,
        "watch_feedback.html", live=("windows", "items"),
    ),
)  # fmt: skip
