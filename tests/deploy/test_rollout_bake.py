"""The bake keeps the holdback: a cleared version is compared on by the same evidence, and harm takes it back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.deploy.test_rollout import BAD, CALM, HOUR, PLAN, at, known, rail

from andon.deploy.rollout import record, replayed, step
from andon.deploy.rollout_proof import baked_us, eta_us
from andon.deploy.rollout_record import HARM, Evidence, Plan, Rail, Rollout, Standing, Transition, Word
from andon.deploy.rollout_store import may_resume
from andon.measure.evidence import Assigned
from andon.measure.guardrail import Guardrail

DAY = 24 * HOUR
KEEPS = replace(PLAN, bake_share=0.95, bake_us=DAY)
ROUTE = Standing(4, "v1", "v2", 0.95)
OLD = Path(__file__).parent / "rollouts_before.jsonl"


def baking(state: Any = "bake", reason: str = "", plan: Plan = KEEPS, **more: Any) -> Rollout:
    return replace(at("bake", state, reason, plan=plan), **{"share": 0.95, **more})


def seen(hour: int = HOUR, **more: Any) -> Evidence:
    return known("bake", **{"standing": ROUTE, "rails": CALM, "as_of_us": hour, "last_us": hour, **more})


def go(rollout: Rollout, evidence: Evidence, hour: int = HOUR) -> Transition:
    made = step(rollout, evidence, hour)
    assert made is not None
    stored = msgspec.json.decode(msgspec.json.encode(record(rollout, evidence, hour, made)))
    first, again = replayed(stored)
    assert first == again
    return made


def test_cleared_it_gets_all_but_the_holdback_and_the_rest_when_it_has_baked() -> None:
    canary = at("canary", plan=KEEPS)
    made = go(canary, known("canary", rails=CALM))
    assert (made.after, made.do, made.share) == ("bake", "ramp", 0.95)
    assert "v2 gets 95 % of the units while it bakes, v1 the rest to compare with" in made.sentence
    now = made.applied(canary, HOUR)
    assert baked_us(now, CALM) == HOUR + DAY and step(now, seen(HOUR + DAY - 1), HOUR + DAY - 1) is None
    assert eta_us(replace(now, began_us=1), seen()) == HOUR + DAY
    done = go(now, seen(HOUR + DAY), HOUR + DAY)
    assert (done.after, done.do, done.share, done.floor) == ("settled", "switch", 1.0, 0.0)
    assert "matured labels clear it" in done.sentence and done.applied(now, HOUR + DAY).ended


def test_labels_that_come_later_than_the_bake_is_long_are_waited_for() -> None:
    slow = baking(plan=replace(KEEPS, horizon_us=2 * DAY))
    assert step(slow, seen(2 * DAY - 1), 2 * DAY - 1) is None
    assert go(slow, seen(2 * DAY), 2 * DAY).after == "settled"
    quick = baking(plan=replace(KEEPS, horizon_us=2 * DAY, guardrails=("errors",)))
    assert go(quick, seen(DAY, rails=CALM[:1]), DAY).sentence.startswith("nothing went wrong while it baked")


def test_a_share_that_is_larger_already_is_not_lowered() -> None:
    canary = replace(at("canary", plan=KEEPS), share=0.97)
    made = go(canary, known("canary", rails=CALM, standing=Standing(3, "v1", "v2", 0.97)))
    assert (made.after, made.do, made.share) == ("bake", "", 0.97) and "keeps 97 %" in made.sentence


def test_without_a_holdback_and_without_a_live_version_it_gets_everything_at_once() -> None:
    none = at("canary", plan=replace(PLAN, bake_us=DAY))
    made = go(none, known("canary", rails=CALM))
    assert (made.after, made.do, made.share) == ("bake", "switch", 1.0)
    now = made.applied(none, 0)
    evidence = known("bake", rails=CALM)
    assert step(now, evidence, DAY - 1) is None
    over = go(now, evidence, DAY)
    assert (over.after, over.do, over.share) == ("settled", "", 1.0)
    split = known("bake", rails=CALM, assigned=Assigned(0.05).add(300, 1000))
    assert step(now, split, HOUR) is None, "there are no arms any more"


HELD = ("no_data", "inconclusive", "label_lag", "human_gate", "capacity", "dependency")


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["", *HELD]),
    st.integers(0, 100 * DAY),
    st.sampled_from([0.3, 0.5, 0.95, 0.97]),
    st.sampled_from([("rollback", "rolling_back", "rollback"), ("people", "frozen", "people"), ("freeze", "frozen", "hold")]),
    st.none() | st.just(Word("resume", "ann")),
    st.integers(200, 600),
    st.integers(0, 1) | st.just(0),
)  # fmt: skip
def test_harm_in_the_bake_takes_it_back_whenever_it_is_shown(
    reason: str, hour: int, share: float, harm: tuple[str, str, str], word: Word | None, live: int, late: int
) -> None:
    """Whatever it holds for, whoever asks for what, before or after it has baked, in what is known at once or later."""
    on_harm, after, do = harm
    plan = replace(KEEPS, on_harm=on_harm)
    rollout = baking("hold" if reason else "bake", reason, plan, share=share)
    # Cleared before, three times as bad since: at this share so many events leave no doubt.
    guard = Guardrail.begin(CALM[late].name).add(20, 600, 0.05)
    mine = round(3 * live * share / (1 - share))
    rails = list(CALM)
    rails[late] = replace(CALM[late], guard=guard.add(mine, live, share))
    route = replace(ROUTE, share=share, held=reason == "human_gate", stopped=reason == "dependency")
    quiet: dict[str, Any] = {"last_us": None, "per_hour": 0.0, "fresh": 0} if reason == "no_data" else {}
    made = go(rollout, seen(hour, rails=tuple(rails), standing=route, word=word, **quiet), hour)
    assert (made.after, made.reason, made.place, made.share) == (after, HARM, "bake", share)
    assert made.do == ("" if do == "hold" and route.held else do)


def test_a_false_split_freezes_the_bake() -> None:
    made = go(baking(), seen(assigned=Assigned(0.95).add(700, 300)))
    assert (made.after, made.reason, made.do, made.place) == ("frozen", "srm", "hold", "bake")


@pytest.mark.parametrize(
    ("route", "after", "reason", "share"),
    [
        (Standing(9, "v2", actor="ann", action="switch"), "settled", "person", 1.0),
        (Standing(9, "v2", "v3", 0.1, actor="ann", action="canary"), "superseded", "person", 1.0),
        (Standing(9, "v1", actor="ann", action="rollback"), "rolled_back", "person", 0.0),
        (Standing(9, "v1", actor="controller", action="rollback", why="errors"), "rolled_back", "harm", 0.0),
        (Standing(9, "v3", actor="ann", action="switch"), "aborted", "person", 0.0),
        (Standing(9, "v1", "v2", 0.3, actor="ann", action="ramp"), "bake", "person", 0.3),
        (Standing(9, "v1", "v2", 1.0, actor="ann", action="ramp"), "bake", "person", 1.0),
        (Standing(9, "v1", "v2", 0.95, held=True, actor="ann", action="hold"), "hold", "human_gate", 0.95),
    ],
)
def test_what_a_person_does_in_the_bake(route: Standing, after: str, reason: str, share: float) -> None:
    made = go(baking(), seen(standing=route))
    assert (made.after, made.reason, made.share, made.do) == (after, reason, share, "")
    assert route.actor in made.sentence or reason == "harm"


def test_a_persons_share_bakes_anew_and_is_not_changed_before_it_has() -> None:
    lower = go(baking(), seen(standing=replace(ROUTE, share=0.3, actor="ann", action="ramp"))).applied(baking(), HOUR)
    route = replace(ROUTE, share=0.3)
    assert step(lower, seen(HOUR + DAY - 1, standing=route), HOUR + DAY - 1) is None
    assert go(lower, seen(HOUR + DAY, standing=route), HOUR + DAY).do == "switch"
    # All of the units while the old version is still the live one: nobody is left to compare with, a switch is still due.
    whole = replace(lower, share=1.0)
    alone = seen(HOUR + DAY, standing=replace(ROUTE, share=1.0), last_us=None, fresh=0)
    assert go(replace(whole, plan=NEW), alone, HOUR + DAY).do == "switch"
    canary = replace(at("canary", plan=NEW), share=1.0)
    held = go(canary, known("canary", standing=Standing(9, "v1", "v2", 1.0), rails=CALM), HOUR)
    assert held.reason == "dependency" and "nobody to compare it with; andon deploy switch ends it" in held.sentence


def test_a_person_freezes_holds_lets_go_on_and_keeps_it() -> None:
    frozen = go(baking(), seen(word=Word("freeze", "ann")))
    assert (frozen.after, frozen.do) == ("frozen", "hold") and step(frozen.applied(baking(), 0), seen(), DAY) is None
    on = go(baking("frozen", "person"), seen(word=Word("resume", "ann")))
    assert (on.after, on.place, on.share) == ("bake", "bake", 0.95)
    let_go = go(baking("hold", "human_gate"), seen(standing=replace(ROUTE, actor="ann", action="resume")))
    assert let_go.after == "bake"
    for reason in HELD:
        held = baking("hold", reason)
        waits = reason in ("label_lag", "inconclusive")
        assert may_resume(held) == waits
        keeps = step(held, seen(word=Word("resume", "ann")), HOUR)
        if waits:
            assert keeps is not None and (keeps.after, keeps.reason, keeps.do) == ("settled", "person", "switch")
        else:
            assert keeps is None or keeps.after in ("bake", "hold"), "it waits for something else than a word"


def test_a_newer_rollout_does_not_take_the_place_of_one_that_was_cleared() -> None:
    assert step(baking(), seen(newer="v3#2"), HOUR) is None
    assert go(baking(), seen(DAY, newer="v3#2"), DAY).after == "settled"


def test_what_it_waits_for_when_it_has_baked() -> None:
    silent = go(baking(), seen(DAY, last_us=None), DAY)
    assert (silent.after, silent.reason) == ("hold", "no_data")
    stopped = go(baking(), seen(DAY, standing=replace(ROUTE, stopped=True)), DAY)
    assert (stopped.after, stopped.reason) == ("hold", "dependency")
    again = go(stopped.applied(baking(), DAY), seen(DAY + 1), DAY + 1)
    assert again.after == "settled", "what it held for is over"
    before = go(stopped.applied(baking(), HOUR), seen(HOUR + 1), HOUR + 1)
    assert (before.after, before.share) == ("bake", 0.95)
    assert step(baking(), seen(DAY, standing=replace(ROUTE, held=True, actor="ann")), DAY) is not None
    assert step(baking("hold", "human_gate"), seen(DAY, standing=replace(ROUTE, held=True)), DAY) is None
    young = replace(CALM[1], matured=None, matured_units=(0, 0), units=(9, 0))
    lags = go(baking(), seen(DAY, rails=(CALM[0], young)), DAY)
    assert (lags.after, lags.reason, lags.do) == ("hold", "label_lag", "")
    many = baking(plan=replace(KEEPS, reviewers_per_hour=100.0))
    full = go(many, seen(DAY, deferred_per_hour=80.1), DAY)
    assert (full.after, full.reason, full.share) == ("hold", "capacity", 0.95)
    assert go(many, seen(DAY, deferred_per_hour=80.0), DAY).after == "settled"


def test_twice_the_evidence_that_clears_one_and_no_verdict_waits_for_a_person() -> None:
    even = Guardrail.begin("wrong", PLAN.margin).add(3016, 130, 0.95)
    stuck = Rail("wrong", even, (90_000, 5_000), True, even, (90_000, 5_000))
    assert even.verdict() == "not_yet"
    made = go(baking(), seen(DAY, rails=(CALM[0], stuck)), DAY)
    assert (made.after, made.reason) == ("hold", "inconclusive") and may_resume(made.applied(baking(), DAY))


def test_rollouts_of_before_the_bake_kept_a_holdback_are_decided_as_they_were() -> None:
    """Their plans have no share for the bake: a blue/green with a holdback gave everything when it was cleared."""
    found = [json.loads(line) for line in OLD.read_text().splitlines()]
    assert {(one["transition"]["before"], one["transition"]["after"]) for one in found} >= {
        ("canary", "bake"), ("blue_green", "bake"), ("bake", "settled"), ("bake", "hold"), ("hold", "settled"),
        ("bake", "rolling_back"), ("bake", "rolled_back"), ("bake", "superseded"),
    }  # fmt: skip
    for one in found:
        first, again = replayed(one)
        assert first == again
    assert any(one["rollout"]["plan"].get("holdback") == 0.05 for one in found)


def test_a_guardrail_of_the_bake_needs_no_new_event_to_stay_safe() -> None:
    """Evidence that has once cleared it stays; only harm is stronger."""
    worse = replace(CALM[0], guard=CALM[0].guard.add(60, 2, 0.95))
    assert worse.guard.verdict() == "safe" and worse.guard.safe.log_e < worse.guard.safe.peak
    assert go(baking(), seen(DAY, rails=(worse, CALM[1])), DAY).after == "settled"
    assert go(baking(), seen(rails=BAD), HOUR).reason == HARM
    assert rail("errors", 1, 1).guard.verdict() == "not_yet"


NEW = replace(KEEPS, edition=2)


def test_time_in_which_nothing_is_compared_is_no_part_of_the_bake() -> None:
    now, stopped = baking(plan=NEW), seen(2 * HOUR, standing=replace(ROUTE, stopped=True))
    held = go(now, stopped, 2 * HOUR).applied(now, 2 * HOUR)
    assert (held.state, held.reason, held.share_us) == ("hold", "dependency", 0)
    on = go(held, seen(DAY + HOUR, fresh=300), DAY + HOUR)
    again = on.applied(held, DAY + HOUR)
    assert (on.after, again.share_us) == ("bake", DAY - HOUR)
    over = 2 * DAY - HOUR
    assert step(again, seen(over - 1, fresh=300), over - 1) is None
    assert go(again, seen(over, fresh=300), over).after == "settled"


def test_a_first_release_bakes_while_it_answers() -> None:
    first = replace(NEW, live="", bake_share=1.0, limits={"errors": 0.1, "wrong": 0.1})
    now, alone = baking(plan=first, share=1.0), Standing(9, "v2")
    people = seen(HOUR, standing=replace(alone, used=False))
    held = go(now, people, HOUR).applied(now, HOUR)
    assert (held.reason, held.place) == ("dependency", "bake") and step(held, people, DAY) is None
    on = go(held, seen(DAY, standing=alone), DAY)
    assert on.after == "bake" and on.applied(held, DAY).share_us == DAY - HOUR


def test_a_day_in_which_hardly_a_case_came_is_no_bake() -> None:
    now = baking(plan=NEW)
    assert step(now, seen(DAY, fresh=299), DAY) is None
    assert go(now, seen(DAY, fresh=300), DAY).after == "settled"
