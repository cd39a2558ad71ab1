"""The composition root: reads files and the environment once, and hands out what the rooms are given.

A project is the nearest folder, from the one given upwards, that holds ``andon.yaml``. Its state lives in ``.andon/``
beside that file unless ``ANDON_WORKSPACE`` says otherwise: a directory, or a ``postgresql://`` address, in which case
``ANDON_STORAGE`` names the directory for files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from andon.errors import Conflict, NotFound, UsageError

if TYPE_CHECKING:
    from andon.core.clock import Clock
    from andon.scope.charter import Charter
    from andon.store.workspace import Workspace

__all__ = ["CHARTER", "Place", "Project", "find_root", "open_line", "open_project", "open_workspace", "place"]

CHARTER = "andon.yaml"


@dataclass(frozen=True, slots=True)
class Project:
    """A project that is open: its folder, its charter and its workspace."""

    root: Path
    charter: Charter
    workspace: Workspace

    @property
    def clock(self) -> Clock:
        """The workspace's clock."""
        return self.workspace.clock

    @property
    def model_file(self) -> Path:
        """The user's Python file."""
        return self.root / "model.py"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the state lives: a directory for files and, where it is not SQLite in there, the database's address."""

    home: Path
    database_url: str | None


def find_root(start: str | Path | None = None) -> Path:
    """The nearest folder, from ``start`` upwards, with a charter; raises ``NotFound`` when there is none."""
    folder = Path(start) if start is not None else Path.cwd()
    folder = folder.resolve()
    if folder.is_file():
        folder = folder.parent
    for candidate in (folder, *folder.parents):
        if (candidate / CHARTER).is_file():
            return candidate
    raise NotFound(
        f"no {CHARTER} in {folder} or the folders above it",
        hint="run `andon init` here, or name the project's folder with --project",
    )


def place(root: Path, environ: Mapping[str, str] | None = None) -> Place:
    """Where the state of the project in ``root`` lives.

    >>> place(Path("/p"), {}).home.as_posix()
    '/p/.andon'
    >>> place(Path("/p"), {"ANDON_WORKSPACE": "/data/line"}).home.as_posix()
    '/data/line'
    >>> place(Path("/p"), {"ANDON_WORKSPACE": "postgresql://db/line", "ANDON_STORAGE": "/data/line"}).database_url
    'postgresql://db/line'
    """
    environ = os.environ if environ is None else environ
    where = environ.get("ANDON_WORKSPACE", "")
    storage = environ.get("ANDON_STORAGE", "")
    if where.startswith(("postgresql://", "postgresql+psycopg://")):
        if not storage:
            raise UsageError(
                "ANDON_WORKSPACE is a database address, but ANDON_STORAGE is not set",
                hint="set ANDON_STORAGE to a directory for files (log, bundles, data)",
            )
        return Place(Path(storage), where)
    if "://" in where:
        raise UsageError(
            f"ANDON_WORKSPACE: expected a directory or a postgresql:// address, found {where.split('://')[0]}://",
        )
    return Place(Path(where) if where else root / ".andon", None)


def open_workspace(path: str | Path | None = None) -> Workspace:
    """Open the workspace of the project in or above ``path``, creating it when it is not there yet.

    This is ``andon.open``: everything that the project ever recorded, for reading in Python.
    """
    from andon.store.workspace import Workspace

    where = place(find_root(path))
    # The marker is written last: a workspace whose making was interrupted is made to its end.
    if not (where.home / "workspace.json").exists():
        with suppress(Conflict):  # another command made it in this very moment
            return Workspace.create(where.home, database_url=where.database_url)
    return Workspace.open(where.home, database_url=where.database_url)


def open_project(path: str | Path | None = None) -> Project:
    """Open a project: read its charter (raises ``CharterError`` with all faults) and open its workspace."""
    from andon.scope.charter import load

    root = find_root(path)
    charter = load(root / CHARTER)
    return Project(root, charter, open_workspace(root))


def open_line(path: str | Path | None = None) -> Project:
    """Open a project as its line took it when it started: what every process of the line works by, until the next `up`.

    A process that has to start again so works by the same charter as the others, whatever became of the file meanwhile.
    Where no line ever started, this is ``open_project``.
    """
    from andon.scope.taken import taken

    root = find_root(path)
    workspace = open_workspace(root)
    found = taken(workspace.home)
    return open_project(root) if found is None else Project(root, found.charter(), workspace)
