"""The people stream: what reviewers decided, written durably for every gateway worker to read and answer with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from andon.core.record import Review
from andon.store.codec import encode_reviews
from andon.store.frame import FrameKind
from andon.store.shared import SharedWriter

__all__ = ["PEOPLE", "PeopleStream"]

PEOPLE = "people"
"""The name of the stream."""


class PeopleStream:
    """Appends reviews to the people stream, from any number of processes; implements ``andon.core.port.ReviewOutbox``.

    >>> import tempfile
    >>> from andon.store.codec import decode_reviews
    >>> from andon.store.reader import StreamReader
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     stream = PeopleStream(Path(folder))
    ...     stream.append([Review("w0-00c0ffee-1", "negative", "person", "ann", time_us=7)])
    ...     print([decode_reviews(frame)[0].reviewer for frame in StreamReader(Path(folder), PEOPLE).poll()])
    ['ann']
    """

    def __init__(self, wal_dir: Path) -> None:
        self._writer = SharedWriter(Path(wal_dir), PEOPLE)

    def append(self, reviews: Sequence[Review]) -> None:
        """Write the reviews durably, in order. Raises ``Unavailable``; then none was written."""
        if reviews:
            newest = max(review.time_us for review in reviews)
            self._writer.append(FrameKind.REVIEW, encode_reviews(reviews), count=len(reviews), time_us=newest)
