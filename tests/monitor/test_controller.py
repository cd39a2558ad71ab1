"""The controller: leads alone, waits for its database, acts on alarms, and survives any kill."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import polars as pl
import pytest

from andon.core.clock import DAY, HOUR, ManualClock
from andon.core.record import Feedback, Field, Prediction, Review, Route
from andon.measure.summary import Moments
from andon.monitor.controller import LEASE, Controller
from andon.monitor.duty import Duties, forget_changed
from andon.monitor.holder import holder_name, is_dead
from andon.monitor.ingest import Pace
from andon.monitor.notify import Notifier
from andon.monitor.watch import alarms
from andon.monitor.window import WindowRow
from andon.scope.charter import parse
from andon.store.codec import DecisionBatch, DecisionRow, encode_decisions, encode_feedback, encode_predictions
from andon.store.frame import Frame, FrameKind
from andon.store.leases import Leases
from andon.store.reader import read_stream
from andon.store.segment import streams
from andon.store.shape import SCHEMAS
from andon.store.view import outcomes
from andon.store.workspace import Workspace
from andon.store.writer import WalWriter

CHARTER_TEXT = """
project: screening
inputs: {cough: bool?, region: category?}
target: {name: result, classes: [negative, positive], delay: 2h}
safe_default: refer
metrics:
  error: {of: error_rate, alarm: "<= 0.2", then: people}
  cough: {of: mean(cough), alarm: "<= 0.5"}
