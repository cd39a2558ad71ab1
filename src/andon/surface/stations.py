"""The five stations, Scope, Data, Model, Deploy, Watch: is it good, by which figure, and what to do next?

They read what is recorded and decide nothing. What cannot be read is said (``look``), never taken for good; what has
not begun is ``idle`` and says how to begin.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from andon.core.record import Route
from andon.core.verdict import Verdict
from andon.measure.estimate import Estimate, exact, wilson
from andon.measure.gate import Bound, GateResult, gate
from andon.surface.reads import alarms_of, last_windows, runs_of, shown_run
from andon.surface.station import Known, State, Station, bound_text, count, figure_text, minute, unit_shown

if TYPE_CHECKING:
    from andon.config import Project
    from andon.deploy.release import Release
    from andon.model.run import Run
    from andon.monitor.alarm import Alarm

__all__ = [
    "data_station",
    "deploy_station",
    "model_station",
    "rings",
    "rows_to_settle",
    "scope_station",
    "unit_of",
    "unknown",
    "watch_station",
]

_BADNESS = [Verdict.PASS, Verdict.UNSURE, Verdict.ERROR, Verdict.FAIL]
_SAYS = {
    Verdict.PASS: "met",
    Verdict.UNSURE: "not enough evidence",
    Verdict.ERROR: "could not be measured",
    Verdict.FAIL: "not met",
}
_PHASES = ("firing", "recovering", "pending")


# ------------------------------------------------------------------------------------------------------------- scope


def scope_station(project: Project) -> Station:
    """What the charter asks for, and what it leaves open."""
    from andon.scope.checklist import QUESTIONS, unanswered

    charter = project.charter
    goals = sum(spec.goal is not None for spec in charter.metrics.values())
    left = unanswered(charter)
    good, detail, next_ = _scope(project, goals, [one.asks for one in left])
    return Station(
        name="Scope",
        state="good" if good else "look",
        headline=f"{count(goals, 'goal')}, {count(len(charter.risks), 'risk')}",
        detail=detail,
        next=next_,
        metric="questions answered",
        figure=exact(len(QUESTIONS) - len(left), len(QUESTIONS)),
        unit="questions",
        goal=f">= {len(QUESTIONS)}",
    )


def _scope(project: Project, goals: int, left: list[str]) -> tuple[bool, str, str]:
    """(whether all is well, what there is to say, what next), the gravest first."""
    from andon.scope.checklist import doubts
    from andon.scope.risk import risks_without_metric

    if not goals:
        return False, "no goal: no release could be good enough", "give a metric a `goal:` in andon.yaml"
    if unseen := risks_without_metric(project.charter):
        return False, f"no metric shows the risk: {unseen[0]}", "name its metric in `shows_in:` in andon.yaml"
    if doubtful := doubts(project.charter):
        return False, doubtful[0], "`andon check` lists what is doubtful"
    if left:
        return False, f"{count(len(left), 'question')} left to a default: {left[0]}", "`andon check` lists them all"
    return True, "every question is answered, every risk has a metric", "`andon scope show` reads it back"


# -------------------------------------------------------------------------------------------------------------- data


def data_station(project: Project, known: Known) -> Station:
    """The newest dataset: how many rows, and how many did not fit the contract."""
    from andon.data.dataset import listing

    found = known.ask(lambda: listing(project.workspace))
    trained = runs_of(project, known)
    if found is None:
        return unknown("Data", known)
    if not found:
        return Station("Data", "idle", "no data yet", "nothing is frozen", "`andon data add FILE`")
    newest = found[-1]
    next_ = "`andon data show` has every column"
    if newest.rejected:
        next_ = "`andon data show` says why they did not fit"
    elif trained is not None and all(run.dataset != newest.version for run in trained):
        next_ = "`andon train` learns from it"
    labels = ", ".join(f"{label} {n:,}" for label, n in newest.labels.items())
    left_out = f"; {count(newest.rejected, 'row')} left out" if newest.rejected else ""
    return Station(
        name="Data",
        state="look" if newest.rejected else "good",
        headline=f"{count(newest.rows, 'row')} of {newest.name}",
        detail=f"{labels}{left_out}; version {newest.version}",
        next=next_,
        metric="rows that fit the contract",
        figure=wilson(newest.rows, newest.rows + newest.rejected),
        unit="share",
        goal=">= 1",
    )


# ------------------------------------------------------------------------------------------------------------- model


def model_station(project: Project, known: Known, route: Route | None) -> Station:
    """The run behind the live release, else of the newest release, else the newest: the goal that is worst met."""
    trained, found = runs_of(project, known), shown_run(project, known, route)
    if trained is None or (trained and found is None):
        return unknown("Model", known)
    if found is None:
        return Station("Model", "idle", "no model yet", "nothing is trained", "`andon train` trains model.py")
    shown, run = found
    if run.status != "done":
        return Station("Model", "look", f"{run.id} {run.status}", run.error, "mend model.py, then `andon train`")
    name = shown.version if shown is not None else run.id
    results = _gates(project, run)
    if not results:
        said = "the charter has no goal that held-out data can tell"
        return Station(
            "Model", "look", f"{name} is held against nothing", said, "give a metric a `goal:` in andon.yaml"
        )
    return _judged(project, name, results, _model_next(run, shown, _worst(project, results)))


def _judged(project: Project, name: str, results: Sequence[GateResult], next_: str) -> Station:
    worst = _worst(project, results)
    unit = unit_of(project, worst)
    met = sum(one.verdict is Verdict.PASS for one in results)
    rest = f"; {met} of {len(results)} goals met" if len(results) > 1 else ""
    return Station(
        name="Model",
        state="good" if worst.verdict is Verdict.PASS else "look",
        headline=f"{name}: {_named(worst)} {figure_text(worst.estimate, unit)}",
        detail=f"goal {bound_text(worst.bound, unit)}: {_SAYS[worst.verdict]}{rest}",
        next=next_,
        metric=_named(worst),
        figure=worst.estimate,
        unit=unit,
        goal=str(worst.bound),
    )


def _worst(project: Project, results: Sequence[GateResult]) -> GateResult:
    metrics = project.charter.metrics
    return max(results, key=lambda one: (_BADNESS.index(one.verdict), metrics[one.metric].critical))


def _gates(project: Project, run: Run) -> list[GateResult]:
    """A run's figures against the goals of the charter as it is now, critical ones on every slice too.

    Goals that only live traffic can tell are left out: the Watch station has them.
    """
    from andon.model.evaluate import UNKNOWN

    results = []
    for name, spec in project.charter.metrics.items():
        if isinstance(spec.goal, Bound) and name in run.metrics:
            if (run.metrics[name].reason or "").endswith(UNKNOWN):
                continue
            results.append(gate(name, run.metrics[name], spec.goal))
            parts = run.slices if spec.critical else {}
            results += [gate(name, part[name], spec.goal, cohort) for cohort, part in parts.items() if name in part]
    return results


def _model_next(run: Run, shown: Release | None, worst: GateResult) -> str:
    if worst.verdict is Verdict.UNSURE and (more := rows_to_settle(worst.estimate, worst.bound)):
        return f"about {more:,} more such cases would settle it, if it stays so"
    if worst.verdict is not Verdict.PASS:
        return f"`andon errors {run.id}` shows where there is room to improve"
    if shown is None:
        return f"`andon release {run.id}` makes it a version"
    return f"`andon errors {run.id}` shows what to work on next"


def rows_to_settle(estimate: Estimate, bound: Bound) -> int | None:
    """How many more rows would bring the interval inside the bound if the value stays; None where none would.

    An interval shrinks with the root of the number of rows; so this is a first guess, and no promise.

    >>> rows_to_settle(wilson(90, 100), Bound.parse(">= 0.85"))
    122
    >>> rows_to_settle(wilson(80, 100), Bound.parse(">= 0.85")) is None
    True
    """
    if estimate.value is None or not bound.holds(estimate.value):
        return None
    needed = 1.0
    for limit, end in ((bound.low, estimate.low), (bound.high, estimate.high)):
        if limit is None:
            continue
        if end is None or limit == estimate.value:
            return None
        needed = max(needed, ((estimate.value - end) / (estimate.value - limit)) ** 2)
    return math.ceil(estimate.n * (needed - 1)) or None


# ------------------------------------------------------------------------------------------------------------ deploy


def deploy_station(project: Project, known: Known, route: Route | None, faults: Sequence[str] | None) -> Station:
    """Who answers, and how much of it by a model. ``faults``: what the workers say is wrong; None where none runs."""
    if route is None or not (route.live or route.candidate or route.shadows or route.stopped):
        made = known.ask(lambda: project.workspace.records.names("release"))
        next_ = "release a model first: `andon release RUN`"
        if made:
            next_ = f"`andon deploy {_first_step(project)} {made[-1]}`"
        return Station("Deploy", "idle", "no model answers", "people decide every case", next_)
    figure, trend = last_windows(project, known, "automatic_share")
    state, next_ = _deployed(route, faults)
    by = f"route {route.epoch} by {route.actor}, {minute(route.time_us)}"
    share = f"{figure_text(figure, 'share')} automatic; " if figure is not None and figure.defined else ""
    return Station(
        name="Deploy",
        state=state,
        headline=_who(route),
        detail=share + by,
        next=next_,
        metric="automatic_share",
        figure=figure,
        unit="share",
        trend=trend,
    )


def _who(route: Route) -> str:
    if route.stopped:
        return "stopped: " + (
            "people decide" if route.stopped == "people" else f"every answer is {route.safe_default!r}"
        )
    parts = [f"{route.live} live" if route.live else "people decide"]
    if route.candidate:
        parts.append(f"{route.candidate} on {route.share * 100:.3g} %" if route.share else f"{route.candidate} ready")
    if route.shadows:
        parts.append(f"{', '.join(route.shadows)} in shadow")
    return ", ".join(parts)


def _deployed(route: Route, faults: Sequence[str] | None) -> tuple[State, str]:
    if route.stopped:
        return "stop", "`andon start --reason WHY` when it is mended"
    if faults is None:
        return "idle", "`andon up` lets it answer"
    if faults:
        return "look", faults[0]
    partial = "partial" in route.levels.values() and "full" not in route.levels.values()
    if partial and route.live and not any(key.startswith(f"{route.live}/") for key in route.thresholds):
        return "look", "nothing is automatic yet: `andon automate partial` asks again when labels have come"
    if route.candidate:
        return "good", "`andon deploy ramp SHARE`, `andon deploy switch`, or `andon deploy rollback`"
    if route.shadows:
        return "good", f"`andon deploy compare {route.shadows[-1]}` sets it beside those who decide"
    return "good", "`andon deploy rollback` is the way back"


def _first_step(project: Project) -> str:
    """The command that begins the charter's path to live."""
    path = project.charter.rollout.path
    return {"shadow": "shadow", "canary": "canary"}.get(path[0] if path else "", "blue-green")


