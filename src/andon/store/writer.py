"""Writing a stream: one process at a time, a frame per batch, ``write(2)`` done before anybody is answered."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Literal

from andon.errors import AndonError, Conflict, Unavailable, UsageError
from andon.store.committer import Committer, Done, Failed
from andon.store.files import try_lock, unavailable
from andon.store.frame import HEAD_SIZE, MAX_PAYLOAD, NO_CONTRACT, Frame, FrameKind, pack_head
from andon.store.segment import (
    SEGMENT_HEAD_SIZE,
    SegmentHead,
    Tail,
    boot_tag,
    create_segment,
    drop_segments,
    recover,
    segment_path,
)

__all__ = ["WalWriter", "write_whole"]

Write = Callable[[int, bytes], int]

_JOIN_BELOW = 1 << 16


def write_whole(write: Write, fd: int, data: bytes) -> None:
    """Write all of ``data``, however many calls that takes. Raises OSError."""
    written = write(fd, data)
    while written < len(data):
        more = write(fd, data[written:])
        if more <= 0:
            raise OSError(errno.EIO, "the write made no progress")
        written += more


class WalWriter:
    """The one writer of a stream. Opening it finds the end again after a crash; a second opener gets ``Conflict``.

    ``durability`` "flush": frames survive the death of the process at once and a power loss after ``flush_every``
    seconds; "commit": ``on_durable`` calls back when they survive a power loss, too. One thread appends. ``sync`` and
    ``write`` are the ports to the disk, for tests. ``generation`` is drawn when the stream is created and again where
    rows may have been lost that somebody was told of (a reboot, a torn tail), so that no server id is given out twice.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     writer = WalWriter(Path(folder), "w0")
    ...     frame = writer.append(FrameKind.FEEDBACK, b"payload", count=3, time_us=1)
    ...     print(frame.first, frame.count, writer.next_sequence, writer.end == frame.end)
    ...     writer.close()
    0 3 3 True
    """

    def __init__(
        self,
        directory: Path,
        stream: str,
        *,
        durability: Literal["flush", "commit"] = "flush",
        flush_every: float = 0.1,
        segment_bytes: int = 64 << 20,
        sync: Callable[[int], None] = os.fdatasync,
        write: Write = os.write,
    ) -> None:
        if durability not in ("flush", "commit"):
            raise UsageError(f"durability: expected flush or commit, found {durability!r}")
        self.stream = stream
        self._folder = Path(directory) / stream
        self._segment_bytes = max(segment_bytes, SEGMENT_HEAD_SIZE + 1)
        self._write, self._flush = write, durability == "flush"
        self._unfinished = False
        self._lock = self._take_lock()
        try:
            self._fd = self._open(recover(self._folder))
        except AndonError:
            os.close(self._lock)
            raise
        interval = flush_every if self._flush else 0.0
        self._committer = Committer(self._folder, self._fd, self._start, interval=interval, sync=sync)
        self._committer.wrote(self.end)
        self._since = -math.inf if self._position > SEGMENT_HEAD_SIZE else math.inf  # since when it holds a frame

    def _take_lock(self) -> int:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            lock = try_lock(self._folder / "lock")
        except OSError as error:
            raise unavailable(f"the log {self.stream} could not be opened", error) from error
        if lock is None:
            raise Conflict(f"the stream {self.stream} already has a writer; stop that process or take another stream")
        return lock

    def _open(self, tail: Tail) -> int:
        try:
            fd = os.open(segment_path(self._folder, tail.start), os.O_WRONLY | os.O_APPEND)
        except OSError as error:
            raise unavailable(f"the log {self.stream} could not be opened", error) from error
        self._start, self._position = tail.start, tail.position
        self.next_sequence = tail.sequence
        self._generation, self.generation = tail.generation, f"{tail.generation:08x}"
        return fd

    @property
    def end(self) -> int:
        """The logical offset behind the last frame."""
        return self._start + self._position

    @property
    def synced_end(self) -> int:
        """The logical offset up to which frames survive a power loss."""
        return self._committer.synced_end

    @property
    def sync_errors(self) -> int:
        """How often the disk refused to make frames durable since this writer was opened."""
        return self._committer.errors

    def append(
        self,
        kind: FrameKind,
        payload: bytes,
        *,
        count: int,
        epoch: int = 0,
        contract: bytes = NO_CONTRACT,
        time_us: int,
    ) -> Frame:
        """Write one frame; when it returns, ``write(2)`` is done and the death of this process loses nothing of it.

        Raises ``Unavailable`` when the disk refuses; nothing of the frame is left then, and the next call tries again.
        """
        if len(payload) > MAX_PAYLOAD or len(contract) != 8:
            raise UsageError(
                f"a frame: expected at most {MAX_PAYLOAD} bytes and 8 bytes of contract hash, found others"
            )
        if self._position >= self._segment_bytes or self._unfinished or self._committer.broken:
            self._prepare()
        first, offset = self.next_sequence, self._start + self._position
        head = pack_head(kind, payload, (self._generation, contract, epoch, first, count, time_us))
        self._put(head, payload)
        size = HEAD_SIZE + len(payload)
        self._position += size
        self.next_sequence = first + count
        self._committer.wrote(offset + size)
        return Frame(
            self.stream, kind, offset, offset + size, contract, epoch, first, count, time_us, payload, self.generation
        )

    def _put(self, head: bytes, payload: bytes) -> None:
        """Write header and payload: joined when small (one call, a cheap copy), one after the other when large."""
        try:
            if len(payload) < _JOIN_BELOW:
                write_whole(self._write, self._fd, head + payload)
            else:
                write_whole(self._write, self._fd, head)
                write_whole(self._write, self._fd, payload)
        except OSError as error:
            self._take_back()
            raise unavailable(f"the log {self.stream} could not be written", error) from error

    def _take_back(self) -> None:
        """Cut a half-written frame; when even that fails, the next append tries again before it writes."""
        try:
            os.ftruncate(self._fd, self._position)
            self._unfinished = False
        except OSError:
            self._unfinished = True

    def _prepare(self) -> None:
        if self._unfinished:
            self._take_back()
            if self._unfinished:
                raise Unavailable(f"the log {self.stream} cannot take back a half-written frame; look at its disk")
        if self._position >= self._segment_bytes or self._committer.broken:
            self._roll()

    def _roll(self) -> None:
        """Go on in a new segment; the committer syncs and closes the old one."""
        head = SegmentHead(self._generation, self.end, self.next_sequence, boot_tag())
        path = create_segment(self._folder, head)
        try:
            self._fd = self._open(Tail(head.start, SEGMENT_HEAD_SIZE, head.first, head.generation))
        except AndonError:
            with suppress(OSError):
                path.unlink()  # else it would stand in the way of the next attempt, as if another writer had made it
            raise
        self._committer.switch(self._fd, self.end)
        self._since = math.inf

    def roll_older(self, now: float, seconds: float) -> bool:
        """Go on in a new segment if this one has held a frame for longer; call it now and then, with steady seconds.

        So little traffic keeps nothing on the disk for long: only closed segments are ever deleted. A segment that was
        found with frames in it counts as old. False also when the disk refuses; the next call tries again.
        """
        if self._position <= SEGMENT_HEAD_SIZE or self._unfinished:
            self._since = math.inf
            return False
        self._since = min(self._since, now)
        if now - self._since < seconds:
            return False
        try:
            self._roll()
        except AndonError:
            return False
        return True

    def on_durable(self, end: int, callback: Done, failed: Failed | None = None) -> None:
        """Call back when what was promised for frames up to ``end`` holds.

        In ``flush`` that is now; in ``commit`` it is from the committer's thread, after a sync that covers ``end``.
        ``failed`` is called with the ``Unavailable`` instead when the disk refuses. Neither may raise.
        """
        if self._flush:
            callback()
        else:
            self._committer.wait(end, callback, failed)

    def drop_before(self, offset: int) -> int:
        """Delete the segments that lie wholly before ``offset``; returns how many."""
        return drop_segments(self._folder, offset)

    def close(self) -> None:
        """Sync, answer who waits, release the stream. Calling it twice does nothing more."""
        if self._lock >= 0:
            self._committer.close()
            os.close(self._lock)
            self._lock = -1
