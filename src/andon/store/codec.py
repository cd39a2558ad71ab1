"""What the payload of a frame is: batches of decisions in columns, and lists of the other records.

A batch of decisions is one msgpack array: the numeric inputs as one packed block of little-endian float64 (column after
column, missing is NaN), the text inputs as one list per column, then one list per column of ``Decision``. **Evolution
rule**: a column is added at the end and read as its default where an older release did not write it; what a newer
release adds is skipped (``tests/store/golden`` keeps frames of every release).

>>> from andon.core.record import Field
>>> fields = (Field("age", "int"), Field("city", "category"))
>>> batch = DecisionBatch.empty(fields)
>>> batch.append_row([41, "Oslo"], DecisionRow(time_us=5, wall_us=5, decision="refer", status="decided"))
>>> frame = Frame("w0", FrameKind.DECISION, 0, 1, bytes(8), 3, 10, 1, 5, encode_decisions(fields, batch))
>>> decision = row_of(fields, frame, 0)
>>> decision.id, decision.x, decision.decision, decision.sequence
('w0-00000000-a', {'age': 41, 'city': 'Oslo'}, 'refer', 10)
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import msgspec

from andon.core.record import DecidedBy, Decision, Feedback, Field, Level, Prediction, Review, Scalar, Status
from andon.errors import Corrupt, UsageError
from andon.store.frame import Frame, FrameKind, server_id

__all__ = [
    "SHED",
    "DecisionBatch",
    "DecisionRow",
    "Loss",
    "client_ids",
    "decisions_frame",
    "decode_decisions",
    "decode_feedback",
    "decode_losses",
    "decode_predictions",
    "decode_reviews",
    "encode_columns",
    "encode_decisions",
    "encode_feedback",
    "encode_losses",
    "encode_predictions",
    "encode_reviews",
    "is_numeric",
    "row_of",
    "wall_times",
    "wire_of",
]

if TYPE_CHECKING:
    import polars as pl

T = TypeVar("T")
_NAN = float("nan")
_FROM_FLOAT: dict[str, Callable[[float], Scalar]] = {"bool": bool, "int": int, "float": float}


#: What the log calls answers that were given although it could not take them (``logging: {pressure: shed}``).
SHED = "shed: answered, and not recorded"


class Loss(msgspec.Struct, frozen=True, omit_defaults=True):
    """``n`` rows of something were lost, and counted: ``what`` says of what and why.

    Where it is known, from ``since_us`` to ``until_us``; ``total`` counts the same loss from the beginning on.
    """

    what: str
    n: int
    since_us: int = 0
    until_us: int = 0
    total: int = 0


class DecisionRow(msgspec.Struct, gc=False):
    """One request's columns but x, in the order of ``DecisionBatch``; ``id`` None means "the server's id"."""

    id: str | None = None
    time_us: int = 0
    wall_us: int = 0
    epoch: int = 0
    status: Status = "pending"
    decision: str | None = None
    decided_by: DecidedBy = "nobody"
    level: Level = "human"
    slice: str = "*"
    unit: str = ""
    sticky: bool = True
    version: str | None = None
    arm: Literal["live", "candidate", "none"] = "none"
    probability: float = 1.0
    confidence: float | None = None
    scores: Sequence[float] | None = None
    suggestion: str | None = None
    human: str | None = None
    audit: float = 0.0
    latency_us: int = 0
    tags: dict[str, str] = {}
    error: str | None = None


