"""What a worker and a model's process say to one another: columns one way, scores or an error the other.

A question is a head (rows, bytes of texts), the numeric columns one after the other as float64, and the texts (or
images' bytes) as one MessagePack list for each column. An answer is a letter and a body: ``S`` and float32 scores row by
row, ``E`` and (code, message, what of it may be kept), ``R`` when the model is loaded. Neither side believes the other.

>>> from andon.core.record import Field
>>> fields = (Field("age", "float"), Field("site", "category"))
>>> columns = {"age": np.array([1.0, np.nan]), "site": np.array(["a", None], dtype=object)}
>>> back = decode_question(b"".join(encode_question(columns, fields)), fields)
>>> back["age"].tolist(), back["site"].tolist()
([1.0, nan], ['a', None])
>>> decode_answer(encode_scores(np.array([[0.25, 0.75]], dtype=np.float32)), 1, 2).tolist()
[[0.25, 0.75]]
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from andon.core.record import Field
from andon.errors import AndonError, Corrupt, NotFound, UserCodeError
from andon.model.columns import NUMERIC, Columns, length_of

__all__ = [
    "READY",
    "decode_answer",
    "decode_question",
    "decode_ready",
    "encode_error",
    "encode_question",
    "encode_scores",
]

_HEAD = struct.Struct("<4sIQ")
_MAGIC = b"AIQ1"
#: Characters of a message that is handed on.
MESSAGE_MAX = 2000
READY = b"R"

Scores = np.ndarray[Any, np.dtype[np.float32]]
_texts = msgspec.msgpack.Decoder(list[list[Any]])
_CELLS = (str, bytes, type(None))
_error = msgspec.msgpack.Decoder(tuple[str, str, str])
_ERRORS: dict[str, type[AndonError]] = {"corrupt": Corrupt, "not_found": NotFound}


def encode_question(columns: Columns, fields: Sequence[Field]) -> list[bytes]:
    """Canonical columns as the parts of a question."""
    numbers = [np.ascontiguousarray(columns[f.name], dtype=np.float64).tobytes() for f in fields if f.kind in NUMERIC]
    texts = msgspec.msgpack.encode([columns[f.name].tolist() for f in fields if f.kind not in NUMERIC])
    return [_HEAD.pack(_MAGIC, length_of(columns), len(texts)), *numbers, texts]


def decode_question(body: bytes, fields: Sequence[Field]) -> dict[str, np.ndarray[Any, Any]]:
    """The columns of a question; raises ``ValueError`` when it is none for these fields."""
    if len(body) < _HEAD.size:
        raise ValueError("the question is too short")
    magic, rows, size = _HEAD.unpack_from(body)
    numeric = [field for field in fields if field.kind in NUMERIC]
    others = [field for field in fields if field.kind not in NUMERIC]
    if magic != _MAGIC or len(body) != _HEAD.size + 8 * rows * len(numeric) + size:
        raise ValueError("the question has another length than it says")
    count = rows * len(numeric)
    matrix = np.frombuffer(body, np.float64, count, _HEAD.size).reshape(len(numeric), rows).copy()
    columns: dict[str, np.ndarray[Any, Any]] = {field.name: matrix[at] for at, field in enumerate(numeric)}
    try:
        texts = _texts.decode(body[_HEAD.size + 8 * count :])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"the texts of the question cannot be read: {error}") from None
    if len(texts) != len(others) or any(len(cells) != rows for cells in texts):
        raise ValueError("the texts of the question have another shape than its numbers")
    if not all(isinstance(cell, _CELLS) for cells in texts for cell in cells):
        raise ValueError("the texts of the question hold something else")
    for field, cells in zip(others, texts, strict=True):
        columns[field.name] = np.array([*cells, None], dtype=object)[:-1]
    return {field.name: columns[field.name] for field in fields}


def encode_scores(scores: Scores) -> bytes:
    """An answer with scores."""
    return b"S" + np.ascontiguousarray(scores, dtype=np.float32).tobytes()


def encode_error(error: AndonError) -> bytes:
    """An answer that says why there are none."""
    return b"E" + msgspec.msgpack.encode((error.code, error.message[:MESSAGE_MAX], error.kept[:MESSAGE_MAX]))


def decode_answer(body: bytes, rows: int, classes: int) -> Scores:
    """The scores of an answer; raises the error that it holds, ``ValueError`` when it is no answer to such a question."""
    if body[:1] == b"S":
        if len(body) != 1 + 4 * rows * classes:
            raise ValueError(f"an answer of {len(body)} bytes, expected {1 + 4 * rows * classes}")
        return np.frombuffer(body, np.float32, rows * classes, 1).reshape(rows, classes)
    raise _said(body)


def decode_ready(body: bytes) -> None:
    """Raises what loading the model raised, ``ValueError`` for anything but the word that it is loaded."""
    if body != READY:
        raise _said(body)


def _said(body: bytes) -> Exception:
    if body[:1] != b"E":
        return ValueError(f"an answer that begins with {bytes(body[:1])!r}")
    try:
        code, message, kept = _error.decode(body[1:])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ValueError("an error that cannot be read")
    return _ERRORS.get(code, UserCodeError)(message[:MESSAGE_MAX], kept=kept[:MESSAGE_MAX])