automation: {level: full}
review: {deadline: 1h}
monitor: {window: 1h}
"""
CHARTER = parse(CHARTER_TEXT)
FIELDS = (Field("cough", "bool", optional=True), Field("region", "category", optional=True))
HASH = "00112233445566aa"
NOW = 1_583_884_800_000_000
EVERY_TURN = Pace(window=0, ship=0, tidy=0)
CLASSES = ("negative", "positive")


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    made = Workspace.create(tmp_path / ".andon")
    made.save_contract(HASH, FIELDS, CLASSES)
    made.db.busy_seconds = 0.1
    clock, made.clock = made.clock, ManualClock(NOW)  # type: ignore[assignment]
    yield made
    made.clock = clock
    made.close()


@pytest.fixture
def w0(workspace: Workspace) -> Iterator[WalWriter]:
    writer = WalWriter(workspace.wal_dir, "w0")
    yield writer
    writer.close()


def advance(workspace: Workspace, hours: float) -> None:
    workspace.clock.advance(hours * 3600)  # type: ignore[attr-defined]


def decide(writer: WalWriter, ids: list[str], time_us: int, *, cough: bool = True, **row: Any) -> None:
    batch = DecisionBatch.empty(FIELDS)
    row = {"status": "decided", "decision": "negative", "decided_by": "model", "level": "full"} | row
    for id in ids:
        batch.append_row([cough, "North"], DecisionRow(id=id, time_us=time_us, epoch=1, **row))
    payload = encode_decisions(FIELDS, batch)
    writer.append(FrameKind.DECISION, payload, count=len(ids), contract=bytes.fromhex(HASH), time_us=time_us)


def label(writer: WalWriter, ids: list[str], value: str, time_us: int = NOW) -> None:
    rows = [Feedback(id, "label", value) for id in ids]
    writer.append(FrameKind.FEEDBACK, encode_feedback(rows), count=len(ids), time_us=time_us)


def controller(workspace: Workspace, said: list[str] | None = None, **more: Any) -> Controller:
    say = (lambda _: None) if said is None else said.append
    return Controller(workspace, CHARTER, pace=EVERY_TURN, say=say, **more)


def test_it_leads_works_and_gives_the_lease_back(workspace: Workspace, w0: WalWriter) -> None:
    said: list[str] = []
    decide(w0, ["a", "b"], NOW)
    turns: list[float] = []
    controller(workspace, said).run(lambda: len(turns) == 3, turns.append)
    assert workspace.log.rows(f"decisions/{HASH}") == 2
    assert workspace.leases.holder(LEASE) is None
    assert said == ["this controller leads (term 1)"]
    assert turns == [0.2] * 3


def test_what_a_killed_board_held_is_sent(workspace: Workspace, w0: WalWriter) -> None:
    """The board is gone after holding two answers: one's time ends, the other's case is due before that."""
    from andon.deploy.line import open_inbox

    decide(w0, ["a"], NOW, status="pending", decision=None, decided_by="nobody", level="human")
    decide(w0, ["b"], NOW - HOUR + 5_000_000, status="pending", decision=None, decided_by="nobody", level="human")
    leader = controller(workspace)
    leader.turn()
    board = open_inbox(workspace, CHARTER)
    for item in board.take("maria", 2):
        assert board.hold(item.id, "positive", "maria").state == "taken"
    del board
    said: dict[str, str | None] = {}
    for seconds in (4.9, 0.2, 5.0):
        workspace.clock.advance(seconds)  # type: ignore[attr-defined]
        time.sleep(0.51)  # deadlines are looked at twice a second
        leader.turn()
        said = {item.id: item.reviewer for item in workspace.items.queue(9, "decided")}
        assert set(said) == ({"b"} if seconds == 0.2 else {"a", "b"} if seconds == 5.0 else set())
    assert said == {"a": "maria", "b": "maria"}
    leader.turn()
    kept = workspace.items.many(["a", "b"]).values()
    assert all(item.outboxed and item.decision == "positive" for item in kept)


def test_the_last_round_passes_everything_on(workspace: Workspace, w0: WalWriter) -> None:
    decide(w0, ["a", "b"], NOW)
    label(w0, ["a"], "positive")
    turns: list[float] = []
    slow = Controller(workspace, CHARTER, pace=Pace(window=3600, ship=3600), say=lambda _: None)
    slow.run(lambda: len(turns) == 1, turns.append)
    assert workspace.log.rows("feedback") == 1
    assert [row.metric for row in workspace.windows.read("error")] == ["error"]
    assert workspace.windows.offsets("late") == {"w0": w0.end}


def test_a_second_controller_stands_by_and_takes_over(workspace: Workspace, w0: WalWriter) -> None:
    said: list[str] = []
    workspace.leases = Leases(workspace.db, workspace.clock)
    first = controller(workspace, holder="first")
    second = controller(workspace, said, holder="second")
    decide(w0, ["a"], NOW)
    for _ in range(3):
        first.turn()
        second.turn()
    assert (first.leading, second.leading) == (True, False)
    assert said == ["another controller leads (first); this one stands by"]
    advance(workspace, 1)  # the first one hangs, its lease runs out
    second.turn()
    assert second.leading and said[1:] == ["this controller leads (term 2)"]
    decide(w0, ["b"], NOW)
    first._renewed = -1e9
    first.turn()
    second.turn()
    assert not first.leading
    assert workspace.log.rows(f"decisions/{HASH}") == 2
    assert [row.summary for row in workspace.windows.read("cough")] == [Moments.of(pl.Series([True, True]))]


def test_a_dead_leader_is_not_waited_for(workspace: Workspace) -> None:
    process = subprocess.run(
        [sys.executable, "-c", "from andon.monitor.holder import holder_name; print(holder_name())"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    dead = process.stdout.strip()
    assert is_dead(dead) and not is_dead(holder_name())
    assert workspace.leases.acquire(LEASE, dead, 3600.0) == 1
    follower = controller(workspace)
    follower.turn()
    assert follower.leading


@pytest.mark.parametrize(
    "holder", ["another-host-17", "ann", "", pytest.param(holder_name().replace("-", ".", 1), id="of this process")]
)
def test_who_cannot_be_seen_from_here_may_be_alive(holder: str) -> None:
    assert not is_dead(holder)


def test_with_the_database_gone_it_waits_says_so_once_and_goes_on(workspace: Workspace, w0: WalWriter) -> None:
    said: list[str] = []
    leader = controller(workspace, said)
    leader.turn()
    here, aside = workspace.home / "andon.db", workspace.home / "aside.db"
    here.rename(aside)
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        decide(w0, [f"a{len(waits)}"], NOW)
        if len(waits) == 6:
            aside.rename(here)

    leader._renewed = -1e9
    leader.run(lambda: len(waits) == 9, sleep)
    assert workspace.log.rows(f"decisions/{HASH}") == 9
    assert waits[:6] == [0.4, 0.8, 1.6, 2.0, 2.0, 2.0]
    gone = [sentence for sentence in said if sentence.startswith("waiting: the database")]
    assert len(gone) == 1 and "andon.db" in gone[0]
    assert "going on" in said


def test_with_the_database_gone_from_the_start_it_waits(workspace: Workspace) -> None:
    here, aside = workspace.home / "andon.db", workspace.home / "aside.db"
    here.rename(aside)
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            aside.rename(here)

    said: list[str] = []
    late = controller(workspace, said)
    late.run(lambda: len(waits) == 4, sleep)
    assert said[0].startswith("waiting: the database") and "this controller leads (term 1)" in said


def test_with_the_database_locked_it_waits_and_goes_on(workspace: Workspace, w0: WalWriter) -> None:
    said: list[str] = []
    leader = controller(workspace, said)
    leader.turn()
    other = sqlite3.connect(workspace.home / "andon.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    decide(w0, ["a"], NOW)
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            other.execute("COMMIT")

    leader.run(lambda: len(waits) == 4, sleep)
    other.close()
    assert [sentence for sentence in said if "locked" in sentence] and "going on" in said
    assert workspace.log.rows(f"decisions/{HASH}") == 1
    assert len(workspace.windows.read("cough")) == 1


def test_a_corrupt_middle_is_said_once(workspace: Workspace, w0: WalWriter) -> None:
    said: list[str] = []
    decide(w0, ["a"], NOW)
    at = w0.end
    decide(w0, ["b", "c"], NOW)
    decide(w0, ["d"], NOW)
    path = next((workspace.wal_dir / "w0").glob("*.wal"))
    data = bytearray(path.read_bytes())
    data[at + 80] ^= 1
    path.write_bytes(data)
    leader = controller(workspace, said)
    for _ in range(3):
        leader.turn()
    assert len([sentence for sentence in said if "2 rows are lost, counted" in sentence]) == 1
    assert len(workspace.journal.read(action="log.gap")) == 1


def test_deadlines_answer_with_the_safe_default(workspace: Workspace, w0: WalWriter) -> None:
    decide(w0, ["a"], NOW, status="pending", decision=None, decided_by="nobody", level="human")
    leader = controller(workspace)
    leader.turn()
    advance(workspace, 2)
    assert leader._duties is not None
    leader._duties._next["deadlines"] = 0.0
    leader._renewed = time.monotonic()
    leader.turn()
    leader.turn()
    got = outcomes(workspace).select("status", "prediction", "decided_by").rows()
    assert got == [("decided", "refer", "safe_default")]


def test_routes_published_while_the_database_was_gone_reach_the_journal(workspace: Workspace) -> None:
    workspace.routes.publish(Route(1, NOW, NOW, "ann", "begin", "the clinic opens", levels={"*": "human"}))
    leader = controller(workspace)
    leader.turn()
    leader.turn()
    assert [event.actor for event in workspace.journal.read(action="deploy.begin")] == ["ann"]


def play(workspace: Workspace, leader: Controller, hours: int = 1) -> None:
    """Let event time pass without losing the lease, as a fast clock does."""
    for _ in range(hours):
        advance(workspace, 1)
        leader._renewed = time.monotonic()
        leader.turn()


def test_an_alarm_fires_when_a_window_has_closed_and_resolves_when_one_is_good(
    workspace: Workspace, w0: WalWriter
) -> None:
    posted: list[dict[str, Any]] = []
    notifier = Notifier(["https://example.org/hook"], post=lambda url, body, seconds: posted.append(body))
    leader = controller(workspace, notifier=notifier)
    decide(w0, [f"a{i}" for i in range(100)], NOW)
    leader.turn()
    assert "cough" not in alarms(workspace), "the window is not over"
    play(workspace, leader, 2)
    assert alarms(workspace)["cough"].phase == "firing"
    decide(w0, [f"b{i}" for i in range(100)], NOW + 2 * HOUR, cough=False)
    play(workspace, leader, 3)
    assert alarms(workspace)["cough"].phase == "resolved"
    fired, resolved = (
        workspace.journal.read(action=f"alarm.{what}", subject="cough") for what in ("fired", "resolved")
    )
    assert len(fired) == len(resolved) == 1
    assert fired[0].evidence["estimate"]["n"] == 100 and "outside <= 0.5" in fired[0].reason
    assert [body["title"] for body in posted] == ["screening: alarm cough fired", "screening: alarm cough resolved"]
    assert len(workspace.journal.read(action="alarm.notified")) == 2


def test_when_labels_show_too_many_errors_people_decide(workspace: Workspace, w0: WalWriter) -> None:
    workspace.routes.publish(Route(1, NOW, NOW, "ann", "begin", "", levels={"*": "full"}))
    said: list[str] = []
    leader = controller(workspace, said)
    ids = [f"a{i}" for i in range(60)]
    decide(w0, ids, NOW, cough=False)
    play(workspace, leader, 2)
    label(w0, ids, "positive")
    assert leader._duties is not None
    play(workspace, leader)
    leader._duties._remeasure._due = 0.0
    play(workspace, leader, 2)
    route = workspace.routes.current()
    assert route is not None and route.levels == {"*": "shadow"} and route.actor == "controller"
    assert "error is 100 % (" in route.reason
    assert [event.actor for event in workspace.journal.read(action="deploy.automate")] == ["controller"]
    people = workspace.journal.read(action="alarm.people")
    assert len(people) == 1 and "people decide everything from now on" in people[0].reason
    assert any("alarm error people" in sentence for sentence in said)
    epoch = route.epoch
    play(workspace, leader, 2)
    assert workspace.routes.word() == epoch


def test_an_alarm_without_a_line_to_change_is_settled_and_said(workspace: Workspace, w0: WalWriter) -> None:
    leader = controller(workspace)
    ids = [f"a{i}" for i in range(60)]
    decide(w0, ids, NOW, cough=False)
    label(w0, ids, "positive")
    play(workspace, leader, 5)
    people = workspace.journal.read(action="alarm.people")
    assert len(people) == 1 and "people decide everything already" in people[0].reason
    assert alarms(workspace)["error"].owed == ()


def test_windows_of_a_metric_that_means_something_else_now_are_emptied(workspace: Workspace) -> None:
    workspace.windows.replace([WindowRow("cough", "", 0, HOUR, Moments(3, 1.0))])
    assert forget_changed(workspace, CHARTER) == ["cough"]
    workspace.windows.replace([WindowRow("cough", "", 0, HOUR, Moments(3, 1.0))])
    assert forget_changed(workspace, CHARTER) == []
    other = parse(CHARTER_TEXT.replace("mean(cough)", "missing(cough)"))
    assert forget_changed(workspace, other) == ["cough"]
    assert [row.summary.n for row in workspace.windows.read("cough")] == [0]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("ship", "looks", "slow"), [(5.0, 3.0, 60.0), (0.5, 0.3, 6.0), (30.0, 3.0, 60.0), (0.0, 3.0, 60.0)]
)
def test_who_has_the_log_sooner_looks_at_rollouts_and_levels_sooner(
    workspace: Workspace, ship: float, looks: float, slow: float
) -> None:
    duties = Duties(workspace, CHARTER, Pace(ship=ship), Notifier([]))
    assert (duties._steer._seconds, duties._climb._seconds) == pytest.approx((looks, looks))
    assert duties._climb._slow == pytest.approx(slow)
    duties.close()


def test_old_days_are_deleted_and_it_is_written_down(workspace: Workspace, w0: WalWriter) -> None:
    decide(w0, ["a", "b"], NOW - 400 * DAY)
    decide(w0, ["c"], NOW)
    duties = Duties(workspace, CHARTER, EVERY_TURN, Notifier([]))
    duties.turn()
    duties._keep()
    duties._keep()
    assert outcomes(workspace)["id"].to_list() == ["c"]
    events = workspace.journal.read(action="log.retained")
    assert [event.evidence for event in events] == [{f"decisions/{HASH}": 2, "round": 1}]


CHILD = """
import os, signal, sys, threading
from pathlib import Path
from andon.monitor.controller import run_controller
from andon.scope.charter import parse
from andon.store import log as log_module
from andon.store.workspace import Workspace

