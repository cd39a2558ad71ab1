"""What changed between two versions: rows, labels, columns and the balance of classes. The older one comes first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from andon.errors import NotFound

if TYPE_CHECKING:
    from andon.data.dataset import Dataset
    from andon.store.workspace import Workspace
    from andon.surface.visit import Visit

__all__ = ["ClassChange", "Compared", "DiffParams", "DiffView", "Relabelled", "Side", "diff_view"]


class DiffParams(msgspec.Struct, frozen=True):
    """Which version, and which other; without one its parent, else its newest child."""

    version: Annotated[str, Meta(min_length=1, max_length=100)]
    to: Annotated[str, Meta(max_length=100, description="The other version or name")] = ""


class Side(msgspec.Struct, frozen=True):
    """One of the two versions."""

    version: str
    name: str
    rows: int
    created_us: int


class Relabelled(msgspec.Struct, frozen=True):
    """How many rows had one label and have another now."""

    before: str | None
    after: str | None
    rows: int


class ClassChange(msgspec.Struct, frozen=True):
    """Rows of one class before and after (0 where the version does not have the class)."""

    label: str
    before: int
    after: int


class Compared(msgspec.Struct, frozen=True):
    """What changed. ``revised`` counts rows with the same id and other values (None: rows have no id)."""

    added: int
    removed: int
    relabelled: int
    revised: int | None
    transitions: tuple[Relabelled, ...]
    columns_added: tuple[str, ...]
    columns_removed: tuple[str, ...]
    classes: tuple[ClassChange, ...]
    same: bool


class DiffView(msgspec.Struct, frozen=True):
    """The comparison, or None where there is nothing to compare with; ``others`` are the versions to choose from."""

    version: str
    before: Side | None
    after: Side | None
    compared: Compared | None
    others: tuple[Side, ...]


def diff_view(visit: Visit, params: DiffParams) -> DiffView:
    """Two versions side by side. Raises ``NotFound``."""
    from andon.data.dataset import find, listing

    workspace = visit.project.workspace
    chosen = find(workspace, params.version)
    known = listing(workspace)
    others = tuple(_side(one) for one in reversed(known) if one.version != chosen.version)
    other = find(workspace, params.to) if params.to else _neighbour(known, chosen)
    if other is None:
        return DiffView(chosen.version, None, None, None, others)
    if other.version == chosen.version:
        raise NotFound(f"{params.to!r} is {chosen.version} itself; name another version to compare it with")
    order = {one.version: place for place, one in enumerate(known)}
    before, after = sorted((chosen, other), key=lambda one: order[one.version])
    return DiffView(chosen.version, _side(before), _side(after), _compared(workspace, before, after), others)


def _side(dataset: Dataset) -> Side:
    return Side(dataset.version, dataset.name, dataset.rows, dataset.created_us)


def _neighbour(known: list[Dataset], chosen: Dataset) -> Dataset | None:
    """The parent, else the newest child."""
    parent = next((one for one in known if one.version == chosen.parent), None)
    return parent or next((one for one in reversed(known) if one.parent == chosen.version), None)


def _compared(workspace: Workspace, before: Dataset, after: Dataset) -> Compared:
    from andon.data.difference import diff

    found = diff(workspace, before.version, after.version)
    labels = dict.fromkeys([*before.labels, *after.labels])
    return Compared(
        added=found.added,
        removed=found.removed,
        relabelled=found.relabelled,
        revised=found.revised,
        transitions=tuple(Relabelled(*row) for row in found.transitions.head(100).iter_rows()),
        columns_added=tuple(found.columns.get("added", ())),
        columns_removed=tuple(found.columns.get("removed", ())),
        classes=tuple(ClassChange(label, before.labels.get(label, 0), after.labels.get(label, 0)) for label in labels),
        same=found.same,
    )
