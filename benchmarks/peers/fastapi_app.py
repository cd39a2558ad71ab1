"""The documented FastAPI form of a prediction service: a model loaded once, one endpoint, pydantic in.

``BENCH_MODE`` "def" is the form of its tutorial for calls that block (a thread pool), "async" the form without one.
"""

from __future__ import annotations

import os

from fastapi import FastAPI
from peer_model import fit
from pydantic import create_model

COLUMNS = [f"f{i}" for i in range(20)]
Row = create_model("Row", **dict.fromkeys(COLUMNS, (float, ...)))  # type: ignore[call-overload]
app = FastAPI()
model = fit()


def _answer(row: Row) -> dict[str, object]:  # type: ignore[valid-type]
    scores = model.predict_proba([[getattr(row, column) for column in COLUMNS]])[0]
    best = int(scores.argmax())
    return {"decision": str(model.classes_[best]), "confidence": float(scores[best])}


if os.environ["BENCH_MODE"] == "async":

    @app.post("/predict")  # type: ignore[untyped-decorator]
    async def predict_at_once(row: Row) -> dict[str, object]:  # type: ignore[valid-type]
        """One row in, the label and its probability out, on the loop."""
        return _answer(row)

else:

    @app.post("/predict")  # type: ignore[untyped-decorator]
    def predict(row: Row) -> dict[str, object]:  # type: ignore[valid-type]
        """One row in, the label and its probability out, in a thread."""
        return _answer(row)
