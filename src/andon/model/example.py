"""The rows behind a figure: what a run was asked, what is true, what it said and how sure it was.

The answers are those that were stored when the run was measured, so nothing is computed anew; which row of the dataset
each one is comes from the split that the run was given, also where the dataset was split again since.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import polars as pl

from andon.core.registry import did_you_mean
from andon.data.column import plain
from andon.data.dataset import find, load
from andon.data.division import Division, parts_of
from andon.errors import Corrupt, NotFound
from andon.measure.slice import Slice
from andon.model.run import Run, predictions

if TYPE_CHECKING:
    from andon.store.workspace import Workspace

__all__ = ["ANSWERED", "PAGE", "Example", "Found", "Show", "Wanted", "examples", "places"]

#: Rows of one page.
PAGE = 50

#: What a run adds to a row; everything else is an input or meta-data.
ANSWERED = ("label", "prediction", "confidence", "scores")

Show = Literal["all", "wrong", "right", "silent", "unlabelled"]


class Example(msgspec.Struct, frozen=True):
    """One held-out row: its place in the dataset (from 1), the truth, the answer (None: no answer), how sure it was.

    ``right`` is None where the truth is not known. ``scores`` are by class, ``values`` by column, images as hashes.
    """

    row: int
    label: str | None
    prediction: str | None
    confidence: float | None
    right: bool | None
    scores: dict[str, float]
    values: dict[str, Any]


@dataclass(frozen=True)
class Wanted:
    """Which rows: empty means all. ``silent`` are those without an answer, ``unlabelled`` those without a truth."""

    slice: Slice | None = None
    label: str = ""
    prediction: str = ""
    show: Show = "all"


@dataclass(frozen=True)
class Found:
    """A page of examples, the columns of their values (inputs first), how many rows fit, and how many pages that is."""

    examples: tuple[Example, ...]
    columns: tuple[str, ...]
    images: frozenset[str]
    total: int
    page: int
    pages: int


def examples(workspace: Workspace, run: Run, wanted: Wanted, page: int = 1) -> Found:
    """A page of a run's held-out rows: wrong answers first, the surest at the top, then no answers, then right ones.

    A page beyond the last one is the last. Raises ``NotFound`` for a failed run or an unknown class, ``UsageError``
    where the slice reads a column that these rows do not have, ``Corrupt`` when the split is not that of the answers.
    """
    records = predictions(workspace, run)
    dataset = find(workspace, run.dataset)
    for name in filter(None, (wanted.label, wanted.prediction)):
        if name not in dataset.contract.classes:
            raise NotFound(f"{run.id} knows no class {name!r}; {did_you_mean(name, dataset.contract.classes)}")
    chosen = _ordered(records, _mask(records, wanted))
    pages = max(1, -(-chosen.len() // PAGE))
    page = min(max(page, 1), pages)
    shown = chosen.slice((page - 1) * PAGE, PAGE)
    rows = places(workspace, run, records.height)[shown]
    images = frozenset(field.name for field in dataset.contract.fields if field.kind == "image")
    table = records[shown]
    if images:
        pictures = load(workspace, run.dataset, images=False)[rows].select(sorted(images))
        table = table.with_columns(pictures)
    columns = _columns(dataset.contract.names, table)
    made = tuple(
        _example(row + 1, values, columns, dataset.contract.classes)
        for row, values in zip(rows, table.iter_rows(named=True), strict=True)
    )
    return Found(made, columns, images, chosen.len(), page, pages)


def places(workspace: Workspace, run: Run, rows: int) -> pl.Series:
    """Where in the dataset (from 0) the ``rows`` stored answers of a run's part belong, in their order."""
    split = workspace.records.get("split", run.split, Division)
    found = (parts_of(workspace, split) == run.part).arg_true()
    if found.len() != rows:
        raise Corrupt(
            f"run {run.id} answered {rows} rows of part {run.part!r}, but its split {run.split} has {found.len()} there"
        )
    return found


def _columns(inputs: tuple[str, ...], table: pl.DataFrame) -> tuple[str, ...]:
    rest = [name for name in table.columns if name not in inputs and name not in ANSWERED]
    return (*(name for name in inputs if name in table.columns), *rest)


def _mask(records: pl.DataFrame, wanted: Wanted) -> pl.Series:
    keep = pl.repeat(True, records.height, eager=True)
    if wanted.slice is not None:
        keep &= wanted.slice.mask(records).fill_null(False)
    for column, name in (("label", wanted.label), ("prediction", wanted.prediction)):
        if name:
            keep &= (records[column] == name).fill_null(False)
    known, right = records["label"].is_not_null(), _right(records)
    if wanted.show == "wrong":
        keep &= known & ~right
    elif wanted.show == "right":
        keep &= right
    elif wanted.show == "silent":
        keep &= records["prediction"].is_null()
    elif wanted.show == "unlabelled":
        keep &= ~known
    return keep


def _right(records: pl.DataFrame) -> pl.Series:
    return (records["prediction"] == records["label"]).fill_null(False)


def _ordered(records: pl.DataFrame, keep: pl.Series) -> pl.Series:
    """The places (in the answers) of the rows to show, most worth looking at first; equal ones in their order."""
    kind = (
        pl.when(pl.col("prediction").is_null())
        .then(1)
        .when(pl.col("label").is_null())
        .then(3)
        .when(pl.col("prediction") == pl.col("label"))
        .then(2)
        .otherwise(0)
    )
    frame = records.select(kind.alias("kind"), (-pl.col("confidence")).alias("sure"), at=pl.int_range(pl.len()))
    return frame.filter(keep).sort("kind", "sure", "at", nulls_last=True)["at"]


def _example(row: int, values: dict[str, Any], columns: tuple[str, ...], classes: tuple[str, ...]) -> Example:
    label, prediction = values["label"], values["prediction"]
    scores = values.get("scores")
    return Example(
        row=row,
        label=label,
        prediction=prediction,
        confidence=values["confidence"],
        right=None if label is None else prediction == label,
        scores={} if scores is None else dict(zip(classes, map(float, scores), strict=False)),
        values={name: plain(values[name]) for name in columns},
    )
