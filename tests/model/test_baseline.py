from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from andon.data.contract import Contract
from andon.data.dataset import add
from andon.deploy.release import release
from andon.model.baseline import baselines
from andon.model.run import find_run
from andon.model.training import Options, train
from andon.scope.charter import parse
from andon.store.workspace import Workspace

CHARTER = parse("""
project: p
inputs: {n: float}
target: {name: y, classes: [bad, good]}
safe_default: nobody
metrics: {error: {of: error_rate, goal: "<= 0.5"}}
slices: {low: "n < 0"}
baselines: [{kind: quick}, {kind: previous, release: v1}, {kind: human}, {kind: literature, values: {error: 0.12}, source: a paper}]
""")
MODEL = """
from sklearn.linear_model import LogisticRegression
def train(data, params): return LogisticRegression().fit(data.x, data.y)
"""


@pytest.mark.parametrize("people", [True, False])
def test_every_kind_is_measured_on_the_same_rows(tmp_path: Path, people: bool) -> None:
    workspace = Workspace.create(tmp_path / "w")
    random = np.random.default_rng(1)
    n = random.normal(size=300)
    frame = pl.DataFrame({"n": n, "y": np.where(n > 0.3, "good", "bad")})
    if people:
        frame = frame.with_columns(human=pl.col("y"))
    add(workspace, frame, Contract(CHARTER.fields(), "y", CHARTER.target.classes), name="p")
    (tmp_path / "model.py").write_text(MODEL)
    run = train(workspace, CHARTER, "p", Options(tmp_path / "model.py"))
    release(workspace, CHARTER, run.id, actor="ann")
    found = {one.kind: one for one in baselines(workspace, CHARTER, find_run(workspace, "v1"))}
    assert [*found] == ["quick", "previous", "human", "literature"]
    quick, previous = found["quick"].metrics["error"], found["previous"].metrics["error"]
    assert quick.value is not None and 0.3 < quick.value < 0.5 and quick.n == 60
    assert previous == run.metrics["error"] and found["previous"].slices.keys() == {"low"}
    assert found["literature"].metrics["error"].value == 0.12 and found["literature"].source == "a paper"
    if people:
        assert found["human"].metrics["error"].value == 0
    else:
        assert not found["human"].metrics and "not measured yet" in found["human"].source
    workspace.close()
