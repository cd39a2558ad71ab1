"""Reading streams: incremental, from any process, while they are written, past damage, with what is lost counted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from andon.errors import Corrupt, NotFound
from andon.store.files import unavailable
from andon.store.frame import HEAD, HEAD_SIZE, Fault, Frame, Gap, Span, frame_at, next_span, span_at
from andon.store.segment import SEGMENT_HEAD_SIZE, read_head, segment_path, segment_starts

__all__ = ["StreamReader", "fetch", "find_sequence", "read_stream"]


class StreamReader:
    """Reads a stream from a logical offset on; ``offset`` is where it stands, to be stored and given as ``start``.

    Frames come in the order of their sequence. Damage comes as a ``Gap``. An unfinished frame at the very end is
    waited for.

    >>> import tempfile
    >>> from andon.store.writer import WalWriter
    >>> from andon.store.frame import FrameKind
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     writer = WalWriter(Path(folder), "w0")
    ...     reader = StreamReader(Path(folder), "w0")
    ...     _ = writer.append(FrameKind.FEEDBACK, b"one", count=1, time_us=1)
    ...     print([entry.payload for entry in reader.poll()], reader.poll(), reader.offset == writer.end)
    ...     writer.close()
    [b'one'] [] True
    """

    def __init__(self, directory: Path, stream: str, start: int = 0) -> None:
        self.stream = stream
        self.offset = start
        self._folder = Path(directory) / stream
        self._expected: int | None = None
        self._bad_from: int | None = None
        self._out: list[Frame | Gap] = []

    def poll(self, max_bytes: int = 8 << 20) -> list[Frame | Gap]:
        """What is new, up to about ``max_bytes`` (at least one frame when there is a whole one). Raises ``Unavailable``."""
        self._out = []
        try:
            while not self._out and self._advance(max_bytes):
                pass
        except FileNotFoundError:
            return self._out
        except OSError as error:
            raise unavailable(f"the stream {self.stream} could not be read", error) from error
        return self._out

    def _advance(self, max_bytes: int) -> bool:
        """Read one piece of one segment; True when there may be more."""
        starts = segment_starts(self._folder)
        if not starts:
            return False
        index = max((i for i, start in enumerate(starts) if start <= self.offset), default=0)
        start, sealed = starts[index], index + 1 < len(starts)
        position = max(self.offset - start, 0)
        data, base, size = _read_piece(segment_path(self._folder, start), position, max_bytes)
        if position < SEGMENT_HEAD_SIZE:
            self._enter(start, data)
            return bool(data) or sealed
        used = self._parse(data, start + base)
        rest = len(data) - used
        if used:
            return True
        if rest and base + len(data) < size:
            return self._grow(start, position, size, sealed)
        if rest and not sealed:
            return self._skip(data, start + base, wait=True)
        if rest:
            return self._skip(data, start + base, wait=False)
        if sealed:
            self.offset = max(self.offset, starts[index + 1])
        return sealed

    def _enter(self, start: int, data: bytes) -> None:
        """Pass a segment's header; it tells the sequence to expect where nothing else does."""
        if not data:
            self.offset = max(self.offset, start)
            return
        head = read_head(data)
        if head is not None and self._expected is None and self._bad_from is None:
            self._expected = head.first
        self.offset = start + min(SEGMENT_HEAD_SIZE, len(data))

    def _parse(self, data: bytes, base: int) -> int:
        """Take every sound frame from the beginning of ``data``; returns how many bytes they are."""
        position = 0
        while position < len(data):
            span = span_at(data, position)
            if not isinstance(span, Span):
                break
            self._take(data, span, base)
            position = span.end
        return position

    def _take(self, data: bytes, span: Span, base: int) -> None:
        offset = base + span.position
        known = self._expected is not None
        if self._bad_from is not None or (known and span.first != self._expected):
            missing = self._missing(span.first, offset)
            self._out.append(
                Gap(self.stream, self.offset if self._bad_from is None else self._bad_from, offset, missing)
            )
            self._bad_from = None
        frame = frame_at(self.stream, data, span, base)
        if frame is not None:
            self._out.append(frame)
        self._expected = span.first + span.count
        self.offset = base + span.end

    def _missing(self, first: int, offset: int) -> int | None:
        """Rows lost before the row ``first``; None where the numbers tell nothing."""
        if self._expected is None:
            begin = offset if self._bad_from is None else self._bad_from
            self._expected = _sequence_at(self._folder, begin)
        if self._expected is None or first < self._expected:
            return None
        return first - self._expected

    def _grow(self, start: int, position: int, size: int, sealed: bool) -> bool:
        """The piece was too small for its first frame: look at all that is left of the segment."""
        data, base, _ = _read_piece(segment_path(self._folder, start), position, size)
        if isinstance(span_at(data, 0), Span):
            self._parse_one(data, start + base)
            return True
        return self._skip(data, start + base, wait=not sealed)

    def _parse_one(self, data: bytes, base: int) -> None:
        span = span_at(data, 0)
        if isinstance(span, Span):
            self._take(data, span, base)

    def _skip(self, data: bytes, base: int, *, wait: bool) -> bool:
        """Damaged or unfinished bytes: go on at the next sound frame, at the end of a sealed segment, or wait."""
        span = next_span(data, 1)
        if span is None and wait:
            return False
        if self._bad_from is None:
            self._bad_from = base
        if span is None:
            self.offset = base + len(data)
            return True
        self._take(data, span, base)
        return True


