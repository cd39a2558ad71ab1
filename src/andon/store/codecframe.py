"""The fast path from decision frames to a polars frame, for the shipper: columns stay columns, no row object is made.

Inputs are prefixed with ``x.`` so that no input can take the name of a system column.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import polars as pl

from andon.core.record import Field
from andon.store.codec import DecisionRow, Wire, is_numeric, wire_of
from andon.store.frame import Frame, server_id

__all__ = ["X_PREFIX", "decision_schema", "decisions_frame"]

X_PREFIX = "x."

_X_TYPES: dict[str, type[pl.DataType]] = {"bool": pl.Boolean, "int": pl.Int64, "float": pl.Float64}
_TYPES: dict[str, pl.DataType] = {
    "id": pl.String(),
    "time_us": pl.Int64(),
    "wall_us": pl.Int64(),
    "epoch": pl.Int64(),
    "status": pl.String(),
    "decision": pl.String(),
    "decided_by": pl.String(),
    "level": pl.String(),
    "slice": pl.String(),
    "unit": pl.String(),
    "sticky": pl.Boolean(),
    "version": pl.String(),
    "arm": pl.String(),
    "probability": pl.Float64(),
    "confidence": pl.Float64(),
    "scores": pl.List(pl.Float64()),
    "suggestion": pl.String(),
    "human": pl.String(),
    "audit": pl.Float64(),
    "latency_us": pl.Int64(),
    "tags": pl.String(),
    "error": pl.String(),
    "stream": pl.String(),
    "sequence": pl.Int64(),
}
_DEFAULTS = msgspec.structs.asdict(DecisionRow())


def decision_schema(fields: Sequence[Field], prefix: str = X_PREFIX) -> pl.Schema:
    """The columns and types of ``decisions_frame``: system columns, then one typed column per input.

    >>> decision_schema((Field("age", "int"),))["x.age"]
    Int64
    """
    inputs = {prefix + field.name: _X_TYPES.get(field.kind, pl.String)() for field in fields}
    return pl.Schema({**_TYPES, **inputs})


def decisions_frame(fields: Sequence[Field], frames: Sequence[Frame], prefix: str = X_PREFIX) -> pl.DataFrame:
    """The rows of DECISION frames of one contract, in their order; ``tags`` is JSON text. Raises ``Corrupt``.

    >>> decisions_frame((Field("age", "int"),), []).height
    0
    """
    wires = [wire_of(fields, frame) for frame in frames]
    schema = decision_schema(fields, prefix)
    columns: dict[str, Any] = {name: _column(name, wires) for name in DecisionRow.__struct_fields__}
    columns["id"] = _ids(columns["id"], frames)
    columns["tags"] = [_json(tags) for tags in columns["tags"]]
    columns["stream"] = [frame.stream for frame in frames for _ in range(frame.count)]
    columns["sequence"] = [frame.first + i for frame in frames for i in range(frame.count)]
    scores = _scores(columns["scores"])
    series = [
        scores if name == "scores" else pl.Series(name, columns[name], dtype=dtype, strict=False)
        for name, dtype in _TYPES.items()
    ]
    return pl.DataFrame([*series, *_inputs(fields, wires, prefix, schema)])


def _scores(cells: Sequence[Sequence[float] | None]) -> pl.Series:
    """The column of scores. Nearly always all have one width: then one block is made, not a series for every row."""
    widths = {len(cell) for cell in cells if cell is not None}
    if len(widths) != 1 or 0 in widths:
        return pl.Series("scores", cells, dtype=_TYPES["scores"])
    width = widths.pop()
    nothing = [0.0] * width
    flat = [score for cell in cells for score in (nothing if cell is None else cell)]
    block = pl.Series("scores", flat, dtype=pl.Float64).reshape((len(cells), width)).cast(_TYPES["scores"])
    known = pl.Series([cell is not None for cell in cells])
    return block if known.all() else pl.select(pl.when(known).then(block)).to_series().alias("scores")


def _column(name: str, wires: Sequence[Wire]) -> list[Any]:
    cells: list[Any] = []
    default = _DEFAULTS[name]
    for wire in wires:
        column = getattr(wire, name)
        cells += column or [default] * wire.count
    return cells


def _ids(ids: list[str | None], frames: Sequence[Frame]) -> list[str]:
    filled = iter(ids)
    return [
        next(filled) or server_id(frame.stream, frame.generation, frame.first + i)
        for frame in frames
        for i in range(frame.count)
    ]


def _json(tags: dict[str, str]) -> str:
    return msgspec.json.encode(tags, order="sorted").decode() if tags else "{}"


def _inputs(fields: Sequence[Field], wires: Sequence[Wire], prefix: str, schema: pl.Schema) -> list[pl.Series]:
    numeric = sum(is_numeric(field) for field in fields)
    blocks = [np.frombuffer(wire.numbers, dtype="<f8").reshape(numeric, wire.count) for wire in wires]
    block = np.concatenate(blocks, axis=1) if blocks else np.empty((numeric, 0))
    numbers = iter(block)
    texts = iter(range(len(fields)))
    inputs = []
    for field in fields:
        name = prefix + field.name
        if is_numeric(field):
            column = pl.Series(name, next(numbers), dtype=pl.Float64).fill_nan(None)
            inputs.append(column.cast(schema[name]) if field.kind != "float" else column)
        else:
            at = next(texts)
            cells = [cell for wire in wires for cell in wire.texts[at]]
            inputs.append(pl.Series(name, cells, dtype=pl.String))
    return inputs
