"""``andon scope size``: what the charter asks, what was measured, and whether the one fits the other."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from andon.core.verdict import Verdict, worst
from andon.deploy.load import Check
from andon.errors import AndonError, UsageError
from andon.scope.sizing import FULL, Calibration, Forecast, People, Storage, people, replay, rows_of, storage
from andon.surface.station import count

if TYPE_CHECKING:
    from andon.config import Project
    from andon.deploy.release import Release

__all__ = ["Size", "Sized", "size"]

_REAL_ROWS = 1000


@dataclass(frozen=True, slots=True)
class Size:
    """What is asked; None: as the charter says. ``fresh`` measures even where a kept load run would do."""

    qps: float | None = None
    p95_ms: float | None = None
    rows_per_day: float | None = None
    workers: int | None = None
    deferral: float | None = None
    each: float | None = None
    fresh: bool = False


class Sized(msgspec.Struct, frozen=True):
    """The forecast: at the workers there are, at the fewest that would do (None: no number of this machine's would), and
    what memory, disk, people and shadows take. ``memory_mb`` is in 2**20 bytes; ``shadow_cores`` for one shadow.
    """

    qps: float
    p95_ms: float | None
    workers: int
    cores: int
    now: Forecast
    needed: Forecast | None
    memory_mb: float
    storage: Storage
    rows_from: str
    people: People
    deferral: float
    deferral_from: str
    shadow_cores: float | None
    source: str
    checks: tuple[Check, ...]
    calibration: Calibration

    @property
    def verdict(self) -> Verdict:
        """Of all checks."""
        return worst(check.verdict for check in self.checks)


def size(project: Project, wish: Size, say: Callable[[str], object] = str) -> Sized:
    """Forecast; ``say`` is told before anything is measured. Raises ``UsageError`` where nothing is asked for or there is no release to measure."""
    charter = project.charter
    qps = _positive("--qps", wish.qps if wish.qps is not None else charter.checklist.throughput_qps)
    if qps is None:
        hint = "--qps N, or `checklist: {throughput_qps: N}`"
        raise UsageError("how many requests per second? the charter does not say", hint=hint)
    goal = _positive("--latency", wish.p95_ms if wish.p95_ms is not None else charter.checklist.latency_p95_ms)
    workers = wish.workers or charter.gateway.workers
    rows, rows_from = _rows(wish, qps)
    deferral, deferral_from = _deferral(project, wish)
    calibration = _measured(project, wish, qps, workers, say)
    cores = min(charter.checklist.compute.cores, os.cpu_count() or 1)
    now = replay(calibration, qps, workers)
    store = storage(rows, calibration.kept_bytes or calibration.wal_bytes, charter.checklist.logging.retain_days)
    review = charter.review
    asked = people(rows, deferral, capacity=review.reviewers_per_hour, double=review.double_share, each=wish.each)
    memory = calibration.worker_mb * workers + calibration.other_mb
    found = Sized(
        qps=qps,
        p95_ms=goal,
        workers=workers,
        cores=cores,
        now=now,
        needed=_fewest(calibration, qps, goal, cores),
        memory_mb=memory,
        storage=store,
        rows_from=rows_from,
        people=asked,
        deferral=deferral,
        deferral_from=deferral_from,
        shadow_cores=None if calibration.shadow_ms is None else calibration.shadow_ms * qps / 1000,
        source=calibration.source,
        checks=(),
        calibration=calibration,
    )
    return msgspec.structs.replace(found, checks=_checks(project, found))


def _positive(name: str, value: float | None) -> float | None:
    if value is not None and not 0 < value < 1e9:
        raise UsageError(f"{name}: expected a positive number, found {value:g}")
    return value


def _rows(wish: Size, qps: float) -> tuple[float, str]:
    if wish.rows_per_day is not None:
        return _positive("--rows-per-day", wish.rows_per_day) or 0.0, "as given"
    return rows_of(qps), "the rate without a rest, so an upper bound; --rows-per-day says it better"


def _measured(project: Project, wish: Size, qps: float, workers: int, say: Callable[[str], object]) -> Calibration:
    """The last kept run of the release that answers, where it tells enough; else a calibration."""
    from andon.surface.calibrate import calibrate, kept_bytes, of_load
    from andon.surface.load import loads
    from andon.surface.load_rows import requests_of

    made = _release(project)
    found = None
    for name, load in [] if wish.fresh else reversed(loads(project)):
        if load.bundle == made.bundle and load.workers == workers and (found := of_load(name, load)) is not None:
            break
    if found is None:
        say(f"Measuring {made.version} on a line of its own, for some 15 s ...")
        given = requests_of(project, None, made.version)
        found = calibrate(project, made, given.rows, qps, workers)
    real = kept_bytes(project, least=_REAL_ROWS)
    return found if real is None else msgspec.structs.replace(found, kept_bytes=real)


def _release(project: Project) -> Release:
    from andon.deploy.release import find_release, releases

    route = project.workspace.routes.current()
    if route is not None and route.live is not None:
        return find_release(project.workspace, route.live)
    every = releases(project.workspace)
    if not every:
        raise UsageError(
            "there is no release to measure yet", hint="`andon train`, `andon release RUN`, then this again"
        )
    return every[-1]


def _deferral(project: Project, wish: Size) -> tuple[float, str]:
    """The part of all cases that comes to people, audits among them."""
    if wish.deferral is not None:
        if not 0 <= wish.deferral <= 1:
            raise UsageError(f"--deferral: expected a share from 0 to 1, found {wish.deferral:g}")
        return wish.deferral, "as given"
    route, charter = project.workspace.routes.current(), project.charter
    level = route.levels.get("*", charter.automation.level) if route is not None else charter.automation.level
    audit = charter.automation.partial.audit_share
    if level == "full" and not (route is not None and route.stopped):
        return audit, "level full: only the audit"
    if level == "partial" and route is not None and route.live is not None:
        threshold = route.thresholds.get(f"{route.live}/*")
        share = None if threshold is None else _below(project, route.live, threshold)
        if share is not None:
            return share + (
                1 - share
            ) * audit, "level partial: test rows below the threshold, and the audit of the rest"
    return 1.0, f"level {level}: every case"


def _below(project: Project, version: str, threshold: float) -> float | None:
    from andon.deploy.release import held_out

    try:
        rows = held_out(project.workspace, version)
    except AndonError:
        return None
    if not rows.height or "confidence" not in rows.columns:
        return None
    return float((rows["confidence"].fill_null(0.0) < threshold).mean() or 0.0)  # type: ignore[arg-type]


def _fewest(calibration: Calibration, qps: float, goal: float | None, cores: int) -> Forecast | None:
    """The fewest workers, at most one for each core, at which none is more than 0.8 busy and the goal holds."""
    for workers in range(1, cores + 1):
        found = replay(calibration, qps, workers)
        p95 = found.p95_ms.value
        if found.utilisation <= FULL and p95 is not None and (goal is None or p95 <= goal):
            return found
    return None


def _checks(project: Project, found: Sized) -> tuple[Check, ...]:
    checks = [_busy(found), _memory(project, found), _disk(project, found)]
    if found.p95_ms is not None:
        checks.insert(1, _latency(found.p95_ms, found.now))
    return (*checks, _people(found)) if found.people.cases_per_hour else tuple(checks)


def _busy(found: Sized) -> Check:
    full = found.now.utilisation
    words = (
        f"{found.workers} workers would be {100 * full:.0f} % busy at {found.qps:g} per second, at most 80 % is sound"
    )
    fits = full <= FULL and found.workers <= found.cores
    if found.workers > found.cores:
        words += f"; there {'is' if found.cores == 1 else 'are'} {count(found.cores, 'core')}"
    return Check("workers", Verdict.PASS if fits else Verdict.FAIL, words)


def _latency(goal: float, now: Forecast) -> Check:
    p95 = now.p95_ms
    if p95.value is None or p95.low is None or p95.high is None:
        return Check("latency", Verdict.FAIL, f"no p95 can be kept: {p95.reason}")
    verdict = Verdict.PASS if p95.high <= goal else Verdict.FAIL if p95.low > goal else Verdict.UNSURE
    return Check(
        "latency", verdict, f"p95 {p95.value:.3g} ms ({p95.low:.3g} to {p95.high:.3g}), the goal is {goal:g} ms"
    )


def _memory(project: Project, found: Sized) -> Check:
    allowed = project.charter.checklist.compute.memory_gb * 1000 / 1.048576
    what = "line" if found.calibration.other_mb else "workers"
    words = f"{found.memory_mb:,.0f} MB of memory for the {what}, the charter's machine has {allowed:,.0f} MB"
    return Check("memory", Verdict.PASS if found.memory_mb <= FULL * allowed else Verdict.FAIL, words)


def _disk(project: Project, found: Sized) -> Check:
    free, kept = shutil.disk_usage(project.workspace.home).free, found.storage.bytes_kept
    words = (
        f"the log grows by {found.storage.bytes_per_day / 1e6:,.3g} MB a day, {kept / 1e9:,.3g} GB in "
        f"{found.storage.days} days; {free / 1e9:,.3g} GB are free"
    )
    return Check("disk", Verdict.PASS if kept <= FULL * free else Verdict.FAIL, words)


def _people(found: Sized) -> Check:
    who = found.people
    words = (
        f"{who.cases_per_hour:,.3g} cases an hour come to people, which takes a capacity of {who.capacity_needed:,.3g}"
    )
    if who.busy is None:
        return Check("people", Verdict.UNSURE, f"{words}; review.reviewers_per_hour is not said")
    words += f"; the charter counts on {who.capacity:,.3g}, which would be {100 * who.busy:.0f} % busy"
    return Check("people", Verdict.PASS if who.busy <= FULL else Verdict.FAIL, words)
