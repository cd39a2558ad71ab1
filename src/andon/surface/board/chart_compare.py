"""Estimates side by side, and curves of one number against another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from markupsafe import Markup

from andon.measure.estimate import Estimate
from andon.surface.board import chart_shape as shape
from andon.surface.board.chart_axis import SHORT, Scale, finite, number, shorten, text_width, value_ticks
from andon.surface.board.chart_bound import Bounds, limits, nothing
from andon.surface.board.chart_shape import FOOT, ROW, Plot, across, tag

__all__ = ["Curve", "Named", "Spot", "Whole", "beside", "curve", "named", "whiskers"]

_MIDDLE, _REACH = 28, 9


@dataclass(frozen=True, slots=True)
class Spot:
    """A point of a curve, with an interval and a text where it is worth pointing out."""

    x: float
    y: float | None
    low: float | None = None
    high: float | None = None
    text: str = ""


@dataclass(frozen=True, slots=True)
class Curve:
    """One of several lines in a chart; a dashed one is foreseen and not measured."""

    name: str
    tone: str
    spots: Sequence[Spot]
    dashed: bool = False


class Whole(Protocol):
    """What `named` takes: anything that has a name and an estimate of all of it."""

    @property
    def name(self) -> str:
        """The name; "" is everyone."""
        ...

    @property
    def whole(self) -> Estimate:
        """The estimate."""
        ...


def named(parts: Iterable[Whole]) -> list[tuple[str, Estimate]]:
    """The rows of `whiskers`."""
    return [(part.name or "everyone", part.whole) for part in parts]


class Named(Protocol):
    """Anything that has a name."""

    @property
    def name(self) -> str:
        """The name."""
        ...


def beside(names: Iterable[Named], estimates: Iterable[Estimate]) -> list[tuple[str, Estimate]]:
    """The rows of `whiskers`, from things that have names and their estimates in the same order."""
    return [(one.name, found) for one, found in zip(names, estimates, strict=True)]


def whiskers(rows: Sequence[tuple[str, Estimate]], unit: str = "", bound: Bounds = None, label: str = "") -> Markup:
    """One row per (name, estimate): its value as a dot, its interval as a line, or the reason why there is none."""
    marks = limits(bound, unit)
    ends = [end for _, one in rows for end in (one.value, one.low, one.high)]
    known = [*finite(ends), *(value for value, _ in marks)]
    if not rows:
        return nothing(label)
    scale = value_ticks(min(known), max(known), unit) if known else Scale(0.0, 1.0, ())
    top, step = (ROW + 4 if marks else 4), 42
    bottom = top + step * len(rows)
    middles = [top + index * step + _MIDDLE for index in range(len(rows))]
    body = [_threshold(value, text, scale, middles) for value, text in marks]
    for index, (name, one) in enumerate(rows):
        body.append(_whisker(name, one, unit, scale, top + index * step))
    body.append(shape.where_axis(scale.ticks, scale.low, scale.high, bottom))
    said = ", ".join(f"{name} {_written(one, unit)}" for name, one in rows[:12])
    return shape.plot(body, bottom + FOOT, f"{label}: {said}" if label else said, unit=unit)


def _threshold(value: float, text: str, scale: Scale, middles: Sequence[float]) -> Markup:
    """A bound where the intervals are drawn, row by row: it leaves the words above them alone."""
    x = scale.share(value)
    anchor = "start" if x < 0.1 else "end" if x > 0.9 else "middle"
    lines = [
        tag("line", x1=across(x), x2=across(x), y1=middle - _REACH, y2=middle + _REACH, class_="bound")
        for middle in middles
    ]
    return Markup("").join(lines) + tag("text", text, x=across(x), y=12, text_anchor=anchor, class_="lab alarm")


def _whisker(name: str, one: Estimate, unit: str, scale: Scale, y: float) -> Markup:
    told, middle = _written(one, unit), y + _MIDDLE
    parts = [
        tag("title", f"{name}: {told}"),
        *_named(" ".join(name.split()), text_width(told), y + 13),
        tag("text", shorten(told, 215), x="100%", y=y + 13, text_anchor="end", class_="lab"),
        tag("line", x1=0, x2="100%", y1=middle, y2=middle, class_="grid-line"),
    ]
    if finite([one.value]) and one.value is not None:
        low, high = (
            scale.share(edge if end is None else end) for end, edge in ((one.low, scale.low), (one.high, scale.high))
        )
        parts.append(tag("line", x1=across(low), x2=across(high), y1=middle, y2=middle, class_="reach"))
        parts.append(tag("circle", cx=across(scale.share(one.value)), cy=middle, r=4))
    return tag("g", *parts, class_="whisker")


def _named(name: str, taken: float, y: float) -> Iterator[Markup]:
    """The name, as much of it as there is room for beside the numbers."""
    wide, narrow = (shorten(name, max(60.0, width - min(taken, 215.0))) for width in (470.0, 250.0))
    if wide == narrow:
        yield tag("text", wide, x=0, y=y)
    else:
        yield tag("text", wide, x=0, y=y, class_="wide")
        yield tag("text", narrow, x=0, y=y, class_="narrow")


def _written(one: Estimate, unit: str) -> str:
    if one.value is None:
        return one.reason or "no value"
    low, high = ("open" if end is None else number(end, unit, bare=True) for end in (one.low, one.high))
    mark = SHORT.get(unit, "")
    ends = "" if one.low == one.high == one.value else f" [{low}, {high}]{mark}"
    return f"{number(one.value, unit, bare=bool(ends))}{ends}, n {one.n:,}"


def curve(
    points: Sequence[Spot] | Sequence[Curve],
    x: str = "",
    y: str = "",
    label: str = "",
    bounds: Bounds = (),
    units: tuple[str, str] = ("", ""),
    diagonal: bool = False,
) -> Markup:
    """One number against another: a line through points, or several named ones, with the names of both axes.

    ``units`` are those of x and y. A point with a text is pointed out. ``diagonal`` draws where x and y are the same.
    """
    given = [one if isinstance(one, Curve) else None for one in points]
    curves = [one for one in given if one is not None] or [Curve("", "plain", [one for one in points if isinstance(one, Spot)])]  # fmt: skip
    spots = [spot for one in curves for spot in one.spots if finite([spot.x]) and finite([spot.y])]
    if not spots:
        return nothing(label)
    marks = limits(bounds, units[1])
    ys = finite(end for spot in spots for end in (spot.y, spot.low, spot.high)) + [value for value, _ in marks]
    xs = [spot.x for spot in spots]
    across_, frame = value_ticks(min(xs), max(xs), units[0], 4), Plot(10, 178, value_ticks(min(ys), max(ys), units[1]))
    body = [shape.value_axis(frame, marks), shape.where_axis(across_.ticks, across_.low, across_.high, frame.bottom)]
    body.append(shape.lines(200, *_lines(curves, across_, frame, diagonal)))
    body += [tag("g", *_spots(spots, across_, frame, units), class_="dots")]
    body.append(tag("text", x, x="100%", y=frame.bottom + 32, text_anchor="end", class_="lab"))
    named = [(shape.tone_of(one.tone) + (" dash" if one.dashed else ""), one.name) for one in curves if one.name]
    key = shape.key(named) if named else Markup("")
    said = f"{label or y}, {len(spots)} points, {number(min(ys), units[1])} to {number(max(ys), units[1])}"
    texts = [tick.text for tick in frame.scale.ticks] + [text for _, text in marks]
    return shape.plot(body, 214 if x else 200, said, gutter=texts, unit=y, after=key)


def _lines(curves: Sequence[Curve], across_: Scale, frame: Plot, diagonal: bool) -> Iterator[Markup]:
    if diagonal:
        low, high = max(across_.low, frame.scale.low), min(across_.high, frame.scale.high)
        if high > low:
            ends = [(across_.share(end), frame.y(end)) for end in (low, high)]
            yield tag("path", d=shape.path([ends]), class_="line guide")
    for one in curves:
        runs = list(_stretches(one.spots))
        ranges = [[spot for spot in run if spot.low is not None and spot.high is not None] for run in runs]
        bands = [
            [(across_.share(spot.x), frame.y(spot.high or 0.0)) for spot in run]
            + [(across_.share(spot.x), frame.y(spot.low or 0.0)) for spot in reversed(run)]
            for run in ranges
            if len(run) > 1
        ]
        tone = shape.tone_of(one.tone)
        if bands:
            yield tag("path", d=shape.path(bands, closed=True), class_=f"band {tone}")
        drawn = [[(across_.share(spot.x), frame.y(spot.y or 0.0)) for spot in run] for run in runs if len(run) > 1]
        if drawn:
            yield tag("path", d=shape.path(drawn), class_=f"line {tone}{' dash' if one.dashed else ''}")


def _stretches(spots: Sequence[Spot]) -> Iterator[list[Spot]]:
    run: list[Spot] = []
    for spot in spots:
        if finite([spot.x]) and finite([spot.y]):
            run.append(spot)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _spots(spots: Sequence[Spot], across_: Scale, frame: Plot, units: tuple[str, str]) -> Iterator[Markup]:
    few = len(spots) <= 40
    for spot in spots:
        if spot.y is None or not (few or spot.text):
            continue
        x, y = across_.share(spot.x), frame.y(spot.y)
        told = f"{number(spot.x, units[0])}: {number(spot.y, units[1])}"
        if spot.low is not None and spot.high is not None:
            told += f" [{number(spot.low, units[1], bare=True)}, {number(spot.high, units[1])}]"
        title = tag("title", f"{spot.text}: {told}" if spot.text else told)
        if spot.text and spot.low is not None and spot.high is not None:
            yield tag("line", x1=across(x), x2=across(x), y1=frame.y(spot.low), y2=frame.y(spot.high), class_="reach")
        yield tag(
            "circle", title, cx=across(x), cy=y, r=4.5 if spot.text else 2.6, class_="named" if spot.text else None
        )
        if spot.text:
            side, shift = ("start", 7) if x < 0.6 else ("end", -7)
            # Above its interval, so that neither the line nor the interval runs through the words.
            top = y if spot.high is None else frame.y(spot.high)
            up = top - 9 if top - 20 > frame.top else y + 16
            yield tag("text", shorten(spot.text, 130), x=across(x), y=up, dx=shift, text_anchor=side, class_="lab")