# ------------------------------------------------------------------------------------------------------------- watch


def watch_station(project: Project, known: Known, up: bool) -> Station:
    """The alarm that matters most: one that rings, else one that may, else the first. ``up``: whether the line runs."""
    from andon.monitor.alarm import alarm_key
    from andon.monitor.watch import watched

    keys = [alarm_key(one.metric, one.cohort) for one in watched(project.charter)]
    if not keys:
        return Station("Watch", "look", "no alarm", "nothing would ring", "give a metric an `alarm:` in andon.yaml")
    stored = alarms_of(project, known)
    if stored is None:
        return unknown("Watch", known)
    found = [stored[key] for key in keys if key in stored and stored[key].result is not None]
    if not found:
        minutes = project.charter.monitor.window_us / 60e6
        next_ = f"windows are judged when they are over, after {minutes:g} min" if up else "`andon up` starts the line"
        return Station("Watch", "idle", "nothing is judged yet", f"{count(len(keys), 'alarm')} set", next_)
    return _watching(project, known, found, len(keys))


def rings(alarm: Alarm) -> bool:
    """Whether it fires and nobody has said that they saw it."""
    return alarm.phase == "firing" and not alarm.acknowledged_by


def _watching(project: Project, known: Known, found: list[Alarm], asked: int) -> Station:
    worst = min(found, key=lambda one: (not rings(one), _PHASES.index(one.phase) if one.phase in _PHASES else 9))
    result = worst.result
    assert result is not None
    unit = unit_of(project, result)
    quiet = worst.phase not in _PHASES
    _, trend = last_windows(project, known, worst.metric, worst.cohort)
    return Station(
        name="Watch",
        state="stop" if rings(worst) else "good" if quiet else "look",
        headline=f"{_named(result)} {figure_text(result.estimate, unit)}",
        detail=_quiet(found, asked) if quiet else _loud(found, worst, bound_text(result.bound, unit)),
        next=_watch_next(worst),
        metric=_named(result),
        figure=result.estimate,
        unit=unit,
        goal=str(result.bound),
        trend=trend,
    )


