"""The project that the board is walked through: a small line that has run for half a day, with everything a board shows.

Two releases, people who decided, a case that was stopped and started, an alarm that rings, cases that wait, labels that
came later, and in every place where somebody may write freely a text that means harm. It is made once with real
processes and the workspace's clock, which is moved by hand, and then only copied.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from tests.line.toyline import Running

from andon.config import Project, open_project
from andon.core.clock import HOUR, MINUTE, SECOND, parse_time
from andon.data.contract import Contract
from andon.data.dataset import add
from andon.demo.operator_desk import OperatorDesk
from andon.deploy.line import Line, open_inbox
from andon.deploy.release import release
from andon.model.training import Options, train
from andon.monitor.controller import Controller
from andon.monitor.ingest import Pace
from andon.monitor.watch import acknowledge_alarm, alarms
from andon.people.access import Access
from andon.store.segment import stream_end, streams
from andon.store.tokens import TokenFile
from andon.store.workspace import Workspace
from andon.surface.line import Settings, line_processes

__all__ = ["BEGIN", "HOSTILE", "LONG", "ROLES", "give_tokens", "make_empty", "make_workshop"]

BEGIN = parse_time("2026-03-02T06:00:00")
HOURS = 8
PER_HOUR = 40
ROLES = ("viewer", "labeler", "reviewer", "operator", "owner")

#: Texts that do harm wherever one of them is taken for anything but a text.
HOSTILE = (
    "<img src=x onerror=\"document.title='taken'\">",
    "\"'><script>document.title='taken'</script>",
    "</title></textarea><svg onload=document.title='taken'>",
    "{{7*7}}{% raw %}${7*7}",
    "javascript:document.title='taken'//",
)
#: A word that no line can break.
LONG = "W" * 180

CHARTER = """
project: toy
problem: Which bolts may leave the workshop at once, and which must somebody look at?
case: automate
owner: foreman
inputs: {width: float, length: float?, coating: category?, note: text?}
target: {name: verdict, classes: [accept, reject], delay: 1h}
safe_default: reject
checklist: {security: {tokens: required}}
metrics:
  error: {of: error_rate, goal: "<= 0.3", alarm: "<= 0.45"}
  width: {of: "mean(width)", alarm: "<= 10.8", critical: true}
  nulls: {of: null_outputs, goal: "<= 0.02", alarm: "<= 0.02"}
  automatic: {of: automatic_share}
slices: {zinc: "coating = 'zinc'", long: "length > 55"}
risks: [{what: the lathe runs out of true, shows_in: [width, error]}]
automation: {level: full, slices: {zinc: assist}, partial: {audit_share: 0.1, max_error: 0.45}}
review: {deadline: 2d, reviewers_per_hour: 60}
rollout: {start_share: 0.2}
monitor: {window: 1h}
gateway: {port: 1, workers: 2}
"""

MODEL = """
import numpy as np
from sklearn.linear_model import LogisticRegression


def features(x: dict[str, np.ndarray]) -> np.ndarray:
    return np.stack([x["width"] - 10, np.nan_to_num(x["length"], nan=50.0) - 50], axis=1).astype(np.float32)


def train(data, params):
    return LogisticRegression(C=params.get("C", 1.0)).fit(data.features, data.y)
