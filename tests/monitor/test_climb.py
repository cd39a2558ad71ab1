"""Degrees of automation on a line: a broken promise is taken back at once, evidence rises by suggestion, a person wins."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.monitor.ladder_rig import Climbing, charter

from andon.core.record import Event
from andon.deploy.ladder import Facts, Rules, decide
from andon.deploy.ladder_evidence import rungs
from andon.errors import Unavailable
from andon.monitor import climb as climb_module
from andon.monitor.climb import MOVE, Move
from andon.monitor.controller import Controller
from andon.surface.view.journal_words import told

Make = Callable[..., Climbing]


def replays(event: Event) -> None:
    """What the journal keeps is all that the level was decided from."""
    rules, facts = msgspec.convert(event.evidence["rules"], Rules), msgspec.convert(event.evidence["facts"], Facts)
    assert msgspec.to_builtins(decide(rules, facts)) == event.evidence["rung"]


def test_a_broken_promise_is_taken_back_in_its_slice_alone(climbing: Make) -> None:
    line = climbing()
    line.come(2000)
    assert line.climb.turn() == [] and line.level("older") == line.level() == "full"
    assert line.rung("older").drawn == line.rung("older").error.n > 150 and line.rung("older").why == "top"
    line.wrong["older"] = 0.9
    line.come(2500)
    said = line.climb.turn()
    assert len(said) == 1 and said[0].startswith(
        "automation of older goes from full to partial: more automatic answers"
    )
    assert line.level("older") == "partial" and line.level() == "full"
    route = line.route
    assert (route.actor, route.action) == ("controller", "automate")
    # What it is sure of was right still: from there on it decides, the rest goes to people.
    assert 0.85 < route.thresholds["v1/older"] <= 0.95
    assert line.events("automation.demote") == [route.reason] and "audited automatic answers" in route.reason
    event = line.workspace.journal.latest(1, action="automation.demote")[0]
    assert (event.subject, event.evidence["from"], event.evidence["to"]) == ("v1/older", "full", "partial")
    replays(event)
    line.notifier.flush(1)
    assert line.sent == ["screening: older goes down to partial"]
    assert line.climb.turn() == [] and line.workspace.states.list(MOVE, Move) == {}
    assert line.rung("older").error.n == 0, "what was measured before is about another level"


@pytest.mark.slow
def test_what_was_right_before_the_breach_shows_nothing_of_after_it(climbing: Make) -> None:
    """The few cases that show the breach are too few for a threshold, and the many good ones before are no help."""
    line = climbing()
    line.come(3000)
    line.wrong["older"] = 0.9
    line.come(400)
    assert "automation of older goes from full to assist" in line.climb.turn()[0]
    assert "v1/older" not in line.route.thresholds


def test_the_controller_does_it_and_tells_whom_alarms_tell(climbing: Make) -> None:
    line = climbing()
    line.wrong["*"] = 0.9
    line.come(3000)
    said: list[str] = []
    controller = Controller(line.workspace, line.charter, notifier=line.notifier, say=said.append)
    controller.turn()
    assert line.level() == "partial" and line.level("older") == "full"
    assert any(sentence.startswith("automation of everything goes from full to partial") for sentence in said)
    controller.turn()
    assert line.sent == ["screening: everything goes down to partial"]
    told_of = line.workspace.journal.latest(1, action="alarm.notified")[0]
    assert told(told_of).startswith("a notice of automation in all other cases: https://example.org was told")
    controller.run(lambda: True)


@pytest.mark.slow
def test_at_level_partial_people_decide_again_and_the_threshold_is_gone(climbing: Make) -> None:
    line = climbing(older="shadow")
    line.come(2500)
    line.line.automate("partial", "older", actor="ann")
    first = line.route.thresholds["v1/older"]
    assert first < 0.9
    line.wrong["older"] = 1.5
    line.come(800)
    assert "goes from partial to assist" in line.climb.turn()[0]
    assert line.level("older") == "assist" and line.route.thresholds == {}
    again = line.line.automate("partial", "older", actor="ann")
    assert again.route.thresholds == {}, "nothing that was known until the breach earns it back"


@pytest.mark.slow
def test_truth_by_people_is_that_of_the_audit(climbing: Make) -> None:
    line = climbing(truth="human", older="partial")
    line.wrong["*"] = 0.8
    line.come(3000)
    assert "automation of everything goes from full to" in line.climb.turn()[0]
    found = line.rung().error
    assert found.value is not None and 0.2 < found.value < 0.5
    waits = climbing(truth="human")
    waits.wrong["*"] = 0.9
    waits.come(1500, truth=False)
    assert waits.climb.turn() == [] and waits.rung().error.value is None
    assert waits.rung().drawn > 200 and "nobody said yet what is right" in str(waits.rung().error)


def test_nothing_rises_by_itself_unless_the_charter_says_so(climbing: Make) -> None:
    line = climbing(level="shadow", older="shadow")
    line.come(2000)
    assert line.climb.turn() == []
    rung = line.rung()
    assert (rung.level, rung.to, rung.kind, rung.automatic) == ("shadow", "assist", "promote", False)
    assert rung.threshold is not None and rung.coverage is not None and rung.coverage > 0.5
    assert "automation.promote" in rung.held and line.level() == "shadow"
    looks = line.workspace.journal.read(action="automation.learn", limit=100)
    assert [event.subject for event in looks] == ["v1/older", "v1/*"]
    line.come(100)
    line.climb.turn()
    assert len(line.workspace.journal.read(action="automation.learn", limit=100)) == 2, (
        "too few are new for another look"
    )
    line.come(1200)
    line.climb.turn()
    assert len(line.workspace.journal.read(action="automation.learn", limit=100)) == 4


def test_one_level_at_a_time_on_evidence_since_the_last_change(climbing: Make) -> None:
    line = climbing(
        level="shadow", older="human", automation="promote: automatic, path: [human, shadow, assist, partial]"
    )
    line.come(2000)
    said = line.climb.turn()
    assert [line.level("older"), line.level()] == ["human", "assist"] and len(said) == 1
    assert line.climb.turn() == [], "what was known before the change does not count again"
    line.come(2000)
    line.climb.turn()
    assert [line.level("older"), line.level()] == ["human", "partial"], "the charter names a level for older"
    assert line.route.thresholds["v1/*"] > 0
    assert len(line.events("automation.promote")) == 2
    for event in line.workspace.journal.read(action="automation.promote", limit=9):
        replays(event)
    assert "raises" not in line.rung().held
    line.come(2500)
    line.climb.turn()
    line.come(3000)
    line.climb.turn()
    assert line.level() == "partial" and line.rung().why == "top"


@pytest.mark.slow
def test_full_is_earned_by_all_answers_and_left_to_people_by_default(climbing: Make) -> None:
    line = climbing(level="shadow", older="shadow", automation="promote: automatic")
    line.come(2500)
    line.climb.turn()
    line.line.automate("partial", actor="ann")
    assert line.level() == "partial"
    line.come(100)
    line.climb.turn()
    waits = line.rung()
    assert waits.why == "evidence" and waits.labels_needed is not None and waits.labels < waits.labels_needed
    assert waits.eta_hours is not None and 1 < waits.eta_hours < 100
    line.come(4000)
    line.climb.turn()
    rung = line.rung()
    assert (rung.to, rung.kind, rung.automatic) == ("full", "promote", False), rung.reason
    assert "automation.highest" in rung.held and line.level() == "partial"
    free = climbing(level="shadow", older="shadow", automation="promote: automatic, highest: full")
    free.come(2500)
    free.line.automate("partial", actor="ann")
    free.come(5000)
    free.climb.turn()
    assert free.level() == "full" and free.events("automation.promote")[-1].startswith("of ")


@pytest.mark.slow
def test_what_a_person_lowered_stays_down(climbing: Make) -> None:
    line = climbing(level="partial", older="shadow", automation="promote: automatic")
    line.line.automate("shadow", actor="ann", reason="I do not like it")
    line.come(2500)
    line.climb.turn()
    assert line.level() == "shadow" and "ann lowered it" in line.rung().held
    assert line.level("older") == "shadow" and "automation.slices" in line.rung("older").held
    line.line.automate("assist", actor="bob")
    line.come(2500)
    line.climb.turn()
    assert line.level() == "partial", "a person raised it, so the way is open"


def test_a_person_who_was_quicker_wins(climbing: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    line = climbing()
    line.wrong["*"] = 0.9
    line.come(3000)
    real = climb_module.Climb._do

    def quicker(self: Any, slice: str, rung: Any) -> None:
        line.line.automate("human", slice, actor="ann")
        real(self, slice, rung)

    monkeypatch.setattr(climb_module.Climb, "_do", quicker)
    assert line.climb.turn() == []
    assert line.level() == "human" and line.route.actor == "ann"
    assert line.events("automation.demote") == [] and line.workspace.states.list(MOVE, Move) == {}


@pytest.mark.slow
@pytest.mark.parametrize("place", ["before", "after", "told"])
def test_a_crash_at_each_step_ends_in_the_same_state(
    climbing: Make, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = climbing()
    line.wrong["*"] = 0.9
    line.come(3000)
    real_do, real_delete = climb_module.Climb._do, type(line.workspace.states).delete

    def do(self: Any, slice: str, rung: Any) -> None:
        if place == "before":
            raise SystemExit
        real_do(self, slice, rung)

    def tell(self: Any, *given: Any) -> None:
        raise SystemExit

    def delete(self: Any, kind: str, key: str) -> bool:
        raise SystemExit

    with monkeypatch.context() as killed:
        killed.setattr(climb_module.Climb, "_do", do)
        if place == "after":
            killed.setattr(climb_module.Climb, "_tell", tell)
        if place == "told":
            killed.setattr(type(line.workspace.states), "delete", delete)
        with pytest.raises(SystemExit):
            line.climb.turn()
    assert len(line.workspace.states.list(MOVE, Move)) == 1
    line.come(50)
    line.climb = line.leader()
    assert len(line.climb.turn()) == 1 and line.climb.turn() == []
    assert line.level() == "partial" and line.route.actor == "controller"
    assert len(line.events("automation.demote")) == 1
    automated = [route for route in line.workspace.routes.history() if route.action == "automate"]
    assert len(automated) == 1
    assert type(line.workspace.states).delete is real_delete


def test_what_cannot_be_done_is_told_and_tried_again(climbing: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    line = climbing()
    line.wrong["*"] = 0.9
    line.come(3000)

    def broken(self: Any, slice: str, rung: Any) -> None:
        raise Unavailable("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(climb_module.Climb, "_do", broken)
        assert line.climb.turn() == ["automation of everything could not be set to partial: the disk is full"]
    assert line.events("automation.failed") == ["demote to partial: the disk is full"]
    assert line.climb.turn() == [], "not at once"
    with (
        monkeypatch.context() as patched
    ):  # each try leaves routes behind, and another leader tries: it is the same trouble
        patched.setattr(climb_module.Climb, "_do", broken)
        for _ in range(3):
            line.workspace.routes.publish(
                msgspec.structs.replace(line.route, epoch=line.route.epoch + 1, action="warm")
            )
            line.climb = line.leader()
            assert len(line.climb.turn()) == 1
    assert len(line.events("automation.failed")) == 1
    line.climb = line.leader()
    line.climb.turn()
    assert line.level() == "partial"


@pytest.mark.parametrize("failed", ["promote", "demote"])
def test_a_broken_promise_waits_for_no_rise_that_failed(climbing: Make, failed: str) -> None:
    line = climbing()
    line.wrong["*"] = 0.9
    line.come(1500)
    line.climb._later["*"] = time.monotonic() + 3600, 1, failed
    line.climb.turn()
    assert line.level() == ("assist" if failed == "promote" else "full")


def test_with_the_database_gone_a_broken_promise_is_taken_back_all_the_same(
    climbing: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = climbing()
    line.come(1500)

    class Gone:
        def __getattr__(self, name: str) -> Any:
            raise Unavailable("the database is gone")

    with monkeypatch.context() as patched:
        for part in ("states", "journal", "records", "items"):
            patched.setattr(line.workspace, part, Gone())
        assert line.climb.without_database() == [], "a good one is left alone"
        line.wrong["*"] = 0.9
        line.come(1500)
        (said,) = line.climb.without_database()
        assert said.startswith("with the database gone, automation of everything goes from full to assist: more")
        assert line.level() == "assist" and line.level("older") == "full"
        assert line.climb.without_database() == []
    assert line.climb.turn() == [] and len(line.events("automation.demote")) == 1
    line.notifier.flush(1)
    assert line.sent == ["screening: everything goes down to assist"]
    line.climb.turn()
    assert len(line.events("automation.demote")) == 1


@pytest.mark.slow
def test_people_who_could_not_decide_the_rest_hold_back_nothing_that_leaves_them_less(climbing: Make) -> None:
    line = climbing(level="assist", older="human", more="review: {reviewers_per_hour: 1500}")
    line.wrong["*"] = 0.2
    line.come(2500)
    line.climb.turn()
    rung = line.rung()
    assert (rung.why, rung.to) == ("earned", "partial") and rung.threshold is not None, rung.reason
    assert "review.reviewers_per_hour" in rung.reason and rung.reason.endswith("no fewer are left to them as it is")
    assert rung.capacity.allowed is not None
    line.charter = charter(level="assist", older="human", more="review: {reviewers_per_hour: 5000}")
    line.climb = line.leader()
    line.climb.turn()
    assert line.rung().to == "partial" and "review.reviewers_per_hour" not in line.rung().reason


@pytest.mark.slow
def test_who_errs_less_is_told_by_slice(climbing: Make) -> None:
    line = climbing(truth="human", level="shadow", older="shadow")
    line.wrong = {"*": 0.0, "older": 1.0}
    line.come(1500, second=0.5)
    line.climb.turn()
    older, rest = line.rung("older"), line.rung()
    assert older.human_error is not None and older.model_error is not None and rest.model_error is not None
    assert older.human_error.value == 0.0 and older.model_error.value is not None and older.model_error.value > 0.3
    assert rest.model_error.value == 0.0
    known = climbing(level="shadow", older="shadow")
    known.come(800)
    known.climb.turn()
    human, model = known.rung().human_error, known.rung().model_error
    assert human is not None and model is not None and human.n == model.n > 300 and human.value == 0.0


def test_a_line_that_has_not_begun_and_one_without_a_release(tmp_path: Path, climbing: Make) -> None:
    line = climbing(level="human", older="human", live=False)
    assert line.climb.turn() == [] and line.rung().why == "release"
    found = rungs(line.workspace, line.charter)
    assert [one.slice for one in found.rungs] == ["older", "*"] and found.epoch == line.route.epoch
