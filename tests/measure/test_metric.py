from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.errors import AndonError, NotFound, UsageError
from andon.measure.estimate import Estimate
from andon.measure.metric import Metric, metric_names, parse_metric
from andon.measure.summary import Confusion, Count, add

BINARY = ("negative", "positive")


def table(cells: dict[tuple[str, str | None], int]) -> pl.DataFrame:
    pairs = [pair for pair, count in cells.items() for _ in range(count)]
    return pl.DataFrame(pairs, schema={"label": pl.String, "prediction": pl.String}, orient="row")


COURSE = table(
    {
        ("negative", "negative"): 905,
        ("positive", "negative"): 18,
        ("negative", "positive"): 9,
        ("positive", "positive"): 68,
    }
)
ALL_NEGATIVE = table({("negative", "negative"): 914, ("positive", "negative"): 86})
TYPES = ("dent", "discolouration", "pit_mark", "scratch")


def measure(of: str, frame: pl.DataFrame, classes: tuple[str, ...] = BINARY) -> Estimate:
    return parse_metric(of, classes).measure(frame)


@pytest.mark.parametrize(
    ("of", "expected"),
    [
        ("precision[positive]", 0.883117),
        ("recall[positive]", 0.790698),
        ("f1[positive]", 0.834356),
        ("accuracy", 0.973),
        ("error_rate", 0.027),
        ("specificity[positive]", 0.990153),
        ("recall[negative]", 0.990153),
    ],
)
def test_the_confusion_matrix_of_the_course(of: str, expected: float) -> None:
    assert measure(of, COURSE).value == pytest.approx(expected, abs=5e-7)


def test_intervals_of_the_course() -> None:
    precision, recall = measure("precision[positive]", COURSE), measure("recall[positive]", COURSE)
    assert (precision.low, precision.high) == pytest.approx((0.793, 0.937), abs=5e-4)
    assert (recall.low, recall.high) == pytest.approx((0.693, 0.863), abs=5e-4)
    assert (precision.n, recall.n) == (77, 86)


def test_always_negative_has_no_precision_and_no_recall() -> None:
    assert measure("accuracy", ALL_NEGATIVE).value == pytest.approx(0.914)
    assert measure("recall[positive]", ALL_NEGATIVE).value == 0
    assert measure("f1[positive]", ALL_NEGATIVE).value == 0
    precision = measure("precision[positive]", ALL_NEGATIVE)
    assert precision.value is None and precision.reason == "nothing with a label was answered 'positive'"


def test_always_positive_in_the_quiz() -> None:
    quiz = table({("negative", "positive"): 98, ("positive", "positive"): 2})
    assert measure("recall[positive]", quiz).value == 1
    assert measure("precision[positive]", quiz).value == pytest.approx(0.02)
    assert measure("f1[positive]", quiz).value == pytest.approx(0.039216, abs=5e-7)


@pytest.mark.parametrize(("negatives", "positives"), [(997, 3), (990, 10), (967, 33)])
def test_skewed_sets_flatter_accuracy(negatives: int, positives: int) -> None:
    skewed = table({("negative", "negative"): negatives, ("positive", "negative"): positives})
    assert measure("accuracy", skewed).value == pytest.approx(negatives / 1000)


def _f1(precision: float, recall: float) -> float | None:
    """F1 of a matrix with very nearly this precision and recall."""
    hits = 10_000_000
    wrong, missed = round(hits / precision) - hits, round(hits / recall) - hits
    classes = ((float(hits), float(missed), 0.0), (float(wrong), 0.0, 0.0))
    total = float(hits + wrong + missed)
    kept = Confusion(("x", "y"), classes, int(total), total, total)
    return parse_metric("f1[x]", ("x", "y")).estimate(kept).value


@pytest.mark.parametrize(
    ("precision", "recall", "f1"),
    [
        (0.821, 0.992, 0.898436),
        (0.921, 0.995, 0.956571),
        (0.853, 0.987, 0.915121),
        (0.721, 0.970, 0.827167),
        (0.97, 0.073, 0.13578),
    ],
)
def test_f1_of_published_precision_and_recall(precision: float, recall: float, f1: float) -> None:
    assert _f1(precision, recall) == pytest.approx(f1, abs=1e-5)


def test_macro_f1_is_the_plain_mean() -> None:
    cells = {(t, p): 50 if t == p else 3 + i for i, t in enumerate(TYPES) for p in TYPES}
    frame = table({(t, p): n for (t, p), n in cells.items()})
    parts = [measure(f"f1[{name}]", frame, TYPES).value for name in TYPES]
    macro = measure("macro_f1", frame, TYPES)
    assert macro.value == pytest.approx(np.mean(np.array(parts, dtype=float)))
    assert macro.low is not None and macro.high is not None and macro.low < (macro.value or 0) < macro.high
    assert macro.n == frame.height


def test_macro_f1_of_a_class_that_is_not_there_is_undefined() -> None:
    assert "'y' neither occurred" in (measure("macro_f1", table({("x", "x"): 3}), ("x", "y")).reason or "")
    assert measure("macro_f1", COURSE.clear()).value is None


