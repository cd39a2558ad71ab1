"""What happens when the log cannot take an answer: refused (``block``), or answered and counted to the row (``shed``)."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.deploy.rig import BASE, CONFIG, FakeServed, Rig, draws

from andon.deploy.gateway_metrics import render
from andon.deploy.protocol_message import Answer
from andon.deploy.shed import Shed, settle_left
from andon.monitor.ingest import Ingest
from andon.monitor.shedding import ACTION, note_begun
from andon.scope.charter import parse
from andon.store.codec import SHED, Loss, decode_decisions, decode_losses
from andon.store.tally import tally
from andon.store.wal import Frame, FrameKind, read_stream
from andon.store.workspace import Workspace

Make = Callable[..., Rig]
SHEDDING = msgspec.structs.replace(CONFIG, pressure="shed")
CHARTER = parse(
    "project: screening\ninputs: {cough: bool?, age: float}\ntarget: {name: result, classes: [negative, positive]}\n"
    "safe_default: refer\nchecklist: {logging: {pressure: shed}}\n"
)


class Disk:
    """A disk that is full when told so, and whose syncs can be held up."""

    def __init__(self) -> None:
        self.full = False
        self.room = 1 << 60
        self.going = threading.Event()
        self.going.set()

    def write(self, fd: int, data: bytes) -> int:
        if self.full or self.room <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        part = data[: self.room]
        self.room -= len(part)
        return os.write(fd, part)

    def sync(self, fd: int) -> None:
        self.going.wait(10)
        os.fdatasync(fd)

    @property
    def ports(self) -> dict[str, Any]:
        return {"write": self.write, "sync": self.sync}


@pytest.fixture
def disk() -> Iterator[Disk]:
    made = Disk()
    yield made
    made.going.set()


def frames(rig: Rig) -> list[Frame]:
    return [one for one in read_stream(rig.workspace.wal_dir, rig.wal.stream) if isinstance(one, Frame)]


def written(rig: Rig) -> list[str]:
    found = [one for one in frames(rig) if one.kind is FrameKind.DECISION]
    return [row.id for one in found for row in decode_decisions(rig.config.fields, one)]


def losses(rig: Rig) -> list[Loss]:
    return [loss for one in frames(rig) if one.kind is FrameKind.LOSS for loss in decode_losses(one)]


def passes(rig: Rig, seconds: float = 1.5) -> None:
    """Let the desk's second go by: losses are written once a second."""
    rig.desk._next_loss = 0.0
    rig.turn()


def test_block_answers_nothing_that_is_not_in_the_log(make: Make, disk: Disk) -> None:
    rig = make(**disk.ports)
    rig.route(live="v1", levels={"*": "full"})
    disk.full = True
    answer = rig.ask("POST", f"{BASE}/decisions", {"x": {"age": 20.0}, "id": "a"})
    rig.until(lambda: bool(answer))
    assert (answer[0].status, dict(answer[0].headers)["retry-after"]) == (503, "1")
    disk.full = False
    assert rig.decide(id="a")[0] == 200
    assert written(rig) == ["a"]
    assert losses(rig) == []


@pytest.mark.parametrize("pressure", ["block", "shed"])
def test_the_bound_of_what_waits_for_the_disk_is_kept_to_the_byte(make: Make, disk: Disk, pressure: Any) -> None:
    rig = make(msgspec.structs.replace(CONFIG, pressure=pressure, backlog_bytes=1 << 20), **disk.ports)
    rig.route(live="v1", levels={"*": "full"})
    rig.until(lambda: rig.wal.synced_end == rig.wal.end)
    disk.going.clear()
    assert rig.decide(id="a")[0] == 200
    behind = rig.wal.end - rig.wal.synced_end
    rig.desk.parts.recorder._backlog = behind
    assert rig.decide(id="b")[0] == 200  # at the bound it is still taken
    status, body = rig.decide(id="c")
    rig.desk.tick()
    assert rig.desk.gauge().log_backlog > behind
    if pressure == "block":
        assert (status, body["error"]["code"]) == (429, "overloaded")
        assert "wait for it, more than logging.backlog_mb allows" in body["error"]["message"]
        disk.going.set()
        rig.until(lambda: rig.wal.synced_end == rig.wal.end)
        assert rig.decide(id="c")[0] == 200
        assert written(rig) == ["a", "b", "c"]
    else:
        assert (status, body["recorded"]) == (200, False)
        disk.going.set()
        rig.until(lambda: rig.wal.synced_end == rig.wal.end)
        assert rig.decide(id="d")[0] == 200
        passes(rig)
        assert written(rig) == ["a", "b", "d"]
        assert [(loss.what, loss.n, loss.total) for loss in losses(rig)] == [(SHED, 1, 1)]


