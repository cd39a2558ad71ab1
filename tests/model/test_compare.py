from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from andon.core.record import Field
from andon.data.contract import Contract
from andon.data.dataset import add
from andon.errors import UsageError
from andon.model.compare import compare, paired
from andon.model.training import Options, train
from andon.scope.charter import parse
from andon.store.workspace import Workspace

CHARTER = parse("""
project: p
inputs: {a: float, b: float}
target: {name: y, classes: [no, yes]}
safe_default: nobody
metrics: {error: {of: error_rate}}
slices: {low: "a < 0"}
""")
MODEL = """
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
def train(data, params):
    return make_pipeline(ColumnTransformer([("n", "passthrough", params["use"])]), LogisticRegression()).fit(data.x, data.y)
"""


def test_two_runs_on_the_same_rows(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "w")
    random = np.random.default_rng(2)
    a, b = random.normal(size=(2, 1000))
    frame = pl.DataFrame({"a": a, "b": b, "y": np.where(a + b > 0, "yes", "no")})
    add(workspace, frame, Contract(CHARTER.fields(), "y", ("no", "yes")), name="p")
    (tmp_path / "model.py").write_text(MODEL)
    for use in (["a"], ["a", "b"]):
        train(workspace, CHARTER, "p", Options(tmp_path / "model.py", {"use": use}))
    found = compare(workspace, CHARTER, "r1", "r2")
    assert (found.n, found.part, found.legs, found.warning) == (200, "test", ("parameters",), "")
    one, two = found.metrics["error"]
    assert one.value is not None and two.value is not None and two.value < one.value
    overall = found.difference[""]
    assert overall.value == pytest.approx(one.value - two.value) and overall.low is not None and overall.low > 0
    assert set(found.slices) == {"low"} and found.difference["low"].n < 200
    assert set(found.to_json()) >= {"first", "second", "metrics", "slices", "difference", "legs"}
    same = compare(workspace, CHARTER, "r2", "r2")
    assert same.difference[""].value == 0 and same.legs == ()
    workspace.close()


def test_other_data_are_said(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "w")
    random = np.random.default_rng(2)
    (tmp_path / "model.py").write_text(MODEL)
    for rows in (200, 300):
        a, b = random.normal(size=(2, rows))
        frame = pl.DataFrame({"a": a, "b": b, "y": np.where(a > 0, "yes", "no")})
        add(workspace, frame, Contract(CHARTER.fields(), "y", ("no", "yes")), name="p")
        train(workspace, CHARTER, "p", Options(tmp_path / "model.py", {"use": ["a", "b"]}))
    found = compare(workspace, CHARTER, "r1", "r2")
    assert "data" in found.legs and "may have learnt from some of these rows" in found.warning
    wide = Contract((*CHARTER.fields(), Field("c", "float")), "y", ("no", "yes"))
    add(workspace, frame.with_columns(c=pl.lit(1.0)), wide, name="q")
    train(workspace, CHARTER, "q", Options(tmp_path / "model.py", {"use": ["a", "c"]}))
    with pytest.raises(UsageError, match="r3 needs the input 'c'"):
        compare(workspace, CHARTER, "r3", "r1")
    workspace.close()


def test_rows_without_a_label_do_not_count() -> None:
    one = pl.DataFrame({"label": ["a", None], "prediction": ["a", "a"]})
    assert paired(one, one).n == 1
