"""Charts: what is measured is drawn where it belongs, what is not measured is a gap, and no text leaves its place."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markupsafe import Markup

from andon.core.clock import DAY, HOUR
from andon.measure.estimate import Estimate, undefined, wilson
from andon.monitor.race import Act, Band, Point, Race, Weight
from andon.surface.board import chart
from andon.surface.board.chart_axis import Scale, shorten, text_width, time_ticks, value_ticks
from andon.surface.board.chart_shape import marks_of

BEGIN = 1_583_020_800_000_000
HARM = "</svg><script>alert('x')</script>\"onload=\"x"
FLOATS = st.floats(allow_nan=True, allow_infinity=True)


def parsed(drawn: Markup) -> ElementTree.Element:
    """The chart as XML: so every text is escaped and every element closed."""
    return ElementTree.fromstring(f"<all>{drawn}</all>")


def texts(drawn: Markup) -> list[str]:
    return ["".join(one.itertext()) for one in parsed(drawn).iter("text")]


def titles(drawn: Markup) -> list[str]:
    return ["".join(one.itertext()) for one in parsed(drawn).iter("title")]


def paths(drawn: Markup, name: str) -> list[str]:
    return [one.get("d", "") for one in parsed(drawn).iter("path") if name in (one.get("class") or "").split()]


def days(values: list[float | None], mature: int = 10**6) -> list[chart.Dot]:
    return [
        chart.Dot(BEGIN + i * DAY, value, None if value is None else value - 0.1, None if value is None else value + 0.1, i < mature, 9, DAY)
        for i, value in enumerate(values)
    ]  # fmt: skip


def test_a_gap_is_left_where_nothing_was_measured() -> None:
    (line,) = paths(chart.series(days([1.0, 2.0, None, 3.0, 4.0])), "line")
    assert line.count("M") == 2
    lost = [dot for i, dot in enumerate(days([1.0, 2.0, 2.0, 3.0, 4.0])) if i != 2]
    (line,) = paths(chart.series(lost), "line")
    assert line.count("M") == 2, "a window that is missing altogether is a gap, too"
    assert not paths(chart.series(days([None, None])), "line")
    assert "No window here has a value" in chart.series(days([None, None]))
    assert "No window here has a value" in chart.series([])


def test_windows_whose_labels_may_still_come_are_drawn_otherwise_and_say_so() -> None:
    drawn = chart.series(days([1.0, 2.0, 3.0, 4.0], mature=2))
    assert len(paths(drawn, "unripe")) == 1
    assert [one.get("class") for one in parsed(drawn).iter("circle")] == [None, None, "unripe", "unripe"]
    assert [title.endswith("labels may still come") for title in titles(drawn)[-4:]] == [False, False, True, True]


def test_every_window_says_its_numbers_and_the_chart_its_content() -> None:
    drawn = chart.series(days([0.5, 0.25]), "share", label="Recall")
    assert titles(drawn) == [
        "1 Mar 2020 00:00 to 2 Mar 2020 00:00: 50 % [40, 60] %, n 9",
        "2 Mar 2020 00:00 to 3 Mar 2020 00:00: 25 % [15, 35] %, n 9",
    ]
    svg = next(parsed(drawn).iter("svg"))
    assert svg.get("role") == "img"
    assert svg.get("aria-label") == "Recall: 2 windows from 1 Mar 2020 00:00 to 2 Mar 2020 00:00, between 25 % and 50 %, last 25 %"  # fmt: skip


def test_a_bound_is_a_line_with_its_value_and_a_point_outside_is_a_square() -> None:
    drawn = chart.series(days([0.5, 0.9]), "share", ">= 0.7")
    assert "≥ 70 %" in texts(drawn)
    assert len([one for one in parsed(drawn).iter("line") if one.get("class") == "bound"]) == 1
    assert len([one for one in parsed(drawn).iter("rect") if one.get("class") == "alarm"]) == 1
    both = chart.series(days([0.5, 0.9]), "share", "0.2 .. 0.95")
    assert {"≥ 20 %", "≤ 95 %"} <= set(texts(both))
    unripe = chart.series(days([0.5, 0.9], mature=0), "share", ">= 0.7")
    assert not [one for one in parsed(unripe).iter("rect") if one.get("class") == "alarm"], "nothing is sure of it yet"
    assert "reference" not in chart.series(days([0.5, 0.9]), "share", "reference")


def test_an_interval_with_an_open_end_does_no_harm() -> None:
    dots = [
        chart.Dot(BEGIN, 1.0, None, None),
        chart.Dot(BEGIN + 1, 1.1, 1.0, None),
        chart.Dot(BEGIN + 2, 1.2, -1e12, 1e12),
    ]
    drawn = chart.series(dots)
    ticks = [text for text in texts(drawn) if re.fullmatch(r"[\d.]+", text)]
    assert ticks and all(0.5 <= float(text) < 2 for text in ticks), "one wild interval does not flatten all the rest"


@pytest.mark.parametrize("kind", ["series", "stacked", "whiskers", "curve", "bars", "spark"])
def test_no_text_is_ever_markup(kind: str) -> None:
    mark = chart.Mark(BEGIN + HOUR, HARM, HARM)
    drawn = {
        "series": chart.series(days([1.0, 2.0]), HARM, "<= 1", [mark], HARM, 180, HARM),
        "stacked": chart.stacked([chart.Layer(HARM, HARM, [0.5, 0.5])], [BEGIN, BEGIN + DAY], [mark], HARM),
        "whiskers": chart.whiskers([(HARM, wilson(1, 2)), (HARM, undefined(HARM))], HARM, None, HARM),
        "curve": chart.curve(
            [chart.Curve(HARM, HARM, [chart.Spot(1, 2, text=HARM)])], HARM, HARM, HARM, (), (HARM, HARM)
        ),
        "bars": chart.bars([chart.Layer(HARM, HARM, [1, 2])] * 2, [BEGIN, BEGIN + DAY], HARM, HARM),
        "spark": chart.spark([1.0, 2.0], "<= 1", HARM, HARM),
    }[kind]
    assert isinstance(drawn, Markup)
    parsed(drawn)
    assert "<script" not in drawn and "style=" not in drawn
    assert not re.search(r'\son\w+="', re.sub(r'"[^"]*"', '""', drawn))


def test_the_same_text_says_the_unit_once_where_it_is_long() -> None:
    assert '<div class="unit">per case</div>' in chart.series(days([1.0, 2.0]), "per case")
    assert 'class="unit"' not in chart.series(days([1.0, 2.0]), "ms")


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 100), st.text(max_size=60)), max_size=25),
    st.sampled_from([1, HOUR, 400 * DAY]),
)
def test_labels_of_marks_never_overlap_and_never_leave_the_frame(found: list[tuple[int, str]], span: int) -> None:
    marks = [chart.Mark(BEGIN + at * span // 100, text) for at, text in found]
    height, inside, layouts = marks_of(marks, BEGIN, BEGIN + span)
    assert len(inside) == len(marks)
    for name, width in (("narrow", 250.0), ("wide", 500.0)):
        rows: dict[int, list[tuple[float, float]]] = {}
        for one in layouts[name]:
            size = text_width(one.text) + 4
            ends = (one.x * width, one.x * width + 4 + size) if one.anchor == "start" else (one.x * width - 4 - size, one.x * width)  # fmt: skip
            assert ends[0] >= -1e-6 and ends[1] <= width + 1e-6, one
            rows.setdefault(one.row, []).append(ends)
        for row, taken in rows.items():
            assert row * 15 < height
            assert all(first[1] <= second[0] for first, second in pairwise(sorted(taken)))


@settings(deadline=None, max_examples=50)
@given(FLOATS, FLOATS, st.sampled_from(["", "share", "ms"]))
def test_values_have_three_or_four_round_ticks_that_enclose_them(low: float, high: float, unit: str) -> None:
    if not (math.isfinite(low) and math.isfinite(high)):
        return
    scale = value_ticks(low, high, unit)
    assert scale.low < scale.high
    assert 2 <= len(scale.ticks) <= 4
    for value in (low, high):
        if abs(value) < 1e300:
            assert -1e-6 <= (value - scale.low) / (scale.high - scale.low) <= 1 + 1e-6
    assert (
        len({tick.text for tick in scale.ticks}) == len(scale.ticks)
        or abs(low - high) < max(abs(low), abs(high)) * 1e-3
    )


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 253_402_300_799_000_000), st.integers(0, 10**17))
def test_times_have_few_ticks_in_order_within_the_time(since: int, length: int) -> None:
    until = min(since + length, 253_402_300_799_000_000)
    ticks = time_ticks(since, until)
    assert len(ticks) <= 7
    assert all(since <= tick.at <= until for tick in ticks)
    assert [tick.at for tick in ticks] == sorted({tick.at for tick in ticks})


def test_dates_are_sensible_from_minutes_to_years() -> None:
    said = {
        span: [tick.text for tick in time_ticks(BEGIN, BEGIN + span)]
        for span in (3600 * 10**6, DAY, 10 * DAY, 120 * DAY, 900 * DAY)
    }
    assert said[3600 * 10**6] == ["1 Mar 00:00", "00:15", "00:30", "00:45", "01:00"]
    assert said[DAY] == ["1 Mar 00:00", "06:00", "12:00", "18:00", "2 Mar"]
    assert said[10 * DAY] == ["1 Mar 2020", "3 Mar", "5 Mar", "7 Mar", "9 Mar", "11 Mar"]
    assert said[120 * DAY] == ["Mar 2020", "Apr", "May", "Jun"]
    assert said[900 * DAY] == ["Jul 2020", "Jan 2021", "Jul", "Jan 2022", "Jul"]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.one_of(st.none(), FLOATS), max_size=30), st.integers(1, 10))
def test_whatever_is_measured_a_chart_is_well_formed_and_finite(values: list[float | None], mature: int) -> None:
    dots = [chart.Dot(BEGIN + i * HOUR, value, value, value, i < mature, i, HOUR) for i, value in enumerate(values)]
    for drawn in (chart.series(dots, "share", "<= 0.5"), chart.spark(values, "<= 0.5")):
        parsed(drawn)
        coordinates = re.findall(r' (?:d|x|y|x1|x2|y1|y2|cx|cy|width|height)="([^"]*)"', drawn)
        assert not any("nan" in one or "inf" in one for one in coordinates)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=20))
def test_shares_fill_the_frame_and_gaps_stay_empty(found: list[tuple[float, bool]]) -> None:
    one = [None if gone else share for share, gone in found]
    other = [None if share is None else 1 - share for share in one]
    times = [BEGIN + i * DAY for i in range(len(one))]
    drawn = chart.stacked([chart.Layer("people", "people", one), chart.Layer("v1", "machine", other)], times)
    parsed(drawn)
    runs = "".join("x" if share is None else "o" for share in one).split("x")
    for path in paths(drawn, "area"):
        assert path.count("M") == len([run for run in runs if run])
        ys = [float(y) for y in re.findall(r"[ML][-\d.]+ ([-\d.]+)", path)]
        assert all(4 - 1e-6 <= y <= 168 + 1e-6 for y in ys)


def test_two_versions_of_one_tone_are_told_apart_and_named() -> None:
    layers = [chart.Layer(name, "machine", [0.5, 0.5]) for name in ("v1", "v2")]
    drawn = chart.stacked(layers, [BEGIN, BEGIN + DAY])
    assert 'class="area machine also2"' in drawn and 'class="swatch machine also2"' in drawn
    assert "1 Mar 2020 00:00: v1 50 %, v2 50 %" in titles(drawn)
    assert "No window" in chart.stacked([], []) and "No window" in chart.bars([chart.Layer("a", "ok", [0])], [BEGIN])


def test_whiskers_say_name_value_interval_and_why_there_is_none() -> None:
    rows = [("everyone", wilson(68, 86)), ("a slice with a name that is far too long for any phone or desk there is, really", wilson(1, 2)), ("abroad", undefined("no labels yet"))]  # fmt: skip
    drawn = chart.whiskers(rows, "share", ">= 0.85", "Recall")
    said = texts(drawn)
    assert {"everyone", "79.1 [69.3, 86.3] %, n 86", "abroad", "no labels yet", "≥ 85 %"} <= set(said)
    assert len(list(parsed(drawn).iter("circle"))) == 2
    assert any(text.startswith("a slice with a name") and text.endswith("…") for text in said)
    assert any("really" in title for title in titles(drawn)), "the whole name is there on hovering"


def test_a_value_counted_and_not_estimated_has_no_interval() -> None:
    said = texts(chart.whiskers([("all", Estimate(3.0, 3.0, 3.0, 3, "exact"))]))
    assert "3, n 3" in said


def test_a_curve_points_out_what_has_a_text_and_draws_several_lines() -> None:
    spots = [chart.Spot(i / 10, i / 20, i / 20 - 0.01, i / 20 + 0.01, "chosen" if i == 3 else "") for i in range(11)]
    drawn = chart.curve(spots, "share", "error", "Risk", "<= 0.3", ("share", "share"), diagonal=True)
    assert "chosen" in texts(drawn) and "≤ 30 %" in texts(drawn) and "chosen: 30 %: 15 % [14, 16 %]" in titles(drawn)
    assert len(paths(drawn, "guide")) == 1 and len(paths(drawn, "band")) == 1
    two = chart.curve([chart.Curve("safe", "ok", spots), chart.Curve("harm", "alarm", spots, dashed=True)])
    assert 'class="swatch ok"' in two and len(paths(two, "dash")) == 1
    assert "No window" in chart.curve([chart.Spot(1.0, None)])


def test_bars_are_as_high_as_what_they_count() -> None:
    layers = [chart.Layer("label", "machine", [1, 2, 0]), chart.Layer("redo", "people", [3, None, 0])]
    drawn = chart.bars(layers, [BEGIN, BEGIN + DAY, BEGIN + 2 * DAY])
    heights = [float(one.get("height", 0)) for one in parsed(drawn).iter("rect") if "area" in (one.get("class") or "")]
    assert len(heights) == 3 and heights[0] * 3 == pytest.approx(heights[1], abs=0.05) == pytest.approx(
        heights[2] * 1.5, abs=0.05
    )
    assert titles(drawn) == [
        "1 Mar 2020 00:00: label 1, redo 3",
        "2 Mar 2020 00:00: label 2",
        "3 Mar 2020 00:00: label 0, redo 0",
    ]


def test_texts_are_shortened_to_their_room() -> None:
    assert shorten("", 10) == "" and shorten("abc", 1000) == "abc"
    assert text_width(shorten("漢字仮名交じり文", 60)) <= 60
    assert Scale(0, 1, ()).share(-5) == 0


def test_a_chart_with_a_thousand_windows_stays_small() -> None:
    dots = [chart.Dot(BEGIN + i * HOUR, math.sin(i / 9), None, None, True, 1, HOUR) for i in range(1000)]
    assert len(chart.series(dots)) < 60_000


def test_a_bound_beside_whiskers_leaves_their_words_alone() -> None:
    rows = [("v1", wilson(14, 79)), ("people", wilson(4, 53))]
    drawn = parsed(chart.whiskers(rows, "share", "<= 0.25"))
    words = [float(one.get("y") or 0) for group in drawn.iter("g") for one in group.findall("text") if group.get("class") == "whisker"]  # fmt: skip
    bounds = [one for one in drawn.iter("line") if one.get("class") == "bound"]
    assert len(bounds) == len(rows) and len(words) == 2 * len(rows)
    for one in bounds:
        assert not [y for y in words if y - 11 < float(one.get("y2") or 0) and float(one.get("y1") or 0) < y + 3]


# ------------------------------------------------------------------------------------------------------- a rollout


def raced(harm: list[float], safe: list[float], said: str = "not_yet", safe_at: float | None = math.log(20)) -> Race:
    points = tuple(Point(BEGIN + at * HOUR, at * 500, *both) for at, both in enumerate(zip(harm, safe, strict=True)))
    last = points[-1]
    proven = (last.time_us, last.units) if said != "not_yet" else (None, None)
    return Race("errors", said, math.log(40), safe_at, points, *proven)  # type: ignore[arg-type]


def ys(drawn: Markup, tone: str) -> list[float]:
    """The heights of a line's points, upwards."""
    (path,) = [one for one in parsed(drawn).iter("path") if set((one.get("class") or "").split()) == {"line", tone}]
    return [-float(pair.split()[1]) for pair in re.split("[ML]", path.get("d", ""))[1:]]


