"""Blue/green by evidence, the first release, and means: other plans of the same machine, decided purely."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from tests.deploy.test_rollout import HOUR, rail

from andon.deploy.rollout import step
from andon.deploy.rollout_plan import plan_of
from andon.deploy.rollout_proof import can_detect, judged, ramp, said_of
from andon.deploy.rollout_record import (
    LEAST_SHADOWED,
    Evidence,
    Plan,
    Rail,
    Rollout,
    Shadowed,
    Standing,
    State,
    Transition,
)
from andon.errors import UsageError
from andon.measure.alone import Alone
from andon.measure.bounded import Difference
from andon.measure.evidence import Assigned
from andon.measure.guardrail import Guardrail
from andon.scope.charter import Charter, parse

PATH, RAILS = ("shadow", "blue-green", "live"), ("errors", "wrong")
GREEN = Plan("v2", "v1", PATH, RAILS, horizon_us=7_200_000_000, bake_us=24 * HOUR, holdback=0.05, bake_share=0.95)
CHARTER = """
project: p
inputs: {cough: bool?, age: "int(0..120)", mass: float}
target: {name: y, classes: [n, p]}
safe_default: n
metrics:
  wrong: {of: error_rate, goal: "<= 0.2"}
  seen: {of: "recall[p]", goal: ">= 0.8"}
  value: {of: "value(p: {right: 40, missed: -400}, n: {wrong: -15})", goal: "> 0", margin: 5}
  sure: {of: mean(confidence), goal: ">= 0.6"}
  old: {of: mean(age), goal: "<= 70", margin: 2}
  heavy: {of: mean(mass), goal: "<= 90", margin: 2}
  never: {of: error_responses, goal: "<= 0"}
