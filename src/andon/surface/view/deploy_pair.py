"""The pairs of a shadow comparison: read, cut to a time and a slice, compared by slice and over time, and where they differ.

Cases that wait for a person who must not know what a model says are never listed: they are counted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import msgspec
import polars as pl

from andon.deploy.paired import Comparison, compare, pairs_of, second_looks
from andon.deploy.raters import COLUMNS
from andon.errors import UsageError
from andon.measure.estimate import Estimate, undefined, wilson
from andon.measure.slice import parse_slice
from andon.store.view import shadow_pairs

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.store.workspace import Workspace
    from andon.surface.station import Known

__all__ = ["Against", "AgreedAt", "BySlice", "Cell", "Differing", "Pairs", "Right", "read_pairs"]

Against = Literal["decided", "people", "live"]
Right = Literal["shadow", "other", "neither", ""]
_WHO: dict[str, str] = {"decided": "what was decided", "people": "people", "live": "the live model"}
_BUCKETS = 28
_SIDES = ("#model", "#other", "#truth", "#simulated")
_AGAIN = tuple(f"#{name}" for name in COLUMNS)


class BySlice(msgspec.Struct, frozen=True):
    """The same comparison on the cases of one slice. ``why`` says why there is none."""

    slice: str
    n: int
    agreement: Estimate
    difference: Estimate
    discordant: int
    outcomes: int
    why: str = ""


class AgreedAt(msgspec.Struct, frozen=True):
    """The agreement in [``start_us``, ``start_us + length_us``)."""

    start_us: int
    length_us: int
    agreement: Estimate


class Differing(msgspec.Struct, frozen=True):
    """A case where the two answers differ. ``right`` says whose was right: "shadow", "other", "neither", "" (not known).

    ``confidence`` is the shadow's, in [0, 1]; ``by`` is who gave the other answer.
    """

    id: str
    time_us: int
    said: str | None
    confidence: float | None
    other: str
    by: str
    label: str | None
    right: Right


class Cell(msgspec.Struct, frozen=True):
    """Which of the cases that differ: where the shadow ``said`` this and the ``other`` that ("" is anything), where it
    was ``silent``, and whose answer was ``right`` ("" is whoever's).
    """

    said: str = ""
    other: str = ""
    silent: bool = False
    right: Right = ""

    @property
    def narrows(self) -> bool:
        """Whether it leaves any out."""
        return self != Cell()


@dataclass(frozen=True)
class Pairs:
    """What a version said in the shadow, beside another answer to the same cases: the columns ``#model`` and ``#other``.

    No input of a project is called like these: names of inputs are plain words.
    """

    frame: pl.DataFrame
    charter: Charter
    version: str
    against: Against

    @property
    def outcomes(self) -> bool:
        """Whether a label is the truth, and not another person's judgement."""
        return self.charter.target.truth == "external"

    def of(self, name: str) -> Pairs:
        """The cases of one slice of the charter. Raises ``UsageError`` where it cannot be told."""
        return replace(self, frame=parse_slice(self.charter.slices[name]).filter(self.frame))

    def compared(self) -> Comparison:
        """All of them, compared."""
        names = [name for name in (*_SIDES, *_AGAIN) if name in self.frame.columns]
        return compare(
            self.frame.select(pl.col(names).name.map(lambda name: name[1:])),
            version=self.version,
            against=_WHO[self.against],
            outcomes=self.outcomes,
            margin=self.charter.rollout.margin,
            classes=self.charter.target.classes,
        )

    def by_slice(self) -> tuple[BySlice, ...]:
        """Every slice of the charter."""
        return tuple(self._slice(name) for name in self.charter.slices)

    def _slice(self, name: str) -> BySlice:
        try:
            found = self.of(name).compared()
        except UsageError as error:
            unknown = undefined("this slice cannot be told from what was recorded")
            return BySlice(name, 0, unknown, unknown, 0, 0, error.message)
        return BySlice(name, found.n, found.agreement, found.difference, found.discordant, found.outcomes)

    def over_time(self) -> tuple[AgreedAt, ...]:
        """The agreement in at most about thirty stretches of equal length; those without a case are left out."""
        rows = self._both()
        if rows.is_empty():
            return ()
        first, last = (int(rows["time_us"][at]) for at in (0, -1))
        length = max(60_000_000, -(-(last - first + 1) // _BUCKETS))
        at = (pl.col("time_us") - first) // length
        told = rows.group_by(at.alias("at")).agg(n=pl.len(), agreed=(~pl.col("#differ")).sum()).sort("at")
        return tuple(
            AgreedAt(first + place * length, length, wilson(agreed, n))
            for place, n, agreed in told.select("at", "n", "agreed").iter_rows()
        )

    def differing(self, workspace: Workspace, known: Known) -> tuple[pl.DataFrame, int] | None:
        """Where the answers differ, newest first, and how many are left out since a blind reviewer may still get them.

        None where the inbox cannot be read: nobody could then tell which those are.
        """
        rows = self._both().filter(pl.col("#differ"))
        open_ = rows.filter((pl.col("status") == "pending") | (pl.col("audit") > 0))["id"].to_list()
        items = known.ask(lambda: workspace.items.many(open_))
        if items is None:
            return None
        veiled = [id for id, item in items.items() if item.blind and item.state != "decided"]
        # A case that waits and is not in the inbox yet will be.
        veiled += rows.filter((pl.col("status") == "pending") & ~pl.col("id").is_in(list(items)))["id"].to_list()
        shown = rows.filter(~pl.col("id").is_in(veiled))
        return shown.reverse(), len(rows) - len(shown)

    def within(self, rows: pl.DataFrame, cell: Cell) -> pl.DataFrame:
        """Those of the rows that are in a cell."""
        model, other = pl.col("#model"), pl.col("#other")
        truth = pl.col("label") if self.outcomes else pl.lit(None, dtype=pl.String)
        whose = pl.when(truth == model).then(pl.lit("shadow")).when(truth == other).then(pl.lit("other"))
        asked = {
            "said": model == cell.said,
            "other": other == cell.other,
            "silent": model.is_null(),
            "right": truth.is_not_null() & (whose.otherwise(pl.lit("neither")) == cell.right),
        }
        return rows.filter(*(one for name, one in asked.items() if getattr(cell, name)))

    def told(self, rows: pl.DataFrame) -> tuple[Differing, ...]:
        """These rows for people."""
        names = ("id", "time_us", "#model", "confidence", "#other", "decided_by", "reviewer", "label", "live")
        return tuple(self._one(*row) for row in rows.select(names).iter_rows())

    def _one(
        self, id: str, time_us: int, said: str | None, confidence: float | None, other: str, *more: str | None
    ) -> Differing:
        decided_by, reviewer, label, live = more
        truth = label if self.outcomes else None
        right: Right = ""
        if truth is not None:
            right = "shadow" if truth == said else "other" if truth == other else "neither"
        if self.against == "live":
            by = live or "the live model"
        elif self.against == "people" or decided_by == "person":
            by = reviewer or "a person"
        else:
            by = {"model": live or "the model", "client": "the client", "safe_default": "the safe default"}.get(
                decided_by or "", "nobody"
            )
        return Differing(id, time_us, said, confidence, other, by, truth, right)

    def _both(self) -> pl.DataFrame:
        """The cases that both answered, oldest first, with ``#differ``."""
        rows = self.frame.filter(pl.col("#other").is_not_null()).sort("time_us", "id")
        return rows.with_columns(pl.col("#model").ne_missing(pl.col("#other")).alias("#differ"))


def _sides(frame: pl.DataFrame, against: Against, doubles: pl.DataFrame | None) -> pl.DataFrame:
    """The columns of ``_SIDES``; ``simulated`` says that a program that plays a person gave the other answer.

    Beside people those of ``_AGAIN``, too.
    """
    if against != "decided":
        sides = pairs_of(frame, against, doubles)
    else:
        by_person = pl.col("decided_by") == "person"
        sides = frame.select(
            model="prediction",
            other=pl.when(pl.col("status") == "decided").then("decision"),
            truth="label",
            simulated=pl.col("simulated").fill_null(False) & by_person,
        )
    return sides.rename(lambda name: f"#{name}")


def read_pairs(
    workspace: Workspace, charter: Charter, version: str, against: Against, since_us: int, until_us: int
) -> Pairs:
    """Read the log. Raises ``Unavailable`` when it cannot be read."""
    frame = shadow_pairs(workspace, version, since_us, until_us)
    doubles = second_looks(workspace, frame) if against == "people" else None
    return Pairs(frame.hstack(_sides(frame, against, doubles)), charter, version, against)
