"""The rows on which two runs can be compared: held out by the second, and not learnt from by the first.

Runs on one dataset and split answered the very same rows, and what they answered is stored. Else the first run's sealed
model is asked about the rows that the second held out, less those that the first may have learnt from. A row is known by
its ``id`` or, without ids, by all it has but the label.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import polars as pl

from andon.core.reach import HERE, Reach
from andon.data.content import unstowed
from andon.data.dataset import find, load
from andon.data.division import Division, parts_of
from andon.errors import Corrupt, Denied, NotFound, Unavailable, UsageError, UserCodeError
from andon.model.example import places
from andon.model.run import Run, predictions, served
from andon.model.training import Enrich, record_frame

if TYPE_CHECKING:
    from andon.data.dataset import Dataset
    from andon.model.bundle import Served
    from andon.store.workspace import Workspace

__all__ = ["MOST", "MOST_IMAGES", "How", "Shared", "shared"]

#: Rows that a model is asked about at most, so that an answer comes while somebody waits.
MOST, MOST_IMAGES = 10_000, 500

How = Literal["stored", "asked", "none"]


@dataclass(frozen=True)
class Shared:
    """Two tables of answers for the same rows, in one order, with the labels of the second's data.

    ``how``: both are ``stored``, or the first was ``asked`` again; ``none``: there is no such row, and ``note`` says why.
    ``held_out`` rows were the second's, ``learnt`` of them may be known to the first and are left out.
    """

    first: pl.DataFrame
    second: pl.DataFrame
    how: How
    held_out: int
    learnt: int = 0
    note: str = ""


def shared(workspace: Workspace, one: Run, two: Run, enrich: Enrich | None = None, reach: Reach = HERE) -> Shared:
    """The rows and both answers. Raises ``NotFound`` for a failed run; where the first cannot answer, ``note`` says why."""
    second = predictions(workspace, two)
    if (one.dataset, one.split, one.part) == (two.dataset, two.split, two.part):
        return Shared(predictions(workspace, one), second, "stored", second.height)
    if not one.bundle:
        raise NotFound(f"run {one.id} {one.status}, so it has no bundle: {one.error}")
    rows = places(workspace, two, second.height)
    dataset = find(workspace, two.dataset)
    frame = load(workspace, two.dataset, images=False)[rows]
    fresh = ~_learnt(workspace, one, frame, dataset)
    at = fresh.arg_true()
    most = MOST_IMAGES if any(field.kind == "image" for field in dataset.contract.fields) else MOST
    step = max(1, -(-at.len() // most))
    at = at.gather_every(step)
    held, learnt = second.height, second.height - int(fresh.sum())
    if not at.len():
        note = f"{one.id} may have learnt from every row that {two.id} held out" if held else "no row was held out"
        return Shared(second.clear(), second.clear(), "none", held, learnt, note)
    try:
        model = served(workspace, one, reach)
        first = _asked(one, model, unstowed(frame[at], dataset.contract, workspace.blobs.get), dataset, enrich)
    except (NotFound, UsageError, UserCodeError, Corrupt, Denied, Unavailable) as error:
        return Shared(second.clear(), second.clear(), "none", held, learnt, error.message)
    note = f"one row in {step} was asked, so that this page does not take long" if step > 1 else ""
    return Shared(first, second[at], "asked", held, learnt, note)


def _learnt(workspace: Workspace, run: Run, frame: pl.DataFrame, dataset: Dataset) -> pl.Series:
    """Which of these rows are in a part of the run's data that it did not hold out."""
    known = load(workspace, run.dataset, images=False)
    split = workspace.records.get("split", run.split, Division)
    known = known.filter(parts_of(workspace, split) != run.part)
    target = {dataset.contract.target, find(workspace, run.dataset).contract.target}
    keys = [name for name in frame.columns if known.schema.get(name) == frame.schema[name] and name not in target]
    keys = ["id"] if "id" in keys else keys
    if not keys:
        return pl.repeat(False, frame.height, eager=True)
    at = pl.int_range(pl.len()).alias("\0at")
    met = frame.select(*keys).with_columns(at).join(known, on=keys, how="semi", nulls_equal=True)["\0at"]
    return pl.int_range(frame.height, eager=True).is_in(met.implode())


def _asked(run: Run, model: Served, frame: pl.DataFrame, dataset: Dataset, enrich: Enrich | None) -> pl.DataFrame:
    """What the run's sealed model says of these rows."""
    missing = sorted({field.name for field in model.fields} - set(frame.columns))
    if missing:
        raise UsageError(f"{run.id} needs the input {missing[0]!r}, which the data of the other do not have")
    if model.contract.target not in frame.columns:
        frame = frame.rename({dataset.contract.target: model.contract.target})
    return record_frame(model, frame, model.contract, enrich)
