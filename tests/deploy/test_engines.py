"""LightGBM and XGBoost in a worker: loaded away from the serving thread, quick enough for it, and a fault where missing."""

from __future__ import annotations

import queue
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost

from andon.core.record import Field, Route
from andon.data.contract import Contract
from andon.deploy.away import Limits
from andon.deploy.replica import Replicas, load_model
from andon.model.bundle import Parts, seal
from andon.model.compile import compile_model
from andon.model.predictor import load_user_source

FIELDS = (Field("a", "float"), Field("b", "float"))
X = np.random.default_rng(1).normal(size=(200, 2))
Y = (X.sum(axis=1) > 0).astype(int)
MAKE: dict[str, Callable[[], Any]] = {
    "lightgbm": lambda: lightgbm.LGBMClassifier(n_estimators=3, n_jobs=1, verbose=-1),
    "xgboost": lambda: xgboost.XGBClassifier(n_estimators=3, n_jobs=1),
}


@pytest.mark.parametrize(
    ("library", "isolation"),
    [
        ("lightgbm", "none"),
        ("lightgbm", "process"),
        ("xgboost", "none"),
        pytest.param("xgboost", "process", marks=pytest.mark.slow),  # a process of its own takes seconds to begin
    ],
)
def test_a_worker_loads_and_asks_it_or_says_what_is_missing(
    library: str, isolation: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = load_user_source(b"", Path("model.py"))
    columns = {"a": X[:, 0], "b": X[:, 1]}
    compiled = compile_model(MAKE[library]().fit(X, Y), columns, FIELDS, ("no", "yes"), code)
    hash = seal(Parts(Contract(FIELDS, "y", ("no", "yes")), compiled, code), tmp_path)
    calls: queue.Queue[Callable[[], None]] = queue.Queue()
    load = load_model(lambda one: tmp_path / one, Limits(isolation=isolation))
    replicas = Replicas(load, calls.put, lambda: None)
    common: dict[str, Any] = {"epoch": 1, "time_us": 0, "wall_us": 0, "actor": "a", "action": "x", "reason": ""}
    replicas.follow(Route(**common, live="v1", bundles={"v1": hash}))
    calls.get(timeout=60)()
    try:
        replica = replicas.get("v1")
        assert replica is not None, replicas.faults
        assert replica.foreign == (isolation == "process")  # the quick way takes what is not foreign
        found = [scored.scores for scored in replica.score([[1.0, 1.0], [-1.0, -1.0]])]
        assert [int(np.argmax(one or ())) for one in found] == [1, 0]
        if isolation == "none":
            monkeypatch.setitem(sys.modules, library, None)
            replicas.follow(Route(**common, live="v1", warm=("v2",), bundles={"v1": hash, "v2": hash}))
            calls.get(timeout=60)()
            assert f"the model is a {library} model, and {library} is not installed here" in replicas.faults["v2"]
            assert replicas.loaded == ("v1",)
    finally:
        replicas.close()
