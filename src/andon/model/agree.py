"""Whether a model in the form in which it is sealed answers as its original does, on the rows of ``andon.model.probe``.

>>> from andon.core.record import Field
>>> class Says:
...     def __init__(self, shift): self.shift = shift
...     def scores(self, x): return np.stack([x["n"] + self.shift, 1 - x["n"] - self.shift], axis=1)
>>> rows = Table((Field("n", "bool"),), {"n": np.array([0.0, 1.0])}, "columns")
>>> compare(Says(1e-6), Original(lambda frame: Says(0).scores(frame.to_dict())), rows)
Agreement(rows=4, difference=...)
>>> compare(Says(0.01), Original(lambda frame: Says(0).scores(frame.to_dict())), rows)
'the sealed model disagrees on training rows: a score differs by 0.01, allowed 0.0001'
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from andon.errors import UserCodeError
from andon.model.adapter import Scorer, Scores
from andon.model.predictor import user_code
from andon.model.probe import Probe, Table, probes

__all__ = ["TOLERANCE", "Agreement", "Original", "compare"]

#: Largest difference of a score between a sealed model and its original.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Agreement:
    """How many rows were compared, and the largest difference of a score."""

    rows: int
    difference: float


@dataclass(frozen=True)
class Original:
    """The object that was trained, asked with what it saw in training (``Table.original``)."""

    answer: Callable[[Any], Scores]

    def scores(self, x: Any) -> Scores:
        """Ask it."""
        return self.answer(x)


def compare(sealed: Scorer, original: Original, table: Table) -> Agreement | str:
    """The agreement of the two, or the sentence in which they disagree.

    Both are asked in one thread: for a few rows at a time, threads that wait for each other take most of the time.
    """
    with threadpool_limits(1):
        return _compare(sealed, original, table)


def _compare(sealed: Scorer, original: Original, table: Table) -> Agreement | str:
    rows, largest = 0, 0.0
    for probe in probes(table, lambda rows: _answer(original, table, rows)):
        expected = _answer(original, table, probe.rows)
        found = _answer(sealed, table, probe.rows)
        fault = _fault(probe, expected, found)
        if fault:
            return fault
        rows += len(expected)
        largest = max(largest, _difference(expected, found))
    return Agreement(rows, largest)


def _answer(scorer: Scorer, table: Table, rows: dict[str, Any]) -> Scores:
    """Scores with a NaN row wherever the scorer raises."""
    given = table.original(rows) if isinstance(scorer, Original) else table.build(rows)
    try:
        with user_code("predict", Path("the model")):
            return scorer.scores(given)
    except UserCodeError:
        count = len(next(iter(rows.values())))
        if count == 1:
            return np.full((1, 1), np.nan, dtype=np.float32)
    return _broadcast([_answer(scorer, table, {n: c[i : i + 1] for n, c in rows.items()}) for i in range(count)])


def _broadcast(rows: list[Scores]) -> Scores:
    width = max(row.shape[1] for row in rows)
    return np.concatenate([np.broadcast_to(row, (1, width)) for row in rows])


def _fault(probe: Probe, expected: Scores, found: Scores) -> str:
    """Why the two disagree on a probe; empty when they agree."""
    silent, mute = np.isnan(expected).any(axis=1), np.isnan(found).any(axis=1)
    if (silent != mute).any():
        return f"the sealed model disagrees on {probe.what}: it answers where the original does not, or the reverse"
    heard = ~silent
    flips = int((expected[heard].argmax(axis=1) != found[heard].argmax(axis=1)).sum())
    if flips:
        return f"the sealed model disagrees on {probe.what}: {flips} of {len(expected)} decisions differ"
    difference = _difference(expected, found)
    if difference > TOLERANCE:
        return f"the sealed model disagrees on {probe.what}: a score differs by {difference:.2g}, allowed {TOLERANCE:g}"
    return ""


def _difference(expected: Scores, found: Scores) -> float:
    heard = ~np.isnan(expected).any(axis=1)
    return float(np.abs(expected[heard] - found[heard]).max()) if heard.any() else 0.0
