from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.deploy.rig import FIELDS, FakeServed, Rig

import andon

Make = Callable[..., Rig]
MODEL = "/v2/models/screening"


def body(ages: list[Any], **more: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "age", "shape": [len(ages)], "datatype": "FP64", "data": ages}], **more}


def data(answer: dict[str, Any], name: str) -> list[Any]:
    found: list[Any] = next(output["data"] for output in answer["outputs"] if output["name"] == name)
    return found


@pytest.fixture
def rig(make: Make) -> Rig:
    rig = make()
    rig.route(live="v1", levels={"*": "partial"}, thresholds={"v1/*": 0.8})
    return rig


def test_health_and_metadata(rig: Rig) -> None:
    assert rig.call("GET", "/v2/health/live")[1]["live"] is True
    assert rig.call("GET", "/v2/health/ready") == (200, {"ready": True})
    assert rig.call("GET", "/v2") == (
        200,
        {"name": "andon", "version": andon.__version__, "extensions": ["binary_tensor_data"]},
    )
    status, found = rig.call("GET", MODEL)
    assert status == 200 and found["name"] == "screening" and found["versions"] == ["v1"]
    assert found["inputs"] == [
        {"name": "cough", "datatype": "BOOL", "shape": [-1]},
        {"name": "age", "datatype": "FP64", "shape": [-1]},
    ]
    assert rig.call("GET", f"{MODEL}/ready") == (200, {"name": "screening", "ready": True})
    assert rig.call("GET", f"{MODEL}/versions/v1/ready")[0] == 200
    status, found = rig.call("GET", f"{MODEL}/versions/v9")
    assert status == 404 and set(found) == {"error"} and isinstance(found["error"], str)


def test_many_rows_some_pending(rig: Rig) -> None:
    ids = {"name": "id", "shape": [3], "datatype": "BYTES", "data": ["a", "b", "c"]}
    tags = {"name": "tags", "shape": [3], "datatype": "BYTES", "data": ['{"s": "1"}', "", "{}"]}
    request = body([5.0, 50.0, 95.0], id="q1")
    request["inputs"] += [ids, tags, {"name": "unit", "shape": [3], "datatype": "BYTES", "data": ["u", "v", "w"]}]
    status, found = rig.call("POST", f"{MODEL}/infer", request)
    assert status == 200 and found["id"] == "q1" and found["model_name"] == "screening"
    assert data(found, "decision") == ["negative", "", "positive"] and data(found, "id") == ["a", "b", "c"]
    assert data(found, "status") == ["decided", "pending", "decided"]
    assert data(found, "confidence")[1] == 0.0  # blind: nothing of the model's view leaks
    parameters = found["parameters"]
    assert (parameters["x_pending"], parameters["x_errors"]) == (1, 0)
    rows = msgspec.json.decode(parameters["x_rows"])
    assert [row["decided_by"] for row in rows] == ["model", "nobody", "model"] and "suggestion" not in rows[1]
    assert rig.call("GET", "/v1/projects/screening/decisions/b")[1]["status"] == "pending"


def test_a_single_row_with_parameters(rig: Rig) -> None:
    status, found = rig.call(
        "POST",
        f"{MODEL}/infer",
        body([50.0], parameters={"id": "a1", "unit": "u", "tags": '{"k": "v"}'}, outputs=[{"name": "status"}]),
    )
    assert status == 200 and found["parameters"] == {
        "x_decision": "deferred",
        "x_id": "a1",
        "x_arm": "live",
        "x_route_epoch": 1,
        "x_review_id": "a1",
    }
    assert [output["name"] for output in found["outputs"]] == ["status"] and "id" not in found
    assert rig.call("POST", f"{MODEL}/infer", body([51.0], parameters={"id": "a1"}))[0] == 409


