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

SIDE, PATCH = 128, 16
RINGS, DIRECTIONS = (1, 3, 6, 12, 24, 48, 64), 8


def features(x: dict[str, np.ndarray]) -> np.ndarray:
    """What each image is like as 80 numbers: its shades, edges, patches and spectrum. float32, one row per image."""
    return np.stack([_describe(data) for data in x["image"]]).astype(np.float32)


def train(data: andon.TrainingData, params: dict[str, Any]) -> Pipeline:
    """A multinomial logistic regression on the standardised features."""
    model = LogisticRegression(C=params.get("C", 0.3), max_iter=1000)
    return make_pipeline(StandardScaler(), model).fit(data.features, data.y)


def _describe(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        grey = np.asarray(image.convert("L").resize((SIDE, SIDE)), dtype=np.float64)
    return np.concatenate([_shades(grey), _edges(grey), _patches(grey), _spectrum(grey)])


def _shades(grey: np.ndarray) -> np.ndarray:
    """How the greys are spread: percentiles, and whether a few pixels stand out (skewness, kurtosis)."""
    spread = grey.std() + 1e-6
    standard = (grey - grey.mean()) / spread
    square = standard * standard
    moments = [np.mean(square * standard), np.mean(square * square)]
    return np.concatenate([np.percentile(grey, (0.5, 2, 10, 25, 50, 75, 90, 98, 99.5)), [np.log(spread)], moments])


def _edges(grey: np.ndarray) -> np.ndarray:
    """How strong edges are, and how much rows and columns differ: printing and oxide leave lines along the strip."""
    strength = np.percentile(np.hypot(*np.gradient(grey)), (50, 75, 90, 98))
    lines = [f(grey.mean(axis)) for axis in (0, 1) for f in (np.std, lambda line: np.abs(np.diff(line)).mean())]
    return np.log1p(np.concatenate([strength, lines]))


def _patches(grey: np.ndarray) -> np.ndarray:
    """Is it everywhere or in one place? Contrast and brightness of 64 patches, in the order of size."""
    cells = SIDE // PATCH
    patches = grey.reshape(cells, PATCH, cells, PATCH).transpose(0, 2, 1, 3).reshape(cells * cells, -1)
    contrast, brightness = np.sort(patches.std(axis=1)), np.sort(patches.mean(axis=1))
    return np.concatenate([np.log1p(contrast[[0, 8, 32, 56, 63]]), brightness[[0, 3, 16, 32, 48, 60, 63]]])


def _spectrum(grey: np.ndarray) -> np.ndarray:
    """How coarse the texture is and which way it runs: mean log power by ring and direction of the Fourier plane."""
    power = np.log1p(np.abs(np.fft.fftshift(np.fft.fft2(grey - grey.mean())))).ravel()
    return np.bincount(_CELLS, weights=power, minlength=_COUNTS.size)[1:] / _COUNTS[1:]


def _fourier_cells() -> np.ndarray:
    """The number of every Fourier coefficient's cell (ring and direction) from 1 on; 0 for those left out."""
    down, across = np.indices((SIDE, SIDE)) - SIDE // 2
    ring = np.digitize(np.hypot(down, across), RINGS)
    direction = (np.arctan2(down, across) % np.pi / np.pi * DIRECTIONS).astype(int).clip(0, DIRECTIONS - 1)
    inside = (ring > 0) & (ring < len(RINGS))
    return np.where(inside, (ring - 1) * DIRECTIONS + direction + 1, 0).ravel()


_CELLS = _fourier_cells()
_COUNTS = np.maximum(np.bincount(_CELLS), 1)
