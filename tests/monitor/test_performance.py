from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.errors import UsageError
from andon.measure.metric import parse_metric
from andon.measure.slice import parse_slice
from andon.measure.summary import add
from andon.monitor.performance import is_mature, performance

CLASSES = ("a", "b")
METRICS = {
    name: parse_metric(of, CLASSES)
    for name, of in {"acc": "accuracy", "rec": "recall[a]", "nulls": "null_outputs"}.items()
}
ROWS = pl.DataFrame(
    {
        "time_us": [0, 9, 10, 11, 25, -1],
        "label": ["a", None, "b", "a", "a", "b"],
        "prediction": ["a", "b", "a", None, "a", "b"],
        "age": [70, 70, 20, 70, None, 20],
        "decided_by": ["model", "model", "person", "model", "model", "model"],
    }
)


def test_windows_cohorts_and_metrics() -> None:
    rows = performance(ROWS, METRICS, {"older": parse_slice("age > 60")}, window_us=10, now=27, delay_us=7)
    found = {(row.start_us, row.metric, row.cohort): row for row in rows}
    assert {start for start, _, _ in found} == {-10, 0, 10, 20}
    assert not any(metric == "nulls" for _, metric, _ in found)
    first, older = found[0, "acc", ""], found[10, "acc", "older"]
    assert (first.rows, first.labelled, first.coverage, first.estimate.value) == (2, 1, 0.5, 1.0)
    assert (older.rows, older.estimate.value) == (1, 0.0)
    assert [found[start, "acc", ""].mature for start in (0, 10, 20)] == [True, True, False]
    assert found[20, "rec", ""].length_us == 10 and (20, "acc", "older") not in found
    assert [row.start_us for row in rows] == sorted(row.start_us for row in rows)


def test_a_metric_may_be_limited_to_some_rows() -> None:
    model = {"acc": parse_slice("decided_by = 'model'")}
    rows = performance(ROWS, METRICS, {}, window_us=10, now=99, where=model)
    found = {(row.start_us, row.metric): row for row in rows}
    assert (found[10, "acc"].rows, found[10, "rec"].rows) == (1, 2)


@pytest.mark.parametrize(("now", "mature"), [(12, False), (13, True)])
def test_maturity_at_its_edge(now: int, mature: bool) -> None:
    assert is_mature(0, 10, now, 3) is mature
    rows = performance(ROWS[:1], METRICS, {}, window_us=10, now=now, delay_us=3)
    assert rows[0].mature is mature


def test_nothing_to_measure_gives_no_rows() -> None:
    assert performance(ROWS.drop("label"), METRICS, {}, window_us=10, now=0) == []
    assert performance(ROWS.clear(), METRICS, {}, window_us=10, now=0) == []
    assert performance(ROWS, {"nulls": METRICS["nulls"]}, {}, window_us=10, now=0) == []
    with pytest.raises(UsageError, match="time_us"):
        performance(ROWS.drop("time_us"), METRICS, {}, window_us=10, now=0)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 40))
def test_windows_of_any_length_add_up_to_the_whole(window_us: int) -> None:
    rows = performance(ROWS, METRICS, {}, window_us=window_us, now=0)
    for name in ("acc", "rec"):
        metric = METRICS[name]
        total = add([row.summary for row in rows if row.metric == name], metric.kind)
        assert metric.estimate(total) == metric.measure(ROWS)
