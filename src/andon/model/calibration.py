"""Is a model as sure as it is right? Its confidence held against what came true, and what it would leave to people.

>>> records = pl.DataFrame({
...     "label": ["a"] * 100, "prediction": ["a"] * 80 + ["b"] * 20, "confidence": [0.95] * 80 + [0.6] * 20})
>>> found = reliability(records)
>>> print(found.gap)
0.08 (0.0282 to 0.132, n 100)
>>> [(round(one.confidence, 2), one.right.value) for one in found.bins]
[(0.6, 0.0), (0.95, 1.0)]
>>> [(round(one.share, 2), one.wrong.value) for one in coverage(records, points=2)]
[(0.8, 0.0), (1.0, 0.2)]
"""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from andon.measure.estimate import Estimate, mean_interval, wilson
from andon.measure.selective import risk_coverage

__all__ = ["BINS", "Bin", "Covered", "Reliability", "coverage", "reliability"]

#: At most so many bins, each of at least so many rows.
BINS, _ROWS = 10, 20


class Bin(msgspec.Struct, frozen=True):
    """The rows with a confidence from ``low`` to ``high``: the mean confidence, and the share that was right."""

    low: float
    high: float
    confidence: float
    right: Estimate


class Reliability(msgspec.Struct, frozen=True):
    """Bins of about equal size, least sure first. ``gap`` is the mean confidence less the share right: above 0 the model
    is too sure of itself. ``error`` is the expected calibration error: the mean distance of the two over the bins.
    """

    bins: tuple[Bin, ...]
    gap: Estimate
    error: float | None


class Covered(msgspec.Struct, frozen=True):
    """If only the surest ``share`` of the rows were answered, those with at least ``confidence``: how many were wrong."""

    share: float
    confidence: float
    wrong: Estimate


def reliability(records: pl.DataFrame) -> Reliability:
    """The reliability of records with ``label``, ``prediction`` and ``confidence``; rows that lack one do not count."""
    sure, right = _known(records)
    n = len(sure)
    distance = sure - right
    mean = float(distance.mean()) if n else 0.0
    gap = mean_interval(n, mean, float(((distance - mean) ** 2).sum()))
    bins = tuple(_bins(sure, right))
    error = sum(abs(one.confidence - (one.right.value or 0.0)) * one.right.n for one in bins) / n if n else None
    return Reliability(bins, gap, error)


def coverage(records: pl.DataFrame, points: int = 20) -> list[Covered]:
    """The share of wrong answers among the surest rows, for growing shares; rows of one confidence come together."""
    sure, right = _known(records)
    curve = risk_coverage(sure, right > 0).thinned(points)
    columns = (curve.coverage, curve.threshold, curve.errors, curve.accepted)
    drawn = zip(*(column.tolist() for column in columns), strict=True)
    return [Covered(share, least, wilson(wrong, n)) for share, least, wrong, n in drawn]


def _known(records: pl.DataFrame) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Confidence, and whether it was right (0 or 1), of the rows that have both."""
    if "confidence" not in records.columns:
        return np.zeros(0), np.zeros(0)
    frame = records.select("label", "prediction", "confidence").drop_nulls()
    right = (frame["label"] == frame["prediction"]).cast(pl.Float64)
    return frame["confidence"].cast(pl.Float64).to_numpy(), right.to_numpy()


def _bins(sure: npt.NDArray[np.float64], right: npt.NDArray[np.float64]) -> list[Bin]:
    count = min(BINS, max(1, len(sure) // _ROWS))
    if not len(sure):
        return []
    inner = np.unique(np.quantile(sure, np.arange(1, count) / count, method="higher"))
    place = np.searchsorted(inner, sure, side="right")
    made = []
    for at in np.unique(place):
        inside = place == at
        told = sure[inside]
        share = wilson(float(right[inside].sum()), int(inside.sum()))
        made.append(Bin(float(told.min()), float(told.max()), float(told.mean()), share))
    return made
