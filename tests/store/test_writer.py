"""Writing: full disks, refused syncs, two writers, kills in the middle of a write."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from andon.errors import Conflict, Unavailable, UsageError
from andon.store.segment import segment_path, segment_starts
from andon.store.wal import Frame, FrameKind, Gap, WalWriter, read_stream


class Disk:
    """A disk behind the writer's ports: how many bytes are left, how long a sync takes, whether it fails."""

    def __init__(self, room: int = 1 << 40, seconds: float = 0.0) -> None:
        self.room = room
        self.seconds = seconds
        self.refuse: OSError | None = None
        self.syncs = 0

    def write(self, fd: int, data: bytes) -> int:
        if self.room <= 0:
            raise OSError(errno.ENOSPC, "no space")
        n = os.write(fd, data[: self.room])
        self.room -= n
        return n

    def sync(self, fd: int) -> None:
        self.syncs += 1
        time.sleep(self.seconds)
        if self.refuse is not None:
            raise self.refuse


def append(writer: WalWriter, payload: bytes = b"payload") -> Frame:
    return writer.append(FrameKind.DECISION, payload, count=2, epoch=4, contract=b"contract", time_us=7)


@pytest.mark.parametrize("size", [0, 1, 100, 70_000])
def test_disk_full_at_any_point_leaves_nothing_half_and_writing_goes_on(tmp_path: Path, size: int) -> None:
    disk = Disk()
    writer = WalWriter(tmp_path, "w0", write=disk.write)
    written = [append(writer)]
    for room in {0, 1, 30, 59, 60, 61, size // 2, size + 59} - {size + 60}:
        disk.room = min(room, size + 59)
        with pytest.raises(Unavailable, match=r"^the log w0 could not be written: the disk is full; free some space"):
            append(writer, b"x" * size)
        assert list(read_stream(tmp_path, "w0")) == written
        disk.room = 1 << 40
        written.append(append(writer, b"y" * size))
    writer.close()
    assert list(read_stream(tmp_path, "w0")) == written
    assert not list((tmp_path / "w0").glob("torn-*"))


def test_a_half_frame_that_cannot_be_taken_back_is_taken_back_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk()
    writer = WalWriter(tmp_path, "w0", write=disk.write)
    first = append(writer)
    disk.room = 10
    with monkeypatch.context() as broken:
        broken.setattr(os, "ftruncate", raises(OSError(errno.EIO, "broken")))
        with pytest.raises(Unavailable, match="disk is full"):
            append(writer)
        disk.room = 1 << 40
        with pytest.raises(Unavailable, match="cannot take back"):
            append(writer)
    second = append(writer)
    writer.close()
    assert list(read_stream(tmp_path, "w0")) == [first, second]


def raises(error: OSError) -> Callable[..., None]:
    def call(*_: object) -> None:
        raise error

    return call


def test_a_real_file_size_limit_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    writer = WalWriter(tmp_path, "w0")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        frames = [append(writer, b"x" * 300) for _ in range(2)]
        with pytest.raises(Unavailable, match="file-size limit"):
            append(writer, b"x" * 300)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    frames.append(append(writer, b"x" * 300))
    writer.close()
    assert list(read_stream(tmp_path, "w0")) == frames


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 kB, where mounting one is allowed."""
    where = tmp_path / "tiny"
    where.mkdir()
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", where], capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip("a file system may not be mounted here")
    yield where
    subprocess.run(["umount", "-l", where], check=True)


def test_a_new_segment_that_cannot_be_opened_stands_in_nobodys_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = WalWriter(tmp_path, "w0", segment_bytes=100)
    writer.append(FrameKind.FEEDBACK, b"a" * 60, count=1, time_us=1)
    opened = os.open

    def full(path: str, flags: int, *more: int) -> int:
        if flags == os.O_WRONLY | os.O_APPEND:
            raise OSError(errno.EMFILE, "Too many open files")
        return opened(path, flags, *more)

    monkeypatch.setattr(os, "open", full)
    for _ in range(2):
        with pytest.raises(Unavailable, match="too many open files"):
            writer.append(FrameKind.FEEDBACK, b"b", count=1, time_us=2)
    assert len(segment_starts(tmp_path / "w0")) == 1
    monkeypatch.setattr(os, "open", opened)
    assert writer.append(FrameKind.FEEDBACK, b"c", count=1, time_us=3).first == 1
    writer.close()
    frames = [entry for entry in read_stream(tmp_path, "w0") if isinstance(entry, Frame)]
    assert [frame.payload for frame in frames] == [b"a" * 60, b"c"]


def test_a_real_full_disk(tiny_disk: Path) -> None:
    writer = WalWriter(tiny_disk, "w0", segment_bytes=20_000, flush_every=0.001)
    frames = []
    with pytest.raises(Unavailable, match="the disk is full"):
        while True:
            frames.append(append(writer, b"x" * 1500))
    assert len(frames) > 20
    with pytest.raises(Unavailable, match="the disk is full"):
        append(writer, b"x" * 1500)
    assert list(read_stream(tiny_disk, "w0")) == frames
    wait_until(lambda: writer.synced_end >= frames[-1].end)
    assert writer.drop_before(frames[-1].offset) >= 1
    frames.append(append(writer, b"x" * 1500))
    writer.close()
    assert list(read_stream(tiny_disk, "w0"))[-1] == frames[-1]


def test_a_stream_has_one_writer(tmp_path: Path) -> None:
    writer = WalWriter(tmp_path, "w0")
    with pytest.raises(Conflict, match="the stream w0 already has a writer"):
        WalWriter(tmp_path, "w0")
    other = WalWriter(tmp_path, "w1")
    other.close()
    writer.close()
    writer.close()
    WalWriter(tmp_path, "w0").close()


def test_wrong_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected flush or commit, found 'never'"):
        WalWriter(tmp_path, "w0", durability="never")  # type: ignore[arg-type]
    writer = WalWriter(tmp_path, "w0")
    with pytest.raises(UsageError, match="8 bytes of contract hash"):
        writer.append(FrameKind.LOSS, b"", count=1, contract=b"short", time_us=0)
    writer.close()


def test_a_directory_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable, match="could not be opened"):
        WalWriter(tmp_path / "file", "w0")


def test_flush_calls_back_at_once_and_syncs_soon(tmp_path: Path) -> None:
    disk = Disk()
    writer = WalWriter(tmp_path, "w0", flush_every=0.01, sync=disk.sync)
    called: list[int] = []
    frame = append(writer)
    writer.on_durable(frame.end, lambda: called.append(1))
    assert called == [1]
    wait_until(lambda: writer.synced_end >= frame.end)
    writer.close()


def test_an_idle_writer_does_not_sync(tmp_path: Path) -> None:
    disk = Disk()
    writer = WalWriter(tmp_path, "w0", flush_every=0.001, sync=disk.sync)
    frame = append(writer)
    wait_until(lambda: writer.synced_end >= frame.end)
    syncs = disk.syncs
    time.sleep(0.05)
    assert disk.syncs == syncs
    writer.close()


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_commit_answers_only_after_a_sync_that_covers_the_frame_and_groups_them(tmp_path: Path) -> None:
    disk = Disk(seconds=0.02)
    writer = WalWriter(tmp_path, "w0", durability="commit", sync=disk.sync)
    answered: list[int] = []
    began = time.monotonic()
    n = 200
    for i in range(n):
        frame = append(writer)
        end = frame.end

        def done(i: int = i, end: int = end) -> None:
            assert writer.synced_end >= end
            answered.append(i)

        writer.on_durable(end, done)
        assert i not in answered or time.monotonic() - began >= 0.02
    wait_until(lambda: len(answered) == n)
    assert answered == list(range(n))
    assert time.monotonic() - began >= 0.02
    assert disk.syncs < n / 2
    late = threading.Event()
    writer.on_durable(frame.end, late.set)
    assert late.is_set()
    writer.close()


def test_close_answers_who_waits(tmp_path: Path) -> None:
    writer = WalWriter(tmp_path, "w0", durability="commit", sync=Disk(seconds=0.02).sync)
    answered = threading.Event()
    writer.on_durable(append(writer).end, answered.set)
    writer.close()
    assert answered.is_set()


def test_a_refused_sync_is_told_and_writing_goes_on_in_a_new_segment(tmp_path: Path) -> None:
    disk = Disk()
    writer = WalWriter(tmp_path, "w0", durability="commit", sync=disk.sync)
    outcomes: list[str] = []
    first = append(writer)
    wait_until(lambda: writer.synced_end >= first.end)
    disk.refuse = OSError(errno.EIO, "broken")
    second = append(writer)
    writer.on_durable(second.end, lambda: outcomes.append("safe"), lambda error: outcomes.append(str(error)))
    wait_until(lambda: bool(outcomes))
    disk.refuse = None
    third = append(writer)
    writer.on_durable(third.end, lambda: outcomes.append("safe"))
    wait_until(lambda: len(outcomes) == 2)
    writer.on_durable(second.end, lambda: outcomes.append("wrong"), lambda error: outcomes.append("still refused"))
    assert outcomes[0].startswith("the log w0 could not be made durable: the disk reported an input/output error")
    assert outcomes[1:] == ["safe", "still refused"]
    assert writer.sync_errors >= 1
    writer.close()
    assert list(read_stream(tmp_path, "w0")) == [first, second, third]
    assert len(segment_starts(tmp_path / "w0")) >= 2


def test_a_closed_event_loop_does_not_stop_the_committer(tmp_path: Path) -> None:
    writer = WalWriter(tmp_path, "w0", durability="commit", sync=Disk().sync)

    def gone() -> None:
        raise RuntimeError("Event loop is closed")

    writer.on_durable(append(writer).end, gone)
    answered = threading.Event()
    writer.on_durable(append(writer).end, answered.set)
    assert answered.wait(5)
    writer.close()


def test_a_segment_that_cannot_be_started_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = WalWriter(tmp_path, "w0", segment_bytes=50)
    first = append(writer)
    with monkeypatch.context() as broken:
        broken.setattr(os, "link", raises(OSError(errno.ENOSPC, "full")))
        with pytest.raises(Unavailable, match="the disk is full"):
            append(writer)
    second = append(writer)
    writer.close()
    assert list(read_stream(tmp_path, "w0")) == [first, second]
    assert not [path for path in (tmp_path / "w0").iterdir() if path.name.startswith(".")]


KILLED = """
import os, signal, sys
from pathlib import Path
from andon.store.wal import FrameKind, WalWriter

directory, stop_in = Path(sys.argv[1]), int(sys.argv[2])
written = 0

def write(fd, data):
    global written
    if written == stop_in:
        os.write(fd, data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGKILL)
    written += 1
    return os.write(fd, data)

writer = WalWriter(directory, "w0", write=write)
for i in range(stop_in + 1):
    frame = writer.append(FrameKind.DECISION, b"%d" % i * 50, count=1, time_us=i)
    print(frame.offset, flush=True)
"""


def test_a_kill_inside_a_write_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    acknowledged: list[int] = []
    for round_ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(tmp_path), str(round_ * 3 + 1)], capture_output=True, text=True
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        acknowledged += [int(line) for line in done.stdout.split()]
    writer = WalWriter(tmp_path, "w0")
    writer.close()
    frames = list(read_stream(tmp_path, "w0"))
    assert [frame.offset for frame in frames] == acknowledged
    assert not any(isinstance(frame, Gap) for frame in frames)
    assert len(list((tmp_path / "w0").glob("torn-*"))) == 3


AT_RANDOM = """
import sys
from pathlib import Path
from andon.store.wal import FrameKind, WalWriter

writer = WalWriter(Path(sys.argv[1]), "w0", segment_bytes=100_000)
i = writer.next_sequence
while True:
    writer.append(FrameKind.DECISION, b"%d" % i * 100, count=1, time_us=i)
    sys.stdout.write(f"{i}\\n")
    sys.stdout.flush()
    i += 1
"""


def test_kills_at_random_moments_keep_every_acknowledged_row_once(tmp_path: Path) -> None:
    acknowledged: list[int] = []
    for pause in (0.0, 0.003, 0.011):
        process = subprocess.Popen([sys.executable, "-c", AT_RANDOM, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        acknowledged.append(int(process.stdout.readline()))
        time.sleep(pause)
        process.kill()
        rest = process.stdout.read()
        acknowledged += [int(line) for line in rest.split("\n")[:-1]]
        process.stdout.close()
        process.wait()
    frames = [entry for entry in read_stream(tmp_path, "w0") if isinstance(entry, Frame)]
    sequences = [frame.first for frame in frames]
    assert sequences == list(range(len(sequences)))
    assert set(acknowledged) <= set(sequences)
    assert len(set(acknowledged)) == len(acknowledged)
    for frame in frames:
        assert frame.payload == b"%d" % frame.first * 100


def test_payload_and_header_come_back_as_written(tmp_path: Path) -> None:
    writer = WalWriter(tmp_path, "w0")
    frame = append(writer)
    writer.close()
    assert list(read_stream(tmp_path, "w0")) == [frame]
    assert (frame.count, frame.epoch, frame.contract, frame.time_us) == (2, 4, b"contract", 7)
    assert segment_path(tmp_path / "w0", 0).stat().st_size == frame.end
