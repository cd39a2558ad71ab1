"""The charter's metrics and goals as the pages about models show them: units, what can be told, what is met."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from andon.core.verdict import Verdict
from andon.measure.estimate import Estimate
from andon.measure.gate import gate
from andon.surface.station import State, bound_text, unit_shown

if TYPE_CHECKING:
    from andon.scope.charter import Charter

__all__ = ["GoalOf", "MetricHead", "Standing", "behind", "goals_of", "heads", "standing", "told", "wider"]

_WORDS: dict[Verdict, tuple[State, str]] = {
    Verdict.PASS: ("good", "met"),
    Verdict.UNSURE: ("look", "not enough evidence"),
    Verdict.ERROR: ("look", "could not be measured"),
    Verdict.FAIL: ("stop", "not met"),
}
_ORDER: tuple[State, ...] = ("idle", "good", "look", "stop")
_CLASS = re.compile(r"\s*(recall|precision|specificity|f1)\s*\[\s*(['\"]?)(.*)\2\s*\]\s*\Z", re.DOTALL)


class MetricHead(msgspec.Struct, frozen=True):
    """One metric of the charter. ``better`` is "up" or "down" where one way is better; ``goal`` is as it is written."""

    name: str
    of: str
    where: str | None
    unit: str
    better: str | None
    goal: str | None
    goal_text: str
    critical: bool


class GoalOf(msgspec.Struct, frozen=True):
    """One goal held against one figure; ``cohort`` is a slice of the charter ("" is everybody)."""

    metric: str
    cohort: str
    figure: Estimate
    unit: str
    goal_text: str
    verdict: str
    state: State
    word: str
    sentence: str


class Standing(msgspec.Struct, frozen=True):
    """All goals in one word; ``later`` are those that only live traffic can tell, ``worst`` says the gravest in a sentence."""

    state: State
    word: str
    met: int
    of: int
    later: tuple[str, ...] = ()
    worst: str = ""


def heads(charter: Charter, known: Mapping[str, Estimate]) -> tuple[MetricHead, ...]:
    """Every metric, those with a goal first; ``known`` are figures from which a missing unit is found."""
    from andon.measure.metric import parse_metric

    made = []
    for name, spec in charter.metrics.items():
        metric = parse_metric(spec.of, charter.target.classes)
        unit = unit_shown(metric.unit, known[name]) if name in known else metric.unit
        text = bound_text(spec.goal, unit) if spec.goal is not None else ""
        goal = str(spec.goal) if spec.goal is not None else None
        made.append(MetricHead(name, spec.of, spec.where, unit, metric.direction, goal, _signs(text), spec.critical))
    return tuple(sorted(made, key=lambda one: one.goal is None))


def _signs(text: str) -> str:
    return text.replace("<=", "≤").replace(">=", "≥")


def told(one: Estimate | None) -> bool:
    """Whether held-out rows can tell this at all: only a column that they do not have keeps them from it."""
    from andon.model.evaluate import UNKNOWN

    return one is not None and (one.defined or not (one.reason or "").endswith(UNKNOWN))


def goals_of(
    charter: Charter,
    heads: Sequence[MetricHead],
    metrics: Mapping[str, Estimate],
    slices: Mapping[str, Mapping[str, Estimate]],
) -> tuple[GoalOf, ...]:
    """Every goal that these figures can tell; a critical one on every slice too, as `andon release` holds them."""
    found: list[GoalOf] = []
    for head in heads:
        figures = {"": metrics} | (dict(slices) if head.critical else {})
        found += [_goal(charter, head, part[head.name], name) for name, part in figures.items() if head.name in part]
    return tuple(one for one in found if one.verdict)


def _goal(charter: Charter, head: MetricHead, figure: Estimate, cohort: str) -> GoalOf:
    bound = charter.metrics[head.name].goal
    if bound is None or not told(figure):
        return GoalOf(head.name, cohort, figure, head.unit, head.goal_text, "", "idle", "", "")
    found = gate(head.name, figure, bound, cohort)
    state, word = _WORDS[found.verdict]
    return GoalOf(
        head.name, cohort, figure, head.unit, head.goal_text, found.verdict.value, state, word, found.sentence
    )


def standing(goals: Sequence[GoalOf], heads: Sequence[MetricHead]) -> Standing:
    """All of them in one word."""
    later = tuple(one.name for one in heads if one.goal is not None and all(goal.metric != one.name for goal in goals))
    if not goals:
        return Standing("idle", "no goal to meet", 0, 0, later)
    worst = max(goals, key=lambda one: _ORDER.index(one.state))
    met = sum(one.state == "good" for one in goals)
    word = f"{met} of {len(goals)} met" if worst.state == "good" else f"{met} of {len(goals)} met, {_rest(goals)}"
    return Standing(worst.state, word, met, len(goals), later, "" if worst.state == "good" else worst.sentence)


def _rest(goals: Sequence[GoalOf]) -> str:
    missed = sum(one.state == "stop" for one in goals)
    open_ = sum(one.state == "look" for one in goals)
    return " and ".join(text for n, text in ((missed, f"{missed} not met"), (open_, f"{open_} unsure")) if n)


def behind(of: str) -> dict[str, str]:
    """Which examples stand behind a metric's errors, as parameters of the examples' page.

    >>> behind("recall[positive]"), behind("precision['a b']"), behind("mean(cough)")
    ({'label': 'positive', 'show': 'wrong'}, {'prediction': 'a b', 'show': 'wrong'}, {})
    """
    if found := _CLASS.fullmatch(of):
        kind, _, name = found.groups()
        if kind == "f1":
            return {"show": "wrong"}
        return {"label" if kind == "recall" else "prediction": name.strip(), "show": "wrong"}
    word = re.split(r"[\[(\s]", of.strip())[0]
    if word in ("accuracy", "error_rate", "macro_f1", "value"):
        return {"show": "wrong"}
    return {"show": "silent"} if word == "null_outputs" else {}


def wider(figures: Sequence[Mapping[str, Estimate]], heads: Sequence[MetricHead]) -> tuple[MetricHead, ...]:
    """Those metrics that some of these figures can tell."""
    return tuple(one for one in heads if any(told(part.get(one.name)) for part in figures))
