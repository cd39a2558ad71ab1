"""The controller's duties: one that cannot be done keeps no other from being done, and is told once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.monitor.rollout_rig import HEAD, Rolling

from andon.errors import Conflict, Corrupt, NotFound, Unavailable
from andon.monitor import duty as duty_module
from andon.monitor.controller import Controller
from andon.monitor.duty import Duties
from andon.monitor.ingest import Pace, Tick
from andon.monitor.notify import Notifier
from andon.monitor.report import Report, leave, report
from andon.monitor.trouble import DUTIES, LASTING, Troubles
from andon.scope.charter import parse

Make = Callable[..., Rolling]


class Sink:
    """Events that nobody takes."""

    fault = ""

    def turn(self) -> list[str]:
        return []

    def close(self) -> None:
        pass


@pytest.fixture
def line(rolling: Make) -> Rolling:
    return rolling()


@pytest.fixture
def duties(line: Rolling) -> Iterator[Duties]:
    made = Duties(line.workspace, line.charter, Pace(window=0, ship=0, tidy=0), Notifier([]))
    made._events = Sink()  # type: ignore[assignment]
    yield made
    made.close()


def calls(duties: Duties, patched: pytest.MonkeyPatch, failing: str, error: Exception) -> list[str]:
    """Which duties one round does, where one of them fails."""
    done: list[str] = []
    places: dict[str, tuple[Any, str, Any]] = {
        "log": (duties.ingest, "tick", Tick()),
        "routes": (duties, "_routes", None),
        "labels": (duties._remeasure, "run", 0),
        "review": (duties._inbox, "expire", None),
        "alarms": (duties, "_alarms", []),
        "rollouts": (duties._steer, "turn", []),
        "automation": (duties._climb, "turn", []),
        "events": (duties._events, "turn", []),
        "shed": (duty_module, "note_begun", []),
        "retention": (duties._keeper, "turn", False),
    }
    assert places.keys() == DUTIES.keys()
    for name, (owner, what, gives) in places.items():

        def call(*args: Any, name: str = name, gives: Any = gives, **more: Any) -> Any:
            done.append(name)
            if name == failing:
                raise error
            return gives

        patched.setattr(owner, what, call)
    duties._next = dict.fromkeys(duties._next, 0.0)
    duties.turn()
    return done


@pytest.mark.parametrize(
    "error",
    [Unavailable("the disk is slow"), Corrupt("damaged"), NotFound("no contract"), OSError(5, "Input/output error")],
    ids=lambda error: type(error).__name__,
)
def test_a_duty_that_fails_keeps_no_other_from_being_done(duties: Duties, error: Exception) -> None:
    for failing, means in DUTIES.items():
        duties.troubles._failing.clear()
        with pytest.MonkeyPatch.context() as patched:
            assert sorted(calls(duties, patched, failing, error)) == sorted(DUTIES), failing
        (one,) = duties.troubles.now
        assert (one.duty, one.sentence.partition(": ")[0]) == (failing, means)
        with pytest.MonkeyPatch.context() as patched:
            assert failing not in calls(duties, patched, failing, error), "not again at once"


def test_without_the_database_no_duty_is_done_and_who_measures_beside_another_stands_by(
    duties: Duties, line: Rolling
) -> None:
    def gone() -> Any:
        raise Unavailable("the database is gone")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(line.workspace.db, "write", gone)
        with pytest.raises(Unavailable, match="is gone"):
            calls(duties, patched, "alarms", Unavailable("the store of windows is unavailable"))
    assert duties.troubles.now == ()
    for failing in ("log", "labels"):
        with pytest.MonkeyPatch.context() as patched, pytest.raises(Conflict):
            calls(duties, patched, failing, Conflict("another controller has measured further"))


def test_retention_that_cannot_be_done_is_not_put_off_for_ten_minutes(duties: Duties) -> None:
    with pytest.MonkeyPatch.context() as patched:
        calls(duties, patched, "retention", Corrupt("damaged"))
    duties.troubles._failing["retention"].again = 0.0
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(duties._keeper, "turn", lambda: False)
        duties.turn()
    assert duties._next["keep"] > 0.0


class Told:
    """Troubles on a clock that is moved by hand, with what people are told."""

    def __init__(self, line: Rolling) -> None:
        self.line, self.now, self.sent = line, 0.0, list[str]()
        self.notifier = Notifier(["https://example.org/hook"], post=lambda url, body, s: self.sent.append(body["body"]))
        self.lead()

    def lead(self) -> None:
        self.troubles = Troubles(self.line.workspace, "p", self.notifier, clock=lambda: self.now)

    def at(self, now: float, why: str = "") -> list[str]:
        """One round; with ``why`` the alarms cannot be judged. Returns the actions in the journal."""
        self.now = now
        if why:
            self.troubles.note("alarms", why)
        self.troubles.turn()
        self.notifier.flush()
        return [event.action for event in self.line.workspace.journal.read(limit=100) if event.subject == "alarms"]


FAILED, OVER = "controller.failed", "controller.recovered"


def test_what_lasts_is_told_once_and_once_more_when_it_is_over(line: Rolling) -> None:
    told = Told(line)
    assert told.at(0.0, "w is slow") == [] and told.at(LASTING - 0.001, "w is slow") == []
    assert told.at(LASTING, "w is slower") == [FAILED] and told.sent == [f"{DUTIES['alarms']}: w is slower"]
    for second in range(31, 200):
        assert told.at(float(second), f"w is slow for {second} s") == [FAILED]
    assert [one.sentence for one in told.troubles.now] == [f"{DUTIES['alarms']}: w is slow for 199 s"]
    assert told.at(208.999) == [FAILED] and told.troubles.now
    assert told.at(209.0) == [FAILED, OVER] and not told.troubles.now
    assert told.sent[1:] == ["alarms: done again"]


def test_what_passes_is_not_told(line: Rolling) -> None:
    told = Told(line)
    for second in range(0, 600, 12):  # a failure now and then
        assert told.at(float(second), "a passing fault") == []
        assert told.at(second + 10.0) == [] and not told.troubles.now


def test_another_leader_tells_it_neither_again_nor_leaves_it_open(line: Rolling) -> None:
    told = Told(line)
    told.at(0.0, "w")
    assert told.at(LASTING, "w") == [FAILED]
    told.lead()
    for second in range(31, 100):
        assert told.at(float(second), "w") == [FAILED]
    told.lead()
    assert told.at(100.0) == [FAILED] and told.at(100.0 + 2 * LASTING - 0.001) == [FAILED]
    assert told.at(100.0 + 2 * LASTING) == [FAILED, OVER] and told.at(500.0) == [FAILED, OVER]


def test_a_rollout_that_cannot_go_back_and_events_that_nobody_takes_are_shown(
    duties: Duties, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duties._steer, "turn", list)
    duties._steer.faults["v2#1"] = "could not rollback: w0 could not load v1"
    duties._events.fault = "events: nobody answers"  # type: ignore[misc,union-attr]
    duties.turn()
    assert {one.duty: one.sentence for one in duties.troubles.now} == {
        "rollouts": f"{DUTIES['rollouts']}: v2#1 could not rollback: w0 could not load v1",
        "events": f"{DUTIES['events']}: events: nobody answers",
    }


def test_a_receiver_that_must_not_be_sent_to_is_shown(line: Rolling) -> None:
    text = HEAD % ("0s", "canary, live", "errors", "")
    elsewhere = "checklist: {logging: {events: 'http://events.example.org/'}, privacy: {stays: device}}"
    duties = Duties(line.workspace, parse(text + elsewhere), Pace(window=0, ship=0, tidy=0), Notifier([]))
    said = duties.turn()[1]
    assert said == [one.sentence for one in duties.troubles.now] and said[0].endswith("no event is sent")
    assert said[0].startswith(f"{DUTIES['events']}: ") and duties.turn()[1] == []
    duties.close()


def test_the_controller_says_when_it_acted_what_it_waits_for_and_who_leads(
    line: Rolling, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    leader = Controller(line.workspace, line.charter, pace=Pace(window=0, ship=0, tidy=0), say=said.append)
    leader.turn()
    first = report(line.workspace.run_dir)
    assert first is not None and (first.term, first.acted_us, first.waiting) == (1, line.clock.wall(), "")
    acted = line.clock.wall()
    line.clock.advance(2)
    done: list[str] = []
    assert leader._duties is not None

    def harm() -> list[str]:
        done.append("harm")
        return ["it went back"]

    monkeypatch.setattr(leader._duties, "without_database", harm)
    for _ in range(2):
        leader._without_database(Unavailable("the database is gone"))
        line.clock.advance(2)
    left = report(line.workspace.run_dir)
    assert left is not None and (left.acted_us, left.waiting) == (acted, "the database is gone")
    assert left.waiting_us == acted + 2_000_000 and left.seen_us == acted + 4_000_000
    assert said[-1] == "it went back" and done == ["harm", "harm"]
    leave(line.workspace.run_dir, Report("another", 2))
    leader._without_database(Unavailable("the database is gone"))
    assert done == ["harm", "harm"], "who led since has done what is not known here"
    leader._end()
