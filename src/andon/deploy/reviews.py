"""What people decided, laid over what is pending: every worker follows the people stream by itself.

>>> Reviews(Path("/nowhere")).get("a1") is None
True
"""

from __future__ import annotations

from pathlib import Path

from andon.core.record import Review
from andon.errors import AndonError
from andon.store.codec import decode_reviews
from andon.store.wal import Frame, FrameKind, StreamReader

__all__ = ["Reviews"]

_STREAM = "people"


class Reviews:
    """The reviews of decisions by id; the first one of an id counts. At most ``limit`` ids are kept, the newest ones."""

    def __init__(self, wal_dir: Path, limit: int = 2_000_000) -> None:
        self._reader = StreamReader(wal_dir, _STREAM)
        self._half = max(1, limit // 2)
        self._young: dict[str, Review] = {}
        self._old: dict[str, Review] = {}

    def __len__(self) -> int:
        return len(self._young) + len(self._old)

    def get(self, id: str) -> Review | None:
        """The review that decided a pending decision."""
        return self._young.get(id) or self._old.get(id)

    def catch_up(self) -> None:
        """Read everything there is; for the start."""
        while self.poll():
            pass

    def poll(self) -> int:
        """Take what is new; returns how many frames. A frame that cannot be read is passed over."""
        entries = self._reader.poll(1 << 20)
        for entry in entries:
            if isinstance(entry, Frame) and entry.kind == FrameKind.REVIEW:
                self._take(entry)
        return len(entries)

    def _take(self, frame: Frame) -> None:
        try:
            reviews = decode_reviews(frame)
        except AndonError:
            return
        for review in reviews:
            if review.kind == "decision" and self.get(review.id) is None:
                self._young[review.id] = review
        if len(self._young) >= self._half:
            self._old, self._young = self._young, {}
