"""From the write-ahead log to items, windows and the decision log: once, however often it is begun."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from andon.core.clock import DAY, HOUR, ManualClock
from andon.core.record import Feedback, Prediction, Review, Route
from andon.errors import Conflict, Unavailable
from andon.measure.summary import Count, Moments
from andon.monitor.ingest import Ingest, Pace
from andon.monitor.intake import AUDIT_DEADLINES
from andon.monitor.remeasure import LABELS, Remeasure
from andon.monitor.tap import CONSUMERS
from andon.monitor.window import Measured
from andon.scope.charter import Charter, parse
from andon.store.codec import (
    DecisionBatch,
    DecisionRow,
    Loss,
    encode_decisions,
    encode_feedback,
    encode_losses,
    encode_predictions,
)
from andon.store.frame import FrameKind
from andon.store.segment import segment_path, segment_starts
from andon.store.view import decisions, losses, outcomes
from andon.store.workspace import Workspace
from andon.store.writer import WalWriter

ASKED = """
project: screening
inputs: {cough: bool?, region: category?}
target: {name: result, classes: [negative, positive]}
safe_default: refer
metrics:
  error: {of: error_rate, alarm: "<= 0.2", then: people}
  model: {of: error_rate, where: "decided_by = 'model'"}
  cough: {of: mean(cough), alarm: "<= 0.9"}
