"""The gateway's calls as OpenAPI 3.1, with the schema of ``x`` made from the contract that is live.

>>> from andon.core.record import Field
>>> config = GatewayConfig("screening", (Field("cough", "bool", optional=True),), ("negative", "positive"))
>>> body = openapi(config, config.contract)
>>> body["components"]["schemas"]["X"]["properties"]["cough"]
{'type': ['boolean', 'null']}
"""

from __future__ import annotations

from typing import Any

import andon
from andon.core.record import Field
from andon.data.contract import Contract
from andon.deploy.settings import GatewayConfig

__all__ = ["openapi"]

_VERSION = {"name": "version", "in": "path", "required": True, "schema": {"type": "string"}}
_TYPES = {"bool": "boolean", "int": "integer", "float": "number"}


def openapi(config: GatewayConfig, contract: Contract) -> dict[str, Any]:
    """The document as plain values."""
    base = f"/v1/projects/{config.project}"
    model = f"/v2/models/{config.project}"
    paths: dict[str, Any] = {
        f"{base}/decisions": {"post": _decide()},
        f"{base}/decisions/{{id}}": {"get": _find()},
        f"{base}/feedback": {"post": _feedback()},
        "/v2": {"get": _get("Name, version and extensions of the server")},
        "/v2/health/live": {"get": _get("200 while the process lives")},
        "/v2/health/ready": {"get": _get("200 when it takes requests, else 503")},
        model: {"get": _get("Inputs, outputs and versions")},
        f"{model}/ready": {"get": _get("200 when the model takes requests, else 503")},
        f"{model}/infer": {"post": _infer()},
        f"{model}/versions/{{version}}": {"get": _get("Inputs, outputs and versions", _VERSION)},
        f"{model}/versions/{{version}}/ready": {"get": _get("200 when this version answers, else 503", _VERSION)},
        f"{model}/versions/{{version}}/infer": {"post": _infer() | {"parameters": [_VERSION, *_infer()["parameters"]]}},
        "/invocations": {"post": _invocations()},
        "/ping": {"get": _get("200 when it takes requests, else 503 (MLflow)")},
        "/health": {"get": _get("The same as /ping")},
        "/version": {"get": _get("Andon's version, where MLflow's server says its own")},
        "/metrics": {"get": _get("Counters in the Prometheus text format")},
        "/openapi.json": {"get": _get("This document")},
    }
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": f"{config.project} gateway", "version": andon.__version__},
        "paths": paths,
        "components": {"schemas": _schemas(config, contract)},
    }
    if config.tokens_required:
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
    return document


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _body(schema: dict[str, Any]) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def _answers(*found: tuple[int, str, dict[str, Any]]) -> dict[str, Any]:
    errors = {"4XX": {"description": "the request is at fault", **_body(_ref("Error"))}}
    errors["5XX"] = {"description": "the line is at fault", **_body(_ref("Error"))}
    return {str(status): {"description": text, **_body(schema)} for status, text, schema in found} | errors


def _get(summary: str, *parameters: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"summary": summary, "responses": {"200": {"description": "as asked"}}}
    return found | {"parameters": list(parameters)} if parameters else found


def _post(summary: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "summary": summary,
        "requestBody": {"required": True, **_body(schema)},
        "responses": _answers((200, "as asked", {"type": "object"})),
    }


def _decide() -> dict[str, Any]:
    return {
        "summary": "Ask for a decision; the same id and x again give the same answer",
        "requestBody": {"required": True, **_body(_ref("Request"))},
        "responses": _answers(
            (200, "decided", _ref("Decision")),
            (202, "a person decides; ask again with the id", _ref("Pending")),
        ),
    }


def _find() -> dict[str, Any]:
    id = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    return {
        "summary": "A decision, pending or made",
        "parameters": [id],
        "responses": _answers((200, "the decision", {"anyOf": [_ref("Decision"), _ref("Pending")]})),
    }


def _infer() -> dict[str, Any]:
    """Many rows, as JSON or as JSON and raw bytes behind it; answered likewise."""
    length = {
        "name": "Inference-Header-Content-Length",
        "in": "header",
        "schema": {"type": "integer", "minimum": 1},
        "description": "bytes of the JSON, when binary tensors follow it; the answer has the same header then",
    }
    raw = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    found = _post("Decisions for many rows (Open Inference Protocol v2, binary tensors)", _ref("InferRequest"))
    found["requestBody"]["content"] |= raw
    found["responses"] = {
        "200": {"description": "an output for each row", "content": {**_body(_ref("InferAnswer"))["content"], **raw}},
        "default": {"description": "what is wrong", **_body(_object({"error": {"type": "string"}}, ["error"]))},
    }
    return found | {"parameters": [length]}


