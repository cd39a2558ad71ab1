"""The floor: our HTTP protocol on the same loop, answering every request with the same 100 bytes.

What it does per second is what the gateway could do if validation, models, routing and the log cost nothing.
``benchmarks.serving`` runs it.
"""

from __future__ import annotations

import asyncio
import signal
import time

import uvloop

from andon.deploy.protocol import Front
from andon.deploy.protocol_message import JSON, Answer, Reply, Request

__all__ = ["Constant", "serve"]

_BODY = b'{"id":"x","decision":"yes","decided_by":"model","version":"v1","confidence":0.9731,"epoch":3}'


class Constant:
    """An application that has made up its mind."""

    def __init__(self) -> None:
        self._answer = Answer(200, _BODY, JSON)

    def submit(self, request: Request, reply: Reply) -> None:
        reply(self._answer)


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.set)
    front = Front(Constant())
    await loop.create_server(front.connection, "127.0.0.1", port)
    while not ending.is_set():
        front.sweep(time.monotonic())
        try:
            await asyncio.wait_for(ending.wait(), 1.0)
        except TimeoutError:
            continue


def serve(port: int) -> None:
    """Answer until SIGTERM or SIGINT."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(port))
