"""What MLflow's scoring client sees of a gateway; run in an environment of its own: ``mlflowed.py HOST:PORT MODEL``."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient


def main(url: str, model: str) -> dict[str, Any]:
    """Ask for everything."""
    host, _, port = url.partition(":")
    client = ScoringServerClient(host, port)
    client.wait_server_ready(timeout=5)
    frame = pd.DataFrame({"age": [5, 50, 95.0], "cough": [True, False, True]})
    found = client.invoke(frame, params={"ids": ["m1", "m2", "m3"]})
    seen: dict[str, Any] = {"version": client.get_version(), "frame": found["predictions"], "pending": found["pending"]}
    gaps = pd.DataFrame({"age": [5, np.nan], "cough": [None, True]})
    seen["gaps"] = {name: client.invoke(gaps)[name] for name in ("predictions", "errors")}
    seen["matrix"] = client.invoke(np.array([[0, 5.0], [1, 95.0]]))["predictions"]
    try:
        client.invoke(pd.DataFrame({"aeg": [1]}))
    except Exception as error:  # noqa: BLE001 - it raises no narrower one
        seen["fault"] = str(error)
    return seen


print(json.dumps(main(*sys.argv[1:])))
