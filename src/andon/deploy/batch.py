"""Predicting whole files: the bundle, contract and cleaning of the gateway, in constant memory, resumable.

Rows are read in chunks, held against the contract, put to the model, and written in parts; killed at any moment, the same
call goes on behind the last whole part. Every row is in the output or among the rejects, once.

Decisions are not written to the decision log: nobody was decided about yet. What the route's level would do with each
answer stands beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import polars as pl

from andon.data.album import FILE_COLUMNS, is_pictures
from andon.data.stream import Mark, Stream, open_stream
from andon.deploy.batch_answer import Answerer, schema
from andon.deploy.batch_check import Checker, Reject
from andon.deploy.batch_model import Answering, choose
from andon.deploy.batch_progress import SUFFIXES, Disk, Note, Progress, Tally, Task, file_hash
from andon.errors import Unavailable, UsageError

if TYPE_CHECKING:
    from andon.deploy.settings import GatewayConfig
    from andon.store.workspace import Workspace

__all__ = ["BATCH_ROWS", "Source", "Summary", "Wish", "predict"]

#: Rows that are put to the model at once.
BATCH_ROWS = 16_384
_PART_ROWS = 262_144
_PART_SECONDS = 5.0
_REJECTS = {"file": pl.String, "row": pl.Int64, "id": pl.String, "field": pl.String, "reason": pl.String, "came": pl.String}  # fmt: skip

#: Told now and then: the counts, and the share of the input that is done.
Told = Callable[[Tally, float], None]


class Wish(msgspec.Struct, frozen=True):
    """What is asked for. Without ``out`` the answers go beside the first file; ``release`` None is the live one."""

    files: tuple[Path, ...]
    out: Path | None = None
    rejects: Path | None = None
    release: str | None = None
    id: str | None = None
    ignore: tuple[str, ...] = ()
    batch_rows: int = BATCH_ROWS
    fresh: bool = False

    @property
    def target(self) -> Path:
        """Where the answers go."""
        first = self.files[0]
        stem = Path(first.stem).stem if ".tar" in first.suffixes else first.stem
        return self.out or first.with_name(f"{stem}.predictions.parquet")

    @property
    def aside(self) -> Path:
        """Where the rejects go."""
        return self.rejects or self.target.with_name(f"{self.target.stem}.rejects.jsonl")


class Summary(msgspec.Struct, frozen=True):
    """What was done. ``resumed`` is the number of rows that an earlier call had done; hashes are BLAKE2b-256.

    ``rows_per_second`` counts the rows of this call; ``seconds`` are those of all calls together.
    """

    out: str
    rejects: str
    version: str
    bundle: str
    contract: str
    epoch: int
    read: int
    predicted: int
    rejected: int
    unanswered: int
    predictions: dict[str, int]
    decided_by: dict[str, int]
    seconds: float
    rows_per_second: float
    resumed: int
    output_hash: str
    rejects_hash: str
    files: list[dict[str, str | int]]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Source:
    """One input: its name as given and its stream."""

    name: str
    path: Path
    meta: Path | None
    stream: Stream


def predict(
    workspace: Workspace, config: GatewayConfig, wish: Wish, *, told: Told | None = None, disk: Disk | None = None
) -> Summary:
    """Predict the files of a wish; called again after a kill it goes on where it was.

    Raises ``UsageError``, ``NotFound`` or ``ContractError`` before anything is written, ``Conflict`` when what was begun
    was another task, ``Corrupt`` when an input breaks off, and ``Unavailable`` when the disk is full or the model is
    on a server that does not answer; what was written until then stays, and the same call goes on.
    """
    _sensible(wish)
    model = choose(workspace, config, wish.release)
    checker = Checker(model.served.contract, redact=config.redact, id=wish.id, ignored=wish.ignore)
    sources = _sources(wish, model)
    for source in sources:
        checker.expect(_columns(source, wish, model.served.contract.names), source.name)
    progress = Progress(wish.target, wish.aside, disk or Disk())
    answerer = Answerer(model, hidden=bool(config.redact))
    try:
        note = progress.begin(_task(wish, config, model, sources), fresh=wish.fresh)
        run = _Run(wish, model, checker, sources, progress, note, told or (lambda tally, share: None))
        begun, resumed = time.monotonic(), note.tally.read
        if note.hashes is None:
            run.work(answerer)
        progress.finish(note)
    finally:
        answerer.close()
        progress.close()
    return _summary(wish, model, note, resumed, time.monotonic() - begun)


def _sensible(wish: Wish) -> None:
    for path in (wish.target, wish.aside):
        if path.suffix not in SUFFIXES:
            raise UsageError(f"{path.name}: expected one of {', '.join(SUFFIXES)}, found {path.suffix!r}")
        if path.is_dir():
            raise UsageError(f"{path}: expected a file to write, found a folder")
    if wish.target.absolute() == wish.aside.absolute():
        raise UsageError(f"{wish.target}: answers and rejects need two files")
    taken = [path.resolve() for path in wish.files]
    for path, one in zip(wish.files, taken, strict=True):
        if taken.count(one) > 1:
            raise UsageError(f"{path}: the file is named twice")
    for path in (wish.target, wish.aside):
        if any(path.resolve().is_relative_to(one) for one in taken):
            raise UsageError(f"{path}: it is among what is to be predicted; choose another name for what is written")
    if wish.batch_rows < 1:
        raise UsageError(f"--batch-rows: expected at least 1, found {wish.batch_rows}")


def _sources(wish: Wish, model: Answering) -> list[Source]:
    """The inputs in order; a folder or archive of images takes the file behind it, which names them."""
    image = next((one.name for one in model.served.contract.fields if one.kind == "image"), None)
    files, found = list(wish.files), []
    while files:
        path, meta = files.pop(0), None
        if is_pictures(path) and path.exists():
            if image is None:
                raise UsageError(f"{path.name}: expected a file of rows, found images; the contract has none")
            meta = files.pop(0) if files and not is_pictures(files[0]) else None
        found.append(Source(str(path), path, meta, open_stream(path, meta=meta, image=image or "image")))
    return found


def _columns(source: Source, wish: Wish, inputs: tuple[str, ...]) -> tuple[str, ...] | None:
    """What a file's columns are, those left out by which images are named."""
    columns = source.stream.columns
    if columns is None or not is_pictures(source.path):
        return columns
    return tuple(name for name in columns if name not in FILE_COLUMNS or name in (*inputs, wish.id))


