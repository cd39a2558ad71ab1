"""The columns of the decision log's tables, and how frames of the write-ahead log become rows of them.

Tables are partitioned by day: a decision's own, and for the rest the day on which it was written, so that a client's odd
time makes no partition. Every schema is written out: a batch whose column happens to be all null is typed like any other. A decision's table has
the system columns of `andon.core.record.Decision` and one typed column for each input of its contract. An input's
column is called ``x_`` and its name, so that it can never meet a system column; characters that Delta refuses in names
are written as ``%`` and two hex digits.

>>> stored_names((Field("cough", "bool"), Field("number of rooms", "int"), Field("Cough", "bool")))
{'cough': 'x_cough', 'number of rooms': 'x_number%20of%20rooms', 'Cough': 'x_Cough%2'}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime
from itertools import chain
from typing import Any

import polars as pl

from andon.core.clock import SECOND
from andon.core.record import Feedback, Field, Review, Scalar
from andon.errors import Corrupt
from andon.store.codec import decode_feedback, decode_losses, decode_predictions, decode_reviews
from andon.store.codecframe import decision_schema as frame_schema
from andon.store.codecframe import decisions_frame
from andon.store.frame import Frame, FrameKind, Gap

__all__ = [
    "DECISIONS",
    "SCHEMAS",
    "SYSTEM",
    "application",
    "day_of",
    "decision_schema",
    "is_decisions",
    "readable_rows",
    "rows_of",
    "stored_names",
    "table_of",
    "text_of",
    "unreadable",
]

DECISIONS = "decisions/"
"""What the names of all tables of decisions begin with; the contract's hash follows."""

SYSTEM = pl.Schema([("day", pl.Date()), *frame_schema(()).items()])
"""The columns that every table of decisions has; ``tags`` is a JSON object."""

_TEXT, _WHOLE, _REAL, _TRUTH = pl.String(), pl.Int64(), pl.Float64(), pl.Boolean()


def _schema(**columns: pl.DataType) -> pl.Schema:
    return pl.Schema([("day", pl.Date()), *columns.items(), ("stream", _TEXT), ("sequence", _WHOLE)])


SCHEMAS: dict[str, pl.Schema] = {
    "feedback": _schema(
        id=_TEXT, kind=_TEXT, value=_TEXT, number=_REAL, time_us=_WHOLE, event=_TEXT, received_us=_WHOLE
    ),
    "reviews": _schema(
        id=_TEXT,
        decision=_TEXT,
        decided_by=_TEXT,
        reviewer=_TEXT,
        time_us=_WHOLE,
        seconds=_REAL,
        saw_suggestion=_TRUTH,
        kind=_TEXT,
        simulated=_TRUTH,
    ),
    "shadow": _schema(
        id=_TEXT,
        version=_TEXT,
        label=_TEXT,
        confidence=_REAL,
        scores=pl.List(_REAL),
        error=_TEXT,
        time_us=_WHOLE,
    ),
    "losses": _schema(what=_TEXT, n=_WHOLE, time_us=_WHOLE),
}
"""The tables that do not depend on a contract. A loss whose size is not known has ``n`` null."""

_TABLES = {
    FrameKind.FEEDBACK: "feedback",
    FrameKind.REVIEW: "reviews",
    FrameKind.SHADOW: "shadow",
    FrameKind.LOSS: "losses",
}
_Row = tuple[Any, ...]
_REFUSED = re.compile(r"[\x00-\x20,;{}()=%]")


def is_decisions(table: str) -> bool:
    """Whether this is a table of decisions."""
    return table.startswith(DECISIONS)


def table_of(frame: Frame | Gap) -> str:
    """The table that a frame's rows belong to; a gap is a loss."""
    if isinstance(frame, Gap):
        return "losses"
    return _TABLES.get(frame.kind) or DECISIONS + frame.contract.hex()


def application(stream: str, damaged: str | None = None) -> str:
    """The name under which shipments of a stream are counted in Delta; ``damaged``: of what was unreadable for a table.

    >>> application("w0"), application("w0", "feedback")
    ('andon/w0', 'andon/w0/unreadable/feedback')
    """
    return f"andon/{stream}" if damaged is None else f"andon/{stream}/unreadable/{damaged}"


def unreadable(table: str, error: Exception) -> Corrupt:
    """What to raise where the rows of a table cannot be read."""
    return Corrupt(
        f"the decision log's table {table} cannot be read: {str(error).splitlines()[0]}",
        hint="restore the folder log of the workspace from a backup",
    )


