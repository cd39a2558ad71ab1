"""The cases of the log as a rollout looks at them: which arm, with which probability, how each went and since when.

Expressions and frames; what they add up to is in ``andon.monitor.rails``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

from andon.measure.event import Event
from andon.measure.figure import Figure
from andon.measure.slice import parse_slice
from andon.store.view import Seen

if TYPE_CHECKING:
    from andon.scope.charter import Charter

__all__ = ["KEPT", "Look", "beyond", "column", "key", "limited", "measurable", "reached", "shape"]

#: What a guardrail looks at of a case.
Look = Event | Figure
#: The columns that are kept of a case of which it is known how it went.
KEPT = ("time_us", "stream", "sequence", "epoch", "mine", "rho", "key")


def column(name: str, look: Look, alone: str) -> pl.Expr:
    """How a case went: ``bad:<name>`` where events are compared, else ``value:<name>``; null where it does not count (yet).

    Of a version that is held against its goals ``alone`` its own cases count.
    """
    if isinstance(look, Event) and not alone:
        return look.bad.alias(f"bad:{name}")
    value = look.value if isinstance(look, Figure) else look.bad.cast(pl.Float64)
    if alone:
        among = pl.lit(True) if isinstance(look, Figure) or look.among is None else look.among.fill_null(False)
        value = pl.when((pl.col("version") == alone) & among).then(value)
    return value.alias(f"value:{name}")


def measurable(
    seen: Seen,
    looks: Mapping[str, Look],
    charter: Charter,
    which: pl.Expr | None = None,
    alone: str = "",
) -> pl.LazyFrame:
    """Decided cases with the ``column`` of each look (null: not known), and since when it is (``known_us``).

    ``alone`` names a version that is held against goals by itself, with all that it answers.
    """
    said = seen.later("feedback")
    labels = said.filter(pl.col("kind") == "label").sort("time_us", "received_us", "stream", "sequence")
    labels = labels.unique("id", keep="last", maintain_order=True)
    came = labels.select("id", label="value", label_known="received_us")
    rows = seen.final().filter(pl.col("status") != "pending", *([] if which is None else [which]))
    rows = rows.with_columns(prediction="decision").join(came, on="id", how="left")
    rows = rows.join(seen.audits(), on="id", how="left")
    if any(isinstance(one, Event) and one.kind for one in looks.values()):
        first = pl.col("received_us").min().alias("feedback_known")
        rows = rows.join(said.group_by("id").agg(first, feedback=pl.col("kind").unique().sort()), on="id", how="left")
    else:
        rows = rows.with_columns(feedback_known=pl.lit(None, dtype=pl.Int64))
    rows = _with_truth(rows, charter.target.truth)
    known = pl.max_horizontal("time_us", "label_known", "decided_us", "feedback_known")
    flags = [limited(column(name, one, alone), charter.metrics[name].where, seen) for name, one in looks.items()]
    return rows.select(*shape(alone), known.alias("known_us"), *flags)


def key() -> pl.Expr:
    """A unit, or the request where none was given."""
    return pl.when(pl.col("unit") == "").then("id").otherwise("unit").hash()


def shape(alone: str = "") -> list[pl.Expr]:
    """What is kept of a case; ``mine`` are the candidate's, or all that the version ``alone`` answers."""
    mine = (pl.col("version") == alone).fill_null(False) if alone else pl.col("arm") == "candidate"
    rho = pl.when(mine).then("probability").otherwise(1 - pl.col("probability")).round(12)
    deferred = (pl.col("status") == "pending") | pl.col("decided_by").is_in(["person", "nobody"])
    plain = [pl.col(name) for name in ("time_us", "stream", "sequence", "epoch")]
    return [*plain, mine.alias("mine"), rho.alias("rho"), key().alias("key"), deferred.alias("deferred")]


def limited(bad: pl.Expr, where: str | None, seen: Seen) -> pl.Expr:
    """A column of cases that counts only where the metric's condition holds: nowhere, where that names an unknown column."""
    if where is None:
        return bad
    slice = parse_slice(where)
    known = {*seen.inputs, "version", "arm", "level", "slice", "decided_by", "status", "unit", "epoch", "confidence"}
    if not slice.columns <= known:
        return pl.when(pl.lit(False)).then(bad)
    columns = sorted(slice.columns)
    held = pl.struct(columns).map_batches(lambda rows: slice.truth(rows.struct.unnest()), return_dtype=pl.Boolean)
    return pl.when(held.fill_null(False)).then(bad)


def beyond(after: Mapping[str, int]) -> pl.Expr:
    """Rows behind a position of the log."""
    if not after:
        return pl.lit(True)
    return pl.col("sequence") > pl.col("stream").replace_strict(dict(after), default=-1, return_dtype=pl.Int64)


def reached(seen: Seen, given: Mapping[str, int] | None, after: Mapping[str, int]) -> dict[str, int]:
    """The last sequence of each stream in what is there."""
    if given is not None:
        return dict(sorted(given.items()))
    parts = [seen.raw(), *(seen.later(table) for table in ("feedback", "reviews", "shadow"))]
    rows = pl.concat([part.filter(beyond(after)).select("stream", "sequence") for part in parts])
    found = rows.group_by("stream").agg(pl.col("sequence").max()).collect()
    return dict(sorted({**after, **dict(found.iter_rows())}.items()))


def _with_truth(rows: pl.LazyFrame, truth: str) -> pl.LazyFrame:
    """Labels and people's own answers, as ``andon.store.view.outcomes`` has them."""
    own = pl.when((pl.col("decided_by") == "person") & ~pl.col("saw_suggestion")).then(pl.col("decision"))
    asked = pl.coalesce("audited", own) if truth == "human" else pl.lit(None, dtype=pl.String)
    return rows.with_columns(label=pl.coalesce("label", asked), human=pl.coalesce("human", "audited"))
