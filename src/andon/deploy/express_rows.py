"""What the quick way (`andon.deploy.express`) reads: a row as it was taken, and how the bodies of one route are read."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import numpy as np

from andon.core.record import Level
from andon.core.redact import Redactor
from andon.data.validator import row_type
from andon.deploy.gateway_decisions import ID_MAX, UNIT_MAX
from andon.deploy.placing import Terms
from andon.deploy.protocol_message import Reply
from andon.deploy.replica import Replica
from andon.model.columns import NUMERIC, Block

__all__ = ["Lane", "Row", "Texts", "columns_of"]

_NAN = math.nan
Texts = Sequence[Sequence[str | None]]
_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=ID_MAX)]
_Unit = Annotated[str, msgspec.Meta(min_length=1, max_length=UNIT_MAX)]


class Row(msgspec.Struct, gc=False, eq=False):
    """One request that was taken: who is told, what came, when, and (on the way) what was decided."""

    reply: Reply
    body: bytes
    given: Any
    values: tuple[Any, ...]
    arrived: float
    nonce: str = ""  # what was drawn by, where the client gave neither a unit nor an id
    assigned: Any = None
    level: Level = "human"
    slice: str = "*"
    handed: bool = False  # to the general way


class Lane:
    """What is known once for one route: how bodies are read, which models answer, which levels there are."""

    def __init__(self, terms: Terms, replicas: dict[str, Replica], redactor: Redactor) -> None:
        fields = terms.contract.fields
        body = msgspec.defstruct(
            "Body",
            [("x", row_type(fields)), ("id", _Id | None, None), ("unit", _Unit | None, None)],
            forbid_unknown_fields=True,
            gc=False,
        )
        self.terms = terms
        self.replicas = replicas
        self.decode = msgspec.json.Decoder(body).decode
        self.texts = tuple(i for i, field in enumerate(fields) if field.kind not in NUMERIC)
        self.numbers = tuple(i for i, field in enumerate(fields) if field.kind in NUMERIC)
        self.names = tuple(fields[i].name for i in self.numbers)
        self.pack = struct.Struct(f"{len(self.numbers)}d").pack
        self.plain = not self.texts
        self.redaction = redactor.plan(fields)


def columns_of(lane: Lane, rows: list[Row]) -> tuple[Block, bytes, list[list[str | None]]]:
    """(what the model is given, the numbers as the log packs them, the texts as the log keeps them)."""
    values: Sequence[tuple[Any, ...]] = [row.values for row in rows]
    texts = [[row[i] for row in values] for i in lane.texts]
    numeric = values if lane.plain else [tuple(row[i] for i in lane.numbers) for row in values]
    try:
        packed = bytearray().join([lane.pack(*row) for row in numeric])
    except struct.error:  # a missing value
        packed = bytearray().join([lane.pack(*[_NAN if cell is None else cell for cell in row]) for row in numeric])
    matrix = np.frombuffer(packed, dtype=np.float64).reshape(len(rows), len(lane.names))
    columns = Block(lane.names, matrix)
    for i, cells in zip(lane.texts, texts, strict=True):
        column = np.empty(len(cells), dtype=object)
        column[:] = cells
        columns.add(lane.terms.contract.fields[i].name, column)
    return columns, matrix.tobytes("F"), texts
