"""A bounded ring in a mapped file: one process puts frames in and never waits, another takes them out.

When there is no room a frame is dropped and its rows are counted. Positions only grow; each side writes its own. Every
record carries a checksum, so a reader never takes half of one for a whole, and the number of rows that were put in before
it, so a reader knows how many it never saw. What was taken leaves the ring only when the reader says that it is done with
it; then its payload is overwritten with zeros, since it holds a case. All counters live in the file, so that they survive
both processes.

>>> import tempfile
>>> from andon.store.frame import FrameKind
>>> path = Path(tempfile.mkdtemp()) / "ring"
>>> writer, reader = RingWriter(path, 4096), RingReader(path)
>>> frame = Frame("w0", FrameKind.DECISION, 0, 9, bytes(8), 3, 0, 2, 5, b"payload", "00000000")
>>> writer.offer(frame)
>>> reader.take(10) == [frame], reader.take(10), writer.offered, writer.dropped
(True, [], 2, 0)
>>> reader.done()
"""

from __future__ import annotations

import mmap
import os
from pathlib import Path
from struct import Struct
from zlib import crc32

import msgspec

from andon.store.files import unavailable
from andon.store.frame import Frame

__all__ = ["RingReader", "RingWriter"]

_MAGIC = 0x414E444F4E524932
_WORDS = 8
_HEAD_BYTES = 8 * _WORDS
_SIZE, _HEAD, _TAIL, _OFFERED, _DROPPED, _RECORDED, _TAKEN = range(1, 8)
_RECORD = Struct("<IIQ")
_SKIP = 0xFFFFFFFF
_CLEARED = b"\0"  # no encoded frame begins so

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Frame).decode


class _Ring:
    """The mapped file: eight words, then ``size`` bytes of records. A word is read and written in one piece."""

    def __init__(self, path: Path, size: int | None) -> None:
        try:
            if size is not None:
                _make(path, _HEAD_BYTES + size)
            fd = os.open(path, os.O_RDWR)
            try:
                self._map = mmap.mmap(fd, 0)
            finally:
                os.close(fd)
        except (OSError, ValueError) as error:
            cause = error if isinstance(error, OSError) else OSError(0, str(error))
            raise unavailable(f"the ring {path.name} could not be opened", cause) from error
        self.words = memoryview(self._map)[:_HEAD_BYTES].cast("Q")
        self.data = memoryview(self._map)[_HEAD_BYTES:]
        self.size = len(self.data)

    def close(self) -> None:
        """Release the file."""
        self.words.release()
        self.data.release()
        self._map.close()


def _make(path: Path, size: int) -> None:
    """A file of this size; one of another size is replaced, never cut, since a reader may have it mapped.

    Its room on the disk is taken at once: a page that the disk has no room for ends a process that writes to the map.
    """
    if path.exists() and path.stat().st_size != size:
        path.unlink()
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        os.posix_fallocate(fd, 0, size)
    finally:
        os.close(fd)


class RingWriter:
    """The putting side; one for each ring. Rows are counted: ``offered``, ``dropped``, and ``recorded`` as lost."""

    def __init__(self, path: Path, size: int) -> None:
        self._ring = ring = _Ring(path, size)
        words = ring.words
        filled = words[_HEAD] - words[_TAIL]
        if words[0] != _MAGIC or words[_SIZE] != ring.size or not 0 <= filled <= ring.size:
            for word in (_HEAD, _TAIL, _OFFERED, _DROPPED, _RECORDED, _TAKEN):
                words[word] = 0
            words[_SIZE] = ring.size
            words[0] = _MAGIC

    @property
    def offered(self) -> int:
        """Rows that were offered."""
        return self._ring.words[_OFFERED]

    @property
    def dropped(self) -> int:
        """Rows that found no room."""
        return self._ring.words[_DROPPED]

    @property
    def recorded(self) -> int:
        """Dropped rows that were written down as lost."""
        return self._ring.words[_RECORDED]

    @recorded.setter
    def recorded(self, rows: int) -> None:
        """Remember how many were written down."""
        self._ring.words[_RECORDED] = rows

    def offer(self, frame: Frame) -> None:
        """Put a frame in, or drop it and count its rows."""
        words = self._ring.words
        before = words[_OFFERED] - words[_DROPPED]
        words[_OFFERED] += frame.count
        # What surely has no room is not even encoded: a shadow that is behind costs the live path nothing but this.
        room = self._ring.size - (words[_HEAD] - words[_TAIL])
        if len(frame.payload) + _RECORD.size > room or not self._put(_encode(frame), before):
            words[_DROPPED] += frame.count

    def _put(self, body: bytes, before: int) -> bool:
        ring = self._ring
        words, size = ring.words, ring.size
        need = _RECORD.size + (len(body) + 7 & ~7)
        head = words[_HEAD]
        at = head % size
        skip = size - at if size - at < need else 0
        if need + skip > size - (head - words[_TAIL]):
            return False
        if skip:
            if skip >= _RECORD.size:
                _RECORD.pack_into(ring.data, at, _SKIP, 0, 0)
            head, at = head + skip, 0
        _RECORD.pack_into(ring.data, at, len(body), _checksum(body, before), before)
        ring.data[at + _RECORD.size : at + _RECORD.size + len(body)] = body
        words[_HEAD] = head + need
        return True

    def close(self) -> None:
        """Release the file."""
        self._ring.close()


