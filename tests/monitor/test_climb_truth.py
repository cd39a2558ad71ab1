"""The ladder where truth comes late, never, or from people who saw the answer, and where a promise was broken before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from tests.monitor.ladder_rig import Climbing

from andon.core.clock import DAY
from andon.deploy.ladder_evidence import Ladder, kept
from andon.deploy.learning import Learnt
from andon.errors import Corrupt, NotFound, Unavailable
from andon.monitor.climb import MOVE, Climb, Move

Make = Callable[..., Climbing]


@pytest.mark.parametrize("truth", ["external", "human"])
def test_what_was_known_before_a_breach_earns_nothing_after_it(climbing: Make, truth: str) -> None:
    """The labels that earned the broken threshold, and the look at them, count no more: for the offer and for a person."""
    line = climbing(truth=truth, level="shadow", older="shadow")
    line.come(2500)
    line.climb.turn()
    line.line.automate("partial", "older", actor="ann")
    assert line.route.thresholds["v1/older"] < 0.9
    line.wrong["older"] = 1.5
    line.come(800)
    assert "goes from partial to assist" in line.climb.turn()[0]
    line.climb.turn()
    assert line.rung("older").kind == "stay" and line.rung("older").why == "labels"
    act = line.line.automate("partial", "older", actor="ann")
    assert act.route.thresholds == {} and "decides nothing by itself" in act.notes[0]


def test_new_cases_earn_it_again_after_a_breach(climbing: Make) -> None:
    line = climbing(level="shadow", older="shadow")
    line.come(2500)
    line.line.automate("partial", "older", actor="ann")
    first = line.route.thresholds["v1/older"]
    line.wrong["older"] = 0.9
    line.come(1500)
    line.climb.turn()
    assert line.level("older") == "assist"
    line.come(2500)
    line.climb.turn()
    rung = line.rung("older")
    assert (rung.kind, rung.to) == ("promote", "partial") and rung.threshold is not None
    assert first < 0.85 < rung.threshold, "what it is sure of is right still"


def test_a_look_that_is_too_old_keeps_nobody_from_looking_again(climbing: Make) -> None:
    line = climbing(level="shadow", older="shadow", partial="evidence: 2d")
    line.come(2000, seconds=DAY / 1e6)
    line.climb.turn()
    assert line.rung().kind == "promote"
    line.clock.advance(1.5 * DAY / 1e6)
    line.come(2000, seconds=DAY / 1e6)
    line.climb.turn()
    assert line.rung().kind == "promote", line.rung().reason
    events = line.workspace.journal.read(action="automation.learn", limit=9)
    looks = [msgspec.convert(event.evidence, Learnt).look for event in events]
    assert looks == [1, 1, 2, 2], "as many cases, but others: another look, and it costs"


FULL = "promote: automatic, highest: full"


def at_partial(line: Climbing) -> None:
    """Everything is at level partial with a threshold that cuts off what the model is not sure of."""
    line.line.automate("partial", actor="ann", thresholds={"v1/*": 0.9})
    line.line.automate("partial", "older", actor="ann", thresholds={"v1/older": 0.9})


@pytest.mark.parametrize(
    ("truth", "partial", "late", "why"),
    [
        ("human", "blind: false", (), "unjudged"),
        ("human", "", ("deferred",), "unjudged"),
        ("external", "", ("deferred",), "unjudged"),
        ("external", "", ("audited",), "people"),
    ],
)
def test_full_is_not_earned_on_the_easy_cases_alone(
    climbing: Make, truth: str, partial: str, late: tuple[str, ...], why: str
) -> None:
    line = climbing(truth=truth, level="partial", older="partial", automation=FULL, partial=partial)
    at_partial(line)
    line.wrong = {"*": 0.5, "older": 0.5}
    line.come(2500, late=late, second=0.2)
    line.climb.turn()
    assert line.level() == line.level("older") == "partial"
    assert (line.rung().kind, line.rung().why) == ("stay", why), line.rung().reason


def test_truth_that_comes_late_earns_full_once_it_is_there(climbing: Make) -> None:
    line = climbing(level="partial", older="partial", automation=FULL)
    at_partial(line)
    line.come(2500, late=("audited", "deferred"))
    line.climb.turn()
    assert line.rung().why == "labels" and line.level() == "partial"
    line.tell()
    line.climb.turn()
    assert line.rung("*").kind == "promote" and line.level() == "full"


def test_a_level_that_the_charter_gives_a_slice_is_a_ceiling(climbing: Make) -> None:
    line = climbing(level="human", older="human", automation="promote: automatic")
    said = line.climb.turn()
    assert [line.level("older"), line.level()] == ["human", "shadow"] and len(said) == 1
    assert "automation.slices" in line.rung("older").held


def test_a_route_that_cannot_be_read_raises_nothing_and_is_read_again(
    climbing: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = climbing(level="human", older="human", automation="promote: automatic")
    line.line.automate("shadow", actor="ann")
    line.line.automate("human", actor="ann")
    real, faults = line.workspace.routes.at, {3: Unavailable("the disk hangs"), 2: NotFound("no such route")}

    def at(epoch: int) -> Any:
        if epoch in faults:
            raise faults[epoch]
        return real(epoch)

    with monkeypatch.context() as patched:
        patched.setattr(line.workspace.routes, "at", at)
        ladder = Ladder(line.workspace, line.charter)
        (rung,) = [one for one in ladder.look().rungs if one.slice == "*"]
        assert not rung.automatic and rung.held == "route 3 cannot be read: the disk hangs"
        del faults[3]
        (rung,) = [one for one in ladder.look().rungs if one.slice == "*"]
        assert "ann lowered it" in rung.held, "a passing fault is not remembered"


def test_a_threshold_after_a_breach_is_a_look_that_is_written_down(climbing: Make) -> None:
    line = climbing()
    line.come(1500)
    line.climb.turn()
    line.wrong["older"] = 0.9
    line.come(2500)
    line.climb.turn()
    assert line.level("older") == "partial"
    events = line.workspace.journal.read(action="automation.learn", subject="v1/older", limit=9)
    found = [msgspec.convert(event.evidence, Learnt) for event in events]
    assert [(one.look, one.source.split(" until")[0]) for one in found] == [(1, "audited answers")]
    assert found[0].value == line.route.thresholds["v1/older"] and found[0].threshold.delta == pytest.approx(0.025)


def test_a_rise_that_was_not_made_is_decided_anew(climbing: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    line = climbing(level="human", older="human", automation="promote: automatic")

    def killed(self: Any, slice: str, rung: Any) -> None:
        raise SystemExit

    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(Climb, "_do", killed)
        line.climb.turn()
    assert len(line.workspace.states.list(MOVE, Move)) == 1
    line.line.stop(actor="ann")
    line.climb = line.leader()
    assert line.climb.turn() == [] and line.level() == "human"
    assert line.workspace.states.list(MOVE, Move) == {} and line.events("automation.promote") == []


def test_what_fails_again_and_again_is_told_once(climbing: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    line = climbing()
    line.wrong["*"] = 0.9
    line.come(1000)

    def full(self: Any, slice: str, rung: Any) -> None:
        raise Unavailable("the disk is full")

    def damaged(self: Any, *given: Any, **more: Any) -> None:
        raise Corrupt("a row of the log is damaged")

    with monkeypatch.context() as patched:
        patched.setattr(Climb, "_do", full)
        for _ in range(2):
            line.clock.advance(60)
            line.climb._due = 0.0
            line.climb._later.clear()  # half a minute has passed
            assert "the disk is full" in line.climb.turn()[0]
    assert len(line.events("automation.failed")) == 1
    with monkeypatch.context() as patched:
        patched.setattr(Ladder, "look", damaged)
        for _ in range(2):
            line.climb._due = 0.0
            assert line.climb.turn() == ["the degrees of automation cannot be judged: a row of the log is damaged"]
    assert line.events("automation.failed")[1:] == ["the levels cannot be judged: a row of the log is damaged"]
    line.notifier.flush(1)
    assert line.sent == ["screening: the degrees of automation cannot be judged"]


def test_a_look_reads_no_more_than_a_window_and_stays_young(climbing: Make) -> None:
    line = climbing(partial="evidence: 2d")
    line.wrong["*"] = 0.2
    line.come(300, seconds=DAY / 1e6)
    line.climb.turn()
    first = line.rung().drawn
    line.clock.advance(61)
    line.climb.turn()
    assert kept_at(line) == line.clock.now() and line.rung().drawn == first > 50
    line.clock.advance(DAY / 1e6)
    line.climb.turn()
    assert line.rung().drawn == first, "what was found in the last window is looked at for one more"
    line.clock.advance(2 * DAY / 1e6)
    line.come(40, seconds=600)
    line.climb.turn()
    assert 0 < line.rung().drawn < 30, "a window ends, and evidence begins anew"


def kept_at(line: Climbing) -> int:
    """As of when what is shown was found."""
    found = kept(line.workspace)
    assert found is not None
    return found.as_of_us
