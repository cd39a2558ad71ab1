from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.core.verdict import Verdict
from andon.errors import UsageError
from andon.measure.estimate import Estimate, mean_interval, undefined, wilson
from andon.measure.gate import Bound, GateResult, could_not_measure, gate

numbers = st.floats(-1e6, 1e6)


@pytest.mark.parametrize("text", ["<= 0.05", ">= 0.85", "> 0", "< 100", "0.09 .. 0.19", "-1 .. 1", ">= -400"])
def test_a_bound_reads_what_it_writes(text: str) -> None:
    assert str(Bound.parse(text)) == text
    assert Bound.parse(str(Bound.parse(text))) == Bound.parse(text)


@pytest.mark.parametrize(
    "text", ["", "0.5", "= 3", "<= five", "=> 1", "1 ... 2", "<= nan", "<= inf", "<= 1e999", "> 1 2"]
)
def test_other_words_are_refused_with_the_forms_that_work(text: str) -> None:
    with pytest.raises(UsageError, match="bound"):
        Bound.parse(text)


def test_a_range_the_wrong_way_round_is_refused() -> None:
    with pytest.raises(UsageError, match=r"write '0.1 .. 0.2'"):
        Bound.parse("0.2 .. 0.1")


@settings(deadline=None)
@given(st.text(max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        bound = Bound.parse(text)
    except UsageError:
        return
    assert Bound.parse(str(bound)) is not None


@pytest.mark.parametrize(
    ("text", "low", "high", "verdict"),
    [
        ("<= 0.05", 0.01, 0.05, Verdict.PASS),
        ("< 0.05", 0.01, 0.05, Verdict.UNSURE),
        ("<= 0.05", 0.04, 0.06, Verdict.UNSURE),
        ("<= 0.05", 0.05, 0.06, Verdict.UNSURE),
        ("< 0.05", 0.05, 0.06, Verdict.FAIL),
        ("<= 0.05", 0.0501, 0.06, Verdict.FAIL),
        (">= 0.85", 0.85, 1.0, Verdict.PASS),
        ("0.1 .. 0.2", 0.1, 0.2, Verdict.PASS),
        ("0.1 .. 0.2", 0.05, 0.3, Verdict.UNSURE),
        ("0.1 .. 0.2", 0.25, 0.3, Verdict.FAIL),
        ("0.1 .. 0.2", 0.0, 0.05, Verdict.FAIL),
    ],
)
def test_the_whole_interval_decides(text: str, low: float, high: float, verdict: Verdict) -> None:
    assert Bound.parse(text).verdict(low, high) is verdict


@settings(deadline=None)
@given(numbers, numbers, numbers)
def test_a_pass_stays_a_pass_for_a_narrower_interval(a: float, b: float, c: float) -> None:
    low, middle, high = sorted((a, b, c))
    bound = Bound(high=0.0)
    if bound.verdict(low, high) is Verdict.PASS:
        assert bound.verdict(low, middle) is Verdict.PASS
    if bound.verdict(low, high) is Verdict.FAIL:
        assert bound.verdict(middle, high) is Verdict.FAIL


def test_no_evidence_is_never_good_news() -> None:
    assert gate("f1", undefined("no labels"), Bound.parse(">= 0")).verdict is Verdict.UNSURE
    assert gate("load", mean_interval(1, 0.5, 0.0), Bound.parse("<= 1")).verdict is Verdict.UNSURE
    assert gate("x", Estimate(math.nan, None, None, 3, "t"), Bound()).verdict is Verdict.UNSURE


def test_an_open_side_can_still_fail() -> None:
    latency = Estimate(700.0, 650.0, None, 20, "order statistic")
    assert gate("latency", latency, Bound.parse("<= 500")).verdict is Verdict.FAIL
    assert gate("latency", latency, Bound.parse(">= 500")).verdict is Verdict.PASS


def test_the_result_is_json_with_its_evidence() -> None:
    result = gate("recall", wilson(1, 2), Bound.parse(">= 0.85"), "older")
    body = msgspec.json.decode(msgspec.json.encode(result.to_dict()))
    assert body["bound"] == ">= 0.85" and body["cohort"] == "older" and body["verdict"] == "unsure"
    assert body["estimate"]["n"] == 2 and "older" in body["sentence"]
    assert msgspec.convert(msgspec.to_builtins(result), GateResult) == result


def test_a_measurement_that_failed_is_an_error() -> None:
    result = could_not_measure("recall", "the log is gone", Bound.parse("> 0"))
    assert result.verdict is Verdict.ERROR and "the log is gone" in result.sentence
