"""A rollout rehearsed: it errs, waits and costs as the evidence does, by seed, on assumed and on past traffic."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from andon.deploy import rehearsal_course
from andon.deploy.rehearsal import Outcome, Wish, default_ratios, rehearse
from andon.deploy.rehearsal_course import course_of, play_course
from andon.deploy.rehearsal_traffic import LEAST_EVENTS, LEAST_UNITS, Assumed, Past, Traffic
from andon.deploy.rollout_record import Plan
from andon.errors import NotEnoughEvidence, UsageError
from andon.measure.budget import share_sequence

PLAN = Plan("v2", "v1", ("canary", "live"), ("errors",))
TENTH = ((0.0, 0.1),)
ONE_PERCENT = Assumed(rate=0.01, per_hour=3600)


def played(traffic: Traffic, ratio: float, plan: Plan = PLAN, **wish: Any) -> Outcome:
    (found,) = rehearse(traffic, plan, [ratio], Wish(**{"runs": 100, "course": TENTH, **wish}))
    return found


#: Of the method's own simulation: (ratio, rolled back, safe, median requests, median extra errors).
TABLE = [(1.0, 0.023, 0.977, 32_400, 0), (1.5, 0.96, 0.04, 33_000, 17), (2.0, 1.0, 0.0, 9_800, 10), (3.0, 1.0, 0.0, 3_000, 6), (10.0, 1.0, 0.0, 360, 3)]  # fmt: skip


@pytest.mark.parametrize(("ratio", "back", "safe", "requests", "extra"), TABLE)
def test_it_gives_the_table_of_the_method(ratio: float, back: float, safe: float, requests: int, extra: int) -> None:
    runs = 300
    found = played(ONE_PERCENT, ratio, runs=runs)
    error = 3 * math.sqrt(max(back * (1 - back), 0.005) * (1 / runs + 1 / 600))
    assert found.rolled_back.value == pytest.approx(back, abs=error)
    assert found.safe.value == pytest.approx(safe, abs=error)
    assert found.undecided.value == 0.0
    assert found.requests.median == pytest.approx(requests, rel=0.2)
    assert found.extra.median == pytest.approx(extra, rel=0.2, abs=1.5)
    assert found.false == {1.0: "rolled_back", 1.5: "safe"}.get(ratio, "safe" if ratio > 1.5 else "")


def test_the_automatic_rollout_errs_within_its_levels_and_finds_large_harm_at_its_start() -> None:
    bad = played(ONE_PERCENT, 10.0, runs=40, course=None)
    assert bad.rolled_back.value == 1.0 and bad.extra.median is not None and bad.extra.median <= 8
    good, margin = (played(Assumed(0.05, 36_000), ratio, runs=30, course=None, seed=3) for ratio in (1.0, 1.5))
    for wrong in (good.rolled_back, margin.safe):
        assert wrong.value is not None and wrong.value * 30 <= binom.ppf(0.99, 30, 0.05)
    assert good.undecided.value == margin.undecided.value == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_the_automatic_rollout_errs_within_its_levels_in_many_runs(seed: int) -> None:
    runs = 300
    for ratio, name in ((1.0, "rolled_back"), (1.5, "safe")):
        found = played(Assumed(0.05, 36_000, delay=seed * 2.0), ratio, runs=runs, course=None, seed=seed)
        assert getattr(found, name).value * runs <= binom.ppf(0.99, runs, 0.05)


@pytest.mark.parametrize("course", [TENTH, ((0.0, 0.02), (1.0, 0.2)), None])
def test_the_seed_decides_everything_and_more_runs_or_ratios_change_no_run(course: Any) -> None:
    wish = Wish(runs=12, seed=5, course=course)
    both = rehearse(ONE_PERCENT, PLAN, [3.0, 10.0], wish)
    assert both == rehearse(ONE_PERCENT, PLAN, [3.0, 10.0], wish)
    assert both[1] == played(ONE_PERCENT, 10.0, runs=12, seed=5, course=course)
    assert both[1] != played(ONE_PERCENT, 10.0, runs=12, seed=6, course=course)
    rngs = [np.random.default_rng([5, 10_000_000, run]) for run in range(20)]
    if course is not None:
        few = play_course(ONE_PERCENT, PLAN, course, 10.0, 672, rngs[:10])
        rngs = [np.random.default_rng([5, 10_000_000, run]) for run in range(20)]
        assert play_course(ONE_PERCENT, PLAN, course, 10.0, 672, rngs)[:10] == few


def test_blocks_of_runs_are_about_memory_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = played(ONE_PERCENT, 2.0, runs=20)
    monkeypatch.setattr(rehearsal_course, "_AT_ONCE", 1)
    assert played(ONE_PERCENT, 2.0, runs=20) == whole


def test_labels_that_come_later_make_it_later_and_dearer() -> None:
    early, late = played(ONE_PERCENT, 3.0), played(Assumed(0.01, 3600, delay=6.0), 3.0)
    assert early.hours.median is not None and late.hours.median == pytest.approx(early.hours.median + 6, rel=0.01)
    assert early.extra.median is not None and late.extra.median is not None
    assert late.extra.median > 3 * early.extra.median
    waits = played(Assumed(0.01, 3600, delay=6.0), 10.0, runs=10, course=None)
    assert waits.hours.median is not None and waits.hours.median > 6


def test_no_time_no_verdict() -> None:
    for course in (TENTH, None):
        found = played(Assumed(0.001, 10), 2.0, runs=10, course=course, hours=1.0)
        assert found.undecided.value == 1.0 and found.hours.median is None and found.requests.most is None
        assert found.extra.median == 0.0


def test_better_ones_spare_units_their_events() -> None:
    for course in (TENTH, None):
        found = played(ONE_PERCENT, 0.25, runs=20, course=course)
        assert found.safe.value == 1.0 and found.extra.median is not None and found.extra.median < 0


def test_what_has_negligibly_few_events_is_safe_whatever_the_ratio_and_that_is_no_error() -> None:
    rare = Assumed(1e-5, 10_000)
    for course in (((0.0, 0.5),), None):
        found = played(rare, 2.0, runs=10, course=course)
        assert found.safe.value == 1.0 and found.false == ""
    assert (
        played(rare, 2.0, Plan("v2", "v1", ("canary",), ("errors",), negligible=0.0), runs=10, hours=10).safe.value
        == 0.0
    )


@pytest.mark.parametrize("k", [0, 1, 7])
@pytest.mark.parametrize("n", [10, 2000, 8061, 8062, 30_000])
def test_negligible_is_what_the_sequence_of_a_share_says(k: int, n: int) -> None:
    high = share_sequence(k, n, PLAN.beta).high
    assert high is not None
    found = rehearsal_course._is_negligible(np.array([k]), np.array([float(n)]), PLAN)[0]
    assert bool(found) == (high <= PLAN.negligible)


def test_a_run_that_is_never_decided_ends_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal_course, "MOST_EVENTS", 600)
    plan = Plan("v2", "v1", ("canary", "live"), ("errors",), alpha=1e-9, beta=1e-9, negligible=0.0, margin=1.01)
    for course, hours in ((TENTH, 8000), (None, 60)):
        assert played(ONE_PERCENT, 1.0, plan, runs=10, course=course, hours=hours).undecided.value == 1.0
    # Everything that there was may be counted, also where it is known long after.
    for course in (TENTH, None):
        found = played(Assumed(0.3, 1e8, delay=6.0), 10.0 / 3, runs=10, course=course)
        assert found.rolled_back.value == 1.0 and found.hours.median == pytest.approx(6.0, rel=0.1)
        assert found.extra.median is not None and found.extra.median > 1e5


# --------------------------------------------------------------------------------------------------------- a past


def a_past(units: int = 2000, rate: float = 0.05, hours: float = 24.0, seed: int = 1, **more: Any) -> Past:
    """Units with one to nine requests; one that fails does so at all of them."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 10, units)
    unit = np.repeat(np.arange(units, dtype=np.uint64), sizes)
    failing = np.arange(units) < round(units * rate)
    at = rng.random(unit.size) * hours
    return Past(unit, at, at + more.get("delay", 0.0), failing[unit], more.get("span", hours))


