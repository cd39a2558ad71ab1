"""From bytes to whole requests: the httptools parser, its bounds, and the refusal of what could be read in two ways.

The parser (llhttp) runs in its strict mode: both lengths, bare CR or LF, folded headers, bad chunks and odd numbers are
faults already. What it lets through and this server does not is refused in ``_inspect``.

>>> got = []
>>> reader = Reader(Limits(), lambda request, keep, old: got.append((request.path, request.body, keep)), lambda: None)
>>> reader.feed(b"POST /a HTTP/1.1\\r\\nHost: line\\r\\nContent-Length: 2\\r\\n\\r\\nhi")
>>> got
[('/a', b'hi', True)]
>>> reader.feed(b"GET /b HTTP/1.1\\nHost: line\\n\\n")
>>> reader.fault
(400, 'the request is not well-formed HTTP/1.1: Expected CRLF after version')
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import httptools
import msgspec

from andon.deploy.protocol_message import Request, fault_place, made_id, request_id

__all__ = ["Limits", "Reader"]

_log = logging.getLogger(__name__)

#: Methods that change the meaning of the connection; this server does not speak them.
_REFUSED = frozenset({b"CONNECT", b"TRACE", b"PRI"})

#: Headers that change how a connection is read or ends.
_SPECIAL = frozenset({b"connection", b"expect", b"transfer-encoding", b"upgrade", b"trailer", b"te", b"keep-alive"})


#: What the framing of a chunk may take for each byte of the body: a client may send single bytes.
_FRAMING = 16


class Limits(msgspec.Struct, frozen=True):
    """Bounds of one connection: sizes in bytes, times in seconds, ``pipeline`` in unanswered requests.

    ``head_bytes`` bounds the head, and again what is no body behind it: trailers, and what chunks say of themselves.
    """

    head_bytes: int = 16_384
    target_bytes: int = 8_192
    body_bytes: int = 1 << 20
    pipeline: int = 64
    idle_seconds: float = 75.0
    request_seconds: float = 15.0
    stall_seconds: float = 30.0
    linger_seconds: float = 2.0


class Reader:
    """The reading half of a connection.

    ``on_request(request, keep, old)`` is called for every whole request (``keep``: the client wants the connection to
    live on; ``old``: it speaks HTTP/1.0), ``on_expect()`` when a client waits for "100 Continue". ``fault`` is
    (status, sentence) once something was refused; from then on, and when ``stopped`` is set, nothing more is read.
    ``since`` is when the request now arriving began (``time.monotonic()``), 0.0 between requests. ``plain`` says of the
    last request that its head asks for nothing but to be answered: no expectation, coding, upgrade, end or id.
    ``request_id`` is what the client calls the last request, "" where it says nothing.
    """

    def __init__(
        self, limits: Limits, on_request: Callable[[Request, bool, bool], None], on_expect: Callable[[], None]
    ) -> None:
        self.fault: tuple[int, str] | None = None
        self.stopped = False
        self.since = 0.0
        self._limits = limits
        self._give = on_request
        self._on_expect = on_expect
        self._parser: Any = httptools.HttpRequestParser(self)
        self._head_fed = 0
        self.plain = False
        self.request_id: str = ""
        self.on_message_begin()
        self.since = 0.0

    @property
    def idle(self) -> bool:
        """Whether the next byte begins a request."""
        return self.since == 0.0 and self.fault is None

    @property
    def asks_head(self) -> bool:
        """Whether the request now arriving is a HEAD, as far as it is known: then an answer has no body."""
        return self._method == b"HEAD"

    def feed(self, data: bytes) -> None:
        """Read what came; never raises."""
        while data and not self.stopped and self.fault is None:
            if self._head_done:
                self._fed += len(data)
                self._loose += len(data)
            else:
                self._head_fed += len(data)
            try:
                self._parser.feed_data(data)
                data = b""
            except httptools.HttpParserUpgrade as upgrade:
                data = self._unasked() + data[upgrade.args[0] :]
            except httptools.HttpParserCallbackError as error:
                self.request_id = self.request_id or made_id()
                _log.error("request %s made the gateway fail: %s", self.request_id, fault_place(error.__context__))
                self.fault = (500, "the gateway failed on this request; the fault is ours")
            except httptools.HttpParserError as error:
                if not self.stopped:
                    self._refuse(400, f"the request is not well-formed HTTP/1.1: {error}")
            if not self._head_done and self._head_fed > self._limits.head_bytes:
                self._refuse(431, f"the request's head is larger than {self._limits.head_bytes} bytes")
            elif self._loose > self._limits.head_bytes or self._fed > self._size + self._framing():
                self._refuse(431, f"more than {self._limits.head_bytes} bytes beside the body, in trailers or chunks")

    def _unasked(self) -> bytes:
        """The head once more for a new parser, without the wish for another protocol, which is not granted.

        The one that met the wish takes the request to be over, with what is its body for the other protocol's; a proxy
        before us counts it as the body that it is.
        """
        first = b"%s %s HTTP/%s" % (self._method, self._target, self._parser.get_http_version().encode())
        kept = (name + b": " + value for name, value in self._headers if name != b"upgrade")
        self._parser = httptools.HttpRequestParser(self)
        self._head_done, self._head_fed = False, 0
        return b"\r\n".join([first, *kept, b"", b""])

    def _framing(self) -> int:
        """How many bytes may come behind the head that are no body; the parser keeps a trailer until it is whole."""
        return self._limits.head_bytes + _FRAMING * self._size

    def on_message_begin(self) -> None:
        """A request begins."""
        self.since = time.monotonic()
        self._target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_size = 0
        self._head_done = False
        self._body: list[bytes] = []
        self._size = 0
        self._fed = self._loose = 0  # bytes behind the head; those since the last piece of the body
        self._wishes = False  # to speak another protocol
        self._method: bytes = b""
        self.request_id = ""

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._target += url
        if len(self._target) > self._limits.target_bytes:
            self._target = b""
            self._method = self._parser.get_method()
            self._refuse(414, f"the request's target is longer than {self._limits.target_bytes} bytes")

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; a trailer is counted and thrown away."""
        self._head_size += len(name) + len(value) + 4
        if self._head_size > self._limits.head_bytes:
            self._refuse(431, f"the request's head is larger than {self._limits.head_bytes} bytes")
        elif not self._head_done:
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """The head is whole: refuse here what must not be read further."""
        self._head_done = True
        self._head_fed = 0
        self._method = self._parser.get_method()
        self._wishes = self._parser.should_upgrade() and self._method not in _REFUSED
        if not self._wishes and self._inspect() and self.fault is None and not self.stopped:
            self._on_expect()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._size += len(body)
        self._loose = 0
        if self._size > self._limits.body_bytes:
            self._body.clear()
            self._refuse(413, f"the body is larger than {self._limits.body_bytes} bytes")
        elif self.fault is None:
            self._body.append(body)

    def on_message_complete(self) -> None:
        """A whole request: give it on."""
        if self._wishes:
            return  # ``_unasked`` follows
        self.since = 0.0
        self._head_done = False
        self._head_fed = self._fed = self._loose = 0
        if self.fault is not None or self.stopped:
            return
        target = self._target if self._target.startswith(b"/") else _origin_form(self._target)
        if not target:
            self._refuse(400, "expected a target that begins with '/'")
            return
        path, _, query = target.decode("latin-1").partition("?")
        request = Request(self._method.decode("latin-1"), path, query, tuple(self._headers), b"".join(self._body))
        self._give(request, bool(self._parser.should_keep_alive()), self._parser.get_http_version() == "1.0")
        self.request_id = ""  # what comes next is another request, even if it never becomes one

    def _refuse(self, status: int, message: str) -> None:
        if self.fault is None:
            self.fault = (status, message)

    def _inspect(self) -> bool:
        """Refuse what llhttp allows and two servers could read differently; returns whether the client waits."""
        self.request_id = request_id(self._headers)
        version = self._parser.get_http_version()
        if version not in ("1.0", "1.1"):
            self._refuse(505, f"this server speaks HTTP/1.1, the request says {version}")
        if self._method in _REFUSED:
            self._refuse(501, f"this server does not speak {self._method.decode('latin-1')}")
        hosts, waits = 0, False
        self.plain = version == "1.1" and not self.request_id
        for name, value in self._headers:
            if name in _SPECIAL and value.lower() != b"keep-alive":
                self.plain = False
            if name == b"host":
                hosts += 1
            elif name == b"transfer-encoding" and (version == "1.0" or value.lower() != b"chunked"):
                self._refuse(501, "the only transfer coding this server reads is chunked, in HTTP/1.1")
            elif name == b"content-length" and int(value.lstrip(b"0") or b"0") > self._limits.body_bytes:
                self._refuse(413, f"the body is larger than {self._limits.body_bytes} bytes")
            elif name == b"expect":
                waits = value.lower() == b"100-continue" and version == "1.1"
                if value.lower() != b"100-continue":
                    self._refuse(417, "the only expectation this server knows is 100-continue")
        if hosts > 1 or (hosts == 0 and version == "1.1"):
            self._refuse(400, f"expected one Host header, found {hosts}")
        return waits


def _origin_form(target: bytes) -> bytes:
    """The path of an absolute target, or b"" where there is none.

    >>> _origin_form(b"http://line:8700/metrics?x"), _origin_form(b"*")
    (b'/metrics?x', b'')
    """
    try:
        url = httptools.parse_url(target)
    except httptools.HttpParserError:
        return b""
    if not url.schema or not url.host:
        return b""
    path: bytes = url.path or b"/"
    return path + b"?" + url.query if url.query else path