def test_macro_f1_intervals_cover_about_as_stated() -> None:
    random = np.random.default_rng(11)
    cell = np.array([[0.50, 0.05, 0.01, 0], [0.04, 0.20, 0.02, 0], [0.02, 0.03, 0.13, 0]])
    metric = parse_metric("macro_f1", ("a", "b", "c"))

    def kept(counts: Any, n: int) -> Confusion:
        return Confusion(("a", "b", "c"), tuple(map(tuple, counts.reshape(3, 4).tolist())), n, n, n)

    truth = metric.estimate(kept(cell * 1e6, 10**6)).value or 0
    held = 0
    for _ in range(500):
        estimate = metric.estimate(kept(random.multinomial(150, cell.ravel()).astype(float), 150))
        held += (estimate.low or 0) <= truth <= (estimate.high or 1)
    assert 0.93 <= held / 500 <= 0.995


VALUE = "value(positive: {right: 40, missed: -400}, negative: {wrong: -15})"


def test_value_of_the_course_matrix() -> None:
    value = measure(VALUE, COURSE)
    assert value.value == pytest.approx((68 * 40 - 18 * 400 - 9 * 15) / 1000)
    assert value.n == 1000


def test_value_never_seen_to_fail_may_still_fail() -> None:
    good = measure(VALUE, table({("positive", "positive"): 20, ("negative", "negative"): 20}))
    assert good.value == 20 and good.low is not None and good.low < 0 < 20 <= (good.high or 0) <= 40


def test_value_prices_no_answer_apart() -> None:
    of = "value(positive: {right: 1, missed: -10, unanswered: -2})"
    frame = table(
        {("positive", "refer"): 1, ("positive", None): 1, ("positive", "negative"): 1, ("positive", "positive"): 1}
    )
    assert measure(of, frame).value == pytest.approx((-2 - 2 - 10 + 1) / 4)
    assert measure("value(positive: {missed: -10})", frame).value == pytest.approx(-30 / 4)


@pytest.mark.parametrize("rates", [(0.6, 0.3, 0.05, 0.05), (0.9, 0.06, 0.02, 0.02)])
def test_value_intervals_cover_as_stated(rates: tuple[float, ...]) -> None:
    random = np.random.default_rng(7)
    metric = parse_metric(VALUE, BINARY)
    truth = rates[1] * 40 - rates[2] * 400 - rates[3] * 15
    held = 0
    for _ in range(600):
        tn, tp, fn, fp = (float(v) for v in random.multinomial(200, rates))
        estimate = metric.estimate(Confusion(BINARY, ((tn, fp, 0.0), (fn, tp, 0.0)), 200, 200.0, 200.0))
        held += (estimate.low or -1e9) <= truth <= (estimate.high or 1e9)
    assert 0.93 <= held / 600 <= 0.99