@pytest.mark.parametrize("quick", [True, False])
def test_shed_answers_go_on_and_say_that_they_are_in_no_log(make: Make, disk: Disk, quick: bool) -> None:
    rig = make(SHEDDING, **disk.ports)
    if not quick:
        rig.gateway._express.take = lambda body, reply: False  # type: ignore[method-assign]
    rig.route(live="v1", levels={"*": "full"})
    assert "recorded" not in rig.decide(id="a")[1]
    disk.full = True
    status, body = rig.decide(id="b")
    assert status == 200
    assert body == {
        "id": "b", "decision": "negative", "decided_by": "model", "version": "v1", "confidence": body["confidence"],
        "epoch": body["epoch"], "status": "decided", "recorded": False,
    }  # fmt: skip
    unnamed = [rig.decide()[1]["id"] for _ in range(3)]
    assert len(set(unnamed)) == 3
    rig.desk.acknowledge()
    assert "4 answers since" in rig.workspace.routes.acks()[0].faults["log"]
    page = render({"w0": rig.desk.gauge()})
    assert 'andon_log_shed_rows_total{worker="w0"} 4' in page
    assert 'andon_log_shed_unsettled_rows{worker="w0"} 4' in page
    disk.full = False
    passes(rig)
    assert [(loss.n, loss.total) for loss in losses(rig)] == [(4, 4)]
    after = rig.decide()[1]
    assert after["id"] not in unnamed
    assert rig.call("GET", f"{BASE}/decisions/{unnamed[0]}")[0] == 404
    assert 'andon_log_shed_unsettled_rows{worker="w0"} 0' in render({"w0": rig.desk.gauge()})
    rig.desk.acknowledge()
    assert rig.workspace.routes.acks()[0].faults == {}


def test_the_same_id_gets_the_same_shed_answer_within_the_window_and_is_never_recorded_later(
    make: Make, disk: Disk
) -> None:
    rig = make(SHEDDING, **disk.ports)
    rig.route(live="v1", levels={"*": "full"})
    disk.full = True
    first = rig.decide({"age": 20}, id="a")
    assert rig.decide({"age": 20.0, "cough": None}, id="a") == first
    assert rig.decide({"age": 21}, id="a")[0] == 409
    disk.full = False
    assert rig.decide({"age": 20}, id="a") == first
    status, body = rig.call("GET", f"{BASE}/decisions/a")
    assert (status, body["decision"], body["recorded"]) == (200, "negative", False)
    assert written(rig) == []
    assert rig.desk.meter.repeated == 2
    shed = rig.desk.parts.shed
    assert shed is not None
    shed.forget(rig.workspace.clock.monotonic() + CONFIG.idempotency_seconds + 1)
    assert rig.decide({"age": 90}, id="a")[0] == 200  # beyond the window it is a new case
    assert written(rig) == ["a"]


def test_a_case_for_people_is_refused_rather_than_forgotten(make: Make, disk: Disk) -> None:
    rig = make(SHEDDING, **disk.ports)
    rig.route(live="v1", levels={"*": "partial"}, thresholds={"v1/*": 0.7})
    disk.full = True
    assert rig.decide({"age": 50.0}, id="a")[0] == 503
    assert rig.decide({"age": 5.0}, id="b")[0] == 200
    assert rig.call("POST", f"{BASE}/feedback", [{"id": "b", "kind": "label", "value": "negative"}])[0] == 503
    disk.full = False
    passes(rig)
    assert [loss.n for loss in losses(rig)] == [1]
    assert rig.decide({"age": 50.0}, id="a")[0] == 202


def test_the_inference_protocol_says_so_too(make: Make, disk: Disk) -> None:
    rig = make(SHEDDING, **disk.ports)
    rig.route(live="v1", levels={"*": "full"})
    disk.full = True
    tensor = {"name": "age", "datatype": "FP64", "shape": [1, 1], "data": [20.0]}
    status, body = rig.call("POST", "/v2/models/screening/infer", {"inputs": [tensor]})
    assert (status, body["parameters"]["x_recorded"]) == (200, False)
    two = {**tensor, "shape": [2, 1], "data": [20.0, 30.0]}
    status, body = rig.call("POST", "/v2/models/screening/infer", {"inputs": [two]})
    assert [row["recorded"] for row in msgspec.json.decode(body["parameters"]["x_rows"])] == [False, False]


def test_mlflow_says_so_in_the_body_and_in_a_header(make: Make, disk: Disk) -> None:
    rig = make(SHEDDING, **disk.ports)
    rig.route(live="v1", levels={"*": "full"})

    def ask() -> Answer:
        body = {"dataframe_records": [{"age": 20.0}, {"age": "x"}, {"age": 30.0}]}
        got = rig.ask("POST", "/invocations", body, ((b"content-type", b"application/json"),))
        rig.until(lambda: bool(got))
        return got[0]

    assert ask().headers == ()
    disk.full = True
    answer = ask()
    body = msgspec.json.decode(answer.body)
    assert (answer.status, answer.headers) == (200, (("x-andon-unrecorded", "2"),))
    assert body["unrecorded"] == [{"row": row, "id": body["ids"][row]} for row in (0, 2)]


