"""The story's callers: a few keep-alive connections that send requests at once and wait for every answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httptools
import msgspec

from andon.errors import Unavailable

__all__ = ["Answer", "Client"]

#: With the pauses between them about half a minute.
_TRIES = 60


class Answer(msgspec.Struct, frozen=True):
    """One HTTP answer: its status and its JSON body."""

    status: int
    body: Any


class _Reader:
    """Collects one response; the callbacks are httptools's."""

    def __init__(self) -> None:
        self.body = bytearray()
        self.done = False

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.done = True


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def call(self, head: bytes, body: bytes) -> Answer:
        self._writer.write(b"%bcontent-length: %d\r\n\r\n%b" % (head, len(body), body))
        collected = _Reader()
        parser = httptools.HttpResponseParser(collected)
        while not collected.done:
            data = await self._reader.read(65536)
            if not data:
                raise ConnectionResetError("the gateway closed the connection")
            parser.feed_data(data)
        return Answer(parser.get_status_code(), msgspec.json.decode(collected.body) if collected.body else None)

    def close(self) -> None:
        self._writer.close()


class Client:
    """Calls one gateway over ``connections`` keep-alive connections, from one thread of its own loop.

    A connection that breaks (a worker was replaced) is opened again and the request is sent again, which is safe
    because every decision carries its own id.
    """

    def __init__(self, host: str, port: int, connections: int = 8) -> None:
        self._address = (host, port)
        self._loop = asyncio.new_event_loop()
        self._idle: list[_Connection | None] = [None] * connections
        self.retries = 0

    def post(self, path: str, bodies: Sequence[Any]) -> list[Answer]:
        """POST every body as JSON to ``path``; answers in the same order. Raises ``Unavailable`` when none comes."""
        return self._loop.run_until_complete(self._post_all(path, bodies))

    def get(self, path: str) -> Answer:
        """GET one path."""
        return self._loop.run_until_complete(self._retrying(self._head("GET", path), b""))

    def close(self) -> None:
        """Close the connections."""
        for connection in self._idle:
            if connection is not None:
                connection.close()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _post_all(self, path: str, bodies: Sequence[Any]) -> list[Answer]:
        head = self._head("POST", path)
        answers: list[Answer | None] = [None] * len(bodies)
        rest = iter(enumerate(bodies))

        async def lane() -> None:
            for index, body in rest:
                answers[index] = await self._retrying(head, msgspec.json.encode(body))

        await asyncio.gather(*(lane() for _ in range(min(len(self._idle), len(bodies)))))
        return [answer for answer in answers if answer is not None]

    async def _retrying(self, head: bytes, body: bytes) -> Answer:
        for attempt in range(_TRIES):
            connection = self._idle.pop()
            try:
                if connection is None:
                    connection = _Connection(*await asyncio.open_connection(*self._address))
                answer = await connection.call(head, body)
            except OSError:
                if connection is not None:
                    connection.close()
                self._idle.append(None)
                self.retries += 1
                await asyncio.sleep(min(0.5, 0.02 * 2**attempt))
                continue
            self._idle.append(connection)
            if answer.status not in (429, 503):
                return answer
            self.retries += 1
            await asyncio.sleep(min(0.5, 0.02 * 2**attempt))
        raise Unavailable(f"no answer from {self._address[0]}:{self._address[1]} after {_TRIES} tries")

    def _head(self, method: str, path: str) -> bytes:
        host = f"{self._address[0]}:{self._address[1]}"
        return f"{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\n".encode()
