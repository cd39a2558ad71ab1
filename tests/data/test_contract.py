"""The contract: one row and whole frames keep to the same rules, and every fault is a sentence."""

from __future__ import annotations

import math
from base64 import b64encode
from io import BytesIO
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from andon.core.record import Field
from andon.data.contract import Contract, infer
from andon.data.validator import CATEGORY_MAX, FAULTS_MAX, FLOAT_MAX, INT_MAX, TEXT_MAX, fault
from andon.errors import ContractError


def png(size: tuple[int, int] = (3, 3)) -> bytes:
    out = BytesIO()
    Image.new("RGB", size, (9, 9, 9)).save(out, "PNG")
    return out.getvalue()


FIELDS = (
    Field("cough", "bool", optional=True),
    Field("age", "int", low=0, high=130),
    Field("temp °C", "float", optional=True),
    Field("dose", "float", low=0.5, high=2.0, optional=True),
    Field("site", "category", categories=("a", "b"), optional=True),
    Field("ward", "category", optional=True),
    Field("note", "text", optional=True),
    Field("photo", "image", optional=True),
)
CONTRACT = Contract(FIELDS, "y", ("neg", "pos"))
ROW: dict[str, Any] = {"age": 41}

leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**300, 10**320)
    | st.floats()
    | st.text()
    | st.sampled_from(
        ["a", "b", "\ud800", "x" * (TEXT_MAX + 1), b64encode(png()).decode(), 10**4000, -0.0, 2**53, 2**53 + 1]
    )
)
json = st.recursive(leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3))


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.sampled_from([f.name for f in FIELDS]), json) | st.dictionaries(st.text(), json) | json)
def test_any_json_gives_a_typed_list_or_a_contract_error(row: Any) -> None:
    try:
        values = CONTRACT.validator()(row)
    except ContractError as error:
        assert error.message
        assert error.field is not None
        assert error.field.startswith("x")
        error.message.encode()  # it can be sent
        assert len(error.message) < 5_000
        return
    assert len(values) == len(FIELDS)
    for field, value in zip(FIELDS, values, strict=True):
        if value is None:
            assert field.optional
            continue
        assert type(value) is {"bool": bool, "int": int, "float": float}.get(field.kind, str)
        assert not isinstance(value, float) or math.isfinite(value)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(FIELDS), json)
def test_the_quick_path_and_the_slow_path_accept_the_same(field: Field, value: Any) -> None:
    validate = Contract((field,), "y", ("n", "p")).validator()
    said = fault(field, value)
    if said is None:
        assert validate({field.name: value}) == [float(value) if field.kind == "float" and value is not None else value]
    else:
        with pytest.raises(ContractError) as caught:
            validate({field.name: value})
        assert caught.value.message == f"{field.name}: {said}"
        assert caught.value.field == f"x.{field.name}"


@pytest.mark.parametrize(
    ("row", "message", "field"),
    [
        ({}, "age: missing, expected a whole number from 0 to 130", "age"),
        ({"age": None}, "age: expected a whole number from 0 to 130, found null", "age"),
        ({"age": 131}, "age: expected a whole number from 0 to 130, found 131", "age"),
        ({"age": 1.5}, "age: expected a whole number from 0 to 130, found 1.5", "age"),
        ({"age": True}, "age: expected a whole number from 0 to 130, found true", "age"),
        ({"age": 1, "temp °C": math.nan}, "temp °C: expected a finite number or null, found NaN", "temp °C"),
        ({"age": 1, "temp °C": -math.inf}, "temp °C: expected a finite number or null, found -infinity", "temp °C"),
        ({"age": 1, "dose": 0.4}, "dose: expected a finite number from 0.5 to 2 or null, found 0.4", "dose"),
        ({"age": 1, "site": "c"}, "site: expected one of 'a', 'b' or null, found 'c'", "site"),
        (
            {"age": 1, "note": {"a": []}},
            "note: expected text of at most 10000 characters or null, found an object of 1",
            "note",
        ),
        ({"age": 1, "coug": True}, "coug: not a field of this contract, did you mean 'cough'?", "coug"),
        ({"age": 1, "photo": "%%"}, "photo: expected an image as base64 text, found text that is not base64", "photo"),
    ],
)
def test_a_fault_is_one_sentence(row: dict[str, Any], message: str, field: str) -> None:
    with pytest.raises(ContractError) as caught:
        CONTRACT.validator()(row)
    assert caught.value.message == message
    assert caught.value.field == f"x.{field}"


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(ContractError) as caught:
        CONTRACT.validator()({"age": -1, "cough": "yes", "site": 3})
    assert caught.value.message.count("expected") == 3
    assert caught.value.field == "x.cough"


