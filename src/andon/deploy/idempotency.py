"""Which ids were answered before, and where: a bounded index over the write-ahead log, rebuilt from it.

The index holds places, not answers: a hit is read from the log (one read), so what a client is told twice is what was
written, also after a restart. It is bounded by number and by time: ids live in two generations, and when the younger one
is full or old it becomes the older one and the oldest ids are forgotten together. So an id is remembered until at least
``limit / 2`` newer ones have come or ``seconds`` have gone by, and never more than ``limit`` and one frame's are.

>>> seen = SeenIds(limit=4, seconds=60)
>>> for n in range(5):
...     seen.add(f"order-{n}", Place("w0", 100 * n, 0), now=0.0)
>>> seen.get("order-4"), seen.get("order-0"), len(seen)
(Place(stream='w0', offset=400, index=0), None, 3)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from heapq import merge
from itertools import chain
from pathlib import Path
from typing import Any

import msgspec

from andon.errors import AndonError
from andon.store.frame import Frame, FrameKind
from andon.store.segment import segment_starts
from andon.store.wal import StreamReader, streams

__all__ = [
    "ROWS_PER_ID",
    "Place",
    "SeenIds",
    "Written",
    "as_float",
    "as_written",
    "id_hash",
    "owner_of",
    "recall",
    "same_x",
]

#: Rows that are looked at after a restart for each id that may be remembered.
ROWS_PER_ID = 2
_INDEX_BITS = 24
_STREAM_BITS = 16


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where a row is: its stream, the logical offset of its frame, its position in the frame."""

    stream: str
    offset: int
    index: int


