"""Goals against where they stand: on the rows a release never learnt from, and in the last window of the line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from andon.core.verdict import Verdict
from andon.measure.estimate import Estimate, undefined
from andon.measure.gate import Bound, gate
from andon.surface.station import Known, State, bound_text

if TYPE_CHECKING:
    from andon.model.run import Run
    from andon.monitor.overview import View
    from andon.scope.charter import Charter
    from andon.scope.section import MetricSpec
    from andon.store.workspace import Workspace

__all__ = ["Goal", "Goals", "Standing", "goals_of"]

_WORDS: dict[Verdict, tuple[State, str]] = {
    Verdict.PASS: ("good", "met"),
    Verdict.UNSURE: ("look", "not enough evidence"),
    Verdict.ERROR: ("look", "could not be measured"),
    Verdict.FAIL: ("stop", "not met"),
}
_PHASES: dict[str, tuple[State, str]] = {
    "firing": ("stop", "rings"),
    "recovering": ("look", "recovering"),
    "pending": ("look", "may ring soon"),
}


class Standing(msgspec.Struct, frozen=True):
    """A figure held against a bound: ``verdict`` is pass, fail, unsure or error, or "" where there is no bound.

    ``cohort`` is a slice of the charter ("" is everyone); ``word`` says the verdict for people.
    """

    figure: Estimate
    verdict: str = ""
    state: State = "idle"
    word: str = ""
    cohort: str = ""
    sentence: str = ""


class Goal(msgspec.Struct, frozen=True):
    """One metric of the charter: what it should be, and where it stands.

    ``goal`` and ``alarm`` are as the charter has them, ``goal_text`` and ``alarm_text`` in the metric's unit.
    ``held_out`` is of the release's held-out rows (None: they cannot tell), by slice too where the metric is critical;
    ``live`` of the last window that is over, which began at ``live_us``.
    """

    metric: str
    of: str
    where: str | None
    unit: str
    critical: bool
    then: Literal["notify", "people", "rollback"]
    for_windows: int
    goal: str | None
    goal_text: str
    alarm: str | None
    alarm_text: str
    held_out: Standing | None
    held_out_slices: tuple[Standing, ...]
    live: Standing
    live_us: int | None = None


class Goals(msgspec.Struct, frozen=True):
    """All metrics. ``release`` is the one judged, the live one if there is one, by its ``run``; ``says`` tells it."""

    rows: tuple[Goal, ...]
    release: str | None
    run: str | None
    says: str


def goals_of(workspace: Workspace, charter: Charter, known: Known) -> Goals:
    """Every metric of a charter, as far as the database can be read."""
    from andon.monitor.overview import overview

    version, run, says = _judged(workspace, known)
    views = (
        known.ask(lambda: overview(workspace, charter, only=list(charter.metrics), windows=24))
        if charter.metrics
        else []
    )
    by_name = {view.name: view for view in views or ()}
    rows = tuple(_goal(charter, name, run, by_name.get(name), known.trouble) for name in charter.metrics)
    return Goals(rows, version, run.id if run is not None else None, says)


def _judged(workspace: Workspace, known: Known) -> tuple[str | None, Run | None, str]:
    """The release whose held-out rows count: the live one, else the newest."""
    from andon.deploy.release import releases
    from andon.model.run import find_run

    route = workspace.routes.current()
    made = known.ask(lambda: releases(workspace))
    if made is None:
        return None, None, f"Releases are not known now: {known.why}."
    if not made:
        return None, None, "There is no release yet, so no goal is judged on held-out rows."
    live = next((one for one in made if route is not None and one.version == route.live), None)
    chosen = live or made[-1]
    run = known.ask(lambda: find_run(workspace, chosen.run))
    if run is None:
        return chosen.version, None, f"The run of {chosen.version} is not known now: {known.why}."
    which = "is live" if live is not None else "is the newest release; none is live"
    part = f"part “{run.part}”" if run.part else "held-out rows"
    return (
        chosen.version,
        run,
        f"{chosen.version} {which}; it is judged on the {part} of its data, which it never learnt from.",
    )


def _goal(charter: Charter, name: str, run: Run | None, view: View | None, trouble: str) -> Goal:
    from andon.measure.metric import parse_metric

    spec = charter.metrics[name]
    metric = parse_metric(spec.of, charter.target.classes)
    held = run.metrics.get(name) if run is not None else None
    live = view.current if view is not None else undefined(trouble or "not known now")
    # The mean of a yes-or-no input has no unit of its own and is a share.
    unit = "share" if not metric.unit and "wilson" in (live.method, held.method if held else "") else metric.unit
    return Goal(
        metric=name,
        of=spec.of,
        where=spec.where,
        unit=unit,
        critical=spec.critical,
        then=spec.then,
        for_windows=spec.for_windows,
        goal=_text(spec.goal),
        goal_text=bound_text(spec.goal, unit) if spec.goal is not None else "",
        alarm=_text(spec.alarm),
        alarm_text=bound_text(spec.alarm, unit) if isinstance(spec.alarm, Bound) else spec.alarm or "",
        held_out=_held(name, held, spec) if held is not None else None,
        held_out_slices=_held_slices(name, run, spec),
        live=_live(name, spec, live, view),
        live_us=view.start_us if view is not None else None,
    )


def _text(bound: Bound | str | None) -> str | None:
    return None if bound is None else str(bound)


def _held(name: str, figure: Estimate, spec: MetricSpec, cohort: str = "") -> Standing:
    if spec.goal is None:
        return Standing(figure, cohort=cohort)
    found = gate(name, figure, spec.goal, cohort)
    state, word = _WORDS[found.verdict]
    return Standing(figure, found.verdict.value, state, word, cohort, found.sentence)


def _held_slices(name: str, run: Run | None, spec: MetricSpec) -> tuple[Standing, ...]:
    """A critical goal must hold on every slice, too."""
    if run is None or not spec.critical or spec.goal is None:
        return ()
    return tuple(_held(name, part[name], spec, cohort) for cohort, part in run.slices.items() if name in part)


def _live(name: str, spec: MetricSpec, figure: Estimate, view: View | None) -> Standing:
    """The last window against the alarm; without one, against the goal."""
    if view is None:
        return Standing(figure, word="not known now", state="look")
    if spec.alarm is not None:
        verdict = Verdict(view.verdict) if view.verdict else None
        state, word = _rings(view, verdict)
        return Standing(figure, view.verdict or "", state, word, view.cohort, view.sentence or "")
    if spec.goal is not None and figure.defined:
        found = gate(name, figure, spec.goal)
        state, word = _WORDS[found.verdict]
        return Standing(figure, found.verdict.value, state, word, "", found.sentence)
    return Standing(figure)


def _rings(view: View, verdict: Verdict | None) -> tuple[State, str]:
    if view.phase in _PHASES:
        state, word = _PHASES[view.phase]
        seen = view.phase == "firing" and view.acknowledged_by
        return ("look", f"rings, seen by {view.acknowledged_by}") if seen else (state, word)
    if verdict is None:
        return "idle", "not judged yet"
    return ("good", "quiet") if verdict is Verdict.PASS else ("look", _WORDS[verdict][1])