def test_very_many_faults_are_counted() -> None:
    with pytest.raises(ContractError, match=f"and {1_000 - FAULTS_MAX + 1} more$"):
        CONTRACT.validator()({f"extra {i}": 1 for i in range(1_000)})


def test_limits_hold_at_their_edges() -> None:
    validate = CONTRACT.validator()
    assert validate({**ROW, "ward": "w" * CATEGORY_MAX, "note": "n" * TEXT_MAX})[5:7] == [
        "w" * CATEGORY_MAX,
        "n" * TEXT_MAX,
    ]
    for row in ({"ward": "w" * (CATEGORY_MAX + 1)}, {"note": "n" * (TEXT_MAX + 1)}, {"note": "\ud800"}):
        with pytest.raises(ContractError):
            validate({**ROW, **row})
    exact = Contract((Field("n", "int"),), "y", ("a",)).validator()
    assert exact({"n": INT_MAX}) == [INT_MAX]
    assert exact({"n": 3.0}) == [3]
    for beyond in (INT_MAX + 1, -INT_MAX - 1, 1e300):
        with pytest.raises(ContractError, match="expected a whole number"):
            exact({"n": beyond})


def test_a_number_that_a_model_would_take_for_infinite_is_refused_in_rows_and_in_frames() -> None:
    wide = Contract((Field("w", "float"),), "y", ("a",))
    huge = math.nextafter(FLOAT_MAX, math.inf)
    assert wide.validator()({"w": FLOAT_MAX}) == [FLOAT_MAX]
    for beyond in (huge, -huge, 1e308, 10**300):
        with pytest.raises(ContractError, match=r"^w: expected a number within ±3.4e38, as 32-bit models hold, found "):
            wide.validator()({"w": beyond})
    checked = wide.check_frame(pl.DataFrame({"w": [FLOAT_MAX, huge, -1e308], "y": ["a"] * 3}))
    assert checked.frame["w"].to_list() == [FLOAT_MAX]
    assert checked.rejects["reason"][1] == "w: expected a number within ±3.4e38, as 32-bit models hold, found -1e+308"
    with pytest.raises(ContractError, match="expected a finite number of at least 0, found -1"):
        Contract((Field("w", "float", low=0.0),), "y", ("a",)).validator()({"w": -1})


def test_a_number_too_long_to_print_is_still_a_sentence() -> None:
    with pytest.raises(ContractError, match="found a whole number of about 5001 digits"):
        CONTRACT.validator()({"age": 10**5000})


def test_a_good_image_passes_and_a_truncated_one_does_not() -> None:
    validate, photo = CONTRACT.validator(), png((40, 40))
    assert validate({**ROW, "photo": b64encode(photo).decode()})[-1] == b64encode(photo).decode()
    with pytest.raises(ContractError, match=r"photo: expected an image, found PNG data that do not decode"):
        validate({**ROW, "photo": b64encode(photo[:-30]).decode()})


def test_a_contract_has_one_identity() -> None:
    same = Contract(tuple(FIELDS), "y", ("neg", "pos"))
    assert CONTRACT.hash == same.hash == CONTRACT.hash8.hex()
    assert len(CONTRACT.hash8) == 8
    assert Contract(FIELDS, "y", ("pos", "neg")).hash != CONTRACT.hash


@pytest.mark.parametrize(
    ("fields", "target", "classes", "message"),
    [
        ((), "y", ("a",), "no input field"),
        ((Field("x", "int"), Field("x", "bool")), "y", ("a",), "'x' twice"),
        ((Field("x", "int"),), "y", ("a", "a"), "'a' twice"),
        ((Field("x", "int"),), "x", ("a",), "its own answer"),
        ((Field("x", "int", low=3, high=2),), "y", ("a",), "low <= high"),
        ((Field("x", "float", low=math.nan),), "y", ("a",), "low <= high"),
    ],
)
def test_a_contract_that_makes_no_sense_is_refused(
    fields: tuple[Field, ...], target: str, classes: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ContractError, match=message):
        Contract(fields, target, classes)


