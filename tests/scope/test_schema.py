"""The JSON Schema that editors read is the one the code has."""

from __future__ import annotations

import json
from pathlib import Path

from andon.scope.charter import schema

DOCS = Path(__file__).parents[2] / "docs"


def test_the_published_schema_is_the_current_one() -> None:
    published = json.loads((DOCS / "charter.schema.json").read_text(encoding="utf-8"))
    assert published == json.loads(json.dumps(schema())), "run: andon check --schema > docs/charter.schema.json"


def test_every_key_is_explained_in_the_schema() -> None:
    body = schema()
    bare = [
        f"{name}.{key}"
        for name, part in [("charter", body), *body["$defs"].items()]
        for key, entry in part["properties"].items()
        if not (body["$defs"][entry["$ref"].rsplit("/", 1)[1]] if "$ref" in entry else entry).get("description")
    ]
    assert bare == []


def test_durations_are_shown_as_they_are_written() -> None:
    review = schema()["$defs"]["Review"]["properties"]
    assert review["deadline"]["default"] == "1h"
