"""MLflow's calls: every form of a table, what it gets back, and faults in MLflow's shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.deploy.rig import CONFIG, Rig

import andon
from andon.core.record import Field
from andon.deploy.gateway_mlflow import csv_rows
from andon.deploy.protocol_message import Answer

Make = Callable[..., Rig]
JSON, CSV = b"application/json", b"text/csv"


@pytest.fixture
def rig(make: Make) -> Rig:
    rig = make()
    rig.route(live="v1", levels={"*": "partial"}, thresholds={"v1/*": 0.8})
    return rig


def invoke(rig: Rig, body: Any, kind: bytes = JSON) -> tuple[int, Any]:
    return rig.call("POST", "/invocations", body, ((b"content-type", kind),))


@pytest.mark.parametrize(
    "table",
    [
        {"dataframe_split": {"columns": ["age", "cough"], "index": [7, 8], "data": [[5, 1], [95.0, None]]}},
        {"dataframe_records": [{"age": 5, "cough": True}, {"age": 95}]},
        {"instances": [{"age": 5, "cough": 0}, {"age": 95}]},
        {"instances": [[None, 5], [1, 95]]},
        {"inputs": {"age": [5, 95], "cough": [True, None]}},
        {"inputs": [[0.0, 5.0], [1.0, 95.0]]},
        {"inputs": [{"age": 5}, {"age": 95}], "params": {"temperature": 0.3}},
    ],
)
def test_every_form_of_a_table_is_decided_and_written_down(rig: Rig, table: dict[str, Any]) -> None:
    status, found = invoke(rig, table)
    assert status == 200 and found["predictions"] == ["negative", "positive"] and set(found) == {"predictions", "ids"}
    kept = [rig.memory.recorded(id) for id in found["ids"]]
    assert [one is not None and one[0].x["age"] for one in kept] == [5.0, 95.0]


def test_missing_numbers_as_mlflows_client_writes_them(rig: Rig) -> None:
    status, found = invoke(rig, b'{"inputs": {"age": [5, 95.0], "cough": [NaN, 1]}}')
    assert status == 200 and found["predictions"] == ["negative", "positive"]
    for body in (
        b'{"inputs": [[NaN, Infinity]]}',
        b'["NaN"]',
        b'{"a": NaN',
        b'{"inputs": {"age": ["\\ud800", NaN]}}',
        b"[" * 9000 + b"NaN",
    ):
        assert invoke(rig, body)[0] == 400


def test_csv(rig: Rig) -> None:
    status, found = invoke(rig, b"\xef\xbb\xbfage,cough\r\n5,TRUE\r\n\r\n95.0,\r\n", CSV + b"; charset=UTF-8")
    assert status == 200 and found["predictions"] == ["negative", "positive"]


def test_csv_is_read_by_the_words_that_data_are_read_by() -> None:
    import polars as pl

    from andon.data.conform import typed

    words = ["true", "False", "1", "0.0", " 1 ", "yes", "2", "3.0", "-7", "1e3", "x", "1_0"]
    for field in (Field("a", "bool", optional=True), Field("a", "int", optional=True), Field("a", "float")):
        rows = csv_rows(b"a\n" + "\n".join(words).encode(), (field,), 99)
        want = typed(field, pl.Series("a", words))[0].to_list()
        kinds = (bool,) if field.kind == "bool" else (int, float)
        assert [row.x["a"] if isinstance(row.x["a"], kinds) else None for row in rows] == want, field


def test_who_waits_and_who_fails_is_said_by_row(rig: Rig) -> None:
    table = {"dataframe_records": [{"age": 5}, {"age": 50}, {"age": "old"}, {"age": [1]}]}
    status, found = invoke(
        rig, {**table, "params": {"ids": ["a", "b", "c", "d"], "units": [*"uvwx"], "tags": {"k": "v"}}}
    )
    assert status == 200 and found["predictions"] == ["negative", None, None, None]
    assert found["pending"] == [{"row": 1, "id": "b"}] and found["ids"] == ["a", "b", None, None]
    assert [(one["row"], one["code"]) for one in found["errors"]] == [(2, "contract"), (3, "contract")]
    assert rig.call("GET", "/v1/projects/screening/decisions/b")[1]["status"] == "pending"
    assert invoke(rig, {"instances": [{"age": 5}], "params": {"ids": ["a"]}})[1]["ids"] == ["a"]
    assert invoke(rig, {"instances": [{"age": 6}], "params": {"ids": ["a"]}})[0] == 409


def test_ping_health_version_and_methods(rig: Rig) -> None:
    for path in ("/ping", "/health"):
        answer = rig.ask("GET", path)[0]
        assert (answer.status, answer.body, answer.content_type) == (200, b"\n", "application/json")
    assert rig.ask("GET", "/version")[0].body == andon.__version__.encode()
    assert rig.ask("GET", "/invocations")[0].status == 405 and rig.ask("POST", "/ping")[0].status == 405


@pytest.mark.parametrize(
    "kind", [b"", b"application/x-www-form-urlencoded", b"application/json; charset=latin1", CSV + b"; a=b"]
)
def test_another_content_type_is_415(rig: Rig, kind: bytes) -> None:
    status, found = invoke(rig, b"age\n5", kind)
    assert status == 415 and set(found) == {"error_code", "message"} and "content type" in found["message"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"{", 400, "BAD_REQUEST"),
        ([], 400, "INVALID_PARAMETER_VALUE"),
        ({"columns": ["age"]}, 400, "BAD_REQUEST"),
        ({"inputs": [[1]], "instances": [[1]]}, 400, "BAD_REQUEST"),
        ({"dataframe_records": []}, 400, "INVALID_PARAMETER_VALUE"),
        ({"dataframe_records": [[1, 2]]}, 400, "INVALID_PARAMETER_VALUE"),
        ({"dataframe_split": {"columns": ["age", "age"], "data": [[1, 2]]}}, 400, "INVALID_PARAMETER_VALUE"),
        ({"dataframe_split": {"columns": ["age"], "data": [[1, 2]]}}, 400, "INVALID_PARAMETER_VALUE"),
        ({"dataframe_split": {"columns": [1], "data": [[1]]}}, 400, "INVALID_PARAMETER_VALUE"),
        ({"dataframe_split": []}, 400, "INVALID_PARAMETER_VALUE"),
        ({"inputs": {"age": [1, 2], "cough": [1]}}, 400, "INVALID_PARAMETER_VALUE"),
        ({"inputs": {}}, 400, "INVALID_PARAMETER_VALUE"),
        ({"instances": [[1, 2, 3]]}, 400, "INVALID_PARAMETER_VALUE"),
        ({"instances": [{"age": 5}] * 513}, 400, "INVALID_PARAMETER_VALUE"),
        ({"instances": [{"age": 5}], "params": {"ids": ["a", "b"]}}, 400, "INVALID_PARAMETER_VALUE"),
        ({"instances": [{"age": 5}], "params": {"ids": [7]}}, 400, "INVALID_PARAMETER_VALUE"),
        ({"instances": [{"age": 5}], "params": {"tags": {"a": 1}}}, 400, "INVALID_PARAMETER_VALUE"),
        ({"instances": [{"age": None}]}, 400, "INVALID_PARAMETER_VALUE"),
    ],
)
def test_faults_are_in_mlflows_shape(rig: Rig, body: Any, status: int, code: str) -> None:
    found = invoke(rig, body)
    assert found[0] == status and set(found[1]) == {"error_code", "message"} and found[1]["error_code"] == code


@pytest.mark.parametrize("body", [b"", b"age\n", b"age,age\n1,2", b"age\n\xff", b'age\n"5', b"age\n" + b"5\n" * 513])
def test_csv_that_is_none_is_a_sentence(rig: Rig, body: bytes) -> None:
    status, found = invoke(rig, body, CSV)
    assert status == 400 and set(found) == {"error_code", "message"}


def test_a_csv_row_of_another_length_fails_alone(rig: Rig) -> None:
    status, found = invoke(rig, b"age,cough\n5,1\n5\n5,1,1\ninf,1\nnan,1\n", CSV)
    assert status == 200 and found["predictions"] == ["negative", None, None, None, None]
    assert [one["row"] for one in found["errors"]] == [1, 2, 3, 4]


def test_the_number_of_rows_is_bounded_at_its_edge(rig: Rig) -> None:
    assert invoke(rig, {"instances": [{"age": 5}] * 512})[0] == 200
    assert invoke(rig, b"age\n" + b"5\n" * 512, CSV)[0] == 200


def test_tokens_hold_here_too_and_the_pings_are_open(make: Make) -> None:
    rig = make(config=msgspec.structs.replace(CONFIG, tokens_required=True))
    assert rig.ask("GET", "/ping")[0].status == 200 and rig.ask("GET", "/version")[0].status == 401
    status, found = invoke(rig, {"instances": [{"age": 5}]})
    assert status == 401 and found["error_code"] == "UNAUTHENTICATED"


_LEAF = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.sampled_from(["age", "cough"])
)
_ANY = st.recursive(
    _LEAF,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["age", "cough", "columns", "data", "x"]), inner, max_size=3),
    ),
    max_leaves=8,
)
_TABLES = st.dictionaries(
    st.sampled_from(["dataframe_split", "dataframe_records", "instances", "inputs", "params"]), _ANY, max_size=2
).map(msgspec.json.encode)


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(
        _TABLES,
        st.binary(max_size=60),
        st.text('age,cough\n"51.', max_size=40).map(lambda text: b"age\n" + text.encode()),
    ),
    st.sampled_from([JSON, CSV]),
)
def test_any_body_is_answered_once(fuzzed: Rig, body: bytes, kind: bytes) -> None:
    answers: list[Answer] = fuzzed.ask("POST", "/invocations", body, ((b"content-type", kind),))
    for _ in range(3):
        fuzzed.turn()
    assert len(answers) == 1 and answers[0].status < 500
    found = msgspec.json.decode(answers[0].body)
    assert "predictions" in found if answers[0].status == 200 else set(found) == {"error_code", "message"}