def test_a_past_has_its_units_and_its_share_of_them_with_an_event() -> None:
    past = a_past()
    assert past.rate == 0.05 and past.n == 2000 and past.per_hour == pytest.approx(2000 / 24)
    assert past.requests == pytest.approx(5.0, rel=0.05)
    assert past.units(24.0) == 2000 and past.units(36.0) == 2000 + past.units(12.0) and past.units(0.0) == 0


@pytest.mark.parametrize("ratio", [0.5, 1.0, 3.0, 100.0])
def test_a_past_is_drawn_by_unit_as_often_as_it_should_be(ratio: float) -> None:
    past, rng = a_past(), np.random.default_rng(2)
    base = extra = 0
    for end, part in past.parts(rng, ratio):
        assert (np.diff(part.at) >= 0).all() and (part.known >= part.at).all()
        assert not part.at.size or part.at[-1] <= end
        base, extra = base + int(part.base.sum()), extra + int((~part.base).sum())
        if end >= 24 * 40:
            break
    # 100 units with an event a day; a candidate may have no more than all.
    wanted = (min(1.0, 0.05 * ratio) - 0.05) * 2000 if ratio > 1 else 0.0
    assert base == pytest.approx(40 * 100, rel=0.06)
    assert extra == pytest.approx(40 * wanted, rel=0.03)


