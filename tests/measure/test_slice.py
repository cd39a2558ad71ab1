from __future__ import annotations

import time
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.core.record import Scalar
from andon.errors import UsageError
from andon.measure.slice import parse_slice
from andon.measure.syntax import MAX_DEPTH, MAX_WORDS

SCHEMA = {"n": pl.Float64, "i": pl.Int64, "t": pl.String, "b": pl.Boolean, "a b": pl.Float64}
NAMES = list(SCHEMA)

literals = st.one_of(
    st.sampled_from(["0", "1", "-1", "2.5", "1e3", ".5", "1e308", "'x'", "'%'", "'O''x'", "''", "TRUE", "FALSE"]),
)
columns = st.sampled_from(["n", "i", "t", "b", '"a b"'])
atoms = st.one_of(columns, literals)
patterns = st.text("ab%_.\n*é", max_size=5)
listed = st.one_of(
    st.lists(st.sampled_from(["0", "-1", "2.5", "1e308"]), min_size=1, max_size=3),
    st.lists(st.sampled_from(["'x'", "''", "'a'"]), min_size=1, max_size=3),
    st.lists(st.sampled_from(["TRUE", "FALSE"]), min_size=1, max_size=2),
)


def grow(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    sign = st.sampled_from(["=", "<>", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "AND", "OR"])
    return st.one_of(
        st.tuples(inner, sign, inner).map(lambda p: f"({p[0]} {p[1]} {p[2]})"),
        inner.map(lambda p: f"(NOT {p})"),
        inner.map(lambda p: f"({p} IS NULL)"),
        inner.map(lambda p: f"({p} IS NOT NULL)"),
        inner.map(lambda p: f"(- {p})"),
        st.tuples(inner, inner, inner).map(lambda p: f"({p[0]} BETWEEN {p[1]} AND {p[2]})"),
        st.tuples(inner, inner, inner).map(lambda p: f"({p[0]} NOT BETWEEN {p[1]} AND {p[2]})"),
        st.tuples(inner, listed).map(lambda p: f"({p[0]} IN ({', '.join(p[1])}))"),
        st.tuples(inner, listed).map(lambda p: f"({p[0]} NOT IN ({', '.join(p[1])}))"),
        st.tuples(inner, patterns).map(lambda p: f"({p[0]} LIKE '{p[1]}')"),
    )


expressions = st.recursive(atoms, grow, max_leaves=8)
number = st.one_of(st.none(), st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.5, float("nan"), float("inf"), 1e308, 5e-324]))
row = st.tuples(
    number,
    st.one_of(st.none(), st.sampled_from([0, 1, -1, 2**53])),
    st.one_of(st.none(), st.sampled_from(["x", "", "a", "ab", "a\nb", "é", "O'x", "%"]), st.text(max_size=3)),
    st.one_of(st.none(), st.booleans()),
    number,
)


