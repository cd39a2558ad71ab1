"""The shared stream: many processes append, one at a time under a lock; for people, who are slow and few."""

from __future__ import annotations

import os
from pathlib import Path

from andon.store.files import locked, sync_directory, unavailable
from andon.store.frame import HEAD_SIZE, NO_CONTRACT, Frame, FrameKind, pack_head
from andon.store.segment import SEGMENT_HEAD_SIZE, SegmentHead, Tail, boot_tag, create_segment, recover, segment_path
from andon.store.writer import write_whole

__all__ = ["SharedWriter", "append_shared"]


class SharedWriter:
    """Appends to a stream that other processes append to as well; durable when ``append`` returns.

    It remembers where the stream ended last, so that a call costs a lock, a write and a sync, not a scan.
    """

    def __init__(self, directory: Path, stream: str, *, segment_bytes: int = 4 << 20) -> None:
        self.stream = stream
        self._folder = Path(directory) / stream
        self._segment_bytes = max(segment_bytes, SEGMENT_HEAD_SIZE + 1)
        self._tail: Tail | None = None

    def append(self, kind: FrameKind, payload: bytes, *, count: int, time_us: int) -> Frame:
        """Write one frame durably, behind whatever other processes wrote. Raises ``Unavailable``; then nothing is left."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unavailable(f"the stream {self.stream} could not be opened", error) from error
        with locked(self._folder / "lock"):
            tail = recover(self._folder, self._tail)
            if tail.position >= self._segment_bytes:
                tail = self._roll(tail)
            frame = self._frame(tail, kind, payload, count, time_us)
            self._write(tail, frame)
            self._tail = Tail(
                tail.start, tail.position + HEAD_SIZE + len(payload), tail.sequence + count, tail.generation
            )
        return frame

    def _roll(self, tail: Tail) -> Tail:
        start = tail.start + tail.position
        create_segment(self._folder, SegmentHead(tail.generation, start, tail.sequence, boot_tag()))
        return Tail(start, SEGMENT_HEAD_SIZE, tail.sequence, tail.generation)

    def _frame(self, tail: Tail, kind: FrameKind, payload: bytes, count: int, time_us: int) -> Frame:
        offset = tail.start + tail.position
        end = offset + HEAD_SIZE + len(payload)
        generation = f"{tail.generation:08x}"
        return Frame(self.stream, kind, offset, end, NO_CONTRACT, 0, tail.sequence, count, time_us, payload, generation)

    def _write(self, tail: Tail, frame: Frame) -> None:
        stamp = (tail.generation, NO_CONTRACT, 0, frame.first, frame.count, frame.time_us)
        data = pack_head(frame.kind, frame.payload, stamp) + frame.payload
        try:
            fd = os.open(segment_path(self._folder, tail.start), os.O_WRONLY | os.O_APPEND)
            try:
                self._write_durably(fd, data, tail.position)
            finally:
                os.close(fd)
        except OSError as error:
            raise unavailable(f"the stream {self.stream} could not be written", error) from error

    def _write_durably(self, fd: int, data: bytes, position: int) -> None:
        try:
            write_whole(os.write, fd, data)
            os.fdatasync(fd)
            if position == SEGMENT_HEAD_SIZE:
                sync_directory(self._folder)
        except OSError:
            os.ftruncate(fd, position)
            raise


def append_shared(directory: Path, stream: str, kind: FrameKind, payload: bytes, *, count: int, time_us: int) -> Frame:
    """Append one frame to a shared stream, durably; who appends often keeps a ``SharedWriter``.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = append_shared(Path(folder), "people", FrameKind.REVIEW, b"a", count=1, time_us=1)
    ...     append_shared(Path(folder), "people", FrameKind.REVIEW, b"b", count=1, time_us=2).first
    1
    """
    return SharedWriter(directory, stream).append(kind, payload, count=count, time_us=time_us)