class DecisionBatch(msgspec.Struct):
    """A batch in columns: ``x`` is one list per Field, every other attribute one list in the order of the rows.

    Fill it row by row (``append_row``) or column by column; all columns must have the same length when it is encoded.
    """

    x: list[list[Scalar]]
    id: list[str | None] = []
    time_us: list[int] = []
    wall_us: list[int] = []
    epoch: list[int] = []
    status: list[Status] = []
    decision: list[str | None] = []
    decided_by: list[DecidedBy] = []
    level: list[Level] = []
    slice: list[str] = []
    unit: list[str] = []
    sticky: list[bool] = []
    version: list[str | None] = []
    arm: list[Literal["live", "candidate", "none"]] = []
    probability: list[float] = []
    confidence: list[float | None] = []
    scores: list[Sequence[float] | None] = []
    suggestion: list[str | None] = []
    human: list[str | None] = []
    audit: list[float] = []
    latency_us: list[int] = []
    tags: list[dict[str, str]] = []
    error: list[str | None] = []

    @classmethod
    def empty(cls, fields: Sequence[Field]) -> DecisionBatch:
        """A batch without rows."""
        return cls([[] for _ in fields])

    def __len__(self) -> int:
        return len(self.time_us)

    def append_row(self, values: Sequence[Scalar], row: DecisionRow) -> None:
        """Add a row: its inputs in the order of the fields, and its other columns."""
        for column, value in zip(self.x, values, strict=True):
            column.append(value)
        for cells, cell in zip(msgspec.structs.astuple(self)[1:], msgspec.structs.astuple(row), strict=True):
            cells.append(cell)


class Wire(msgspec.Struct, array_like=True, gc=False):
    """The payload of a decision frame as it is read: columns an older release did not write are empty lists."""

    count: int
    numbers: bytes
    texts: list[list[str | None]]
    id: list[str | None] = []
    time_us: list[int] = []
    wall_us: list[int] = []
    epoch: list[int] = []
    status: list[str] = []
    decision: list[str | None] = []
    decided_by: list[str] = []
    level: list[str] = []
    slice: list[str] = []
    unit: list[str] = []
    sticky: list[bool] = []
    version: list[str | None] = []
    arm: list[str] = []
    probability: list[float] = []
    confidence: list[float | None] = []
    scores: list[list[float] | None] = []
    suggestion: list[str | None] = []
    human: list[str | None] = []
    audit: list[float] = []
    latency_us: list[int] = []
    tags: list[dict[str, str]] = []
    error: list[str | None] = []


class _Ids(msgspec.Struct, array_like=True, gc=False):
    """The beginning of ``Wire``, as far as the ids and the times."""

    count: int
    numbers: msgspec.Raw
    texts: msgspec.Raw
    id: list[str | None] = []
    time_us: list[int] = []
    wall_us: list[int] = []


_encode = msgspec.msgpack.Encoder().encode
_decode_ids = msgspec.msgpack.Decoder(_Ids).decode
_decode = msgspec.msgpack.Decoder(Wire).decode
_COLUMNS = DecisionRow.__struct_fields__
_DEFAULTS = msgspec.structs.astuple(DecisionRow())


@lru_cache(maxsize=512)
def _doubles(n: int) -> struct.Struct:
    return struct.Struct(f"<{n}d")


Parts = tuple[tuple[int, ...], tuple[int, ...]]
_PARTS: dict[int, tuple[tuple[Field, ...], Parts]] = {}


def _parts(fields: Sequence[Field]) -> Parts:
    """Positions of the numeric and of the text fields; kept by identity, since hashing many categories takes long."""
    kept = _PARTS.get(id(fields))
    if kept is not None and kept[0] is fields:
        return kept[1]
    numeric = tuple(i for i, field in enumerate(fields) if is_numeric(field))
    parts = numeric, tuple(i for i, field in enumerate(fields) if not is_numeric(field))
    if isinstance(fields, tuple):
        if len(_PARTS) >= 64:
            _PARTS.clear()
        _PARTS[id(fields)] = fields, parts
    return parts


def is_numeric(field: Field) -> bool:
    """Whether a field travels in the packed block (bool, int, float) or as text (category, text, image)."""
    return field.kind in _FROM_FLOAT


