"""A worker inside somebody else's process and loop: everything of one but its sockets, signals and its watchdog.

It is the only worker of its line. What its host does to the loop, it does to the answers: a host that blocks the loop
makes clients wait, and no watchdog ends a host whose loop hangs.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from andon.deploy.protocol_message import Reply, Request
from andon.deploy.protocol_reader import Limits
from andon.deploy.settings import GatewayConfig
from andon.deploy.worker import Worker
from andon.errors import AndonError
from andon.store.workspace import Workspace

__all__ = ["Embedded"]


class Embedded(Worker):
    """``start`` inside a running loop, then ``submit``, then ``stop``; it may be started again."""

    def __init__(self, config: GatewayConfig, home: Path) -> None:
        self._going = False
        super().__init__(config, Workspace.open(home), 0, 1)

    @property
    def limits(self) -> Limits:
        """The limits that a face keeps to."""
        return Limits(body_bytes=self._config.max_body_bytes)

    async def start(self) -> None:
        """Open the log and load the route's versions; raises ``Conflict`` when another worker writes this log."""
        self._ending = asyncio.Event()
        self._servers = []
        try:
            await self._build(asyncio.get_running_loop())
            await self._wait_loaded()
        except AndonError:
            self._close()
            raise
        self._going = self._ready = True
        self._tick()
        self._sweep()

    async def stop(self) -> None:
        """Finish what was begun, then close the log."""
        await self._drain()
        self._going = False
        self._close()

    def close(self) -> None:
        """Let go of the workspace."""
        self._workspace.close()

    def submit(self, request: Request, reply: Reply) -> None:
        """Answer one request, now or later."""
        self._gateway.submit(request, reply)

    def _tick(self) -> None:
        if self._going:
            super()._tick()

    def _sweep(self) -> None:
        if self._going:
            super()._sweep()

    def _guard(self) -> None:
        """The process is not ours to end."""
