from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.errors import Corrupt, UsageError
from andon.measure.sketch import Categories, Distinct, Latency, TopK
from andon.measure.summary import Confusion, Count, Histogram, Moments, Span, Summary, add, summary_from_dict

CLASSES = ("a", "b", "c")
numbers = st.lists(
    st.one_of(st.none(), st.floats(-1e6, 1e6), st.just(float("nan")), st.just(float("inf"))), max_size=20
)
texts = st.lists(st.one_of(st.none(), st.sampled_from(["a", "b", "c", "d", "refer"])), max_size=20)


def _confusion(values: list[str | None]) -> Confusion:
    column = pl.Series(values, dtype=pl.String)
    return Confusion.of(column, column.reverse(), CLASSES, pl.Series([2.0] * len(values), dtype=pl.Float64))


BUILDERS: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], Summary]]] = {
    "count": (st.lists(st.one_of(st.none(), st.booleans())), lambda v: Count.of(pl.Series(v, dtype=pl.Boolean))),
    "moments": (numbers, lambda v: Moments.of(pl.Series(v, dtype=pl.Float64))),
    "confusion": (texts, _confusion),
    "span": (st.lists(st.one_of(st.none(), st.integers(0, 2**50))), lambda v: Span.of(pl.Series(v, dtype=pl.Int64))),
    "histogram": (numbers, lambda v: Histogram.of(pl.Series(v, dtype=pl.Float64))),
    "latency": (numbers, lambda v: Latency.of(pl.Series(v, dtype=pl.Float64))),
    "topk": (texts, lambda v: TopK.of(pl.Series(v, dtype=pl.String))),
    "categories": (texts, lambda v: Categories.of(pl.Series(v, dtype=pl.String), {"a", "b"})),
    "distinct": (texts, lambda v: Distinct.of(pl.Series(v, dtype=pl.String))),
}


