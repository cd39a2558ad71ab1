"""Who stands alone of a model and two people: what the test promises, and what error rates follow from differing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from andon.errors import UsageError
from andon.measure.detect import walk
from andon.measure.discordant import Trio, doubles_needed, error_gap, model_error, rater_error, trio_shares
from andon.measure.estimate import undefined, wilson
from andon.measure.evidence import harm_test, safe_test

RUNS = 600
#: So many of 600 runs exceed 5 % by chance in one of a hundred cases at most.
MOST = 44


def trios(random: np.random.Generator, hard: np.ndarray, model: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where one of three stands alone, and whether that is the model; people err in shares ``hard`` of the cases."""
    wrong = np.less(random.random((3, *hard.shape)), np.stack([model, hard, hard]))
    alone: np.ndarray = wrong.any(axis=0) & ~wrong.all(axis=0)
    return alone, (wrong[1] == wrong[2]) & alone


@pytest.mark.parametrize("ends", [(0.1, 0.1), (0.0, 0.6), (0.3, 0.95)], ids=["alike", "hard ones", "mostly wrong"])
def test_a_model_that_is_one_more_of_the_people_is_seldom_called_harmful_at_any_look(ends: tuple[float, float]) -> None:
    """However hard the cases are, and although all then err on the same ones."""
    random = np.random.default_rng(5)
    hard = random.uniform(*ends, (RUNS, 1500))
    alone, mine = trios(random, hard, hard)
    seen = walk(harm_test(), mine, 1 / 3, counted=alone)
    assert (seen.max(axis=1) >= math.log(20)).sum() <= MOST
    assert abs(mine[alone].mean() - 1 / 3) < 0.01


def test_a_model_that_is_worse_by_the_margin_is_seldom_called_safe_and_a_good_one_mostly_is() -> None:
    random = np.random.default_rng(6)
    hard = np.full((RUNS, 1500), 0.1)
    for model, fewest, most in ((0.15625, 0, MOST), (0.05, 570, RUNS)):
        alone, mine = trios(random, hard, np.full_like(hard, model))
        seen = walk(safe_test(1.5), mine, 1 / 3, counted=alone)
        assert fewest <= (seen.max(axis=1) >= math.log(20)).sum() <= most


@pytest.mark.parametrize("classes", [2, 5])
def test_shares_of_standing_alone_are_those_that_come(classes: int) -> None:
    random = np.random.default_rng(8)
    wrong = random.random((3, 200_000)) < np.array([[0.2], [0.1], [0.1]])
    said = np.where(wrong, random.integers(1, classes, wrong.shape), 0)
    mine, theirs = trio_shares(0.2, 0.1, classes)
    assert abs(((said[1] == said[2]) & (said[0] != said[1])).mean() - mine) < 0.003
    assert abs(((said[0] == said[2]) & (said[0] != said[1])).mean() - theirs) < 0.003


def test_about_as_many_doubles_as_said_are_needed() -> None:
    random = np.random.default_rng(9)
    hard = np.full((RUNS // 3, 1500), 0.1)
    for model in (0.05, 0.2):
        needed = doubles_needed(model, 0.1)
        assert needed is not None
        alone, mine = trios(random, hard, np.full_like(hard, model))
        test = safe_test(1.5) if model < 0.1 else harm_test()
        seen = walk(test, mine, 1 / 3, counted=alone) >= math.log(20)
        when = np.where(seen.any(axis=1), seen.argmax(axis=1) + 1, seen.shape[1])
        assert needed / 2 < when.mean() < needed * 1.25
    assert doubles_needed(0.0, 0.0) is None
    assert (doubles_needed(0.1, 0.0) or 0) > 0


def test_a_trio_counts_what_it_is_given() -> None:
    found = Trio.begin(1.5).add(3, 5, 7, 2)
    assert (found.n, found.same, found.apart, found.verdict()) == (17, 7, 2, "not_yet")
    assert found.rail.harm == harm_test().add(3, 5, 1 / 3)
    assert Trio.begin().add(30, 5).verdict() == "harm"
    with pytest.raises(UsageError, match="who stands alone: expected counts of at least 0, found -1"):
        found.add(0, 0, -1)


shares = st.floats(0.0, 0.45)


@given(shares, shares, st.integers(2, 6))
def test_error_rates_come_back_from_how_often_they_differ(model: float, rater: float, classes: int) -> None:
    n = 10**9
    differ = 1 - ((1 - rater) ** 2 + rater**2 / (classes - 1))
    seen = 1 - ((1 - model) * (1 - rater) + model * rater / (classes - 1))
    people = rater_error(round(differ * n), n, classes)
    assert people.value == pytest.approx(rater, abs=1e-3)
    found = model_error(wilson(round(seen * n), n), people, classes)
    gap = error_gap(wilson(round(seen * n), n), people, classes)
    assert found.value == pytest.approx(model, abs=1e-2) and gap.value == pytest.approx(rater - model, abs=1e-2)
    for one in (found, gap):
        assert one.low is not None and one.high is not None and one.value is not None
        assert one.low <= one.value <= one.high


def test_intervals_hold_what_is_not_known_of_the_raters() -> None:
    seen = wilson(140, 1000)
    given, unsure = model_error(seen, 0.1), model_error(seen, rater_error(18, 100))
    assert given.value == pytest.approx(unsure.value)
    assert unsure.low is not None and given.low is not None and unsure.low < given.low
    # At the end where raters might know nothing everything is open.
    open_ = model_error(seen, rater_error(4, 12))
    assert (open_.low, open_.high) == (0.0, 1.0)
    for nothing in (undefined("nobody"), rater_error(0, 0)):
        assert not model_error(seen, nothing).defined and not error_gap(seen, nothing).defined
    assert model_error(undefined("none yet"), 0.1).reason == "none yet"


def test_the_gap_is_covered_as_often_as_promised() -> None:
    random = np.random.default_rng(11)
    covered = 0
    for _ in range(300):
        wrong = random.random((3, 800)) < np.array([[0.06], [0.1], [0.1]])
        differ = int((wrong[1] != wrong[2]).sum())
        gap = error_gap(wilson(int((wrong[0] != wrong[1]).sum()), 800), rater_error(differ, 800))
        assert gap.low is not None and gap.high is not None
        covered += gap.low <= 0.04 <= gap.high
    assert covered >= 275  # of 285 that 95 % are; fewer by chance once in a hundred times
