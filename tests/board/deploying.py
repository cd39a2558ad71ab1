"""A line to deploy on, in this process: releases, a charter with slices, workers that only say so, and a log to write."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from tests.board.reviewing import BEGIN, Room
from tests.line.database import moved_away

from andon.core.clock import DAY, MINUTE
from andon.core.record import Feedback, Field, Prediction, Review, Route
from andon.deploy.line import Line
from andon.errors import AndonError
from andon.store.codec import DecisionBatch, DecisionRow, encode_decisions, encode_feedback, encode_predictions
from andon.store.frame import FrameKind
from andon.store.routes import Ack
from andon.store.writer import WalWriter
from andon.surface.page import Command, Preview
from andon.surface.view.deploy import COMMANDS, PAGES
from andon.surface.view.deploy_act import Acted
from andon.surface.visit import Viewer, Visit

__all__ = ["CHARTER", "HASH", "Yard", "decided", "refused", "waiting"]

CHARTER = """
project: yard
problem: Which bolt may leave?
case: automate
inputs: {age: int?, region: category}
target: {name: verdict, classes: [accept, reject]}
safe_default: refer
slices: {older: "age >= 60", north: "region = 'North'"}
automation: {level: shadow, partial: {max_error: 0.02, confidence: 0.95}}
review: {reviewers_per_hour: 5}
rollout: {start_share: 0.05}
checklist: {security: {tokens: required}}
"""
FIELDS: tuple[Field, ...] = (Field("age", "int", optional=True), Field("region", "category"))
HASH = "00112233445566aa"
GATES = [
    {"metric": "error", "verdict": "pass", "sentence": "error is 0.1 (0.05 to 0.15, n 90): inside <= 0.2"},
    {"metric": "recall", "cohort": "older", "verdict": "fail", "sentence": "recall on older is 0.5: outside >= 0.9"},
]


def decided(id: str, decision: str, time_us: int = BEGIN, **more: Any) -> DecisionRow:
    """A case that the live version v1 decided."""
    given: dict[str, Any] = {"decided_by": "model", "level": "full", "version": "v1", **more}
    return DecisionRow(id=id, time_us=time_us, status="decided", decision=decision, **given)


def waiting(id: str, time_us: int = BEGIN, **more: Any) -> DecisionRow:
    """A case that waits for a person; v1 was asked."""
    return DecisionRow(id=id, time_us=time_us, **{"level": "shadow", "version": "v1", **more})


class Yard(Room):
    """A project with the releases v1, v2 (goals met) and v3 (released all the same)."""

    def __init__(self, root: Path, charter: str = CHARTER) -> None:
        super().__init__(root, charter)
        for version in ("v1", "v2", "v3"):
            self.release(version, "fail" if version == "v3" else "pass")
        self.line = Line(self.workspace, self.project.charter, patience=0.2)
        self.fields = FIELDS
        self._writers: dict[str, WalWriter] = {}

    def release(self, version: str, verdict: str = "pass") -> None:
        """One more release."""
        record = {
            "version": version,
            "bundle": version * 8,
            "run": f"r{version[1:]}",
            "dataset": "d1",
            "contract": "c1",
        }
        more = {"verdict": verdict, "gates": GATES if verdict != "pass" else GATES[:1], "overridden": verdict != "pass"}
        self.workspace.records.put("release", version, {**record, **more, "later": ["latency"], "actor": "ann"})

    def visit(self, role: Any = "owner", name: str = "maria") -> Visit:
        """A look by somebody."""
        return Visit(self.project, Viewer(name, role), self._access)

    def look(self, name: str, **given: Any) -> Any:
        """A page's view."""
        page = next(page for page in PAGES if page.name == name)
        return page.view(self.visit(), msgspec.convert(given, page.params))

    @staticmethod
    def command(name: str) -> Command:
        """A command by its name."""
        return next(command for command in COMMANDS if command.name == name)

    def ask(self, name: str, **given: Any) -> Preview:
        """A command's preview."""
        command = self.command(name)
        assert command.preview is not None
        return command.preview(self.visit(), msgspec.convert(given, command.params))

    def act(self, name: str, **given: Any) -> Acted:
        """Run a command."""
        command = self.command(name)
        done = command.run(self.visit(), msgspec.convert(given, command.params))
        assert isinstance(done, Acted)
        return done

    @property
    def route(self) -> Route:
        """The route in force."""
        found = self.workspace.routes.current()
        assert found is not None
        return found

    def state(self) -> tuple[int, int, tuple[str, ...]]:
        """What a look must not change: the epoch, the length of the journal, the files of the route plane."""
        files = sorted(str(path) for path in self.workspace.routes.directory.rglob("*"))
        return self.workspace.routes.word(), len(self.workspace.journal.read(limit=10_000)), tuple(files)

    def worker(self, name: str, epoch: int, *loaded: str, **faults: str) -> None:
        """A worker of this process says what it does."""
        ack = Ack(name, os.getpid(), epoch, loaded, self.clock.wall(), dict(faults))
        self.workspace.routes.acknowledge(name, ack)

    # ------------------------------------------------------------------------------------------------- the log

    def _writer(self, stream: str) -> WalWriter:
        if stream not in self._writers:
            self.workspace.save_contract(HASH, self.fields, ("accept", "reject"))
            self._writers[stream] = WalWriter(self.workspace.wal_dir, stream)
        return self._writers[stream]

    def decide(self, *rows: DecisionRow, x: Sequence[Any] = (41, "North")) -> None:
        """Write decisions."""
        batch = DecisionBatch.empty(self.fields)
        for row in rows:
            batch.append_row(list(x), row)
        body = encode_decisions(self.fields, batch)
        contract = bytes.fromhex(HASH)
        self._writer("w0").append(FrameKind.DECISION, body, count=len(rows), contract=contract, time_us=rows[0].time_us)

    def shadow(self, version: str, said: Mapping[str, str | None], confidence: float = 0.8) -> None:
        """Write what a version said in the shadow."""
        rows = [Prediction(id, version, label, confidence if label else None) for id, label in said.items()]
        self._writer("s0").append(FrameKind.SHADOW, encode_predictions(rows), count=len(rows), time_us=BEGIN)

    def label(self, labels: dict[str, str]) -> None:
        """Write what turned out to be true."""
        rows = [Feedback(id, "label", value) for id, value in labels.items()]
        self._writer("w0").append(FrameKind.FEEDBACK, encode_feedback(rows), count=len(rows), time_us=BEGIN + DAY)

    def review(self, id: str, decision: str, **more: Any) -> None:
        """Write a person's answer."""
        given: dict[str, Any] = {"reviewer": "ann", "time_us": BEGIN + MINUTE, **more}
        self.workspace.outbox.append([Review(id, decision, "person", **given)])

    @contextmanager
    def gone(self) -> Any:
        """The database is gone."""
        self.workspace.db.close()
        with moved_away(self.workspace.home):
            yield

    def close(self) -> None:
        """Let go of everything."""
        for writer in self._writers.values():
            writer.close()
        super().close()


def refused(act: Any) -> AndonError | None:
    """The error of ours that a call raises, or None."""
    try:
        act()
    except AndonError as error:
        return error
    return None
