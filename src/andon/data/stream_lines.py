"""CSV and JSON lines, block by block: only whole records are taken, and what is open stays for the next block."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec
import numpy as np
import polars as pl

from andon.data.delimited import Unread, parse_block, read_header, text_begins
from andon.data.stream import Chunk, Mark
from andon.errors import Corrupt

__all__ = ["BLOCK_MAX", "CsvStream", "JsonStream"]

#: The most bytes that are held at once, and so the longest line.
BLOCK_MAX = 64 << 20
_STEP = 1 << 20
_HEADER_MAX = 1 << 20
_TEXT_MAX = 10_000


class _Lines:
    """The lines of a file from an offset on."""

    def __init__(self, file: BinaryIO, offset: int) -> None:
        self._file = file
        file.seek(offset)
        self.offset = offset
        self._data = b""
        self._count = 0
        self._ended = False

    def peek(self, lines: int) -> tuple[bytes, bool]:
        """At most so many whole lines that come next, and whether more can be had by asking for more."""
        while self._count < lines and not self._ended and len(self._data) < BLOCK_MAX:
            more = self._file.read(_STEP)
            self._ended = not more
            self._data += more
            self._count += more.count(b"\n")
        if self._count <= lines and self._ended:
            return self._data, True
        ends = np.flatnonzero(np.frombuffer(self._data, dtype=np.uint8) == 10)
        block = self._data[: int(ends[min(lines, len(ends)) - 1]) + 1] if len(ends) else b""
        return block, len(self._data) >= BLOCK_MAX and self._count <= lines

    @property
    def over(self) -> bool:
        """Whether nothing comes any more."""
        return self._ended and not self._data

    def take(self, size: int) -> None:
        """Go on behind the next ``size`` bytes."""
        self._count -= self._data.count(b"\n", 0, size)
        self._data = self._data[size:]
        self.offset += size

    def skip_line(self) -> str:
        """Go on behind a line that is longer than can be held; its beginning."""
        begin = self._data[:_TEXT_MAX].decode(errors="replace")
        self.take(len(self._data))
        while more := self._file.readline(_STEP):
            self.offset += len(more)
            if more.endswith(b"\n"):
                break
        return begin


class CsvStream:
    """Rows of a CSV file, all columns as texts."""

    def __init__(self, path: Path, separator: str | None = None) -> None:
        self._path = path
        self.total = path.stat().st_size
        with path.open("rb") as file:
            start = file.read(_HEADER_MAX)
        header, self._separator, begins = read_header(start, path.name, separator)
        self._header = header
        self.columns: tuple[str, ...] | None = tuple(header)
        self._begin = Mark(begins, 0, max(1, start[:begins].count(b"\n")))

    def chunks(self, mark: Mark, size: int) -> Iterator[Chunk]:
        """See ``Stream``."""
        mark = mark if mark.offset else self._begin
        with self._path.open("rb") as file:
            lines, want = _Lines(file, mark.offset), size
            while True:
                data, last = lines.peek(want)
                if not data:
                    if _over(lines, self._path, self.total):
                        return
                    yield (chunk := _too_long(lines, mark))
                    mark = chunk.after
                    continue
                block = parse_block(data, self._header, self._separator, line=mark.line, last=last)
                if not block.used:
                    want *= 2  # one record is longer than that
                    continue
                want = size
                lines.take(block.used)
                row = mark.row
                unread = [Unread(row + one.row, one.reason, one.text) for one in block.unread]
                after = row + block.rows.len() + len(unread)
                mark = Mark(lines.offset, after, mark.line + data.count(b"\n", 0, block.used))
                yield Chunk(block.rows + row, block.frame, [], [], unread, mark)


class JsonStream:
    """Values of a file of JSON lines: objects, as a rule; blank lines count as no row."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.total = path.stat().st_size
        self.columns: tuple[str, ...] | None = None
        with path.open("rb") as file:
            self._begin = Mark(text_begins(file.read(3), path.name))

    def chunks(self, mark: Mark, size: int) -> Iterator[Chunk]:
        """See ``Stream``."""
        mark = mark if mark.offset else self._begin
        with self._path.open("rb") as file:
            lines = _Lines(file, mark.offset)
            while True:
                data, _ = lines.peek(size)
                if data:
                    lines.take(len(data))
                    chunk = _objects(data, mark, lines.offset)
                elif _over(lines, self._path, self.total):
                    return
                else:
                    chunk = _too_long(lines, mark)
                mark = chunk.after
                yield chunk


def _objects(data: bytes, mark: Mark, offset: int) -> Chunk:
    decode = msgspec.json.Decoder().decode
    rows: list[int] = []
    values: list[Any] = []
    texts: list[str] = []
    unread: list[Unread] = []
    row, line = mark.row, mark.line
    for line, part in enumerate(data.removesuffix(b"\n").split(b"\n"), mark.line + 1):
        if not part.strip():
            continue
        row += 1
        text = part.strip().decode(errors="replace")
        try:
            values.append(decode(part))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            unread.append(Unread(row, f"line {line}: not JSON ({error})", text))
            continue
        rows.append(row)
        texts.append(text)
    return Chunk(pl.Series("row", rows, dtype=pl.Int64), None, values, texts, unread, Mark(offset, row, line))


def _over(lines: _Lines, path: Path, total: int) -> bool:
    if lines.over and lines.offset < total:
        raise Corrupt(f"{path.name}: expected {total} bytes, as when reading began, found {lines.offset}")
    return lines.over


def _too_long(lines: _Lines, mark: Mark) -> Chunk:
    reason = f"line {mark.line + 1}: expected at most {BLOCK_MAX} bytes"
    unread = [Unread(mark.row + 1, reason, lines.skip_line())]
    after = Mark(lines.offset, mark.row + 1, mark.line + 1)
    return Chunk(pl.Series("row", [], dtype=pl.Int64), None, [], [], unread, after)
