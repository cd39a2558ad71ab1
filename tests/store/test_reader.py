"""Reading while others write, across segments, past damage; nothing twice, nothing silently missing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.errors import Corrupt, NotFound, Unavailable
from andon.store.frame import HEAD_SIZE, MAGIC
from andon.store.segment import SEGMENT_HEAD_SIZE, segment_path, segment_starts
from andon.store.wal import (
    Finder,
    Frame,
    FrameKind,
    Gap,
    StreamReader,
    WalWriter,
    drop_before,
    fetch,
    find_sequence,
    read_stream,
)

Fill = Callable[..., list[Frame]]


def damage(path: Path, at: int, n: int = 1) -> None:
    data = bytearray(path.read_bytes())
    data[at : at + n] = bytes(byte ^ 0xA5 for byte in data[at : at + n])
    path.write_bytes(data)


def test_a_reader_follows_the_writer_across_segments(tmp_path: Path) -> None:
    reader = StreamReader(tmp_path, "w0")
    assert reader.poll() == []
    writer = WalWriter(tmp_path, "w0", segment_bytes=200)
    written, seen = [], []
    for i in range(40):
        written.append(writer.append(FrameKind.DECISION, bytes(i), count=1, time_us=i))
        if i % 3 == 0:
            seen += reader.poll(max_bytes=100)
    while entries := reader.poll(max_bytes=100):
        seen += entries
    writer.close()
    assert seen == written
    assert len(segment_starts(tmp_path / "w0")) > 5
    assert reader.offset == written[-1].end


def test_reading_goes_on_from_any_stored_offset(tmp_path: Path, fill: Fill) -> None:
    frames = fill(tmp_path, *range(0, 300, 7), segment_bytes=500)
    for i, frame in enumerate(frames):
        assert list(read_stream(tmp_path, "w0", frame.end)) == frames[i + 1 :]


def test_an_unfinished_frame_is_waited_for(tmp_path: Path, fill: Fill) -> None:
    frames = fill(tmp_path, 10, 5000)
    path = segment_path(tmp_path / "w0", 0)
    data = path.read_bytes()
    reader = StreamReader(tmp_path, "w0")
    for cut in (frames[1].offset + 3, frames[1].offset + HEAD_SIZE, frames[1].end - 1):
        path.write_bytes(data[:cut])
        reader.poll()
        assert reader.poll() == []
    path.write_bytes(data)
    assert reader.poll() == [frames[1]]


def test_a_client_cannot_smuggle_a_frame_into_an_unfinished_or_damaged_payload(tmp_path: Path, fill: Fill) -> None:
    forged = fill(tmp_path / "other", 10)
    inner = segment_path(tmp_path / "other" / "w0", 0).read_bytes()[SEGMENT_HEAD_SIZE:]
    assert inner.startswith(MAGIC) and forged
    writer = WalWriter(tmp_path, "w0")
    first = writer.append(FrameKind.DECISION, b"a", count=1, time_us=0)
    frame = writer.append(FrameKind.DECISION, b"x" * 50 + inner + b"y" * 50, count=2, time_us=0)
    writer.close()
    path = segment_path(tmp_path / "w0", 0)
    data = path.read_bytes()
    path.write_bytes(data[:-10])
    assert list(read_stream(tmp_path, "w0")) == [first]
    path.write_bytes(data)
    damage(path, frame.end - 1)
    assert list(read_stream(tmp_path, "w0")) == [first, Gap("w0", frame.offset, frame.end, 2)]


def test_a_frame_larger_than_a_piece_is_read_whole(tmp_path: Path, fill: Fill) -> None:
    frames = fill(tmp_path, 10, 50_000, 10)
    reader = StreamReader(tmp_path, "w0")
    seen: list[Frame | Gap] = []
    while entries := reader.poll(max_bytes=64):
        seen += entries
    assert seen == frames


def test_damage_larger_than_a_piece_is_passed(tmp_path: Path, fill: Fill) -> None:
    frames = fill(tmp_path, 10, 50_000, 10)
    damage(segment_path(tmp_path / "w0", 0), frames[1].offset, 40_000)
    reader = StreamReader(tmp_path, "w0")
    seen: list[Frame | Gap] = []
    while entries := reader.poll(max_bytes=64):
        seen += entries
    assert seen == [frames[0], Gap("w0", frames[1].offset, frames[1].end, frames[1].count), frames[2]]


def test_a_damaged_end_of_a_sealed_segment_is_counted_even_after_a_restart(tmp_path: Path, fill: Fill) -> None:
    frames = fill(tmp_path, 10, 10, 10, 10, segment_bytes=150)
    damage(segment_path(tmp_path / "w0", 0), frames[1].offset, HEAD_SIZE)
    reader = StreamReader(tmp_path, "w0")
    assert reader.poll() == [frames[0]]
    lost = Gap("w0", frames[1].offset, frames[2].offset, frames[1].count)
    assert reader.poll() == [lost, *frames[2:]]
    assert list(read_stream(tmp_path, "w0", frames[0].end)) == [lost, *frames[2:]]


def test_damage_at_the_end_of_the_live_segment_waits_for_what_comes(tmp_path: Path) -> None:
    writer = WalWriter(tmp_path, "w0")
    first = writer.append(FrameKind.DECISION, b"one", count=2, time_us=0)
    second = writer.append(FrameKind.DECISION, b"two", count=3, time_us=0)
    damage(segment_path(tmp_path / "w0", 0), second.offset + 20, 4)
    reader = StreamReader(tmp_path, "w0")
    assert reader.poll() == [first]
    assert reader.poll() == []
    third = writer.append(FrameKind.DECISION, b"three", count=1, time_us=0)
    assert reader.poll() == [Gap("w0", second.offset, second.end, 3), third]
    writer.close()


def test_a_missing_segment_is_a_gap_with_its_rows(tmp_path: Path, fill: Fill) -> None:
    frames = fill(tmp_path, *[10] * 6, segment_bytes=1)
    reader = StreamReader(tmp_path, "w0")
    assert reader.poll() == [frames[0]]
    starts = segment_starts(tmp_path / "w0")
    segment_path(tmp_path / "w0", starts[2]).unlink()
    rest: list[Frame | Gap] = []
    while entries := reader.poll():
        rest += entries
    lost = Gap("w0", frames[1].end, frames[3].offset, frames[2].count)
    assert rest == [frames[1], lost, *frames[3:]]


def test_dropped_segments_are_no_gap_for_a_new_reader_and_one_for_a_late_reader(tmp_path: Path, fill: Fill) -> None:
    frames = fill(tmp_path, *[10] * 6, segment_bytes=1)
    assert drop_before(tmp_path, "w0", frames[3].offset) == 3
    assert list(read_stream(tmp_path, "w0")) == frames[3:]
    late = list(read_stream(tmp_path, "w0", frames[0].end))
    assert late == [Gap("w0", frames[0].end, frames[3].offset, None), *frames[3:]]
    assert drop_before(tmp_path, "w0", 1 << 60) == 2
    assert list(read_stream(tmp_path, "w0")) == frames[5:]


def test_kinds_of_a_later_release_are_passed_over_without_a_gap(tmp_path: Path) -> None:
    writer = WalWriter(tmp_path, "w0")
    writer.append(99, b"later", count=5, time_us=0)  # type: ignore[arg-type]
    known = writer.append(FrameKind.LOSS, b"", count=1, time_us=0)
    writer.close()
    assert list(read_stream(tmp_path, "w0")) == [known]
    assert known.first == 5


def test_fetch_finds_one_frame_and_says_what_is_wrong(tmp_path: Path, fill: Fill) -> None:
    frames = fill(tmp_path, 10, 9000, 10, segment_bytes=100)
    for frame in frames:
        assert fetch(tmp_path, "w0", frame.offset) == frame
    with pytest.raises(NotFound, match="dropped after retention"):
        fetch(tmp_path, "w0", frames[-1].end)
    with pytest.raises(NotFound):
        fetch(tmp_path, "none", 0)
    with pytest.raises(Corrupt, match="not a sound frame"):
        fetch(tmp_path, "w0", frames[0].offset + 1)
    damage(segment_path(tmp_path / "w0", 0), frames[0].end - 1)
    with pytest.raises(Corrupt):
        fetch(tmp_path, "w0", frames[0].offset)


def test_a_row_is_found_by_its_sequence(tmp_path: Path, fill: Fill) -> None:
    frames = fill(tmp_path, *range(0, 200, 9), segment_bytes=400)
    for frame in frames:
        for sequence in range(frame.first, frame.first + frame.count):
            assert find_sequence(tmp_path, "w0", sequence, frame.generation) == frame
    for sequence in (frames[-1].first + frames[-1].count, 10_000):
        with pytest.raises(NotFound, match="has no row"):
            find_sequence(tmp_path, "w0", sequence)
    with pytest.raises(NotFound):
        find_sequence(tmp_path, "w0", 0, "ffffffff" if frames[0].generation != "ffffffff" else "00000000")
    drop_before(tmp_path, "w0", frames[-1].offset)
    with pytest.raises(NotFound):
        find_sequence(tmp_path, "w0", 0)


@pytest.fixture
def bytes_read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes each read of a file took from here on."""
    taken: list[int] = []
    pread = os.pread

    def counted(fd: int, n: int, offset: int) -> bytes:
        data = pread(fd, n, offset)
        taken.append(len(data))
        return data

    monkeypatch.setattr(os, "pread", counted)
    return taken


