"""`andon status`: five stations, what needs a person, who decides, whether the line runs; whatever is missing is said."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from andon.config import Project, open_project
from andon.core.clock import HOUR, MINUTE, iso
from andon.core.record import Item
from andon.deploy.crew import process_began
from andon.deploy.line import Line
from andon.deploy.meter import Meter
from andon.measure.estimate import Estimate, wilson
from andon.measure.gate import Bound
from andon.measure.summary import Count, Moments
from andon.monitor.holder import holder_name
from andon.monitor.report import Report, Trouble
from andon.monitor.report import leave as leave_report
from andon.monitor.watch import AlarmWatch, acknowledge_alarm
from andon.store.routes import Ack
from andon.store.windows import WindowRow
from andon.surface.cli import data, model, start
from andon.surface.head import head_of
from andon.surface.running import Listening, forget, leave, listening
from andon.surface.station import figure_text
from andon.surface.stations import rows_to_settle
from andon.surface.status import LineStatus, line_status, show

CHARTER = """
project: parts
inputs: {width: float, scratches: int}
target: {name: verdict, classes: [accept, reject]}
safe_default: refer
metrics:
  error: {of: error_rate, goal: "<= 0.2"}
  nulls: {of: null_outputs, alarm: "<= 0.1"}
risks: [{what: it is wrong, shows_in: [error]}]
automation: {level: full}
monitor: {window: 1h}
"""
MODEL = """
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

def train(data, params):
    return make_pipeline(StandardScaler(), LogisticRegression()).fit(data.x, data.y)
