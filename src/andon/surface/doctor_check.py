"""What a check of the doctor is, what it is given, and how what goes wrong in one becomes its finding.

A check reads and changes nothing. What it cannot look at, because something it needs is gone, it says; it does not guess.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from andon.errors import AndonError
from andon.surface.station import Known

if TYPE_CHECKING:
    from andon.config import Project
    from andon.scope.charter import Charter
    from andon.store.workspace import Workspace

__all__ = ["Case", "Check", "CheckState", "Finding", "asked", "good", "look", "size_text", "stop", "unknown"]

CheckState = Literal["good", "look", "stop"]


class Check(msgspec.Struct, frozen=True):
    """One thing that was looked at: how it is, in one sentence, and what to do next. ``facts`` are its figures."""

    name: str
    state: CheckState
    sentence: str
    next: str = ""
    facts: dict[str, Any] = {}


@dataclass(slots=True)
class Case:
    """What is looked at: a project's folder, its charter and workspace as far as they can be opened, and how thoroughly.

    ``deep`` reads everything; without, what takes longer than a moment is left out. ``known`` reads the database, or
    says why it cannot be read.
    """

    root: Path
    home: Path
    charter: Charter | None
    workspace: Workspace | None
    deep: bool = True
    known: Known = field(default_factory=Known)

    @property
    def project(self) -> Project | None:
        """The project, where both its charter and its workspace could be opened."""
        from andon.config import Project

        if self.charter is None or self.workspace is None:
            return None
        return Project(self.root, self.charter, self.workspace)


Finding = Callable[[Case], Check]


def good(name: str, sentence: str, **facts: Any) -> Check:
    """Nothing to do."""
    return Check(name, "good", sentence, "", facts)


def look(name: str, sentence: str, next: str, **facts: Any) -> Check:
    """Somebody should look at it; the line can be relied on meanwhile."""
    return Check(name, "look", sentence, next, facts)


def stop(name: str, sentence: str, next: str, **facts: Any) -> Check:
    """Something that the line promises does not hold."""
    return Check(name, "stop", sentence, next, facts)


def unknown(name: str, why: str) -> Check:
    """It could not be looked at."""
    return Check(name, "look", f"not looked at: {why}")


def asked(name: str, finding: Finding, case: Case) -> Check:
    """A check's finding; what it could not read is the finding then.

    >>> from andon.errors import Corrupt
    >>> def broken(case: Case) -> Check:
    ...     raise Corrupt("the clock has no sound line", hint="delete it")
    >>> asked("clock", broken, Case(Path(), Path(), None, None))
    Check(name='clock', state='stop', sentence='the clock has no sound line', next='delete it', facts={})
    """
    try:
        return finding(case)
    except AndonError as error:
        return stop(name, error.message, error.hint or "")
    except OSError as error:
        where = Path(str(error.filename)).name if error.filename is not None else "a file"
        return stop(
            name, f"{where} could not be read: {error.strerror or error}", "see its owner, its mode and the disk"
        )


def size_text(size: float) -> str:
    """Bytes for people.

    >>> size_text(0), size_text(1500), size_text(12_345_678), size_text(7.7e10)
    ('0 B', '1.5 kB', '12 MB', '77 GB')
    """
    for power, name in ((4, "TB"), (3, "GB"), (2, "MB"), (1, "kB")):
        if size >= 1000**power:
            value = size / 1000**power
            return f"{value:.2g} {name}" if value < 100 else f"{value:.0f} {name}"
    return f"{size:.0f} B"
