"""The rollout, decided purely: no evidence moves nothing, harm acts everywhere, the same gives the same."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from andon.deploy.rollout import record, replayed, step
from andon.deploy.rollout_first import SPLIT_ALPHA
from andon.deploy.rollout_proof import LADDER, ramp, said_of, told_of, unsafe
from andon.deploy.rollout_record import (
    ENDED,
    HARM,
    Evidence,
    Plan,
    Rail,
    Rollout,
    Shadowed,
    Standing,
    State,
    Transition,
    Word,
)
from andon.measure.evidence import Assigned
from andon.measure.guardrail import Guardrail

PLAN = Plan("v2", "v1", ("shadow", "canary", "live"), ("errors", "wrong"), horizon_us=7_200_000_000)
HOUR = 3_600_000_000
ROUTES = {
    "draft": Standing(1, "v1"),
    "preflight": Standing(1, "v1"),
    "shadow": Standing(2, "v1", shadows=("v2",)),
    "canary": Standing(3, "v1", "v2", 0.05),
    "bake": Standing(4, "v2"),
}


def rail(name: str, candidate: int = 0, live: int = 0, units: tuple[int, int] = (0, 0), late: bool = False) -> Rail:
    guard = Guardrail.begin(name, PLAN.margin).add(candidate, live, 0.05)
    return Rail(name, guard, units, late, guard if late else None, units if late else (0, 0))


CALM = (rail("errors", 20, 600, (5000, 95_000)), rail("wrong", 20, 600, (5000, 95_000), late=True))
BAD = (rail("errors", 60, 60, (5000, 95_000)), CALM[1])


def at(place: State, state: State | None = None, reason: str = "", **more: Any) -> Rollout:
    share = {"canary": 0.05, "bake": 1.0}.get(place, 0.0)
    return Rollout("v2#1", more.pop("plan", PLAN), state or place, place, reason, share=share, **more)


def known(place: State, **more: Any) -> Evidence:
    lively: dict[str, Any] = {"as_of_us": HOUR, "last_us": HOUR, "per_hour": 1000.0, "fresh": 50}
    return Evidence(**{"standing": ROUTES[place], **lively, **more})


PLACES: tuple[State, ...] = ("shadow", "canary", "bake")
nothing = st.builds(
    Evidence,
    standing=st.just(ROUTES["canary"]),
    as_of_us=st.integers(0, 10**15),
    per_hour=st.floats(0, 1e9),
    last_us=st.none() | st.integers(0, 10**15),
    fresh=st.integers(0, 10),
    every_us=st.integers(1, 10**12),
    rails=st.sampled_from([(), (rail("errors"),), (rail("errors"), rail("wrong", late=True))]),
    assigned=st.none() | st.just(Assigned(0.05)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(nothing, st.integers(0, 10**15)), max_size=12), st.sampled_from(PLACES))
def test_without_evidence_nothing_is_promoted_and_nothing_taken_back(looks: list[Any], place: State) -> None:
    rollout = at(place, plan=replace(PLAN, bake_us=0, horizon_us=0))
    for evidence, now in looks:
        made = step(rollout, replace(evidence, standing=ROUTES[place]), now)
        if made is None:
            continue
        assert made.after in (place, "hold") and made.place == place
        assert made.do == "" and made.share == rollout.share
        rollout = made.applied(rollout, now)


def test_zero_traffic_holds_for_ever_and_says_so() -> None:
    rollout, now = at("canary"), 0
    for _ in range(200):
        now += 6 * HOUR
        made = step(rollout, Evidence(ROUTES["canary"], as_of_us=now), now)
        rollout = rollout if made is None else made.applied(rollout, now)
    assert (rollout.state, rollout.reason, rollout.number) == ("hold", "no_data", 1)
    assert "nothing is promoted and nothing taken back" in rollout.sentence


HELD = ("no_data", "inconclusive", "label_lag", "human_gate", "budget", "capacity", "dependency")


@pytest.mark.parametrize("place", ["canary", "bake"])
@pytest.mark.parametrize("reason", ["", *HELD])
@pytest.mark.parametrize(("on_harm", "after", "do"), [("rollback", "rolling_back", "rollback"), ("people", "frozen", "people"), ("freeze", "frozen", None)])  # fmt: skip
def test_harm_acts_in_every_state(place: State, reason: str, on_harm: Any, after: str, do: str | None) -> None:
    rollout = at(place, "hold" if reason else None, reason, plan=replace(PLAN, on_harm=on_harm))
    route = replace(ROUTES[place], held=reason == "human_gate", stopped=reason == "dependency")
    quiet = {"last_us": None, "per_hour": 0.0, "fresh": 0} if reason == "no_data" else {}
    made = step(rollout, known(place, rails=BAD, standing=route, **quiet), HOUR)
    assert made is not None
    assert (made.after, made.reason) == (after, HARM)
    assert made.do == (do if do is not None else "hold" if place == "canary" and not route.held else "")
    assert "errors: harm" in made.sentence


def test_harm_in_the_shadow_ends_the_shadow() -> None:
    pairs = Guardrail.begin("no answer").add(30, 2, 0.5)
    made = step(at("shadow"), known("shadow", shadow=Shadowed(400, 30, (pairs,))), HOUR)
    assert made is not None and (made.after, made.do) == ("rolling_back", "unshadow")


def test_harm_of_what_a_person_froze_is_told_once_and_changes_nothing() -> None:
    rollout = at("canary", "frozen", "person")
    made = step(rollout, known("canary", rails=BAD), HOUR)
    assert made is not None and (made.after, made.reason, made.do) == ("frozen", HARM, "")
    assert step(made.applied(rollout, HOUR), known("canary", rails=BAD), HOUR) is None


def test_all_guardrails_safe_gives_it_everything_and_matured_labels_settle_it() -> None:
    rollout = at("canary")
    made = step(rollout, known("canary", rails=CALM), HOUR)
    assert made is not None and (made.after, made.do, made.share) == ("bake", "switch", 1.0)
    baking = made.applied(rollout, HOUR)
    evidence = known("bake", rails=CALM)
    assert step(baking, evidence, HOUR + PLAN.horizon_us - 1) is None, "labels may still come"
    done = step(baking, evidence, HOUR + PLAN.horizon_us)
    assert done is not None and done.after == "settled"
    young = replace(CALM[1], matured=None, matured_units=(0, 0))
    waits = step(baking, known("bake", rails=(CALM[0], young)), HOUR + PLAN.horizon_us)
    assert waits is not None and (waits.after, waits.reason) == ("hold", "label_lag")


@pytest.mark.parametrize(("missing", "reason"), [("wrong", "label_lag"), ("errors", "")])
def test_one_guardrail_without_evidence_keeps_it_from_everything(missing: str, reason: str) -> None:
    rails = tuple(one if one.name != missing else rail(missing, late=one.late) for one in CALM)
    made = step(at("canary"), known("canary", rails=rails), HOUR)
    assert (made.after, made.reason) == ("hold", reason) if reason else made is None  # type: ignore[union-attr]
    left = [one.name for one in unsafe(PLAN, rails)]
    assert left == [missing]


def test_a_candidate_whose_share_is_negligible_is_safe_without_any_event() -> None:
    none = rail("errors", 0, 0, (9000, 90_000))
    assert said_of(PLAN, none) == "safe" and said_of(PLAN, replace(none, units=(5000, 90_000))) == "not_yet"
    assert said_of(replace(PLAN, negligible=0.0), none) == "not_yet"


def test_a_late_guardrail_is_negligible_by_labels_alone_that_had_time_to_come() -> None:
    ripe, now = rail("wrong", 0, 0, (9000, 90_000), late=True), replace(PLAN, edition=2)
    young = replace(ripe, matured_units=(5000, 50_000))
    assert said_of(PLAN, young) == "safe" and said_of(now, young) == said_of(PLAN, young, matured=True) == "not_yet"
    assert said_of(now, ripe) == "safe" and "below 0.001" in told_of(now, ripe)


def test_the_harm_budget_and_not_the_clock_makes_the_share_grow() -> None:
    little = (rail("errors", 0, 1, (3, 60)), rail("wrong", 0, 1, (3, 60), late=True))
    much = (rail("errors", 5, 100, (2000, 38_000)), rail("wrong", 5, 100, (2000, 38_000), late=True))
    rollout = at("canary", plan=replace(PLAN, horizon_us=0))
    busy = {"per_hour": 100_000.0}
    assert ramp(rollout, known("canary", rails=little, **busy)).share < 0.05
    assert step(rollout, known("canary", rails=little, **busy), 1000 * HOUR) is None
    made = step(rollout, known("canary", rails=much, per_hour=3000.0), HOUR)
    assert made is not None and (made.after, made.do) == ("canary", "ramp") and made.share in LADDER
    assert made.share > 0.05
    unseen = known("canary", rails=much, per_hour=3000.0, fresh=0)
    assert step(rollout, unseen, HOUR) is None, "nothing of the candidate was seen at this share"


def test_a_spent_budget_lowers_the_share_to_its_start_and_no_lower_than_a_persons() -> None:
    late = rail("wrong", 3, 40, (900, 9000), late=True)
    guard = Guardrail.begin("errors").add(120, 100, 0.5)
    spent = (Rail("errors", guard, (9000, 9000)), late)
    high = replace(at("canary"), share=0.5)
    route = replace(ROUTES["canary"], share=0.5)
    made = step(high, known("canary", rails=spent, standing=route), HOUR)
    assert made is not None and (made.after, made.reason, made.do, made.share) == ("hold", "budget", "ramp", 0.05)
    kept = step(replace(high, floor=0.5), known("canary", rails=spent, standing=route), HOUR)
    assert kept is not None and (kept.after, kept.do, kept.share) == ("hold", "", 0.5)


def test_a_false_split_freezes() -> None:
    split = Assigned(0.05).add(300, 1000)
    assert split.reached(SPLIT_ALPHA)
    made = step(at("canary"), known("canary", rails=CALM, assigned=split), HOUR)
    assert made is not None and (made.after, made.reason, made.do) == ("frozen", "srm", "hold")
    assert step(made.applied(at("canary"), HOUR), known("canary", rails=BAD, assigned=split), HOUR) is None


@pytest.mark.parametrize(
    ("route", "after", "share"),
    [
        (Standing(9, "v2", actor="ann", action="switch"), "bake", 1.0),
        (Standing(9, "v1", actor="ann", action="rollback"), "rolled_back", 0.0),
        (Standing(9, "v3", actor="ann", action="switch"), "aborted", 0.0),
        (Standing(9, "v1", "v2", 0.3, actor="ann", action="ramp"), "canary", 0.3),
        (Standing(9, "v1", "v2", 0.05, held=True, actor="ann", action="hold"), "hold", 0.05),
    ],
)
def test_what_a_person_does_wins_and_is_told(route: Standing, after: str, share: float) -> None:
    made = step(at("canary"), known("canary", rails=BAD if after != "hold" else CALM, standing=route), HOUR)
    assert made is not None and (made.after, made.share, made.do) == (after, share, "")
    assert "ann" in made.sentence


def test_a_person_freezes_and_lets_go_on() -> None:
    for place in ("draft", "preflight", *PLACES):
        word = Word("freeze", "ann", "a doubt")
        made = step(at(place), known(place, word=word, rails=CALM), HOUR)
        assert (
            made is not None and (made.after, made.reason) == ("frozen", "person") and "ann: a doubt" in made.sentence
        )
        frozen = made.applied(at(place), HOUR)
        assert step(frozen, known(place, rails=CALM), 10**6 * HOUR) is None
        back = step(frozen, known(place, rails=CALM, word=Word("resume", "ann")), HOUR)
        assert back is not None and back.after == place
    held = at("bake", "hold", "inconclusive")
    made = step(held, known("bake", word=Word("resume", "ann")), HOUR)
    assert made is not None and (made.after, made.reason) == ("settled", "person")


def test_a_newer_rollout_waits_for_one_that_somebody_froze() -> None:
    assert step(at("canary", "frozen", "person"), known("canary", newer="v3#2"), HOUR) is None
    asked = step(at("canary"), known("canary", newer="v3#2", word=Word("freeze", "ann")), HOUR)
    assert asked is not None and (asked.after, asked.reason) == ("frozen", "person")
    assert step(at("canary"), known("canary", newer="v3#2"), HOUR).after == "rolling_back"  # type: ignore[union-attr]


def test_a_newer_rollout_supersedes_one_that_has_not_taken_over() -> None:
    for place, after, do in (("draft", "superseded", ""), ("shadow", "rolling_back", "unshadow"), ("canary", "rolling_back", "rollback")):  # fmt: skip
        made = step(at(place), known(place, newer="v3#2"), HOUR)  # type: ignore[arg-type]
        assert made is not None and (made.after, made.do) == (after, do)
    going = at("canary", "rolling_back", "superseded")
    made = step(going, known("canary", newer="v3#2", standing=Standing(9, "v1")), HOUR)
    assert made is not None and made.after == "superseded"
    waits = step(at("draft"), known("draft", older="v2#1"), HOUR)
    assert waits is None


@pytest.mark.parametrize(
    ("evidence", "after"),
    [
        ({"unfit": "v2 is not known"}, "rejected"),
        ({"failed": "worker w0 could not load v2"}, "rejected"),
        ({"standing": Standing(1, "v3")}, "rejected"),
        ({"standing": Standing(1, "v1", "v4", 0.1)}, "rejected"),
        ({"standing": Standing(1, "v1", stopped=True)}, "hold"),
        ({"standing": Standing(1, "v1", asked=False)}, "hold"),
        ({}, "shadow"),
    ],
)
def test_preflight(evidence: dict[str, Any], after: str) -> None:
    made = step(at("preflight"), known("preflight", **evidence), HOUR)
    assert made is not None and made.after == after


def test_where_people_decide_every_case_nothing_clears_a_version() -> None:
    alone = replace(ROUTES["canary"], used=False)
    made = step(at("canary"), known("canary", rails=CALM, standing=alone), HOUR)
    assert made is not None and (made.after, made.reason) == ("hold", "dependency")
    assert "people decide every case without a model" in made.sentence and "andon automate" in made.sentence
    shadowed = replace(ROUTES["shadow"], used=False)
    beside = step(at("shadow"), known("shadow", standing=shadowed), HOUR)
    assert beside is None or beside.reason != "dependency", "beside people a model may predict"


def test_people_who_could_not_keep_up_hold_it() -> None:
    plan = replace(PLAN, reviewers_per_hour=100.0)
    for comes, after in ((80.0, "bake"), (80.1, "hold")):
        made = step(at("canary", plan=plan), known("canary", rails=CALM, deferred_per_hour=comes), HOUR)
        assert made is not None and made.after == after


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(PLACES),
    st.sampled_from(["", *HELD]),
    st.sampled_from([CALM, BAD, ()]),
    st.integers(0, 10**13),
    st.floats(0, 1e6),
)
def test_the_same_gives_the_same_and_a_record_replays_byte_for_byte(
    place: State, reason: str, rails: Any, now: int, per_hour: float
) -> None:
    rollout = at(place, "hold" if reason else None, reason)
    evidence = known(place, rails=rails, per_hour=per_hour, as_of_us=now, last_us=now)
    made = step(rollout, evidence, now)
    assert made == step(rollout, evidence, now)
    if made is not None:
        stored = msgspec.json.decode(msgspec.json.encode(record(rollout, evidence, now, made)))
        first, again = replayed(stored)
        assert first == again


def test_what_has_ended_stays_so() -> None:
    for state in ENDED:
        assert step(at("canary", state), known("canary", rails=BAD), HOUR) is None
    assert set(get_args(State)) >= ENDED


def test_a_hold_is_one_transition_however_long_it_lasts() -> None:
    rollout, numbers = at("canary"), set()
    for hour in range(1, 50):
        evidence = known(
            "canary", as_of_us=hour * HOUR, last_us=hour * HOUR, standing=replace(ROUTES["canary"], stopped=True)
        )
        made: Transition | None = step(rollout, evidence, hour * HOUR)
        rollout = rollout if made is None else made.applied(rollout, hour * HOUR)
        numbers.add(rollout.number)
    assert numbers == {1} and rollout.reason == "dependency"
    back = step(rollout, known("canary"), HOUR)
    assert back is not None and back.after == "canary"
