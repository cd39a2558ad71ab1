"""Who uses which dataset: the runs that learnt from it, the releases of those, and whether one of them answers now."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Literal

import msgspec

from andon.surface.station import Known
from andon.surface.view.deploy_change import place_of

if TYPE_CHECKING:
    from andon.core.record import Route
    from andon.data.dataset import Dataset
    from andon.data.division import Division
    from andon.deploy.release import Release
    from andon.model.run import Run
    from andon.store.workspace import Workspace

__all__ = [
    "DatasetRow",
    "PartSize",
    "ReleaseUse",
    "RunUse",
    "Standing",
    "Uses",
    "dataset_row",
    "read_uses",
    "source_name",
]

Standing = Literal["live", "candidate", "shadow", "warm", "idle"]


class PartSize(msgspec.Struct, frozen=True):
    """One part of a split: how many rows, which share of all."""

    name: str
    rows: int
    share: float


class RunUse(msgspec.Struct, frozen=True):
    """A run on this dataset and how it ended: done or failed."""

    id: str
    status: str


class ReleaseUse(msgspec.Struct, frozen=True):
    """A release whose model learnt from this dataset, and what it does now."""

    version: str
    standing: Standing


class DatasetRow(msgspec.Struct, frozen=True):
    """One version in short. ``newest`` says that its name points to it; ``parts`` are those of its latest split.

    ``source`` is the last part of the path it was read from, ``source_path`` the whole, as it was given.
    """

    version: str
    name: str
    newest: bool
    rows: int
    rejected: int
    labels: dict[str, int]
    parts: tuple[PartSize, ...]
    created_us: int
    actor: str
    note: str
    parent: str | None
    steps: tuple[str, ...]
    source: str
    source_path: str
    runs: tuple[RunUse, ...]
    releases: tuple[ReleaseUse, ...]


@dataclass(frozen=True)
class Uses:
    """Everything that is recorded of datasets and what became of them, read once; oldest first."""

    datasets: tuple[Dataset, ...]
    divisions: dict[str, Division]
    runs: tuple[Run, ...]
    releases: tuple[Release, ...]
    route: Route | None
    heads: frozenset[str]

    def standing(self, release: str) -> Standing:
        """What a release does under the route in force."""
        return place_of(release, self.route) or "idle"


def read_uses(workspace: Workspace, known: Known) -> Uses | None:
    """Read it all; None where the database is gone (``known`` says why)."""
    from andon.data.dataset import listing
    from andon.deploy.release import releases
    from andon.model.run import runs

    datasets = known.ask(lambda: listing(workspace))
    if datasets is None:
        return None
    return Uses(
        datasets=tuple(datasets),
        divisions=known.ask(lambda: _divisions(workspace, datasets)) or {},
        runs=tuple(known.ask(lambda: runs(workspace)) or ()),
        releases=tuple(known.ask(lambda: releases(workspace)) or ()),
        route=workspace.routes.current(),
        heads=known.ask(lambda: _heads(workspace, datasets)) or frozenset(),
    )


def dataset_row(uses: Uses, dataset: Dataset) -> DatasetRow:
    """One version with who uses it."""
    division = uses.divisions.get(dataset.version)
    parts = division.parts.items() if division is not None else ()
    return DatasetRow(
        version=dataset.version,
        name=dataset.name,
        newest=dataset.version in uses.heads,
        rows=dataset.rows,
        rejected=dataset.rejected,
        labels=dataset.labels,
        parts=tuple(PartSize(name, part["n"], part["share"]) for name, part in parts),
        created_us=dataset.created_us,
        actor=dataset.actor,
        note=dataset.note,
        parent=dataset.parent,
        steps=tuple(step.name for step in dataset.steps),
        source=source_name(dataset),
        source_path=dataset.origin.path,
        runs=tuple(RunUse(run.id, run.status) for run in uses.runs if run.dataset == dataset.version),
        releases=tuple(
            ReleaseUse(one.version, uses.standing(one.version))
            for one in uses.releases
            if one.dataset == dataset.version
        ),
    )


def source_name(dataset: Dataset) -> str:
    """The source in a word or two: a file's own name, without the folders it was in."""
    if dataset.origin.format == "frame":
        return "in memory"
    return PurePath(dataset.origin.path).name or dataset.origin.path


def _divisions(workspace: Workspace, datasets: list[Dataset]) -> dict[str, Division]:
    from andon.data.division import division

    found = {dataset.version: division(workspace, dataset.version) for dataset in datasets}
    return {version: one for version, one in found.items() if one is not None}


def _heads(workspace: Workspace, datasets: list[Dataset]) -> frozenset[str]:
    from andon.data.dataset import find

    return frozenset(find(workspace, name).version for name in {dataset.name for dataset in datasets})
