"""Looking one frame up: by its offset with one read, or by the sequence number that a server id carries."""

from __future__ import annotations

import mmap
from pathlib import Path

from andon.errors import Corrupt, NotFound
from andon.store.files import unavailable
from andon.store.frame import Fault, Frame, Span, frame_at, next_span, span_at
from andon.store.reader import read_piece
from andon.store.segment import SEGMENT_HEAD_SIZE, read_head, segment_path, segment_starts

__all__ = ["fetch", "find_sequence"]

_GUESS = 4096


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
    """The bytes of the frame at a position: one read unless it is larger than the guess."""
    data, whole = read_piece(path, position, _GUESS)
    if whole or span_at(data, 0) is not Fault.SHORT:
        return data
    return read_piece(path, position, 1 << 40)[0]


def find_sequence(directory: Path, stream: str, sequence: int, generation: str | None = None) -> Frame:
    """The frame that holds the row of a sequence number, as in a server id; ``generation`` must match where given.

    One segment is walked from header to header; who looks up often keeps offsets and uses ``fetch``. Raises ``NotFound``.
    """
    folder = Path(directory) / stream
    try:
        for start in reversed(segment_starts(folder)):
            found = _find(segment_path(folder, start), sequence)
            if isinstance(found, Span):
                frame = fetch(directory, stream, start + found.position)
                if generation in (None, frame.generation):
                    return frame
            if found is not None:
                break
    except OSError as error:
        raise unavailable(f"the stream {stream} could not be read", error) from error
    raise NotFound(f"the stream {stream} has no row {sequence}; it was dropped after retention or never written")


def _find(path: Path, sequence: int) -> Span | bool | None:
    """Where in a segment a row is; False when it would be here and is not; None when it would be in an earlier one."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        head = read_head(data[:SEGMENT_HEAD_SIZE])
        first = None if head is None else head.first
        position = SEGMENT_HEAD_SIZE
        while position < len(data):
            span = span_at(data, position)
            found = span if isinstance(span, Span) else next_span(data, position + 1)
            if found is None:
                break
            if found.first <= sequence < found.first + found.count:
                return found
            first = found.first if first is None else first
            position = found.end
    return None if first is None or sequence < first else False