def test_a_look_at_one_frame_reads_that_frame_and_not_the_rest_of_the_log(
    tmp_path: Path, fill: Fill, bytes_read: list[int]
) -> None:
    frames = fill(tmp_path, 4000, 5000, 90_000, *[10_000] * 50)
    for frame in frames[:3]:
        bytes_read.clear()
        assert fetch(tmp_path, "w0", frame.offset) == frame
        assert sum(bytes_read) <= 4096 + frame.end - frame.offset
    bytes_read.clear()
    assert StreamReader(tmp_path, "w0", frames[2].offset).poll(max_bytes=1 << 16) == [frames[2]]
    assert sum(bytes_read) == (1 << 16) + frames[2].end - frames[2].offset


def test_the_way_to_a_row_is_walked_in_steps_over_the_headers_alone(
    tmp_path: Path, fill: Fill, bytes_read: list[int]
) -> None:
    frames = fill(tmp_path, *[60_000] * 150, segment_bytes=1 << 30)
    last, step = frames[-1].first, 32 * (1 << 14)
    finder = Finder(tmp_path)
    for there in (False, False, False, False, True):
        bytes_read.clear()
        assert finder.reach("w0", last) is there
        assert sum(bytes_read) <= step + SEGMENT_HEAD_SIZE
    bytes_read.clear()
    assert finder.find("w0", last) == frames[-1]
    assert sum(bytes_read) < 100_000  # the way is remembered
    assert finder.reach("w0", 10**9)  # behind the end there is nothing to walk for
    fresh = Finder(tmp_path)
    assert fresh.reach("w0", last, near=frames[-2].offset) and not fresh.reach("w0", last - 1)
    assert not fresh.reach("w0", last, near=frames[3].offset)  # two walks do not hold each other up
    steps = [(fresh.reach("w0", last - 1), fresh.reach("w0", last, near=frames[3].offset)) for _ in range(5)]
    assert steps[-1] == (True, True)
    assert fresh.find("w0", frames[70].first) == frames[70]


