from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from andon.core.clock import HOUR, ManualClock
from andon.errors import Conflict, NotFound, UsageError
from andon.measure.estimate import wilson
from andon.measure.summary import Confusion, Count, Summary
from andon.monitor import watch as watch_module
from andon.monitor.alarm import step
from andon.monitor.watch import AlarmWatch, acknowledge_alarm, alarms, silence_alarm, watched
from andon.scope.charter import Charter, parse
from andon.store.windows import WindowRow
from andon.store.workspace import Workspace

CHARTER = """
project: demo
problem: Decide something.
phase: production
case: new
owner: ann
population: users
inputs: {age: int, region: category}
target: {name: result, classes: [no, yes], truth: external, delay: 2h}
safe_default: refer
metrics:
  nulls: {of: null_outputs, alarm: "<= 0.1", for_windows: 2}
  error: {of: error_rate, alarm: "<= 0.1", then: people, critical: true}
  drift: {of: "share(age > 60)", alarm: reference}
  quiet: {of: automatic_share}
slices: {north: "region = 'North'"}
monitor: {window: 1h}
"""


@pytest.fixture
def charter() -> Charter:
    return parse(CHARTER)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    made = Workspace.create(tmp_path / "home")
    real = made.clock
    made.clock = ManualClock()  # type: ignore[assignment]
    yield made
    made.clock = real
    made.close()


def at(workspace: Workspace, hours: float) -> None:
    workspace.clock.advance(hours * 3600 - workspace.clock.now() / 1e6)  # type: ignore[attr-defined]


def put(workspace: Workspace, metric: str, hour: int, summary: Summary, cohort: str = "") -> None:
    workspace.windows.replace([WindowRow(metric, cohort, hour * HOUR, HOUR, summary)])


def count(hits: int, n: int = 100) -> Count:
    return Count(n, hits, n, n)


def wrong(errors: int, n: int = 100) -> Confusion:
    return Confusion(("no", "yes"), ((float(n - errors), float(errors), 0.0), (0.0, 0.0, 0.0)), n, n, n)


def test_what_a_charter_asks_for(charter: Charter) -> None:
    assert [(one.metric, one.cohort) for one in watched(charter)] == [
        ("nulls", ""), ("error", ""), ("error", "north"), ("drift", ""),
    ]  # fmt: skip
    assert watched(charter)[0].rule.for_windows == 2 and watched(charter)[1].rule.then == "people"


def test_only_windows_that_are_over_are_judged(workspace: Workspace, charter: Charter) -> None:
    watch = AlarmWatch(workspace, charter)
    put(workspace, "nulls", 0, count(50))
    at(workspace, 0.9)
    assert watch.look() == [] and alarms(workspace) == {}
    at(workspace, 1)
    assert watch.look(closed_us=HOUR - 1) == []
    watch.look()
    assert alarms(workspace)["nulls"].phase == "pending"
    watch.look()
    assert alarms(workspace)["nulls"].fails == 1
    put(workspace, "nulls", 1, count(50))
    at(workspace, 2)
    assert [action.what for action in watch.look()] == ["fired"]


def test_late_metrics_wait_for_their_labels(workspace: Workspace, charter: Charter) -> None:
    watch = AlarmWatch(workspace, charter)
    put(workspace, "error", 0, wrong(50))
    put(workspace, "error", 0, wrong(0, 1000), "north")
    at(workspace, 2.9)
    assert watch.look() == []
    at(workspace, 3)
    assert [(action.alarm.key, action.what) for action in watch.look()] == [("error", "fired"), ("error", "people")]
    assert alarms(workspace)["error/north"].phase == "inactive"


def test_what_is_owed_survives_the_controller(workspace: Workspace, charter: Charter) -> None:
    put(workspace, "error", 0, wrong(50))
    at(workspace, 3)
    AlarmWatch(workspace, charter).look()
    again = AlarmWatch(workspace, charter)
    owed = again.look()
    assert [action.what for action in owed] == ["fired", "people"]
    for action in owed:
        again.settle(action, "1 of 1 told")
    assert again.look() == []
    events = workspace.journal.read()
    assert [event.action for event in events] == ["alarm.fired", "alarm.people"]
    assert "outside <= 10 %; 1 of 1 told" in events[0].reason and events[0].evidence["verdict"] == "fail"


def test_a_corrected_window_is_judged_again(workspace: Workspace, charter: Charter) -> None:
    watch = AlarmWatch(workspace, charter)
    put(workspace, "error", 0, wrong(50))
    at(workspace, 3)
    watch.look()
    put(workspace, "error", 0, wrong(0, 1000))
    watch.look()
    assert alarms(workspace)["error"].phase == "resolved"


def test_acknowledging_is_kept_and_told(workspace: Workspace, charter: Charter) -> None:
    put(workspace, "error", 0, wrong(50))
    at(workspace, 3)
    AlarmWatch(workspace, charter).look()
    assert acknowledge_alarm(workspace, "error", "ann", "known since Monday").acknowledged_by == "ann"
    assert alarms(workspace)["error"].acknowledged_by == "ann"
    assert workspace.journal.read()[-1].action == "alarm.acknowledged"
    with pytest.raises(NotFound, match="alarms list"):
        acknowledge_alarm(workspace, "errror", "ann")
    with pytest.raises(Conflict, match="only one that is firing"):
        acknowledge_alarm(workspace, "error/north", "ann") if "error/north" in alarms(workspace) else _quiet(workspace)


