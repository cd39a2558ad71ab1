"""The soak of `benchmarks.soak` in small: the window of ids fills many times, and memory stays where it was."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tests.ports import free_port

pytestmark = [pytest.mark.slow]

_RUN = """
import sys
from pathlib import Path
from benchmarks.project import build
from benchmarks.soak import soak
import msgspec
found = soak(build(Path(sys.argv[1]), port=int(sys.argv[2])), 400_000, 40_000)
print("found", msgspec.json.encode((found, found.periods(), found.slope())).decode())
"""


def test_memory_is_flat_once_the_window_of_ids_is_full(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _RUN, str(tmp_path / "bench"), str(free_port())]
    said = subprocess.run(
        command, capture_output=True, text=True, timeout=280, check=False, cwd=Path(__file__).parents[2]
    )
    assert said.returncode == 0, said.stderr
    line = next(line for line in said.stdout.splitlines() if line.startswith("found "))
    found, periods, (slope, error) = msgspec.json.decode(line.removeprefix("found "))
    print(f"{periods}, {slope:.0f} +- {2 * error:.0f} KB for a million requests")
    assert len(periods) == 16 and max(found["remembered"]) <= 40_000 + 2 * 64
    assert (found["same"], found["fresh"]) == (found["again"], found["old"]) and found["again"] >= 2000
    assert (
        max(peak for _, peak in periods[8:]) - max(peak for _, peak in periods[:8]) < 1024
    )  # KB, over 160,000 requests
