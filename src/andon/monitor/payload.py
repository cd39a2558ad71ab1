"""A decision as CloudEvents 1.0 in the types of KServe's payload logger, in the binary mode of their HTTP binding.

The request and its response are two events with the bodies of the Open Inference Protocol. Their ids differ (KServe's
do not, so that a receiver that drops what it has seen drops the answer) and are made of the decision's id and its place
in the log: the same event sent again has the same id, and no two events share one.

>>> decision = Decision("a 1", 0, 0, 1, {"age": 41}, "decided", "no", "model", "full", version="v1", stream="w0", sequence=2)
>>> request, response = decision_events("screening", (Field("age", "int"),), decision, "00c0ffee")
>>> request.headers["ce-id"], request.headers["ce-requestid"], request.body
('a%201.w0-00c0ffee-2.request', 'a%201', b'{"id":"a 1","inputs":[{"name":"age","datatype":"INT64","shape":[1],"data":[41]}]}')
>>> response.headers["ce-type"]
'org.kubeflow.serving.inference.response'
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from andon.core.clock import iso
from andon.core.record import Decision, Field, Review
from andon.deploy.gateway_tensors import datatype
from andon.store.frame import server_id

__all__ = ["MOST_BYTES", "REQUEST", "RESPONSE", "Event", "decision_events", "review_event"]

REQUEST, RESPONSE = "org.kubeflow.serving.inference.request", "org.kubeflow.serving.inference.response"
MOST_BYTES = 48 << 10
"""Inputs of an event, as JSON: intermediaries need only pass on events of 64 KiB, the head and the rest included."""

_encode = msgspec.json.Encoder().encode
_HOW = {"model": "auto", "nobody": "deferred", "person": "human", "client": "human", "safe_default": "safe_default"}
#: What the HTTP binding leaves as it is in a header's value.
_PLAIN = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


class Event(msgspec.Struct, frozen=True):
    """One POST: its headers and its body."""

    headers: dict[str, str]
    body: bytes


def decision_events(project: str, fields: Sequence[Field], decision: Decision, generation: str) -> tuple[Event, Event]:
    """The request and the response of one decision; what is null is in neither.

    What is missing is left out. Inputs that would make the event too large are left out, largest first, and named in
    the parameter ``x_left_out``.
    """
    place = server_id(decision.stream, generation, decision.sequence)
    base = decision.id if decision.id == place else f"{decision.id}.{place}"
    inputs, left_out = _inputs(fields, decision)
    asked: dict[str, Any] = {"id": decision.id, "inputs": inputs}
    parameters: dict[str, Any] = {}
    if decision.tags:
        parameters["tags"] = _encode(decision.tags).decode()
    if left_out:
        parameters["x_left_out"] = ",".join(left_out)
    if parameters:
        asked["parameters"] = parameters
    told = _told(project, decision)
    endpoint = "canary" if decision.arm == "candidate" else "default"
    about = (project, decision.id, decision.time_us, endpoint)
    return _event(REQUEST, f"{base}.request", about, asked), _event(RESPONSE, f"{base}.response", about, told)


def review_event(project: str, review: Review, place: str) -> Event:
    """What a pending decision became: a later response to the same request. ``place`` is the review's in the log."""
    body = {
        "model_name": project,
        "id": review.id,
        "parameters": {"x_decision": _HOW[review.decided_by], "x_id": review.id},
        "outputs": _outputs(review.decision, "decided", None, review.id),
    }
    return _event(RESPONSE, f"{review.id}.{place}.review", (project, review.id, review.time_us, "default"), body)


def _inputs(fields: Sequence[Field], decision: Decision) -> tuple[list[dict[str, Any]], list[str]]:
    found: list[tuple[int, dict[str, Any]]] = []
    for field in fields:
        value = decision.x.get(field.name)
        if value is not None:
            tensor = {"name": field.name, "datatype": datatype(field), "shape": [1], "data": [value]}
            found.append((len(_encode(tensor)), tensor))
    left_out: list[str] = []
    while sum(size for size, _ in found) > MOST_BYTES:
        largest = max(found, key=lambda pair: pair[0])
        found.remove(largest)
        left_out.append(largest[1]["name"])
    return [tensor for _, tensor in found], left_out


def _told(project: str, decision: Decision) -> dict[str, Any]:
    body: dict[str, Any] = {"model_name": project, "id": decision.id}
    decided = decision.status == "decided"
    if decided and decision.version is not None:
        body["model_version"] = decision.version
    body["parameters"] = {
        "x_decision": _HOW[decision.decided_by],
        "x_id": decision.id,
        "x_arm": decision.arm,
        "x_route_epoch": decision.epoch,
    }
    confidence = decision.confidence if decided else None
    body["outputs"] = _outputs(decision.decision, decision.status, confidence, decision.id)
    return body


def _outputs(made: str | None, status: str, confidence: float | None, id: str) -> list[dict[str, Any]]:
    values = {"decision": made or "", "confidence": confidence or 0.0, "status": status, "id": id}
    kinds = {"confidence": "FP64"}
    return [
        {"name": name, "datatype": kinds.get(name, "BYTES"), "shape": [1], "data": [value]}
        for name, value in values.items()
    ]


def _event(type: str, id: str, about: tuple[str, str, int, str], body: dict[str, Any]) -> Event:
    project, request, time_us, endpoint = about
    attributes = {
        "specversion": "1.0",
        "type": type,
        "source": f"/v2/models/{quote(project, safe='')}/infer",
        "id": id,
        "time": iso(time_us),
        "inferenceservicename": project,
        "namespace": "andon",
        "component": "predictor",
        "endpoint": endpoint,
        "requestid": request,
    }
    headers = {f"ce-{name}": quote(value, safe=_PLAIN) for name, value in attributes.items()}
    return Event({"content-type": "application/json", **headers}, _encode(body))
