"""What the data were like that a model was trained on: sealed into its bundle, and what live windows are held against.

``windows`` holds, for every metric of the charter that can be measured on these data, its estimate in one window after
the other: how much it moves when nothing is wrong. ``inputs`` holds a grid of every number and the counts of every
category. Nothing in it is a row: no value of a single text or image is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import msgspec
import polars as pl

from andon.core.record import Field
from andon.measure.estimate import Estimate
from andon.measure.grid import from_reference
from andon.measure.sketch import Categories
from andon.measure.summary import summary_to_dict
from andon.model.columns import NUMERIC
from andon.model.evaluate import Measure

__all__ = ["Profile", "profile", "windows"]

#: Windows of a profile without times: as many as give each about this many rows, within these limits.
ROWS_PER_WINDOW = 200
FEWEST, MOST = 5, 60
#: A window of a profile with times that holds fewer rows than this says nothing about its neighbours.
LEAST_ROWS = 5
#: Categories whose counts are kept; rarer ones count as unseen.
CATEGORIES_MAX = 200


class Profile(msgspec.Struct, frozen=True, omit_defaults=True):
    """The reference profile. ``window_us`` is 0 when the data have no times and windows are runs of rows instead.

    ``inputs`` are ``Grid`` and ``Categories`` summaries as dicts (``andon.measure.summary.summary_from_dict``).
    """

    rows: int = 0
    window_us: int = 0
    windows: dict[str, tuple[Estimate, ...]] = {}
    inputs: dict[str, dict[str, Any]] = {}


def profile(
    frame: pl.DataFrame, held_out: pl.DataFrame, fields: Sequence[Field], measures: Sequence[Measure], window_us: int
) -> Profile:
    """The profile of ``frame`` (all that was learnt from, with inputs) and ``held_out`` (with answers of the model).

    Metrics of inputs are taken from ``frame``; those that need an answer or a label from ``held_out``, because a model
    looks better than it is on what it has learnt.
    """
    found: dict[str, tuple[Estimate, ...]] = {}
    for one in measures:
        table = held_out if one.missing(frame.columns) else frame
        if not one.missing(table.columns):
            found[one.name] = tuple(one.of(part) for part in windows(table, window_us))
    timed = "time_us" in frame.columns
    return Profile(frame.height, window_us if timed else 0, found, _inputs(frame, fields))


def windows(frame: pl.DataFrame, window_us: int) -> list[pl.DataFrame]:
    """The frame cut by its ``time_us`` into windows as live ones are, or, without times, into runs of rows.

    >>> frame = pl.DataFrame({"n": range(1000)})
    >>> [part.height for part in windows(frame, 60)]
    [200, 200, 200, 200, 200]
    """
    if "time_us" in frame.columns:
        timed = frame.filter(pl.col("time_us").is_not_null()).sort("time_us")
        cut = timed.with_columns((pl.col("time_us").cast(pl.Int64) // window_us).alias("_window"))
        parts = cut.partition_by("_window", maintain_order=True, include_key=False)
        return [part for part in parts if part.height >= LEAST_ROWS]
    count = max(min(frame.height // ROWS_PER_WINDOW, MOST), min(FEWEST, frame.height))
    edges = [frame.height * i // count for i in range(count + 1)] if count else []
    return [frame.slice(low, high - low) for low, high in pairwise(edges)]


def _inputs(frame: pl.DataFrame, fields: Sequence[Field]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for field in fields:
        if field.kind in NUMERIC:
            found[field.name] = summary_to_dict(from_reference(frame[field.name].cast(pl.Float64).to_numpy()))
        elif field.kind == "category":
            column = frame[field.name]
            common = column.drop_nulls().value_counts(sort=True).head(CATEGORIES_MAX)[field.name].to_list()
            found[field.name] = summary_to_dict(Categories.of(column, common))
    return found
