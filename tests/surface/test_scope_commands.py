"""`init`, `check`, `scope show` and `scope risks`, as a person or a program calls them."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from andon.errors import CharterError, Conflict, NotFound, UsageError
from andon.surface.cli import scope


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> CliRunner:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return CliRunner()


def app() -> typer.Typer:
    app = typer.Typer()
    scope.register(app)
    return app


def out(run: CliRunner, *words: str, code: int = 0) -> str:
    result = run.invoke(app(), list(words), catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


def test_a_new_project_is_sound(run: CliRunner, tmp_path: Path) -> None:
    assert "wrote shop/andon.yaml" in out(run, "init", "shop")
    found = json.loads(out(run, "check", "-C", "shop", "--json"))
    assert found["ok"]
    assert found["doubts"] == found["recorded_only"] == found["risks_without_metric"] == []
    assert {"key": "owner", "asks": "Who answers for it?"} in found["unanswered"]
    assert "andon.yaml is sound" in out(run, "check", "-C", "shop")


def test_a_project_begins_with_the_data(run: CliRunner, tmp_path: Path) -> None:
    pl.DataFrame({"size": [1.5, 2.5], "place": ["a", None], "good": ["yes", "no"]}).write_csv(tmp_path / "d.csv")
    out(run, "init", "line", "--data", "d.csv", "--target", "good", "--json")
    shown = json.loads(out(run, "scope", "show", "-C", "line", "--json"))
    assert shown["inputs"] == {"size": "float", "place": "category?"}
    assert shown["target"]["classes"] == ["no", "yes"]


def test_nothing_is_overwritten_and_nothing_half_written(run: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("mine")
    with pytest.raises(Conflict, match="is there already; nothing was written"):
        out(run, "init")
    assert (tmp_path / "model.py").read_text() == "mine"
    assert not (tmp_path / "andon.yaml").exists()


def test_half_an_order_is_refused(run: CliRunner) -> None:
    with pytest.raises(UsageError, match="belong together"):
        out(run, "init", "--target", "y")


@pytest.mark.parametrize(
    ("folder", "name"), [("My Line!", "My_Line_"), ("2nd", "line_2nd"), ("é", "line"), ("x" * 99, "x" * 64)]
)
def test_any_folder_gives_a_name(run: CliRunner, folder: str, name: str) -> None:
    assert json.loads(out(run, "init", folder, "--json"))["project"] == name


def test_no_project_says_what_to_do(run: CliRunner) -> None:
    with pytest.raises(NotFound, match=r"no andon\.yaml"):
        out(run, "check")


def test_faults_are_listed_for_people_and_for_programs(run: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "andon.yaml").write_text("project: 1\nx: 2\n")
    with pytest.raises(CharterError):
        out(run, "check")
    found = json.loads(out(run, "check", "--json", code=2))
    assert not found["ok"]
    assert found["faults"][0] == "line 1, inputs: this key is required"
    assert len(found["faults"]) == 5


@pytest.mark.parametrize(
    ("model", "doubt"),
    [
        (None, "there is none yet"),
        ("def train(:", "Python cannot read it (line 1)"),
        ("x = 1", "it has no function train(data, params)"),
    ],
)
def test_model_code_is_looked_at_but_not_run(run: CliRunner, tmp_path: Path, model: str | None, doubt: str) -> None:
    out(run, "init")
    (tmp_path / "model.py").unlink() if model is None else (tmp_path / "model.py").write_text(model)
    assert doubt in json.loads(out(run, "check", "--json"))["doubts"][0]


CHARTER = """
project: line
inputs: {a: float}
target: {name: y, classes: [good, bad]}
safe_default: refer
checklist: {mode: batch}
metrics:
  up: {of: accuracy, goal: "<= 0.5", critical: true}
  down: {of: error_rate, alarm: ">= 0.5"}
  plain: {of: mean(a), critical: true, then: people}
risks: [{what: "fraud [x]"}, {what: drift, shows_in: [plain]}]
"""


def test_what_is_odd_is_said(run: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "andon.yaml").write_text(CHARTER)
    (tmp_path / "model.py").write_text("def train(data, params): ...")
    found = json.loads(out(run, "check", "--json"))
    assert found["doubts"] == [
        "metrics.up.goal: more is better here, but <= 0.5 only bounds it from above",
        "metrics.down.alarm: less is better here, but >= 0.5 only bounds it from below",
        "metrics.plain: it is critical but has no goal to meet",
        "metrics.plain: it says what a firing alarm does but has no alarm",
    ]
    assert found["recorded_only"] == ["checklist.mode: 'batch' is recorded; nothing acts on it yet"]
    assert found["risks_without_metric"] == ["fraud [x]"]
    assert found["risks_without_alarm"] == ["drift"]
    assert found["metrics_without_risk"] == ["up", "down"]
    shown = out(run, "check")
    assert "fraud [x]" in shown
    assert "Risks that no metric shows" in shown


def test_risks_are_a_table(run: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "andon.yaml").write_text(CHARTER)
    shown = out(run, "scope", "risks")
    assert "fraud [x]" in shown
    assert "no metric" in shown
    found = json.loads(out(run, "scope", "risks", "--json"))
    assert found["risks"][1] == {
        "what": "drift",
        "shows_in": ["plain"],
        "rings": [],
        "state": "seen, but nothing rings",
    }


def test_the_charter_is_shown_with_its_defaults(run: CliRunner, tmp_path: Path) -> None:
    (tmp_path / "andon.yaml").write_text(CHARTER)
    shown = out(run, "scope", "show")
    assert "review.deadline" in shown
    assert "1h" in shown
    assert "checklist.mode" in shown


def test_the_schema_needs_no_project(run: CliRunner) -> None:
    assert json.loads(out(run, "check", "--schema"))["title"] == "Andon charter (andon.yaml)"


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ('alarms: {notify: ["javascript:alert(1)"]}', "apprise does not understand the javascript:// address"),
        (
            'alarms: {notify: ["https://example.org/hook"]}\nchecklist: {privacy: {stays: device}}',
            "https://example.org is not on this device, but privacy.stays is 'device'",
        ),
        (
            "checklist: {logging: {events: 'https://events.example.org/in?token=hush'}}",
            "https://events.example.org is not known to be inside, but privacy.stays is 'organisation'",
        ),
        (
            "checklist: {logging: {events: 'http://10.0.0.7/'}, privacy: {stays: device}}",
            "no event may leave this device, since privacy.stays is 'device'",
        ),
    ],
)
def test_an_address_that_the_controller_would_refuse_is_told_by_check(
    run: CliRunner, tmp_path: Path, more: str, says: str
) -> None:
    (tmp_path / "andon.yaml").write_text(
        "project: x\ninputs: {a: float}\ntarget: {name: y, classes: [a, b]}\nsafe_default: z\n" + more
    )
    with pytest.raises(CharterError) as raised:
        out(run, "check")
    assert says in raised.value.faults[0]
    (fault,) = json.loads(out(run, "check", "--json", code=2))["faults"]
    assert fault == raised.value.faults[0]