@given(acts=st.lists(st.sampled_from(["ask", "ask", "many", "full", "free", "half", "second", "kill"]), max_size=30))
@settings(max_examples=draws(8, 25), deadline=None)
def test_the_log_and_its_gaps_add_up_to_the_answers(tmp_path_factory: Any, acts: list[str]) -> None:
    """Whatever the disk does and whenever the worker is killed: answered = in the log + counted as missing."""
    disk = Disk()
    space = Workspace.create(tmp_path_factory.mktemp("shed") / "home")
    models = {"v1": FakeServed()}
    rig = Rig(space, SHEDDING, models, **disk.ports)
    rig.route(live="v1", levels={"*": "full"})
    recorded, shed = 0, 0
    for number, act in enumerate([*acts, "free", "second"]):
        if act in ("ask", "many"):
            for at in range(5 if act == "many" else 1):
                status, body = rig.decide(**({"id": f"{number}.{at}"} if number % 2 else {}))
                assert status == 200
                if body.get("recorded", True):
                    recorded += 1
                else:
                    shed += 1
        elif act == "full":
            disk.full = True
        elif act == "free":
            disk.full, disk.room = False, 1 << 60
        elif act == "half":
            disk.room = 100  # the next frame is torn
        elif act == "second":
            passes(rig)
        else:
            rig.close()
            rig = Rig(space, SHEDDING, models, **disk.ports)
            rig.route(live="v1", levels={"*": "full"})
    found = losses(rig)
    assert (len(written(rig)), sum(loss.n for loss in found)) == (recorded, shed)
    assert len(set(written(rig))) == recorded
    assert all(loss.since_us <= loss.until_us for loss in found)
    rig.close()
    space.close()


def test_a_kill_between_the_record_and_its_note_counts_nothing_twice(make: Make, disk: Disk) -> None:
    rig = make(SHEDDING, **disk.ports)
    rig.route(live="v1", levels={"*": "full"})
    disk.full = True
    rig.decide()
    disk.full = False
    shed = rig.desk.parts.shed
    assert shed is not None
    shed.settled = lambda loss: None  # type: ignore[method-assign]  # killed right here
    passes(rig)
    rig.close()
    again = make(SHEDDING, **disk.ports)
    assert again.desk.parts.shed is not None
    assert again.desk.parts.shed.waiting == 0
    passes(again)
    assert [loss.n for loss in losses(again)] == [1]


def test_what_was_shed_is_recorded_also_where_the_charter_blocks_by_now(make: Make, disk: Disk) -> None:
    rig = make(SHEDDING, **disk.ports)
    rig.route(live="v1", levels={"*": "full"})
    disk.full = True
    rig.decide()
    rig.close()
    told: list[Loss] = []
    path = rig.workspace.run_dir / "shed-w0"
    settle_left(path, rig.workspace.wal_dir, "w0", told.append)
    settle_left(path, rig.workspace.wal_dir, "w0", told.append)
    assert [(loss.n, loss.what) for loss in told] == [(1, SHED)]


def test_what_is_remembered_is_bounded(workspace: Workspace) -> None:
    from andon.deploy.case import Case

    shed = Shed(workspace.run_dir / "shed-w9", workspace.wal_dir, "w9", seconds=10, most=3)
    for number in range(5):
        shed.take([Case({"a": number}, print, id=str(number), status="decided")], 1000 + number, float(number))
    assert [shed.holds(str(number)) for number in range(5)] == [False, False, True, True, True]
    shed.forget(12.0)
    assert [shed.holds(str(number)) for number in range(5)] == [False, False, True, True, True]
    shed.forget(12.1)
    assert not shed.holds("2")
    assert (shed.waiting, shed.since_us) == (5, 1000)
    shed.close()


def test_the_journal_the_table_and_the_tally_tell_of_it_once(make: Make, disk: Disk) -> None:
    rig = make(SHEDDING, **disk.ports)
    rig.route(live="v1", levels={"*": "full"})
    rig.decide(id="a")
    disk.full = True
    for number in range(7):
        rig.decide(id=f"b{number}")
    rig.desk.acknowledge()
    assert len(note_begun(rig.workspace)) == 1
    assert note_begun(rig.workspace) == []
    disk.full = False
    passes(rig)
    for _ in range(2):
        Ingest(rig.workspace, CHARTER).finish()
    events = rig.workspace.journal.read(action=ACTION)
    assert sorted(event.evidence["phase"] for event in events) == ["begun", "ended"]
    assert [event.evidence["rows"] for event in events if event.evidence["phase"] == "ended"] == [7]
    found = tally(rig.workspace)
    assert found.sound
    assert [(one.stream, one.rows) for one in found.shed] == [("w0", 7)]
    assert found.shed[0].since_us <= found.shed[0].until_us
    assert rig.workspace.log.rows("losses") == 1
