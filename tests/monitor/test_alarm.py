from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.core.verdict import Verdict
from andon.errors import Conflict
from andon.measure.estimate import wilson
from andon.measure.gate import Bound, GateResult, could_not_measure, gate
from andon.monitor.alarm import Alarm, AlarmAction, Phase, Rule, Seen, What, acknowledge, settle, step

BOUND = Bound.parse("<= 0.06")
VERDICTS = {"F": wilson(30, 100), "P": wilson(0, 1000), "U": wilson(1, 10)}


def result(sign: str, cohort: str = "") -> GateResult:
    if sign == "E":
        return could_not_measure("error", "the log can not be read", BOUND, cohort)
    return gate("error", VERDICTS[sign], BOUND, cohort)


def play(signs: str, rule: Rule, *, settled: bool = True) -> tuple[Alarm, list[Phase], list[What]]:
    """The last state, the phases gone through, and every action."""
    state: dict[str, Alarm] = {}
    phases: list[Phase] = []
    done: list[What] = []
    for window, sign in enumerate(signs):
        state, actions = step(state, [Seen(result(sign), window * 10, rule)], window * 10 + 10)
        for action in actions:
            done.append(action.what)
            if settled:
                state[action.alarm.key] = settle(state[action.alarm.key], action.what)
        phases.append(state["error"].phase)
    return state["error"], phases, done


def test_the_verdicts_used_here() -> None:
    assert [result(sign).verdict for sign in "FPUE"] == [Verdict.FAIL, Verdict.PASS, Verdict.UNSURE, Verdict.ERROR]


@pytest.mark.parametrize(
    ("signs", "rule", "phases", "done"),
    [
        ("F", Rule(), ["firing"], ["fired"]),
        ("FF", Rule(for_windows=2), ["pending", "firing"], ["fired"]),
        ("FPFF", Rule(for_windows=2), ["pending", "inactive", "pending", "firing"], ["fired"]),
        ("FUF", Rule(for_windows=2), ["pending", "pending", "firing"], ["fired"]),
        ("FEF", Rule(for_windows=2), ["pending", "pending", "firing"], ["fired"]),
        ("FFF", Rule(), ["firing"] * 3, ["fired"]),
        ("FP", Rule(), ["firing", "resolved"], ["fired", "resolved"]),
        ("FPF", Rule(), ["firing", "resolved", "firing"], ["fired", "resolved", "fired"]),
        ("FPP", Rule(resolve_after=2), ["firing", "recovering", "resolved"], ["fired", "resolved"]),
        (
            "FPFPP",
            Rule(resolve_after=2),
            ["firing", "recovering", "firing", "recovering", "resolved"],
            ["fired", "resolved"],
        ),
        ("FU", Rule(), ["firing", "firing"], ["fired"]),
        ("F", Rule(then="rollback"), ["firing"], ["fired", "rollback"]),
        (
            "FPF",
            Rule(then="people"),
            ["firing", "resolved", "firing"],
            ["fired", "people", "resolved", "fired", "people"],
        ),
        ("UEPU", Rule(), ["inactive"] * 4, []),
    ],
)
def test_the_life_of_an_alarm(signs: str, rule: Rule, phases: list[str], done: list[str]) -> None:
    _, went, did = play(signs, rule)
    assert (went, did) == (phases, done)


def test_what_is_owed_is_given_out_until_it_is_settled() -> None:
    state, first = step({}, [Seen(result("F"), 0, Rule(then="people"))], 1)
    state, again = step(state, [], 2)
    assert [a.what for a in again] == [a.what for a in first] == ["fired", "people"]
    state["error"] = settle(state["error"], "fired")
    assert [a.what for a in step(state, [], 3)[1]] == ["people"]


