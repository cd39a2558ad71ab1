"""The project that is measured: a model on 20 features, made and put live with Andon's own commands."""

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

__all__ = ["COLUMNS", "KINDS", "andon", "build", "expect_model", "free_port", "line", "rows"]

COLUMNS = [f"f{i}" for i in range(20)]

_CHARTER = """
project: bench
problem: Benchmark.
inputs: {{{inputs}}}
target: {{name: y, classes: [no, yes]}}
safe_default: "no"
metrics: {{error: {{of: error_rate, goal: "<= 0.5"}}}}
automation: {{level: full, partial: {{audit_share: 0}}}}
gateway: {{port: {port}, workers: {workers}{gateway}}}
"""
_SLICES = {"low": "f0 < -1", "high": "f0 > 1", "left": "f1 < -1", "right": "f1 > 1", "corner": "f2 > 1 AND f3 > 1"}

_IMPORTS = """
import andon
import numpy as np
import polars as pl
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

COLUMNS = [f"f{i}" for i in range(20)]
"""
_NUMPY = """

def features(x: dict[str, np.ndarray]) -> np.ndarray:
    return np.stack([x[name] for name in COLUMNS], axis=1).astype(np.float32)
"""
_POLARS = """

def features(x: pl.DataFrame) -> pl.DataFrame:
    return x.select(COLUMNS)
"""
_UNCONVERTED = """

class Unconverted(LogisticRegression):
    pass
"""
_TRAIN = """

def train(data: andon.TrainingData, params: dict):
    return {model}.fit(data.{x}, data.y)
"""
_LR = 'LogisticRegression(max_iter=200, C=params.get("C", 1.0))'

#: What is measured, by name: ``model.py``, without ``features()`` unless it says so.
KINDS: dict[str, str] = {
    "plain": _TRAIN.format(model=_LR, x="x"),
    "numpy": _NUMPY + _TRAIN.format(model=_LR, x="features"),
    "polars": _POLARS + _TRAIN.format(model=_LR, x="features"),
    "slices": _TRAIN.format(model=_LR, x="x"),
    "hgb": _TRAIN.format(model="HistGradientBoostingClassifier(max_iter=100, random_state=0)", x="x"),
    "sklearn": _UNCONVERTED + _TRAIN.format(model=_LR.replace("LogisticRegression", "Unconverted"), x="x"),
    "sklearn-inside": _UNCONVERTED + _TRAIN.format(model=_LR.replace("LogisticRegression", "Unconverted"), x="x"),
}


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


def build(folder: Path, *, port: int, workers: int = 1, kind: str = "numpy", canary: float = 0.0) -> Path:
    """Lay out the project, train and release its model, and make it live at level full.

    ``kind`` is one of ``KINDS``; with ``canary`` a second release gets that share of the requests and is held there.
    """
    folder.mkdir(parents=True)
    inputs = ", ".join(f"{name}: float" for name in COLUMNS)
    gateway = ", isolation: none" if kind == "sklearn-inside" else ""
    charter = _CHARTER.format(inputs=inputs, port=port, workers=workers, gateway=gateway)
    if kind == "slices":
        charter += f"slices: {json.dumps(_SLICES)}\n"
    (folder / "andon.yaml").write_text(charter)
    (folder / "model.py").write_text(_IMPORTS + KINDS[kind])
    rows().write_parquet(folder / "rows.parquet")
    trust = ["--trust"] if kind.startswith("sklearn") else []
    andon(folder, "data", "add", "rows.parquet")
    andon(folder, "train", *trust)
    andon(folder, "release", "r1", "--reason", "benchmark")
    andon(folder, "deploy", "switch", "v1", "--reason", "benchmark")
    andon(folder, "automate", "full", "--reason", "benchmark")
    for name in _SLICES if kind == "slices" else ():
        andon(folder, "automate", "full", "--slice", name, "--reason", "benchmark")
    if canary:
        andon(folder, "train", "-p", "C=0.1", *trust)
        andon(folder, "release", "r2", "--reason", "benchmark")
        andon(folder, "deploy", "canary", "v2", "--share", str(canary), "--reason", "benchmark")
        andon(folder, "deploy", "hold", "--reason", "benchmark")
    return folder


@contextmanager
def line(folder: Path, port: int) -> Iterator[str]:
    """The project's line, running; yields its address."""
    with (folder / "up.log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", "andon", "up"], cwd=folder, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        _wait(f"{address}/v2/health/ready", process, folder)
        expect_model(f"{address}/v1/projects/bench/decisions")
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


def expect_model(url: str) -> None:
    """Measure nothing but answers of the model: a person would be asked quicker. Raises ``ValueError``."""
    body = json.dumps({"x": dict.fromkeys(COLUMNS, 0.5)}).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        said = json.load(answer)
    if said.get("decided_by") != "model":
        raise ValueError(f"the model does not answer: {said}")
