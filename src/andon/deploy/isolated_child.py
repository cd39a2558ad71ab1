"""The process of one model: ``python -m andon.deploy.isolated_child FD DIRECTORY HASH MEMORY_MB SECONDS``.

It loads the bundle, says so, and answers questions (``andon.deploy.isolated_wire``) one by one until the worker is gone.
Whatever the model does to it stays here. If it hangs after its worker is gone, the kernel's alarm ends it.
"""

from __future__ import annotations

import faulthandler
import os
import resource
import signal
import socket
import sys
from pathlib import Path

from andon.deploy.isolated_wire import READY, decode_question, encode_error, encode_scores
from andon.engine.child import LENGTH
from andon.errors import AndonError, Corrupt
from andon.model.bundle import Served, load_bundle
from andon.model.predictor import user_code

__all__ = ["main", "serve"]

#: Seconds that a call may take beyond what the worker waits for it.
_SPARE = 5.0


def main(words: list[str]) -> None:
    """Run until the worker's end of the socket is closed."""
    descriptor, directory, hash, memory_mb, seconds = words
    faulthandler.enable()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    os.set_inheritable(int(descriptor), False)
    with socket.socket(fileno=int(descriptor)) as line:
        path = Path(directory)
        try:
            with user_code("loading the model", path / "model.py"):
                _limit(int(memory_mb))
                served = load_bundle(path, hash)
        except AndonError as error:
            _send(line, encode_error(error))
            return
        _send(line, READY)
        serve(line, served, float(seconds))


def serve(line: socket.socket, served: Served, seconds: float) -> None:
    """Answer questions until there are no more."""
    while (question := _receive(line)) is not None:
        signal.setitimer(signal.ITIMER_REAL, seconds + _SPARE)
        _send(line, _answer(served, question))
        signal.setitimer(signal.ITIMER_REAL, 0)


def _answer(served: Served, question: bytes) -> bytes:
    try:
        columns = decode_question(question, served.fields)
    except ValueError as error:
        return encode_error(Corrupt(f"the model's process was asked what it cannot read: {error}"))
    try:
        with user_code("predict", served.path / "model.py"):
            return encode_scores(served.predict(columns))
    except AndonError as error:
        return encode_error(error)


def _limit(memory_mb: int) -> None:
    """Let the address space grow by so much from here on."""
    if memory_mb:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + (memory_mb << 20)
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def _send(line: socket.socket, body: bytes) -> None:
    try:
        line.sendall(len(body).to_bytes(LENGTH, "little") + body)
    except OSError:
        sys.exit(0)  # nobody is left to be told


def _receive(line: socket.socket) -> bytes | None:
    head = _exactly(line, LENGTH)
    return None if head is None else _exactly(line, int.from_bytes(head, "little"))


def _exactly(line: socket.socket, count: int) -> bytes | None:
    """So many bytes; None when the line ends before."""
    found = bytearray()
    while len(found) < count:
        try:
            chunk = line.recv(min(1 << 20, count - len(found)))
        except OSError:
            return None
        if not chunk:
            return None
        found += chunk
    return bytes(found)


if __name__ == "__main__":
    main(sys.argv[1:])
