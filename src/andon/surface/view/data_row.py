"""One row of a version: its values, where it came from, which part it is in and why, and which runs saw it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from andon.data.lineage import Hop
from andon.surface.station import Known
from andon.surface.view.data_examples import roles

if TYPE_CHECKING:
    import polars as pl

    from andon.data.dataset import Dataset
    from andon.data.division import Division
    from andon.model.run import Run
    from andon.store.workspace import Workspace
    from andon.surface.visit import Visit

__all__ = ["Became", "Cell", "RowParams", "RowView", "SeenBy", "row_view"]

_RUNS = 50


class RowParams(msgspec.Struct, frozen=True):
    """Which row of which version, counted from 1."""

    version: Annotated[str, Meta(min_length=1, max_length=100)]
    row: Annotated[int, Meta(ge=1, le=10**12)]


class Cell(msgspec.Struct, frozen=True):
    """One value, whole; ``image`` says that it is the hash of an image."""

    name: str
    role: str
    kind: str
    value: Any
    image: bool = False


class SeenBy(msgspec.Struct, frozen=True):
    """What one run did with this row: ``how`` in words. ``prediction`` is its answer where the row was held out."""

    run: str
    release: str | None
    part: str
    how: str
    prediction: str | None = None
    confidence: float | None = None
    right: bool | None = None


class Became(msgspec.Struct, frozen=True):
    """What became of this row in a version made from this one: its row there, or why it was left out."""

    version: str
    name: str
    row: int | None
    reason: str | None


class RowView(msgspec.Struct, frozen=True):
    """One row. ``hops`` lead back to the source; ``alike`` counts other rows with the same inputs, by part.

    ``why`` are the sentences that say which part it is in, and why.
    """

    version: str
    name: str
    row: int
    rows: int
    label: str
    part: str | None
    cells: tuple[Cell, ...]
    hops: tuple[Hop, ...]
    file: str | None
    why: tuple[str, ...]
    alike: dict[str, int]
    runs: tuple[SeenBy, ...]
    runs_left_out: int
    became: tuple[Became, ...]
    trouble: str = ""


def row_view(visit: Visit, params: RowParams) -> RowView:
    """One row. Raises ``NotFound``."""
    from andon.data.browse import alike
    from andon.data.column import plain
    from andon.data.dataset import find, load
    from andon.data.division import division, part_of
    from andon.data.lineage import origins

    workspace, known = visit.project.workspace, Known()
    dataset = find(workspace, params.version)
    hops = tuple(origins(workspace, dataset.version, params.row))
    frame = load(workspace, dataset.version, images=False)
    values = frame.row(params.row - 1, named=True)
    split = division(workspace, dataset.version)
    parts = part_of(workspace, dataset.version) if split is not None else None
    part = parts[params.row - 1] if parts is not None else None
    seen, left_out = _seen(workspace, dataset, params.row, known)
    return RowView(
        version=dataset.version,
        name=dataset.name,
        row=params.row,
        rows=dataset.rows,
        label=str(values[dataset.contract.target]),
        part=part,
        cells=tuple(
            Cell(one.name, one.role, one.kind, plain(values[one.name]), one.kind == "image") for one in roles(dataset)
        ),
        hops=hops,
        file=values.get("file") if isinstance(values.get("file"), str) else None,
        why=tuple(_why(workspace, dataset, split, frame[params.row - 1], part)),
        alike=alike(frame, dataset.contract.names, parts, params.row),
        runs=seen,
        runs_left_out=left_out,
        became=_became(workspace, dataset, params.row),
        trouble=known.trouble,
    )


def _why(
    workspace: Workspace, dataset: Dataset, split: Division | None, row: pl.DataFrame, part: str | None
) -> list[str]:
    """Why the row is in this part: how the split was asked for, and whether the row was there before."""
    from andon.data.division import kept_from

    if split is None or part is None:
        return [
            f"It is in no part: {dataset.name} {dataset.version} was never split. `andon data split {dataset.version}` does it."
        ]
    wish = split.wish
    shares = " / ".join(f"{name} {share:.4g}" for name, share in wish.parts.items())
    balanced = " and ".join([dataset.contract.target, *wish.by])
    told = [f"The split {split.id} asked for the shares {shares}, balanced by {balanced}, with seed {wish.seed}."]
    if wish.group is not None and wish.group in row.columns:
        told.append(f"Rows with the same {wish.group} stay together.")
    kept = kept_from(workspace, split, row, part)
    if kept is not None:
        known = {"id": "its id", "values": "all its values but the label", "inputs": "its inputs"}[kept.by]
        told.append(f"It kept the part that it had in version {kept.version}; it was known by {known}.")
    elif split.previous is not None:
        told.append("It was in no earlier split with this part, so it was dealt to make up the shares.")
    else:
        told.append("This is the first split of these rows, so it was dealt to make up the shares.")
    return told


def _seen(workspace: Workspace, dataset: Dataset, row: int, known: Known) -> tuple[tuple[SeenBy, ...], int]:
    """What the newest runs on this version did with the row, newest first, and how many older ones there are."""
    from andon.deploy.release import releases
    from andon.model.run import runs

    mine = [run for run in known.ask(lambda: runs(workspace)) or () if run.dataset == dataset.version][::-1]
    names = {one.run: one.version for one in known.ask(lambda: releases(workspace)) or ()}
    parts: dict[str, pl.Series | None] = {}
    found = []
    for run in mine[:_RUNS]:
        if run.split not in parts:
            parts[run.split] = known.ask(lambda split=run.split: _parts(workspace, split))  # type: ignore[misc]
        found.append(_seen_by(workspace, run, parts[run.split], row, names.get(run.id), known))
    return tuple(found), max(0, len(mine) - _RUNS)


def _parts(workspace: Workspace, split: str) -> pl.Series:
    from andon.data.division import Division, parts_of

    return parts_of(workspace, workspace.records.get("split", split, Division))


def _seen_by(
    workspace: Workspace, run: Run, parts: pl.Series | None, row: int, release: str | None, known: Known
) -> SeenBy:
    if parts is None:
        return SeenBy(run.id, release, "", f"not known: {known.why}")
    part = str(parts[row - 1])
    if run.status != "done":
        return SeenBy(run.id, release, part, f"the run {run.status}, so nothing was learnt")
    if part == "train":
        return SeenBy(run.id, release, part, "learnt from it")
    how = "was judged on it" if part == run.part else "saw it held out"
    if part == "dev":
        how = "was given it to stop or choose by; never fitted to it" if part != run.part else how
    place = int((parts.head(row - 1) == part).sum())
    said = known.ask(lambda: _said(workspace, run, part, place))
    if said is None:
        return SeenBy(run.id, release, part, how)
    prediction, confidence, label = said
    right = None if prediction is None else prediction == label
    return SeenBy(run.id, release, part, how, prediction, confidence, right)


def _said(workspace: Workspace, run: Run, part: str, place: int) -> tuple[str | None, float | None, str | None] | None:
    """What a run answered for the row at a place (from 0) of a part; None where its records do not go so far."""
    from andon.model.run import predictions

    frame = predictions(workspace, run, part)
    if place >= frame.height:
        return None
    row = frame.row(place, named=True)
    return row["prediction"], row.get("confidence"), row["label"]


def _became(workspace: Workspace, dataset: Dataset, row: int) -> tuple[Became, ...]:
    """What became of the row in the versions that ``clean`` made from this one."""
    from andon.data.dataset import listing
    from andon.data.lineage import trace
    from andon.errors import NotFound

    found = []
    for child in listing(workspace):
        if child.parent != dataset.version or not child.steps or child.steps[-1].name != "clean":
            continue
        try:
            told = trace(workspace, child.version, row)
        except NotFound as error:
            found.append(Became(child.version, child.name, None, error.message))
        else:
            found.append(Became(child.version, child.name, told.now, told.reason))
    return tuple(found)
