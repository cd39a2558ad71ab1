"""The quick way and the general way are one: same answers, same rows in the log, whatever is sent."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.deploy.rig import BASE, CLASSES, CONFIG, FakeServed, Rig, by_age, draws

from andon.core.record import Decision, Field
from andon.deploy.express import Express
from andon.deploy.express_batch import Batch
from andon.deploy.protocol_message import Answer
from andon.errors import UserCodeError
from andon.model.columns import length_of
from andon.store.codec import decode_decisions
from andon.store.wal import Frame, FrameKind, read_stream
from andon.store.workspace import Workspace

FIELDS = (
    Field("cough", "bool", optional=True),
    Field("age", "float", low=0),
    Field("site", "category", optional=True, categories=("north", "süd")),
    Field("note", "text", optional=True),
    Field("visits", "int", optional=True),
)
MIXED = msgspec.structs.replace(CONFIG, fields=FIELDS)
REDACTED = msgspec.structs.replace(
    MIXED,
    redact=("cough", "age", "note", "visits"),
    rules={"age": "truncate(10)", "note": "hash", "visits": "truncate(2)"},
)
MADE: dict[str, Any] = {"models": {"v1": FakeServed(fields=FIELDS), "v2": FakeServed(fields=FIELDS)}}
NUMBERS = count()
#: What differs from one request to another that means the same.
OWN = {"latency_us": 0, "time_us": 0, "wall_us": 0, "sequence": 0, "stream": ""}


def rows(rig: Rig) -> list[Decision]:
    found = [one for one in read_stream(rig.workspace.wal_dir, rig.wal.stream) if isinstance(one, Frame)]
    return [row for one in found if one.kind == FrameKind.DECISION for row in decode_decisions(rig.config.fields, one)]


def counted(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Which requests were taken the quick way."""
    taken: list[bool] = []
    take = Express.take

    def spy(self: Express, body: bytes, reply: Any) -> bool:
        taken.append(take(self, body, reply))
        return taken[-1]

    monkeypatch.setattr(Express, "take", spy)
    return taken


def generally(rig: Rig) -> None:
    """From now on this rig knows the general way only."""
    rig.gateway._express.take = lambda body, reply: False  # type: ignore[method-assign]


def ask_all(rig: Rig, bodies: list[bytes]) -> list[tuple[int, Any]]:
    """All in one turn."""
    answers = [rig.ask("POST", f"{BASE}/decisions", body) for body in bodies]
    rig.until(lambda: all(answers))
    assert all(len(one) == 1 for one in answers)
    return [(one[0].status, msgspec.json.decode(one[0].body)) for one in answers]


X = st.fixed_dictionaries(
    {"age": st.one_of(st.floats(0, 100), st.integers(0, 100), st.just(-1.0), st.none())},
    optional={
        "cough": st.sampled_from([True, False, None, 1, "yes"]),
        "site": st.sampled_from(["north", "süd", "west", None]),
        "note": st.one_of(st.text(max_size=5), st.none()),
        "visits": st.sampled_from([3, 3.0, 3.5, 2**60, None]),
        "other": st.just(1),
    },
)
BODY = st.fixed_dictionaries(
    {"x": X},
    optional={
        "id": st.sampled_from(["a", "b", "ä", "", "w0-00000000-1", "x\n", "c-d-e"]),
        "unit": st.sampled_from(["u1", "u2", "u3", "", 7, None]),
        "tags": st.just({"k": "v"}),
        "human": st.sampled_from([*CLASSES, "other"]),
        "extra": st.just(1),
    },
)


@pytest.fixture(scope="module", params=["open", "redacted", "slow"])
def ways(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rig, Rig]]:
    """The same worker twice; the second knows the general way only."""
    spaces = [Workspace.create(tmp_path_factory.mktemp(name) / "home") for name in ("quick", "general")]
    spaces[1].key = spaces[0].key
    (spaces[1].home / "redaction-key").write_bytes(spaces[0].redaction_key())
    config = REDACTED if request.param == "redacted" else MIXED
    made = {name: FakeServed(fields=FIELDS) for name in ("v1", "v2")}
    for model in made.values():
        model.engine = "python" if request.param == "slow" else model.engine
    rigs = Rig(spaces[0], config, made), Rig(spaces[1], config, made)
    generally(rigs[1])
    yield rigs
    for rig, space in zip(rigs, spaces, strict=True):
        rig.close()
        space.close()


