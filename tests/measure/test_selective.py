"""The risk-coverage curve: against the textbook's definition, at its edges, and as quick as it says."""

from __future__ import annotations

import time

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta

from andon.errors import UsageError
from andon.measure.selective import clopper_pearson, known_curve, risk_coverage

cases = st.lists(st.tuples(st.sampled_from([0.2, 0.5, 0.55, 0.9, float("nan")]), st.booleans()), max_size=60)


@given(cases)
def test_each_entry_counts_what_has_at_least_that_confidence(rows: list[tuple[float, bool]]) -> None:
    confidence = np.array([c for c, _ in rows], dtype=np.float64)
    correct = np.array([right for _, right in rows], dtype=bool)
    curve = risk_coverage(confidence, correct)
    assert curve.threshold.tolist() == sorted({c for c in confidence.tolist() if c == c}, reverse=True)
    for index, threshold in enumerate(curve.threshold.tolist()):
        inside = confidence >= threshold
        assert (curve.accepted[index], curve.errors[index]) == (inside.sum(), (~correct[inside]).sum())
        assert curve.coverage[index] == inside.sum() / len(rows)
        point = curve.at(threshold)
        assert (point.accepted, point.risk.value) == (inside.sum(), curve.risk[index])
    if not len(curve.threshold):
        assert np.isnan(curve.aurc) and np.isnan(curve.excess)


def test_the_area_is_the_mean_of_the_risks_over_all_numbers_of_accepted_cases() -> None:
    random = np.random.default_rng(4)
    confidence, correct = random.permutation(500) / 500, random.random(500) < 0.8
    ranked = np.cumsum(~correct[np.argsort(-confidence)])
    curve = risk_coverage(confidence, correct)
    assert curve.aurc == pytest.approx(np.mean(ranked / np.arange(1, 501)))
    perfect = risk_coverage(correct + random.random(500) / 2, correct)
    assert perfect.excess == pytest.approx(0.0, abs=1e-12) and curve.excess > 0.05


def test_ties_are_accepted_together_and_weigh_what_they_are() -> None:
    curve = risk_coverage([0.9] * 3 + [0.5], [True, True, False, True])
    assert curve.coverage.tolist() == [0.75, 1.0]
    assert curve.aurc == pytest.approx((3 * (1 / 3) + 0.25) / 4)


def test_between_two_thresholds_counts_the_stricter_one() -> None:
    curve = risk_coverage([0.9, 0.8, 0.7], [True, True, False])
    assert [curve.at(one).accepted for one in (0.95, 0.9, 0.85, 0.8, 0.1)] == [0, 1, 1, 2, 3]
    assert curve.at(0.95).risk.value is None


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_intervals_are_those_of_clopper_and_pearson(confidence: float) -> None:
    k, n = np.array([0, 1, 7, 50, 299, 300]), np.array([1, 1, 90, 100, 300, 300])
    low, high = clopper_pearson(k, n, confidence)
    tail = (1 - confidence) / 2
    for hits, all_, below, above in zip(k, n, low, high, strict=True):
        assert below == (0.0 if hits == 0 else pytest.approx(beta.ppf(tail, hits, all_ - hits + 1)))
        assert above == (1.0 if hits == all_ else pytest.approx(beta.ppf(1 - tail, hits + 1, all_ - hits)))


def test_an_interval_covers_at_least_as_often_as_it_says() -> None:
    random = np.random.default_rng(8)
    for share in (0.005, 0.02, 0.3):
        low, high = clopper_pearson(random.binomial(400, share, 4000), np.full(4000, 400))
        assert np.mean((low <= share) & (share <= high)) >= 0.95 - 3 * (0.05 * 0.95 / 4000) ** 0.5


@pytest.mark.parametrize(("k", "n", "confidence"), [(2, 1, 0.95), (-1, 1, 0.95), (0, 1, 0.0), (0, 1, 1.0)])
def test_what_is_no_share_is_refused(k: int, n: int, confidence: float) -> None:
    with pytest.raises(UsageError):
        clopper_pearson(k, n, confidence)


def test_labels_that_may_not_be_automatic_are_never_accepted() -> None:
    labels = ["neg", "pos", "neg", "pos"]
    curve = risk_coverage([0.9, 0.9, 0.8, 0.7], [True, False, False, False], labels, only=("neg",))
    assert (curve.coverage.tolist(), curve.risk.tolist()) == ([0.25, 0.5], [0.0, 0.5])
    assert len(risk_coverage([0.9], [True], ["pos"], only=()).threshold) == 0
    for given_labels in (None, ["neg"]):
        with pytest.raises(UsageError, match="`only` needs the answer of each of the 4 cases"):
            risk_coverage([0.9] * 4, [True] * 4, given_labels, only=("neg",))


def test_lengths_that_differ_are_refused() -> None:
    with pytest.raises(UsageError, match="one truth per confidence"):
        risk_coverage([0.9, 0.8], [True])
    with pytest.raises(UsageError, match="one chance per confidence"):
        known_curve([0.9, 0.8], [0.1])
    with pytest.raises(UsageError, match="one chance per confidence"):
        known_curve([], [])


@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 50))
def test_a_thinned_curve_has_the_same_points_and_the_last_one(n: int, points: int, least: int) -> None:
    random = np.random.default_rng(n)
    curve = risk_coverage(random.integers(0, 50, n) / 50, random.random(n) < 0.7)
    thin = curve.thinned(points, least)
    assert len(thin.threshold) <= points and thin.accepted[-1] == curve.accepted[-1] == n
    assert set(thin.threshold.tolist()) <= set(curve.threshold.tolist())
    assert thin.accepted[0] >= min(least, n) and thin.aurc == curve.aurc
    with pytest.raises(UsageError):
        curve.thinned(0)


def test_the_oracle_takes_the_largest_coverage_that_keeps_the_bound_not_the_first_that_breaks_it() -> None:
    known = known_curve([0.9, 0.8, 0.7, 0.6, float("nan")], [0.05, 0.0, 0.0, 0.9, 0.0])
    assert known.oracle(0.02) == (0.7, 0.6)
    assert known.at(0.9) == (0.2, 0.05) and known.at(0.95) == (0.0, 0.0)
    assert known_curve([0.9] * 50, [0.02] * 50).oracle(0.02)[1] == 1.0, "at the bound itself"


def test_a_hundred_thousand_cases_take_well_under_a_second() -> None:
    random = np.random.default_rng(1)
    confidence: npt.NDArray[np.float64] = random.random(100_000)
    correct = random.random(100_000) < confidence
    began = time.process_time()
    curve = risk_coverage(confidence, correct)
    curve.thinned(200).interval()
    assert time.process_time() - began < 0.4
    assert len(curve.threshold) == 100_000 and 0 < curve.aurc < 0.5