SPAN = (BEGIN, BEGIN + 4 * HOUR)


def test_two_lines_run_to_the_lines_that_say_what_is_proven() -> None:
    drawn = chart.race(raced([0, -0.5, -1, -1.5, -2], [0, 0.7, 1.5, 2.2, 3.1], "safe"), SPAN)
    assert {"harm is proven here, at 40", "safe is proven here, at 20", "harm", "safe"} <= set(texts(drawn))
    harm, safe = ys(drawn, "alarm"), ys(drawn, "ok")
    assert harm == sorted(harm, reverse=True) and safe == sorted(safe) and harm[0] == safe[0]
    goals = {one.get("class"): -float(one.get("y1") or 0) for one in parsed(drawn).iter("line") if "goal" in (one.get("class") or "")}  # fmt: skip
    assert safe[-2] < goals["goal ok"] < safe[-1] < goals["goal alarm"]
    (spot,) = list(parsed(drawn).iter("circle"))
    assert spot.get("class") == "proven ok" and spot.get("cx") == "100%"
    assert "1 Mar 2020 02:00, 1,000 units: harm 0.368 of 40, safe 4.48 of 20" in titles(drawn)
    assert {"0", "1,000 units", "2,000 units"} <= set(texts(chart.race(raced([0] * 5, [0] * 5), SPAN, "units")))


