"""The OpenAPI 3.1 document of the board, made from what the pages and commands declare; nothing is written by hand.

>>> from andon.surface.page import Empty, Page
>>> page = Page("line", "/", "Line", "line", lambda visit, params: Empty(), Empty, Empty, "line.html")
>>> made = document("screening", (page,), (), (), local=False)
>>> sorted(made["paths"]), made["paths"]["/api/v1/line"]["get"]["operationId"]
(['/api/v1/events', '/api/v1/line', '/api/v1/openapi.json'], 'line')
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import msgspec

import andon
from andon.people.access import MAY, Action
from andon.surface.decode import fields_of, is_many
from andon.surface.page import TOPICS, Command, Page, Raw

__all__ = ["document"]

_REF = "#/components/schemas/{name}"
_ERRORS = {
    "400": "what was sent makes no sense; the sentence says what",
    "401": "no token, or one that does not count",
    "403": "the token's role may not do this",
    "404": "there is no such thing",
    "409": "somebody was first, or a gate said no",
    "413": "the body is too large",
    "415": "the content type is not the one expected",
    "422": "what was sent does not fit the contract",
    "429": "too many at once; try again later",
    "500": "stored data are damaged; the sentence says what to do",
    "503": "a part that is needed is gone for now",
}


def document(
    project: str, pages: Sequence[Page], raws: Sequence[Raw], commands: Sequence[Command], local: bool
) -> dict[str, Any]:
    """The document as plain values; ``local`` where no token is asked for."""
    kinds = list(dict.fromkeys([*(page.result for page in pages), *(one.result for one in commands)]))
    kinds += [one for one in dict.fromkeys(command.params for command in commands) if one not in kinds]
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    of = dict(zip(kinds, schemas, strict=True))
    paths: dict[str, Any] = {
        "/api/v1/openapi.json": {"get": _fixed("openapi", "This document", "application/json") | {"security": []}}
    }
    paths["/api/v1/events"] = {"get": _fixed("events", _EVENTS, "text/event-stream")}
    for page in pages:
        paths[page.twin] = {"get": _read(page, page.twin, page.title, _json(of[page.result]))}
    for raw in raws:
        body: dict[str, Any] = {"content": {"application/octet-stream": {}, "image/*": {}}}
        paths["/api/v1" + raw.path] = {"get": _read(raw, raw.path, raw.name, body)}
    for command in commands:
        paths[f"/api/v1/{command.path}"] = {"post": _do(command, of[command.params], of[command.result])}
    made: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": f"{project} board", "version": andon.__version__},
        "paths": paths,
        "components": {"schemas": {**components, "Error": _error()}},
    }
    if not local:
        made["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        made["security"] = [{"token": []}]
    return made


_EVENTS = f"Server-sent events: `marks`, an object with the marks of {', '.join(TOPICS)}, whenever one of them changes"


def _json(schema: Any) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema}}}


def _responses(found: dict[str, Any]) -> dict[str, Any]:
    error = _json({"$ref": _REF.format(name="Error")})
    return {"200": {"description": "as asked", **found}} | {
        status: {"description": text, **error} for status, text in _ERRORS.items()
    }


def _fixed(name: str, summary: str, media: str) -> dict[str, Any]:
    schema = {"schema": {"type": "object"}} if media == "application/json" else {}
    return {"operationId": name, "summary": summary, "responses": _responses({"content": {media: schema}})}


def _read(one: Page | Raw, path: str, title: str, found: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": one.name,
        "summary": title,
        "description": f"For the roles {_roles(one.may)}.",
        "parameters": _parameters(path, one.params),
        "responses": _responses(found),
    }


def _parameters(path: str, kind: type[msgspec.Struct]) -> list[dict[str, Any]]:
    """Path and query parameters, each with the schema of its field."""
    schema = msgspec.json.schema(kind)
    properties = schema["$defs"][kind.__name__]["properties"]
    made = []
    for field in fields_of(kind):
        found = {key: value for key, value in properties[field.encode_name].items() if key != "default"}
        where = "path" if f"{{{field.encode_name}}}" in path else "query"
        one: dict[str, Any] = {"name": field.encode_name, "in": where, "required": field.required, "schema": found}
        if where == "query" and not field.required:
            one["allowEmptyValue"] = True  # a form sends what was left empty, too; it counts as not given
        if is_many(field):
            one |= {"style": "form", "explode": True}
        made.append(one)
    return made


def _do(command: Command, params: Any, result: Any) -> dict[str, Any]:
    doc = inspect.getdoc(command.run) or ""
    return {
        "operationId": command.name,
        "summary": command.title,
        "description": f"{doc}\n\nFor the roles {_roles(command.may)}.".strip(),
        "requestBody": {"required": True, **_json(params)},
        "responses": _responses(_json(result)),
    }


def _roles(may: Action) -> str:
    return ", ".join(role for role in MAY if may in MAY[role])


def _error() -> dict[str, Any]:
    text = {"type": "string"}
    fault = {
        "type": "object",
        "properties": {"code": text, "message": text, "field": text, "hint": text},
        "required": ["code", "message"],
    }
    return {"type": "object", "properties": {"error": fault}, "required": ["error"]}