def _quiet(found: list[Alarm], asked: int) -> str:
    unsure = asked - sum(one.result is not None and one.result.verdict is Verdict.PASS for one in found)
    return f"{count(asked, 'alarm')}, none rings" + (f"; {unsure} without enough evidence" if unsure else "")


def _loud(found: list[Alarm], worst: Alarm, bound: str) -> str:
    others = sum(one.phase in _PHASES for one in found) - 1
    seen = f", seen by {worst.acknowledged_by}" if worst.acknowledged_by else ""
    rest = f"; {others} more up" if others else ""
    return f"bound {bound}; {worst.phase} since {minute(worst.since_us)}{seen}{rest}"


def _watch_next(worst: Alarm) -> str:
    if rings(worst):
        return f"`andon monitor show {worst.metric}`, then `andon alarms ack {worst.key}`"
    if worst.phase in _PHASES:
        return f"`andon monitor show {worst.metric}` shows where it goes"
    return "`andon monitor show` has every metric"


# ------------------------------------------------------------------------------------------------------------ shared


def unknown(name: str, known: Known) -> Station:
    """A station that cannot be read now; that is no good news."""
    return Station(name, "look", "not known now", known.why, "the line answers on; look again when it is back")


def _named(result: GateResult) -> str:
    return f"{result.metric} on {result.cohort}" if result.cohort else result.metric


def unit_of(project: Project, result: GateResult) -> str:
    """The metric's unit; the mean of a yes-or-no input has none of its own and is a share."""
    from andon.measure.metric import parse_metric

    spec = project.charter.metrics.get(result.metric)
    unit = parse_metric(spec.of, project.charter.target.classes).unit if spec is not None else ""
    return unit_shown(unit, result.estimate)
