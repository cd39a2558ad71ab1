from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from andon.model.calibration import BINS, coverage, reliability


def answers(sure: np.ndarray, right: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame({"label": ["a"] * len(sure), "prediction": np.where(right, "a", "b"), "confidence": sure})


def test_a_model_that_keeps_its_word_is_not_accused() -> None:
    held = 0
    for seed in range(40):
        draw = np.random.default_rng(seed)
        sure = draw.uniform(0.5, 1, 4000)
        found = reliability(answers(sure, draw.random(4000) < sure))
        assert found.gap.low is not None and found.gap.high is not None
        held += found.gap.low < 0 < found.gap.high
    assert held >= 34
    assert len(found.bins) == BINS and all(one.right.n == 400 for one in found.bins)
    inside = [one.right.low <= one.confidence <= one.right.high for one in found.bins]  # type: ignore[operator]
    assert sum(inside) >= 8 and found.error is not None and found.error < 0.03


def test_one_that_is_too_sure_is() -> None:
    draw = np.random.default_rng(2)
    sure = draw.uniform(0.8, 1, 1000)
    found = reliability(answers(sure, draw.random(1000) < sure - 0.2))
    assert found.gap.low is not None and found.gap.low > 0.1 and found.gap.value == pytest.approx(found.error, abs=0.01)


def test_few_equal_or_no_rows() -> None:
    few = reliability(answers(np.array([0.9, 0.6, 0.7]), np.array([True, False, True])))
    assert [(one.low, one.high, one.right.n) for one in few.bins] == [(0.6, 0.9, 3)]
    same = reliability(answers(np.full(500, 0.8), np.ones(500, dtype=bool)))
    assert len(same.bins) == 1 and same.bins[0].right.n == 500
    nothing = reliability(pl.DataFrame({"label": [None], "prediction": ["a"], "confidence": [0.5]}))
    assert nothing.bins == () and nothing.gap.value is None and nothing.error is None
    assert coverage(pl.DataFrame({"label": ["a"], "prediction": ["a"]})) == []


def test_the_surest_come_first_and_equal_ones_together() -> None:
    frame = answers(np.array([0.9, 0.9, 0.9, 0.8, 0.7]), np.array([True, True, False, True, False]))
    found = coverage(frame, points=5)
    assert [(one.share, one.confidence, one.wrong.value) for one in found] == [
        (0.6, 0.9, pytest.approx(1 / 3)),
        (0.8, 0.8, 0.25),
        (1.0, 0.7, 0.4),
    ]
