"""Which processes a running line has, and with which command each is started."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from andon.config import Project
from andon.engine.port import ProcessSpec

__all__ = ["Settings", "line_processes"]


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
