"""Tensors as raw bytes, many rows with what goes with them, and what of it fails alone."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.deploy.rig import FakeServed, Rig

from andon.core.record import Field
from andon.deploy.gateway_binary import fill, packed
from andon.deploy.gateway_tensors import DATATYPES, InferRequest, Tensor
from andon.deploy.protocol_message import Answer
from andon.errors import AndonError, ContractError

Make = Callable[..., Rig]
INFER = "/v2/models/screening/infer"
KINDS = {kind: kind.lower().replace("fp", "float").replace("bool", "bool_") for kind in DATATYPES if kind != "BYTES"}


@pytest.fixture
def rig(make: Make) -> Rig:
    rig = make()
    rig.route(live="v1", levels={"*": "partial"}, thresholds={"v1/*": 0.8})
    return rig


def raw(name: str, kind: str, values: list[Any], shape: list[int] | None = None) -> tuple[dict[str, Any], bytes]:
    """A tensor whose data are behind the JSON."""
    data = packed(kind, values)
    shape = shape or [len(values)]
    return {"name": name, "shape": shape, "datatype": kind, "parameters": {"binary_data_size": len(data)}}, data


def post(rig: Rig, body: dict[str, Any], *behind: bytes, length: str | None = None) -> Answer:
    head = msgspec.json.encode(body)
    header = (b"inference-header-content-length", (length or str(len(head))).encode())
    answers = rig.ask("POST", INFER, head + b"".join(behind), (header,))
    rig.until(lambda: bool(answers))
    return answers[0]


def ages(rig: Rig, kind: str, values: list[Any]) -> Answer:
    tensor, data = raw("age", kind, values)
    return post(rig, {"inputs": [tensor]}, data)


def out(answer: Answer) -> dict[str, Any]:
    """The outputs of an answer, wherever they are."""
    length = dict(answer.headers).get("inference-header-content-length")
    head = answer.body if length is None else answer.body[: int(length)]
    at, found = len(head), {}
    for output in msgspec.json.decode(head)["outputs"]:
        size = output.get("parameters", {}).get("binary_data_size")
        if size is None:
            found[output["name"]] = output["data"]
            continue
        data, at = answer.body[at : at + size], at + size
        found[output["name"]] = (
            texts(data) if output["datatype"] == "BYTES" else list(struct.unpack(f"<{size // 8}d", data))
        )
    assert at == len(answer.body)
    return found


def texts(data: bytes) -> list[str]:
    found = []
    while data:
        size = int.from_bytes(data[:4], "little")
        found.append(data[4 : 4 + size].decode())
        data = data[4 + size :]
    return found


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_datatype_comes_in_as_bytes(rig: Rig, kind: str) -> None:
    name, values = ("cough", [1, 0]) if kind == "BOOL" else ("age", [5, 95])
    tensor, data = raw(name, kind, values)
    assert len(data) == 2 * np.dtype(KINDS[kind]).itemsize
    more = [] if name == "age" else [{"name": "age", "shape": [2], "datatype": "FP64", "data": [5.0, 95.0]}]
    answer = post(rig, {"inputs": [tensor, *more]}, data)
    assert out(answer)["decision"] == ["negative", "positive"] and answer.content_type == "application/json"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_ends_of_every_datatype_are_read_exactly(kind: str) -> None:
    info: Any = np.iinfo(KINDS[kind]) if "INT" in kind else None if kind == "BOOL" else np.finfo(KINDS[kind])
    values = [0, 1] if info is None else [info.min, info.max]
    request = InferRequest([Tensor("age", [2], kind, parameters={"binary_data_size": len(packed(kind, values))})])
    fill(request, packed(kind, values), (Field("age", "float"),), 10)
    assert request.inputs[0].data == values


def test_json_and_bytes_in_one_request_and_outputs_as_asked(rig: Rig) -> None:
    age, first = raw("age", "FP32", [5.0, 50.0, 95.0])
    ids, second = raw("id", "BYTES", ["a", "b", "ü"])
    unit = {"name": "unit", "shape": [3], "datatype": "BYTES", "data": ["u", "v", "w"]}
    outputs = [
        {"name": "decision"},
        {"name": "confidence", "parameters": {"binary_data": False}},
        {"name": "id"},
        {"name": "status", "parameters": {"binary_data": True}},
    ]
    body = {"inputs": [age, unit, ids], "outputs": outputs, "parameters": {"binary_data_output": True}, "id": "q"}
    answer = post(rig, body, first, second)
    assert answer.content_type == "application/octet-stream"
    head = msgspec.json.decode(answer.body[: int(dict(answer.headers)["inference-header-content-length"])])
    assert head["id"] == "q" and [("data" in one) for one in head["outputs"]] == [False, True, False, False]
    found = out(answer)
    assert found["decision"] == ["negative", "", "positive"] and found["id"] == ["a", "b", "ü"]
    assert found["status"] == ["decided", "pending", "decided"] and found["confidence"][1] == 0.0


def test_nothing_can_stand_for_null_where_json_has_one() -> None:
    fields = (Field("age", "float"), Field("cough", "bool", optional=True), Field("city", "category", optional=True))
    parts = [raw("age", "FP32", [5.0]), raw("cough", "FP16", [float("nan")]), raw("city", "BYTES", [""])]
    request = msgspec.convert({"inputs": [tensor for tensor, _ in parts]}, InferRequest)
    fill(request, b"".join(data for _, data in parts), fields, 10)
    assert [tensor.data for tensor in request.inputs] == [[5.0], [None], [None]]


def test_an_image_comes_as_its_bytes_or_as_base64() -> None:
    fields = (Field("photo", "image"),)
    for element, found in ((b"\x89PNG\0", "iVBORwA="), (b"iVBORwA=", "iVBORwA=")):
        data = struct.pack("<I", len(element)) + element
        request = InferRequest([Tensor("photo", [1], "BYTES", parameters={"binary_data_size": len(data)})])
        fill(request, data, fields, 10)
        assert request.inputs[0].data == [found]


_AGE = {"name": "age", "shape": [2], "datatype": "FP32"}


@pytest.mark.parametrize(
    ("tensor", "behind", "sentence"),
    [
        ({"parameters": {"binary_data_size": 8}}, bytes(7), "'age': binary_data_size is 8, but 7 bytes are left"),
        ({"parameters": {"binary_data_size": 8}}, bytes(9), "expected 8 bytes of binary data"),
        (
            {"parameters": {"binary_data_size": 7}},
            bytes(7),
            "'age': expected 8 bytes of FP32 for the shape [2], found 7",
        ),
        ({"parameters": {"binary_data_size": -1}}, b"", "'age': binary_data_size: expected a whole number of bytes"),
        ({"parameters": {"binary_data_size": True}}, b"1", "'age': binary_data_size: expected a whole number"),
        ({"parameters": {"binary_data_size": "8"}}, bytes(8), "'age': binary_data_size: expected a whole number"),
        ({"parameters": {"binary_data_size": 8}, "data": [1, 2]}, bytes(8), "'age': expected data or binary_data_size"),
        ({}, b"", "'age': expected data, or the parameter binary_data_size"),
        ({"parameters": {"binary_data_size": 0}, "shape": [1 << 40]}, b"", "'age': expected at most 1024 elements"),
        ({"parameters": {"binary_data_size": 2}, "datatype": "BF16"}, bytes(2), "'age': datatype 'BF16' is unknown"),
        ({"parameters": {"binary_data_size": 2}, "datatype": "BOOL"}, b"\0\2", "'age': a BOOL is one byte, 0 or 1"),
        ({"parameters": {"binary_data_size": 6}, "datatype": "BYTES"}, b"\2\0\0\0ab", "'age': expected 2 elements for"),
        ({"parameters": {"binary_data_size": 5}, "datatype": "BYTES"}, b"\2\0\0\0a", "'age': element 0 ends beyond"),
        ({"parameters": {"binary_data_size": 3}, "datatype": "BYTES"}, b"\2\0\0", "'age': element 0 ends beyond"),
        ({"parameters": {"binary_data_size": 9}, "datatype": "BYTES"}, bytes(9), "found 2 and 1 bytes more"),
        (
            {"parameters": {"binary_data_size": 10}, "datatype": "BYTES"},
            b"\1\0\0\0\xff\1\0\0\0a",
            "'age': element 0 is not UTF-8",
        ),
        ({"parameters": {"shared_memory_region": "r"}, "data": [1, 2]}, b"", "'age': shared_memory_region is not"),
    ],
)
def test_a_fault_is_one_sentence_with_the_name(rig: Rig, tensor: dict[str, Any], behind: bytes, sentence: str) -> None:
    answer = post(rig, {"inputs": [{**_AGE, **tensor}]}, behind)
    said = msgspec.json.decode(answer.body)["error"]
    assert answer.status == 422 and sentence in said


@pytest.mark.parametrize("length", ["0", "-1", "1e3", "99999", "", " 5", "9" * 30])
def test_a_length_that_is_none_is_one_sentence(rig: Rig, length: str) -> None:
    answers = rig.ask("POST", INFER, b'{"inputs": []}', ((b"inference-header-content-length", length.encode()),))
    assert answers[0].status == 400 and b"Inference-Header-Content-Length: expected 1 to 14" in answers[0].body


def test_bytes_need_the_header_and_a_plain_body(rig: Rig) -> None:
    tensor, _ = raw("age", "FP32", [5.0])
    status, found = rig.call("POST", INFER, {"inputs": [tensor]})
    assert status == 422 and "'age'" in found["error"] and "Inference-Header-Content-Length" in found["error"]
    status, found = rig.call("POST", INFER, b"\x1f\x8b", ((b"content-encoding", b"gzip"),))
    assert status == 400 and "compressed ('gzip')" in found["error"]


@pytest.mark.parametrize(
    "more",
    [
        {"parameters": {"binary_data_output": 1}},
        {"outputs": [{"name": "id", "parameters": {"binary_data": "yes"}}]},
        {"outputs": [{"name": "id"}, {"name": "id"}]},
        {"outputs": [{"name": "id", "parameters": {"classification": 2}}]},
        {"parameters": {"id": "one for two rows"}},
    ],
)
def test_what_is_asked_for_and_is_not_here_is_refused(rig: Rig, more: dict[str, Any]) -> None:
    body = {"inputs": [{"name": "age", "shape": [2], "datatype": "FP64", "data": [5, 95]}], **more}
    assert rig.call("POST", INFER, body)[0] == 422


def test_the_rows_allowed_bound_binary_tensors_too(rig: Rig) -> None:
    assert ages(rig, "UINT8", [5] * 512).status == 200
    assert b"1 to 512 rows" in ages(rig, "UINT8", [5] * 513).body
    assert b"at most 1024 elements" in ages(rig, "UINT8", [5] * 1025).body


def test_a_row_with_a_fault_of_its_own_fails_alone_and_says_why(rig: Rig) -> None:
    def words(name: str, *values: str) -> dict[str, Any]:
        return {"name": name, "shape": [4], "datatype": "BYTES", "data": values}

    inputs = [{"name": "age", "shape": [4], "datatype": "FP64", "data": [5, 5, 5, 95]}]
    inputs += [
        words("tags", "{", "{}", "", ""),
        words("human", "", "nobody", "", ""),
        words("unit", *"ab", "c" * 501, "d"),
    ]
    status, found = rig.call("POST", INFER, {"inputs": inputs})
    data = {one["name"]: one["data"] for one in found["outputs"]}
    assert status == 200 and data["status"] == ["error"] * 3 + ["decided"] and found["parameters"]["x_errors"] == 3
    assert [message.partition(":")[0] for message in data["error"]] == ["tags", "human", "unit", ""]


def test_parameters_hold_for_every_row(rig: Rig) -> None:
    tensor = {"name": "age", "shape": [2], "datatype": "FP64", "data": [5, 95]}
    body = {"inputs": [tensor], "parameters": {"unit": 7, "tags": '{"k": "v"}'}}
    status, found = rig.call("POST", INFER, body)
    rows = msgspec.json.decode(found["parameters"]["x_rows"])
    kept = [rig.memory.recorded(row["id"]) for row in rows]
    assert status == 200 and [one is not None and one[0].tags for one in kept] == [{"k": "v"}] * 2
    assert {one[0].unit for one in kept if one is not None} == {rig.workspace.unit_hash("7")}


def test_versions_are_those_of_the_route_and_ready_when_they_answer(make: Make) -> None:
    rig = make(models={"v1": FakeServed(), "v2": FakeServed(), "v3": FakeServed()})
    rig.route(live="v1", candidate="v2", share=0.5, salt="s", warm=("v3",), levels={"*": "full"})
    assert rig.call("GET", "/v2/models/screening")[1]["versions"] == ["v1", "v2", "v3"]
    ready = {
        name: rig.call("GET", f"/v2/models/screening/versions/{name}/ready")[0] for name in ("v1", "v2", "v3", "v4")
    }
    assert ready == {"v1": 200, "v2": 200, "v3": 503, "v4": 404}


_SIZES = st.one_of(st.integers(-2, 40), st.sampled_from([1 << 31, 1 << 62, True, "8", None]))
_TENSORS = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["age", "cough", "unit", "id", "tags", "human", "m", "ü"]),
        "shape": st.lists(st.one_of(st.integers(-1, 4), st.sampled_from([1 << 20, 1 << 62])), max_size=4),
        "datatype": st.sampled_from([*DATATYPES, "BF16", ""]),
        "parameters": st.fixed_dictionaries({}, optional={"binary_data_size": _SIZES}),
    },
    optional={"data": st.lists(st.one_of(st.none(), st.integers(0, 9), st.text(max_size=2)), max_size=3)},
)


@settings(max_examples=400, deadline=None)
@given(st.lists(_TENSORS, max_size=4), st.binary(max_size=120), st.booleans(), st.integers(-3, 3))
def test_any_bytes_are_answered_once_and_never_crash(
    fuzzed: Rig, tensors: list[dict[str, Any]], behind: bytes, binary: bool, off: int
) -> None:
    head = msgspec.json.encode({"inputs": tensors, "parameters": {"binary_data_output": binary}})
    header = (b"inference-header-content-length", str(len(head) + off).encode())
    answers = fuzzed.ask("POST", INFER, head + behind, (header,))
    for _ in range(3):
        fuzzed.turn()
    assert len(answers) == 1 and answers[0].status < 500
    if answers[0].status == 200:
        out(answers[0])
    else:
        assert isinstance(msgspec.json.decode(answers[0].body)["error"], str)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(DATATYPES)), st.binary(max_size=400), st.integers(0, 12))
def test_reading_takes_bounded_memory_and_is_exact(kind: str, data: bytes, count: int) -> None:
    request = InferRequest([Tensor("age", [count], kind, parameters={"binary_data_size": len(data)})])
    tracemalloc.start()
    try:
        fill(request, data, (Field("age", "text"),), 10)
    except AndonError as error:
        assert isinstance(error, ContractError)
        return
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1 << 18
    found = request.inputs[0].data
    assert found is not None and len(found) == count <= 10
    if None not in found:
        assert packed(kind, found) == data
