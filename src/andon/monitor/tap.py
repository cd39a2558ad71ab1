"""Taps: one reader for each stream of the write-ahead log, several consumers behind it, each with its own place.

What was read is held until every consumer is through with it, so that a consumer that fails (the database is gone, the
disk is full) takes the same entries again, while the others go on. Places are stored as offsets; after a kill a
consumer gets again what it had not stored, and must do no harm with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from andon.store.frame import Frame, Gap
from andon.store.outbox import PEOPLE
from andon.store.reader import StreamReader
from andon.store.segment import segment_path, segment_starts, streams
from andon.store.snapshot import SHIPPED
from andon.store.workspace import Workspace

__all__ = ["CONSUMERS", "INBOX", "LATE", "WINDOWS", "Entry", "Tap", "Taps"]

Entry = Frame | Gap

INBOX, WINDOWS, LATE = "inbox", "windows", "late"
CONSUMERS = (INBOX, WINDOWS, SHIPPED, LATE)
"""Who reads the streams: review items, window summaries, the decision log, and what is measured again."""

_STEP = 8 << 20


class Tap:
    """One stream. ``reached`` is how far each consumer is; ``stored`` is what the database knows of that.

    ``fault`` says why the stream cannot be read at all: it ends before a place that was read already.
    """

    def __init__(self, workspace: Workspace, stream: str, stored: dict[str, int]) -> None:
        self.stream = stream
        self.stored = {consumer: stored.get(consumer, 0) for consumer in CONSUMERS}
        self.reached = dict(self.stored)
        self.held: list[Entry] = []
        self.held_bytes = 0
        self.fault = _rewound(workspace.wal_dir / stream, max(self.stored.values()))
        self._reader = StreamReader(workspace.wal_dir, stream, min(self.stored.values()))

    def poll(self, limit: int) -> bool:
        """Read on by about ``_STEP`` bytes, unless ``limit`` are held; True when there may be more."""
        read = 0
        while self.fault is None and read < _STEP and self.held_bytes < limit:
            entries = self._reader.poll(_STEP)
            if not entries:
                return False
            self.held += entries
            size = sum(map(_size, entries))
            read += size
            self.held_bytes += size
        return True

    def waiting(self, consumer: str) -> list[Entry]:
        """What a consumer has not had yet, in order."""
        reached = self.reached[consumer]
        return [entry for entry in self.held if entry.end > reached]

    def advance(self, consumer: str, entries: Sequence[Entry]) -> None:
        """A consumer is through with these entries."""
        if entries:
            self.reached[consumer] = max(self.reached[consumer], entries[-1].end)

    def prune(self) -> None:
        """Let go of what every consumer has had."""
        least = min(self.reached.values())
        if self.held and self.held[0].end <= least:
            self.held = [entry for entry in self.held if entry.end > least]
            self.held_bytes = sum(map(_size, self.held))

    def moved(self) -> list[str]:
        """The consumers whose place the database does not know yet."""
        return [consumer for consumer in CONSUMERS if self.reached[consumer] > self.stored[consumer]]


def _rewound(folder: Path, reached: int) -> str | None:
    """Offsets never go back by themselves: a stream that ends before what was read is not the one that was read."""
    start = segment_starts(folder)[-1]
    end = start + segment_path(folder, start).stat().st_size
    if end >= reached:
        return None
    return (
        f"the stream {folder.name} ends at {end}, but {reached} was read already: was it deleted, or restored from an old"
        f" backup? It is not read on; put the newest {folder.parent} back, or begin a new workspace"
    )


def _size(entry: Entry) -> int:
    return entry.end - entry.offset if isinstance(entry, Frame) else 64


class Taps:
    """All streams of a workspace; new ones are found by ``discover``. The people's stream comes last.

    People answer what workers wrote: read in this order, a review seldom comes before its question.
    """

    def __init__(self, workspace: Workspace, *, held_bytes: int = 256 << 20) -> None:
        self._workspace = workspace
        self._limit = held_bytes
        self._stored = {consumer: workspace.windows.offsets(consumer) for consumer in CONSUMERS}
        self._taps: dict[str, Tap] = {}
        self.discover()

    def __iter__(self) -> Iterator[Tap]:
        return iter(self._taps.values())

    def discover(self) -> None:
        """Find streams that began since."""
        for stream in streams(self._workspace.wal_dir):
            if stream not in self._taps:
                stored = {consumer: offsets.get(stream, 0) for consumer, offsets in self._stored.items()}
                self._taps[stream] = Tap(self._workspace, stream, stored)
        self._taps = dict(sorted(self._taps.items(), key=lambda pair: (pair[0] == PEOPLE, pair[0])))

    def poll(self) -> bool:
        """Read on in every stream; True when there may be more."""
        return sum(tap.poll(self._limit) for tap in self._taps.values()) > 0  # every one is polled

    @property
    def held_bytes(self) -> int:
        """How much is held in memory."""
        return sum(tap.held_bytes for tap in self._taps.values())

    def unshipped_bytes(self) -> int:
        """How much waits for the decision log."""
        return sum(_size(entry) for tap in self._taps.values() for entry in tap.waiting(SHIPPED))
