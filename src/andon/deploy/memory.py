"""What this worker's part of the log says: a decision by the id a client gave, or by the id that says where it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from andon.core.record import Decision, Field
from andon.deploy.case import Case
from andon.deploy.idempotency import FrameIndex, Place, SeenIds, owner_of, recall
from andon.errors import NotFound
from andon.store.codec import row_of, wire_of
from andon.store.wal import Frame, FrameKind, StreamReader, fetch, parse_server_id, streams

__all__ = ["Memory"]

FieldsOf = Callable[[bytes], tuple[Field, ...]]


class Memory:
    """Where decisions are. A client's id belongs to worker ``hash % workers``; a server's id to the worker of its stream.

    ``fields_of`` gives a contract's fields by the hash that frames carry. ``limit`` and ``seconds`` bound the ids that
    are remembered.
    """

    def __init__(self, wal_dir: Path, index: int, workers: int, seen: SeenIds, fields_of: FieldsOf) -> None:
        self.seen = seen
        self._wal_dir = wal_dir
        self._index = index
        self._workers = workers
        self._fields_of = fields_of
        self._frames: dict[str, FrameIndex] = {}

    def owner(self, id: str) -> int:
        """The worker that keeps a decision, whoever gave the id."""
        found = parse_server_id(id)
        if found is None:
            return owner_of(id, self._workers)
        return _number(found[0]) % self._workers

    def rebuild(self, limit: int, now: float) -> int:
        """Read the log again after a start; returns how many ids are known."""
        for id, place in recall(self._wal_dir, self._mine, self._ids_of, limit):
            self.seen.add(id, place, now)
        return len(self.seen)

    def wrote(self, frame: Frame, cases: Sequence[Case], now: float) -> None:
        """A frame of decisions was written by this worker."""
        if frame.stream in self._frames:
            self._frames[frame.stream].add(frame.first, frame.offset)
        for index, case in enumerate(cases):
            if case.id:
                self.seen.add(case.id, Place(frame.stream, frame.offset, index), now)

    def recorded(self, id: str) -> Decision | None:
        """The decision with this id as it was written, or None. Raises ``Unavailable`` or ``Corrupt``."""
        found = parse_server_id(id)
        if found is not None:
            return self._by_number(*found)
        place = self.seen.get(id)
        if place is None:
            return None
        try:
            frame = fetch(self._wal_dir, place.stream, place.offset)
        except NotFound:
            return None  # the segment was dropped: the id is outside the window
        decision = row_of(self._fields_of(frame.contract), frame, place.index)
        return decision if decision.id == id else None

    def _by_number(self, stream: str, generation: str, sequence: int) -> Decision | None:
        try:
            frame = self._index_of(stream).find(self._wal_dir, stream, sequence)
        except NotFound:
            return None
        if frame.generation != generation:
            return None
        decision = row_of(self._fields_of(frame.contract), frame, sequence - frame.first)
        return decision if parse_server_id(decision.id) is not None else None

    def _index_of(self, stream: str) -> FrameIndex:
        """The index of a stream, made from the log when it is first asked for and kept up by ``wrote``."""
        index = self._frames.get(stream)
        if index is None:
            index = FrameIndex()
            if stream in streams(self._wal_dir):
                self._read_all(stream, index)
            self._frames[stream] = index
        return index

    def _read_all(self, stream: str, index: FrameIndex) -> None:
        reader = StreamReader(self._wal_dir, stream)
        while entries := reader.poll():
            for entry in entries:
                if isinstance(entry, Frame) and entry.kind == FrameKind.DECISION:
                    index.add(entry.first, entry.offset)

    def _mine(self, id: str) -> bool:
        return owner_of(id, self._workers) == self._index

    def _ids_of(self, frame: Frame) -> list[str | None]:
        return wire_of(self._fields_of(frame.contract), frame).id


def _number(stream: str) -> int:
    digits = stream.lstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
    return int(digits) if digits.isdecimal() else 0
