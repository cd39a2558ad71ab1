"""Is the line running: where it listens, which workers answer, whether a controller leads, and what was lost on the way.

``andon up`` leaves a note of where it listens; workers acknowledge the route they serve; the controller holds a lease and
leaves a report of its rounds. All of that but the lease is files, so it is known with the database gone.
"""

from __future__ import annotations

import http.client
import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from andon.core.clock import SECOND, iso
from andon.core.record import Route
from andon.deploy.crew import alive
from andon.monitor.report import Trouble, report
from andon.surface.station import Known, State, count

if TYPE_CHECKING:
    from andon.config import Project

__all__ = [
    "Listening",
    "Running",
    "Working",
    "answers",
    "forget",
    "is_loopback",
    "leave",
    "listening",
    "reached_at",
    "running",
]

_NOTE = "line.json"
_SILENT_SECONDS = 10.0
_ACTS_SECONDS = 15.0  # a round of the controller takes seconds at most


class Listening(msgspec.Struct, frozen=True):
    """What ``andon up`` leaves behind while it runs: its process, the address and how many workers it keeps.

    ``board`` is the port of the board; 0 where there is none. ``tls``: the port speaks TLS. ``uds`` is the path of the
    Unix socket beside it, or "". In an application of somebody else's there is no port that we know (0).
    """

    holder: str
    host: str
    port: int
    workers: int
    board: int = 0
    tls: bool = False
    uds: str = ""

    @property
    def address(self) -> str:
        """Where requests go.

        >>> Listening("", "127.0.0.1", 8700, 2, tls=True).address
        'https://127.0.0.1:8700'

        >>> Listening("", "127.0.0.1", 8700, 2).address, Listening("", "::1", 8700, 2).address
        ('http://127.0.0.1:8700', 'http://[::1]:8700')
        """
        if not self.port:
            return ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.tls else ''}://{host}:{self.port}"

    @property
    def pages(self) -> str | None:
        """Where the board is.

        >>> Listening("", "127.0.0.1", 8700, 2, 8701).pages, Listening("", "127.0.0.1", 8700, 2).pages
        ('http://127.0.0.1:8701', None)
        """
        return msgspec.structs.replace(self, port=self.board, tls=False).address if self.board else None


class Working(msgspec.Struct, frozen=True):
    """A worker that lives: the route it follows, the versions it has loaded, and what it says is wrong.

    ``silent`` is how many seconds ago it gave a sign of life; it gives one every second.
    """

    worker: str
    pid: int
    epoch: int
    loaded: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    silent: float = 0.0


class Running(msgspec.Struct, frozen=True):
    """Whether the line runs. ``controller`` is "leads", "none" or "unknown" (the database is gone).

    ``controller_silent`` is how many seconds ago the last one gave a sign of life, where none leads and that is known;
    ``controller_acted_us`` the end of its last whole round (the machine's time; 0: not known), ``controller_waits`` why it does
    none, and ``troubles`` what it cannot do.
    ``lost_rows`` is what damage to the log has cost, as far as it is known, in ``gaps`` places; the shadow's and the
    log's counters are those of the workers that run now.
    """

    state: State
    sentence: str
    next: str
    address: str | None = None
    wanted: int = 0
    workers: tuple[Working, ...] = ()
    controller: str = "none"
    gaps: int = 0
    lost_rows: int = 0
    shadow_offered: int = 0
    shadow_dropped: int = 0
    log_failures: int = 0
    controller_silent: float = 0.0
    controller_acted_us: int = 0
    controller_waits: str = ""
    troubles: tuple[Trouble, ...] = ()
    board: str | None = None
    uds: str = ""


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine only.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0"), is_loopback("::1")
    (True, True, False, True)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def reached_at(host: str) -> str:
    """Where this machine reaches what listens on ``host``.

    >>> reached_at("0.0.0.0"), reached_at("::"), reached_at("127.0.0.1")
    ('127.0.0.1', '::1', '127.0.0.1')
    """
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def answers(host: str, port: int, *, tls: bool = False) -> bool:
    """Whether a gateway that listens there takes requests; with ``tls`` whatever its certificate says."""
    from andon.deploy.doors import unverified

    at = reached_at(host), port
    connection = (
        http.client.HTTPSConnection(*at, timeout=1.0, context=unverified())
        if tls
        else http.client.HTTPConnection(*at, timeout=1.0)
    )
    try:
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def leave(run_dir: Path, note: Listening) -> None:
    """Leave the note; raises ``Unavailable``."""
    from andon.store.files import replace_file

    replace_file(run_dir / _NOTE, msgspec.json.encode(note), sync=False)


