"""The answers of the model that can be judged, and the work that a slice gives to people, as rows of the decision log.

An automatic answer that was drawn into the audit is judged once its truth is known: by the label that came, or, where
the charter says ``truth: human``, by the person who looked at it (by a third one where two differed). At level partial
the answers that went to people are there, too: each of them was looked at, so its probability is 1.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from andon.core.clock import HOUR, MINUTE
from andon.deploy.ladder import Capacity, room_for
from andon.deploy.ladder_stretch import Stretch
from andon.store.shape import day_of
from andon.store.view import Seen, Truth

__all__ = ["NO_ROWS", "judged_of", "work_of"]

NO_ROWS = pl.DataFrame(
    schema={
        "id": pl.String,
        "slice": pl.String,
        "version": pl.String,
        "confidence": pl.Float64,
        "model": pl.String,
        "truth": pl.String,
        "automatic": pl.Boolean,
        "chance": pl.Float64,
        "known_us": pl.Int64,
        "time_us": pl.Int64,
        "epoch": pl.Int64,
    }
)
"""Answers as ``judged_of`` gives them: ``chance`` is the probability with which each was looked at."""


def work_of(
    seen: Seen, stretches: Mapping[str, Stretch], since: int, now: int, reviewers_per_hour: float | None
) -> dict[str, Capacity]:
    """What has come in each slice since then, and which share of it waits for people, as the slice is now."""
    begun = pl.col("slice").replace_strict(
        {name: one.epoch for name, one in stretches.items()}, default=0, return_dtype=pl.Int64
    )
    lately = seen.raw().filter(pl.col("day") >= day_of(since), pl.col("time_us") >= since)
    grouped = lately.group_by("slice", anew=pl.col("epoch") >= begun)
    counted = grouped.agg(n=pl.len(), people=(pl.col("status") == "pending").sum()).collect()
    hours = max(now - since, MINUTE) / HOUR
    arrivals: dict[str, float] = {}
    deferral: dict[str, float] = {}
    # What came since the last change tells what people get now; where that is nothing yet, what came before.
    for row in counted.sort("anew").iter_rows(named=True):
        arrivals[row["slice"]] = arrivals.get(row["slice"], 0.0) + row["n"] / hours
        deferral[row["slice"]] = row["people"] / row["n"]
    load = {name: arrivals[name] * share for name, share in deferral.items()}
    return {
        name: room_for(
            arrivals.get(name, 0.0),
            deferral.get(name),
            sum(cases for other, cases in load.items() if other != name),
            reviewers_per_hour,
        )
        for name in stretches
    }


def judged_of(seen: Seen, stretches: Mapping[str, Stretch], truth: Truth) -> dict[str, pl.DataFrame]:
    """For each slice the model's answers since its stretch began, in the order in which their truth became known.

    Those whose truth is not known yet come last, with ``truth`` null.
    """
    drawn = (pl.col("decided_by") == "model") & (pl.col("audit") > 0)
    left = (pl.col("status") == "pending") & pl.col("suggestion").is_not_null() & (pl.col("level") == "partial")
    mine = pl.any_horizontal(
        (pl.col("slice") == name) & (pl.col("epoch") >= one.epoch) & (pl.col("time_us") >= one.since_us)
        for name, one in stretches.items()
    )
    asked = (
        seen.raw()
        .filter(mine, drawn | left)
        .select(
            "id",
            "slice",
            "version",
            "confidence",
            "time_us",
            pl.col("epoch").cast(pl.Int64),
            model=pl.coalesce("decision", "suggestion"),
            automatic=pl.col("decided_by") == "model",
            chance=pl.when(pl.col("decided_by") == "model").then("audit").otherwise(1.0),
        )
    )
    found = _told(seen, asked.unique("id", maintain_order=True).collect(), truth)
    return {str(name): part for (name,), part in found.partition_by("slice", as_dict=True).items()}


def _told(seen: Seen, asked: pl.DataFrame, truth: Truth) -> pl.DataFrame:
    """The answers with their truth, as far as it is known."""
    if not asked.height:
        return NO_ROWS
    ids = asked.lazy().select("id")
    came = seen.later("feedback").filter(pl.col("kind") == "label").join(ids, on="id", how="semi")
    labels = came.sort("time_us", "received_us", "stream", "sequence").unique("id", keep="last", maintain_order=True)
    table = asked.lazy().join(labels.select("id", label="value", label_us="received_us"), on="id", how="left")
    if truth == "human":
        table = table.join(_people(seen, ids), on="id", how="left")
    else:
        table = table.with_columns(said=pl.lit(None, dtype=pl.String), said_us=pl.lit(None, dtype=pl.Int64))
    table = table.with_columns(truth=pl.coalesce("label", "said"), known_us=pl.coalesce("label_us", "said_us"))
    return table.sort("known_us", "id", nulls_last=True).select(*NO_ROWS.columns).collect()


def _people(seen: Seen, ids: pl.LazyFrame) -> pl.LazyFrame:
    """``id``, ``said``, ``said_us``: what people said without a suggestion; a third one's word where two differed."""
    came = (
        seen.later("reviews").filter(pl.col("decided_by") == "person").join(ids, on="id", how="semi").sort("sequence")
    )
    first = came.unique(("id", "kind"), keep="first", maintain_order=True)
    blind = first.filter(pl.col("kind").is_in(["decision", "audit"]), ~pl.col("saw_suggestion"))
    third = first.filter(pl.col("kind") == "adjudication").select("id", third="decision")
    rows = blind.select("id", "decision", said_us="time_us").join(third, on="id", how="left")
    return rows.select("id", "said_us", said=pl.coalesce("third", "decision")).unique("id")
