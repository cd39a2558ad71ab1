"""The shared clock: one line for all, continuous when its rate changes, never back within a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.core.clock import DAY, HOUR, SECOND, Clock
from andon.errors import Corrupt, Unavailable, UsageError
from andon.store.clockfile import WorkspaceClock


class Wall:
    def __init__(self, now: int = 1_000_000) -> None:
        self.value = now

    def __call__(self) -> int:
        return self.value


def test_a_new_clock_shows_the_machine_s_time(tmp_path: Path) -> None:
    wall = Wall()
    clock: Clock = WorkspaceClock(tmp_path / "clock", wall=wall)
    assert (clock.now(), clock.wall(), clock.rate()) == (1_000_000, 1_000_000, 1.0)
    wall.value += 50
    assert clock.now() == 1_000_050
    assert clock.monotonic() <= clock.monotonic()


def test_a_change_holds_in_every_process_and_after_a_restart(tmp_path: Path) -> None:
    wall = Wall()
    one, two = (WorkspaceClock(tmp_path / "clock", wall=wall) for _ in range(2))
    one.set(time_us=5_000_000, rate=100.0)
    assert (one.now(), two.now(), two.rate()) == (5_000_000, 5_000_000, 100.0)
    wall.value += 10
    assert two.now() == 5_001_000
    again = WorkspaceClock(tmp_path / "clock", wall=wall)
    assert again.now() == 5_001_000
    line = again.line()
    assert (line.base_time, line.rate) == (5_000_000, 100.0)
    code = (
        "import sys; from pathlib import Path; from andon.store.clockfile import WorkspaceClock;"
        "print(WorkspaceClock(Path(sys.argv[1])).rate())"
    )
    out = subprocess.run([sys.executable, "-c", code, str(tmp_path / "clock")], capture_output=True, text=True)
    assert out.stdout.strip() == "100.0"


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, 10**7), st.none() | st.floats(0, 1e5)), max_size=12))
def test_changing_the_rate_never_steps(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, float | None]]
) -> None:
    wall = Wall()
    clock = WorkspaceClock(tmp_path_factory.mktemp("clock") / "clock", wall=wall)
    last = clock.now()
    for pause, rate in steps:
        wall.value += pause
        before = clock.now()
        assert before >= last
        if rate is not None:
            clock.set(rate=rate)
        last = clock.now()
        assert last == before
    assert clock.stepped_back == 0


def test_a_wall_clock_that_steps_back_is_held_up_and_counted(tmp_path: Path) -> None:
    wall = Wall(HOUR)
    steady = Wall(0)
    clock = WorkspaceClock(tmp_path / "clock", wall=wall, steady=lambda: steady.value / SECOND)
    assert clock.now() == HOUR
    wall.value = 1
    assert (clock.now(), clock.now(), clock.stepped_back) == (HOUR, HOUR, 2)
    last = HOUR
    for _ in range(2 * 3600):  # at half the rate until the machine's clock has caught up
        wall.value, steady.value = wall.value + SECOND, steady.value + SECOND
        now = clock.now()
        assert last <= now <= last + SECOND
        last = now
    assert now == wall.value == 2 * HOUR + 1
    wall.value += SECOND
    assert (clock.now(), clock.stepped_back) == (wall.value, 7200)


@pytest.mark.parametrize(("back", "held"), [(HOUR, True), (DAY, True), (DAY + 1, False)])
def test_who_begins_after_a_step_back_goes_on_from_what_others_told(tmp_path: Path, back: int, held: bool) -> None:
    wall = Wall(100 * DAY)
    one, idle = (WorkspaceClock(tmp_path / "clock", wall=wall, steady=lambda: 0.0) for _ in range(2))
    assert idle.now() == 100 * DAY
    wall.value += 2 * DAY
    assert one.now() == 102 * DAY
    wall.value -= back
    again = WorkspaceClock(tmp_path / "clock", wall=wall, steady=lambda: 0.0)
    assert again.now() == idle.now() == (102 * DAY if held else wall.value)
    assert one.now() == 102 * DAY  # within a process never back
    wall.value = 103 * DAY
    assert one.now() == idle.now() == again.now() == 103 * DAY
    one.set(time_us=50)
    assert [clock.now() for clock in (one, idle, again)] == [50, 50, 50]
    assert WorkspaceClock(tmp_path / "clock", wall=wall).now() == 50


def test_who_has_seen_that_another_is_wrong_does_not_leap_to_it_when_it_comes_near(tmp_path: Path) -> None:
    wall, steady = Wall(100 * DAY), Wall(0)
    clocks = [WorkspaceClock(tmp_path / "clock", wall=wall, steady=lambda: steady.value / SECOND) for _ in range(2)]
    wrong, right = clocks
    wall.value += 2 * DAY
    assert wrong.now() == 102 * DAY
    wall.value -= 2 * DAY
    assert wrong.now() == 102 * DAY and right.now() == 100 * DAY
    for _ in range(5 * 24):  # the wrong one runs at half the rate until the machine's clock has caught up
        wall.value, steady.value = wall.value + HOUR, steady.value + HOUR
        wrong.now()
        assert right.now() == wall.value
    assert wrong.now() == wall.value


@settings(max_examples=60, deadline=None)
@given(acts=st.lists(st.tuples(st.sampled_from("012n"), st.integers(-HOUR, HOUR), st.integers(0, 10**8)), max_size=30))
def test_no_process_tells_a_time_before_one_that_was_told(
    tmp_path_factory: pytest.TempPathFactory, acts: list[tuple[str, int, int]]
) -> None:
    """Whatever the machine's clock does within an hour, up to the tenth of a second in which a time is told to others."""
    path, wall, steady = tmp_path_factory.mktemp("clock") / "clock", Wall(DAY), Wall(0)
    clocks = [WorkspaceClock(path, wall=wall, steady=lambda: steady.value / SECOND) for _ in range(3)]
    highest = 0
    for who, step, goes_by in acts:
        steady.value += goes_by
        wall.value = min(max(wall.value + goes_by + step, DAY - HOUR), DAY + HOUR)
        if who == "n":
            clocks[0].close()
            clocks[0] = WorkspaceClock(path, wall=wall, steady=lambda: steady.value / SECOND)
        now = clocks[0 if who == "n" else int(who)].now()
        assert now > highest - SECOND // 10
        highest = max(highest, now)


