"""Where to improve next: the live release's answers on held-out data, slice by slice, room times share.

The answers of a run are stored once and never change, so what is made of them is kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import polars as pl

from andon.measure.estimate import Estimate
from andon.model.priority import Priority
from andon.surface.reads import shown_run
from andon.surface.station import Known
from andon.surface.view.line_words import Word, linked
from andon.surface.view.models_kept import kept

if TYPE_CHECKING:
    from andon.config import Project
    from andon.core.record import Route
    from andon.model.run import Run

__all__ = ["Improve", "Room", "improve"]

_ROWS = 6


class Room(msgspec.Struct, frozen=True):
    """One slice: its ``share`` of the cases, how often the model is right, people where that is known, and the room.

    ``room`` is what the accuracy overall would gain if the model were as good as people there (or, where nobody knows
    how good people are, always right); ``low`` and ``high`` bound it. ``tie``: it may be the largest, too.
    """

    slice: str
    n: int
    share: float
    accuracy: Estimate
    people: float | None
    room: float
    low: float | None
    high: float | None
    tie: bool


class Improve(msgspec.Struct, frozen=True):
    """The slices with the most room first; ``of`` and ``run`` say whose answers these are, ``against`` what room means."""

    sentence: str
    next: tuple[Word, ...]
    rows: tuple[Room, ...] = ()
    of: str = ""
    run: str = ""
    n: int = 0
    against: str = ""
    trouble: str = ""


def improve(project: Project, known: Known, route: Route | None) -> Improve:
    """The table for the run that the Model station shows."""
    shown = shown_run(project, known, route)
    if shown is None:
        return Improve(known.why, (), trouble=known.why) if known.why else _begin()
    release, run = shown
    link = linked(f"`andon errors {run.id}` has the whole table")
    if run.status != "done":
        return Improve(f"The run {run.id} {run.status}: {run.error}", linked("`andon train` tries again"))
    if not project.charter.slices:
        return Improve(
            "The charter names no slices, so nobody sees where the model is weak.",
            linked("name some under `slices:` in andon.yaml: who is rare, who is at risk, who is new"),
        )
    found = known.ask(lambda: kept(project, "improve", (run.id,), lambda: _table(project, run)))
    if found is None:
        return Improve(known.why, link, trouble=known.why)
    rows, against = found
    said = _sentence(rows)
    of = release.version if release is not None else run.id
    return Improve(said, link, rows[:_ROWS], of, run.id, run.rows.get(run.part, 0), against)


def _begin() -> Improve:
    return Improve("Nothing is trained yet.", linked("`andon data add FILE`, then `andon train`"))


def _sentence(rows: tuple[Room, ...]) -> str:
    if not rows:
        return "No case of the held-out data lies in a slice of the charter."
    if rows[0].room <= 0:
        return "No slice has room left on the held-out data."
    ties = sum(row.tie for row in rows)
    if ties > 1:
        which = "two" if ties == 2 else f"{ties}"
        return f"The first {which} are a tie within their intervals." if ties <= _ROWS else "No slice stands out."
    return f"Most is to be gained in “{rows[0].slice}”."


def _table(project: Project, run: Run) -> tuple[tuple[Room, ...], str]:
    from andon.measure.slice import parse_slice
    from andon.model.priority import errors
    from andon.model.run import predictions

    frame = predictions(project.workspace, run)
    slices = {
        name: text for name, text in project.charter.slices.items() if parse_slice(text).columns <= set(frame.columns)
    }
    if not slices:
        return (), ""
    people = _people(frame, slices)
    against = "up to what people reach" if people else "up to being always right"
    rows = [row for row in errors(frame, slices=slices, baseline=people).rows if row.n]
    return _rooms(rows), against


def _people(frame: pl.DataFrame, slices: dict[str, str]) -> dict[str, float]:
    """How often people were right in each slice, where the data say what they had answered; else nothing."""
    from andon.model.table import cohorts

    if "human" not in frame.columns:
        return {}
    known = frame.filter(pl.col("human").is_not_null() & pl.col("label").is_not_null())
    right = known["human"].cast(pl.String) == known["label"].cast(pl.String)
    parts = {name: right.filter(mask) for name, mask in cohorts(known, slices=slices).items()}
    return {name: float(hits.sum()) / len(hits) for name, hits in parts.items() if len(hits)}


def _rooms(rows: list[Priority]) -> tuple[Room, ...]:
    made = [_room(row) for row in rows]
    made.sort(key=lambda row: -row.room)
    least = made[0].low if made else None
    return tuple(
        msgspec.structs.replace(
            row, tie=row.room > 0 and least is not None and row.high is not None and row.high >= least
        )
        for row in made
    )


def _room(row: Priority) -> Room:
    accuracy = row.accuracy
    best = 1.0 if row.baseline is None else row.baseline
    room, low, high = (
        None if end is None else (best - end) * row.share for end in (accuracy.value, accuracy.high, accuracy.low)
    )
    return Room(row.slice, row.n, row.share, accuracy, row.baseline, room or 0.0, low, high, False)
