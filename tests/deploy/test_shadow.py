from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.deploy.rig import FIELDS, FakeServed, Rig, by_age

from andon.core.record import Field
from andon.deploy.ring import _TAIL, RingReader, RingWriter
from andon.deploy.shadow import RING_LOSS, UNREAD_LOSS, Shadow, empty_rings, ring_path, unread_before
from andon.errors import Corrupt, Unavailable
from andon.store.codec import decode_losses, decode_predictions
from andon.store.wal import Frame, FrameKind, WalWriter, read_stream

Make = Callable[..., Rig]


def frame(n: int, size: int, count: int = 1) -> Frame:
    return Frame("w0", FrameKind.DECISION, n, n + 1, bytes(8), 1, n, count, 5, bytes([n % 256]) * size, "00000000")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.integers(0, 400), st.none()), max_size=60))
def test_what_comes_out_went_in_whole_in_order_and_the_rest_is_counted(
    tmp_path_factory: pytest.TempPathFactory, steps: list[int | None]
) -> None:
    path = tmp_path_factory.mktemp("ring") / "r"
    writer, reader = RingWriter(path, 1024), RingReader(path)
    offered, taken = [], []
    for n, size in enumerate(steps):
        if size is None:
            taken += reader.take(3)
            reader.done()
        else:
            offered.append(frame(n, size, 2))
            writer.offer(offered[-1])
    while more := reader.take(3):
        taken += more
        reader.done()
    assert b"w0" not in path.read_bytes()  # nothing of a case is left
    assert [one for one in offered if one in taken] == taken
    assert writer.offered == 2 * len(offered) and writer.dropped == 2 * (len(offered) - len(taken))
    assert reader.damaged == reader.lost == 0


def test_a_ring_survives_both_sides_and_damage(tmp_path: Path) -> None:
    path = tmp_path / "r"
    writer = RingWriter(path, 4096)
    writer.offer(frame(1, 10))
    writer.close()
    writer = RingWriter(path, 4096)  # the worker was restarted
    writer.offer(frame(2, 10))
    reader = RingReader(path)
    assert reader.take(1) == [frame(1, 10)]
    reader.close()
    reader = RingReader(path)  # the shadow was killed before it was done
    assert reader.take(1) == [frame(1, 10)]
    reader.done()
    reader.close()
    reader = RingReader(path)  # the shadow was restarted
    assert reader.take(9) == [frame(2, 10)]
    writer.offer(frame(3, 10, 5))
    writer.offer(frame(4, 10, 2))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        at = data.rfind(b"\x03" * 10)
        data[at] = 9
    assert reader.take(9) == [] and reader.damaged == 1
    reader.done()
    reader.close()
    writer.offer(frame(4, 10))
    reader = RingReader(path)
    assert reader.take(9) == [frame(4, 10)] and reader.lost == 7
    assert reader.take(9) == [] and reader.lost == 0
    reader.done()
    other = RingWriter(path, 8192)  # another size: a new file, and the old one stays sound for who has it open
    other.offer(frame(5, 10))
    assert reader.take(9) == [] and RingReader(path).take(9) == [frame(5, 10)]
    with pytest.raises(Unavailable, match="nothing could not be opened"):
        RingReader(tmp_path / "nothing")


def test_a_reader_that_is_killed_while_it_lets_go_loses_and_counts_nothing(tmp_path: Path) -> None:
    path = tmp_path / "r"
    writer, reader = RingWriter(path, 4096), RingReader(path)
    for n in range(3):
        writer.offer(frame(n, 10, 2))
    assert len(reader.take(2)) == 2
    tail = reader._ring.words[_TAIL]
    reader.done()
    reader._ring.words[_TAIL] = tail  # dead before it moved on
    again = RingReader(path)
    assert again.take(9) == [frame(2, 10, 2)] and (again.lost, again.damaged) == (0, 0)
    again.done()
    assert b"w0" not in path.read_bytes()


def test_damage_is_cleared_too_around_the_end_of_the_ring(tmp_path: Path) -> None:
    path = tmp_path / "r"
    writer, reader = RingWriter(path, 512), RingReader(path)
    for n in range(20):
        writer.offer(frame(n, 60))
        if n % 2:
            with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
                data[data.find(bytes([n - 1]) * 60)] ^= 1
            assert reader.take(9) == [] and reader.damaged == (n + 1) // 2
            reader.done()
            assert b"w0" not in path.read_bytes()
    writer.offer(frame(99, 60))
    assert reader.take(9) == [frame(99, 60)] and reader.lost == 20


