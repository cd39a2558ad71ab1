"""Switch, rollback and stop while clients ask all the time, with the database up, held by another process, and gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import pytest
from tests.line.database import locked, moved_away
from tests.line.pressure import Pressure
from tests.line.switching import PATIENCE, change_over, lateness
from tests.line.toyline import Running

pytestmark = pytest.mark.line

LATEST_MS = 250.0
REPETITIONS = 3


@pytest.fixture
def asked(running: Callable[[int], Running]) -> Iterator[tuple[Running, Pressure]]:
    line = running(2)
    line.project.workspace.db.busy_seconds = PATIENCE
    line.line.switch("v2", actor="test")
    line.line.switch("v1", actor="test")
    line.line.automate("full", actor="test")
    line.start()
    pressure = Pressure(line.port).begin()
    yield line, pressure
    pressure.kill()


def test_nobody_notices_a_switch_a_rollback_or_a_stop(asked: tuple[Running, Pressure]) -> None:
    line, pressure = asked
    home = line.project.workspace.home
    states: dict[str, tuple[Callable[[Path], AbstractContextManager[None]], int]] = {
        "up": (lambda _: nullcontext(), REPETITIONS),
        "locked": (locked, 1),
        "gone": (moved_away, REPETITIONS),
    }
    told = {}
    for state, (befalls, repetitions) in states.items():
        with befalls(home):
            told[state] = [each for _ in range(repetitions) for each in change_over(line)]
    heard = pressure.end()
    assert not [answer for answer in heard if answer.failed]
    assert len(heard) > 500 and Counter(answer.status for answer in heard).keys() == {200, 202}
    for state, commands in told.items():
        late = [(lateness(each, heard)[0], each.command) for each in commands]
        assert max(late)[0] <= LATEST_MS, (state, late)
        assert {each.act.journalled for each in commands} == {state == "up"}
        assert {(each.act.following, each.act.workers) for each in commands} == {(2, 2)}
    _the_journal_has_every_route(line)


def _the_journal_has_every_route(line: Running) -> None:
    newest = line.project.workspace.routes.word()

    def told() -> bool:
        events = line.project.workspace.journal.read(limit=10_000)
        return {event.subject for event in events} >= {f"route {epoch}" for epoch in range(1, newest + 1)}

    line.until(told, 20, "the journal did not follow the route plane")