home, inside = Path({home!r}), {inside!r}
write = log_module.write_deltalake

def files():
    return set((home / "log").rglob("day=*/*.parquet"))

def die(before):
    # A data file is on the disk; the commit that would name it is not written yet.
    while not files() - before:
        pass
    os.kill(os.getpid(), signal.SIGKILL)

def dying(*args, **options):
    threading.Thread(target=die, args=(files(),), daemon=True).start()
    write(*args, **options)

if inside:
    log_module.write_deltalake = dying
workspace = Workspace.open(home)
workspace.db.busy_seconds = 2.0
run_controller(workspace, parse({charter!r}), ship_seconds=0.05, parent_fd=int(sys.argv[1]))
"""


class Child:
    """A controller in a process of its own, as the engine starts it."""

    def __init__(self, home: Path, *, inside: bool = False) -> None:
        reading, self._writing = os.pipe()
        code = CHILD.format(
            home=str(home), inside=inside, charter=CHARTER_TEXT.replace("deadline: 1h", "deadline: 9000d")
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, str(reading)], pass_fds=(reading,), stderr=subprocess.PIPE, text=True
        )
        os.close(reading)

    def leads(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if "leads (term" in line:
                return
        raise AssertionError("the controller ended before it led")

    def end(self) -> str:
        """As when its parent dies: the pipe is closed."""
        os.close(self._writing)
        rest = self.process.communicate(timeout=60)[1]
        assert self.process.returncode == 0, rest
        return rest

    def killed(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)
        assert self.process.returncode == -signal.SIGKILL
        os.close(self._writing)


def load(workspace: Workspace, writers: dict[str, WalWriter], number: int) -> None:
    """Some of everything that a line writes."""
    at = NOW + number * DAY
    ids = [f"a{number}-{i}" for i in range(20)]
    decide(writers["w0"], ids[:10], at)
    decide(writers["w1"], ids[10:], at, status="pending", decision=None, decided_by="nobody", level="shadow")
    label(writers["w1"], ids[:3], "positive", at)
    said = [Prediction(id, "v2", "negative", 0.7) for id in ids]
    writers["s0"].append(FrameKind.SHADOW, encode_predictions(said), count=20, time_us=at)
    workspace.outbox.append([Review(ids[10], "positive", "person", "ann", at)])


def test_a_controller_killed_at_random_moments_loses_and_doubles_nothing(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / ".andon")
    workspace.save_contract(HASH, FIELDS, CLASSES)
    writers = {name: WalWriter(workspace.wal_dir, name) for name in ("w0", "w1", "s0")}
    random, number, kill = Random(11), 0, 0
    while kill < 5 or (kill < 15 and not orphans(workspace)):
        kill += 1
        inside = kill % 2 == 0
        child = Child(workspace.home, inside=inside)
        child.leads()
        for _ in range(6):
            load(workspace, writers, number)
            number += 1
            time.sleep(random.uniform(0, 0.06))
        if inside:
            child.process.wait(timeout=60)
        child.killed()
    assert orphans(workspace), "no kill fell inside a commit"
    last = Child(workspace.home)
    last.leads()
    load(workspace, writers, number)
    last.end()
    try:
        check(workspace, number + 1)
    finally:
        for writer in writers.values():
            writer.close()
        workspace.close()


def check(workspace: Workspace, loads: int) -> None:
    """Rows in Delta are the rows of the write-ahead log, in every table; windows and items count each row once."""
    due: dict[str, set[tuple[str, int]]] = {}
    for stream in streams(workspace.wal_dir):
        for entry in read_stream(workspace.wal_dir, stream):
            assert isinstance(entry, Frame)
            rows = due.setdefault(table_name(entry), set())
            rows.update((stream, sequence) for sequence in range(entry.first, entry.first + entry.count))
    assert {name: len(rows) for name, rows in due.items()} == {
        f"decisions/{HASH}": 20 * loads,
        "feedback": 3 * loads,
        "shadow": 20 * loads,
        "reviews": loads,
    }
    for name, rows in due.items():
        handle = workspace.log.open(name)
        assert handle is not None
        found = pl.scan_delta(handle).select("stream", "sequence").collect().rows()
        assert len(found) == len(rows) and set(found) == rows, name
    kept = [row.summary for row in workspace.windows.read("cough", "")]
    assert [summary.n for summary in kept if isinstance(summary, Moments)] == [20] * loads
    assert sum(row.summary.n for row in workspace.windows.read("error", "")) == 3 * loads  # type: ignore[attr-defined]
    assert workspace.items.counts() == {"open": 9 * loads, "decided": loads}


def orphans(workspace: Workspace) -> set[str]:
    """Data files that no commit names: what a kill inside a commit leaves behind."""
    log = workspace.log
    named = {Path(uri).name for name in log.tables() if (handle := log.open(name)) for uri in handle.file_uris()}
    return {path.name for path in log.root.rglob("day=*/*.parquet")} - named


def table_name(frame: Frame) -> str:
    names = {FrameKind.FEEDBACK: "feedback", FrameKind.SHADOW: "shadow", FrameKind.REVIEW: "reviews"}
    name = names.get(frame.kind, f"decisions/{HASH}")
    assert name in SCHEMAS or name.startswith("decisions/")
    return name


def test_sigterm_ends_the_process_in_order(tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / ".andon")
    workspace.save_contract(HASH, FIELDS, CLASSES)
    writer = WalWriter(workspace.wal_dir, "w0")
    child = Child(workspace.home)
    child.leads()
    decide(writer, ["a"], NOW)
    child.process.send_signal(signal.SIGTERM)
    assert child.process.wait(timeout=30) == 0
    child.process.communicate()
    assert workspace.log.rows(f"decisions/{HASH}") == 1
    assert workspace.leases.holder(LEASE) is None
    writer.close()
    workspace.close()


def test_an_address_that_nobody_can_tell_loses_its_notices_and_nothing_else(
    workspace: Workspace, w0: WalWriter
) -> None:
    said: list[str] = []
    charter = parse(CHARTER_TEXT + 'alarms: {notify: ["foo://nowhere", "https://example.org/hook"]}')
    leader = Controller(workspace, charter, pace=EVERY_TURN, say=said.append)
    decide(w0, ["a"], NOW)
    leader.turn()
    leader.turn()
    assert said[0] == "alarms.notify: apprise does not understand the foo:// address; it is told nothing"
    assert leader.leading and said[1:] == ["this controller leads (term 1)"]
    assert workspace.log.rows(f"decisions/{HASH}") == 1
