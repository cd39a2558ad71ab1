"""The machine's clock is believed as far as the line has lived, and a tenth of the promise at most without a person."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from andon.core.clock import DAY, HOUR, SECOND, ManualClock
from andon.monitor.believed import Belief, Believed, believe, believed_us, confirm, most_ahead_us
from andon.store.workspace import Workspace

START = 1_583_884_800_000_000
MOST = most_ahead_us(30)


@pytest.mark.parametrize(("ahead", "believed"), [(-DAY, True), (0, True), (HOUR, True), (HOUR + 1, False)])
def test_an_hour_more_than_was_lived_is_believed_at_once(ahead: int, believed: bool) -> None:
    now = believe(Belief(START), START + 600 * SECOND + ahead, 600.0, MOST)
    assert (now.ahead_us == 0) is believed
    assert now.wall_us == (max(START, START + 600 * SECOND + ahead) if believed else START + 600 * SECOND)


@pytest.mark.parametrize(
    ("ahead", "lived", "believed"), [(MOST, 3600, True), (MOST, 3599.9, False), (MOST + 1, 1e6, False)]
)
def test_a_tenth_of_the_promise_is_believed_after_an_hour(ahead: int, lived: float, believed: bool) -> None:
    first = believe(Belief(START), START + ahead, 0.0, MOST)
    assert (first.wall_us, first.ahead_us, first.waited) == (START, ahead, 0.0)
    then = believe(first, START + ahead + round(lived * SECOND), lived, MOST)
    assert (then.ahead_us == 0) is believed
    assert then.wall_us == START + round(lived * SECOND) + (ahead if believed else 0)


def test_a_clock_that_leaps_again_waits_again() -> None:
    first = believe(Belief(START), START + 2 * HOUR, 0.0, MOST)
    waiting = believe(first, START + 2 * HOUR + 3000 * SECOND, 3000.0, MOST)
    assert waiting.waited == 3000.0
    leapt = believe(waiting, START + 2 * DAY + 3600 * SECOND, 600.0, MOST)
    assert (leapt.waited, leapt.ahead_us) == (0.0, 2 * DAY)


def test_one_that_is_set_right_again_is_believed_and_nothing_was_lost() -> None:
    doubted = believe(Belief(START), START + 365 * DAY, 0.0, MOST)
    assert believe(doubted, START + 600 * SECOND, 600.0, MOST) == Belief(START + 600 * SECOND)
    behind = believe(Belief(START), START - 50 * 365 * DAY, 600.0, MOST)  # it began in 1970, then came right
    assert believe(behind, START + 1200 * SECOND, 600.0, MOST) == Belief(START + 1200 * SECOND)


@given(
    ahead=st.integers(MOST + HOUR + 1, 10**4 * DAY),
    rounds=st.lists(st.floats(0, 5000), max_size=30),
    at=st.integers(0, 30),
)
def test_a_leap_is_never_believed_by_itself(ahead: int, rounds: list[float], at: int) -> None:
    """Whenever it comes, with whatever pauses between the looks: time goes on as far as the line lives."""
    now, lived = Belief(START), 0
    for number, seconds in enumerate(rounds):
        lived += round(seconds * SECOND)
        now = believe(now, START + lived + (ahead if number >= at else 0), seconds, MOST)
        assert now.wall_us == START + lived
        assert now.ahead_us == (ahead if number >= at else 0)


class Leaping(ManualClock):
    """A machine's clock that leaps."""

    def __init__(self, now: int) -> None:
        super().__init__(now)
        self.leapt = 0

    def leap(self, us: int) -> None:
        self._now += us
        self.leapt += us

    def monotonic(self) -> float:
        return (self._now - self.leapt) / SECOND


def test_what_is_believed_is_kept_between_processes_and_a_person_ends_a_doubt(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / ".andon")
    real, workspace.clock = workspace.clock, Leaping(START)  # type: ignore[assignment]
    clock: Leaping = workspace.clock  # type: ignore[assignment]
    assert believed_us(workspace, 30) == (START, 0)
    assert Believed(workspace, 30).look() == Belief(START)
    clock.leap(365 * DAY)
    for _ in range(3):  # each a new leader
        Believed(workspace, 30).look()
    believed = Believed(workspace, 30)
    assert (believed.wall_us(), believed.now_us()) == (START, START)
    clock.advance(60)
    assert believed.now_us() == START + 60 * SECOND
    assert believed_us(workspace, 30) == (START, 365 * DAY)
    told = workspace.journal.read(action="clock.doubted")
    assert len(told) == 1 and told[0].reason.startswith("it is 365 days ahead of what this line has lived through")
    assert (
        confirm(workspace, "ann", "it stood in a cellar")
        == "noted: the machine's clock is right, it is 2021-03-11T00:01:00Z"
    )
    assert believed.look() == Belief(clock.wall()) and believed.now_us() == clock.now()
    assert believed_us(workspace, 30) == (clock.now(), 0)
    (event,) = workspace.journal.read(action="clock.confirmed")
    assert (event.actor, event.reason, event.evidence["ahead_us"]) == ("ann", "it stood in a cellar", 365 * DAY)
    workspace.clock = real
    workspace.close()


def test_between_two_looks_a_leap_is_worth_an_hour(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / ".andon")
    real, workspace.clock = workspace.clock, Leaping(START)  # type: ignore[assignment]
    clock: Leaping = workspace.clock  # type: ignore[assignment]
    believed = Believed(workspace, 30)
    clock.advance(60)
    clock.leap(10 * DAY)
    assert believed.wall_us() == START + 60 * SECOND + HOUR
    workspace.clock = real
    workspace.close()
