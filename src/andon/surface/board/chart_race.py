"""A rollout as it is drawn: the candidate's share over its states, and each guardrail's evidence running to two thresholds.

Both kinds of charts have the same room on the left, so that one time stands under the other. A share is drawn by its
square root (1, 5 and 20 % are what a rollout is about), evidence by its logarithm, from which it comes.

>>> odds(0.0), odds(3.0), odds(-2.5), odds(40.0), odds(-99.0)
('1', '20.1', '0.0821', 'over a million', 'under 0.001')
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from markupsafe import Markup

from andon.surface.board import chart_shape as shape
from andon.surface.board.chart_axis import Scale, Tick, number, span_text, text_width, time_ticks, value_ticks
from andon.surface.board.chart_bound import nothing
from andon.surface.board.chart_shape import FOOT, ROW, Mark, Plot, across, tag

if TYPE_CHECKING:
    from andon.monitor.race import Act, Band, Point, Race, Weight

__all__ = ["By", "acts", "odds", "race", "weight"]

By = Literal["time", "units"]
"""What a race runs over: event time, or units of both arms."""

_GUTTER = ("100 %",)
_STRIP = 20
_SHARES = (0.0, 0.01, 0.05, 0.2, 0.5, 1.0)
#: Colours of states; a word stands beside each.
_TONES = {
    "shadow": "machine", "canary": "candidate", "blue_green": "candidate", "hold": "warn", "bake": "ok", "settled": "ok", "frozen": "alarm",
    "rolling_back": "alarm", "rolled_back": "alarm", "rejected": "alarm", "aborted": "alarm",
}  # fmt: skip
#: How far below no evidence a line is drawn, and how far above the higher threshold.
_FLOOR, _ABOVE = -3.0, 1.3
_NEAR = 13.0
_TIPS = 100
_WIDTHS = (("wide", 500.0), ("narrow", 250.0))


def odds(log: float) -> str:
    """Evidence for people, from its logarithm."""
    if log > math.log(1e6):
        return "over a million"
    if log < math.log(1e-3):
        return "under 0.001"
    value = math.exp(log)
    return number(round(value) if value >= 100 else value)


def acts(done: Iterable[Act]) -> list[Mark]:
    """The marks of what people did."""
    return [Mark(one.time_us, f"{one.by}: {one.what}", "plain") for one in done]


# ------------------------------------------------------------------------------------------------ share and states


def weight(
    weights: Sequence[Weight],
    bands: Sequence[Band],
    marks: Sequence[Mark] = (),
    span: tuple[int, int] = (0, 0),
    label: str = "",
) -> Markup:
    """The candidate's share of the units over ``span``, as steps; below it the states, one beside the other."""
    since, until = float(span[0]), float(span[1])
    if not weights or until <= since:
        return nothing(label)
    head, inside, layouts = shape.marks_of(marks, since, until)
    frame = Plot(
        head + 8, head + 138, Scale(0.0, 1.0, tuple(Tick(math.sqrt(one), number(one, "share")) for one in _SHARES))
    )
    foot = frame.bottom + 8 + _STRIP
    steps = list(_steps(weights, bands, since, until))
    outline = [(x, frame.y(math.sqrt(share))) for left, right, share, _ in steps for x in (left, right)]
    area = [(outline[0][0], frame.bottom), *outline, (outline[-1][0], frame.bottom)]
    body = [
        shape.value_axis(frame),
        shape.where_axis(time_ticks(int(since), int(until)), since, until, foot),
        shape.lines(
            foot + FOOT,
            tag("path", d=shape.path([area], closed=True), class_="band candidate"),
            tag("path", d=shape.path([outline]), class_="line candidate"),
        ),
        tag("g", *_phases(bands, since, until, frame.bottom + 6), class_="phases"),
        shape.draw_marks(inside, layouts, frame.bottom, [span_text(mark.time_us) for mark, _ in inside]),
        tag("g", *_shares_told(steps, frame), class_="tips"),
    ]
    said = f"{label}: " if label else ""
    said += ", then ".join(number(one.share, "share") for one in weights[-12:])
    return shape.plot(body, foot + FOOT, said, gutter=_GUTTER)