def test_a_past_keeps_its_hours() -> None:
    """Everything comes in the first hour of the day."""
    rng = np.random.default_rng(3)
    at = np.sort(rng.random(1000))
    past = Past(np.arange(1000, dtype=np.uint64), at, at + 0.25, rng.random(1000) < 0.1, 24.0)
    for end, part in past.parts(rng, 2.0):
        assert ((part.at % 24) < 1).all() and np.allclose(part.known - part.at, 0.25)
        if end >= 72:
            break
    assert past.units(1.0) == past.units(20.0) == 1000 and past.judged(0.2) == 0


def test_a_past_of_clients_that_come_back_errs_no_more_than_it_may() -> None:
    past = a_past(rate=0.1)
    for course in (TENTH, ((0.0, 0.05), (6.0, 0.2), (24.0, 0.5))):
        good, bad = played(past, 1.0, course=course, runs=100), played(past, 4.0, course=course, runs=20)
        assert good.rolled_back.value is not None and good.rolled_back.value * 100 <= binom.ppf(0.99, 100, 0.05)
        assert bad.rolled_back.value == 1.0
    assert played(past, 4.0, course=None, runs=10).rolled_back.value == 1.0


def test_assumed_and_past_traffic_of_the_same_kind_agree() -> None:
    past = a_past(units=20_000, rate=0.05)
    assumed = Assumed(0.05, past.per_hour, requests=past.requests)
    one, other = (played(traffic, 2.0, runs=200) for traffic in (past, assumed))
    assert one.requests.median == pytest.approx(other.requests.median, rel=0.25)
    assert one.extra.median == pytest.approx(other.extra.median, abs=3)


