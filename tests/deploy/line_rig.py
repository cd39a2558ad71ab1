"""Real gateway workers in processes of their own, with a sealed model, and a small blocking client."""

from __future__ import annotations

import http.client
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from tests.ports import free_port

from andon.core.record import Field, Route
from andon.data.contract import Contract
from andon.deploy.doors import Door
from andon.deploy.route import versions
from andon.deploy.settings import GatewayConfig
from andon.model.bundle import Compiled, Parts, seal
from andon.model.predictor import load_user_source
from andon.store.routes import Ack
from andon.store.workspace import Workspace

FIELDS = (Field("cough", "bool", optional=True), Field("age", "float"))
CLASSES = ("negative", "positive")
CONFIG = GatewayConfig(project="screening", fields=FIELDS, classes=CLASSES, target="result")
DECISIONS = "/v1/projects/screening/decisions"

_CODE = b"""
import numpy as np


class Model:
    def __init__(self, width=100.0):
        self.width = width

    def predict_proba(self, x):
        p = np.clip(x[:, 0] / self.width, 0, 1)
        return np.stack([1 - p, p], axis=1)


def features(x: dict[str, np.ndarray]):
    return np.column_stack([x["age"]])
"""
_RUN = """
import sys, msgspec
from pathlib import Path
from andon.errors import AndonError
if sys.argv[1] == "shadow":
    from andon.deploy.shadow import run_shadow
    run_shadow(Path(sys.argv[3]), parent_fd=int(sys.argv[7]))
else:
    from andon.deploy.doors import Door
    from andon.deploy.settings import GatewayConfig
    from andon.deploy.worker import run_worker
    config = msgspec.json.decode(sys.argv[2], type=GatewayConfig)
    door = msgspec.json.decode(sys.argv[6], type=Door)
    try:
        run_worker(config, Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]), door, int(sys.argv[7]))
    except AndonError as error:
        sys.exit(error.message)
"""


class Line:
    """Some workers (and a shadow) of one workspace."""

    def __init__(self, home: Path, workers: int = 2, config: GatewayConfig = CONFIG) -> None:
        self.workspace = Workspace.create(home)
        self.config = config
        self.workers = workers
        self.port = free_port()
        self.door = Door()
        self.processes: dict[int | str, subprocess.Popen[bytes]] = {}
        self._pipe = os.pipe()

    def seal(self, width: float = 100.0) -> str:
        """Seal a model whose positive probability is age / width; returns the bundle's hash."""
        code = load_user_source(_CODE, Path("model.py"))
        model = code.module.Model(width)
        contract = Contract(FIELDS, "result", CLASSES)
        compiled = Compiled("python", pickle.dumps(model), reason="a test", trusted_by="owner")
        return seal(Parts(contract, compiled, code), self.workspace.home / "bundles")

    def route(self, **fields: Any) -> Route:
        """Publish the next route."""
        plane = self.workspace.routes
        return plane.publish(Route(plane.next_epoch(), 0, 0, "ann", "test", "a test", **fields))

    def start(self, *names: int | str) -> None:
        """Start workers by number ("shadow": the shadow), all workers when none is named, and wait until they answer."""
        for name in names or range(self.workers):
            kind = "shadow" if name == "shadow" else "worker"
            config = msgspec.json.encode(self.config).decode()
            door = msgspec.json.encode(msgspec.structs.replace(self.door, port=self.port)).decode()
            words = [kind, config, str(self.workspace.home), str(name), str(self.workers), door]
            self.processes[name] = subprocess.Popen(
                [sys.executable, "-c", _RUN, *words, str(self._pipe[0])],
                pass_fds=(self._pipe[0], *([self.door.uds] if self.door.uds >= 0 else [])),
                stderr=subprocess.PIPE,
            )
        for name in names or range(self.workers):
            if name != "shadow":
                self.wait_worker(int(name))

    def wait_worker(self, index: int, seconds: float = 20.0) -> None:
        """Wait until a worker has acknowledged the route in force."""
        end = time.monotonic() + seconds
        process = self.processes[index]
        while time.monotonic() < end:
            if process.poll() is not None:
                assert process.stderr is not None
                said = process.stderr.read().decode()
                process.stderr.close()
                del self.processes[index]
                raise AssertionError(f"worker {index} ended: {said}")
            sock = self.workspace.run_dir / f"w{index}.sock"
            if sock.exists() and any(
                ack.pid == process.pid and self._has_all(ack) for ack in self.workspace.routes.acks()
            ):
                return
            time.sleep(0.01)
        raise AssertionError(f"worker {index} did not start")

    def _has_all(self, ack: Ack) -> bool:
        """Whether a worker has loaded what the route asks, or knows that it cannot: only then does it listen."""
        route = self.workspace.routes.current()
        wanted = () if route is None else versions(route)
        return {*wanted} <= {*ack.loaded, *ack.faults}

    def kill(self, name: int | str, number: int = signal.SIGKILL) -> int:
        """Send a signal and wait for the end; its exit code."""
        process = self.processes.pop(name)
        process.send_signal(number)
        code = process.wait(20)
        assert process.stderr is not None
        process.stderr.close()
        return code

    def close(self) -> None:
        """End everything."""
        for name in list(self.processes):
            self.kill(name)
        for end in self._pipe:
            os.close(end)
        self.workspace.close()

    def call(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """One request over a connection of its own; (status, JSON)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=15)
        try:
            raw = None if body is None else msgspec.json.encode(body)
            connection.request(method, path, raw, headers or {})
            answer = connection.getresponse()
            return answer.status, msgspec.json.decode(answer.read())
        finally:
            connection.close()

    def decide(self, age: float = 20.0, **more: Any) -> tuple[int, Any]:
        """POST a decision."""
        return self.call("POST", DECISIONS, {"x": {"age": age}, **more})
