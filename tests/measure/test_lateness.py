"""Quantiles cover the truth as often as they say, and heaps of late answers are worth fewer than single ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from andon.measure.lateness import fewest, late_share, quantile


@pytest.mark.parametrize(("n", "level"), [(50, 0.5), (300, 0.95), (4000, 0.999)])
def test_an_interval_holds_the_true_quantile_19_times_of_20(n: int, level: float) -> None:
    chance = np.random.default_rng(n)
    truth = -np.log(1 - level)
    held = 0
    for _ in range(1000):
        found = quantile(chance.exponential(size=n), level)
        assert found.low is not None
        held += found.low <= truth and (found.high is None or truth <= found.high)
    assert held >= 935  # 950 expected at least, less two standard deviations


def test_the_p99_9_is_bounded_from_just_enough_values_on() -> None:
    n = fewest(0.999)
    values = np.arange(1.0, n + 1)
    assert quantile(values, 0.999).high == n
    assert quantile(values[:-1], 0.999).high is None


def test_what_was_never_answered_is_late() -> None:
    values = np.concatenate([np.ones(94), np.full(6, np.inf)])
    assert quantile(values, 0.94).value == 1.0
    assert quantile(values, 0.94).high is None
    assert quantile(values, 0.95).value is None


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=60), st.floats(0.01, 0.99))
def test_an_estimate_lies_inside_its_interval(values: list[float], level: float) -> None:
    found = quantile(np.array(values), level)
    assert found.value is not None
    assert found.low is not None
    assert found.low <= found.value
    assert found.high is None or found.value <= found.high


def test_a_heap_of_late_answers_says_less_than_as_many_scattered_ones() -> None:
    second = np.repeat(np.arange(20), 200)
    heaped = late_share(second == 3, second)
    scattered = late_share(np.arange(4000) % 20 == 0, second)
    assert heaped.value == scattered.value == 0.05
    assert heaped.high is not None
    assert scattered.high is not None
    assert heaped.high > 0.1 > 0.06 > scattered.high
