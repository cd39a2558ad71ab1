"""The Models pages on real small runs: figures lead to the rows behind them, and no name or value does any harm."""

from __future__ import annotations

import asyncio
import html
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import numpy as np
import polars as pl
import pytest
from tests.board.atlas import Links
from tests.board.reader import Reader

from andon.config import Project, open_project
from andon.data.contract import Contract
from andon.data.dataset import add
from andon.deploy.line import Line
from andon.deploy.release import release
from andon.errors import UserCodeError
from andon.model.run import find_run, predictions
from andon.model.training import Options, train

HARM = "<script>alert(1)</script>\"'&{{1234*5678}}"
CHARTER = """
project: parts
inputs: {width: float, note: text?, lathe: category}
target: {name: verdict, classes: [accept, rework, "<b>reject</b>"]}
safe_default: refer
metrics:
  error: {of: error_rate, goal: "<= 0.4", critical: true}
  missed: {of: "recall[<b>reject</b>]", goal: ">= 0.99"}
  speed: {of: latency_p95_ms, goal: "<= 500"}
  width: {of: "mean(width)"}
slices: {wide: width > 10.5, old: lathe = '3'}
baselines: [{kind: quick}, {kind: human}]
"""
MODEL = """
import numpy as np
from sklearn.linear_model import LogisticRegression

def features(x):
    return np.stack([x["width"] - 10, np.abs(x["width"] - 10)], axis=1).astype(np.float32)

def train(data, params):
    if params.get("fail"):
        raise ValueError("no <b>fun</b>")
    return LogisticRegression(C=params.get("C", 1.0)).fit(data.features, data.y)
"""


def parts(n: int, seed: int) -> pl.DataFrame:
    draw = np.random.default_rng(seed)
    width = draw.normal(10, 1, n).round(3)
    noisy = width + draw.normal(0, 0.3, n)
    labels = np.where(noisy > 11, "<b>reject</b>", np.where(noisy > 10.3, "rework", "accept"))
    notes = [HARM if i % 20 == 3 else "W" * 900 if i % 20 == 5 else None for i in range(n)]
    people = np.where(draw.random(n) < 0.95, labels, "accept")
    lathe = draw.choice(["1", "2", "3"], n)
    ids = [f"{seed}-{i}" for i in range(n)]
    columns = {"id": ids, "width": width, "note": notes, "lathe": lathe, "human": people, "verdict": labels}
    return pl.DataFrame(columns, schema_overrides={"note": pl.String})


