"""The charter as the running line took it: a copy beside the workspace's other files.

The line reads ``andon.yaml`` when it starts. The copy says what that was, so that a later edit of the file can be shown
as what it is: a wish that is not in force yet.
"""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path

import msgspec

from andon.errors import Conflict, UsageError
from andon.scope.charter import Charter, parse
from andon.scope.fault import MAX_BYTES
from andon.store.files import replace_file, unavailable

__all__ = ["COPY", "Taken", "keep", "read_text", "taken", "text_hash"]

#: The copy's name in the workspace's directory.
COPY = "charter.yaml"


class Taken(msgspec.Struct, frozen=True):
    """What the line took: the file's text, the hash of it (64 hex digits) and when, by the machine's clock."""

    text: str
    hash: str
    wall_us: int

    def charter(self) -> Charter:
        """The charter in it; raises ``CharterError`` where this release no longer understands what an older one took."""
        return parse(self.text, name="the charter that the line took")


def text_hash(text: str) -> str:
    """BLAKE2b with 32 bytes, in hex, of a charter's text.

    >>> text_hash("project: line")[:12]
    '5749b452d182'
    """
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=32).hexdigest()


def keep(home: Path, source: Path, charter: Charter) -> Taken:
    """Leave a copy of ``source`` in the workspace's directory ``home``; ``charter`` is what was read from it before.

    Raises ``Conflict`` when the file says something else by now, ``UsageError`` when it cannot be read any more and
    ``Unavailable`` when the copy cannot be written.
    """
    text = read_text(source)
    if parse(text, name=source.name) != charter:
        raise Conflict(f"{source.name} was changed while it was being taken", hint="try again")
    replace_file(home / COPY, text.encode(), mode=0o600)
    found = taken(home)
    assert found is not None
    return found


def taken(home: Path) -> Taken | None:
    """What the line took when it last started, or None where it never did. Raises ``Unavailable`` or ``UsageError``."""
    path = home / COPY
    try:
        wall_us = path.stat().st_mtime_ns // 1000
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unavailable(f"{path} could not be read", error) from error
    text = read_text(path)
    return Taken(text, text_hash(text), wall_us)


def read_text(path: Path) -> str:
    """The text of a charter's file; raises ``UsageError`` with what is the matter where there is none."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read the charter {path.name}: {(error.strerror or str(error)).lower()}") from None
    if len(data) > MAX_BYTES:
        raise UsageError(f"{path.name}: expected a charter of at most {MAX_BYTES} bytes, found more")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path.name} is not UTF-8 text (byte {error.start}); save it as UTF-8") from None