def encode_decisions(fields: Sequence[Field], batch: DecisionBatch) -> bytes:
    """The payload of a DECISION frame; ``count`` of the frame is ``len(batch)``. Raises ``UsageError``."""
    numeric, textual = _parts(fields)
    x = batch.x
    flat: list[Any] = []
    for i in numeric:
        flat += x[i]
    if None in flat:
        flat = [_NAN if value is None else value for value in flat]
    columns = msgspec.structs.astuple(batch)
    rows = len(batch.time_us)
    if len(flat) != rows * len(numeric) or set(map(len, columns[1:])) != {rows}:
        raise UsageError(f"a batch of decisions: expected every column to hold {rows} rows; fill all of them")
    try:
        numbers = _doubles(len(flat)).pack(*flat)
    except (struct.error, OverflowError) as error:
        raise UsageError(f"a batch of decisions: expected numbers in the numeric inputs; {error}") from error
    return _encode((rows, numbers, [x[i] for i in textual], *columns[1:]))


def encode_columns(rows: int, numbers: bytes, texts: Sequence[Sequence[str | None]], columns: Sequence[Any]) -> bytes:
    """The payload of a DECISION frame from columns that are packed already, each of ``rows`` rows.

    ``numbers`` are the numeric inputs, column after column, as little-endian float64; ``columns`` are those of
    ``DecisionBatch`` after ``x``, in its order.
    """
    return _encode((rows, numbers, texts, *columns))


def wire_of(fields: Sequence[Field], frame: Frame) -> Wire:
    """The decoded columns of a DECISION frame. Raises ``Corrupt`` when they do not fit its header or the fields."""
    wire: Wire = _decoded(frame, FrameKind.DECISION, _decode)
    numeric, textual = _parts(fields)
    fits = wire.count == frame.count and len(wire.numbers) == 8 * len(numeric) * wire.count
    lengths = {len(column) for column in msgspec.structs.astuple(wire)[3:]} - {0}
    fits = fits and len(wire.texts) == len(textual) and lengths <= {wire.count}
    if not fits or any(len(column) != wire.count for column in wire.texts):
        raise Corrupt(
            f"the stream {frame.stream} at offset {frame.offset}: expected {frame.count} rows of {len(fields)} inputs,"
            f" found others; read it with the contract {frame.contract.hex()}"
        )
    return wire


def client_ids(frame: Frame) -> list[str | None]:
    """The ids that clients gave the rows of a DECISION frame, without its other columns. Raises ``Corrupt``."""
    return _beginning(frame).id


def wall_times(frame: Frame) -> list[int]:
    """The machine's times of the rows of a DECISION frame, without its other columns. Raises ``Corrupt``."""
    return _beginning(frame).wall_us


def _beginning(frame: Frame) -> _Ids:
    found: _Ids = _decoded(frame, FrameKind.DECISION, _decode_ids)
    if found.count != frame.count or len(found.id) not in (0, found.count):
        raise Corrupt(f"the stream {frame.stream} at offset {frame.offset}: expected {frame.count} rows, found others")
    return found


def _decoded(frame: Frame, kind: FrameKind, decode: Callable[[bytes], T]) -> T:
    where = f"the stream {frame.stream} at offset {frame.offset}"
    if frame.kind != kind:
        raise UsageError(f"{where}: expected a {kind.name} frame, found {frame.kind.name}")
    try:
        return decode(frame.payload)
    except msgspec.DecodeError as error:
        raise Corrupt(f"{where}: the payload cannot be read ({error}); was it written by another program?") from error