@settings(max_examples=400, deadline=None)
@given(expressions, st.lists(row, min_size=1, max_size=6))
def test_one_row_and_a_table_mean_the_same(text: str, rows: list[tuple[Any, ...]]) -> None:
    found = parse_slice(text, NAMES)
    belongs = found.row(NAMES)
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    assert found.mask(frame).to_list() == [belongs(values) for values in rows]


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.text(max_size=30),
        st.lists(st.sampled_from(["a", "AND", "NOT", "(", ")", "'", "IN", "1", "<", "-", "."])).map(" ".join),
    )
)
def test_any_text_is_read_or_refused_with_a_sentence(text: str) -> None:
    try:
        parse_slice(text)
    except UsageError as error:
        assert "slice" in error.message


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("n > 1", {"n": None}, False),
        ("NOT n > 1", {"n": None}, False),
        ("n > 1 OR b", {"n": None, "b": True}, True),
        ("n > 1 AND b", {"n": None, "b": False}, False),
        ("n IS NULL", {"n": float("nan")}, True),
        ("1 / n > 0", {"n": 0.0}, False),
        ("1 / n IS NULL", {"n": 0.0}, True),
        ("n = 't'", {"n": 1.0}, False),
        ("NOT n = 't'", {"n": 1.0}, False),
        ("b = 1", {"b": True}, False),
        ("t LIKE 'a%_'", {"t": "ab"}, True),
        ("t LIKE 'A%'", {"t": "ab"}, False),
        ("t LIKE 'a.'", {"t": "ab"}, False),
        ("t NOT LIKE '%x'", {"t": None}, False),
        ("n NOT IN (1, 2)", {"n": 3.0}, True),
        ("n NOT IN (1, 2)", {"n": None}, False),
        ("i BETWEEN 1 AND 2", {"i": 2}, True),
        ("2 + 3 * 2 = 8", {}, True),
        ("(2 + 3) * 2 = 10", {}, True),
        ("-n < 0 and Not b", {"n": 1.0, "b": False}, True),
        ("b", {"b": True}, True),
        ("t", {"t": "x"}, False),
        ("t = 'O''x'", {"t": "O'x"}, True),
        ('"a b" >= .5e1', {"a b": 5.0}, True),
        ("i = 1 AND i == 1", {"i": 1}, True),
    ],
)
def test_what_it_means(text: str, values: dict[str, Any], expected: bool) -> None:
    found = parse_slice(text, NAMES)
    row = [values.get(name) for name in NAMES]
    assert found.row(NAMES)(row) is expected
    assert found.mask(pl.DataFrame([row], schema=SCHEMA, orient="row")).to_list() == [expected]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected a value or a column, found the end"),
        ("n >", "character 4: expected a value"),
        ("n = NULL", "IS NULL"),
        ("n IN (1, 'a')", "one kind"),
        ("n IN ()", "expected a number"),
        ("n IN (NULL)", "IS NULL"),
        ("n LIKE x", "single quotes"),
        ("n 3", "the end, AND or OR"),
        ("n < 1 < 2", "the end, AND or OR"),
        ("n ; DROP", "character 3: ';' is not understood"),
        ("n = 'open", "not understood"),
        ("n NOT 3", "IN, LIKE or BETWEEN"),
        ("n = 1e999", "too large"),
        ("n IS 3", "expected 'NULL'"),
        ("n BETWEEN 1 OR 2", "expected 'AND'"),
        ("(n = 1", "expected ')'"),
        ("n IN (-TRUE)", "expected a number"),
    ],
)
def test_faults_name_their_place(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_slice(text)
    assert says in caught.value.message


def test_unknown_columns_are_refused_with_the_closest() -> None:
    with pytest.raises(UsageError, match="did you mean 'cough'"):
        parse_slice("cogh", ["cough", "fever"])
    with pytest.raises(UsageError, match="no column is called 'n'"):
        parse_slice("n > 1").row(["m"])
    with pytest.raises(UsageError, match="no column is called 'n'"):
        parse_slice("n > 1").mask(pl.DataFrame({"m": [1]}))


def test_bounds_hold_at_their_edge() -> None:
    parse_slice(" AND ".join(["b"] * (MAX_WORDS // 2)))
    with pytest.raises(UsageError, match="words"):
        parse_slice(" AND ".join(["b"] * (MAX_WORDS // 2 + 2)))
    parse_slice("(" * (MAX_DEPTH - 1) + "b" + ")" * (MAX_DEPTH - 1))
    with pytest.raises(UsageError, match="deep"):
        parse_slice("(" * MAX_DEPTH + "b" + ")" * MAX_DEPTH)


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("b = 'yes'", 1),
        ("t > 3 OR b", 1),
        ("n IN ('a')", 1),
        ("i LIKE 'a%'", 1),
        ("n + t > 1", 1),
        ("n AND b", 1),
        ("NOT n", 1),
        ("n = 1 AND i < 2 AND t LIKE 'a' AND b = TRUE AND NOT b AND c = 'x'", 0),
        ("photo IS NOT NULL", 0),
    ],
)
def test_what_can_never_be_true_is_found_from_the_kinds(text: str, faults: int) -> None:
    kinds = {"b": "bool", "t": "text", "n": "float", "i": "int", "c": "category", "photo": "image"}
    assert len(parse_slice(text).check(kinds)) == faults
    if faults:
        with pytest.raises(UsageError, match=r"slice"):
            parse_slice(text, kinds)


def test_categorical_columns_are_text_and_dates_are_unknown() -> None:
    frame = pl.DataFrame(
        {"c": pl.Series(["x", "y"], dtype=pl.Categorical), "e": pl.Series(["x", "y"], dtype=pl.Enum(["x", "y"]))}
    )
    assert parse_slice("c = 'x' AND e < 'y'").mask(frame).to_list() == [True, False]
    assert parse_slice("d = 1").mask(pl.DataFrame({"d": [None, None]})).to_list() == [False, False]
    assert parse_slice("TRUE").filter(frame).height == 2
    assert parse_slice("c = 'x'").mask(frame.clear()).to_list() == []


def test_a_row_is_judged_in_about_a_microsecond() -> None:
    belongs = parse_slice("n = 1 AND t = 'x'", NAMES).row(NAMES)
    values: list[Scalar] = [1.0, 1, "x", True, None]
    start = time.perf_counter()
    for _ in range(20_000):
        belongs(values)
    assert (time.perf_counter() - start) / 20_000 < 20e-6  # ten times the usual, for a busy machine


def test_a_slice_knows_its_columns() -> None:
    found = parse_slice('n > 1 AND "a b" IS NULL')
    assert found.columns == {"n", "a b"}
