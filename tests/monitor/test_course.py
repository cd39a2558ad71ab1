"""The course of a rollout: what its looks saw is kept, few of them and true, and nothing is decided otherwise for it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.monitor.rollout_rig import NOW, Rolling

from andon.deploy.rollout_record import Evidence, Rollout, Standing, Transition, Word
from andon.deploy.rollout_store import Kept, ask, kept, newest
from andon.errors import Corrupt
from andon.measure.alone import Alone
from andon.measure.bounded import Difference
from andon.monitor import steer
from andon.monitor.course import COURSE, Course, course_of, keep
from andon.monitor.explain import Explained, explain
from andon.monitor.proof import Proof
from andon.monitor.race import MOST, Drawn, Sight, Step, actor_of, bands, thinned, weights

Make = Callable[..., Rolling]


def of(line: Rolling) -> tuple[Kept, Explained, Drawn]:
    """The newest rollout, what is said of it, and its course."""
    found = newest(line.workspace)
    assert found is not None
    return found, explain(line.workspace, line.charter, found), course_of(line.workspace, found.rollout)


def sight(time_us: int) -> Sight:
    return Sight(time_us, 0.05, (0, 0), {})


# ------------------------------------------------------------------------------------------------------- thinned


@given(st.lists(st.integers(0, 5_000_000), max_size=900))
def test_few_looks_are_kept_the_first_and_the_last_of_them_always(gaps: list[int]) -> None:
    looks: tuple[Sight, ...] = ()
    time_us = 0
    for gap in gaps:
        time_us += gap
        found = thinned(looks, sight(time_us))
        if found is not None:
            assert found[-1].time_us == time_us and found[0].time_us == (looks or found)[0].time_us
            looks = found
    times = [one.time_us for one in looks]
    assert len(times) <= MOST and times == sorted(set(times))
    assert not times or time_us - times[-1] <= (time_us - times[0]) / 150 + 1


def test_at_its_edge_the_closest_one_goes() -> None:
    looks = tuple(sight(at * 1000) for at in range(MOST - 1))
    full = thinned(looks, sight(10 * MOST * 1000))
    assert full is not None and len(full) == MOST
    more = thinned(full, sight(20 * MOST * 1000))
    assert more is not None and len(more) == MOST and more[-1].time_us == 20 * MOST * 1000
    assert thinned((sight(5),), sight(5)) is None and thinned((sight(5),), sight(4)) is None, (
        "time may stand or be set back"
    )
    assert len(thinned((sight(5),), sight(6)) or ()) == 2


# --------------------------------------------------------------------------------------------------------- true


def test_each_look_that_is_kept_says_what_the_log_says(rolling: Make) -> None:
    line = rolling(rails="errors, wrong")
    line.begin()
    seen: dict[int, tuple[float, float]] = {}
    for _ in range(4):
        line.look()
        line.come(200)
        now = newest(line.workspace)
        assert now is not None
        if now.rollout.place == "canary":
            whole = Proof(line.workspace, line.charter).look(now.rollout, steer.standing(line.workspace, now.rollout))
            harm, safe = whole.rails[0].guard.harm, whole.rails[0].guard.safe
            seen[whole.as_of_us] = (harm.log_e, safe.log_e)
    line.look()
    _, found, drawn = of(line)
    race = next(one for one in drawn.races if one.name == "errors")
    points = {point.time_us: point for point in race.points}
    assert race.points[0] == type(race.points[0])(NOW, 0, 0.0, 0.0)
    assert len(seen) == 4 and set(seen) <= set(points)
    for time_us, logs in seen.items():
        assert (points[time_us].harm, points[time_us].safe) == pytest.approx(logs, abs=1e-4)
    assert [point.units for point in race.points] == sorted(point.units for point in race.points)
    last, judged = race.points[-1], found.guardrails[0]
    assert (last.harm, last.safe) == pytest.approx((judged.log_harm, judged.log_safe), abs=1e-4)
    assert (race.harm_at, race.safe_at) == (judged.harm_at, judged.safe_at)


def test_nothing_is_decided_otherwise_because_looks_are_kept(rolling: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def run() -> list[Any]:
        line = rolling()
        line.begin()
        for _ in range(3):
            line.look()
            line.come(200)
        return [event.evidence for event in line.workspace.journal.read(action="rollout.transition", limit=100)]

    whole = run()
    monkeypatch.setattr(steer, "keep", lambda *args: None)
    assert run() == whole


def test_requests_are_counted_beside_units_and_decide_nothing(rolling: Make) -> None:
    line = rolling(rails="errors, wrong")
    line.bad = {"v1": 0.2, "v2": 0.2}
    line.begin()
    line.look()
    line.come(400)
    line.look()
    once = of(line)[1].guardrails
    line.made = 0
    line.come(400)  # the same units again, which fail by a draw of their own
    line.look()
    for before, after in zip(once, of(line)[1].guardrails, strict=True):
        assert (before.units, before.by_requests.n) == (after.units, 400) and after.by_requests.n == 800
    rail = next(one for one in kept(line.workspace).values()).rollout
    evidence = Proof(line.workspace, line.charter).look(rail, steer.standing(line.workspace, rail))
    (bad, asked), (other, rest) = evidence.rails[0].requests
    assert asked + rest == 800 and bad + other > evidence.rails[0].guard.events
    assert of(line)[1].guardrails[0].by_requests.value == pytest.approx(bad / asked / (other / rest))


# -------------------------------------------------------------------------------------------------------- told


def test_shares_states_and_what_people_did(rolling: Make) -> None:
    line = rolling()
    line.begin()
    line.look()
    line.come(300)
    line.line.ramp(0.3, actor="ann", reason="hurry")
    line.look()
    line.come(300)
    line.line.hold(actor="bob")
    line.look()
    line.come(300)
    line.line.resume(actor="bob")
    line.look()
    ask(line.workspace, "freeze", actor="eve", reason="lunch")
    line.come(10)
    line.look()
    _, _, drawn = of(line)
    assert [(one.by, one.what) for one in drawn.acts] == [
        ("ann", "begin"), ("ann", "ramp"), ("bob", "hold"), ("eve", "freeze"),
    ]  # fmt: skip
    assert [one.share for one in drawn.weights][:3] == [0.0, 0.1, 0.3]
    assert [(one.state, one.reason) for one in drawn.bands] == [
        ("draft", ""), ("preflight", ""), ("canary", ""), ("canary", "person"), ("hold", "human_gate"), ("canary", ""),
        ("frozen", "person"),
    ]  # fmt: skip
    for one, after in zip(drawn.bands, drawn.bands[1:], strict=False):
        assert one.until_us == after.since_us >= one.since_us
    assert drawn.bands[-1].until_us == drawn.until_us == line.clock.now()
    assert [one.number for one in drawn.steps] == list(range(len(drawn.steps), 0, -1)) and drawn.omitted == 0
    events = {event.sequence: event for event in line.workspace.journal.read(action="rollout.transition", limit=100)}
    assert all(events[one.sequence].reason == one.sentence for one in drawn.steps)


def test_a_rollout_that_was_taken_back_shows_what_took_it_back(rolling: Make) -> None:
    line = rolling()
    line.bad["v2"] = 0.4
    line.begin()
    line.until("rolled_back", units=300)
    one, found, drawn = of(line)
    (race,) = drawn.races
    assert found.guardrails[0].said == race.said == "harm" and found.missing == ()
    assert race.proven_us is not None and race.points[-1].harm >= race.harm_at
    assert one.rollout.since_us < drawn.until_us <= one.rollout.since_us + (one.rollout.since_us - NOW)
    assert drawn.weights[-1].share == 0.0 and drawn.bands[-1].state == "rolled_back"


def test_means_and_goals_by_themselves_race_as_well(rolling: Make) -> None:
    for live in ("v1", ""):
        line = rolling(rails="errors, worth", live=live)
        line.begin()
        line.look()
        line.come(150)
        line.look()
        one, found, drawn = of(line)
        other = (
            Proof(line.workspace, line.charter)
            .look(one.rollout, steer.standing(line.workspace, one.rollout))
            .rails[1]
            .other
        )
        assert isinstance(other, Difference if live else Alone)
        last = drawn.races[1].points[-1]
        assert (last.harm, last.safe) == pytest.approx((other.harm.log_e, other.safe.log_e), abs=1e-4) and last.harm < 0
        assert [rail.kind for rail in found.guardrails] == (["ratio", "difference"] if live else ["alone", "alone"])


def test_the_shadow_has_races_for_harm_alone(rolling: Make) -> None:
    line = rolling("shadow, canary, live")
    line.bad["v2"] = 0.5
    line.begin()
    line.until("rolled_back", units=200)
    drawn = of(line)[2]
    race = drawn.races[0]
    assert race.name == "no answer, in the shadow" and race.safe_at is None and race.said == "harm"
    assert race.harm_at == pytest.approx(-math.log(0.05 / 2 / 2))
    assert drawn.races[-1].name == "errors" and len(drawn.races[-1].points) == 1, "the canary never began"


# ------------------------------------------------------------------------------------------------- when it is hard


def test_another_controller_that_keeps_a_look_meanwhile_is_no_fault(
    rolling: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = rolling()
    line.begin()
    line.look()
    line.come(200)
    line.look()
    found = newest(line.workspace)
    assert found is not None
    evidence = Proof(line.workspace, line.charter).look(found.rollout, steer.standing(line.workspace, found.rollout))
    before = line.workspace.states.get(COURSE, found.rollout.name, Course)
    assert before is not None
    late = replace(evidence, as_of_us=evidence.as_of_us + 10**9)
    with monkeypatch.context() as patched:
        patched.setattr(line.workspace.states, "get", lambda *args: (before[0], before[1] - 1))
        keep(line.workspace, found.rollout, late)
    assert line.workspace.states.get(COURSE, found.rollout.name, Course) == before
    keep(line.workspace, found.rollout, late)
    after = line.workspace.states.get(COURSE, found.rollout.name, Course)
    assert after is not None and after[0].sights[-1].time_us == late.as_of_us


def test_an_event_that_cannot_be_read_is_named(rolling: Make) -> None:
    line = rolling()
    line.begin()
    line.look()
    event = line.workspace.journal.append("rollout.transition", "v2#1", "eve", "", {"rollout": 5})
    with pytest.raises(Corrupt, match=f"event {event.sequence} of the journal, v2#1"):
        of(line)


def made(before: Any, after: Any, reason: str = "") -> Transition:
    return Transition(4, before, after, after, reason, "")


@pytest.mark.parametrize(
    ("transition", "word", "who"),
    [
        (made("canary", "canary"), None, ("", "")),
        (made("canary", "canary", "person"), None, ("ann", "ramp")),
        (made("canary", "hold", "human_gate"), None, ("ann", "ramp")),
        (made("canary", "frozen", "person"), Word("freeze", "bob"), ("bob", "freeze")),
        (made("frozen", "canary"), Word("resume", "bob"), ("bob", "resume")),
        (made("hold", "settled", "person"), Word("resume", "bob"), ("bob", "resume")),
        (made("canary", "rolling_back", "harm"), Word("freeze", "bob"), ("", "")),
        (made("canary", "canary", "person"), Word("freeze", "bob"), ("ann", "ramp")),
    ],
)
def test_who_caused_a_transition(transition: Transition, word: Word | None, who: tuple[str, str]) -> None:
    line = Standing(9, "v1", "v2", 0.3, actor="ann", action="ramp")
    assert actor_of(transition, Evidence(line, word=word)) == who


def test_what_begins_in_the_middle_says_no_more_than_it_knows(rolling: Make) -> None:
    line = rolling()
    rollout: Rollout = line.begin()
    step = Step(40, NOW + 5, "canary", "hold", "no_data", "", "", 0.1, "", "", 9)
    assert weights(rollout, [step])[0].time_us == NOW + 5 and bands(rollout, [step], NOW + 9)[0].state == "hold"
    back = Step(41, NOW + 2, "hold", "canary", "", "", "", 0.2, "", "", 10)  # event time was set back
    assert [one.time_us for one in weights(rollout, [step, back])] == [NOW + 5, NOW + 5]
    assert [(one.since_us, one.until_us) for one in bands(rollout, [step, back], NOW + 4)] == [
        (NOW + 5, NOW + 5), (NOW + 5, NOW + 5),
    ]  # fmt: skip
