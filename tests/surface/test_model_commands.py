"""`train`, `runs`, `evaluate`, `errors`, `compare` and `release`, as a person or a program calls them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import typer
from typer.testing import CliRunner

from andon.config import open_project
from andon.data.contract import Contract
from andon.data.dataset import add
from andon.errors import AndonError, GateFailed, NotFound, UsageError
from andon.surface.cli import model

CHARTER = """
project: clinic
inputs: {temp: float, place: category}
target: {name: result, classes: [negative, positive]}
safe_default: refer
metrics: {error: {of: error_rate, goal: "<= 0.3"}, speed: {of: latency_p95_ms, goal: "<= 500"}}
slices: {abroad: "place = 'Abroad'"}
baselines: [{kind: quick}]
"""
MODEL = """
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
def train(data, params):
    print("noise that belongs on stderr")
    return make_pipeline(ColumnTransformer([("n", "passthrough", ["temp"])]), LogisticRegression(**params)).fit(data.x, data.y)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


@pytest.fixture
def project(folder: Path) -> Path:
    (folder / "andon.yaml").write_text(CHARTER)
    (folder / "model.py").write_text(MODEL)
    opened = open_project(folder)
    random = np.random.default_rng(4)
    temp = random.normal(37, 1, 400)
    result = np.where((temp > 37.2) ^ (random.random(400) < 0.1), "positive", "negative")
    frame = pl.DataFrame({"temp": temp, "place": random.choice(["Abroad", "Here"], 400), "result": result})
    contract = Contract(opened.charter.fields(), "result", opened.charter.target.classes)
    add(opened.workspace, frame, contract, name="clinic")
    opened.workspace.close()
    return folder


def call(*words: str) -> Any:
    app = typer.Typer()
    model.register(app)
    return CliRunner().invoke(app, list(words), catch_exceptions=False)


def out(*words: str) -> str:
    result = call(*words)
    assert result.exit_code == 0, result.output
    return str(result.stdout)


def read(*words: str) -> Any:
    return json.loads(out(*words, "--json"))


def test_from_training_to_a_release(project: Path) -> None:
    result = call("train", "-p", "C=0.5", "--reason", "first", "--json")
    run = json.loads(result.stdout)
    assert run["id"] == "r1" and run["parameters"] == {"C": 0.5} and run["legs"]["data"] == run["dataset"]
    assert "1/6 load the data" in result.stderr and "noise that belongs on stderr" in result.stderr
    assert "r2 done: clinic" in out("train")
    assert [one["id"] for one in read("runs")] == ["r1", "r2"] and read("runs", "r1") == run
    assert "C=0.5" in out("runs") and "engine onnx" in out("runs", "r1")
    assert read("release", "r2", "--actor", "ann")["version"] == "v1"
    assert "v1" not in out("runs", "v1")  # the run behind a release, under its own name


def test_evaluating_a_run(project: Path) -> None:
    out("train")
    found = read("evaluate")
    assert set(found) == {"metrics", "slices", "confusion", "n", "baselines"} and found["metrics"]["error"]["n"] == 80
    assert found["baselines"][0]["kind"] == "quick"
    assert set(found["slices"]) == {"abroad"} and found["metrics"]["speed"]["value"] is None
    shown = call("evaluate", "r1", "--by", "place")
    assert "baseline quick (always the most common label): error 0." in shown.stdout
    assert "Here" in shown.stdout and "Only live traffic can tell: speed." in shown.stderr
    assert {row["slice"] for row in read("errors", "r1", "--by", "place")["rows"]} == {"abroad", "Abroad", "Here"}


def test_comparing_two_runs(project: Path) -> None:
    out("train")
    out("train", "-p", "C=0.001")
    found = read("compare", "r1", "r2")
    assert found["legs"] == ["parameters"] and found["metrics"]["error"][0]["n"] == 80
    shown = call("compare", "r1", "r2")
    assert "r2 is right more often by" in shown.stdout and "what differs: parameters" in shown.stderr


def test_a_gate_that_fails_has_its_exit_code_and_can_be_overridden(project: Path) -> None:
    out("train")
    (project / "andon.yaml").write_text(CHARTER.replace("<= 0.3", "<= 0.01"))
    with pytest.raises(GateFailed, match="run r1 is not released: error is") as caught:
        call("release", "r1")
    assert caught.value.exit_code == 1
    shown = call("release", "r1", "--override", "--reason", "a trial")
    assert "r1 is v1 (against a gate)" in shown.stdout and "Only live traffic can tell: speed." in shown.stderr


def test_a_bare_file_needs_no_project(folder: Path) -> None:
    pl.DataFrame({"y": [1, 1, 0, 0], "yhat": [1, 0, 0, 0], "noise": ["car", "car", "rain", None]}).write_csv("p.csv")
    (folder / "levels.csv").write_text("slice,value\ncar,0.9\nrain,1\n(missing),1\n")
    words = ("p.csv", "--label", "y", "--prediction", "yhat", "--by", "noise")
    found = read("errors", *words, "--baseline", "levels.csv")
    car = found["rows"][0]
    assert (car["slice"], car["rank"], car["accuracy"]["value"]) == ("car", 1, 0.5)
    assert car["model_gain"] == pytest.approx(0.2) and found["total"]["model_gain"] == pytest.approx(0.2)
    assert set(car) >= {"n", "share", "baseline", "gap", "label_gain", "error_share"}
    evaluated = read("evaluate", *words)
    assert (
        evaluated["confusion"]["matrix"] == [[2, 0], [1, 1]] and evaluated["slices"]["car"]["recall[1]"]["value"] == 0.5
    )
    assert "recall[1]" in out("evaluate", *words), "brackets in names are not the terminal's markup"
    assert "car" in out("errors", *words) and "true \\ answered" in out("evaluate", *words)


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (("errors", "gone.csv"), NotFound, "there is no file gone.csv"),
        (("errors", "p.csv", "--by", "n"), UsageError, "no column 'label'"),
        (("errors", "p.csv", "--label", "y", "--prediction", "y"), UsageError, "nothing to compare"),
        (("errors", "p.csv", "--by", "n", "--baseline", "no.csv"), NotFound, "no.csv"),
        (("errors", "p.csv", "--by", "n", "--baseline", "p.csv"), UsageError, "expected the columns slice and value"),
        (("errors", "p.csv", "--by", "n", "--baseline", "odd.csv"), UsageError, "a fraction from 0 to 1 in every row"),
        (("evaluate", "r1"), NotFound, "no andon.yaml"),
    ],
)
def test_wrong_use_of_a_bare_file(folder: Path, words: tuple[str, ...], error: type[AndonError], said: str) -> None:
    pl.DataFrame({"y": [1], "n": [1]}).write_csv("p.csv")
    (folder / "odd.csv").write_text("slice,value\ncar,high\n")
    with pytest.raises(error, match=said):
        call(*words)


def test_wrong_use_in_a_project(project: Path) -> None:
    with pytest.raises(NotFound, match="no run is done yet"):
        call("evaluate")
    for pair in ("C", "=1", "C=[1"):
        with pytest.raises(UsageError, match="--param"):
            call("train", "-p", pair)
    with pytest.raises(NotFound, match="no run is called 'r9'"):
        call("runs", "r9")
