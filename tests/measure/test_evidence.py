from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.errors import UsageError
from andon.measure.bounded import Bounded, Difference, score
from andon.measure.budget import excess, next_share, share_sequence, suffered
from andon.measure.detect import detectable, events_needed, growth
from andon.measure.discordant import Pairs, Rated, model_error, rater_error, reference_error
from andon.measure.estimate import wilson
from andon.measure.evidence import Assigned, Counts, Means, combined, harm_test, safe_test, share_of
from andon.measure.guardrail import Guardrail, judge

shares = st.floats(0.001, 0.999)
counts = st.integers(0, 400)
steps = st.lists(st.tuples(counts, counts, shares), min_size=1, max_size=5)


@settings(deadline=None)
@given(shares, st.floats(0.05, 20), st.sampled_from([harm_test(), safe_test(1.5), harm_test(1.2), safe_test(2.0)]))
def test_one_event_is_not_expected_to_raise_the_evidence_under_any_null(rho: float, ratio: float, test: Counts) -> None:
    """Of all ratios on the side of the null: the expected e-value after one event is at most 1, and 1 at its edge."""
    bad = min(ratio, test.null) if test.ratios[0] > test.null else max(ratio, test.null)
    for true, edge in ((bad, False), (test.null, True)):
        share = share_of(true, rho)
        mean = share * math.exp(test.add(1, 0, rho).log_e) + (1 - share) * math.exp(test.add(0, 1, rho).log_e)
        assert mean <= 1 + 1e-9
        assert not edge or mean == pytest.approx(1)


@settings(deadline=None)
@given(steps)
def test_counts_add_up_in_any_order_and_survive_being_stored(steps: list[tuple[int, int, float]]) -> None:
    there, back = harm_test(), harm_test()
    for one in steps:
        there = msgspec.json.decode(msgspec.json.encode(there.add(*one)), type=Counts)
    for mine, other, rho in reversed(steps):
        back = back.add(mine, 0, rho).add(0, other, rho)
    assert there.logs == pytest.approx(back.logs, rel=1e-9, abs=1e-6)
    assert (there.candidate, there.live) == (back.candidate, back.live)


@settings(deadline=None, max_examples=60)
@given(steps, st.sampled_from([0.05, 0.2]))
def test_the_interval_and_the_verdict_say_the_same(steps: list[tuple[int, int, float]], alpha: float) -> None:
    rail = Guardrail.begin("errors", 1.5)
    for one in steps:
        rail = rail.add(*one)
    found = rail.ratio(alpha, alpha)
    if not rail.events:
        assert not found.defined
        return
    assert found.low is not None
    edge = 1e-6
    if abs(rail.harm.log_e + math.log(alpha)) > edge:
        assert (found.low > 1) == (rail.harm.log_e >= -math.log(alpha))
    if abs(rail.safe.log_e + math.log(alpha)) > edge:
        assert (found.high is not None and found.high < 1.5) == (rail.safe.log_e >= -math.log(alpha))
    if found.value is not None:
        assert found.low <= found.value <= (found.high or math.inf)


def test_once_conclusive_stays_conclusive_and_harm_comes_first() -> None:
    rail = Guardrail.begin("errors").add(30, 320, 0.1)
    assert rail.verdict() == "safe"
    worse = rail.add(200, 0, 0.1)
    assert worse.verdict() == "harm"
    calm = worse.add(0, 100_000, 0.1)
    assert calm.harm.log_e < 0 and calm.verdict() == "harm"


def test_steps_of_one_probability_are_one_step() -> None:
    rail = Guardrail.begin("errors").add(1, 2, 0.1).add(3, 4, 0.5).add(10, 20, 0.1)
    assert rail.steps == ((0.1, 11, 22), (0.5, 3, 4))
    assert msgspec.json.decode(msgspec.json.encode(rail), type=Guardrail) == rail


