"""People who have the board's first page open: each listens to its events and asks for the page again when they say so.

As the page's own script does: one stream of server-sent events each, at most one new page in two seconds. Runs until it
is told to end, then prints how many pages were asked for. ``benchmarks.board`` starts it in a process of its own.
"""

from __future__ import annotations

import asyncio
import signal
import sys
import time

import httpx

__all__ = ["watch"]

_LEAST_GAP = 2.0


class _Viewer:
    """One open page."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self.pages = 0
        self.failures: list[str] = []
        self._due: asyncio.Task[None] | None = None

    async def watch(self) -> None:
        """Load the page, then again whenever something changed."""
        await self._load()
        async with self._client.stream("GET", "/api/v1/events", timeout=None) as answer:
            first, last = True, time.monotonic()
            async for text in answer.aiter_lines():
                if text.startswith("data:") and not first and (self._due is None or self._due.done()):
                    self._due = asyncio.create_task(self._again(max(0.0, last + _LEAST_GAP - time.monotonic())))
                    last = time.monotonic()
                first = first and not text.startswith("data:")

    async def _again(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._load()

    async def _load(self) -> None:
        try:
            answer = await self._client.get("/", timeout=30)
        except httpx.HTTPError as error:
            self.failures.append(repr(error))
            return
        self.pages += 1
        if answer.status_code != 200:
            self.failures.append(f"{answer.status_code}: {answer.text[-200:]}")

    async def close(self) -> None:
        """Wait for the page that is being asked for."""
        if self._due is not None:
            await asyncio.gather(self._due, return_exceptions=True)


async def _main(address: str, n: int) -> None:
    ending = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=address, limits=limits) as client:
        viewers = [_Viewer(client) for _ in range(n)]
        tasks = [asyncio.create_task(one.watch()) for one in viewers]
        await ending.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *(one.close() for one in viewers), return_exceptions=True)
    failures = [text for one in viewers for text in one.failures]
    print(sum(one.pages for one in viewers), len(failures), *failures[:1])


def watch() -> None:
    """What the command line says: the board's address, and how many have its page open."""
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
