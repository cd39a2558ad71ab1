"""How much machine and how many people a line takes, forecast from a measured calibration by replaying it.

Each worker is a queue of its own (the kernel gives it a share of the connections), and in one turn it takes everything
that has come: a turn of k requests holds it for a measured time plus (k - 1) times what one more request costs. Arrivals
are a Poisson stream. What the calibration saw beyond its body are times when the machine stood still; they come by the
clock and not by the request. Nothing here measures, waits or draws but from the seed it is given.

>>> quick = Calibration(latency_ms=tuple([0.5] * 100), rate=100.0, cpu_one_ms=0.3, cpu_many_ms=0.05)
>>> forecast = replay(quick, 1000.0, 1)
>>> forecast.utilisation < 0.5, 0.4 < forecast.p50_ms.value < 1.0
(True, True)
>>> replay(quick, 50_000.0, 1).p50_ms.reason
'more comes than the workers can answer'
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt

from andon.measure.estimate import Estimate, undefined

__all__ = [
    "FULL",
    "TOLERANCE",
    "Calibration",
    "Forecast",
    "People",
    "Storage",
    "agrees",
    "people",
    "replay",
    "rows_of",
    "storage",
]

#: The utilisation that may be planned for, of processors and of people: beyond it waiting grows without bound.
FULL = 0.8
#: A forecast of p50 or p95 agrees with a run when it is within this factor, or within so many milliseconds, of it.
TOLERANCE = (2.0, 3.0)
_BATCH = 512
_ARRIVALS = 20_000
_REPLICAS = 24
_DAY = 86_400.0

Array = npt.NDArray[np.float64]


class Calibration(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was measured: latencies (ms, from when a request was due) at ``rate`` per second, far from full, on
    ``workers`` workers; the processor time of a request that comes alone and of one among many; and what a decision takes
    in the log (bytes; ``wal_bytes`` before it is shipped, ``kept_bytes`` after), in memory (2**20 bytes for each worker and
    for all else), and in a shadow (ms for each release that runs in one). None: not measured.
    """

    latency_ms: tuple[float, ...]
    rate: float
    cpu_one_ms: float
    cpu_many_ms: float
    workers: int = 1
    n: int = 0
    wal_bytes: float = 0.0
    kept_bytes: float | None = None
    worker_mb: float = 0.0
    other_mb: float = 0.0
    shadow_ms: float | None = None
    source: str = ""


class Forecast(msgspec.Struct, frozen=True):
    """At ``qps`` with ``workers``: the share of its time that the busiest worker works, latencies in ms with what the
    calibration leaves open, and ``stopped``, the share of the time at which the calibration's machine stood still.
    """

    qps: float
    workers: int
    utilisation: float
    stopped: float
    p50_ms: Estimate
    p95_ms: Estimate
    p99_ms: Estimate


class People(msgspec.Struct, frozen=True):
    """Cases an hour that come to people, the capacity that takes at 0.8 of full, and how full the one there is would be."""

    cases_per_hour: float
    capacity_needed: float
    capacity: float | None
    busy: float | None
    reviewers: int | None


class Storage(msgspec.Struct, frozen=True):
    """Bytes a day that the log grows by, and what the retention keeps in all."""

    rows_per_day: float
    bytes_per_row: float
    bytes_per_day: float
    days: int
    bytes_kept: float


def replay(calibration: Calibration, qps: float, workers: int, *, connections: int = 32, seed: int = 0) -> Forecast:
    """The measured times replayed through ``workers`` queues, again and again with what was measured drawn anew.

    The interval (95 %) holds what the calibration and the spread of connections leave open, not what else the machine
    will be doing.
    """
    chance = np.random.default_rng(seed)
    body, stall_rate, stalls, rest = _parts(calibration)
    found: list[tuple[float, float, float]] = []
    busy: list[tuple[float, float]] = []
    for replica in range(_REPLICAS):
        shares = _shares(workers, connections, chance, even=replica == 0)
        drawn = body if replica == 0 else chance.choice(body, len(body))
        gone = stalls if replica == 0 or not len(stalls) else chance.choice(stalls, len(stalls))
        took, full = [], []
        for share in shares[shares > 0]:
            n = max(200, round(_ARRIVALS * float(share)))
            one, held = _queue(chance, n, qps * float(share), (drawn, calibration), (stall_rate, gone))
            took.append(one + rest)
            full.append(held)
        busy.append(max(full))
        if max(full)[0] < 1:
            found.append(tuple(np.quantile(np.concatenate(took), (0.5, 0.95, 0.99)).tolist()))
    utilisation, stopped = busy[0]
    if utilisation >= 1 or len(found) < _REPLICAS // 2:
        over = undefined("more comes than the workers can answer")
        return Forecast(qps, workers, 1.0, stopped, over, over, over)
    columns = list(zip(*found, strict=True))
    p50, p95, p99 = (_spread(column, calibration.n or len(body)) for column in columns)
    return Forecast(qps, workers, utilisation, stopped, p50, p95, p99)


def _spread(values: tuple[float, ...], n: int) -> Estimate:
    """The median over replicas (the first is not special: an estimate must lie inside its interval) and their middle 95 %."""
    low, middle, high = np.quantile(values, (0.025, 0.5, 0.975)).tolist()
    return Estimate(middle, low, high, n, "replay")


