"""Ports for the programs that tests start: one for each call, and none that another test process or a client is given.

The system gives away ports above 32,767 to whoever connects, also between a probe and the program that was to listen
there. So these lie below, and each test process begins somewhere else.
"""

from __future__ import annotations

import os
import socket
from itertools import count

__all__ = ["free_port"]

_FIRST, _PORTS = 20_000, 12_000
_drawn = count(os.getpid() * 7919, 2)  # the one behind it is the board's


def free_port() -> int:
    """A port that nobody listens on, and not the same again."""
    while True:
        port = _FIRST + next(_drawn) % _PORTS
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
