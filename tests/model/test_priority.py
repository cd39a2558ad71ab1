"""The priority table, with the published tables as numbers (lectures on error analysis and baselines)."""

from __future__ import annotations

from typing import Any

import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from andon.errors import UsageError
from andon.model.priority import errors, ranks

SPEECH = {  # kind of speech: (accuracy, human level, share of the data in %)
    "Clean speech": (94, 95, 60),
    "Car noise": (89, 93, 4),
    "People noise": (87, 89, 30),
    "Low bandwidth": (70, 70, 6),
}
DEFECTS = {"Scratch": (95, 98, 50), "Discolouration": (90, 90, 50)}


def records(table: dict[str, tuple[int, int, int]], rows: int = 10_000) -> pl.DataFrame:
    parts = []
    for name, (accuracy, _, share) in table.items():
        n = rows * share // 100
        right = n * accuracy // 100
        parts.append(pl.DataFrame({"type": [name] * n, "y": ["a"] * n, "yhat": ["a"] * right + ["b"] * (n - right)}))
    return pl.concat(parts)


def human(table: dict[str, tuple[int, int, int]]) -> dict[str, float]:
    return {name: level / 100 for name, (_, level, _) in table.items()}


def table(of: dict[str, tuple[int, int, int]], **options: Any) -> Any:
    return errors(records(of), label="y", prediction="yhat", by=["type"], baseline=human(of), **options)


def test_the_speech_table() -> None:
    found = table(SPEECH)
    rows = {row.slice: row for row in found.rows}
    gains = {"Clean speech": 0.60, "Car noise": 0.16, "People noise": 0.60, "Low bandwidth": 0.0}
    shares = {"Clean speech": 36.961, "Car noise": 4.517, "People noise": 40.041, "Low bandwidth": 18.480}
    labels = {"Clean speech": 3.0, "Car noise": 0.28, "People noise": 3.3, "Low bandwidth": 1.8}
    for name in SPEECH:
        assert rows[name].model_gain * 100 == pytest.approx(gains[name], abs=1e-9)
        assert rows[name].error_share * 100 == pytest.approx(shares[name], abs=5e-4)
        assert rows[name].label_gain * 100 == pytest.approx(labels[name], abs=1e-9)
    assert {name: row.rank for name, row in rows.items()} == {
        "Clean speech": 1,
        "People noise": 1,
        "Car noise": 3,
        "Low bandwidth": 4,
    }
    total = found.total
    assert total.accuracy.value == pytest.approx(0.9026) and total.baseline == pytest.approx(0.9162)
    assert total.gap == total.model_gain == pytest.approx(0.0136) and total.label_gain == pytest.approx(0.0838)
    assert (total.share, total.overlap, total.n, total.errors) == (1.0, 0.0, 10_000, 974)


def test_two_lanes_give_two_right_answers() -> None:
    rows = {row.slice: row for row in table(DEFECTS).rows}
    scratch, stain = rows["Scratch"], rows["Discolouration"]
    assert (scratch.model_gain, stain.model_gain) == (pytest.approx(0.015), pytest.approx(0.0))
    assert (scratch.label_gain, stain.label_gain) == (pytest.approx(0.01), pytest.approx(0.05))
    assert (scratch.rank, scratch.label_rank, stain.rank, stain.label_rank) == (1, 2, 2, 1)


def test_the_share_of_errors_obeys_bayes() -> None:
    found = table(SPEECH)
    wrong = found.total.errors / found.total.n
    for row in found.rows:
        assert row.error_share * wrong == pytest.approx((1 - row.accuracy.value) * row.share)


def test_overlapping_slices_do_not_pretend_to_add_up() -> None:
    frame = pl.DataFrame({"y": [1, 1, 0], "yhat": [1, 0, 0], "car": [True, True, False], "rain": [True, False, False]})
    found = errors(
        frame, label="y", prediction="yhat", slices={"car": "car", "rain": "rain"}, baseline={"car": 1, "rain": 1}
    )
    assert found.total.share == pytest.approx(2 / 3) and found.total.overlap == pytest.approx(1 / 3)
    assert found.total.model_gain is None and found.total.accuracy.n == 3


def test_without_a_baseline_the_errors_rank() -> None:
    found = errors(records(SPEECH), label="y", prediction="yhat", by=["type"])
    assert [row.slice for row in found.rows][:2] == ["People noise", "Clean speech"]
    assert found.rows[0].model_gain is None and found.rows[0].rank == 1 and found.rows[0].label_rank is None


def test_several_columns_missing_values_and_pandas() -> None:
    frame = pd.DataFrame(
        {"y": [1, 0, 1, None], "yhat": [1.0, 1.0, 1.0, 1.0], "noise": ["car", None, "car", "car"], "dev": [1, 2, 2, 2]}
    )
    found = errors(frame, label="y", prediction="yhat", by=["noise", "dev"], baseline={"car": 0.9, "dev=2": 0.5})
    rows = {row.slice: row for row in found.rows}
    assert set(rows) == {"noise=car", "noise=(missing)", "dev=1", "dev=2"}
    assert (rows["noise=car"].n, rows["noise=car"].baseline, rows["dev=1"].rank) == (2, 0.9, None)
    assert found.total.overlap == 1.0 and found.table.height == 4 and "rows" in found.to_json()


def test_a_slice_without_rows_is_undefined_not_zero() -> None:
    frame = pl.DataFrame({"y": [1], "yhat": [1], "site": ["a"]})
    row = errors(frame, label="y", prediction="yhat", slices={"b": "site = 'b'"}, baseline={"b": 0.9}).rows[0]
    assert (row.accuracy.value, row.model_gain, row.error_share, row.n) == (None, None, None, 0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"by": ["typ"]}, r"no column 'typ' \(--by\); did you mean 'type'"),
        ({"by": ["type"], "label": "Y"}, r"no column 'Y' \(--label\)"),
        ({}, "nothing to compare"),
        ({"by": ["type"], "baseline": {"Scratch": 98}}, "expected a fraction from 0 to 1, found 98"),
        ({"by": ["type"], "baseline": {"Scrach": 0.9}}, "no one slice is called so; did you mean 'Scratch'"),
    ],
)
def test_wrong_use(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        errors(records(DEFECTS), **{"label": "y", "prediction": "yhat", **options})


@given(st.lists(st.floats(-1, 1), max_size=30))
def test_ranks_agree_with_counting_who_is_better(gains: list[float]) -> None:
    for gain, rank in zip(gains, ranks(gains), strict=True):
        better = sum(other > gain + 1e-9 for other in gains)
        assert rank is not None and rank <= better + 1
