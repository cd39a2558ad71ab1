"""What NVIDIA's HTTP client sees of a gateway; run in an environment of its own: ``triton.py HOST:PORT MODEL``."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException


def tensor(name: str, values: Any, kind: str, binary: bool = True) -> Any:
    """An input, as bytes or in the JSON."""
    array = np.asarray(values)
    made = triton.InferInput(name, list(array.shape), kind)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def main(url: str, model: str) -> dict[str, Any]:
    """Ask for everything."""
    client = triton.InferenceServerClient(url)
    seen: dict[str, Any] = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready(model),
        "version_ready": [client.is_model_ready(model, version) for version in ("v1", "v9")],
        "extensions": client.get_server_metadata()["extensions"],
        "metadata": client.get_model_metadata(model, "v1"),
    }
    ages = {
        "FP64": np.array([5, 50, 95], np.float64),
        "FP32": np.array([[5], [50], [95]], np.float32),
        "FP16": np.array([5, 50, 95], np.float16),
        "UINT8": np.array([5, 50, 95], np.uint8),
        "INT64": np.array([5, 50, 95], np.int64),
    }
    seen["decisions"] = {}
    for kind, array in ages.items():
        for binary in (True, False):
            inputs = [
                tensor("age", array, kind, binary),
                tensor("cough", np.array([True, False, True]), "BOOL", binary),
            ]
            result = client.infer(model, inputs)
            seen["decisions"][f"{kind} {binary}"] = [text.decode() for text in result.as_numpy("decision")]
    ids = np.array(["ä1", "b", "c"], np.object_)
    outputs = [
        triton.InferRequestedOutput(name, binary_data=name != "status") for name in ("status", "id", "confidence")
    ]
    more = [tensor("age", ages["FP64"], "FP64"), tensor("id", ids, "BYTES"), tensor("unit", ids, "BYTES", binary=False)]
    result = client.infer(model, more, outputs=outputs, request_id="q7", parameters={"tags": '{"site": "x"}'})
    head = result.get_response()
    seen["rows"] = {
        "request": head["id"],
        "ids": [text.decode() for text in result.as_numpy("id")],
        "status": result.as_numpy("status").tolist(),
        "confidence": result.as_numpy("confidence").tolist(),
        "pending": head["parameters"]["x_pending"],
    }
    bad = client.infer(model, [tensor("age", np.array([5, np.nan]), "FP64")])
    seen["alone"] = [[text.decode() for text in bad.as_numpy(name)] for name in ("status", "error")]
    pending = client.async_infer(model, [tensor("age", ages["FP32"], "FP32")], model_version="v1")
    seen["async"] = [text.decode() for text in pending.get_result().as_numpy("decision")]
    try:
        client.infer(model, [tensor("aeg", ages["FP64"], "FP64")])
    except InferenceServerException as error:
        seen["fault"] = [error.status(), error.message()]
    client.close()
    return seen


print(json.dumps(main(*sys.argv[1:])))
