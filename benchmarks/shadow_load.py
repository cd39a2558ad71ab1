"""A shadow in trouble is no trouble of the line: overloaded, hanging, crashing and killed shadows against none.

One line, one worker, 16 connections of `wrk`. In every round each case has a turn: no shadow; a shadow that burns
so much processor time a row that it could take a fifteenth of what the line answered at first (how much more was offered
than it took is printed); one that hangs in ``predict``; one whose ``predict`` ends its process; one whose whole shadow process is killed
five times a second. Before every turn some rows are asked twice: the answers must be those without a shadow.

At the end the shadow is well again and catches up; then every row that was offered must be in the log as what the shadow
said of it, or among the losses that were counted there: drops are counted exactly.

    python -m benchmarks.shadow_load                  # 15 rounds of 3 s: about 10 minutes
    python -m benchmarks.shadow_load --quick          # 2 rounds of 1 s
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from struct import unpack

import polars as pl

from andon.config import open_project
from andon.deploy.accounting import accounts
from andon.deploy.shadow import ring_path
from andon.store import view
from andon.store.snapshot import Snapshot
from benchmarks.load import drive, need_wrk, some_rows, write_script
from benchmarks.paired import Figure, ratio, take_turns
from benchmarks.processes import running, tree
from benchmarks.project import andon, build, expect_model, free_port
from benchmarks.results import write
from benchmarks.tables import table, verdict

_CASES = ("none", "overload", "hang", "crash", "killed")
_CPU, _P99, _TIMES = 1.10, 1.5, 10.0
_CATCH_UP_SECONDS = 60.0
_MODEL = """
import os
import time
from pathlib import Path

from sklearn.linear_model import LogisticRegression


class Troubled(LogisticRegression):
    def predict_proba(self, x):
        folder = os.environ.get("BENCH_TROUBLE")
        trouble = Path(folder, "trouble").read_text() if folder else ""
        if trouble.startswith("overload"):
            end = time.thread_time() + float(trouble.split()[1]) * len(x)
            while time.thread_time() < end:
                pass
        if trouble == "hang":
            time.sleep(3600)
        if trouble == "crash":
            os._exit(3)
        return super().predict_proba(x)


def train(data, params):
    return Troubled(max_iter=200).fit(data.x, data.y)
"""

Answer = tuple[str, str, float]


class Bench:
    """The line, with what is wrong with its shadow."""

    def __init__(self, project: Path, url: str, pid: int, folder: Path) -> None:
        self.project, self.url, self.pid = project, url, pid
        self._trouble = folder / "trouble"
        self._script = write_script(folder, "/v1/projects/bench/decisions", wrapped=True, seed=3)
        self._shadowed = False
        self._ring = ring_path(project / ".andon" / "run", 0)
        self.cpu: dict[str, list[float]] = {name: [] for name in _CASES}
        self.p99: dict[str, list[float]] = {name: [] for name in _CASES}
        self.factors: list[float] = []
        self.changed = self.failed = 0
        self.rate = drive(url, self._script, 16, 3).rps
        self.asked = some_rows(50, seed=4)
        self.right = self.answers()

    def turn(self, case: str, seconds: int) -> float:
        """One case under load; its rate."""
        trouble = {"none": "", "killed": "", "overload": f"overload {1.5 * _TIMES / self.rate}"}.get(case, case)
        self._shadow(trouble, on=case != "none")
        self.changed += sum(a != b for a, b in zip(self.answers(), self.right, strict=True))
        if case in ("overload", "hang"):
            self._fill()
        before, offered = self._worker_seconds(), self.counters()
        with _killing(self.project) if case == "killed" else _nothing():
            found = drive(self.url, self._script, 16, seconds)
        spent, later = self._worker_seconds() - before, self.counters()
        self.failed += found.failed
        self.cpu[case].append(spent / found.requests * 1e6)
        self.p99[case].append(found.p99_ms)
        if case == "overload":
            rows, dropped = (later[name] - offered[name] for name in ("offered", "dropped"))
            self.factors.append(rows / max(1.0, rows - dropped))
        say = f"{case:<9}{found.rps:>9,.0f}/s  p99 {found.p99_ms:.2f} ms  {self.cpu[case][-1]:.1f} us  {found.failed} failed"
        print(say, file=sys.stderr, flush=True)
        return found.rps

    def answers(self) -> list[Answer]:
        """What the line decides for some rows, without ids: nothing of it is remembered."""
        told = []
        for row in self.asked:
            body = json.dumps({"x": row}).encode()
            request = urllib.request.Request(f"{self.url}/v1/projects/bench/decisions", body)
            with urllib.request.urlopen(request, timeout=10) as answer:
                said = json.load(answer)
            told.append((said["decision"], said["version"], said["confidence"]))
        return told

    def counters(self) -> dict[str, float]:
        """Rows offered to shadows and dropped, as the gateway counts them."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as page:
            text = page.read().decode()
        found = {}
        for name in ("offered", "dropped"):
            start = f"andon_shadow_{name}_total"
            found[name] = sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(start))
        return found

    def end(self) -> dict[str, int]:
        """Make the shadow well again and wait until everything offered is accounted for; the counts of the log."""
        self._shadow("", on=True)
        end = time.monotonic() + _CATCH_UP_SECONDS
        while True:
            counts = self._counts()
            if counts["said"] + counts["lost"] >= counts["offered"] or time.monotonic() > end:
                return counts
            time.sleep(2.0)

    def _counts(self) -> dict[str, int]:
        workspace = open_project(self.project).workspace
        try:
            said = Snapshot(workspace).table("shadow").select(pl.col("id").n_unique()).collect().item()
            losses = view.losses(workspace)
        finally:
            workspace.close()
        lost = losses.filter(pl.col("what").str.starts_with("shadow"))["n"].sum()
        counters = self.counters()
        return {
            "offered": int(counters["offered"]),
            "dropped": int(counters["dropped"]),
            "said": int(said),
            "lost": int(lost),
        }

    def _shadow(self, trouble: str, *, on: bool) -> None:
        self._trouble.write_text("")
        if on != self._shadowed:
            if not on:
                self._caught_up()  # what is in the ring when a shadow ends, nobody predicts on
            extra = [] if on else ["--remove"]
            andon(self.project, "deploy", "shadow", "v2", *extra, "--reason", "benchmark")
            self._shadowed = on
        self._trouble.write_text(trouble)
        time.sleep(1.0)  # workers follow the route, the shadow brings its model

    def _fill(self) -> None:
        """Load the line until the shadow's ring is full: from then on what is taken is what the shadow can do."""
        begun = self.counters()["dropped"]
        end = time.monotonic() + _CATCH_UP_SECONDS
        while self.counters()["dropped"] == begun:
            if time.monotonic() > end:
                raise SystemExit(
                    f"the ring was not full after {_CATCH_UP_SECONDS:.0f} s: this machine is too slow for it"
                )
            drive(self.url, self._script, 64, 1)

    def _caught_up(self) -> None:
        """Wait until the shadow, well again, has taken everything out of its ring."""
        end = time.monotonic() + _CATCH_UP_SECONDS
        while time.monotonic() < end:
            written, taken = unpack("<4Q", self._ring.read_bytes()[:32])[2:]
            if written == taken:
                return
            time.sleep(0.2)
        raise SystemExit(f"the shadow did not catch up within {_CATCH_UP_SECONDS:.0f} s")

    def _worker_seconds(self) -> float:
        return accounts(self.project)["worker"].cpu_seconds


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _killing(project: Path) -> Iterator[None]:
    """Kill the line's shadow process five times a second."""
    done = threading.Event()

    def kill() -> None:
        while not done.wait(0.2):
            for pid in tree(os.getpid()):
                with suppress(OSError):
                    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")
                    if "shadow" in words and str(project) in words:
                        os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        yield
    finally:
        done.set()
        killer.join()


