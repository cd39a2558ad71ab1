"""BentoML's documented form: one API for one row, or one that the server may batch."""

from __future__ import annotations

import bentoml
import numpy as np
from peer_model import fit


@bentoml.service
class Plain:
    """One row a call."""

    def __init__(self) -> None:
        self.model = fit()

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict(self, features: list[float]) -> float:
        """The probability of the second class."""
        return float(self.model.predict_proba(np.asarray([features]))[0, 1])


@bentoml.service
class Batched:
    """Calls that came together are one call of the model."""

    def __init__(self) -> None:
        self.model = fit()

    @bentoml.api(batchable=True, max_batch_size=64, max_latency_ms=1000)  # type: ignore[untyped-decorator]
    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """The probabilities of the second class."""
        scores: np.ndarray = self.model.predict_proba(inputs)[:, 1]
        return scores
