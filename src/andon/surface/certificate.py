"""The certificate of a running line: proved before it starts, read again on SIGHUP."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from andon.deploy.tls import proved, valid_until
from andon.engine.port import ProcessState
from andon.errors import UsageError

__all__ = ["Certificate"]


class Certificate:
    """The files of one line. Raises ``UsageError`` when they cannot be used."""

    def __init__(self, tls: tuple[Path, Path], say: Callable[[str], None]) -> None:
        self._files = str(tls[0]), str(tls[1])
        self._say = say
        self._asked = False
        self._terminal = _has_terminal()
        say(f"The certificate is valid until {valid_until(proved(*self._files))}")
        signal.signal(signal.SIGHUP, self._hung_up)

    def look(self, processes: Sequence[ProcessState]) -> bool:
        """Do what SIGHUP asked for; True when it meant that the terminal is gone, and so the line should end."""
        if not self._asked:
            return False
        self._asked = False
        if self._terminal and not _has_terminal():
            return True
        try:
            until = valid_until(proved(*self._files))
        except UsageError as error:
            self._say(f"{error.message}; the one before stays")
            return False
        for process in processes:
            if process.name.startswith("worker-") and process.pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGHUP)
        self._say(f"The certificate was read again; it is valid until {until}")
        return False

    def _hung_up(self, _number: int, _frame: object) -> None:
        self._asked = True


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
