"""One process that answers questions over a socket: started anew, asked, and ended whatever state it is in.

A question and an answer are bytes behind their length (8 bytes, little-endian). The child is spawned, never forked; it
holds one end of a socket pair whose other end only this process has, so it sees when this process is gone. What it
prints goes where this process prints.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress

from andon.engine.local import ONE_THREAD, signal_name
from andon.engine.port import IDLE
from andon.errors import Unavailable

__all__ = ["ANSWER_MAX", "LENGTH", "Child"]

#: Bytes of the length that stands before every message.
LENGTH = 8
#: The longest answer that is read, in bytes; what says that it is longer is not believed.
ANSWER_MAX = 64 << 20
_CHUNK = 1 << 20


class Child:
    """One running process. ``{fd}`` in the command is the number of its end of the socket. Used by one thread at a time.

    ``Unavailable`` says that it has ended, or said what cannot be an answer; its message is the end of a sentence.
    """

    def __init__(self, command: Sequence[str]) -> None:
        # Who gives way keeps what it starts in its session, which gives way as a whole (`andon.engine.polite`).
        yields = os.getpriority(os.PRIO_PROCESS, 0) >= IDLE
        ours, theirs = socket.socketpair()
        try:
            number = str(theirs.fileno())
            self._process = subprocess.Popen(
                [part.replace("{fd}", number) for part in command],
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                start_new_session=not yields,
                process_group=0 if yields else None,
                env={**ONE_THREAD, **os.environ},
            )
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._socket = ours
        self.started = time.monotonic()
        self.pid = self._process.pid

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    @property
    def speaks(self) -> bool:
        """Whether there is something to hear (its end, too) without waiting."""
        look = select.poll()  # `select` knows no numbers beyond 1,023, and a gateway has as many connections
        look.register(self._socket, select.POLLIN)
        return bool(look.poll(0))

    def ask(self, question: Sequence[bytes], seconds: float) -> bytes:
        """Its answer. Raises ``TimeoutError`` after so many seconds, ``Unavailable`` when there is none."""
        until = time.monotonic() + seconds
        body = b"".join(question)
        try:
            self._socket.settimeout(max(0.001, seconds))
            self._socket.sendall(len(body).to_bytes(LENGTH, "little"))
            self._socket.settimeout(max(0.001, until - time.monotonic()))
            self._socket.sendall(body)
        except TimeoutError:
            raise
        except OSError:
            raise Unavailable(self._how()) from None
        return self.hear(until - time.monotonic())

    def hear(self, seconds: float) -> bytes:
        """What it says next; raises as ``ask`` does. A part of a message that came in time is lost with the rest."""
        until = time.monotonic() + seconds
        length = int.from_bytes(self._exactly(LENGTH, until), "little")
        if length > ANSWER_MAX:
            raise Unavailable(f"said that its answer has {length} bytes, which is more than {ANSWER_MAX}")
        return self._exactly(length, until)

    def _exactly(self, count: int, until: float) -> bytes:
        found = bytearray()
        while len(found) < count:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            try:
                chunk = self._socket.recv(min(_CHUNK, count - len(found)))
            except TimeoutError:
                raise
            except OSError:
                chunk = b""
            if not chunk:
                raise Unavailable(self._how())
            found += chunk
        return bytes(found)

    def _how(self) -> str:
        """How it ended; one that only closed its socket is ended."""
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return "closed its end of the line"
        return self.said(code)

    @staticmethod
    def said(code: int) -> str:
        """An exit code in words.

        >>> Child.said(-11), Child.said(3)
        ('was ended by SIGSEGV', 'ended with exit code 3')
        """
        if code >= 0:
            return f"ended with exit code {code}"
        name = signal_name(-code)
        return f"was ended by {name}" + (" (out of memory, perhaps)" if name == "SIGKILL" else "")

    def exit(self) -> str:
        """How it ended, where it has."""
        code = self._process.poll()
        return "" if code is None else self.said(code)

    def close(self, grace_seconds: float = 0.0) -> None:
        """End it: its socket is closed, and what has not ended by itself after so many seconds is killed; waits for that."""
        self._socket.close()
        if grace_seconds > 0:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(grace_seconds)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
