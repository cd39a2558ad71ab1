"""The answers of the model that can be judged, and the work that a slice gives to people, as rows of the decision log.

An automatic answer that was drawn into the audit is judged once its truth is known: by the label that came, or, where
the charter says ``truth: human``, by the person who looked at it (by a third one where two differed). At level partial
the answers that went to people are there, too: each of them was looked at, so its probability is 1.

A look reads on from where the last one ended (``andon.store.follow``), and anew where a slice begins a new stretch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import polars as pl

from andon.core.clock import HOUR, MINUTE
from andon.deploy.ladder_room import Capacity, room_for
from andon.deploy.ladder_stretch import Stretch
from andon.store import outcome
from andon.store.follow import FEEDBACK, REVIEWS, Follow
from andon.store.outcome import Truth

if TYPE_CHECKING:
    from andon.store.workspace import Workspace

__all__ = ["NO_ROWS", "Answers", "work_of"]

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
"""Answers as ``Answers.judged`` gives them: ``chance`` is the probability with which each was looked at."""

_PLACE = ("stream", "sequence")
_SAID = ("slice", "version", "confidence", "time_us", "epoch", "model", "automatic", "chance")
_OUTCOME = ("status", "decision", "decided_by")
_CAME = ["time_us", "slice", "epoch", "status"]


def work_of(
    came: pl.DataFrame,
    stretches: Mapping[str, Stretch],
    since: int,
    now: int,
    reviewers_per_hour: float | None,
    left: Mapping[str, float] | None = None,
) -> dict[str, Capacity]:
    """What has come in each slice since then, and which share of it waits for people, as the slice is now.

    ``came`` are all decisions since then: ``slice``, ``epoch`` and ``status`` as they were made. ``left`` is the share that
    a slice would leave to people where it may rise: to the others it counts as if it had.
    """
    begun = pl.col("slice").replace_strict(
        {name: one.epoch for name, one in stretches.items()}, default=0, return_dtype=pl.Int64
    )
    grouped = came.group_by("slice", anew=pl.col("epoch") >= begun)
    counted = grouped.agg(n=pl.len(), people=(pl.col("status") == "pending").sum())
    hours = max(now - since, MINUTE) / HOUR
    arrivals: dict[str, float] = {}
    deferral: dict[str, float] = {}
    # What came since the last change tells what people get now; where that is nothing yet, what came before.
    for row in counted.sort("anew").iter_rows(named=True):
        arrivals[row["slice"]] = arrivals.get(row["slice"], 0.0) + row["n"] / hours
        deferral[row["slice"]] = row["people"] / row["n"]
    ahead = left or {}
    load = {name: arrivals[name] * min(share, ahead.get(name, share)) for name, share in deferral.items()}
    return {
        name: room_for(
            arrivals.get(name, 0.0),
            deferral.get(name),
            sum(cases for other, cases in load.items() if other != name),
            reviewers_per_hour,
        )
        for name in stretches
    }


class Answers:
    """The decisions of a line by slice, read on from look to look."""

    def __init__(self, workspace: Workspace, truth: Truth) -> None:
        self._workspace = workspace
        self._truth = truth
        self._follow: Follow | None = None
        self._stretches: tuple[tuple[str, int, int], ...] = ()
        self._since_us = 0
        self._came: pl.DataFrame | None = None
        self._judged: pl.DataFrame | None = None
        self._slices: dict[str, pl.DataFrame] = {}

    def look(self, automatic: Mapping[str, Stretch], since_us: int) -> tuple[dict[str, pl.DataFrame], pl.DataFrame]:
        """For each ``automatic`` slice the model's answers since its stretch began, in the order in which their truth
        became known (where it is not known yet, last, with ``truth`` null); and all decisions since ``since_us``.

        Raises ``Unavailable`` and ``PolarsError``.
        """
        follow, self._follow = self._following(automatic, since_us), None  # what breaks off half-way is read anew
        seen = follow.look()
        if follow.begins:
            self._came = self._judged = None
        lately = pl.col("time_us") >= since_us
        came = seen.raw().select(_CAME).filter(lately).collect()
        step = follow.step(seen, _asked(seen.raw(), automatic))
        told = self._told(step.touched, step.later)
        if self._judged is None or told.height:
            self._judged = told if self._judged is None else _replaced(self._judged, told)
            self._slices = _by_slice(self._judged)
        self._came = came if self._came is None else pl.concat([self._came.filter(lately), came])
        self._follow, self._since_us = follow, since_us
        return self._slices, self._came

    def _following(self, automatic: Mapping[str, Stretch], since_us: int) -> Follow:
        """What was read, where it holds for what is asked now."""
        stretches = tuple((name, one.epoch, one.read_us) for name, one in automatic.items())
        held, before, self._stretches = self._follow, self._stretches, stretches
        if held is not None and stretches == before and since_us >= self._since_us:
            return held
        least = min([since_us, *(max(one.time_us, one.read_us) for one in automatic.values())])
        tables = {"reviews": REVIEWS, "feedback": FEEDBACK} if automatic else {}
        return Follow(self._workspace, least, (*_SAID, *_OUTCOME), tables)

    def _told(self, asked: pl.DataFrame, later: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
        """The answers with their truth, as far as it is known."""
        if not later:
            return asked.with_columns(truth=pl.lit(None, dtype=pl.String), known_us=pl.lit(None, dtype=pl.Int64))
        rows = outcome.known(asked.lazy(), later["reviews"].lazy(), later["feedback"].lazy())
        rows = rows.with_columns(truth=outcome.truth(self._truth), known_us=outcome.truth_us(self._truth))
        return rows.select(*NO_ROWS.columns, *_PLACE).collect()


def _asked(raw: pl.LazyFrame, automatic: Mapping[str, Stretch]) -> pl.LazyFrame:
    """What the model answered by itself and was drawn, and at level partial what it left to people."""
    drawn = (pl.col("decided_by") == "model") & (pl.col("audit") > 0)
    left = (pl.col("status") == "pending") & pl.col("suggestion").is_not_null() & (pl.col("level") == "partial")
    mine = [
        (pl.col("slice") == name) & (pl.col("epoch") >= one.epoch) & (pl.col("time_us") >= one.read_us)
        for name, one in automatic.items()
    ]
    by_model = pl.col("decided_by") == "model"
    return raw.filter(pl.any_horizontal(pl.lit(False), *mine), drawn | left).select(
        "id",
        *_PLACE,
        "slice",
        "version",
        "confidence",
        "time_us",
        pl.col("epoch").cast(pl.Int64),
        *_OUTCOME,
        model=pl.coalesce("decision", "suggestion"),
        automatic=by_model,
        chance=pl.when(by_model).then("audit").otherwise(1.0),
    )


def _by_slice(judged: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """The answers of each slice, each case once, in the order in which their truth became known."""
    once = judged.sort("time_us", *_PLACE).unique("id", keep="first", maintain_order=True)
    ordered = once.sort("known_us", "id", nulls_last=True).select(NO_ROWS.columns)
    return {str(name): part for (name,), part in ordered.partition_by("slice", as_dict=True).items()}


def _replaced(rows: pl.DataFrame, now: pl.DataFrame) -> pl.DataFrame:
    """Rows with those that are told anew as they are now."""
    if not now.height:
        return rows
    return pl.concat([rows.join(now, on=list(_PLACE), how="anti"), now.select(rows.columns)])
