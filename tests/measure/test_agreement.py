from __future__ import annotations

import json
from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from andon.errors import UsageError
from andon.measure.agreement import (
    agreement,
    cohen_kappa,
    copycat,
    fleiss_kappa,
    krippendorff_alpha,
    majority,
    pairwise,
)

LENGTHS = [0.7, 0.2, 0.5, 0.2, 0.1, 0.1]
TRUTH, INSPECTOR = [1, 1, 1, 0, 0, 0], [1, 0, 1, 0, 0, 1]


def side_by_side(a: list[int], b: list[int]) -> list[list[str]]:
    return [[str(x), str(y)] for x, y in zip(a, b, strict=True)]


def test_scratch_length_before_the_rule() -> None:
    units = side_by_side(TRUTH, INSPECTOR)
    share = pairwise(units)
    assert share.value == pytest.approx(4 / 6)
    assert (share.low, share.high) == pytest.approx((0.300, 0.903), abs=5e-4)
    kappa = cohen_kappa([u[0] for u in units], [u[1] for u in units])
    assert kappa.value == pytest.approx(1 / 3, abs=1e-6) and kappa.n == 6
    assert krippendorff_alpha(units).value == pytest.approx(0.388889, abs=5e-7)


def test_scratch_length_after_the_rule() -> None:
    ruled = [int(length >= 0.3) for length in LENGTHS]
    units = side_by_side(ruled, ruled)
    share = pairwise(units)
    assert share.value == 1 and share.low == pytest.approx(0.610, abs=5e-4) and share.high == 1
    assert cohen_kappa([u[0] for u in units], [u[1] for u in units]).value == 1
    assert krippendorff_alpha(units).value == 1


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["a"] * 7 + ["b"] * 3, 48 / 90),
        (["a"] * 70 + ["b"] * 30, 5700 / 9900),
        (["a"] * 500 + ["b"] * 500 + ["c"] * 500, 1 / 3),
    ],
)
def test_pairs_within_an_item(labels: list[str], expected: float) -> None:
    assert pairwise([labels]).value == pytest.approx(expected, abs=1e-3 if len(labels) > 1000 else 1e-9)


def test_two_random_labelers_and_the_copycat() -> None:
    units = [["a"] * 7000 + ["b"] * 3000]
    assert pairwise(units).value == pytest.approx(0.58, abs=1e-4)
    assert copycat(units).value == pytest.approx(0.70)


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcd"), min_size=2, max_size=12), min_size=1, max_size=1))
def test_a_copycat_is_never_below_the_pairs(units: list[list[str]]) -> None:
    assert (copycat(units).value or 0) >= (pairwise(units).value or 0) - 1e-12
    shares = [count / len(units[0]) for count in Counter(units[0]).values()]
    assert sum(share * share for share in shares) <= max(shares) + 1e-12


def _columns(coders: list[str]) -> list[list[str]]:
    rows = [coder.split() for coder in coders]
    return [[row[i] for row in rows if row[i] != "*"] for i in range(len(rows[0]))]


@pytest.mark.parametrize(
    ("coders", "alpha"),
    [
        (["* * * * * 3 4 1 2 1 1 3 3 * 3", "1 * 2 1 3 3 4 3 * * * * * * *", "* * 2 1 3 4 4 * 2 1 1 3 3 * 4"], 0.691358),
        (
            [
                "1 2 3 3 2 1 4 1 2 * * *",
                "1 2 3 3 2 2 4 1 2 5 * 3",
                "* 3 3 3 2 3 4 2 2 5 1 *",
                "1 2 3 3 2 4 4 1 2 5 1 *",
            ],
            0.743421,
        ),
    ],
)
def test_alpha_gives_the_published_values(coders: list[str], alpha: float) -> None:
    assert krippendorff_alpha(_columns(coders)).value == pytest.approx(alpha, abs=5e-7)