def _close(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_close(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(_close(x, y) for x, y in zip(a, b, strict=True))
    if isinstance(a, float):
        return bool(a == pytest.approx(b, rel=1e-6, abs=1e-3))
    return bool(a == b)


def same(a: Summary, b: Summary) -> bool:
    return _close(msgspec.structs.asdict(a), msgspec.structs.asdict(b))


@pytest.mark.parametrize("kind", BUILDERS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_the_three_laws(kind: str, data: st.DataObject) -> None:
    values, of = BUILDERS[kind]
    a, b, c = (data.draw(values) for _ in range(3))
    x, y, z = of(a), of(b), of(c)
    assert same((x + y) + z, x + (y + z))
    assert same(x + type(x)(), x) and same(type(x)() + x, x)
    assert same(of(b + c), y + z) if kind != "confusion" else True


@pytest.mark.parametrize("kind", BUILDERS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_summary_survives_json(kind: str, data: st.DataObject) -> None:
    values, of = BUILDERS[kind]
    summary = of(data.draw(values))
    body = msgspec.json.decode(msgspec.json.encode(summary.to_dict()))
    assert summary_from_dict(body) == summary
    assert type(summary).from_dict(body) == summary


@pytest.mark.parametrize("body", [{}, {"type": "Count", "n": "three"}, {"type": 3}, {"type": "Moments", "mean": []}])
def test_a_stored_summary_that_is_none_is_corrupt(body: dict[str, Any]) -> None:
    with pytest.raises(Corrupt):
        summary_from_dict(body)


def test_the_confusion_of_two_tables_is_the_sum() -> None:
    truth, answer = pl.Series(["a", "b", None, "zz", "c"]), pl.Series(["a", None, "a", "b", "refer"])
    whole = Confusion.of(truth, answer, CLASSES)
    parts = [Confusion.of(truth[i : i + 1], answer[i : i + 1], CLASSES) for i in range(5)]
    assert add(parts, Confusion) == whole
    assert whole.n == 3 and whole.outside == 1
    assert whole.counts == ((1, 0, 0, 0), (0, 0, 0, 1), (0, 0, 0, 1))


def test_confusions_with_other_classes_join_by_name() -> None:
    first = Confusion.of(pl.Series(["a", "b"]), pl.Series(["b", None]), ("a", "b"))
    second = Confusion.of(pl.Series(["c", "b"]), pl.Series(["b", "c"]), ("c", "b"))
    both = first + second
    assert both.classes == ("a", "b", "c")
    assert both.counts == ((0, 1, 0, 0), (0, 0, 1, 1), (0, 1, 0, 0))


def test_weights_count_and_cost_precision() -> None:
    count = Count.of(pl.Series([True, False]), pl.Series([1.0, 3.0]))
    assert (count.hits, count.total, count.squares) == (1, 4, 10)
    assert count.scale == pytest.approx(0.4)


def test_moments_match_numpy() -> None:
    values = np.random.default_rng(1).normal(1e6, 1.0, 1000)
    parts = [Moments.of(pl.Series(part)) for part in np.array_split(values, 7)]
    whole = add(parts, Moments)
    assert whole.mean == pytest.approx(values.mean(), rel=1e-12)
    assert whole.variance == pytest.approx(values.var(ddof=1), rel=1e-9)
    assert (whole.low, whole.high) == (values.min(), values.max())


def test_moments_count_what_is_no_number() -> None:
    found = Moments.of(pl.Series([1.0, None, float("nan"), float("-inf"), 0.0]))
    assert (found.n, found.nulls, found.nans, found.infinite, found.zeros, found.total) == (2, 1, 1, 1, 1, 5)
    assert Moments.of(pl.Series([None, None])).nulls == 2
    with pytest.raises(UsageError, match="'t': a mean needs numbers"):
        Moments.of(pl.Series("t", ["x"]))


@pytest.mark.parametrize(
    ("values", "binary"),
    [
        ([0, 1, 1], True),
        ([1], True),
        ([0.0, 0.0], True),
        ([0, 0.5, 1], False),
        ([0, 2], False),
        ([], False),
        ([0, 1, 0.01], False),
    ],
)
def test_binary_columns_are_recognised_from_their_moments(values: list[float], binary: bool) -> None:
    assert Moments.of(pl.Series(values, dtype=pl.Float64)).binary is binary


@settings(deadline=None)
@given(st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=200), st.sampled_from([0.01, 0.5, 0.95, 0.99]))
def test_latency_quantiles_keep_their_stated_error(values: list[float], q: float) -> None:
    found = Latency.of(pl.Series(values)).quantile(q)
    exact = float(np.quantile(values, q, method="inverted_cdf"))
    assert found == pytest.approx(exact, rel=Latency.ERROR * 1.001)


def test_latency_has_open_ends_when_values_are_few() -> None:
    assert Latency().estimate(0.5).value is None
    few = Latency.of(pl.Series([1.0] * 100)).estimate(0.99)
    assert few.value == 1.0 and few.high is None and few.low == 1.0
    assert Latency.of(pl.Series([1.0] * 1000)).estimate(0.99).high == 1.0
    assert Latency.of(pl.Series([0.0, 0.0, 5.0])).quantile(0.5) == 0.0
    with pytest.raises(UsageError, match="between 0 and 1"):
        few_values = Latency.of(pl.Series([1.0]))
        few_values.estimate(1.0)


def test_latency_intervals_cover_as_stated() -> None:
    random = np.random.default_rng(5)
    held = 0
    for _ in range(400):
        estimate = Latency.of(pl.Series(random.exponential(size=300))).estimate(0.9)
        truth = -np.log(0.1)
        held += (estimate.low or 0) <= truth * 1.005 and truth * 0.995 <= (estimate.high or np.inf)
    assert held / 400 >= 0.93


def test_topk_states_its_excess() -> None:
    random = np.random.default_rng(2)
    values = [f"w{int(v)}" for v in random.zipf(1.3, 4000) if v < 10_000]
    parts = [TopK.of(pl.Series(values[i::4])) for i in range(4)]
    whole = add(parts, TopK)
    assert len(whole.counts) == TopK.K and whole.n == len(values)
    for word, count in whole.counts.items():
        assert values.count(word) <= count <= values.count(word) + whole.excess
    assert max(whole.counts, key=lambda word: whole.counts[word]) == "w1"


@pytest.mark.parametrize("n", [10, 1000, 50_000])
def test_distinct_is_within_five_standard_errors(n: int) -> None:
    found = Distinct.of(pl.Series(range(n)))
    assert found.value == pytest.approx(n, rel=0.08)
    assert (found + Distinct.of(pl.Series(range(n // 2)))).value == found.value


def test_unseen_categories_are_named() -> None:
    found = Categories.of(pl.Series(["a", "zebra", None, "zebra"]), ["a", "b"])
    assert found.unseen.counts == {"zebra": 2} and found.n == 3 and found.nulls == 1


def test_histograms_of_other_widths_do_not_add_up() -> None:
    with pytest.raises(UsageError, match="do not add up"):
        Histogram((1, 2)) + Histogram((1,))