def _inputs(fields: Sequence[Field], wire: Wire, rows: range) -> list[dict[str, Scalar]]:
    """The x of some rows."""
    numbers = _doubles(len(wire.numbers) // 8).unpack(wire.numbers)
    columns: list[list[Scalar]] = []
    numeric = text = 0
    for field in fields:
        if is_numeric(field):
            convert, base = _FROM_FLOAT[field.kind], numeric * wire.count
            cells = [numbers[base + i] for i in rows]
            columns.append([None if value != value else convert(value) for value in cells])
            numeric += 1
        else:
            columns.append([wire.texts[text][i] for i in rows])
            text += 1
    names = [field.name for field in fields]
    return [
        dict(zip(names, values, strict=True))
        for values in (zip(*columns, strict=True) if columns else ((),) * len(rows))
    ]


def _decisions(fields: Sequence[Field], frame: Frame, rows: range) -> list[Decision]:
    wire = wire_of(fields, frame)
    inputs = _inputs(fields, wire, rows)
    columns = [getattr(wire, name) or [default] * wire.count for name, default in zip(_COLUMNS, _DEFAULTS, strict=True)]
    decisions = []
    for i, x in zip(rows, inputs, strict=True):
        values: dict[str, Any] = {name: column[i] for name, column in zip(_COLUMNS, columns, strict=True)}
        sequence = frame.first + i
        values["id"] = values["id"] or server_id(frame.stream, frame.generation, sequence)
        scores = values["scores"]
        values["scores"] = None if scores is None else tuple(scores)
        decisions.append(Decision(**values, x=x, stream=frame.stream, sequence=sequence))
    return decisions


def decode_decisions(fields: Sequence[Field], frame: Frame) -> list[Decision]:
    """The decisions of a frame; rows without a client's id get the server's. Raises ``Corrupt``."""
    return _decisions(fields, frame, range(frame.count))


def row_of(fields: Sequence[Field], frame: Frame, index: int) -> Decision:
    """One decision of a frame, by its position from 0. Raises ``UsageError`` when there is none."""
    if not 0 <= index < frame.count:
        raise UsageError(f"row {index} of a frame: expected 0 to {frame.count - 1}")
    return _decisions(fields, frame, range(index, index + 1))[0]


_feedback = msgspec.msgpack.Decoder(list[Feedback]).decode
_reviews = msgspec.msgpack.Decoder(list[Review]).decode
_predictions = msgspec.msgpack.Decoder(list[Prediction]).decode
_losses = msgspec.msgpack.Decoder(list[Loss]).decode


def encode_feedback(feedback: Sequence[Feedback]) -> bytes:
    """The payload of a FEEDBACK frame."""
    return _encode(list(feedback))


def decode_feedback(frame: Frame) -> list[Feedback]:
    """The feedback of a frame; where ``time_us`` is None, the frame's is when it was received. Raises ``Corrupt``."""
    return _decoded(frame, FrameKind.FEEDBACK, _feedback)


def encode_reviews(reviews: Sequence[Review]) -> bytes:
    """The payload of a REVIEW frame."""
    return _encode(list(reviews))


def decode_reviews(frame: Frame) -> list[Review]:
    """The reviews of a frame. Raises ``Corrupt``."""
    return _decoded(frame, FrameKind.REVIEW, _reviews)


def encode_predictions(predictions: Sequence[Prediction]) -> bytes:
    """The payload of a SHADOW frame: what releases said that nobody was answered with."""
    return _encode(list(predictions))


def decode_predictions(frame: Frame) -> list[Prediction]:
    """The predictions of a frame. Raises ``Corrupt``."""
    return _decoded(frame, FrameKind.SHADOW, _predictions)


def encode_losses(losses: Sequence[Loss]) -> bytes:
    """The payload of a LOSS frame."""
    return _encode(list(losses))


def decode_losses(frame: Frame) -> list[Loss]:
    """The losses of a frame. Raises ``Corrupt``."""
    return _decoded(frame, FrameKind.LOSS, _losses)


def decisions_frame(fields: Sequence[Field], frames: Sequence[Frame], prefix: str = "x.") -> pl.DataFrame:
    """The rows of DECISION frames as a polars frame; see ``andon.store.codecframe``, which is imported on first use."""
    from andon.store.codecframe import decisions_frame as build

    return build(fields, frames, prefix)
