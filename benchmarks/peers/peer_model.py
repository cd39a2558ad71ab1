"""The model that every peer serves: learnt when it starts, from the same table, so that no format is in the way."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

__all__ = ["fit"]


def fit() -> Any:
    """What ``BENCH_MODEL`` names (lr, hgb), learnt from the arrays in ``BENCH_DATA``; its first class is "no"."""
    with np.load(os.environ["BENCH_DATA"]) as table:
        x, y = table["x"], table["y"]
    if os.environ["BENCH_MODEL"] == "hgb":
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier(max_iter=100, random_state=0).fit(x, y)
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=200).fit(x, y)