def test_a_ring_has_its_room_on_the_disk_so_that_a_full_one_ends_nobody(tmp_path: Path) -> None:
    path = tmp_path / "r"
    with path.open("wb") as file:
        file.truncate(1 << 20)  # as an earlier version left it: a file with nothing behind it
    for size in (1 << 20, 1 << 18):
        RingWriter(path, size - 64).close()
        assert (path.stat().st_size, path.stat().st_blocks * 512 >= size) == (size, True)


class Pair:
    """A worker and a shadow of one workspace."""

    def __init__(self, make: Make, ring_bytes: int = 1 << 16, **models: FakeServed | Exception) -> None:
        from andon.store.workspace import Workspace

        self.models = models
        self.said: list[str] = []
        self.rig = make(models={"v1": FakeServed()})
        workspace: Workspace = self.rig.workspace
        self.ring = RingWriter(ring_path(workspace.run_dir, 0), ring_bytes)
        self.rig.close()
        self.rig = make(models={"v1": FakeServed()}, sink=self.ring)
        self.wal = WalWriter(workspace.wal_dir, "s0")
        self.shadow = Shadow(workspace, self.wal, self._load, self.said.append)

    def _load(self, hash: str) -> Any:
        found = self.models[hash]
        if isinstance(found, Exception):
            raise found
        return found

    def predictions(self) -> list[Any]:
        found = read_stream(self.rig.workspace.wal_dir, "s0")
        frames = [one for one in found if isinstance(one, Frame) and one.kind == FrameKind.SHADOW]
        return [row for one in frames for row in decode_predictions(one)]

    def losses(self) -> list[tuple[str, int]]:
        found = read_stream(self.rig.workspace.wal_dir, "s0")
        frames = [one for one in found if isinstance(one, Frame) and one.kind == FrameKind.LOSS]
        return [(row.what, row.n) for one in frames for row in decode_losses(one)]

    def restart(self) -> None:
        """Another shadow process, after a kill."""
        self.shadow = Shadow(self.rig.workspace, self.wal, self._load, self.said.append)


@pytest.fixture
def pairs(make: Make) -> Iterator[Callable[..., Pair]]:
    made: list[Pair] = []

    def build(*args: Any, **models: Any) -> Pair:
        made.append(Pair(make, *args, **models))
        return made[-1]

    yield build
    for pair in made:
        pair.wal.close()


def test_shadows_predict_on_what_was_logged(pairs: Callable[..., Pair]) -> None:
    pair = pairs(v2=FakeServed(lambda columns: 1 - by_age(columns)))
    pair.rig.decide({"age": 1.0}, id="before")
    pair.rig.route(live="v1", shadows=("v2",), levels={"*": "full"})
    for n in range(5):
        assert pair.rig.decide({"age": 10.0}, id=f"a{n}")[1]["decision"] == "negative"
    nameless = pair.rig.decide({"age": 10.0})[1]["id"]
    assert pair.shadow.step() == 6 and pair.shadow.step() == 0
    found = pair.predictions()
    assert [row.id for row in found] == [f"a{n}" for n in range(5)] + [nameless]
    assert {(row.version, row.label) for row in found} == {("v2", "positive")}
    assert found[0].scores is not None and found[0].time_us > 0


