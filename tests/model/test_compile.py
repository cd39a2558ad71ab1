"""Compiled models agree with their originals, or are not used and say why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, RobustScaler, StandardScaler

from andon.core.record import Field
from andon.errors import UsageError, UserCodeError
from andon.model import compile as compiling
from andon.model.adapter import Layout, ObjectScorer, OnnxScorer, load_model
from andon.model.agree import Original, compare
from andon.model.columns import columns_of, frame_of
from andon.model.compile import compile_model
from andon.model.lower import lower
from andon.model.predictor import UserCode, load_user_source, probabilities

FIELDS = (
    Field("cough", "bool", optional=True),
    Field("temp", "float", optional=True),
    Field("age", "category", optional=True),
    Field("place", "category"),
)
CLASSES = ("negative", "positive")
NUMBERS, TEXTS = ["cough", "temp"], ["age", "place"]


def table(rows: int = 400) -> tuple[pl.DataFrame, pl.Series]:
    random = np.random.default_rng(3)
    gap = random.random((3, rows)) < 0.1
    cough, temp = random.integers(0, 2, rows).astype(float), random.normal(37, 1, rows)
    cough[gap[0]], temp[gap[1]] = np.nan, np.nan
    age = [None if hole else value for hole, value in zip(gap[2], random.choice(["Yes", "No"], rows), strict=True)]
    frame = pl.DataFrame(
        {
            "cough": pl.Series(cough, nan_to_null=True),
            "temp": pl.Series(temp, nan_to_null=True),
            "age": pl.Series(age, dtype=pl.String),
            "place": random.choice(["Abroad", "Contact", "None"], rows),
        }
    )
    sick = (np.nan_to_num(temp, nan=37) > 37.4) ^ (random.random(rows) < 0.15)
    return frame, pl.Series("y", np.where(sick, "positive", "negative"))


X, Y = table()
COLUMNS = columns_of(X, FIELDS)
NO_FEATURES = load_user_source(b"", Path("model.py"))


def by_name(numbers: Any, texts: Any, **options: Any) -> ColumnTransformer:
    return ColumnTransformer([("n", numbers, NUMBERS), ("t", texts, TEXTS)], **options)


def one_hot(**options: Any) -> OneHotEncoder:
    return OneHotEncoder(handle_unknown="ignore", **options)


def dense() -> ColumnTransformer:
    return by_name(SimpleImputer(), one_hot(sparse_output=False))


def logistic() -> LogisticRegression:
    return LogisticRegression(max_iter=500)


def ordinal(**options: Any) -> OrdinalEncoder:
    return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan, **options)


COMPILED: dict[str, Callable[[], Any]] = {
    "impute and one-hot": lambda: make_pipeline(dense(), logistic()),
    "scale before imputing": lambda: make_pipeline(
        by_name(make_pipeline(StandardScaler(), SimpleImputer(strategy="median")), one_hot(drop="first")), logistic()
    ),
    "robust, min-max": lambda: make_pipeline(
        by_name(make_pipeline(SimpleImputer(), RobustScaler(), MinMaxScaler()), one_hot()), logistic()
    ),
    "indicator": lambda: make_pipeline(by_name(SimpleImputer(add_indicator=True), one_hot()), logistic()),
    "one-hot of numbers with gaps": lambda: make_pipeline(
        ColumnTransformer([("c", one_hot(), ["cough", "age", "place"]), ("n", SimpleImputer(), ["temp"])]), logistic()
    ),
    "texts imputed": lambda: make_pipeline(
        by_name(
            SimpleImputer(), make_pipeline(SimpleImputer(missing_values=None, strategy="most_frequent"), one_hot())
        ),
        logistic(),
    ),
    "texts filled": lambda: make_pipeline(
        by_name(
            SimpleImputer(),
            make_pipeline(SimpleImputer(missing_values=None, strategy="constant", fill_value="?"), one_hot()),
        ),
        logistic(),
    ),
    "NaN imputer on texts": lambda: make_pipeline(
        by_name(SimpleImputer(), make_pipeline(SimpleImputer(strategy="most_frequent"), one_hot())), logistic()
    ),
    "unknown is an error": lambda: make_pipeline(by_name(SimpleImputer(), OneHotEncoder()), logistic()),
    "remainder": lambda: make_pipeline(
        ColumnTransformer([("t", one_hot(), TEXTS)], remainder=SimpleImputer(), sparse_threshold=0), logistic()
    ),
    "search": lambda: GridSearchCV(make_pipeline(dense(), logistic()), {"logisticregression__C": [0.1, 1]}, cv=2),
    "boosted": lambda: make_pipeline(
        by_name("passthrough", one_hot(sparse_output=False)), HistGradientBoostingClassifier(max_iter=5)
    ),
    "boosted, ordinal": lambda: make_pipeline(
        by_name("passthrough", ordinal()), HistGradientBoostingClassifier(max_iter=5)
    ),
    "forest": lambda: make_pipeline(dense(), RandomForestClassifier(10, random_state=0)),
    "extra trees": lambda: make_pipeline(dense(), ExtraTreesClassifier(5, random_state=0)),
    "through skl2onnx": lambda: make_pipeline(dense(), GradientBoostingClassifier(n_estimators=5)),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", COMPILED)
def test_pipelines_on_named_columns_compile_and_agree(name: str) -> None:
    model = COMPILED[name]().fit(X, Y)
    compiled = compile_model(model, COLUMNS, FIELDS, CLASSES, NO_FEATURES)
    assert (compiled.engine, compiled.reason) == ("onnx", "")
    assert compiled.difference < 1e-6 and compiled.rows_compared > 400
    scorer = load_model("onnx", compiled.payload, compiled.layout, CLASSES, Path("model.py"))
    np.testing.assert_allclose(scorer.scores(COLUMNS), model.predict_proba(X), atol=1e-6)


MULTICLASS: dict[str, Callable[[], Any]] = {
    "logistic": logistic,
    "boosted": lambda: HistGradientBoostingClassifier(max_iter=10, early_stopping=False),
    "forest": lambda: RandomForestClassifier(5, random_state=0),
    "through skl2onnx": lambda: GradientBoostingClassifier(n_estimators=3),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", MULTICLASS)
def test_more_than_two_classes_compile_in_the_order_of_the_charter(name: str) -> None:
    y = np.where(X["place"] == "Abroad", "maybe", Y)
    model = make_pipeline(dense(), MULTICLASS[name]()).fit(X, y)
    classes = ("positive", "maybe", "negative")
    compiled = compile_model(model, COLUMNS, FIELDS, classes, NO_FEATURES)
    assert (compiled.engine, compiled.reason) == ("onnx", "")
    scores = load_model("onnx", compiled.payload, compiled.layout, classes, Path("model.py")).scores(COLUMNS)
    np.testing.assert_allclose(scores, model.predict_proba(X)[:, [2, 0, 1]], atol=1e-6)


NOT_COMPILED: dict[str, tuple[Callable[[], Any], str]] = {
    "categorical_features": (
        lambda: make_pipeline(
            by_name("passthrough", ordinal()), HistGradientBoostingClassifier(max_iter=5, categorical_features=[2, 3])
        ),
        "HistGradientBoostingClassifier with categorical_features",
    ),
    "neighbours": (lambda: make_pipeline(dense(), KNeighborsClassifier()), "uses Scan with a graph of its own"),
    "rare categories": (
        lambda: make_pipeline(by_name(SimpleImputer(), one_hot(min_frequency=50)), logistic()),
        "OneHotEncoder with infrequent categories",
    ),
    "weights": (
        lambda: make_pipeline(by_name(SimpleImputer(), one_hot(), transformer_weights={"n": 2.0}), logistic()),
        "ColumnTransformer with transformer_weights",
    ),
}


@pytest.mark.parametrize("name", NOT_COMPILED)
def test_what_does_not_compile_is_kept_as_skops_with_the_reason(name: str) -> None:
    make, reason = NOT_COMPILED[name]
    model = make().fit(X, Y)
    compiled = compile_model(model, COLUMNS, FIELDS, CLASSES, NO_FEATURES)
    assert compiled.engine == "skops" and reason in compiled.reason
    scorer = load_model("skops", compiled.payload, Layout(), CLASSES, Path("model.py"))
    np.testing.assert_allclose(scorer.scores(frame_of(COLUMNS, FIELDS)), model.predict_proba(X), atol=1e-6)


def test_a_graph_that_disagrees_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_pipeline(dense(), logistic()).fit(X, Y)
    other = make_pipeline(dense(), logistic()).fit(X, Y.reverse())
    monkeypatch.setattr("andon.model.lower.lower", lambda _, *rest: lower(other, *rest))
    compiled = compile_model(model, COLUMNS, FIELDS, CLASSES, NO_FEATURES)
    assert compiled.engine == "skops" and "disagrees on training rows" in compiled.reason


def test_a_rounded_threshold_is_found_and_refused() -> None:
    tenths = X.select(pl.col("temp").round(1))
    model = HistGradientBoostingClassifier(max_iter=3).fit(tenths, Y)
    scorer = OnnxScorer(lower(model, Layout(("temp",)), ["temp"], CLASSES), Layout(("temp",)))

    class Rounded(OnnxScorer):
        def scores(self, x: Any) -> Any:
            return scorer.scores({"temp": x["temp"].astype(np.float32).astype(np.float64)})

    fields = FIELDS[1:2]
    whole, reason = compiling._table(columns_of(tenths, fields), fields, NO_FEATURES)
    assert whole is not None and not reason
    original = ObjectScorer(model, CLASSES, Path("model.py"))
    rounded = Rounded.__new__(Rounded)
    assert "temp at a threshold" in str(compare(rounded, Original(original.scores), whole))


def featured(body: str) -> UserCode:
    return load_user_source(body.encode(), Path("model.py"))


MATRIX = """
import numpy as np
def features(x: dict[str, np.ndarray]) -> np.ndarray:
    return np.column_stack([np.nan_to_num(x["temp"], nan=37.0), np.nan_to_num(x["cough"])])
