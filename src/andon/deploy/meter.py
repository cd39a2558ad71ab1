"""What one worker counts about itself: plain numbers that only grow, published to a file for whoever scrapes.

>>> meter = Meter()
>>> meter.outcome("model", "live")
>>> meter.decisions
{'model,live': 1}
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from itertools import accumulate
from pathlib import Path

import msgspec

__all__ = ["BUCKETS", "Histogram", "Meter", "meter_path", "read_meter", "read_meters"]

#: Upper bounds of the latency buckets, in seconds.
BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
#: Upper bounds of the batch buckets, in rows.
ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)


class Histogram(msgspec.Struct):
    """Counts by bucket (the last one is beyond all bounds) and the sum.

    >>> histogram = Histogram((1.0, 2.0))
    >>> for value in (0.5, 1.5, 9.0):
    ...     histogram.add(value)
    >>> histogram.counts, histogram.sum, histogram.cumulative()
    ([1, 1, 1], 11.0, [1, 2, 3])
    """

    bounds: tuple[float, ...]
    counts: list[int] = []
    sum: float = 0.0

    def __post_init__(self) -> None:
        if not self.counts:
            self.counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def add_all(self, values: list[float]) -> None:
        """Count many values: sorted, each bound is looked for once."""
        if len(values) < 2:
            for value in values:
                self.add(value)
            return
        ordered, before = sorted(values), 0
        for at, bound in enumerate(self.bounds):
            upto = bisect_right(ordered, bound, before)
            self.counts[at] += upto - before
            before = upto
            if before == len(ordered):
                break
        self.counts[-1] += len(ordered) - before
        self.sum += sum(values)

    def cumulative(self) -> list[int]:
        """How many values were at or below each bound, then all of them."""
        return list(accumulate(self.counts))


class Meter(msgspec.Struct):
    """All counters of a worker. Keys of the tables are label values joined with commas; there are few of them."""

    requests: dict[str, int] = {}
    decisions: dict[str, int] = {}
    latency: Histogram = msgspec.field(default_factory=lambda: Histogram(BUCKETS))
    batches: Histogram = msgspec.field(default_factory=lambda: Histogram(ROWS))
    repeated: int = 0
    conflicts: int = 0
    handed_over: int = 0
    refused: int = 0
    feedback: int = 0
    log_failures: int = 0
    log_bytes: int = 0
    log_backlog: int = 0
    shed: int = 0
    shedding: int = 0
    model_errors: int = 0
    shadow_offered: int = 0
    shadow_dropped: int = 0
    queue_rows: int = 0
    ids_remembered: int = 0
    connections: int = 0
    route_epoch: int = 0
    loaded: tuple[str, ...] = ()
    started: float = 0.0

    def answered(self, endpoint: str, status: int, n: int = 1) -> None:
        """Count answers."""
        key = f"{endpoint},{status}"
        self.requests[key] = self.requests.get(key, 0) + n

    def outcome(self, decided_by: str, arm: str, n: int = 1) -> None:
        """Count new decisions: by whom (``nobody`` is pending) and on which arm."""
        key = f"{decided_by},{arm}"
        self.decisions[key] = self.decisions.get(key, 0) + n


def meter_path(run_dir: Path, index: int) -> Path:
    """Where the worker of this number publishes its counters."""
    return run_dir / f"meter-w{index}.json"


def read_meter(path: Path) -> Meter | None:
    """What a worker last published; None where it said nothing yet, or nothing that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Meter)
    except (OSError, msgspec.DecodeError):
        return None


def read_meters(run_dir: Path) -> list[Meter]:
    """What all workers last published."""
    found = [read_meter(path) for path in sorted(run_dir.glob("meter-w*.json"))]
    return [meter for meter in found if meter is not None]