def forget(run_dir: Path) -> None:
    """Take the note away."""
    (run_dir / _NOTE).unlink(missing_ok=True)


def listening(run_dir: Path) -> Listening | None:
    """The note of an ``andon up`` that still runs (or runs on another machine), else None."""
    from andon.monitor.holder import is_dead

    try:
        found = msgspec.json.decode((run_dir / _NOTE).read_bytes(), type=Listening)
    except (OSError, msgspec.DecodeError):
        return None
    return None if is_dead(found.holder) else found


def running(project: Project, known: Known, route: Route | None) -> Running:
    """Look once."""
    from andon.deploy.meter import read_meter

    workspace = project.workspace
    note = listening(workspace.run_dir)
    workers = _workers(project)
    meters = [read_meter(workspace.run_dir / f"meter-{one.worker}.json") for one in workers]
    counted = [meter for meter in meters if meter is not None]
    lost = _gaps(project, known)
    led = _led(project, known)
    plain = Running(
        state="idle",
        sentence="",
        next="",
        address=note.address if note is not None else None,
        board=note.pages if note is not None else None,
        uds=note.uds if note is not None else "",
        wanted=note.workers if note is not None else project.charter.gateway.workers,
        workers=workers,
        **msgspec.structs.asdict(led),
        gaps=len(lost),
        lost_rows=sum(lost),
        shadow_offered=sum(meter.shadow_offered for meter in counted),
        shadow_dropped=sum(meter.shadow_dropped for meter in counted),
        log_failures=sum(meter.log_failures for meter in counted),
    )
    state, sentence, next_ = _judge(plain, note, route, workspace.run_dir, project.clock.wall())
    return msgspec.structs.replace(plain, state=state, sentence=sentence, next=next_)


def _workers(project: Project) -> tuple[Working, ...]:
    routes, now = project.workspace.routes, project.clock.wall()
    living = {ack.worker for ack in alive(routes.acks())}
    return tuple(
        Working(
            ack.worker,
            ack.pid,
            ack.epoch,
            ack.loaded,
            tuple(dict.fromkeys(ack.faults.values())),
            max(0.0, (now - ack.wall_us) / 1e6) if ack.wall_us else 0.0,
        )
        for ack in routes.acks()
        if ack.worker in living
    )


def _judge(
    found: Running, note: Listening | None, route: Route | None, logs: Path, wall: int
) -> tuple[State, str, str]:
    """(state, sentence, what next), the gravest first."""
    n, see = len(found.workers), f"see {logs.name}/*.log in the workspace"
    if not n:
        if note is not None:
            return "stop", "`andon up` runs, but no worker answers", f"{see}: the worker says why"
        return "idle", "the line is not running", "`andon up` starts it"
    where = f" at {' and '.join(filter(None, (found.address, found.uds)))}" if found.address else ""
    sentence = f"only {n} of {found.wanted} workers{where}" if n < found.wanted else f"{count(n, 'worker')}{where}"
    if hung := [one.worker for one in found.workers if one.silent > _SILENT_SECONDS]:
        return "look", f"{sentence}; {', '.join(hung)} gave no sign of life for {_SILENT_SECONDS:g} s", see
    if n < found.wanted:
        return "look", sentence, see
    if late := [one.worker for one in found.workers if route is not None and one.epoch < route.epoch]:
        return "look", f"{sentence}; {', '.join(late)} not yet on route {route.epoch if route else 0}", see
    if behind := _behind(found, wall):
        return "look", f"{sentence}; {behind}", see
    if found.log_failures:
        return "look", f"{sentence}; {count(found.log_failures, 'frame')} the log could not take", "is the disk full?"
    led = "the controller leads" if found.controller == "leads" else "of the controller nothing is known now"
    return "good", f"{sentence}; {led}", "`curl` it, or `andon stop` is the cord"


