"""The audit's error at any look: false breaches are rare, real ones are found soon, also after a long good time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from andon.errors import UsageError
from andon.measure import audit
from andon.measure.audit import BLOCK, Audited, audited, cases_needed
from andon.measure.evidence import HARM_GRID, SAFE_GRID

PROMISED = 0.02


def binomial_bound(alpha: float, runs: int) -> float:
    """So many of ``runs`` happen with a chance of less than 1 % where each has ``alpha``."""
    from scipy.stats import binom

    return float(binom.ppf(0.99, runs, alpha))


def by_hand(wrong: list[bool], chance: list[float], block: int) -> float:
    """The same evidence case by case: bets begun every ``block`` cases, each with its own money."""
    best, least = -math.inf, 1.0
    money: list[list[float]] = []
    for place, (bad, q) in enumerate(zip(wrong, chance, strict=True)):
        if place % block == 0:
            k = len(money)
            money.append([1 / ((k + 1) * (k + 2) * len(HARM_GRID))] * len(HARM_GRID))
        least = min(least, q)
        factors = [
            1 + least / q * ((ratio if bad else (1 - ratio * PROMISED) / (1 - PROMISED)) - 1) for ratio in HARM_GRID
        ]
        money = [[one * factor for one, factor in zip(row, factors, strict=True)] for row in money]
        kept_back = 1 / (len(money) + 1)
        best = max(best, math.log(sum(map(sum, money)) + kept_back))
    return max(best, 0.0)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_evidence_is_that_of_bets_made_case_by_case(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "BLOCK", 20)
    random = np.random.default_rng(seed)
    wrong, chance = random.random(90) < 0.05 * seed, random.choice([0.02, 0.05, 0.4], 90)
    found = audited(wrong, chance, PROMISED)
    assert found.log_breach == pytest.approx(by_hand(wrong.tolist(), chance.tolist(), 20), abs=1e-9)


def test_kept_is_the_likelihood_of_less_against_the_promise() -> None:
    found = audited([False] * 300, [0.1] * 300, PROMISED)
    money = sum(((1 - part * PROMISED) / (1 - PROMISED)) ** 300 for part in SAFE_GRID) / len(SAFE_GRID)
    assert found.log_kept == pytest.approx(math.log(money))
    needed = cases_needed(0.0, PROMISED)
    assert needed is not None
    assert audited([False] * needed, [0.1] * needed, PROMISED).kept(0.05)
    assert not audited([False] * (needed - 1), [0.1] * (needed - 1), PROMISED).kept(0.05)
    assert cases_needed(0.0199999, PROMISED, 1e-300) is None or cases_needed(0.03, PROMISED) is None


def test_the_edge_of_the_evidence_is_part_of_it() -> None:
    at = Audited(PROMISED, 1, 1, audited([True], [1.0], PROMISED).error, math.log(20), math.log(20))
    assert at.breached(0.05) and at.kept(0.05)
    assert not at.breached(0.0499) and not at.kept(0.0499)


@pytest.mark.parametrize(
    ("wrong", "chance", "promised", "said"),
    [
        ([True], [0.1, 0.2], 0.02, "one probability for each case"),
        ([True], [0.0], 0.02, "found 0.02 and 0 to 0"),
        ([True], [1.0001], 0.02, "probabilities above 0 and at most 1"),
        ([], [], 0.0, "above 0 and below 1"),
        ([], [], 1.0, "above 0 and below 1"),
    ],
)
def test_what_is_no_audit_is_refused(wrong: list[bool], chance: list[float], promised: float, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        audited(wrong, chance, promised)


def test_nothing_is_known_of_nothing_and_everything_wrong_is_a_breach() -> None:
    none = audited([], [], PROMISED)
    assert (none.n, none.error.value, none.log_breach, none.breached(0.05)) == (0, None, 0.0, False)
    all_wrong = audited([True] * 12, [1.0] * 12, PROMISED)
    assert all_wrong.breached(0.05) and (all_wrong.error.value, all_wrong.error.high) == (1.0, 1.0)
    assert audited([True] * 5, [1.0] * 5, 0.9).error.low is not None  # a promise that leaves few ratios


def test_a_case_that_is_drawn_less_often_stands_for_more() -> None:
    """Half of the answers, wrong in 10 %, are audited in 1 of 100; the others, always right, each time."""
    random = np.random.default_rng(4)
    odd = random.random(400_000) < 0.5
    chance = np.where(odd, 0.01, 1.0)
    drawn = random.random(400_000) < chance
    wrong = odd & (random.random(400_000) < 0.1)
    found = audited(wrong[drawn][:60_000], chance[drawn][:60_000], PROMISED)
    assert found.error.value == pytest.approx(0.05, abs=0.015) and found.wrong / found.n < 0.003
    assert found.breached(0.05)


def test_a_breach_tells_of_the_stretch_that_shows_it() -> None:
    random = np.random.default_rng(5)
    wrong = np.concatenate([random.random(4 * BLOCK) < 0.005, random.random(3 * BLOCK) < 0.06])
    found = audited(wrong, np.full(len(wrong), 0.05), PROMISED)
    assert found.breached(0.05) and found.since in (3 * BLOCK, 4 * BLOCK)
    assert found.error.value is not None and found.error.low is not None
    assert found.error.value > 0.04 and found.error.low > PROMISED and found.error.n == len(wrong) - found.since
    calm = audited(wrong[: 4 * BLOCK], np.full(4 * BLOCK, 0.05), PROMISED)
    assert not calm.breached(0.05) and calm.since == 0 and calm.error.n == 4 * BLOCK


def first_breach(wrong: np.ndarray, promised: float = PROMISED) -> int | None:
    """After how many cases a breach is called with a look after each; the evidence's peak only grows."""
    if not audited(wrong, np.full(len(wrong), 0.05), promised).breached(0.05):
        return None
    low, high = 1, len(wrong)
    while low < high:
        middle = (low + high) // 2
        if audited(wrong[:middle], np.full(middle, 0.05), promised).breached(0.05):
            high = middle
        else:
            low = middle + 1
    return low


