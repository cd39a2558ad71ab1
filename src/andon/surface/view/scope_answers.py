"""The checklist's questions with their answers, and the risk register with its gaps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from andon.scope.change import spelled
from andon.scope.checklist import QUESTIONS, Question, unanswered, value_at
from andon.scope.risk import metrics_without_risk, register
from andon.surface.station import State, count
from andon.surface.view.scope_goals import Goal, Standing

if TYPE_CHECKING:
    from andon.scope.charter import Charter

__all__ = ["Answer", "Questions", "RiskView", "Risks", "Shows", "answer_text", "questions_of", "risks_of"]


class Answer(msgspec.Struct, frozen=True):
    """One question: what the charter answers, on which line, what that configures, and the test that proves it.

    ``state``: good (answered, and something acts on it), look (left to a default), idle (recorded; nothing acts on it).
    """

    key: str
    asks: str
    answer: str
    answered: bool
    line: int | None
    configures: str
    test: str
    state: State
    word: str


class Questions(msgspec.Struct, frozen=True):
    """All questions, and how many of them are left to a default although something acts on them."""

    rows: tuple[Answer, ...]
    left: int
    sentence: str


class Shows(msgspec.Struct, frozen=True):
    """A metric that shows a risk, whether it has an alarm, and where it stands on the line."""

    metric: str
    alarm: bool
    live: Standing


class RiskView(msgspec.Struct, frozen=True):
    """One risk: the metrics that would show it; ``word`` is watched, or what is missing."""

    what: str
    shows_in: tuple[Shows, ...]
    state: State
    word: str


class Risks(msgspec.Struct, frozen=True):
    """The register, the risks that no metric shows, and the metrics that no risk explains."""

    rows: tuple[RiskView, ...]
    without_metric: tuple[str, ...]
    metrics_without_risk: tuple[str, ...]
    sentence: str


def questions_of(charter: Charter, lines: Mapping[str, int]) -> Questions:
    """Every question of the checklist, in its order; ``lines`` are those of the file's keys."""
    open_ = {question.key for question in unanswered(charter)}
    rows = tuple(_answer(charter, question, question.key in open_, lines.get(question.key)) for question in QUESTIONS)
    good = sum(row.state == "good" for row in rows)
    idle = sum(row.state == "idle" for row in rows)
    sentence = f"{good} of {count(len(rows), 'question')} are answered and acted on"
    sentence += f"; {len(open_)} are left to a default" if open_ else ""
    sentence += f"; on {idle} nothing acts in this release" if idle else ""
    return Questions(rows, len(open_), sentence)


def _answer(charter: Charter, question: Question, left: bool, line: int | None) -> Answer:
    value, answered = value_at(charter, question.key), charter.answered(question.key)
    idle = question.idle is not None and question.idle(value)
    if left:
        state, word = "look", "default"
    elif idle:
        state, word = "idle", "recorded only" if answered else "default; nothing acts on it"
    elif not answered:
        state, word = "idle", "default"
    elif question.configures.startswith("recorded"):
        state, word = "good", "recorded"
    else:
        state, word = "good", "in force"
    return Answer(
        key=question.key,
        asks=question.asks,
        answer=answer_text(question.key, value),
        answered=answered,
        line=line if answered else None,
        configures=question.configures,
        test=question.test,
        state=state,  # type: ignore[arg-type]
        word=word,
    )


def answer_text(key: str, value: Any) -> str:
    """An answer for people; lists of things are counted, and addresses shown without their secrets.

    >>> answer_text("review.deadline", 3_600_000_000), answer_text("metrics", {"a": 1}), answer_text("stages", ())
    ('1h', '1 metric', 'none')
    >>> answer_text("alarms.notify", ("https://user:secret@example.org/key",))
    'https://example.org'
    """
    from andon.monitor.notify import shown_target

    if key == "alarms.notify":
        return ", ".join(shown_target(target) for target in value) or "nobody"
    if key in ("metrics", "risks", "baselines", "stages"):
        return count(len(value), key.removesuffix("s")) if value else "none"
    if value in ((), "", None):
        return "nothing" if key != "problem" else ""
    text = spelled(key, value)
    return text[1:-1] if isinstance(value, tuple) else text


def risks_of(charter: Charter, goals: Sequence[Goal]) -> Risks:
    """The risk register of a charter, with where each metric stands."""
    by_name = {goal.metric: goal for goal in goals}
    rows = []
    for row in register(charter):
        shows = tuple(Shows(name, name in row.rings, by_name[name].live) for name in row.shows_in)
        loud = [one for one in shows if one.alarm and one.live.state == "stop"]
        if loud:
            state, word = "stop", f"{loud[0].metric} rings"
        elif row.state == "watched":
            state, word = "good", "watched"
        else:
            state, word = "look", row.state
        rows.append(RiskView(row.what, shows, state, word))  # type: ignore[arg-type]
    bare = tuple(row.what for row in rows if not row.shows_in)
    spare = tuple(metrics_without_risk(charter))
    return Risks(tuple(rows), bare, spare, _risk_sentence(len(rows), len(bare), len(spare)))


def _risk_sentence(risks: int, bare: int, spare: int) -> str:
    if not risks:
        return "No risk is named yet: add `risks:` to andon.yaml."
    first = "Every risk has a metric that shows it" if not bare else f"{count(bare, 'risk')} that no metric shows"
    return f"{first}; {count(spare, 'metric') + ' that no risk explains' if spare else 'every metric has a risk that explains it'}."
