"""From scores to answers, and from a sealed bundle to the answers for a whole table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from andon.model.adapter import Scores
from andon.model.bundle import Served
from andon.model.columns import columns_of, length_of, take

__all__ = ["answers", "predict_frame"]

#: Rows scored at once: enough to be quick, few enough for a features() that blows up its input.
BATCH = 16_384


def answers(scores: Scores, classes: Sequence[str]) -> pl.DataFrame:
    """Columns ``prediction`` (the most probable class; the first of equals), ``confidence`` and ``scores``.

    A row of NaN is no answer: all three are null.

    >>> answers(np.array([[0.25, 0.75], [np.nan, np.nan]], dtype=np.float32), ("no", "yes")).rows()
    [('yes', 0.75, [0.25, 0.75]), (None, None, None)]
    """
    heard = np.asarray(~np.isnan(scores).any(axis=1))
    best = np.where(heard, np.nan_to_num(scores).argmax(axis=1), -1)
    names = pl.Series("prediction", [classes[i] if i >= 0 else None for i in best.tolist()], dtype=pl.String)
    top = np.where(heard, np.nan_to_num(scores).max(axis=1), np.nan).astype(np.float64)
    rows = [
        row if known else None for row, known in zip(scores.astype(np.float64).tolist(), heard.tolist(), strict=True)
    ]
    return pl.DataFrame(
        [names, pl.Series("confidence", top, nan_to_null=True), pl.Series("scores", rows, dtype=pl.List(pl.Float64))]
    )


def predict_frame(served: Served, frame: pl.DataFrame) -> pl.DataFrame:
    """``answers`` for every row of a frame that has the contract's inputs; raises ``UserCodeError``, ``ContractError``."""
    columns = columns_of(frame, served.fields)
    rows = length_of(columns)
    found = [served.predict(take(columns, slice(low, low + BATCH))) for low in range(0, rows, BATCH)]
    scores = np.concatenate(found) if found else np.zeros((0, len(served.classes)), dtype=np.float32)
    return answers(scores, served.classes)