def test_a_walk_passes_damage_and_waits_for_nothing_unfinished(tmp_path: Path, fill: Fill) -> None:
    frames = fill(tmp_path, 10, 50_000, 10, 5000)
    path = segment_path(tmp_path / "w0", 0)
    damage(path, frames[1].offset, 40_000)
    os.truncate(path, frames[3].end - 1)
    finder = Finder(tmp_path)
    for frame in (frames[2], frames[0], frames[2]):
        assert finder.find("w0", frame.first) == frame
    for lost in (frames[1], frames[3]):
        with pytest.raises(NotFound, match="has no row"):
            finder.find("w0", lost.first)
    damage(path, frames[2].end - 1)
    with pytest.raises(Corrupt, match="not a sound frame"):
        finder.find("w0", frames[2].first)


def test_an_unreadable_stream_is_unavailable(tmp_path: Path) -> None:
    folder = tmp_path / "w0"
    (folder / f"{0:016x}.wal").mkdir(parents=True)
    with pytest.raises(Unavailable, match="could not be read"):
        StreamReader(tmp_path, "w0").poll()


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 300), min_size=2, max_size=12),
    segment_bytes=st.integers(1, 600),
    piece=st.integers(60, 900),
    hits=st.lists(st.tuples(st.floats(0, 1), st.integers(1, 30)), max_size=3),
)
def test_whatever_is_damaged_frames_and_gaps_add_up(
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    segment_bytes: int,
    piece: int,
    hits: list[tuple[float, int]],
) -> None:
    """Law: frames come in order and as written; with the rows of the gaps they are all rows up to the last frame."""
    directory = tmp_path_factory.mktemp("wal")
    writer = WalWriter(directory, "w0", segment_bytes=segment_bytes)
    written = {}
    for i, size in enumerate(sizes):
        frame = writer.append(FrameKind.DECISION, os.urandom(size), count=i % 4 + 1, time_us=i)
        written[frame.offset] = frame
    writer.close()
    starts = segment_starts(directory / "w0")
    total = writer.end
    for where, n in hits:
        at = min(int(where * total), total - 1)
        start = max(s for s in starts if s <= at)
        damage(segment_path(directory / "w0", start), at - start, n)
    writer = WalWriter(directory, "w0")
    closing = writer.append(FrameKind.LOSS, b"", count=1, time_us=0)
    writer.close()
    finder = Finder(directory)
    assert finder.find("w0", closing.first) == closing
    reader = StreamReader(directory, "w0")
    entries: list[Frame | Gap] = []
    while new := reader.poll(max_bytes=piece):
        entries += new
    assert entries[-1] == closing
    expected = 0
    for entry in entries:
        if isinstance(entry, Frame):
            assert entry is entries[-1] or entry == written[entry.offset]
            assert entry.first == expected
            assert finder.find("w0", entry.first + entry.count - 1) == entry
            expected += entry.count
        else:
            assert entry.rows is not None
            expected += entry.rows
