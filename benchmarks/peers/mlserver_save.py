"""Write the folder that ``mlserver start`` takes: ``mlserver_save.py FOLDER``; the port and the mode are in the environment.

``BENCH_MODE`` "default" leaves everything as it is; "inprocess" is its documented way without a pool of workers
(``parallel_workers: 0``); "batch" adds adaptive batching to that.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import joblib
from peer_model import fit

if __name__ == "__main__":
    folder, port, mode = Path(sys.argv[1]), int(os.environ["BENCH_PORT"]), os.environ["BENCH_MODE"]
    folder.mkdir(parents=True, exist_ok=True)
    joblib.dump(fit(), folder / "model.joblib")
    model: dict[str, Any] = {"name": "m", "implementation": "mlserver_sklearn.SKLearnModel"}
    model["parameters"] = {"uri": "./model.joblib"}
    server: dict[str, Any] = {"http_port": port, "grpc_port": port + 1, "metrics_port": port + 2, "host": "127.0.0.1"}
    server["debug"] = False
    if mode != "default":
        server["parallel_workers"] = 0
    if mode == "batch":
        model |= {"max_batch_size": 64, "max_batch_time": 0.002}
    (folder / "model-settings.json").write_text(json.dumps(model))
    (folder / "settings.json").write_text(json.dumps(server))
