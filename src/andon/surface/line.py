"""A running line: which processes it has, and how each begins.

``run`` is ``andon up``. The ``run_*_process`` functions are what the child processes call; they are here, at the top of
the house, because only here may a charter, a workspace and the rooms below be put together.
"""

from __future__ import annotations

import errno
import json
import os
import shlex
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from andon.config import CHARTER, Project, open_line
from andon.deploy.doors import Door, bound_path, leave_path
from andon.engine.local import LocalEngine
from andon.engine.port import ProcessSpec
from andon.errors import Conflict, UsageError
from andon.surface.relay import Relay
from andon.surface.running import Listening, answers, forget, is_loopback, leave, listening

__all__ = [
    "Settings",
    "alone",
    "begin",
    "example_call",
    "free_port",
    "line_processes",
    "note",
    "port_is_free",
    "run",
    "run_board_process",
    "run_controller_process",
    "run_shadow_process",
    "run_worker_process",
    "with_board",
]

_POLL_SECONDS = 0.05
_ASK_SECONDS = 0.5
_SLOW_SECONDS = 20.0

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Settings:
    """How the line runs. ``ship_seconds`` is how often (wall seconds) the log is committed to Delta.

    ``board`` is the port of the pages; None: there are none; 0: the charter's, or one that is free (`with_board`).
    ``uds`` is the path of a Unix socket beside the port, ``uds_file`` the number of it once it is open (`run`); ``tls``
    are the files of a certificate and its key.
    """

    host: str = "127.0.0.1"
    port: int | None = None
    workers: int | None = None
    ship_seconds: float = 5.0
    board: int | None = None
    uds: Path | None = None
    uds_file: int = -1
    tls: tuple[Path, Path] | None = None


def line_processes(project: Project, settings: Settings) -> tuple[ProcessSpec, ...]:
    """The gateway's workers, the controller, the shadow and the board.

    Controller and shadow run at idle priority; the board gives way to the gateway, too, but people wait for it.
    """
    gateway = project.charter.gateway
    workers = settings.workers or gateway.workers
    port = settings.port or gateway.port
    base = (sys.executable, "-m", "andon", "process")
    common = ("--project", str(project.root), "--parent-fd", "{parent_fd}")
    cert, key = (str(path.absolute()) for path in settings.tls) if settings.tls is not None else ("", "")
    door = msgspec.json.encode(Door(settings.host, port, settings.uds_file, cert, key)).decode()
    worker = (*base, "worker", *common, "--door", door, "--workers", str(workers))
    files = (settings.uds_file,) if settings.uds_file >= 0 else ()
    return (
        *(ProcessSpec(f"worker-{n}", (*worker, "--index", str(n)), files=files) for n in range(workers)),
        ProcessSpec("controller", (*base, "controller", *common, "--ship-seconds", str(settings.ship_seconds)), 19),
        ProcessSpec("shadow", (*base, "shadow", *common), 19),
        *_board(project, base, common, settings),
    )


def _board(
    project: Project, base: tuple[str, ...], common: tuple[str, ...], settings: Settings
) -> tuple[ProcessSpec, ...]:
    if settings.board is None:
        return ()
    where = ("--host", _board_host(project, settings), "--port", str(settings.board))
    return (ProcessSpec("board", (*base, "board", *common, *where), 10),)


def _board_host(project: Project, settings: Settings) -> str:
    """Where anyone may call, the pages, on which anyone could stop the line, are for this machine alone."""
    open_to_all = project.charter.checklist.security.tokens == "none" and not is_loopback(settings.host)
    return "127.0.0.1" if open_to_all else settings.host


def with_board(project: Project, settings: Settings) -> Settings:
    """The settings with the board's port chosen: the one asked for, else the one after the gateway's, else a free one.

    Raises ``Conflict`` when the one asked for is taken.
    """
    if settings.board is None:
        return settings
    host = _board_host(project, settings)
    if asked := settings.board or project.charter.board.port:
        port_is_free(host, asked)
        return replace(settings, board=asked)
    beside = (settings.port or project.charter.gateway.port) + 1
    try:
        port_is_free(host, beside)
    except Conflict:
        beside = free_port(host)
    return replace(settings, board=beside)


