"""What this worker's part of the log says: a decision by the id a client gave, or by the id that says where it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from andon.core.clock import SECOND, Clock
from andon.core.record import Decision, Field
from andon.deploy.case import Case
from andon.deploy.idempotency import Place, SeenIds, owner_of, recall
from andon.errors import AndonError, NotFound
from andon.store.codec import client_ids, row_of, wall_times
from andon.store.wal import Finder, Frame, FrameIndex, FrameKind, fetch, parse_server_id

__all__ = ["Memory"]

FieldsOf = Callable[[bytes], tuple[Field, ...]]


class Memory:
    """Where decisions are. A client's id belongs to worker ``hash % workers``; a server's id to the worker of its stream.

    ``fields_of`` gives a contract's fields by the hash that frames carry; ``seen`` bounds the ids that are remembered.
    """

    def __init__(self, wal_dir: Path, index: int, workers: int, seen: SeenIds, fields_of: FieldsOf) -> None:
        self.seen = seen
        self._wal_dir = wal_dir
        self.index = index
        self.workers = workers
        self._fields_of = fields_of
        self._stream = f"w{index}"
        self._frames = FrameIndex()
        self._finder = Finder(wal_dir)

    def owner(self, id: str) -> int:
        """The worker that keeps a decision, whoever gave the id."""
        found = parse_server_id(id)
        if found is None:
            return owner_of(id, self.workers)
        return _number(found[0]) % self.workers

    def rebuild(self, limit: int, clock: Clock, seconds: float) -> int:
        """Read the newest part of the log again after a start, so many seconds back; returns how many ids are known.

        They are seconds of the machine, as for an id that is remembered without a restart, whatever the pace of event
        time; what is young by either clock is, since a machine's clock may have been wrong meanwhile.
        """
        window, now = int(seconds * SECOND), clock.monotonic()
        since_us, since_wall_us = clock.now() - window, clock.wall() - window

        def young(frame: Frame) -> bool:
            return frame.time_us >= since_us or _written_at(frame, since_wall_us) >= since_wall_us

        for written in recall(self._wal_dir, self._mine, limit, young):
            if written.stream == self._stream:
                self._frames.add(written.first, written.offset)
            for index, id in written.ids.items():
                self.seen.add(id, Place(written.stream, written.offset, index), now)
        return len(self.seen)

    def wrote(self, frame: Frame, cases: Sequence[Case], now: float) -> None:
        """A frame of decisions was written by this worker."""
        self.wrote_ids(frame, [case.id for case in cases], now)

    def wrote_ids(self, frame: Frame, ids: Sequence[str | None], now: float) -> None:
        """A frame was written whose rows have these ids of clients (none: the client gave none)."""
        self._frames.add(frame.first, frame.offset)
        self.seen.add_frame(frame.stream, frame.offset, ids, now)

    def reach(self, id: str) -> bool:
        """Go on towards a decision, for a few milliseconds at most; False: ask again before ``recorded`` is asked.

        Only an id of the server's own that names an old part of the log has a way. Raises ``Unavailable``.
        """
        found = parse_server_id(id)
        return found is None or self._finder.reach(found[0], found[2], self._near(found[0], found[2]))

    def recorded(self, id: str) -> tuple[Decision, Frame] | None:
        """The decision with this id as it was written, and its frame, or None. Raises ``Unavailable`` or ``Corrupt``."""
        found = parse_server_id(id)
        try:
            if found is not None:
                return self._by_number(id, *found)
            place = self.seen.get(id)
            if place is None:
                return None
            frame = fetch(self._wal_dir, place.stream, place.offset)
        except NotFound:
            return None  # its segment was dropped: the id is outside the window
        decision = row_of(self._fields_of(frame.contract), frame, place.index)
        return (decision, frame) if decision.id == id else None

    def _by_number(self, id: str, stream: str, generation: str, sequence: int) -> tuple[Decision, Frame] | None:
        frame = self._finder.find(stream, sequence, generation, self._near(stream, sequence))
        if frame.kind != FrameKind.DECISION:
            return None
        decision = row_of(self._fields_of(frame.contract), frame, sequence - frame.first)
        return (decision, frame) if decision.id == id else None

    def _near(self, stream: str, sequence: int) -> int | None:
        return self._frames.near(sequence) if stream == self._stream else None

    def _mine(self, frame: Frame) -> dict[int, str]:
        return {
            index: id for index, id in enumerate(client_ids(frame)) if id and owner_of(id, self.workers) == self.index
        }


def _written_at(frame: Frame, unknown: int) -> int:
    """The machine's time at which a frame of decisions was written; ``unknown`` where it cannot be read."""
    try:
        return max(wall_times(frame), default=unknown)
    except AndonError:
        return unknown


def _number(stream: str) -> int:
    """The number at the end of a stream's name; 0 where there is none.

    >>> _number("w12"), _number("people")
    (12, 0)
    """
    digits = stream.lstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
    return int(digits) if digits.isdecimal() else 0
