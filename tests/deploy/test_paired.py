"""Shadow against people and the live model: pairs, agreement where no outcome is known, simulated people said."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from andon.deploy.paired import compare, pairs_of
from andon.errors import UsageError

answers = st.sampled_from(["a", "b", None])


def frame(rows: list[tuple[Any, Any, Any]], **more: Any) -> pl.DataFrame:
    schema = {"model": pl.String, "other": pl.String, "truth": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(**more)


def test_discordant_pairs_tell_who_is_better() -> None:
    rows = [("a", "a", "a")] * 80 + [("a", "b", "a")] * 12 + [("b", "a", "a")] * 4 + [("b", "b", "a")] * 4
    found = compare(frame(rows), version="v2", against="v1")
    assert (found.n, found.discordant, found.only_model_right, found.only_other_right) == (100, 16, 12, 4)
    assert (found.model_error.value, found.other_error.value) == (0.08, 0.16)
    assert found.difference.value == pytest.approx(0.08)
    assert found.difference.low is not None and found.difference.high is not None
    assert found.difference.low < 0.08 < found.difference.high
    assert found.matrix == {"a": {"a": 80, "b": 12}, "b": {"a": 4, "b": 4}}
    assert found.called == "accuracy" and found.agreement.value == 0.84
    assert found.said == "not_yet" and found.odds.value == pytest.approx(4 / 12)
    assert found.verdict == (
        "whether v2 is safe beside v1 is not known yet: 4 cases that only v2 got wrong against 12, "
        "of 100 with an outcome (margin 1.5, at any look)"
    )


def test_the_verdict_on_discordant_pairs_holds_at_any_look_and_takes_the_margin() -> None:
    def found(mine: int, other: int, margin: float = 1.5) -> Any:
        rows = [("a", "a", "a")] * 80 + [("a", "b", "a")] * other + [("b", "a", "a")] * mine
        return compare(frame(rows), version="v2", against="v1", margin=margin)

    assert found(40, 10).said == "harm" and found(40, 10).verdict.startswith("v2 errs more than v1: 40 cases")
    assert found(10, 40).said == "safe" and found(10, 40).verdict.startswith("v2 is safe beside v1")
    assert found(40, 42).said == "not_yet" and found(40, 42, margin=4).said == "safe"
    assert found(20, 60, margin=1).said == "safe"


def test_without_an_outcome_it_is_agreement_and_never_accuracy() -> None:
    found = compare(frame([("a", "a", None), ("a", "b", None)]), version="v1", against="people")
    assert found.called == "agreement" and found.outcomes == 0
    assert found.model_error.value is None and "only agreement" in str(found.model_error.reason)
    assert found.other_error.value is None and found.difference.value is None
    assert found.sentence == "v1 agrees with the people in 50 % of 2 cases"
    assert found.said is None and not found.odds.defined
    assert found.verdict.startswith("whether v1 or the people is right cannot be told: no outcome")


def test_a_persons_judgement_is_not_an_outcome() -> None:
    found = compare(frame([("a", "b", "b")]), version="v1", against="people", outcomes=False)
    assert found.called == "agreement" and found.model_error.value is None


def test_simulated_reviewers_are_counted_and_said() -> None:
    simulated = pl.Series([True, True, None])
    found = compare(frame([("a", "a", None)] * 3, simulated=simulated), version="v1", against="people")
    assert found.simulated == 2 and "2 of them were answered by simulated reviewers" in found.sentence
    assert "proves nothing about people" in found.sentence


def test_a_silent_model_disagrees_and_errs_and_a_silent_other_is_left_out() -> None:
    found = compare(frame([(None, "a", "a"), ("a", None, "a"), ("a", "a", "a")]), version="v1", against="people")
    assert (found.n, found.discordant, found.silent, found.model_error.value) == (2, 1, 1, 0.5)
    assert found.matrix == {"": {"a": 1}, "a": {"a": 1}}


def test_nothing_to_compare_is_undefined() -> None:
    found = compare(frame([]), version="v1", against="people")
    assert found.n == 0 and found.agreement.value is None and "no case in common" in found.sentence
    with pytest.raises(UsageError, match="expected the columns model and other"):
        compare(pl.DataFrame({"model": ["a"]}), version="v1", against="people")


@given(st.lists(st.tuples(answers, answers, answers), max_size=60))
def test_laws_of_a_comparison(rows: list[tuple[Any, Any, Any]]) -> None:
    found = compare(frame(rows), version="v1", against="people")
    assert sum(n for row in found.matrix.values() for n in row.values()) == found.n
    assert found.only_model_right + found.only_other_right <= found.discordant
    if found.difference.value is not None:
        assert found.model_error.value is not None and found.other_error.value is not None
        assert found.difference.value == pytest.approx(found.other_error.value - found.model_error.value)
        assert found.difference.low is not None and found.difference.high is not None
        assert -1 <= found.difference.low <= found.difference.high <= 1
    assert msgspec.json.decode(msgspec.json.encode(found))["version"] == "v1"


def test_the_interval_of_the_difference_keeps_its_promise() -> None:
    random = np.random.default_rng(7)
    covered = 0
    for _ in range(400):
        draw = random.choice(4, size=200, p=[0.86, 0.06, 0.04, 0.04])
        rows = [[("a", "a", "a"), ("a", "b", "a"), ("b", "a", "a"), ("b", "b", "a")][k] for k in draw]
        difference = compare(frame(rows), version="v2", against="v1").difference
        assert difference.low is not None and difference.high is not None
        covered += difference.low <= 0.02 <= difference.high
    assert covered >= 0.92 * 400


def test_pairs_against_people_are_blind_and_against_the_live_model_are_its_own() -> None:
    shadow = pl.DataFrame(
        {
            "prediction": ["a", "a", "b"],
            "human": ["a", None, None],
            "decision": ["a", "b", "a"],
            "decided_by": ["person", "model", "person"],
            "suggestion": ["b", None, None],
            "live": ["v1", "v1", None],
            "label": ["a", None, None],
            "simulated": [True, None, None],
        }
    )
    people = pairs_of(shadow, "people")
    assert people["other"].to_list() == ["a", None, None] and people["simulated"].to_list() == [True, False, False]
    model = pairs_of(shadow, "live")
    assert model["other"].to_list() == ["b", "b", None] and not model["simulated"].any()