def _steps(
    weights: Sequence[Weight], bands: Sequence[Band], since: float, until: float
) -> Iterator[tuple[float, float, float, str]]:
    """Each share with where it begins and ends across, and when that was; the last one ends with what is known."""
    known = bands[-1].until_us if bands else until
    ends = [*(float(one.time_us) for one in weights[1:]), float(max(known, weights[-1].time_us))]
    for one, end in zip(weights, ends, strict=True):
        left, right = ((at - since) / (until - since) for at in (one.time_us, end))
        yield min(1.0, left), min(1.0, max(left, right)), one.share, span_text(one.time_us, round(end) - one.time_us)


def _shares_told(steps: Sequence[tuple[float, float, float, str]], frame: Plot) -> Iterator[Markup]:
    for left, right, share, when in steps[-_TIPS:]:
        told = tag("title", f"{when}: {number(share, 'share')} of the units")
        yield tag(
            "rect", told, x=across(left), width=across(right - left), y=frame.top, height=frame.bottom - frame.top
        )


def _phases(bands: Sequence[Band], since: float, until: float, top: float) -> Iterator[Markup]:
    """A field for each state, with its word where that has room."""
    for one in bands:
        left, right = ((at - since) / (until - since) for at in (one.since_us, one.until_us))
        name = one.state.replace("_", " ")
        reason = f" ({one.reason.replace('_', ' ')})" if one.reason and one.state in ("hold", "frozen") else ""
        told = tag("title", f"{span_text(one.since_us, one.until_us - one.since_us)}: {name}{reason}")
        yield tag(
            "rect", told, x=across(left), width=across(right - left), y=top, height=_STRIP, class_=_TONES.get(one.state)
        )
        for shown, width in _WIDTHS:
            room = (right - left) * width - 6
            text = next((text for text in (name + reason, name) if text_width(text) <= room), "")
            if text:
                x = across((left + right) / 2)
                yield tag("text", text, x=x, y=top + 14, text_anchor="middle", class_=shown)


# ------------------------------------------------------------------------------------------------------- the race


def race(
    one: Race, span: tuple[int, int] = (0, 0), by: By = "time", eta_us: int | None = None, label: str = ""
) -> Markup:
    """One guardrail's two lines and the lines that they run to, over the time of ``span`` or over units.

    ``eta_us`` is when safe may be proven, if the candidate is as good as the live version: the line is dashed until then.
    """
    across_, ticks = _over(one, span, by)
    if across_.high <= across_.low or len(one.points) < 2:
        return nothing(label)
    frame = _frame(one)
    xs = [across_.share(_at(point, by)) for point in one.points]
    harm, safe = ([(x, frame.y(value)) for x, value in zip(xs, values, strict=True)] for values in _values(one))
    drawn = [tag("path", d=shape.path([harm]), class_="line alarm")]
    runs = [("harm", harm[-1][1], "alarm")]
    if one.safe_at is not None:
        drawn.append(tag("path", d=shape.path([safe]), class_="line ok"))
        runs.append(("safe", safe[-1][1], "ok"))
        if eta_us is not None and by == "time" and one.said == "not_yet" and across_.share(eta_us) > xs[-1]:
            to = (across_.share(eta_us), frame.y(one.safe_at))
            drawn.append(tag("path", d=shape.path([[safe[-1], to]]), class_="line ok dash"))
    body = [
        shape.value_axis(frame),
        shape.where_axis(ticks, across_.low, across_.high, frame.bottom),
        *_goals(one, frame),
        shape.lines(frame.bottom + FOOT, *drawn),
        *_named(runs, xs[-1], frame),
        *_proven(one, across_, frame, by),
        tag("g", *_told(one, xs, frame, by), class_="tips"),
    ]
    return shape.plot(body, frame.bottom + FOOT, _said(one, label), gutter=_GUTTER)


def _over(one: Race, span: tuple[int, int], by: By) -> tuple[Scale, list[Tick]]:
    if by == "units":
        most = max(point.units for point in one.points)
        found = value_ticks(0, most, "", 4)
        return found, [Tick(tick.at, f"{tick.text} units" if tick.at else "0") for tick in found.ticks]
    return Scale(span[0], span[1], ()), time_ticks(*span)


def _at(point: Point, by: By) -> float:
    return float(point.units if by == "units" else point.time_us)


