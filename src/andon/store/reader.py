"""Reading streams: incremental, from any process, while they are written, past damage, with what is lost counted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from andon.store.files import unavailable
from andon.store.frame import Fault, Frame, Gap, Head, Span, frame_at, head_at, next_span, span_at
from andon.store.segment import SEGMENT_HEAD_SIZE, read_head, segment_path, segment_starts, sequence_at

__all__ = ["StreamReader", "read_piece", "read_stream"]


class StreamReader:
    """Reads a stream from a logical offset on; ``offset`` is the end of what was returned: store it, give it as ``start``.

    Frames come in the order of their sequence. Damage comes as a ``Gap``. An unfinished frame at the very end is
    waited for. Any number of readers may read while the writer writes.

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
        self._at = start
        self._folder = Path(directory) / stream
        self._expected: int | None = None
        self._damaged = False
        self._out: list[Frame | Gap] = []

    def poll(self, max_bytes: int = 8 << 20) -> list[Frame | Gap]:
        """What is new, from about ``max_bytes`` (at least one whole frame, if there is one). Raises ``Unavailable``."""
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
        """Read one piece of one segment; True when there may be more.

        Segments are listed before the piece is read: a segment with a successor is complete by then, so its end is one.
        """
        starts = segment_starts(self._folder)
        if not starts:
            return False
        index = max((i for i, start in enumerate(starts) if start <= self._at), default=0)
        start = starts[index]
        following = starts[index + 1] if index + 1 < len(starts) else None
        if self._at < start + SEGMENT_HEAD_SIZE and not self._enter(start):
            return self._leave(following)
        data, whole = read_piece(segment_path(self._folder, start), self._at - start, max_bytes)
        if not data:
            return self._leave(following)
        return self._parse(data) or self._stuck(data, whole, start, following)

    def _enter(self, start: int) -> bool:
        """Pass a segment's header, which tells the sequence to expect where nothing else does; False: not there yet."""
        data, _ = read_piece(segment_path(self._folder, start), 0, SEGMENT_HEAD_SIZE)
        if len(data) < SEGMENT_HEAD_SIZE:
            return False
        if 0 < self._at < start and self._expected is None:
            self._damaged = True
        head = read_head(data)
        if self._expected is None and not self._damaged:
            self._expected = sequence_at(self._folder, start) if head is None else head.first
        self._at = start + SEGMENT_HEAD_SIZE
        return True

    def _leave(self, following: int | None) -> bool:
        """Go on in the next segment, if there is one."""
        if following is None:
            return False
        self._at = following
        return True

    def _parse(self, data: bytes) -> bool:
        """Take every whole frame from the beginning of ``data``; False when there is none."""
        base, position = self._at, 0
        while position < len(data):
            span = span_at(data, position)
            if not isinstance(span, Span):
                break
            self._take(data, span, base)
            position = span.end
        return position > 0

    def _take(self, data: bytes, span: Span, base: int) -> None:
        """A frame, and before it the gap that its sequence tells of."""
        offset, end = base + span.position, base + span.end
        if self._damaged or self._expected not in (None, span.first) or not span.sound:
            missing = self._missing(span)
            self._out.append(Gap(self.stream, self.offset, offset if span.sound else end, missing))
        frame = frame_at(self.stream, data, span, base) if span.sound else None
        if frame is not None:
            self._out.append(frame)
        self._damaged = False
        self._expected = span.first + span.count
        self.offset = self._at = end

    def _missing(self, span: Span) -> int | None:
        """Rows lost up to this frame (with it, when it is damaged); None where the numbers tell nothing."""
        expected = self._expected
        if expected is None:
            expected = sequence_at(self._folder, self.offset)
        if expected is None or span.first < expected:
            return None
        return span.first - expected + (0 if span.sound else span.count)

    def _stuck(self, data: bytes, whole: bool, start: int, following: int | None) -> bool:
        """No whole frame begins here: read more, wait for the writer, or find the next frame behind the damage."""
        if not whole:
            head = head_at(data, 0)
            rest = head.end if isinstance(head, Head) else 1 << 40  # behind damage the next frame may be anywhere
            data, _ = read_piece(segment_path(self._folder, start), self._at - start, rest)
            if self._parse_first(data):
                return True
        if following is None and span_at(data, 0) is Fault.SHORT:
            return False
        span = next_span(data, 1)
        if span is None and following is None:
            return False
        self._damaged = True
        if span is None:
            return self._leave(following)
        self._take(data, span, self._at)
        return True

    def _parse_first(self, data: bytes) -> bool:
        span = span_at(data, 0)
        if isinstance(span, Span):
            self._take(data, span, self._at)
        return isinstance(span, Span)


def read_piece(path: Path, position: int, limit: int) -> tuple[bytes, bool]:
    """(bytes from a position on, whether they reach the end of the file)."""
    fd = os.open(path, os.O_RDONLY)
    try:
        rest = os.fstat(fd).st_size - position
        if rest <= 0:
            return b"", True
        return os.pread(fd, min(rest, limit), position), rest <= limit
    finally:
        os.close(fd)


def read_stream(directory: Path, stream: str, start: int = 0) -> Iterator[Frame | Gap]:
    """Everything in a stream from an offset to its present end."""
    reader = StreamReader(directory, stream, start)
    while entries := reader.poll():
        yield from entries
