"""A line inside an ASGI application: ``andon.surface.asgi:create_app`` is the factory for any ASGI server."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from andon.config import CHARTER, open_project
from andon.deploy.asgi import Face
from andon.deploy.embedded import Embedded
from andon.deploy.settings import GatewayConfig
from andon.engine.local import LocalEngine
from andon.surface.line import Settings, alone, begin, line_processes
from andon.surface.running import Listening, forget, leave

__all__ = ["LineApp", "create_app"]

_log = logging.getLogger("andon")
_POLL_SECONDS = 0.5


def create_app(project: str | Path | None = None) -> LineApp:
    """The gateway of a project as an ASGI application; the current folder's project if none is named.

    Raises ``NotFound`` or ``CharterError`` as every command does. Its line runs from the server's start to its end, or in
    ``async with app.running():`` where it is mounted in another application, whose server starts only the outer one.
    """
    return LineApp(project)


class LineApp(Face):
    """One worker in this process; its controller and shadow are child processes, as with ``andon up``."""

    def __init__(self, project: str | Path | None = None) -> None:
        self._project = open_project(None if project is None else str(project))
        config = GatewayConfig.from_charter(self._project.charter)
        self._worker = Embedded(config, self._project.workspace.home)
        self._held = ExitStack()
        super().__init__(self._worker, self._worker.limits, self)

    @asynccontextmanager
    async def running(self, _app: Any = None) -> AsyncIterator[None]:
        """The line runs inside; as it is, this is the ``lifespan`` of a Starlette or FastAPI application."""
        await self.start()
        try:
            yield
        finally:
            await self.stop()

    async def start(self) -> None:
        """Begin; raises ``Conflict`` when this line is up already, here or by ``andon up``."""
        from andon.monitor.holder import holder_name
        from andon.scope.taken import keep

        project = self._project
        with ExitStack() as held:
            held.enter_context(alone(project))
            keep(project.workspace.home, project.root / CHARTER, project.charter)
            begin(project, _log.info)
            engine = LocalEngine(project.workspace.run_dir, project.clock)
            held.callback(engine.close)
            await self._worker.start()
            specs = line_processes(project, Settings(workers=1))
            engine.replicas(tuple(spec for spec in specs if not spec.name.startswith("worker-")))
            leave(project.workspace.run_dir, Listening(holder_name(), "", 0, 1))
            held.callback(forget, project.workspace.run_dir)
            self._tending = asyncio.get_running_loop().create_task(_tend(engine))
            self._held = held.pop_all()

    async def stop(self) -> None:
        """Finish what was begun, end the child processes, give the line free."""
        self._tending.cancel()
        try:
            await self._worker.stop()
        finally:
            await asyncio.to_thread(self._held.close)

    def close(self) -> None:
        """Let go of the project's files, for a process that goes on without it."""
        self._worker.close()
        self._project.workspace.close()


async def _tend(engine: LocalEngine) -> None:
    """Start again what ends, and say so in the log."""
    while True:
        for sentence in engine.poll():
            _log.warning("%s", sentence)
        await asyncio.sleep(_POLL_SECONDS)