rollout: {%s}
"""


def charter(rollout: str = "") -> Charter:
    return parse(CHARTER % rollout)


def safe(name: str, late: bool = False) -> Rail:
    """Safe at a share of 95 %."""
    guard = Guardrail.begin(name).add(500, 60, 0.95)
    units = (90_000, 5_000)
    return Rail(name, guard, units, late, guard if late else None, units if late else (0, 0))


def at(state: State, share: float, plan: Plan = GREEN, reason: str = "", place: State | None = None) -> Rollout:
    return Rollout("v2#1", plan, state, place or state, reason, share=share)


def known(share: float, **more: Any) -> Evidence:
    route = Standing(3, "v1", "v2", share) if share else Standing(1, "v1")
    lively: dict[str, Any] = {"as_of_us": HOUR, "last_us": HOUR, "per_hour": 1000.0, "fresh": LEAST_SHADOWED}
    return Evidence(**{"standing": route, **lively, **more})


def go(rollout: Rollout, evidence: Evidence, hour: int = HOUR) -> Transition:
    made = step(rollout, evidence, hour)
    assert made is not None
    return made


def test_at_once_everything_but_the_holdback_until_it_is_cleared() -> None:
    shadowed = Shadowed(LEAST_SHADOWED, 0, ())
    first = known(0, standing=Standing(2, "v1", shadows=("v2",)), shadow=shadowed)
    made = go(at("shadow", 0.0), first)
    assert (made.after, made.do, made.share) == ("blue_green", "canary", 0.95)
    begun = made.applied(at("shadow", 0.0), HOUR)
    cleared = known(0.95, rails=(safe("errors"), safe("wrong", late=True)))
    assert step(begun, cleared, HOUR + GREEN.horizon_us - 1) is None, "labels may still come"
    few = replace(cleared, fresh=LEAST_SHADOWED - 1)
    assert step(begun, few, HOUR + GREEN.horizon_us) is None, "it has answered too little under that share"
    over = go(begun, cleared, HOUR + GREEN.horizon_us)
    assert (over.after, over.do, over.share) == ("bake", "", 0.95), "it has that share already"
    baking = over.applied(begun, HOUR + GREEN.horizon_us)
    assert baking.share_us == HOUR, "the time at this share counts"
    assert step(baking, cleared, 25 * HOUR - 1) is None
    done = go(baking, replace(cleared, last_us=25 * HOUR, as_of_us=25 * HOUR), 25 * HOUR)
    assert (done.after, done.do, done.share) == ("settled", "switch", 1.0)


@pytest.mark.parametrize("missing", ["errors", "wrong"])
def test_without_evidence_of_every_guardrail_the_holdback_stays(missing: str) -> None:
    rails = tuple(one for one in (safe("errors"), safe("wrong", late=True)) if one.name != missing)
    for hour in (HOUR, 100 * HOUR, 10_000 * HOUR):
        made = step(at("blue_green", 0.95), known(0.95, rails=rails, as_of_us=hour, last_us=hour), hour)
        assert made is None or (made.after, made.do) in (("hold", ""), ("blue_green", ""))
    silent = go(at("blue_green", 0.95), known(0.95, last_us=None), 100 * HOUR)
    assert (silent.after, silent.reason, silent.place) == ("hold", "no_data", "blue_green")


def test_harm_a_lying_split_and_a_person_act_in_a_blue_green() -> None:
    bad = Rail("errors", Guardrail.begin("errors").add(900, 10, 0.95), (90_000, 5_000))
    back = go(at("blue_green", 0.95), known(0.95, rails=(bad,)))
    assert (back.after, back.do, back.reason) == ("rolling_back", "rollback", "harm")
    split = go(at("blue_green", 0.95), known(0.95, assigned=Assigned(0.95).add(500, 500)))
    assert (split.after, split.reason) == ("frozen", "srm")
    ann = Standing(9, "v1", "v2", 0.5, actor="ann", action="ramp")
    lower = go(at("blue_green", 0.95), known(0.95, standing=ann))
    assert (lower.after, lower.share, lower.do) == ("blue_green", 0.5, "")
    assert step(at("blue_green", 0.95), known(0.95, newer="v3#2"), HOUR) is None, "it has taken over"


def test_gradually_each_step_asks_for_cases_and_no_clock_makes_it_go_on() -> None:
    plan = replace(GREEN, steps=(0.1, 0.5), path=("blue-green", "live"))
    first = go(at("preflight", 0.0, plan), known(0))
    assert (first.after, first.do, first.share) == ("blue_green", "canary", 0.1)
    now = first.applied(at("preflight", 0.0, plan), 0)
    assert step(now, known(0.1, fresh=LEAST_SHADOWED - 1, as_of_us=HOUR), HOUR) is None
    assert step(now, known(0.1, fresh=LEAST_SHADOWED), 1) is None, "it has just begun"
    second = go(now, known(0.1, fresh=LEAST_SHADOWED))
    assert (second.after, second.do, second.share) == ("blue_green", "ramp", 0.5)
    third = go(second.applied(now, 0), known(0.5, fresh=LEAST_SHADOWED))
    assert third.share == 0.95 and "to compare with" in third.sentence
    many = replace(plan, reviewers_per_hour=100.0)
    full = go(replace(now, plan=many), known(0.1, fresh=LEAST_SHADOWED, deferred_per_hour=81.0))
    assert (full.after, full.reason) == ("hold", "capacity")


def test_without_a_holdback_the_last_step_is_where_it_is_cleared() -> None:
    plan = replace(GREEN, steps=(0.5,), holdback=0.0, bake_share=1.0, guardrails=("errors",), horizon_us=0)
    assert step(at("blue_green", 0.5, plan), known(0.5, fresh=10_000), HOUR) is None
    guard = Rail("errors", Guardrail.begin("errors").add(100, 300, 0.5), (5_000, 5_000))
    made = go(at("blue_green", 0.5, plan), known(0.5, rails=(guard,)))
    assert (made.after, made.do, made.share) == ("bake", "switch", 1.0)


def test_behind_a_canary_it_takes_over_what_the_canary_has_cleared() -> None:
    plan = replace(GREEN, path=("shadow", "canary", "blue-green", "live"))
    calm = (rail("errors", 20, 600, (5000, 95_000)), rail("wrong", 20, 600, (5000, 95_000), late=True))
    made = go(at("canary", 0.05, plan), known(0.05, rails=calm))
    assert (made.after, made.do, made.share) == ("blue_green", "ramp", 0.95)


# ------------------------------------------------------------------------------------------------------- the first release

FIRST = Plan("v1", "", ("canary", "live"), ("errors",), limits={"errors": 0.05})


def first(bad: int, units: int, plan: Plan = FIRST) -> Evidence:
    order = [1.0] * bad + [0.0] * (units - bad)
    one = Rail("errors", Guardrail.begin("errors"), (units, 0), other=Alone.begin(0.05).add(order[::-1]))
    return Evidence(
        Standing(3, None, "v1", 0.05),
        as_of_us=HOUR,
        last_us=HOUR,
        per_hour=1000.0,
        fresh=9,
        rails=(one,),
        candidate=units,
        live=units * 19,
    )


def test_the_first_release_is_held_against_its_goals() -> None:
    begun = go(Rollout("v1#1", FIRST, "preflight", "preflight"), Evidence(Standing(1, None)))
    assert (begun.after, begun.do, begun.share) == ("canary", "canary", 0.05) and "people the rest" in begun.sentence
    now = begun.applied(Rollout("v1#1", FIRST), 0)
    assert go(now, first(0, 400)).after == "bake"
    assert step(now, replace(first(0, 30), per_hour=1e6), HOUR) is None, "too little is known to go further"
    worse = go(now, first(60, 300))
    assert (worse.after, worse.do) == ("rolling_back", "rollback") and "people answer again" in worse.sentence
    gone = replace(worse.applied(now, HOUR), state="rolling_back")
    done = go(gone, Evidence(Standing(4, None), as_of_us=HOUR))
    assert done.after == "rolled_back" and done.sentence.startswith("people answer")
    baking = Evidence(Standing(5, "v1"), as_of_us=HOUR, rails=first(60, 300).rails)
    assert go(Rollout("v1#1", FIRST, "bake", "bake", share=1.0), baking).do == "rollback"


def test_the_budget_of_a_first_release_is_what_its_goal_does_not_allow() -> None:
    rollout = Rollout("v1#1", FIRST, "canary", "canary", share=0.05)
    nothing = replace(first(0, 0), rails=(Rail("errors", Guardrail.begin("errors"), other=Alone.begin(0.05)),))
    assert ramp(rollout, replace(nothing, per_hour=1e6)).share == 0.0, "a unit may cost one"
    assert ramp(rollout, first(0, 60)).left < FIRST.budget
    assert ramp(rollout, replace(first(2, 200), per_hour=500.0)).share == 0.5


def test_a_goal_says_how_many_units_it_needs_before() -> None:
    said = can_detect(FIRST, "errors", None, 1000.0)
    assert said == (
        "errors: a release without an event is shown to keep to 0.05 after about 101 of its units (2 hours), "
        "one with events later"
    )


# ------------------------------------------------------------------------------------------------------------ means

MEANS = Plan("v2", "v1", ("canary", "live"), ("value",), margins={"value": 5.0})


def mean(difference: float, units: int = 4000) -> Rail:
    arms = [(n % 5 == 0, 0.2, -10.0 + 30 * (n % 2) + (difference if n % 5 == 0 else 0.0)) for n in range(units)]
    other = Difference.begin(-400.0, 40.0, 40.0, worse="lower").add(arms)
    return Rail("value", Guardrail.begin("value"), (units // 5, units - units // 5), other=other)


def test_a_mean_is_judged_by_its_difference() -> None:
    bad, good = mean(-200.0, 20_000), mean(0.0, 20_000)
    assert (said_of(MEANS, bad), said_of(MEANS, good)) == ("harm", "safe")
    rollout = at("canary", 0.2, MEANS)
    made = go(rollout, known(0.2, rails=(bad,)))
    assert made.do == "rollback" and "the mean differs by -" in made.sentence
    assert go(rollout, known(0.2, rails=(good,))).after == "bake"
    shown = judged(MEANS, good)
    assert shown.kind == "difference" and shown.share.value is None and shown.events == 20_000
    little = mean(0.0, 100)
    assert ramp(rollout, known(0.2, rails=(little,), per_hour=100_000.0)).share < 0.05


def test_a_late_mean_asks_for_matured_labels() -> None:
    late = replace(mean(0.0, 20_000), late=True)
    assert said_of(MEANS, late) == "safe" and said_of(MEANS, late, matured=True) == "not_yet"
    assert said_of(MEANS, replace(late, matured_other=late.other), matured=True) == "safe"


# -------------------------------------------------------------------------------------------------- from the charter


def test_what_a_plan_judges_and_by_what() -> None:
    found = plan_of(charter(), "v2", "v1")
    assert found.guardrails == ("wrong", "seen", "value", "old", "never")
    assert found.margins == {"value": 5.0, "old": 2.0} and not found.limits
    assert (found.bake_share, found.bake_us, found.holdback) == (0.95, 24 * HOUR, 0.0)
    assert plan_of(charter("holdback: 0.5, bake: 1h"), "v2", "v1").bake_share == 0.5
    assert plan_of(charter("holdback: 0"), "v2", "v1").bake_share == 1.0
    alone = plan_of(charter("path: [shadow, canary, live]"), "v1", "")
    assert alone.path == ("canary", "live") and alone.bake_share == 1.0
    assert alone.limits == {"wrong": 0.2, "seen": 0.2, "value": 0.0, "sure": 0.6, "old": 70.0}
    instant = plan_of(charter("path: [blue-green, live], holdback: 0"), "v2", "v1", pattern="blue-green")
    assert (
        instant.path == ("blue-green", "live") and instant.limits and not instant.holdback and instant.bake_share == 1
    )
    kept = plan_of(charter(), "v2", "v1", pattern="blue-green", steps=(0.1, 0.5))
    assert (kept.path, kept.steps, kept.holdback) == (("shadow", "blue-green", "live"), (0.1, 0.5), 0.05)
    assert not kept.limits
    whole = charter("path: [shadow, canary, blue-green, live], steps: [0.3]")
    assert plan_of(whole, "v2", "v1").path == ("shadow", "canary", "blue-green", "live")
    green = plan_of(whole, "v2", "v1", pattern="blue-green")
    assert (green.path, green.steps) == (("shadow", "blue-green", "live"), (0.3,))


@pytest.mark.parametrize(
    ("rollout", "live", "pattern", "steps", "said"),
    [
        ("", "", "blue-green", None, "nothing to change over from"),
        ("path: [blue-green, live]", "v1", "canary", None, "andon deploy blue-green"),
        ("", "v1", "blue-green", (0.5, 0.1), "shares that grow"),
        ("", "v1", "blue-green", (0.95,), "below 0.95"),
        ("", "v1", "blue-green", (0.0, 0.5), "above 0"),
        ("guardrails: [sure]", "v1", "canary", None, "give the metric a margin"),
        ("guardrails: [heavy]", "v1", "canary", None, "bounds of mean(mass) are not known"),
        ("guardrails: [never]", "", "canary", None, "the bound <= 0, which no cases can show"),
    ],
)
def test_what_no_plan_can_be_made_of(rollout: str, live: str, pattern: Any, steps: Any, said: str) -> None:
    with pytest.raises(UsageError) as raised:
        plan_of(charter(rollout), "v2", live, pattern=pattern, steps=steps)
    assert said in raised.value.message
