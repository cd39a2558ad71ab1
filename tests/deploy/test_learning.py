"""Which labelled cases a threshold rests on: unselected ones, of the right slice, each once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest

from andon.core.clock import DAY, ManualClock
from andon.deploy import learning
from andon.deploy.learning import LIVE, TESTED, from_live, from_shadow, learn, learn_from
from andon.errors import Unavailable
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
    monkeypatch.setattr(learning, "_seen", lambda *given: seen)
    monkeypatch.setattr(learning, "_tested", lambda workspace, charter, version: tested)


def test_production_counts_as_soon_as_it_could_show_anything(charter: Charter, monkeypatch: pytest.MonkeyPatch) -> None:
    nowhere: Any = None
    known(monkeypatch, rows(148), rows(500, confidence=0.8))
    assert learn(nowhere, charter, "v1").source == TESTED
    known(monkeypatch, rows(149), rows(500, confidence=0.8))
    found = learn(nowhere, charter, "v1")
    assert (found.source, found.value, found.threshold.labels_needed) == (LIVE, None, 183)
    known(monkeypatch, rows(183), rows(500, confidence=0.8))
    assert learn(nowhere, charter, "v1").value == 0.99
    known(monkeypatch, rows(149, right=False), rows(500))  # the result does not choose the source
    assert learn(nowhere, charter, "v1").value is None
    known(monkeypatch, rows(0), rows(0))
    assert "183 would" in str(learn(nowhere, charter, "v1"))


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


def test_looks_share_the_promise(charter: Charter, monkeypatch: pytest.MonkeyPatch) -> None:
    known(monkeypatch, rows(300), rows(0))
    nowhere: Any = None
    first = learn(nowhere, charter, "v1")
    assert (first.look, round(first.threshold.delta, 6)) == (1, 0.025)
    later = learn(nowhere, charter, "v1", looks=[(TESTED, 40, 0, 0), (LIVE, 200, 0, 9), (LIVE, 200, 0, 9)])
    assert (later.look, round(later.threshold.delta, 6)) == (3, 0.004167)
    again = learn(nowhere, charter, "v1", looks=[(LIVE, 300, 0, 0), (LIVE, 200, 0, 0)])
    assert again.look == 1
    timed = rows(300).with_columns(time_us=pl.int_range(300, dtype=pl.Int64) + 1)
    known(monkeypatch, timed, rows(0))
    slid = learn(nowhere, charter, "v1", looks=[(LIVE, 300, 0, 299)])
    assert (slid.look, slid.made) == (2, (LIVE, 300, 1, 300)), "as many other cases are another look"


def test_after_a_breach_only_what_production_has_shown_since_counts(
    charter: Charter, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere: Any = None
    known(monkeypatch, rows(300).with_columns(time_us=pl.int_range(300, dtype=pl.Int64)), rows(500))
    found = learn(nowhere, charter, "v1", after_us=249)
    assert (found.source, found.threshold.n, found.first_us) == (LIVE, 50, 250)
    known(monkeypatch, rows(0), rows(500))
    assert learn(nowhere, charter, "v1", after_us=249).threshold.n == 0


def test_the_looks_share_the_promise_over_any_number() -> None:
    assert sum(1 / (k * (k + 1)) for k in range(1, 10_000)) < 1


@pytest.mark.slow
def test_asking_every_week_until_the_answer_is_yes_keeps_the_promise() -> None:
    """A model just too bad at every confidence; twenty looks at growing data, 150 times."""
    random = np.random.default_rng(5)
    fooled, careless = 0, 0
    for _ in range(150):
        right = random.random(4000) >= 0.0205
        frame = pl.DataFrame(
            {"model": ["a"] * 4000, "confidence": random.random(4000), "truth": np.where(right, "a", "b")}
        )
        weeks = [frame.head(200 * week) for week in range(1, 21)]
        looks = [learn_from(seen, 0.02, 0.05 / (k * (k + 1))).value for k, seen in enumerate(weeks, 1)]
        fooled += any(value is not None for value in looks)
        careless += any(learn_from(seen, 0.02, 0.05).value is not None for seen in weeks)
    assert fooled <= 0.05 * 150 < careless  # without it the promise is broken


def test_evidence_ages(charter: Charter, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only cases and releases of the charter's last ``evidence`` count: asked of the views as a time."""
    asked: list[int | None] = []
    clock = ManualClock(now=100 * DAY)

    def seen(workspace: Any, *rest: Any, **more: Any) -> pl.DataFrame:
        asked.append(next((value for value in rest if isinstance(value, int)), None))
        raise Unavailable("not here")

    monkeypatch.setattr("andon.store.view.outcomes", seen)
    monkeypatch.setattr("andon.store.view.shadow_pairs", seen)
    run = SimpleNamespace(time_us=72 * DAY)
    monkeypatch.setattr("andon.model.run.find_run", lambda workspace, version: run)
    tested = rows(500).rename({"model": "prediction", "truth": "label"})
    monkeypatch.setattr("andon.model.run.predictions", lambda workspace, run: tested)
    workspace: Any = SimpleNamespace(clock=clock)
    assert charter.automation.partial.evidence_us == 28 * DAY
    assert learn(workspace, charter, "v1").source == TESTED  # 28 days old to the microsecond
    assert asked == [72 * DAY]
    run.time_us -= 1
    found = learn(workspace, charter, "v1")
    assert (found.source, found.threshold.n) == (LIVE, 0)
