"""What passes between the wire and the gateway: one request in, one answer out, both plain values.

>>> request = Request("GET", "/metrics", "", ((b"host", b"line"),), b"")
>>> request.header(b"host"), request.header(b"accept")
(b'line', None)
>>> answer = json_answer(200, {"id": "a1"})
>>> answer.status, answer.body
(200, b'{"id":"a1"}')
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from andon.errors import AndonError, Denied, Overloaded, Unavailable

__all__ = ["Answer", "Application", "Reply", "Request", "error_answer", "json_answer"]

JSON = "application/json"
_encode = msgspec.json.Encoder().encode


class Request(msgspec.Struct, frozen=True, gc=False):
    """One whole request: path percent-encoded as it came, header names in lower case, body complete."""

    method: str
    path: str
    query: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header (its name in lower case), or None."""
        for key, value in self.headers:
            if key == name:
                return value
        return None


class Answer(msgspec.Struct, frozen=True, gc=False):
    """One whole answer; ``headers`` are those beyond type, length, date and connection."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


Reply = Callable[[Answer], None]


class Application(Protocol):
    """What the protocol drives: takes a request now, answers it now or later by calling ``reply`` once."""

    def submit(self, request: Request, reply: Reply) -> None:
        """Take one request; never raises."""
        ...


def json_answer(status: int, body: Any, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """An answer whose body is the value as JSON."""
    return Answer(status, _encode(body), JSON, headers)


def error_answer(error: AndonError, *, inference: bool = False) -> Answer:
    """The answer that tells a client of an error; ``inference`` gives the Open Inference Protocol's shape.

    A missing or unknown token (its error has a hint) is 401, a role that may not is 403.

    >>> error_answer(Overloaded("the queue is full")).headers
    (('retry-after', '1'),)
    >>> error_answer(Overloaded("the queue is full"), inference=True).body
    b'{"error":"the queue is full"}'
    """
    headers: tuple[tuple[str, str], ...] = ()
    status = error.http
    if isinstance(error, Overloaded | Unavailable):
        headers = (("retry-after", "1"),)
    elif isinstance(error, Denied) and error.hint:
        status, headers = 401, (("www-authenticate", "Bearer"),)
    body = {"error": error.message} if inference else {"error": error.to_dict()}
    return json_answer(status, body, headers)
