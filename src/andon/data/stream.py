"""Long files read piece by piece, in constant memory, so that reading can go on where it ended.

A ``Stream`` gives a file's rows in chunks of at most so many rows, with the numbers and the reasons that ``source`` gives
for them, and after each chunk a ``Mark``: the place from which the same file can be read on, in this process or another.
The chunks depend on the file, the size and the mark alone.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...     path = Path(folder) / "cases.csv"
...     _ = path.write_text("n,t\\n1,a\\n2\\n3,b\\n4,c\\n")
...     stream = open_stream(path)
...     first = next(stream.chunks(Mark(), 2))
...     rest = [chunk.rows.to_list() for chunk in stream.chunks(first.after, 2)]
>>> first.rows.to_list(), first.unread[0].reason, rest
([1], 'line 3: expected 2 values, found 1', [[3, 4]])
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec
import polars as pl

from andon.data.album import is_pictures
from andon.data.delimited import Unread
from andon.errors import Corrupt, NotFound, UsageError

__all__ = ["FORMATS", "Chunk", "Mark", "Stream", "open_stream"]

#: What a single file may be called; folders and tar archives hold images.
FORMATS = (".csv", ".tsv", ".parquet", ".jsonl", ".ndjson")


class Mark(msgspec.Struct, frozen=True):
    """A place between two rows. ``offset`` is in bytes (text), rows (Parquet) or images; ``line`` counts those before."""

    offset: int = 0
    row: int = 0
    line: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows in a row: a frame, or for JSON lines the values as they came, one for each of ``rows``."""

    rows: pl.Series
    frame: pl.DataFrame | None
    values: list[Any]
    texts: list[str]
    unread: list[Unread]
    after: Mark

    @property
    def count(self) -> int:
        """How many rows were read, those that could not be understood included."""
        return self.rows.len() + len(self.unread)


class Stream(Protocol):
    """A file that can be read in chunks. ``columns`` is None where every row names its own; ``total`` is in ``Mark.offset``."""

    @property
    def columns(self) -> tuple[str, ...] | None:
        """The columns that every row has."""
        ...

    @property
    def total(self) -> int:
        """The offset at the end."""
        ...

    def chunks(self, mark: Mark, size: int) -> Iterator[Chunk]:
        """The rows behind a mark, at most ``size`` at a time. Raises ``Corrupt`` where the file breaks off."""
        ...


def open_stream(path: Path, *, meta: Path | None = None, image: str = "image") -> Stream:
    """Look at a file and find out how it is read; ``meta`` names images, whose bytes go to the column ``image``.

    Raises ``NotFound``, or ``UsageError`` when it is empty, of no known kind, or cannot be read at all.
    """
    from andon.data.stream_images import Pictures
    from andon.data.stream_lines import CsvStream, JsonStream

    if not path.exists():
        raise NotFound(f"{path}: there is no such file or folder")
    if is_pictures(path):
        return Pictures(path, None if meta is None else open_stream(meta), image)
    kind = path.suffix.lower()
    if kind not in FORMATS:
        raise UsageError(f"{path.name}: expected one of {', '.join(FORMATS)}, .tar or a folder, found {kind!r}")
    if not path.is_file():
        raise UsageError(f"{path.name}: expected a file")
    if path.stat().st_size == 0:
        raise UsageError(f"{path.name}: the file is empty")
    if kind == ".parquet":
        return ParquetStream(path)
    return CsvStream(path, "\t" if kind == ".tsv" else None) if kind in (".csv", ".tsv") else JsonStream(path)


class ParquetStream:
    """Rows of a Parquet file; the offset of a mark is its row."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.columns: tuple[str, ...] | None = tuple(pl.read_parquet_schema(path))
            self.total = int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
            raise UsageError(f"{path.name}: this is not a readable Parquet file ({_first(error)})") from error

    def chunks(self, mark: Mark, size: int) -> Iterator[Chunk]:
        """See ``Stream``."""
        row = mark.row
        try:
            batches = pl.scan_parquet(self._path, glob=False).slice(row).collect_batches(chunk_size=size, lazy=True)
            for batch in batches:
                for frame in batch.iter_slices(size):
                    rows = pl.int_range(row + 1, row + frame.height + 1, dtype=pl.Int64, eager=True).alias("row")
                    row += frame.height
                    yield Chunk(rows, frame, [], [], [], Mark(row, row))
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
            raise Corrupt(f"{self._path.name}: it cannot be read behind row {row} ({_first(error)})") from error


def _first(error: BaseException) -> str:
    return str(error).partition("\n")[0]