def test_what_lies_far_outside_is_drawn_at_the_edge_and_told() -> None:
    drawn = chart.race(raced([0, 20, 90, 700, 800], [0, -20, -50, -99, -99], "harm"), SPAN)
    harm, safe = ys(drawn, "alarm"), ys(drawn, "ok")
    assert harm[2] == harm[3] == harm[4] == max(harm) and safe[1] == safe[-1] == min(safe)
    assert any("harm over a million of 40, safe under 0.001 of 20" in title for title in titles(drawn))
    assert all(0 <= -y <= 168 for y in (*harm, *safe))


def test_a_line_is_dashed_to_when_safe_may_be_proven_and_only_then() -> None:
    going = raced([0, 0, 0], [0, 0.5, 1.0])
    wide = (BEGIN, BEGIN + 8 * HOUR)
    assert len(paths(chart.race(going, wide, "time", BEGIN + 6 * HOUR), "dash")) == 1
    assert not paths(chart.race(going, wide, "time", None), "dash") and not paths(
        chart.race(going, wide, "units", BEGIN + 6 * HOUR), "dash"
    )
    assert not paths(chart.race(raced([0, 0, 0], [0, 1.5, 3.1], "safe"), wide, "time", BEGIN + 6 * HOUR), "dash")


def test_a_race_of_the_shadow_has_one_line_and_close_goals_say_both_their_words() -> None:
    alone = chart.race(raced([0, 1, 2], [0, 0, 0], safe_at=None), SPAN)
    assert not paths(alone, "ok") and not any("safe" in text for text in texts(alone))
    close = parsed(chart.race(raced([0, 1, 2], [0, 1, 2], safe_at=math.log(38)), SPAN))
    said = {one.text: float(one.get("y") or 0) for one in close.iter("text") if "proven here" in (one.text or "")}
    assert len(said) == 2 and abs(said["harm is proven here, at 40"] - said["safe is proven here, at 38"]) > 12
    ends = [float(one.get("y") or 0) for one in close.iter("text") if one.text in ("harm", "safe")]
    assert len(ends) == 2 and abs(ends[0] - ends[1]) >= 12, "both lines end at the same place"
    assert len(chart.race(raced([0.0] * 500, [1.0] * 500), (BEGIN, BEGIN + 500 * HOUR))) < 40_000, (
        "a long one stays small"
    )
    assert "No window" in chart.race(raced([0], [0]), SPAN) and "No window" in chart.race(
        raced([0, 1], [0, 1]), (BEGIN, BEGIN)
    )