"""


def bolts(n: int, seed: int, shift: float = 0.0) -> pl.DataFrame:
    """``n`` bolts with their verdict; one in forty has been given a harmful note."""
    draw = np.random.default_rng(seed)
    width, length = draw.normal(10 + shift, 0.5, n), draw.normal(50, 4, n)
    wrong = (np.abs(width - 10) > 0.6) | (length > 55)
    flips = draw.random(n) < 0.06
    notes = [HOSTILE[i // 40 % len(HOSTILE)] if i % 40 == 3 else LONG if i % 40 == 5 else None for i in range(n)]
    return pl.DataFrame(
        {
            "width": width.round(3),
            "length": [None if gone else round(value, 2) for gone, value in zip(draw.random(n) < 0.05, length.tolist(), strict=True)],
            "coating": draw.choice(["zinc", "none", HOSTILE[0]], n, p=[0.25, 0.7, 0.05]).tolist(),
            "note": pl.Series(notes, dtype=pl.String),
            "verdict": np.where(wrong ^ flips, "reject", "accept").tolist(),
        }
    )  # fmt: skip


def make_empty(root: Path) -> Path:
    """A project as ``andon init`` leaves it: a charter, a model file and nothing else."""
    root.mkdir(parents=True)
    (root / "andon.yaml").write_text(CHARTER)
    (root / "model.py").write_text(MODEL)
    open_project(root).workspace.close()
    return root


def make_workshop(root: Path) -> Path:
    """The project with its half day behind it and its clock going on."""
    make_empty(root)
    project = open_project(root)
    project.workspace.clock.set(time_us=BEGIN, rate=0.0)
    for number, strength in enumerate((1.0, 0.01), start=1):
        _release(project, number, strength)
    project.workspace.close()
    # The line itself asks for no token, so that its callers need none.
    text = (root / "andon.yaml").read_text()
    (root / "andon.yaml").write_text(text.replace("tokens: required", "tokens: none"))
    _day(root)
    (root / "andon.yaml").write_text(text)
    return root


def _release(project: Project, number: int, strength: float) -> None:
    charter = project.charter
    contract = Contract(charter.fields(), charter.target.name, tuple(charter.target.classes))
    name = f"lot {number} {HOSTILE[1]}"
    dataset = add(project.workspace, bolts(400, number), contract, name=name, actor="ann", note=HOSTILE[2])
    options = Options(project.model_file, parameters={"C": strength}, actor="ann", reason=HOSTILE[0])
    run = train(project.workspace, charter, dataset.version, options)
    release(project.workspace, charter, run.id, actor="ann", reason=f"lot {number} {HOSTILE[3]}", override=True)


class _Day:
    """A line of real workers and a shadow; what its controller does is done here, so that it is done when it must be."""

    def __init__(self, root: Path) -> None:
        self.running = Running(root, workers=1)
        self.project = self.running.project
        self.workspace = self.project.workspace
        self.line = Line(self.workspace, self.project.charter)
        self.controller = Controller(
            self.workspace, self.project.charter, pace=Pace(window=0, ship=0, tidy=0, measure=0), say=lambda _: None
        )
        self.decide = f"/v1/projects/{self.project.charter.project}/decisions"
        self.feed = f"/v1/projects/{self.project.charter.project}/feedback"

    def start(self) -> None:
        self.line.begin(actor="foreman", reason="the charter")
        specs = line_processes(self.project, Settings(port=self.running.port, workers=1))
        self.running.engine.replicas(tuple(replace(spec) for spec in specs if spec.name != "controller"))
        self.running.until(self.running.ready, 40, "the line is not ready")
        self.client = self.running.client()

    def hour(self, number: int, shift: float = 0.0, per_hour: int = PER_HOUR) -> None:
        """One hour's bolts in four portions, their verdicts, and what the controller makes of them."""
        frame = bolts(per_hour, 100 + number, shift)
        for quarter in range(4):
            self.workspace.clock.set(time_us=BEGIN + number * HOUR + (quarter * 15 + 3) * MINUTE, rate=0.0)
            rows = frame.gather_every(4, quarter).to_dicts()
            verdicts = [row.pop("verdict") for row in rows]
            names = [f"h{number}q{quarter}-{i}" for i in range(len(rows))]
            names[-2:] = [f"h{number}/{quarter}?a=%2F&b=1#<i>", f"../{number}.{quarter}"]
            bodies = [self._body(name, row) for name, row in zip(names, rows, strict=True)]
            answers = self.client.post(self.decide, bodies)
            assert {answer.status for answer in answers} <= {200, 202}, answers
            labels = [
                {"id": body["id"], "kind": "label", "value": verdict, "time": self.workspace.clock.now() / SECOND}
                for body, verdict in zip(bodies, verdicts, strict=True)
            ]
            assert self.client.post(self.feed, [labels[: len(labels) * 2 // 3]])[0].status == 200
        self.work()

    @staticmethod
    def _body(id: str, x: dict[str, Any]) -> dict[str, Any]:
        harm = HOSTILE[len(id) % len(HOSTILE)]
        return {"id": id, "x": x, "tags": {"lathe": "3", "by": harm}}

    def work(self) -> None:
        """Everything that the controller has to do now: until all that is in the log has been measured, and once more."""
        self.running.until(self._measured, 20, "the controller has not measured everything")
        self.controller.turn()

    def rings(self) -> bool:
        """Whether both alarms fire: one for what comes in, one for what goes out."""
        self.controller.turn()
        return {"width", "error"} <= {key for key, one in alarms(self.workspace).items() if one.phase == "firing"}

    def _measured(self) -> bool:
        self.controller.turn()
        reached, wal = self.workspace.windows.offsets("late"), self.workspace.wal_dir
        return all(reached.get(stream, 0) >= stream_end(wal / stream) for stream in streams(wal))

    def close(self) -> None:
        turns: list[float] = []
        self.controller.run(lambda: len(turns) == 2, turns.append)
        self.running.close()


def _day(root: Path) -> None:
    day = _Day(root)
    try:
        day.start()
        day.line.shadow("v1", actor="olga", reason="let it watch first")
        day.hour(0)
        _people(day)
        day.line.switch("v1", actor="olga", reason=HOSTILE[0])
        for number in range(1, 4):
            day.hour(number)
        day.line.stop(actor="olga", reason=f"smoke over lathe 3 {HOSTILE[1]}")
        day.line.start(actor="olga", reason="only steam")
        for number in range(4, HOURS):
            day.hour(number, shift=1.2 if number >= 5 else 0.0)
        day.workspace.clock.set(time_us=BEGIN + HOURS * HOUR + 70 * MINUTE, rate=0.0)
        day.work()
        day.running.until(day.rings, 20, "the alarms do not ring")
        acknowledge_alarm(day.workspace, "width", "olga", HOSTILE[2])
        day.workspace.clock.set(rate=1.0)
    finally:
        day.close()


def _people(day: _Day) -> None:
    """Persons decide some, one of them with a name that nobody should have; a program decides the rest."""
    inbox = open_inbox(day.workspace, day.project.charter)
    for who in ("maria", f"tom {HOSTILE[0]}"):
        for item in inbox.take(who, 3):
            inbox.decide(item.id, "reject", who)
    OperatorDesk(day.project, {}, error=0.1, seed=3).work()
    day.work()


def give_tokens(root: Path) -> dict[str, str]:
    """One token of every role (and one whose name means harm), by role."""
    home = root / ".andon"
    workspace = Workspace.open(home)
    try:
        access, now = Access(TokenFile(home)), workspace.clock.wall()
        access.create(HOSTILE[0], "viewer", now_us=now)
        return {role: access.create(f"{role} one", role, now_us=now)[0] for role in ROLES}
    finally:
        workspace.close()


def copy_of(root: Path, to: Path) -> Path:
    """A project of one's own, as it is."""
    shutil.copytree(root, to, ignore=shutil.ignore_patterns("*.sock"))
    return to
