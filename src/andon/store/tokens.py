"""Where access tokens are kept: one small file in the workspace's home, so that a gateway needs no database.

The file holds digests only, is readable by its owner alone, and is replaced as a whole: a reader sees the old list or the
new one, never half of one. What a row means is ``andon.people.access``'s business.

>>> import tempfile
>>> file = TokenFile(Path(tempfile.mkdtemp()))
>>> file.load()
[]
>>> file.update(lambda rows: [*rows, {"id": "a1"}])
>>> file.load()
[{'id': 'a1'}]
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from andon.errors import Corrupt, Unavailable

__all__ = ["TokenFile"]

Rows = list[dict[str, Any]]


class TokenFile:
    """``tokens.json`` in a workspace's home; ``home`` exists."""

    def __init__(self, home: Path) -> None:
        self.path = home / "tokens.json"
        self._lock = home / "tokens.lock"

    def version(self) -> object:
        """Changes whenever the file does; costs one ``stat``. Raises ``Unavailable`` where it may not be looked at."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._unreadable(error) from None
        return found.st_mtime_ns, found.st_ino, found.st_size

    def load(self) -> Rows:
        """The rows; none where there is no file yet.

        Raises ``Corrupt`` when the file is not what we wrote, ``Unavailable`` where it cannot be read.
        """
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=Rows)
        except FileNotFoundError:
            return []
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Corrupt(
                f"the token file {self.path} is damaged: {error}", hint="delete it and create the tokens again"
            ) from None
        except OSError as error:
            raise self._unreadable(error) from None

    def update(self, change: Callable[[Rows], Rows]) -> None:
        """Replace the rows by ``change(rows)`` while nobody else may; raises ``Unavailable`` when the disk refuses."""
        try:
            with self._lock.open("w") as lock:
                self._give(lock.fileno())
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._replace(msgspec.json.encode(change(self.load())))
        except OSError as error:
            raise Unavailable(
                f"the token file {self.path} cannot be written: {error.strerror}; it is unchanged"
            ) from None

    def _unreadable(self, error: OSError) -> Unavailable:
        return Unavailable(
            f"the token file {self.path} cannot be read: {error.strerror}; nobody is let in",
            hint="it must belong to the user that runs the line",
        )

    def _give(self, file: int) -> None:
        """What root makes for a line that another user runs belongs to that user, as its home does."""
        if os.geteuid() == 0:
            owner = self.path.parent.stat()
            os.fchown(file, owner.st_uid, owner.st_gid)

    def _replace(self, content: bytes) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            self._give(file.fileno())
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self.path)
