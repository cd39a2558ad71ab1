"""The Open Inference Protocol v2 over the same desk: health, metadata, readiness, inference with many rows.

Tensors come and go as JSON or as raw bytes (``gateway_binary``).
A row that a person decides is no error: its ``status`` is "pending" and its id is where to ask later. What the protocol
has no place for goes back in ``parameters``, as texts, numbers and booleans.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import unquote

import msgspec

import andon
from andon.core.registry import did_you_mean
from andon.data.contract import Contract
from andon.deploy.case import Outcome, Shown
from andon.deploy.desk import Desk
from andon.deploy.gateway_binary import EXTENSION, LENGTH, fill, packed, split
from andon.deploy.gateway_decisions import decode_json
from andon.deploy.gateway_rows import ask
from andon.deploy.gateway_tensors import InferRequest, datatype, decode_infer, flag, rows_of
from andon.deploy.protocol_message import Answer, Reply, Request, error_answer, json_answer
from andon.deploy.settings import GatewayConfig
from andon.errors import AndonError, ContractError, NotFound

__all__ = ["OUTPUTS", "Inference"]

Handle = Callable[[Request, Reply], None]

#: The output tensors: name, datatype. An element of a row without one is "" or 0.
OUTPUTS = (("decision", "BYTES"), ("confidence", "FP64"), ("status", "BYTES"), ("id", "BYTES"), ("error", "BYTES"))
_NO_ERROR = ("error", "")
_HOW = {"model": "auto", "nobody": "deferred", "person": "human", "client": "human", "safe_default": "safe_default"}


class Inference:
    """The protocol's calls. The one model is called like the project; its versions are the releases loaded here."""

    def __init__(self, config: GatewayConfig, desk: Desk, ready: Callable[[], bool], line: str) -> None:
        self._config = config
        self._desk = desk
        self._ready = ready
        self._line = line

    def route(self, path: str) -> tuple[str, str, Handle | None]:
        """(kind of call, method, handler) of a path under /v2; the handler is None where there is nothing."""
        parts = path.strip("/").split("/")[1:]
        if not parts:
            return "model", "GET", self._server
        if parts[0] == "health" and len(parts) == 2:
            handle = {"live": self._live, "ready": self._is_ready}.get(parts[1])
            return "health", "GET", handle
        if parts[0] != "models" or len(parts) < 2:
            return "model", "GET", None
        name, rest = unquote(parts[1]), parts[2:]
        version = None
        if rest[:1] == ["versions"] and len(rest) >= 2:
            version, rest = unquote(rest[1]), rest[2:]
        return self._model_call(name, version, rest)

    def _model_call(self, name: str, version: str | None, rest: list[str]) -> tuple[str, str, Handle | None]:
        if rest == ["infer"]:
            return "infer", "POST", lambda request, reply: self._infer(self._checked(name, version), request, reply)
        if rest == ["ready"]:
            return "model", "GET", lambda request, reply: self._model_ready(self._checked(name, version), reply)
        if not rest:
            return "model", "GET", lambda request, reply: self._metadata(self._checked(name, version), reply)
        return "model", "GET", None

    def _live(self, request: Request, reply: Reply) -> None:
        reply(json_answer(200, {"live": True, "line": self._line}))

    def _is_ready(self, request: Request, reply: Reply) -> None:
        ready = self._ready()
        reply(json_answer(200 if ready else 503, {"ready": ready}))

    def _server(self, request: Request, reply: Reply) -> None:
        reply(json_answer(200, {"name": "andon", "version": andon.__version__, "extensions": [EXTENSION]}))

    def _checked(self, name: str, version: str | None) -> str | None:
        """The version asked for by name, if any; raises ``NotFound`` for a model or version that is not here."""
        if name != self._config.project:
            raise NotFound(f"no model is called {name[:100]!r} here; {did_you_mean(name, [self._config.project])}")
        loaded = self._versions()
        if version is not None and version not in loaded:
            raise NotFound(f"version {version[:100]!r} of {name} is not loaded; {did_you_mean(version, loaded)}")
        return version

    def _versions(self) -> list[str]:
        """The versions of the route that are loaded: live, candidate, then warm ones."""
        route, loaded = self._desk.placer.route, self._desk.parts.replicas.loaded
        named = dict.fromkeys((route.live, route.candidate, *route.warm))
        return [version for version in named if version in loaded]

    def _model_ready(self, version: str | None, reply: Reply) -> None:
        """A version by name is ready when it would answer: a warm one has to be made live or candidate first."""
        route = self._desk.placer.route
        ready = self._ready() and (version is None or version in (route.live, route.candidate))
        reply(json_answer(200 if ready else 503, {"name": self._config.project, "ready": ready}))

    def _metadata(self, version: str | None, reply: Reply) -> None:
        contract = self._contract(version)
        body = {
            "name": self._config.project,
            "versions": self._versions(),
            "platform": "andon",
            "inputs": [{"name": field.name, "datatype": datatype(field), "shape": [-1]} for field in contract.fields],
            "outputs": [{"name": name, "datatype": kind, "shape": [-1]} for name, kind in OUTPUTS],
        }
        reply(json_answer(200, body))

    def _contract(self, version: str | None) -> Contract:
        placer = self._desk.placer
        return placer.contract_of(version or placer.route.live)

    def _infer(self, version: str | None, request: Request, reply: Reply) -> None:
        head, raw = split(request)
        given = decode_json(head, decode_infer)
        wanted = _wanted(given)
        fields, limit = self._contract(version).fields, self._config.infer_rows
        fill(given, raw, fields, limit)
        rows = rows_of(given, fields, limit)
        done = partial(_answer, self._config.project, given.id, wanted, reply)
        ask(self._desk, self._config.classes, rows, done, version)


