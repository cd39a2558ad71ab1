"""The line's actions on a real workspace: loaded first, raced, journalled once, and with the database gone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import msgspec
import polars as pl
import pytest

from andon.core.record import Item, Route
from andon.deploy import learning
from andon.deploy.chronicle import reconcile, sentence, subject
from andon.deploy.line import Line, open_inbox
from andon.deploy.standing import deploy_status
from andon.errors import Conflict, Corrupt, NotFound, Unavailable, UsageError
from andon.scope.charter import Charter, parse
from andon.store.routes import Ack
from andon.store.workspace import Workspace

CHARTER = """
project: screening
case: automate
inputs: {cough: bool?, age: int}
target: {name: result, classes: [negative, positive], truth: external}
safe_default: refer
slices: {older: "age >= 60", young: "age < 20"}
automation: {level: shadow, partial: {max_error: 0.02, confidence: 0.95, only: [negative]}, slices: {older: human}}
review: {deadline: 30m}
rollout: {start_share: 0.05}
"""
WHO: dict[str, Any] = {"actor": "maria", "reason": "because"}


@pytest.fixture
def charter() -> Charter:
    return parse(CHARTER)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    made = Workspace.create(tmp_path / ".andon")
    for number in (1, 2, 3):
        made.records.put("release", f"v{number}", {"version": f"v{number}", "bundle": f"b{number}" * 8, "run": "r1"})
    yield made
    made.close()


@pytest.fixture(autouse=True)
def evidence(monkeypatch: pytest.MonkeyPatch) -> dict[str, pl.DataFrame]:
    """What is known of each release; nothing unless a test says so."""
    known: dict[str, pl.DataFrame] = {}
    nothing = pl.DataFrame(schema={"model": pl.String, "confidence": pl.Float64, "truth": pl.String, "age": pl.Int64})
    monkeypatch.setattr(learning, "_seen", lambda *given: known.get(given[2], nothing))
    monkeypatch.setattr(learning, "_tested", lambda *given: nothing)
    return known


@pytest.fixture
def line(workspace: Workspace, charter: Charter) -> Line:
    return Line(workspace, charter, patience=0.2)


def sure(n: int, age: int) -> pl.DataFrame:
    return pl.DataFrame(
        {"model": ["negative"] * n, "confidence": [0.99] * n, "truth": ["negative"] * n, "age": [age] * n}
    )


def test_the_line_begins_as_the_charter_says(line: Line, workspace: Workspace) -> None:
    act = line.begin(**WHO)
    assert act is not None
    route = act.route
    assert (route.epoch, route.live, route.levels) == (1, None, {"*": "shadow", "older": "human"})
    assert (route.slices, route.only, route.safe_default) == ({"older": "age >= 60"}, ("negative",), "refer")
    assert (route.review_seconds, route.audit_share, route.blind) == (1800.0, 0.02, True)
    assert line.begin(**WHO) is None


def test_a_changed_charter_is_taken_over_and_said(line: Line, workspace: Workspace) -> None:
    line.switch("v1", **WHO)
    changed = parse(CHARTER.replace("30m", "1h").replace("age >= 60", "age >= 65"))
    act = Line(workspace, changed).begin(actor="maria")
    assert act is not None and act.route.reason == "the charter changed: review_seconds, slices"
    assert (act.route.review_seconds, act.route.slices["older"], act.route.live) == (3600.0, "age >= 65", "v1")


def test_the_whole_way_of_a_release(line: Line, workspace: Workspace) -> None:
    assert line.shadow("v1", **WHO).sentence == "v1 runs in the shadow of people"
    assert line.automate("assist", **WHO).route.live == "v1"
    assert line.canary("v2", **WHO).route.share == 0.05
    assert line.ramp(0.5, **WHO).sentence == "v2 answers 50 % of the units, v1 the rest"
    assert line.switch(**WHO).route.live == "v2"
    assert line.rollback(**WHO).route.live == "v1"
    assert line.switch("v2", **WHO).route.live == "v2"
    assert line.blue_green("v3", **WHO).route.candidate == "v3"
    assert line.hold(**WHO).sentence == "v3 stays at 0 % of the units until somebody resumes"
    assert line.resume(**WHO).sentence == "the rollout of v3 may go on from 0 % of the units"
    assert line.stop(**WHO).route.stopped == "people"
    assert line.start(**WHO).route.stopped == ""
    assert [route.epoch for route in workspace.routes.history()] == list(range(13, 0, -1))


def test_every_route_is_one_event_with_actor_and_reason(line: Line, workspace: Workspace) -> None:
    line.switch("v1", actor="maria", reason="first release")
    line.stop(actor="tom", reason="smoke")
    events = workspace.journal.read()
    assert [(e.action, e.subject, e.actor, e.reason) for e in events] == [
        ("deploy.begin", "route 1", "maria", "the line begins as the charter says"),
        ("deploy.switch", "route 2", "maria", "first release"),
        ("deploy.stop", "route 3", "tom", "smoke"),
    ]
    assert (events[1].evidence["live"], events[1].evidence["said"]) == ("v1", "v1 is live")
    assert reconcile(workspace) == 0 and len(workspace.journal.read()) == 3


def test_refusals_are_one_sentence_and_change_nothing(line: Line, workspace: Workspace) -> None:
    with pytest.raises(UsageError, match="no candidate to ramp"):
        line.ramp(0.5, **WHO)
    with pytest.raises(NotFound, match="no release is called 'v22'; did you mean 'v2'"):
        line.canary("v22", **WHO)
    with pytest.raises(UsageError, match="share: expected"):
        line.canary("v1", 1.5, **WHO)
    with pytest.raises(UsageError, match="nothing to switch to"):
        line.switch(**WHO)
    with pytest.raises(UsageError, match="partial needs a release"):
        line.automate("partial", **WHO)
    with pytest.raises(UsageError, match="did you mean 'partial'"):
        line.automate("partly", **WHO)
    with pytest.raises(NotFound, match="did you mean 'older'"):
        line.automate("human", "oldr", **WHO)
    with pytest.raises(UsageError, match="nothing to roll back to"):
        line.rollback(**WHO)
    with pytest.raises(UsageError, match="not stopped"):
        line.start(**WHO)
    assert len(workspace.routes.history()) == 1


# ----------------------------------------------------------------------------------------------------- workers


class Worker(Thread):
    """A gateway worker as the route plane knows it: loads what the route names and says so."""

    def __init__(self, workspace: Workspace, name: str, broken: tuple[str, ...] = (), deaf: bool = False) -> None:
        super().__init__(daemon=True)
        self.plane, self.label, self.broken, self.deaf = workspace.routes, name, broken, deaf
        self.seen: list[Route] = []
        self.over = Event()
        self.tell(0, ())

    def tell(self, epoch: int, loaded: tuple[str, ...]) -> None:
        faults = {version: "bundle damaged" for version in loaded if version in self.broken}
        whole = tuple(version for version in loaded if version not in self.broken)
        self.plane.acknowledge(self.label, Ack(self.label, os.getpid(), epoch, whole, 0, faults))

    def run(self) -> None:
        while not self.over.wait(0.002):
            route = self.plane.current()
            if route is None or (self.seen and self.seen[-1].epoch == route.epoch) or self.deaf:
                continue
            self.seen.append(route)
            self.tell(route.epoch, tuple(v for v in (route.live, route.candidate, *route.warm) if v))


@pytest.fixture
def hire(workspace: Workspace) -> Iterator[Any]:
    hired: list[Worker] = []

    def start(*args: Any, **kwargs: Any) -> Worker:
        worker = Worker(workspace, *args, **kwargs)
        worker.start()
        hired.append(worker)
        return worker

    yield start
    for worker in hired:
        worker.over.set()
        worker.join()


def test_a_version_is_loaded_before_it_answers(line: Line, hire: Any, workspace: Workspace) -> None:
    line.switch("v1", **WHO)
    hire("w0")
    hire("w1")
    act = line.canary("v2", 0.2, **WHO)
    assert (act.following, act.workers, act.notes) == (2, 2, ())
    assert [route.action for route in workspace.routes.history()] == ["canary", "warm", "switch", "begin"]
    assert line.rollback(**WHO).route.live == "v1"
    assert [route.action for route in workspace.routes.history()][:2] == ["rollback", "canary"]  # nothing to load


def test_a_shadow_is_loaded_by_the_workers_before_it_answers(line: Line, hire: Any, workspace: Workspace) -> None:
    line.shadow("v1", **WHO)
    hire("w0")
    act = line.automate("assist", **WHO)
    assert (act.route.live, act.route.shadows, act.following) == ("v1", (), 1)
    assert [route.action for route in workspace.routes.history()] == ["automate", "warm", "shadow", "begin"]


def test_a_version_that_does_not_load_answers_nothing(line: Line, hire: Any, workspace: Workspace) -> None:
    line.switch("v1", **WHO)
    hire("w0")
    hire("w1", broken=("v2",))
    with pytest.raises(Unavailable, match="worker w1 could not load v2: bundle damaged"):
        line.switch("v2", **WHO)
    route = workspace.routes.current()
    assert route is not None and (route.live, route.warm, route.action) == ("v1", (), "cool")


def test_an_old_fault_does_not_count_against_a_new_try(line: Line, hire: Any, workspace: Workspace) -> None:
    line.switch("v1", **WHO)
    workspace.routes.acknowledge("w0", Ack("w0", os.getpid(), 2, ("v1",), 0, {"v2": "disk full"}))
    with pytest.raises(Unavailable, match=r"w0: v2 is not loaded after 0\.2 s"):
        line.canary("v2", **WHO)
    hire("w0")
    assert line.canary("v2", **WHO).route.candidate == "v2"


def test_what_workers_say_of_a_route_is_told(line: Line, workspace: Workspace) -> None:
    line.begin(**WHO)
    for worker in ("w0", "w1"):
        fault = {"route 2": "slice older: the contract has no column age"}
        workspace.routes.acknowledge(worker, Ack(worker, os.getpid(), 2, (), 0, fault))
    assert line.stop(**WHO).notes == ("slice older: the contract has no column age",)
    assert deploy_status(workspace)["workers"][0]["faults"] == fault


def test_a_worker_that_never_answers_is_waited_for_only_so_long(line: Line, hire: Any, workspace: Workspace) -> None:
    line.switch("v1", **WHO)
    hire("w0", deaf=True)
    with pytest.raises(Unavailable, match=r"w0: v2 is not loaded after 0\.2 s"):
        line.canary("v2", **WHO)
    act = line.stop(**WHO)  # nothing to load: it takes no permission
    assert act.route.stopped == "people" and act.notes == ("0 of 1 workers follow so far",)


def test_dead_workers_are_not_waited_for(line: Line, workspace: Workspace) -> None:
    line.switch("v1", **WHO)
    workspace.routes.acknowledge("w9", Ack("w9", 2**22 + 1, 1))
    act = line.canary("v2", **WHO)
    assert (act.workers, act.notes) == (0, ())


def test_a_damaged_bundle_is_refused_even_while_no_worker_runs(line: Line, workspace: Workspace) -> None:
    line.switch("v1", **WHO)
    bundle = workspace.home / "bundles" / ("b2" * 8)
    bundle.mkdir(parents=True)
    (bundle / "manifest.json").write_bytes(b"{}")
    for act in (line.switch, line.canary, line.blue_green):
        with pytest.raises(Corrupt, match=r"manifest\.json has changed: expected hash b2b2"):
            act("v2", **WHO)
    current = workspace.routes.current()
    assert current is not None and current.live == "v1" and current.candidate is None


# --------------------------------------------------------------------------------------------- database gone, races


def test_with_the_database_gone_the_line_still_acts_and_the_journal_follows(
    line: Line, workspace: Workspace, tmp_path: Path
) -> None:
    line.switch("v1", **WHO)
    line.canary("v2", **WHO)
    workspace.db.close()
    hidden = [(path, path.with_name("away-" + path.name)) for path in workspace.home.glob("andon.db*")]
    for path, away in hidden:
        path.rename(away)
    act = line.rollback(**WHO)
    assert (act.route.live, act.route.candidate, act.journalled) == ("v1", None, False)
    assert "the journal follows" in act.notes[0]
    assert line.stop(**WHO).route.stopped == "people"
    assert line.switch("v2", **WHO).route.live == "v2"  # known to the route plane
    with pytest.raises(Unavailable, match="v3 cannot be looked up"):
        line.canary("v3", **WHO)
    for path, away in hidden:
        away.rename(path)
    assert reconcile(workspace) == 3
    assert [event.subject for event in workspace.journal.read()] == [subject(epoch) for epoch in range(1, 7)]
    assert reconcile(workspace) == 0 and workspace.journal.verify() == (True, None)


def test_with_a_database_that_is_garbage_the_line_still_acts_and_says_so(line: Line, workspace: Workspace) -> None:
    line.switch("v1", **WHO)
    workspace.db.close()
    for path in workspace.home.glob("andon.db*"):
        path.unlink()
    (workspace.home / "andon.db").write_bytes(b"\x9b" * 20_000)
    for act in (line.stop(**WHO), line.start(**WHO), line.automate("human", **WHO), line.rollback(**WHO)):
        assert not act.journalled and "the journal follows" in act.notes[0] and "restore it" in act.notes[0]
    current = workspace.routes.current()
    assert current is not None and current.epoch == act.route.epoch


def test_a_crash_between_event_and_state_writes_nothing_twice(line: Line, workspace: Workspace) -> None:
    line.switch("v1", **WHO)
    workspace.states.put("routes", "journalled", {"epoch": 0})
    assert reconcile(workspace) == 0
    assert len(workspace.journal.read()) == 2


def test_a_journal_that_somebody_else_is_writing_is_waited_for_only_so_long(line: Line, workspace: Workspace) -> None:
    line.switch("v1", **WHO)
    line.stop(**WHO)
    workspace.states.put("routes", "journalled", {"epoch": 2})
    assert workspace.leases.acquire("route-journal", "somebody", 60.0, workspace.clock) is not None
    with pytest.raises(Unavailable, match="another process is writing"):
        reconcile(workspace, patience=0.05)
    act = line.start(**WHO)
    assert act.route.stopped == "" and not act.journalled


def test_all_slices_go_to_people_in_one_step_that_no_rollback_undoes(line: Line) -> None:
    line.switch("v1", **WHO)
    line.automate("full", **WHO)
    line.automate("assist", "young", **WHO)
    act = line.to_people(**WHO)
    assert act.route.levels == {"*": "shadow", "older": "human", "young": "shadow"}
    with pytest.raises(UsageError, match="people decide everything already"):
        line.to_people(**WHO)
    assert line.rollback(**WHO).route.levels == {"*": "shadow", "older": "human"}  # before it was raised to full


def test_a_route_that_comes_while_the_journal_follows_pushes_no_other_out(
    line: Line, workspace: Workspace, charter: Charter, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.switch("v1", **WHO)
    plane, seen, calls = workspace.routes, workspace.routes.current, [0]

    def current() -> Route | None:
        found = seen()
        calls[0] += 1
        if found is not None and calls[0] == 2:  # the journal has just looked which route is the newest
            plane.publish(msgspec.structs.replace(found, epoch=4))
        return found

    before = seen()
    assert before is not None
    plane.publish(msgspec.structs.replace(before, epoch=3))
    monkeypatch.setattr(plane, "current", current)
    reconcile(workspace)
    monkeypatch.undo()
    reconcile(workspace)
    assert [event.subject for event in workspace.journal.read()] == [subject(epoch) for epoch in range(1, 5)]


def test_racing_actions_are_all_recorded_in_order(line: Line, workspace: Workspace, charter: Charter) -> None:
    line.switch("v1", **WHO)
    line.canary("v2", 0.1, **WHO)
    shares = [0.2, 0.3, 0.4, 0.5]
    threads = [Thread(target=lambda share=share: Line(workspace, charter).ramp(share, **WHO)) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    reconcile(workspace)
    assert sorted(route.share for route in workspace.routes.history(4)) == shares
    assert [event.subject for event in workspace.journal.read()] == [subject(epoch) for epoch in range(1, 8)]


def test_only_one_of_two_canaries_begins(line: Line, workspace: Workspace, charter: Charter) -> None:
    line.switch("v1", **WHO)
    failed: list[str] = []

    def begin(version: str) -> None:
        try:
            Line(workspace, charter).canary(version, **WHO)
        except Conflict as error:
            failed.append(error.message)

    threads = [Thread(target=begin, args=(version,)) for version in ("v2", "v3")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failed) == 1 and "is the candidate already" in failed[0]


# ------------------------------------------------------------------------------------------------------- partial


def test_partial_says_why_nothing_is_automatic_yet(line: Line, workspace: Workspace, evidence: Any) -> None:
    line.shadow("v1", **WHO)
    evidence["v1"] = sure(100, age=30)
    act = line.automate("partial", **WHO)
    assert act.route.thresholds == {} and act.route.live == "v1"
    assert "about 183 would" in act.notes[0]
    [event] = workspace.journal.read(action="automation.learn")
    assert (event.subject, event.evidence["threshold"]["labels_needed"]) == ("v1/*", 183)


def test_partial_learns_a_threshold_for_each_slice_from_its_own_cases(line: Line, evidence: Any) -> None:
    line.switch("v1", **WHO)
    evidence["v1"] = pl.concat([sure(400, age=30), sure(60, age=70)])
    act = line.automate("partial", **WHO)
    assert act.route.thresholds == {"v1/*": 0.99}
    act = line.automate("partial", "older", **WHO)
    assert act.route.thresholds == {"v1/*": 0.99} and "in older" in act.notes[0]
    assert act.route.levels == {"*": "partial", "older": "partial"}


def test_a_candidate_learns_its_own_threshold(line: Line, evidence: Any) -> None:
    line.switch("v1", **WHO)
    evidence["v1"] = evidence["v2"] = sure(400, age=30)
    line.automate("partial", **WHO)
    assert line.canary("v2", **WHO).route.thresholds == {"v1/*": 0.99, "v2/*": 0.99}
    assert line.switch(**WHO).route.thresholds == {"v1/*": 0.99, "v2/*": 0.99}


def test_looking_changes_nothing_and_is_written_down(line: Line, workspace: Workspace, evidence: Any) -> None:
    line.shadow("v1", **WHO)
    evidence["v1"] = sure(400, age=30)
    assert [line.learn("v1").look for _ in range(2)] == [1, 1]  # the same labels are the same look
    evidence["v1"] = sure(450, age=30)
    found = line.learn("v1", actor="tom")
    assert (found.look, found.value, round(found.threshold.delta, 6)) == (2, 0.99, 0.008333)
    assert workspace.routes.history()[0].action == "shadow"
    assert [event.actor for event in workspace.journal.read(action="automation.learn")][-1] == "tom"
    assert line.learn("v1", "older").look == 1
    with pytest.raises(NotFound, match="did you mean 'v1'"):
        line.learn("v11")


def test_a_candidate_without_a_database_decides_nothing_by_itself(
    line: Line, workspace: Workspace, evidence: Any
) -> None:
    line.switch("v1", **WHO)
    line.switch("v2", **WHO)
    evidence["v1"] = evidence["v2"] = sure(400, age=30)
    line.automate("partial", **WHO)
    workspace.db.close()
    for path in workspace.home.glob("andon.db*"):
        path.unlink()
    act = line.switch("v1", **WHO)
    assert act.route.live == "v1" and act.route.thresholds == {"v2/*": 0.99}
    assert "v1 decides nothing by itself yet, people do" in act.notes[0]
    with pytest.raises(Unavailable):
        line.automate("partial", **WHO)


def test_labels_that_may_not_be_automatic_do_not_count(line: Line, evidence: Any) -> None:
    line.switch("v1", **WHO)
    positive = sure(400, age=30).with_columns(model=pl.lit("positive"), truth=pl.lit("positive"))
    evidence["v1"] = pl.concat([positive, sure(400, age=30)])
    [note] = line.automate("partial", **WHO).notes
    assert "50 % of the cases" in note


# -------------------------------------------------------------------------------------------------------- views


def test_status_is_the_contract(line: Line, workspace: Workspace) -> None:
    assert deploy_status(workspace) == {"route": None, "rollout": None, "workers": []}
    line.switch("v1", **WHO)
    assert deploy_status(workspace)["rollout"] is None
    line.canary("v2", 0.1, actor="tom", reason="try it")
    line.ramp(0.2, **WHO)
    status = deploy_status(workspace)
    assert {"epoch", "live", "candidate", "share", "shadows", "levels"} <= set(status["route"])
    assert status["rollout"]["actor"] == "tom" and status["rollout"]["share"] == 0.2
    assert status["rollout"]["pattern"] == "canary"
    assert msgspec.json.decode(msgspec.json.encode(status)) == status


@pytest.mark.parametrize(
    "action",
    [
        "begin",
        "policy",
        "warm",
        "cool",
        "shadow",
        "unshadow",
        "canary",
        "ramp",
        "blue-green",
        "switch",
        "rollback",
        "automate",
        "stop",
        "start",
        "hold",
        "resume",
        "later",
    ],
)
def test_every_action_has_a_sentence(action: str) -> None:
    assert sentence(Route(1, 0, 0, "maria", action, "", live="v1", candidate="v2")).strip()


def test_the_inbox_has_the_charters_policy(workspace: Workspace, charter: Charter) -> None:
    inbox = open_inbox(workspace, charter)
    assert inbox.policy.answers == ("negative", "positive", "refer")
    assert (inbox.policy.deadline_us, inbox.policy.on_timeout) == (1_800_000_000, "safe_default")
    assert (inbox.policy.doubling.share, inbox.policy.doubling.deadline_us) == (0.0, 24 * 1_800_000_000)
    workspace.items.add([Item("a", "decision", 0, 0, {"age": 3})])
    assert inbox.decide("a", "negative", "maria").outboxed