@given(
    bodies=st.lists(st.one_of(BODY, st.binary(max_size=20)), min_size=1, max_size=12),
    level=st.sampled_from(["full", "partial", "shadow"]),
    share=st.sampled_from([0.0, 0.5]),
    audit=st.sampled_from([0.0, 0.4]),
)
@settings(max_examples=draws(25, 80), deadline=None)
def test_both_ways_tell_and_write_the_same(
    ways: tuple[Rig, Rig], bodies: list[dict[str, Any] | bytes], level: str, share: float, audit: float
) -> None:
    run = f"{next(NUMBERS)}-"
    sent = [
        one
        if isinstance(one, bytes)
        else msgspec.json.encode({**one, **({"id": run + one["id"]} if one.get("id") else {})})
        for one in bodies
    ]
    told, written = [], []
    for rig in ways:
        rig.route(
            live="v1", candidate="v2", share=share, salt="s", audit_share=audit, blind=False,
            levels={"*": level, "old": "full"}, slices={"old": "age >= 60"}, thresholds={"v1/*": 0.7, "v2/*": 0.6},
        )  # fmt: skip
        begun = rig.wal.next_sequence
        told.append([(status, _unnamed(body)) for status, body in ask_all(rig, sent)])
        new = [row for row in rows(rig) if row.sequence >= begun]
        written.append([msgspec.structs.replace(row, id=_named(row.id), **OWN) for row in new])
        requests = dict(rig.desk.meter.requests)
        answered = requests.pop("decisions,200", 0) + requests.pop("decisions,202", 0)
        told[-1].append((0, [answered, requests, rig.desk.meter.conflicts]))
    quickly, slowly = (_by_case(one, share) for one in written)
    assert told[0] == told[1] or _units_only(told, share)
    assert quickly == slowly


def _named(id: str) -> str:
    """Ids that the server gave hold where the row is; the two ways may write their rows in another order."""
    return "server" if id.startswith("w0-") else id


def _unnamed(body: Any) -> Any:
    return {**body, "id": _named(body["id"])} if "id" in body else body


def _by_case(found: list[Decision], share: float) -> list[str]:
    """Rows in an order of their own; who has neither unit nor id is drawn by a number that differs between the ways."""
    kept = [row for row in found if not (share and row.id == "server" and not row.unit)]
    return sorted(
        repr(msgspec.structs.replace(row, audit=float(row.audit > 0)) if row.id != "server" else _blind(row))
        for row in kept
    )


def _blind(row: Decision) -> Decision:
    return msgspec.structs.replace(row, audit=0.0)


def _units_only(told: list[list[tuple[int, Any]]], share: float) -> bool:
    """With a share, cases without unit and id may be drawn otherwise; everything else is the same."""
    if not share:
        return False
    return all(
        one == other or (isinstance(one[1], dict) and one[1].get("id") == "server") or one[0] == 0
        for one, other in zip(*told, strict=True)
    )