#: An output that is asked for: name, datatype, whether it goes back as raw bytes.
_Wanted = tuple[str, str, bool]


def _wanted(request: InferRequest) -> list[_Wanted]:
    """The outputs asked for; all of them when the request names none."""
    binary = flag(request.parameters, "binary_data_output", False)
    if not request.outputs:
        return [(name, kind, binary) for name, kind in OUTPUTS]
    known, found = dict(OUTPUTS), list[_Wanted]()
    for output in request.outputs:
        if output.name not in known:
            raise ContractError(
                f"outputs: no output is called {output.name[:60]!r}; {did_you_mean(output.name, known)}",
                field="outputs",
            )
        if any(output.name == name for name, _, _ in found):
            raise ContractError(f"outputs: {output.name!r} is there twice", field="outputs")
        for asked in ("classification", "shared_memory_region"):
            if asked in output.parameters:
                raise ContractError(f"outputs: {output.name!r}: {asked} is not offered here", field="outputs")
        found.append((output.name, known[output.name], flag(output.parameters, "binary_data", binary)))
    return found


def _answer(model: str, id: str | None, wanted: list[_Wanted], reply: Reply, outcomes: list[Outcome]) -> None:
    """One answer for all rows; only where every row failed it is an error."""
    errors = [outcome for outcome in outcomes if isinstance(outcome, AndonError)]
    if len(errors) == len(outcomes):
        reply(error_answer(errors[0], inference=True))
        return
    rows = [_described(outcome) for outcome in outcomes]
    versions = {row["version"] for row in rows}
    version = versions.pop() if len(versions) == 1 else None
    body: dict[str, Any] = {"model_name": model}
    if version is not None:
        body["model_version"] = version
    if id is not None:
        body["id"] = id
    body["parameters"] = _parameters(rows)
    reply(_with_outputs(body, wanted, rows))


def _with_outputs(body: dict[str, Any], wanted: list[_Wanted], rows: list[dict[str, Any]]) -> Answer:
    """The answer with its tensors: in the JSON, or behind it where raw bytes were asked for."""
    behind: list[bytes] = []
    outputs: list[dict[str, Any]] = []
    for name, kind, binary in wanted:
        output: dict[str, Any] = {"name": name, "datatype": kind, "shape": [len(rows)]}
        values = [row[name] for row in rows]
        if binary:
            behind.append(packed(kind, values))
            output["parameters"] = {"binary_data_size": len(behind[-1])}
        else:
            output["data"] = values
        outputs.append(output)
    answer = json_answer(200, {**body, "outputs": outputs})
    if not behind:
        return answer
    length = ((LENGTH, str(len(answer.body))),)
    return Answer(200, answer.body + b"".join(behind), "application/octet-stream", length)


def _described(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, Shown):
        return {
            "id": outcome.id,
            "status": outcome.status,
            "decision": outcome.decision or "",
            "decided_by": outcome.decided_by,
            "confidence": outcome.confidence or 0.0,
            "version": outcome.version,
            "arm": outcome.arm,
            "epoch": outcome.epoch,
            "suggestion": outcome.suggestion,
            "error": "",
            **({} if outcome.recorded else {"recorded": False}),
        }
    nothing = {"id": "", "decision": "", "decided_by": "nobody", "confidence": 0.0, "version": None}
    return {**nothing, "status": "error", "arm": "none", "epoch": 0, "error": outcome.message, "code": outcome.code}


def _parameters(rows: list[dict[str, Any]]) -> dict[str, str | float | int]:
    """What the protocol has no place for: of a single row by name, of many as JSON text by row."""
    if len(rows) > 1:
        kept = [
            {key: value for key, value in row.items() if value is not None and (key, value) != _NO_ERROR}
            for row in rows
        ]
        return {
            "x_pending": sum(row["status"] == "pending" for row in rows),
            "x_errors": sum(row["status"] == "error" for row in rows),
            "x_rows": msgspec.json.encode(kept).decode(),
        }
    row = rows[0]
    found: dict[str, str | float | int] = {
        "x_decision": _HOW[row["decided_by"]],
        "x_id": row["id"],
        "x_arm": row["arm"],
        "x_route_epoch": row["epoch"],
    }
    if row["status"] == "pending":
        found["x_review_id"] = row["id"]
    else:
        found["x_confidence"] = row["confidence"]
    if "recorded" in row:
        found["x_recorded"] = False
    if row.get("suggestion") is not None:
        found["x_suggestion"] = row["suggestion"]
    return found
