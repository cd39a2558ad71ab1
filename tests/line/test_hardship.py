"""What may befall a line under load, each with real processes: answers go on, memory is bounded, and the log agrees.

In each test clients ask all the time and remember what they were told (`tests.line.witness`). Afterwards every answer is
in the log once and equal, what was shed is counted to the row, what was refused is not there, and `andon doctor --log`
comes to the same.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests.line.bent import World
from tests.line.database import moved_away
from tests.line.smalldisk import Small, small_disk
from tests.line.toyline import Running
from tests.line.witness import Witness, agrees

from andon.core.clock import MINUTE, SECOND, SystemClock
from andon.deploy.idempotency import owner_of
from andon.engine.local import LocalEngine
from andon.monitor.deciders import DECIDED
from andon.store import view
from andon.surface.line import Settings, line_processes

pytestmark = [pytest.mark.line, pytest.mark.slow]

#: MB by which a worker may grow from its first second on: what its index of ids and its buffers take in a test.
GROWTH_MB = 40.0


def logging(says: str) -> str:
    return f"checklist: {{logging: {{{says}}}}}"


def goes_live(line: Running) -> None:
    line.line.switch("v1", actor="test")
    line.line.automate("full", actor="test")


def up(line: Running, world: World | None = None) -> None:
    """Start everything, in a bent world if there is one."""
    specs = line_processes(line.project, Settings(ship_seconds=0.3))
    line.engine.replicas(specs if world is None else world.around(specs))
    line.until(line.ready, 60, "the line is not ready")


class Part:
    """One process of a line with an engine of its own, so that it may be gone for a while."""

    def __init__(self, line: Running, name: str) -> None:
        specs = line_processes(line.project, Settings(ship_seconds=0.3))
        self._spec = next(one for one in specs if one.name == name)
        self._engine = LocalEngine(line.project.workspace.run_dir, SystemClock())
        line.engine.replicas(tuple(one for one in specs if one.name != name))
        line.until(line.ready, 60, "the line is not ready")

    def comes(self) -> None:
        self._engine.replicas((self._spec,))

    def goes(self) -> None:
        """It is killed, and nobody starts it again."""
        for state in self._engine.states():
            os.kill(state.pid or 0, signal.SIGKILL)
        self._engine.close()


# ------------------------------------------------------------------------------------------------------ a slow disk


@pytest.mark.parametrize("durability", ["flush", "commit"])
def test_a_slow_disk_slows_nothing_down_that_was_not_promised(
    running: Callable[..., Running], tmp_path: Path, durability: str
) -> None:
    line, world = running(2, charter=logging(f"durability: {durability}")), World(tmp_path / "world")
    goes_live(line)
    up(line, world)
    world.disk(5, 20)
    with Witness(line) as witness:
        witness.heard(2000)
    assert witness.statuses.keys() == {200} and witness.unheard == 0
    agrees(line, witness, growth_mb=GROWTH_MB)


@pytest.mark.parametrize("pressure", ["block", "shed"])
def test_a_disk_that_hangs_fills_the_backlog_and_no_more(
    running: Callable[..., Running], tmp_path: Path, pressure: str
) -> None:
    line = running(2, charter=logging(f"pressure: {pressure}, backlog_mb: 1"))
    world = World(tmp_path / "world")
    goes_live(line)
    up(line, world)
    with Witness(line, padding=4000) as witness:
        witness.heard(300)
        world.disk(6000, 6000)
        line.until(lambda: bool(witness.refused or witness.shed), 60, "the backlog never filled")
        witness.heard(100)
        world.disk(0, 0)
        witness.wait(6.5)
        before = witness.recorded
        line.until(lambda: witness.recorded > before + 300, 30, "the log takes nothing again")
    assert bool(witness.refused) == (pressure == "block") and bool(witness.shed) == (pressure == "shed")
    assert set(witness.statuses) == ({200, 429} if pressure == "block" else {200})
    agrees(line, witness, growth_mb=GROWTH_MB)


# ------------------------------------------------------------------------------------------------------ a full disk


@pytest.fixture
def cramped(toy: Path, tmp_path: Path) -> Iterator[Callable[[str], tuple[Running, Small]]]:
    """A line whose project lies on a small file system of its own."""
    lines: list[Running] = []
    with small_disk(tmp_path / "small", 96) as small:

        def make(says: str) -> tuple[Running, Small]:
            root = small.root / "line"
            shutil.copytree(toy, root)
            lines.append(Running(root, 2, charter=says))
            return lines[0], small

        yield make
        for line in lines:
            line.close()


@pytest.mark.parametrize("pressure", ["block", "shed"])
def test_a_full_disk_loses_what_the_policy_allows_and_counts_it(
    cramped: Callable[[str], tuple[Running, Small]], pressure: str
) -> None:
    line, small = cramped(logging(f"pressure: {pressure}"))
    line.line.shadow("v2", actor="test")
    goes_live(line)
    up(line)
    pids = {name: line.pid(name) for name in ("worker-0", "worker-1")}
    with Witness(line, padding=300) as witness:
        witness.heard(300)
        small.fill(200_000)
        line.until(lambda: bool(witness.refused or witness.shed), 60, "the disk never filled up")
        small.fill(0)
        witness.heard(300)
        witness.wait(3.0)  # whatever else writes finds no room either
        assert small.free < 100_000
        small.empty()
        before = witness.recorded
        line.until(lambda: witness.recorded > before + 300, 60, "the log takes nothing again")
    assert {name: line.pid(name) for name in pids} == pids, "a worker did not live through it"
    assert set(witness.statuses) == ({200, 503} if pressure == "block" else {200})
    assert witness.unheard == 0
    agrees(line, witness, growth_mb=GROWTH_MB)


# --------------------------------------------------------------------------- the database, the controller, the shadow


def test_the_database_may_be_gone(running: Callable[..., Running]) -> None:
    line = running(2)
    goes_live(line)
    up(line)
    line.until(lambda: "this controller leads" in line.log("controller"), 30, "no controller leads")
    with Witness(line) as witness:
        witness.heard(300)
        with moved_away(line.project.workspace.home):
            witness.heard(1500)
            witness.wait(3.0)
        witness.heard(300)
    assert witness.statuses.keys() == {200} and witness.unheard == 0
    agrees(line, witness, growth_mb=GROWTH_MB)


def test_the_controller_may_be_gone_and_catches_up(running: Callable[..., Running]) -> None:
    line = running(2)
    goes_live(line)
    controller = Part(line, "controller")
    controller.comes()
    with Witness(line) as witness:
        line.until(lambda: "this controller leads" in line.log("controller"), 30, "no controller leads")
        witness.heard(300)
        controller.goes()
        witness.heard(4000)
        begun = time.monotonic()
        controller.comes()
        witness.heard(300)
    agrees(line, witness, growth_mb=GROWTH_MB)
    print(f"caught up {time.monotonic() - begun:.1f} s after it came back")
    assert witness.statuses.keys() == {200} and witness.unheard == 0
    controller.goes()


def test_the_shadow_may_be_gone_and_what_it_missed_is_counted(running: Callable[..., Running]) -> None:
    line = running(2)
    line.line.shadow("v2", actor="test")
    goes_live(line)
    shadow = Part(line, "shadow")
    shadow.comes()
    with Witness(line, padding=4000) as witness:
        witness.heard(300)
        shadow.goes()
        line.until(lambda: _metric(line, "andon_shadow_dropped_total") > 200, 60, "the ring never filled")
        shadow.comes()
        witness.heard(500)
    assert witness.statuses.keys() == {200} and witness.unheard == 0
    agrees(line, witness, growth_mb=GROWTH_MB)
    rows = len(witness.told)

    def counted() -> tuple[int, int]:
        losses = view.losses(line.project.workspace)
        seen = view.shadow_pairs(line.project.workspace, "v2")["id"]
        assert seen.n_unique() == len(seen), "the shadow counts a case twice"
        return len(seen), int(losses["n"].sum())

    line.until(lambda: sum(counted()) >= rows, 30, f"of {rows} rows the shadow saw and missed {counted()}")
    seen, dropped = counted()
    print(f"{rows} rows = {seen} seen + {dropped} dropped")
    assert seen + dropped == rows and min(seen, dropped) > 200
    shadow.goes()


def _metric(line: Running, name: str) -> float:
    lines = str(line.call("GET", "/metrics")[1]).splitlines()
    return sum(float(text.rpartition(" ")[2]) for text in lines if text.startswith(f"{name}{{"))


# --------------------------------------------------------------------------------------------------- a worker killed


def test_a_killed_worker_is_missed_by_nobody_for_long(running: Callable[..., Running]) -> None:
    line = running(2)
    goes_live(line)
    up(line)
    with Witness(line, patient=True) as witness:
        witness.heard(500)
        for turn, index in enumerate((0, 1, 0)):
            pid = line.pid(f"worker-{index}")
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            others = [id for n in range(40) if owner_of(id := f"turn-{turn}-{n}", 2) != index]
            assert len(others) > 5
            for id in others:  # nobody starts it again yet; what is kept by the other one is answered
                witness.asked[id] = 0.5
                witness.told[id] = _asked(line, id)
                assert witness.told[id][0] == 200
            line.until(lambda: _two_answer(line), 30, "the worker did not come back")
            witness.heard(300)
    ids = list(witness.told)
    assert all(
        line.decide(witness.asked[id], id=id) == witness.told[id] for id in ids[:: len(ids) // 50] if id[0] == "c"
    )
    agrees(line, witness, growth_mb=GROWTH_MB)


def _asked(line: Running, id: str) -> tuple[int, Any]:
    """As a client asks: a connection that the kernel gave to the one who is just ending is reset, and made anew."""
    for _ in range(20):
        with suppress(OSError):
            return line.decide(0.5, id=id)
        time.sleep(0.05)
    pytest.fail("every connection breaks, although a worker listens")


def _two_answer(line: Running) -> bool:
    states = {one.name: one.pid for one in line.engine.states()}
    acks = {ack.pid for ack in line.project.workspace.routes.acks()}
    return {states["worker-0"], states["worker-1"]} <= acks and line.ready()


# --------------------------------------------------------------------------------------------------- a clock set back


def test_a_clock_that_is_set_back_by_an_hour_moves_nothing_back(
    running: Callable[..., Running], tmp_path: Path
) -> None:
    line, world = running(2), World(tmp_path / "world")
    goes_live(line)
    began = line.project.workspace.clock.now()
    up(line, world)
    with Witness(line, patient=True) as witness:
        witness.heard(500)
        world.clock(-3600)
        witness.heard(500)
        for name in ("worker-0", "controller"):  # who begins while the clock is wrong goes on from what the others told
            pid = line.pid(name)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        line.until(lambda: _two_answer(line), 30, "the worker did not come back")
        witness.heard(500)
        world.clock(0)
        witness.heard(500)
    ended = line.project.workspace.clock.now()
    agrees(line, witness, growth_mb=GROWTH_MB)
    rows = view.decisions(line.project.workspace).sort("stream", "sequence")
    steps = rows.select(pl.col("time_us").diff().over("stream").min()).item()
    walls = rows.select(pl.col("wall_us").diff().over("stream").min()).item()
    print(f"event time by stream: least step {steps} us; wall time: {walls / 1e6:.0f} s")
    assert steps > -SECOND // 10 and walls < -3000 * SECOND  # the machine's time is kept as it was
    assert began <= rows["time_us"].min() and rows["time_us"].max() <= ended  # type: ignore[operator]
    line.until(lambda: _measured(line) == rows.height, 30, f"the windows have not counted {rows.height} rows")


def _measured(line: Running) -> int:
    """Decisions that the windows of a minute have counted."""
    found = line.project.workspace.windows.read(DECIDED, "", length_us=MINUTE)
    return sum(n for row in found for n in row.summary.counts.values())  # type: ignore[attr-defined]
