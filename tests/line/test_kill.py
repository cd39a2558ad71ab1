"""Thirty kills at random moments under load: every answer a client got is in the log exactly once and equal to it."""

from __future__ import annotations

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.line.toyline import Running

from andon.demo.client import Client
from andon.errors import Unavailable
from andon.store import view
from andon.surface.line import Settings, line_processes

pytestmark = pytest.mark.line

KILLS = 30
ROLES = ("worker-0", "worker-1", "controller", "shadow")


class Callers(threading.Thread):
    """Posts decisions until told to stop; keeps every answer that it got. Some ids are sent twice on purpose."""

    def __init__(self, client: Client, seed: int) -> None:
        super().__init__(daemon=True)
        self._client = client
        self._random = random.Random(seed)
        self._name = f"c{seed}"
        self.ending = threading.Event()
        self.answers: dict[str, tuple[int, Any]] = {}
        self.different: list[str] = []
        self.failures: list[str] = []

    def run(self) -> None:
        number = 0
        while not self.ending.is_set():
            ids = [f"{self._name}-{number + i}" for i in range(20)]
            number += 20
            bodies: list[dict[str, Any]] = [
                {"id": id, "x": {"a": self._random.gauss(0, 1), "b": None, "c": "x"}, "unit": id[-2:]} for id in ids
            ]
            repeated = self._random.sample(bodies, 4)
            try:
                for body, answer in zip(
                    [*bodies, *repeated],
                    self._client.post("/v1/projects/toy/decisions", [*bodies, *repeated]),
                    strict=True,
                ):
                    self._keep(body["id"], answer.status, answer.body)
            except Unavailable as error:
                self.failures.append(str(error))

    def _keep(self, id: str, status: int, body: Any) -> None:
        if status not in (200, 202):
            self.failures.append(f"{id}: {status} {body}")
        elif self.answers.setdefault(id, (status, body)) != (status, body):
            self.different.append(f"{id}: {self.answers[id]} then {(status, body)}")


def _kill(line: Running, role: str) -> bool:
    pid = line.pid(role)
    if pid is None:
        return False
    os.kill(pid, signal.SIGKILL)
    return True


def _inside_a_commit(line: Running, seconds: float) -> int:
    """Kill the controller when a data file has appeared and before the commit that names it; how many kills that took.

    A kill that came too late, because the commit was finished first, counts as a kill and is tried again.
    """
    root = line.project.workspace.log.root
    end, kills = time.monotonic() + seconds, 0
    seen = _data_files(root)
    while time.monotonic() < end:
        line.engine.poll()
        fresh = _data_files(root) - seen
        seen |= fresh
        for path in fresh:
            if not _named(path) and _kill(line, "controller"):
                kills += 1
                time.sleep(0.05)  # until the kernel has ended it
                if not _named(path):
                    return kills
        time.sleep(0.0005)
    pytest.fail("no moment inside a Delta commit was caught")


def _data_files(root: Path) -> set[Path]:
    return {path for path in root.rglob("*.parquet") if "_delta_log" not in path.parts}


def _named(path: Path) -> bool:
    table = next((parent for parent in path.parents if (parent / "_delta_log").is_dir()), None)
    if table is None:
        return False
    newest = sorted((table / "_delta_log").glob("*.json"))[-3:]
    return any(path.name in commit.read_text() for commit in newest)


@pytest.mark.parametrize("kills", [10, pytest.param(KILLS, marks=pytest.mark.slow)])
def test_no_answer_is_lost_or_doubled_by_kills(running: Callable[[int], Running], tmp_path: Path, kills: int) -> None:
    line = running(2)
    trigger = tmp_path / "die-in-the-next-write"
    _start(line, trigger)
    callers = [Callers(line.client(4), seed) for seed in range(2)]
    try:
        for caller in callers:
            caller.start()
        killed = _kills(line, trigger, kills)
        line.until(lambda: all(s.pid is not None for s in line.engine.states()), 10, "a process did not come back")
        line.until(line.ready, 20, "the line did not come back by itself")
        time.sleep(1.0)
    finally:
        for caller in callers:
            caller.ending.set()
        for caller in callers:
            caller.join(timeout=30)
    answers = callers[0].answers | callers[1].answers
    assert not [text for caller in callers for text in (*caller.failures, *caller.different)]
    assert len(answers) > 100
    assert min(killed.values()) > 0, killed
    _everything_is_in_the_log(line, answers)
    shadowed = view.shadow_pairs(line.project.workspace, "v2")["id"]
    assert shadowed.n_unique() == len(shadowed) > 0, "the shadow counts a case twice, or saw none"


def _start(line: Running, trigger: Path) -> None:
    """v1 answers everything, v2 runs in its shadow; worker-1 will die in a write when the trigger is there."""
    line.line.switch("v1", actor="test")
    line.line.shadow("v2", actor="test")
    line.line.automate("full", actor="test", reason="kill test")
    faulty = (sys.executable, str(Path(__file__).parent / "faulty_worker.py"), str(trigger))
    specs = line_processes(line.project, Settings(ship_seconds=0.3))
    line.engine.replicas(
        tuple(replace(one, command=(*faulty, *one.command[3:])) if one.name == "worker-1" else one for one in specs)
    )
    line.until(line.ready, 40, "the line is not ready")


def _kills(line: Running, trigger: Path, wanted: int) -> dict[str, int]:
    """One inside a Delta commit, one inside a write to the log, the others at random moments."""
    killed = dict.fromkeys(ROLES, 0)
    killed["controller"] += _inside_a_commit(line, 20.0)
    trigger.touch()
    line.until(lambda: not trigger.exists(), 10, "the worker did not write")
    wal = line.project.workspace.wal_dir
    line.until(lambda: any(wal.rglob("torn-*")), 20, "no half-written frame was found and put aside")
    killed["worker-1"] += 1
    dice = random.Random(7)
    while sum(killed.values()) < wanted:
        role = dice.choice(ROLES)
        killed[role] += _kill(line, role)
        pause = time.monotonic() + dice.uniform(0.4, 2.2)
        while time.monotonic() < pause:
            line.engine.poll()
            time.sleep(0.005)
    return killed


def _everything_is_in_the_log(line: Running, answers: dict[str, tuple[int, Any]]) -> None:
    log = line.project.workspace.log

    def shipped() -> int:
        return sum(log.rows(name) for name in log.tables() if name.startswith("decisions/"))

    line.until(lambda: shipped() >= len(answers), 30, "the controller did not ship what was answered")
    time.sleep(1.0)
    table = view.decisions(line.project.workspace)
    assert shipped() == table.height, "what is in Delta is not what was written"
    assert table["id"].n_unique() == table.height, "an id is in the log twice"
    logged = {row["id"]: row for row in table.iter_rows(named=True)}
    for id, (status, body) in answers.items():
        row = logged[id]
        assert status == 200
        found = {key: row[key] for key in ("decision", "decided_by", "version", "epoch")}
        assert found == {key: body[key] for key in found}, id
        assert row["confidence"] == pytest.approx(body["confidence"], abs=1e-6)
