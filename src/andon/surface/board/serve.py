"""The board's process: uvicorn around the application, until it is told to end or its parent is gone."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import uvicorn

from andon.surface.board.app import make_app

if TYPE_CHECKING:
    from andon.config import Project

__all__ = ["serve"]

_GRACE_SECONDS = 1


def serve(
    project: Project, *, host: str, port: int, parent_fd: int = -1, say: Callable[[], None] | None = None
) -> None:
    """Serve until SIGTERM, SIGINT or the end of the pipe ``parent_fd`` (-1: none); ``say`` is called when it listens.

    Raises ``UsageError`` as `make_app` does. Pages that are open are let go after a second: they come back by themselves.
    """
    config = uvicorn.Config(
        make_app(project, host=host),
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=True,
        proxy_headers=False,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        lifespan="on",
        ws="none",
        h11_max_incomplete_event_size=65_536,
        http="h11",
    )
    asyncio.run(_run(uvicorn.Server(config), parent_fd, say))


async def _run(server: uvicorn.Server, parent_fd: int, say: Callable[[], None] | None) -> None:
    loop = asyncio.get_running_loop()
    if parent_fd >= 0:

        def ended() -> None:
            if not os.read(parent_fd, 1):
                loop.remove_reader(parent_fd)
                server.should_exit = True

        loop.add_reader(parent_fd, ended)
    told = loop.create_task(_tell(server, say)) if say is not None else None
    await server.serve()
    if told is not None:
        told.cancel()


async def _tell(server: uvicorn.Server, say: Callable[[], None]) -> None:
    while not server.started:
        await asyncio.sleep(0.02)
    say()
