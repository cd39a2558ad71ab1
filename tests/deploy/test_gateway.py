from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.deploy.rig import BASE, CLASSES, CONFIG, FIELDS, FakeServed, Rig, by_age

from andon.core.record import Decision, Field, Review
from andon.errors import Corrupt, UserCodeError
from andon.store.codec import decode_decisions, decode_feedback
from andon.store.wal import Frame, FrameKind, read_stream

Make = Callable[..., Rig]
replace = msgspec.structs.replace


def frames(rig: Rig, kind: FrameKind = FrameKind.DECISION) -> list[Frame]:
    found = read_stream(rig.workspace.wal_dir, rig.wal.stream)
    return [entry for entry in found if isinstance(entry, Frame) and entry.kind == kind]


def log(rig: Rig, fields: tuple[Field, ...] = FIELDS) -> list[Decision]:
    return [row for frame in frames(rig) for row in decode_decisions(fields, frame)]


def test_people_only(make: Make) -> None:
    rig = make()
    status, body = rig.decide(unit="patient-7", tags={"site": "north"})
    assert status == 202 and body == {"id": body["id"], "status": "pending"}
    (row,) = log(rig)
    assert (row.id, row.status, row.level, row.x) == (body["id"], "pending", "human", {"cough": None, "age": 20.0})
    assert row.unit == rig.workspace.unit_hash("patient-7") and row.tags == {"site": "north"}
    assert rig.call("GET", f"{BASE}/decisions/{body['id']}")[1]["status"] == "pending"
    rig.workspace.outbox.append([Review(body["id"], "negative", "person", "ann", 5)])
    rig.turn()
    status, found = rig.call("GET", f"{BASE}/decisions/{body['id']}")
    assert (status, found["decision"], found["decided_by"]) == (200, "negative", "person")


@pytest.mark.parametrize(
    ("level", "status", "by", "suggestion", "shown"),
    [
        ("human", 202, "nobody", None, False),
        ("shadow", 202, "nobody", "negative", False),
        ("assist", 202, "nobody", "negative", True),
        ("partial", 202, "nobody", "negative", False),
        ("full", 200, "model", None, False),
    ],
)
def test_levels(make: Make, level: str, status: int, by: str, suggestion: str | None, shown: bool) -> None:
    rig = make()
    route = rig.route(live="v1", levels={"*": level})
    got, body = rig.decide(id="a1")
    assert got == status and (body.get("suggestion") == "negative") == shown
    (row,) = log(rig)
    assert (row.level, row.decided_by, row.suggestion, row.epoch) == (level, by, suggestion, route.epoch)
    assert row.version == "v1" and row.arm == "live"
    assert (row.scores is None) == (level == "human")
    assert rig.decide(id="a1") == (got, body) and len(log(rig)) == 1
    assert (rig.call("GET", f"{BASE}/decisions/a1")[1].get("suggestion") is not None) == shown


def test_partial_automation_by_threshold_slice_and_label(make: Make) -> None:
    rig = make()
    rig.route(
        live="v1",
        levels={"*": "partial", "old": "assist"},
        slices={"old": "age >= 90"},
        thresholds={"v1/*": 0.8},
        only=("negative",),
    )
    assert rig.decide({"age": 20.0})[1]["decision"] == "negative"
    assert rig.decide({"age": 21.0})[0] == 202  # 0.79
    assert rig.decide({"age": 85.0})[0] == 202  # confident, but positive may not be automatic
    assert rig.decide({"age": 95.0})[1]["suggestion"] == "positive"
    assert [(row.slice, row.level) for row in log(rig)] == [("*", "partial")] * 3 + [("old", "assist")]


def test_partial_that_is_not_blind_shows_the_suggestion_also_later(make: Make) -> None:
    rig = make()
    rig.route(live="v1", levels={"*": "partial"}, blind=False)
    first = rig.decide(id="a1")
    assert first[1]["suggestion"] == "negative"
    rig.route(live="v1", levels={"*": "partial"}, blind=True)
    assert rig.decide(id="a1") == first  # as it was under the route of its epoch
    assert "suggestion" not in rig.decide(id="a2")[1]