class Led(msgspec.Struct, frozen=True):
    """What is known of the controller, as ``Running`` has it."""

    controller: str
    controller_silent: float = 0.0
    controller_acted_us: int = 0
    controller_waits: str = ""
    troubles: tuple[Trouble, ...] = ()


def _led(project: Project, known: Known) -> Led:
    """Whether a controller leads, and what it left of itself."""
    from andon.monitor.controller import LEASE
    from andon.monitor.holder import is_dead

    def held() -> tuple[str, float]:
        leases = project.workspace.leases
        holder = leases.holder(LEASE)
        if holder is not None and not is_dead(holder):
            return holder, 0.0
        seen = leases.seen(LEASE)
        return "", 0.0 if seen is None else max(0.0, (project.clock.wall() - seen) / SECOND)

    left, asked = report(project.workspace.run_dir), known.ask(held)
    acted = 0 if left is None else left.acted_us
    if asked is None:  # the database is gone: its own report says how it is
        if left is None:
            return Led("unknown")
        gone = is_dead(left.holder)
        silent = max(0.0, (project.clock.wall() - left.seen_us) / SECOND)
        return Led("none" if gone else "unknown", silent, acted, "" if gone else left.waiting, left.troubles)
    holder, silent = asked
    if not holder:
        return Led("none", silent, acted)
    if left is None or left.holder != holder:
        return Led("leads")
    return Led("leads", 0.0, acted, left.waiting, left.troubles)


def _behind(found: Running, wall: int) -> str:
    """What is wrong with the controller, and since when it has not acted; empty where it does all that it should."""
    idle = (wall - found.controller_acted_us) / SECOND if found.controller_acted_us else 0.0
    since = f" since {iso(found.controller_acted_us)[11:19]} UTC ({_for(idle)})" if idle else ""
    if found.controller == "none":
        if not since and found.controller_silent:
            since = f" for {_for(found.controller_silent)}"
        silent = f"the controller is silent{since}" if found.controller_silent else "no controller leads"
        return f"{silent}: answers go on, nothing is watched"
    if found.controller == "unknown" and not found.controller_acted_us:
        return ""
    if idle > _ACTS_SECONDS:
        why = f"; it waits: {found.controller_waits}" if found.controller_waits else ""
        return f"the controller has not acted{since}: answers go on, nothing is watched{why}"
    if found.troubles:
        more = f", and {len(found.troubles) - 1} more" if len(found.troubles) > 1 else ""
        first = found.troubles[0]
        return f"the controller leads, but since {iso(first.since_us)[11:19]} UTC {first.sentence}{more}"
    return ""


def _for(seconds: float) -> str:
    """How long, for people.

    >>> _for(20.4), _for(200.0), _for(8000.0)
    ('20 s', '3 min', '2 h')
    """
    size, name = next((one for one in ((7200, "h"), (60, "min")) if seconds >= one[0]), (1, "s"))
    return f"{seconds // min(size, 3600):.0f} {name}"


def _gaps(project: Project, known: Known) -> list[int]:
    """The rows that each damage to the log has cost; 0 where nobody knows."""
    events = known.ask(lambda: project.workspace.journal.read(limit=1000, action="log.gap")) or []
    return [int(event.evidence.get("rows") or 0) for event in events]
