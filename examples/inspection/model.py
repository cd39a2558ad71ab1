"""The inspection model: the data scientist's part, all of it."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

import andon

SIDE, CELL, ORIENTATIONS = 128, 16, 9


def features(x: dict[str, np.ndarray]) -> np.ndarray:
    """Histograms of gradients (8 x 8 cells of 9 orientations) and a grey histogram: float32, one row per image."""
    return np.stack([_describe(data) for data in x["image"]]).astype(np.float32)


def train(data: andon.TrainingData, params: dict[str, Any]) -> Pipeline:
    """A multinomial logistic regression on the standardised features."""
    model = LogisticRegression(C=params.get("C", 0.01), max_iter=400)
    return make_pipeline(StandardScaler(), model).fit(data.features, data.y)


def _describe(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        grey = np.asarray(image.convert("L").resize((SIDE, SIDE)), dtype=np.float32)
    down, across = np.gradient(grey)
    strength = np.hypot(down, across)
    bins = (np.arctan2(down, across) % np.pi / np.pi * ORIENTATIONS).astype(int).clip(0, ORIENTATIONS - 1)
    rows, columns = np.indices(grey.shape) // CELL
    cells = (SIDE // CELL) ** 2
    where = (rows * (SIDE // CELL) + columns) * ORIENTATIONS + bins
    gradients = np.bincount(where.ravel(), weights=strength.ravel(), minlength=cells * ORIENTATIONS).reshape(cells, -1)
    gradients /= np.linalg.norm(gradients, axis=1, keepdims=True) + 1e-3 * CELL * CELL
    shades = np.bincount((grey.ravel() / 8).astype(int).clip(0, 31), minlength=32) / grey.size
    return np.concatenate(
        [gradients.ravel(), np.sqrt(shades), [grey.mean() / 255, grey.std() / 64, np.log1p(strength.mean())]]
    )
