"""Is everything sound that the line stands on? A list of checks, each with a sentence and what to do next.

Nothing is changed, and the line may run meanwhile. What a check needs and cannot have, such as a database that is gone,
is said once; the others go on. A check says ``good``, ``look`` (somebody should, the line can be relied on meanwhile) or
``stop`` (something that the line promises does not hold).
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from andon.config import CHARTER, find_root, place
from andon.errors import AndonError
from andon.surface import doctor_files, doctor_kept, doctor_line, doctor_log, doctor_retention
from andon.surface.doctor_check import Case, Check, CheckState, Finding, asked
from andon.surface.station import count

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.store.workspace import Workspace

__all__ = ["CHECKS", "Health", "examine"]

#: In the order in which they are looked at and shown; the database comes before whatever asks it.
CHECKS: tuple[tuple[str, Finding], ...] = (
    ("charter", doctor_files.charter),
    ("files", doctor_files.files),
    ("tokens", doctor_files.tokens),
    ("database", doctor_line.database),
    ("journal", doctor_line.journal),
    ("clock", doctor_files.clock),
    ("disk", doctor_files.disk),
    ("routes", doctor_line.routes),
    ("bundles", doctor_kept.bundles),
    ("workers", doctor_line.workers),
    ("controller", doctor_line.controller),
    ("wal", doctor_log.wal),
    ("backlog", doctor_log.backlog),
    ("tables", doctor_log.tables),
    ("retention", doctor_retention.retention),
    ("blobs", doctor_kept.blobs),
)
DEEP: tuple[tuple[str, Finding], ...] = (("losses", doctor_log.losses),)
LOG: tuple[tuple[str, Finding], ...] = (("agreement", doctor_log.agreement),)
_HASH = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{52}\b")
_ORDER: tuple[CheckState, ...] = ("good", "look", "stop")


class Health(msgspec.Struct, frozen=True):
    """What the doctor found: the gravest state, one sentence, every check. ``deep`` says that everything was read."""

    state: CheckState
    sentence: str
    checks: tuple[Check, ...]
    deep: bool
    log: bool
    seconds: float
    wall_us: int

    @property
    def sound(self) -> bool:
        """Whether no check says stop."""
        return self.state != "stop"


def examine(
    start: str | Path | None = None,
    *,
    deep: bool = True,
    log: bool = False,
    workspace: Workspace | None = None,
    environ: Mapping[str, str] | None = None,
) -> Health:
    """Look at the project in or above ``start``; raises ``NotFound`` where there is none, and nothing else.

    Without ``deep`` only what takes a moment. ``log`` compares the logs and the inbox row by row. ``workspace`` is one
    that is open already and stays so.
    """
    root = find_root(start)
    where = place(root, environ)
    case = Case(root, where.home, _charter(root), workspace, deep)
    began, found = time.monotonic(), list[Check]()
    try:
        for name, finding in (*CHECKS, *(DEEP if deep else ()), *(LOG if log else ())):
            made = asked(name, finding, case)
            if name == "files" and case.workspace is None and not made.facts.get("gone"):
                made = _open(case, where.database_url, made)
            if name == "database" and made.state != "good" and not case.known.trouble:
                # An older one would be migrated by whoever asks it; a newer one, one that is gone: nobody can ask it.
                case.known.trouble = "the database cannot be asked now"
            found.append(_near(made, where.home))
    finally:
        if case.workspace is not None and case.workspace is not workspace:
            case.workspace.close()
    state = max((one.state for one in found), key=_ORDER.index)
    seconds = time.monotonic() - began
    return Health(state, _sentence(found), tuple(found), deep, log, round(seconds, 3), time.time_ns() // 1000)


def _charter(root: Path) -> Charter | None:
    from andon.scope.charter import load

    try:
        return load(root / CHARTER)
    except AndonError:
        return None  # its check says why


def _open(case: Case, database_url: str | None, made: Check) -> Check:
    """Open the workspace, now that nothing would be made by doing so."""
    from andon.store.workspace import Workspace

    def opened(case: Case) -> Check:
        case.workspace = Workspace.open(case.home, database_url=database_url)
        return made

    return asked(made.name, opened, case) if case.home.is_dir() else made


def _near(made: Check, home: Path) -> Check:
    """The finding with the workspace by its name, since where it lies is nobody's business, and hashes short."""
    texts = {name: getattr(made, name).replace(str(home.absolute()), home.name) for name in ("sentence", "next")}
    return msgspec.structs.replace(made, **{name: _HASH.sub(r"\1", text) for name, text in texts.items()})


def _sentence(found: list[Check]) -> str:
    stops = [one.name for one in found if one.state == "stop"]
    looks = [one.name for one in found if one.state == "look"]
    if not stops and not looks:
        return f"{count(len(found), 'check')}, all good"
    parts = [f"stop: {', '.join(stops)}"] if stops else []
    parts += [f"look at: {', '.join(looks)}"] if looks else []
    return f"{count(len(found), 'check')}; {'; '.join(parts)}"
