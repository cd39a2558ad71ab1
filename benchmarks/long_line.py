"""A line that has run for thirty days: a million decisions in its log, every window measured, a thousand cases waiting.

Written with the store's own writer and read by the controller's own ingest, so that what a page reads is what a line
leaves behind. It is made once and kept under the system's temporary folder (about two minutes); ``--fresh`` makes it anew.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from andon.config import Project, open_project
from andon.core.clock import DAY, HOUR, MINUTE, parse_time
from andon.core.record import Feedback, Item, Review
from andon.deploy.line import Line
from andon.monitor.ingest import Ingest, Pace
from andon.monitor.remeasure import Remeasure
from andon.monitor.watch import AlarmWatch
from andon.monitor.window import Measured
from andon.store.codec import DecisionBatch, encode_decisions, encode_feedback
from andon.store.frame import FrameKind
from andon.store.workspace import Workspace
from andon.store.writer import WalWriter
from benchmarks.project import COLUMNS, andon, rows

__all__ = ["BEGIN", "DAYS", "long_line"]

BEGIN = parse_time("2026-03-02T00:00:00")
DAYS = 30
_MADE = "made.json"
_FRAME = 4000
_HELD = 128 << 20
_OPEN, _ANSWERED, _OLD_ITEMS, _EVENTS = 1000, 2000, 20_000, 300

_CHARTER = """
project: long
problem: What a line of thirty days costs to look at.
inputs: {{{inputs}}}
target: {{name: y, classes: [no, yes], delay: 1d}}
safe_default: "no"
metrics:
  error: {{of: error_rate, goal: "<= 0.5", alarm: "<= 0.6"}}
  recall: {{of: "recall[yes]", goal: ">= 0.2"}}
  precision: {{of: "precision[yes]"}}
  macro_f1: {{of: macro_f1}}
  value: {{of: "value(yes: {{right: 40, missed: -40}}, no: {{wrong: -15}})", goal: "> -10"}}
  nulls: {{of: null_outputs, goal: "<= 0.02", alarm: "<= 0.02"}}
  latency: {{of: latency_p95_ms, goal: "<= 500", alarm: "<= 500"}}
  f0: {{of: "mean(f0)", alarm: "-1 .. 1"}}
  f1: {{of: "mean(f1)"}}
  automatic: {{of: automatic_share}}
slices: {{low: "f0 < -1", middle: "f0 BETWEEN -1 AND 1", high: "f0 > 1"}}
risks: [{{what: it drifts, shows_in: [f0]}}]
automation: {{level: full}}
rollout: {{guardrails: [error, nulls, latency]}}
monitor: {{window: 1h}}
"""
_MODEL = """
import andon
import numpy as np
from sklearn.linear_model import LogisticRegression


def features(x: dict[str, np.ndarray]) -> np.ndarray:
    return np.stack([x[f"f{i}"] for i in range(20)], axis=1).astype(np.float32)


def train(data: andon.TrainingData, params: dict) -> LogisticRegression:
    return LogisticRegression(max_iter=200, C=params.get("C", 1.0)).fit(data.features, data.y)
"""


def long_line(decisions: int = 1_000_000, *, fresh: bool = False) -> Path:
    """The project's folder, made if it is not there yet."""
    root = Path(tempfile.gettempdir()) / f"andon-bench-long-{decisions}"
    marks = json.dumps({"decisions": decisions, "charter": _CHARTER, "days": DAYS})
    if fresh or not (root / _MADE).exists() or (root / _MADE).read_text() != marks:
        shutil.rmtree(root, ignore_errors=True)
        root.mkdir(parents=True)
        began = time.monotonic()
        _make(root, decisions)
        (root / _MADE).write_text(marks)
        print(f"made {root} in {time.monotonic() - began:.0f} s", file=sys.stderr)
    return root


def _make(root: Path, decisions: int) -> None:
    inputs = ", ".join(f"{name}: float" for name in COLUMNS)
    (root / "andon.yaml").write_text(_CHARTER.format(inputs=inputs))
    (root / "model.py").write_text(_MODEL)
    rows().write_parquet(root / "rows.parquet")
    andon(root, "data", "add", "rows.parquet")
    for number, strength in enumerate(("1.0", "0.1", "0.01"), start=1):
        andon(root, "train", "--param", f"C={strength}")
        andon(root, "release", f"r{number}", "--reason", "benchmark")
    project = open_project(root)
    try:
        epochs = _routes(project)
        _write(project, decisions, epochs)
        _say("measuring and shipping")
        _controller(project)
        _people(project.workspace)
        project.workspace.clock.set(rate=1.0)
    finally:
        project.workspace.close()


def _routes(project: Project) -> list[tuple[int, int]]:
    """A route history of thirty days: (time, epoch) of each."""
    line, clock = Line(project.workspace, project.charter), project.workspace.clock
    steps: tuple[tuple[int, Callable[[], object]], ...] = (
        (0, lambda: line.begin(actor="ann", reason="the charter")),
        (1, lambda: line.shadow("v1", actor="ann", reason="let it watch")),
        (5, lambda: line.switch("v1", actor="ann", reason="as good as people")),
        (14, lambda: line.canary("v2", 0.1, actor="bob", reason="newer")),
        (15, lambda: line.ramp(0.5, actor="bob", reason="no harm seen")),
        (16, lambda: line.switch("v2", actor="bob", reason="better")),
        (18, lambda: line.rollback(actor="ann", reason="worse on the weekend")),
        (20, lambda: line.switch("v2", actor="bob", reason="it was the data")),
        (26, lambda: line.canary("v3", 0.05, actor="bob", reason="newest")),
        (28, lambda: line.ramp(0.2, actor="bob", reason="no harm seen")),
    )
    epochs = []
    for day, step in steps:
        clock.set(time_us=BEGIN + day * DAY, rate=0.0)
        step()
        epochs.append((BEGIN + day * DAY, project.workspace.routes.word()))
    return epochs