def test_nested_flat_and_one_matrix(rig: Rig) -> None:
    rows = [[0, 5.0], [1, 95.0]]
    for shape, values in (([2, 2], rows), ([2, 2], [0, 5.0, 1, 95.0])):
        matrix = {"inputs": [{"name": "input-0", "shape": shape, "datatype": "FP32", "data": values}]}
        status, found = rig.call("POST", f"{MODEL}/infer", matrix)
        assert status == 200 and data(found, "decision") == ["negative", "positive"], found
    column = {"inputs": [{"name": "age", "shape": [2, 1], "datatype": "FP64", "data": [[5.0], [95.0]]}]}
    assert data(rig.call("POST", f"{MODEL}/infer", column)[1], "decision") == ["negative", "positive"]


def test_a_version_by_name_is_no_part_of_a_rollout(make: Make) -> None:
    rig = make(models={"v1": FakeServed(), "v2": FakeServed(), "v3": FakeServed()})
    rig.route(live="v1", candidate="v2", share=0.5, salt="s", warm=("v3",), levels={"*": "full"})
    for version in ("v1", "v2"):
        status, found = rig.call("POST", f"{MODEL}/versions/{version}/infer", body([5.0], parameters={"unit": "u"}))
        assert status == 200 and found["model_version"] == version and found["parameters"]["x_arm"] == "none"
    status, found = rig.call("POST", f"{MODEL}/versions/v3/infer", body([5.0]))
    assert status == 404 and "does not answer here" in found["error"]


def test_a_bad_row_fails_alone(rig: Rig) -> None:
    request = body([5.0, None, 95.0])
    status, found = rig.call("POST", f"{MODEL}/infer", request)
    assert status == 200 and data(found, "status") == ["decided", "error", "decided"]
    rows = msgspec.json.decode(found["parameters"]["x_rows"])
    assert rows[1]["code"] == "contract" and "age" in rows[1]["error"] and found["parameters"]["x_errors"] == 1
    status, found = rig.call("POST", f"{MODEL}/infer", body([None]))
    assert status == 422 and set(found) == {"error"} and "age" in found["error"]


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"inputs": []},
        {"inputs": [{"name": "age"}]},
        body([]),
        body([1.0] * 600),
        body([1.0], outputs=[{"name": "nothing"}]),
        body([1.0], parameters={"id": 7}),
        body([1.0], parameters={"tags": "no json"}),
        body([1.0], parameters={"human": "nobody"}),
        body([1.0], parameters={"id": "a\nb"}),
        {"inputs": [{"name": "age", "shape": [2], "datatype": "FP64", "data": [1.0]}]},
        {"inputs": [{"name": "age", "shape": [-1], "datatype": "FP64", "data": [1.0]}]},
        {"inputs": [{"name": "age", "shape": [1], "datatype": "FP65", "data": [1.0]}]},
        {"inputs": [{"name": "age", "shape": [1], "datatype": "INT64", "data": [1.5]}]},
        {"inputs": [{"name": "age", "shape": [1], "datatype": "FP64", "data": ["x"]}]},
        {"inputs": [{"name": "age", "shape": [1], "datatype": "FP64", "data": [True]}]},
        {"inputs": [{"name": "age", "shape": [1, 2], "datatype": "FP64", "data": [1.0, 2.0]}]},
        {"inputs": [{"name": "what", "shape": [1], "datatype": "FP64", "data": [1.0]}]},
        {"inputs": [{"name": "age", "shape": [0], "datatype": "FP64", "data": []}]},
        {"inputs": [{"name": "age", "shape": [1] * 9, "datatype": "FP64", "data": [1.0]}]},
    ],
)
def test_bad_requests_are_told_as_one_sentence(rig: Rig, request_: dict[str, Any]) -> None:
    status, found = rig.call("POST", f"{MODEL}/infer", request_)
    assert status in (400, 422) and set(found) == {"error"} and isinstance(found["error"], str)


def test_the_number_of_rows_is_bounded_at_its_edge(rig: Rig) -> None:
    assert rig.call("POST", f"{MODEL}/infer", body([1.0] * 512))[0] == 200
    status, found = rig.call("POST", f"{MODEL}/infer", body([1.0] * 513))
    assert status == 422 and "1 to 512 rows" in found["error"]


def test_the_fields_of_the_fake_model_are_those_of_the_charter() -> None:
    assert FakeServed().contract.fields == FIELDS