def test_a_frame_is_typed_and_bad_rows_keep_their_number() -> None:
    frame = pl.DataFrame(
        {
            "cough": ["1", "false", None, "maybe", "0"],
            "age": ["41", "3.0", "x", "", "131"],
            "temp °C": ["36.6", None, "1e400", "nan", "-0.0"],
            "y": ["neg", "pos", "neg", "other", None],
            "day": [1, 2, 3, 4, 5],
        }
    )
    checked = CONTRACT.check_frame(frame)
    assert checked.frame.columns == [*CONTRACT.names, "y", "day"]
    assert checked.frame.select("cough", "age", "temp °C", "y").rows() == [
        (True, 41, 36.6, "neg"),
        (False, 3, None, "pos"),
    ]
    assert checked.frame.schema["photo"] == pl.Binary
    assert checked.rows.to_list() == [1, 2]
    assert checked.rejects["row"].to_list() == [3, 4, 5]
    assert checked.rejects["reason"][0] == (
        "age: expected a whole number from 0 to 130, found 'x'; temp °C: expected a finite number or null, found '1e400'"
    )
    assert "y: expected one of 'neg', 'pos', found null" in checked.rejects["reason"][2]


def test_a_column_of_the_wrong_type_rejects_every_row_with_a_sentence() -> None:
    frame = pl.DataFrame({"age": [[1], [2]], "y": ["neg", "pos"]})
    checked = CONTRACT.check_frame(frame)
    assert checked.frame.height == 0
    assert checked.rejects["reason"].str.starts_with("age: expected a whole number from 0 to 130, found ").all()


def test_an_absent_column_is_an_error_of_the_whole_frame() -> None:
    with pytest.raises(ContractError, match="no column 'age', which the contract requires; did you mean 'agee'"):
        CONTRACT.check_frame(pl.DataFrame({"agee": [1], "y": ["neg"]}))


def test_unlabelled_rows_pass_only_when_asked_for() -> None:
    frame = pl.DataFrame({"age": [1], "y": [None]}, schema={"age": pl.Int8, "y": pl.String})
    assert CONTRACT.check_frame(frame).rejects.height == 1
    assert CONTRACT.check_frame(frame, unlabelled=True).frame.height == 1
    assert CONTRACT.check_frame(frame.drop("y"), unlabelled=True).frame.height == 1


plain = {"bool": st.booleans(), "int": st.integers(-(2**60), 2**60), "float": st.floats(), "text": st.text(max_size=5)}


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(["bool", "int", "float"]), st.booleans(), st.data())
def test_row_and_frame_agree(kind: Any, optional: bool, data: st.DataObject) -> None:
    """What the gateway accepts of typed values, the dataset accepts, with the same values; and the other way round."""
    values = data.draw(st.lists(st.none() | plain[kind], min_size=1, max_size=8))
    field = Field("x", kind, optional=optional)
    contract = Contract((field,), "y", ("a",))
    dtype = {"bool": pl.Boolean, "int": pl.Int64, "float": pl.Float64}[kind]
    checked = contract.check_frame(pl.DataFrame({"x": pl.Series(values, dtype=dtype), "y": ["a"] * len(values)}))
    validate = contract.validator()
    accepted = []
    for value in values:
        try:
            accepted += validate({"x": value})
        except ContractError:
            continue
    assert checked.frame["x"].to_list() == accepted


def test_inference_reads_kinds_from_types_and_from_texts() -> None:
    frame = pl.DataFrame(
        {
            "id": ["r1", "r2", "r3"],
            "flag": ["true", "False", None],
            "n": ["1", "2", "3"],
            "t": ["1.5", "2", "3e5"],
            "site": ["a", "b", "a"],
            "essay": ["x" * 200, "y", "z"],
            "photo": [png(), png(), png()],
            "y": [0, 1, 0],
        }
    )
    contract = infer(frame, "y")
    assert [(f.name, f.kind, f.optional) for f in contract.fields] == [
        ("flag", "bool", True),
        ("n", "int", False),
        ("t", "float", False),
        ("site", "category", False),
        ("essay", "text", False),
        ("photo", "image", False),
    ]
    assert contract.classes == ("0", "1")
    assert contract.check_frame(frame).rejects.height == 0


def test_hints_are_the_only_inputs() -> None:
    frame = pl.DataFrame({"a": [1], "b": [2], "y": ["p"]})
    assert infer(frame, "y", ("n", "p"), (Field("b", "float"),)).names == ("b",)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (pl.DataFrame({"x": [1]}), "no column 'y', which is the target"),
        (pl.DataFrame({"a": [None], "y": ["a"]}), "a: none of the 1 rows has a value"),
        (pl.DataFrame({"a": [[1]], "y": ["a"]}), "a: columns of type List"),
        (pl.DataFrame({"a": [1], "y": [None]}), "found 0"),
        (pl.DataFrame({"epoch": [1], "y": ["a"]}), "epoch: this is the name of a column of Andon's own"),
    ],
)
def test_what_cannot_be_inferred_is_said(frame: pl.DataFrame, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        infer(frame, "y")
