"""The Settings page: whether everything is sound, who may come in, who is told, how much room is left, what runs here."""

from __future__ import annotations

import platform
import shutil
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec

from andon.store.extent import Extent, database_version, extents, oldest_day, segments
from andon.surface.doctor import Health, examine
from andon.surface.page import Page
from andon.surface.station import Known
from andon.surface.view import settings_access, settings_notify
from andon.surface.view.settings_access import MEANS, RoleRow, TokenRow, role_rows, token_rows
from andon.surface.view.settings_notify import Target, targets

if TYPE_CHECKING:
    from andon.surface.visit import Visit

__all__ = ["COMMANDS", "PAGES", "Lying", "SettingsParams", "SettingsView", "Storage", "Version", "settings_view"]

_LIBRARIES = (
    "andon", "polars", "deltalake", "numpy", "scikit-learn", "onnxruntime", "skops", "msgspec", "SQLAlchemy", "starlette",
    "uvicorn", "apprise",
)  # fmt: skip


class SettingsParams(msgspec.Struct, frozen=True):
    """``deep`` reads everything through and compares the logs; that takes seconds to minutes."""

    deep: Annotated[bool, msgspec.Meta(description="Read everything through; takes seconds to minutes.")] = False


class Version(msgspec.Struct, frozen=True):
    """A program or library and its version."""

    name: str
    version: str


class Storage(msgspec.Struct, frozen=True):
    """Bytes by part, the room on the disk, and how far back decisions are kept. ``trouble``: what could not be read."""

    parts: tuple[Extent, ...]
    segments: int
    free: int
    total: int
    oldest_day: str | None
    retain_days: int
    durability: str
    trouble: str = ""

    @property
    def bytes(self) -> int:
        """Of all parts together."""
        return sum(part.bytes for part in self.parts)

    @property
    def whole(self) -> bool:
        """Whether every file was looked at."""
        return all(part.whole for part in self.parts)


class Lying(msgspec.Struct, frozen=True):
    """Where a project's state lies, without what is nobody's business: no folder above it, no password."""

    workspace: str
    database: str
    charter: str


class SettingsView(msgspec.Struct, frozen=True):
    """Everything. ``tokens`` is None for whoever may not administer; ``actions`` are the columns of ``roles``."""

    wall_us: int
    health: Health
    required: bool
    tokens: tuple[TokenRow, ...] | None
    actions: tuple[tuple[str, str], ...]
    roles: tuple[RoleRow, ...]
    targets: tuple[Target, ...]
    stays: str
    storage: Storage
    versions: tuple[Version, ...]
    lying: Lying


def settings_view(visit: Visit, params: SettingsParams) -> SettingsView:
    """Look at everything once. Raises ``Unavailable`` only when the workspace's own files cannot be read."""
    project = visit.project
    checklist = project.charter.checklist
    return SettingsView(
        wall_us=visit.wall_us,
        health=examine(project.root, deep=params.deep, log=params.deep, workspace=project.workspace),
        required=checklist.security.tokens == "required",
        tokens=token_rows(visit),
        actions=tuple(MEANS.items()),
        roles=role_rows(),
        targets=targets(visit),
        stays=checklist.privacy.stays,
        storage=_storage(visit),
        versions=_versions(visit),
        lying=_lying(visit),
    )


def _storage(visit: Visit) -> Storage:
    workspace, known = visit.project.workspace, Known()
    usage = shutil.disk_usage(workspace.home)
    logging = visit.project.charter.checklist.logging
    oldest = oldest_day(workspace.log)
    return Storage(
        parts=known.ask(lambda: extents(workspace)) or (),
        segments=segments(workspace),
        free=usage.free,
        total=usage.total,
        oldest_day=None if oldest is None else oldest.isoformat(),
        retain_days=logging.retain_days,
        durability=logging.durability,
        trouble=known.why,
    )


def _versions(visit: Visit) -> tuple[Version, ...]:
    found = [Version(name, metadata.version(name)) for name in _LIBRARIES]
    kind, _, version = (Known().ask(lambda: database_version(visit.project.workspace.db)) or "").partition(" ")
    database = [Version(kind, version.split()[0])] if version else []
    return (found[0], Version("Python", platform.python_version()), *database, *found[1:])


def _lying(visit: Visit) -> Lying:
    project = visit.project
    home, db = project.workspace.home, project.workspace.db
    inside = home.is_relative_to(project.root.absolute())
    database = "SQLite, andon.db in the workspace"
    if not db.sqlite:  # an address may hold its password also where nobody looks for it
        database = f"PostgreSQL, {db.url.database} at {db.url.host or 'this machine'}"
    return Lying(
        workspace=str(home.relative_to(project.root.absolute())) if inside else home.name,
        database=database,
        charter=str(Path(project.root.name) / "andon.yaml"),
    )


COMMANDS = (*settings_access.COMMANDS, *settings_notify.COMMANDS)

PAGES = (
    Page(
        "settings", "/settings", "Settings", "settings", settings_view, SettingsParams, SettingsView, "settings.html",
        personal=True,
    ),
)  # fmt: skip
