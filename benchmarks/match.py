"""A match: contestants take turns under the same load, and every turn is written down (`benchmarks.paired`).

What a turn cost in processor time is read from the kernel's books: of the whole tree below the process that was started; of
ours also for the workers alone, which answer, while the controller ships what was answered at idle priority. The next turn
begins when that is done. Whoever is not measured is stopped meanwhile, so that each has the machine to itself.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from andon.deploy.accounting import accounts
from benchmarks.contestants import Running
from benchmarks.load import Shape, decision, drive, write_script
from benchmarks.paired import take_turns
from benchmarks.processes import alone, cpu_seconds, rest, running
from benchmarks.project import build, expect_model, free_port

__all__ = ["Settings", "Turn", "constant", "match", "our_line", "values", "with_unit"]


@dataclass(frozen=True)
class Settings:
    """How long and how often."""

    rounds: int = 7
    seconds: int = 3
    connections: tuple[int, ...] = (1, 16, 64)


@dataclass(frozen=True)
class Turn:
    """One contestant's turn. ``cpu_us`` is what answers, ``tree_us`` with everything behind it, both for each request."""

    contestant: str
    connections: int
    round: int
    rps: float
    p50_ms: float
    p99_ms: float
    failed: int
    requests: int
    cpu_us: float
    tree_us: float
    rest_s: float
    load_average: float


def with_unit(row: dict[str, float]) -> Any:
    """Our envelope with a unit: what a canary is drawn by, stored as a keyed hash."""
    return decision(row) | {"unit": f"unit-{row['f0']}"}


@contextmanager
def our_line(folder: Path, kind: str, *, canary: float = 0.1, shape: Shape = decision) -> Iterator[Running]:
    """Our whole line on a project of this kind: one worker, a controller, a shadow and a board."""
    port = free_port()
    home = folder / f"line-{kind}-{shape.__name__}"
    if not home.exists():
        build(home, port=port, kind=kind, canary=canary)
    else:
        charter = home / "andon.yaml"
        port = int(charter.read_text().partition("{port: ")[2].partition(",")[0])
    path = "/v1/projects/bench/decisions"
    answers = partial(expect_model, f"http://127.0.0.1:{port}{path}")
    with running([sys.executable, "-m", "andon", "up"], answers, home / "up.log", folder=home) as pid:
        yield Running(f"http://127.0.0.1:{port}", path, shape, pid, home)


@contextmanager
def constant(folder: Path) -> Iterator[Running]:
    """Our own server, answering a constant: the floor."""
    port = free_port()
    command = [sys.executable, "-c", f"from benchmarks.constant import serve; serve({port})"]
    with running(command, partial(_probe, port), folder / "constant.log") as pid:
        yield Running(f"http://127.0.0.1:{port}", "/", decision, pid)


def _probe(port: int) -> None:
    import urllib.request

    urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1).close()


def match(contestants: dict[str, Running], folder: Path, settings: Settings) -> list[dict[str, Any]]:
    """Every contestant, every number of connections, so many rounds; the turns."""
    turns: list[Turn] = []
    scripts = {
        name: write_script(folder, one.path, wrapped=False, seed=1, shape=one.shape)
        for name, one in contestants.items()
    }
    others = {name: {other.pid for other in contestants.values()} - {one.pid} for name, one in contestants.items()}
    for name, one in contestants.items():
        drive(one.url, scripts[name], 16, 1)
        _rest(one)
    for connections in settings.connections:
        count, how = dict.fromkeys(contestants, 0), (connections, settings.seconds)
        calls: dict[str, Callable[[], float]] = {
            name: partial(_by_itself, others[name], partial(_turn, name, one, scripts[name], how, count, turns))
            for name, one in contestants.items()
        }
        take_turns(calls, settings.rounds)
    return [asdict(turn) for turn in turns]


def _by_itself(others: Iterable[int], turn: Callable[[], float]) -> float:
    with alone(others):
        return turn()


def _turn(
    name: str, one: Running, script: Path, how: tuple[int, int], count: dict[str, int], turns: list[Turn]
) -> float:
    connections, seconds = how
    worker, whole = _workers(one), cpu_seconds(one.pid)
    found = drive(one.url, script, connections, seconds)
    worker_end = _workers(one)
    rested = _rest(one)
    each = 1e6 / max(1, found.requests)
    tree = (cpu_seconds(one.pid) - whole) * each
    own = (worker_end - worker) * each if one.home else tree
    measured = (found.rps, found.p50_ms, found.p99_ms, found.failed, found.requests)
    turns.append(Turn(name, connections, count[name], *measured, own, tree, rested, os.getloadavg()[0]))
    count[name] += 1
    say = f"{name:<14} {connections:>3} connections  {found.rps:>9,.0f}/s  p50 {found.p50_ms:.2f}  p99 {found.p99_ms:.2f} ms"
    print(f"{say}  {own:.0f} us CPU  {found.failed} failed", file=sys.stderr, flush=True)
    return found.rps


def _workers(one: Running) -> float:
    account = accounts(one.home).get("worker") if one.home else None
    return account.cpu_seconds if account else 0.0


def _rest(one: Running) -> float:
    return rest(one.pid) if one.home else 0.0


def values(turns: Sequence[dict[str, Any]], contestant: str, connections: int, what: str) -> list[float]:
    """One figure of one contestant, round by round.

    >>> values([{"contestant": "a", "connections": 1, "rps": 3.0}], "a", 1, "rps")
    [3.0]
    """
    return [
        float(turn[what]) for turn in turns if (turn["contestant"], turn["connections"]) == (contestant, connections)
    ]
