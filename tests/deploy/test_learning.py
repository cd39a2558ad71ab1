"""Which labelled cases a threshold rests on: unselected ones, of the right slice, each once."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from andon.deploy import learning
from andon.deploy.learning import from_live, from_shadow, learn
from andon.scope.charter import Charter, parse

CHARTER = """
project: screening
inputs: {age: int}
target: {name: result, classes: [negative, positive], truth: external}
safe_default: refer
slices: {older: "age >= 60", oldest: "age >= 80"}
automation: {level: partial, partial: {max_error: 0.02}}
"""


@pytest.fixture
def charter() -> Charter:
    return parse(CHARTER)


def rows(n: int, age: int = 30, confidence: float = 0.99, right: bool = True) -> pl.DataFrame:
    truth = "negative" if right else "positive"
    return pl.DataFrame(
        {"model": ["negative"] * n, "confidence": [confidence] * n, "truth": [truth] * n, "age": [age] * n}
    )


def known(monkeypatch: pytest.MonkeyPatch, seen: pl.DataFrame, tested: pl.DataFrame) -> None:
    monkeypatch.setattr(learning, "_seen", lambda workspace, charter, version: seen)
    monkeypatch.setattr(learning, "_tested", lambda workspace, version: tested)


def test_production_counts_as_soon_as_it_could_show_anything(charter: Charter, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere: Any = None
    known(monkeypatch, rows(148), rows(500, confidence=0.8))
    assert learn(nowhere, charter, "v1").source == "the release's test data"
    known(monkeypatch, rows(149), rows(500, confidence=0.8))
    found = learn(nowhere, charter, "v1")
    assert (found.source, found.value) == ("labelled cases in production", 0.99)
    known(monkeypatch, rows(149, right=False), rows(500))  # the result does not choose the source
    assert learn(nowhere, charter, "v1").value is None
    known(monkeypatch, rows(0), rows(0))
    assert "149 would" in str(learn(nowhere, charter, "v1"))


def test_a_slice_learns_from_its_own_cases_in_the_order_they_are_tried(
    charter: Charter, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = pl.concat([rows(200, 30, 0.7), rows(200, 65, 0.8), rows(200, 85, 0.9)])
    known(monkeypatch, seen, rows(0))
    nowhere: Any = None
    slices = {"oldest": "age >= 80", "older": "age >= 60"}
    found = {name: learn(nowhere, charter, "v1", name, slices) for name in ("*", "older", "oldest")}
    assert {name: (one.value, one.threshold.n) for name, one in found.items()} == {
        "*": (0.7, 200),
        "older": (0.8, 200),
        "oldest": (0.9, 200),
    }
    assert "in older from a confidence of 0.8 on" in str(found["older"])


PAIRS = pl.DataFrame(
    {
        "id": ["1", "2", "3", "4"],
        "prediction": ["negative", "negative", None, "positive"],
        "confidence": [0.9, 0.8, None, 0.7],
        "label": ["negative", None, "negative", None],
        "human": ["positive", "negative", None, "positive"],
        "level": ["shadow", "human", "shadow", "partial"],
    }
)


def test_shadow_rows_by_where_truth_comes_from() -> None:
    assert from_shadow(PAIRS, "external")["truth"].to_list() == ["negative"]
    people = from_shadow(PAIRS, "human")  # not the case that another model passed to people
    assert people["id"].to_list() == ["1", "2"] and people["truth"].to_list() == ["positive", "negative"]


def test_live_rows_are_what_the_version_itself_said() -> None:
    live = pl.DataFrame(
        {
            "id": ["1", "2", "3", "4"],
            "version": ["v1", "v1", "v1", "v2"],
            "prediction": ["negative", "positive", "positive", "negative"],
            "suggestion": [None, "negative", "negative", None],
            "decided_by": ["model", "person", "person", "model"],
            "confidence": [0.99, 0.6, 0.7, 0.9],
            "label": ["negative", "positive", "negative", "negative"],
            "level": ["partial", "partial", "shadow", "partial"],
        }
    )
    assert from_live(live, "v1", "external")["model"].to_list() == ["negative", "negative", "negative"]
    assert from_live(live, "v1", "human")["id"].to_list() == ["3"]
