"""`monitor`, `alarms` and `feedback`, as a person or a program calls them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from andon.config import open_workspace
from andon.core.clock import HOUR
from andon.errors import AndonError, NotFound, UsageError
from andon.measure.summary import Confusion, Count
from andon.monitor.watch import AlarmWatch
from andon.scope.charter import load
from andon.store.windows import WindowRow
from andon.store.workspace import Workspace
from andon.surface.cli import monitor

CHARTER = """
project: demo
inputs: {age: int?, region: category}
target: {name: result, classes: [no, yes], delay: 2h}
safe_default: refer
metrics:
  nulls: {of: null_outputs, alarm: "<= 0.1"}
  error: {of: error_rate, where: "decided_by = 'model'", goal: "<= 0.2", alarm: "<= 0.1", then: people, for_windows: 2}
  age: {of: "mean(age)"}
slices: {north: "region = 'North'"}
monitor: {window: 1h}
"""


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    (tmp_path / "andon.yaml").write_text(CHARTER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def workspace(home: Path) -> Iterator[Workspace]:
    made = open_workspace(home)
    made.clock.set(time_us=10 * HOUR, rate=0.0)
    tenth = Confusion(("no", "yes"), ((90.0, 10.0, 0.0), (0.0, 0.0, 0.0)), 100, 100.0, 100.0)
    made.windows.replace(
        [
            WindowRow("nulls", "", 7 * HOUR, HOUR, Count(100, 50, 100, 100)),
            WindowRow("nulls", "north", 7 * HOUR, HOUR, Count(10, 0, 10, 10)),
            WindowRow("error", "", 6 * HOUR, HOUR, tenth),
            WindowRow("error", "", 9 * HOUR, HOUR, tenth),
        ]
    )
    AlarmWatch(made, load(home / "andon.yaml")).look()
    yield made
    made.close()


def out(*words: str, code: int = 0) -> str:
    app = typer.Typer()
    monitor.register(app)
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


def test_show_as_json(workspace: Workspace) -> None:
    body = json.loads(out("monitor", "show", "--json"))
    found = {view["name"]: view for view in body["metrics"]}
    assert list(found)[:3] == ["nulls", "error", "age"] and "throughput_per_s" in found
    nulls, error, age = (found[name] for name in ("nulls", "error", "age"))
    assert (nulls["current"]["value"], nulls["phase"], nulls["verdict"], nulls["group"]) == (
        0.5,
        "firing",
        "fail",
        "output",
    )
    assert (nulls["start_us"], nulls["alarm"]) == (7 * HOUR, "<= 0.1")
    assert [point["mature"] for point in error["points"]] == [True, False] and error["start_us"] == 6 * HOUR
    assert age["current"]["value"] is None and age["current"]["reason"] == "nothing was measured yet"


def test_show_for_people(workspace: Workspace) -> None:
    text = out("monitor", "show")
    assert "nulls" in text and "firing" in text and "0.404 to 0.596" in text and "performance" in text
    assert "error" not in out("monitor", "show", "nulls")


def test_show_a_slice(workspace: Workspace) -> None:
    (view,) = json.loads(out("monitor", "show", "nulls", "--slice", "north", "--json"))["metrics"]
    assert (view["current"]["n"], view["phase"]) == (10, None)
    with pytest.raises(NotFound, match="did you mean 'north'"):
        out("monitor", "show", "--slice", "nort")
    with pytest.raises(NotFound, match="did you mean 'nulls'"):
        out("monitor", "show", "null")


def test_only_so_many_windows(workspace: Workspace) -> None:
    (view,) = json.loads(out("monitor", "show", "error", "-n", "1", "--json"))["metrics"]
    assert [point["start_us"] for point in view["points"]] == [9 * HOUR]


def test_metrics_explains_the_charter(home: Path) -> None:
    rows = {row["name"]: row for row in json.loads(out("monitor", "metrics", "--json"))["metrics"]}
    assert rows["error"] == {
        "name": "error", "of": "error_rate", "where": "decided_by = 'model'", "group": "performance", "unit": "share",
        "direction": "down", "needs": ["label", "prediction"], "goal": "<= 0.2", "alarm": "<= 0.1", "for_windows": 2,
        "then": "people", "critical": False,
    }  # fmt: skip
    text = out("monitor", "metrics")
    assert "mean(age)" in text and "(2 windows)" in text and not (home / ".andon").exists()


def test_alarms_are_listed_and_acknowledged(workspace: Workspace) -> None:
    (alarm,) = json.loads(out("alarms", "list", "--json"))["alarms"]
    assert (alarm["key"], alarm["phase"], alarm["result"]["verdict"]) == ("nulls", "firing", "fail")
    assert {one["key"] for one in json.loads(out("alarms", "list", "--all", "--json"))["alarms"]} == {"nulls", "error"}
    assert "firing" in out("alarms", "list")
    told = out("alarms", "ack", "nulls", "--actor", "ann", "--reason", "camera is being cleaned")
    assert "ann has seen it" in told and "seen by ann" in out("alarms", "list")
    assert json.loads(out("alarms", "ack", "nulls", "--json"))["note"] == ""
    assert [event.action for event in workspace.journal.read()] == ["alarm.acknowledged"] * 2
    with pytest.raises(AndonError, match="no alarm is called"):
        out("alarms", "ack", "other")


def test_alarms_are_silenced_for_a_while(workspace: Workspace) -> None:
    assert "silent until" in out("alarms", "silence", "nulls", "--for", "1d", "--reason", "cleaning")
    assert json.loads(out("alarms", "list", "--json"))["alarms"][0]["silenced_until"] == "1970-01-02T10:00:00Z"
    assert json.loads(out("alarms", "silence", "nulls", "--for", "0", "--json"))["silenced_until"] is None
    assert [event.action for event in workspace.journal.read()] == ["alarm.silenced"] * 2
    for wrong in ("a while", "31d"):
        with pytest.raises(AndonError):
            out("alarms", "silence", "nulls", "--for", wrong)


def test_no_alarm_is_said(home: Path) -> None:
    assert json.loads(out("alarms", "list", "--json")) == {"alarms": []}
    out("alarms", "list")


def test_feedback_is_imported(workspace: Workspace, home: Path) -> None:
    (home / "labels.csv").write_text("case,result\na1,yes\na2,no\n")
    words = ["feedback", "import", "labels.csv", "--kind", "label", "--column", "id=case", "--column", "value=result"]
    assert "2 rows of feedback recorded" in out(*words, "--actor", "ann")
    event = workspace.journal.read()[-1]
    assert (event.action, event.subject, event.evidence) == (
        "feedback.import",
        "labels.csv",
        {"recorded": 2, "rejected": 0},
    )
    with pytest.raises(UsageError, match="--column"):
        out("feedback", "import", "labels.csv", "--column", "case")


def test_bad_rows_of_feedback_are_told(workspace: Workspace, home: Path) -> None:
    (home / "labels.csv").write_text("id,kind,value\na1,label,maybe\na2,label,no\n")
    body = json.loads(out("feedback", "import", "labels.csv", "--json", code=4))
    assert (body["recorded"], body["rejected"], body["rejects"][0]["row"]) == (1, 1, 1)
    assert "1 rows of feedback recorded, 1 left out" in out("feedback", "import", "labels.csv", code=4)
