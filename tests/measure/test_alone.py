"""A release held against its goal, and means: what is promised at all looks, and that arrays are the same as one by one."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from tests.measure.evidence_runs import at_most

from andon.core.record import Field
from andon.errors import UsageError
from andon.measure.alone import Alone
from andon.measure.bounded import Bounded, Difference, bets
from andon.measure.event import event_of
from andon.measure.evidence import Means
from andon.measure.figure import figure_of, watched
from andon.measure.gate import Bound


@pytest.mark.parametrize("runs", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_what_keeps_to_its_goal_is_seldom_called_harmful_and_what_misses_it_seldom_safe(runs: int) -> None:
    """Looked at after every unit; units differ, and the rate of events swings around the goal by the hour."""
    rng = np.random.default_rng(20)
    swing = 0.05 * (1 + 0.6 * np.sin(np.arange(4000) / 200))
    wrong = dict.fromkeys(("harm", "safe", "figure harm", "figure safe"), 0)
    found = dict.fromkeys(("bad", "good"), 0)
    for _ in range(runs):
        events = (rng.random(4000) < np.minimum(swing, 0.05)).astype(float)
        wrong["harm"] += Alone.begin(0.05).many(events).verdict() == "harm"
        events = (rng.random(4000) < np.maximum(swing, 0.05)).astype(float)
        wrong["safe"] += Alone.begin(0.05).many(events).safe.reached(0.05)
        worth = rng.choice([40.0, -15.0, -400.0], 2000, p=[0.5, 0.45, 0.05])
        level = float(np.dot([40.0, -15.0, -400.0], [0.5, 0.45, 0.05]))
        one = Alone.begin(level, -400.0, 40.0, worse="lower").many(worth)
        wrong["figure harm"] += one.verdict() == "harm"
        wrong["figure safe"] += one.safe.reached(0.05)
        found["bad"] += Alone.begin(0.05).many((rng.random(4000) < 0.1).astype(float)).verdict() == "harm"
        found["good"] += Alone.begin(0.05).many((rng.random(4000) < 0.025).astype(float)).verdict() == "safe"
    assert all(at_most(count, runs, 0.05) for count in wrong.values()), wrong
    assert min(found.values()) >= 0.99 * runs, f"and what is plainly good or bad is told so: {found}"


def test_arrays_are_the_same_as_one_value_after_the_other() -> None:
    rng = np.random.default_rng(21)
    values, mine = rng.random(500), rng.random(500) < 0.3
    rho = np.where(np.arange(500) < 250, 0.3, 0.6)
    whole = Difference.begin(0, 1, 0.2).many(mine, rho, values)
    parts = Difference.begin(0, 1, 0.2)
    for at in range(500):
        parts = parts.add([(bool(mine[at]), float(rho[at]), float(values[at]))])
    for one, other in ((whole.harm, parts.harm), (whole.safe, parts.safe)):
        assert one.n == other.n and one.logs == pytest.approx(other.logs) and one.peak == pytest.approx(other.peak)
    assert whole.centre == pytest.approx(parts.centre)
    assert whole.interval().low == pytest.approx(parts.interval().low)
    held = Bounded()
    for value in values:
        held = held.add(float(value))
    many = Bounded().many(values, np.zeros(500), np.ones(500))
    assert msgspec.structs.astuple(many) == pytest.approx(msgspec.structs.astuple(held))
    nothing = np.array([])
    assert whole.many(nothing.astype(bool), nothing, nothing) == whole
    assert bets(whole.harm, nothing) == whole.harm and Alone.begin(0.5).many(nothing) == Alone.begin(0.5)


def test_it_is_stored_and_told_apart() -> None:
    kinds = Difference | Alone
    for one in (Difference.begin(0, 1, 0.1).add([(True, 0.5, 0.3)]), Alone.begin(0.1).add([1, 0])):
        assert msgspec.json.decode(msgspec.json.encode(one), type=kinds) == one


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Alone.begin(0.0), "low < limit < high"),
        (lambda: Alone.begin(1.0), "low < limit < high"),
        (lambda: Alone.begin(0.5).add([1.5]), "found 1.5"),
        (lambda: Alone.begin(0.5).add([float("nan")]), "found nan"),
        (lambda: bets(Means(0.5, 0.0, 1.0), np.array([-0.1])), "found -0.1"),
        (lambda: Bounded().many(np.array([float("nan")]), np.zeros(1), np.ones(1)), "out of its bounds"),
        (lambda: Difference.begin(0, 1, 0.1).add([(True, 0.5, float("nan"))]), "found nan"),
        (lambda: watched("mean(a)", Bound.parse("<= 3"), (), (Field("a", "float"),), 1.0), "bounds of mean(a)"),
        (lambda: watched("mean(a)", Bound.parse("1 .. 3"), (), (Field("a", "int", low=0, high=9),), 1.0), "one-sided"),
        (lambda: watched("mean(a)", Bound.parse("<= 3"), (), (Field("a", "int", low=0, high=9),), 9.5), "at most 9"),
        (lambda: watched("mean(a)", Bound.parse("<= 3"), (), (Field("a", "int", low=0, high=9),)), "a margin"),
    ],
)
def test_what_is_refused(make: Any, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        make()
    assert said in raised.value.message


@pytest.mark.parametrize(
    ("of", "bound", "limit"),
    [
        ("error_rate", "<= 0.05", 0.05),
        ("accuracy", ">= 0.9", 0.1),
        ("accuracy", "0.8 .. 0.9", 0.2),
        ("recall[p]", ">= 0.85", 0.15),
        ("null_outputs", "<= 0.02", 0.02),
        ("error_responses", ">= 0.02", None),
        ("latency_p99_ms", "<= 500", 0.01),
        ("deferral_rate", "<= 0.3", 0.3),
        ("automatic_share", ">= 0.7", 0.3),
        ("agreement", ">= 0.95", 0.05),
    ],
)
def test_what_a_goal_lets_be(of: str, bound: str, limit: float | None) -> None:
    assert event_of(of, Bound.parse(bound), ("n", "p")).limit == limit


def test_a_share_is_of_the_cases_that_the_metric_is_of() -> None:
    cases = pl.DataFrame({"label": ["p", "p", "n", "n"], "prediction": ["p", "n", "n", "p"]})
    counted = {}
    for of in ("recall[p]", "precision[p]", "specificity[p]", "error_rate"):
        event = event_of(of, Bound.parse(">= 0.5") if of != "error_rate" else Bound.parse("<= 0.5"), ("n", "p"))
        rows = cases.select(bad=event.bad, among=pl.lit(True) if event.among is None else event.among)
        counted[of] = (rows.filter("among").height, int(rows.filter("among")["bad"].sum()))
    assert counted == {"recall[p]": (2, 1), "precision[p]": (2, 1), "specificity[p]": (2, 1), "error_rate": (4, 2)}


def test_a_figure_of_a_case() -> None:
    inputs = (Field("age", "int", low=0, high=120), Field("cough", "bool"))
    age = figure_of("mean(age)", Bound.parse("<= 70"), (), inputs)
    assert (age.low, age.high, age.worse, age.limit, age.late) == (0, 120, "higher", 70, False)
    found = pl.DataFrame({"age": [30, None, 121, 120]}).select(age.value)["value"].to_list()
    assert found == [30.0, None, None, 120.0], "what is out of its range does not count"
    assert figure_of("mean(cough)", Bound.parse(">= 0.1"), (), inputs).worse == "lower"
    worth = figure_of("value(p: {right: 40, missed: -400, unanswered: -5})", None, ("n", "p"), ())
    cases = pl.DataFrame({"label": ["p", "p", "p", "p", "x", None], "prediction": ["p", "n", None, "refer", "p", "p"]})
    assert cases.select(worth.value)["value"].to_list() == [40.0, -400.0, -5.0, -5.0, None, None]
