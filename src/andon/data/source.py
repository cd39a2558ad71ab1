"""Where rows come from: CSV, Parquet, JSON lines, a folder or tar of images, or a frame at hand.

Reading never guesses and never drops: a row that cannot be read is counted in ``rejects`` with its number and reason; a
file that cannot be read at all is one sentence and nothing is kept of it.

>>> raw = from_frame(pl.DataFrame({"age": [41], "result": ["neg"]}))
>>> raw.frame.height, raw.origin.format
(1, 'frame')
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from hashlib import blake2b
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from andon.data.album import attach, is_pictures
from andon.data.conform import REJECTS_SCHEMA
from andon.data.delimited import parse_csv
from andon.data.jsonlines import parse_jsonl
from andon.errors import NotFound, UsageError

__all__ = ["Origin", "Raw", "as_polars", "from_frame", "read"]


class Origin(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a dataset's rows came from: the path as given, the format, the size in bytes and the BLAKE2b of the bytes."""

    path: str
    format: str
    bytes: int = 0
    hash: str = ""
    unlisted: int = 0


@dataclass(frozen=True)
class Raw:
    """Rows as read, not yet typed by a contract; ``rows`` are their numbers in the source, counted from 1."""

    frame: pl.DataFrame
    rows: pl.Series
    rejects: pl.DataFrame
    origin: Origin

    @property
    def total(self) -> int:
        """How many rows the source has, those that could not be read included."""
        return self.frame.height + self.rejects["row"].count()


def read(path: str | Path, *, meta: str | Path | None = None, nulls: tuple[str, ...] = (), image: str = "image") -> Raw:
    """Read a file or folder by its kind: ``.csv .tsv .parquet .jsonl .ndjson .tar .tar.gz`` or a folder of images.

    ``meta`` is the CSV that names the images; ``image`` is the column their bytes go to. ``nulls`` are texts that mean
    "missing" beside the empty one. Raises ``NotFound`` or ``UsageError``.
    """
    path = Path(path)
    if not path.exists():
        raise NotFound(f"{path}: there is no such file or folder")
    if is_pictures(path):
        raw = _images(path, meta, image)
    elif path.suffix.lower() in _READERS:
        raw = _file(path)
    else:
        raise UsageError(f"{path.name}: expected one of {', '.join(_READERS)}, .tar or a folder, found {path.suffix!r}")
    if not raw.total and not raw.rejects.height:
        raise UsageError(f"{path.name}: there are no rows; expected at least one")
    return _with_nulls(raw, nulls)


def from_frame(frame: Any, name: str = "frame") -> Raw:
    """A polars or pandas frame as a source."""
    found = as_polars(frame)
    return Raw(found, _numbers(found), pl.DataFrame(schema=REJECTS_SCHEMA), Origin(name, "frame"))


def as_polars(frame: Any) -> pl.DataFrame:
    """A polars frame from polars (eager or lazy) or pandas; pandas' NaN becomes null.

    >>> as_polars(pl.LazyFrame({"a": [1]})).height
    1
    """
    if isinstance(frame, pl.DataFrame):
        return frame
    if isinstance(frame, pl.LazyFrame):
        return frame.collect()
    if hasattr(frame, "to_dict") and hasattr(frame, "columns"):
        return pl.DataFrame(frame.to_dict("list"), strict=False).fill_nan(None)
    raise UsageError(f"expected a polars or pandas DataFrame, found {type(frame).__name__}")


def _file(path: Path) -> Raw:
    data = path.read_bytes()
    if not data:
        raise UsageError(f"{path.name}: the file is empty")
    frame, rows, rejects = _READERS[path.suffix.lower()](data, path.name)
    digest = blake2b(data, digest_size=32).hexdigest()
    return Raw(frame, rows, rejects, Origin(str(path), path.suffix.lower().lstrip("."), len(data), digest))


def _parquet(data: bytes, name: str) -> tuple[pl.DataFrame, pl.Series, pl.DataFrame]:
    try:
        frame = pl.read_parquet(BytesIO(data))
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
        said = str(error).partition("\n")[0]
        raise UsageError(f"{name}: this is not a readable Parquet file ({said})") from error
    return frame, _numbers(frame), pl.DataFrame(schema=REJECTS_SCHEMA)


def _images(path: Path, meta: str | Path | None, column: str) -> Raw:
    if meta is None:
        raise UsageError(
            f"{path.resolve().name}: images need a CSV that names them and holds their labels",
            hint="name it as well, as in `andon data add images labels.csv`",
        )
    table = read(meta)
    frame, rejects, album = attach(table.frame, table.rows, path, column)
    found = frame[column].is_not_null()
    kind = "folder" if path.is_dir() else "tar"
    digest = blake2b((table.origin.hash + album.hash).encode(), digest_size=32).hexdigest()
    origin = Origin(str(path), kind, album.size + table.origin.bytes, digest, album.unlisted)
    return Raw(frame.filter(found), table.rows.filter(found), pl.concat([table.rejects, rejects]), origin)


def _with_nulls(raw: Raw, nulls: tuple[str, ...]) -> Raw:
    if not nulls:
        return raw
    texts = pl.col(pl.String)
    return replace(raw, frame=raw.frame.with_columns(pl.when(~texts.is_in(list(nulls))).then(texts)))


def _numbers(frame: pl.DataFrame) -> pl.Series:
    return pl.int_range(1, frame.height + 1, dtype=pl.Int64, eager=True).alias("row")


_READERS: dict[str, Callable[[bytes, str], tuple[pl.DataFrame, pl.Series, pl.DataFrame]]] = {
    ".csv": parse_csv,
    ".tsv": lambda data, name: parse_csv(data, name, "\t"),
    ".parquet": _parquet,
    ".jsonl": parse_jsonl,
    ".ndjson": parse_jsonl,
}
