"""LitServe's documented form; ``BENCH_MODE`` "batch" turns its batching on.

Annotations are real ones here: LitServe asks FastAPI what a request is by the first argument's.
"""

import os
from typing import Any

import litserve
import numpy as np
from fastapi import Request
from peer_model import fit

_BATCH = os.environ["BENCH_MODE"] == "batch"


class Api(litserve.LitAPI):  # type: ignore[misc]
    """Decode, predict, encode."""

    def setup(self, device: str) -> None:
        self.model = fit()

    def decode_request(self, request: Request) -> Any:
        return np.asarray(request["features"])

    def predict(self, x: Any) -> Any:
        if _BATCH:
            return self.model.predict_proba(np.asarray(x))[:, 1]
        return self.model.predict_proba(x[None])[0, 1]

    def encode_response(self, output: Any) -> dict[str, float]:
        return {"score": float(output)}


if __name__ == "__main__":
    api = Api(max_batch_size=64, batch_timeout=0.002) if _BATCH else Api()
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(os.environ["BENCH_PORT"]), generate_client_file=False, log_level="warning")
