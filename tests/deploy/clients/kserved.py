"""What KServe's REST client sees of a gateway; run in an environment of its own: ``kserved.py HOST:PORT MODEL``."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import httpx
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig


def tensor(name: str, array: Any, kind: str, binary: bool) -> Any:
    """An input, as bytes or in the JSON."""
    made = InferInput(name, list(array.shape), kind)
    made.set_data_from_numpy(array, binary_data=binary)
    return made


async def main(url: str, model: str) -> dict[str, Any]:
    """Ask for everything."""
    url = f"http://{url}"
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0, timeout=20))
    seen: dict[str, Any] = {
        "live": await client.is_server_live(url),
        "ready": await client.is_server_ready(url),
        "model_ready": [await client.is_model_ready(url, name) for name in (model, "other")],
    }
    ages, ids = np.array([5, 50, 95], np.float32), np.array(["k1", "k2", "k3"], np.object_)
    for binary in (True, False):
        inputs = [tensor("age", ages, "FP32", binary)] + ([tensor("id", ids, "BYTES", True)] if binary else [])
        asked = InferRequest(
            model_name=model, infer_inputs=inputs, request_id="q", parameters={"binary_data_output": binary}
        )
        answer = await client.infer(url, asked, model_name=model)
        found = {output.name: output.as_numpy().tolist() for output in answer.outputs}
        seen[f"binary {binary}"] = {**found, "request": answer.id}
    try:
        wrong = [tensor("aeg", ages, "FP32", True)]
        await client.infer(url, InferRequest(model_name=model, infer_inputs=wrong), model_name=model)
    except httpx.HTTPStatusError as error:
        seen["fault"] = str(error)
    await client.close()
    return seen


print(json.dumps(asyncio.run(main(*sys.argv[1:]))))