"""
NAMES = ["Scope", "Data", "Model", "Deploy", "Watch"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    (tmp_path / "andon.yaml").write_text(CHARTER)
    (tmp_path / "model.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    made = open_project(tmp_path)
    yield made
    made.workspace.close()


def told(status: LineStatus, width: int) -> str:
    out = io.StringIO()
    show(status, Console(file=out, width=width, force_terminal=False))
    return out.getvalue()


def states(status: LineStatus) -> dict[str, str]:
    return {station.name: station.state for station in status.stations}


def andon(*words: str) -> Any:
    app = typer.Typer()
    for group in (start, data, model):
        group.register(app)
    result = CliRunner().invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def release(project: Project) -> None:
    """Data, a run and a release of a project."""
    draw = np.random.default_rng(2)
    width, scratches = draw.normal(10, 1, 400), draw.integers(0, 4, 400)
    labels = np.where(width + scratches + draw.normal(0, 0.3, 400) > 11.5, "reject", "accept")
    pl.DataFrame({"width": width, "scratches": scratches, "verdict": labels}).write_csv(project.root / "parts.csv")
    andon("data", "add", "parts.csv")
    andon("train")
    andon("release", "r1")


def worker(project: Project, epoch: int, name: str = "w0", **more: Any) -> None:
    project.workspace.routes.acknowledge(name, Ack(name, os.getpid(), epoch, **more))


def ring(project: Project, bad: int = 50) -> None:
    """An alarm that judged one window."""
    workspace = project.workspace
    workspace.clock.set(time_us=10 * HOUR, rate=0.0)
    workspace.windows.replace([WindowRow("nulls", "", 8 * HOUR, HOUR, Count(100, bad, 100, 100))])
    AlarmWatch(workspace, project.charter).look()


def test_an_empty_project_says_how_to_begin(project: Project) -> None:
    status = line_status(project)
    assert states(status) == {"Scope": "look", "Data": "idle", "Model": "idle", "Deploy": "idle", "Watch": "idle"}
    assert [station.name for station in status.stations] == NAMES
    assert all(station.next for station in status.stations)
    assert status.running.state == "idle" and status.sentence == "the line is not running"
    text = told(status, 80)
    for word in ("andon data add FILE", "andon train", "andon release RUN", "andon up", "nothing yet", "andon check"):
        assert word in text


def test_a_release_and_then_its_route_are_followed(project: Project) -> None:
    release(project)
    status = line_status(project)
    assert states(status)["Data"] == "good" and states(status)["Model"] == "good"
    found = status.stations[2]
    assert found.metric == "error" and found.goal == "<= 0.2" and found.figure is not None and found.figure.n == 80
    assert found.headline.startswith("v1: error") and "goal <= 20 %: met" in found.detail
    assert status.stations[3].next == "`andon deploy canary v1`"  # a new ability begins with a canary
    Line(project.workspace, project.charter).switch("v1", actor="ann", reason="it is good")
    status = line_status(project)
    assert status.stations[3].state == "idle" and status.stations[3].next == "`andon up` lets it answer"
    head = head_of(project)
    assert (head.state, head.why) == ("idle", "the line is not running"), "no lamp is green for a line that stands"
    worker(project, 9)
    status = line_status(project)
    assert status.stations[3].state == "good" and status.sentence == "v1 decides"
    assert status.deciding.live == "v1" and status.deciding.reason == "it is good"
    assert [level.sentence for level in status.deciding.levels] == ["v1 decides"]


def test_a_run_that_is_not_good_enough_is_looked_at(project: Project) -> None:
    release(project)
    (project.root / "andon.yaml").write_text(CHARTER.replace("<= 0.2", "<= 0.0001"))
    found = line_status(open_project(project.root)).stations[2]
    assert found.state == "look" and "andon errors r1" in found.next


def test_alarms_ring_until_somebody_has_seen_them(project: Project) -> None:
    ring(project)
    status = line_status(project)
    watch = status.stations[4]
    assert watch.state == status.state == "stop"
    assert watch.headline == "nulls 50 % (40.4 to 59.6 %, n 100)" and watch.detail.startswith(
        "bound <= 10 %; firing since"
    )
    assert [need.command for need in status.needs if need.kind == "alarm"] == ["andon alarms ack nulls"]
    (said,) = (need.detail for need in status.needs if need.kind == "alarm")
    assert said == "nulls is 50 % (40.4 to 59.6 %, n 100): outside ≤ 10 %"
    assert "1 alarm firing" in status.sentence
    acknowledge_alarm(project.workspace, "nulls", "ann")
    status = line_status(project)
    assert status.stations[4].state == "look" and "seen by ann" in status.stations[4].detail
    assert not [need for need in status.needs if need.kind == "alarm"]


def test_a_quiet_watch_is_good_and_shows_its_trend(project: Project) -> None:
    ring(project, bad=1)
    watch = line_status(project).stations[4]
    assert watch.state == "good" and watch.detail == "1 alarm, none rings" and watch.trend == (0.01,)


def test_the_mean_of_a_yes_or_no_input_is_shown_as_a_share(project: Project) -> None:
    workspace = project.workspace
    workspace.clock.set(time_us=10 * HOUR, rate=0.0)
    (project.root / "andon.yaml").write_text(
        CHARTER.replace("width: float", "worn: bool").replace("of: null_outputs", 'of: "mean(worn)"')
    )
    worn = Moments.of(pl.Series([True] * 20 + [False] * 80))
    workspace.windows.replace([WindowRow("nulls", "", 8 * HOUR, HOUR, worn)])
    again = open_project(project.root)
    AlarmWatch(workspace, again.charter).look()
    watch = line_status(again).stations[4]
    assert watch.headline.startswith("nulls 20 % (13.3 to 28.9 %") and "bound <= 10 %" in watch.detail
    again.workspace.close()


def test_waiting_cases_say_how_old_and_when_due(project: Project) -> None:
    clock = project.workspace.clock
    clock.set(time_us=10 * HOUR, rate=0.0)
    items = [
        Item(id=str(n), kind="decision", created_us=10 * HOUR - (22 + n) * MINUTE, due_us=10 * HOUR + (38 - n) * MINUTE, x={})
        for n in range(3)
    ]  # fmt: skip
    project.workspace.items.add(items)
    (need,) = [need for need in line_status(project).needs if need.kind == "review"]
    assert (need.what, need.detail, need.n) == ("3 cases to decide", "the first came 24 min ago, due in 36 min", 3)
    more = [msgspec.structs.replace(items[0], id=f"s{kind}", kind=kind) for kind in ("second", "audit")]
    project.workspace.items.add(more)
    status = line_status(project)
    (need,) = [need for need in status.needs if need.kind == "review"]
    assert (need.what, need.n) == ("3 cases to decide, 2 answered cases to look at again", 3)
    assert "3 cases waiting for a person" in status.sentence
    clock.set(time_us=11 * HOUR, rate=0.0)
    (need,) = [need for need in line_status(project).needs if need.kind == "review"]
    assert need.state == "look" and "overdue by 24 min" in need.detail


def test_a_stopped_line_says_who_and_why(project: Project) -> None:
    release(project)
    line = Line(project.workspace, project.charter)
    line.switch("v1", actor="ann")
    line.stop(actor="bob", reason="smoke on camera 2")
    worker(project, 9)
    status = line_status(project)
    assert status.stations[3].state == "stop" and status.sentence.startswith("the line is stopped")
    assert "bob" in told(status, 80) and "smoke on camera 2" in told(status, 80)


def test_running_is_judged_by_the_gravest_thing(project: Project) -> None:
    run_dir = project.workspace.run_dir
    note = Listening(holder_name(), "127.0.0.1", 8765, 2)
    leave(run_dir, note)
    assert listening(run_dir) == note
    assert line_status(project).running.state == "stop"  # up, but nobody answers
    worker(project, 1)
    assert line_status(project).running.sentence == "only 1 of 2 workers at http://127.0.0.1:8765"
    worker(project, 1, "w1")
    assert "no controller leads" in line_status(project).running.sentence
    project.workspace.leases.acquire("controller", holder_name(), 60)
    found = line_status(project).running
    assert (found.state, found.sentence) == ("good", "2 workers at http://127.0.0.1:8765; the controller leads")
    (run_dir / "meter-w0.json").write_bytes(
        msgspec.json.encode(Meter(shadow_offered=200, shadow_dropped=3, log_failures=2))
    )
    found = line_status(project).running
    assert found.state == "look" and found.shadow_dropped == 3 and "2 frames the log could not take" in found.sentence
    assert "3 rows (1.5% of those offered)" in told(line_status(project), 80)
    forget(run_dir)
    assert listening(run_dir) is None
    leave(run_dir, Listening(holder_name().replace(f"-{os.getpid()}-", "-1-"), "127.0.0.1", 8765, 2))
    assert listening(run_dir) is None  # left behind by a process that is gone


def test_a_controller_that_is_gone_is_silent_since_its_last_sign_of_life(project: Project) -> None:
    leases = project.workspace.leases
    worker(project, 1)
    worker(project, 1, "w1")
    assert "no controller leads: answers go on" in line_status(project).running.sentence
    dead = holder_name().replace(f"-{os.getpid()}-", "-1-")
    term = leases.acquire("controller", dead, 60)
    found = line_status(project).running
    assert found.controller == "none" and 0 <= found.controller_silent < 30
    assert "the controller is silent for" in found.sentence and found.state == "look"
    leases.release("controller", dead, term)
    assert leases.seen("controller") is None and line_status(project).running.controller_silent == 0


def test_a_controller_that_leads_and_does_not_act_or_cannot_is_told(project: Project) -> None:
    me, wall, run_dir = holder_name(), project.clock.wall(), project.workspace.run_dir
    worker(project, 1)
    worker(project, 1, "w1")
    term = project.workspace.leases.acquire("controller", me, 60)
    assert term == 1

    def found(**more: Any) -> tuple[str, str, str]:
        leave_report(run_dir, Report(**{"holder": me, "term": 1, "acted_us": wall, "seen_us": wall, **more}))
        runs = line_status(project).running
        return runs.state, runs.sentence.partition("; ")[2], runs.controller

    assert found() == ("good", "the controller leads", "leads")
    state, said, _ = found(acted_us=wall - 40_000_000)
    assert (state, said.partition(" UTC")[0]) == (
        "look",
        f"the controller has not acted since {iso(wall - 40_000_000)[11:19]}",
    )
    assert said.endswith(" s): answers go on, nothing is watched")
    state, said, _ = found(acted_us=wall - 90_000_000, waiting="the database is locked")
    assert said.endswith("(1 min): answers go on, nothing is watched; it waits: the database is locked")
    troubles = (Trouble("log", "what the gateway writes is not taken in: no space", wall), Trouble("alarms", "b", wall))
    state, said, _ = found(troubles=troubles)
    assert (state, said.partition(" UTC ")[2]) == (
        "look",
        "what the gateway writes is not taken in: no space, and 1 more",
    )
    assert "the controller, since" in told(line_status(project), 100)
    assert found(holder="another")[1] == "the controller leads", "of who led before nothing is said"
    project.workspace.leases.release("controller", me, term)
    leave_report(run_dir, Report(me.replace(f"-{os.getpid()}-", "-1-"), 1, wall - 40_000_000, wall - 40_000_000))
    assert "no controller leads: answers go on" in line_status(project).running.sentence
    project.workspace.close()
    (project.workspace.home / "andon.db").rename(project.workspace.home / "elsewhere.db")
    again = open_project(project.root)
    runs = line_status(again).running
    assert runs.controller == "none" and "the controller is silent since" in runs.sentence
    assert "nothing is watched" in runs.sentence
    again.workspace.close()


def test_a_worker_that_hangs_or_whose_process_id_is_another_program_now(project: Project) -> None:
    wall = project.clock.wall()
    worker(project, 1, wall_us=wall - 30_000_000)
    assert "w0 gave no sign of life for 10 s" in line_status(project).running.sentence
    worker(project, 1, wall_us=wall, began=process_began(os.getpid()))
    assert "no sign of life" not in line_status(project).running.sentence
    worker(project, 1, wall_us=wall, began=process_began(os.getpid()) + 1)
    assert line_status(project).running.workers == ()


def test_what_workers_cannot_load_and_damage_to_the_log_are_said(project: Project) -> None:
    release(project)
    Line(project.workspace, project.charter).switch("v1", actor="ann")
    worker(project, 9, faults={"v1": "v1 is not as it was sealed"})
    project.workspace.journal.append("log.gap", "stream w0 at 7", "controller", "lost", {"rows": 12})
    status = line_status(project)
    assert status.stations[3].state == "look" and status.stations[3].next == "v1 is not as it was sealed"
    assert (status.running.gaps, status.running.lost_rows) == (1, 12)
    assert "12 rows lost" in told(status, 80)


def test_with_the_database_gone_it_shows_what_the_files_know(project: Project) -> None:
    release(project)
    Line(project.workspace, project.charter).switch("v1", actor="ann", reason="it is good")
    worker(project, 9)
    project.workspace.close()
    (project.workspace.home / "andon.db").rename(project.workspace.home / "elsewhere.db")
    again = open_project(project.root)
    status = line_status(again)
    assert states(status) == {"Scope": "look", "Data": "look", "Model": "look", "Deploy": "good", "Watch": "look"}
    assert status.trouble is not None and "andon.db" in status.trouble
    assert status.deciding.live == "v1" and status.running.controller == "unknown"
    assert status.needs[0].kind == "database"
    assert "is unavailable" in told(status, 80) and "it is good" in told(status, 80)
    again.workspace.close()


@pytest.mark.parametrize("width", [60, 80, 119, 120, 160, 250])
def test_it_fits_any_terminal_and_reads_without_colour(project: Project, width: int) -> None:
    ring(project)
    text = told(line_status(project), width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    for shape_and_word in ("■ stop", "▲ look", "○ idle"):
        assert shape_and_word in text
    for name in NAMES:
        assert name.lower() in text.lower()


def test_the_command_prints_the_json_twin(project: Project) -> None:
    body = json.loads(andon("status", "--json"))
    assert [station["name"] for station in body["stations"]] == NAMES
    assert {"project", "state", "needs", "deciding", "running", "journal", "now_us"} <= body.keys()
    assert msgspec.convert(body, LineStatus) == msgspec.convert(
        msgspec.to_builtins(msgspec.convert(body, LineStatus)), LineStatus
    )
    assert "Needs you" in andon("status")


@given(st.integers(0, 10**6), st.integers(1, 10**6), st.sampled_from(["share", "ms", "per second", "", "EUR"]))
def test_any_figure_is_one_short_line(k: int, n: int, unit: str) -> None:
    text = figure_text(wilson(min(k, n), n), unit)
    assert "\n" not in text and len(text) < 60 and "nan" not in text


@given(st.integers(1, 5000), st.integers(1, 5000))
def test_rows_to_settle_is_never_a_promise_without_rows(k: int, n: int) -> None:
    found = rows_to_settle(wilson(min(k, n), n), Bound.parse(">= 0.5"))
    assert found is None or found > 0
    assert rows_to_settle(Estimate(None, None, None, 0, "undefined", "no"), Bound.parse(">= 0.5")) is None
