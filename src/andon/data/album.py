"""Images from a folder or a tar archive, named by the rows of a CSV with their meta-data.

Nothing is ever unpacked to disk. A name that leads outside (absolute, with ``..``, a link, a device) is refused whoever
wrote it, a file too large for an image is not read, and every row without its image becomes a reject with the reason.
"""

from __future__ import annotations

import lzma
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path, PurePosixPath

import polars as pl

from andon.data.conform import REJECTS_SCHEMA
from andon.data.image import IMAGE_BYTES_MAX
from andon.data.validator import show
from andon.errors import UsageError

__all__ = [
    "ARCHIVE_FAULTS",
    "FILE_COLUMNS",
    "Album",
    "attach",
    "is_pictures",
    "member_bytes",
    "refusal",
    "safe_name",
    "too_large",
]

#: Names under which the CSV may list the files, in the order tried.
FILE_COLUMNS = ("file", "filename", "file_name", "path", "image")
#: What reading a damaged archive raises.
ARCHIVE_FAULTS = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, OSError, ValueError)


@dataclass
class Album:
    """Images by name, what was refused, and how many files no row asked for."""

    images: dict[str, bytes] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    unlisted: int = 0

    @property
    def size(self) -> int:
        """Bytes of all images together."""
        return sum(map(len, self.images.values()))

    @property
    def hash(self) -> str:
        """BLAKE2b (hex) of the names and contents, whatever they were packed in."""
        total = blake2b(digest_size=32)
        for name, data in sorted(self.images.items()):
            total.update(name.encode() + b"\0" + blake2b(data, digest_size=32).digest())
        return total.hexdigest()


def is_pictures(path: Path) -> bool:
    """Whether it is a folder or an archive, of images that is."""
    return path.is_dir() or ".tar" in path.suffixes or path.suffix == ".tgz"


def safe_name(name: str) -> str | None:
    """The name in plain form when it stays inside the folder or archive, else None.

    >>> safe_name("./a/b.png"), safe_name("../b.png"), safe_name("/etc/passwd"), safe_name("a/../../b")
    ('a/b.png', None, None, None)
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name or path.parts[0].endswith(":"):
        return None
    return path.as_posix()


def attach(meta: pl.DataFrame, rows: pl.Series, place: Path, column: str) -> tuple[pl.DataFrame, pl.DataFrame, Album]:
    """The rows of ``meta`` whose image was found, with the image's bytes in ``column``; the rejects; the album.

    The file's name stays in the column ``file``. Raises ``UsageError`` when no column names the files or the archive
    cannot be read to its end.
    """
    names = _names(meta, place)
    wanted = {plain for name in names if name is not None and (plain := safe_name(name)) is not None}
    album = _from_folder(place, wanted) if place.is_dir() else _from_tar(place, wanted)
    images = [album.images.get(safe_name(name) or "") if name is not None else None for name in names]
    reasons = [_reason(album, name) if image is None else None for name, image in zip(names, images, strict=True)]
    told = {safe_name(name) for name in names if name is not None}
    strangers = [f"{show(name)}: {why}" for name, why in album.refused.items() if name not in told]
    found = meta.with_columns(pl.Series("file", names, dtype=pl.String), pl.Series(column, images, dtype=pl.Binary))
    said = pl.DataFrame({"row": rows, "reason": pl.Series(reasons, dtype=pl.String)}).drop_nulls("reason")
    strange = pl.DataFrame({"row": [None] * len(strangers), "reason": strangers}, schema=REJECTS_SCHEMA)
    return found, pl.concat([said.cast(REJECTS_SCHEMA), strange]), album  # type: ignore[arg-type]


def _names(meta: pl.DataFrame, place: Path) -> list[str | None]:
    for column in FILE_COLUMNS:
        if column in meta.columns:
            return meta[column].cast(pl.String).to_list()
    known = ", ".join(FILE_COLUMNS)
    raise UsageError(f"{place.name}: no column of its meta-data names the files; call that column one of: {known}")


def _reason(album: Album, name: str | None) -> str:
    if name is None:
        return "no file is named in this row"
    plain = safe_name(name)
    if plain is None:
        return f"file {show(name)}: the name leads outside the folder or archive"
    return f"file {show(name)}: {album.refused.get(plain, 'there is no such file')}"


def _from_folder(place: Path, wanted: set[str]) -> Album:
    album = Album()
    root = place.resolve()
    for name in sorted(wanted):
        path = root / name
        if not path.resolve().is_relative_to(root):
            album.refused[name] = "a link that leads outside the folder"
        elif path.is_file():
            if path.stat().st_size > IMAGE_BYTES_MAX:
                album.refused[name] = too_large(path.stat().st_size)
            else:
                album.images[name] = path.read_bytes()
    files = sum(1 for path in root.rglob("*") if path.is_file())
    album.unlisted = files - len(album.images)
    return album


def _from_tar(place: Path, wanted: set[str]) -> Album:
    album = Album()
    try:
        with tarfile.open(place, "r:*") as archive:
            for member, name in _members(archive, album, wanted):
                album.images[name] = member_bytes(archive, member)
    except ARCHIVE_FAULTS as error:
        raise UsageError(f"{place.name}: the archive cannot be read to its end ({error}); pack it again") from error
    return album


def _members(archive: tarfile.TarFile, album: Album, wanted: set[str]) -> Iterator[tuple[tarfile.TarInfo, str]]:
    """The members asked for; a row may leave out the archive's top folder."""
    for member in archive:
        if member.isdir():
            continue
        plain = safe_name(member.name)
        name = _asked_for(plain, wanted)
        why = refusal(member, plain, twice=name in album.images)
        if why is not None:
            album.refused[name or plain or member.name] = why
        elif name is None:
            album.unlisted += 1
        else:
            yield member, name


def _asked_for(plain: str | None, wanted: set[str]) -> str | None:
    if plain is None or plain in wanted:
        return plain
    below = plain.partition("/")[2]
    return below if below in wanted else None


def member_bytes(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """The content of a file in an archive; raises ``EOFError`` where the archive ends before it does."""
    stream = archive.extractfile(member)
    data = stream.read() if stream is not None else b""
    if len(data) != member.size:
        raise EOFError(f"{member.name} is cut short")
    return data


def refusal(member: tarfile.TarInfo, plain: str | None, *, twice: bool = False) -> str | None:
    """Why a member is not read; ``plain`` is its ``safe_name``, ``twice`` says that one of its name was read before."""
    if plain is None:
        return "the name leads outside the archive"
    if not member.isreg():
        return "a link or device, not a file"
    if twice:
        return "the archive has this name twice; the first was taken"
    return too_large(member.size) if member.size > IMAGE_BYTES_MAX else None


def too_large(size: int) -> str:
    """Why a file of this size is not read."""
    return f"expected an image of at most {IMAGE_BYTES_MAX} bytes, found {size} bytes"
