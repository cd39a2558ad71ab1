"""One metric as a card of the wall, and one alarm as a line: what is shown of both wherever they are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import msgspec

from andon.core.verdict import Verdict
from andon.measure.estimate import Estimate
from andon.measure.gate import Bound, gate
from andon.monitor.alarm import Alarm, alarm_key
from andon.monitor.overview import Point, group_of
from andon.monitor.window import Measured, is_late
from andon.surface.page import piece
from andon.surface.station import State, bound_words, figure_text, told, unit_shown
from andon.surface.stations import rings
from andon.surface.view.watch_span import Span, points, typed

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.scope.section import MetricSpec
    from andon.store.windows import WindowRow

__all__ = ["GROUPS", "Card", "Ring", "card_of", "link", "ring_of", "state_of", "unit_of"]

GROUPS = ("input", "output", "performance", "feedback", "software")
_UP = ("firing", "recovering", "pending")


class Card(msgspec.Struct, frozen=True):
    """One metric of one slice ("" is everyone) over a stretch of time.

    ``goal`` and ``alarm`` are as the charter has them (the alarm may be "reference"), ``bound`` is the one that the
    points are held against, in words. ``current`` is the last point that is over and whose labels had time to come; it
    begins at ``current_us``. ``labels_to_us`` is set where labels still change what is later: up to then they came.
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
    bound: str
    phase: str | None
    state: State
    current: Estimate
    current_us: int | None
    labels_to_us: int | None
    points: tuple[Point, ...]
    href: str

    @property
    def held(self) -> str | None:
        """The bound that is drawn: the alarm's, else the goal."""
        return self.alarm if self.alarm not in (None, "reference") else self.goal

    @property
    def ends(self) -> str:
        """The interval and the rows behind the figure."""
        return figure_text(self.current, self.unit).partition(" (")[2].rstrip(")") if self.current.defined else ""


class Ring(msgspec.Struct, frozen=True):
    """One alarm: its phase since when, its last verdict in words (``sentence``), who has seen it and who silenced it."""

    key: str
    metric: str
    cohort: str
    phase: str
    state: State
    since_us: int
    fired_us: int
    window_us: int | None
    sentence: str
    episode: int
    acknowledged_by: str
    acknowledged_us: int
    note: str
    silenced_by: str
    silenced_until_us: int
    active: bool
    href: str


def link(base: str, *names: str, **query: str | int | None) -> str:
    """An address of the board. What servers and browsers take for a piece of a path is written twice over.

    >>> link("/watch/metrics", "missing(age)", slice="older", since=None)
    '/watch/metrics/missing%28age%29?slice=older'
    >>> link("/decisions", "a/b"), link("/decisions", "..")
    ('/decisions/a%252Fb', '/decisions/%252E%252E')
    """
    path = "/".join([base, *map(piece, names)])
    given = {name: value for name, value in query.items() if value not in (None, "")}
    return path + (f"?{urlencode(given)}" if given else "")


def unit_of(plan: Measured, metric: str) -> str:
    """The unit of a metric by name; none for one that the charter has no longer."""
    return plan.metrics[metric].unit if metric in plan.metrics else ""


def ring_of(alarm: Alarm, unit: str) -> Ring:
    """An alarm as a line."""
    up = alarm.phase in _UP
    return Ring(
        key=alarm.key,
        metric=alarm.metric,
        cohort=alarm.cohort,
        phase=alarm.phase,
        state="stop" if rings(alarm) else "look" if up else "good" if alarm.result is not None else "idle",
        since_us=alarm.since_us,
        fired_us=alarm.fired_us,
        window_us=alarm.window_us,
        sentence=told(alarm.result, unit),
        episode=alarm.episode,
        acknowledged_by=alarm.acknowledged_by if alarm.active else "",
        acknowledged_us=alarm.acknowledged_us,
        note=alarm.note if alarm.active else "",
        silenced_by=alarm.silenced_by,
        silenced_until_us=alarm.silenced_until_us,
        active=alarm.active,
        href=link("/watch/alarms", *([alarm.metric, alarm.cohort] if alarm.cohort else [alarm.metric])),
    )


def state_of(alarm: Alarm | None, goal: Bound | None, current: Estimate) -> State:
    """How a metric stands: its alarm first, then its goal; idle where there is no figure."""
    if alarm is not None and alarm.phase in _UP:
        return "stop" if rings(alarm) else "look"
    if current.value is None:
        return "idle"
    missed = goal is not None and gate("", current, goal).verdict is not Verdict.PASS
    return "look" if missed else "good"


def card_of(
    name: str,
    cohort: str,
    charter: Charter,
    plan: Measured,
    rows: Sequence[WindowRow],
    span: Span,
    seen: tuple[int, Mapping[str, Alarm]],
) -> Card:
    """The card of one metric; ``seen`` is the present (event time) and the alarms by key."""
    now, alarms = seen
    metric, spec = plan.metrics[name], charter.metrics.get(name)
    shown = points(metric, rows, plan, span, now)
    ripe = next((one for one in reversed(shown) if one.mature), None)
    current = ripe.estimate if ripe is not None else _nothing(bool(shown))
    unit = unit_shown(metric.unit, current)
    alarm = alarms.get(alarm_key(name, cohort)) if spec is not None and spec.alarm is not None else None
    goal, bell = (_written(spec, part) for part in ("goal", "alarm"))
    held = _bound(spec, "alarm") or _bound(spec, "goal")
    late = is_late(metric) and plan.delay_us > 0
    query = {} if span.latest else {"since": typed(span.since_us), "until": typed(span.until_us)}
    return Card(
        name=name, of=metric.name, where=spec.where if spec is not None else None, group=group_of(metric),
        unit=unit, direction=metric.direction, cohort=cohort, goal=goal, alarm=bell,
        bound=bound_words(held, unit) or bound_words(bell, unit),
        phase=alarm.phase if alarm is not None else None,
        state=state_of(alarm, _bound(spec, "goal"), current),
        current=current, current_us=ripe.start_us if ripe is not None else None,
        labels_to_us=now - plan.delay_us if late else None, points=shown,
        href=link("/watch/metrics", name, slice=cohort, **query),
    )  # fmt: skip


def _nothing(some: bool) -> Estimate:
    reason = "no window is over yet, or its labels may still come" if some else "nothing was measured"
    return Estimate(None, None, None, 0, "undefined", reason)


def _bound(spec: MetricSpec | None, part: str) -> Bound | None:
    value = getattr(spec, part) if spec is not None else None
    return value if isinstance(value, Bound) else None


def _written(spec: MetricSpec | None, part: str) -> str | None:
    value = getattr(spec, part) if spec is not None else None
    return None if value is None else str(value)
