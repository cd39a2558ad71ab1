"""What the board's first page costs: on a line of a million decisions, and to the gateway while twenty people look.

The page is timed in this process, through the application without a network, never from the cache that viewers of the
same second share. CPU time is that of all threads: on a machine that others use, too, it says more than the clock.

    python -m benchmarks.board --pages 60 --viewers 20 --rounds 5
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import numpy as np

from andon.config import Project, open_project
from andon.core.clock import DAY
from andon.deploy.accounting import accounts, spent
from andon.people.access import Access
from andon.store.tokens import TokenFile
from andon.surface.board.app import make_app
from andon.surface.page import Empty
from andon.surface.running import listening
from andon.surface.view.line import line_view
from andon.surface.visit import Visit, local_viewer
from benchmarks.load import drive, need_wrk, write_script
from benchmarks.long_line import BEGIN, DAYS, long_line
from benchmarks.paired import median, ratio, take_turns
from benchmarks.project import build, free_port, line

BAR_MS = 100.0
BAR_SHARE = 1.05


def main() -> None:
    """Print both tables; returns 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--decisions", type=int, default=1_000_000)
    parser.add_argument("--fresh", action="store_true", help="make the line of thirty days anew")
    parser.add_argument("--pages", type=int, default=60)
    parser.add_argument("--viewers", type=int, default=20, help="0: leave that part out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    options = parser.parse_args()
    kept = _page(long_line(options.decisions, fresh=options.fresh), options.pages)
    if options.viewers:
        need_wrk()
        kept &= _watched(options.viewers, options.rounds, options.seconds)
    sys.exit(0 if kept else 1)


# ----------------------------------------------------------------------------------------------------------- the page


def _page(root: Path, times: int) -> bool:
    project = open_project(root)
    try:
        project.workspace.clock.set(time_us=BEGIN + DAYS * DAY, rate=1.0)
        _say_size(project)
        return asyncio.run(_time_all(project, times))
    finally:
        project.workspace.close()


def _say_size(project: Project) -> None:
    workspace = project.workspace
    rows = sum(workspace.log.rows(name) for name in workspace.log.tables() if name.startswith("decisions"))
    items = workspace.items.counts()
    print(
        f"{rows:,} decisions, {len(workspace.windows.read()):,} windows, {items.get('open', 0):,} cases open,"
        f" {items.get('decided', 0):,} decided, {workspace.journal.head()[0]:,} events"
    )


async def _time_all(project: Project, times: int) -> bool:
    app = make_app(project)
    visit = Visit(project, local_viewer(), Access(TokenFile(project.workspace.home)))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:

        async def view() -> None:
            line_view(visit, Empty())

        async def ask(path: str) -> None:
            app.state.site.glances.forget()
            answer = await client.get(path)
            answer.raise_for_status()

        kept = True
        print(f"{'':<28}{'wall ms, median':>22}{'p95':>8}{'CPU ms, median':>22}{'p95':>8}")
        whole: tuple[str, Callable[[], Awaitable[None]]] = ("the whole page", partial(ask, "/"))
        for name, call in (("what it shows", view), whole, ("its JSON", partial(ask, "/api/v1/line"))):
            wall, cpu = await _timed(call, times)
            worst = [float(np.quantile(values, 0.95)) for values in (wall, cpu)]
            print(f"{name:<28}{median(wall).text(1):>22}{worst[0]:>8.1f}{median(cpu).text(1):>22}{worst[1]:>8.1f}")
            kept &= median(cpu).value < BAR_MS
        busy = os.getloadavg()[0]
        print(f"bar: a median of CPU time below {BAR_MS:g} ms: {'kept' if kept else 'MISSED'}; load average {busy:.1f}")
    return kept


async def _timed(call: Callable[[], Awaitable[None]], times: int) -> tuple[list[float], list[float]]:
    wall, cpu = [], []
    for number in range(times + 3):
        began, burnt = time.perf_counter(), time.process_time()
        await call()
        if number >= 3:  # the first ones compile templates and load libraries
            wall.append((time.perf_counter() - began) * 1000)
            cpu.append((time.process_time() - burnt) * 1000)
    return wall, cpu


# -------------------------------------------------------------------------------------------------------- the gateway


def _watched(viewers: int, rounds: int, seconds: int) -> bool:
    """The gateway's CPU time for a request, with nobody looking and with so many viewers."""
    with tempfile.TemporaryDirectory() as name:
        port = free_port()
        root = build(Path(name) / "project", port=port)
        script = write_script(Path(name), "/v1/projects/bench/decisions", wrapped=True, seed=1)
        with line(root, port) as address:
            project = open_project(root)
            try:
                rates: dict[int, list[float]] = {0: [], viewers: []}
                turn = partial(_turn, project, address, script, seconds, rates)
                found = take_turns({"alone": partial(turn, 0), "watched": partial(turn, viewers)}, rounds)
            finally:
                project.workspace.close()
    share = ratio(found["watched"], found["alone"])
    print(f"\nthe gateway's CPU time for a request, 16 connections, {rounds} rounds of {seconds} s")
    print(f"{'nobody looks':<28}{median(found['alone']).text(1):>26} µs")
    print(f"{f'{viewers} viewers':<28}{median(found['watched']).text(1):>26} µs")
    print(f"{'watched / alone':<28}{share.text(3):>26}")
    print(f"{'requests per second':<28}{median(rates[0]).text():>26}, watched {median(rates[viewers]).text()}")
    kept = share.value < BAR_SHARE
    print(f"bar: a median below {BAR_SHARE:g}: {'kept' if kept else 'MISSED'}")
    return kept


def _turn(
    project: Project, address: str, script: Path, seconds: int, rates: dict[int, list[float]], viewers: int
) -> float:
    with _looking(project, viewers):
        before = accounts(project.root)
        load = drive(address, script, 16, seconds)
        burnt = spent(before, accounts(project.root))["worker"]
    if load.failed:
        sys.exit(f"{load.failed} requests failed")
    rates[viewers].append(load.rps)
    return burnt / (load.rps * seconds) * 1e6


@contextmanager
def _looking(project: Project, viewers: int) -> Iterator[None]:
    if not viewers:
        yield
        return
    note = listening(project.workspace.run_dir)
    if note is None or note.pages is None:
        sys.exit("the line serves no board")
    command = [sys.executable, "-c", "from benchmarks.viewers import watch; watch()", note.pages, str(viewers)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    time.sleep(1.5)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
        pages, failed, *first = said.split(maxsplit=2)
        if int(failed) or int(pages) < viewers:
            sys.exit(f"{viewers} viewers got {pages} pages, {failed} failed: {' '.join(first)}")


if __name__ == "__main__":
    main()
