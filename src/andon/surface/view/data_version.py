"""One frozen version: contract, columns with their spread, parts with their balance, steps, labels, lineage."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from msgspec import Meta

from andon.data.column import Column
from andon.surface.station import Known
from andon.surface.view.data_graph import Graph, draw
from andon.surface.view.data_uses import DatasetRow, Uses, dataset_row, read_uses

if TYPE_CHECKING:
    from andon.config import Project
    from andon.data.dataset import Dataset
    from andon.surface.visit import Visit

__all__ = [
    "LeftOut",
    "Other",
    "PartBalance",
    "SplitView",
    "StepView",
    "VersionParams",
    "VersionView",
    "Wished",
    "version_view",
    "wished",
]

_FAMILY = 4

Ref = Annotated[str, Meta(min_length=1, max_length=100, description="A version, its first 4 digits, or a name")]


class VersionParams(msgspec.Struct, frozen=True):
    """Which version."""

    version: Ref


class PartBalance(msgspec.Struct, frozen=True):
    """One part: rows, share of all, and rows by class."""

    name: str
    rows: int
    share: float
    classes: dict[str, int]


class Wished(msgspec.Struct, frozen=True):
    """How a split was asked for: shares by part, columns balanced beside the label, a column whose rows stay together."""

    parts: dict[str, float]
    by: tuple[str, ...]
    group: str | None
    seed: int


class SplitView(msgspec.Struct, frozen=True):
    """The latest split: its parts and what came out. ``kept`` rows had their part before, ``together`` stay in one part."""

    id: str
    parts: tuple[PartBalance, ...]
    wished: Wished
    message: str
    kept: int
    together: int
    created_us: int
    actor: str


class StepView(msgspec.Struct, frozen=True):
    """One step: rows before and after, hashes before and after, whether a person did it by hand."""

    name: str
    rows_in: int
    rows_out: int
    before: str
    after: str
    note: str
    code: str
    manual: bool


class LeftOut(msgspec.Struct, frozen=True):
    """Why rows were left out, and how many for this reason."""

    reason: str
    rows: int


class Other(msgspec.Struct, frozen=True):
    """Another version that this one can be compared with: its parent, its child, or any."""

    version: str
    name: str
    rows: int
    relation: Literal["parent", "child", "other"]


class VersionView(msgspec.Struct, frozen=True):
    """Everything about one version. ``content`` and ``contract`` are hashes; ``truth`` says where labels come from.

    ``columns`` is empty and ``damaged`` says why where the rows cannot be read.
    """

    dataset: DatasetRow
    content: str
    contract: str
    target: str
    truth: str
    source_format: str
    source_bytes: int
    source_hash: str
    columns: tuple[Column, ...]
    split: SplitView | None
    steps: tuple[StepView, ...]
    left_out: tuple[LeftOut, ...]
    others: tuple[Other, ...]
    graph: Graph
    images: str | None = None
    damaged: str = ""
    trouble: str = ""


def version_view(visit: Visit, params: VersionParams) -> VersionView:
    """One version, by its name or first digits. Raises ``NotFound`` and, with the database gone, ``Unavailable``."""
    from andon.data.content import image_columns
    from andon.data.dataset import find

    project, known = visit.project, Known()
    dataset = find(project.workspace, params.version)
    uses = read_uses(project.workspace, known) or Uses((dataset,), {}, (), (), None, frozenset())
    columns, left_out, damaged = _rows(project, dataset)
    return VersionView(
        dataset=dataset_row(uses, dataset),
        content=dataset.content,
        contract=dataset.contract.hash,
        target=dataset.contract.target,
        truth=project.charter.target.truth,
        source_format=dataset.origin.format,
        source_bytes=dataset.origin.bytes,
        source_hash=dataset.origin.hash,
        columns=columns,
        split=_split(uses, dataset),
        steps=tuple(_step(step) for step in dataset.steps),
        left_out=left_out,
        others=_others(uses, dataset),
        graph=draw(uses, _family(uses, dataset), dataset.version),
        images=next(iter(image_columns(dataset.contract)), None),
        damaged=damaged,
        trouble=known.trouble,
    )


def wished(wish: Any) -> Wished:
    """How a split was asked for, for the page."""
    return Wished(dict(wish.parts), tuple(wish.by), wish.group, wish.seed)


def _rows(project: Project, dataset: Dataset) -> tuple[tuple[Column, ...], tuple[LeftOut, ...], str]:
    """The columns and the reasons; a damaged blob costs these and nothing else of the page."""
    from andon.data.column import columns
    from andon.data.dataset import load
    from andon.data.lineage import reasons
    from andon.errors import Corrupt, NotFound

    try:
        frame = load(project.workspace, dataset.version, images=False)
        out = reasons(project.workspace, dataset)
    except (Corrupt, NotFound) as error:
        return (), (), error.message
    return tuple(columns(frame, dataset.contract)), tuple(LeftOut(row["reason"], row["n"]) for row in out), ""


def _split(uses: Uses, dataset: Dataset) -> SplitView | None:
    found = uses.divisions.get(dataset.version)
    if found is None:
        return None
    parts = tuple(PartBalance(name, part["n"], part["share"], part["classes"]) for name, part in found.parts.items())
    told = (found.message, found.kept, found.together, found.created_us, found.actor)
    return SplitView(found.id, parts, wished(found.wish), *told)


def _step(step: Any) -> StepView:
    hashes = (step.before[:12], step.after[:12])
    return StepView(step.name, step.rows_in, step.rows_out, *hashes, step.note, step.code[:12], step.manual)


def _others(uses: Uses, dataset: Dataset) -> tuple[Other, ...]:
    """What it can be compared with: the parent and the children first, then the rest, newest first."""
    found = [
        Other(one.version, one.name, one.rows, _relation(one, dataset))
        for one in reversed(uses.datasets)
        if one.version != dataset.version
    ]
    return tuple(sorted(found, key=lambda one: ("parent", "child", "other").index(one.relation)))


def _relation(one: Dataset, dataset: Dataset) -> Literal["parent", "child", "other"]:
    if one.version == dataset.parent:
        return "parent"
    return "child" if one.parent == dataset.version else "other"


def _family(uses: Uses, dataset: Dataset) -> list[Dataset]:
    """The nearest ancestors, the version itself, and its newest children, oldest first."""
    by_version = {one.version: one for one in uses.datasets}
    line, parent = [dataset], dataset.parent
    while parent in by_version and len(line) <= _FAMILY and by_version[parent] not in line:
        line.insert(0, by_version[parent])
        parent = line[0].parent
    children = [one for one in uses.datasets if one.parent == dataset.version and one not in line]
    return [*line, *children[-_FAMILY:]]
