"""The inspection story: its parts, and (slow) the whole of it on real processes."""

from __future__ import annotations

import socket
from base64 import b64decode
from io import BytesIO, StringIO
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image
from rich.console import Console

from andon.config import open_project
from andon.core.clock import HOUR
from andon.core.record import Item
from andon.data.image import image_stats
from andon.data.source import read
from andon.demo.inspection import BEGIN, RATE, Inspection
from andon.demo.operator_desk import OperatorDesk
from andon.demo.photographs import DIMMED, arrivals, darkened
from andon.demo.sheets import by_class, confusions, hours, priorities
from andon.demo.stage import Stage, examples
from andon.measure.estimate import mean_interval, undefined, wilson
from andon.model.evaluate import evaluate
from andon.model.predictor import load_user_module
from andon.model.priority import errors
from andon.monitor.watch import alarms
from andon.scope.charter import load
from andon.store import view

EXAMPLE = examples() / "inspection"


def png(*shades: int, mode: str = "RGB") -> bytes:
    out = BytesIO()
    grey = np.array([shades], dtype=np.uint8)
    Image.fromarray(grey).convert(mode).save(out, "PNG")
    return out.getvalue()


@pytest.fixture(scope="module")
def photographs() -> pl.DataFrame:
    return read(EXAMPLE / "data" / "images.tar", meta=EXAMPLE / "data" / "images.csv", image="image").frame


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_darkening_keeps_the_share_of_light_that_it_says(mode: str) -> None:
    bright, dark = (image_stats(image) for image in (png(200, 100, mode=mode), darkened(png(200, 100, mode=mode))))
    assert dark["brightness"] == pytest.approx(DIMMED * bright["brightness"], abs=0.003)
    assert dark["contrast"] == pytest.approx(DIMMED * bright["contrast"], abs=0.003)


def test_photographs_arrive_evenly_and_only_those_in_the_dark_are_dark() -> None:
    rows = pl.DataFrame({"image": [png(200)] * 6, "kind": list("abcabc")})
    cases = arrivals(rows, "kind", since=0, until=60, dark=range(20, 40))
    assert [case.time_us for case in cases] == [0, 10, 20, 30, 40, 50]
    assert [case.result for case in cases] == list("abcabc") and len({case.id for case in cases}) == 6
    light = [image_stats(b64decode(case.x["image"]))["brightness"] for case in cases]
    assert [round(one / light[0], 2) for one in light] == [1, 1, 0.35, 0.35, 1, 1]
    assert b64decode(cases[0].x["image"]) == rows["image"][0], "untouched bytes where the lamp is in order"


def test_no_photographs_are_no_arrivals() -> None:
    assert arrivals(pl.DataFrame({"image": [], "kind": []}), "kind", since=0, until=60, dark=range(0)) == []


def test_the_sample_is_as_its_readme_says(photographs: pl.DataFrame) -> None:
    charter = load(EXAMPLE / "andon.yaml")
    assert dict(photographs.group_by("defect_type").len().iter_rows()) == dict.fromkeys(charter.target.classes, 63)
    copies = photographs.group_by("pixel_sha1_12").agg(pl.len(), pl.col("defect_type").n_unique().alias("types"))
    assert copies.filter(pl.col("len") > 1)["len"].to_list() == [2] and copies["types"].max() == 1
    assert sum(file.stat().st_size for file in (EXAMPLE / "data").iterdir()) < 3_000_000
    said = (EXAMPLE / "README.md").read_text()
    assert "441" in said and "one pair" in said


def test_the_model_sees_numbers_that_darkness_and_damage_do_not_break(photographs: pl.DataFrame) -> None:
    features = load_user_module(EXAMPLE / "model.py").features
    assert features is not None
    images = [*photographs["image"].head(3), darkened(photographs["image"][0]), png(0), png(255, 255)]
    found = features({"image": np.array(images, dtype=object)})
    assert found.shape == (6, 80) and found.dtype == np.float32 and np.isfinite(found).all()


def test_the_operator_is_wrong_as_often_as_said_and_is_called_simulated(tmp_path: Path) -> None:
    (tmp_path / "andon.yaml").write_text((EXAMPLE / "andon.yaml").read_text())
    project = open_project(tmp_path)
    truths = {f"p{i}": project.charter.target.classes[i % 7] for i in range(200)}
    workspace, far = project.workspace, project.clock.now() + HOUR
    workspace.items.add([Item(id, "decision", created_us=0, due_us=far, x={"image": None}) for id in truths])
    desk = OperatorDesk(project, truths, error=0.2, seed=1)
    while desk.work(64):
        pass
    items = workspace.items.many(truths)
    wrong = sum(item.decision != truths[id] for id, item in items.items())
    assert desk.decided == 200 and 20 <= wrong <= 60
    assert all(item.simulated and item.reviewer == "simulated operator" for item in items.values())
    left = workspace.items.queue(500, "open")
    assert 60 < len(left) < 140 and {item.kind for item in left} == {"second"}, "for another operator"
    workspace.close()


def test_tables_fit_eighty_columns_and_say_what_is_not_known() -> None:
    classes = load(EXAMPLE / "andon.yaml").target.classes
    rows = pl.DataFrame({"label": [*classes[:6], classes[0]], "prediction": [*classes[:6], classes[1]]})
    found = evaluate(rows, classes=classes)
    out = StringIO()
    console = Console(file=out, width=80)
    console.print(by_class(found, {classes[0]: 2}, "title"), confusions(found), priorities(errors(rows, by=["label"])))
    brightness = [(HOUR, mean_interval(4, 0.5, 0.01)), (2 * HOUR, undefined("no pictures"))]
    console.print(hours({"brightness": brightness, "right": [(HOUR, wilson(3, 4))]}))
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80 and "…" not in out.getvalue()
    surface = next(line for line in lines if line.startswith("surface scratch"))
    assert surface.split()[-4:] == ["0", "-", "-", "-"], "a type of which there is nothing has no figures"
    assert lines[-2].split() == ["01:00", "4", "0.500", "0.750"] and lines[-1].split() == ["02:00", "0", "-", "-"]


@pytest.mark.slow
@pytest.mark.line
def test_the_whole_story(tmp_path: Path) -> None:
    """A lamp fails, the line notices by itself and asks people; nothing is lost, and the log says the same."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", load(EXAMPLE / "andon.yaml").gateway.port)) == 0:
            pytest.skip("another line listens on the story's port")
    out = StringIO()
    stage = Stage("inspection", tmp_path / "line", Console(file=out, width=200), begin_us=BEGIN, rate=RATE)
    try:
        stage.start(ship_seconds=0.7)
        Inspection(stage).play()
        told, workspace = out.getvalue(), stage.project.workspace
        rows = view.decisions(workspace)
        assert rows.height == rows["id"].n_unique() == 132
        assert set(rows["decided_by"]) == {"model", "person"} and rows["simulated"].sum() > 0
        assert workspace.journal.verify() == (True, None)
        assert alarms(workspace)["brightness"].phase == "resolved"
        people = workspace.journal.read(limit=1000, action="alarm.people")
        assert [event.subject for event in people] == ["brightness"], "it asked people by itself, once"
        route = workspace.routes.current()
        assert route is not None and route.levels["*"] == "full" and route.live == "v1"
        for words in (
            "ALARM brightness",
            "MADE",
            "SIMULATED",
            "hash chain whole",
            "132 labels",
            "balanced",
            "no label has come yet",
        ):
            assert words in told
    finally:
        stage.close()
