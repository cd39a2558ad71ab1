"""LightGBM and XGBoost models are sealed in their own format and answer as they did in training."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
import polars as pl
import pytest
import xgboost
from hypothesis import given
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer, OneHotEncoder, StandardScaler

from andon.checks.predictor import check_predictor
from andon.core.record import Field
from andon.data.contract import Contract
from andon.errors import Corrupt, Unavailable, UsageError, UserCodeError
from andon.model.booster import INPUT, Input, matrix_of
from andon.model.bundle import Compiled, Parts, Served, load_bundle, seal
from andon.model.columns import Block, columns_of, take
from andon.model.compile import compile_model
from andon.model.predictor import UserCode, load_user_source

FIELDS = (
    Field("a", "float", optional=True),
    Field("b", "float"),
    Field("flag", "bool", optional=True),
    Field("place", "category", optional=True),
)
NUMERIC = ("a", "b", "flag")
TWO, THREE = ("no", "yes"), ("low", "middle", "high")
NO_FEATURES = load_user_source(b"", Path("model.py"))
MATRIX = load_user_source(
    b"import numpy as np\ndef features(x: dict[str, np.ndarray]):\n    return np.stack([x['a'], x['b'], x['flag']], axis=1)\n",
    Path("model.py"),
)
SMALL = {"n_estimators": 7, "n_jobs": 1}


def table(rows: int = 300) -> pl.DataFrame:
    random = np.random.default_rng(5)
    a, flag = random.normal(size=rows), random.integers(0, 2, rows).astype(float)
    a[random.random(rows) < 0.1] = np.nan
    flag[random.random(rows) < 0.1] = np.nan
    place = [None if random.random() < 0.1 else str(one) for one in random.choice(["east", "north", "west"], rows)]
    return pl.DataFrame(
        {
            "a": pl.Series(a, nan_to_null=True),
            "b": random.normal(size=rows),
            "flag": pl.Series(flag, nan_to_null=True),
            "place": pl.Series(place, dtype=pl.String),
        }
    )


X = table()
COLUMNS = columns_of(X, FIELDS)
NUMBERS = np.stack([COLUMNS[name] for name in NUMERIC], axis=1)
RAW = np.nan_to_num(NUMBERS[:, 0]) + NUMBERS[:, 1] + np.array([{"west": 1.0}.get(p, 0.0) for p in COLUMNS["place"]])
NOISY = RAW + np.random.default_rng(6).normal(scale=0.4, size=len(RAW))
Y2 = (NOISY > 0.3).astype(int)
Y3 = np.digitize(NOISY, [-0.5, 0.8])
FRAME = pd.DataFrame({name: COLUMNS[name] for name in NUMERIC} | {"place": pd.Categorical(COLUMNS["place"].tolist())})


def lgbm(**more: Any) -> Any:
    return lightgbm.LGBMClassifier(**{**SMALL, "verbose": -1, "min_child_samples": 5, **more})


def xgb(**more: Any) -> Any:
    return xgboost.XGBClassifier(**{**SMALL, **more})


def names(numbers: Any, classes: tuple[str, ...]) -> Any:
    return np.array(classes)[numbers]


def encoded(**more: Any) -> ColumnTransformer:
    return ColumnTransformer(
        [("n", "passthrough", list(NUMERIC)), ("c", OneHotEncoder(handle_unknown="ignore", **more), ["place"])]
    )


def lgb_train(objective: str, y: Any, x: Any = NUMBERS, **more: Any) -> Any:
    return lightgbm.train(
        {"objective": objective, "verbose": -1, "num_threads": 1, "min_data_in_leaf": 5, **more},
        lightgbm.Dataset(x, y),
        7,
    )


def xgb_train(objective: str, y: Any, x: Any = NUMBERS, **more: Any) -> Any:
    return xgboost.train({"objective": objective, "nthread": 1, **more}, xgboost.DMatrix(x, y), 7)


def stopped(model: Any) -> Any:
    train, rest = (NUMBERS[:200], Y2[:200]), (NUMBERS[200:], Y2[200:])
    if isinstance(model, lightgbm.LGBMModel):
        stop = lightgbm.early_stopping(1, verbose=False)
        return model.fit(*train, eval_X=rest[0], eval_y=rest[1], callbacks=[stop])
    return model.set_params(early_stopping_rounds=1).fit(*train, eval_set=[rest], verbose=False)


#: name -> (how it is made, the classes, what the same object says in the library's own words, the code before it)
MODELS: dict[str, tuple[Callable[[], Any], tuple[str, ...], Callable[[Any], Any], UserCode]] = {
    "lightgbm, matrix, names": (
        lambda: lgbm().fit(NUMBERS, names(Y2, TWO)), TWO, lambda m: m.predict_proba(NUMBERS), MATRIX,
    ),
    "lightgbm, three classes by name": (
        lambda: lgbm().fit(NUMBERS, names(Y3, THREE)), THREE, lambda m: m.predict_proba(NUMBERS)[:, [1, 2, 0]], MATRIX,
    ),
    "lightgbm, early stopping": (
        lambda: stopped(lgbm(n_estimators=60)), TWO, lambda m: m.predict_proba(NUMBERS), MATRIX,
    ),
    "lightgbm, categories": (
        lambda: lgbm().fit(FRAME, names(Y2, TWO)), TWO, lambda m: m.predict_proba(FRAME), NO_FEATURES,
    ),
    "lightgbm, some columns in another order": (
        lambda: lgbm().fit(FRAME[["place", "b"]], names(Y2, TWO)), TWO,
        lambda m: m.predict_proba(FRAME[["place", "b"]]), NO_FEATURES,
    ),
    "lightgbm, linear trees": (
        lambda: lgbm(linear_tree=True).fit(NUMBERS, Y2), TWO, lambda m: m.predict_proba(NUMBERS), MATRIX,
    ),
    "lightgbm, pipeline": (
        lambda: make_pipeline(encoded(sparse_output=False), lgbm()).fit(X, names(Y2, TWO)), TWO,
        lambda m: m.predict_proba(X), NO_FEATURES,
    ),
    "lightgbm, sparse pipeline": (
        lambda: make_pipeline(encoded(), lgbm()).fit(X, names(Y3, THREE)), THREE,
        lambda m: m.predict_proba(X)[:, [1, 2, 0]], NO_FEATURES,
    ),
    "lightgbm, search": (
        lambda: GridSearchCV(make_pipeline(StandardScaler(), lgbm()), {"lgbmclassifier__num_leaves": [3, 5]}, cv=2).fit(
            NUMBERS, names(Y2, TWO)
        ), TWO, lambda m: m.predict_proba(NUMBERS), MATRIX,
    ),
    "lightgbm, Booster": (
        lambda: lgb_train("binary", Y2), TWO, lambda m: np.stack([1 - m.predict(NUMBERS), m.predict(NUMBERS)], 1), MATRIX,
    ),
    "lightgbm, Booster of three": (
        lambda: lgb_train("multiclass", Y3, num_class=3), THREE, lambda m: m.predict(NUMBERS), MATRIX,
    ),
    "xgboost, matrix, numbers": (lambda: xgb().fit(NUMBERS, Y2), TWO, lambda m: m.predict_proba(NUMBERS), MATRIX),
    "xgboost, three classes": (lambda: xgb().fit(NUMBERS, Y3), THREE, lambda m: m.predict_proba(NUMBERS), MATRIX),
    "xgboost, softmax": (
        lambda: xgb(objective="multi:softmax").fit(NUMBERS, Y3), THREE, lambda m: m.predict_proba(NUMBERS), MATRIX,
    ),
    "xgboost, early stopping": (lambda: stopped(xgb(n_estimators=60)), TWO, lambda m: m.predict_proba(NUMBERS), MATRIX),
    "xgboost, a number is missing": (
        lambda: xgb(missing=0.0).fit(NUMBERS, Y2), TWO, lambda m: m.predict_proba(NUMBERS), MATRIX,
    ),
    "xgboost, dart": (lambda: xgb(booster="dart").fit(NUMBERS, Y2), TWO, lambda m: m.predict_proba(NUMBERS), MATRIX),
    "xgboost, forest": (
        lambda: xgboost.XGBRFClassifier(**SMALL).fit(NUMBERS, Y2), TWO, lambda m: m.predict_proba(NUMBERS), MATRIX,
    ),
    "xgboost, categories": (
        lambda: xgb(enable_categorical=True).fit(FRAME, Y2), TWO, lambda m: m.predict_proba(FRAME), NO_FEATURES,
    ),
    "xgboost, some columns in another order": (
        lambda: xgb(enable_categorical=True).fit(FRAME[["place", "b"]], Y2), TWO,
        lambda m: m.predict_proba(FRAME[["place", "b"]]), NO_FEATURES,
    ),
    "xgboost, pipeline": (
        lambda: make_pipeline(encoded(sparse_output=False), xgb()).fit(X, Y2), TWO, lambda m: m.predict_proba(X), NO_FEATURES,
    ),
    "xgboost, sparse pipeline": (
        lambda: make_pipeline(encoded(sparse_output=True), xgb()).set_params(columntransformer__sparse_threshold=1.0).fit(X, Y3),
        THREE, lambda m: m.predict_proba(X), NO_FEATURES,
    ),
    "xgboost, Booster": (
        lambda: xgb_train("binary:logistic", Y2), TWO,
        lambda m: np.stack([1 - m.inplace_predict(NUMBERS), m.inplace_predict(NUMBERS)], 1), MATRIX,
    ),
    "xgboost, Booster of three": (
        lambda: xgb_train("multi:softprob", Y3, num_class=3), THREE, lambda m: m.inplace_predict(NUMBERS), MATRIX,
    ),
}  # fmt: skip


#: What the other library's twin, or a plainer model of the same one, shows in every quick run.
LONG = frozenset(
    [
        "lightgbm, search",
        "lightgbm, some columns in another order",
        "lightgbm, sparse pipeline",
        "lightgbm, Booster",
        "xgboost, softmax",
        "xgboost, forest",
        "xgboost, categories",
        "xgboost, pipeline",
        "xgboost, Booster",
    ]
)


def served(tmp_path: Path, compiled: Compiled, classes: tuple[str, ...], code: UserCode = NO_FEATURES) -> Served:
    hash = seal(Parts(Contract(FIELDS, "y", classes), compiled, code), tmp_path)
    return load_bundle(tmp_path / hash, hash)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in MODELS]
)
def test_sealed_models_answer_as_in_training(name: str, tmp_path: Path) -> None:
    make, classes, says, code = MODELS[name]
    model = make()
    expected = np.asarray(says(model))
    compiled = compile_model(model, COLUMNS, FIELDS, classes, code)
    assert compiled.engine == name.partition(",")[0]
    assert compiled.difference < 1e-6 and compiled.rows_compared > 250
    assert not [file for file in compiled.files if "pkl" in file]
    loaded = served(tmp_path, compiled, classes, code)
    assert sorted(loaded.manifest.files) == sorted(
        {
            *compiled.files,
            "model.txt" if "light" in name else "model.ubj",
            "model.py",
            "contract.json",
            "reference.json",
        }
    )
    np.testing.assert_allclose(loaded.predict(COLUMNS), expected, atol=1e-6)
    check_predictor(loaded, take(COLUMNS, slice(0, 20)))


def test_the_library_itself_reads_what_is_sealed() -> None:
    one = compile_model(lgbm().fit(NUMBERS, Y2), COLUMNS, FIELDS, TWO, MATRIX)
    assert lightgbm.Booster(model_str=one.payload.decode()).num_trees() == 7
    other = compile_model(xgb().fit(NUMBERS, Y2), COLUMNS, FIELDS, TWO, MATRIX)
    booster = xgboost.Booster()
    booster.load_model(bytearray(other.payload))
    assert booster.num_boosted_rounds() == 7


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_category_never_seen_is_what_the_library_makes_of_it(tmp_path: Path) -> None:
    fresh = {**take(COLUMNS, slice(0, 2)), "place": np.array(["south", None], dtype=object)}
    same = {**take(COLUMNS, slice(0, 2)), "place": np.array([None, None], dtype=object)}
    light = served(tmp_path, compile_model(lgbm().fit(FRAME, Y2), COLUMNS, FIELDS, TWO, NO_FEATURES), TWO)
    np.testing.assert_array_equal(light.predict(fresh), light.predict(same))
    model = xgb(enable_categorical=True).fit(FRAME, Y2)
    strict = served(tmp_path, compile_model(model, COLUMNS, FIELDS, TWO, NO_FEATURES), TWO)
    assert np.isfinite(strict.predict(same)).all()
    with pytest.raises(UserCodeError, match="place: the model has never seen the category 'south'"):
        strict.predict(fresh)


def test_numbers_that_are_codes_of_categories_stay_numbers(tmp_path: Path) -> None:
    fields, columns = FIELDS[:3], {name: COLUMNS[name] for name in NUMERIC}
    frame = FRAME[list(NUMERIC)].astype({"flag": "category"})
    coded = xgb(enable_categorical=True, feature_types=["q", "q", "c"]).fit(FRAME[list(NUMERIC)].to_numpy(), Y2)
    for model in (lgbm().fit(frame, Y2), coded):
        expected = model.predict_proba(frame if model is not coded else NUMBERS)
        compiled = compile_model(model, columns, fields, TWO, NO_FEATURES)
        hash = seal(Parts(Contract(fields, "y", TWO), compiled, NO_FEATURES), tmp_path)
        np.testing.assert_allclose(load_bundle(tmp_path / hash, hash).predict(columns), expected, atol=1e-6)


def test_steps_that_do_not_compile_go_with_skops_or_not_at_all() -> None:
    bins = KBinsDiscretizer(3, encode="ordinal", quantile_method="averaged_inverted_cdf")
    model = make_pipeline(ColumnTransformer([("b", bins, ["b"])]), lgbm(min_child_samples=1)).fit(X, Y2)
    model.steps[0][1].transformer_weights = {"b": 1.0}
    compiled = compile_model(model, COLUMNS, FIELDS, TWO, NO_FEATURES)
    assert "steps.skops" in compiled.files and "ColumnTransformer with transformer_weights" in compiled.reason
    code = load_user_source(b"def twice(x): return 2 * x.to_numpy()", Path("model.py"))
    own = make_pipeline(ColumnTransformer([("f", FunctionTransformer(code.module.twice), ["b"])]), lgbm()).fit(X, Y2)
    with pytest.raises(UsageError, match=r"twice is no reviewed scikit-learn type"):
        compile_model(own, COLUMNS, FIELDS, TWO, code)
    assert compile_model(own, COLUMNS, FIELDS, TWO, code, trusted_by="owner").engine == "python"


@pytest.mark.parametrize(
    ("make", "classes", "error", "said"),
    [
        (lambda: lgb_train("regression", Y2), TWO, UsageError, "objective is regression, which gives no probabilities"),
        (lambda: xgb_train("binary:hinge", Y2), TWO, UsageError, "objective is binary:hinge, which gives no probabilities"),
        (lambda: xgb().fit(NUMBERS, Y2), THREE, UserCodeError, "answers with the classes 0, 1, the charter has low, middle"),
        (lambda: lgbm().fit(NUMBERS, names(Y2, ("nay", "aye"))), TWO, UserCodeError, "classes aye, nay, the charter has no"),
        (lambda: lgbm().fit(NUMBERS[:, :2], Y2), TWO, UserCodeError, r"takes 2 columns, and features\(\) returns 3"),
    ],
)  # fmt: skip
def test_models_that_cannot_be_sealed_say_why(make: Any, classes: Any, error: Any, said: str) -> None:
    with pytest.raises(error, match=said):
        compile_model(make(), COLUMNS, FIELDS, classes, MATRIX)


@pytest.mark.parametrize("make", [lgbm, xgb])
def test_columns_that_do_not_fit_are_named(make: Any) -> None:
    with pytest.raises(UserCodeError, match="takes 3 columns, and it is called with 4"):
        compile_model(make().fit(NUMBERS, Y2), COLUMNS, FIELDS, TWO, NO_FEATURES)
    strange = FRAME[["a", "b"]].rename(columns={"a": "gone"})
    with pytest.raises(UserCodeError, match="trained on a column 'gone' that it is not called with; found a, b, flag"):
        compile_model(make().fit(strange, Y2), COLUMNS, FIELDS, TWO, NO_FEATURES)
    codes = FRAME.assign(place=FRAME["place"].cat.codes)
    with pytest.raises(UserCodeError, match="place is text, and the model has no categories for it"):
        compile_model(make().fit(codes, Y2), COLUMNS, FIELDS, TWO, NO_FEATURES)


def test_a_model_that_is_another_one_after_sealing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = lgbm().fit(NUMBERS, 1 - Y2).booster_
    model = lgbm().fit(NUMBERS, Y2)
    monkeypatch.setattr(model.booster_, "model_to_string", other.model_to_string)
    with pytest.raises(UsageError, match="lightgbm model is not sealed: the sealed model disagrees on training rows"):
        compile_model(model, COLUMNS, FIELDS, TWO, MATRIX)


def test_a_class_of_your_own_is_not_taken_for_the_librarys() -> None:
    class Mine(lightgbm.LGBMClassifier):
        pass

    with pytest.raises(UsageError, match="can only be stored as a Python object"):
        compile_model(Mine(n_estimators=7, n_jobs=1, verbose=-1).fit(NUMBERS, Y2), COLUMNS, FIELDS, ("0", "1"), MATRIX)


@pytest.mark.parametrize(("make", "library"), [(lgbm, "lightgbm"), (xgb, "xgboost")])
def test_a_missing_library_is_one_sentence(
    make: Any, library: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled = compile_model(make().fit(NUMBERS, Y2), COLUMNS, FIELDS, TWO, MATRIX)
    hash = seal(Parts(Contract(FIELDS, "y", TWO), compiled, MATRIX), tmp_path)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(Unavailable, match=f"{library} is not installed here") as caught:
        load_bundle(tmp_path / hash, hash)
    assert caught.value.hint == f"pip install 'andon[{library}]'"


@pytest.mark.parametrize("make", [lgbm, xgb])
def test_bytes_that_are_no_model_are_one_sentence(make: Any, tmp_path: Path) -> None:
    compiled = compile_model(make().fit(NUMBERS, Y2), COLUMNS, FIELDS, TWO, MATRIX)
    with pytest.raises(UserCodeError, match="loading the"):
        served(tmp_path, Compiled(compiled.engine, b"no model", files=compiled.files), TWO)
    with pytest.raises(Corrupt, match=r"input\.json of a"):
        served(tmp_path, Compiled(compiled.engine, compiled.payload, files={**compiled.files, INPUT: b"[]"}), TWO)


@pytest.mark.parametrize("make", [lgbm, xgb])
def test_threads_share_a_model_and_the_interpreter_goes_on_meanwhile(make: Any, tmp_path: Path) -> None:
    compiled = compile_model(make(n_estimators=60).fit(NUMBERS, Y2), COLUMNS, FIELDS, TWO, MATRIX)
    model = served(tmp_path, compiled, TWO, MATRIX).scorer
    many = np.tile(NUMBERS, (300, 1))
    expected = model.scores(NUMBERS)
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(model.scores(many))) for _ in range(2)]
    for thread in threads:
        thread.start()
    turns = 0
    while any(thread.is_alive() for thread in threads):
        time.sleep(0)
        turns += 1
    assert turns > 20  # a call of tens of milliseconds that kept the GIL would leave one or two
    assert len(found) == 2
    for one in found:
        np.testing.assert_allclose(one, np.tile(expected, (300, 1)), atol=1e-6)


@given(st.lists(st.one_of(st.none(), st.sampled_from(["x", "y", "z", "", "é"])), min_size=1, max_size=20))
def test_codes_are_places_among_the_levels(values: list[str | None]) -> None:
    column = np.array([*values, None], dtype=object)[:-1]
    codes = matrix_of({"c": column}, Input(columns=("c",), levels={"c": ("x", "y", "é")}))[:, 0]
    for value, code in zip(values, codes.tolist(), strict=True):
        assert np.isnan(code) if value not in ("x", "y", "é") else ("x", "y", "é")[int(code)] == value


def test_a_block_goes_in_as_it_is() -> None:
    block = Block(("a", "b"), np.array([[1.0, 2.0]]))
    assert matrix_of(block, Input(columns=("a", "b"))) is block.matrix
    assert matrix_of(block, Input(columns=("b", "a"))).tolist() == [[2.0, 1.0]]
    with pytest.raises(UserCodeError, match=r"expected shape \(rows, 3\), as in training, found \(1, 2\)"):
        matrix_of(block.matrix, Input(width=3))


def test_what_is_sealed_is_told_in_json() -> None:
    compiled = compile_model(lgbm().fit(FRAME, Y2), COLUMNS, FIELDS, TWO, NO_FEATURES)
    told = json.loads(compiled.files[INPUT])
    assert told["columns"] == ["a", "b", "flag", "place"] and told["levels"] == {"place": ["east", "north", "west"]}