def test_what_needs_nothing_special_goes_the_quick_way(
    make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make(MIXED, **MADE)
    rig.route(live="v1", levels={"*": "full"})
    taken = counted(rig, monkeypatch)
    assert rig.decide({"age": 20.0}, id="a1", unit="u")[0] == 200
    assert rig.decide({"age": 20.0, "cough": True, "note": None, "visits": 4})[0] == 200
    assert taken == [True, True]
    (first, second) = rows(rig)
    assert (first.id, first.unit) == ("a1", rig.workspace.unit_hash("u"))
    assert second.x == {"cough": True, "age": 20.0, "site": None, "note": None, "visits": 4}
    assert rig.decide({"age": 20.0}, id="a1")[1]["decision"] == "negative"
    assert taken == [True, True, False]
    assert len(rows(rig)) == 2


def test_a_canary_of_the_same_contract_shares_the_quick_way_and_its_frame(
    make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make(MIXED, **MADE)
    rig.route(live="v1", candidate="v2", share=0.5, salt="s", levels={"*": "full"})
    taken = counted(rig, monkeypatch)
    found = ask_all(rig, [msgspec.json.encode({"x": {"age": 20.0}, "unit": f"u{n}"}) for n in range(20)])
    assert taken == [True] * 20
    assert {body["version"] for _, body in found} == {"v1", "v2"}
    frames = [one for one in read_stream(rig.workspace.wal_dir, rig.wal.stream) if isinstance(one, Frame)]
    assert [one.count for one in frames if one.kind == FrameKind.DECISION] == [20]
    assert {(row.version, row.arm) for row in rows(rig)} == {("v1", "live"), ("v2", "candidate")}


def test_a_candidate_that_fails_costs_only_its_own_rows(make: Callable[..., Rig]) -> None:
    def broken(columns: Mapping[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        raise UserCodeError("predict raised ValueError: broken")

    rig = make(MIXED, models={"v1": FakeServed(fields=FIELDS), "v2": FakeServed(broken, FIELDS)})
    rig.route(live="v1", candidate="v2", share=0.5, salt="s", levels={"*": "full"})
    found = ask_all(rig, [msgspec.json.encode({"x": {"age": 20.0}, "unit": f"u{n}"}) for n in range(20)])
    by = {"v1": "model", "v2": "safe_default"}
    assert {body["version"] for _, body in found} == {"v1", "v2"}
    assert all(status == 200 and body["decided_by"] == by[body["version"]] for status, body in found)
    assert sum(row.error is not None for row in rows(rig)) == sum(body["version"] == "v2" for _, body in found)
    assert len(rows(rig)) == 20


def test_a_candidate_that_fails_asks_nobody_else_twice(make: Callable[..., Rig]) -> None:
    asked: list[int] = []

    def broken(columns: Mapping[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        raise UserCodeError("predict raised ValueError: broken")

    def counting(columns: Mapping[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        asked.append(length_of(columns))
        return np.tile(np.array([[0.25, 0.75]], dtype=np.float32), (asked[-1], 1))

    rig = make(MIXED, models={"v1": FakeServed(counting, FIELDS), "v2": FakeServed(broken, FIELDS)})
    rig.route(live="v1", candidate="v2", share=0.5, salt="s", levels={"*": "full"})
    asked.clear()
    found = ask_all(rig, [msgspec.json.encode({"x": {"age": 20.0}, "unit": f"u{n}"}) for n in range(20)])
    assert sum(asked) == sum(body["version"] == "v1" for _, body in found) > 0


def test_a_row_that_a_failing_candidate_drew_stays_drawn(make: Callable[..., Rig]) -> None:
    def broken(columns: Mapping[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        raise UserCodeError("predict raised ValueError: broken")

    rig = make(MIXED, models={"v1": FakeServed(fields=FIELDS), "v2": FakeServed(broken, FIELDS)})
    rig.route(live="v1", candidate="v2", share=0.2, salt="s", levels={"*": "full"})
    found = ask_all(rig, [msgspec.json.encode({"x": {"age": 20.0}}) for _ in range(300)])
    drawn = sum(body["version"] == "v2" for _, body in found)
    assert 30 <= drawn <= 95  # 60 are meant; were they drawn once more, 12 would be left


@pytest.mark.parametrize(
    "body",
    [
        {"x": {"age": 20.0}, "tags": {"a": "b"}},
        {"x": {"age": 20.0}, "human": "positive"},
        {"x": {"age": 20.0, "note": "süß"}},
        {"x": {"age": "old"}},
        {"x": {"age": 20.0}, "id": "w0-00000000-1"},
    ],
)
def test_what_is_rare_or_wrong_goes_the_general_way(
    make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch, body: dict[str, Any]
) -> None:
    rig = make(MIXED, **MADE)
    rig.route(live="v1", levels={"*": "full"})
    taken = counted(rig, monkeypatch)
    rig.call("POST", f"{BASE}/decisions", body)
    assert taken == [False]


@pytest.mark.parametrize(
    ("config", "route"),
    [
        ({"durability": "commit"}, {}),
        ({"unit_column": "site"}, {}),
        ({}, {"levels": {"*": "assist"}}),
        ({}, {"stopped": "people"}),
        ({}, {"live": None}),
    ],
)
def test_a_line_that_asks_for_more_goes_the_general_way(
    make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], route: dict[str, Any]
) -> None:
    rig = make(msgspec.structs.replace(MIXED, **config), **MADE)
    rig.route(**{"live": "v1", "levels": {"*": "full"}, **route})
    taken = counted(rig, monkeypatch)
    rig.decide({"age": 20.0})
    assert taken == [False]


def test_a_line_that_redacts_goes_the_quick_way(make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch) -> None:
    rig = make(REDACTED, **MADE)
    rig.route(live="v1", levels={"*": "full"})
    taken = counted(rig, monkeypatch)
    assert rig.decide({"age": 27.0, "cough": True, "note": "Ann", "visits": 5})[1]["confidence"] > 0.7
    assert taken == [True]
    (row,) = rows(rig)
    note = REDACTED.redactor(rig.workspace.redaction_key).value("note", "Ann")
    assert row.x == {"age": 20.0, "cough": None, "site": None, "note": note, "visits": 4}


def test_a_twin_in_the_same_turn_gets_the_same_answer_and_no_second_row(make: Callable[..., Rig]) -> None:
    rig = make(MIXED, **MADE)
    rig.route(live="v1", levels={"*": "full"})
    same = msgspec.json.encode({"x": {"age": 20.0}, "id": "a"})
    other = msgspec.json.encode({"x": {"age": 21.0}, "id": "a"})
    first, second, third = ask_all(rig, [same, same, other])
    assert first == second
    assert third[0] == 409
    assert len(rows(rig)) == 1


def test_a_route_that_comes_between_taking_and_deciding_counts(make: Callable[..., Rig]) -> None:
    rig = make(MIXED, **MADE)
    rig.route(live="v1", levels={"*": "full"})
    answers = rig.ask("POST", f"{BASE}/decisions", {"x": {"age": 20.0}, "id": "a"})
    assert not answers
    rig.route(live="v1", levels={"*": "full"}, stopped="people")
    rig.until(lambda: bool(answers))
    assert answers[0].status == 202
    (row,) = rows(rig)
    assert row.status == "pending"


def test_a_row_that_breaks_the_model_fails_alone(make: Callable[..., Rig]) -> None:
    def touchy(columns: Mapping[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        if (columns["age"] == 13).any():
            raise UserCodeError("predict raised ValueError: thirteen")
        return by_age(columns)

    rig = make(MIXED, models={"v1": FakeServed(touchy, FIELDS)})
    rig.route(live="v1", levels={"*": "full"})
    bodies = [msgspec.json.encode({"x": {"age": float(age)}}) for age in range(10, 20)]
    found = ask_all(rig, bodies)
    assert [status for status, _ in found] == [200] * 10
    assert [body["decided_by"] for _, body in found].count("safe_default") == 1
    assert sum(row.error is not None for row in rows(rig)) == 1


@pytest.mark.parametrize("where", ["_assigned", "_settle", "columns", "append", "answer", "general"])
def test_a_fault_of_ours_leaves_nobody_without_an_answer_and_no_row_twice(
    make: Callable[..., Rig], monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    rig = make(msgspec.structs.replace(MIXED, batch_rows=4), **MADE)
    rig.route(live="v1", levels={"*": "full"})
    asked = [rig.ask("POST", f"{BASE}/decisions", {"x": {"age": float(age)}, "id": f"a{age}"}) for age in range(10)]
    whole = {"_assigned": Express, "append": rig.desk.parts.recorder, "general": rig.gateway._express}.get(where, Batch)
    name = {"general": "_general"}.get(where, where)
    broken = getattr(whole, name)
    faults: list[int] = []

    def once(*given: Any, **named: Any) -> Any:
        faults.append(1)
        if len(faults) == 1 + (where != "general"):  # in the second batch of three
            raise KeyError("a fault that nobody foresaw")
        return broken(*given, **named)

    monkeypatch.setattr(whole, name, once)
    if where == "general":
        monkeypatch.setattr(Express, "_ask", lambda *given: None)
    with pytest.raises(KeyError):
        rig.turn()
    assert rig.woken >= 2  # the general way has a turn
    rig.until(lambda: all(asked))
    assert all(len(one) == 1 for one in asked if where != "answer")
    found = [one[0].status for one in asked]
    late = {"append": [200] * 4 + [500] * 4 + [200] * 2, "answer": [200] * 4 + [500] * 4 + [200] * 2}
    assert found == late.get(where, [500] * 4 + [200] * 6 if where == "general" else [200] * 10)
    monkeypatch.undo()
    for age in range(10):  # and who asks again is told what was written, or decided now
        assert rig.decide({"age": float(age)}, id=f"a{age}")[0] == 200
    assert sorted(str(row.id) for row in rows(rig)) == [f"a{age}" for age in range(10)]


def test_nothing_is_answered_that_was_not_written(make: Callable[..., Rig]) -> None:
    full: list[int] = []

    def write(fd: int, data: bytes) -> int:
        if full:
            raise OSError(28, "No space left on device")
        return os.write(fd, data)

    rig = make(MIXED, write=write, **MADE)
    rig.route(live="v1", levels={"*": "full"})
    full.append(1)
    found = ask_all(rig, [msgspec.json.encode({"x": {"age": 20.0}, "id": "a"})])
    assert found[0][0] == 503
    assert rows(rig) == []
    full.clear()
    assert rig.decide({"age": 20.0}, id="a")[0] == 200
    assert len(rows(rig)) == 1


def test_no_more_than_the_queue_holds_is_taken_in_one_turn(make: Callable[..., Rig]) -> None:
    rig = make(msgspec.structs.replace(MIXED, queue=3, batch_rows=2), **MADE)
    rig.route(live="v1", levels={"*": "full"})
    answers: list[list[Answer]] = [
        rig.ask("POST", f"{BASE}/decisions", {"x": {"age": 20.0}, "id": str(n)}) for n in range(8)
    ]
    rig.until(lambda: all(answers))
    assert [one[0].status for one in answers] == [200] * 6 + [429] * 2
