"""The route plane: one winner per epoch, seen at once, unharmed by kills, garbage and a dead database."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.core.record import Route
from andon.errors import Conflict, Corrupt, NotFound, Unavailable
from andon.store.routes import NO_EPOCH, Ack, RoutePlane

GOLDEN = Path(__file__).parent / "golden"


def route(epoch: int, actor: str = "ann") -> Route:
    return Route(epoch=epoch, time_us=1, wall_us=2, actor=actor, action="switch", reason="a test", live=f"v{epoch}")


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[RoutePlane]:
    plane = RoutePlane(tmp_path / "routes")
    yield plane
    plane.close()


def test_routes_follow_one_another(plane: RoutePlane) -> None:
    assert (plane.word(), plane.current(), plane.history(), plane.next_epoch()) == (NO_EPOCH, None, [], 1)
    for epoch in (1, 2, 3):
        assert plane.publish(route(epoch)) == route(epoch)
        assert (plane.word(), plane.current()) == (epoch, route(epoch))
    assert plane.history() == [route(3), route(2), route(1)]
    assert plane.history(limit=2) == [route(3), route(2)]
    assert plane.at(2) == route(2)
    with pytest.raises(NotFound, match="no route has the epoch 9; the newest is 3"):
        plane.at(9)


@pytest.mark.parametrize("epoch", [0, 1, 2, 4, -1])
def test_an_epoch_that_is_not_the_next_is_a_conflict(plane: RoutePlane, epoch: int) -> None:
    plane.publish(route(1))
    plane.publish(route(2))
    with pytest.raises(Conflict, match=f"route epoch {epoch}: expected 3"):
        plane.publish(route(epoch))
    assert plane.current() == route(2)


def test_other_handles_see_a_new_route_at_once(plane: RoutePlane) -> None:
    other = RoutePlane(plane.directory)
    plane.publish(route(1))
    assert (other.word(), other.current()) == (1, route(1))
    other.publish(route(2))
    assert plane.word() == 2
    other.close()


MANY = """
import sys
from pathlib import Path
from andon.core.record import Route
from andon.errors import Conflict
from andon.store.routes import RoutePlane

plane = RoutePlane(Path(sys.argv[1]))
won = []
while plane.word() < 60:
    epoch = plane.next_epoch()
    if epoch > 60:
        break
    try:
        plane.publish(Route(epoch=epoch, time_us=0, wall_us=0, actor=sys.argv[2], action="a", reason="r"))
        won.append(epoch)
    except Conflict:
        pass
