"""Many writers on one stream: every frame once, in one order, whatever dies."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from andon.core.record import Review
from andon.errors import Unavailable
from andon.store import files
from andon.store.codec import decode_reviews
from andon.store.files import locked
from andon.store.outbox import PEOPLE, PeopleStream
from andon.store.segment import segment_path, segment_starts
from andon.store.wal import Frame, FrameKind, SharedWriter, append_shared, read_stream

MANY = """
import sys
from pathlib import Path
from andon.store.wal import FrameKind, SharedWriter

writer = SharedWriter(Path(sys.argv[1]), "people", segment_bytes=2000)
for i in range(40):
    writer.append(FrameKind.REVIEW, f"{sys.argv[2]}:{i}".encode(), count=1, time_us=i)
"""


def frames_of(directory: Path) -> list[Frame]:
    entries = list(read_stream(directory, "people"))
    assert all(isinstance(entry, Frame) for entry in entries), entries
    return [entry for entry in entries if isinstance(entry, Frame)]


def test_many_processes_append_each_frame_once_in_their_own_order(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d"]
    processes = [subprocess.Popen([sys.executable, "-c", MANY, str(tmp_path), name]) for name in names]
    assert [process.wait(60) for process in processes] == [0] * 4
    frames = frames_of(tmp_path)
    assert [frame.first for frame in frames] == list(range(160))
    for name in names:
        mine = [frame.payload.decode() for frame in frames if frame.payload.startswith(name.encode())]
        assert mine == [f"{name}:{i}" for i in range(40)]
    assert len(segment_starts(tmp_path / "people")) > 2


def test_many_threads_append(tmp_path: Path) -> None:
    def work() -> None:
        for i in range(20):
            append_shared(tmp_path, "people", FrameKind.REVIEW, b"x", count=1, time_us=i)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [frame.first for frame in frames_of(tmp_path)] == list(range(80))


def test_a_writer_that_died_in_the_middle_is_cut_by_the_next(tmp_path: Path) -> None:
    writer = SharedWriter(tmp_path, "people")
    first = writer.append(FrameKind.REVIEW, b"first", count=1, time_us=0)
    with segment_path(tmp_path / "people", 0).open("ab") as file:
        file.write(segment_path(tmp_path / "people", 0).read_bytes()[first.offset : first.end - 2])
    second = writer.append(FrameKind.REVIEW, b"second", count=1, time_us=0)
    third = SharedWriter(tmp_path, "people").append(FrameKind.REVIEW, b"third", count=1, time_us=0)
    assert frames_of(tmp_path) == [first, second, third]


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = SharedWriter(tmp_path, "people")
    first = writer.append(FrameKind.REVIEW, b"first", count=1, time_us=0)

    def full(fd: int) -> None:
        raise OSError(28, "full")

    with monkeypatch.context() as broken:
        broken.setattr(os, "fdatasync", full)
        with pytest.raises(Unavailable, match="the disk is full"):
            writer.append(FrameKind.REVIEW, b"lost", count=1, time_us=0)
    assert frames_of(tmp_path) == [first]
    assert writer.append(FrameKind.REVIEW, b"second", count=1, time_us=0).first == 1


def test_a_lock_that_is_never_released_is_unavailable(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with (
        locked(path),
        pytest.raises(Unavailable, match="has been locked by another process"),
        locked(path, patience=0.01),
    ):
        pass
    with locked(path, patience=0.01):
        pass


def test_the_outbox_writes_reviews_in_order_and_nothing_for_none(tmp_path: Path) -> None:
    stream = PeopleStream(tmp_path)
    stream.append([])
    assert not (tmp_path / PEOPLE).exists()
    reviews = [Review(f"d{i}", "refer", "person", "ann", time_us=i, seconds=1.5) for i in range(3)]
    stream.append(reviews)
    (frame,) = frames_of(tmp_path)
    assert decode_reviews(frame) == reviews
    assert (frame.count, frame.time_us) == (3, 2)


def test_files_are_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    assert files.create_file(path, b"one", mode=0o600)
    assert not files.create_file(path, b"two")
    assert path.stat().st_mode & 0o777 == 0o600

    def full(*_: object) -> int:
        raise OSError(28, "full")

    with monkeypatch.context() as broken:
        broken.setattr(os, "write", full)
        with pytest.raises(Unavailable, match="could not be written: the disk is full"):
            files.replace_file(path, b"three")
        with pytest.raises(Unavailable, match="could not be created"):
            files.create_file(tmp_path / "other", b"three")
    assert path.read_bytes() == b"one"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file"]
