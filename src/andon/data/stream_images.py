"""Images, a few at a time: a folder or a tar archive, alone or with the rows of a file that names them.

Alone, every file is a row: in a folder by name, in an archive as they come. With a file of names, its rows count. A name
that leads outside is refused whoever wrote it, as in ``album``; nothing is unpacked to disk.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from andon.data.album import ARCHIVE_FAULTS, FILE_COLUMNS, member_bytes, refusal, safe_name, too_large
from andon.data.delimited import Unread
from andon.data.image import IMAGE_BYTES_MAX
from andon.data.stream import Chunk, Mark
from andon.data.validator import show
from andon.errors import Corrupt, UsageError

if TYPE_CHECKING:
    from andon.data.stream import Stream

__all__ = ["IMAGES_AT_ONCE", "Pictures"]

#: So many images are held at once, at most, each of at most ``IMAGE_BYTES_MAX`` bytes.
IMAGES_AT_ONCE = 32


class Pictures:
    """Images of a folder or archive, in the column ``column``; the file's name is in the column ``file``."""

    def __init__(self, place: Path, meta: Stream | None, column: str) -> None:
        self._place = place
        self._meta = meta
        self._column = column
        if meta is None:
            self.columns: tuple[str, ...] | None = ("file", column)
            self.total = _count(place)
            return
        if meta.columns is None:
            raise UsageError(f"{place.name}: expected a CSV or Parquet file that names the images, found JSON lines")
        found = next((name for name in FILE_COLUMNS if name in meta.columns), None)
        if found is None:
            known = ", ".join(FILE_COLUMNS)
            raise UsageError(f"{place.name}: no column names the files; call that column one of: {known}")
        if place.is_file() and not tarfile.is_tarfile(place):
            raise UsageError(f"{place.name}: this is not a readable tar archive")
        if place.is_file() and place.suffix.lower() != ".tar":
            raise UsageError(
                f"{place.name}: images are looked up by name, which a compressed archive does not allow",
                hint="unpack the compression first (gunzip), or leave the file of names out",
            )
        self._named_by = found
        self.columns = tuple(dict.fromkeys((*meta.columns, "file", column)))
        self.total = meta.total

    def chunks(self, mark: Mark, size: int) -> Iterator[Chunk]:
        """See ``Stream``."""
        size = min(size, IMAGES_AT_ONCE)
        return self._alone(mark, size) if self._meta is None else self._named(self._meta, mark, size)

    def _named(self, meta: Stream, mark: Mark, size: int) -> Iterator[Chunk]:
        with self._reader() as read:
            for chunk in meta.chunks(mark, size):
                if chunk.frame is None:  # a line too long to be read
                    yield chunk
                    continue
                names = chunk.frame[self._named_by].cast(pl.String).to_list()
                yield self._filled(chunk.frame, chunk.rows.to_list(), names, [read(name) for name in names], chunk)

    def _filled(
        self, frame: pl.DataFrame, rows: list[int], names: list[str | None], found: list[bytes | str], chunk: Chunk
    ) -> Chunk:
        """The rows whose image was found; the others with the reason."""
        good = [isinstance(one, bytes) for one in found]
        images = pl.Series(self._column, [one if isinstance(one, bytes) else None for one in found], dtype=pl.Binary)
        whole = frame.with_columns(pl.Series("file", names, dtype=pl.String), images)
        unread = [
            Unread(row, f"file {show(name)}: {why}" if name is not None else str(why), name or "")
            for row, name, why in zip(rows, names, found, strict=True)
            if not isinstance(why, bytes)
        ]
        kept = pl.Series(good, dtype=pl.Boolean)
        numbers = pl.Series("row", rows, dtype=pl.Int64).filter(kept)
        unread = sorted([*chunk.unread, *unread], key=lambda one: one.row)
        return Chunk(numbers, whole.filter(kept), [], [], unread, chunk.after)

    def _alone(self, mark: Mark, size: int) -> Iterator[Chunk]:
        row = mark.row
        images = self._every(row)
        while batch := list(islice(images, size)):
            names: list[str | None] = [name for name, _ in batch]
            rows = list(range(row + 1, row + len(batch) + 1))
            row += len(batch)
            empty = Chunk(pl.Series("row", [], dtype=pl.Int64), None, [], [], [], Mark(row, row))
            frame = pl.DataFrame({"file": pl.Series(names, dtype=pl.String)})
            yield self._filled(frame.drop("file"), rows, names, [found for _, found in batch], empty)

    def _every(self, skip: int) -> Iterator[tuple[str, bytes | str]]:
        """Every file behind the first ``skip``, with its bytes or why it has none."""
        if self._place.is_dir():
            for name in _listing(self._place)[skip:]:
                yield name, _from_folder(self._place, name)
            return
        with _archive(self._place) as archive:
            for member in islice(_members(archive), skip, None):
                yield member.name, _from_tar(archive, member)

    @contextmanager
    def _reader(self) -> Iterator[Callable[[str | None], bytes | str]]:
        """A function from a name to the bytes, or to why there are none."""
        if self._place.is_dir():
            yield lambda name: _from_folder(self._place, name)
            return
        with _archive(self._place) as archive:
            known: dict[str, tarfile.TarInfo] = {}
            for member in _members(archive):
                plain = safe_name(member.name)
                if plain is not None:
                    known.setdefault(plain, member)
                    known.setdefault(plain.partition("/")[2], member)  # a row may leave out the archive's top folder
            yield lambda name: _by_name(archive, known, name)


def _count(place: Path) -> int:
    if place.is_dir():
        return len(_listing(place))
    try:
        with _archive(place) as archive:
            return sum(1 for _ in _members(archive))
    except Corrupt as error:
        raise UsageError(error.message) from error


def _listing(place: Path) -> list[str]:
    """All files below a folder by name, hidden ones left out."""
    found = (path.relative_to(place) for path in place.rglob("*") if not path.is_dir())
    return sorted(path.as_posix() for path in found if not any(part.startswith(".") for part in path.parts))


@contextmanager
def _archive(place: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(place, "r:*") as archive:
            yield archive
    except ARCHIVE_FAULTS as error:
        raise Corrupt(f"{place.name}: the archive cannot be read to its end ({error}); pack it again") from error


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """The members that are no folders, without keeping them."""
    while (member := archive.next()) is not None:
        archive.members.clear()  # type: ignore[attr-defined]
        if not member.isdir():
            yield member


def _by_name(archive: tarfile.TarFile, known: dict[str, tarfile.TarInfo], name: str | None) -> bytes | str:
    plain = None if name is None else safe_name(name)
    if plain is None:
        return _nameless(name)
    member = known.get(plain)
    return "there is no such file" if member is None else _from_tar(archive, member)


def _nameless(name: str | None) -> str:
    return "no file is named in this row" if name is None else "the name leads outside the folder or archive"


def _from_tar(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | str:
    return refusal(member, safe_name(member.name)) or member_bytes(archive, member)


def _from_folder(place: Path, name: str | None) -> bytes | str:
    plain = None if name is None else safe_name(name)
    if plain is None:
        return _nameless(name)
    path = place / plain
    try:
        if not path.resolve().is_relative_to(place.resolve()):
            return "a link that leads outside the folder"
        if not path.is_file():
            return "there is no such file"
        size = path.stat().st_size
        return too_large(size) if size > IMAGE_BYTES_MAX else path.read_bytes()
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
