"""The hands of the alarms: done once, settled after, and what cannot be done is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from andon.core.record import Level, Route
from andon.deploy.line import Act, Line
from andon.errors import Unavailable, UsageError
from andon.measure.estimate import wilson
from andon.measure.gate import Bound, gate
from andon.monitor.alarm import Alarm, AlarmAction, What
from andon.monitor.hands import ACTOR, Hands
from andon.monitor.notify import Notifier
from andon.scope.charter import parse
from andon.store.workspace import Workspace

CHARTER = parse("""
project: screening
inputs: {cough: bool}
target: {name: result, classes: [negative, positive]}
safe_default: refer
""")
RESULT = gate("error", wilson(30, 100), Bound.parse("<= 0.06"))


class FakeLine:
    """Remembers what it was asked; raises what it is given."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self._error = error

    def to_people(self, *, actor: str, reason: str) -> None:
        self.asked.append(("to people", actor, reason))
        if self._error is not None:
            raise self._error

    def rollback(self, *, actor: str, reason: str) -> Act:
        self.asked.append(("rollback", actor, reason))
        if self._error is not None:
            raise self._error
        return Act(Route(3, 0, 0, actor, "rollback", reason), "back to v1 at level full")


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    made = Workspace.create(tmp_path / ".andon")
    yield made
    made.close()


def publish(workspace: Workspace, levels: dict[str, Level], **more: Any) -> None:
    workspace.routes.publish(Route(1, 0, 0, "ann", "begin", "", levels=levels, **more))


def owed(what: What) -> AlarmAction:
    return AlarmAction(what, Alarm("error", "error", phase="firing", result=RESULT))


def do(workspace: Workspace, what: What, line: FakeLine, notifier: Notifier | None = None) -> list[tuple[str, str]]:
    settled: list[tuple[str, str]] = []
    hands = Hands(workspace, CHARTER, notifier or Notifier([]), lambda: cast(Line, line))
    hands.do([owed(what)], lambda action, detail: settled.append((action.what, detail)))
    hands.tell()
    return settled


def test_everything_goes_to_people_in_one_step(workspace: Workspace) -> None:
    publish(workspace, {"*": "partial", "older": "full", "abroad": "human"})
    line = FakeLine()
    assert do(workspace, "people", line) == [("people", "people decide everything from now on")]
    assert line.asked == [("to people", ACTOR, RESULT.sentence)]


@pytest.mark.parametrize("route", [None, ({"*": "human"}, {}), ({"*": "full"}, {"stopped": "people"})])
def test_where_people_decide_already_nothing_changes(workspace: Workspace, route: Any) -> None:
    if route is not None:
        publish(workspace, route[0], **route[1])
    line = FakeLine()
    assert do(workspace, "people", line) == [("people", "people decide everything already")]
    assert line.asked == []


def test_a_rollback_says_what_it_led_to(workspace: Workspace) -> None:
    line = FakeLine()
    assert do(workspace, "rollback", line) == [("rollback", "back to v1 at level full")]
    assert line.asked == [("rollback", ACTOR, RESULT.sentence)]


def test_what_cannot_be_done_is_settled_and_said(workspace: Workspace) -> None:
    line = FakeLine(UsageError("there is nothing to go back to"))
    assert do(workspace, "rollback", line) == [("rollback", "nothing was changed: there is nothing to go back to")]


def test_what_cannot_be_done_now_stays_owed(workspace: Workspace) -> None:
    publish(workspace, {"*": "full"})
    with pytest.raises(Unavailable):
        do(workspace, "people", FakeLine(Unavailable("the worker does not answer")))


def test_a_notice_that_cannot_be_delivered_is_an_event(workspace: Workspace) -> None:
    def refused(target: str, body: dict[str, Any], seconds: float) -> None:
        raise ConnectionError(target)

    notifier = Notifier(["https://user:secret@example.org/hook"], post=refused)
    hands = Hands(workspace, CHARTER, notifier)
    hands.do([owed("fired")], lambda action, detail: None)
    for _ in range(5):
        hands.tell()
    events = workspace.journal.read(action="alarm.notified")
    assert [(event.evidence, event.subject) for event in events] == [({"ok": False}, "error")]
    assert "could not be told" in events[0].reason and "secret" not in events[0].reason
