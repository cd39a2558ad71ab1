"""Ray Serve's documented form: a deployment that reads a Starlette request; ``BENCH_MODE`` "batch" uses ``serve.batch``."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray import serve

_HERE = str(Path(__file__).parent)


class _Loaded:
    def __init__(self) -> None:
        sys.path.insert(0, _HERE)
        from peer_model import fit

        self.model = fit()


@serve.deployment(max_ongoing_requests=100)
class Plain(_Loaded):
    """One row a call."""

    async def __call__(self, request: Any) -> dict[str, float]:
        row = (await request.json())["features"]
        return {"score": float(self.model.predict_proba(np.asarray([row]))[0, 1])}


@serve.deployment(max_ongoing_requests=100)
class Batched(_Loaded):
    """Calls that came together are one call of the model."""

    async def __call__(self, request: Any) -> dict[str, float]:
        score: float = await self.score((await request.json())["features"])
        return {"score": score}

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.002)  # type: ignore[untyped-decorator]
    async def score(self, rows: list[list[float]]) -> list[float]:
        """The probabilities of the second class."""
        return [float(score) for score in self.model.predict_proba(np.asarray(rows))[:, 1]]


if __name__ == "__main__":
    ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": int(os.environ["BENCH_PORT"])})
    deployment: Any = Batched if os.environ["BENCH_MODE"] == "batch" else Plain
    serve.run(deployment.bind(), route_prefix="/predict")
    while True:
        time.sleep(60)
