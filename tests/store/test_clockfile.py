"""The shared clock: one line for all, continuous when its rate changes, never back within a process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.core.clock import Clock
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


def test_a_wall_clock_that_steps_back_is_clamped_and_counted(tmp_path: Path) -> None:
    wall = Wall(1000)
    clock = WorkspaceClock(tmp_path / "clock", wall=wall)
    assert clock.now() == 1000
    wall.value = 900
    assert (clock.now(), clock.now(), clock.stepped_back) == (1000, 1000, 2)
    wall.value = 1001
    assert clock.now() == 1001


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
