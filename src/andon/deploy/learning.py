"""From what is known of a release to the confidence at which it may decide by itself, for one slice.

Two sources are looked at, and the number of labels alone says which one counts (never the result, which would break
the promise): what the release said in production, in the shadow or where people decided, joined with what turned out;
and, while that is too little to show anything, the part of the data it was tested on before release.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
import polars as pl

from andon.deploy.automation import Threshold, learn_threshold
from andon.errors import AndonError, Unavailable

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.store.workspace import Workspace

__all__ = ["Learnt", "from_live", "from_shadow", "learn", "learn_from"]


class Learnt(msgspec.Struct, frozen=True):
    """The threshold found for a version and a slice, and which labels it rests on."""

    version: str
    slice: str
    source: str
    threshold: Threshold

    @property
    def value(self) -> float | None:
        """The least confidence, or None."""
        return self.threshold.value

    def __str__(self) -> str:
        """For people: what may be automatic, or why nothing may be yet."""
        where = "" if self.slice == "*" else f" in {self.slice}"
        found = self.threshold
        if found.value is None:
            return f"{self.version} decides nothing by itself{where} yet ({self.source}): {found.reason}"
        return (
            f"{self.version} decides by itself{where} from a confidence of {found.value:.4g} on, "
            f"{found.coverage * 100:.3g} % of the cases ({self.source}): {found.reason}"
        )


def learn(
    workspace: Workspace, charter: Charter, version: str, slice: str = "*", slices: Mapping[str, str] | None = None
) -> Learnt:
    """The threshold of a version in a slice, from the evidence there is.

    ``slices`` are a route's predicates, in the order they are tried: a case belongs to the first that matches, and to
    "*" when none does.
    """
    partial = charter.automation.partial
    enough = math.ceil(math.log(1 - partial.confidence) / math.log1p(-partial.max_error))
    seen = _within(_seen(workspace, charter, version), slices or {}, slice)
    if len(seen) >= enough:
        return learn_from(seen, charter, version, slice, "labelled cases in production")
    tested = _within(_tested(workspace, version), slices or {}, slice)
    if len(tested) > len(seen):
        return learn_from(tested, charter, version, slice, "the release's test data")
    return learn_from(seen, charter, version, slice, "labelled cases in production")


def learn_from(rows: pl.DataFrame, charter: Charter, version: str, slice: str, source: str) -> Learnt:
    """The threshold from rows with ``model`` (its label), ``confidence`` and ``truth``, all of them known."""
    partial = charter.automation.partial
    usable = pl.col("confidence").cast(pl.Float64)
    if partial.only is not None:
        usable = pl.when(pl.col("model").is_in(list(partial.only))).then(usable)
    scored = rows.select(confidence=usable.fill_null(float("nan")), correct=pl.col("model") == pl.col("truth"))
    found = learn_threshold(
        scored["confidence"].to_numpy(), scored["correct"].to_numpy(), partial.max_error, 1 - partial.confidence
    )
    return Learnt(version, slice, source, found)


def _seen(workspace: Workspace, charter: Charter, version: str) -> pl.DataFrame:
    """What a release said in production of cases whose truth is known, with the inputs; each case once."""
    from andon.store.view import outcomes, shadow_pairs

    truth = charter.target.truth
    try:
        shadowed = from_shadow(shadow_pairs(workspace, version), truth)
        asked = from_live(outcomes(workspace, truth=truth), version, truth)
    except Unavailable:
        return _NOTHING
    rows = [rows for rows in (shadowed, asked) if len(rows)]
    return pl.concat(rows, how="diagonal_relaxed").unique("id", maintain_order=True) if rows else _NOTHING


def from_shadow(pairs: pl.DataFrame, truth: str) -> pl.DataFrame:
    """Rows of ``andon.store.view.shadow_pairs`` with ``model`` and ``truth``, where both are known.

    With ``truth`` "external" that is the label that came; with "human" what a person decided without a suggestion, where
    people decided every case: those that another model passed to them are not like the rest.
    """
    if truth == "human":
        pairs = pairs.filter(pl.col("level").is_in(["human", "shadow"]))
    known = pl.col("label") if truth == "external" else pl.coalesce("human", "label")
    return _judged(pairs.rename({"prediction": "model"}).with_columns(truth=known))


def from_live(frame: pl.DataFrame, version: str, truth: str) -> pl.DataFrame:
    """Rows of ``andon.store.view.outcomes`` that ``version`` was asked about, with ``model`` and ``truth``."""
    mine = frame.filter(pl.col("version") == version)
    if truth == "human":
        mine = mine.filter(pl.col("level") == "shadow")
    said = pl.when(pl.col("decided_by") == "model").then("prediction").otherwise("suggestion")
    return _judged(mine.with_columns(model=said, truth=pl.col("label")))


def _judged(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(
        pl.col("truth").is_not_null() & pl.col("model").is_not_null() & pl.col("confidence").is_not_null()
    )


def _tested(workspace: Workspace, version: str) -> pl.DataFrame:
    """What a release said of the data it was tested on before release."""
    try:
        from andon.deploy.release import held_out

        return held_out(workspace, version)
    except (ImportError, AndonError):
        return _NOTHING


def _within(rows: pl.DataFrame, slices: Mapping[str, str], slice: str) -> pl.DataFrame:
    from andon.measure.slice import parse_slice

    rest = rows
    for name, text in slices.items() if len(rows) else ():
        inside = parse_slice(text, rest.columns).mask(rest)
        if name == slice:
            return rest.filter(inside)
        rest = rest.filter(~inside)
    return rest


_NOTHING = pl.DataFrame(schema={"model": pl.String, "confidence": pl.Float64, "truth": pl.String})
