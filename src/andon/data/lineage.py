"""Where rows came from, what was done to them, and what became of any one of them.

``history`` follows a dataset back to its sources; ``trace`` follows one row of a source through every step to where it
is now, or to the sentence with which it was left out.
"""

from __future__ import annotations

from typing import Any

import msgspec
import polars as pl

from andon.data.dataset import Dataset, find, load, rejects
from andon.data.division import division, part_of
from andon.errors import NotFound
from andon.store.workspace import Workspace

__all__ = ["Hop", "Trace", "history", "lineage", "origins", "reasons", "trace"]


class Trace(msgspec.Struct, frozen=True):
    """One row of the source: kept as row ``now`` (from 1) with these values and part, or left out for ``reason``."""

    row: int
    now: int | None
    reason: str | None = None
    part: str | None = None
    values: dict[str, Any] | None = None


def history(workspace: Workspace, ref: str) -> list[Dataset]:
    """The dataset and its parents, newest first."""
    found = [find(workspace, ref)]
    seen = {found[0].version}
    while (parent := found[-1].parent) is not None and parent not in seen:
        seen.add(parent)
        found.append(find(workspace, parent))
    return found


def lineage(workspace: Workspace, ref: str) -> dict[str, Any]:
    """Source, steps, parents and split of a dataset as one JSON document; what ``andon data lineage --json`` prints."""
    datasets = history(workspace, ref)
    split = division(workspace, datasets[0].version)
    return {
        "version": datasets[0].version,
        "content": datasets[0].content,
        "name": datasets[0].name,
        "origin": datasets[0].origin,
        "steps": datasets[0].steps,
        "rejected": {"rows": datasets[0].rejected, "reasons": reasons(workspace, datasets[0])},
        "split": split.to_json() if split else None,
        "history": [
            {"version": d.version, "rows": d.rows, "created_us": d.created_us, "actor": d.actor, "note": d.note}
            for d in datasets
        ],
    }


def trace(workspace: Workspace, ref: str, row: int) -> Trace:
    """What became of row number ``row`` (from 1) of a dataset's source; raises ``NotFound`` when it has no such row.

    Rows keep their order from the source on, so a row's place is its number less the rows left out before it. For a
    cleaned dataset the source is its parent.
    """
    dataset = find(workspace, ref)
    out = rejects(workspace, dataset.version).drop_nulls("row")
    total = dataset.steps[-1].rows_in if _cleaned(dataset) else _total(dataset)
    if not 1 <= row <= total:
        raise NotFound(f"row {row}: the source of {dataset.name} has the rows 1 to {total}")
    if total - out["row"].n_unique() != dataset.rows:
        raise NotFound(
            f"row {row}: clean did not give the column _row back, so single rows cannot be followed through it"
        )
    said = out.filter(pl.col("row") == row)["reason"].to_list()
    if said:
        return Trace(row, None, "; ".join(said))
    now = row - out.filter(pl.col("row") < row)["row"].n_unique()
    values = load(workspace, dataset.version, images=False).row(now - 1, named=True)
    part = part_of(workspace, dataset.version)[now - 1] if division(workspace, dataset.version) else None
    return Trace(row, now, None, part, values)


def _total(dataset: Dataset) -> int:
    return dataset.steps[0].rows_in if dataset.steps else dataset.rows


def reasons(workspace: Workspace, dataset: Dataset, limit: int = 20) -> list[dict[str, Any]]:
    """Why rows were left out: the commonest reasons, places in the file taken out, with how many rows each has."""
    plain = rejects(workspace, dataset.version)["reason"].str.replace(r"^line \d+: ", "")
    return [{"reason": reason, "n": n} for reason, n in plain.value_counts(sort=True).head(limit).iter_rows()]


class Hop(msgspec.Struct, frozen=True):
    """A row in one version and where it came from: row ``source_row`` (from 1) of ``source``.

    ``parent`` is the version it came from where this one was made from another; ``why`` says why the row's number
    there is not known.
    """

    version: str
    row: int
    source: str
    source_row: int | None
    parent: str | None = None
    why: str = ""


def origins(workspace: Workspace, ref: str, row: int) -> list[Hop]:
    """Where row ``row`` (from 1) of a dataset came from, through every version it was made from, to the source.

    Raises ``NotFound`` when the dataset has no such row.
    """
    dataset = find(workspace, ref)
    if not 1 <= row <= dataset.rows:
        raise NotFound(f"row {row}: {dataset.name} {dataset.version} has the rows 1 to {dataset.rows}")
    hops: list[Hop] = []
    place: int | None = row
    while place is not None:
        made_from = dataset.parent if _cleaned(dataset) else None
        source = find(workspace, made_from).name if made_from else dataset.origin.path
        before = _row_before(workspace, dataset, place)
        why = "" if before is not None else "clean did not give the column _row back"
        hops.append(Hop(dataset.version, place, source, before, made_from, why))
        if made_from is None:
            break
        dataset, place = find(workspace, made_from), before
    return hops


def _cleaned(dataset: Dataset) -> bool:
    return bool(dataset.steps) and dataset.steps[-1].name == "clean"


def _row_before(workspace: Workspace, dataset: Dataset, row: int) -> int | None:
    """The number in the source of the row that is at this place now: the rows left out before it are added again."""
    out = rejects(workspace, dataset.version)["row"].drop_nulls().unique().sort()
    total = dataset.steps[-1].rows_in if _cleaned(dataset) else _total(dataset)
    if total - out.len() != dataset.rows:
        return None
    kept_before = out - pl.int_range(out.len(), eager=True)  # one more than the rows kept before each that was left out
    return row + int((kept_before <= row).sum())
