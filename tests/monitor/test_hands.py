"""The hands of the alarms: done once, settled after, and what cannot be done is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from andon.core.record import Level, Route
from andon.deploy.line import Act, Line
from andon.errors import Conflict, Unavailable, UsageError
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
FULL = parse(
    "project: x\ninputs: {a: float}\ntarget: {name: y, classes: [n, p]}\nsafe_default: z\nautomation: {level: full}"
)
WINDOW = FULL.monitor.window_us
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

    def rollback(self, *, actor: str, reason: str, of: Route) -> Act:
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


def owed(what: What, key: str = "error", began: int = 0) -> AlarmAction:
    return AlarmAction(what, Alarm(key, key, phase="firing", result=RESULT, cause_us=began, owed=(what,)))


class Rolling:
    """A line on which v1, v2 and v3 became live one after the other, and alarms that want to go back."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.line = Line(workspace, FULL, patience=0.2)
        for number in (1, 2, 3):
            release = {"version": f"v{number}", "bundle": f"b{number}" * 8, "run": "r1"}
            workspace.records.put("release", f"v{number}", release)
            self.line.switch(f"v{number}", actor="ann")
        self.began = workspace.clock.now() - WINDOW // 2

    @property
    def live(self) -> str | None:
        route = self.workspace.routes.current()
        return route.live if route is not None else None

    def do(self, *actions: AlarmAction, settle: Any = None) -> list[str]:
        """What the hands said of each."""
        told: list[str] = []
        hands = Hands(self.workspace, FULL, Notifier([]), lambda: self.line)
        hands.do(actions, settle or (lambda action, detail: told.append(detail)))
        return told

    def later(self, windows: float) -> None:
        clock = self.workspace.clock
        clock.set(time_us=clock.now() + int(windows * WINDOW))


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
    publish(workspace, {"*": "full"})
    line = FakeLine()
    assert do(workspace, "rollback", line) == [("rollback", "back to v1 at level full")]
    assert line.asked == [("rollback", ACTOR, RESULT.sentence)]


def test_what_cannot_be_done_is_settled_and_said(workspace: Workspace) -> None:
    publish(workspace, {"*": "full"})
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


@pytest.fixture
def rolling(workspace: Workspace) -> Rolling:
    return Rolling(workspace)


def test_alarms_that_fire_together_go_back_once(rolling: Rolling) -> None:
    first, second = rolling.do(owed("rollback", began=rolling.began), owed("rollback", "recall", rolling.began))
    assert rolling.live == "v2" and "nothing" not in first
    assert second.startswith("nothing was changed") and "by controller is a rollback since that window began" in second


def test_a_rollback_that_was_not_settled_is_not_done_again(rolling: Rolling) -> None:
    def gone(action: AlarmAction, detail: str) -> None:
        raise Unavailable("the database is locked")

    action = owed("rollback", began=rolling.began)
    with pytest.raises(Unavailable):
        rolling.do(action, settle=gone)
    rolling.later(3)
    (told,) = rolling.do(action)
    assert rolling.live == "v2" and told.startswith("nothing was changed")


def test_an_alarm_whose_window_is_older_than_a_rollback_takes_nothing_more_back(rolling: Rolling) -> None:
    rolling.do(owed("rollback", began=rolling.began))
    rolling.later(10)
    rolling.do(owed("rollback", "late", rolling.began))
    assert rolling.live == "v2"


def test_a_window_of_what_was_rolled_back_to_goes_back_further(rolling: Rolling) -> None:
    rolling.do(owed("rollback", began=rolling.began))
    rolling.later(1)
    rolling.do(owed("rollback", began=rolling.workspace.clock.now()))
    assert rolling.live == "v1"


@pytest.mark.parametrize("by_hand", ["rollback", "switch", "canary"])
def test_what_a_person_has_changed_since_is_left_alone(rolling: Rolling, by_hand: str) -> None:
    rolling.later(2)
    if by_hand == "rollback":
        rolling.line.rollback(actor="ann")
    elif by_hand == "switch":
        rolling.line.switch("v1", actor="ann")
    else:
        rolling.line.canary("v1", 0.1, actor="ann")
    before = rolling.workspace.routes.current()
    (told,) = rolling.do(owed("rollback", began=rolling.began))
    assert rolling.workspace.routes.current() == before and told.startswith("nothing was changed")


def test_a_rollback_takes_no_decision_from_people(rolling: Rolling) -> None:
    """Its target has the levels of then: it would give back to the model what another alarm has just taken from it."""
    people, back = rolling.do(owed("people", "other"), owed("rollback", began=rolling.began))
    assert (people, back) == (
        "people decide everything from now on", "nothing was changed: people decide everything already"
    )  # fmt: skip
    assert rolling.live == "v3"


def test_who_goes_back_at_the_very_same_time_is_second(rolling: Rolling) -> None:
    before = rolling.workspace.routes.current()
    rolling.line.rollback(actor="ann")
    with pytest.raises(Conflict, match="by ann has changed who answers meanwhile"):
        rolling.line.rollback(actor=ACTOR, of=before)
    assert rolling.live == "v2"


def test_a_silenced_alarm_tells_nobody_and_acts_all_the_same(workspace: Workspace) -> None:
    told: list[str] = []
    notifier = Notifier(["https://example.org/hook"], post=lambda url, body, seconds: told.append(body["title"]))
    line = FakeLine()
    hands = Hands(workspace, FULL, notifier, lambda: cast(Line, line))
    now = workspace.clock.now()
    quiet = Alarm(
        "error", "error", phase="firing", result=RESULT, silenced_until_us=now + 3600 * 10**6, silenced_by="ann"
    )
    settled: list[str] = []
    kinds: tuple[What, ...] = ("fired", "people")
    for what in kinds:
        hands.do([AlarmAction(what, quiet)], lambda action, detail: settled.append(detail))
    assert settled[0].startswith("nobody was told: silenced by ann until ")
    before = notifier.waiting
    assert not before
    over = Alarm("error", "error", phase="firing", result=RESULT, silenced_until_us=now - 1, silenced_by="ann")
    hands.do([AlarmAction("fired", over)], lambda action, detail: settled.append(detail))
    sent = notifier.waiting
    assert sent and settled[-1] == ""