def free_port(host: str) -> int:
    """A port that nothing listens on now."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.bind(address)
        return int(probe.getsockname()[1])


def note(project: Project, settings: Settings) -> Listening:
    """What others are told of a line that this process runs."""
    from andon.monitor.holder import holder_name

    gateway = project.charter.gateway
    workers = settings.workers or gateway.workers
    port, uds = settings.port or gateway.port, str(settings.uds.absolute()) if settings.uds is not None else ""
    return Listening(holder_name(), settings.host, port, workers, settings.board or 0, settings.tls is not None, uds)


def port_is_free(host: str, port: int) -> None:
    """Raises ``Conflict`` when something listens there already, ``UsageError`` when there is no such address."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise UsageError(f"--host {host!r}: there is no such address ({error.strerror})") from error
    with socket.socket(family, kind, protocol) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise UsageError(f"--host {host!r} is not an address of this machine") from error
            raise Conflict(
                f"port {port} on {host} is taken by another program ({error.strerror})"
                if error.errno == errno.EADDRINUSE
                else f"port {port} on {host} cannot be taken ({error.strerror})",
                hint="end that program, or give another port with --port or `gateway: {port: ...}` in andon.yaml",
            ) from error


def run(project: Project, settings: Settings, say: Say) -> None:
    """Run the line in the foreground until SIGINT or SIGTERM, starting again whatever ends.

    A copy of the charter it takes is left in the workspace. Raises ``Conflict`` when this line is up already or the port
    or socket is taken, ``UsageError`` for an address of ``alarms.notify`` or ``checklist.logging.events`` that must not be
    told, and for a certificate that cannot be used; then nothing was started.
    """
    from andon.monitor.notify import check_targets
    from andon.monitor.sink import check_sink
    from andon.scope.taken import keep
    from andon.surface.certificate import Certificate

    checklist = project.charter.checklist
    check_targets(project.charter.alarms.notify, checklist.privacy.stays)
    check_sink(checklist.logging.events, checklist.privacy.stays, checklist.privacy.hosts)
    run_dir = project.workspace.run_dir
    ending: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _frame: ending.append(received))
    certificate = Certificate(settings.tls, say) if settings.tls is not None else None
    with alone(project), _socket_of(with_board(project, settings)) as settings:
        where = note(project, settings)
        port_is_free(where.host, where.port)
        keep(project.workspace.home, project.root / CHARTER, project.charter)
        begin(project, say)
        engine = LocalEngine(run_dir, project.clock)
        relay = Relay(run_dir)

        def ended() -> bool:
            return bool(ending) or (certificate is not None and certificate.look(engine.states()))

        try:
            engine.replicas(line_processes(project, settings))
            leave(run_dir, where)
            say(f"{project.charter.project}: starting {where.workers} gateway workers, a controller and a shadow ...")
            _tend(project, engine, relay, where, ended, say)
            say("Finishing what is in flight ...")
        finally:
            engine.close()
            forget(run_dir)
            project.workspace.close()


@contextmanager
def _socket_of(settings: Settings) -> Iterator[Settings]:
    """The settings with the Unix socket open, if there is to be one; its file goes with it."""
    if settings.uds is None:
        yield settings
        return
    bound = bound_path(settings.uds)
    try:
        yield replace(settings, uds_file=bound.fileno())
    finally:
        leave_path(settings.uds, bound)


@contextmanager
def alone(project: Project) -> Iterator[None]:
    """One ``up`` for each workspace: its workers write streams that have one writer."""
    from andon.store.files import try_lock, unavailable

    path = project.workspace.run_dir / "up.lock"
    try:
        lock = try_lock(path)
    except OSError as error:
        raise unavailable(f"{path} could not be opened", error) from error
    if lock is None:
        found = listening(project.workspace.run_dir)
        at = f" at {found.address}" if found is not None and found.address else ""
        raise Conflict(
            f"{project.charter.project} is up already{at}",
            hint="`andon status` shows it; end it with Ctrl-C where it runs, then try again",
        )
    try:
        yield
    finally:
        os.close(lock)


def begin(project: Project, say: Say) -> None:
    """The first route, or what the charter says differently now."""
    from andon.deploy.line import Line

    act = Line(project.workspace, project.charter).begin()
    for sentence in () if act is None else (f"{act.sentence} (route {act.epoch})", *act.notes):
        say(sentence)


