"""The board's OpenAPI document says everything that the board answers, and nothing else; what it answers fits it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.board.atlas import Atlas, page_of
from tests.board.served import Served

from andon.surface.catalog import COMMANDS, PAGES, RAWS

#: Statuses that every operation may answer with, each with the same shape.
FAULTS = {"400", "401", "403", "404", "409", "413", "422", "429", "500", "503"}


@pytest.fixture(scope="session")
def document(board: Served) -> dict[str, Any]:
    answer = board.call("GET", "/api/v1/openapi.json")
    assert answer.status == 200 and answer.headers["content-type"] == "application/json"
    found: dict[str, Any] = json.loads(answer.text)
    return found


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """By their name, with their path and method."""
    return {
        one["operationId"]: one | {"path": path, "method": method}
        for path, item in document["paths"].items()
        for method, one in item.items()
    }


def refs(value: Any) -> set[str]:
    """Everything that is referred to."""
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(refs, value.values()))
    return set().union(*map(refs, value)) if isinstance(value, list) else set()


def test_every_page_command_and_download_is_in_it_and_nothing_else(document: dict[str, Any]) -> None:
    found = operations(document)
    assert len(found) == sum(map(len, document["paths"].values())), "each operation has a name of its own"
    named = {page.name for page in PAGES} | {command.name for command in COMMANDS} | {raw.name for raw in RAWS}
    assert set(found) == named | {"openapi", "events"}
    assert {page.name: page.twin for page in PAGES}.items() <= {
        name: one["path"] for name, one in found.items()
    }.items()
    assert {one["path"] for one in found.values() if one["method"] == "post"} == {
        f"/api/v1/{command.path}" for command in COMMANDS
    }


def test_every_operation_says_what_it_takes_and_answers(document: dict[str, Any]) -> None:
    wrong: list[Any] = []
    for name, one in operations(document).items():
        missing = FAULTS - set(one["responses"])
        if missing or not one["summary"] or not one["responses"]["200"].get("content"):
            wrong.append((name, missing))
        wrong += [(name, parameter) for parameter in one.get("parameters", []) if "schema" not in parameter]
        placed = {parameter["name"] for parameter in one.get("parameters", []) if parameter["in"] == "path"}
        if any("{" + name + "}" not in one["path"] for name in placed) or one["path"].count("{") != len(placed):
            wrong.append((name, one["path"], placed))
        if one["method"] == "post" and not one["requestBody"]["content"]["application/json"]["schema"]:
            wrong.append((name, "no body"))
    assert wrong == []


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    named = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert refs(document) <= named
    assert document["security"] == [{"token": []}] and "token" in document["components"]["securitySchemes"]


def test_the_twin_of_every_page_that_links_lead_to_fits_its_schema(
    document: dict[str, Any], board: Served, addresses: Atlas
) -> None:
    import jsonschema_rs

    head = {"authorization": f"Bearer {board.tokens['owner']}"}
    wrong: list[str] = []
    of = operations(document)
    for name, found in addresses.pages.items():
        for address in found if name in of else ():
            assert page_of(address.split("?")[0]) == name
            answer = board.call(
                "GET",
                "/api/v1" + (address if address.partition("?")[0] != "/" else "/line" + address[1:]),
                headers=head,
            )
            schema = of[name]["responses"]["200"]["content"]["application/json"]["schema"]
            checker = jsonschema_rs.validator_for({**schema, "components": document["components"]})
            if answer.status != 200:
                wrong.append(f"{address}: {answer.status} {answer.text[:200]}")
                continue
            wrong += [
                f"{address}: {fault.message} at {fault.instance_path}"
                for fault in checker.iter_errors(json.loads(answer.text))
            ]
    assert wrong == []


@pytest.mark.parametrize("path", ["/api/v1/line", "/api/v1/nowhere", "/api/v1/events"])
def test_without_a_token_it_says_how_to_come_in(board: Served, path: str) -> None:
    answer = board.call("GET", path)
    assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert set(json.loads(answer.text)["error"]) <= {"code", "message", "hint", "field"}


def test_another_method_and_another_path_are_refused_in_the_same_words(document: dict[str, Any], board: Served) -> None:
    head = {"authorization": f"Bearer {board.tokens['owner']}"}
    for path, item in document["paths"].items():
        own = {method.upper() for method in item} | ({"HEAD"} if "get" in item else set())
        for method in {"GET", "POST", "DELETE", "PUT"} - own:
            answer = board.call(method, path.replace("{", "").replace("}", ""), headers=head)
            assert (answer.status, answer.headers["allow"]) == (405, ", ".join(sorted(own))), f"{method} {path}"
            assert json.loads(answer.text)["error"]["code"] == "method"
    for method in ("GET", "POST", "DELETE"):
        answer = board.call(method, "/api/v1/no/such/thing", headers=head)
        assert answer.status == 404 and json.loads(answer.text)["error"]["code"]
