"""``andon load``: drive the gateway at the charter's rate, hold what comes against the charter's goal, and remember it."""

from __future__ import annotations

import http.client
import ipaddress
import os
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from andon.core.reach import Reach
from andon.deploy.accounting import Account, accounts, load_average, spent
from andon.deploy.load import Goal, Load, Messages, Spacing, judge, measure, schedule
from andon.deploy.load_driver import Driver
from andon.deploy.load_limit import Limit, search, step_of
from andon.deploy.meter import read_meters
from andon.errors import AndonError, Denied, Unavailable, UsageError
from andon.surface.load_rows import requests_of
from andon.surface.running import listening, reached_at

if TYPE_CHECKING:
    from andon.config import Project

__all__ = ["CONNECTIONS_MAX", "Done", "Target", "Wish", "drive", "loads", "target_of"]

CONNECTIONS_MAX = 4096
_PROBES = 20
_STEP_SECONDS = 4.0

Tell = Callable[[float, int, int], None]


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for; None: as the charter says. ``elsewhere`` and ``to_people`` are confirmations."""

    url: str | None = None
    qps: float | None = None
    seconds: float = 30.0
    connections: int = 32
    requests: Path | None = None
    token: str | None = None
    closed: bool = False
    find_limit: bool = False
    spacing: Spacing = "poisson"
    seed: int = 0
    tagged: bool = True
    elsewhere: bool = False
    to_people: bool = False
    actor: str = ""


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go: an address that was looked up, the name it goes by, the path, and whether it is this line."""

    address: tuple[str, int]
    host: str
    path: str
    ours: bool

    @property
    def url(self) -> str:
        """As a person writes it."""
        return f"http://{self.host}{self.path}"


@dataclass(frozen=True, slots=True)
class Done:
    """A run and the name under which it is kept (None: the database was gone, ``notes`` says so)."""

    load: Load
    name: str | None
    notes: tuple[str, ...]


def target_of(project: Project, wish: Wish) -> Target:
    """The running line's gateway, or the address given; raises ``UsageError`` for one that is not this machine's and was
    not confirmed.
    """
    path = f"/v1/projects/{project.charter.project}/decisions"
    note = listening(project.workspace.run_dir)
    port = note.port if note is not None else project.charter.gateway.port
    if wish.url is None and note is not None and note.tls:
        raise UsageError(
            f"the line speaks TLS at {note.address}, and this load is plain HTTP",
            hint="measure it without --tls, which is what a proxy in front would leave to it",
        )
    if wish.url is None and note is not None and not note.port:
        raise UsageError("the line is inside another application", hint="say where with --url http://...")
    if wish.url is None:
        host = reached_at(note.host) if note is not None else "127.0.0.1"
        return Target((host, port), _name(host, port), path, ours=True)
    host, asked, path = _split(wish.url, path)
    address = _looked_up(host, asked)
    if not ipaddress.ip_address(address[0].partition("%")[0]).is_loopback:
        _confirmed(project, wish, host, address[0])
        return Target(address, _name(host, asked), path, ours=False)
    return Target(address, _name(host, asked), path, ours=asked == port)


def _split(url: str, path: str) -> tuple[str, int, str]:
    """(host, port, path); an address without a path is that of a gateway."""
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError(f"{url!r} is no address: {error}") from None
    if parts.scheme != "http" or not host or parts.username is not None or parts.query or parts.fragment:
        raise UsageError(
            f"{url!r}: expected an address such as http://127.0.0.1:8700", hint="the gateway speaks plain HTTP"
        )
    found = parts.path.rstrip("/")
    if not (found.isascii() and found.isprintable()) or " " in found:
        raise UsageError(f"{url!r}: its path cannot be sent as it is")
    if found and not found.startswith("/v1/projects/"):
        raise UsageError(f"{url!r}: expected the gateway's address, or one ending in {path}")
    return host, port or 80, (found if found.endswith("/decisions") else f"{found}/decisions") if found else path


def _looked_up(host: str, port: int) -> tuple[str, int]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4]
    except (OSError, UnicodeError) as error:
        raise UsageError(f"{host!r}: there is no such address ({error})") from None
    return str(found[0]), port


