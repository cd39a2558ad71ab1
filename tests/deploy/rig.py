"""A worker's parts without a socket: real log, routes and clock in a temporary workspace, a model in a few lines."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from andon.core.record import Field, Route
from andon.data.contract import Contract
from andon.deploy.desk import Desk
from andon.deploy.gateway import Gateway
from andon.deploy.idempotency import SeenIds
from andon.deploy.memory import Memory
from andon.deploy.parts import Parts, Peers, Sink
from andon.deploy.placing import Terms
from andon.deploy.protocol_message import Answer, Request
from andon.deploy.recorder import Recorder
from andon.deploy.replica import Replicas
from andon.deploy.reviews import Reviews
from andon.deploy.settings import GatewayConfig
from andon.deploy.shed import Shed
from andon.people.access import Access
from andon.store.tokens import TokenFile
from andon.store.wal import WalWriter
from andon.store.workspace import Workspace

FIELDS = (Field("cough", "bool", optional=True), Field("age", "float"))
CLASSES = ("negative", "positive")
CONFIG = GatewayConfig(project="screening", fields=FIELDS, classes=CLASSES, target="result")
BASE = "/v1/projects/screening"

Predict = Callable[[Mapping[str, np.ndarray[Any, Any]]], np.ndarray[Any, Any]]


def by_age(columns: Mapping[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Positive with probability age / 100."""
    p = np.clip(columns["age"] / 100, 0, 1)
    return np.stack([1 - p, p], axis=1).astype(np.float32)


def draws(quick: int, all: int) -> int:
    """How many examples hypothesis takes: ``all`` where it draws anew (``make test-all``), else ``quick``."""
    return all if os.environ.get("ANDON_FUZZ") else quick


class FakeServed:
    """What ``load_bundle`` returns, as far as the live path looks."""

    def __init__(self, predict: Predict = by_age, fields: tuple[Field, ...] = FIELDS) -> None:
        self.contract = Contract(fields, "result", CLASSES)
        self.classes = CLASSES
        self.path = Path("model")
        self.engine = "onnx"
        self.predict = predict


class Rig:
    """One worker; ``models`` maps bundle hashes to models (or to the error that loading raises)."""

    def __init__(
        self,
        workspace: Workspace,
        config: GatewayConfig = CONFIG,
        models: Mapping[str, FakeServed | Exception] | None = None,
        *,
        index: int = 0,
        workers: int = 1,
        peers: Peers | None = None,
        sink: Sink | None = None,
        **wal: Any,
    ) -> None:
        self.workspace = workspace
        self.config = config
        self.models = dict(models or {})
        self.posted: list[Callable[[], None]] = []
        self.woken = 0
        self.wal = WalWriter(workspace.wal_dir, f"w{index}", durability=config.durability, **wal)
        memory = Memory(
            workspace.wal_dir,
            index,
            workers,
            SeenIds(config.idempotency_ids, config.idempotency_seconds),
            lambda hash8: workspace.load_contract(hash8.hex())[0],
        )
        memory.rebuild(config.idempotency_ids, workspace.clock, config.idempotency_seconds)
        self.memory = memory
        self.reviews = Reviews(workspace.wal_dir)
        self.reviews.catch_up()
        self.replicas = Replicas(self._load, self.posted.append, self._changed)
        commit = config.durability == "commit"
        recorder = Recorder(
            self.wal,
            workspace.unit_hash,
            config.redactor(workspace.redaction_key),
            commit=commit,
            post=self.posted.append,
            backlog=config.backlog_bytes,
        )
        shed = None
        if config.pressure == "shed":
            path = workspace.run_dir / f"shed-w{index}"
            shed = Shed(path, workspace.wal_dir, f"w{index}", config.idempotency_seconds)
        parts = Parts(
            clock=workspace.clock,
            routes=workspace.routes,
            replicas=self.replicas,
            recorder=recorder,
            memory=memory,
            reviews=self.reviews,
            keep_contract=self._keep,
            wake=self._wake,
            post=self.posted.append,
            peers=peers,
            sink=sink,
            shed=shed,
        )
        self.desk = Desk(config, parts, index)
        self.access = Access(TokenFile(workspace.home))
        self.gateway = Gateway(config, self.desk, access=self.access, wall=workspace.clock.wall)

    def _load(self, hash: str) -> Any:
        found = self.models[hash]
        if isinstance(found, Exception):
            raise found
        return found

    def _changed(self) -> None:
        self.desk.acknowledge()

    def _keep(self, terms: Terms) -> None:
        self.workspace.save_contract(terms.contract.hash, terms.contract.fields, terms.contract.classes)

    def _wake(self) -> None:
        self.woken += 1

    def turn(self) -> None:
        """One turn of the loop."""
        self.desk.tick()
        for _ in range(len(self.posted)):  # a model's thread may add to them meanwhile
            self.posted.pop(0)()
        self.desk.turn()

    def until(self, condition: Callable[[], bool], seconds: float = 5.0) -> None:
        """Turn until something holds."""
        import time

        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "it did not happen"
            self.turn()
            time.sleep(0.001)

    def route(self, **fields: Any) -> Route:
        """Publish the next route and wait until it is followed and loaded."""
        epoch = self.workspace.routes.next_epoch()
        bundles = {version: version for version in ("v1", "v2", "v3")}
        route = Route(epoch, 0, 0, "ann", "test", "a test", **{"bundles": bundles, **fields})
        self.workspace.routes.publish(route)
        self.until(lambda: self.desk.placer.epoch == epoch and self.replicas.settled)
        return route

    def ask(
        self, method: str, path: str, body: Any = b"", headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> list[Answer]:
        """Submit; the answers appear in the list returned."""
        answers: list[Answer] = []
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        path, _, query = path.partition("?")
        self.gateway.submit(Request(method, path, query, headers, raw), answers.append)
        return answers

    def call(
        self, method: str, path: str, body: Any = b"", headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> tuple[int, Any]:
        """Submit and turn until it is answered; (status, JSON body)."""
        answers = self.ask(method, path, body, headers)
        self.until(lambda: bool(answers))
        assert len(answers) == 1
        return answers[0].status, msgspec.json.decode(answers[0].body)

    def decide(self, x: Any = None, **more: Any) -> tuple[int, Any]:
        """POST a decision."""
        return self.call("POST", f"{BASE}/decisions", {"x": {"age": 20.0} if x is None else x, **more})

    def close(self) -> None:
        """End it, as a kill would: nothing is said to anybody."""
        self.replicas.close()
        self.wal.close()  # a second call does nothing
