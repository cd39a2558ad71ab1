"""``andon automate`` without a level: what evidence says of each slice, on a real workspace, in words and as JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from tests.monitor.ladder_rig import CHARTER, Climbing, charter
from typer.testing import CliRunner

from andon.config import open_project
from andon.core.clock import HOUR
from andon.errors import NotFound, UsageError
from andon.surface.cli import deploy
from andon.surface.status import line_status
from andon.surface.view.journal_words import ACTIONS, href_of, told


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Climbing]:
    """v1 live at level shadow for those who are older, full for all others, since three hours."""
    (tmp_path / "andon.yaml").write_text(
        CHARTER % ("external", "full", "shadow", "", "review: {reviewers_per_hour: 5000}")
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "240")
    rules = charter(older="shadow", more="review: {reviewers_per_hour: 5000}")
    made = Climbing(tmp_path / ".andon", rules, now=time.time_ns() // 1000 - 3 * HOUR)
    yield made
    made.close()


def call(*words: str) -> str:
    app = typer.Typer()
    deploy.register(app)
    result = CliRunner().invoke(app, ["automate", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return str(result.output)


def test_what_each_slice_has_earned(line: Climbing) -> None:
    line.come(1500)
    line.climb.turn()
    said = call()
    older, rest = (next(row for row in said.splitlines() if row.startswith(name)) for name in ("older ", "all others "))
    assert older.split()[1:3] == ["shadow", "assist"] and "would be from" in older and "of 100 % allowed" in older
    assert rest.split()[2:4] == ["full", "-"] and "at most 2 %" in rest and "every answer" in rest
    assert "Do it with: andon automate assist --slice older" in said
    found: Any = json.loads(call("--json"))
    assert (found["promote"], found["highest"], len(found["path"])) == ("suggest", "partial", 5)
    rungs = {rung["slice"]: rung for rung in found["rungs"]}
    assert list(rungs) == ["older", "*"]
    assert rungs["older"]["kind"] == "promote" and rungs["older"]["model_error"]["n"] > 300
    assert rungs["*"]["error"]["n"] > 100 and rungs["*"]["error"]["high"] < 0.1
    only = json.loads(call("--slice", "older", "--json"))["rungs"]
    assert [rung["slice"] for rung in only] == ["older"]
    status = line_status(open_project())
    need = next(one for one in status.needs if one.kind == "automation")
    assert (need.what, need.detail, need.command) == (
        "automation could go up in 1 slice",
        "older to assist",
        "andon automate",
    )


def test_a_breach_is_shown_counted_and_told(line: Climbing) -> None:
    line.wrong["*"] = 1.0
    line.come(1500)
    assert "the controller lowers it to" in call()
    line.climb.turn()
    event = line.workspace.journal.latest(1, action="automation.demote")[0]
    sentence = told(event)
    assert sentence.startswith("automation goes down in all cases that no slice matches of v1 from full to ")
    assert href_of(event) == "/automation"
    assert {"automation.demote", "automation.promote", "automation.failed"} <= set(ACTIONS)
    assert "andon automate" in [one.command for one in line_status(open_project()).needs] or line.level() != "full"


def test_what_makes_no_sense_is_a_sentence(line: Climbing) -> None:
    with pytest.raises(UsageError, match="nothing changes without a level"):
        call("--reason", "because")
    with pytest.raises(NotFound, match="no slice with a level of its own is called 'odler'; there are: older, \\*"):
        call("--slice", "odler")
    assert "assist in older" in call("assist", "--slice", "older", "--actor", "ann")


@pytest.mark.parametrize(
    ("truth", "heading"), [("external", "wrong of the automatic"), ("human", "automatic that differ from people")]
)
def test_what_an_error_is_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, truth: str, heading: str) -> None:
    (tmp_path / "andon.yaml").write_text(CHARTER % (truth, "full", "shadow", "", ""))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "240")
    made = Climbing(tmp_path / ".andon", charter(truth, older="shadow"))
    try:
        assert heading in call()
    finally:
        made.close()


def test_a_line_that_has_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "andon.yaml").write_text(CHARTER % ("external", "full", "shadow", "", ""))
    monkeypatch.chdir(tmp_path)
    assert "Nothing has been deployed yet" in call()
    assert json.loads(call("--json"))["rungs"] == []