def _confirmed(project: Project, wish: Wish, host: str, address: str) -> None:
    privacy = project.charter.checklist.privacy
    reach = Reach(privacy.stays, privacy.hosts)
    if wish.requests is None and not reach.allows(address, host):
        raise UsageError(
            f"{host} is another machine, and rows of this line may not go there: {reach.why_not()}",
            hint="give requests that may leave it with --requests FILE",
        )
    if not wish.elsewhere:
        raise UsageError(
            f"{host} is not this machine: a load is an attack on whoever did not ask for it",
            hint="say --yes-elsewhere if it is yours; the rows go there",
        )


def _name(host: str, port: int) -> str:
    return f"{f'[{host}]' if ':' in host else host}:{port}"


def drive(project: Project, wish: Wish, tell: Tell | None = None, say: Callable[[str], None] | None = None) -> Done:
    """Run it. Raises ``UsageError`` for what makes no sense, ``Unavailable`` where nothing answers, ``Denied`` without a
    token, ``UsageError`` when cases would come to people and nobody said that they may.
    """
    goal = _goal(project, wish)
    due = [] if wish.closed else schedule(goal.qps, wish.seconds, seed=wish.seed, spacing=wish.spacing)
    if not 1 <= wish.connections <= CONNECTIONS_MAX:
        raise UsageError(f"--connections: expected 1 to {CONNECTIONS_MAX}, found {wish.connections}")
    target = target_of(project, wish)
    route = project.workspace.routes.current()
    version = route.live if route is not None else None
    given = requests_of(project, wish.requests, version)
    run = secrets.token_hex(4)
    token = wish.token or os.environ.get("ANDON_TOKEN") or None
    messages = Messages(target.host, target.path, given.rows, run=run, token=token, tagged=wish.tagged)
    _probe(target, messages, to_people=wish.to_people)
    if say is not None:
        say(f"{target.url}: {given.source}")
    facts = {"bundle": route.bundles.get(version, "") if route and version else "", "version": version or ""}
    load = _Session(project, wish, target, messages, tell).measured(goal, due)
    load = msgspec.structs.replace(
        load, run=run, source=given.source, distinct=len(given.rows), seed=wish.seed, url=target.url, **facts
    )
    return _kept(project, wish, load)


def _goal(project: Project, wish: Wish) -> Goal:
    asked = project.charter.checklist
    qps = wish.qps if wish.qps is not None else asked.throughput_qps
    if qps is None:
        raise UsageError(
            "how many requests per second? the charter does not say",
            hint="--qps N, or `checklist: {throughput_qps: N}`",
        )
    return Goal(qps, asked.latency_p95_ms)