def test_canary_by_unit_is_sticky_and_recorded(make: Make) -> None:
    rig = make(models={"v1": FakeServed(), "v2": FakeServed(lambda columns: 1 - by_age(columns))})
    rig.route(live="v1", candidate="v2", share=0.5, salt="v2@1", levels={"*": "full"})
    for n in range(40):
        versions = {rig.decide(unit=f"u{n}")[1]["version"] for _ in range(2)}
        assert len(versions) == 1
    rows = log(rig)
    assert {row.arm for row in rows} == {"live", "candidate"} and {row.probability for row in rows} == {0.5}
    assert all((row.decision == "negative") == (row.version == "v1") for row in rows) and all(
        row.sticky for row in rows
    )
    assert rig.decide()[0] == 200
    assert not log(rig)[-1].sticky and log(rig)[-1].unit == ""


def test_the_unit_may_be_a_column(make: Make) -> None:
    fields = (*FIELDS, Field("site", "category"))
    rig = make(replace(CONFIG, fields=fields, unit_column="site"))
    rig.decide({"age": 1.0, "site": "oslo"}, unit="ignored")
    assert log(rig, fields)[0].unit == rig.workspace.unit_hash("oslo")


def test_one_turn_is_one_frame_and_a_bad_row_fails_alone(make: Make) -> None:
    rig = make()
    rig.route(live="v1", levels={"*": "full"})
    bodies: list[Any] = [
        {"x": {"age": 1.0}},
        {"x": {"age": "old"}},
        {"x": {"age": 99.0}, "id": "b"},
        {"x": {"ag": 1.0}},
    ]
    asked = [rig.ask("POST", f"{BASE}/decisions", body) for body in bodies]
    assert all(not answers for answers in asked) and rig.woken >= 1
    rig.turn()
    assert [answers[0].status for answers in asked] == [200, 422, 200, 422]
    (frame,) = frames(rig)
    assert frame.count == 2
    error = msgspec.json.decode(asked[1][0].body)["error"]
    assert error["field"] == "x.age" and "old" in error["message"] and error["code"] == "contract"


def test_nothing_is_answered_before_it_is_written(make: Make) -> None:
    rig = make()
    answers = rig.ask("POST", f"{BASE}/decisions", {"x": {"age": 1.0}})
    assert not answers and not frames(rig)
    rig.turn()
    assert answers and frames(rig)


def test_same_id_same_answer_other_x_409(make: Make) -> None:
    rig = make()
    rig.route(live="v1", levels={"*": "full"})
    first = rig.decide(id="a1")
    assert rig.decide({"age": 20, "cough": None}, id="a1") == first
    status, body = rig.decide({"age": 21.0}, id="a1")
    assert status == 409 and body["error"]["field"] == "id"
    assert len(log(rig)) == 1 and rig.desk.meter.repeated == 1 and rig.desk.meter.conflicts == 1


def test_duplicates_in_flight_wait_for_one_decision(make: Make) -> None:
    rig = make()
    same = [rig.ask("POST", f"{BASE}/decisions", {"x": {"age": 1.0}, "id": "a1"}) for _ in range(3)]
    other = rig.ask("POST", f"{BASE}/decisions", {"x": {"age": 2.0}, "id": "a1"})
    found = rig.ask("GET", f"{BASE}/decisions/a1")
    assert other[0].status == 409 and not same[0] and not found
    rig.turn()
    assert [answers[0].status for answers in same] == [202, 202, 202] and found[0].status == 200
    assert same[0][0].body == same[2][0].body and len(log(rig)) == 1


def test_ids_survive_a_restart_and_reviews_do_too(make: Make) -> None:
    rig = make()
    rig.route(live="v1", levels={"*": "full"})
    made = rig.decide(id="a1")
    rig.route(live="v1", levels={"*": "human"})
    pending = rig.decide(id="a2")
    nameless = rig.decide()[1]["id"]
    rig.workspace.outbox.append([Review("a2", "positive", "person", "ann", 5)])
    rig.close()
    again = make()
    again.turn()
    assert again.decide(id="a1") == made and pending[0] == 202
    status, body = again.decide(id="a2")
    assert (status, body["decision"], body["decided_by"]) == (200, "positive", "person")
    assert again.decide({"age": 1.0}, id="a2")[0] == 409
    assert again.call("GET", f"{BASE}/decisions/{nameless}")[1]["id"] == nameless
    assert again.call("GET", f"{BASE}/decisions/w0-00000000-1")[0] == 404