def _parts(calibration: Calibration) -> tuple[Array, float, Array, float]:
    """(milliseconds that a turn of one holds a worker; stalls a second, their lengths in ms; the rest of a latency).

    The rest is on the way: it delays an answer and holds up no other. A request of the calibration met a stall in
    proportion to its length and on average halfway through it.
    """
    took = np.asarray(calibration.latency_ms, dtype=np.float64)
    middle = float(np.median(took))
    rest = max(0.0, middle - calibration.cpu_one_ms)
    edge = 3 * middle + 1.0
    far = took[took > edge] - middle
    body = np.maximum(took[took <= edge] - rest, 0.3 * calibration.cpu_one_ms)
    if not len(far):
        return body, 0.0, far, rest
    share = len(far) / len(took)
    lengths = 2 * far
    weight = 1 / lengths
    mean = float((lengths * weight).sum() / weight.sum())
    ordered = np.sort(lengths)
    at = np.searchsorted(np.cumsum(1 / ordered) / (1 / ordered).sum(), (np.arange(200) + 0.5) / 200)
    return body, 1000 * share / mean, ordered[np.minimum(at, len(ordered) - 1)], rest


def _shares(workers: int, connections: int, chance: np.random.Generator, *, even: bool) -> Array:
    """The part of the requests that each worker gets: that of the connections, which the kernel spreads by chance."""
    if workers == 1 or even:
        return np.full(workers, 1 / workers)
    return chance.multinomial(connections, [1 / workers] * workers) / connections


def _queue(
    chance: np.random.Generator,
    n: int,
    qps: float,
    service: tuple[Array, Calibration],
    stall: tuple[float, Array],
) -> tuple[Array, tuple[float, float]]:
    """(latencies in ms of n arrivals at one worker, the shares of its time that it works and stands still).

    A turn takes all that has come, up to a batch. A queue that only grows works all the time: 1.
    """
    body, known = service
    more = known.cpu_many_ms
    arrived: list[float] = np.cumsum(chance.exponential(1000 / qps, n)).tolist()
    first: list[float] = chance.choice(body, n).tolist()
    starts, lengths = _stalls(chance, arrived[-1], stall)
    took = [0.0] * n
    free = 0.0
    at = turns = next_stall = 0
    while at < n:
        begin = max(free, arrived[at])
        while next_stall < len(starts) and starts[next_stall] <= begin:
            begin = max(begin, starts[next_stall] + lengths[next_stall])
            next_stall += 1
        end = at + 1
        while end < n and end - at < _BATCH and arrived[end] <= begin:
            end += 1
        free = begin + first[at] + more * (end - at - 1)
        for number in range(at, end):
            took[number] = free - arrived[number]
        turns, at = turns + 1, end
    last = arrived[-1]
    work = (turns * known.cpu_one_ms + (n - turns) * more) / max(free, last)
    grows = free - last > 0.1 * last + 10 * first[-1] + sum(lengths[-1:])
    return np.asarray(took), (1.0 if grows else min(work, 0.999), min(1.0, sum(lengths) / last))


def _stalls(chance: np.random.Generator, until: float, stall: tuple[float, Array]) -> tuple[list[float], list[float]]:
    rate, lengths = stall
    if not rate or not len(lengths):
        return [], []
    count = int(chance.poisson(rate * until / 1000))
    return np.sort(chance.uniform(0, until, count)).tolist(), chance.choice(lengths, count).tolist()


def agrees(forecast: float, measured: float) -> bool:
    """Whether a forecast and a run say the same within ``TOLERANCE`` (both in ms).

    >>> agrees(1.0, 3.5), agrees(10.0, 19.0), agrees(10.0, 25.0)
    (True, True, False)
    """
    factor, room = TOLERANCE
    return abs(forecast - measured) <= room or max(forecast, measured) <= factor * min(forecast, measured)


def people(
    rows_per_day: float, deferral: float, *, capacity: float | None, double: float = 0.0, each: float | None = None
) -> People:
    """What comes to people against what they can do: ``deferral`` of the rows (audits among them), ``double`` of those twice.

    ``capacity`` is the cases that all of them decide in an hour, ``each`` what one does. At more than 0.8 of it cases wait
    ever longer, since they do not come evenly.

    >>> found = people(24_000, 0.1, capacity=100, each=30)
    >>> found.cases_per_hour, found.capacity_needed, found.busy, found.reviewers
    (100.0, 125.0, 1.0, 5)
    """
    cases = rows_per_day / 24 * deferral * (1 + double)
    needed = cases / FULL
    return People(
        cases,
        needed,
        capacity,
        None if capacity is None else cases / capacity,
        None if not each else math.ceil(needed / each - 1e-9),
    )


def storage(rows_per_day: float, bytes_per_row: float, days: int) -> Storage:
    """How the log grows and what the retention keeps.

    >>> storage(1000, 200.0, 365).bytes_kept
    73000000.0
    """
    a_day = rows_per_day * bytes_per_row
    return Storage(rows_per_day, bytes_per_row, a_day, days, a_day * days)


def rows_of(qps: float) -> float:
    """Rows a day when the rate never rests.

    >>> rows_of(10.0)
    864000.0
    """
    return qps * _DAY
