"""Looking one frame up: by its offset with one or two reads, or by the sequence number that a server id carries.

Whoever looks up may hold up everybody else in a process, so nothing here reads what it does not need: a frame is read to
its end and no further, and on the way to a row the headers of the frames are read, not their payloads.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right
from pathlib import Path

import msgspec

from andon.errors import Corrupt, NotFound
from andon.store.files import unavailable
from andon.store.frame import Fault, Frame, Head, Span, frame_at, head_at, next_span, span_at
from andon.store.reader import read_piece
from andon.store.segment import SEGMENT_HEAD_SIZE, read_head, segment_path, segment_starts, sequence_at

__all__ = ["Finder", "FrameIndex", "fetch", "find_sequence"]

_GUESS = 4096
_BLOCK = 1 << 14  # bytes read at once on the way from header to header
_BLOCKS = 32  # such reads in one step of a walk: at most 512 KiB, a few milliseconds
_SEGMENTS = 256  # segments whose ways are remembered
_MARKS = 1024  # frames of each of them that are remembered


def fetch(directory: Path, stream: str, offset: int) -> Frame:
    """The one frame at an offset, verified. Raises ``NotFound`` (dropped or never written) or ``Corrupt``."""
    folder = Path(directory) / stream
    starts = [start for start in segment_starts(folder) if start <= offset]
    where = f"the stream {stream} at offset {offset}"
    try:
        data = b"" if not starts else _read_frame(segment_path(folder, starts[-1]), offset - starts[-1])
    except FileNotFoundError:
        data = b""
    except OSError as error:
        raise unavailable(f"{where} could not be read", error) from error
    if not data:
        raise NotFound(f"{where}: expected a frame, found nothing; it was dropped after retention or never written")
    span = span_at(data, 0)
    frame = frame_at(stream, data, span, offset) if isinstance(span, Span) and span.sound else None
    if frame is None:
        found = "an unfinished frame" if span is Fault.SHORT else "bytes that are not a sound frame"
        raise Corrupt(f"{where}: expected a frame, found {found}; restore the segment from a backup")
    return frame


def _read_frame(path: Path, position: int) -> bytes:
    """The bytes of the frame at a position: one read, or a second one to its end where it is larger than the guess."""
    data, whole = read_piece(path, position, _GUESS)
    head = head_at(data, 0)
    if whole or not isinstance(head, Head) or head.end <= len(data):
        return data
    return read_piece(path, position, head.end)[0]


def _behind(path: Path, position: int) -> int | None:
    """Where the next frame begins behind bytes that are none."""
    span = next_span(read_piece(path, position, 1 << 40)[0], 1)
    return None if span is None else position + span.position


def find_sequence(directory: Path, stream: str, sequence: int, generation: str | None = None) -> Frame:
    """The frame that holds the row of a sequence number, as in a server id; ``generation`` must match where given.

    One segment is walked from header to header; who looks up often keeps a ``Finder``. Raises ``NotFound``.
    """
    return Finder(directory).find(stream, sequence, generation)


class FrameIndex:
    """From a row's sequence number to its frame's offset, for one stream; every second entry goes when it is full.

    >>> index = FrameIndex(limit=4)
    >>> for n in range(6):
    ...     index.add(first=10 * n, offset=1000 * n)
    >>> index.near(35), len(index)
    (2000, 3)
    """

    def __init__(self, limit: int = 1 << 18) -> None:
        self._limit = limit
        self._stride = 1
        self._skipped = 0
        self._firsts = array("Q")
        self._offsets = array("Q")

    def __len__(self) -> int:
        return len(self._firsts)

    def add(self, first: int, offset: int) -> None:
        """A frame begins with row ``first`` at ``offset``; frames come in order."""
        self._skipped += 1
        if self._firsts and self._skipped < self._stride:
            return
        self._skipped = 0
        self._firsts.append(first)
        self._offsets.append(offset)
        if len(self._firsts) > self._limit:
            self._firsts, self._offsets = self._firsts[::2], self._offsets[::2]
            self._stride *= 2

    def near(self, sequence: int) -> int | None:
        """The offset of the last known frame that begins at or before a row; None when it is before all of them."""
        at = bisect_right(self._firsts, sequence) - 1
        return None if at < 0 else self._offsets[at]


class _Way(msgspec.Struct):
    """How far one segment was walked: up to the position ``reached``, past some frames that ``marks`` remember.

    ``following`` is the row behind those: it and all later ones are at ``reached`` or behind it.
    """

    marks: FrameIndex
    reached: int = SEGMENT_HEAD_SIZE
    following: int = 0
    resting: dict[int, int] = {}  # where the walk to a row goes on

    def follow(self, path: Path, sequence: int, near: int) -> tuple[bool, int | None]:
        """One step of a walk: (whether it is over, the position of the frame that holds the row)."""
        known = self.reached if sequence >= self.following else self.marks.near(sequence) or SEGMENT_HEAD_SIZE
        position = max(self.resting.pop(sequence, 0), near, known)
        fd = os.open(path, os.O_RDONLY)
        try:
            size = os.fstat(fd).st_size
            for _ in range(_BLOCKS):
                data = os.pread(fd, _BLOCK, position)
                passed, found = self._pass(data, position, sequence, size)
                if found is not None or not data:
                    return True, found
                behind = position + passed if passed else _behind(path, position)
                if behind is None or behind > size:
                    return True, None  # unfinished, or not written yet
                self.reached = behind if position == self.reached else self.reached
                position = behind
        finally:
            os.close(fd)
        self.resting[sequence] = position
        return False, None

    def _pass(self, data: bytes, position: int, sequence: int, size: int) -> tuple[int, int | None]:
        """(bytes of the frames that begin in a block, the position of the one that holds the row)."""
        at = 0
        while isinstance(head := head_at(data, at), Head) and position + head.end <= size:
            if head.first <= sequence < head.first + head.count:
                return at, position + at
            if position + at == self.reached:
                self.marks.add(head.first, self.reached)
                self.reached, self.following = position + head.end, head.first + head.count
            at = head.end
        return at, None


class Finder:
    """Finds rows by their sequence number, in steps of bounded work, and remembers the way for the next time.

    ``near`` may name the offset of a frame at or before the row, where somebody knows one.

    >>> import tempfile
    >>> from andon.store.frame import FrameKind
    >>> from andon.store.writer import WalWriter
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     writer = WalWriter(Path(folder), "w0")
    ...     _ = [writer.append(FrameKind.FEEDBACK, b"x", count=2, time_us=n) for n in range(9)]
    ...     writer.close()
    ...     finder = Finder(Path(folder))
    ...     print(finder.reach("w0", 7), finder.find("w0", 7).first)
    True 6
    """

    def __init__(self, directory: Path) -> None:
        self._directory = Path(directory)
        self._ways: dict[tuple[str, int], _Way] = {}
        self._firsts: dict[tuple[str, int], int] = {}

    def reach(self, stream: str, sequence: int, near: int | None = None) -> bool:
        """Walk on towards a row, for at most 32 reads of 16 KiB; False: there is more of the way, call again.

        Where bytes are damaged the rest of their segment is searched at once. Raises ``Unavailable``.
        """
        return self._step(stream, sequence, near)[0]

    def find(self, stream: str, sequence: int, generation: str | None = None, near: int | None = None) -> Frame:
        """The frame that holds a row; ``generation`` must match where given. Walks the whole way that is left.

        Raises ``NotFound``, ``Unavailable``, and ``Corrupt`` where the frame is damaged.
        """
        there = False
        while not there:
            there, offset = self._step(stream, sequence, near)
        frame = None if offset is None else fetch(self._directory, stream, offset)
        if frame is None or generation not in (None, frame.generation):
            raise NotFound(
                f"the stream {stream} has no row {sequence}; it was dropped after retention or never written"
            )
        return frame

    def _step(self, stream: str, sequence: int, near: int | None) -> tuple[bool, int | None]:
        """(whether the walk is over, the offset it found)."""
        folder = self._directory / stream
        try:
            start = self._segment(folder, sequence)
            return (True, None) if start is None else self._walk(folder, start, sequence, near)
        except FileNotFoundError:
            return True, None  # dropped meanwhile
        except OSError as error:
            raise unavailable(f"the stream {stream} could not be read", error) from error

    def _segment(self, folder: Path, sequence: int) -> int | None:
        """The newest segment that begins at or before a row."""
        for start in reversed(segment_starts(folder)):
            key = folder.name, start
            first = self._firsts.get(key)
            if first is None:
                head = read_head(read_piece(segment_path(folder, start), 0, SEGMENT_HEAD_SIZE)[0])
                first = (sequence_at(folder, start) or 0) if head is None else head.first
                self._firsts[key] = first
            if first <= sequence:
                return start
        return None

    def _way(self, stream: str, start: int) -> _Way:
        way = self._ways.get((stream, start))
        if way is None:
            if len(self._ways) >= _SEGMENTS:
                del self._ways[next(iter(self._ways))]
            way = self._ways[stream, start] = _Way(FrameIndex(_MARKS))
        return way

    def _walk(self, folder: Path, start: int, sequence: int, near: int | None) -> tuple[bool, int | None]:
        way = self._way(folder.name, start)
        there, position = way.follow(segment_path(folder, start), sequence, 0 if near is None else near - start)
        return there, None if position is None else start + position
