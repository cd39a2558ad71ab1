"""What a piece of work cost this process: wall seconds, processor seconds, peak memory.

>>> with measured() as cost:
...     _ = bytearray(1_000_000)
>>> cost.wall_seconds >= 0 and cost.peak_mb > 1
True
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Cost", "measured"]


@dataclass
class Cost:
    """Filled in when the work is over. ``peak_mb`` is the process's largest resident memory meanwhile, in 2**20 bytes."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mb: float = 0.0


@contextmanager
def measured() -> Iterator[Cost]:
    """Measure a block, also when it raises.

    On Linux the kernel's peak is reset first; elsewhere the peak is that of the whole process so far.
    """
    cost = Cost()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        yield cost
    finally:
        cost.wall_seconds = time.perf_counter() - wall
        cost.cpu_seconds = time.process_time() - cpu
        cost.peak_mb = _peak_mb()


def _peak_mb() -> float:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
