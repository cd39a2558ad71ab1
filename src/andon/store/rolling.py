"""Beginning a new segment because the last one is old: what was written once must not lie on because little is written.

A segment is deleted whole, and never the last one. A stream that is written has a writer that rolls by itself
(``WalWriter.roll_older``); this is for the others: of workers that no longer run, and the people's.
"""

from __future__ import annotations

import os
from pathlib import Path

from andon.errors import Corrupt, NotFound
from andon.store.files import try_lock, unavailable
from andon.store.frame import HEAD_SIZE
from andon.store.lookup import fetch
from andon.store.segment import (
    SEGMENT_HEAD_SIZE,
    SegmentHead,
    boot_tag,
    create_segment,
    recover,
    segment_path,
    segment_starts,
)

__all__ = ["ROLL_SECONDS", "first_us", "roll_left", "torn_files"]

ROLL_SECONDS = 3600.0
"""A segment that holds anything is closed after so long, however small it is."""


def first_us(directory: Path, stream: str, start: int) -> int | None:
    """The time of the first frame of a segment; None where it holds none. Raises ``Corrupt``."""
    try:
        return fetch(directory, stream, start + SEGMENT_HEAD_SIZE).time_us
    except NotFound:
        return None


def roll_left(directory: Path, stream: str, before_us: int) -> bool:
    """Begin a new segment of a stream that nobody writes now, where the last one holds a frame from before then.

    One whose first frame is damaged counts as old. Called again it does nothing: the new segment is empty. False also
    where a writer has the stream. Raises ``Unavailable``.

    >>> import tempfile
    >>> from andon.store.frame import FrameKind
    >>> from andon.store.shared import append_shared
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = append_shared(Path(folder), "people", FrameKind.REVIEW, b"a", count=1, time_us=5)
    ...     print([roll_left(Path(folder), "people", time_us) for time_us in (5, 6, 6)])
    [False, True, False]
    """
    folder = Path(directory) / stream
    starts = segment_starts(folder)
    if not starts or segment_path(folder, starts[-1]).stat().st_size <= SEGMENT_HEAD_SIZE:
        return False
    if not _is_old(directory, stream, starts[-1], before_us):
        return False
    try:
        lock = try_lock(folder / "lock")
    except OSError as error:
        raise unavailable(f"the stream {stream} could not be opened", error) from error
    if lock is None:
        return False
    try:
        tail = recover(folder)
        if tail.position < SEGMENT_HEAD_SIZE + HEAD_SIZE:
            return False  # what was there was an unfinished frame: the stream goes on in a new segment already
        create_segment(folder, SegmentHead(tail.generation, tail.start + tail.position, tail.sequence, boot_tag()))
    finally:
        os.close(lock)
    return True


def _is_old(directory: Path, stream: str, start: int, before_us: int) -> bool:
    try:
        began = first_us(directory, stream, start)
    except Corrupt:
        return True
    return began is not None and began < before_us


def torn_files(directory: Path) -> list[Path]:
    """What was cut off the ends of streams and kept aside, oldest first."""
    found = [path for path in Path(directory).glob("*/torn-*") if path.is_file()]
    return sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name))
