"""What there is to see: every metric's last windows, its bound and its alarm, ready for a terminal, a page or JSON.

>>> spark([0.1, None, 0.2, 0.3])
'▁ ▄█'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from andon.core.registry import did_you_mean
from andon.errors import NotFound
from andon.measure.estimate import Estimate, undefined
from andon.measure.gate import Bound
from andon.measure.metric import Metric, parse_metric
from andon.monitor.alarm import Alarm, alarm_key
from andon.monitor.performance import is_mature
from andon.monitor.watch import alarms
from andon.monitor.window import Measured, WindowRow, folded, is_late

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.scope.section import MetricSpec
    from andon.store.workspace import Workspace

__all__ = ["Point", "View", "definition", "group_of", "overview", "spark"]

_BARS = "▁▂▃▄▅▆▇█"


class Point(msgspec.Struct, frozen=True):
    """One window: its start (event time), its estimate, and whether its labels had time to come."""

    start_us: int
    estimate: Estimate
    mature: bool


class View(msgspec.Struct, frozen=True):
    """One metric as it is watched. ``current`` is the last window that is over and mature; ``points`` are the last ones.

    ``group`` is input, output, performance, feedback or software. ``alarm`` is the bound (or "reference") as written.
    """

    name: str
    of: str
    where: str | None
    group: str
    unit: str
    direction: str | None
    cohort: str
    goal: str | None
    alarm: str | None
    phase: str | None
    acknowledged_by: str | None
    verdict: str | None
    sentence: str | None
    start_us: int | None
    current: Estimate
    points: tuple[Point, ...] = ()


def overview(
    workspace: Workspace, charter: Charter, *, cohort: str = "", only: Sequence[str] = (), windows: int = 24
) -> list[View]:
    """Every metric of the charter, then what every line measures; those of ``only`` if names are given.

    Raises ``NotFound`` for a slice or metric that the charter does not have.
    """
    plan = Measured.of(charter)
    if cohort and cohort not in plan.slices:
        raise NotFound(f"no slice is called {cohort!r}; {did_you_mean(cohort, plan.slices)}")
    for name in only:
        if name not in plan.metrics:
            raise NotFound(f"no metric is called {name!r}; {did_you_mean(name, plan.metrics)}")
    names = list(only) or [*charter.metrics, *(name for name in plan.metrics if name not in charter.metrics)]
    now, states = workspace.clock.now(), alarms(workspace)
    stored = _stored(workspace, plan, names, cohort, windows, now)
    points = {name: _points(plan, name, rows, windows, now) for name, rows in stored.items()}
    ripe = _ripe(workspace, plan, points, cohort, windows, now)
    return [
        _view(charter, plan, states.get(alarm_key(name, cohort)), (name, cohort), points[name], ripe.get(name))
        for name in names
    ]


def definition(name: str, spec: MetricSpec, classes: tuple[str, ...]) -> dict[str, Any]:
    """What a metric of the charter means, JSON-ready."""
    metric = parse_metric(spec.of, classes)
    return {
        "name": name,
        "of": spec.of,
        "where": spec.where,
        "group": group_of(metric),
        "unit": metric.unit,
        "direction": metric.direction,
        "needs": sorted(metric.needs),
        "goal": _bound(spec, "goal"),
        "alarm": _bound(spec, "alarm"),
        "for_windows": spec.for_windows,
        "then": spec.then,
        "critical": spec.critical,
    }


def group_of(metric: Metric) -> str:
    """Where a metric belongs on a board.

    >>> from andon.measure.metric import parse_metric
    >>> [group_of(parse_metric(of)) for of in ("accuracy", "mean(age)", "null_outputs", "latency_p95_ms", "feedback(redo)")]
    ['performance', 'input', 'output', 'software', 'feedback']
    """
    if metric.needs_label:
        return "performance"
    for group, columns in _GROUPS:
        if metric.needs & columns:
            return group
    return "input"


_GROUPS = (
    ("feedback", {"feedback", "label"}),
    ("software", {"latency_us", "time_us", "error"}),
    ("output", {"prediction", "decided_by", "human", "suggestion", "confidence", "status"}),
)


def spark(values: Sequence[float | None]) -> str:
    """A line of bars from the least to the largest value; a gap where there is none.

    >>> spark([5.0, 5.0]), spark([])
    ('▁▁', '')
    """
    known = [value for value in values if value is not None]
    low, span = (min(known), max(known) - min(known)) if known else (0.0, 0.0)
    return "".join(
        " " if value is None else _BARS[int((value - low) / span * 7.999) if span else 0] for value in values
    )


def _view(
    charter: Charter,
    plan: Measured,
    state: Alarm | None,
    what: tuple[str, str],
    points: Sequence[Point],
    ripe: Point | None,
) -> View:
    name, cohort = what
    metric, spec = plan.metrics[name], charter.metrics.get(name)
    alarm = state if spec is not None and spec.alarm is not None else None
    return View(
        name=name,
        of=metric.name,
        where=spec.where if spec is not None else None,
        group=group_of(metric),
        unit=metric.unit,
        direction=metric.direction,
        cohort=cohort,
        goal=_bound(spec, "goal"),
        alarm=_bound(spec, "alarm"),
        phase=alarm.phase if alarm is not None else None,
        acknowledged_by=alarm.acknowledged_by or None if alarm is not None else None,
        verdict=alarm.result.verdict.value if alarm is not None and alarm.result is not None else None,
        sentence=alarm.result.sentence if alarm is not None and alarm.result is not None else None,
        start_us=ripe.start_us if ripe is not None else None,
        current=ripe.estimate if ripe is not None else _nothing(points),
        points=tuple(points),
    )


def _stored(
    workspace: Workspace, plan: Measured, names: Sequence[str], cohort: str, windows: int, now: int
) -> dict[str, list[WindowRow]]:
    """The stored windows of the last stretch of time, of all metrics in one query.

    A metric that has none there stood still for long: it is read from where it ended.
    """
    found: dict[str, list[WindowRow]] = {name: [] for name in names}
    stretch, since = 2 * windows * plan.window.length_us, now - 2 * windows * plan.window.length_us
    if any(is_late(plan.metrics[name]) for name in names):
        since -= plan.delay_us
    missing: Sequence[str] = names
    while missing:
        found |= workspace.windows.tails(missing, cohort, since, plan.window.length_us, windows)
        newest = {name: workspace.windows.newest(name, cohort) for name in missing if not found[name]}
        ends = {name: end for name, end in newest.items() if end is not None}
        missing, since = list(ends), max(ends.values(), default=0) - stretch
    return found


def _points(plan: Measured, name: str, rows: Sequence[WindowRow], windows: int, now: int) -> list[Point]:
    metric, length = plan.metrics[name], plan.window.length_us
    delay = plan.delay_us if is_late(metric) else 0
    found = folded(rows, metric, length)[-windows:]
    return [Point(start, metric.estimate(kept), is_mature(start, length, now, delay)) for start, kept in found]


def _ripe(
    workspace: Workspace, plan: Measured, points: Mapping[str, Sequence[Point]], cohort: str, windows: int, now: int
) -> dict[str, Point]:
    """The last mature window of each metric: among the last ones, or before them where labels take longer than those."""
    found = {name: [point for point in some if point.mature][-1:] for name, some in points.items()}
    waiting = [name for name, some in found.items() if not some and points[name]]
    if waiting:
        length = plan.window.length_us
        until = now - plan.delay_us - length + 1
        since = until - 2 * windows * length
        for name, rows in workspace.windows.tails(waiting, cohort, since, length, 1, until).items():
            found[name] = _points(plan, name, rows, 1, now)
    return {name: some[-1] for name, some in found.items() if some and some[-1].mature}


def _nothing(points: Sequence[Point]) -> Estimate:
    return undefined("no window is over yet, or its labels may still come" if points else "nothing was measured yet")


def _bound(spec: MetricSpec | None, name: str) -> str | None:
    value = getattr(spec, name) if spec is not None else None
    return str(value) if isinstance(value, Bound) else value
