"""Who is taken for whom: a confusion matrix that can be looked at, and the most frequent mistakes of a large one.

>>> found = matrix_of({"classes": ["no", "yes"], "matrix": [[90, 10], [2, 8]], "other": [0, 0]})
>>> [[(cell.n, round(cell.share, 2), cell.heat) for cell in row.cells] for row in found.rows]
[[(90, 0.9, 9), (10, 0.1, 1)], [(2, 0.2, 2), (8, 0.8, 8)]]
>>> found.mistakes[0].label, found.mistakes[0].prediction, round(found.mistakes[0].share, 3)
('no', 'yes', 0.833)
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

__all__ = ["Cell", "Matrix", "MatrixRow", "Mistake", "matrix_of"]

#: A larger matrix is not drawn; its mistakes are listed.
LARGEST = 16
_MISTAKES = 30


class Cell(msgspec.Struct, frozen=True):
    """Rows with one truth and one answer; ``share`` is of the rows with that truth, ``heat`` it in tenths, 0 to 10."""

    n: int
    share: float
    heat: int


class MatrixRow(msgspec.Struct, frozen=True):
    """One truth: its cells in the order of the classes, and those without an answer."""

    label: str
    n: int
    cells: tuple[Cell, ...]
    silent: Cell


class Mistake(msgspec.Struct, frozen=True):
    """One truth taken for one answer (None: no answer); ``share`` is of all mistakes, ``of_truth`` of the rows with that truth."""

    label: str
    prediction: str | None
    n: int
    share: float
    of_truth: float


class Matrix(msgspec.Struct, frozen=True):
    """Rows are the truth, columns the answer. ``rows`` is empty where there are too many classes to draw.

    ``silent`` says that some rows have no answer; ``mistakes`` are the most frequent ones.
    """

    classes: tuple[str, ...]
    n: int
    errors: int
    rows: tuple[MatrixRow, ...]
    silent: bool
    mistakes: tuple[Mistake, ...]


def matrix_of(found: dict[str, Any]) -> Matrix:
    """The matrix of what ``andon.model.evaluate.confusion`` found."""
    classes, counts, other = tuple(found["classes"]), found["matrix"], found["other"]
    rows = [
        MatrixRow(name, total, tuple(_cell(n, total) for n in row), _cell(none, total))
        for name, row, none in zip(classes, counts, other, strict=True)
        for total in (sum(row) + none,)
    ]
    n = sum(row.n for row in rows)
    errors = n - sum(row.cells[at].n for at, row in enumerate(rows))
    return Matrix(
        classes=classes,
        n=n,
        errors=errors,
        rows=tuple(rows) if len(classes) <= LARGEST else (),
        silent=any(other),
        mistakes=_mistakes(rows, classes, errors),
    )


def _cell(n: int, total: int) -> Cell:
    share = n / total if total else 0.0
    return Cell(n, share, math.ceil(share * 10 - 1e-9))


def _mistakes(rows: list[MatrixRow], classes: tuple[str, ...], errors: int) -> tuple[Mistake, ...]:
    found = [
        Mistake(row.label, name, cell.n, cell.n / errors, cell.share)
        for at, row in enumerate(rows)
        for name, cell, right in (
            *((name, cell, at == place) for place, (name, cell) in enumerate(zip(classes, row.cells, strict=True))),
            (None, row.silent, False),
        )
        if cell.n and not right
    ]
    return tuple(sorted(found, key=lambda one: -one.n)[:_MISTAKES])