slices: {north: "region = 'North'"}
review: {deadline: 1h}
monitor: {window: 1h}
"""
CHARTER = parse(ASKED)
FIELDS = CHARTER.fields()
HASH = "00112233445566aa"
NOW = 1_583_884_800_000_000
EVERY_TURN = Pace(window=0, ship=0, tidy=0)


class Lab:
    """A line without a gateway: streams are written here."""

    def __init__(self, home: Path) -> None:
        self.workspace = Workspace.create(home)
        self.clock = ManualClock(NOW)
        self.real_clock = self.workspace.clock
        self.workspace.clock = self.clock  # type: ignore[assignment]
        self.workspace.save_contract(HASH, FIELDS, CHARTER.target.classes)
        self.made = 0
        self.writers: dict[str, WalWriter] = {}

    def writer(self, stream: str, **more: Any) -> WalWriter:
        if stream not in self.writers:
            self.writers[stream] = WalWriter(self.workspace.wal_dir, stream, **more)
        return self.writers[stream]

    def decide(self, n: int = 1, *, stream: str = "w0", at: int = NOW, cough: bool = True, **row: Any) -> list[str]:
        ids = [f"a{self.made + i}" for i in range(n)]
        self.made += n
        row = {
            "status": "decided",
            "decision": "negative",
            "decided_by": "model",
            "level": "full",
            "version": "v1",
        } | row
        batch = DecisionBatch.empty(FIELDS)
        for id in ids:
            batch.append_row([cough, "North"], DecisionRow(id=id, time_us=at, epoch=1, **row))
        payload = encode_decisions(FIELDS, batch)
        self.writer(stream).append(FrameKind.DECISION, payload, count=n, contract=bytes.fromhex(HASH), time_us=at)
        return ids

    def ask(self, n: int = 1, **row: Any) -> list[str]:
        nobody = {"status": "pending", "decision": None, "decided_by": "nobody", "level": "shadow", "version": None}
        return self.decide(n, **nobody | row)

    def feedback(self, *rows: Feedback, stream: str = "w0") -> None:
        self.writer(stream).append(FrameKind.FEEDBACK, encode_feedback(rows), count=len(rows), time_us=NOW)

    def label(self, ids: Sequence[str], value: str) -> None:
        self.feedback(*[Feedback(id, "label", value) for id in ids])

    def close(self) -> None:
        for writer in self.writers.values():
            writer.close()
        self.workspace.clock = self.real_clock
        self.workspace.close()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path / ".andon")
    yield made
    made.close()


def ingest(lab: Lab, pace: Pace = EVERY_TURN, charter: Charter = CHARTER) -> Ingest:
    return Ingest(lab.workspace, charter, pace=pace)


def table_rows(lab: Lab) -> dict[str, int]:
    log = lab.workspace.log
    return {name.split("/")[0]: log.rows(name) for name in log.tables()}


def counted(lab: Lab, metric: str, cohort: str = "") -> dict[int, Any]:
    return {row.start_us: row.summary for row in lab.workspace.windows.read(metric, cohort)}


def test_pending_decisions_and_audits_become_items(lab: Lab) -> None:
    levels = {"*": "shadow"}
    lab.workspace.routes.publish(Route(1, NOW, NOW, "ann", "begin", "", levels=levels, review_seconds=60.0))  # type: ignore[arg-type]
    blind = lab.ask(confidence=0.6, suggestion="negative")[0]
    seen = lab.ask(level="assist", confidence=0.9, suggestion="negative")[0]
    audit = lab.decide(audit=0.1, confidence=0.99)[0]
    lab.decide(3)
    assert ingest(lab).tick().items == 3
    items = lab.workspace.items.many([blind, seen, audit])
    assert [items[id].blind for id in (blind, seen, audit)] == [True, False, True]
    assert [items[id].kind for id in (blind, seen, audit)] == ["decision", "decision", "audit"]
    assert [item.id for item in lab.workspace.items.queue(9)] == [blind, seen, audit]
    assert items[blind].x == {"cough": True, "region": "North"} and items[blind].due_us == NOW + 60_000_000
    assert items[audit].suggestion == "negative" and items[audit].due_us == NOW + AUDIT_DEADLINES * 60_000_000


def test_without_its_route_the_charters_deadline_counts(lab: Lab) -> None:
    id = lab.ask()[0]
    ingest(lab).tick()
    item = lab.workspace.items.get(id)
    assert item is not None and item.due_us == NOW + HOUR


def test_a_review_closes_an_item_that_is_open_whichever_comes_first(lab: Lab) -> None:
    first, second = lab.ask(2)
    early = Review("later", "positive", "person", "ann", NOW + 5)
    lab.workspace.outbox.append([Review(first, "positive", "person", "ann", NOW + 5), early])
    reader = ingest(lab)
    reader.tick()
    lab.made = 0
    batch = DecisionBatch.empty(FIELDS)
    batch.append_row([None, None], DecisionRow(id="later", time_us=NOW))
    payload = encode_decisions(FIELDS, batch)
    lab.writer("w1").append(FrameKind.DECISION, payload, count=1, contract=bytes.fromhex(HASH), time_us=NOW)
    reader.finish()
    items = lab.workspace.items.many([first, second, "later"])
    assert [(items[id].state, items[id].decision) for id in (first, second, "later")] == [
        ("decided", "positive"),
        ("open", None),
        ("decided", "positive"),
    ]
    assert lab.workspace.items.pending_outbox(9) == []


def test_second_looks_come_back_from_the_log_with_a_restored_database(lab: Lab) -> None:
    first, same, differ = lab.ask(3)
    said = [Review(id, "positive", "person", "ann", NOW + 5) for id in (first, same, differ)]
    second = [
        Review(id, answer, "person", "bob", NOW + 6, kind="second")
        for id, answer in ((same, "positive"), (differ, "negative"))
    ]
    lab.workspace.outbox.append([*said, *second])
    ingest(lab, charter=parse(ASKED.replace("deadline: 1h", "deadline: 1h, double_share: 1"))).finish()
    found = lab.workspace.items.queue(99, None)
    assert {(item.of or item.id, item.kind): (item.state, item.decision) for item in found} == {
        (first, "decision"): ("decided", "positive"), (first, "second"): ("open", None),
        (same, "decision"): ("decided", "positive"), (same, "second"): ("decided", "positive"),
        (differ, "decision"): ("decided", "positive"), (differ, "second"): ("decided", "negative"),
        (differ, "adjudication"): ("open", None),
    }  # fmt: skip
    assert lab.workspace.items.pending_outbox(9) == []


def test_every_table_and_window_holds_every_row_once(lab: Lab) -> None:
    for turn in range(4):
        lab.decide(5, at=NOW + turn * HOUR)
        lab.decide(3, stream="w1", at=NOW + turn * HOUR, cough=False)
        lab.feedback(Feedback(f"a{turn}", "redo"))
        payload = encode_predictions([Prediction("a1", "v2", "negative", 0.5)])
        lab.writer("s0").append(FrameKind.SHADOW, payload, count=1, time_us=NOW)
        lab.writer("w1").append(FrameKind.LOSS, encode_losses([Loss("ring", 2)]), count=1, time_us=NOW)
        if turn % 2:
            ingest(lab).finish()
    expected = {"decisions": 32, "feedback": 4, "shadow": 4, "losses": 4}
    assert table_rows(lab) == expected
    for _ in range(2):
        ingest(lab).finish()
        assert table_rows(lab) == expected
        assert [summary.n for summary in counted(lab, "cough").values()] == [8] * 4
        assert [summary.n for summary in counted(lab, "cough", "north").values()] == [8] * 4
        assert counted(lab, "cough")[NOW].mean == 5 / 8
    assert decisions(lab.workspace).height == 32


def test_nothing_new_means_no_sql_and_no_delta(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.decide(3)
    reader = ingest(lab)
    reader.finish()
    reader.tick()

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("touched")

    for name in ("write", "read"):
        monkeypatch.setattr(type(lab.workspace.db), name, refuse)
    for name in ("ship", "open", "_fresh"):
        monkeypatch.setattr(type(lab.workspace.log), name, refuse)
    for _ in range(3):
        assert not reader.tick().busy


def test_what_is_closed_is_what_has_been_measured(lab: Lab) -> None:
    lab.decide(3)
    reader = ingest(lab, Pace(window=3600, ship=3600))
    reader.tick()
    assert reader.closed_us is not None and reader.closed_us < NOW
    lab.clock.advance(10)
    reader.tick()
    assert reader.closed_us < NOW, "windows were not due, so nothing more is closed"
    reader.finish()
    assert NOW + 9_000_000 < reader.closed_us < NOW + 10_000_000


@pytest.mark.parametrize("broken", ["andon.store.items.ItemTable.add", "andon.store.windows.WindowStore.merge"])
def test_a_database_that_goes_away_costs_nothing(lab: Lab, monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    ids = lab.ask(3)
    reader = ingest(lab)

    def gone(*_: object) -> int:
        raise Unavailable("the database is gone")

    with monkeypatch.context() as patch:
        patch.setattr(broken, gone)
        for _ in range(2):
            with pytest.raises(Unavailable):
                reader.tick()
            lab.decide(2)
    reader.finish()
    assert len(lab.workspace.items.many(ids)) == 3
    assert counted(lab, "cough")[NOW].n == 7
    assert table_rows(lab) == {"decisions": 7}


def test_a_commit_whose_answer_was_lost_is_not_measured_twice(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.decide(3)
    reader = ingest(lab)
    store = Ingest._store

    def lost(self: Ingest, *rest: Any) -> None:
        before = dict(rest[0].stored), dict(rest[0].reached)
        store(self, *rest)
        rest[0].stored, rest[0].reached = before
        raise Unavailable("the connection broke after the commit")

    with monkeypatch.context() as patch:
        patch.setattr(Ingest, "_store", lost)
        with pytest.raises(Unavailable):
            reader.tick()
    with pytest.raises(Conflict, match="stands by"):
        reader.tick()
    ingest(lab).finish()
    assert counted(lab, "cough")[NOW].n == 3


def test_a_second_leader_that_measured_further_is_noticed(lab: Lab) -> None:
    lab.decide(3)
    old, new = ingest(lab, Pace(window=3600, ship=3600)), ingest(lab)
    lab.decide(2)
    new.finish()
    lab.decide(4)
    with pytest.raises(Conflict, match="another controller has measured the stream w0 further"):
        old.finish()
    ingest(lab).finish()
    assert counted(lab, "cough")[NOW].n == 9
    assert table_rows(lab) == {"decisions": 9}


def test_a_corrupt_middle_is_counted_shown_and_passed(lab: Lab) -> None:
    lab.decide(3)
    middle = lab.writer("w0").end
    lab.decide(4)
    lab.decide(2)
    path = segment_path(lab.workspace.wal_dir / "w0", 0)
    data = bytearray(path.read_bytes())
    data[middle + 70] ^= 0xFF
    path.write_bytes(data)
    tick = ingest(lab).tick()
    assert [gap.rows for gap in tick.gaps] == [4]
    ingest(lab).finish()
    assert table_rows(lab) == {"decisions": 5, "losses": 1}
    assert losses(lab.workspace).select("what", "n").rows() == [("gap", 4)]
    events = lab.workspace.journal.read(action="log.gap")
    assert [event.evidence["rows"] for event in events] == [4]
    assert "4 rows are lost" in events[0].reason
    assert counted(lab, "cough")[NOW].n == 5


def test_an_unknown_contract_is_one_sentence_and_holds_up_only_its_stream(lab: Lab) -> None:
    lab.decide(2)
    lab.decide(3, stream="w1")
    frame_hash = "ff" * 8
    batch = DecisionBatch.empty(FIELDS)
    batch.append_row([True, "North"], DecisionRow(id="x", time_us=NOW))
    payload = encode_decisions(FIELDS, batch)
    lab.writer("w0").append(FrameKind.DECISION, payload, count=1, contract=bytes.fromhex(frame_hash), time_us=NOW)
    reader = ingest(lab)
    faults = reader.tick().faults
    assert all(f"no contract has the hash {frame_hash}" in fault for fault in faults) and faults
    assert reader.closed_us is None
    assert counted(lab, "cough")[NOW].n == 3
    lab.workspace.save_contract(frame_hash, FIELDS, CHARTER.target.classes)
    reader.finish()
    assert counted(lab, "cough")[NOW].n == 6
    assert sum(lab.workspace.log.rows(name) for name in lab.workspace.log.tables()) == 6


def test_a_disk_that_refuses_the_shipment_does_not_stop_the_rest(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.ask(2)
    reader = ingest(lab)

    def full(*_: object) -> dict[str, int]:
        raise Unavailable("decision log: the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("andon.store.log.DecisionLog.ship", full)
        tick = reader.tick()
        assert tick.faults == ["decision log: the disk is full"] and tick.items == 2
    reader.finish()
    assert table_rows(lab) == {"decisions": 2}


def test_a_stream_that_was_deleted_and_begun_again_is_refused_not_skipped(lab: Lab) -> None:
    lab.decide(20)
    ingest(lab).finish()
    lab.writers.pop("w0").close()
    (lab.workspace.wal_dir / "w0").rename(lab.workspace.home / "aside")
    lab.decide(1)
    reader = ingest(lab)
    tick = reader.tick()
    assert len(tick.faults) == 1 and "the stream w0 ends at" in tick.faults[0] and reader.closed_us is None
    assert table_rows(lab) == {"decisions": 20}


def test_segments_go_when_all_have_had_them_and_nobody_may_ask(lab: Lab) -> None:
    writer = lab.writer("w0", segment_bytes=2000)
    for _ in range(30):
        lab.decide(5)
    folder = lab.workspace.wal_dir / "w0"
    starts = segment_starts(folder)
    assert len(starts) > 3
    reader = ingest(lab)
    reader.tick()
    Remeasure(lab.workspace, Measured.of(CHARTER), reader.taps).note()
    reader.finish()
    assert segment_starts(folder) == starts, "inside the idempotency window"
    old = time.time() - 2 * CHARTER.gateway.idempotency_seconds
    for start in starts[:3]:
        os.utime(segment_path(folder, start), (old, old))
    believed = [old]  # by a clock that is not ahead as the machine's is
    careful = Ingest(lab.workspace, CHARTER, pace=EVERY_TURN, wall=lambda: round(believed[0] * 1e6))
    careful.finish()
    assert segment_starts(folder) == starts
    believed[0] += CHARTER.gateway.idempotency_seconds + 1
    careful.finish()
    assert segment_starts(folder) == starts[3:]
    reader.finish()
    assert segment_starts(folder) == starts[3:]
    assert writer.end > starts[-1]
    fresh = ingest(lab)
    fresh.finish()
    assert counted(lab, "cough")[NOW].n == 150 and decisions(lab.workspace).height == 150


def test_places_survive(lab: Lab) -> None:
    lab.decide(3)
    lab.label(["a0"], "positive")
    reader = ingest(lab)
    again = Remeasure(lab.workspace, Measured.of(CHARTER), reader.taps)
    reader.tick()
    again.note()
    again.run(now=True)
    reader.finish()
    end = lab.writer("w0").end
    assert [lab.workspace.windows.offsets(consumer) for consumer in CONSUMERS] == [{"w0": end}] * 4
    fresh = ingest(lab)
    fresh.tick()
    assert [tap.held for tap in fresh.taps] == [[]]


def remeasure(lab: Lab) -> int:
    reader = ingest(lab)
    again = Remeasure(lab.workspace, Measured.of(CHARTER), reader.taps)
    reader.tick()
    again.note()
    return again.run(now=True)


def test_labels_measure_their_windows_again(lab: Lab) -> None:
    early, late = lab.decide(4), lab.decide(3, at=NOW + 5 * HOUR)
    lab.ask(2)
    assert remeasure(lab) == 0
    lab.label(early[:2], "positive")
    assert remeasure(lab) == 1
    assert counted(lab, "error")[NOW].n == 2 and list(counted(lab, "error")) == [NOW]
    lab.label(early[1:], "negative")
    lab.label(late, "positive")
    lab.label(["unknown"], "positive")
    assert remeasure(lab) == 2
    assert counted(lab, "error")[NOW].counts == ((3.0, 0.0, 0.0), (1.0, 0.0, 0.0))
    assert counted(lab, "error", "north")[NOW + 5 * HOUR].n == 3
    assert counted(lab, LABELS)[NOW] == Count(6, 4.0, 6.0, 6.0)


def test_reviews_change_what_the_final_decision_was(lab: Lab) -> None:
    ids = lab.ask(2)
    lab.label(ids, "positive")
    lab.workspace.outbox.append([Review(ids[0], "positive", "person", "ann", NOW + 5)])
    remeasure(lab)
    # The second still waits for a person: nobody has been wrong about it yet.
    assert counted(lab, "error")[NOW].counts == ((0.0, 0.0, 0.0), (0.0, 1.0, 0.0))
    lab.workspace.outbox.append([Review(ids[1], "negative", "person", "ann", NOW + 6)])
    remeasure(lab)
    assert counted(lab, "error")[NOW].counts == ((0.0, 0.0, 0.0), (1.0, 1.0, 0.0))
    assert counted(lab, "model")[NOW].n == 0 if NOW in counted(lab, "model") else True


def test_a_round_that_was_killed_is_done_again(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = lab.decide(2)
    lab.label(ids, "positive")
    reader = ingest(lab)
    again = Remeasure(lab.workspace, Measured.of(CHARTER), reader.taps)
    reader.tick()
    again.note()
    with monkeypatch.context() as patch:
        patch.setattr("andon.store.windows.WindowStore.replace", _raise)
        with pytest.raises(Unavailable):
            again.run(now=True)
    assert again.waiting
    reader.finish()
    assert remeasure(lab) == 1
    assert counted(lab, "error")[NOW].n == 2


def _raise(*_: object) -> None:
    raise Unavailable("gone")


def test_windows_side_by_side_are_read_in_one_go(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    spans = []
    read: Callable[..., Any] = outcomes

    def told(workspace: Workspace, since_us: int, until_us: int, **more: Any) -> Any:
        spans.append((since_us, until_us))
        return read(workspace, since_us, until_us, **more)

    monkeypatch.setattr("andon.monitor.remeasure.outcomes", told)
    ids = [id for hour in (0, 1, 2, 7) for id in lab.decide(1, at=NOW + hour * HOUR)]
    lab.label(ids, "positive")
    assert remeasure(lab) == 4
    assert spans == [(NOW, NOW + 3 * HOUR), (NOW + 7 * HOUR, NOW + 8 * HOUR)]


_STEP = st.sampled_from(["decide", "ask", "label", "turn", "kill", "labels turn"])


@given(st.lists(_STEP, max_size=14))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_in_any_order_of_events_and_kills_the_result_is_that_of_one_reading(
    tmp_path_factory: pytest.TempPathFactory, steps: list[str]
) -> None:
    lab = Lab(tmp_path_factory.mktemp("lab") / ".andon")
    reader, labelled, waiting = ingest(lab), set(), set()
    again = Remeasure(lab.workspace, Measured.of(CHARTER), reader.taps)
    try:
        for number, step in enumerate(steps):
            if step == "decide":
                lab.decide(2, at=NOW + number % 3 * HOUR)
            elif step == "ask":
                waiting |= set(lab.ask(2, at=NOW + number % 3 * HOUR))
            elif step == "label" and lab.made:
                labelled.add(f"a{number % lab.made}")
                lab.label([f"a{number % lab.made}"], "positive")
            elif step == "turn":
                reader.tick()
                again.note()
            elif step == "labels turn":
                again.run(now=True)
            elif step == "kill":
                reader = ingest(lab)
                again = Remeasure(lab.workspace, Measured.of(CHARTER), reader.taps)
        reader.finish()
        again.note()
        again.run(now=True)
        reader.finish()
        assert sum(summary.n for summary in counted(lab, "cough").values()) == lab.made
        # Nobody has been wrong yet about a case that waits for a person, whatever its label says.
        assert sum(summary.n for summary in counted(lab, "error").values()) == len(labelled - waiting)
        assert table_rows(lab).get("decisions", 0) == lab.made
        assert not counted(lab, "cough") or isinstance(next(iter(counted(lab, "cough").values())), Moments)
        assert all(start % HOUR == NOW % HOUR for start in counted(lab, "cough")) and DAY % HOUR == 0
    finally:
        lab.close()
