"""Parts of a whole over time, and numbers of things over time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

from markupsafe import Markup

from andon.surface.board import chart_shape as shape
from andon.surface.board.chart_axis import Scale, finite, number, span_text, time_ticks, value_ticks
from andon.surface.board.chart_bound import nothing
from andon.surface.board.chart_shape import FOOT, Mark, Plot, across, tag

__all__ = ["Kind", "Layer", "bars", "layers", "stacked"]

_TIPS = 800


@dataclass(frozen=True, slots=True)
class Layer:
    """One part of a whole over time: its share or its number at each time, None where there was nothing."""

    name: str
    tone: str
    values: Sequence[float | None]


class Kind(Protocol):
    """What `layers` takes: anything with a name, a tone and a value at each time."""

    @property
    def name(self) -> str:
        """What it is."""
        ...

    @property
    def tone(self) -> str:
        """Its colour."""
        ...

    @property
    def values(self) -> Sequence[float | None]:
        """At each time."""
        ...


def layers(kinds: Iterable[Kind]) -> list[Layer]:
    """The layers of a chart.

    >>> layers([Layer("label", "machine", [1])])
    [Layer(name='label', tone='machine', values=[1])]
    """
    return [Layer(one.name, one.tone, one.values) for one in kinds]


def stacked(
    layers: Sequence[Layer], times: Sequence[int], marks: Sequence[Mark] = (), label: str = "", height: int = 190
) -> Markup:
    """Who had which share over time: shares that sum to 1, the first layer on top, with a key that names the colours.

    A time at which every layer is None is a gap.
    """
    if not times or not layers:
        return nothing(label)
    since, until = float(times[0]), float(times[-1])
    head, inside, layouts = shape.marks_of(marks, since, until)
    height += head
    frame = Plot(head + 4, height - FOOT, Scale(0.0, 1.0, ()))
    xs = [(time - since) / (until - since) if until > since else 0.5 for time in times]
    names = _names(layers)
    body = [
        shape.lines(height, *_areas(layers, names, xs, frame)),
        shape.where_axis(time_ticks(int(since), int(until)), since, until, frame.bottom),
        shape.draw_marks(inside, layouts, frame.bottom, [span_text(mark.time_us) for mark, _ in inside]),
        tag("g", *_shares_told(layers, times, xs, frame), class_="tips"),
    ]
    key = shape.key([(name, layer.name) for name, layer in zip(names, layers, strict=True)])
    return shape.plot(body, height, label or "shares over time", after=key)


def _names(layers: Sequence[Layer]) -> list[str]:
    """Classes of layers: the second and third of one tone are told apart."""
    seen: dict[str, int] = {}
    names = []
    for layer in layers:
        tone = shape.tone_of(layer.tone)
        seen[tone] = seen.get(tone, 0) + 1
        names.append(tone if seen[tone] == 1 else f"{tone} also{min(seen[tone], 4)}")
    return names


def _areas(layers: Sequence[Layer], names: Sequence[str], xs: Sequence[float], frame: Plot) -> Iterator[Markup]:
    columns = list(zip(*(layer.values for layer in layers), strict=True))
    wide = 0.5 / max(1, len(xs))
    for index, name in enumerate(names):
        shapes: list[list[tuple[float, float]]] = []
        for run in _filled(columns):
            spots = [(xs[at], _top(columns[at], index), _top(columns[at], index + 1)) for at in run]
            if len(spots) == 1:
                x, high, low = spots[0]
                spots = [(max(0.0, x - wide), high, low), (min(1.0, x + wide), high, low)]
            upper = [(x, frame.y(high)) for x, high, _ in spots]
            shapes.append(upper + [(x, frame.y(low)) for x, _, low in reversed(spots)])
        if shapes:
            yield tag("path", d=shape.path(shapes, closed=True), class_=f"area {name}")


def _filled(columns: Sequence[Sequence[float | None]]) -> Iterator[list[int]]:
    run: list[int] = []
    for at, column in enumerate(columns):
        if finite(column):
            run.append(at)
        elif run:
            yield run
            run = []
    if run:
        yield run


def _top(column: Sequence[float | None], index: int) -> float:
    """How high the layers from ``index`` on reach."""
    return sum(finite(column[index:]))


def _shares_told(layers: Sequence[Layer], times: Sequence[int], xs: Sequence[float], frame: Plot) -> Iterator[Markup]:
    if len(times) > _TIPS:
        return
    edges = [0.0, *((a + b) / 2 for a, b in pairwise(xs)), 1.0]
    for at, (left, right) in enumerate(pairwise(edges)):
        parts = [
            f"{layer.name} {number(value, 'share')}" for layer in layers if (value := layer.values[at]) is not None
        ]
        text = f"{span_text(times[at])}: {', '.join(parts) or 'nothing'}"
        yield tag("rect", tag("title", text), x=across(left), width=across(right - left), y=frame.top, height=frame.bottom - frame.top)  # fmt: skip


def bars(layers: Sequence[Layer], times: Sequence[int], unit: str = "", label: str = "", height: int = 150) -> Markup:
    """How many of each kind at each time: bars on top of one another, with a key where there is more than one kind.

    ``times`` are the starts of windows of one length.
    """
    totals = [sum(finite(layer.values[at] for layer in layers)) for at in range(len(times))]
    if not any(totals):
        return nothing(label)
    step = min((b - a for a, b in pairwise(times)), default=1)
    since, until = float(times[0]), float(times[-1] + step)
    frame = Plot(8, height - FOOT, value_ticks(0.0, max(totals), unit))
    width = step / (until - since)
    names, drawn = _names(layers), []
    for at, time in enumerate(times):
        x, level = (time - since) / (until - since), 0.0
        for name, layer in zip(names, layers, strict=True):
            value = sum(finite([layer.values[at]]))
            low, level = frame.y(level), level + value
            if value > 0:
                high = frame.y(level)
                drawn.append(tag("rect", x=across(x + width * 0.08), width=across(width * 0.84), y=high, height=low - high, class_=f"area {name}"))  # fmt: skip
    body = [
        shape.value_axis(frame),
        shape.where_axis(time_ticks(int(since), int(until)), since, until, frame.bottom),
        tag("g", *drawn),
        tag("g", *_counts_told(layers, times, since, until, frame), class_="tips"),
    ]
    key = shape.key([(name, layer.name) for name, layer in zip(names, layers, strict=True)]) if len(layers) > 1 else ""
    said = f"{number(sum(totals))} in all, at most {number(max(totals))} at once"
    texts = [tick.text for tick in frame.scale.ticks]
    return shape.plot(body, height, f"{label}: {said}" if label else said, gutter=texts, unit=unit, after=key)


def _counts_told(
    layers: Sequence[Layer], times: Sequence[int], since: float, until: float, frame: Plot
) -> Iterator[Markup]:
    if len(times) > _TIPS:
        return
    ends = [*times[1:], int(until)]
    for at, (start, end) in enumerate(zip(times, ends, strict=True)):
        left, right = ((time - since) / (until - since) for time in (start, end))
        parts = [f"{layer.name} {number(value)}" for layer in layers if (value := layer.values[at]) is not None]
        text = f"{span_text(start)}: {', '.join(parts) or 'nothing'}"
        yield tag("rect", tag("title", text), x=across(left), width=across(right - left), y=frame.top, height=frame.bottom - frame.top)  # fmt: skip
