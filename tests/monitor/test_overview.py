"""What there is to see of every metric: the last windows, and the last one that is over and mature."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from andon.core.clock import HOUR, ManualClock
from andon.measure.summary import Confusion, Count
from andon.monitor.overview import overview
from andon.monitor.window import WindowRow
from andon.scope.charter import parse
from andon.store.workspace import Workspace

CHARTER = parse("""
project: screening
inputs: {cough: bool?}
target: {name: result, classes: [negative, positive], delay: 40h}
safe_default: refer
metrics: {error: {of: error_rate}, nulls: {of: null_outputs}, never: {of: "mean(cough)"}}
monitor: {window: 1h}
""")
NOW = 1000 * HOUR


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    made = Workspace.create(tmp_path / ".andon")
    real = made.clock
    made.clock = ManualClock(NOW)  # type: ignore[assignment]
    yield made
    made.clock = real
    made.close()


def wrong(n: int) -> Confusion:
    return Confusion(("negative", "positive"), ((100.0 - n, float(n), 0.0), (0.0, 0.0, 0.0)), 100, 100.0, 100.0)


def test_the_last_mature_window_is_found_behind_those_whose_labels_still_come(workspace: Workspace) -> None:
    rows = [WindowRow("error", "", NOW - age * HOUR, HOUR, wrong(age)) for age in range(1, 60)]
    workspace.windows.replace([*rows, WindowRow("nulls", "", NOW - 2 * HOUR, HOUR, Count(10, 1, 10, 10))])
    views = {view.name: view for view in overview(workspace, CHARTER, windows=5)}
    error = views["error"]
    assert [point.mature for point in error.points] == [False] * 5
    assert error.start_us == NOW - 41 * HOUR and error.current.value == pytest.approx(0.41)
    assert views["nulls"].current.value == 0.1 and not views["never"].current.defined
    short = overview(workspace, CHARTER, only=["error"], windows=50)[0]
    assert sum(point.mature for point in short.points) == 10 and short.current == error.current


def test_a_metric_that_stood_still_is_read_from_where_it_ended(workspace: Workspace) -> None:
    workspace.windows.replace(
        [
            WindowRow("nulls", "", 10 * HOUR, HOUR, Count(10, 1, 10, 10)),
            WindowRow("error", "", 400 * HOUR, HOUR, wrong(7)),
            WindowRow("automatic_share", "", NOW - 2 * HOUR, HOUR, Count(10, 5, 10, 10)),
        ]
    )
    views = {view.name: view for view in overview(workspace, CHARTER, windows=5)}
    found = {name: views[name].current.value for name in ("nulls", "error", "automatic_share", "never")}
    assert found == {"nulls": 0.1, "error": 0.07, "automatic_share": 0.5, "never": None}
    assert list(views)[:3] == ["error", "nulls", "never"], "in the order of the charter"
