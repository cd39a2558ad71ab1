"""Finding the end of a stream again: torn tails at every byte, damage in the middle, reboots."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from andon.errors import UsageError
from andon.store import segment
from andon.store.segment import SEGMENT_HEAD_SIZE, SegmentHead, create_segment, recover, segment_path, segment_starts
from andon.store.wal import Frame, FrameKind, Gap, WalWriter, read_stream, streams

Fill = Callable[..., list[Frame]]


def only_segment(directory: Path, stream: str = "w0") -> Path:
    (path,) = (directory / stream).glob("*.wal")
    return path


def rows(entries: list[Frame | Gap]) -> list[int]:
    return [entry.first for entry in entries if isinstance(entry, Frame)]


def test_a_torn_tail_at_every_byte_keeps_what_was_whole_and_never_reuses_offsets(tmp_path: Path, fill: Fill) -> None:
    original = tmp_path / "original"
    frames = fill(original, 5, 17, 40)
    data = only_segment(original).read_bytes()
    begin = frames[-1].offset
    for cut in range(begin, len(data)):
        directory = tmp_path / f"cut{cut}"
        shutil.copytree(original, directory)
        os.truncate(only_segment(directory), cut)
        writer = WalWriter(directory, "w0")
        assert writer.next_sequence == frames[-1].first
        assert writer.end >= cut
        added = writer.append(FrameKind.FEEDBACK, b"new", count=1, time_us=9)
        writer.close()
        assert list(read_stream(directory, "w0")) == [*frames[:-1], added]
        torn = list((directory / "w0").glob("torn-*"))
        assert [path.read_bytes() for path in torn] == ([data[begin:cut]] if cut > begin else [])
        shutil.rmtree(directory)


def test_a_torn_tail_changes_the_generation_and_a_clean_reopen_keeps_it(tmp_path: Path, fill: Fill) -> None:
    frames = fill(tmp_path, 5, 5)
    kept = WalWriter(tmp_path, "w0")
    assert kept.generation == frames[0].generation
    kept.close()
    os.truncate(only_segment(tmp_path), frames[-1].end - 1)
    writer = WalWriter(tmp_path, "w0")
    assert writer.generation != frames[0].generation
    writer.close()


def test_every_damaged_byte_of_a_middle_frame_costs_exactly_its_rows(tmp_path: Path, fill: Fill) -> None:
    frames = fill(tmp_path, 5, 13, 7)
    path = only_segment(tmp_path)
    data = path.read_bytes()
    middle = frames[1]
    for at in range(middle.offset, middle.end):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :])
        entries = list(read_stream(tmp_path, "w0"))
        assert entries == [frames[0], Gap("w0", middle.offset, middle.end, middle.count), frames[2]], at
        assert list(read_stream(tmp_path, "w0", middle.offset)) == entries[1:], at


def test_a_damaged_last_frame_keeps_its_numbers_and_is_counted(tmp_path: Path, fill: Fill) -> None:
    frames = fill(tmp_path, 5, 13)
    path = only_segment(tmp_path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    writer = WalWriter(tmp_path, "w0")
    assert writer.next_sequence == frames[-1].first + frames[-1].count
    added = writer.append(FrameKind.LOSS, b"", count=1, time_us=0)
    writer.close()
    lost = Gap("w0", frames[-1].offset, frames[-1].end, frames[-1].count)
    assert list(read_stream(tmp_path, "w0")) == [frames[0], lost, added]


@pytest.mark.parametrize("size", [0, 1, SEGMENT_HEAD_SIZE - 1])
def test_a_segment_without_its_header_is_passed_over(tmp_path: Path, fill: Fill, size: int) -> None:
    frames = fill(tmp_path, *[10] * 4, segment_bytes=1)
    starts = segment_starts(tmp_path / "w0")
    assert len(starts) == 4
    os.truncate(segment_path(tmp_path / "w0", starts[-1]), size)
    writer = WalWriter(tmp_path, "w0")
    assert writer.next_sequence == frames[-1].first
    added = writer.append(FrameKind.LOSS, b"", count=1, time_us=0)
    writer.close()
    assert list(read_stream(tmp_path, "w0"))[-1] == added
    assert rows(list(read_stream(tmp_path, "w0"))) == [frame.first for frame in frames]


def test_a_damaged_segment_header_costs_no_frame(tmp_path: Path, fill: Fill) -> None:
    frames = fill(tmp_path, 10, 10)
    path = only_segment(tmp_path)
    data = bytearray(path.read_bytes())
    data[8] ^= 0xFF
    path.write_bytes(data)
    assert list(read_stream(tmp_path, "w0")) == frames
    writer = WalWriter(tmp_path, "w0")
    assert writer.next_sequence == frames[-1].first + frames[-1].count
    writer.close()


def test_after_a_reboot_offsets_jump_and_ids_change(
    tmp_path: Path, fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = fill(tmp_path, 10, 10)
    monkeypatch.setattr(segment, "boot_tag", lambda: 12345)
    writer = WalWriter(tmp_path, "w0")
    assert writer.end >= frames[-1].end + (1 << 32)
    assert writer.generation != frames[0].generation
    added = writer.append(FrameKind.LOSS, b"", count=1, time_us=0)
    writer.close()
    assert list(read_stream(tmp_path, "w0")) == [*frames, added]
    assert list(read_stream(tmp_path, "w0", frames[-1].end)) == [added]


def test_known_end_is_used_only_while_it_is_true(tmp_path: Path, fill: Fill) -> None:
    fill(tmp_path, 10)
    folder = tmp_path / "w0"
    known = recover(folder)
    assert recover(folder, known) is known
    added = fill(tmp_path, 10)
    assert recover(folder, known).sequence == added[-1].first + added[-1].count


def test_a_segment_is_not_created_twice(tmp_path: Path) -> None:
    head = SegmentHead(1, 0, 0, 0)
    create_segment(tmp_path, head)
    with pytest.raises(UsageError, match="two writers"):
        create_segment(tmp_path, head)


def test_streams_are_directories_with_segments(tmp_path: Path, fill: Fill) -> None:
    assert streams(tmp_path / "none") == []
    fill(tmp_path, 1, stream="w1")
    fill(tmp_path, 1, stream="s0")
    (tmp_path / "empty").mkdir()
    assert streams(tmp_path) == ["s0", "w1"]
