from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from andon.data.contract import Contract
from andon.data.dataset import add
from andon.deploy.release import acceptance, find_release, held_out, release, releases
from andon.errors import Conflict, Corrupt, GateFailed, NotEnoughEvidence, NotFound, UsageError, UserCodeError
from andon.model.bundle import bundle_path
from andon.model.run import Run
from andon.model.training import Options, train
from andon.scope.charter import Charter, parse
from andon.store.workspace import Workspace

CHARTER = """
project: p
inputs: {n: float, site: category}
target: {name: y, classes: [no, yes]}
safe_default: nobody
metrics:
  error: {of: error_rate, goal: "<= GOAL", critical: true}
  speed: {of: latency_p95_ms, goal: "<= 500"}
slices: {left: "site = 'left'"}
"""
MODEL = """
from sklearn.linear_model import LogisticRegression
import numpy as np
def features(x: dict[str, np.ndarray]): return x["n"].reshape(-1, 1)
def train(data, params): return LogisticRegression().fit(data.features, data.y)
"""


def charter(goal: float | str = 0.3) -> Charter:
    return parse(CHARTER.replace("GOAL", str(goal)))


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    opened = Workspace.create(tmp_path / ".andon")
    random = np.random.default_rng(5)
    n = random.normal(size=500)
    y = np.where((n > 0) ^ (random.random(500) < 0.1), "yes", "no")
    frame = pl.DataFrame({"n": n, "site": random.choice(["left", "right"], 500), "y": y})
    add(opened, frame, Contract(charter().fields(), "y", ("no", "yes")), name="p")
    (tmp_path / "model.py").write_text(MODEL)
    yield opened
    opened.close()


def trained(workspace: Workspace) -> Run:
    return train(workspace, charter(), "p", Options(workspace.home.parent / "model.py", actor="ann"))


def test_a_run_that_meets_the_goals_becomes_v1(workspace: Workspace) -> None:
    run = trained(workspace)
    made = release(workspace, charter(), run.id, actor="ann", reason="good enough")
    assert (made.version, made.run, made.bundle, made.verdict, made.overridden) == (
        "v1",
        "r1",
        run.bundle,
        "pass",
        False,
    )
    assert [gate["cohort"] for gate in made.gates] == ["", "left"] and made.later == ("speed",)
    assert find_release(workspace, "v1") == made and releases(workspace) == [made]
    event = workspace.journal.read(action="model.release")[0]
    assert (event.subject, event.actor, event.reason) == ("v1", "ann", "good enough") and event.evidence["run"] == "r1"


@pytest.mark.parametrize(("goal", "error"), [(0.01, GateFailed), (0.1, NotEnoughEvidence)])
def test_a_gate_that_fails_or_is_unsure_stops_it(workspace: Workspace, goal: float, error: type[Exception]) -> None:
    run = trained(workspace)
    with pytest.raises(error, match="run r1 is not released: error is 0"):
        release(workspace, charter(goal), run.id, actor="ann")
    assert releases(workspace) == []
    with pytest.raises(UsageError, match="needs a reason"):
        release(workspace, charter(goal), run.id, actor="ann", reason=" ", override=True)
    made = release(workspace, charter(goal), run.id, actor="ann", reason="a trial", override=True)
    assert made.overridden and made.verdict in ("fail", "unsure")


def test_a_run_is_released_once(workspace: Workspace) -> None:
    run = trained(workspace)
    release(workspace, charter(), run.id, actor="ann")
    with pytest.raises(Conflict, match="run r1 is released already, as v1"):
        release(workspace, charter(), run.id, actor="ann")


def test_what_cannot_be_released(workspace: Workspace) -> None:
    with pytest.raises(NotFound, match="no run is called 'r1'"):
        release(workspace, charter(), "r1", actor="ann")
    (workspace.home.parent / "model.py").write_text("def train(data, params): 1 / 0\n")
    with pytest.raises(UserCodeError):
        trained(workspace)
    with pytest.raises(NotFound, match="run r1 failed, so there is nothing to release"):
        release(workspace, charter(), "r1", actor="ann")


def test_a_bundle_that_was_changed_is_not_released(workspace: Workspace) -> None:
    run = trained(workspace)
    (bundle_path(workspace.home, run.bundle) / "model.py").write_text("changed")
    with pytest.raises(Corrupt, match=r"model\.py has changed"):
        release(workspace, charter(), run.id, actor="ann")


def test_without_a_goal_there_is_no_evidence(workspace: Workspace) -> None:
    bare = parse(CHARTER.replace(', goal: "<= GOAL", critical: true', "").replace(', goal: "<= 500"', ""))
    run = trained(workspace)
    with pytest.raises(NotEnoughEvidence, match="the charter has no goal"):
        release(workspace, bare, run.id, actor="ann")


def test_a_goal_at_its_edge() -> None:
    records = pl.DataFrame({"label": ["no"] * 20, "prediction": ["no"] * 20, "site": ["left"] * 20})
    high = acceptance(charter(0.5), records).results[0].estimate.high
    assert high is not None
    for goal, verdict in ((high, "pass"), (np.nextafter(high, 0), "unsure")):
        assert acceptance(charter(repr(float(goal))), records).results[0].verdict.value == verdict


def test_the_held_out_part_is_what_thresholds_are_learnt_from(workspace: Workspace) -> None:
    release(workspace, charter(), trained(workspace).id, actor="ann")
    frame = held_out(workspace, "v1")
    assert frame.height == 100 and {"model", "confidence", "truth", "n", "site"} <= set(frame.columns)
