from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import cycle
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.deploy.rig import BASE, CONFIG, Rig

from andon.core.clock import DAY, SECOND
from andon.deploy.idempotency import Place, SeenIds, owner_of, recall, same_x
from andon.store.codec import DecisionBatch, DecisionRow, client_ids, encode_decisions
from andon.store.wal import Frame, FrameIndex, FrameKind, WalWriter, drop_before
from andon.store.workspace import Workspace

Make = Callable[..., Rig]
replace = msgspec.structs.replace


@given(st.lists(st.integers(0, 30), max_size=80), st.integers(1, 20))
def test_the_index_is_bounded_and_remembers_the_newest_half(ids: list[int], limit: int) -> None:
    seen = SeenIds(limit, seconds=1e9)
    for at, id in enumerate(ids):
        seen.add(str(id), Place(f"w{id % 3}", at, id), 0.0)
        assert len(seen) <= max(limit, 2)
    newest = list(dict.fromkeys(reversed(ids)))[: max(1, limit // 2)]
    for id in newest[: limit // 2]:
        last = len(ids) - 1 - ids[::-1].index(id)
        assert seen.get(str(id)) == Place(f"w{id % 3}", last, id)


def test_ids_are_forgotten_by_time_too() -> None:
    seen = SeenIds(1000, seconds=10.0)
    seen.add("a", Place("w0", 1, 0), now=100.0)
    seen.rotate(109.9)
    assert seen.get("a")
    seen.rotate(110.1)
    assert seen.get("a")  # at least ten seconds
    seen.rotate(120.2)
    assert seen.get("a") is None  # at most twenty


@given(st.lists(st.integers(1, 5), min_size=1, max_size=60), st.integers(2, 9))
def test_the_frame_index_never_points_behind_a_row(counts: list[int], limit: int) -> None:
    index = FrameIndex(limit)
    first, starts = 0, []
    for at, count in enumerate(counts):
        index.add(first, at * 100)
        starts.append(first)
        first += count
        assert len(index) <= limit
    for row in range(first):
        near = index.near(row)
        assert near is not None and starts[near // 100] <= row
    assert FrameIndex().near(0) is None


@given(st.text(max_size=10), st.integers(1, 9))
def test_every_id_has_one_owner(id: str, workers: int) -> None:
    assert 0 <= owner_of(id, workers) < workers


def test_what_counts_as_the_same_x() -> None:
    assert same_x({}, {"a": None}) and same_x({"a": -0.0}, {"a": 0})
    assert not same_x({"a": 1}, {"a": 2}) and not same_x({"a": 1}, {}) and not same_x({}, {"a": "x"})
    assert not same_x({"a": 1}, {"a": True}) and not same_x({"a": "1"}, {"a": 1})


def test_the_oldest_ids_are_free_again_and_the_newest_are_kept(make: Make) -> None:
    rig = make(replace(CONFIG, idempotency_ids=8))
    for n in range(20):
        rig.decide(id=f"a{n}")
    assert rig.desk.gauge().ids_remembered <= 8
    rig.close()
    again = make(replace(CONFIG, idempotency_ids=8))
    assert 4 <= again.desk.gauge().ids_remembered <= 8
    assert again.decide({"age": 1.0}, id="a19")[0] == 409
    assert again.decide({"age": 1.0}, id="a0")[0] == 202


def test_another_number_of_workers_finds_the_ids_of_the_old_ones(make: Make) -> None:
    one = make()
    for n in range(20):
        one.decide(id=f"a{n}")
    one.close()
    rigs = [make(index=index, workers=3) for index in range(3)]
    for n in range(20):
        owner = rigs[owner_of(f"a{n}", 3)]
        assert owner.decide({"age": 1.0}, id=f"a{n}")[0] == 409


def test_fewer_workers_remember_the_newest_ids_of_all(make: Make) -> None:
    two = [make(index=index, workers=2) for index in range(2)]
    ids = [f"a{n}" for n in range(40)]
    first, second = ([id for id in ids if owner_of(id, 2) == index][:12] for index in range(2))
    order = [id for pair in zip(first, second, strict=True) for id in pair]
    for id in order:
        assert two[owner_of(id, 2)].decide(id=id)[0] == 202
    for rig in two:
        rig.close()
    one = make(replace(CONFIG, idempotency_ids=16))
    assert all(one.memory.seen.holds(id) for id in order[-8:])
    assert not any(one.memory.seen.holds(id) for id in order[:8])


def logged(directory: Path, ids: list[str | None], times: Iterable[int], segment_bytes: int = 300) -> None:
    """A frame of one decision for each time, with these ids by turns."""
    writer = WalWriter(directory, "w0", segment_bytes=segment_bytes)
    for time_us, id in zip(times, cycle(ids)):
        batch = DecisionBatch.empty(CONFIG.fields)
        batch.append_row([None, 1.0], DecisionRow(id, time_us, time_us, decision="refer", status="decided"))
        writer.append(FrameKind.DECISION, encode_decisions(CONFIG.fields, batch), count=1, time_us=time_us)
    writer.close()


@pytest.mark.parametrize(
    ("ids", "limit", "since", "most"),
    [
        ([None], 10, 0, 20 + 2),  # no ids at all: two rows for each id that may be remembered
        ([None], 500, 900, 100),  # the window
        (["a"], 10, 0, 10 + 2),  # enough ids
        ([None, "a"], 10, 0, 20 + 2),
        ([None], 1000, 0, 1000),
    ],
)
def test_a_restart_looks_at_a_bounded_part_of_the_log(
    tmp_path: Path, ids: list[str | None], limit: int, since: int, most: int
) -> None:
    logged(tmp_path, ids, range(1000))
    looked: list[int] = []

    def wanted(frame: Frame) -> dict[int, str]:
        looked.append(frame.time_us)
        return {index: id for index, id in enumerate(client_ids(frame)) if id}

    found = list(recall(tmp_path, wanted, limit, lambda frame: frame.time_us >= since))
    assert most - 2 <= len(looked) <= most
    assert min(looked) >= since and max(looked) == 999
    assert [one.time_us for one in found] == [at for at in sorted(looked) if ids[at % len(ids)]]


@pytest.mark.parametrize("rate", [0.0, 1.0, 1e6])
@pytest.mark.parametrize("days", [-2, 0, 400])
def test_a_restart_goes_by_seconds_of_the_machine_whatever_event_time_does(make: Make, rate: float, days: int) -> None:
    rig = make(segment_bytes=600)
    clock = rig.workspace.clock
    clock.set(rate=rate)
    for n in range(8):
        assert rig.decide(id=f"a{n}")[0] == 202
    clock.set(time_us=clock.now() + days * DAY)
    assert rig.decide(id="b")[0] == 202
    rig.close()
    again = make()
    for id in ("b", "a7", "a0"):
        assert again.decide({"age": 1.0}, id=id)[0] == 409


def test_ids_that_are_old_by_both_clocks_are_forgotten_in_a_restart(
    make: Make, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make()
    rig.decide(id="a")
    rig.close()
    wall = workspace.clock.wall() + int((CONFIG.idempotency_seconds + 1) * SECOND)
    monkeypatch.setattr(workspace.clock, "wall", lambda: wall)
    again = make()
    assert again.memory.seen.holds("a")  # event time still says that it is young
    again.close()
    monkeypatch.setattr(workspace.clock, "now", lambda: wall)
    assert not make().memory.seen.holds("a")


def beside_an_old_part(make: Make, monkeypatch: pytest.MonkeyPatch) -> tuple[Rig, list[str]]:
    """A worker, and the ids of twenty rows of another one's stream; a step of the way there is as short as can be."""
    old = make(index=1, workers=2)
    ids = [old.decide()[1]["id"] for _ in range(20)]
    old.close()
    rig = make()
    monkeypatch.setattr("andon.store.lookup._BLOCK", 64)
    monkeypatch.setattr("andon.store.lookup._BLOCKS", 1)
    return rig, ids


def test_who_looks_into_an_old_part_of_the_log_holds_nobody_up(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    rig, ids = beside_an_old_part(make, monkeypatch)
    looked = rig.ask("GET", f"{BASE}/decisions/{ids[19]}")
    assert not looked and rig.decide(id="a")[0] == 202 and not looked
    rig.until(lambda: bool(looked))
    assert looked[0].status == 200
    assert rig.call("GET", f"{BASE}/decisions/{ids[0]}")[0] == 200


def test_many_who_look_into_old_parts_take_one_step_a_turn_and_share_the_way(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, ids = beside_an_old_part(make, monkeypatch)
    reach, steps = rig.memory.reach, [0]

    def counted(id: str) -> bool:
        there = reach(id)
        steps[0] += not there
        return there

    monkeypatch.setattr(rig.memory, "reach", counted)
    asked = [rig.ask("GET", f"{BASE}/decisions/{id}") for id in ids[10:] * 3]
    assert steps == [1]
    turns = 0
    while not all(asked):
        assert not rig.desk.idle and turns < 200
        rig.turn()
        turns += 1
        assert steps[0] <= 1 + turns
    assert [one[0].status for one in asked] == [200] * 30 and steps[0] <= 20 + 30 and rig.desk.idle


def test_who_looks_for_too_long_is_told_so_and_not_too_many_may(make: Make) -> None:
    rig = make(replace(CONFIG, deadline_seconds=0.05, queue=2))
    rig.memory.reach = lambda id: False  # type: ignore[method-assign]
    looked = [rig.ask("GET", f"{BASE}/decisions/w1-00000000-{n}") for n in range(3)]
    assert [one[0].status for one in looked if one] == [429]
    rig.until(lambda: all(looked))
    assert [one[0].status for one in looked] == [504, 504, 429]
    assert b"it goes on from there" in looked[0][0].body and rig.desk.idle


def test_segments_that_were_dropped_and_bytes_that_are_damaged(make: Make) -> None:
    rig = make(segment_bytes=2000)
    ids = [rig.decide(id=f"a{n}")[1]["id"] for n in range(40)]
    nameless = [rig.decide()[1]["id"] for _ in range(3)]
    end = rig.wal.end
    assert drop_before(rig.workspace.wal_dir, "w0", end) > 1
    assert rig.decide(id=ids[0])[0] == 202  # outside the window: decided anew
    assert rig.decide({"age": 1.0}, id=ids[39])[0] in (202, 409)
    assert rig.call("GET", f"/v1/projects/screening/decisions/{nameless[2]}")[0] == 200
    rig.decide(id="z")
    path = max(Path(rig.workspace.wal_dir / "w0").glob("*.wal"))
    raw = bytearray(path.read_bytes())
    raw[-9] ^= 255
    path.write_bytes(raw)
    status, body = rig.call("POST", "/v1/projects/screening/decisions", {"x": {"age": 20.0}, "id": "z"})
    assert status == 500 and body["error"]["code"] == "corrupt"  # never a second decision under the same id
