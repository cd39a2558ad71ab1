"""`deploy`, `automate` and `review`, as a person or a program calls them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from andon.config import open_workspace
from andon.core.record import Item
from andon.errors import Conflict, NotFound, UsageError
from andon.surface.cli import deploy, review, start

CHARTER = """
project: line
inputs: {a: float}
target: {name: y, classes: [good, bad]}
safe_default: refer
slices: {large: "a > 5"}
automation: {level: shadow}
"""


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    (tmp_path / "andon.yaml").write_text(CHARTER)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("LOGNAME", "maria")
    workspace = open_workspace()
    for version in ("v1", "v2", "v3"):
        workspace.records.put("release", version, {"version": version, "bundle": version * 16, "run": "r1"})
    workspace.close()
    return CliRunner()


def call(run: CliRunner, *words: str) -> Any:
    app = typer.Typer()
    deploy.register(app)
    review.register(app)
    start.register(app)
    result = run.invoke(app, list(words), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result


def out(run: CliRunner, *words: str) -> str:
    return str(call(run, *words).stdout)


def told(run: CliRunner, *words: str) -> Any:
    return json.loads(out(run, *words, "--json"))


def test_a_release_on_its_way_to_live_and_back(run: CliRunner) -> None:
    assert "Nothing has been deployed yet" in out(run, "deploy", "status")
    assert "Nothing has been deployed yet" in out(run, "deploy", "history")
    status = told(run, "deploy", "status")
    (way,) = status.pop("path")
    assert status == {"route": None, "rollout": None, "workers": []}
    assert (way["what"], way["next"]) == ("the first release", "andon deploy canary VERSION --auto")
    assert out(run, "deploy", "shadow", "v1") == "v1 runs in the shadow of people (route 2).\n"
    assert "v1 answers 10 % of the units, people the rest" in out(run, "deploy", "canary", "v1", "--share", "0.1")
    assert "v1 answers 30 % of the units" in out(run, "deploy", "ramp", "0.3", "--reason", "looks well")
    assert "v1 is live" in out(run, "deploy", "switch")
    assert "v2 stands by, loaded, beside v1" in out(run, "deploy", "blue-green", "v2")
    assert "v2 is live" in out(run, "deploy", "switch", "--actor", "tom", "--reason", "[bold]better[/bold]")
    assert "back to v1 at level shadow" in out(run, "deploy", "rollback")
    status = told(run, "deploy", "status")
    assert (status["route"]["live"], status["route"]["warm"], status["rollout"]) == ("v1", ["v2"], None)
    shown = out(run, "deploy", "history")
    assert "looks well" in shown and "[bold]better[/bold]" in shown and "tom" in shown and "maria" in shown
    routes = told(run, "deploy", "history", "-n", "3")["routes"]
    assert [route["action"] for route in routes] == ["rollback", "switch", "blue-green"]
    assert routes[0]["sentence"] == "back to v1 at level shadow"


def test_a_held_rollout_says_so_and_goes_on_when_told(run: CliRunner) -> None:
    out(run, "deploy", "switch", "v1")
    out(run, "deploy", "canary", "v2", "0.2")
    held = out(run, "deploy", "hold", "--reason", "wait for the weekend")
    assert "v2 stays at 20 % of the units until somebody resumes" in held
    assert "held until `andon deploy resume`" in out(run, "deploy", "status")
    found = told(run, "deploy", "status")
    assert found["route"]["held"] is True and found["rollout"]["held"] is True
    with pytest.raises(Conflict, match="v2 is held"):
        call(run, "deploy", "ramp", "0.5")
    assert "may go on from 20 % of the units" in out(run, "deploy", "resume")
    assert "v2 answers 50 % of the units" in out(run, "deploy", "ramp", "0.5")


def test_status_for_people(run: CliRunner) -> None:
    out(run, "deploy", "switch", "v1")
    out(run, "deploy", "canary", "v2", "0.2", "--actor", "tom")
    shown = out(run, "deploy", "status")
    assert "v2 with 20 % of the units" in shown and "by tom (canary, by hand)" in shown
    assert "none has reported" in shown


def test_automating_says_what_may_be_automatic(run: CliRunner) -> None:
    out(run, "deploy", "switch", "v1")
    assert "level of automation: shadow, full in large" in out(run, "automate", "full", "--slice", "large")
    found = call(run, "automate", "partial")
    assert "v1 decides nothing by itself yet" in found.stderr
    assert "partial: nothing is automatic yet" in out(run, "deploy", "status")
    acted = told(run, "automate", "assist", "--reason", "back a step")
    assert acted["route"]["levels"] == {"*": "assist", "large": "full"} and acted["journalled"] is True


def test_a_changeover_by_evidence_begins_and_explains_itself(run: CliRunner, tmp_path: Path) -> None:
    metrics = 'metrics: {errors: {of: error_responses, goal: "<= 0.2"}}\nrollout: {steps: [0.3]}\n'
    (tmp_path / "andon.yaml").write_text(CHARTER + metrics)
    call(run, "deploy", "switch", "v1")
    begun = call(run, "deploy", "blue-green", "v2", "--auto")
    assert begun.stdout == "The rollout v2#1 begins: shadow > blue-green > live.\n"
    found = told(run, "deploy", "explain")
    assert (found["path"]["stages"][0]["name"], found["path"]["stages"][0]["where"]) == ("shadow", "next")
    assert "v2: shadow next > blue-green > live" in out(run, "deploy", "explain")
    plan = told(run, "deploy", "blue-green", "v3", "--auto", "--steps", "0.1, 0.6")["rollout"]["plan"]
    assert (plan["steps"], plan["holdback"]) == ([0.1, 0.6], 0.05)
    assert told(run, "deploy", "blue-green", "v2", "--auto", "--gradual")["rollout"]["plan"]["steps"] == [0.3]
    for words, said in (
        (("--gradual",), "are for --auto"),
        (("--steps", "0.1"), "are for --auto"),
        (("--auto", "--steps", "a lot"), "expected shares such as 0.1,0.25,0.5, found 'a lot'"),
        (("--auto", "--steps", "0.5,0.1"), "expected shares that grow"),
    ):
        with pytest.raises(UsageError, match=said):
            call(run, "deploy", "blue-green", "v3", *words)
    with pytest.raises(UsageError, match="leave out the share"):
        call(run, "deploy", "canary", "v2", "0.1", "--auto")


@pytest.mark.parametrize(
    ("words", "error", "sentence"),
    [
        (["deploy", "ramp", "0.5"], UsageError, "no candidate to ramp"),
        (["deploy", "ramp"], UsageError, "ramp to which share"),
        (["deploy", "canary", "v11"], NotFound, "did you mean 'v1'"),
        (["deploy", "canary", "v1", "1.5"], UsageError, "share: expected a number above 0 and at most 1, found 1.5"),
        (["deploy", "switch"], UsageError, "nothing to switch to"),
        (["deploy", "rollback"], UsageError, "nothing to roll back to"),
        (["automate", "partial"], UsageError, "needs a release"),
        (["automate", "full", "--slice", "larg"], NotFound, "did you mean 'large'"),
        (["review", "decide", "nope", "good"], NotFound, "no review item"),
    ],
)
def test_nonsense_is_refused_in_one_sentence(run: CliRunner, words: list[str], error: Any, sentence: str) -> None:
    with pytest.raises(error, match=sentence) as caught:
        call(run, *words)
    assert "\n" not in caught.value.message


def ask(*ids: str, **fields: Any) -> None:
    workspace = open_workspace()
    now = workspace.clock.now()
    due = now + 3_600_000_000
    workspace.items.add(
        [Item(id, "decision", now, due, {"a": 1.5}, suggestion="good", confidence=0.7, **fields) for id in ids]
    )
    workspace.close()


def test_a_case_is_taken_blind_and_decided(run: CliRunner) -> None:
    assert "Nothing waits" in out(run, "review", "list") and "Nothing waits" in out(run, "review", "take")
    ask("c1", "c2")
    listed = out(run, "review", "list")
    assert "c1" in listed and "(blind)" in listed and "a 1.5" in listed and "good" not in listed
    taken = told(run, "review", "take", "1", "--reviewer", "tom")
    assert [item["id"] for item in taken["items"]] == ["c1"] and taken["answers"] == ["good", "bad", "refer"]
    with pytest.raises(Conflict, match="is with tom"):
        call(run, "review", "decide", "c1", "bad")
    found = call(run, "review", "decide", "c1", "bad", "--reviewer", "tom", "--simulated")
    assert "c1: bad, by tom" in found.stdout and "which you did not see, said good" in found.stderr
    assert "bad by tom (simulated)" in out(run, "review", "list", "--state", "decided")
    assert "Yours for 10 minutes" in call(run, "review", "take", "5").stderr
    assert "with maria" in out(run, "review", "list", "--state", "all")
    assert "is open again" in out(run, "review", "release", "c2")


def test_assisted_reviewers_see_the_suggestion(run: CliRunner) -> None:
    ask("c1", blind=False, level="assist")
    assert "good (0.70)" in out(run, "review", "list")


def test_the_commands_import_no_heavy_library() -> None:
    import subprocess
    import sys

    code = "import andon.surface.cli.deploy, andon.surface.cli.review, sys; sys.exit('polars' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_stop_and_start_say_the_same_as_every_action_with_the_database_gone_too(run: CliRunner) -> None:
    assert "(route 2)" in out(run, "stop", "--reason", "smoke on camera 2")
    assert told(run, "start")["route"]["epoch"] == 3
    database = Path(".andon/andon.db")
    for path in database.parent.glob("andon.db*"):
        path.rename(path.with_name("away-" + path.name))
    stopped = call(run, "stop", "--safe-default")
    assert "(route 4)" in stopped.stdout and "the journal follows" in stopped.stderr
    body = told(run, "start")
    assert body["route"]["epoch"] == 5 and body["journalled"] is False


def test_second_looks_and_adjudications_are_marked_and_told_of(run: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    charter = Path("andon.yaml")
    charter.write_text(charter.read_text() + "\nreview: {double_share: 1}\n")
    assert "0 cases decided by two" in out(run, "review", "people")
    ask("c1")
    call(run, "review", "decide", "c1", "bad", "--reviewer", "tom")
    listed = out(run, "review", "list")
    assert "second look" in listed and "c1" not in listed and "tom" not in listed and "bad" not in listed
    (item,) = told(run, "review", "list")["items"]
    assert item["kind"] == "second" and not {"of", "said", "suggestion"} & set(item)
    with pytest.raises(Conflict, match="another person"):
        call(run, "review", "decide", item["id"], "bad", "--reviewer", "tom")
    assert told(run, "review", "take", "--reviewer", "tom")["items"] == []
    call(run, "review", "decide", item["id"], "good", "--reviewer", "ann")
    listed = out(run, "review", "list")
    assert "adjudication" in listed and "two people differ (bad or good)" in listed and "ann" not in listed
    found = told(run, "review", "people")
    assert (found["team"]["n"], found["team"]["disagreed"], found["to_adjudicate"]) == (1, 1, 1)
    said = out(run, "review", "people")
    monkeypatch.setenv("COLUMNS", "80")
    (third,) = told(run, "review", "list")["items"]
    assert third["id"] in out(run, "review", "list"), "the whole id, however narrow it is"
    assert "1 case decided by two in 30 days, differing in 1" in said and "tom" in said and "ann" in said
