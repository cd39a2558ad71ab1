"""The write-ahead log of the live path: framed, append-only, one stream per writer; the door to the files behind it.

A worker writes what it decided before it answers, so the log is also the outbox: everything that happens later (inbox
items, the decision table, metrics) is derived from it. ``frame`` says what lies on the disk, ``segment`` how the end is
found after a crash, ``writer`` and ``committer`` how frames get there, ``shared`` how many processes append to one
stream, ``reader`` and ``lookup`` how they come back.

>>> import tempfile
>>> from pathlib import Path
>>> with tempfile.TemporaryDirectory() as folder:
...     writer = WalWriter(Path(folder), "w0")
...     frame = writer.append(FrameKind.LOSS, b"...", count=1, time_us=7)
...     print(streams(Path(folder)), fetch(Path(folder), "w0", frame.offset) == frame)
...     writer.close()
['w0'] True
"""

from __future__ import annotations

from pathlib import Path

from andon.store.frame import Frame, FrameKind, Gap, parse_server_id, server_id
from andon.store.lookup import Finder, FrameIndex, fetch, find_sequence
from andon.store.reader import StreamReader, read_stream
from andon.store.segment import drop_segments, streams
from andon.store.shared import SharedWriter, append_shared
from andon.store.writer import WalWriter

__all__ = [
    "Finder",
    "Frame",
    "FrameIndex",
    "FrameKind",
    "Gap",
    "SharedWriter",
    "StreamReader",
    "WalWriter",
    "append_shared",
    "drop_before",
    "fetch",
    "find_sequence",
    "parse_server_id",
    "read_stream",
    "server_id",
    "streams",
]


def drop_before(directory: Path, stream: str, offset: int) -> int:
    """Delete a stream's segments that lie wholly before ``offset`` (never the last one), from any process."""
    return drop_segments(Path(directory) / stream, offset)
