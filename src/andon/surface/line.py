"""A running line: which processes it has, and how each begins.

``run`` is ``andon up``. The ``run_*_process`` functions are what the child processes call; they are here, at the top of
the house, because only here may a charter, a workspace and the rooms below be put together.
"""

from __future__ import annotations

import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from andon.config import Project, open_project
from andon.engine.local import LocalEngine
from andon.engine.port import ProcessSpec
from andon.errors import Conflict

__all__ = [
    "Settings",
    "line_processes",
    "port_is_free",
    "run",
    "run_controller_process",
    "run_shadow_process",
    "run_worker_process",
]


@dataclass(frozen=True, slots=True)
class Settings:
    """How the line runs. ``ship_seconds`` is how often (wall seconds) the log is committed to Delta."""

    host: str = "127.0.0.1"
    port: int | None = None
    workers: int | None = None
    ship_seconds: float = 5.0


def line_processes(project: Project, settings: Settings) -> tuple[ProcessSpec, ...]:
    """The gateway's workers, the controller and the shadow; the last two run at idle priority."""
    gateway = project.charter.gateway
    workers = settings.workers or gateway.workers
    port = settings.port or gateway.port
    base = (sys.executable, "-m", "andon", "process")
    common = ("--project", str(project.root), "--parent-fd", "{parent_fd}")
    worker = (*base, "worker", *common, "--host", settings.host, "--port", str(port), "--workers", str(workers))
    return (
        *(ProcessSpec(f"worker-{index}", (*worker, "--index", str(index))) for index in range(workers)),
        ProcessSpec("controller", (*base, "controller", *common, "--ship-seconds", str(settings.ship_seconds)), 19),
        ProcessSpec("shadow", (*base, "shadow", *common, "--workers", str(workers)), 19),
    )


def port_is_free(host: str, port: int) -> None:
    """Raises ``Conflict`` when something listens there already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Conflict(
                f"port {port} on {host} is taken by another program ({error.strerror})",
                hint="end that program, or give another port with --port or `gateway: {port: ...}` in andon.yaml",
            ) from error


def run(project: Project, settings: Settings, say: Callable[[str], None]) -> None:
    """Run the line in the foreground until SIGINT or SIGTERM, starting again whatever ends."""
    port = settings.port or project.charter.gateway.port
    port_is_free(settings.host, port)
    ending: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _frame: ending.append(received))
    engine = LocalEngine(project.workspace.run_dir, project.clock)
    try:
        engine.replicas(line_processes(project, settings))
        say(
            f"{project.charter.project}: http://{settings.host}:{port}  (Ctrl-C ends it; `andon status` shows the line)"
        )
        while not ending:
            for sentence in engine.poll():
                say(sentence)
            time.sleep(0.05)
        say("Finishing what is in flight ...")
    finally:
        engine.close()
        project.workspace.close()


def run_worker_process(root: str, *, index: int, workers: int, host: str, port: int, parent_fd: int) -> None:
    """One gateway worker: everything it needs is read once, here."""
    from andon.deploy.settings import GatewayConfig
    from andon.deploy.worker import run_worker

    project = open_project(root)
    config = GatewayConfig.from_charter(project.charter)
    home = project.workspace.home
    project.workspace.close()  # nothing on the live path speaks to the database
    run_worker(config, home, index, workers, host=host, port=port, parent_fd=parent_fd)


def run_controller_process(root: str, *, ship_seconds: float, parent_fd: int) -> None:
    """The controller: leads if no other does."""
    from andon.monitor.controller import run_controller

    project = open_project(root)
    run_controller(project.workspace, project.charter, ship_seconds=ship_seconds, parent_fd=parent_fd)


def run_shadow_process(root: str, *, workers: int, parent_fd: int) -> None:
    """The shadow: predicts off the live path."""
    from andon.deploy.shadow import run_shadow

    project = open_project(root)
    home = project.workspace.home
    project.workspace.close()
    run_shadow(home, workers, parent_fd=parent_fd)
