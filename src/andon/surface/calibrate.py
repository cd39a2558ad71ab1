"""A short measured calibration of a release on this machine: a line of its own, in a folder of its own, for some 15 s.

The workers, the log and the shadow are real processes; the running line and its records are not touched, though both
share the machine's processors while it lasts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec

from andon.config import CHARTER, Project
from andon.core.record import Route
from andon.deploy.accounting import accounts, spent
from andon.deploy.load import Goal, Load, Messages, measure, schedule
from andon.deploy.load_driver import Driver
from andon.deploy.meter import read_meters
from andon.engine.local import LocalEngine
from andon.errors import Unavailable
from andon.model.bundle import bundle_path
from andon.scope.sizing import Calibration
from andon.surface.line import Settings, free_port, line_processes
from andon.surface.running import answers

if TYPE_CHECKING:
    from andon.deploy.load_driver import Trace
    from andon.deploy.release import Release
    from andon.engine.port import ProcessSpec

__all__ = ["calibrate", "kept_bytes", "of_load"]

_HOST = "127.0.0.1"
_READY_SECONDS = 40.0
_SAMPLES = 800
_ALONE = 0.12  # the part of a worker's time that requests take while they should mostly come alone
_SHADOW = "beside"


def of_load(name: str, load: Load) -> Calibration | None:
    """What a kept run tells; None where it does not: a closed loop, another machine's, or workers more than half busy."""
    cpu = load.cpu_ms_per_request
    if load.mode != "open" or cpu is None or not load.grid or not load.workers or load.lagging > 0.05:
        return None
    if load.rate * cpu / 1000 / load.workers > 0.5:
        return None
    memory = dict(load.memory_mb)
    return Calibration(
        latency_ms=load.grid,
        rate=load.rate,
        cpu_one_ms=cpu,
        cpu_many_ms=cpu,
        workers=load.workers,
        n=load.answered,
        wal_bytes=load.log_bytes,
        worker_mb=memory.pop("worker", 0.0) / load.workers,
        other_mb=sum(memory.values()),
        source=f"the load run {name}: {load.rate:,.0f} per second",
    )


def calibrate(project: Project, made: Release, rows: list[dict[str, object]], qps: float, workers: int) -> Calibration:
    """Measure a release with so many workers: alone, among many, and beside a shadow. Takes about 15 s.

    Raises ``Unavailable`` when its line does not start.
    """
    with _line(project, made, workers) as line:
        alone, cpu_one = line.alone(rows, qps)
        many = line.busy(rows, 2.0)
        memory = accounts(line.root, memory=True)
        shadow = line.shadow(rows)
        wal = line.log_bytes()
        line.end()
        kept = kept_bytes(line.project, ship=True)
        worker = memory.get("worker")
        return Calibration(
            latency_ms=alone.grid,
            rate=alone.rate,
            cpu_one_ms=cpu_one,
            cpu_many_ms=min(cpu_one, many or cpu_one),
            workers=workers,
            n=alone.answered,
            wal_bytes=wal,
            kept_bytes=kept,
            worker_mb=worker.memory_mb / worker.processes if worker else 0.0,
            shadow_ms=shadow,
            source=f"a calibration of {made.version} at {alone.rate:,.0f} per second on this machine",
        )


def kept_bytes(project: Project, *, ship: bool = False, least: int = 1) -> float | None:
    """Bytes of Parquet that a decision takes in the log; None where it holds fewer than ``least``."""
    from andon.monitor.ingest import Ingest
    from andon.store.shape import is_decisions

    if ship:
        Ingest(project.workspace, project.charter).finish()
    log = project.workspace.log
    rows = size = 0
    for table in log.tables():
        if is_decisions(table):
            rows += log.rows(table)
            size += sum(path.stat().st_size for path in (log.root / table).rglob("*.parquet"))
    return size / rows if rows >= least else None


