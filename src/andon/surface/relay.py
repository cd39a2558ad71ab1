"""What the processes of a line print, passed on as sentences: whoever runs ``andon up`` need not open a log file.

Only what is new is passed on, without tracebacks (they stay in the log file), and nothing twice in a row: a process that
fails again and again for one reason says it once a minute.

>>> relay = Relay(Path("/nowhere"))
>>> relay.fresh("w: no disk (pid 7)", 0.0), relay.fresh("w: no disk (pid 8)", 5.0), relay.fresh("w: no disk (pid 9)", 90.0)
(True, False, True)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Relay"]

_AGAIN = 60.0
_STAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ")
_LONGEST = 1 << 16


class Relay:
    """Follows the ``*.log`` files of a folder from where they end when it is made."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read = {path: path.stat().st_size for path in folder.glob("*.log")}
        self._said: dict[str, float] = {}

    def sentences(self) -> Iterator[str]:
        """Every whole line printed since the last call, with the name of its process before it."""
        for path in sorted(self._folder.glob("*.log")):
            begin = self._read.get(path, 0)
            try:
                with path.open("rb") as file:
                    file.seek(begin)
                    whole = file.read(_LONGEST)
            except OSError:
                continue
            # An unfinished line waits for its end, unless it is endless.
            whole = whole if len(whole) == _LONGEST else whole[: whole.rfind(b"\n") + 1]
            self._read[path] = begin + len(whole)
            yield from (f"{path.stem}: {line}" for line in _lines(whole.decode(errors="replace")))

    def fresh(self, sentence: str, now: float) -> bool:
        """Whether a sentence is worth saying now: the same one (but for its numbers) was not said within a minute."""
        key = re.sub(r"\d+", "0", sentence)
        if now - self._said.get(key, -_AGAIN) < _AGAIN:
            return False
        self._said[key] = now
        return True


def _lines(text: str) -> Iterator[str]:
    """Lines for people: no tracebacks but their last line, no time stamps."""
    for line in text.splitlines():
        if line.strip() and not line.startswith((" ", "\t", "Traceback ")) and not set(line) <= set("^~ |"):
            yield _STAMP.sub("", line).removeprefix("andon: ")
