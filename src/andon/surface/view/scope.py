"""The Scope page: what the line is for, how far it is from its goals, and what an edit of ``andon.yaml`` would change.

The charter that is shown is the one in force: while the line runs, the one that it took when it started; else the file as
it is now. An edit goes through the file; nothing here changes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from andon.surface.page import Empty, Page
from andon.surface.station import Known, State, count
from andon.surface.view.scope_answers import Questions, Risks, questions_of, risks_of
from andon.surface.view.scope_charter import CharterText, charter_text
from andon.surface.view.scope_file import CharterFile, Source, read_source
from andon.surface.view.scope_goals import Goals, goals_of

if TYPE_CHECKING:
    from andon.surface.visit import Visit

__all__ = ["PAGES", "ScopeView", "scope_view"]


class ScopeView(msgspec.Struct, frozen=True):
    """The whole page. ``shown`` says which charter it is of; ``trouble`` what could not be read."""

    project: str
    state: State
    sentence: str
    shown: str
    file: CharterFile
    charter: CharterText
    goals: Goals
    risks: Risks
    questions: Questions
    trouble: str = ""


def scope_view(visit: Visit, params: Empty) -> ScopeView:
    """What the charter in force says and where it stands. Raises ``Unavailable`` when the workspace cannot be read."""
    project, known = visit.project, Known()
    source = read_source(project)
    charter = source.shown
    goals = goals_of(project.workspace, charter, known)
    risks = risks_of(charter, goals.rows)
    questions = questions_of(charter, source.lines)
    state, sentence = _judged(source, goals, risks, questions)
    return ScopeView(
        project=charter.project,
        state=state,
        sentence=sentence,
        shown=source.says,
        file=source.file,
        charter=charter_text(charter, source.lines),
        goals=goals,
        risks=risks,
        questions=questions,
        trouble=known.trouble,
    )


def _judged(source: Source, goals: Goals, risks: Risks, questions: Questions) -> tuple[State, str]:
    """The page in one sentence: how much is asked for, and the gravest thing that is the matter."""
    aimed = sum(row.goal is not None for row in goals.rows)
    size = f"{count(aimed, 'goal')}, {count(len(risks.rows), 'risk')}"
    unseen, rings = len(risks.without_metric), sum(row.state == "stop" for row in risks.rows)
    matters: list[tuple[State, str]] = [
        ("stop", count(len(source.file.faults), "fault") + " in the file" if source.file.faults else ""),
        ("look", "no goal: no release could be good enough" if not aimed else ""),
        ("stop", count(rings, "risk") + " showing now" if rings else ""),
        ("look", count(unseen, "risk") + " that no metric shows" if unseen else ""),
        ("look", count(len(source.file.changes), "change") + " not taken yet" if source.file.changes else ""),
        ("look", count(questions.left, "question") + " left to a default" if questions.left else ""),
    ]
    told = [(state, text) for state, text in matters if text]
    if not told:
        return "good", f"{size}; every question is answered, every risk has an alarm"
    return told[0][0], "; ".join([size, *(text for _, text in told)])


PAGES = (
    Page(
        name="scope",
        path="/scope",
        title="Scope",
        section="scope",
        view=scope_view,
        params=Empty,
        result=ScopeView,
        template="scope.html",
        live=("route", "windows"),
    ),
)
