"""Feedback from a file: labels and other events that come from elsewhere, in bulk and late.

A file has a row for each event with the columns of the gateway's call: ``id``, ``kind``, ``value``, ``time`` and
``event``; a row means exactly what it would mean over HTTP, and a bad one fails alone. So the corrected file may be
imported again as a whole: the same event counts once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from andon.core.record import Feedback
from andon.data.source import read
from andon.deploy.gateway_decisions import parse_feedback_row
from andon.errors import ContractError, UsageError
from andon.store.codec import encode_feedback
from andon.store.frame import FrameKind
from andon.store.outbox import PEOPLE
from andon.store.shared import SharedWriter

if TYPE_CHECKING:
    from andon.store.workspace import Workspace

__all__ = ["COLUMNS", "FeedbackFile", "read_feedback", "record_feedback"]

#: What a file may say of each event.
COLUMNS = ("id", "kind", "value", "time", "event")
#: Rows in one frame of the stream.
BATCH = 5000


@dataclass(frozen=True)
class FeedbackFile:
    """What a file holds: the good rows, and (row number, reason) of the others."""

    rows: tuple[Feedback, ...]
    rejects: tuple[tuple[int, str], ...]


def read_feedback(
    path: Path, classes: Sequence[str], *, kind: str | None = None, columns: Mapping[str, str] | None = None
) -> FeedbackFile:
    """Read a CSV, Parquet or JSON lines file; nothing is recorded.

    ``kind`` is that of rows which do not name one. ``columns`` says what the file calls a column (``{"value":
    "result"}``). Raises ``NotFound`` or ``UsageError`` when the file cannot be read or has no ``id``.
    """
    source = read(path)
    named = {name: (columns or {}).get(name, name) for name in COLUMNS}
    if missing := [
        theirs for name, theirs in named.items() if theirs not in source.frame.columns and _needed(name, theirs, kind)
    ]:
        raise UsageError(
            f"{path.name}: there is no column {missing[0]!r}, only {', '.join(source.frame.columns)}",
            hint="say what the file calls it with --column, as in --column id=case, and the kind with --kind",
        )
    good: list[Feedback] = []
    bad = [(int(row["row"]), str(row["reason"])) for row in source.rejects.iter_rows(named=True)]
    for number, row in zip(source.rows.to_list(), source.frame.iter_rows(named=True), strict=True):
        try:
            good.append(parse_feedback_row(_wire(row, named, kind, classes), classes))
        except ContractError as error:
            bad.append((int(number), error.message))
    return FeedbackFile(tuple(good), tuple(sorted(bad)))


def record_feedback(workspace: Workspace, rows: Sequence[Feedback]) -> int:
    """Write the rows durably to the people stream, in order; returns how many. Rows without a time happened now."""
    writer, now = SharedWriter(workspace.wal_dir, PEOPLE), workspace.clock.now()
    for start in range(0, len(rows), BATCH):
        part = rows[start : start + BATCH]
        writer.append(FrameKind.FEEDBACK, encode_feedback(part), count=len(part), time_us=now)
    return len(rows)


def _needed(name: str, theirs: str, kind: str | None) -> bool:
    """An id always; a kind unless it was given; anything that the caller gave another name."""
    return name == "id" or (name == "kind" and kind is None) or theirs != name


def _wire(row: Mapping[str, Any], named: Mapping[str, str], kind: str | None, classes: Sequence[str]) -> dict[str, Any]:
    """The row as it would come over HTTP: ids are text, whatever type the file gave them."""
    found = dict(_present(row, named))
    for name in ("id", "kind", "event"):
        if name in found:
            found[name] = str(found[name])
    found.setdefault("kind", kind)
    if found["kind"] == "label" and "value" in found and found["value"] not in classes:
        found["value"] = str(found["value"])
    if hasattr(found.get("time"), "isoformat"):
        found["time"] = found["time"].isoformat()
    return found


def _present(row: Mapping[str, Any], named: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    for name, theirs in named.items():
        if row.get(theirs) is not None:
            yield name, row[theirs]
