"""A reviewer's own figures: how much, how fast, and how often what became known agrees. Nobody else's are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from andon.core.clock import DAY
from andon.measure.estimate import Estimate, bootstrap, undefined, wilson
from andon.people.agreement import Bias, Double, Twice, bias, of_reviewer, of_team
from andon.surface.page import Empty, Page
from andon.surface.view.review_desk import desk

if TYPE_CHECKING:
    import polars as pl

    from andon.store.workspace import Workspace
    from andon.surface.visit import Visit

__all__ = ["PAGE", "Agreement", "Mine", "median", "mine_view", "pairs_of", "sway"]

DAYS = 30
#: The interval of the median is made from so many of the latest cases at most.
_TIMED = 400


class Agreement(msgspec.Struct, frozen=True):
    """How often the reviewer's answer was the same as ``with_``, and over which cases."""

    with_: str = msgspec.field(name="with")
    over: str
    share: Estimate


class Mine(msgspec.Struct, frozen=True):
    """A reviewer's own figures; times on task in seconds. ``missed`` cases were answered by the deadline while with them.

    ``late`` counts the cases that are with them now and overdue. ``referred`` of ``answered`` answers of the last
    ``days`` days were the safe default where that is no class; they are left out of ``agreement``. ``double`` is what
    second looks say of them, ``bias`` how a suggestion sways them. ``trouble`` says why the log could not be read.
    """

    reviewer: str
    now_us: int
    today: int
    all: int
    missed: int
    late: int
    with_me: int
    days: int
    answered: int
    referred: int
    simulated: int
    seconds: Estimate
    agreement: tuple[Agreement, ...]
    double: Twice
    bias: Bias
    trouble: str = ""


def mine_view(visit: Visit, params: Empty) -> Mine:
    """The viewer's own figures. Raises ``Unavailable`` when the database is gone."""
    from andon.store.view import reviewed

    name, now, project = visit.viewer.name, visit.now_us, visit.project
    inbox, items = desk(visit), project.workspace.items
    held = inbox.held(name)
    rows = reviewed(project.workspace, name, now - DAYS * DAY)
    classes = list(project.charter.target.classes)
    said = rows.filter(rows["decision"].is_in(classes))
    pairs = pairs_of(project.workspace, now - DAYS * DAY)
    return Mine(
        reviewer=name,
        now_us=now,
        today=items.decided(name, now // DAY * DAY),
        all=items.decided(name),
        missed=items.missed(name),
        late=sum(item.due_us <= now for item in held),
        with_me=len(held),
        days=DAYS,
        answered=len(rows),
        referred=len(rows) - len(said),
        simulated=int(rows["simulated"].sum()),
        seconds=median(rows),
        agreement=_agreement(said),
        double=of_reviewer(name, pairs, of_team(pairs, classes), classes),
        bias=sway(said),
    )


def sway(said: pl.DataFrame) -> Bias:
    """Answers of `andon.store.view.reviewed` against what the model said, where it was seen and where not."""
    known = said.filter(said["model"].is_not_null())
    seen, unseen = known.filter(known["saw_suggestion"]), known.filter(~known["saw_suggestion"])
    return bias(seen.select("decision", "model").rows(), unseen.select("decision", "model").rows())


def pairs_of(workspace: Workspace, since_us: int) -> list[Double]:
    """The cases that two people decided since then."""
    from andon.store.doubles import doubles

    return [
        Double(
            id=row["id"],
            first=row["first"],
            said=row["said"],
            blind=not row["saw_suggestion"],
            second=row["second"],
            second_said=row["second_said"],
            second_blind=not row["second_saw"],
            third=row["third"],
            adjudicated=row["adjudicated"],
            model=row["model"],
            simulated=row["simulated"],
        )
        for row in doubles(workspace, since_us).iter_rows(named=True)
    ]


def median(rows: pl.DataFrame) -> Estimate:
    """The median time on task of the latest cases that were taken before they were answered."""
    timed = rows.filter(rows["seconds"] > 0)["seconds"].tail(_TIMED)
    if timed.is_empty():
        return undefined("no case was taken and then answered")
    import numpy as np

    return bootstrap(timed.to_numpy(), lambda values: float(np.median(values)), draws=500)


def _agreement(said: pl.DataFrame) -> tuple[Agreement, ...]:
    """With labels that came later, and with the model; blind answers and those that had seen a suggestion are two things."""
    blind, seen = said.filter(~said["saw_suggestion"]), said.filter(said["saw_suggestion"])
    audits, others = blind.filter(blind["kind"] == "audit"), blind.filter(blind["kind"] != "audit")
    return (
        Agreement("the label that came later", "blind answers", _share(blind, "label", "no label came for them yet")),
        Agreement(
            "the label that came later",
            "answers after a suggestion",
            _share(seen, "label", "no label came for them yet"),
        ),
        Agreement("what the model answered", "audits, blind", _share(audits, "model", "none yet")),
        Agreement("what the model would have said", "other blind answers", _share(others, "model", "none yet")),
        Agreement("what the model suggested", "answers after a suggestion", _share(seen, "model", "none yet")),
    )


def _share(rows: pl.DataFrame, column: str, reason: str) -> Estimate:
    known = rows.filter(rows[column].is_not_null())
    if known.is_empty():
        return undefined(reason)
    return wilson(int((known["decision"] == known[column]).sum()), len(known))


PAGE = Page(
    name="review.mine",
    path="/review/mine",
    title="My reviews",
    section="review",
    view=mine_view,
    params=Empty,
    result=Mine,
    template="review_mine.html",
    may="review",
    personal=True,
)
