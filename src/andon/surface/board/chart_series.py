"""Values over time: with their intervals, their bound and what happened; and small, without axes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from markupsafe import Markup

from andon.measure.gate import Bound
from andon.surface.board import chart_shape as shape
from andon.surface.board.chart_axis import SHORT, Scale, finite, number, span_text, time_ticks, value_ticks
from andon.surface.board.chart_bound import Bounds, bound_of, limits, nothing
from andon.surface.board.chart_shape import FOOT, Mark, Plot, across, tag

if TYPE_CHECKING:
    from andon.monitor.overview import Point

__all__ = ["Dot", "dots", "series", "spark", "values"]

_DOTS = 70
_TIPS = 800
_MOST = 5_000


@dataclass(frozen=True, slots=True)
class Dot:
    """A window's value with its interval (an open end is None); ``length_us`` is how long the window is, if it is one.

    ``mature`` is False while labels may still come; ``n`` is the number of rows behind it.
    """

    time_us: int
    value: float | None
    low: float | None = None
    high: float | None = None
    mature: bool = True
    n: int | None = None
    length_us: int = 0

    @property
    def middle_us(self) -> float:
        """Where it is drawn."""
        return self.time_us + self.length_us / 2


def dots(points: Iterable[Point], length_us: int = 0) -> list[Dot]:
    """The dots of windows that are ``length_us`` long."""
    return [
        Dot(one.start_us, found.value, found.low, found.high, one.mature, found.n, length_us)
        for one in points
        for found in (one.estimate,)
    ]


def values(points: Sequence[Point], length_us: int, since_us: int, until_us: int) -> list[float | None]:
    """The values of windows of one length for a `spark` of this time: None where one is missing or labels may still come."""
    known = {one.start_us: one.estimate.value if one.mature else None for one in points}
    first = min([since_us, *known]) // length_us * length_us
    if not known or (until_us - first) // length_us > _MOST:
        return list(known.values())
    return [known.get(start) for start in range(first, until_us, length_us)]


def spark(values: Sequence[float | None], bounds: Bounds = (), tone: str = "plain", label: str = "") -> Markup:
    """A small line without axes, as wide as its place; hidden from screen readers unless it has a ``label``."""
    known, marks = finite(values), [value for value, _ in limits(bounds)]
    low, high = min([*known, *marks], default=0.0), max([*known, *marks], default=0.0)
    scale = Scale(low, high, ()) if high > low else Scale(low - 1, low + 1, ())
    step = 150 / max(1, len(values) - 1)
    runs: list[list[str]] = [[]]
    for index, value in enumerate(values):
        if finite([value]) and value is not None:
            runs[-1].append(f"{_short(index * step)} {_short(34 - scale.share(value) * 34)}")
        elif runs[-1]:
            runs.append([])
    # A window alone between gaps is a dot: a line of no length with round ends.
    drawn = "".join("M" + "L".join(run if len(run) > 1 else run * 2) for run in runs if run)
    parts = [
        tag("line", x1=0, x2=150, y1=y, y2=y, class_="bound") for y in (34 - scale.share(mark) * 34 for mark in marks)
    ]
    if drawn:
        parts.append(tag("path", d=drawn, class_=shape.tone_of(tone)))
    named = {"role": "img", "aria_label": label} if label else {"aria_hidden": "true"}
    return tag("svg", *parts, class_="spark", viewBox="0 -3 150 40", preserveAspectRatio="none", **named)


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def series(
    dots: Sequence[Dot],
    unit: str = "",
    bounds: Bounds = (),
    marks: Sequence[Mark] = (),
    label: str = "",
    height: int = 180,
    zoom: str = "",
) -> Markup:
    """Values over time with their intervals as a band, a bound as dashed lines and events as upright ones.

    It is as long as both windows and events need.

    ``zoom`` is the id of a form with the fields ``since`` and ``until`` that dragging across the chart fills in.
    """
    drawn = sorted(dots, key=lambda dot: dot.time_us)
    if not finite(dot.value for dot in drawn):
        return nothing(label)
    lows = limits(bounds, unit)
    since = float(min([drawn[0].time_us, *(mark.time_us for mark in marks)]))
    until = float(max([*(dot.time_us + dot.length_us for dot in drawn), *(mark.time_us for mark in marks)]))
    head, inside, layouts = shape.marks_of(marks, since, until)
    height += head
    frame = Plot(head + 8, height - FOOT, _scale_of(drawn, [value for value, _ in lows], unit))
    places = [((dot.middle_us - since) / (until - since) if until > since else 0.5, dot) for dot in drawn]
    body = [
        shape.value_axis(frame, lows),
        shape.where_axis(time_ticks(int(since), int(until)), since, until, frame.bottom),
        shape.lines(height, *_band(places, frame), *_strokes(places, frame)),
        tag("g", *_points(places, frame, bound_of(bounds)), class_="dots"),
        shape.draw_marks(inside, layouts, frame.bottom, [span_text(mark.time_us) for mark, _ in inside]),
        tag("g", *_tips(places, frame, unit), class_="tips"),
    ]
    texts = [tick.text for tick in frame.scale.ticks] + [text for _, text in lows]
    return shape.plot(body, height, _said(label, drawn, unit), gutter=texts, unit=unit, zoom=zoom and f"{zoom} {since:.0f} {until:.0f}")  # fmt: skip


def _said(label: str, dots: Sequence[Dot], unit: str) -> str:
    known = [dot for dot in dots if finite([dot.value])]
    values = finite(dot.value for dot in known)
    said = f"{len(known)} windows from {span_text(dots[0].time_us)} to {span_text(dots[-1].time_us, 0)}, "
    said += f"between {number(min(values), unit)} and {number(max(values), unit)}, last {number(values[-1], unit)}"
    return f"{label}: {said}" if label else said


def _scale_of(dots: Sequence[Dot], bounds: Sequence[float], unit: str) -> Scale:
    """Values and bounds are always inside; intervals as far as they do not flatten everything else."""
    core = [*finite(dot.value for dot in dots), *bounds]
    low, high = min(core), max(core)
    ends = finite(end for dot in dots for end in (dot.low, dot.high))
    reach = 1.5 * (high - low) if high > low else float("inf")
    return value_ticks(max(min([low, *ends]), low - reach), min(max([high, *ends]), high + reach), unit)


def _runs(places: Sequence[tuple[float, Dot]]) -> Iterator[list[tuple[float, Dot]]]:
    """Stretches of windows that follow one another and have values."""
    run: list[tuple[float, Dot]] = []
    for x, dot in places:
        apart = bool(run) and dot.length_us > 0 and dot.time_us - run[-1][1].time_us > 1.5 * dot.length_us
        known = bool(finite([dot.value]))
        if run and (apart or not known):
            yield run
            run = []
        if known:
            run.append((x, dot))
    if run:
        yield run


def _band(places: Sequence[tuple[float, Dot]], frame: Plot) -> Iterator[Markup]:
    shapes = []
    for run in _runs(places):
        whole = [
            (x, frame.y(dot.low), frame.y(dot.high)) for x, dot in run if dot.low is not None and dot.high is not None
        ]
        if len(whole) > 1:
            shapes.append([(x, high) for x, _, high in whole] + [(x, low) for x, low, _ in reversed(whole)])
    if shapes:
        yield tag("path", d=shape.path(shapes, closed=True), class_="band")


def _strokes(places: Sequence[tuple[float, Dot]], frame: Plot) -> Iterator[Markup]:
    sure: list[list[tuple[float, float]]] = []
    open_: list[list[tuple[float, float]]] = []
    for run in _runs(places):
        spots = [(x, frame.y(dot.value or 0.0), dot.mature) for x, dot in run]
        ripe = [(x, y) for x, y, mature in spots if mature]
        if all(mature for *_, mature in spots):
            sure.append(ripe)
            continue
        for (x1, y1, first), (x2, y2, second) in pairwise(spots):
            (sure if first and second else open_).append([(x1, y1), (x2, y2)])
    for runs, name in ((sure, "line"), (open_, "line unripe")):
        drawn = [run for run in runs if len(run) > 1]
        if drawn:
            yield tag("path", d=shape.path(drawn), class_=name)


def _points(places: Sequence[tuple[float, Dot]], frame: Plot, bound: Bound | None) -> Iterator[Markup]:
    """A point per window while there are few, a point for a lonely one always, and for one wholly outside its bound."""
    lonely = {run[0][1].time_us for run in _runs(places) if len(run) == 1}
    for x, dot in places:
        if not finite([dot.value]) or dot.value is None:
            continue
        y = frame.y(dot.value)
        if _outside(dot, bound):
            yield tag(
                "svg", tag("rect", x=-3.5, y=-3.5, width=7, height=7, class_="alarm"), x=across(x), y=y, class_="free"
            )
        elif len(places) <= _DOTS or dot.time_us in lonely:
            if len(places) <= _DOTS // 2 and not (dot.low is None or dot.high is None) and dot.time_us in lonely:
                yield tag("line", x1=across(x), x2=across(x), y1=frame.y(dot.low), y2=frame.y(dot.high), class_="reach")
            yield tag("circle", cx=across(x), cy=y, r=2.6, class_=None if dot.mature else "unripe")


def _outside(dot: Dot, bound: Bound | None) -> bool:
    if bound is None or dot.low is None or dot.high is None or not dot.mature:
        return False
    return bound.verdict(dot.low, dot.high).value == "fail"


def _tips(places: Sequence[tuple[float, Dot]], frame: Plot, unit: str) -> Iterator[Markup]:
    """An unseen field over each window that says its numbers."""
    if len(places) > _TIPS:
        return
    edges = [0.0, *((a + b) / 2 for (a, _), (b, _) in pairwise(places)), 1.0]
    for (_, dot), (left, right) in zip(places, pairwise(edges), strict=True):
        yield tag(
            "rect", tag("title", _told(dot, unit)),
            x=across(left), width=across(right - left), y=frame.top, height=frame.bottom - frame.top,
        )  # fmt: skip


def _told(dot: Dot, unit: str) -> str:
    when = span_text(dot.time_us, dot.length_us)
    if not finite([dot.value]) or dot.value is None:
        return f"{when}: no value"
    text = f"{when}: {number(dot.value, unit)}"
    if dot.low is not None or dot.high is not None:
        low, high = ("open" if end is None else number(end, unit, bare=True) for end in (dot.low, dot.high))
        text += f" [{low}, {high}]{SHORT.get(unit, '')}"
    text += f", n {number(dot.n)}" if dot.n is not None else ""
    return text if dot.mature else f"{text}; labels may still come"
