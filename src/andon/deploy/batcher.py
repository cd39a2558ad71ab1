"""Many rows, one call: what arrived in one turn of the loop is one batch, and a row that breaks the model fails alone.

Nothing waits to fill a batch. A quick model answers on the serving thread; a slow one has a thread of its own, and
while it works the next batch forms behind it. When a call fails it is repeated on its halves, all of one size before the
next smaller ones, until the guilty rows are alone: k of n take at most 2 k (1 + log2(n / k)) calls, and there are calls
enough for ``GUILTY_MAX`` (`calls_for`). The search ends early, and what has no answer by then fails with its neighbours,
when ``CALLS_BROKEN`` calls brought no answer to any row (then the model is broken, not a row) or ``SECONDS_MAX`` are
over. Where the model itself is gone (``Unavailable``) no row is guilty, and nothing is halved.

>>> from andon.core.record import Field
>>> def model(columns):
...     if (columns["x"] == 3).any():
...         raise UserCodeError("predict raised ValueError: three")
...     return np.stack([1 - columns["x"], columns["x"]], axis=1)
>>> fields = (Field("x", "float"),)
>>> [(row.label, row.error) for row in score(model, fields, ("no", "yes"), [[0.0], [3], [0.9]])]
[('no', None), (None, 'predict raised ValueError: three'), ('yes', None)]
"""

from __future__ import annotations

import base64
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from andon.core.record import Field, Scalar
from andon.errors import AndonError, Unavailable, UserCodeError

__all__ = [
    "CALLS_BROKEN",
    "GUILTY_MAX",
    "SECONDS_MAX",
    "Scored",
    "calls_for",
    "columns_of_rows",
    "score",
    "score_columns",
]

#: So many guilty rows of a batch are found for certain.
GUILTY_MAX = 32
#: After so many calls without an answer to any row it is the model that is broken: where ``GUILTY_MAX`` rows are spread
#: evenly, all pieces down to one for each of them fail (63 calls), and the second of the next ones is the first to answer.
CALLS_BROKEN = 2 * GUILTY_MAX + 1
#: How long guilty rows are searched for: others wait behind the batch.
SECONDS_MAX = 5.0
_NUMERIC = frozenset({"bool", "int", "float"})

Columns = Mapping[str, np.ndarray[Any, Any]]
Predict = Callable[[Columns], np.ndarray[Any, Any]]


class Scored(msgspec.Struct, frozen=True, gc=False):
    """What a model said about one row; ``label`` None means no answer, and ``error`` why if it failed."""

    label: str | None
    confidence: float | None = None
    scores: tuple[float, ...] | None = None
    error: str | None = None


_SILENT = Scored(None)


def columns_of_rows(fields: Sequence[Field], rows: Sequence[Sequence[Scalar]]) -> dict[str, np.ndarray[Any, Any]]:
    """Validated rows as the canonical columns that a model takes (``andon.model.columns``).

    >>> columns_of_rows((Field("cough", "bool", optional=True),), [[True], [None]])["cough"].tolist()
    [1.0, nan]
    """
    columns: dict[str, np.ndarray[Any, Any]] = {}
    for field, cells in zip(fields, zip(*rows, strict=True), strict=True):
        if field.kind in _NUMERIC:
            columns[field.name] = np.array(cells, dtype=np.float64)
        else:
            column = np.empty(len(cells), dtype=object)
            column[:] = [_image(cell) for cell in cells] if field.kind == "image" else cells
            columns[field.name] = column
    return columns


def _image(cell: Scalar) -> bytes | None:
    return base64.b64decode(cell) if isinstance(cell, str) else None


def score(
    predict: Predict, fields: Sequence[Field], classes: Sequence[str], rows: Sequence[Sequence[Scalar]]
) -> list[Scored]:
    """What the model says about every row; never raises for what the model does."""
    return score_columns(predict, classes, columns_of_rows(fields, rows), len(rows)) if rows else []


def score_columns(predict: Predict, classes: Sequence[str], columns: Columns, rows: int) -> list[Scored]:
    """The same for so many rows that are columns already."""
    return _Bisection(predict, classes).run(columns, rows)


def calls_for(n: int) -> int:
    """How many calls find ``GUILTY_MAX`` guilty rows among ``n`` rows, wherever they are.

    >>> calls_for(512), calls_for(32), calls_for(1)
    (320, 64, 64)
    """
    return 2 * GUILTY_MAX * (1 + max(0, -(-n // GUILTY_MAX) - 1).bit_length())


class _Bisection:
    """The search for the rows of one batch that a model fails on, from the largest pieces to the smallest."""

    def __init__(self, predict: Predict, classes: Sequence[str]) -> None:
        self._predict = predict
        self._classes = classes

    def run(self, columns: Columns, n: int) -> list[Scored]:
        """What the model says about ``n`` rows."""
        found: list[Scored] = [_SILENT] * n
        pieces = deque([(0, n)])
        calls, answered, end = 0, False, time.monotonic() + SECONDS_MAX
        most = calls_for(n)
        while pieces and calls < (most if answered else CALLS_BROKEN) and time.monotonic() <= end:
            start, stop = pieces.popleft()
            part = columns if stop - start == n else {name: column[start:stop] for name, column in columns.items()}
            calls += 1
            try:
                found[start:stop] = _labels(self._predict(part), self._classes, stop - start)
                answered = True
            except AndonError as error:
                found[start:stop] = [Scored(None, error=error.message)] * (stop - start)
                if stop - start > 1 and not isinstance(error, Unavailable):
                    half = (start + stop) // 2
                    pieces += ((start, half), (half, stop))
        return found


def _labels(scores: np.ndarray[Any, Any], classes: Sequence[str], n: int) -> list[Scored]:
    """The likeliest class of every row; a row with a score that is no number has no answer."""
    if scores.shape != (n, len(classes)):
        raise UserCodeError(f"the model answered with shape {scores.shape}: expected {(n, len(classes))}")
    best = scores.argmax(axis=1).tolist()
    finite = np.isfinite(scores).all(axis=1).tolist()
    return [
        Scored(classes[at], row[at], tuple(row)) if good else _SILENT
        for row, at, good in zip(scores.tolist(), best, finite, strict=True)
    ]
