"""Requests made out of the OpenAPI document, fair and foul: no fault of the board, no status it does not tell of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.generation import GenerationMode
from schemathesis.python.asgi import shutdown_lifespans
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from tests.board.conftest import Workshop

from andon.config import open_project
from andon.surface.board.app import make_app
from andon.surface.catalog import COMMANDS, PAGES, RAWS

CHECKS: list[Any] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
    ignored_auth,
]
#: Names that mean something in the workshop, put in place of made-up ones half of the time.
REAL = {"version": "v2", "run": "r1", "metric": "error", "key": "error", "id": "h2q1-1", "slice": "zinc", "to": "v1"}
OPERATIONS = sorted([*(p.name for p in PAGES), *(c.name for c in COMMANDS), *(r.name for r in RAWS), "openapi"])


@pytest.fixture(scope="module")
def api(board_project: Workshop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The document of an application in this process, over a project of its own."""
    from tests.board.workshop import copy_of

    project = open_project(copy_of(board_project.root, tmp_path_factory.mktemp("fuzz") / "toy"))
    loaded = schemathesis.openapi.from_asgi("/api/v1/openapi.json", make_app(project))
    yield loaded
    shutdown_lifespans()
    project.workspace.close()


def fuzz(api: Any, tokens: dict[str, str], name: str, examples: int) -> None:
    operation = api.find_operation_by_id(name)
    headers = {"Authorization": f"Bearer {tokens['owner']}"}
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
        if mode is GenerationMode.NEGATIVE and not (operation.body or operation.query or operation.path_parameters):
            continue

        @settings(
            max_examples=examples,
            derandomize=True,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode), real=st.booleans())
        def check(case: Any, real: bool) -> None:
            if real and mode is GenerationMode.POSITIVE:  # noqa: B023 - it runs before the next turn of the loop
                for given_ in (case.path_parameters, case.query, case.body):
                    if isinstance(given_, dict):
                        given_.update({name: REAL[name] for name in given_ if name in REAL})
            case.call_and_validate(headers=headers, checks=CHECKS)

        check()


@pytest.mark.parametrize("name", OPERATIONS)
def test_nothing_that_the_document_allows_or_forbids_breaks_the_board(
    api: Any, board_project: Workshop, name: str
) -> None:
    fuzz(api, board_project.tokens, name, 3)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPERATIONS)
def test_it_takes_hundreds_of_them(api: Any, board_project: Workshop, name: str) -> None:
    fuzz(api, board_project.tokens, name, 150)