def _task(wish: Wish, config: GatewayConfig, model: Answering, sources: list[Source]) -> Task:
    options = {
        "--out": str(wish.target.absolute()),
        "--rejects": str(wish.aside.absolute()),
        "--id": wish.id,
        "--ignore": sorted(wish.ignore),
        "--batch-rows": wish.batch_rows,
        "privacy.redact": sorted(config.redact),
    }
    paths = [path for one in sources for path in (one.path, one.meta) if path is not None]
    return Task(tuple(_identity(path) for path in paths), model.bundle, model.version, model.terms, options)


def _identity(path: Path) -> tuple[str, int, str]:
    """A file's name, size and hash; of a folder the names, sizes and times of what is in it."""
    if not path.is_dir():
        return str(path), path.stat().st_size, file_hash(path)
    total, size = blake2b(digest_size=32), 0
    for inner in sorted(path.rglob("*")):
        status = inner.lstat()
        size += status.st_size if inner.is_file() else 0
        total.update(f"{inner.relative_to(path)}\0{status.st_size}\0{status.st_mtime_ns}\0".encode("utf-8", "replace"))
    return str(path), size, total.hexdigest()


class _Run:
    """The loop: chunk by chunk, part by part."""

    def __init__(
        self,
        wish: Wish,
        model: Answering,
        checker: Checker,
        sources: list[Source],
        progress: Progress,
        note: Note,
        told: Told,
    ) -> None:
        self._wish, self._checker, self._sources = wish, checker, sources
        self._progress, self._note, self._told = progress, note, told
        self._schema = schema(model.served.classes, ids=wish.id is not None)
        self._answers: list[pl.DataFrame] = []
        self._rejects: list[pl.DataFrame] = []
        self._since = time.monotonic()
        self._rows = 0

    def work(self, answerer: Answerer) -> None:
        """Everything behind the note's mark."""
        for number in range(self._note.file, len(self._sources)):
            source = self._sources[number]
            for chunk in source.stream.chunks(self._mark(number), self._wish.batch_rows):
                checked = self._checker.check(chunk)
                try:
                    answers, faults = answerer.answer(checked, source.name)
                except Unavailable:  # an outage: what was answered before it is kept
                    if self._rows:
                        self._save()
                    raise
                self._take(answers, [*checked.rejects, *faults], source.name)
                self._note.mark = chunk.after
                self._tell(number)
                if self._rows >= _PART_ROWS or time.monotonic() - self._since >= _PART_SECONDS:
                    self._save()
            self._note.file, self._note.mark = number + 1, Mark()
        if self._rows or not self._note.parts:
            self._save()

    def _mark(self, number: int) -> Mark:
        return self._note.mark if number == self._note.file else Mark()

    def _take(self, answers: pl.DataFrame, faults: list[Reject], name: str) -> None:
        """Count, and keep for the next part."""
        tally = self._note.tally
        tally.read += answers.height + len(faults)
        tally.predicted += answers.height
        tally.rejected += len(faults)
        tally.unanswered += answers["prediction"].null_count()
        for column, counts in (("prediction", tally.predictions), ("decided_by", tally.decided_by)):
            for value, n in answers[column].drop_nulls().value_counts().iter_rows():
                counts[value] = counts.get(value, 0) + n
        rows = [(name, *msgspec.structs.astuple(one)) for one in sorted(faults, key=lambda one: one.row)]
        self._answers.append(answers)
        self._rejects.append(pl.DataFrame(rows, schema=_REJECTS, orient="row"))
        self._rows += answers.height + len(faults)

    def _save(self) -> None:
        now = time.monotonic()
        self._note.tally.seconds += now - self._since
        answers = pl.concat([pl.DataFrame(schema=self._schema), *self._answers])
        rejects = pl.concat([pl.DataFrame(schema=_REJECTS), *self._rejects])
        self._progress.add(self._note, answers, rejects)
        self._answers, self._rejects, self._rows, self._since = [], [], 0, now

    def _tell(self, number: int) -> None:
        stream, offset = self._sources[number].stream, self._note.mark.offset
        share = (number + offset / max(1, stream.total)) / len(self._sources)
        self._told(self._note.tally, min(1.0, share))


def _summary(wish: Wish, model: Answering, note: Note, resumed: int, seconds: float) -> Summary:
    tally = note.tally
    assert note.hashes is not None
    return Summary(
        out=str(wish.target),
        rejects=str(wish.aside),
        version=model.version,
        bundle=model.bundle,
        contract=model.served.contract.hash,
        epoch=model.route.epoch,
        read=tally.read,
        predicted=tally.predicted,
        rejected=tally.rejected,
        unanswered=tally.unanswered,
        predictions=dict(sorted(tally.predictions.items())),
        decided_by=dict(sorted(tally.decided_by.items())),
        seconds=round(tally.seconds, 3),
        rows_per_second=round((tally.read - resumed) / max(seconds, 1e-9), 1),
        resumed=resumed,
        output_hash=note.hashes[0],
        rejects_hash=note.hashes[1],
        files=[{"path": path, "bytes": size, "hash": hash} for path, size, hash in note.task.files],
        notes=model.notes,
    )
