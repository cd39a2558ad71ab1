"""How far a batch has come, on disk: parts of output, and a note that says which of them count.

The folder ``.NAME.progress`` beside the output holds the parts and the note. A part is written whole, then the note is
replaced; so after a kill at any moment the note says exactly which rows are answered, and what it does not name is thrown
away. In the end the parts become the output under their own name, and the note stays as the receipt.
"""

from __future__ import annotations

import io
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any, cast

import msgspec
import polars as pl

from andon.data.stream import Mark
from andon.errors import Conflict, Corrupt
from andon.store.files import sync_directory, try_lock, unavailable

__all__ = ["SUFFIXES", "Disk", "Note", "Progress", "Tally", "Task", "file_hash"]

#: What an output file may be called.
SUFFIXES = (".parquet", ".csv", ".jsonl", ".ndjson")
_GROUP = 131_072
_NOTE = "note.json"
_FRESH = "`--fresh` begins anew"


class Task(msgspec.Struct, frozen=True):
    """What makes two batches the same: the files by name, size and hash, the bundle, the route's terms, the options."""

    files: tuple[tuple[str, int, str], ...]
    bundle: str
    version: str
    terms: str
    options: dict[str, Any]


class Tally(msgspec.Struct):
    """The counts: ``read`` is always ``predicted`` + ``rejected``. ``unanswered`` rows are predicted, with no answer."""

    read: int = 0
    predicted: int = 0
    rejected: int = 0
    unanswered: int = 0
    predictions: dict[str, int] = {}
    decided_by: dict[str, int] = {}
    seconds: float = 0.0


class Note(msgspec.Struct):
    """What is done: so many parts, up to ``mark`` in the file numbered ``file``; the hashes once all is (out, rejects)."""

    task: Task
    parts: int = 0
    file: int = 0
    mark: Mark = Mark()
    tally: Tally = msgspec.field(default_factory=Tally)
    hashes: tuple[str, str] | None = None
    placed: bool = False


@dataclass(frozen=True)
class Disk:
    """How files are written. ``at`` is told of every step, by name; ``write`` is the system's, or one that fails."""

    write: Callable[[int, Any], int] = os.write
    at: Callable[[str], None] = lambda step: None

    def save(self, path: Path, data: bytes) -> None:
        """Write a file whole or not at all. Raises ``Unavailable``."""
        with self.stream(path) as file:
            file.write(data)

    @contextmanager
    def stream(self, path: Path) -> Iterator[_File]:
        """A file that is under its name once the block has ended well. Raises ``Unavailable``."""
        aside = path.with_name(f"{path.name}.writing")
        try:
            fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            file = _File(fd, self.write)
            try:
                yield file
                if file.fault is not None:
                    raise file.fault
                os.fsync(fd)
            finally:
                os.close(fd)
            aside.replace(path)
            sync_directory(path.parent)
        except OSError as error:
            aside.unlink(missing_ok=True)
            raise unavailable(f"{path} could not be written", error) from error


class _File(io.RawIOBase):
    """A file that knows the hash of what was written, and keeps what went wrong for whoever called through polars."""

    def __init__(self, fd: int, write: Callable[[int, Any], int]) -> None:
        self._fd = fd
        self._write = write
        self.hash = blake2b(digest_size=32)
        self.fault: OSError | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data)
        size = len(view)
        self.hash.update(view)
        try:
            while view:
                view = view[self._write(self._fd, view) :]
        except OSError as error:
            self.fault = error
            raise
        return size


