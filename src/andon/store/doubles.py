"""Cases that two people looked at, from the log's reviews: who said what, and what a third one said where they differed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from andon.core.clock import DAY
from andon.store.shape import day_of
from andon.store.view import Seen

if TYPE_CHECKING:
    from andon.store.workspace import Workspace

__all__ = ["doubles"]

_BEFORE_US = 30 * DAY
"""How long before the second look the case may have been asked and answered."""


def doubles(workspace: Workspace, since_us: int, *, model: bool = True) -> pl.DataFrame:
    """Cases that a second person has looked at since then, one row for each, in the order of time.

    ``id``, ``time_us`` (of the second look), ``first``, ``said``, ``saw_suggestion`` of whoever answered first; ``second``,
    ``second_said``, ``second_saw``; ``third`` and ``adjudicated`` (null where there is none); ``model``, what the line's
    release said (left out, and the decisions not read, with ``model`` False); ``simulated`` where one of them is a program.
    """
    seen = Seen(workspace, since_us - _BEFORE_US, None)
    came = seen.snapshot.table("reviews").filter(
        pl.col("day") >= day_of(since_us - _BEFORE_US), pl.col("decided_by") == "person"
    )
    came = came.sort("sequence").unique(("id", "kind"), keep="first", maintain_order=True)
    first = came.filter(pl.col("kind").is_in(["decision", "audit"])).select(
        "id", "saw_suggestion", first="reviewer", said="decision", by_program="simulated"
    )
    second = came.filter(pl.col("kind") == "second", pl.col("time_us") >= since_us).select(
        "id", "time_us", "simulated", second="reviewer", second_said="decision", second_saw="saw_suggestion"
    )
    third = came.filter(pl.col("kind") == "adjudication").select("id", third="reviewer", adjudicated="decision")
    rows = second.join(first, on="id", how="inner").join(third, on="id", how="left")
    if model:
        automatic = pl.when(pl.col("decided_by") == "model").then("decision")
        said = seen.raw().select("id", model=pl.coalesce("suggestion", automatic)).unique("id")
        rows = rows.join(said, on="id", how="left")
    rows = rows.with_columns(simulated=pl.col("simulated") | pl.col("by_program")).drop("by_program")
    return rows.sort("time_us", "id").collect()