def test_the_safe_default_after_the_deadline_is_a_decision(make: Make) -> None:
    rig = make()
    id = rig.decide()[1]["id"]
    rig.workspace.outbox.append([Review(id, "refer", "safe_default", "deadline", 5)])
    rig.turn()
    assert rig.call("GET", f"{BASE}/decisions/{id}")[1]["decided_by"] == "safe_default"


def test_a_decision_made_elsewhere(make: Make) -> None:
    rig = make()
    rig.route(live="v1", levels={"*": "shadow"})
    status, body = rig.decide(human="positive")
    assert (status, body["decision"], body["decided_by"]) == (200, "positive", "client")
    (row,) = log(rig)
    assert (row.human, row.suggestion, row.status) == ("positive", "negative", "decided")
    assert rig.decide(human="maybe")[1]["error"]["field"] == "human"


def test_stop_and_switch_hold_from_the_next_turn_on(make: Make) -> None:
    rig = make()
    rig.route(live="v1", levels={"*": "full"})
    plane = rig.workspace.routes
    answers = rig.ask("POST", f"{BASE}/decisions", {"x": {"age": 1.0}})
    stopped = replace(rig.desk.placer.route, epoch=plane.next_epoch(), stopped="people")
    plane.publish(stopped)
    rig.desk.turn()  # the very next one
    assert answers[0].status == 202 and log(rig)[-1].epoch == stopped.epoch
    plane.publish(replace(stopped, epoch=plane.next_epoch(), stopped="safe_default", safe_default=None))
    assert rig.decide()[1]["decision"] == CONFIG.safe_default
    assert log(rig)[-1].decided_by == "safe_default"
    assert plane.acks()[0].epoch == plane.word()


@pytest.mark.parametrize("fault", [Corrupt("bundle v1 has changed"), UserCodeError("model.py raised"), None])
def test_a_version_that_is_not_loadable_leaves_it_to_people_and_says_why(make: Make, fault: Exception | None) -> None:
    rig = make(models={"v1": fault} if fault else {})
    rig.route(live="v1", levels={"*": "full"}, **({} if fault else {"bundles": {}}))
    status, _ = rig.decide()
    (row,) = log(rig)
    assert status == 202 and row.error and str(fault or "no bundle") in row.error and row.version == "v1"
    (ack,) = rig.workspace.routes.acks()
    assert ack.loaded == () and ack.faults["v1"] == row.error
    rig.models["v1"] = FakeServed()
    if fault:
        rig.replicas.tick(rig.workspace.clock.monotonic() + 6)
        rig.until(lambda: rig.replicas.loaded == ("v1",))
        assert rig.decide()[0] == 200