class _Session:
    """One driver, and the books of the line before and after each run of it."""

    def __init__(self, project: Project, wish: Wish, target: Target, messages: Messages, tell: Tell | None) -> None:
        self._project = project
        self._wish = wish
        self._target = target
        self._messages = messages
        self._tell = tell
        self._next = _PROBES

    def measured(self, goal: Goal, due: list[float]) -> Load:
        driver = Driver(self._target.address, self._messages, connections=self._wish.connections, tell=self._tell)
        try:
            load = self._once(driver, goal, due)
            if self._wish.find_limit:
                found = self._limit(driver, goal)
                load = msgspec.structs.replace(load, limit=msgspec.to_builtins(found))
            return load
        finally:
            driver.close()

    def _limit(self, driver: Driver, goal: Goal) -> Limit:
        seconds = min(_STEP_SECONDS, self._wish.seconds)

        def step(rate: float) -> Any:
            asked = Goal(rate, goal.p95_ms)
            due = schedule(rate, seconds, seed=self._wish.seed + self._next, spacing=self._wish.spacing)
            return step_of(self._once(driver, asked, due))

        return search(goal.qps, step)

    def _once(self, driver: Driver, goal: Goal, due: list[float]) -> Load:
        clock = self._project.clock
        began, before, written = clock.now(), self._books(), self._written()
        trace = driver.run(due, self._next) if due else driver.run_closed(self._wish.seconds, self._next)
        after, ended = self._books(), clock.now()
        self._next += len(trace.due)
        load = measure(trace, goal, "open" if due else "closed", self._wish.spacing if due else "closed")
        cpu = spent(before, after)
        worker = cpu.get("worker")
        held = accounts(self._project.root, memory=True) if self._target.ours else {}
        now = self._written()
        rows, size = now[0] - written[0], now[1] - written[1]
        load = msgspec.structs.replace(
            load,
            began_us=began,
            ended_us=ended,
            cpu=cpu,
            cpu_ms_per_request=None if not worker else 1000 * worker / max(1, load.answered),
            processes={kind: one.processes for kind, one in after.items()},
            memory_mb={kind: round(one.memory_mb, 1) for kind, one in held.items()},
            log_bytes=round(size / rows) if rows > 0 and size > 0 else 0,
            connections=self._wish.connections,
            workers=after["worker"].processes if "worker" in after else 0,
            cores=os.cpu_count() or 1,
            busy=load_average(),
        )
        return msgspec.structs.replace(load, checks=judge(load))

    def _books(self) -> dict[str, Account]:
        return accounts(self._project.root) if self._target.ours else {}

    def _written(self) -> tuple[int, int]:
        """(decisions, bytes of the log) of all workers, as they last said; (0, 0) where they are not ours."""
        meters = read_meters(self._project.workspace.run_dir) if self._target.ours else []
        return sum(sum(meter.decisions.values()) for meter in meters), sum(meter.log_bytes for meter in meters)


def _probe(target: Target, messages: Messages, *, to_people: bool) -> None:
    """A few requests one after the other: is it a gateway, does it take these rows, and do they land with people?"""
    connection = http.client.HTTPConnection(*target.address, timeout=15)
    pending = 0
    try:
        for number in range(_PROBES):
            head, _, body = messages(number).partition(b"\r\n\r\n")
            fields = [line.decode().split(": ", 1) for line in head.split(b"\r\n")[1:]]
            connection.request(
                "POST", target.path, body, {name: value for name, value in fields if name != "content-length"}
            )
            answer = connection.getresponse()
            said = answer.read()
            _refused(answer.status, said)
            pending += answer.status == 202
            if pending and not to_people:
                break
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(f"no gateway answers at {target.url} ({error})", hint="`andon up` starts the line") from error
    finally:
        connection.close()
    if pending and not to_people:
        raise UsageError(
            "cases of this load would come to people: one of the first did, as the level of automation is now",
            hint="say --to-people if they may, or try it on a copy of the project at level full",
        )


def _refused(status: int, said: bytes) -> None:
    """Raise what the gateway said, where it refuses the first requests already."""
    if status < 400 or status in (429, 503, 504):
        return
    try:
        words = str(msgspec.json.decode(said)["error"]["message"])
    except (msgspec.DecodeError, KeyError, TypeError):
        words = f"status {status}"
    if status in (401, 403):
        raise Denied(f"the gateway refuses: {words}", hint="give a client's token with --token or in ANDON_TOKEN")
    raise UsageError(f"the gateway refuses these requests: {words}")


def _kept(project: Project, wish: Wish, load: Load) -> Done:
    """Keep the run, and write in the journal when it was: what these windows hold is not real traffic alone."""
    workspace = project.workspace
    try:
        name = workspace.records.add("load", "l", lambda _: load)
        evidence = {
            "run": load.run,
            "url": load.url,
            "sent": load.sent,
            "rate": load.rate,
            "verdict": load.verdict.value,
        }
        evidence |= {"from_us": load.began_us, "until_us": load.ended_us}
        workspace.journal.append("load.run", name, wish.actor, f"{load.goal.qps:g} per second", evidence)
    except AndonError as error:
        return Done(load, None, (f"the run is not remembered: {error.message}",))
    return Done(load, name, ())


def loads(project: Project) -> list[tuple[str, Load]]:
    """All runs that were kept, oldest first."""
    records = project.workspace.records
    return list(zip(records.names("load"), records.list("load", Load), strict=True))