def _write(project: Project, decisions: int, epochs: list[tuple[int, int]]) -> None:
    """Decisions evenly over the days, by those who decided then; the last ones wait; a tenth has a label."""
    _say(f"writing {decisions:,} decisions")
    workspace, draw = project.workspace, np.random.default_rng(3)
    contract = bytes.fromhex(next(iter(sorted(path.stem for path in (workspace.home / "contracts").glob("*.json")))))
    times = np.linspace(BEGIN, BEGIN + DAYS * DAY - MINUTE, decisions).astype(np.int64)
    starts = np.array([time_us for time_us, _ in epochs])
    writer = WalWriter(workspace.wal_dir, "w0")
    try:
        for first in range(0, decisions, _FRAME):
            part = times[first : first + _FRAME]
            batch = _batch(
                project,
                part,
                first,
                decisions,
                draw,
                [epochs[i][1] for i in np.searchsorted(starts, part, "right") - 1],
            )
            payload = encode_decisions(project.charter.fields(), batch)
            writer.append(FrameKind.DECISION, payload, count=len(part), contract=contract, time_us=int(part[-1]))
            labels = [
                Feedback(str(id), "label", str(value), int(time_us) + HOUR)
                for id, value, time_us in zip(
                    batch.id[::10], draw.choice(["no", "yes"], len(part)), part[::10], strict=False
                )
            ]
            writer.append(FrameKind.FEEDBACK, encode_feedback(labels), count=len(labels), time_us=int(part[-1]))
    finally:
        writer.close()


def _batch(
    project: Project, times: np.ndarray, first: int, whole: int, draw: np.random.Generator, epochs: list[int]
) -> DecisionBatch:
    n = len(times)
    batch = DecisionBatch.empty(project.charter.fields())
    batch.x = [column.tolist() for column in draw.normal(size=(len(COLUMNS), n)).round(4)]
    batch.id = [f"w0-bench-{number:x}" for number in range(first, first + n)]
    batch.time_us = batch.wall_us = times.tolist()
    batch.epoch = epochs
    routes = {epoch: project.workspace.routes.at(epoch) for epoch in set(epochs)}
    chance = draw.random(n)
    mine = [routes[epoch] for epoch in epochs]
    candidate = [bool(route.share) and place < route.share for route, place in zip(mine, chance, strict=True)]
    waits = [number >= whole - (_OPEN + _ANSWERED) for number in range(first, first + n)]
    people = [route.live is None for route in mine]
    batch.version = [route.candidate if new else route.live for route, new in zip(mine, candidate, strict=True)]
    batch.arm = ["candidate" if new else "none" if by else "live" for new, by in zip(candidate, people, strict=True)]
    batch.status = ["pending" if wait else "decided" for wait in waits]
    batch.decided_by = [
        "nobody" if wait else "client" if by else "model" for wait, by in zip(waits, people, strict=True)
    ]
    answers = draw.choice(["no", "yes"], n).tolist()
    batch.decision = [None if wait else answer for wait, answer in zip(waits, answers, strict=True)]
    batch.human = [answer if by else None for by, answer in zip(people, answers, strict=True)]
    batch.level = ["shadow" if by else "full" for by in people]
    batch.slice, batch.unit, batch.sticky = ["*"] * n, [""] * n, [True] * n
    batch.probability = [1.0] * n
    batch.confidence = draw.random(n).round(3).tolist()
    batch.scores, batch.suggestion, batch.error = [None] * n, [None] * n, [None] * n
    batch.audit, batch.tags = [0.0] * n, [{}] * n
    batch.latency_us = draw.lognormal(6.5, 0.6, n).astype(int).tolist()
    return batch


def _controller(project: Project) -> None:
    """All that a controller makes of it, and its alarms."""
    workspace, charter = project.workspace, project.charter
    workspace.clock.set(time_us=BEGIN + DAYS * DAY, rate=0.0)
    plan = Measured.of(charter)
    ingest = Ingest(workspace, charter, plan=plan, pace=Pace(window=0.0, ship=5.0, tidy=3600.0))
    again = Remeasure(workspace, plan, ingest.taps, seconds=3600.0)
    more = True
    while more:
        more = ingest.tick().more
        again.note()
        again.run(now=ingest.taps.held_bytes > _HELD)  # what came late is held until it is measured
    _say("the last cases are answered")
    again.run(now=True)
    waiting = [item.id for item in workspace.items.queue(_ANSWERED)]
    now = workspace.clock.now()
    workspace.outbox.append([Review(id, "yes", "person", "maria", now, 12.0) for id in waiting])
    ingest.finish()
    again.note()
    again.run(now=True)
    ingest.finish()
    AlarmWatch(workspace, charter).look()


def _people(workspace: Workspace) -> None:
    """Cases of the months before, and what was done to the line meanwhile."""
    _say("the inbox and the journal of the months before")
    for first in range(0, _OLD_ITEMS, 2000):
        workspace.items.add(
            [
                Item(f"old-{n}", "decision", BEGIN - DAY, BEGIN, dict.fromkeys(COLUMNS, 0.5), state="decided",
                     decision="no", decided_by="person", reviewer="maria", decided_us=BEGIN, outboxed=True)
                for n in range(first, first + 2000)
            ]
        )  # fmt: skip
    for number in range(_EVENTS):
        workspace.journal.append("feedback.import", f"labels-{number}.csv", "ann", "a day's labels", {"rows": 33_000})


def _say(what: str) -> None:
    print(f"  {what} ...", file=sys.stderr)