"""
FRAME = """
import polars as pl
def features(x: pl.DataFrame) -> pl.DataFrame:
    return x.select(pl.col("temp").fill_null(37.0), (pl.col("temp") > 37).alias("hot"), pl.col("place"))
"""


def test_numpy_features_are_one_matrix() -> None:
    code = featured(MATRIX)
    model = make_pipeline(StandardScaler(), logistic()).fit(code.prepare(COLUMNS, FIELDS)[0], Y)
    compiled = compile_model(model, COLUMNS, FIELDS, CLASSES, code)
    assert compiled.engine == "onnx" and compiled.layout == Layout(width=2)


def test_polars_features_are_columns() -> None:
    code = featured(FRAME)
    encode = ColumnTransformer([("n", SimpleImputer(), ["temp", "hot"]), ("t", one_hot(), ["place"])])
    model = Pipeline([("encode", encode), ("model", logistic())]).fit(code.prepare(COLUMNS, FIELDS)[0], Y)
    compiled = compile_model(model, COLUMNS, FIELDS, CLASSES, code)
    assert (compiled.engine, compiled.reason) == ("onnx", "")
    assert compiled.layout == Layout(("temp", "hot"), ("place",))


def test_a_class_never_seen_gets_zero() -> None:
    model = make_pipeline(dense(), logistic()).fit(X, Y)
    classes = ("positive", "unclear", "negative")
    compiled = compile_model(model, COLUMNS, FIELDS, classes, NO_FEATURES)
    scores = load_model("onnx", compiled.payload, compiled.layout, classes, Path("model.py")).scores(COLUMNS)
    assert scores.shape == (X.height, 3) and not scores[:, 1].any()
    np.testing.assert_allclose(scores[:, ::-2], model.predict_proba(X), atol=1e-6)


RULE = b"""
class Rule:
    def predict(self, x):
        return [None if t is None else "positive" if t > 37.4 else "negative" for t in x["temp"]]
