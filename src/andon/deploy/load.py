"""A load run: when each request is due, what it says, and what the answers mean for the charter's goal.

>>> even = schedule(4.0, 1.0, spacing="even")
>>> list(even), len(schedule(100.0, 10.0, seed=1)) == len(schedule(100.0, 10.0, seed=1))
([0.0, 0.25, 0.5, 0.75], True)
>>> messages = Messages("127.0.0.1:8700", "/v1/projects/p/decisions", [{"x": {"n": 1}}], run="ab12cd34")
>>> messages(7).split(b"\\r\\n\\r\\n")[1]
b'{"id":"load-ab12cd34-000000007","x":{"n":1},"tags":{"load":"ab12cd34"}}'
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from andon.core.verdict import Verdict, worst
from andon.deploy.load_driver import BROKEN, TIMEOUT
from andon.errors import UsageError
from andon.measure.estimate import Estimate
from andon.measure.lateness import fewest, late_share, quantile

if TYPE_CHECKING:
    from andon.deploy.load_driver import Trace

__all__ = [
    "GRID",
    "LEVELS",
    "REQUESTS_MAX",
    "TAG",
    "Check",
    "Goal",
    "Load",
    "Messages",
    "judge",
    "measure",
    "schedule",
    "verdict_of",
]

#: The tag, and the beginning of every id, by which these requests are told from real ones.
TAG = "load"
LEVELS = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99_9": 0.999}
#: Shares at which a run's latencies are kept, for whoever forecasts from them.
GRID = (*(i / 500 for i in range(500)), 0.999, 0.9995, 1.0)
REQUESTS_MAX = 5_000_000
_ALL_ITS_CORE = 0.7  # a driver that needs more of one core than this has no time to be punctual
_ASKED_FOR = 0.95  # answers must leave at this part of the rate asked for, or they pile up

Spacing = Literal["poisson", "even"]


class Goal(msgspec.Struct, frozen=True):
    """What is asked: requests per second, and the milliseconds within which 95 of 100 answers leave (None: not asked)."""

    qps: float
    p95_ms: float | None = None

    @property
    def slack_seconds(self) -> float:
        """How late the driver may be without counting as late: a tenth of the goal, at least a millisecond."""
        return max(0.001, (self.p95_ms or 0.0) / 10_000)


class Check(msgspec.Struct, frozen=True):
    """One thing that a run was held against."""

    name: str
    verdict: Verdict
    sentence: str


class Load(msgspec.Struct, frozen=True, omit_defaults=True):
    """What one run measured. Latencies are milliseconds from when a request was due to its answer.

    ``lateness`` has p50 to p99.9 by name; ``late`` is the share of answers later than the goal or never given; ``lag_ms``
    and ``lagging`` say how late the driver itself was and how often more than its slack; ``grid`` holds the latencies at
    ``GRID``. ``cpu`` is processor seconds by kind of process of the line, ``rows_written`` and ``log_bytes`` what went
    into the log. ``rate`` is answers per second.
    """

    mode: Literal["open", "closed"]
    spacing: str
    goal: Goal
    sent: int
    answered: int
    seconds: float
    rate: float
    status: dict[str, int]
    lateness: dict[str, Estimate]
    max_ms: float | None
    late: Estimate
    lag_ms: float
    lagging: float
    waited: float
    reopened: int
    driver_cpu: float
    grid: tuple[float, ...] = ()
    cpu: dict[str, float] = {}
    processes: dict[str, int] = {}
    memory_mb: dict[str, float] = {}
    cpu_ms_per_request: float | None = None
    log_bytes: int = 0
    connections: int = 0
    workers: int = 0
    cores: int = 0
    busy: float = 0.0
    bundle: str = ""
    version: str = ""
    source: str = ""
    distinct: int = 0
    url: str = ""
    run: str = ""
    seed: int = 0
    began_us: int = 0
    ended_us: int = 0
    checks: tuple[Check, ...] = ()
    limit: dict[str, Any] = {}

    @property
    def verdict(self) -> Verdict:
        """Of all checks."""
        return verdict_of(self.checks)


def schedule(qps: float, seconds: float, *, seed: int = 0, spacing: Spacing = "poisson") -> list[float]:
    """When each request is due, in seconds from the start: evenly, or as a Poisson stream (gaps drawn with ``seed``).

    Raises ``UsageError`` for a rate or a time that is not positive, or more than ``REQUESTS_MAX`` requests.
    """
    if not (0 < qps <= 10_000_000 and 0 < seconds <= 86_400):
        raise UsageError(f"a load needs a positive rate and at most a day, found {qps:g} per second for {seconds:g} s")
    planned = qps * seconds
    if planned > REQUESTS_MAX:
        raise UsageError(
            f"{qps:g} per second for {seconds:g} s are {planned:,.0f} requests: expected at most {REQUESTS_MAX:,}",
            hint="give fewer --seconds",
        )
    if spacing == "even":
        return [i / qps for i in range(max(1, round(planned)))]
    gaps = np.random.default_rng(seed).exponential(1 / qps, int(planned + 6 * planned**0.5) + 10)
    due = np.cumsum(gaps)
    return due[due < seconds].tolist() or [0.0]


class Messages:
    """The bytes of request number i: the rows in turn, each under an id of its own that begins with ``load-RUN-``.

    ``rows`` are decision requests without an id (``x`` and, where there is one, ``unit``); ``tagged`` adds the tag.
    """

    def __init__(
        self,
        host: str,
        path: str,
        rows: Sequence[dict[str, Any]],
        *,
        run: str,
        token: str | None = None,
        tagged: bool = True,
    ) -> None:
        self._rows: list[tuple[bytes, bytes]] = []
        self._n = len(rows)
        mark = f"{TAG}-{run}-"
        secret = f"authorization: Bearer {token}\r\n" if token else ""
        head = f"POST {path} HTTP/1.1\r\nhost: {host}\r\n{secret}content-type: application/json\r\ncontent-length: "
        for row in rows:
            tags = {**row.get("tags", {}), **({TAG: run} if tagged else {})}
            body = msgspec.json.encode({**row, **({"tags": tags} if tags else {})})
            before, after = b'{"id":"' + mark.encode(), b'",' + body[1:]
            length = len(before) + 9 + len(after)
            self._rows.append((f"{head}{length}\r\n\r\n".encode() + before, after))

    def __call__(self, number: int) -> bytes:
        """The bytes of one request."""
        before, after = self._rows[number % self._n]
        return b"%b%09d%b" % (before, number, after)


def measure(trace: Trace, goal: Goal, mode: Literal["open", "closed"], spacing: str) -> Load:
    """The figures of a run, not yet judged."""
    n = len(trace.due)
    took = np.array(trace.latency, dtype=np.float64) * 1000
    status = np.array(trace.status, dtype=np.int64)
    lag = np.array(trace.lag, dtype=np.float64)
    failed = (status < 200) | (status >= 300)
    took[failed] = np.inf
    answered = n - int(failed.sum())
    late = took > goal.p95_ms if goal.p95_ms is not None else failed
    span = max(trace.seconds, 1e-9)
    sound = took[np.isfinite(took)]
    return Load(
        mode=mode,
        spacing=spacing,
        goal=goal,
        sent=n,
        answered=answered,
        seconds=span,
        rate=answered / span,
        status={_name(code): int(count) for code, count in zip(*np.unique(status, return_counts=True), strict=True)},
        lateness={name: quantile(took, level) for name, level in LEVELS.items()},
        max_ms=float(sound.max()) if len(sound) else None,
        late=late_share(late, np.array(trace.due, dtype=np.float64).astype(np.int64)),
        lag_ms=float(np.quantile(lag, 0.99)) * 1000 if n else 0.0,
        lagging=float((lag > goal.slack_seconds).mean()) if n else 0.0,
        waited=trace.waited / max(1, n),
        reopened=trace.reopened,
        driver_cpu=trace.cpu_seconds / span,
        grid=tuple(np.round(np.quantile(sound, GRID), 4).tolist()) if len(sound) else (),
    )


def _name(code: int) -> str:
    return {TIMEOUT: "timeout", BROKEN: "broken"}.get(code, str(code))


def judge(load: Load) -> tuple[Check, ...]:
    """What the figures mean: each check with its sentence. A driver that was late makes a verdict unsure."""
    if load.mode == "closed":
        return (_errors(load), _closed_rate(load))
    checks = (_kept(load), _errors(load), _rate(load), _enough(load))
    return checks if load.goal.p95_ms is None else (*checks, _latency(load))


def verdict_of(checks: Sequence[Check]) -> Verdict:
    """The worst of all, but unsure where the driver could not keep its schedule: then nothing was measured but itself."""
    if any(check.name == "schedule" and check.verdict is not Verdict.PASS for check in checks):
        return Verdict.UNSURE
    return worst(check.verdict for check in checks)


def _kept(load: Load) -> Check:
    slack = load.goal.slack_seconds * 1000
    if load.lagging <= 0.01:
        return Check(
            "schedule", Verdict.PASS, f"the driver kept its schedule (99 % within {max(load.lag_ms, 0.01):.2g} ms)"
        )
    late = f"it was more than {slack:.2g} ms late with {100 * load.lagging:.2g} % of the requests"
    if load.driver_cpu > _ALL_ITS_CORE:
        words = f"the driver was itself the bottleneck: {late}; ask for less, or share the load between machines"
    else:
        words = f"the machine was too busy for the driver: {late}; run it on a quieter or another machine"
    return Check("schedule", Verdict.UNSURE, words)


def _errors(load: Load) -> Check:
    failed = load.sent - load.answered
    if not failed:
        return Check("errors", Verdict.PASS, f"all {load.sent:,} were answered")
    listed = ", ".join(f"{n:,} {name}" for name, n in load.status.items() if not name.startswith("2"))
    return Check("errors", Verdict.FAIL, f"{failed:,} of {load.sent:,} were not answered: {listed}")


def _rate(load: Load) -> Check:
    """Answers per second until the last one: a backlog that drains after the end shows as a lower rate.

    A Poisson stream may hold a little less than asked by chance (three standard deviations of a count).
    """
    asked = load.goal.qps
    scarce = 1.0 - 3.0 / math.sqrt(max(load.sent, 9)) if load.spacing == "poisson" else 1.0
    good = load.rate >= _ASKED_FOR * scarce * asked
    words = f"{load.rate:,.0f} answers per second, {asked:,.6g} asked for"
    return Check("rate", Verdict.PASS if good else Verdict.FAIL, words)


def _closed_rate(load: Load) -> Check:
    good = load.rate >= load.goal.qps
    words = f"{load.rate:,.0f} answers per second in a closed loop, {load.goal.qps:,.6g} asked for"
    more = "; its latencies promise nothing under a rate" if load.goal.p95_ms is not None else ""
    passed = Verdict.PASS if not more else Verdict.UNSURE
    return Check("rate", passed if good else Verdict.FAIL, words + more)


def _enough(load: Load) -> Check:
    needed = fewest(0.999)
    if load.sent >= needed:
        return Check("enough", Verdict.PASS, f"{load.sent:,} requests tell the p99.9")
    return Check("enough", Verdict.UNSURE, f"{load.sent:,} requests cannot tell the p99.9; {needed:,} can")


def _latency(load: Load) -> Check:
    goal, late = load.goal.p95_ms or 0.0, load.late
    assert late.low is not None
    assert late.high is not None
    verdict = Verdict.PASS if late.high <= 0.05 else Verdict.FAIL if late.low > 0.05 else Verdict.UNSURE
    share = f"{100 * (late.value or 0):.2g} % ({100 * late.low:.2g} to {100 * late.high:.2g} %)"
    return Check("latency", verdict, f"{share} of the answers took longer than {goal:g} ms, at most 5 % may")