def test_several_guardrails_share_alpha_and_all_must_be_safe() -> None:
    close = Guardrail.begin("errors").add(9, 22, 0.1)
    assert -math.log(0.05) < close.harm.log_e < -math.log(0.05 / 3)
    assert judge([close]).said == "harm"
    assert judge([close, Guardrail.begin("latency"), Guardrail.begin("null")]).said == "not_yet"
    sure = Guardrail.begin("errors").add(40, 20, 0.1)
    assert judge([Guardrail.begin("latency"), sure]).by == ("errors",)
    calm = [Guardrail.begin(name).add(30, 320, 0.1) for name in ("errors", "latency")]
    assert judge(calm).said == "safe" and judge(calm).by == ("errors", "latency")
    assert judge([]).said == "not_yet" and "no guardrail" in judge([]).sentence


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Guardrail.begin("errors", 0.99), "margin is a ratio"),
        (lambda: Counts.begin(1.0, ()), "above 0"),
        (lambda: Counts.begin(1.0, (0.5, 2.0)), "one side"),
        (lambda: Counts.begin(1.0, (1.0,)), "one side"),
        (lambda: harm_test(math.nan), "above 0"),
        (lambda: harm_test().add(1, 1, 0.0), "probability"),
        (lambda: harm_test().add(1, 1, 1.0), "probability"),
        (lambda: harm_test().add(-1, 1, 0.5), "at least 0"),
        (lambda: Means(0.0, 0.0, 1.0), "low < null < high"),
        (lambda: Means(0.5, 0.0, 1.0).add([1.0, 1.1]), "found 1.1"),
        (lambda: Means(0.5, 0.0, 1.0).add([math.nan]), "found nan"),
        (lambda: Assigned(1.5), "share from 0 to 1"),
        (lambda: Assigned(0.5).add(-1, 0), "at least 0"),
        (lambda: combined([]), "no e-values"),
        (lambda: Difference.begin(0, 1, 2), "margin"),
        (lambda: Difference.begin(0, 1, 0.1).add([(True, 0.5, 1.5)]), "found 1.5"),
        (lambda: Difference.begin(0, 1, 0.1).add([(True, 1.0, 0.5)]), "found 0.5 and 1"),
        (lambda: Bounded().add(2.0), "from 0 to 1"),
        (lambda: Pairs.begin().add(1, 1, -1), "at least 0"),
        (lambda: Rated.begin(0.02, 0.01), "reference"),
        (lambda: Rated.begin(0.1, 0.01).add(1, -1, 0), "at least 0"),
        (lambda: rater_error(1, 2, 1), "2 classes"),
        (lambda: share_sequence(2, 1), "0 <= k <= n"),
        (lambda: next_share(cap=1.1, budget=1, suffered=0, excess=0, forecast=1), "cap"),
        (lambda: next_share(cap=1, budget=1, suffered=0, excess=math.nan, forecast=1), "negative"),
        (lambda: detectable(0.0, 0.1, 1.0), "what can be detected"),
        (lambda: detectable(0.1, 0.1, 0.0), "what can be detected"),
    ],
)
def test_what_cannot_be_is_refused_by_a_sentence(make: object, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        make()  # type: ignore[operator]


def test_a_split_that_cannot_happen_is_certain_and_can_be_stored() -> None:
    none = Assigned(0.0).add(0, 1000)
    assert not none.reached(1e-6) and none.add(1, 0).reached(1e-300)
    assert Assigned(1.0).add(0, 1).reached(1e-300)
    assert msgspec.json.decode(msgspec.json.encode(none.add(1, 0)), type=Assigned) == none.add(1, 0)


@settings(deadline=None)
@given(shares, st.floats(-5, 5), st.floats(-5, 5), st.floats(-5, 5))
def test_a_score_has_the_difference_as_its_mean_whatever_the_centre(
    rho: float, mine: float, other: float, centre: float
) -> None:
    mean = rho * score(True, rho, mine, centre) + (1 - rho) * score(False, rho, other, centre)
    assert mean == pytest.approx(mine - other, abs=1e-9)


@pytest.mark.parametrize("worse", ["higher", "lower"])
def test_a_mean_that_moves_the_wrong_way_is_harm_and_one_that_does_not_is_safe(worse: str) -> None:
    sign = 1 if worse == "higher" else -1
    begin = Difference.begin(-1, 1, 0.4, worse=worse)  # type: ignore[arg-type]
    arms = [n % 4 == 0 for n in range(1200)]
    bad = begin.add((mine, 0.25, sign * 0.5 if mine else -sign * 0.5) for mine in arms)
    same = begin.add((mine, 0.25, 0.1) for mine in arms)
    assert bad.verdict() == "harm" and same.verdict() == "safe" and begin.verdict() == "not_yet"
    assert msgspec.json.decode(msgspec.json.encode(bad), type=Difference) == bad


def test_pairs_are_events_with_a_probability_of_one_half() -> None:
    pairs = Pairs.begin(1.5).add(30, 10, 100, 5)
    assert pairs.rail.harm == harm_test().add(30, 10, 0.5)
    assert pairs.n == 145 and pairs.verdict() == "harm"


def test_raters_errors_are_taken_out() -> None:
    """Of labels with known errors: what comes back is what was put in, for two classes and for five."""
    for classes in (2, 5):
        rater, model = 0.08, 0.05
        spare = (classes - 1) / classes
        doubles = 1 - ((1 - rater) ** 2 + rater**2 / (classes - 1))
        found = rater_error(round(doubles * 10**6), 10**6, classes)
        assert found.value == pytest.approx(rater, abs=1e-4)
        seen = 1 - ((1 - model) * (1 - rater) + model * rater / (classes - 1))
        error = model_error(wilson(round(seen * 10**6), 10**6), rater, classes)
        assert error.value == pytest.approx(model, abs=1e-4)
        assert not rater_error(round(spare * 100) + 1, 100, classes).defined
    assert not rater_error(0, 0).defined
    assert not model_error(wilson(1, 10), 0.5).defined
    assert reference_error(0.0) == 0 and reference_error(0.5) == 0.5


def test_a_model_against_people_allows_for_the_references_errors() -> None:
    seen = (60, 10, 930)
    assert Rated.begin(0.1, 0.0).add(*seen).verdict() == "harm"
    assert Rated.begin(0.1, 0.03).add(*seen).verdict() == "not_yet"
    assert Rated.begin(0.1, 0.0).add(10, 30, 960).verdict() == "safe"


def test_a_share_is_bounded_at_its_edges() -> None:
    none, all_ = share_sequence(0, 500), share_sequence(500, 500)
    assert (none.low, all_.high) == (0.0, 1.0)
    assert none.high == pytest.approx(1 - (all_.low or 0)) and 0 < (none.high or 0) < 0.02


def test_little_evidence_gives_a_tiny_share_and_strong_evidence_a_fast_jump() -> None:
    def step(rail: Guardrail, mine: int, other: int) -> float:
        worst = excess(rail, mine, other)
        return next_share(cap=0.5, budget=40, suffered=suffered(rail), excess=worst, forecast=10_000)

    start = Guardrail.begin("errors")
    first = step(start, 0, 0)
    later = step(start.add(1, 19, 0.05), 100, 1900)
    far = step(start.add(100, 1900, 0.05), 10_000, 190_000)
    assert first == 0.004 < later < far <= 0.5
    assert step(start.add(200, 100, 0.05), 1000, 19_000) == 0.0


def test_growth_is_greatest_for_the_ratio_that_is_true() -> None:
    test = harm_test()
    for ratio in test.ratios:
        found = growth(test, ratio, 0.1)
        assert test.ratios[found.index(max(found))] == ratio
    assert events_needed(safe_test(1.5), 1.5, 0.1) is None
    assert events_needed(safe_test(1.5), 1.6, 0.1) is None


def test_what_is_never_cleared_is_said() -> None:
    found = detectable(0.01, 0.1, 60, margin=1.02)
    assert found.clear is not None or "never cleared" in found.sentence
    slow, quick = detectable(0.01, 0.1, 60), detectable(0.01, 0.1, 6000)
    assert slow.clear is not None and quick.clear is not None
    assert slow.clear.hours == pytest.approx(100 * quick.clear.hours)
    assert [one.extra for one in slow.harm] == sorted((one.extra for one in slow.harm), reverse=True)
