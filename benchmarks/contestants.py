"""The peers: how each is installed (an environment of its own, pinned by hash), started, asked, and held to the right answer.

Every peer learns the same model from the same table when it starts. Before it is measured, what it answers to some rows is
compared with what scikit-learn says here; another answer is no start.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.load import Row, Shape, plain, some_rows
from benchmarks.processes import NotStarted, running
from benchmarks.project import COLUMNS, free_port, rows
from benchmarks.results import OUT

__all__ = ["PEERS", "Mode", "Peer", "Running", "serve", "versions"]

_HERE = Path(__file__).parent / "peers"
_QUIET = {
    "BENTOML_DO_NOT_TRACK": "True",
    "DO_NOT_TRACK": "1",
    "LITSERVE_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}


@dataclass(frozen=True)
class Mode:
    """One way to run a peer. ``command`` gets the environment's folder, the port and a scratch folder."""

    title: str
    command: Callable[[Path, int, Path], list[str]]
    path: str
    shape: Shape
    score: Callable[[Any], float]
    prepare: str = ""


@dataclass(frozen=True)
class Peer:
    """A rival, its documented default first; ``shown`` are the distributions whose versions the table names."""

    title: str
    modes: dict[str, Mode]
    shown: tuple[str, ...]


@dataclass(frozen=True)
class Running:
    """A server to be measured; ``home`` is the project's folder where it is ours."""

    url: str
    path: str
    shape: Shape
    pid: int
    home: Path | None = None


def _values(row: Row) -> list[float]:
    return [row[column] for column in COLUMNS]


def features(row: Row) -> Any:
    """The form of most tutorials."""
    return {"features": _values(row)}


def inputs(row: Row) -> Any:
    """A batch of one."""
    return {"inputs": [_values(row)]}


def dataframe_split(row: Row) -> Any:
    """MLflow's first documented form."""
    return {"dataframe_split": {"columns": list(range(20)), "data": [_values(row)]}}


def open_inference(row: Row) -> Any:
    """The Open Inference Protocol's."""
    tensor = {"name": "x", "shape": [1, 20], "datatype": "FP32", "data": _values(row)}
    return {"inputs": [tensor], "outputs": [{"name": "predict_proba"}]}


def _fast(answer: Any) -> float:
    confidence = float(answer["confidence"])
    return confidence if answer["decision"] == "yes" else 1 - confidence


def _uvicorn(home: Path, port: int, scratch: Path) -> list[str]:
    command = [str(home / "bin" / "uvicorn"), "fastapi_app:app", "--app-dir", str(_HERE), "--port", str(port)]
    return [*command, "--log-level", "error", "--loop", "uvloop", "--http", "httptools"]


def _script(name: str) -> Callable[[Path, int, Path], list[str]]:
    return lambda home, port, scratch: [str(home / "bin" / "python"), str(_HERE / name)]


def _bento(service: str) -> Callable[[Path, int, Path], list[str]]:
    def command(home: Path, port: int, scratch: Path) -> list[str]:
        words = [str(home / "bin" / "bentoml"), "serve", f"bentoml_app:{service}", "--working-dir", str(_HERE)]
        return [*words, "--host", "127.0.0.1", "--port", str(port), "--api-workers", "1"]

    return command


def _mlflow(home: Path, port: int, scratch: Path) -> list[str]:
    words = [str(home / "bin" / "mlflow"), "models", "serve", "-m", str(scratch / "model"), "-p", str(port)]
    return [*words, "-h", "127.0.0.1", "--env-manager", "local", "-w", "1"]


def _mlserver(home: Path, port: int, scratch: Path) -> list[str]:
    return [str(home / "bin" / "mlserver"), "start", str(scratch / "model")]


def _ml_mode(title: str) -> Mode:
    path, score = "/v2/models/m/infer", lambda a: float(a["outputs"][0]["data"][1])
    return Mode(title, _mlserver, path, open_inference, score, "mlserver_save.py")


def _flow_mode(title: str, shape: Shape) -> Mode:
    return Mode(title, _mlflow, "/invocations", shape, lambda a: float(a["predictions"][0][1]), "mlflow_save.py")


def _score(answer: Any) -> float:
    return float(answer["score"])


PEERS: dict[str, Peer] = {
    "fastapi": Peer(
        "FastAPI",
        {
            "def": Mode("FastAPI `def` on uvicorn", _uvicorn, "/predict", plain, _fast),
            "async": Mode("FastAPI `async def` on uvicorn", _uvicorn, "/predict", plain, _fast),
        },
        ("fastapi", "uvicorn"),
    ),
    "litserve": Peer(
        "LitServe",
        {
            "default": Mode("LitServe", _script("litserve_app.py"), "/predict", features, _score),
            "batch": Mode("LitServe, batches", _script("litserve_app.py"), "/predict", features, _score),
        },
        ("litserve",),
    ),
    "mlflow": Peer(
        "MLflow",
        {
            "default": _flow_mode("MLflow models serve, `dataframe_split`", dataframe_split),
            "inputs": _flow_mode("MLflow models serve, `inputs`", inputs),
        },
        ("mlflow",),
    ),
    "mlserver": Peer(
        "MLServer",
        {
            "default": _ml_mode("MLServer"),
            "inprocess": _ml_mode("MLServer, no pool of workers"),
            "batch": _ml_mode("MLServer, no pool, adaptive batches"),
        },
        ("mlserver", "uvloop"),
    ),
    "bentoml": Peer(
        "BentoML",
        {
            "default": Mode("BentoML", _bento("Plain"), "/predict", features, float),
            "batch": Mode("BentoML, batchable", _bento("Batched"), "/predict", inputs, lambda a: float(a[0])),
        },
        ("bentoml",),
    ),
    "ray": Peer(
        "Ray Serve",
        {
            "default": Mode("Ray Serve", _script("ray_app.py"), "/predict", features, _score),
            "batch": Mode("Ray Serve, `serve.batch`", _script("ray_app.py"), "/predict", features, _score),
        },
        ("ray",),
    ),
}


