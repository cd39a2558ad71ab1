"""The wall: every metric of the charter and of every line, each with its last figure, its bound and its trend."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import msgspec

from andon.core.verdict import Verdict
from andon.errors import UsageError
from andon.measure.estimate import Estimate
from andon.measure.gate import Bound, gate
from andon.monitor.overview import View
from andon.monitor.window import STANDARD
from andon.surface.reads import WINDOWS, metrics_of
from andon.surface.station import Known, State, bound_text, unit_shown

if TYPE_CHECKING:
    from andon.config import Project

__all__ = ["MOST", "Metric", "Wall", "wall"]

MOST = 24
"""Cards on the wall; the Watch page has all."""


class Metric(msgspec.Struct, frozen=True):
    """One metric: its last window that is over and mature, what it is held against, and how it came there.

    ``bound`` is the alarm's, else the goal, as written; ``says`` is it with its unit, for people. ``word`` says what
    ``state`` means. ``trend`` are the last windows, oldest first.
    """

    name: str
    of: str
    group: str
    unit: str
    state: State
    word: str
    current: Estimate
    start_us: int | None
    bound: str | None
    says: str
    href: str
    trend: tuple[float | None, ...]


class Wall(msgspec.Struct, frozen=True):
    """The cards, and how many metrics there are in all."""

    metrics: tuple[Metric, ...] = ()
    all: int = 0
    trouble: str = ""


def wall(project: Project, known: Known) -> Wall:
    """The charter's metrics in its order, then what else every line measures; where not all fit, none that rings is left out."""
    views = metrics_of(project, known)
    if views is None:
        return Wall(trouble=known.why)
    charter = project.charter.metrics
    measured = {*charter, *(spec.of for spec in charter.values() if spec.where is None)}
    names = [*charter, *(name for name in STANDARD if name not in measured)]
    cards = [_metric(views[name]) for name in names if name in views]
    if len(cards) > MOST:
        grave = sorted(cards, key=lambda card: card.state not in ("stop", "look"))[:MOST]
        cards = [card for card in cards if card in grave]
    return Wall(tuple(cards), len(views))


def _metric(view: View) -> Metric:
    unit = unit_shown(view.unit, view.current)
    bound = view.alarm or view.goal
    state, word = _state(view)
    return Metric(
        name=view.name,
        of=view.of,
        group=view.group,
        unit=unit,
        state=state,
        word=word,
        current=view.current,
        start_us=view.start_us,
        bound=bound,
        says=_says(bound, unit, "alarm" if view.alarm else "goal"),
        href=f"/watch/metrics/{quote(view.name, safe='')}",
        trend=tuple(point.estimate.value for point in view.points[-WINDOWS:]),
    )


def _state(view: View) -> tuple[State, str]:
    if view.phase in ("firing", "recovering", "pending"):
        rings = view.phase == "firing" and not view.acknowledged_by
        seen = f", seen by {view.acknowledged_by}" if view.acknowledged_by else ""
        return "stop" if rings else "look", f"alarm {view.phase}{seen}"
    if not view.current.defined:
        return "idle", view.current.reason or "not known"
    if view.alarm is not None:
        return _judged(view.verdict, "alarm")
    bound = _parsed(view.goal)
    if bound is None:
        return "idle", "no bound"
    return _judged(gate(view.name, view.current, bound).verdict.value, "goal")


def _judged(verdict: str | None, kind: str) -> tuple[State, str]:
    if verdict == Verdict.PASS.value:
        return "good", f"inside its {'bound' if kind == 'alarm' else 'goal'}"
    if verdict == Verdict.FAIL.value:
        return "look", "outside its bound" if kind == "alarm" else "goal not met"
    if verdict is None:
        return "idle", "not judged yet"
    return "idle", "not enough evidence"


def _parsed(text: str | None) -> Bound | None:
    try:
        return None if text is None else Bound.parse(text)
    except UsageError:
        return None


def _says(text: str | None, unit: str, kind: str) -> str:
    bound = _parsed(text)
    if bound is None:
        return text or ""
    return f"{kind} {bound_text(bound, unit)}"
