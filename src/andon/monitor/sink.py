"""Where events may be sent, and the connection they go over: one POST each, on a connection that is kept.

No redirect is followed and no proxy is used: what may only go to an address goes there or nowhere.

>>> check_sink("http://10.0.0.7:8080/", "organisation")
>>> check_sink("https://collector.example.org/in", "organisation")
Traceback (most recent call last):
...
andon.errors.UsageError: checklist.logging.events: https://collector.example.org is not known to be inside, but privacy.stays is 'organisation'; give a private address, or name the host in checklist.privacy.hosts
>>> check_sink("https://collector.example.org/in", "organisation", ["collector.example.org"])
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from urllib.parse import urlsplit

from andon.core.reach import Reach
from andon.core.record import Stays
from andon.errors import UsageError

__all__ = ["Sink", "check_sink", "shown_sink"]

_KEY = "checklist.logging.events"


def shown_sink(url: str) -> str:
    """An address without its path and query, which may hold secrets.

    >>> shown_sink("https://example.org:8443/in?token=hush")
    'https://example.org:8443'
    """
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def check_sink(url: str | None, stays: Stays, hosts: Sequence[str] = ()) -> None:
    """Raise ``UsageError`` for an address that is none, or that data may not reach; None is no sink, so no fault.

    ``stays`` is ``checklist.privacy.stays``: ``device`` sends to nobody, ``organisation`` to private addresses,
    ``localhost`` and the ``hosts`` that are named, ``anywhere`` to all.
    """
    if url is None:
        return
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    fits = host and parts.scheme in ("http", "https") and port != 0 and "@" not in parts.netloc
    if not fits or not url.isascii() or not url.isprintable() or " " in url:
        raise UsageError(f"{_KEY}: expected an address like http://host:port/path, without a user")
    if stays == "device":
        raise UsageError(f"{_KEY}: no event may leave this device, since privacy.stays is 'device'; take it out")
    reach = Reach(stays, tuple(hosts))
    if not reach.allows(host or ""):
        raise UsageError(f"{_KEY}: {shown_sink(url)} is not known to be inside, but {reach.why_not()}")


class Sink:
    """The connection to one address; ``seconds`` is how long one POST may take."""

    def __init__(self, url: str, seconds: float = 3.0) -> None:
        parts = urlsplit(url)
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        host, port = parts.hostname or "", parts.port
        if parts.scheme == "https":
            context = ssl.create_default_context()
            self._connection: HTTPConnection = HTTPSConnection(host, port, timeout=seconds, context=context)
        else:
            self._connection = HTTPConnection(host, port, timeout=seconds)

    def post(self, headers: Mapping[str, str], body: bytes) -> int | str:
        """The status that was answered, or why nothing was (a name of an error: its words may hold secrets)."""
        for attempt in (0, 1):
            fresh = self._connection.sock is None
            try:
                self._connection.request("POST", self._path, body, dict(headers))
                answer = self._connection.getresponse()
                while answer.read(1 << 16):
                    pass  # the connection is kept only when the answer was read
            except (OSError, HTTPException) as error:
                self.close()
                if fresh or attempt or isinstance(error, TimeoutError):
                    return type(error).__name__
            else:
                return answer.status
        return "closed"

    def close(self) -> None:
        """Close the connection; the next POST opens another."""
        self._connection.close()