def _read_piece(path: Path, position: int, limit: int) -> tuple[bytes, int, int]:
    """(bytes, their position, size of the file)."""
    fd = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(fd).st_size
        return (os.pread(fd, limit, position) if size > position else b""), position, size
    finally:
        os.close(fd)


def _sequence_at(folder: Path, offset: int) -> int | None:
    """The sequence expected at an offset, found by reading its segment from the beginning."""
    starts = [start for start in segment_starts(folder) if start <= offset]
    if not starts:
        return None
    data = segment_path(folder, starts[-1]).read_bytes()
    head = read_head(data)
    sequence = None if head is None else head.first
    position = SEGMENT_HEAD_SIZE
    while position < min(len(data), offset - starts[-1]):
        span = span_at(data, position)
        found = span if isinstance(span, Span) else next_span(data, position + 1)
        if found is None or found.position >= offset - starts[-1]:
            break
        sequence, position = found.first + found.count, found.end
    return sequence


def read_stream(directory: Path, stream: str, start: int = 0) -> Iterator[Frame | Gap]:
    """Everything in a stream from an offset to its present end."""
    reader = StreamReader(directory, stream, start)
    while entries := reader.poll():
        yield from entries


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
    frame = frame_at(stream, data, span, offset) if isinstance(span, Span) else None
    if frame is None:
        found = "an unfinished frame" if span is Fault.SHORT else "bytes that are not a sound frame"
        raise Corrupt(f"{where}: expected a frame, found {found}; restore the segment from a backup")
    return frame


def _read_frame(path: Path, position: int, guess: int = 4096) -> bytes:
    """The bytes of the frame at a position: one read unless it is larger than the guess."""
    fd = os.open(path, os.O_RDONLY)
    try:
        data = os.pread(fd, guess, position)
        if len(data) < HEAD_SIZE:
            return data
        need = HEAD_SIZE + HEAD.unpack_from(data)[10]
        return data if need <= len(data) else os.pread(fd, need, position)
    finally:
        os.close(fd)


def find_sequence(directory: Path, stream: str, sequence: int) -> Frame:
    """The frame that holds the row of a sequence number (as in a server id). Raises ``NotFound``.

    Only headers are read on the way, and only those of one segment.
    """
    folder = Path(directory) / stream
    for start in reversed(segment_starts(folder)):
        head = read_head(_read_piece(segment_path(folder, start), 0, SEGMENT_HEAD_SIZE)[0])
        if head is None or head.first <= sequence:
            for entry in read_stream(directory, stream, start):
                if isinstance(entry, Frame) and entry.first <= sequence < entry.first + entry.count:
                    return entry
                if isinstance(entry, Frame) and entry.first > sequence:
                    break
    raise NotFound(f"the stream {stream} has no row {sequence}; it was dropped after retention or never written")