def _checksum(body: bytes, before: int) -> int:
    return crc32(body, crc32(before.to_bytes(8, "little")))


class RingReader:
    """The taking side; one for each ring. Raises ``Unavailable`` when there is no ring yet.

    ``damaged`` counts records that could not be read, ``lost`` the rows that the last ``take`` found to be missing.
    """

    def __init__(self, path: Path) -> None:
        self._ring = _Ring(path, None)
        self._next, self._rows = self._ring.words[_TAIL], self._ring.words[_TAKEN]
        self._read: list[tuple[int, int]] = []
        self.damaged = 0
        self.lost = 0

    def take(self, limit: int) -> list[Frame]:
        """At most ``limit`` frames, oldest first; they stay in the ring until ``done``.

        At a damaged record the rest of the ring is given up; its rows are in ``lost`` when the next sound one is read.
        """
        words = self._ring.words
        found: list[Frame] = []
        self.lost = 0
        if self._ring.size == 0 or words[0] != _MAGIC:
            return found
        if not words[_TAIL] <= self._next <= words[_HEAD]:  # the ring was begun anew
            self._next, self._rows = words[_TAIL], words[_TAKEN]
        while len(found) < limit and self._next < words[_HEAD]:
            frame = self._one(self._next, words[_HEAD])
            if frame is not None:
                found.append(frame)
        return found

    def done(self) -> None:
        """Let go what was taken: the room is the writer's again, and a reader that starts now begins behind it.

        Wherever it is killed, the next reader takes what still is there and counts nothing of the rest as lost.
        """
        words = self._ring.words
        if words[_TAIL] <= self._next <= words[_HEAD]:
            words[_TAKEN] = self._rows
            for at, size in self._read:
                self._ring.data[at : at + size] = bytes(size)
            words[_TAIL] = self._next
        self._read.clear()

    def _one(self, tail: int, head: int) -> Frame | None:
        """The record at a position, and on to the one behind it; None where there is no sound record."""
        ring = self._ring
        at = tail % ring.size
        self._next = min(head, tail + ring.size - at)
        if ring.size - at < _RECORD.size:
            return None
        length, check, before = _RECORD.unpack_from(ring.data, at)
        if length == _SKIP:
            return None
        body = bytes(ring.data[at + _RECORD.size : at + _RECORD.size + length])
        if body[:1] == _CLEARED:  # a reader was killed while it let this go
            self._next = tail + _RECORD.size + (length + 7 & ~7)
            return None
        if len(body) != length or _checksum(body, before) != check:
            self.damaged += 1
            self._next = head
            self._read += [(at, min(head - tail, ring.size - at)), (0, max(0, at + head - tail - ring.size))]
            return None
        self._next = tail + _RECORD.size + (length + 7 & ~7)
        self._read.append((at + _RECORD.size, length))
        try:
            frame = _decode(body)
        except msgspec.MsgspecError:  # another release wrote it
            self.damaged += 1
            return None
        self.lost += max(0, before - self._rows)
        self._rows = before + frame.count
        return frame

    def close(self) -> None:
        """Release the file."""
        self._ring.close()
