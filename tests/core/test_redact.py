"""Rules of redaction: what is kept of a value, that it stays when it is applied again, that both ways of packing agree."""

from __future__ import annotations

from array import array
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from andon.core.record import Field
from andon.core.redact import HASHED, Redactor, Rule, parse_rule, unfit

KEY = bytes(range(32))
RULES = ("drop", "hash", "mask(0)", "mask(4)", "truncate(3)", "truncate(day)", "truncate(month)")
STEPS = st.one_of(st.integers(1, 1000), st.floats(1e-3, 1e6, allow_nan=False))


@given(value=st.text(max_size=40), rule=st.sampled_from(RULES))
def test_a_rule_applied_twice_is_the_rule_applied_once(value: str, rule: str) -> None:
    redactor = Redactor({"a": rule}, KEY)
    kept = redactor.value("a", value)
    assert redactor.again("a", kept) == kept


@given(value=st.dates(), rule=st.sampled_from(["truncate(day)", "truncate(month)"]))
def test_a_date_keeps_its_day_or_month(value: Any, rule: str) -> None:
    redactor = Redactor({"a": rule})
    kept = redactor.value("a", f"{value.isoformat()}T08:15:00")
    assert kept == value.isoformat()[: 10 if "day" in rule else 7]
    assert redactor.again("a", kept) == kept


@given(value=st.floats(-1e12, 1e12), step=STEPS)
def test_a_number_goes_down_to_a_multiple_and_stays_there(value: float, step: float) -> None:
    redactor = Redactor({"a": Rule("truncate", step)})
    kept = redactor.value("a", value)
    if kept is not None:
        assert kept <= value + 1e-9 * max(abs(value), step)
        assert value - kept < step * (1 + 1e-9) + 1e-9 * abs(value)
        assert redactor.again("a", kept) == kept


@given(value=st.one_of(st.floats(), st.integers(), st.text(), st.booleans(), st.none(), st.lists(st.integers())))
def test_what_fits_no_rule_never_raises(value: Any) -> None:
    for rule in (*RULES, "truncate(5)"):
        if value is None:
            assert Redactor({"a": rule}, KEY).value("a", value) is None
        Redactor({"a": rule}, KEY).value("a", value)


@given(
    rows=st.lists(
        st.tuples(
            st.one_of(st.none(), st.integers(-(2**60), 2**60)),
            st.one_of(st.none(), st.floats(-1e9, 1e9)),
            st.one_of(st.none(), st.text(max_size=12)),
            st.one_of(st.none(), st.text(max_size=12)),
        ),
        max_size=6,
    )
)
def test_packed_rows_are_redacted_as_lists_are(rows: list[tuple[Any, ...]]) -> None:
    fields = (Field("n", "int"), Field("x", "float"), Field("t", "text"), Field("u", "text"))
    redactor = Redactor({"n": "truncate(7)", "x": "drop", "t": "hash", "u": "mask(2)"}, KEY)
    columns = [list(column) for column in zip(*rows, strict=True)] or [[], [], [], []]
    nan = float("nan")
    packed = array("d", [nan if cell is None else cell for column in columns[:2] for cell in column])
    plan = redactor.plan(fields)
    assert plan is not None
    numbers, texts = plan.apply(len(rows), packed.tobytes(), columns[2:])
    kept = [redactor.column(field.name, column) for field, column in zip(fields, columns, strict=True)]
    expected = array("d", [nan if cell is None else cell for column in kept[:2] for cell in column])
    assert repr(array("d", numbers)) == repr(expected)
    assert [list(column) for column in texts] == kept[2:]


def test_a_hash_depends_on_the_key_the_input_and_the_text_and_tells_none_of_them() -> None:
    one, other = Redactor({"a": "hash", "b": "hash"}, KEY), Redactor({"a": "hash"}, bytes(32))
    found = {one.value("a", "Ann"), one.value("b", "Ann"), other.value("a", "Ann"), one.value("a", "Bob")}
    assert len(found) == 4
    assert all(HASHED.fullmatch(text) for text in found)
    assert one.value("a", "Ann") == Redactor({"a": "hash"}, KEY).value("a", "Ann")
    assert one.value("a", one.value("a", "Ann")) != one.value("a", "Ann")  # who sends a hash gets another one


@pytest.mark.parametrize(
    ("text", "value", "kept"),
    [
        ("mask(4)", "12345", "*2345"),
        ("mask(4)", "1234", "****"),
        ("mask(0)", "ab", "**"),
        ("truncate(2)", "süß", "sü"),
        ("truncate(5)", 43, 40),
        ("truncate(5)", -1, -5),
        ("truncate(0.1)", 0.3, 0.30000000000000004),
        ("truncate(day)", "no date", None),
        ("truncate(1)", 2.0**53, None),
        ("truncate(1)", 2.0**53 - 1, 2.0**53 - 1),
    ],
)
def test_what_is_kept(text: str, value: Any, kept: Any) -> None:
    assert Redactor({"a": text}).value("a", value) == kept


@pytest.mark.parametrize(
    "text", ["", "hush", "mask", "mask(-1)", "mask(10001)", "mask(1.5)", "hash(3)", "truncate", "truncate(0)", "truncate(nan)", "truncate(inf)"]
)  # fmt: skip
def test_what_is_no_rule_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_rule(text)


@pytest.mark.parametrize(
    ("rule", "field", "fits"),
    [
        ("drop", Field("a", "image"), True),
        ("hash", Field("a", "text"), True),
        ("hash", Field("a", "category"), True),
        ("hash", Field("a", "category", categories=("x", "y")), False),
        ("hash", Field("a", "int"), False),
        ("mask(4)", Field("a", "bool"), False),
        ("mask(4)", Field("a", "image"), False),
        ("truncate(5)", Field("a", "int"), True),
        ("truncate(0.5)", Field("a", "int"), False),
        ("truncate(0.5)", Field("a", "float"), True),
        ("truncate(0.5)", Field("a", "text"), False),
        ("truncate(10000)", Field("a", "text"), True),
        ("truncate(10001)", Field("a", "text"), False),
        ("truncate(month)", Field("a", "text"), True),
        ("truncate(month)", Field("a", "float"), False),
    ],
)
def test_which_rule_fits_which_input(rule: str, field: Field, fits: bool) -> None:
    assert (unfit(parse_rule(rule), field) is None) == fits
