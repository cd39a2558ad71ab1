"""The reviewers, for the owner: how much, how fast, how often they agree with each other, err, and follow the model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from andon.core.clock import DAY
from andon.measure.estimate import Estimate, undefined, wilson
from andon.people.agreement import Bias, TeamDoubles, Twice, of_reviewer, of_team
from andon.store.items import by_deadline, unanswered
from andon.surface.page import Empty, Page
from andon.surface.view.review_mine import DAYS, median, pairs_of, sway

if TYPE_CHECKING:
    from andon.config import Project
    from andon.surface.visit import Visit

__all__ = ["PAGE", "Reviewer", "Reviewers", "people_view", "reviewers_of"]


class Reviewer(msgspec.Struct, frozen=True):
    """One person (or program, for ``simulated`` of the ``answered``); ``seconds`` is the median time on a case."""

    reviewer: str
    answered: int
    simulated: int
    seconds: Estimate
    double: Twice
    bias: Bias


class Reviewers(msgspec.Struct, frozen=True):
    """All who answered in the last ``days`` days, the most first. ``share`` of what they answer gets a second look.

    ``waiting`` second looks and ``to_adjudicate`` cases are open; ``missed`` and ``left`` of them nobody did in time.

    ``timeouts`` is the share of the cases that somebody waited for and nobody answered by the deadline, of those that were
    answered at all; ``on_timeout`` is what the charter does with them, ``overdue`` how many wait now past their deadline.
    ``audits_left`` audits were closed undecided.
    """

    now_us: int
    days: int
    share: float
    team: TeamDoubles
    waiting: int
    to_adjudicate: int
    missed: int
    left: int
    timeouts: Estimate
    on_timeout: str
    safe_default: str
    overdue: int
    audits_left: int
    reviewers: tuple[Reviewer, ...]


def reviewers_of(project: Project, now_us: int) -> Reviewers:
    """The figures of a project's reviewers. Raises ``Unavailable`` when the database is gone."""
    from andon.store.view import reviewed

    since, workspace = now_us - DAYS * DAY, project.workspace
    classes = list(project.charter.target.classes)
    rows, pairs, waiting = reviewed(workspace, None, since), pairs_of(workspace, since), workspace.items.waiting()
    team = of_team(pairs, classes)
    found = []
    for (name,), theirs in rows.group_by("reviewer", maintain_order=True):
        said = theirs.filter(theirs["decision"].is_in(classes))
        double = of_reviewer(str(name), pairs, team, classes)
        simulated = int(theirs["simulated"].sum())
        found.append(Reviewer(str(name), len(theirs), simulated, median(theirs), double, sway(said)))
    return Reviewers(
        now_us=now_us,
        days=DAYS,
        share=project.charter.review.double_share,
        team=team,
        waiting=waiting["second"].n if "second" in waiting else 0,
        to_adjudicate=waiting["adjudication"].n if "adjudication" in waiting else 0,
        missed=unanswered(workspace.db, "second", since),
        left=unanswered(workspace.db, "adjudication", since),
        timeouts=_timeouts(by_deadline(workspace.db, since), int((rows["kind"] == "decision").sum())),
        on_timeout=project.charter.review.on_timeout,
        safe_default=project.charter.safe_default,
        overdue=workspace.items.due_by([now_us])[0],
        audits_left=unanswered(workspace.db, "audit", since),
        reviewers=tuple(sorted(found, key=lambda one: (-one.answered, one.reviewer))),
    )


def _timeouts(late: int, answered: int) -> Estimate:
    return (
        wilson(late, late + answered) if late + answered else undefined("no case that somebody waits for was answered")
    )


def people_view(visit: Visit, params: Empty) -> Reviewers:
    """The owner's table. Raises ``Unavailable`` when the database is gone."""
    return reviewers_of(visit.project, visit.now_us)


PAGE = Page(
    name="review.people",
    path="/review/people",
    title="Reviewers",
    section="review",
    view=people_view,
    params=Empty,
    result=Reviewers,
    template="review_people.html",
    may="administer",
    live=("items",),
)
