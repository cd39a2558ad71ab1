from __future__ import annotations

import numpy as np
import pytest

from andon.core.clock import DAY
from andon.core.verdict import Verdict
from andon.measure.estimate import Estimate, mean_interval, undefined, wilson
from andon.monitor.threshold import LEAST_WINDOWS, alarm_alpha, judge, reference


@pytest.mark.parametrize("spread", [0.0, 0.03])
def test_false_alarms_keep_near_the_stated_rate(spread: float) -> None:
    """Also when the process itself wanders from window to window, and windows differ in size."""
    random = np.random.default_rng(6)
    alarms, alpha = 0, 0.02
    for _ in range(300):
        rates = np.clip(random.normal(0.2, spread, 40), 0, 1)
        sizes = random.integers(150, 600, 40)
        windows = [wilson(float(random.binomial(n, p)), n) for n, p in zip(sizes, rates, strict=True)]
        limits = reference(windows[:30], alpha)
        alarms += sum(judge("m", window, limits).verdict is Verdict.FAIL for window in windows[30:])
    assert 0.003 <= alarms / 3000 <= 0.035


def test_a_small_window_needs_more_to_ring() -> None:
    limits = reference([wilson(200 + i % 5, 1000) for i in range(12)], 0.001)
    small, large = judge("m", wilson(9, 20), limits), judge("m", wilson(450, 1000), limits)
    assert (small.verdict, large.verdict) == (Verdict.PASS, Verdict.FAIL)
    assert (small.bound.high or 0) > (large.bound.high or 0)
    assert "outside what the reference leads to expect" in large.sentence


def test_a_window_that_broke_half_way_does_not_excuse_itself() -> None:
    """A mean over 4 bright and 7 dark pictures has a wide interval of its own, and yet is nothing like the reference."""
    random = np.random.default_rng(3)
    windows = [mean_interval(45, m, 44 * 0.036**2) for m in random.normal(0.5, 0.036 / 45**0.5, 5)]
    limits = reference(windows, alarm_alpha(1, 3600 * 10**6, 2))
    values = np.concatenate([random.normal(0.5, 0.036, 4), random.normal(0.175, 0.013, 7)])
    mixed = mean_interval(11, float(values.mean()), float(values.var() * 11))
    assert judge("brightness", mixed, limits).verdict is Verdict.FAIL
    assert judge("brightness", mean_interval(11, 0.48, 10 * 0.036**2), limits).verdict is Verdict.PASS


def test_the_real_break_of_the_symptoms_rings() -> None:
    """Cough fell from 15 % to 2 % of the cases."""
    random = np.random.default_rng(1)
    weeks = [wilson(float(random.binomial(20_000, p)), 20_000) for p in random.normal(0.15, 0.01, 8)]
    limits = reference(weeks, alarm_alpha(1, 7 * DAY, 4))
    assert judge("cough", wilson(400, 20_000), limits, "older").verdict is Verdict.FAIL
    assert judge("cough", wilson(2900, 20_000), limits).verdict is Verdict.PASS


@pytest.mark.parametrize("count", [0, LEAST_WINDOWS - 1])
def test_too_few_windows_judge_nothing(count: int) -> None:
    limits = reference([wilson(1, 10)] * count, 0.01)
    found = judge("m", wilson(10, 10), limits)
    assert found.verdict is Verdict.UNSURE and f"{count} reference windows" in found.sentence
    assert reference([wilson(1, 10)] * LEAST_WINDOWS, 0.01).reason is None


def test_without_a_value_nothing_is_judged() -> None:
    limits = reference([wilson(i, 10) for i in range(6)], 0.01)
    assert judge("m", undefined("no rows"), limits).sentence == "m: no rows, so the reference can not be compared"
    assert judge("m", mean_interval(1, 3.0, 0.0), limits).verdict is Verdict.UNSURE
    assert reference([undefined("x"), *[wilson(i, 10) for i in range(6)]], 0.01).windows == 6


def test_equal_reference_windows_still_leave_room_for_chance() -> None:
    limits = reference([Estimate(1.0, 1.0, 1.0, 5, "exact")] * 10, 0.01)
    assert judge("m", Estimate(1.0, 1.0, 1.0, 5, "exact"), limits).verdict is Verdict.PASS
    assert judge("m", Estimate(1.1, 1.1, 1.1, 5, "exact"), limits).verdict is Verdict.FAIL


def test_the_budget_of_false_alarms_is_shared() -> None:
    month = alarm_alpha(1, 3600 * 10**6, 10)
    assert month * 10 * 30 * 24 == pytest.approx(1)
    assert alarm_alpha(1000, 7 * DAY, 1) == 0.2 and alarm_alpha(1e-12, 1, 1) == 1e-9
