"""The documented FastAPI form of a prediction service: a model loaded once, a ``def`` endpoint, pydantic in and out."""

from __future__ import annotations

import os
from pathlib import Path

import skops.io as sio
from fastapi import FastAPI
from pydantic import create_model

COLUMNS = [f"f{i}" for i in range(20)]
Row = create_model("Row", **dict.fromkeys(COLUMNS, (float, ...)))  # type: ignore[call-overload]
app = FastAPI()
_path = Path(os.environ["BENCH_MODEL"])
model = sio.load(_path, trusted=sio.get_untrusted_types(file=_path))


@app.post("/predict")  # type: ignore[untyped-decorator]
def predict(row: Row) -> dict[str, object]:  # type: ignore[valid-type]
    """One row in, the label and its probability out."""
    values = [[getattr(row, column) for column in COLUMNS]]
    scores = model.predict_proba(values)[0]
    best = int(scores.argmax())
    return {"decision": str(model.classes_[best]), "confidence": float(scores[best])}