"""


def test_an_object_of_its_own_needs_somebody_who_trusts_it() -> None:
    code = load_user_source(RULE, Path("model.py"))
    model = code.module.Rule()
    with pytest.raises(UsageError, match="can only be stored as a Python object"):
        compile_model(model, COLUMNS, FIELDS, CLASSES, code)
    compiled = compile_model(model, COLUMNS, FIELDS, CLASSES, code, trusted_by="owner")
    assert (compiled.engine, compiled.trusted_by) == (
        "python",
        "owner",
    ) and "Rule has no predict_proba" in compiled.reason
    scores = load_model("python", compiled.payload, Layout(), CLASSES, Path("model.py")).scores(
        frame_of(COLUMNS, FIELDS)
    )
    np.testing.assert_allclose(scores, probabilities(model, X, CLASSES))
    assert np.isnan(scores[np.isnan(COLUMNS["temp"])]).all()


def test_a_model_that_cannot_answer_its_own_training_rows_is_refused() -> None:
    model = make_pipeline(ColumnTransformer([("n", SimpleImputer(), NUMBERS)]), logistic()).fit(X, Y)
    fields = (FIELDS[1],)
    with pytest.raises(UserCodeError, match="predict"):
        compile_model(model, {"temp": COLUMNS["temp"]}, fields, CLASSES, NO_FEATURES)