def _tend(
    project: Project, engine: LocalEngine, relay: Relay, where: Listening, ended: Callable[[], bool], say: Say
) -> None:
    """Keep everything alive, and say what happens, once."""
    ready, begun, asked = False, time.monotonic(), 0.0
    while not ended():
        now, said = time.monotonic(), engine.poll()
        look = now - asked > _ASK_SECONDS
        if look:
            asked = now
            said += [*relay.sentences(), *_faults(project)]
        for sentence in said:
            if relay.fresh(sentence, now):
                say(sentence)
        if look and not ready:
            ready = answers(where.host, where.port, tls=where.tls)
            if ready:
                say(_welcome(project, where))
            elif now - begun > _SLOW_SECONDS and relay.fresh("slow", now):
                say(f"No worker answers at {where.address} yet; run/worker-0.log in the workspace may say why.")
        time.sleep(_POLL_SECONDS)


def _faults(project: Project) -> list[str]:
    """What workers say that they cannot do under the route in force."""
    from andon.deploy.crew import alive

    acks = alive(project.workspace.routes.acks())
    return list(dict.fromkeys(fault for ack in acks for fault in ack.faults.values()))


def _welcome(project: Project, where: Listening) -> str:
    """Where it listens, who decides, and what to do next."""
    from andon.deploy.chronicle import sentence

    route = project.workspace.routes.current()
    lines = [f"{project.charter.project} is up at {where.address}"]
    if where.uds:
        lines.append(f"  and at:      {where.uds} (a Unix socket)")
    if where.pages is not None:
        lines.append(f"  its board:   {where.pages}")
    if route is not None:
        lines.append(f"  who decides: {sentence(route)} (route {route.epoch} by {route.actor})")
        if not (route.live or route.candidate or route.shadows):
            lines.append("  no model answers, every case waits for a person; `andon status` says what comes next")
    call = example_call(project, where.address)
    lines += [f"  try it:      {call}"] if call else []
    return "\n".join([*lines, "  look at it:  andon status", "Ctrl-C ends it."])


def example_call(project: Project, address: str) -> str | None:
    """A ``curl`` with a made-up case that fits the charter; None where there is an image among the inputs."""
    from andon.deploy.replica import probe_row

    row = probe_row(project.charter.fields())
    if row is None:
        return None
    x = dict(zip(project.charter.inputs, row, strict=True))
    token = ' -H "Authorization: Bearer $TOKEN"' if project.charter.checklist.security.tokens == "required" else ""
    body = shlex.quote(json.dumps({"x": x}, ensure_ascii=False))
    return f"curl {address}/v1/projects/{project.charter.project}/decisions{token} -d {body}"


def run_worker_process(root: str, *, index: int, workers: int, door: str, parent_fd: int) -> None:
    """One gateway worker: everything it needs is read once, here."""
    from andon.deploy.settings import GatewayConfig
    from andon.deploy.worker import run_worker

    project = open_line(root)
    config = GatewayConfig.from_charter(project.charter)
    home = project.workspace.home
    project.workspace.close()  # nothing on the live path speaks to the database
    run_worker(config, home, index, workers, msgspec.json.decode(door, type=Door), parent_fd)


def run_controller_process(root: str, *, ship_seconds: float, parent_fd: int) -> None:
    """The controller: leads if no other does."""
    from andon.monitor.controller import run_controller

    project = open_line(root)
    run_controller(project.workspace, project.charter, ship_seconds=ship_seconds, parent_fd=parent_fd)


def run_shadow_process(root: str, *, parent_fd: int) -> None:
    """The shadow: predicts off the live path."""
    from andon.deploy.settings import GatewayConfig
    from andon.deploy.shadow import run_shadow

    project = open_line(root)
    home = project.workspace.home
    project.workspace.close()
    run_shadow(home, parent_fd=parent_fd, limits=GatewayConfig.from_charter(project.charter).limits)


def run_board_process(root: str, *, host: str, port: int, parent_fd: int) -> None:
    """The board: the pages and the API."""
    from andon.surface.board.serve import serve

    project = open_line(root)
    try:
        serve(project, host=host, port=port, parent_fd=parent_fd)
    finally:
        project.workspace.close()