def test_a_clock_of_a_workspace_that_had_no_word_yet_is_taken_over(tmp_path: Path) -> None:
    wall, path = Wall(HOUR), tmp_path / "clock"
    WorkspaceClock(path, wall=wall).set(rate=3.0)
    path.write_bytes(path.read_bytes()[:96])
    clock = WorkspaceClock(path, wall=wall)
    assert (clock.rate(), clock.now(), path.stat().st_size) == (3.0, HOUR, 104)


def test_setting_the_time_may_go_back_in_every_process(tmp_path: Path) -> None:
    wall = Wall(10_000_000)
    one, two = (WorkspaceClock(tmp_path / "clock", wall=wall) for _ in range(2))
    assert one.now() == two.now() == 10_000_000
    one.set(time_us=500)
    assert one.now() == two.now() == 500
    assert one.stepped_back == two.stepped_back == 0


def test_the_story_can_stand_still(tmp_path: Path) -> None:
    wall = Wall()
    clock = WorkspaceClock(tmp_path / "clock", wall=wall)
    clock.set(rate=0)
    wall.value += 1000
    assert clock.now() == 1_000_000


@pytest.mark.parametrize("rate", [-1.0, float("nan"), float("inf"), -1e-9])
def test_an_impossible_rate_is_refused(tmp_path: Path, rate: float) -> None:
    clock = WorkspaceClock(tmp_path / "clock")
    with pytest.raises(UsageError, match="expected a number from 0 on"):
        clock.set(rate=rate)
    assert clock.rate() == 1.0


def test_who_dies_while_setting_it_leaves_the_line_before(tmp_path: Path) -> None:
    wall = Wall()
    path = tmp_path / "clock"
    clock = WorkspaceClock(path, wall=wall)
    sound = path.read_bytes()
    clock.set(rate=5.0)
    changed = path.read_bytes()
    assert sound != changed
    torn = bytearray(sound)
    torn[50:60] = changed[50:60]
    path.write_bytes(torn)
    again = WorkspaceClock(path, wall=wall)
    assert again.rate() == 1.0
    again.set(rate=7.0)
    assert WorkspaceClock(path, wall=wall).rate() == 7.0


def test_a_clock_without_a_sound_line_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "clock"
    path.write_bytes(b"x" * 96)
    with pytest.raises(Corrupt, match="no sound line"):
        WorkspaceClock(path)
    path.write_bytes(b"short")
    with pytest.raises(Corrupt, match="another size"):
        WorkspaceClock(path)
    with pytest.raises(Unavailable):
        WorkspaceClock(tmp_path / "none" / "clock")
