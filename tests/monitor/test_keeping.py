"""Retention: everything that holds inputs or answers goes at its bound, once counted, wherever the round is killed."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.monitor.test_believed import Leaping

from andon.core.clock import DAY, HOUR, ManualClock
from andon.core.record import Feedback, Field, Item, Review
from andon.monitor import keeping
from andon.monitor.believed import confirm
from andon.monitor.duty import Duties
from andon.monitor.ingest import Pace
from andon.monitor.keeping import Keeper
from andon.monitor.notify import Notifier
from andon.scope.charter import parse
from andon.store.codec import DecisionBatch, DecisionRow, encode_decisions, encode_feedback, encode_reviews
from andon.store.frame import Frame, FrameKind
from andon.store.journal import Journal
from andon.store.log import DecisionLog
from andon.store.rolling import roll_left
from andon.store.segment import segment_starts, stream_end
from andon.store.states import States
from andon.store.workspace import Workspace
from andon.store.writer import WalWriter
from andon.surface.doctor_check import Case
from andon.surface.doctor_retention import retention

FIELDS = (Field("name", "text"),)
HASH = "00112233445566aa"
TABLE = f"decisions/{HASH}"
DAYS = 30
NOW = 1_583_884_800_000_000  # midnight
BOUND = NOW - DAYS * DAY
CHARTER = parse(
    f"""
