"""What tells an open page that something changed: one look at the line a second, shared by everyone who listens.

A pulse compares marks of what can change (`TOPICS`): the route's epoch, the journal's last event, the inbox's counts,
how far the log was measured, the workers and the controller. Listeners get the marks as server-sent events and ask for
their page again where one of its own changed. While nobody listens nothing is looked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

import anyio.to_thread
import msgspec

from andon.surface.page import Topic
from andon.surface.station import Known

if TYPE_CHECKING:
    from andon.config import Project

__all__ = ["MOST_LISTENERS", "Pulse", "look"]

MOST_LISTENERS = 500
_QUIET_SECONDS = 15.0
_CONSUMERS = ("windows", "late", "log")

Marks = dict[Topic, str]


def look(project: Project) -> Marks:
    """The marks now; what cannot be read has the mark "gone"."""
    from andon.deploy.crew import alive
    from andon.monitor.controller import LEASE
    from andon.monitor.report import report
    from andon.store.items import last_decided

    workspace, known = project.workspace, Known()
    journal = known.ask(lambda: str(workspace.journal.head()[0]))
    counts = known.ask(lambda: (workspace.items.counts("open", "taken"), last_decided(workspace.db)))
    offsets = known.ask(lambda: [sum(workspace.windows.offsets(name).values()) for name in _CONSUMERS])
    holder = known.ask(lambda: workspace.leases.holder(LEASE) or "none")
    left = report(workspace.run_dir)
    behind = "" if left is None else "".join([*("+" for _ in left.troubles), "waits" if left.waiting else ""])
    acks = sorted(
        f"{one.worker}:{one.epoch}:{len(one.loaded)}:{len(one.faults)}" for one in alive(workspace.routes.acks())
    )
    return {
        "route": str(workspace.routes.word()),
        "journal": journal or "gone",
        "items": "gone" if counts is None else f"{counts[0].get('open', 0)},{counts[0].get('taken', 0)},{counts[1]}",
        "windows": "gone" if offsets is None else ",".join(map(str, offsets)),
        "crew": " ".join([f"{holder or 'gone'}{behind}", *acks]),
    }


class Pulse:
    """Looks while somebody listens, and wakes the listeners where a mark changed."""

    def __init__(self, project: Project, changed: Callable[[], None], seconds: float = 1.0) -> None:
        self._project = project
        self._changed = changed
        self._seconds = seconds
        self._marks: Marks = {}
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.listeners = 0

    async def events(self) -> AsyncIterator[bytes]:
        """A stream of server-sent events: the marks at once, then whenever one changes, and a sign of life between."""
        self.listeners += 1
        try:
            self._start()
            yield b"retry: 2000\n\n"
            sent: Marks = {}
            while True:
                news = self._news
                if self._marks and self._marks != sent:
                    sent = dict(self._marks)
                    yield b"event: marks\ndata: " + msgspec.json.encode(sent) + b"\n\n"
                try:
                    await asyncio.wait_for(news.wait(), _QUIET_SECONDS)
                except TimeoutError:
                    yield b": still here\n\n"
        finally:
            self.listeners -= 1

    def _start(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while self.listeners:
            marks = await anyio.to_thread.run_sync(look, self._project)
            if marks != self._marks:
                self._marks = marks
                self._changed()
                self._news.set()
                self._news = asyncio.Event()
            await asyncio.sleep(self._seconds)

    async def close(self) -> None:
        """End; listeners are let go by the server."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