def test_shares_are_steps_over_their_states() -> None:
    weights = [Weight(BEGIN, 0.0), Weight(BEGIN + HOUR, 0.05), Weight(BEGIN + 3 * HOUR, 1.0)]
    bands = [
        Band("shadow", "", BEGIN, BEGIN + HOUR),
        Band("canary", "", BEGIN + HOUR, BEGIN + 2 * HOUR),
        Band("hold", "no_data", BEGIN + 2 * HOUR, BEGIN + 3 * HOUR),
        Band("bake", "", BEGIN + 3 * HOUR, BEGIN + 4 * HOUR),
    ]
    done = chart.acts([Act(BEGIN + HOUR, HARM, "ramp")])
    drawn = chart.weight(weights, bands, done, SPAN, "Share of v2")
    assert {"0 %", "1 %", "5 %", "20 %", "100 %", "shadow", "canary", "hold (no data)", "bake"} <= set(texts(drawn))
    (line,) = paths(drawn, "line")
    heights = [float(pair.split()[1]) for pair in re.split("[ML]", line)[1:]]
    assert heights[0] == heights[1] > heights[2] == heights[3] > heights[4] == heights[5], "a step and not a slope"
    assert (heights[0] - heights[2]) / (heights[0] - heights[4]) == pytest.approx(math.sqrt(0.05), abs=0.01)
    assert "1 Mar 2020 01:00 to 03:00: 5 % of the units" in titles(drawn)
    assert "1 Mar 2020 02:00 to 03:00: hold (no data)" in titles(drawn)
    fields = [one.get("class") for one in parsed(drawn).iter("rect") if one.get("height") == "20"]
    assert fields == ["machine", "candidate", "warn", "ok"]
    assert "No window" in chart.weight([], [], [], SPAN) and "No window" in chart.weight(
        weights, bands, [], (BEGIN, BEGIN)
    )


def test_a_state_too_short_for_its_word_has_a_field_all_the_same() -> None:
    bands = [Band("preflight", "", BEGIN, BEGIN + 1), Band("canary", "", BEGIN + 1, BEGIN + 4 * HOUR)]
    drawn = chart.weight([Weight(BEGIN, 0.1)], bands, [], SPAN)
    assert "preflight" not in texts(drawn) and any(title.endswith("preflight") for title in titles(drawn))
