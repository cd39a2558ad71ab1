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

__all__ = ["KEPT", "Look", "beyond", "column", "counted", "key", "limited", "measurable", "reached", "shape"]

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
    """Decided cases with the ``column`` of each look (null: not known), and since when all of a case is (``known_us``).

    For each look also since when it is known (``known:<name>``), with which probability people looked (``chance:<name>``, null
    for what they decided themselves) and whether they or an outcome surely say how such a case went (``sure:<name>``);
    ``lot`` is even in [0, 1). ``alone`` names a version that is held against goals by itself, with all that it answers.
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
    known = pl.max_horizontal("time_us", "label_known", "decided_us", "audited_us", "feedback_known")
    flags = [limited(column(name, one, alone), charter.metrics[name].where, seen) for name, one in looks.items()]
    looked = [one for name, look in looks.items() for one in _looked(name, look, charter.target.truth)]
    lot = (pl.col("id").hash(seed=7) / 2.0**64).alias("lot")
    return rows.select(*shape(alone), known.alias("known_us"), lot, *flags, *looked)


def _looked(name: str, look: Look, truth: str) -> list[pl.Expr]:
    """Since when a case counts for a look, and how likely people are to look at one."""
    reads = set((look.bad if isinstance(look, Event) else look.value).meta.root_names())
    again, told = "human" in reads, pl.col("label_known")
    people = again or (truth == "human" and "label" in reads)
    since = [pl.col("time_us"), pl.col("decided_us")]
    if "label" in reads:
        since.append(pl.coalesce("label_known", "audited_us") if truth == "human" else told)
    since += [pl.col("audited_us")] if again else []
    since += [pl.col("feedback_known")] if "feedback" in reads else []
    if not people:
        chance, sure = pl.lit(1.0), pl.lit(True)
    else:
        other = pl.lit(False) if again else told.is_not_null()
        drawn = pl.when(pl.col("audited").is_not_null() & (pl.col("audit") > 0)).then("audit")
        chance = pl.when(other).then(pl.lit(1.0)).otherwise(drawn)
        sure = other | (pl.col("decided_by") != "model").fill_null(True) | (pl.col("audit") >= 1).fill_null(False)
    return [
        pl.max_horizontal(*since).alias(f"known:{name}"),
        chance.alias(f"chance:{name}"),
        sure.alias(f"sure:{name}"),
    ]


def counted(
    table: pl.DataFrame, name: str, kind: str, shares: Mapping[int, float]
) -> tuple[pl.DataFrame, float | None]:
    """The cases of a look (``kind``: bad or value) that count, each with the ``chance`` it had to, and whether they are a sample.

    Where people look at a sample of the automatic answers, what they decided themselves, each of it and never wrong, must
    not count beside it as if it were as much. Events count among the drawn answers alone: of what went to people none is
    one. Of values a case that went to people counts as if it were drawn, too, with the share of its route (``shares``).
    The second is None, or for a sample how many automatic answers there are for each of the candidate's units.
    """
    went = pl.col(f"{kind}:{name}")
    rows = table.filter(went.is_not_null())
    rows = rows.select(*KEPT, "lot", went.alias(kind), known_us=f"known:{name}", chance=f"chance:{name}")
    unsure = table.filter(~pl.col(f"sure:{name}"))
    own = pl.col("chance").is_null()
    if not unsure.height or not rows.select((own | (pl.col("chance") < 1)).any()).item():
        return rows.drop("lot").with_columns(pl.col("chance").fill_null(1.0)), None
    share = pl.col("epoch").replace_strict(dict(shares), default=0.0, return_dtype=pl.Float64)
    rows = rows.filter(~own if kind == "bad" else ~own | (pl.col("lot") < share))
    mine = unsure.filter("mine")["key"]
    return rows.drop("lot").with_columns(pl.col("chance").fill_null(share)), mine.len() / max(mine.n_unique(), 1) or 1.0


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
