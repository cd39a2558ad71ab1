"""A line without a gateway on which rollouts run: its decisions are written as the route says, its clock is moved by hand."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from andon.core.clock import ManualClock
from andon.core.record import Feedback, Prediction, Route
from andon.deploy.line import Line
from andon.deploy.rollout_record import Rollout
from andon.deploy.rollout_store import newest, start
from andon.deploy.route import assign
from andon.monitor.steer import Steer
from andon.scope.charter import Charter, parse
from andon.store.codec import DecisionBatch, DecisionRow, encode_decisions, encode_feedback, encode_predictions
from andon.store.frame import FrameKind
from andon.store.workspace import Workspace
from andon.store.writer import WalWriter

HEAD = """
project: screening
inputs: {cough: bool?}
target: {name: result, classes: [negative, positive], delay: %s}
safe_default: refer
automation: {level: full}
metrics:
  errors: {of: error_responses, goal: "<= 0.2"}
  wrong: {of: error_rate, goal: "<= 0.2"}
  worth: {of: "value(negative: {right: 1}, positive: {wrong: -10})", goal: "> 0", margin: 1.5}
rollout: {path: [%s], guardrails: [%s], start_share: 0.1, bake: 1h%s}
"""
HASH = "00112233445566aa"
NOW = 1_583_884_800_000_000


def charter(
    path: str = "canary, live", rails: str = "errors", delay: str = "0s", more: str = "", bake: str = "1h"
) -> Charter:
    return parse(HEAD.replace("bake: 1h", f"bake: {bake}") % (delay, path, rails, more))


Arm = Literal["live", "candidate", "none"]


class Rolling:
    """v1 live (or nobody, with ``live`` ""), v2 released; ``bad`` says how often each version fails, ``wrong`` how often it errs."""

    def __init__(self, home: Path, rules: Charter | None = None, seed: int = 1, *, live: str = "v1") -> None:
        self.charter = rules or charter()
        self.workspace = Workspace.create(home)
        self.clock = ManualClock(NOW)
        self.real_clock = self.workspace.clock
        self.workspace.clock = self.clock  # type: ignore[assignment]
        self.fields = self.charter.fields()
        self.workspace.save_contract(HASH, self.fields, self.charter.target.classes)
        for number in (1, 2, 3):
            release = {"version": f"v{number}", "bundle": f"b{number}" * 8, "run": "r1"}
            self.workspace.records.put("release", f"v{number}", release)
        self.line = Line(self.workspace, self.charter, patience=0.2)
        if live:
            self.line.switch(live, actor="ann")
        else:
            self.line.begin(actor="ann")
        self.random = random.Random(seed)
        self.writer = WalWriter(self.workspace.wal_dir, "w0")
        self.made = 0
        self.bad = {"v1": 0.05, "v2": 0.05}
        self.wrong = {"v1": 0.05, "v2": 0.05}
        self.unlabelled: list[tuple[str, bool]] = []
        self.steer = self.leader()

    def leader(self) -> Steer:
        """A controller's steering, made anew."""
        return Steer(self.workspace, self.charter, seconds=0.0)

    def begin(self, version: str = "v2", **more: Any) -> Rollout:
        return start(self.workspace, self.charter, version, actor="ann", reason="better", **more)

    def come(
        self,
        units: int,
        *,
        seconds: float = 600,
        send: Callable[[str], Arm] | None = None,
        label: bool = True,
        pin: str = "",
    ) -> None:
        """Units come in, evenly over so many seconds; ``send`` may lie about the arm, ``pin`` is a version asked for by name."""
        batch, shadows = DecisionBatch.empty(self.fields), []
        route = self.workspace.routes.current()
        assert route is not None
        for _ in range(units):
            self.clock.advance(seconds / units)
            self.made += 1
            unit = f"u{self.made}"
            drawn = assign(route, unit)
            arm: Arm = "none" if pin else drawn.arm if send is None else send(drawn.arm)
            version = pin or (route.candidate if arm == "candidate" else route.live)
            failed = self.random.random() < self.bad.get(version or "", 0.0)
            missed = self.random.random() < self.wrong.get(version or "", 0.0)
            row: dict[str, Any] = {"decision": None if failed else "negative", "error": "broken" if failed else None}
            batch.append_row(
                [True],
                DecisionRow(
                    id=unit,
                    time_us=self.clock.now(),
                    epoch=route.epoch,
                    unit=unit,
                    status="decided",
                    decided_by="model" if version else "person",
                    level="full",
                    version=version,
                    arm=arm,
                    probability=1.0 if pin else drawn.probability if arm == drawn.arm else 1 - drawn.probability,
                    **row,
                ),
            )
            self.unlabelled.append((unit, missed))
            for name in route.shadows:
                out = self.random.random() < self.bad.get(name, 0.0)
                shadows.append(Prediction(unit, name, None if out else "negative", time_us=self.clock.now()))
        contract = bytes.fromhex(HASH)
        payload = encode_decisions(self.fields, batch)
        self.writer.append(FrameKind.DECISION, payload, count=units, contract=contract, time_us=self.clock.now())
        if shadows:
            self.writer.append(
                FrameKind.SHADOW, encode_predictions(shadows), count=len(shadows), time_us=self.clock.now()
            )
        if label:
            self.label()

    def label(self) -> None:
        """Say how the cases went."""
        rows = [Feedback(id, "label", "positive" if wrong else "negative") for id, wrong in self.unlabelled]
        self.unlabelled.clear()
        if rows:
            self.writer.append(FrameKind.FEEDBACK, encode_feedback(rows), count=len(rows), time_us=self.clock.now())

    def look(self) -> Rollout:
        """One turn of the controller, and the rollout then."""
        self.steer.turn()
        return self.now

    @property
    def now(self) -> Rollout:
        found = newest(self.workspace)
        assert found is not None
        return found.rollout

    def until(self, *states: str, rounds: int = 40, units: int = 1500, **more: Any) -> Rollout:
        """Let units come until the rollout is in one of these states."""
        for _ in range(rounds):
            if self.look().state in states:
                return self.now
            self.come(units, **more)
        raise AssertionError(f"after {rounds} rounds it is {self.now.state}: {self.now.sentence}")

    def told(self) -> list[str]:
        """The states that the journal tells, in order."""
        events = self.workspace.journal.read(action="rollout.transition", limit=1000)
        return [event.evidence["transition"]["after"] for event in events]

    def close(self) -> None:
        self.writer.close()
        self.workspace.clock = self.real_clock
        self.workspace.close()


def route_of(line: Rolling) -> Route:
    """The route in force."""
    route = line.workspace.routes.current()
    assert route is not None
    return route