def test_fleiss_gives_the_published_value() -> None:
    table = [
        [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
    ]  # fmt: skip
    units = [[str(code) for code, count in enumerate(row) for _ in range(count)] for row in table]
    kappa = fleiss_kappa(units)
    assert kappa.value == pytest.approx(0.210, abs=5e-4)
    assert kappa.low is not None and kappa.high is not None and kappa.low < 0.21 < kappa.high


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=3, max_size=30))
def test_cohen_is_what_scikit_learn_says(pairs: list[tuple[str, str]]) -> None:
    first, second = [a for a, _ in pairs], [b for _, b in pairs]
    found = cohen_kappa(first, second)
    if len(set(first) | set(second)) == 1:
        assert found.value is None and "chance" in (found.reason or "")
    else:
        assert found.value == pytest.approx(cohen_kappa_score(first, second))


def test_left_out_labels_do_not_count() -> None:
    assert cohen_kappa(["a", None, "b"], ["a", "b", "b"]).n == 2
    assert cohen_kappa([None], ["a"]).value is None
    with pytest.raises(UsageError, match="1 and 2"):
        cohen_kappa(["a"], ["a", "b"])


def test_nothing_to_compare_is_undefined() -> None:
    for statistic in (pairwise, fleiss_kappa, krippendorff_alpha):
        assert statistic([["a"], []]).value is None
    assert copycat([[]]).value is None
    assert fleiss_kappa([["a", "b"], ["a", "b", "b"]]).reason == "items have different numbers of labels; use alpha"
    assert krippendorff_alpha([["a", "a"], ["a", "a"]]).value is None


def test_ties_are_explicit() -> None:
    assert majority(["b", "a", "b"]).label == "b"
    tied = majority(["b", "a"])
    assert tied.label is None and tied.tie == ("a", "b")
    assert majority([]).label is None


def test_uneven_items_have_a_bootstrap_interval() -> None:
    random = np.random.default_rng(1)
    units = [list(random.choice(["a", "b"], size=size, p=[0.8, 0.2])) for size in random.integers(2, 6, 60)]
    found = pairwise(units)
    assert found.method == "bootstrap" and (found.low or 1) < (found.value or 0) < (found.high or 0)


def _scratches() -> pl.DataFrame:
    rows = [
        (f"part {i}", who, label)
        for who, labels in (("ann", TRUTH), ("bob", INSPECTOR))
        for i, label in enumerate(labels)
    ]
    return pl.DataFrame(rows, schema=["item", "labeler", "label"], orient="row")


def test_a_table_of_labels_has_the_published_json() -> None:
    found = agreement(_scratches())
    body = json.loads(json.dumps(found.to_json()))
    assert list(body) == [
        "items",
        "labelers",
        "pairwise",
        "cohen_kappa",
        "fleiss_kappa",
        "alpha",
        "majority",
        "copycat",
    ]
    assert (body["items"], body["labelers"]) == (6, 2)
    assert body["pairwise"]["value"] == pytest.approx(4 / 6) and body["cohen_kappa"]["value"] == pytest.approx(1 / 3)
    assert body["alpha"]["nominal"]["value"] == pytest.approx(0.388889, abs=5e-7)
    assert body["majority"] == {"ties": 2, "unanimous": 4, "labels": {"0": 2, "1": 2}}
    assert found.table.height == 6 and "alpha" in found._repr_html_() and found.plot() is not None


def test_three_labelers_have_no_cohen_kappa_and_may_leave_out() -> None:
    more = pl.concat([_scratches(), pl.DataFrame({"item": ["part 0"], "labeler": ["eve"], "label": [1]})])
    found = agreement(
        more.with_columns(pl.when(pl.col("item") == "part 5").then(None).otherwise("label").alias("label"))
    )
    assert found.cohen_kappa is None and "cohen_kappa" not in found.to_json()
    assert (found.items, found.labelers) == (5, 3)
    assert "use alpha" in (found.fleiss_kappa.reason or "")


def test_tables_that_are_wrong_are_refused() -> None:
    with pytest.raises(UsageError, match="did you mean 'labeler'"):
        agreement(_scratches(), labeler="labeller")
    with pytest.raises(UsageError, match="labelled item 'part 0' twice"):
        agreement(pl.concat([_scratches(), _scratches()]))
    assert agreement(_scratches().clear()).pairwise.value is None