def _frame(one: Race) -> Plot:
    """From a little below no evidence to a little above the higher threshold; what lies outside is drawn at the edge."""
    goals = [goal for goal in (one.harm_at, one.safe_at) if goal is not None]
    low = min(0.0, *(value for values in _values(one) for value in values))
    scale = Scale(max(_FLOOR, low) - 0.35, max(goals) + _ABOVE, ())
    ticks = [Tick(power * math.log(10), number(10.0**power)) for power in range(-1, 7)]
    return Plot(8, 168, Scale(scale.low, scale.high, tuple(one for one in ticks if scale.low < one.at < scale.high)))


def _values(one: Race) -> tuple[list[float], list[float]]:
    safe = [point.safe for point in one.points] if one.safe_at is not None else [0.0] * len(one.points)
    return [point.harm for point in one.points], safe


def _goals(one: Race, frame: Plot) -> Iterator[Markup]:
    """Both thresholds with what it means to reach them; the lower one says it below itself where they are close."""
    goals = [(one.harm_at, "harm is proven here", "alarm"), (one.safe_at, "safe is proven here", "ok")]
    known = sorted(((at, text, tone) for at, text, tone in goals if at is not None), reverse=True)
    for place, (at, text, tone) in enumerate(known):
        y = frame.y(at)
        close = place > 0 and y - frame.y(known[0][0]) < ROW
        yield tag("line", x1=0, x2="100%", y1=y, y2=y, class_=f"goal {tone}")
        yield tag("text", f"{text}, at {odds(at)}", x=0, dx=4, y=y + 13 if close else y - 5, class_=f"lab {tone}")


def _named(runs: Sequence[tuple[str, float, str]], x: float, frame: Plot) -> Iterator[Markup]:
    """The name of each line to the right of its end, kept apart from the other; the card has room there."""
    ordered = sorted(runs, key=lambda run: run[1])
    ys = [max(y + 4, frame.top + 8) for _, y, _ in ordered]
    if len(ys) > 1 and ys[1] - ys[0] < _NEAR:
        middle = (ys[0] + ys[1]) / 2
        ys = [middle - _NEAR / 2, middle + _NEAR / 2]
    for (name, _, tone), y in zip(ordered, ys, strict=True):
        yield tag("text", name, x=across(x), y=min(y, frame.bottom), dx=6, class_=f"lab {tone}")


def _proven(one: Race, across_: Scale, frame: Plot, by: By) -> Iterator[Markup]:
    """Where the verdict was first known."""
    if one.proven_us is None or one.said == "not_yet":
        return
    goal, tone = (one.harm_at, "alarm") if one.said == "harm" else (one.safe_at, "ok")
    x = across_.share(float((one.proven_units or 0) if by == "units" else one.proven_us))
    told = tag("title", f"{one.said} was proven by {span_text(one.proven_us)}")
    yield tag("circle", told, cx=across(x), cy=frame.y(goal or 0.0), r=5, class_=f"proven {tone}")


def _told(one: Race, xs: Sequence[float], frame: Plot, by: By) -> Iterator[Markup]:
    """An unseen field around each look that says its numbers; around every second or third one where there are many."""
    every = -(-len(one.points) // _TIPS)
    points = one.points[::-1][::every][::-1]
    places = xs[::-1][::every][::-1]
    edges = [places[0], *((a + b) / 2 for a, b in pairwise(places)), places[-1]]
    for point, (left, right) in zip(points, pairwise(edges), strict=True):
        told = f"{span_text(point.time_us)}, {point.units:,} units: harm {odds(point.harm)} of {odds(one.harm_at)}"
        if one.safe_at is not None:
            told += f", safe {odds(point.safe)} of {odds(one.safe_at)}"
        yield tag("rect", tag("title", told), x=across(left), width=across(right - left), y=frame.top, height=frame.bottom - frame.top)  # fmt: skip


def _said(one: Race, label: str) -> str:
    last = one.points[-1]
    said = f"{label or one.name}: evidence of harm {odds(last.harm)} of {odds(one.harm_at)}"
    if one.safe_at is not None:
        said += f", that it is safe {odds(last.safe)} of {odds(one.safe_at)}"
    return f"{said}, {len(one.points) - 1} looks"
