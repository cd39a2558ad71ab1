"""One metric large: over time with what happened to the line, on every slice, and one stretch of time against another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
import numpy as np

from andon.core.record import Event, Route
from andon.core.registry import did_you_mean
from andon.errors import NotFound, UsageError
from andon.measure.estimate import Estimate, mover, undefined
from andon.measure.metric import Metric
from andon.monitor.alarm import alarm_key
from andon.monitor.overview import Point
from andon.monitor.watch import alarms
from andon.monitor.window import Measured, is_late
from andon.scope.risk import register
from andon.surface.page import Page
from andon.surface.station import bound_words, figure_text, unit_shown
from andon.surface.view.watch import SliceName, Windows, a_slice
from andon.surface.view.watch_card import Card, Ring, card_of, ring_of
from andon.surface.view.watch_span import MOST_WINDOWS, Moment, Rows, Span, moment, points, read, span_of, total

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.store.windows import WindowRow
    from andon.surface.visit import Visit

__all__ = [
    "PAGES",
    "Against",
    "Happened",
    "MetricParams",
    "MetricView",
    "Part",
    "Shown",
    "difference",
    "happened",
    "metric_view",
]

_MOST_MARKS = 12


class MetricParams(msgspec.Struct, frozen=True):
    """Which metric, where and when; ``against_since`` and ``against_until`` name a second stretch to compare with."""

    metric: Annotated[str, msgspec.Meta(max_length=400, description="The metric's name.")]
    slice: SliceName = ""
    windows: Windows = 96
    since: Moment = ""
    until: Moment = ""
    against_since: Moment = ""
    against_until: Moment = ""


class Shown(msgspec.Struct, frozen=True):
    """What a metric means; ``goal`` and ``alarm`` are in words, ``needs`` are the columns it reads.

    ``risks`` are those of the charter that it would show. ``for_windows`` and ``then`` are of its alarm.
    """

    of: str
    where: str | None
    unit: str
    direction: str | None
    needs: tuple[str, ...]
    late: bool
    goal: str
    alarm: str
    for_windows: int
    then: str
    critical: bool
    risks: tuple[str, ...]
    in_charter: bool


class Part(msgspec.Struct, frozen=True):
    """A slice: all its windows that are sure together, and over time."""

    name: str
    condition: str
    whole: Estimate
    left_out: int
    points: tuple[Point, ...]
    phase: str | None = None


class Happened(msgspec.Struct, frozen=True):
    """Something that was done to the line, or that its alarm did, as a mark in the chart."""

    time_us: int
    text: str
    tone: str = "plain"


class Against(msgspec.Struct, frozen=True):
    """Two stretches of time: each with all its sure windows together, the first minus the second, and what that says.

    ``left_out`` are windows of both whose labels may still come.
    """

    first_us: tuple[int, int]
    second_us: tuple[int, int]
    first: Estimate
    second: Estimate
    difference: Estimate
    sentence: str
    left_out: int


class MetricView(msgspec.Struct, frozen=True):
    """The page of one metric."""

    now_us: int
    name: str
    slices: tuple[str, ...]
    span: Span
    card: Card
    shown: Shown
    whole: Estimate
    left_out: int
    parts: tuple[Part, ...]
    happened: tuple[Happened, ...]
    alarm: Ring | None
    story: tuple[Event, ...]
    against: Against | None


def metric_view(visit: Visit, params: MetricParams) -> MetricView:
    """Raises ``NotFound`` for an unknown metric or slice, ``UsageError`` for times that make no stretch."""
    charter, now, workspace = visit.project.charter, visit.now_us, visit.project.workspace
    plan = Measured.of(charter)
    name, cohort = _known(params.metric, plan), a_slice(params.slice, plan)
    span = span_of(visit, plan, params.windows, params.since, params.until)
    rows, kept = read(visit, plan, [name], ["", *plan.slices], span), alarms(workspace)
    metric, mine = plan.metrics[name], rows.get((name, cohort), [])
    alarm = kept.get(alarm_key(name, cohort))
    whole, left_out = total(metric, mine, plan, now)
    return MetricView(
        now_us=now, name=name, slices=tuple(plan.slices), span=span,
        card=card_of(name, cohort, charter, plan, mine, span, (now, kept)),
        shown=_shown(name, metric, charter, unit_shown(metric.unit, whole)), whole=whole, left_out=left_out,
        parts=tuple(_parts(metric, name, plan, rows, span, now)),
        happened=tuple(happened(visit, span, alarm_key(name, cohort))),
        alarm=ring_of(alarm, metric.unit) if alarm is not None and name in charter.metrics else None,
        story=tuple(workspace.journal.latest(12, subject=alarm.key)) if alarm is not None else (),
        against=_against(visit, plan, (name, cohort), span, params),
    )  # fmt: skip


def _known(name: str, plan: Measured) -> str:
    if name in plan.metrics:
        return name
    raise NotFound(f"no metric is called {name[:80]!r}; {did_you_mean(name, plan.metrics)}", field="metric")


def _shown(name: str, metric: Metric, charter: Charter, unit: str) -> Shown:
    spec = charter.metrics.get(name)
    risks = tuple(f"{risk.what} ({risk.state})" for risk in register(charter) if name in risk.shows_in)
    return Shown(
        of=metric.name,
        where=spec.where if spec is not None else None,
        unit=unit,
        direction=metric.direction,
        needs=tuple(sorted(metric.needs)),
        late=is_late(metric),
        goal=bound_words(spec.goal, unit) if spec is not None else "",
        alarm=bound_words(spec.alarm, unit) if spec is not None else "",
        for_windows=spec.for_windows if spec is not None else 1,
        then=spec.then if spec is not None and spec.alarm is not None else "",
        critical=spec.critical if spec is not None else False,
        risks=risks,
        in_charter=spec is not None,
    )


def _parts(metric: Metric, name: str, plan: Measured, rows: Rows, span: Span, now: int) -> Iterator[Part]:
    for cohort in ("", *plan.slices):
        mine = rows.get((name, cohort), [])
        whole, left_out = total(metric, mine, plan, now)
        condition = plan.slices[cohort].text if cohort else ""
        yield Part(cohort, condition, whole, left_out, points(metric, mine, plan, span, now))


def happened(visit: Visit, span: Span, key: str) -> Iterator[Happened]:
    """Route changes and what the alarm did in the time shown; the newest where there are many."""
    workspace, found = visit.project.workspace, list[Happened]()
    for route in workspace.routes.history():
        if route.time_us < span.since_us:
            break
        text, tone = _route_text(route)
        if text and route.time_us <= span.until_us and len(found) < _MOST_MARKS:
            found.append(Happened(route.time_us, text, tone))
    for event in workspace.journal.latest(100, subject=key):
        if event.action in ("alarm.fired", "alarm.resolved") and span.since_us <= event.time_us <= span.until_us:
            fired = event.action == "alarm.fired"
            found.append(
                Happened(event.time_us, "alarm fired" if fired else "alarm resolved", "alarm" if fired else "ok")
            )
    yield from sorted(found, key=lambda one: one.time_us)


def _route_text(route: Route) -> tuple[str, str]:
    levels = ", ".join(sorted(set(route.levels.values())))
    texts = {
        "begin": "the line begins",
        "switch": f"{route.live} live",
        "rollback": f"back to {route.live or 'no model'}",
        "stop": "stopped",
        "start": "started",
        "canary": f"canary {route.candidate} {route.share:.0%}",
        "ramp": f"canary {route.candidate} {route.share:.0%}",
        "automate": f"level {levels}",
        "shadow": f"shadow {', '.join(route.shadows)}",
    }
    tone = "alarm" if route.action in ("stop", "rollback") else "plain"
    return texts.get(route.action, ""), tone


# ------------------------------------------------------------------------------------------------ two stretches of time


def _against(visit: Visit, plan: Measured, place: tuple[str, str], span: Span, params: MetricParams) -> Against | None:
    since = moment(params.against_since, "against_since")
    until = moment(params.against_until, "against_until")
    if since is None and until is None:
        return None
    if since is None or until is None:
        missing = "against_since" if since is None else "against_until"
        raise UsageError(f"{missing}: the stretch to compare with needs both of its ends", field=missing)
    if until <= since:
        raise UsageError("against_until: expected a time after against_since", field="against_until")
    if (until - since) // span.window_us > MOST_WINDOWS:
        raise UsageError(f"against_since: expected at most {MOST_WINDOWS:,} windows", field="against_since")
    metric, now = plan.metrics[place[0]], visit.now_us
    first, second = (span.since_us, span.until_us), (since, until)
    sums = [_sum_of(visit, plan, place, metric, ends, now) for ends in (first, second)]
    apart = first[1] <= second[0] or second[1] <= first[0]
    found = difference(sums[0][0], sums[1][0]) if apart else undefined("the two overlap, so they share cases")
    said = _says(found, sums[0][0], sums[1][0], metric)
    return Against(first, second, sums[0][0], sums[1][0], found, said, sums[0][1] + sums[1][1])


def _sum_of(
    visit: Visit, plan: Measured, place: tuple[str, str], metric: Metric, ends: tuple[int, int], now: int
) -> tuple[Estimate, int]:
    stored: Sequence[WindowRow] = visit.project.workspace.windows.read(*place, *ends, plan.window.length_us)
    return total(metric, stored, plan, now)


def difference(first: Estimate, second: Estimate) -> Estimate:
    """The first minus the second, which rest on different cases: its interval is recovered from theirs (MOVER).

    >>> from andon.measure.estimate import wilson
    >>> print(difference(wilson(80, 100), wilson(60, 100)))
    0.2 (0.0731 to 0.319, n 200)
    """
    return mover([first, second], [1.0, -1.0], np.eye(2), first.n + second.n)


def _says(found: Estimate, first: Estimate, second: Estimate, metric: Metric) -> str:
    """What a difference says, and no more."""
    if found.value is None:
        return f"There is no difference to tell: {found.reason}."
    share = metric.unit == "share"
    unit = "points" if share else metric.unit
    ends = [None if end is None else end * (100 if share else 1) for end in (found.value, found.low, found.high)]
    scaled = Estimate(ends[0], ends[1], ends[2], found.n, found.method)
    told = figure_text(scaled, unit)
    if found.low is None or found.high is None:
        return f"The first less the second is {told}: one side is open, so nothing follows."
    if found.low <= 0 <= found.high:
        return (
            f"The first less the second is {told}: no difference is shown, and none of this size or less is ruled out."
        )
    way = "higher" if found.value > 0 else "lower"
    return (
        f"In the first it is {way}: the first less the second is {told}. "
        "Chance alone would seldom do that; this does not say why, and who looks at many pairs will find one."
    )


PAGES = (
    Page(
        "watch.metric",
        "/watch/metrics/{metric}",
        "Metric",
        "watch",
        metric_view,
        MetricParams,
        MetricView,
        "watch_metric.html",
        live=("windows", "journal", "route"),
    ),
)
