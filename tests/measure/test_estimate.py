from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.errors import UsageError
from andon.measure.estimate import Estimate, bootstrap, exact, mean_interval, mover, rate, undefined, wilson


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(68, 77, 0.793, 0.937), (68, 86, 0.693, 0.863), (4, 6, 0.300, 0.903), (6, 6, 0.610, 1.000)],
)
def test_wilson_gives_the_published_intervals(k: int, n: int, low: float, high: float) -> None:
    estimate = wilson(k, n)
    assert estimate.low == pytest.approx(low, abs=5e-4)
    assert estimate.high == pytest.approx(high, abs=5e-4)


@settings(deadline=None)
@given(st.integers(0, 500), st.integers(1, 500))
def test_wilson_holds_its_value_and_stays_in_the_unit_interval(k: int, extra: int) -> None:
    estimate = wilson(k, k + extra)
    assert estimate.value is not None and estimate.low is not None and estimate.high is not None
    assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
    assert (estimate.low == 0) == (k == 0)


def test_wilson_covers_as_stated() -> None:
    random = np.random.default_rng(3)
    drawn = random.binomial(60, 0.1, 4000)
    held = [wilson(int(k), 60) for k in drawn]
    coverage = np.mean([(e.low or 0) <= 0.1 <= (e.high or 1) for e in held])
    assert 0.93 <= coverage <= 0.98


@pytest.mark.parametrize(("k", "n"), [(2, 1), (-1, 3), (0, -1), (math.nan, 3), (1, math.inf)])
def test_wilson_refuses_impossible_counts(k: float, n: float) -> None:
    with pytest.raises(UsageError, match="0 <= k <= n"):
        wilson(k, n)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_confidence_is_a_fraction(confidence: float) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        wilson(1, 2, confidence)


def test_zero_of_zero_is_undefined_with_a_reason() -> None:
    estimate = wilson(0, 0)
    assert estimate.value is None and estimate.reason and not estimate.defined


def test_json_has_a_reason_only_when_undefined() -> None:
    assert set(msgspec.json.decode(msgspec.json.encode(wilson(1, 2)))) == {"value", "low", "high", "n", "method"}
    body = msgspec.json.decode(msgspec.json.encode(undefined("why", 3)))
    assert body == {"value": None, "low": None, "high": None, "n": 3, "method": "undefined", "reason": "why"}
    assert msgspec.json.decode(msgspec.json.encode(wilson(1, 2)), type=Estimate) == wilson(1, 2)


def test_mean_interval_matches_students_formula() -> None:
    values = np.array([1.0, 2.0, 4.0, 8.0, 16.0])
    m2 = float(((values - values.mean()) ** 2).sum())
    estimate = mean_interval(5, float(values.mean()), m2)
    half = 2.7764451051977987 * math.sqrt(m2 / 4 / 5)
    assert estimate.low == pytest.approx(6.2 - half) and estimate.high == pytest.approx(6.2 + half)
    assert mean_interval(0, 0.0, 0.0).value is None


def test_one_row_has_a_mean_and_open_ends() -> None:
    assert mean_interval(1, 4.0, 0.0) == Estimate(4.0, None, None, 1, "t")


def test_rate_is_exact_at_zero_events() -> None:
    estimate = rate(0, 10.0)
    assert estimate.value == 0 and estimate.low == 0
    assert estimate.high == pytest.approx(-math.log(0.025) / 10)
    assert rate(3, 0.0).value is None


def test_mover_of_one_part_is_the_part() -> None:
    part = wilson(3, 10)
    same = mover([part], [1.0], np.eye(1), 10)
    assert (same.value, same.low, same.high) == pytest.approx((part.value, part.low, part.high))
    turned = mover([part], [-1.0], np.eye(1), 10)
    assert (turned.low, turned.high) == pytest.approx((-(part.high or 0), -(part.low or 0)))


def test_mover_is_undefined_when_a_part_is() -> None:
    assert mover([wilson(1, 2), undefined("no dents")], [0.5, 0.5], np.eye(2), 2).reason == "no dents"
    assert mover([], [], np.eye(0), 0).value is None


def test_mover_with_an_open_part_is_open() -> None:
    estimate = mover([mean_interval(1, 1.0, 0.0)], [1.0], np.eye(1), 1)
    assert estimate.low is None and estimate.high is None


def test_bootstrap_repeats_and_bounds() -> None:
    values = np.random.default_rng(0).normal(size=200)
    first = bootstrap(values, np.median, draws=200)
    assert first == bootstrap(values, np.median, draws=200)
    assert first.low is not None and first.high is not None and first.value is not None
    assert first.low < first.value < first.high
    assert bootstrap([], np.median).value is None
    assert bootstrap([1.0], np.median).low is None


def test_bootstrap_draws_rows_together() -> None:
    pairs = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    assert bootstrap(pairs, lambda rows: float((rows[:, 0] - rows[:, 1]).sum()), draws=50).high == 0


def test_scaled_turns_the_ends_around() -> None:
    assert Estimate(1.0, 0.0, 3.0, 5, "t").scaled(-2) == Estimate(-2.0, -6.0, 0.0, 5, "t")
    assert exact(2, 1).scaled(3).value == 6
