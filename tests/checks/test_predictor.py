"""The suite finds every broken promise, and our own engines keep all of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from andon.checks.predictor import check_predictor
from andon.core.record import Field
from andon.data.contract import Contract
from andon.errors import ContractError
from andon.model.bundle import Parts, load_bundle, seal
from andon.model.columns import frame_of
from andon.model.compile import compile_model
from andon.model.predictor import load_user_source

FIELDS = (Field("n", "float", optional=True), Field("site", "category", optional=True))
COLUMNS: dict[str, Any] = {
    "n": np.array([0.5, -1.0, np.nan, 2.0, -3.0, 1.0]),
    "site": np.array(["a", "b", None, "a", "c", "b"], dtype=object),
}


class Sound:
    classes: Any = ("no", "yes")

    def predict(self, columns: Any) -> Any:
        yes = 1 / (1 + np.exp(-np.nan_to_num(columns["n"])))
        return np.stack([1 - yes, yes], axis=1)


def change(columns: Any) -> Any:
    columns["n"][0] = 9.0
    return Sound().predict(columns)


def drift() -> Callable[[Any], Any]:
    random = np.random.default_rng(0)

    def predict(columns: Any) -> Any:
        yes = random.random(len(columns["n"]))
        return np.stack([1 - yes, yes], axis=1)

    return predict


BROKEN: dict[str, tuple[Callable[[], Any], str]] = {
    "one column too few": (lambda: lambda c: Sound().predict(c)[:, :1], r"shape \(6, 2\), found \(6, 1\)"),
    "not finite": (lambda: lambda c: Sound().predict(c) * np.inf, "expected finite numbers from 0 to 1"),
    "silent": (lambda: lambda c: Sound().predict(c) * np.nan, "expected finite numbers from 0 to 1"),
    "negative": (lambda: lambda c: Sound().predict(c) * [[-1, 1]], "expected finite numbers from 0 to 1"),
    "sum": (lambda: lambda c: Sound().predict(c) / 2, "sum to 0.5, expected 1"),
    "changes its input": (lambda: change, "the input column 'n' was changed"),
    "random": (drift, "asked twice, it answers differently"),
    "looks at the batch": (
        lambda: lambda c: Sound().predict({"n": np.nan_to_num(c["n"]) - np.nan_to_num(c["n"]).sum()}),
        "differently from its rows one by one",
    ),
}


def test_a_sound_predictor_passes() -> None:
    check_predictor(Sound(), COLUMNS)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_promise_is_named(name: str) -> None:
    make, said = BROKEN[name]
    predictor = Sound()
    predictor.predict = make()  # type: ignore[method-assign]
    with pytest.raises(ContractError, match=said):
        check_predictor(predictor, {name: column.copy() for name, column in COLUMNS.items()})


def test_silence_may_be_allowed() -> None:
    predictor = Sound()
    predictor.predict = lambda columns: np.full((len(columns["n"]), 2), np.nan)  # type: ignore[method-assign]
    check_predictor(predictor, COLUMNS, may_be_silent=True)


def test_classes_are_distinct_and_two_rows_are_needed() -> None:
    predictor = Sound()
    predictor.classes = ("yes", "yes")
    with pytest.raises(ContractError, match="expected distinct names"):
        check_predictor(predictor, COLUMNS)
    with pytest.raises(ContractError, match="at least two rows"):
        check_predictor(Sound(), {"n": np.zeros(1)})


class Rule(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    classes_ = np.array(["no", "yes"])

    def fit(self, x: Any, y: Any) -> Rule:
        self.fitted_ = True
        return self

    def predict_proba(self, x: Any) -> Any:
        yes = 1 / (1 + np.exp(-np.asarray(x)[:, 0]))
        return np.stack([1 - yes, yes], axis=1)


FINALS: dict[str, tuple[Callable[[], Any], tuple[Any, Any]]] = {
    "onnx": (LogisticRegression, ("no", "yes")),
    "skops": (lambda: KNeighborsClassifier(3), ("no", "yes")),
    "lightgbm": (lambda: lightgbm.LGBMClassifier(n_estimators=3, min_child_samples=1, verbose=-1), ("no", "yes")),
    "xgboost": (lambda: xgboost.XGBClassifier(n_estimators=3, n_jobs=1), (0, 1)),
    "python": (Rule, ("no", "yes")),
}


@pytest.mark.parametrize("engine", FINALS)
def test_our_own_engines_keep_the_promises(tmp_path: Path, engine: str) -> None:
    make, labels = FINALS[engine]
    encode = ColumnTransformer([("n", SimpleImputer(), ["n"]), ("s", OneHotEncoder(handle_unknown="ignore"), ["site"])])
    frame = frame_of(COLUMNS, FIELDS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = make_pipeline(encode, make()).fit(frame, np.array(labels * 3))
    code = load_user_source(b"", Path("model.py"))
    compiled = compile_model(model, COLUMNS, FIELDS, ("no", "yes"), code, trusted_by="owner")
    digest = seal(Parts(Contract(FIELDS, "y", ("no", "yes")), compiled, code), tmp_path)
    served = load_bundle(tmp_path / digest, digest)
    assert served.engine == engine
    check_predictor(served, COLUMNS)
