"""As much of an asyncio transport as the protocol uses, for connections without a socket."""

from __future__ import annotations

from typing import Any


class Transport:
    """Keeps what is written in ``data`` and insists on being used rightly."""

    def __init__(self) -> None:
        self.data = b""
        self.closed: Any = False
        self.aborted: Any = False
        self.ended: Any = False
        self.reading: Any = True

    def write(self, data: bytes) -> None:
        assert not self.closed and not self.ended, "written after the end"
        self.data += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.ended = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = self.closed = True

    def is_closing(self) -> bool:
        return bool(self.closed)

    def pause_reading(self) -> None:
        assert self.reading, "paused twice"
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.reading, "resumed twice"
        self.reading = True
