"""The pieces a chart is drawn from: SVG elements as safe markup, frames, axes, labels that keep out of each other's way.

A chart is as wide as the place it is put in. Across it everything is a share of the width, in per cent; down it everything
is in pixels. So lines stretch and text does not: it is as large on a phone as on a wall. What text fits is worked out
for two widths; the stylesheet shows the one for the width there is (``.wide``, ``.narrow``).

>>> tag("line", x1=0, x2="100%", class_="bound", tip=None)
Markup('<line x1="0" x2="100%" class="bound"></line>')
>>> tag("text", "<script>", x=1.2345)
Markup('<text x="1.23">&lt;script&gt;</text>')
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from markupsafe import Markup, escape

from andon.surface.board.chart_axis import SHORT, Scale, Tick, shorten, text_width

__all__ = [
    "FOOT",
    "ROW",
    "TONES",
    "Mark",
    "Occurrence",
    "Plot",
    "Spelled",
    "Tone",
    "across",
    "draw_marks",
    "join",
    "key",
    "lines",
    "marks",
    "marks_of",
    "path",
    "plot",
    "tag",
    "tone_of",
    "value_axis",
    "where_axis",
]

Tone = Literal["plain", "ok", "warn", "alarm", "people", "machine", "candidate", "idle"]
TONES: tuple[str, ...] = ("plain", "ok", "warn", "alarm", "people", "machine", "candidate", "idle")

#: The height of what is under a frame: the texts of its axis.
FOOT = 22
#: The height of one row of labels.
ROW = 15
#: The widths for which labels are placed: a phone's card, and half of a desk's screen.
_WIDTHS = (("narrow", 250.0), ("wide", 500.0))
_ROWS = 4
#: What a path's coordinates run to across the frame.
_ACROSS = 1000


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment worth a vertical line, with what happened then."""

    time_us: int
    text: str
    tone: str = "plain"


class Occurrence(Protocol):
    """What `marks` takes: anything that says when it was, what, and in which tone."""

    @property
    def time_us(self) -> int:
        """Event time."""
        ...

    @property
    def text(self) -> str:
        """What happened."""
        ...

    @property
    def tone(self) -> str:
        """How it is drawn."""
        ...


def marks(occurrences: Iterable[Occurrence]) -> list[Mark]:
    """The marks of what happened.

    >>> marks([Mark(3, "stopped", "alarm")])
    [Mark(time_us=3, text='stopped', tone='alarm')]
    """
    return [Mark(one.time_us, one.text, one.tone) for one in occurrences]


@dataclass(frozen=True, slots=True)
class Spelled:
    """A text at ``x`` (0 to 1 across), set to the right of it, to the left, or in the middle, in a row of texts."""

    x: float
    text: str
    anchor: Literal["start", "middle", "end"]
    row: int = 0
    tone: str = "plain"


@dataclass(frozen=True, slots=True)
class Plot:
    """The frame that is drawn in: ``top`` to ``bottom`` in pixels, and the value at each."""

    top: float
    bottom: float
    scale: Scale

    def y(self, value: float) -> float:
        """Where a value is, in pixels from the top of the chart."""
        return self.bottom - self.scale.share(value) * (self.bottom - self.top)