def given(root: Path, rows: pl.DataFrame, *tries: dict[str, Any]) -> None:
    """Freeze rows under one name and train on them with each of these parameters."""
    project = open_project(root)
    charter = project.charter
    contract = Contract(charter.fields(), charter.target.name, tuple(charter.target.classes))
    dataset = add(project.workspace, rows, contract, name=f"lot {HARM}", actor="ann")
    for parameters in tries:
        train(project.workspace, charter, dataset.version, Options(root / "model.py", parameters, actor=f"ann {HARM}"))
    project.workspace.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs on two versions of the data, a failed one, and a release that is live."""
    root = tmp_path_factory.mktemp("models") / "parts"
    root.mkdir()
    (root / "andon.yaml").write_text(CHARTER)
    (root / "model.py").write_text(MODEL)
    first = parts(300, 1)
    given(root, first, {"C": 1.0, "note": HARM}, {"C": 0.001})
    given(root, pl.concat([first, parts(100, 2)]), {"C": 1.0})
    with pytest.raises(UserCodeError):
        given(root, first, {"fail": True})
    project = open_project(root)
    release(project.workspace, project.charter, "r1", actor="ann", reason="the first", override=True)
    Line(project.workspace, project.charter).switch("v1", actor="ann", reason="go")
    project.workspace.close()
    return root


@pytest.fixture(scope="module")
def project(made: Path) -> Iterator[Project]:
    opened = open_project(made)
    yield opened
    opened.workspace.close()


@pytest.fixture(scope="module")
def reader(project: Project) -> Reader:
    return Reader(project)


def harmless(page: str) -> bool:
    """Nothing that somebody wrote has become markup, and no template was run in it."""
    return not re.search(r"<script>alert|<b>reject|<b>fun|7006652", page) and "{{1234*5678}}" in page


# ------------------------------------------------------------------------------------------------------------ the list


def test_runs_are_listed_newest_first_with_what_became_of_them(reader: Reader) -> None:
    view, page = reader.both("/models")
    assert [row["id"] for row in view["rows"]] == ["r4", "r3", "r2", "r1"]
    failed, third, _, first = view["rows"]
    assert failed["status"] == "failed" and "no <b>fun</b>" in failed["error"] and failed["goals"]["state"] == "stop"
    assert first["became"] == [{"version": "v1", "place": "live", "share": None}] and third["became"] == []
    assert set(first["differs"]) == {"C", "fail", "note"} and third["differs"]["note"] == ""
    assert [head["name"] for head in view["metrics"]] == ["error", "missed", "width"]
    assert first["goals"]["later"] == ["speed"] and first["goals"]["of"] == 4
    assert first["metrics"]["error"]["n"] == 60 and first["held_out"] == 60
    assert view["sentence"] == "4 runs, 1 of them failed; 1 release; v1 is live"
    assert [one["kind"] for one in view["baselines"]] == ["quick", "human"] and view["measured_on"] == "r3"
    assert view["baselines"][1]["metrics"]["error"]["value"] < 0.2
    assert harmless(page) and page.count('type="checkbox"') == 3


def test_an_empty_project_says_what_to_do_next(tmp_path: Path, made: Path) -> None:
    for name in ("andon.yaml", "model.py"):
        shutil.copy(made / name, tmp_path / name)
    opened = open_project(tmp_path)
    empty = Reader(opened)
    view, page = empty.both("/models")
    assert view["total"] == 0 and "andon data add FILE" in page and "checkbox" not in page
    assert "No run is done yet" in empty.both("/models/compare")[1]
    error, page = empty.both("/models/r1", 404)
    assert "no run is called 'r1'" in error["error"]["message"] and "no run is called" in html.unescape(page)
    given(tmp_path, parts(30, 1))
    view, page = Reader(opened).both("/models")
    assert view["dataset"].startswith("lot") and "andon train" in page and harmless(page)
    opened.workspace.close()


# ------------------------------------------------------------------------------------------------------------- one run


def test_a_run_says_what_it_is_and_how_good(reader: Reader, project: Project) -> None:
    view, page = reader.both("/models/r1")
    run = find_run(project.workspace, "r1")
    assert view["given"]["parameters"] == {"C": "1.0", "note": HARM} and view["given"]["code_text"] == MODEL
    assert view["given"]["again"].startswith(f"andon train {run.dataset} -p C=1.0 -p ")
    assert view["bundle"]["hash"] == run.bundle and view["bundle"]["bytes"] == sum(view["bundle"]["files"].values())
    assert view["bundle"]["engine"] == "onnx" and view["wall_seconds"] > 0
    measured = view["measured"]
    assert [part["slice"] for part in measured["figures"]] == ["", "wide", "old"]
    assert measured["figures"][0]["metrics"]["error"] == view_of(run.metrics["error"])
    assert measured["changed"] == [] and measured["behind"]["missed"] == {"label": "<b>reject</b>", "show": "wrong"}
    verdicts = {(goal["metric"], goal["cohort"]): goal["verdict"] for goal in measured["goals"]}
    assert set(verdicts) == {("error", ""), ("error", "wide"), ("error", "old"), ("missed", "")}
    assert verdicts["missed", ""] != "pass"
    assert harmless(page) and "model.py" in page and "[" in page


def view_of(estimate: Any) -> dict[str, Any]:
    return {
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "n": estimate.n,
        "method": estimate.method,
    }


def test_the_matrix_counts_the_rows_and_each_cell_leads_to_them(reader: Reader) -> None:
    view, page = reader.both("/models/r1")
    matrix = view["measured"]["matrix"]
    assert sum(row["n"] for row in matrix["rows"]) == 60 == matrix["n"]
    for at, row in enumerate(matrix["rows"]):
        assert sum(cell["n"] for cell in row["cells"]) == row["n"]
        assert row["cells"][at]["share"] == pytest.approx(row["cells"][at]["n"] / row["n"])
        for name, cell in zip(matrix["classes"], row["cells"], strict=True):
            query = f"label={quote(row['label'], safe='')}&prediction={quote(name, safe='')}"
            assert reader.get(f"/api/v1/models/r1/examples?{query}").json()["total"] == cell["n"]
    links = [link for link in Links(page).links if "examples?" in link and "prediction" in link]
    assert len(links) >= sum(cell["n"] > 0 for row in matrix["rows"] for cell in row["cells"])
    for link in links:
        assert reader.get(link).status_code == 200


def test_a_slice_has_a_matrix_of_its_own(reader: Reader) -> None:
    whole, part = (reader.both(path)[0]["measured"] for path in ("/models/r1", "/models/r1?slice=wide"))
    wide = next(one for one in whole["figures"] if one["slice"] == "wide")
    assert part["matrix"]["n"] == wide["n"] < whole["matrix"]["n"]
    assert part["reliability"]["gap"]["n"] == wide["n"] and part["figures"] == whole["figures"]
    error, _ = reader.both("/models/r1?slice=wyde", 404)
    assert "did you mean 'wide'" in error["error"]["message"]


def test_confidence_is_held_against_what_came_true(reader: Reader, project: Project) -> None:
    measured = reader.both("/models/r1")[0]["measured"]
    records = predictions(project.workspace, find_run(project.workspace, "r1"))
    right = (records["prediction"] == records["label"]).mean()
    assert measured["reliability"]["gap"]["value"] == pytest.approx(records["confidence"].mean() - right)  # type: ignore[operator]
    assert sum(one["right"]["n"] for one in measured["reliability"]["bins"]) == 60
    shares = [one["share"] for one in measured["coverage"]]
    assert shares == sorted(shares) and shares[-1] == 1
    assert measured["coverage"][-1]["wrong"]["value"] == pytest.approx(1 - right)  # type: ignore[operator]


def test_where_to_improve_is_room_times_share_with_people_beside_it(reader: Reader) -> None:
    room = reader.both("/models/r1")[0]["measured"]["room"]
    assert room["by"] == "slices" and room["compared"]
    for row in room["rows"]:
        assert row["model_gain"] == pytest.approx((row["baseline"] - row["accuracy"]["value"]) * row["share"])


def test_a_failed_run_says_why_and_nothing_more(reader: Reader) -> None:
    view, page = reader.both("/models/r4")
    assert view["measured"] is None and view["bundle"] is None
    assert "no &lt;b&gt;fun&lt;/b&gt;" in page and "Confusion" not in page
    assert "failed" in reader.both("/models/r4/examples", 404)[0]["error"]["message"]


def test_an_unknown_run_is_told_with_what_was_meant(reader: Reader) -> None:
    error, page = reader.both("/models/r11", 404)
    assert "no run is called 'r11'; did you mean 'r1'" in error["error"]["message"] and "did you mean" in page
    assert reader.both("/models/v1")[0]["id"] == "r1"


def test_a_bundle_that_is_gone_does_not_hide_the_rest(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "copy")
    opened = open_project(tmp_path / "copy")
    bundle = opened.workspace.home / "bundles" / find_run(opened.workspace, "r2").bundle / "manifest.json"
    bundle.chmod(0o644)
    bundle.write_bytes(b"{}")
    view, page = Reader(opened).both("/models/r2")
    assert "manifest.json has changed" in view["bundle"]["problem"] and "cannot be read" in page
    assert view["measured"]["matrix"]["n"] == 60
    opened.workspace.close()


def test_a_charter_that_changed_since_is_said(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "copy")
    charter = tmp_path / "copy" / "andon.yaml"
    charter.write_text(charter.read_text().replace("of: error_rate", "of: accuracy").replace("<= 0.4", ">= 0.5"))
    opened = open_project(tmp_path / "copy")
    view, page = Reader(opened).both("/models/r1")
    assert view["measured"]["changed"] == ["error"] and "says something else of error" in page
    opened.workspace.close()


# ---------------------------------------------------------------------------------------------------------- examples


def test_examples_are_the_rows_of_the_dataset_surest_mistakes_first(reader: Reader, project: Project) -> None:
    view, page = reader.both("/models/r3/examples")
    assert (view["total"], view["pages"], len(view["rows"])) == (80, 2, 50)
    kinds = [row["right"] for row in view["rows"]]
    wrong = [row["confidence"] for row in view["rows"] if not row["right"]]
    assert kinds == sorted(kinds) and wrong == sorted(wrong, reverse=True) and wrong
    dataset = pl.concat([parts(300, 1), parts(100, 2)])
    for row in view["rows"]:
        at = dataset.row(row["row"] - 1, named=True)
        assert (row["values"]["id"], row["values"]["width"], row["label"]) == (at["id"], at["width"], at["verdict"])
    assert harmless(page + "{{1234*5678}}") and f"/data/{view['dataset']}/rows/{view['rows'][0]['row']}" in page
    rest = reader.both("/models/r3/examples?page=2")[0]
    assert len(rest["rows"]) == 30 and reader.both("/models/r3/examples?page=99")[0]["page"] == 2
    assert all(len(row["values"]["note"] or "") <= 240 for row in [*view["rows"], *rest["rows"]])


def test_examples_are_filtered_by_slice_truth_answer_and_outcome(reader: Reader) -> None:
    def of(query: str) -> dict[str, Any]:
        return reader.both(f"/models/r1/examples?{query}")[0]

    whole, wrong, right = of(""), of("show=wrong"), of("show=right")
    assert wrong["total"] + right["total"] == whole["total"] and not any(row["right"] for row in wrong["rows"])
    wide = of("slice=wide")
    assert 0 < wide["total"] < whole["total"] and all(row["values"]["width"] > 10.5 for row in wide["rows"])
    both = of("slice=wide&label=rework&prediction=accept")
    assert all((row["label"], row["prediction"]) == ("rework", "accept") for row in both["rows"])
    assert both["sentence"].endswith("in the slice “wide” where the truth is “rework” answered “accept”")
    nothing, page = reader.both("/models/r1/examples?show=silent")
    assert nothing["total"] == 0 and "No held-out row is like that" in page
    assert of("slice=old")["total"] > 0


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("label=rewrok", 404, "did you mean 'rework'"),
        ("prediction=nobody", 404, "r1 knows no class 'nobody'"),
        ("slice=wiide", 404, "did you mean 'wide'"),
        ("show=everything", 400, "show"),
        ("page=0", 400, "page"),
    ],
)
def test_examples_that_cannot_be_are_one_sentence(reader: Reader, query: str, status: int, said: str) -> None:
    assert said in reader.both(f"/models/r1/examples?{query}", status)[0]["error"]["message"]


# ----------------------------------------------------------------------------------------------------------- compare


def test_two_runs_on_one_dataset_are_compared_as_they_answered(reader: Reader) -> None:
    view, page = reader.both("/models/compare?runs=r2&runs=r1")
    assert [side["id"] for side in view["sides"]] == ["r1", "r2"] and view["differs"] == ["parameters"]
    assert view["parameters"] == ["C", "note"]
    (pair,) = view["pairs"]
    assert (pair["how"], pair["rows"], pair["held_out"], pair["learnt"]) == ("stored", 60, 60, 0)
    error = next(one for one in pair["lines"] if one["metric"] == "error")
    change = (error["second"]["value"] - error["first"]["value"]) * 100
    assert error["difference"]["value"] == pytest.approx(change) and change > 10
    assert error["says"] == "first" and "r1 is better in error" in pair["sentence"]
    assert sum(pair["right"][name] for name in ("both", "first", "second", "neither")) == 60
    assert "r1 is better" in page and harmless(page)
    assert reader.both("/models/compare?runs=r1,r2")[0] == view


def test_what_the_data_do_not_tell_apart_is_not_told_apart(reader: Reader) -> None:
    view, page = reader.both("/models/compare?runs=r1,r3")
    assert view["differs"] == ["data", "parameters", "split"]
    forth, back = view["pairs"]
    assert (forth["how"], forth["holder"], back["holder"]) == ("asked", "r3", "r1")
    assert {one["says"] for one in forth["lines"]} <= {"open", "same", "none"}
    assert "not told apart by this data" in forth["sentence"] or "the same answers" in forth["sentence"]
    assert "no difference between the runs can be put down to one of them" in page and "/diff?to=" in page
    # Rows keep their part when the data grow, so nothing that either held out was learnt from by the other.
    assert (forth["learnt"], back["learnt"]) == (0, 0)


def test_three_runs_widen_the_intervals(reader: Reader) -> None:
    two, three = (reader.both(f"/models/compare?runs={runs}")[0]["pairs"] for runs in ("r1,r2", "r1,r2,r3"))
    assert len(three) == 3 and three[0]["confidence"] > two[0]["confidence"] > 0.95
    width = [pairs[0]["lines"][0]["difference"] for pairs in (two, three)]
    assert width[1]["high"] - width[1]["low"] > width[0]["high"] - width[0]["low"]


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("runs=r1,r9", 404, "no run is called 'r9'"),
        ("runs=r1,r4", 404, "run r4 failed, so there is nothing to compare"),
        ("runs=" + ",".join(f"x{i}" for i in range(99)), 400, "at most 6"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(reader: Reader, query: str, status: int, said: str) -> None:
    assert said in reader.both(f"/models/compare?{query}", status)[0]["error"]["message"]


@pytest.mark.parametrize("query", ["", "?runs=r1", "?runs=r1,v1"])
def test_one_run_alone_asks_for_another(reader: Reader, query: str) -> None:
    view, page = reader.both(f"/models/compare{query}")
    assert view["pairs"] == [] and "tick two or more" in page and page.count('type="checkbox"') == 3


# ----------------------------------------------------------------------------------------------------------- release


def test_a_run_is_released_from_its_page_and_a_missed_goal_needs_a_reason(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "copy")
    opened = open_project(tmp_path / "copy")
    own = Reader(opened)
    assert "/act/release?run=r3" in own.both("/models/r3")[1] and "/act/release" not in own.both("/models/r1")[1]
    asked = own.get("/act/release?run=r3").text
    assert "Release r3?" in asked and "missed is" in asked and "speed" in asked and "danger" in asked

    def post(body: dict[str, Any]) -> httpx.Response:
        async def once() -> httpx.Response:
            async with httpx.AsyncClient(transport=own._transport, base_url="http://localhost") as client:
                return await client.post("/api/v1/release", json=body)

        return asyncio.run(once())

    refused = post({"run": "r3"})
    assert refused.status_code == 409 and "r3 is not released" in refused.json()["error"]["message"]
    done = post({"run": "r3", "override": True, "reason": "a trial"})
    assert done.json()["version"] == "v2" and done.json()["overridden"]
    assert own.both("/models")[0]["rows"][1]["became"] == [{"version": "v2", "place": "", "share": None}]
    assert post({"run": "r3"}).status_code == 409
    opened.workspace.close()