def test_a_poison_row_fails_alone_and_goes_to_the_safe_default(make: Make) -> None:
    def touchy(columns: Mapping[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        if (columns["age"] == 13).any():
            raise ZeroDivisionError("thirteen")
        return by_age(columns)

    rig = make(models={"v1": FakeServed(touchy)})
    rig.route(live="v1", levels={"*": "full"})
    asked = [rig.ask("POST", f"{BASE}/decisions", {"x": {"age": float(age)}}) for age in range(30)]
    rig.turn()
    rows = log(rig)
    assert [answers[0].status for answers in asked] == [200] * 30
    assert [row.x["age"] for row in rows if row.error] == [13.0]
    assert "ZeroDivisionError: thirteen" in str(rows[13].error) and rows[13].decision == "refer"
    assert rig.desk.meter.model_errors == 1
    rig.route(live="v1", levels={"*": "partial"}, thresholds={"v1/*": 0.5})
    assert rig.decide({"age": 13.0})[0] == 202


def test_a_model_without_an_answer_is_a_null_output(make: Make) -> None:
    rig = make(models={"v1": FakeServed(lambda columns: np.full((len(columns["age"]), 2), np.nan, np.float32))})
    rig.route(live="v1", levels={"*": "full"})
    assert rig.decide()[1]["decided_by"] == "safe_default"
    assert log(rig)[0].scores is None and log(rig)[0].error is None


def test_a_slow_model_works_in_its_thread_while_the_next_batch_forms(make: Make) -> None:
    import threading

    gate = threading.Event()
    sizes: list[int] = []

    def slow(columns: Mapping[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        sizes.append(len(columns["age"]))
        if threading.current_thread().name.startswith("andon-v1"):
            gate.wait(5)
        return by_age(columns)

    rig = make(models={"v1": FakeServed(slow)})
    rig.route(live="v1", levels={"*": "full"})
    replica = rig.replicas.get("v1")
    assert replica is not None
    replica.seconds = 1.0
    asked = [rig.ask("POST", f"{BASE}/decisions", {"x": {"age": 1.0}})]
    rig.turn()
    asked += [rig.ask("POST", f"{BASE}/decisions", {"x": {"age": 2.0}}) for _ in range(3)]
    rig.turn()
    assert not any(asked)
    rig.workspace.routes.publish(
        replace(rig.desk.placer.route, epoch=rig.workspace.routes.next_epoch(), stopped="people")
    )
    gate.set()
    rig.until(lambda: all(asked))
    assert {answers[0].status for answers in asked} == {202}  # what came back after the stop went through the new route
    assert sizes[-2:] == [1, 3] or sizes[-1] == 1
    assert {row.epoch for row in log(rig)} == {rig.workspace.routes.word()}


def test_a_hanging_model_times_out_and_is_then_passed_by(make: Make) -> None:
    import threading

    gate = threading.Event()

    def hanging(columns: Mapping[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        if threading.current_thread().name.startswith("andon-v1"):
            gate.wait(10)
        return by_age(columns)

    rig = make(replace(CONFIG, deadline_seconds=0.1), models={"v1": FakeServed(hanging)})
    rig.route(live="v1", levels={"*": "full"})
    replica = rig.replicas.get("v1")
    assert replica is not None
    replica.seconds = 1.0
    status, body = rig.decide(id="a1")
    assert status == 504 and body["error"]["code"] == "deadline" and not log(rig)
    assert rig.decide(id="a1")[0] == 202  # nothing was recorded, so the id is free; the model is passed by
    assert "has not answered" in str(log(rig)[0].error)
    gate.set()


def test_a_full_queue_is_429(make: Make) -> None:
    rig = make(replace(CONFIG, queue=2))
    asked = [rig.ask("POST", f"{BASE}/decisions", {"x": {"age": 1.0}}) for _ in range(3)]
    assert asked[2][0].status == 429 and asked[2][0].headers == (("retry-after", "1"),)
    rig.turn()
    assert [answers[0].status for answers in asked[:2]] == [202, 202] and rig.decide()[0] == 202


class Disk:
    """A disk that can be full, and slow to sync."""

    def __init__(self) -> None:
        self.full = False
        self.syncs = 0

    def write(self, fd: int, data: bytes) -> int:
        if self.full:
            os.write(fd, data[:7])
            raise OSError(28, "No space left on device")
        return os.write(fd, data)


def test_a_full_disk_is_503_and_nothing_is_answered_from_that_batch(make: Make) -> None:
    disk = Disk()
    rig = make(write=disk.write)
    rig.route(live="v1", levels={"*": "full"})
    assert rig.decide(id="a1")[0] == 200
    disk.full = True
    asked = [rig.ask("POST", f"{BASE}/decisions", {"x": {"age": 1.0}, "id": f"b{n}"}) for n in range(3)]
    late = rig.ask("POST", f"{BASE}/feedback", [{"id": "a1", "kind": "click"}])
    rig.turn()
    for answers in (*asked, late):
        body = msgspec.json.decode(answers[0].body)
        assert answers[0].status == 503 and "disk is full" in body["error"]["message"]
    assert len(log(rig)) == 1 and rig.decide(id="a1")[0] == 200  # reading still works
    disk.full = False
    assert rig.decide({"age": 5.0}, id="b0")[0] == 200
    assert [row.id for row in log(rig)] == ["a1", "b0"] and rig.desk.gauge().log_failures == 2


def test_commit_answers_after_the_sync_that_covers_it(make: Make) -> None:
    import threading

    may = threading.Event()

    def sync(fd: int) -> None:
        assert may.wait(5)
        os.fdatasync(fd)

    rig = make(replace(CONFIG, durability="commit"), sync=sync)
    answers = rig.ask("POST", f"{BASE}/decisions", {"x": {"age": 1.0}, "id": "a1"})
    for _ in range(5):
        rig.turn()
    again = rig.ask("POST", f"{BASE}/decisions", {"x": {"age": 1.0}, "id": "a1"})
    assert not answers and not again and len(log(rig)) == 1
    may.set()
    rig.until(lambda: bool(answers))
    assert answers[0].status == again[0].status == 202


def test_commit_with_a_disk_that_refuses_to_sync_is_503(make: Make) -> None:
    def sync(fd: int) -> None:
        raise OSError(5, "Input/output error")

    rig = make(replace(CONFIG, durability="commit"), sync=sync)
    assert rig.decide()[0] == 503
    for _ in range(2):  # whoever asks again, or looks, is told nothing that a power loss could take back
        assert rig.decide(id="a1")[0] == 503
        assert rig.call("GET", f"{BASE}/decisions/a1")[0] == 503
    assert rig.decide({"age": 99.0}, id="a1")[0] == 409
    assert len(log(rig)) == 2 and rig.desk.gauge().log_failures == 2


def test_commit_what_was_refused_stays_refused_when_the_disk_is_back(make: Make) -> None:
    broken = [True]

    def sync(fd: int) -> None:
        if broken:
            raise OSError(5, "Input/output error")
        os.fdatasync(fd)

    rig = make(replace(CONFIG, durability="commit"), sync=sync)
    for n in range(2):
        broken[:] = [True]
        assert rig.decide(id=f"a{n}")[0] == 503
        broken.clear()
        assert rig.decide(id=f"b{n}")[0] == rig.decide(id=f"b{n}")[0] == 202
    for n in range(2):
        assert rig.decide(id=f"a{n}")[0] == rig.call("GET", f"{BASE}/decisions/a{n}")[0] == 503
        assert rig.call("GET", f"{BASE}/decisions/b{n}")[0] == 200


def test_commit_who_asks_again_waits_for_the_sync_until_the_deadline(make: Make) -> None:
    import threading

    may = threading.Event()

    def sync(fd: int) -> None:
        assert may.wait(5)
        os.fdatasync(fd)

    rig = make(replace(CONFIG, durability="commit", deadline_seconds=0.05), sync=sync)
    assert rig.decide(id="a1")[0] == 504 and not rig.desk.meter.decisions
    assert rig.decide(id="a1")[0] == rig.call("GET", f"{BASE}/decisions/a1")[0] == 504
    may.set()
    rig.until(lambda: rig.wal.synced_end == rig.wal.end)
    assert rig.decide(id="a1")[0] == 202 and rig.call("GET", f"{BASE}/decisions/a1")[0] == 200
    assert len(log(rig)) == 1 and rig.desk.meter.decisions == {"nobody,none": 1}


def test_redacted_inputs_are_used_but_never_written(make: Make) -> None:
    fields = (*FIELDS, Field("name", "text"))
    seen: list[Any] = []

    def watching(columns: Mapping[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        seen.extend(columns["name"].tolist())
        return by_age(columns)

    rig = make(replace(CONFIG, fields=fields, redact=("name",)), models={"v1": FakeServed(watching, fields)})
    rig.route(live="v1", levels={"*": "full"})
    secret = "Ada-Lovelace-secret"
    first = rig.decide({"age": 1.0, "name": secret}, id="a1")
    assert first[0] == 200 and secret in seen
    assert log(rig, fields)[0].x["name"] is None
    written = b"".join(path.read_bytes() for path in rig.workspace.wal_dir.rglob("*") if path.is_file())
    assert secret.encode() not in written and b"negative" in written
    assert rig.decide({"age": 1.0, "name": "another"}, id="a1") == first  # what is not stored is not compared


def test_audit_draws_from_the_automatic_answers_only(make: Make) -> None:
    rig = make()
    rig.route(live="v1", levels={"*": "full", "young": "human"}, slices={"young": "age < 10"}, audit_share=0.25)
    for age in range(100):
        rig.decide({"age": float(age)})
    rows = log(rig)
    drawn = [row for row in rows if row.audit]
    assert {row.audit for row in drawn} == {0.25} and 8 <= len(drawn) <= 40
    assert all(row.decided_by == "model" for row in drawn)


def test_a_slice_that_the_contract_cannot_answer_leaves_all_to_people(make: Make) -> None:
    rig = make()
    rig.route(live="v1", levels={"*": "full", "s": "assist"}, slices={"s": "height > 3"})
    assert rig.decide()[0] == 202
    rig.desk.acknowledge()
    (ack,) = rig.workspace.routes.acks()
    assert "height" in ack.faults[f"route {ack.epoch}"]


def test_feedback(make: Make) -> None:
    rig = make()
    rows: list[dict[str, Any]] = [
        {"id": "a1", "kind": "label", "value": "positive", "time": "2020-03-11T09:00:00Z", "event": "e1"},
        {"id": "a1", "kind": "click", "value": 3, "time": 12.5},
        {"id": "a1", "kind": "own kind"},
    ]
    assert rig.call("POST", f"{BASE}/feedback", rows) == (200, {"accepted": 3, "rejected": 0})
    (frame,) = frames(rig, FrameKind.FEEDBACK)
    found = decode_feedback(frame)
    assert [row.time_us for row in found] == [1_583_917_200_000_000, 12_500_000, None] and found[1].value == 3
    assert rig.call("POST", f"{BASE}/feedback", {"id": "a1", "kind": "redo"})[1]["accepted"] == 1
    status, body = rig.call("POST", f"{BASE}/feedback", [rows[0], {**rows[0], "value": "maybe"}, {"id": "x"}, 7])
    assert status == 200 and body["accepted"] == 1 and [fault["index"] for fault in body["errors"]] == [1, 2, 3]
    assert "did you mean" in body["errors"][0]["error"]["message"] or "known" in body["errors"][0]["error"]["message"]
    for bad in (
        [{"id": "", "kind": "k"}],
        [{"id": "a", "kind": "k", "time": "soon"}],
        [{"id": "a", "kind": "k", "time": -1}],
    ):
        status, body = rig.call("POST", f"{BASE}/feedback", bad)
        assert status == 422 and body["error"]["code"] == "contract" and body["accepted"] == 0
    for bad_body in (b"[]", b"{", b"3", b'"a"'):
        assert rig.call("POST", f"{BASE}/feedback", bad_body)[0] in (400, 422)


def test_a_token_file_that_cannot_be_read_is_told_and_lets_nobody_in(make: Make) -> None:
    rig = make(replace(CONFIG, tokens_required=True))
    client, _ = rig.access.create("app", "client", now_us=0)
    headers = ((b"authorization", b"Bearer " + client.encode()),)
    rig.route(live="v1", levels={"*": "full"})
    assert rig.call("POST", f"{BASE}/decisions", {"x": {"age": 5}}, headers=headers)[0] == 200
    path = rig.workspace.home / "tokens.json"
    path.rename(path.with_suffix(".kept"))
    path.mkdir()
    status, body = rig.call("POST", f"{BASE}/decisions", {"x": {"age": 5}}, headers=headers)
    assert status == 503
    assert "cannot be read: Is a directory; nobody is let in" in body["error"]["message"]
    path.rmdir()
    path.write_text('[{"id": "a1"}]')
    status, body = rig.call("POST", f"{BASE}/decisions", {"x": {"age": 5}}, headers=headers)
    assert status == 500 and "the list of tokens holds what is none" in body["error"]["message"]
    path.unlink()
    path.with_suffix(".kept").rename(path)
    assert rig.call("POST", f"{BASE}/decisions", {"x": {"age": 5}}, headers=headers)[0] == 200


def test_tokens(make: Make) -> None:
    rig = make(replace(CONFIG, tokens_required=True))
    client, _ = rig.access.create("app", "client", now_us=0)
    viewer, _ = rig.access.create("eve", "viewer", now_us=0)
    labeler, _ = rig.access.create("lab", "labeler", now_us=0)

    def status(method: str, path: str, token: str | None, body: Any = b"") -> int:
        headers = () if token is None else ((b"authorization", b"Bearer " + token.encode()),)
        return rig.call(method, path, body, headers)[0] if path != "/metrics" else _status(rig, method, path, headers)

    body = {"x": {"age": 1.0}}
    assert status("POST", f"{BASE}/decisions", None, body) == 401
    assert status("POST", f"{BASE}/decisions", "andon_x_y", body) == 401
    assert status("POST", f"{BASE}/decisions", viewer, body) == 403
    assert status("POST", f"{BASE}/decisions", client, body) == 202
    label = [{"id": "a", "kind": "label", "value": "positive"}]
    assert [status("POST", f"{BASE}/feedback", token, label) for token in (client, labeler, viewer)] == [200, 200, 403]
    assert status("GET", "/metrics", viewer) == 200 and status("GET", "/metrics", None) == 401
    assert status("GET", "/v2/health/live", None) == 200 and status("GET", "/v2", None) == 401
    assert status("POST", "/v2/models/screening/infer", viewer, {"inputs": []}) == 403
    rig.access.revoke(rig.access.tokens()[0].id, now_us=1)
    assert status("POST", f"{BASE}/decisions", client, body) == 401


def _status(rig: Rig, method: str, path: str, headers: tuple[tuple[bytes, bytes], ...]) -> int:
    return rig.ask(method, path, b"", headers)[0].status


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"", 400, None),
        (b"{", 400, None),
        (b"\xff\xfe", 400, None),
        (b'{"x": {"age": NaN}}', 400, None),
        (b"[" * 100_000, None, None),
        (b'{"x": ' + b'{"a":' * 100_000, 422, "x"),
        (b"[1]", 422, "body"),
        (b"null", 422, "body"),
        (b"{}", 422, "body"),
        (b'{"x": 3}', 422, "x"),
        (b'{"x": {"age": null}}', 422, "x.age"),
        (b'{"x": {"age": 1e400}}', 422, "x.age"),
        (b'{"x": {"age": 1' + b"0" * 400 + b"}}", 422, "x.age"),
        (b'{"x": {"age": true}}', 422, "x.age"),
        (b'{"x": {"cough": null, "age": [1]}}', 422, "x.age"),
        (b'{"x": {"age": ' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}}", 422, "x.age"),
        (b'{"x": {"age": 1, "cough": 1}}', 422, "x.cough"),
        (b'{"x": {"age": 1, "agee": 1}}', 422, "x.agee"),
        (b'{"x": {"age": 1}, "y": 1}', 422, "body"),
        (b'{"x": {"age": 1}, "id": ""}', 422, "id"),
        (b'{"x": {"age": 1}, "id": "a\\nb"}', 422, "id"),
        (b'{"x": {"age": 1}, "id": "w0-0123abcd-1"}', 422, "id"),
        (b'{"x": {"age": 1}, "unit": ""}', 422, "unit"),
        (b'{"x": {"age": 1}, "unit": [1]}', 422, "unit"),
        (b'{"x": {"age": 1}, "tags": {"a": 1}}', 422, None),
        (b'{"x": {"age": 1}, "tags": {"a": "' + b"b" * 1001 + b'"}}', 422, "tags"),
        (b'{"x": {"age": 1}, "human": "nobody"}', 422, "human"),
    ],
)
def test_bad_bodies_get_one_sentence_and_a_path(make: Make, body: bytes, status: int | None, field: str | None) -> None:
    rig = make()
    got, found = rig.call("POST", f"{BASE}/decisions", body)
    assert got == status or (status is None and got in (400, 422))
    error = found["error"]
    assert error["code"] in ("usage", "contract") and len(error["message"]) > 10 and "\n" not in error["message"]
    assert field is None or error["field"] == field
    assert not log(rig)


def test_bounds_of_id_unit_and_tags(make: Make) -> None:
    rig = make()
    assert rig.decide(id="i" * 200)[0] == 202 and rig.decide(id="i" * 201)[0] == 422
    assert rig.decide(unit="u" * 500)[0] == 202 and rig.decide(unit="u" * 501)[0] == 422
    assert rig.decide(unit=17)[0] == 202 and log(rig)[-1].unit == rig.workspace.unit_hash("17")
    assert rig.decide(tags={str(n): "" for n in range(32)})[0] == 202
    assert rig.decide(tags={str(n): "" for n in range(33)})[0] == 422


def test_addresses(make: Make) -> None:
    rig = make()
    for method, path, status in [
        ("GET", "/", 404),
        ("GET", "/v1/projects/other/decisions", 404),
        ("GET", f"{BASE}/decisions", 405),
        ("POST", f"{BASE}/decisions/a1", 405),
        ("GET", f"{BASE}/decisions/", 404),
        ("GET", f"{BASE}/decisions/%zz%ff", 404),
        ("GET", f"{BASE}/feedback", 405),
        ("GET", f"{BASE}/nothing", 404),
        ("POST", "/metrics", 405),
        ("DELETE", "/openapi.json", 405),
        ("GET", "/v2/nothing", 404),
        ("GET", "/v2/models/other", 404),
        ("POST", "/v2", 405),
    ]:
        answer = rig.ask(method, path)[0]
        assert answer.status == status, (method, path)
        assert (dict(answer.headers).get("allow") is not None) == (status == 405)
    assert "screening" in rig.call("POST", "/v1/projects/screenin/decisions", b"")[1]["error"]["message"]


def test_openapi_and_metrics_follow_the_live_contract(make: Make) -> None:
    fields = (Field("dose", "int", low=0, high=9, optional=True), Field("site", "category", categories=("a", "b")))
    rig = make(models={"v1": FakeServed(by_age, fields)})
    rig.route(live="v1", levels={"*": "human"})
    document = rig.call("GET", "/openapi.json")[1]
    x = document["components"]["schemas"]["X"]
    assert x["properties"] == {
        "dose": {"type": ["integer", "null"], "minimum": 0.0, "maximum": 9.0},
        "site": {"type": "string", "enum": ["a", "b"]},
    }
    assert x["required"] == ["site"] and f"{BASE}/decisions" in document["paths"]
    assert rig.decide({"site": "a", "dose": 3})[0] == 202


XS = st.dictionaries(
    st.sampled_from(["age", "cough", "x", ""]),
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5), st.lists(st.none())
    ),
)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "x": st.one_of(XS, st.just({"age": 3.0}), st.integers()),
        "id": st.one_of(st.sampled_from(["a", "b"]), st.text(max_size=4), st.integers()),
        "unit": st.one_of(st.text(max_size=3), st.integers(), st.none()),
        "tags": st.dictionaries(st.text(max_size=3), st.text(max_size=3)),
        "human": st.sampled_from([*CLASSES, "other"]),
        "inputs": st.lists(
            st.fixed_dictionaries(
                {
                    "name": st.sampled_from(["age", "cough", "id", "unit", "tags", "human", "zzz"]),
                    "shape": st.lists(st.integers(-1, 3), max_size=3),
                    "datatype": st.sampled_from(["BOOL", "FP64", "BYTES", "INT64", "X"]),
                    "data": st.recursive(
                        st.lists(
                            st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.text(max_size=2)), max_size=3
                        ),
                        lambda inner: st.lists(inner, max_size=2),
                        max_leaves=3,
                    ),
                }
            ),
            max_size=3,
        ),
    },
)
PATHS = st.one_of(
    st.sampled_from([f"{BASE}/decisions", f"{BASE}/feedback", "/v2/models/screening/infer", f"{BASE}/decisions/a"]),
    st.text(max_size=12).map(lambda text: "/" + text),
)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_any_request_is_answered_once_with_json(fuzzed: Rig, data: st.DataObject) -> None:
    rig = fuzzed
    method = data.draw(st.sampled_from(["POST", "POST", "POST", "GET", "PUT", "HEAD"]))
    raw = msgspec.json.encode(data.draw(BODIES)) if data.draw(st.integers(0, 4)) else data.draw(st.binary(max_size=40))
    path = data.draw(PATHS)
    written = len(frames(rig))
    answers = rig.ask(method, path, raw)
    for _ in range(3):
        rig.turn()
    assert len(answers) == 1 and 200 <= answers[0].status < 500
    body = msgspec.json.decode(answers[0].body)
    if answers[0].status >= 400:
        assert len(frames(rig)) == written and body["error"]