def _rows(bench: Bench, counts: dict[str, int]) -> list[list[str]]:
    rows = []
    for case in _CASES[1:]:
        cpu, p99 = ratio(bench.cpu[case], bench.cpu["none"]), ratio(bench.p99[case], bench.p99["none"])
        rows.append([f"{case}: live CPU a request / without", cpu.text(3), f"<= {_CPU:g}", verdict(cpu, most=_CPU)])
        rows.append([f"{case}: p99 / without", p99.text(2), f"< {_P99:g}", verdict(p99, most=_P99 - 1e-9)])
    least = min(bench.factors)
    factor = Figure(least, least, least)
    reached = [f"{least:.0f}", f">= {_TIMES:g}", verdict(factor, least=_TIMES)]
    rows.append(["overload: offered / taken, the least of all rounds", *reached])
    asked = 50 * sum(map(len, bench.cpu.values()))
    rows.append(_exact("answers that a shadow changed", bench.changed, 0, f"{bench.changed} of {asked}"))
    rows.append(_exact("requests that failed", bench.failed, 0, str(bench.failed)))
    text = f"{counts['said']:,} said + {counts['lost']:,} lost of {counts['offered']:,} offered"
    rows.append(
        _exact("rows offered, accounted for in the log", counts["said"] + counts["lost"], counts["offered"], text)
    )
    return rows


def _exact(what: str, found: int, right: int, text: str) -> list[str]:
    return [what, text, "0" if right == 0 else "all, once", "met" if found == right else f"missed by {found - right}"]


def _build(folder: Path, port: int) -> Path:
    project = build(folder / "project", port=port, kind="plain")
    (project / "model.py").write_text(_MODEL)
    andon(project, "train", "--trust")
    andon(project, "release", "r2", "--reason", "benchmark")
    return project


def main() -> None:
    """Print the table, keep it; ends with 1 when an answer was changed, lost or not counted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="Two rounds of one second: whether all runs.")
    given = parser.parse_args()
    rounds, seconds = (2, 1) if given.quick else (given.rounds, given.seconds)
    need_wrk()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder, port = Path(name), free_port()
        (folder / "trouble").write_text("")
        project, url = _build(folder, port), f"http://127.0.0.1:{port}"
        answers = partial(expect_model, f"{url}/v1/projects/bench/decisions")
        command = [sys.executable, "-m", "andon", "up"]
        environ = {"BENCH_TROUBLE": str(folder)}
        with running(command, answers, project / "up.log", environ=environ, folder=project) as pid:
            bench = Bench(project, url, pid, folder)
            cases: dict[str, Callable[[], float]] = {case: partial(bench.turn, case, seconds) for case in _CASES}
            take_turns(cases, rounds)
            counts = bench.end()
    rows = _rows(bench, counts)
    write("shadow", {"settings": {"rounds": rounds, "seconds": seconds}, "rows": rows, "counts": counts})
    print(table(["what", "found", "bar", "verdict"], rows))
    sys.exit(1 if any(row[3] != "met" for row in rows[-3:]) else 0)


if __name__ == "__main__":
    main()