def tag(name: str, *children: str, **attributes: object) -> Markup:
    """One element: what is None is left out, numbers are short, text that is not markup yet is escaped."""
    inside = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(_brief(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{inside}>") + join(children) + Markup(f"</{name}>")


def join(children: Iterable[str]) -> Markup:
    """All of them, one after another."""
    return Markup("").join(children)


def _brief(value: object) -> object:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value


def tone_of(tone: str) -> str:
    """A tone that the stylesheet knows."""
    return tone if tone in TONES else "plain"


def across(x: float) -> str:
    """A share of the width.

    >>> across(0.12345)
    '12.35%'
    """
    return f"{x * 100:.2f}".rstrip("0").rstrip(".") + "%"


def plot(
    body: Iterable[str],
    height: float,
    label: str,
    *,
    gutter: Sequence[str] = (),
    unit: str = "",
    after: str = "",
    zoom: str = "",
) -> Markup:
    """The whole chart: its frame with room on the left for the longest text of ``gutter``, and what comes ``after`` it.

    A unit that is too long for the axis is said above it.
    """
    size = min(10, max((len(text) for text in gutter), default=0))
    drawn = tag(
        "svg", *body, class_=f"chart g{size}", height=height, width="100%", role="img", aria_label=label or "chart"
    )
    above = tag("div", unit, class_="unit") if unit and unit not in SHORT else ""
    return tag("div", above, drawn, after, class_="plot", data_zoom=zoom or None)


def path(points: Iterable[Sequence[tuple[float, float]]], *, closed: bool = False) -> str:
    """The ``d`` of one or more runs of points: x from 0 to 1 across, y in pixels.

    >>> path([[(0, 1), (0.5, 2)], [(1, 3)]])
    'M0 1L500 2M1000 3'
    """
    runs = (
        "M" + "L".join(f"{_brief(float(x * _ACROSS))} {_brief(float(y))}" for x, y in run) + ("Z" if closed else "")
        for run in points
        if run
    )
    return "".join(runs)


def lines(height: float, *paths: Markup) -> Markup:
    """Paths of `path`, stretched over the whole width."""
    box = f"0 0 {_ACROSS} {_brief(float(height))}"
    return tag("svg", *paths, viewBox=box, width="100%", height=height, preserveAspectRatio="none", class_="stretch")


def value_axis(frame: Plot, bounds: Sequence[tuple[float, str]] = ()) -> Markup:
    """The ticks of the values: faint lines, and the numbers to the left; a bound's dashed line says its own there."""
    made: list[Markup] = []
    said: list[float] = []
    for value, text in bounds:
        if not frame.scale.low <= value <= frame.scale.high:
            continue
        y = frame.y(value)
        made.append(tag("line", x1=0, x2="100%", y1=y, y2=y, class_="bound"))
        if all(abs(y - other) >= ROW - 2 for other in said):
            said.append(y)
            made.append(tag("text", text, x=-6, y=y + 4, text_anchor="end", class_="alarm"))
    ticks: list[Markup] = []
    for tick in frame.scale.ticks:
        y = frame.y(tick.at)
        ticks.append(tag("line", x1=0, x2="100%", y1=y, y2=y, class_="grid-line"))
        if all(abs(y - other) >= ROW - 2 for other in said):
            ticks.append(tag("text", tick.text, x=-6, y=y + 4, text_anchor="end"))
    return tag("g", *ticks, *made, class_="axis", aria_hidden="true")


def where_axis(ticks: Sequence[Tick], low: float, high: float, y: float) -> Markup:
    """The ticks across, under the frame: as many texts as have room."""
    width = (high - low) or 1.0
    # In the middle of a chart that spans no time at all.
    places = [((tick.at - low) / width if high > low else 0.5, tick.text) for tick in ticks]
    layouts = {name: tuple(_row(places, size)) for name, size in _WIDTHS}
    ticks_drawn = [tag("line", x1=across(x), x2=across(x), y1=y, y2=y + 4) for x, _ in places]
    return tag("g", *ticks_drawn, _both(layouts, y + 16, 0.0), class_="axis", aria_hidden="true")


def _row(places: Sequence[tuple[float, str]], width: float) -> Iterator[Spelled]:
    """Texts under their ticks, moved inwards at the ends; one that would touch the last is left out."""
    end = -1e9
    for x, text in places:
        half, at = text_width(text) / 2, x * width
        anchor: Literal["start", "middle", "end"]
        if at - half < 0:
            anchor, left, right = "start", at, at + 2 * half
        elif at + half > width:
            anchor, left, right = "end", at - 2 * half, at
        else:
            anchor, left, right = "middle", at - half, at + half
        if left > end + 8 and left > -1 and right < width + 1:
            yield Spelled(x, text, anchor)
            end = right


def marks_of(
    marks: Sequence[Mark], since_us: float, until_us: float
) -> tuple[int, list[tuple[Mark, float]], dict[str, tuple[Spelled, ...]]]:
    """Marks within the time shown: the height that their labels take, where their lines are, and both layouts of labels."""
    width = until_us - since_us
    inside = sorted(
        (
            (mark, (mark.time_us - since_us) / width)
            for mark in marks
            if width > 0 and since_us <= mark.time_us <= until_us
        ),
        key=lambda pair: pair[0].time_us,
    )
    layouts = {name: tuple(_stagger(inside, size)) for name, size in _WIDTHS}
    rows = max((one.row + 1 for layout in layouts.values() for one in layout), default=0)
    return rows * ROW, inside, layouts


def _stagger(marks: Sequence[tuple[Mark, float]], width: float) -> Iterator[Spelled]:
    """Each label beside its line, in the first row where it touches no other; one without room is only its line."""
    taken: list[list[tuple[float, float]]] = [[] for _ in range(_ROWS)]
    for mark, x in marks:
        text = shorten(" ".join(mark.text.split()), width * 0.48)
        length, at = text_width(text) + 4, x * width
        right = at + 4 + length <= width
        span = (at, at + 4 + length) if right else (at - 4 - length, at)
        for row, spans in enumerate(taken):
            if text and all(span[1] + 4 <= low or high + 4 <= span[0] for low, high in spans):
                spans.append(span)
                yield Spelled(x, text, "start" if right else "end", row, mark.tone)
                break


def draw_marks(
    inside: Sequence[tuple[Mark, float]], layouts: dict[str, tuple[Spelled, ...]], bottom: float, when: Iterable[str]
) -> Markup:
    """Lines with their labels: each line says on hovering what it is and when it was."""
    rows: dict[float, int] = {}
    for one in (*layouts["wide"], *layouts["narrow"]):
        rows[one.x] = min(one.row, rows.get(one.x, one.row))
    drawn = [
        tag("line", tag("title", f"{text}: {mark.text}"), x1=across(x), x2=across(x), y1=rows.get(x, 0) * ROW + 2, y2=bottom, class_=tone_of(mark.tone))
        for (mark, x), text in zip(inside, when, strict=True)
    ]  # fmt: skip
    return tag("g", *drawn, _both(layouts, 11, 4.0), class_="marks")


def _both(layouts: dict[str, tuple[Spelled, ...]], y: float, gap: float) -> Markup:
    """The labels of both layouts; those that are the same in both are drawn once."""
    narrow, wide = layouts["narrow"], layouts["wide"]
    parts = [_spelled(one, y, gap, "") for one in wide if one in narrow]
    parts += [_spelled(one, y, gap, "wide") for one in wide if one not in narrow]
    parts += [_spelled(one, y, gap, "narrow") for one in narrow if one not in wide]
    return join(parts)


def _spelled(one: Spelled, y: float, gap: float, shown: str) -> Markup:
    shift = {"start": gap, "middle": 0.0, "end": -gap}[one.anchor]
    names = " ".join(name for name in (shown, tone_of(one.tone) if one.tone != "plain" else "") if name)
    return tag("text", one.text, x=across(one.x), y=y + one.row * ROW, dx=shift or None, text_anchor=one.anchor, class_=names or None)  # fmt: skip


def key(entries: Sequence[tuple[str, str]]) -> Markup:
    """What the colours mean: (class, name) of each."""
    return tag("div", *(tag("span", tag("b", class_=f"swatch {kind}"), name) for kind, name in entries), class_="key")