def _quiet(workspace: Workspace) -> None:
    put(workspace, "error", 0, wrong(0, 1000), "north")
    AlarmWatch(workspace, parse(CHARTER)).look()
    acknowledge_alarm(workspace, "error/north", "ann")


def test_a_person_and_the_controller_at_the_same_time(
    workspace: Workspace, charter: Charter, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(workspace, "error", 0, wrong(50))
    at(workspace, 3)
    watch = AlarmWatch(workspace, charter)
    watch.look()
    put(workspace, "error", 1, wrong(50))
    at(workspace, 4)
    calls: list[int] = []

    def slow(*arguments: object) -> object:
        calls.append(1)
        if len(calls) == 1:
            acknowledge_alarm(workspace, "error", "ann")
        return step(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(watch_module, "step", slow)
    watch.look()
    found = alarms(workspace)["error"]
    assert (found.acknowledged_by, found.fails, len(calls)) == ("ann", 2, 2)


def test_without_a_release_there_is_no_reference(workspace: Workspace, charter: Charter) -> None:
    put(workspace, "drift", 0, count(90))
    at(workspace, 1)
    AlarmWatch(workspace, charter).look()
    found = alarms(workspace)["drift"]
    assert found.phase == "inactive" and found.result is not None
    assert "no release is at work" in found.result.sentence


def test_the_reference_comes_from_the_bundle_at_work(
    workspace: Workspace, charter: Charter, monkeypatch: pytest.MonkeyPatch
) -> None:
    from andon.core.record import Route
    from andon.model import bundle
    from andon.model.profile import Profile

    route = Route(1, 0, 0, "ann", "switch", "", live="v1", bundles={"v1": "ab" * 32})
    workspace.routes.publish(route)
    known = Profile(windows={"drift": tuple(wilson(10 + i % 3, 100) for i in range(10))})
    monkeypatch.setattr(bundle, "load_profile", lambda path, hash: known)
    put(workspace, "drift", 0, count(12))
    put(workspace, "drift", 1, count(60))
    at(workspace, 2)
    assert [action.what for action in AlarmWatch(workspace, charter).look()] == ["fired"]


def test_a_bundle_that_could_not_be_read_once_is_read_again(
    workspace: Workspace, charter: Charter, monkeypatch: pytest.MonkeyPatch
) -> None:
    from andon.core.record import Route
    from andon.model import bundle
    from andon.model.profile import Profile

    workspace.routes.publish(Route(1, 0, 0, "ann", "switch", "", live="v1", bundles={"v1": "ab" * 32}))
    put(workspace, "drift", 0, count(12))
    at(workspace, 1)
    watch = AlarmWatch(workspace, charter)
    assert watch.look() == [], "its bundle is not there"
    known = Profile(windows={"drift": tuple(wilson(10 + i % 3, 100) for i in range(10))})
    monkeypatch.setattr(bundle, "load_profile", lambda path, hash: known)
    put(workspace, "drift", 1, count(60))
    at(workspace, 2)
    assert [action.what for action in watch.look()] == ["fired"]


def test_a_bundle_that_is_gone_judges_nothing(workspace: Workspace, charter: Charter) -> None:
    from andon.core.record import Route

    workspace.routes.publish(Route(1, 0, 0, "ann", "switch", "", live="v1", bundles={"v1": "ab" * 32}))
    put(workspace, "drift", 0, count(60))
    at(workspace, 1)
    assert AlarmWatch(workspace, charter).look() == []
    result = alarms(workspace)["drift"].result
    assert result is not None and "no bundle" in result.sentence


def test_a_long_past_is_not_judged(workspace: Workspace, charter: Charter) -> None:
    workspace.windows.replace([WindowRow("nulls", "", hour * HOUR, HOUR, count(0)) for hour in range(60)])
    at(workspace, 60)
    seen = list(AlarmWatch(workspace, charter)._seen({}, 60 * HOUR))
    assert len(seen) == watch_module.LOOK_BACK and replace(watched(charter)[0], cohort="x").cohort == "x"


def test_an_alarm_is_silenced_for_a_while_and_no_longer_than_a_month(workspace: Workspace, charter: Charter) -> None:
    put(workspace, "nulls", 0, Count(10, 9, 10, 10))
    put(workspace, "nulls", 1, Count(10, 9, 10, 10))
    at(workspace, 2)
    AlarmWatch(workspace, charter).look()
    found = silence_alarm(workspace, "nulls", "ann", 2 * HOUR, "cleaning")
    assert (found.silenced_until_us, found.silenced_by) == (4 * HOUR, "ann")
    event = workspace.journal.latest(1)[0]
    assert (event.action, event.subject, event.actor, event.evidence) == (
        "alarm.silenced",
        "nulls",
        "ann",
        {"until_us": 4 * HOUR},
    )
    assert silence_alarm(workspace, "nulls", "ann", 30 * 24 * HOUR).silenced_until_us == 30 * 24 * HOUR + 2 * HOUR
    with pytest.raises(UsageError, match="at most 30 days"):
        silence_alarm(workspace, "nulls", "ann", 30 * 24 * HOUR + 1)
    assert silence_alarm(workspace, "nulls", "ben", 0).silenced_by == ""
    with pytest.raises(NotFound):
        silence_alarm(workspace, "other", "ann", HOUR)