@dataclass
class _Line:
    """Workers of a release on a free port, in a workspace that goes away with its folder."""

    root: Path
    project: Project
    engine: LocalEngine
    settings: Settings
    token: str | None
    sent: int = 0
    runs: int = 0

    def alone(self, rows: list[dict[str, object]], qps: float) -> tuple[Load, float]:
        """A run at a rate at which requests mostly come alone, and the processor milliseconds of one."""
        _, guess = self._run(rows, lambda driver: driver.run_closed(0.5), connections=1)
        workers = self.settings.workers or 1
        rate = max(20.0, min(300.0, _ALONE * workers * 1000 / max(guess or 1.0, 0.01), qps))
        seconds = min(10.0, max(4.0, _SAMPLES / rate))
        due = schedule(rate, seconds, seed=1)
        trace, cpu = self._run(rows, lambda driver: driver.run(due), connections=32)
        return measure(trace, Goal(rate), "open", "poisson"), cpu or guess or 1.0

    def busy(self, rows: list[dict[str, object]], seconds: float) -> float | None:
        """Processor milliseconds of a request among many."""
        return self._run(rows, lambda driver: driver.run_closed(seconds), connections=64)[1]

    def shadow(self, rows: list[dict[str, object]]) -> float | None:
        """Processor milliseconds that a shadow takes for a row; None where it got no processor to show it."""
        route = self.project.workspace.routes.current()
        assert route is not None
        assert route.live is not None
        bundles = {**route.bundles, _SHADOW: route.bundles[route.live]}
        self.project.workspace.routes.publish(
            msgspec.structs.replace(route, epoch=route.epoch + 1, shadows=(_SHADOW,), bundles=bundles)
        )
        self.engine.replicas(tuple(spec for spec in self._specs() if spec.name == "shadow"))
        self._until(lambda: "shadow" in accounts(self.root), "the shadow")
        time.sleep(2.0)
        dropped, idle = self._meters()[2], self._shadow_rate(1.0)
        before, begun = accounts(self.root), time.monotonic()
        due = schedule(150.0, 2.0, seed=2)
        trace, _ = self._run(rows, lambda driver: driver.run(due), connections=16)
        time.sleep(1.5)
        used = spent(before, accounts(self.root)).get("shadow", 0.0) - idle * (time.monotonic() - begun)
        seen = len(trace.due) - (self._meters()[2] - dropped)
        return None if used <= 0 or seen < 50 else 1000 * used / seen

    def _shadow_rate(self, seconds: float) -> float:
        """Processor seconds a second that the shadow takes while nothing comes."""
        before = accounts(self.root)
        time.sleep(seconds)
        return spent(before, accounts(self.root)).get("shadow", 0.0) / seconds

    def log_bytes(self) -> float:
        """Bytes that a decision takes in the write-ahead log."""
        rows, size, _ = self._meters()
        return size / rows if rows else 0.0

    def start(self) -> None:
        """Start the workers and wait for them; raises ``Unavailable``."""
        self.engine.replicas(tuple(spec for spec in self._specs() if spec.name.startswith("worker")))
        self._until(lambda: answers(_HOST, self.settings.port or 0), "the gateway")

    def end(self) -> None:
        """End the processes."""
        self.engine.close()

    def _specs(self) -> Iterator[ProcessSpec]:
        # What names a workspace in this environment is the real one's: these processes must not see it.
        home = ("env", "-u", "ANDON_STORAGE", f"ANDON_WORKSPACE={self.project.workspace.home}")
        for spec in line_processes(self.project, self.settings):
            yield replace(spec, command=(*home, *spec.command))

    def _run(
        self, rows: list[dict[str, object]], go: Callable[[Driver], Trace], *, connections: int
    ) -> tuple[Trace, float | None]:
        self.runs += 1
        host, path = f"{_HOST}:{self.settings.port}", f"/v1/projects/{self.project.charter.project}/decisions"
        messages = Messages(host, path, rows, run=f"size{self.runs}", token=self.token)
        driver = Driver((_HOST, self.settings.port or 0), messages, connections=connections)
        try:
            before = accounts(self.root)
            trace = go(driver)
            used = spent(before, accounts(self.root)).get("worker")
        finally:
            driver.close()
        answered = sum(200 <= status < 300 for status in trace.status)
        if not answered:
            raise Unavailable("the calibration's requests were not answered; try `andon load` on a running line")
        return trace, 1000 * used / answered if used else None

    def _meters(self) -> tuple[int, int, int]:
        """(decisions, bytes of the log, rows that shadows missed) of all workers; they tell every second."""
        time.sleep(1.1)
        meters = read_meters(self.project.workspace.run_dir)
        rows = sum(sum(meter.decisions.values()) for meter in meters)
        return rows, sum(meter.log_bytes for meter in meters), sum(meter.shadow_dropped for meter in meters)

    def _until(self, there: Callable[[], bool], what: str) -> None:
        end = time.monotonic() + _READY_SECONDS
        while not there():
            self.engine.poll()
            if time.monotonic() > end:
                raise Unavailable(f"{what} of the calibration did not start within {_READY_SECONDS:g} s")
            time.sleep(0.05)


@contextmanager
def _line(project: Project, made: Release, workers: int) -> Iterator[_Line]:
    from andon.people.access import Access
    from andon.store.tokens import TokenFile
    from andon.store.workspace import Workspace

    with TemporaryDirectory(prefix="andon-size-") as folder:
        root = Path(folder).resolve()
        (root / CHARTER).write_bytes((project.root / CHARTER).read_bytes())
        workspace = Workspace.create(root / "state")
        source, target = bundle_path(project.workspace.home, made.bundle), bundle_path(workspace.home, made.bundle)
        os.symlink(source, target, target_is_directory=True)  # noqa: PTH211 - read-only by name, checked by hash
        workspace.routes.publish(_route(project, made))
        token = None
        if project.charter.checklist.security.tokens == "required":
            token, _ = Access(TokenFile(workspace.home)).create("load", "client", now_us=workspace.clock.wall())
        theirs = Project(root, project.charter, workspace)
        engine = LocalEngine(workspace.run_dir, workspace.clock)
        line = _Line(root, theirs, engine, Settings(_HOST, free_port(_HOST), workers), token)
        try:
            line.start()
            yield line
        finally:
            engine.close()
            workspace.close()


def _route(project: Project, made: Release) -> Route:
    charter = project.charter
    return Route(
        epoch=1,
        time_us=0,
        wall_us=0,
        actor="andon scope size",
        action="begin",
        reason="calibration",
        live=made.version,
        bundles={made.version: made.bundle},
        levels={"*": "full"},
        safe_default=charter.safe_default,
        audit_share=charter.automation.partial.audit_share,
    )
