"""A model beside people who err: error rates from double review, a verdict that needs none, and the number that is missing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest

from andon.deploy.paired import compare, pairs_of
from andon.deploy.raters import COLUMNS, Raters, rate
from andon.surface.cli.comparison import show_comparison

CLASSES = ("a", "b")
NAMES = ("model", "other", *COLUMNS)


def rated(rows: Sequence[Sequence[str | None]], **options: Any) -> Raters:
    frame = pl.DataFrame(rows, schema=dict.fromkeys(NAMES, pl.String), orient="row")
    return rate(frame, version="v1", **{"classes": CLASSES, **options})


def twice(model: str | None, first: str, second: str, third: str | None = None, by: str = "ann") -> tuple[Any, ...]:
    return (model, first, by, first, "bob", second, third)


def once(model: str, said: str, by: str = "ann") -> tuple[Any, ...]:
    return (model, said, by, None, None, None, None)


def test_who_stands_alone_and_what_is_settled() -> None:
    rows = [
        *[twice("a", "a", "a")] * 80,
        *[twice("b", "a", "a")] * 3,
        *[twice("a", "a", "b", "a")] * 6,
        *[twice("a", "b", "a", "a")] * 5,
        *[twice("b", "b", "a", None)] * 2,
    ]
    found = rated(rows)
    assert (found.doubles, found.alone_model, found.alone_person) == (96, 3, 13)
    # 3 of 83 on which two agree, and by 11 adjudications none of the 13 on which they do not.
    assert found.settled == 94 and found.reference_error.value is not None
    seen, wrong = 3 / 96, found.reference_error.value
    assert found.settled_error.value == pytest.approx((seen - wrong) / (1 - 2 * wrong))
    assert found.said == "not_yet" and found.odds.value == pytest.approx(2 * 3 / 13)
    assert found.needed is not None and found.needed > 96
    assert found.verdict == (
        "whether v1 is safe beside the people is not known yet: of 96 cases that two people answered blindly v1 stood "
        f"alone in 3, one of the two in 13 (margin 1.5, at any look); about {found.needed} such cases would tell"
    )


def test_harm_and_safe_are_said_at_any_look() -> None:
    bad = rated([twice("b", "a", "a")] * 30 + [twice("a", "a", "a")] * 100 + [twice("a", "a", "b", "a")] * 4)
    assert bad.said == "harm" and bad.needed is None and bad.verdict.startswith("v1 errs more than the people: of 134")
    good = [twice("a", "a", "b", "a")] * 60 + [twice("a", "a", "a")] * 500
    assert rated(good).said == "safe" and rated(good[50:]).said == "not_yet"
    some = [*good[:30], *good[60:200], *[twice("b", "a", "a")] * 12]
    assert rated(some).said == "not_yet" and rated(some, margin=4.0).said == "safe"


def test_a_model_without_an_answer_stands_alone() -> None:
    assert (rated([twice(None, "a", "a")]).alone_model, rated([twice(None, "a", "b")]).alone_person) == (1, 0)


def test_cases_that_wait_for_a_third_person_are_stood_for_by_those_that_do_not() -> None:
    waits = [twice("a", "b", "a"), twice("a", "a", "b")] * 5
    rows = [*[twice("a", "a", "a")] * 80, twice("b", "a", "b", "a"), twice("a", "b", "a", "a"), *waits]
    found = rated(rows)
    wrong = found.reference_error.value
    assert found.settled == 82 and wrong is not None
    assert found.settled_error.value == pytest.approx((0.5 * 12 / 92 - wrong) / (1 - 2 * wrong))
    nobody = rated([*[twice("a", "a", "a")] * 80, *waits]).settled_error
    assert nobody.reason == "no case that two answered differently was adjudicated"


def test_without_doubles_it_says_how_many_it_takes() -> None:
    found = rated([once("a", "a")] * 90 + [once("a", "b")] * 10)
    assert (found.doubles, found.said, found.settled) == (0, None, 0)
    assert not found.people_error.defined and not found.model_error.defined and not found.difference.defined
    assert found.needed is not None and 1000 < found.needed < 2000
    assert found.verdict == (
        "how often people err is not known: no case was answered blindly by two of them; "
        f"about {found.needed:,} such cases would tell"
    )
    nothing = rated([])
    assert nothing.needed is None and nothing.verdict.endswith("by two of them")


def test_people_who_agree_no_better_than_chance_tell_nothing() -> None:
    found = rated([twice("a", "a", "b", "a"), twice("a", "b", "b"), twice("b", "a", "b", "b")] * 20)
    assert found.said is None and found.needed is None
    assert (
        found.verdict == "whether v1 is safe beside the people cannot be told: two raters agree no better than chance"
    )


def test_what_is_no_class_is_no_answer_and_a_log_without_second_looks_has_none() -> None:
    found = rated([("a", "refer", "ann", "refer", "bob", "a", None), twice("a", "a", "refer"), twice("a", "a", "a")])
    assert found.doubles == 1 and found.people_error.value == 0.0
    assert rate(pl.DataFrame({"model": ["a"], "other": ["a"]}), version="v1").doubles == 0


def test_a_persons_error_counts_by_how_much_they_answered() -> None:
    """Zoe errs in 20 % and answers nine cases of ten, of which few were drawn; ann and bob err in 2 %."""
    random = np.random.default_rng(4)
    errs = {"ann": 0.02, "bob": 0.02, "zoe": 0.2}

    def says(name: str) -> str:
        return "b" if random.random() < errs[name] else "a"

    couples = (("ann", "bob"), ("bob", "zoe"), ("zoe", "ann"))
    rows = []
    for _ in range(700):
        for first, second in couples:
            said = says(first)
            rows.append(("a", said, first, said, second, says(second), None))
    rows += [once("a", says("zoe"), "zoe") for _ in range(18_000)]
    found = rated(rows)
    assert found.people_error.value is not None and abs(found.people_error.value - 0.186) < 0.03
    assert found.model_error.value is not None and found.model_error.value < 0.03  # it is never wrong
    plain = rated([(model, other, None, *more) for model, other, _, *more in rows])
    assert (plain.people_error.value or 0.0) < 0.1, "without the names all count alike"


def test_errors_of_both_are_in_as_many_intervals_as_promised() -> None:
    random, covered = np.random.default_rng(12), [0, 0, 0, 0]
    for _ in range(120):
        wrong = random.random((4, 500)) < np.array([[0.05], [0.1], [0.1], [0.1]])
        said = np.where(wrong, "b", "a").T.tolist()
        rows = [twice(one, first, second, third if first != second else None) for one, first, second, third in said]
        rows = [row if at < 300 else once(row[0], row[1]) for at, row in enumerate(rows)]
        found = rated(rows)
        for at, (estimate, true) in enumerate(
            (
                (found.people_error, 0.1),
                (found.model_error, 0.05),
                (found.difference, 0.05),
                (found.settled_error, 0.05),
            )
        ):
            assert estimate.low is not None and estimate.high is not None
            covered[at] += estimate.low <= true <= estimate.high
    assert min(covered) >= 107  # of 114 that 95 % are; fewer by chance once in a hundred times


def test_only_people_have_second_looks_and_only_blind_ones_count() -> None:
    shadow = pl.DataFrame(
        {
            "id": ["1", "2", "3"],
            "prediction": ["a", "a", "b"],
            "human": ["a", "b", "a"],
            "decision": ["a", "b", "a"],
            "decided_by": ["person", "person", "person"],
            "suggestion": [None, None, None],
            "reviewer": ["ann", "ann", "bob"],
            "live": ["v1", "v1", "v1"],
            "label": pl.Series([None, None, None], dtype=pl.String),
            "simulated": [False, False, False],
        }
    )
    doubles = pl.DataFrame(
        {
            "id": ["3", "2"],
            "first": ["bob", "ann"],
            "said": ["a", "b"],
            "saw_suggestion": [False, False],
            "second": ["zoe", "zoe"],
            "second_said": ["b", "a"],
            "second_saw": [False, True],
            "adjudicated": ["a", None],
        }
    )
    people = pairs_of(shadow, "people", doubles)
    assert people["by"].to_list() == ["ann", "ann", "bob"] and people["second"].to_list() == [None, None, "b"]
    assert people["adjudicated"].to_list() == [None, None, "a"]
    found = compare(people, version="v2", against="people", outcomes=False, classes=CLASSES)
    assert found.raters is not None and (found.raters.doubles, found.raters.alone_person) == (1, 1)
    assert (found.called, found.said, found.outcomes) == ("agreement", None, 0)
    assert compare(pairs_of(shadow, "live", doubles), version="v2", against="live").raters is None
    assert compare(pairs_of(shadow, "people"), version="v2", against="people").raters is None


def test_the_command_says_what_double_review_says(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [twice("a", "a", "a")] * 90 + [twice("a", "a", "b", "a")] * 10 + [once("a", "a")] * 100
    frame = pl.DataFrame(rows, schema=dict.fromkeys(NAMES, pl.String), orient="row")
    show_comparison(compare(frame, version="v1", against="people", outcomes=False, classes=CLASSES))
    said = " ".join(capsys.readouterr().out.split())
    for words in ("v1 agrees with the people in 100 % of 200 cases", "100 cases, blindly both times; 100 settled"):
        assert words in said
    assert "v1 0, one of two people 10" in said and "by double review" in said and "error of v1 undefined" in said
    few = compare(frame.filter(pl.col("second").is_null()), version="v1", against="people", outcomes=False)
    show_comparison(few)
    said = " ".join(capsys.readouterr().out.split())
    assert "how often people err is not known" in said and "people err in" not in said