def test_a_shadow_that_would_not_load_or_fails_says_so_in_its_predictions(pairs: Callable[..., Pair]) -> None:
    def failing(columns: Mapping[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        raise ValueError("no")

    tall = (*FIELDS, Field("height", "float"))
    pair = pairs(v2=Corrupt("bundle v2 has changed"), v3=FakeServed(failing), v4=FakeServed(by_age, tall))
    bundles = {version: version for version in ("v1", "v2", "v3", "v4")}
    pair.rig.route(live="v1", shadows=("v2", "v3", "v4"), levels={"*": "full"}, bundles=bundles)
    assert pair.rig.decide()[0] == 200
    pair.shadow.step()
    errors = {row.version: row.error for row in pair.predictions()}
    assert "not loaded" in errors["v2"] and "ValueError: no" in errors["v3"] and "height" in errors["v4"]
    assert len(pair.said) == 1 and "bundle v2 has changed" in pair.said[0]


def test_overload_drops_and_counts_exactly_and_answers_stay_the_same(pairs: Callable[..., Pair]) -> None:
    pair = pairs(2048, v2=FakeServed())
    pair.rig.route(live="v1", shadows=("v2",), levels={"*": "full"})
    answers = [pair.rig.decide({"age": float(n % 100)}) for n in range(100)]
    assert {status for status, _ in answers} == {200}
    dropped = pair.ring.dropped
    assert dropped > 0 and pair.ring.offered == 100
    pair.rig.workspace.clock.wall()
    pair.rig.desk._next_loss = 0.0
    pair.rig.desk.tick()
    losses = [
        row
        for one in read_stream(pair.rig.workspace.wal_dir, "w0")
        if isinstance(one, Frame) and one.kind == FrameKind.LOSS
        for row in decode_losses(one)
    ]
    assert sum(row.n for row in losses) == dropped == pair.ring.recorded
    while pair.shadow.step():
        pass
    assert len(pair.predictions()) == 100 - dropped
    meter = pair.rig.desk.gauge()
    assert (meter.shadow_offered, meter.shadow_dropped) == (100, dropped)


def test_a_full_disk_of_the_shadow_keeps_what_was_taken(pairs: Callable[..., Pair], monkeypatch: Any) -> None:
    pair = pairs(v2=FakeServed())
    pair.rig.route(live="v1", shadows=("v2",), levels={"*": "full"})
    pair.rig.decide(id="a")

    def refuse(*_: Any, **__: Any) -> None:
        raise Unavailable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(pair.wal, "append", refuse)
        assert pair.shadow.step() == 1 and pair.shadow.step() == 0 and not pair.predictions()
    pair.shadow.step()
    assert [row.id for row in pair.predictions()] == ["a"]


def test_a_shadow_that_is_killed_before_it_wrote_misses_nothing(pairs: Callable[..., Pair], monkeypatch: Any) -> None:
    pair = pairs(v2=FakeServed())
    pair.rig.route(live="v1", shadows=("v2",), levels={"*": "full"})
    for n in range(3):
        pair.rig.decide(id=f"a{n}")

    def die(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(pair.wal, "append", die)
        with pytest.raises(KeyboardInterrupt):
            pair.shadow.step()
    pair.restart()
    assert pair.shadow.step() == 3 and [row.id for row in pair.predictions()] == ["a0", "a1", "a2"]
    pair.restart()
    assert pair.shadow.step() == 0


def test_what_is_damaged_or_cannot_be_read_is_counted_as_lost(pairs: Callable[..., Pair], monkeypatch: Any) -> None:
    pair = pairs(v2=FakeServed())
    pair.rig.route(live="v1", shadows=("v2",), levels={"*": "full"})
    pair.rig.decide(id="damaged")
    path = ring_path(pair.rig.workspace.run_dir, 0)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as data:
        data[data.find(b"damaged")] = 0
    assert pair.shadow.step() == 0
    pair.rig.decide(id="a")
    assert pair.shadow.step() == 1 and pair.losses() == [(RING_LOSS, 1)]

    def refuse(hash8: bytes) -> None:
        raise Corrupt("the contract cannot be read")

    monkeypatch.setattr(pair.shadow, "_fields_of", refuse)
    pair.rig.decide(id="b")
    assert pair.shadow.step() == 1 and pair.losses()[1:] == [(UNREAD_LOSS, 1)]
    assert [row.id for row in pair.predictions()] == ["a"] and "contract cannot be read" in pair.said[0]


def test_no_shadow_no_ring(pairs: Callable[..., Pair]) -> None:
    pair = pairs(v2=FakeServed())
    pair.rig.route(live="v1", levels={"*": "full"})
    pair.rig.decide()
    assert pair.ring.offered == 0


def test_what_no_shadow_has_taken_goes_when_it_is_old(pairs: Callable[..., Pair]) -> None:
    pair = pairs(v2=FakeServed())
    pair.rig.route(live="v1", shadows=("v2",), levels={"*": "full"})
    workspace = pair.rig.workspace
    path = ring_path(workspace.run_dir, 0)
    for id in ("a", "b"):
        pair.rig.decide(id=id)
    second = RingReader(path).take(2)[1].time_us
    pair.rig.decide(id="c")
    assert unread_before(path, second) < unread_before(path, second + 1)
    assert empty_rings(workspace, second + 1) == 0  # a shadow runs: it reads them itself
    pair.wal.close()
    old = unread_before(path, second + 1)
    assert empty_rings(workspace, second + 1) == old and unread_before(path, second + 1) == 0
    assert [one.time_us > second for one in RingReader(path).take(9)] == [True] * (3 - old)
    assert b"\xa1a" not in path.read_bytes()
    assert empty_rings(workspace, 2**62) == 3 - old and RingReader(path).take(9) == []


def test_a_ring_of_a_worker_that_is_no_more_is_read_as_well(pairs: Callable[..., Pair]) -> None:
    pair = pairs(v2=FakeServed())
    pair.rig.route(live="v1", shadows=("v2",), levels={"*": "full"})
    pair.rig.decide(id="a")
    path = ring_path(pair.rig.workspace.run_dir, 0)
    path.rename(ring_path(pair.rig.workspace.run_dir, 7))
    assert pair.shadow.step() == 1 and [row.id for row in pair.predictions()] == ["a"]
