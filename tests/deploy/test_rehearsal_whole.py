"""A whole plan rehearsed: canary, blue/green at once and by steps, and the bake, by the controller's own decisions."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from scipy.stats import binom
from tests.monitor.rollout_rig import Rolling, charter

from andon.core.clock import DAY, HOUR
from andon.deploy import rehearsal_auto
from andon.deploy.rehearsal import Outcome, Wish, rehearse
from andon.deploy.rehearsal_evidence import Happened, Walked, nothing
from andon.deploy.rehearsal_traffic import Assumed, Past, Sample, Traffic
from andon.deploy.rollout_record import Plan
from andon.measure.detect import walk
from andon.measure.evidence import harm_test
from andon.measure.guardrail import Guardrail

CANARY = Plan("v2", "v1", ("canary", "live"), ("errors",), bake_us=DAY, bake_share=0.95)
GREEN = replace(CANARY, path=("blue-green", "live"), holdback=0.05)
STEPS = replace(GREEN, steps=(0.1, 0.25, 0.5))
BOTH = replace(GREEN, path=("canary", "blue-green", "live"))
PLANS = {"canary": CANARY, "at once": GREEN, "by steps": STEPS, "both": BOTH}
TRAFFIC = Assumed(0.05, 36_000)


def played(traffic: Traffic, ratio: float, plan: Plan, runs: int = 10, **wish: Any) -> Outcome:
    (found,) = rehearse(traffic, plan, [ratio], Wish(runs=runs, **wish))
    return found


def errs_within(plan: Plan, traffic: Traffic, runs: int, seed: int = 0) -> None:
    """False rollbacks at most alpha, called safe falsely (also if taken back since) at most beta: at 99 %."""
    good, bad = (played(traffic, ratio, plan, runs, seed=seed) for ratio in (1.0, plan.margin))
    most = binom.ppf(0.99, runs, 0.05)
    for wrong in (good.rolled_back, bad.cleared, bad.safe):
        assert wrong.value is not None and wrong.value * runs <= most
    assert good.safe.value == pytest.approx(1 - (good.rolled_back.value or 0.0)), "the others are settled"


@pytest.mark.parametrize("plan", [CANARY, STEPS], ids=["canary", "by steps"])
def test_the_whole_plan_errs_within_its_levels(plan: Plan) -> None:
    errs_within(plan, TRAFFIC, 20)


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.0, 3.0])
@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_the_whole_plan_errs_within_its_levels_in_many_runs(plan: Plan, delay: float) -> None:
    errs_within(replace(plan, horizon_us=round(delay * HOUR)), Assumed(0.05, 36_000, delay), 200, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("plan", [CANARY, STEPS])
def test_it_errs_within_its_levels_on_a_past_whose_labels_come_at_different_times(plan: Plan) -> None:
    rng = np.random.default_rng(4)
    at = rng.random(40_000) * 24
    unit, bad = np.arange(40_000, dtype=np.uint64), rng.random(40_000) < 0.1
    past = Past(unit, at, at + rng.exponential(1.0, 40_000), bad, 24.0)
    errs_within(replace(plan, horizon_us=3 * HOUR), past, 100)


# ------------------------------------------------------------------------------------------------------- when and what


def test_at_once_it_has_everything_in_the_first_hour_and_by_steps_after_300_cases_of_each() -> None:
    at_once = played(TRAFFIC, 1.0, GREEN)
    assert at_once.everything.median == at_once.everything.most == 0.0
    by_steps = played(Assumed(0.05, 3600), 1.0, STEPS)
    # 300 cases of the candidate: 300 / 360 hours at 10 %, 300 / 900 at 25 %, 300 / 1800 at 50 %.
    assert by_steps.everything.median == pytest.approx(300 / 360 + 300 / 900 + 300 / 1800, abs=3 * 4 / 3600)
    # What comes faster still takes five minutes a step.
    assert played(TRAFFIC, 1.0, STEPS).everything.median == pytest.approx(0.25, abs=3 * 4 / 3600)


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_it_is_settled_once_it_has_baked(plan: Plan) -> None:
    found = played(TRAFFIC, 0.8, plan, 10)
    assert found.safe.value == found.cleared.value == 1.0
    assert found.everything.median is not None and found.hours.median is not None
    # A blue/green bakes with the share that it has already.
    assert found.hours.median == pytest.approx(found.everything.median + 24, abs=0.01)


def test_the_bake_goes_on_comparing_with_the_holdback_and_takes_back_what_it_finds_worse() -> None:
    plan = replace(CANARY, margin=2.0, bake_us=7 * DAY)
    some, none = (played(TRAFFIC, 1.3, one, 10) for one in (plan, replace(plan, bake_share=1.0)))
    assert some.cleared.value == none.cleared.value and (some.cleared.value or 0) > 0.5
    assert none.safe.value == none.cleared.value, "with everything handed over nobody is compared"
    assert (some.safe.value or 0) < 0.2 and some.false == ""
    # What it costs until then is counted, too.
    assert (some.extra.median or 0) > 100 and (none.extra.median or 0) > (some.extra.median or 0)


def test_labels_that_come_later_settle_it_once_they_had_time_to_come() -> None:
    for plan in (CANARY, STEPS):
        late = replace(plan, horizon_us=30 * HOUR)
        found = played(Assumed(0.05, 36_000, 30.0), 0.8, late, 10)
        assert found.safe.value == 1.0
        assert found.everything.median is not None and found.hours.median is not None
        assert found.hours.median >= found.everything.median + 30 - 0.01


def test_without_labels_nothing_is_decided() -> None:
    for plan in (CANARY, GREEN):
        found = played(Assumed(0.05, 3600, 5000.0), 1.0, replace(plan, horizon_us=HOUR, bake_us=0), 10, hours=48.0)
        assert found.undecided.value == 1.0 and found.cleared.value == 0.0
        assert (found.everything.median is None) == (plan is CANARY)


# ------------------------------------------------------------------------------------------------------ how it is played


@pytest.mark.slow
def test_many_events_are_played_in_numbers_as_they_are_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    traffic = Assumed(0.02, 20_000, 0.5)
    for plan, ratio in ((CANARY, 2.0), (STEPS, 1.0)):
        exact = played(traffic, ratio, plan, 60)
        with monkeypatch.context() as patched:
            patched.setattr(rehearsal_auto, "_EXACT", 0)
            numbers = played(traffic, ratio, plan, 60)
        assert numbers.hours.median == pytest.approx(exact.hours.median, rel=0.2)
        assert numbers.extra.median == pytest.approx(exact.extra.median, rel=0.35, abs=5)
    crowd = played(Assumed(0.1, 1e8), 2.0, GREEN, 10)
    assert crowd.rolled_back.value == 1.0 and crowd.hours.median is not None and crowd.hours.median < 0.01


def some_rows(seed: int, n: int = 60, most: int = 1) -> Happened:
    rng = np.random.default_rng(seed)
    at = np.sort(rng.random(n))
    mine, rest = (rng.integers(0, most + 1, n).astype(float) for _ in range(2))
    return Happened(at, at, mine, rest, rng.choice([0.05, 0.5, 1.0], n), mine)


@pytest.mark.parametrize("seed", range(4))
def test_a_guardrail_walked_is_one_to_which_each_event_is_added(seed: int) -> None:
    rows, guard = some_rows(seed, most=1 + seed), Guardrail.begin("errors")
    walked, one = Walked(guard, rows), guard
    for n in range(rows.at.size):
        if rows.rho[n] < 1:
            one = one.add(int(rows.mine[n]), int(rows.rest[n]), float(rows.rho[n]))
        found = walked.after(n + 1)
        assert (found.harm.candidate, found.harm.live) == (one.harm.candidate, one.harm.live)
        assert sorted(found.steps) == sorted(one.steps)
        for ours, theirs in ((found.harm, one.harm), (found.safe, one.safe)):
            assert [*ours.logs, ours.peak] == pytest.approx([*theirs.logs, theirs.peak], abs=1e-9)
    # In two parts it is the same, and a verdict is spoken once.
    half = walked.after(30)
    rest = Walked(half, rows.where(np.arange(60) >= 30)).after(30)
    assert rest.harm.peak == pytest.approx(one.harm.peak) and rest.events == one.events


def test_a_test_speaks_after_the_event_that_decides_it() -> None:
    mine = np.ones(60)
    rows = Happened(np.arange(60.0), np.arange(60.0), mine, 0 * mine, 0.1 * mine, mine)
    path = walk(harm_test(), np.ones((1, 60), dtype=bool), 0.1)[0]
    walked = Walked(Guardrail.begin("errors"), rows)
    spoke = walked.spoke(0.05, 0.05)
    assert spoke == int((path >= -math.log(0.05)).argmax())
    assert Walked(walked.after(60), rows).spoke(0.05, 0.05) is None, "harm stays harm"
    assert Walked(Guardrail.begin("errors"), nothing()).spoke(0.05, 0.05) is None
    assert Walked(Guardrail.begin("errors"), nothing()).after(0) == Guardrail.begin("errors")


def test_what_one_of_a_sample_stands_for_is_what_it_costs_and_what_spends_the_budget() -> None:
    rng = np.random.default_rng(3)
    at, bad = np.sort(rng.random(4000)) * 24, rng.random(4000) < 0.1
    whole, sample = (
        Past(np.arange(4000, dtype=np.uint64), at, at, bad, 24.0, (80_000, 80_000), one)
        for one in (None, Sample(20.0, 1.0))
    )
    plain, weighed = (played(one, 3.0, CANARY, 10) for one in (whole, sample))
    assert plain.rolled_back.value == weighed.rolled_back.value == 1.0
    assert plain.extra.median is not None and weighed.extra.median is not None
    assert weighed.extra.median > 5 * plain.extra.median
    # With 20 units to lose and each error worth 20 the share stays at its start, so that it takes longer.
    assert weighed.hours.median is not None and plain.hours.median is not None
    assert weighed.hours.median >= plain.hours.median


@pytest.mark.slow
@pytest.mark.parametrize("way", ["canary", "at once", "by steps"])
@pytest.mark.parametrize(("ratio", "after"), [(4.0, "rolling_back"), (0.5, "settled")])
def test_the_controller_of_a_line_takes_as_long_as_it_was_rehearsed(
    tmp_path: Path, way: str, ratio: float, after: str
) -> None:
    """Real rollouts on a real log, looked at every minute, against the rehearsal of the same plan and traffic."""
    took, rules = [], charter("canary, live" if way == "canary" else "blue-green, live")
    for seed in range(8):
        rolling = Rolling(tmp_path / str(seed), rules, seed=seed)
        rolling.bad = {"v1": 0.1, "v2": 0.1 * ratio}
        more: dict[str, Any] = {} if way == "canary" else {"pattern": "blue-green", "steps": None}
        rolling.begin(**(more | {"steps": (0.2, 0.5)} if way == "by steps" else more))
        while rolling.look().state not in ("canary", "blue_green"):
            pass
        began, plan = rolling.clock.now(), rolling.now.plan
        while rolling.now.state not in ("rolling_back", "rolled_back", "settled"):
            rolling.come(100, seconds=60, label=False)
            rolling.look()
        assert after in rolling.told()
        took.append((rolling.clock.now() - began) / HOUR)
        rolling.close()
    found = played(Assumed(0.1, 6000), ratio, plan, 100)
    assert found.hours.median == pytest.approx(float(np.median(took)), rel=0.5, abs=2 / 60)
