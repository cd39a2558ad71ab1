"""How soon the old route stops answering: switch, rollback and stop under load, with the database up, held and gone.

A line of two workers answers clients on keep-alive connections in another process; they ask all the time and forgive
nothing (no second try). Each command runs 20 times in each state of the database. Printed is when the last answer by the
old route reached a client, in ms after the command returned (negative: before) and after its route was published.

    python -m benchmarks.switching --times 20
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
from tests.line.database import locked, moved_away
from tests.line.pressure import Heard, Pressure
from tests.line.switching import PATIENCE, Told, change_over, lateness
from tests.line.toyline import Running, make_toy

BAR_MS = 250.0


def main() -> None:
    """Print the table; returns 1 when a request failed or an answer was later than the bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--connections", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        root = Path(name) / "toy"
        root.mkdir()
        shutil.copytree(make_toy(root), Path(name) / "line")
        line = Running(Path(name) / "line", workers=2)
        try:
            told, heard, seconds = _measure(line, options.times, options.connections)
        finally:
            line.close()
    sys.exit(_print(told, heard, seconds))


def _measure(line: Running, times: int, connections: int) -> tuple[dict[str, list[Told]], list[Heard], float]:
    line.project.workspace.db.busy_seconds = PATIENCE
    for version in ("v2", "v1"):
        line.line.switch(version, actor="bench")
    line.line.automate("full", actor="bench")
    line.start()
    states: dict[str, Callable[[Path], AbstractContextManager[None]]] = {
        "up": lambda _: nullcontext(),
        "locked": locked,
        "gone": moved_away,
    }
    pressure = Pressure(line.port, connections).begin()
    begun = time.monotonic()
    told: dict[str, list[Told]] = {}
    try:
        for state, befalls in states.items():
            with befalls(line.project.workspace.home):
                told[state] = [each for _ in range(times) for each in change_over(line)]
        return told, pressure.end(), time.monotonic() - begun
    finally:
        pressure.kill()


def _print(told: dict[str, list[Told]], heard: list[Heard], seconds: float) -> int:
    failed = sum(answer.failed for answer in heard)
    print(f"{len(heard):,} requests in {seconds:.0f} s ({len(heard) / seconds:,.0f} per second), {failed} failed\n")
    print(f"{'the last answer by the old route, ms':<38}{'after the command returned':>42}{'after publication':>24}")
    print(
        f"{'database':<10}{'command':<12}{'took ms':>16}{'min':>14}{'median':>9}{'max':>9}{'in time':>10}{'median':>14}{'max':>10}"
    )
    late = False
    for state, commands in told.items():
        for command in dict.fromkeys(each.command for each in commands):
            these = [each for each in commands if each.command == command]
            pairs = np.array([lateness(each, heard) for each in these])
            took = np.median([(each.returned - each.published) * 1000 for each in these])
            returned, published = pairs[:, 0], pairs[:, 1]
            good = int((returned <= BAR_MS).sum())
            late = late or good < len(these)
            print(
                f"{state:<10}{command:<12}{took:>16.1f}{returned.min():>14.1f}{np.median(returned):>9.1f}{returned.max():>9.1f}"
                f"{f'{good} of {len(these)}':>10}{np.median(published):>14.1f}{published.max():>10.1f}"
            )
    print(f"\nbar: {BAR_MS:.0f} ms after the command returned, in every one; 0 failed")
    return int(late or failed > 0)


if __name__ == "__main__":
    main()
