"""The project that is measured: logistic regression on 20 features, made and put live with Andon's own commands."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl

__all__ = ["COLUMNS", "andon", "build", "free_port", "line", "rows"]

COLUMNS = [f"f{i}" for i in range(20)]

_CHARTER = """
project: bench
problem: Benchmark.
inputs: {{{inputs}}}
target: {{name: y, classes: [no, yes]}}
safe_default: "no"
metrics: {{error: {{of: error_rate, goal: "<= 0.5"}}}}
automation: {{level: full, partial: {{audit_share: 0}}}}
gateway: {{port: {port}, workers: {workers}}}
"""

_MODEL = """
import andon
import numpy as np
from sklearn.linear_model import LogisticRegression

COLUMNS = [f"f{i}" for i in range(20)]


def features(x: dict[str, np.ndarray]) -> np.ndarray:
    return np.stack([x[name] for name in COLUMNS], axis=1).astype(np.float32)


def train(data: andon.TrainingData, params: dict) -> LogisticRegression:
    return LogisticRegression(max_iter=200).fit(data.features, data.y)
"""


def rows(n: int = 4000, seed: int = 7) -> pl.DataFrame:
    """A learnable table of 20 normal features and a label."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 20)).astype(np.float32)
    z = x @ rng.normal(size=20) + 0.8 * x[:, 0] * x[:, 1]
    y = np.where(z + rng.logistic(size=n) > 0, "yes", "no")
    return pl.DataFrame({name: x[:, i].astype(float) for i, name in enumerate(COLUMNS)} | {"y": y})


def andon(folder: Path, *words: str) -> str:
    """Run one command in the project; its standard output."""
    command = [sys.executable, "-m", "andon", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"andon {' '.join(words)} returned {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def free_port() -> int:
    """A port nobody listens on."""
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def build(folder: Path, *, port: int, workers: int = 1) -> Path:
    """Lay out the project, train and release its model, and make it live at level full."""
    folder.mkdir(parents=True)
    inputs = ", ".join(f"{name}: float" for name in COLUMNS)
    (folder / "andon.yaml").write_text(_CHARTER.format(inputs=inputs, port=port, workers=workers))
    (folder / "model.py").write_text(_MODEL)
    rows().write_parquet(folder / "rows.parquet")
    andon(folder, "data", "add", "rows.parquet")
    andon(folder, "train")
    andon(folder, "release", "r1", "--reason", "benchmark")
    andon(folder, "deploy", "switch", "v1", "--reason", "benchmark")
    andon(folder, "automate", "full", "--reason", "benchmark")
    return folder


@contextmanager
def line(folder: Path, port: int) -> Iterator[str]:
    """The project's line, running; yields its address."""
    with (folder / "up.log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", "andon", "up"], cwd=folder, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(f"{address}/v2/health/ready", process, folder)
        _expect_model(f"{address}/v1/projects/bench/decisions")
        yield address
    finally:
        process.terminate()
        process.wait(timeout=20)


def _wait(url: str, process: subprocess.Popen[bytes], folder: Path) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"the line did not become ready: {json.dumps((folder / 'up.log').read_text()[-2000:])}")


def _expect_model(url: str) -> None:
    """Measure nothing but answers of the model: a person would be asked quicker."""
    body = json.dumps({"x": dict.fromkeys(COLUMNS, 0.5)}).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        said = json.load(answer)
    if said.get("decided_by") != "model":
        sys.exit(f"the model does not answer: {said}")