@pytest.mark.slow
@pytest.mark.parametrize(("promised", "cases"), [(0.02, 6000), (0.005, 8000), (0.1, 3000)])
def test_a_line_within_its_promise_is_seldom_called_broken(promised: float, cases: int) -> None:
    """600 runs exactly at the promise, a look after every audited case; half of them with shares that change."""
    random = np.random.default_rng(6)
    false = missed = 0
    for run in range(600):
        wrong = random.random(cases) < promised
        chance = np.full(cases, 0.05) if run % 2 else np.repeat([0.2, 0.02, 0.05], cases // 3 + 1)[:cases]
        found = audited(wrong, chance, promised)
        false += found.breached(0.05)
        whole = found if not found.since else audited(wrong[found.since :], chance[found.since :], promised)
        low, high = whole.error.low, whole.error.high
        missed += not found.breached(0.05) and (low is None or high is None or not low <= promised <= high)
    assert false <= binomial_bound(0.05, 600)
    assert missed <= binomial_bound(0.05, 600)
    assert false > 0  # the bound is not met by never looking


@pytest.mark.slow
def test_twice_the_promised_error_is_found_soon() -> None:
    """Median audited cases until a breach: twice the promise, three times, and twice after 5,000 good cases."""
    random = np.random.default_rng(7)
    times: dict[str, list[int]] = {"twice": [], "three": [], "later": []}
    for _ in range(60):
        for name, rate, before in (("twice", 0.04, 0), ("three", 0.06, 0), ("later", 0.04, 5000)):
            wrong = np.concatenate([random.random(before) < PROMISED / 2, random.random(6000) < rate])
            found = first_breach(wrong)
            assert found is not None, f"{name}: not found"
            times[name].append(found - before)
    medians = {name: float(np.median(found)) for name, found in times.items()}
    assert 350 < medians["twice"] < 700 and medians["three"] < 250 and medians["later"] < 1800, medians


@pytest.mark.slow
def test_a_kept_promise_is_seldom_claimed_wrongly_and_soon_shown() -> None:
    random = np.random.default_rng(8)
    claimed = sum(audited(random.random(4000) < PROMISED, np.full(4000, 0.1), PROMISED).kept(0.05) for _ in range(600))
    assert claimed <= binomial_bound(0.05, 600)
    needed = cases_needed(PROMISED / 4, PROMISED)
    assert needed is not None
    shown = [
        audited(random.random(2 * needed) < PROMISED / 4, [0.1] * 2 * needed, PROMISED).kept(0.05) for _ in range(100)
    ]
    assert sum(shown) > 80