def day_of(time_us: int) -> date:
    """The day (UTC) of a time.

    >>> day_of(1_583_884_800_000_000)
    datetime.date(2020, 3, 11)
    """
    return datetime.fromtimestamp(time_us // SECOND, UTC).date()


def stored_names(fields: Iterable[Field]) -> dict[str, str]:
    """From an input's name to its column in the log. Delta does not tell ``A`` from ``a``: the second gets its number."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for number, field in enumerate(fields):
        name = "x_" + _REFUSED.sub(lambda match: f"%{ord(match[0]):02x}", field.name)
        if name.casefold() in taken:
            name = f"{name}%{number}"
        taken.add(name.casefold())
        names[field.name] = name
    return names


def decision_schema(fields: Sequence[Field]) -> pl.Schema:
    """The columns of the decisions made under a contract."""
    names = stored_names(fields)
    typed = frame_schema(fields, "")
    return pl.Schema([*SYSTEM.items(), *((names[field.name], typed[field.name]) for field in fields)])


def text_of(value: Scalar) -> str | None:
    """A feedback's value as it is stored and compared: texts as they are, the rest as in JSON.

    >>> text_of(True), text_of(3.0), text_of(3), text_of("yes"), text_of(None)
    ('true', '3', '3', 'yes', None)
    """
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if float(value).is_integer() else repr(value)


def rows_of(table: str, frames: Sequence[Frame | Gap], fields: Sequence[Field] = (), near_us: int = 0) -> pl.DataFrame:
    """The rows of frames that all belong to one table, in order, in the table's schema.

    ``near_us`` is the time that a gap, which has none of its own, is given. Raises ``Corrupt``.
    """
    whole = [frame for frame in frames if isinstance(frame, Frame)]
    if is_decisions(table):
        return _decisions(whole, fields)
    rows: Iterable[_Row] = chain.from_iterable(map(_READ[table], whole))
    if table == "losses":
        gaps = [frame for frame in frames if isinstance(frame, Gap)]
        rows = [*rows, *((day_of(near_us), "gap", gap.rows, near_us, gap.stream, gap.offset) for gap in gaps)]
    return pl.DataFrame(list(rows), schema=SCHEMAS[table], orient="row")


def readable_rows(
    table: str,
    frames: Sequence[Frame | Gap],
    fields: Sequence[Field] = (),
    decode: Callable[..., pl.DataFrame] = rows_of,
) -> pl.DataFrame:
    """The same without an error: a frame whose payload cannot be read is passed over (the shipper counts it as lost)."""
    try:
        return decode(table, frames, fields)
    except (Corrupt, pl.exceptions.PolarsError):
        parts = (_one(table, frame, fields) for frame in frames)
        return pl.concat([rows_of(table, [], fields), *(part for part in parts if part is not None)])


def _one(table: str, frame: Frame | Gap, fields: Sequence[Field]) -> pl.DataFrame | None:
    try:
        return rows_of(table, [frame], fields)
    except (Corrupt, pl.exceptions.PolarsError):
        return None


def _decisions(frames: Sequence[Frame], fields: Sequence[Field]) -> pl.DataFrame:
    rows = decisions_frame(fields, frames, "x.")
    day = pl.from_epoch("time_us", time_unit="us").dt.date().alias("day")
    inputs = [pl.col("x." + name).alias(stored) for name, stored in stored_names(fields).items()]
    return rows.select(day, *(name for name in SYSTEM if name != "day"), *inputs)


def _feedback(frame: Frame) -> Iterable[_Row]:
    day = day_of(frame.time_us)
    for sequence, row in enumerate(decode_feedback(frame), frame.first):
        time_us = frame.time_us if row.time_us is None else row.time_us
        yield (
            day,
            row.id,
            row.kind,
            text_of(row.value),
            _number(row),
            time_us,
            row.event,
            frame.time_us,
            frame.stream,
            sequence,
        )


def _number(row: Feedback) -> float | None:
    return float(row.value) if isinstance(row.value, int | float) else None


def _reviews(frame: Frame) -> Iterable[_Row]:
    day = day_of(frame.time_us)
    for sequence, row in enumerate(decode_reviews(frame), frame.first):
        yield _review(day, row, frame.stream, sequence)


def _review(day: date, row: Review, stream: str, sequence: int) -> _Row:
    return (
        day,
        row.id,
        row.decision,
        row.decided_by,
        row.reviewer,
        row.time_us,
        row.seconds,
        row.saw_suggestion,
        row.kind,
        row.simulated,
        stream,
        sequence,
    )


def _shadow(frame: Frame) -> Iterable[_Row]:
    day = day_of(frame.time_us)
    for sequence, row in enumerate(decode_predictions(frame), frame.first):
        scores = None if row.scores is None else list(row.scores)
        said = (row.id, row.version, row.label, row.confidence, scores, row.error)
        yield day, *said, row.time_us or frame.time_us, frame.stream, sequence


def _losses(frame: Frame) -> Iterable[_Row]:
    for sequence, row in enumerate(decode_losses(frame), frame.first):
        yield day_of(frame.time_us), row.what, row.n, frame.time_us, frame.stream, sequence


_READ: dict[str, Callable[[Frame], Iterable[_Row]]] = {
    "feedback": _feedback,
    "reviews": _reviews,
    "shadow": _shadow,
    "losses": _losses,
}