def test_a_window_counts_once_however_often_it_is_measured() -> None:
    rule = Rule(for_windows=2)
    state, _ = step({}, [Seen(result("F"), 0, rule)], 1)
    for now in range(5):
        state, actions = step(state, [Seen(result("F"), 0, rule)], now)
        assert not actions and state["error"].phase == "pending"
    state, _ = step(state, [Seen(result("P"), 0, rule)], 9)
    assert state["error"].phase == "inactive"


def test_an_older_window_changes_nothing() -> None:
    state, _ = step({}, [Seen(result("P"), 50)], 60)
    assert step(state, [Seen(result("F"), 40)], 61)[0] == state


def test_windows_that_come_together_count_in_their_order() -> None:
    seen = [Seen(result("P"), 20), Seen(result("F"), 10), Seen(result("F"), 0)]
    state, _ = step({}, seen, 30)
    assert state["error"].phase == "resolved" and state["error"].episode == 1


def test_cohorts_have_alarms_of_their_own() -> None:
    state, actions = step({}, [Seen(result("F", "older"), 0), Seen(result("P"), 0)], 1)
    assert {key: alarm.phase for key, alarm in state.items()} == {"error": "inactive", "error/older": "firing"}
    assert [action.alarm.key for action in actions] == ["error/older"]


def test_acknowledging_is_for_this_firing_only() -> None:
    alarm = acknowledge(play("F", Rule())[0], "ann", 7, "known")
    assert (alarm.acknowledged_by, alarm.acknowledged_us, alarm.note) == ("ann", 7, "known")
    state, _ = step({"error": alarm}, [Seen(result("P"), 10)], 20)
    assert state["error"].acknowledged_by == "ann"
    with pytest.raises(Conflict, match="resolved"):
        acknowledge(state["error"], "ann", 8)
    state, _ = step(state, [Seen(result("F"), 20)], 30)
    assert state["error"].acknowledged_by == "" and state["error"].note == ""


@settings(deadline=None)
@given(st.text("FPUE", max_size=30), st.integers(1, 4), st.integers(1, 4))
def test_laws_of_every_story(signs: str, for_windows: int, resolve_after: int) -> None:
    if not signs:
        return
    rule = Rule(for_windows, resolve_after, "people")
    alarm, phases, done = play(signs, rule)
    assert done.count("fired") == done.count("people") == alarm.episode
    assert done.count("fired") - done.count("resolved") == (1 if alarm.active else 0)
    known = signs.replace("U", "").replace("E", "")
    assert ("F" * for_windows in known) == (alarm.episode > 0)
    assert all(
        (phase in ("firing", "recovering")) is False
        for phase, sign in zip(phases[:1], signs[:1], strict=True)
        if sign != "F"
    )
    assert msgspec.json.decode(msgspec.json.encode(alarm), type=Alarm) == alarm


def test_a_step_changes_neither_its_input_nor_its_mind() -> None:
    state, _ = step({}, [Seen(result("F"), 0)], 1)
    before = dict(state)
    first = step(state, [Seen(result("P"), 10)], 20)
    assert state == before and step(state, [Seen(result("P"), 10)], 20) == first
    assert isinstance(first[1][0], AlarmAction)


def test_what_is_done_tells_of_the_window_that_rang_not_of_the_last_one_looked_at() -> None:
    """A controller that comes late judges several windows at once."""
    seen = [Seen(result(sign), window, Rule(then="people")) for window, sign in enumerate("FU")]
    _, actions = step({}, seen, 5)
    assert [action.what for action in actions] == ["fired", "people"]
    assert {action.sentence for action in actions} == {result("F").sentence}
    _, actions = step({}, [*seen, Seen(result("P"), 2, Rule())], 5)
    assert [(action.what, action.result) for action in actions][::2] == [
        ("fired", result("F")),
        ("resolved", result("P")),
    ]


def test_the_window_it_fired_for_is_noted_until_it_fires_again() -> None:
    assert play("PFF", Rule())[0].cause_us == 10
    assert play("FPF", Rule())[0].cause_us == 20
