"""Where requests come in: a port, TLS on it, and a Unix socket beside it.

All workers of a line listen on one port (``SO_REUSEPORT``: the kernel spreads connections). A path can be bound once, so
its socket is made by whoever starts the workers and handed to each as an open file: whoever is free takes the next
connection, and while a worker is started again the others, or the queue of the socket, have it.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from andon.errors import Conflict, UsageError

__all__ = ["BACKLOG", "Door", "bound_path", "bound_socket", "leave_path", "shared_server", "unverified"]

BACKLOG = 1024
_PATH_MAX = 107  # sun_path holds 108 bytes, the last is zero
_OWNER_AND_GROUP = 0o117
_PROBE_BYTES, _PROBE_SECONDS = 1 << 14, 2.0  # whoever says more, or takes longer, is no gateway


class Door(msgspec.Struct, frozen=True):
    """Where one worker takes requests.

    ``uds`` is the number of an open file: a Unix socket that listens already (-1: there is none). With ``cert`` and
    ``key`` (files in PEM form) the port speaks TLS; the Unix socket never does.
    """

    host: str = "127.0.0.1"
    port: int = 8700
    uds: int = -1
    cert: str = ""
    key: str = ""

    @property
    def tls(self) -> bool:
        """Whether the port speaks TLS."""
        return bool(self.cert)


def bound_path(path: Path) -> socket.socket:
    """A Unix socket that listens at ``path``, for its owner and group; a file that an ended line left there is replaced.

    Raises ``UsageError`` for a path that cannot be one, ``Conflict`` when somebody listens there.
    """
    if len(os.fsencode(path)) > _PATH_MAX:
        raise UsageError(f"--uds: the path {path} is too long for a socket, which may have {_PATH_MAX} bytes")
    _make_room(path)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(_OWNER_AND_GROUP)
    try:
        bound.bind(str(path))
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        raise UsageError(f"--uds: no socket can be made at {path} ({error.strerror})") from error
    finally:
        os.umask(mask)
    return bound


async def shared_server(loop: asyncio.AbstractEventLoop, connection: Callable[[], asyncio.Protocol], uds: int) -> Any:
    """A server at a Unix socket that listens already; its file stays when the server ends, since others listen at it.

    uvloop takes ``cleanup_socket`` under every Python; since 3.13 it, as asyncio, would remove the file by itself.
    """
    serve: Any = loop.create_unix_server
    shared = socket.socket(fileno=os.dup(uds))
    return await serve(connection, sock=shared, backlog=BACKLOG, cleanup_socket=False)


def leave_path(path: Path, bound: socket.socket) -> None:
    """Close the socket and take its file away."""
    bound.close()
    with suppress(OSError):
        path.unlink()


def _make_room(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except OSError:
        return  # there is nothing, or binding will say what is wrong
    if not stat.S_ISSOCK(mode):
        raise UsageError(f"--uds: {path} is there already and is no socket", hint="give another path")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)  # nobody listens: an ended line left it
        except OSError as error:
            raise Conflict(f"--uds: {path} cannot be taken ({error.strerror})", hint="give another path") from error
        else:
            raise Conflict(f"--uds: another program listens at {path}", hint="end it, or give another path")


def bound_socket(host: str, port: int, *, shared: bool, line: str, tls: bool = False) -> socket.socket:
    """A socket bound to the address; with ``shared`` other workers of the same ``line`` may bind it, too.

    Raises ``Conflict`` when another program, or another line, has it, ``UsageError`` when there is no such address.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise UsageError(f"host {host!r}: there is no such address ({error.strerror})") from error
    bound = socket.socket(family, kind, protocol)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        if shared:
            if _other_line(host, port, line, tls):
                raise OSError(errno.EADDRINUSE, "another line listens there")
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise Conflict(
            f"port {port} on {host} cannot be taken: {error.strerror}",
            hint="end the program that has it, or set another one with `gateway: {port: ...}` in andon.yaml",
        ) from error
    return bound


def _other_line(host: str, port: int, line: str, tls: bool) -> bool:
    """Whether a gateway of another line answers there: the kernel would let both share the port."""
    try:
        with socket.create_connection((host, port), timeout=0.5) as plain:
            probe = unverified().wrap_socket(plain) if tls else plain
            probe.sendall(b"GET /v2/health/live HTTP/1.1\r\nhost: line\r\nconnection: close\r\n\r\n")
            found, end = b"", time.monotonic() + _PROBE_SECONDS
            while len(found) < _PROBE_BYTES and time.monotonic() < end and (chunk := probe.recv(4096)):
                found += chunk
    except OSError:
        return False
    return b'"line"' in found and line.encode() not in found


def unverified() -> ssl.SSLContext:
    """Our own port is asked who it is, whatever its certificate says."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
