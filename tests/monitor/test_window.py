"""Windows: what is measured, and that summaries of pieces are the summary of the whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.core.clock import DAY, HOUR
from andon.errors import UsageError
from andon.measure.metric import parse_metric
from andon.measure.slice import parse_slice
from andon.measure.summary import Count, Moments, Summary
from andon.monitor.window import STANDARD, Measured, WindowRow, WindowSpec, is_late, profile, series
from andon.scope.charter import parse
from andon.store.workspace import Workspace

CHARTER = parse(
    """
project: screening
inputs: {cough: bool?, age: int, note: text?}
target: {name: result, classes: [negative, positive], delay: 2d}
safe_default: refer
metrics:
  error: {of: error_rate, where: "age > 3"}
  redone: {of: agreement}
  cough: {of: mean(cough)}
slices: {older: "age >= 60"}
monitor: {window: 7d}
"""
)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    made = Workspace.create(tmp_path / ".andon")
    yield made
    made.close()


def test_a_charter_says_what_is_measured_and_when_it_is_known() -> None:
    plan = Measured.of(CHARTER)
    assert plan.window.length_us == 7 * DAY and plan.delay_us == 2 * DAY
    assert set(plan.late) == {"error", "redone"}
    assert set(plan.early) == {*STANDARD, "cough", "missing(cough)", "missing(note)"}
    assert {"cough", "age", "label", "human", "latency_us"} <= plan.columns
    assert set(plan.slices) == {"older"} and set(plan.where) == {"error"}


@pytest.mark.parametrize(
    ("metric", "late"),
    [
        ("accuracy", True),
        ("agreement", True),
        ("override_rate", True),
        ("feedback(click, shown)", True),
        ("null_outputs", False),
        ("missing(age)", False),
        ("latency_p95_ms", False),
    ],
)
def test_what_needs_something_that_comes_later_is_late(metric: str, late: bool) -> None:
    assert is_late(parse_metric(metric)) is late


@pytest.mark.parametrize(("time_us", "start"), [(0, 0), (9, 0), (10, 10), (-1, -10)])
def test_a_window_holds_its_start_and_not_its_end(time_us: int, start: int) -> None:
    assert WindowSpec(10).start(time_us) == start


def test_a_window_of_no_length_is_refused() -> None:
    with pytest.raises(UsageError, match="more than 0 microseconds, found 0"):
        WindowSpec(0)


def test_a_profile_has_a_row_for_each_metric_cohort_and_window_with_rows() -> None:
    table = pl.DataFrame({"time_us": [1, 2, 11, 25], "age": [70, 20, 20, 80], "cough": [True, False, None, True]})
    metrics = {"cough": parse_metric("mean(cough)"), "label": parse_metric("accuracy")}
    rows = profile(
        table, metrics, {"older": parse_slice("age >= 60")}, WindowSpec(10), {"cough": parse_slice("age < 80")}
    )
    found = {(row.metric, row.cohort, row.start_us): row.summary for row in rows}
    assert set(found) == {
        ("cough", "", 0),
        ("label", "", 0),
        ("cough", "older", 0),
        ("label", "older", 0),
        ("cough", "", 10),
        ("label", "", 10),
        ("label", "", 20),
        ("label", "older", 20),
    }
    assert found["cough", "", 0] == Moments.of(pl.Series([True, False]))
    assert found["label", "", 0] == metrics["label"].kind()


def test_a_slice_on_a_column_that_is_not_there_holds_for_nobody() -> None:
    table = pl.DataFrame({"time_us": [1], "cough": [True]})
    rows = profile(table, {"cough": parse_metric("mean(cough)")}, {"older": parse_slice("age >= 60")}, WindowSpec(10))
    assert [row.cohort for row in rows] == [""]


def test_no_rows_and_no_times() -> None:
    metric = {"cough": parse_metric("mean(cough)")}
    assert profile(pl.DataFrame({"time_us": []}, schema={"time_us": pl.Int64}), metric, {}, WindowSpec(10)) == []
    with pytest.raises(UsageError, match="time_us"):
        profile(pl.DataFrame({"cough": [True]}), metric, {}, WindowSpec(10))


_ROWS = st.lists(st.tuples(st.integers(0, 40), st.sampled_from([True, False, None]), st.integers(0, 99)), min_size=1)


@given(_ROWS, st.integers(0, 30))
@settings(max_examples=60, deadline=None)
def test_two_pieces_added_up_are_the_whole(rows: list[tuple[int, bool | None, int]], cut: int) -> None:
    schema = {"time_us": pl.Int64, "cough": pl.Boolean, "age": pl.Int64}
    table = pl.DataFrame(rows, schema=schema, orient="row")
    metrics = {"cough": parse_metric("share(cough)"), "missing": parse_metric("missing(cough)")}
    slices = {"older": parse_slice("age >= 60")}

    def measured(part: pl.DataFrame) -> list[WindowRow]:
        return profile(part, metrics, slices, WindowSpec(10))

    added: dict[tuple[str, str, int], Count] = {}
    for row in measured(table[:cut]) + measured(table[cut:]):
        assert isinstance(row.summary, Count)
        key = (row.metric, row.cohort, row.start_us)
        added[key] = added.get(key, Count()) + row.summary
    assert added == {(row.metric, row.cohort, row.start_us): row.summary for row in measured(table)}


def put(workspace: Workspace, start: int, summary: Summary, length: int = HOUR, cohort: str = "") -> None:
    workspace.windows.replace([WindowRow("cough", cohort, start, length, summary)])


def test_a_series_is_an_estimate_for_each_window_or_longer_ones(workspace: Workspace) -> None:
    metric = parse_metric("mean(cough)")
    for hour in range(4):
        put(workspace, hour * HOUR, Moments.of(pl.Series([hour, hour])))
    put(workspace, 0, Moments.of(pl.Series([9])), cohort="older")
    plain = series(workspace, "cough", metric)
    assert [(start // HOUR, estimate.value, estimate.n) for start, estimate in plain] == [
        (0, 0.0, 2),
        (1, 1.0, 2),
        (2, 2.0, 2),
        (3, 3.0, 2),
    ]
    longer = series(workspace, "cough", metric, length_us=2 * HOUR)
    assert [(start // HOUR, estimate.value, estimate.n) for start, estimate in longer] == [(0, 0.5, 4), (2, 2.5, 4)]
    assert [start for start, _ in series(workspace, "cough", metric, since_us=HOUR, until_us=3 * HOUR)] == [
        HOUR,
        2 * HOUR,
    ]
    assert [estimate.value for _, estimate in series(workspace, "cough", metric, "older")] == [9.0]


def test_windows_of_another_length_or_another_meaning_are_passed_over(workspace: Workspace) -> None:
    metric = parse_metric("mean(cough)")
    put(workspace, 0, Moments.of(pl.Series([1])), length=3 * HOUR)
    put(workspace, 0, Count(1, 1, 1, 1))
    put(workspace, HOUR, Moments.of(pl.Series([5])))
    assert [estimate.value for _, estimate in series(workspace, "cough", metric)] == [5.0]
    assert series(workspace, "nothing", metric) == []


def test_the_last_windows_of_many_metrics_come_in_one_read(workspace: Workspace) -> None:
    rows = [WindowRow(name, "", hour * HOUR, HOUR, Count(hour, 0, hour, hour)) for name in "ab" for hour in range(9)]
    rows += [
        WindowRow("a", "", 8 * HOUR + HOUR // 2, HOUR // 2, Count(1, 0, 1, 1)),
        WindowRow("a", "x", 0, HOUR, Count()),
    ]
    workspace.windows.replace(rows)
    found = workspace.windows.tails(["a", "b", "c"], "", 2 * HOUR, HOUR, 3)
    assert {name: [row.start_us / HOUR for row in kept] for name, kept in found.items()} == {
        "a": [6, 7, 8, 8.5],
        "b": [6, 7, 8],
    }
    assert workspace.windows.newest("a") == 8.5 * HOUR and workspace.windows.newest("c") is None
    assert {row.metric for row in workspace.windows.read(["a", "b"], ["", "x"], length_us=HOUR)} == {"a", "b"}
    assert workspace.windows.read("a", "x")[0].start_us == 0 and workspace.windows.read([], "") == []
