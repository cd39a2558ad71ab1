"""``andon data ...`` as people and programs use it: on a project folder, for the terminal and as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from andon.errors import NotFound, UsageError
from andon.surface.cli import data

CHARTER = """\
project: screening
problem: Decide who needs a second test.
phase: {phase}
case: automate
owner: ann
population: users
inputs: {{cough: bool?, age: int}}
target: {{name: result, classes: [negative, positive], truth: external}}
unit: {{from: request}}
safe_default: refer
metrics:
  error: {{of: error_rate, goal: "<= 0.5"}}
"""

app = typer.Typer()
data.register(app)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "andon.yaml").write_text(CHARTER.format(phase="poc"))
    rows = pl.DataFrame(
        {
            "cough": [True, False] * 50,
            "age": range(100),
            "result": ["positive"] * 30 + ["negative"] * 70,
            "day": "2020-03-11",
        }
    )
    rows.write_csv(tmp_path / "march.csv")
    rows.with_columns(result=pl.when(pl.col("age") == 99).then(pl.lit("positive")).otherwise("result")).write_parquet(
        tmp_path / "april.parquet"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*words: str) -> Any:
    result = CliRunner().invoke(app, ["data", *words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout) if "--json" in words else result.output


def test_from_a_file_to_a_split_and_back(project: Path) -> None:
    first = run("add", "march.csv", "--json")
    assert (first["rows"], first["rejected"], first["labels"]) == (100, 0, {"negative": 70, "positive": 30})
    second = run("add", "april.parquet", "--json", "--reason", "one result corrected")
    assert second["parent"] == first["version"] != second["version"]
    assert [one["version"] for one in run("list", "--json")] == [first["version"], second["version"]]
    assert run("diff", first["version"], "screening", "--json")["transitions"] == [
        {"before": "negative", "after": "positive", "n": 1}
    ]
    split = run("split", first["version"], "--json")
    assert split["version"] == first["version"]
    assert {name: (part["n"], part["positives"]) for name, part in split["parts"].items()} == {
        "train": (60, 18),
        "dev": (20, 6),
        "test": (20, 6),
    }
    assert run("split", "--json")["kept"] == 100
    shown = run("show", first["version"], "--json", "--rows", "2")
    assert [column["kind"] for column in shown["columns"]] == ["bool", "int", "target", "meta-data"]
    assert shown["first"][0] == {"cough": True, "age": 0, "result": "positive", "day": "2020-03-11"}
    assert [step["name"] for step in run("steps", "--json")["steps"]] == ["read", "check"]
    told = run("lineage", "--json")
    assert [one["note"] for one in told["history"]] == ["one result corrected", ""]
    assert run("lineage", first["version"], "--row", "3", "--json")["values"]["age"] == 2


def test_people_are_told_what_was_left_out(project: Path) -> None:
    (project / "bad.csv").write_text("cough,age,result,day\n1,40,positive,d\n1,old,positive,d\n1,50\n,41,negative,d\n")
    said = run("add", "bad.csv", "--name", "bad", "--null", "None")
    assert "bad" in said
    assert "2 rows" in said
    assert "age: expected a whole number, found 'old'" in said
    assert "expected 4 values, found 2" in run("show", "bad", "--left-out")
    assert "row 3 was left out: line 4" in run("lineage", "bad", "--row", "3")
    assert "row 4 is row 2" in run("lineage", "bad", "--row", "4")


def test_what_people_see(project: Path) -> None:
    assert "No dataset yet" in run("list")
    run("add", "march.csv")
    run("add", "april.parquet", "--by-hand", "--reason", "a colleague corrected one result")
    assert "screening" in run("list")
    assert "30.7 %" in run("split", run("list", "--json")[0]["version"])
    assert "by a person: a colleague" in " ".join(run("steps").split())
    assert "1 relabelled" in run("diff", run("list", "--json")[0]["version"], "screening")
    assert "meta-data" in run("show")
    assert "from april.parquet" in run("lineage")


def test_wrong_use_is_a_sentence(project: Path) -> None:
    def fails(*words: str) -> str:
        result = CliRunner().invoke(app, ["data", *words])
        assert isinstance(result.exception, (UsageError, NotFound))
        return str(result.exception)

    assert "images and their CSV" in fails("add", "a", "b", "c")
    assert "no such file" in fails("add", "none.csv")
    assert "needs a note" in fails("add", "march.csv", "--by-hand")
    assert "no dataset is called 'screening'" in fails("show")
    (project / "andon.yaml").write_text(CHARTER.format(phase="production"))
    assert "changed by hand" in fails("add", "march.csv", "--by-hand", "--reason", "why")
