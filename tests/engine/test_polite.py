"""Idle work gives way to other sessions, and gets its share back where it would starve."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from andon.engine.polite import FED, HURRIED, RECENT, STARVED, WINDOW, Polite

PID = 7


class Machine:
    """A /proc in which one process waits for a processor as long as it is told to."""

    def __init__(self, proc: Path) -> None:
        self.proc = proc
        self.now = 0.0
        self._tasks = [proc / str(PID) / "task" / str(number) / "schedstat" for number in (PID, PID + 1)]
        self._waited = [0.0, 0.0]
        for task in self._tasks:
            task.parent.mkdir(parents=True)
        self.polite = Polite(PID, 19, proc)
        self.go(0.0, 0.0)

    def go(self, seconds: float, waiting: float, thread: int = 0) -> bool:
        """So many seconds pass, of which this part is waited; whether the session is nice then."""
        for _ in range(max(1, round(seconds))):
            self.now += min(seconds, 1.0)
            self._waited[thread] += waiting * min(seconds, 1.0)
            for task, waited in zip(self._tasks, self._waited, strict=True):
                task.write_text(f"5000 {round(waited * 1e9)} 3\n")
            self.polite.turn(self.now)
        return self.polite.yielding

    @property
    def group(self) -> str:
        return (self.proc / str(PID) / "autogroup").read_text()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_it_begins_with_its_share_and_gives_way_once_it_runs(machine: Machine) -> None:
    assert not machine.go(RECENT - 1, 0.0)
    assert machine.go(1, 0.0)
    assert machine.group == "19"


@pytest.mark.parametrize("thread", [0, 1])
def test_who_waits_too_long_is_hurried_and_is_polite_again_later(machine: Machine, thread: int) -> None:
    machine.go(WINDOW, 0.0)
    assert machine.go(WINDOW * STARVED, 1.0, thread), "not yet: two thirds of the window, and no more"
    assert not machine.go(1, 1.0, thread)
    assert machine.group == str(HURRIED)
    assert not machine.go(60, 0.4, thread), "as long as it waits a good part of the time"
    assert not machine.go(RECENT - 1, FED + 0.01, thread)
    assert machine.go(RECENT + 1, FED - 0.1, thread)
    assert machine.group == "19"


def test_a_load_that_comes_in_bursts_does_not_hurry_it(machine: Machine) -> None:
    machine.go(WINDOW, 0.0)
    for _ in range(30):
        assert machine.go(2, 1.0)
        assert machine.go(2, 0.0)


def test_waiting_a_good_part_keeps_it_polite(machine: Machine) -> None:
    machine.go(WINDOW, 0.0)
    assert machine.go(300, STARVED - 0.01)


def test_who_waits_from_the_beginning_never_gives_way(machine: Machine) -> None:
    assert not machine.go(120, 0.9)
    assert not (machine.proc / str(PID) / "autogroup").exists()


def test_what_is_started_again_begins_with_a_quarter(machine: Machine) -> None:
    machine.polite = Polite(PID, 19, machine.proc, again=True)
    assert not machine.go(RECENT - 1, 0.0)
    assert machine.group == str(HURRIED)
    assert machine.go(2, 0.0)
    assert machine.group == "19"


def test_what_may_not_be_changed_yet_is_changed_later(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def write_text(path: Path, text: str) -> int:
        if path.name != "autogroup":
            return path.write_bytes(text.encode())
        told.append(text)
        if len(told) == 1:
            raise OSError(errno.EAGAIN, "too soon")
        return len(text)

    monkeypatch.setattr(Path, "write_text", write_text)
    assert not machine.go(RECENT, 0.0)
    machine.polite.turn(machine.now + 0.1)  # at once, not after a second
    assert machine.polite.yielding and told == ["19", "19"]


def test_where_the_system_says_nothing_nothing_is_changed(tmp_path: Path) -> None:
    polite = Polite(PID, 19, tmp_path)
    for now in range(100):
        polite.turn(float(now))
    assert not polite.yielding and list(tmp_path.iterdir()) == []