def _invocations() -> dict[str, Any]:
    table = {"application/json": {"schema": _ref("Table")}, "text/csv": {"schema": {"type": "string"}}}
    fault = _object({"error_code": {"type": "string"}, "message": {"type": "string"}}, ["error_code", "message"])
    return {
        "summary": "Decisions for the rows of a table, as MLflow's scoring server takes it; pending rows are null",
        "requestBody": {"required": True, "content": table},
        "responses": {
            "200": {"description": "a prediction for each row", **_body(_ref("Predictions"))},
            "default": {"description": "what is wrong", **_body(fault)},
        },
    }


def _feedback() -> dict[str, Any]:
    rows = {"type": "array", "items": _ref("Feedback"), "minItems": 1}
    return _post("Tell what happened to decisions later; 200 says how many rows were recorded and which not", rows)


def _schemas(config: GatewayConfig, contract: Contract) -> dict[str, Any]:
    text, number = {"type": "string"}, {"type": "number"}
    answer = {"type": "string", "enum": sorted({*config.classes, config.safe_default})}
    return {
        "X": _object({field.name: _field(field) for field in contract.fields}, _required(contract), closed=True),
        "Request": _object(
            {
                "x": _ref("X"),
                "unit": {"type": ["string", "integer"]},
                "tags": {"type": "object", "additionalProperties": text},
                "id": {"type": "string", "minLength": 1, "maxLength": 200},
                "human": {"type": "string", "enum": list(config.classes)},
            },
            ["x"],
            closed=True,
        ),
        "Decision": _object(
            {
                "id": text,
                "decision": answer,
                "decided_by": {"enum": ["model", "person", "safe_default", "client"]},
                "version": {"type": ["string", "null"]},
                "confidence": {"type": ["number", "null"]},
                "epoch": {"type": "integer"},
                "status": {"const": "decided"},
                "recorded": {"const": False, "description": "only where the log could not take it (pressure: shed)"},
            },
            ["id", "decision", "decided_by", "version", "confidence", "epoch"],
        ),
        "Pending": _object({"id": text, "status": {"const": "pending"}, "suggestion": text}, ["id", "status"]),
        "Feedback": _object(
            {"id": text, "kind": text, "value": {}, "time": {"anyOf": [text, number]}, "event": text}, ["id", "kind"]
        ),
        **_tables(),
        "Error": _object(
            {"error": _object({"code": text, "message": text, "field": text, "hint": text}, ["code", "message"])},
            ["error"],
        ),
    }


def _tables() -> dict[str, Any]:
    """The bodies of calls with many rows."""
    text, any_list, many = {"type": "string"}, {"type": "array"}, {"type": "object"}
    row = {"type": "integer", "minimum": 0}
    tensor = {"name": text, "shape": {"type": "array", "items": {"type": "integer"}}, "datatype": text}
    tensor |= {"data": any_list, "parameters": many}
    wanted = _object({"name": text, "parameters": many}, ["name"])
    tensors = {"type": "array", "items": _object(tensor, ["name", "shape", "datatype"])}
    return {
        "InferRequest": _object(
            {"inputs": tensors, "outputs": {"type": "array", "items": wanted}, "id": text, "parameters": many},
            ["inputs"],
        ),
        "InferAnswer": _object(
            {"model_name": text, "model_version": text, "id": text, "parameters": many, "outputs": tensors},
            ["model_name", "outputs"],
        ),
        "Table": {
            **_object({name: {} for name in ("dataframe_split", "dataframe_records", "instances", "inputs")}, []),
            "description": "exactly one of these; params may hold ids, units and tags",
        },
        "Predictions": _object(
            {
                "predictions": {"type": "array", "items": {"type": ["string", "null"]}},
                "ids": {"type": "array", "items": {"type": ["string", "null"]}},
                "pending": {"type": "array", "items": _object({"row": row, "id": text}, ["row", "id"])},
                "errors": {"type": "array", "items": _object({"row": row, "message": text}, ["row", "message"])},
            },
            ["predictions", "ids"],
        ),
    }


def _object(properties: dict[str, Any], required: list[str], *, closed: bool = False) -> dict[str, Any]:
    found: dict[str, Any] = {"type": "object", "properties": properties, "required": required}
    return found | {"additionalProperties": False} if closed else found


def _required(contract: Contract) -> list[str]:
    return [field.name for field in contract.fields if not field.optional]


def _field(field: Field) -> dict[str, Any]:
    kind = _TYPES.get(field.kind, "string")
    found: dict[str, Any] = {"type": [kind, "null"] if field.optional else kind}
    if field.categories:
        found["enum"] = [*field.categories, None] if field.optional else list(field.categories)
    if field.low is not None:
        found["minimum"] = field.low
    if field.high is not None:
        found["maximum"] = field.high
    if field.kind == "image":
        found["contentEncoding"] = "base64"
    return found