project: screening
inputs: {{name: text}}
target: {{name: result, classes: [negative, positive]}}
safe_default: refer
checklist: {{logging: {{retain_days: {DAYS}}}}}
review: {{on_timeout: wait}}
"""
)


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    made = Workspace.create(tmp_path / ".andon")
    made.save_contract(HASH, FIELDS, ("negative", "positive"))
    clock, made.clock = made.clock, ManualClock(NOW)  # type: ignore[assignment]
    yield made
    made.clock = clock
    made.close()


def decided(stream: WalWriter, id: str, time_us: int) -> Frame:
    batch = DecisionBatch.empty(FIELDS)
    batch.append_row(
        [f"marked {id}"], DecisionRow(id=id, time_us=time_us, status="decided", decision="negative", decided_by="model")
    )
    payload = encode_decisions(FIELDS, batch)
    return stream.append(FrameKind.DECISION, payload, count=1, contract=bytes.fromhex(HASH), time_us=time_us)


def other(stream: WalWriter, id: str, time_us: int) -> list[Frame]:
    label = encode_feedback([Feedback(id, "label", "marked label")])
    review = encode_reviews([Review(id, "negative", "person", "ann", time_us=time_us)])
    return [
        stream.append(FrameKind.FEEDBACK, label, count=1, time_us=time_us),
        stream.append(FrameKind.REVIEW, review, count=1, time_us=time_us),
    ]


def item(id: str, state: Any, decided_us: int = 0, created_us: int = BOUND - 9 * DAY, outboxed: bool = True) -> Item:
    return Item(
        id, "decision", created_us, NOW, {"name": f"marked {id}"}, state=state, decided_us=decided_us, outboxed=outboxed
    )


def torn(workspace: Workspace, name: str, time_us: int) -> Path:
    path = workspace.wal_dir / "w0" / f"torn-{name}"
    path.write_bytes(b"marked")
    wall_us = workspace.clock.wall() - (NOW - time_us)
    os.utime(path, ns=(wall_us * 1000, wall_us * 1000))
    return path


def filled(workspace: Workspace) -> None:
    """One of each on both sides of its bound."""
    writer = WalWriter(workspace.wal_dir, "w0")
    frames = []
    for id, time_us in (("old", BOUND - 3 * DAY), ("last", BOUND - 1), ("first", BOUND), ("new", NOW)):
        frames += [decided(writer, id, time_us), *other(writer, id, time_us)]
    writer.close()
    for frame in frames:
        workspace.log.ship("w0", [frame], lambda name: workspace.load_contract(name)[0])
    workspace.items.add(
        [
            item("gone", "decided", BOUND - 1),
            item("kept", "decided", BOUND),
            item("unsent", "decided", BOUND - 9, outboxed=False),
            item("open", "open", created_us=NOW - 2 * DAY),
        ]
    )
    torn(workspace, "old", BOUND - 1_000_000)
    torn(workspace, "new", BOUND + 60_000_000)


GONE = {TABLE: 2, "feedback": 2, "reviews": 2, "review items": 1, "torn files": 1}


def state(workspace: Workspace) -> dict[str, Any]:
    log = workspace.log
    return {
        "rows": {table: log.rows(table) for table in log.tables()},
        "days": sorted({path.parent.name for path in log.root.rglob("day=*/*.parquet")}),
        "items": {one.id for one in workspace.items.queue(99, None)},
        "torn": sorted(path.name for path in workspace.wal_dir.rglob("torn-*")),
        "told": [event.evidence for event in workspace.journal.read(action="log.retained")],
        "plan": workspace.states.get("retention", "round", dict),
    }


AFTER = {
    "rows": {TABLE: 2, "feedback": 2, "reviews": 2},
    "days": ["day=2020-02-10", "day=2020-03-11"],
    "items": {"kept", "unsent", "open"},
    "torn": ["torn-new"],
    "told": [{**GONE, "round": 1}],
    "plan": None,
}


def test_what_is_older_goes_and_what_is_at_the_bound_stays(workspace: Workspace) -> None:
    filled(workspace)
    keeper = Keeper(workspace, DAYS)
    assert (keeper.turn(), keeper.turn()) == (True, False)
    assert state(workspace) == AFTER
    reason = workspace.journal.read(action="log.retained")[0].reason
    assert reason == "decisions are kept for 30 days; older were 6 rows, 1 of the review items, 1 of the torn files"
    workspace.clock.advance(1e-6)  # type: ignore[attr-defined]
    assert keeper.turn() and state(workspace)["items"] == {"unsent", "open"}
    assert state(workspace)["days"] == AFTER["days"]  # the day goes when all of it is older
    workspace.clock.advance(86_400 - 1e-6)  # type: ignore[attr-defined]
    assert keeper.turn() and state(workspace)["days"] == ["day=2020-03-11"]
    assert [sum(n for what, n in told.items() if what != "round") for told in state(workspace)["told"]] == [8, 1, 4]


def test_a_machine_that_starts_a_year_ahead_deletes_nothing_until_somebody_says_that_it_is_right(
    workspace: Workspace,
) -> None:
    filled(workspace)
    Keeper(workspace, DAYS).turn()
    clock = workspace.clock = Leaping(NOW)  # type: ignore[assignment]
    clock.leap(365 * DAY)
    keeper = Keeper(workspace, DAYS)
    keeper.turn()
    for _ in range(5):
        clock.advance(3600)
        keeper.turn()
    found = state(workspace)
    later = {"items": {"unsent", "open"}, "torn": [], "told": found["told"]}  # what five hours of life made old
    assert found == {**AFTER, **later}
    writer = WalWriter(workspace.wal_dir, "w1")  # a day of a year that is not there: nothing is believed for it
    workspace.log.ship("w1", [decided(writer, "wrong", clock.now())], lambda name: workspace.load_contract(name)[0])
    writer.close()
    again = Keeper(workspace, DAYS)
    assert not again.turn() and "day=2020-03-11" in state(workspace)["days"]
    said = retention(Case(Path(), workspace.home, CHARTER, workspace))
    assert (said.state, said.facts) == ("look", {"ahead_us": 365 * DAY})
    assert "365 days ahead" in said.sentence and "andon doctor --confirm-clock" in said.next
    clock.advance(19 * 3600)
    again.turn()  # what the line itself has lived through is over
    assert state(workspace)["days"] == ["day=2020-03-11", "day=2021-03-11"]
    confirm(workspace, "ann")
    again.turn()
    assert state(workspace)["days"] == ["day=2021-03-11"]
    assert "ahead_us" not in retention(Case(Path(), workspace.home, CHARTER, workspace)).facts


def test_a_log_whose_newest_day_is_long_ago_is_not_deleted_by_the_first_controller(workspace: Workspace) -> None:
    """A workspace of before the belief was kept, or restored from a backup."""
    writer = WalWriter(workspace.wal_dir, "w0")
    frames = [decided(writer, id, time_us) for id, time_us in (("a", BOUND + 2 * DAY), ("b", NOW))]
    writer.close()
    workspace.log.ship("w0", frames, lambda name: workspace.load_contract(name)[0])
    assert workspace.log.newest_day() == date(2020, 3, 11)
    clock = workspace.clock = Leaping(NOW + DAY + 3 * DAY + 1)  # type: ignore[assignment]
    keeper = Keeper(workspace, DAYS)
    assert not keeper.turn()  # as of the end of its last day
    assert retention(Case(Path(), workspace.home, CHARTER, workspace)).facts == {"ahead_us": 3 * DAY + 1}
    clock.leap(-1)
    assert not keeper.turn()
    clock.advance(3600)
    assert keeper.turn() and state(workspace)["days"] == ["day=2020-03-11"]  # a tenth of the promise, after an hour


class Killed(BaseException):
    pass


STEPS: list[tuple[Any, str]] = [
    (States, "put"),
    (DecisionLog, "drop"),
    (keeping, "drop_decided"),
    (Path, "unlink"),
    (Journal, "append"),
    (States, "delete"),
    (DecisionLog, "sweep"),
    (Path, "rmdir"),
]


def killed_at(monkeypatch: pytest.MonkeyPatch, at: int) -> list[str]:
    """Die before or behind the step of this number, counted over everything that changes anything."""
    met: list[str] = []

    def wrap(owner: Any, name: str) -> None:
        real: Callable[..., Any] = getattr(owner, name)

        def step(*args: Any, **more: Any) -> Any:
            for half in ("before", "behind"):
                met.append(f"{half} {name}")
                if half == "behind":
                    found = real(*args, **more)
                if len(met) == at or (half == "behind" and at == -1):
                    raise Killed
            return found

        monkeypatch.setattr(owner, name, step)

    for owner, name in STEPS:
        wrap(owner, name)
    return met


@pytest.mark.parametrize("which", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))])
def test_a_round_killed_between_any_two_steps_ends_the_same_and_is_counted_once(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, which: int
) -> None:
    """Every third place; the counter goes on until a round is done without a kill."""
    at, met = which + 1, [""]
    while True:
        with monkeypatch.context() as patch:
            _refill(workspace)
            met = killed_at(patch, at)
            try:
                Keeper(workspace, DAYS).turn()
            except Killed:
                workspace._log = None
            else:
                break
        keeper = Keeper(workspace, DAYS)
        while keeper.turn():
            pass
        found = state(workspace)
        assert found | {"told": found["told"][-1:]} == AFTER | {"told": [{**GONE, "round": len(found["told"])}]}, met[
            -1
        ]
        at += 3
    assert at > 15


def _refill(workspace: Workspace) -> None:
    """The same again in the same workspace, with streams and tables that begin anew."""
    import shutil

    for folder in ("wal/w0", "log"):
        shutil.rmtree(workspace.home / folder, ignore_errors=True)
    workspace._log = None
    with workspace.db.write() as connection:
        connection.exec_driver_sql("DELETE FROM items")
    filled(workspace)


def test_a_day_with_an_open_case_stays_until_it_is_decided(workspace: Workspace) -> None:
    filled(workspace)
    workspace.items.add([item("waits", "taken", created_us=BOUND - 3 * DAY + 5)])
    keeper = Keeper(workspace, DAYS)
    keeper.turn()
    assert state(workspace)["rows"] == {TABLE: 3, "feedback": 2, "reviews": 2}
    for path in workspace.wal_dir.rglob("*.wal"):
        path.unlink()
    found = retention(Case(Path(), workspace.home, CHARTER, workspace))
    assert found.state == "good" and "1 day of cases that wait for a person is kept" in found.sentence
    ended = item("waits", "decided", NOW, BOUND - 3 * DAY + 5)
    assert workspace.items.swap(msgspec.structs.replace(ended, revision=1))
    keeper.turn()
    assert state(workspace)["rows"][TABLE] == 2


def test_a_round_is_bounded_and_the_next_one_comes_soon(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "_ITEMS", 2)
    workspace.items.add([item(f"a{n}", "decided", n + 1) for n in range(5)])
    keeper = Keeper(workspace, DAYS)
    assert [keeper.turn() for _ in range(4)] == [True, True, True, False]
    told = workspace.journal.read(action="log.retained")
    assert [event.evidence["review items"] for event in told] == [2, 2, 1]


def test_a_line_that_ships_nothing_deletes_all_the_same(workspace: Workspace) -> None:
    filled(workspace)
    duties = Duties(workspace, CHARTER, Pace(window=9, ship=9, tidy=9), Notifier([]))
    duties._shipped = False
    duties._keep()
    assert state(workspace) == AFTER
    duties.close()


def test_the_doctor_says_what_is_older_than_promised(workspace: Workspace) -> None:
    filled(workspace)
    case = Case(Path(), workspace.home, CHARTER, workspace)
    found = retention(case)
    assert found.facts | {"segments": 0} == {
        "retain_days": DAYS,
        "waiting_days": 0,
        "days": 1,
        "decided_review_items": 0,  # an hour is given
        "segments": 0,
        "torn_ends": 0,
        "unread_shadow_cases": 0,
    }
    workspace.clock.advance(3601)  # type: ignore[attr-defined]
    found = retention(case)
    assert found.state == "look"
    assert "2 decided review items" in found.sentence
    assert "1 torn end" in found.sentence and "2020-02-07" in found.sentence
    assert found.facts["days"] == 2 and found.facts["segments"] == 1


def test_the_last_segment_of_a_stream_goes_too_when_it_is_old(workspace: Workspace) -> None:
    writer = WalWriter(workspace.wal_dir, "w0")
    assert not writer.roll_older(0.0, 10.0)  # nothing is in it
    decided(writer, "a", NOW)
    assert not writer.roll_older(100.0, 10.0)  # seen first
    assert not writer.roll_older(109.99, 10.0)
    assert writer.roll_older(110.0, 10.0) and not writer.roll_older(999.0, 10.0)
    decided(writer, "b", NOW + 1)
    assert len(segment_starts(workspace.wal_dir / "w0")) == 2
    assert not roll_left(workspace.wal_dir, "w0", NOW + 9)  # its writer runs
    writer.close()
    again = WalWriter(workspace.wal_dir, "w0")
    assert again.roll_older(0.0, 10.0)  # what was found counts as old
    decided(again, "c", NOW + 2)
    again.close()
    assert not roll_left(workspace.wal_dir, "w0", NOW + 2)
    ended = stream_end(workspace.wal_dir / "w0")
    assert roll_left(workspace.wal_dir, "w0", NOW + 3)
    assert stream_end(workspace.wal_dir / "w0") == ended  # whoever waits until all is read waits for no empty segment
    assert not roll_left(workspace.wal_dir, "w0", NOW + 3)
    again = WalWriter(workspace.wal_dir, "w0")
    assert (decided(again, "d", NOW).first, len(segment_starts(workspace.wal_dir / "w0"))) == (3, 4)
    again.close()


def test_a_quiet_line_has_no_inputs_in_its_streams_any_more(workspace: Workspace) -> None:
    writer = WalWriter(workspace.wal_dir, "w0")
    decided(writer, "a", NOW - 5 * HOUR)
    workspace.outbox.append([Review("a", "negative", "person", "ann", time_us=NOW - 5 * HOUR)])
    writer.close()
    for path in workspace.wal_dir.rglob("*.wal"):
        os.utime(path, (1, 1))
    duties = Duties(workspace, CHARTER, Pace(window=0, ship=0, tidy=0), Notifier([]))
    for _ in range(3):
        duties.turn()
        for path in workspace.wal_dir.rglob("*.wal"):
            os.utime(path, (1, 1))
    duties.close()
    assert not any(
        b"marked" in path.read_bytes() or b"ann" in path.read_bytes() for path in workspace.wal_dir.rglob("*.wal")
    )
    assert workspace.log.rows(TABLE) == 1
