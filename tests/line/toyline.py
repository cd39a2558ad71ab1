"""What tests of real lines are built from: a small project with a real model, and a line of real processes over it."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from tests.ports import free_port

from andon.config import Project, open_project
from andon.core.clock import SystemClock
from andon.demo.client import Client
from andon.demo.making import new_dataset
from andon.deploy.line import Line
from andon.deploy.release import release
from andon.engine.local import LocalEngine
from andon.errors import Unavailable
from andon.model.training import Options, train
from andon.surface.line import Settings, line_processes

__all__ = ["DECISIONS", "Running", "free_port", "make_toy"]

JSON = "application/json"

DECISIONS = "/v1/projects/toy/decisions"

CHARTER = """
project: toy
problem: Is the sum large?
inputs: {a: float, b: float?, c: category?}
target: {name: y, classes: [small, large]}
safe_default: small
metrics:
  error: {of: error_rate, goal: "<= 0.45", alarm: "<= 0.9"}
  load: {of: "mean(a)", alarm: "<= 1000"}
automation: {level: human, partial: {audit_share: 0}}
review: {deadline: 1h}
monitor: {window: 1m}
gateway: {port: 1, workers: 2}
"""

MODEL = """
import msgspec
import numpy as np
from sklearn.linear_model import LogisticRegression


def features(x: dict[str, np.ndarray]) -> np.ndarray:
    return np.stack([x["a"], np.nan_to_num(x["b"])], axis=1).astype(np.float32)


def train(data, params):
    return LogisticRegression(C=params.get("C", 1.0)).fit(data.features, data.y)
"""


def rows(n: int = 400, seed: int = 7) -> pl.DataFrame:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=n), rng.normal(size=n)
    large = a + b + rng.normal(scale=0.3, size=n) > 0
    return pl.DataFrame(
        {"a": a, "b": b, "c": rng.choice(["x", "y"], n).tolist(), "y": np.where(large, "large", "small").tolist()}
    )


def make_toy(root: Path) -> Path:
    """A project with two releases, v1 and v2, and no route yet; it is never run, only copied."""
    (root / "andon.yaml").write_text(CHARTER)
    (root / "model.py").write_text(MODEL)
    project = open_project(root)
    dataset = new_dataset(project, rows(), "toy", actor="test")
    for number, strength in enumerate((1.0, 0.01), start=1):
        options = Options(project.model_file, parameters={"C": strength}, actor="test")
        run = train(project.workspace, project.charter, dataset.version, options)
        made = release(project.workspace, project.charter, run.id, actor="test", reason="toy", override=True)
        assert made.version == f"v{number}"
    project.workspace.close()
    return root


class Running:
    """A line of real processes in a copy of the toy project."""

    def __init__(self, root: Path, workers: int, gateway: str = "", charter: str = "") -> None:
        """``gateway`` is further settings of the charter's section, as in ``"queue: 10"``; ``charter`` further sections."""
        self.port = free_port()
        section = ", ".join(filter(None, [f"port: {self.port}", f"workers: {workers}", gateway]))
        text = (root / "andon.yaml").read_text().replace("port: 1, workers: 2", section)
        (root / "andon.yaml").write_text(f"{text}{charter}\n")
        self.root = root
        self.project: Project = open_project(root)
        self.line = Line(self.project.workspace, self.project.charter)
        self.engine = LocalEngine(self.project.workspace.run_dir, SystemClock())
        self.clients: list[Client] = []

    def start(self, ship_seconds: float = 0.3, niceness: int | None = None) -> None:
        """``niceness`` 0 lets the controller and the shadow have as much of a busy machine as any."""
        specs = line_processes(self.project, Settings(ship_seconds=ship_seconds))
        self.engine.replicas(specs if niceness is None else tuple(replace(one, niceness=niceness) for one in specs))
        self.until(self.ready, 40, "the line is not ready")

    def ready(self) -> bool:
        client = Client("127.0.0.1", self.port, connections=1)
        try:
            return client.get("/v2/health/ready").status == 200
        except (Unavailable, OSError):
            return False
        finally:
            client.close()

    def client(self, connections: int = 8) -> Client:
        client = Client("127.0.0.1", self.port, connections)
        self.clients.append(client)
        return client

    def until(self, condition: Callable[[], bool], seconds: float, otherwise: str) -> None:
        end = time.monotonic() + seconds
        while not condition():
            self.engine.poll()
            if time.monotonic() > end:
                logs = "\n".join(
                    f"== {p.name}\n{p.read_text()[-1500:]}" for p in self.project.workspace.run_dir.glob("*.log")
                )
                pytest.fail(f"{otherwise} after {seconds} s\n{logs}")
            time.sleep(0.02)

    def restart(self) -> None:
        """End every process in order, and start them again."""
        self.engine.close()
        self.start()

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """One request over a connection of its own, never sent twice; its status and JSON body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request(method, path, None if body is None else msgspec.json.encode(body))
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, msgspec.json.decode(text) if answer.headers["content-type"] == JSON else text.decode()
        finally:
            connection.close()

    def decide(self, a: float = 1.0, **more: Any) -> tuple[int, Any]:
        """Ask for one decision."""
        return self.call("POST", DECISIONS, {"x": {"a": a, "b": None, "c": "x"}, **more})

    def log(self, name: str) -> str:
        """What a process has printed."""
        return (self.project.workspace.run_dir / f"{name}.log").read_text()

    def pid(self, name: str) -> int | None:
        return next((state.pid for state in self.engine.states() if state.name == name), None)

    def close(self) -> None:
        for client in self.clients:
            client.close()
        self.engine.close()
        self.project.workspace.close()
