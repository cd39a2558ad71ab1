"""Looking through the log a page at a time: what is shown is read whole, everything else only as far as it is asked about.

The newest come first. Times are half-open, ``since_us`` <= time < ``until_us``; a decision's is when it was made, feedback
counts when it happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from andon.store.view import Seen

if TYPE_CHECKING:
    from andon.measure.slice import Slice
    from andon.store.workspace import Workspace

__all__ = ["Wanted", "count", "delays", "feedback_counts", "kth_newest", "latest_feedback", "page"]

_PLACE = ("id", "time_us", "stream", "sequence")
_NEWEST = ("time_us", "stream", "sequence")
_EVENT = ("id", "kind", "value", "time_us", "event")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which decisions: made when, decided ``by`` whom as it now stands, by which ``version``, with ``text`` in the id.

    ``slice`` limits them to the rows of a predicate on the inputs; None and "" leave a condition out.
    """

    since_us: int | None = None
    until_us: int | None = None
    by: str = ""
    version: str = ""
    text: str = ""
    slice: Slice | None = None


def page(workspace: Workspace, wanted: Wanted, offset: int, limit: int) -> tuple[list[dict[str, Any]], int]:
    """The decisions of one page as they now stand, the newest first, and how many there are in all.

    Each row has the columns of a decision with its review, and ``label`` and ``label_us`` of the latest label feedback.
    """
    places, total = _places(workspace, wanted, offset, limit)
    if not places.height:
        return [], total
    ids, times = places["id"], places["time_us"]
    seen = Seen(workspace, int(times.min() or 0), int(times.max() or 0) + 1)  # type: ignore[arg-type]
    mine = pl.col("id").is_in(ids.implode())
    rows = seen.final().filter(mine).collect()
    labels = seen.labels(mine).select("id", "label", "label_us").collect()
    found = places.select(_PLACE).join(rows, on=_PLACE, how="left").join(labels, on="id", how="left")
    return found.to_dicts(), total


def _places(workspace: Workspace, wanted: Wanted, offset: int, limit: int) -> tuple[pl.DataFrame, int]:
    """Where the rows of a page are, read from as few columns as will do."""
    seen = Seen(workspace, wanted.since_us, wanted.until_us)
    rows = seen.final() if wanted.by else seen.raw()
    for column, value in (("decided_by", wanted.by), ("version", wanted.version)):
        if value:
            rows = rows.filter(pl.col(column) == value)
    if wanted.text:
        rows = rows.filter(pl.col("id").str.contains(wanted.text, literal=True))
    if wanted.slice is None:
        newest = rows.select(_PLACE).sort(_NEWEST, descending=True).slice(offset, limit)
        found, number = pl.collect_all([newest, rows.select(pl.len())])
        return found, int(number.item())
    if not wanted.slice.columns.issubset(rows.collect_schema().names()):
        return pl.DataFrame(schema=dict.fromkeys(_PLACE, pl.String)), 0
    narrow = rows.select(list(dict.fromkeys((*_PLACE, *sorted(wanted.slice.columns))))).collect()
    inside = wanted.slice.filter(narrow)
    return inside.sort(_NEWEST, descending=True).slice(offset, limit), inside.height


def count(workspace: Workspace, since_us: int | None = None, until_us: int | None = None) -> int:
    """How many decisions were made in this time."""
    return int(Seen(workspace, since_us, until_us).raw().select(pl.len()).collect().item())


def kth_newest(workspace: Workspace, k: int, until_us: int | None = None) -> int | None:
    """When the ``k``-th newest decision was made; None where there are not so many."""
    times = Seen(workspace, None, until_us).raw().select("time_us")
    found = times.sort("time_us", descending=True).slice(k - 1, 1).collect()
    return int(found.item()) if found.height else None


def feedback_counts(workspace: Workspace, since_us: int, until_us: int, step_us: int) -> pl.DataFrame:
    """``start_us``, ``kind`` and ``n``: how much feedback of each kind happened in each stretch of ``step_us``."""
    came = _feedback(workspace).filter(pl.col("time_us").is_between(since_us, until_us, closed="left"))
    start = (pl.col("time_us") // step_us * step_us).alias("start_us")
    return came.group_by(start, "kind").agg(n=pl.len()).sort("start_us", "kind").collect()


def latest_feedback(workspace: Workspace, limit: int) -> list[dict[str, Any]]:
    """The rows of feedback that came last, the newest first; one that was sent twice is there once."""
    # Nothing is sorted out before the newest are known: a few more are taken for those that are the same.
    newest = (
        Seen(workspace, None, None)
        .snapshot.table("feedback")
        .sort("received_us", "stream", "sequence", descending=True)
    )
    rows = newest.head(4 * limit).unique(_EVENT, keep="first", maintain_order=True).head(limit)
    return rows.select(*_EVENT, "number", "received_us").collect().to_dicts()


def delays(workspace: Workspace, since_us: int, until_us: int, step_us: int) -> pl.DataFrame:
    """``start_us``, ``n``, ``labelled`` and ``delays`` (microseconds): decisions by when they were made, and their labels."""
    seen = Seen(workspace, since_us, until_us)
    rows = seen.raw().select("id", "time_us").join(seen.labels().select("id", "label_us"), on="id", how="left")
    start = (pl.col("time_us") // step_us * step_us).alias("start_us")
    late = (pl.col("label_us") - pl.col("time_us")).alias("delay")
    grouped = rows.with_columns(late).group_by(start)
    return (
        grouped.agg(n=pl.len(), labelled=pl.col("label_us").is_not_null().sum(), delays=pl.col("delay").drop_nulls())
        .sort("start_us")
        .collect()
    )


def _feedback(workspace: Workspace) -> pl.LazyFrame:
    """All feedback, each event once."""
    rows = Seen(workspace, None, None).snapshot.table("feedback")
    return rows.select(*_EVENT).unique(_EVENT, maintain_order=False)
