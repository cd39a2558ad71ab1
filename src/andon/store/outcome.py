"""What became known of each decision after it was made, and since when: one rule for each fact.

Metrics, the ladder of automation and the rollout read these rules and have none of their own, so an answer that is
wrong for one of them is wrong for all. Which row counts depends on the rows alone, never on how they were read: the rule
of all rows is the rule of what it left of some of them and of the rest. So ``andon.store.follow`` may read on.

* A pending decision is what the first ``decision`` review says, by whoever gave it (a person, or the deadline).
* An audit is what the first person said who looked at an automatic decision again.
* An adjudication is what the first third person said where two had differed.
* A label is the latest by its own time; one that is corrected is known since the correction was received.
* Feedback of a kind that does not come is unknown, so the kinds that came are listed; each is known since its own first came.

With truth "human" what a person decided blindly stands for a label that did not come: in the audit, or instead of the
model; where two differed, what was adjudicated, and it is known since then.

What stands beside a decision only while that is worked out has a name with a colon before it, which no input has.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import polars as pl

from andon.core.columns import REVIEW

__all__ = [
    "Truth",
    "adjudications",
    "audits",
    "feedback_kinds",
    "final",
    "known",
    "labels",
    "said_blindly",
    "truth",
    "truth_us",
]

Truth = Literal["external", "human"]
"""What an answer is held against: labels that come from outside, or what people decide."""

_PERSON = pl.col("decided_by") == "person"


def final(rows: pl.LazyFrame, reviews: pl.LazyFrame) -> pl.LazyFrame:
    """Decisions with their reviews laid over them: ``status``, ``decision``, ``decided_by``, and who said it when."""
    first = _first(reviews.filter(pl.col("kind") == "decision")).select(
        "id",
        pl.col("decision").alias(":review"),
        pl.col("decided_by").alias(":review_by"),
        pl.col("time_us").alias("decided_us"),
        *(name for name in REVIEW if name != "decided_us"),
    )
    made = (pl.col("status") == "pending") & pl.col(":review").is_not_null()
    return (
        rows.join(first, on="id", how="left")
        .with_columns(
            status=pl.when(made).then(pl.lit("decided")).otherwise("status"),
            decision=pl.when(made).then(":review").otherwise("decision"),
            decided_by=pl.when(made).then(":review_by").otherwise("decided_by"),
        )
        .drop(":review", ":review_by")
    )


def labels(feedback: pl.LazyFrame) -> pl.LazyFrame:
    """``id``, ``label``, ``label_us`` (its own time), ``:label_known`` (when it was received): the latest of each id."""
    came = feedback.filter(pl.col("kind") == "label").sort("time_us", "received_us", "stream", "sequence")
    latest = came.unique("id", keep="last", maintain_order=True)
    return latest.select("id", label="value", label_us="time_us", **{":label_known": "received_us"})


def feedback_kinds(feedback: pl.LazyFrame, since: Collection[str] = ()) -> pl.LazyFrame:
    """``id``, ``feedback``, the kinds that came, and ``:feedback_known``, when the first was received.

    For each kind in ``since`` also ``:since <kind>``, when the first of that kind was.
    """
    came = pl.col("received_us")
    firsts = [came.filter(pl.col("kind") == kind).min().alias(f":since {kind}") for kind in dict.fromkeys(since)]
    first = came.min().alias(":feedback_known")
    return feedback.group_by("id").agg(first, *firsts, feedback=pl.col("kind").unique().sort())


def audits(reviews: pl.LazyFrame) -> pl.LazyFrame:
    """``id``, ``:audited`` and ``:audited_us``: what a person decided who looked at an automatic decision again, and when."""
    first = _first(reviews.filter(pl.col("kind") == "audit", _PERSON))
    return first.select("id", **{":audited": "decision", ":audited_us": "time_us"})


def adjudications(reviews: pl.LazyFrame) -> pl.LazyFrame:
    """``id``, ``:adjudicated`` and ``:adjudicated_us``: what a third person decided where two had differed, and when."""
    first = _first(reviews.filter(pl.col("kind") == "adjudication"))
    return first.select("id", **{":adjudicated": "decision", ":adjudicated_us": "time_us"})


def known(
    rows: pl.LazyFrame,
    reviews: pl.LazyFrame,
    feedback: pl.LazyFrame,
    *,
    kinds: bool = False,
    since: Collection[str] = (),
) -> pl.LazyFrame:
    """Decisions as they now stand, with all of the above; without ``kinds`` no feedback but labels is looked at.

    ``since`` are kinds of which it is asked when they came.
    """
    found = final(rows, reviews).join(labels(feedback), on="id", how="left")
    found = found.join(audits(reviews), on="id", how="left").join(adjudications(reviews), on="id", how="left")
    if kinds:
        return found.join(feedback_kinds(feedback, since), on="id", how="left")
    return found.with_columns(pl.lit(None, dtype=pl.Int64).alias(":feedback_known"))


def said_blindly() -> pl.Expr:
    """What a person decided of a case of ``known`` who saw no answer of the model; an audit shows none."""
    own = pl.when(_PERSON & ~pl.col("saw_suggestion")).then(pl.col("decision"))
    theirs = pl.coalesce(":audited", own)
    return pl.when(theirs.is_not_null()).then(pl.coalesce(":adjudicated", theirs))


def truth(kind: Truth) -> pl.Expr:
    """What the answer to a case of ``known`` is held against; null where that is not known."""
    return pl.coalesce("label", said_blindly()) if kind == "human" else pl.col("label")


def truth_us(kind: Truth) -> pl.Expr:
    """Since when ``truth`` is what it is; null where it is not known."""
    if kind == "external":
        return pl.col(":label_known")
    since = pl.max_horizontal(pl.coalesce(":audited_us", "decided_us"), ":adjudicated_us")
    return pl.coalesce(":label_known", pl.when(said_blindly().is_not_null()).then(since))


def _first(reviews: pl.LazyFrame) -> pl.LazyFrame:
    """The first of each case; people's answers are one stream."""
    return reviews.sort("sequence", "stream").unique("id", keep="first", maintain_order=True)