@pytest.mark.parametrize(
    ("of", "says"),
    [
        ("value", "needs something in brackets"),
        ("value()", "needs something in brackets"),
        ("value(positiv: {right: 1})", "did you mean 'positive'"),
        ("value(positive: {rigth: 1})", "expected right, missed"),
        ("value(positive: {right: much})", "expected right, missed"),
        ("value(positive: {right: 1, right: 2})", "named twice"),
        ("value(positive: {right: 1}, positive: {missed: 1})", "named twice"),
        ("value(positive: {missed: -1, wrong: -2})", "give one"),
        ("value(positive: {right: 0})", "every amount is 0"),
        ("value(positive: 3)", "is not understood"),
        ("value(positive: {right: 1e999})", "expected right"),
        ("recall", "write|like 'recall\\[negative\\]'"),
        ("recall[positiv]", "did you mean 'positive'"),
        ("accuracy[positive]", "takes nothing in brackets"),
        ("mean()", "like 'mean"),
        ("share(age >)", "expected a value"),
        ("feedback(a, b, c)", "expected 'feedback"),
        ("!", "is not understood"),
        ("", "is not understood"),
    ],
)
def test_faults_are_sentences(of: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse_metric(of, BINARY)


def test_value_needs_the_classes() -> None:
    with pytest.raises(UsageError, match="classes"):
        parse_metric("value(a: {right: 1})")


@settings(deadline=None)
@given(
    st.one_of(
        st.text(max_size=30),
        st.tuples(st.sampled_from(metric_names()), st.text("ab[](){}:,'=1", max_size=12)).map("".join),
    )
)
def test_any_text_is_read_or_refused(of: str) -> None:
    try:
        parse_metric(of, BINARY)
    except AndonError as error:
        assert isinstance(error, UsageError) and error.message


def test_unknown_metrics_are_refused_with_the_closest() -> None:
    with pytest.raises(NotFound, match="did you mean 'accuracy'"):
        parse_metric("acuracy")


LIVE = pl.DataFrame(
    {
        "status": ["decided", "decided", "decided", "pending", "decided"],
        "prediction": ["positive", "negative", None, None, "refer"],
        "decided_by": ["model", "person", "nobody", "nobody", "safe_default"],
        "suggestion": [None, "positive", None, "negative", "negative"],
        "human": ["positive", None, "negative", None, None],
        "error": [None, None, "broken", None, None],
        "latency_us": [1000, 2000, 3000, 4000, 5000],
        "time_us": [0, 1_000_000, 2_000_000, 3_000_000, 4_000_000],
        "feedback": [["shown", "click"], ["shown"], [], None, ["redo"]],
        "age": [1.0, float("nan"), None, 3.0, 5.0],
        "cough": [True, False, None, True, True],
        "region": ["North", "South", None, "North", "North"],
    }
)


@pytest.mark.parametrize(
    ("of", "value", "n"),
    [
        ("null_outputs", 1 / 4, 4),
        ("automatic_share", 1 / 5, 5),
        ("deferral_rate", 3 / 5, 5),
        ("agreement", 1 / 2, 2),
        ("override_rate", 1.0, 1),
        ("error_responses", 1 / 5, 5),
        ("feedback(redo)", 1 / 5, 5),
        ("feedback(click, shown)", 1 / 2, 2),
        ("mean(age)", 3.0, 3),
        ("mean(cough)", 3 / 4, 4),
        ("missing(age)", 2 / 5, 5),
        ("missing(region)", 1 / 5, 5),
        ("share(region = 'North')", 3 / 4, 4),
        ("share(age >= 3 AND cough)", 2 / 4, 4),
        ("throughput_per_s", 1.0, 4),
        ("latency_p50_ms", 3.0, 5),
    ],
)
def test_what_is_observed(of: str, value: float, n: int) -> None:
    estimate = measure(of, LIVE)
    assert estimate.value == pytest.approx(value, rel=0.005) and estimate.n == n


EVERY = [
    "accuracy", "error_rate", "precision[positive]", "recall[positive]", "specificity[positive]", "f1[positive]",
    "macro_f1", VALUE, "null_outputs", "automatic_share", "deferral_rate", "agreement", "override_rate",
    "error_responses", "labelled_share", "feedback(redo)", "mean(age)", "missing(age)", "share(cough)", "throughput_per_s",
    "latency_p50_ms", "latency_p90_ms", "latency_p95_ms", "latency_p99_ms",
]  # fmt: skip


@pytest.mark.parametrize("of", EVERY)
def test_laws_of_every_metric(of: str) -> None:
    metric = parse_metric(of, BINARY)
    frame = LIVE.with_columns(label=pl.Series(["positive", None, "negative", "negative", "positive"]))
    parts = [metric.summarise(frame[i : i + 2]) for i in range(0, 5, 2)]
    whole, joined = metric.estimate(metric.summarise(frame)), metric.estimate(add(parts, metric.kind))
    for end in ("value", "low", "high", "n"):
        a, b = getattr(joined, end), getattr(whole, end)
        assert a is b or a == pytest.approx(b, rel=1e-9), end
    nothing = metric.estimate(metric.kind())
    assert nothing.value is None and nothing.reason
    assert metric.summarise(pl.DataFrame({"other": [1]})) == metric.kind()
    assert metric.estimate(metric.summarise(frame.clear())).value is None
    assert metric.needs_label is (metric.needs == {"label", "prediction"}) and metric.columns >= metric.needs


def test_every_name_is_covered_here() -> None:
    assert {name.split("[")[0].split("(")[0] for name in EVERY} >= set(metric_names()) - {"rows"}


def test_weighted_rows_count_by_their_weight() -> None:
    frame = COURSE.with_columns(weight=pl.when(pl.col("label") == "positive").then(10.0).otherwise(1.0))
    weighted, plain = measure("accuracy", frame), measure("accuracy", COURSE)
    assert weighted.value == pytest.approx((905 + 680) / (914 + 860))
    assert (weighted.high or 0) - (weighted.low or 0) > (plain.high or 0) - (plain.low or 0)


def test_another_kind_of_summary_is_refused() -> None:
    with pytest.raises(UsageError, match="expected a summary of kind Confusion, found Count"):
        parse_metric("accuracy").estimate(Count())


def test_a_metric_of_text_says_so() -> None:
    with pytest.raises(UsageError, match="'region': a mean needs numbers"):
        measure("mean(region)", LIVE)


def test_without_classes_those_that_occur_are_used() -> None:
    metric: Metric = parse_metric("recall[yes]")
    assert metric.measure(table({("yes", "yes"): 1, ("no", "yes"): 1})).value == 1


def test_a_changed_target_keeps_the_old_rows() -> None:
    old = parse_metric("accuracy", ("a", "b")).summarise(table({("a", "a"): 2, ("b", "a"): 1}))
    worth = parse_metric("value(a: {right: 1})", ("a", "c"))
    assert worth.estimate(old).value == 1.0


def test_a_hostile_text_is_refused_quickly() -> None:
    with pytest.raises(UsageError):
        parse_metric("value(positive: {right: 1}," + " " * 3900 + "x)", BINARY)
    assert measure("value( positive : { right : 1 } , negative:{wrong:-1} )", COURSE).value == pytest.approx(
        0.068 - 0.009
    )