print(*won)
"""


def test_of_many_processes_exactly_one_wins_each_epoch(plane: RoutePlane) -> None:
    names = ["a", "b", "c", "d"]
    processes = [
        subprocess.Popen([sys.executable, "-c", MANY, str(plane.directory), name], stdout=subprocess.PIPE, text=True)
        for name in names
    ]
    won = {}
    for name, process in zip(names, processes, strict=True):
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        won[name] = [int(epoch) for epoch in out.split()]
    assert sorted(epoch for epochs in won.values() for epoch in epochs) == list(range(1, 61))
    for name, epochs in won.items():
        assert all(plane.at(epoch).actor == name for epoch in epochs)


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"check":"x","route":{}}', b"\xff\xfe", b'{"check":"0","route":null}']
)
def test_a_garbage_file_is_passed_over_with_a_sentence_and_its_epoch_used_again(
    plane: RoutePlane, content: bytes
) -> None:
    plane.publish(route(1))
    (plane.directory / f"{2:012d}.json").write_bytes(content)
    assert plane.current() == route(1)
    assert plane.reconcile() == 1
    assert "cannot be read" in plane.faults["2"]
    assert plane.history() == [route(1)]
    with pytest.raises(Corrupt, match="passed over"):
        plane.at(2)
    assert plane.publish(route(2)) == route(2)
    assert (plane.word(), plane.current()) == (2, route(2))


def test_a_route_that_rotted_after_it_was_announced_gives_way_to_a_later_epoch(plane: RoutePlane) -> None:
    plane.publish(route(1))
    plane.publish(route(2))
    path = plane.directory / f"{2:012d}.json"
    path.write_bytes(path.read_bytes().replace(b'"live":"v2"', b'"live":"v9"'))
    assert plane.current() == route(1)
    assert plane.next_epoch() == 3
    plane.publish(route(3))
    assert plane.word() == 3


def test_who_died_between_file_and_word_is_made_good_by_reconcile(
    plane: RoutePlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane.publish(route(1))
    with monkeypatch.context() as dying:
        dying.setattr(plane, "_announce", lambda _: None)
        plane.publish(route(2))
    assert plane.word() == 1
    assert plane.current() == route(2)
    assert plane.reconcile() == 2
    assert plane.word() == 2
    assert plane.publish(route(3)).epoch == 3


def test_a_lost_word_file_is_made_good(plane: RoutePlane) -> None:
    for epoch in (1, 2, 3):
        plane.publish(route(epoch))
    (plane.directory / "epoch").unlink()
    fresh = RoutePlane(plane.directory)
    assert (fresh.word(), fresh.current()) == (0, route(3))
    assert fresh.reconcile() == 3
    fresh.close()


def test_a_disk_that_is_full_changes_nothing(plane: RoutePlane, monkeypatch: pytest.MonkeyPatch) -> None:
    plane.publish(route(1))

    def full(*_: object) -> int:
        raise OSError(28, "full")

    with monkeypatch.context() as broken:
        broken.setattr(os, "write", full)
        with pytest.raises(Unavailable, match="the disk is full"):
            plane.publish(route(2))
    assert (plane.word(), plane.current(), plane.next_epoch()) == (1, route(1), 2)


def test_the_word_costs_next_to_nothing(plane: RoutePlane) -> None:
    plane.publish(route(1))
    best = min(_seconds(plane) for _ in range(5))
    assert best / 10_000 < 2e-6, "a bound far above the 100 ns measured, for slow machines"


def _seconds(plane: RoutePlane) -> float:
    began = time.perf_counter()
    for _ in range(10_000):
        plane.word()
    return time.perf_counter() - began


def test_workers_acknowledge(plane: RoutePlane) -> None:
    assert plane.acks() == []
    first = Ack("w0", 11, 3, ("v1", "v2"), 99, {"v3": "the bundle v3 differs from its hash"})
    plane.acknowledge("w0", Ack("w0", 10, 2))
    plane.acknowledge("w0", first)
    plane.acknowledge("w1", Ack("w1", 12, 3))
    (plane.directory / "acks" / "w2.json").write_bytes(b"{")
    assert plane.acks() == [first, Ack("w1", 12, 3)]
    assert "cannot be read" in plane.faults["w2.json"]


def test_a_plane_that_cannot_be_opened_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable, match="could not be opened"):
        RoutePlane(tmp_path / "file" / "routes")


@pytest.mark.parametrize("release", sorted(path.name for path in GOLDEN.iterdir()))
def test_routes_of_every_release_stay_readable(plane: RoutePlane, release: str) -> None:
    shutil.copy(GOLDEN / release / "routes" / "000000000001.json", plane.directory)
    found = plane.current()
    assert found is not None
    assert (found.live, found.bundles, found.levels) == ("v1", {"v1": "abc"}, {"*": "shadow", "older": "human"})
    assert (found.thresholds, found.review_seconds, found.previous) == ({"v1/*": 0.97}, 3600.0, -1)


@settings(max_examples=40, deadline=None)
@given(content=st.binary(max_size=200))
def test_no_file_content_stops_the_line(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    plane = RoutePlane(tmp_path_factory.mktemp("routes"))
    (plane.directory / f"{1:012d}.json").write_bytes(content)
    assert plane.current() is None
    plane.publish(route(1))
    assert plane.current() == route(1)
    plane.close()


def test_a_route_file_can_be_read_by_people(plane: RoutePlane) -> None:
    plane.publish(route(1))
    body = msgspec.json.decode((plane.directory / "000000000001.json").read_bytes())
    assert body["route"]["reason"] == "a test"
