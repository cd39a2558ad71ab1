"""What the store's tests share: databases to run on, and a short way to write frames."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from andon.core.clock import ManualClock
from andon.store.tables import Database
from andon.store.wal import Frame, FrameKind, Gap, WalWriter, read_stream

Fill = Callable[..., list[Frame]]


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Database]:
    database = Database.create(f"sqlite:///{tmp_path / 'andon.db'}", busy_seconds=5.0)
    yield database
    database.close()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_000_000)


@pytest.fixture
def fill() -> Fill:
    """Write frames of given sizes to a stream and close it."""

    def write(directory: Path, *sizes: int, stream: str = "w0", segment_bytes: int = 1 << 20) -> list[Frame]:
        writer = WalWriter(directory, stream, segment_bytes=segment_bytes)
        frames = [
            writer.append(FrameKind.DECISION, os.urandom(size), count=i % 3 + 1, time_us=i)
            for i, size in enumerate(sizes)
        ]
        writer.close()
        return frames

    return write


@pytest.fixture
def read() -> Callable[..., list[Frame | Gap]]:
    def everything(directory: Path, stream: str = "w0", start: int = 0) -> list[Frame | Gap]:
        return list(read_stream(directory, stream, start))

    return everything