def environment(name: str) -> Path:
    """The peer's environment, made when it is not there or its requirements changed. Raises ``NotStarted``."""
    requirements = _HERE / f"{name}.txt"
    home = OUT / "peers" / name
    mark, wanted = home / "made", sha256(requirements.read_bytes()).hexdigest()
    if mark.exists() and mark.read_text() == wanted:
        return home
    print(f"setting up {name} in an environment of its own ...", file=sys.stderr, flush=True)
    log = OUT / "peers" / f"{name}-install.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    steps = [
        [sys.executable, "-m", "venv", "--clear", str(home)],
        [str(home / "bin" / "python"), "-m", "pip", "install", "-q", "--require-hashes", "-r", str(requirements)],
    ]
    with log.open("wb") as out:
        for step in steps:
            done = subprocess.run(step, stdout=out, stderr=out, env={**os.environ, **_QUIET}, check=False)
            if done.returncode != 0:
                faults = [line for line in log.read_text(errors="replace").splitlines() if line.startswith("ERROR")]
                raise NotStarted(f"it could not be installed: {(faults or ['pip failed'])[-1][:200]}")
    mark.write_text(wanted)
    return home


def versions(name: str) -> dict[str, str]:
    """The versions that the requirements pin."""
    found = {}
    for line in (_HERE / f"{name}.txt").read_text().splitlines():
        package, at, version = line.partition("==")
        if at and package.partition("[")[0] in (*PEERS[name].shown, "scikit-learn"):
            found[package.partition("[")[0]] = version.split()[0]
    return found


def _table(folder: Path) -> Path:
    path = folder / "table.npz"
    if not path.exists():
        table = rows()
        np.savez(path, x=table.select(COLUMNS).to_numpy(), y=table["y"].to_numpy().astype(str))
    return path


def _expected(folder: Path, model: str) -> list[tuple[Row, float]]:
    """What scikit-learn says here to a few rows."""
    code = "import json,sys,numpy as np; from peer_model import fit; x=np.array(json.load(sys.stdin))\n"
    code += "print(json.dumps(fit().predict_proba(x)[:,1].tolist()))"
    asked = some_rows(5, seed=99)
    environ = {**os.environ, "BENCH_DATA": str(_table(folder)), "BENCH_MODEL": model, "PYTHONPATH": str(_HERE)}
    given = json.dumps([_values(row) for row in asked])
    done = subprocess.run(
        [sys.executable, "-c", code], input=given, env=environ, capture_output=True, text=True, check=True
    )
    return list(zip(asked, json.loads(done.stdout), strict=True))


@contextmanager
def serve(name: str, mode_name: str, model: str, folder: Path) -> Iterator[Running]:
    """Run a peer in one of its modes until the block ends. Raises ``NotStarted`` with the reason."""
    peer, home = PEERS[name], environment(name)
    mode, port = peer.modes[mode_name], free_port()
    scratch = folder / f"{name}-{mode_name}-{model}"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    environ = {**_QUIET, "BENCH_DATA": str(_table(folder)), "BENCH_MODEL": model, "BENCH_MODE": mode_name}
    environ |= {"BENCH_PORT": str(port), "PYTHONPATH": str(_HERE), "BENTOML_HOME": str(scratch / "bento")}
    environ |= {"MLFLOW_TRACKING_URI": f"file://{scratch}/mlruns", "PYTHONDONTWRITEBYTECODE": "1"}
    if mode_name != next(iter(peer.modes)):
        environ["OMP_NUM_THREADS"] = "1"  # scikit-learn's threads fight for the cores; the default keeps them
    environ["PATH"] = f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}"
    if mode.prepare:
        words = [str(home / "bin" / "python"), str(_HERE / mode.prepare), str(scratch / "model")]
        made = subprocess.run(words, env={**os.environ, **environ}, capture_output=True, text=True, check=False)
        if made.returncode != 0:
            last = (made.stderr.strip().splitlines() or ["nothing was said"])[-1]
            raise NotStarted(f"its model could not be saved: {last[:200]}")
    expected, url = _expected(folder, model), f"http://127.0.0.1:{port}"

    def answers() -> None:
        for row, score in expected:
            found = mode.score(_ask(url + mode.path, mode.shape(row)))
            if abs(found - score) > 1e-3:
                raise ValueError(f"it answered {found:.4f}, scikit-learn {score:.4f}")

    log = OUT / "peers" / f"{name}-{mode_name}-{model}.log"
    with running(mode.command(home, port, scratch), answers, log, environ=environ, folder=scratch) as pid:
        yield Running(url, mode.path, mode.shape, pid)


def _ask(url: str, body: Any) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)
