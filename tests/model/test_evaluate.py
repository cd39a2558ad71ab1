from __future__ import annotations

import polars as pl
import pytest

from andon.errors import UsageError
from andon.model.evaluate import charter_measures, evaluate, measure
from andon.scope.charter import parse

COUNTS = {("no", "no"): 905, ("yes", "no"): 18, ("no", "yes"): 9, ("yes", "yes"): 68}
SKEWED = pl.concat([pl.DataFrame({"y": [t] * n, "yhat": [a] * n}) for (t, a), n in COUNTS.items()])

CHARTER = parse("""
project: p
inputs: {cough: bool?, age: category}
target: {name: result, classes: [no, yes]}
safe_default: refer
metrics:
  recall: {of: "recall[yes]", goal: ">= 0.5"}
  young: {of: accuracy, where: "age = 'young'"}
  latency: {of: latency_p95_ms, goal: "<= 500"}
slices: {old: "age = 'old'"}
""")


def test_the_published_confusion_matrix() -> None:
    found = evaluate(SKEWED, label="y", prediction="yhat")
    values = {name: estimate.value for name, estimate in found.metrics.items()}
    assert values["precision[yes]"] == pytest.approx(68 / 77) and values["recall[yes]"] == pytest.approx(68 / 86)
    assert values["f1[yes]"] == pytest.approx(136 / 163) and values["accuracy"] == pytest.approx(0.973)
    precision, recall = found.metrics["precision[yes]"], found.metrics["recall[yes]"]
    assert [precision.low, precision.high] == pytest.approx([0.793, 0.937], abs=5e-4)
    assert [recall.low, recall.high] == pytest.approx([0.693, 0.863], abs=5e-4)
    assert found.confusion["matrix"] == [[905, 9], [18, 68]] and found.confusion["classes"] == ["no", "yes"]


def test_print_0_has_no_precision() -> None:
    found = evaluate(SKEWED.with_columns(yhat=pl.lit("no")), label="y", prediction="yhat")
    assert found.metrics["accuracy"].value == pytest.approx(0.914) and found.metrics["recall[yes]"].value == 0
    assert found.metrics["precision[yes]"].value is None and found.metrics["precision[yes]"].reason
    assert found.metrics["f1[yes]"].value == 0


def test_answers_that_are_no_class_are_shown_apart() -> None:
    frame = pl.DataFrame({"y": [1, 1, 0, None], "yhat": [1, None, 7, 1]})
    found = evaluate(frame, label="y", prediction="yhat", classes=["0", "1"])
    assert found.confusion["matrix"] == [[0, 0], [0, 1]] and found.confusion["other"] == [1, 1]


def test_slices_groups_table_and_json() -> None:
    frame = pl.DataFrame({"y": ["a", "b"], "yhat": ["a", "a"], "n": [1, 2]})
    found = evaluate(
        frame, label="y", prediction="yhat", by=["n"], slices={"big": "n > 1"}, metrics={"acc": "accuracy"}
    )
    assert list(found.slices) == ["big", "1", "2"]
    assert found.table.select("slice", "metric", "value").rows() == [
        ("", "acc", 0.5),
        ("big", "acc", 0.0),
        ("1", "acc", 1.0),
        ("2", "acc", 0.0),
    ]
    assert (
        set(found.to_json()) == {"metrics", "slices", "confusion", "n"} and "low" in found.to_json()["metrics"]["acc"]
    )
    assert "table" in found._repr_html_()
    assert len(found.plot().data[0].x) == 4


def test_a_charter_is_measured_and_says_what_it_cannot() -> None:
    frame = pl.DataFrame({"age": ["old", "young"], "label": ["yes", "no"], "prediction": ["yes", "yes"]})
    found = measure(frame, charter_measures(CHARTER))
    assert found.metrics["recall"].value == 1 and found.metrics["young"].value == 0 and found.metrics["young"].n == 1
    assert found.metrics["latency"].reason == "latency_us is not known of these records"


def test_a_condition_on_an_unknown_column_is_undefined_not_an_error() -> None:
    one = charter_measures(CHARTER)[1]
    assert one.missing(["label", "prediction"]) == ["age"]
    assert one.of(pl.DataFrame({"label": ["no"], "prediction": ["no"]})).value is None


def test_something_that_is_no_frame() -> None:
    with pytest.raises(UsageError, match="expected a polars or pandas data frame, found list"):
        evaluate([1, 2])
