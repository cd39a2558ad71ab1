"""What passes between the wire and the gateway: one request in, one answer out, both plain values.

>>> request = Request("GET", "/metrics", "", ((b"host", b"line"),), b"")
>>> request.header(b"host"), request.header(b"accept")
(b'line', None)
>>> answer = json_answer(200, {"id": "a1"})
>>> answer.status, answer.body
(200, b'{"id":"a1"}')
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterable
from pathlib import PurePath
from typing import Any, Protocol

import msgspec

from andon.errors import AndonError, Denied, Overloaded, Unavailable

__all__ = [
    "REQUEST_ID",
    "Answer",
    "Application",
    "Reply",
    "Request",
    "Take",
    "error_answer",
    "fault_place",
    "json_answer",
    "made_id",
    "request_id",
]

#: The header by which a client finds its request again: in our answer, and in our log where the request made us fail.
REQUEST_ID = "x-request-id"
_REQUEST_ID = REQUEST_ID.encode()
_SOUND_ID = re.compile(rb"[A-Za-z0-9._:/+=@-]{1,128}")

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
#: Takes a body and where its answer goes, or returns False: then the whole request is submitted.
Take = Callable[[bytes, Reply], bool]


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


def request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The id that a client gave its request (names in lower case); "" where it gave none.

    One that is longer than 128, has other characters than letters, digits and ``._:/+=@-``, or comes twice is not
    repeated, and never logged: one is made in its place.

    >>> request_id([(b"host", b"line")]), request_id([(b"x-request-id", b"a-17")])
    ('', 'a-17')
    >>> len(request_id([(b"x-request-id", b"a b")]))
    16
    """
    given = [value for name, value in headers if name == _REQUEST_ID]
    if not given:
        return ""
    return given[0].decode() if len(given) == 1 and _SOUND_ID.fullmatch(given[0]) else made_id()


def made_id() -> str:
    """A new id for a request that has none, 16 hex digits."""
    return secrets.token_hex(8)


def fault_place(error: BaseException | None) -> str:
    """What failed and where, without the message: it may hold what a client sent, or a secret.

    >>> try:
    ...     int("4111 1111")
    ... except ValueError as error:
    ...     "4111" in fault_place(error), fault_place(error).split(":")[0]
    (False, 'ValueError in <module> (<doctest andon.deploy.protocol_message.fault_place[0]>')
    """
    if error is None:
        return "an unknown fault"
    trace = error.__traceback__
    if trace is None:
        return type(error).__name__
    while trace.tb_next is not None:
        trace = trace.tb_next
    code = trace.tb_frame.f_code
    return f"{type(error).__name__} in {code.co_name} ({PurePath(code.co_filename).name}:{trace.tb_lineno})"
