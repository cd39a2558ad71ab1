"""What every predictor must keep to, as a suite that anybody can run on theirs.

It is given what a predictor is called with in production: canonical columns (``andon.model.columns``). A sealed bundle
(``Served``) and any object with ``predict`` of the same shape can be checked.

>>> import numpy as np
>>> class Half:
...     classes = ("no", "yes")
...     def predict(self, columns): return np.full((len(columns["n"]), 2), 0.5, dtype=np.float32)
>>> check_predictor(Half(), {"n": np.array([1.0, 2.0, 3.0])})
>>> class Drifting(Half):
...     def predict(self, columns): return np.full((len(columns["n"]), 2), 1 / len(columns["n"]), dtype=np.float32)
>>> check_predictor(Drifting(), {"n": np.array([1.0, 2.0, 3.0])})
Traceback (most recent call last):
...
andon.errors.ContractError: predictor Drifting: probabilities of row 0 sum to 0.666667, expected 1
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from andon.errors import ContractError
from andon.model.columns import Columns, length_of, take

__all__ = ["TOLERANCE", "Answers", "check_predictor"]

Array = np.ndarray[Any, Any]

#: How far answers to the same row may lie apart: float32 sums depend on how rows are grouped.
TOLERANCE = 1e-5


class Answers(Protocol):
    """What is checked."""

    @property
    def classes(self) -> Sequence[str]:
        """The classes, in the order of the columns of an answer."""
        ...

    def predict(self, columns: Columns, /) -> Array:
        """Scores, shape (rows, classes)."""
        ...


def check_predictor(predictor: Answers, columns: Columns, *, may_be_silent: bool = False) -> None:
    """Raise ``ContractError`` with the first promise that is broken; return when all are kept.

    The promises: the answer has one row per row and one column per class; classes are distinct; probabilities are
    finite, in [0, 1] and sum to 1; the input is not changed; asking again gives the same; a batch answers as its rows do
    one by one; the order of rows does not matter; no rows give no answers. With ``may_be_silent`` a row of NaN, "no
    answer", is allowed. Give at least two rows that differ.
    """
    name = f"predictor {type(predictor).__name__}"
    rows = length_of(columns)
    if rows < 2:
        raise ContractError(f"{name}: give at least two rows to check with, found {rows}")
    given = _copy(columns)
    case = _Case(name, predictor, columns, _ask(name, predictor, given), may_be_silent)
    _unchanged(case, given)
    for promise in (_classes, _probabilities, _repeatable, _one_by_one, _any_order, _nothing):
        promise(case)


class _Case:
    """A predictor, what it was asked, and what it answered first."""

    def __init__(self, name: str, predictor: Answers, columns: Columns, first: Array, silent: bool) -> None:
        self.name = name
        self.predictor = predictor
        self.columns = columns
        self.first = first
        self.may_be_silent = silent

    def fault(self, sentence: str) -> ContractError:
        return ContractError(f"{self.name}: {sentence}")

    def ask(self, columns: Columns) -> Array:
        return _ask(self.name, self.predictor, _copy(columns))


def _copy(columns: Columns) -> dict[str, Array]:
    return {name: column.copy() for name, column in columns.items()}


def _ask(name: str, predictor: Answers, columns: Columns) -> Array:
    found = np.asarray(predictor.predict(columns))
    expected = (length_of(columns), len(predictor.classes))
    if found.shape != expected:
        raise ContractError(f"{name}: expected an answer of shape {expected}, found {found.shape}")
    return found.astype(np.float64)


def _classes(case: _Case) -> None:
    classes = list(case.predictor.classes)
    if len(set(classes)) != len(classes) or not all(isinstance(name, str) for name in classes):
        raise case.fault(f"classes: expected distinct names, found {classes}")


def _probabilities(case: _Case) -> None:
    for row, scores in enumerate(case.first):
        if np.isnan(scores).all() and case.may_be_silent:
            continue
        if not np.isfinite(scores).all() or (scores < -TOLERANCE).any() or (scores > 1 + TOLERANCE).any():
            raise case.fault(
                f"probabilities of row {row}: expected finite numbers from 0 to 1, found {scores.tolist()}"
            )
        if abs(scores.sum() - 1) > TOLERANCE * len(scores):
            raise case.fault(f"probabilities of row {row} sum to {scores.sum():.6g}, expected 1")


def _unchanged(case: _Case, given: Columns) -> None:
    for name, column in case.columns.items():
        if not _same(column, given[name]):
            raise case.fault(f"the input column {name!r} was changed; work on a copy")


def _same(one: Array, two: Array) -> bool:
    if one.dtype == object:
        return list(one) == list(two)
    return bool(np.array_equal(one, two, equal_nan=True))


def _repeatable(case: _Case) -> None:
    _agree(case, case.first, case.ask(case.columns), "asked twice, it answers differently")


def _one_by_one(case: _Case) -> None:
    singles = [case.ask(take(case.columns, slice(row, row + 1))) for row in range(len(case.first))]
    _agree(case, case.first, np.concatenate(singles), "a batch is answered differently from its rows one by one")


def _any_order(case: _Case) -> None:
    order = np.arange(len(case.first))[::-1]
    found = case.ask(take(case.columns, order))
    _agree(case, case.first[order], found, "the answer depends on the order of rows")


def _nothing(case: _Case) -> None:
    if len(case.ask(take(case.columns, slice(0, 0)))):
        raise case.fault("no rows were asked, expected no answers")


def _agree(case: _Case, expected: Array, found: Array, sentence: str) -> None:
    wrong = ~np.isclose(expected, found, rtol=0, atol=TOLERANCE, equal_nan=True).all(axis=1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise case.fault(f"{sentence} (row {row}: {expected[row].tolist()} and {found[row].tolist()})")
