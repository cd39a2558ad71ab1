"""The Open Inference Protocol v2 over the same desk: health, metadata, readiness, inference with many rows.

A row that a person decides is no error: its ``status`` is "pending" and its id is where to ask later. What the protocol
has no place for goes back in ``parameters``, as texts, numbers and booleans.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

import msgspec

import andon
from andon.core.registry import did_you_mean
from andon.data.contract import Contract
from andon.deploy.case import Case, Outcome, Shown
from andon.deploy.desk import Desk
from andon.deploy.gateway_decisions import check_id, check_tags, decode_json
from andon.deploy.gateway_tensors import InferRequest, Row, datatype, decode_infer, rows_of
from andon.deploy.protocol_message import Reply, Request, error_answer, json_answer
from andon.deploy.settings import GatewayConfig
from andon.errors import AndonError, ContractError, NotFound

__all__ = ["OUTPUTS", "Inference"]

Handle = Callable[[Request, Reply], None]

#: The output tensors: name, datatype. An element of a row without one is "" or 0.
OUTPUTS = (("decision", "BYTES"), ("confidence", "FP64"), ("status", "BYTES"), ("id", "BYTES"))
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
        reply(json_answer(200, {"name": "andon", "version": andon.__version__, "extensions": []}))

    def _checked(self, name: str, version: str | None) -> str | None:
        """The version asked for by name, if any; raises ``NotFound`` for a model or version that is not here."""
        if name != self._config.project:
            raise NotFound(f"no model is called {name[:100]!r} here; {did_you_mean(name, [self._config.project])}")
        loaded = self._desk.gauge().loaded
        if version is not None and version not in loaded:
            raise NotFound(f"version {version[:100]!r} of {name} is not loaded; {did_you_mean(version, loaded)}")
        return version

    def _model_ready(self, version: str | None, reply: Reply) -> None:
        ready = self._ready()
        reply(json_answer(200 if ready else 503, {"name": self._config.project, "ready": ready}))

    def _metadata(self, version: str | None, reply: Reply) -> None:
        contract = self._contract(version)
        body = {
            "name": self._config.project,
            "versions": list(self._desk.gauge().loaded),
            "platform": "andon",
            "inputs": [{"name": field.name, "datatype": datatype(field), "shape": [-1]} for field in contract.fields],
            "outputs": [{"name": name, "datatype": kind, "shape": [-1]} for name, kind in OUTPUTS],
        }
        reply(json_answer(200, body))

    def _contract(self, version: str | None) -> Contract:
        placer = self._desk.placer
        return placer.contract_of(version or placer.route.live)

    def _infer(self, version: str | None, request: Request, reply: Reply) -> None:
        given = decode_json(request.body, decode_infer)
        wanted = _wanted(given)
        rows = rows_of(given, self._contract(version).fields, self._config.infer_rows)
        for row in rows:
            self._check(row)
        gathered = _Gathered(self._config.project, given, wanted, len(rows), reply)
        for at, row in enumerate(rows):
            case = Case(
                row.x,
                gathered.place(at),
                id=row.id or "",
                unit=row.unit,
                tags=row.tags or {},
                human=row.human,
                pin=version,
            )
            self._desk.submit(case)

    def _check(self, row: Row) -> None:
        if row.id is not None:
            check_id(row.id)
        if row.tags:
            check_tags(row.tags)
        if row.unit is not None:
            check_id(row.unit, "unit")
        if row.human is not None and row.human not in self._config.classes:
            raise ContractError("human: expected a class of this project", field="human")


def _wanted(request: InferRequest) -> list[tuple[str, str]]:
    """The outputs asked for; all of them when the request names none."""
    if not request.outputs:
        return list(OUTPUTS)
    known = dict(OUTPUTS)
    for output in request.outputs:
        if output.name not in known:
            raise ContractError(
                f"outputs: no output is called {output.name[:60]!r}; {did_you_mean(output.name, known)}",
                field="outputs",
            )
    return [(output.name, known[output.name]) for output in request.outputs]


class _Gathered:
    """Waits for the outcome of every row, then answers once."""

    def __init__(
        self, model: str, request: InferRequest, wanted: list[tuple[str, str]], count: int, reply: Reply
    ) -> None:
        self._model = model
        self._request = request
        self._wanted = wanted
        self._outcomes: list[Outcome | None] = [None] * count
        self._missing = count
        self._reply = reply

    def place(self, at: int) -> Callable[[Outcome], None]:
        """Where the outcome of row ``at`` goes."""

        def take(outcome: Outcome) -> None:
            self._outcomes[at] = outcome
            self._missing -= 1
            if not self._missing:
                self._answer([found for found in self._outcomes if found is not None])

        return take

    def _answer(self, outcomes: list[Outcome]) -> None:
        errors = [outcome for outcome in outcomes if isinstance(outcome, AndonError)]
        if len(errors) == len(outcomes):
            self._reply(error_answer(errors[0], inference=True))
            return
        rows = [_described(outcome) for outcome in outcomes]
        versions = {row["version"] for row in rows}
        version = versions.pop() if len(versions) == 1 else None
        body: dict[str, Any] = {"model_name": self._model}
        if version is not None:
            body["model_version"] = version
        if self._request.id is not None:
            body["id"] = self._request.id
        body["parameters"] = _parameters(rows)
        body["outputs"] = [
            {"name": name, "datatype": kind, "shape": [len(rows)], "data": [row[name] for row in rows]}
            for name, kind in self._wanted
        ]
        self._reply(json_answer(200, body))


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
        }
    nothing = {"id": "", "decision": "", "decided_by": "nobody", "confidence": 0.0, "version": None}
    return {**nothing, "status": "error", "arm": "none", "epoch": 0, "error": outcome.message, "code": outcome.code}


def _parameters(rows: list[dict[str, Any]]) -> dict[str, str | float | int]:
    """What the protocol has no place for: of a single row by name, of many as JSON text by row."""
    if len(rows) > 1:
        kept = [{name: value for name, value in row.items() if value is not None} for row in rows]
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
    if row.get("suggestion") is not None:
        found["x_suggestion"] = row["suggestion"]
    return found