class Progress:
    """The folder of one output; held by one process at a time (``Conflict``)."""

    def __init__(self, out: Path, rejects: Path, disk: Disk) -> None:
        self.out, self.rejects, self._disk = out, rejects, disk
        self.folder = out.with_name(f".{out.name}.progress")
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            rejects.parent.mkdir(parents=True, exist_ok=True)
            self.folder.mkdir(exist_ok=True)
            self._lock = try_lock(self.folder / "lock")
        except OSError as error:
            raise unavailable(f"{out} could not be written", error) from error
        if self._lock is None:
            raise Conflict(f"{out}: another `andon predict` is writing it; wait for it, or choose another --out")

    def begin(self, task: Task, *, fresh: bool) -> Note:
        """The note to go on from. Raises ``Conflict`` when what is there belongs to another task."""
        note = None if fresh else self._found()
        if note is None:
            taken = next((path for path in (self.out, self.rejects) if path.exists()), None)
            if taken is not None and not fresh:
                raise Conflict(
                    f"{taken} exists already, and not by a batch that could go on; {_FRESH}, or choose another name"
                )
            note = Note(task)
            self._clear(keep=0)
            self._keep(note)
        elif note.task != task:
            raise Conflict(f"{self.out}: {_difference(note.task, task)}; it does not go on; {_FRESH}")
        self._clear(keep=note.parts)
        return note

    def add(self, note: Note, answers: pl.DataFrame, rejects: pl.DataFrame) -> None:
        """Keep one more part; the note already says what it will stand for."""
        self._disk.save(self._part("out", note.parts + 1), _parquet(answers))
        self._disk.at("answers written")
        self._disk.save(self._part("rejects", note.parts + 1), _parquet(rejects))
        self._disk.at("part written")
        note.parts += 1
        self._keep(note)
        self._disk.at("note written")

    def finish(self, note: Note) -> None:
        """Make the parts the output. Done again after a kill it does what is left. Raises ``Corrupt``."""
        made = (self.folder / f"out{self.out.suffix}", self.folder / f"rejects{self.rejects.suffix}")
        if note.hashes is None:
            first = self._merge("out", note.parts, made[0])
            self._disk.at("answers merged")
            second = self._merge("rejects", note.parts, made[1])
            self._disk.at("merged")
            note.hashes = (first, second)
            self._keep(note)
            self._disk.at("sealed")
        if not note.placed:
            for path, target in zip(made, (self.out, self.rejects), strict=True):
                self._place(path, target)
                self._disk.at(f"placed {path.stem}")
            note.placed = True
            self._keep(note)
            self._disk.at("receipt")
        self._check(note.hashes)
        self._clear(keep=0)
        self._disk.at("cleared")

    def close(self) -> None:
        """Let go of the folder."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _found(self) -> Note | None:
        path = self.folder / _NOTE
        try:
            return msgspec.json.decode(path.read_bytes(), type=Note)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise Corrupt(f"{path} cannot be read ({error}); {_FRESH}") from error

    def _keep(self, note: Note) -> None:
        self._disk.save(self.folder / _NOTE, msgspec.json.encode(note))

    def _part(self, what: str, number: int) -> Path:
        return self.folder / f"{what}-{number:08d}.parquet"

    def _clear(self, keep: int) -> None:
        """Remove what no note names: parts beyond ``keep``, and files that were being written."""
        known = {self._part(what, n).name for what in ("out", "rejects") for n in range(1, keep + 1)}
        for path in self.folder.iterdir():
            if path.name.endswith(".writing") or (
                path.suffix == ".parquet" and "-" in path.stem and path.name not in known
            ):
                path.unlink(missing_ok=True)

    def _merge(self, what: str, parts: int, target: Path) -> str:
        frames = pl.scan_parquet([self._part(what, n) for n in range(1, parts + 1)], glob=False)
        with self._disk.stream(target) as file:
            into = cast("IO[bytes]", file)
            try:
                if target.suffix == ".parquet":
                    frames.sink_parquet(into, compression="zstd", row_group_size=_GROUP)
                elif target.suffix == ".csv":
                    frames.sink_csv(into)
                else:
                    frames.sink_ndjson(into)
            except (pl.exceptions.PolarsError, OSError) as error:
                if file.fault is None:
                    raise Corrupt(f"{self.folder}: a part cannot be read ({error}); {_FRESH}") from error
            return file.hash.hexdigest()

    def _place(self, path: Path, target: Path) -> None:
        """Move a file to its name, on another file system too; after a kill it may be there already."""
        if not path.exists():
            return
        try:
            try:
                path.replace(target)
            except OSError:  # --rejects may lie on another file system
                aside = target.with_name(f".{target.name}.placing")
                shutil.copyfile(path, aside)
                aside.replace(target)
                path.unlink()
            sync_directory(target.parent)
        except OSError as error:
            raise unavailable(f"{target} could not be written", error) from error

    def _check(self, hashes: tuple[str, str]) -> None:
        for path, expected in zip((self.out, self.rejects), hashes, strict=True):
            found = file_hash(path) if path.is_file() else "nothing"
            if found != expected:
                raise Conflict(f"{path}: expected what was written, hash {expected[:12]}, found {found[:12]}; {_FRESH}")


def _difference(before: Task, now: Task) -> str:
    """What differs, as the middle of a sentence."""
    if [one[0] for one in before.files] != [one[0] for one in now.files]:
        return f"it was begun with other files ({', '.join(one[0] for one in before.files)})"
    for was, found in zip(before.files, now.files, strict=True):
        if was != found:
            return f"{now.files[0][0] if len(now.files) == 1 else found[0]} has changed since it was begun"
    if (before.version, before.bundle) != (now.version, now.bundle):
        return f"it was begun with {before.version} (bundle {before.bundle[:12]}), now it is {now.version} (bundle {now.bundle[:12]})"
    if before.terms != now.terms:
        return "the route says something else of its answers than when it was begun"
    names = {**before.options, **now.options}
    name = next((name for name in names if before.options.get(name) != now.options.get(name)), "")
    return f"it was begun with {name} {before.options.get(name)}, now it is {now.options.get(name)}"


def file_hash(path: Path) -> str:
    """BLAKE2b-256 of a file, in hex."""
    total = blake2b(digest_size=32)
    with path.open("rb") as file:
        while data := file.read(1 << 20):
            total.update(data)
    return total.hexdigest()


def _parquet(frame: pl.DataFrame) -> bytes:
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="lz4")
    return buffer.getvalue()