def id_hash(id: str) -> int:
    """64 bits of BLAKE2b of an id; the same in every process.

    >>> hex(id_hash("order-17"))
    '0x78e9ae0c8e445bb0'
    """
    return int.from_bytes(blake2b(id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def owner_of(id: str, workers: int) -> int:
    """The worker that keeps a client's id: ``id_hash(id) % workers``."""
    return id_hash(id) % workers if workers > 1 else 0


def same_x(given: Mapping[str, Any], recorded: Mapping[str, Any]) -> bool:
    """Whether two inputs are the same; null is the same as absent.

    >>> same_x({"a": 3, "b": None}, {"a": 3.0}), same_x({"a": True}, {"a": 1})
    (True, False)
    """
    left = {name: value for name, value in given.items() if value is not None}
    right = {name: value for name, value in recorded.items() if value is not None}
    return left == right and all(
        isinstance(value, bool) == isinstance(right[name], bool) for name, value in left.items()
    )


def as_written(given: Mapping[str, Any], recorded: Mapping[str, Any]) -> dict[str, Any]:
    """An input in the types in which one was written: an integer where a float is kept is the float that was kept of it.

    So what was done to the value on its way (rounding beyond 2**53, a redaction that truncates) is done to this one, too.

    >>> as_written({"a": 2**53 + 1, "b": 3, "c": True}, {"a": 2.0**53, "b": 3, "c": 1.0})
    {'a': 9007199254740992.0, 'b': 3, 'c': True}
    """
    return {
        name: as_float(value) if type(value) is int and isinstance(recorded.get(name), float) else value
        for name, value in given.items()
    }


def as_float(value: float) -> float:
    """A number as the log keeps it; one beyond all floats as it is."""
    try:
        return float(value)
    except OverflowError:
        return value


class SeenIds:
    """The index of one worker. ``now`` is seconds of any steady clock.

    Ids are kept as Python's own hash of them: 64 bits of SipHash under a key that each process draws, so that nobody
    outside can make two ids meet; an index never leaves its process.
    """

    def __init__(self, limit: int, seconds: float) -> None:
        self._half = max(1, limit // 2)
        self._seconds = seconds
        self._young: dict[int, int] = {}
        self._old: dict[int, int] = {}
        self._since = 0.0
        self._streams: list[str] = []

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def add(self, id: str, place: Place, now: float) -> None:
        """Remember where an id was answered."""
        self.rotate(now)
        self._young[hash(id)] = self._packed(place.stream, place.offset, place.index)

    def add_frame(self, stream: str, offset: int, ids: Iterable[str | None], now: float) -> None:
        """Remember the ids of a frame's rows; an id that is empty is none."""
        self.rotate(now)
        place, step = self._packed(stream, offset, 0), 1 << _STREAM_BITS
        young = self._young
        for id in ids:
            if id:
                young[hash(id)] = place
            place += step

    def holds(self, id: str) -> bool:
        """Whether there is a place for an id, or for another one with the same hash."""
        key = hash(id)
        return key in self._young or key in self._old

    def get(self, id: str) -> Place | None:
        """Where an id was answered; verify what is read there, since another id may share its hash."""
        key = hash(id)
        packed = self._young.get(key)
        if packed is None:
            packed = self._old.get(key)
        return None if packed is None else self._unpack(packed)

    def rotate(self, now: float) -> None:
        """Forget the oldest ids when it is time."""
        if len(self._young) >= self._half or now - self._since >= self._seconds:
            self._old, self._young, self._since = self._young, {}, now

    def _packed(self, stream: str, offset: int, index: int) -> int:
        if stream not in self._streams:
            self._streams.append(stream)
        return (offset << _INDEX_BITS | index) << _STREAM_BITS | self._streams.index(stream)

    def _unpack(self, packed: int) -> Place:
        stream, rest = packed & (1 << _STREAM_BITS) - 1, packed >> _STREAM_BITS
        return Place(self._streams[stream], rest >> _INDEX_BITS, rest & (1 << _INDEX_BITS) - 1)


class Written(msgspec.Struct, frozen=True, gc=False):
    """A frame of decisions found in the log, with the client ids in it by position."""

    stream: str
    offset: int
    first: int
    time_us: int
    ids: dict[int, str]


Wanted = Callable[[Frame], dict[int, str]]
Young = Callable[[Frame], bool]


def recall(directory: Path, wanted: Wanted, limit: int, young: Young = lambda frame: True) -> Iterator[Written]:
    """The newest frames of all gateway streams in which there are ids that count, in the order of their times.

    ``wanted`` gives the ids of a frame that count. Segments are read from the newest backwards, until one holds frames
    that are not ``young`` any more, or ``limit`` ids of the stream are found, or ``ROWS_PER_ID * limit`` of its rows were looked
    at; so the cost is bounded however long the log is and however few ids there are in it: at most that, and a segment
    more. What cannot be read is passed over: whoever ships the log counts it as a gap.
    """
    parts = (
        _newest(directory, stream, wanted, limit, young) for stream in streams(directory) if stream.startswith("w")
    )
    return merge(*parts, key=lambda written: written.time_us)


def _newest(directory: Path, stream: str, wanted: Wanted, limit: int, young: Young) -> list[Written]:
    kept: list[list[Written]] = []
    starts = segment_starts(directory / stream)
    found = looked = 0
    for start, end in zip(reversed(starts), [None, *reversed(starts[1:])], strict=True):
        part: list[Written] = []
        old = False
        for frame in _segment(directory, stream, start, end):
            looked += frame.count
            if not young(frame):
                old = True
            elif ids := _readable(frame, wanted):
                found += len(ids)
                part.append(Written(stream, frame.offset, frame.first, frame.time_us, ids))
        kept.append(part)
        if old or found >= limit or looked >= ROWS_PER_ID * limit:
            break
    return list(chain.from_iterable(reversed(kept)))


def _segment(directory: Path, stream: str, start: int, end: int | None) -> Iterator[Frame]:
    reader = StreamReader(directory, stream, start)
    while entries := reader.poll():
        for entry in entries:
            if end is not None and entry.offset >= end:
                return
            if isinstance(entry, Frame) and entry.kind == FrameKind.DECISION:
                yield entry


def _readable(frame: Frame, wanted: Wanted) -> dict[int, str]:
    try:
        return wanted(frame)
    except AndonError:
        return {}