@pytest.mark.parametrize(
    ("units", "events", "span", "enough"),
    [
        (LEAST_UNITS, LEAST_EVENTS, 1.0, True),
        (LEAST_UNITS - 1, LEAST_EVENTS, 1.0, False),
        (LEAST_UNITS, LEAST_EVENTS - 1, 1.0, False),
        (LEAST_UNITS, LEAST_EVENTS, 0.0, False),
        (LEAST_UNITS, LEAST_UNITS - 1, 1.0, True),
        (LEAST_UNITS, LEAST_UNITS, 1.0, False),
        (0, 0, 0.0, False),
    ],
)
def test_a_past_needs_enough_units_and_events(units: int, events: int, span: float, enough: bool) -> None:
    unit, at = np.arange(units, dtype=np.uint64), np.linspace(0, span, units)
    bad = np.arange(units) < events
    if enough:
        assert played(Past(unit, at, at, bad, span), 1.0, runs=10, hours=1.0).runs == 10
        return
    with pytest.raises(NotEnoughEvidence, match="units") as caught:
        Past(unit, at, at, bad, span)
    assert caught.value.exit_code == 3


# ------------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize("runs", [10, 10_000])
@pytest.mark.parametrize("hours", [0.001, 24 * 366])
def test_the_ends_of_what_may_be_wished(runs: int, hours: float) -> None:
    assert Wish(runs=runs, hours=hours, seed=0).runs == runs


@pytest.mark.parametrize(
    ("wish", "named"),
    [
        ({"runs": 9}, "--runs"),
        ({"runs": 10_001}, "--runs"),
        ({"hours": 0.0}, "--most"),
        ({"hours": 24 * 366 + 1}, "--most"),
        ({"hours": math.nan}, "--most"),
        ({"seed": -1}, "--seed"),
    ],
)
def test_what_may_not_be_wished_is_said(wish: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        Wish(**wish)


@pytest.mark.parametrize(
    ("assumed", "named"),
    [
        ((0.0, 1.0), "--rate"),
        ((1.0, 1.0), "--rate"),
        ((math.nan, 1.0), "--rate"),
        ((0.5, 0.0), "--per-hour"),
        ((0.5, 1.1e9), "--per-hour"),
        ((0.5, math.nan), "--per-hour"),
        ((0.5, 1.0, -1.0), "--delay"),
    ],
)
def test_traffic_that_cannot_be_is_not_assumed(assumed: tuple[float, ...], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        Assumed(*assumed)  # type: ignore[arg-type]


@pytest.mark.parametrize("ratios", [[0.0], [-1.0], [100.1], [math.nan], [math.inf], [], [1.0] * 21])
def test_ratios_that_cannot_be(ratios: list[float]) -> None:
    with pytest.raises(UsageError, match="--ratio"):
        rehearse(ONE_PERCENT, PLAN, ratios, Wish(runs=10))


def test_ratios_at_their_ends() -> None:
    assert played(Assumed(0.5, 100), 100.0, runs=10).rolled_back.value == 1.0  # everything is bad
    assert played(ONE_PERCENT, 1e-9, runs=10).safe.value == 1.0
    assert default_ratios(2.0) == (1.0, 2.0, 3.0, 10.0)


@pytest.mark.parametrize("text", ["", "0", "1", "0.1:2h", "0.1,0.2", "0.1:0h,0.2", "0.1:2,0.2", "x", "nan", "0.1:,0.2", ",".join(["0.1:1h"] * 50 + ["0.5"]), f"0.1:{'9' * 400}w,0.2"])  # fmt: skip
def test_steps_that_are_none_are_said(text: str) -> None:
    with pytest.raises(UsageError, match="--ramp"):
        course_of(text)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40) | st.text(alphabet="0123456789.:,hdm e-", max_size=30))
def test_whatever_is_written_as_steps_is_a_ramp_or_one_sentence(text: str) -> None:
    try:
        course = course_of(text)
    except UsageError as error:
        assert "--ramp" in error.message and len(error.message) < 300
        return
    assert course[0][0] == 0.0 and all(0 < share < 1 for _, share in course)
    assert all(math.isfinite(begins) for begins, _ in course)


def test_fifty_steps_are_played() -> None:
    text = ",".join([*(f"{0.01 * (n + 1):.2f}:1m" for n in range(49)), "0.5"])
    assert len(course_of(text)) == 50
    assert played(ONE_PERCENT, 10.0, course=course_of(text), runs=10).rolled_back.value == 1.0
