"""One run: how good it is and where, against which goals, what it takes for what, where to improve, and what it is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec

from andon.core.registry import did_you_mean
from andon.errors import NotFound
from andon.measure.estimate import Estimate
from andon.model.calibration import Covered, Reliability
from andon.model.priority import Priority, Total
from andon.surface.view.models_baseline import BaselineRow, baselines_of
from andon.surface.view.models_became import Became, became_of
from andon.surface.view.models_examples import readable_slices
from andon.surface.view.models_goal import GoalOf, MetricHead, Standing, behind, goals_of, heads, standing, told, wider
from andon.surface.view.models_kept import kept
from andon.surface.view.models_matrix import Matrix, matrix_of
from andon.surface.view.models_sealed import BundleView, Given, bundle_of, given_of

if TYPE_CHECKING:
    import polars as pl

    from andon.config import Project
    from andon.model.evaluate import Evaluation
    from andon.model.priority import Priorities
    from andon.model.run import Run
    from andon.surface.visit import Visit

__all__ = ["RunParams", "RunView", "run_view"]

#: Whiskers that are drawn at most, so that the page stays small; the table has all.
_WHISKERS = 60


class RunParams(msgspec.Struct, frozen=True):
    """Which run; ``slice`` is the slice that the matrix and the confidence are shown of."""

    run: Annotated[str, msgspec.Meta(max_length=200, description="A run (r3) or a release (v1).")]
    slice: Annotated[str, msgspec.Meta(max_length=500, description="A slice of the charter; empty is everybody.")] = ""


class Figures(msgspec.Struct, frozen=True):
    """One slice ("" is everybody) with its rows and its figures by metric."""

    slice: str
    n: int
    metrics: dict[str, Estimate]


class Chart(msgspec.Struct, frozen=True):
    """One metric on every slice and of every baseline, to be drawn: (name, estimate)."""

    metric: MetricHead
    rows: tuple[tuple[str, Estimate], ...]
    left_out: int = 0


class Improvable(msgspec.Struct, frozen=True):
    """Where to improve: slices by room x share. ``by`` says whether they are the charter's slices or the true classes."""

    by: str
    rows: tuple[Priority, ...]
    total: Total
    tied: bool
    compared: bool


class Measured(msgspec.Struct, frozen=True):
    """How good the run is on the rows that it held out. ``behind`` leads from a metric to the examples of its errors.

    ``changed`` are metrics whose figure is not what was stored when the run was made: the charter has changed since.
    """

    figures: tuple[Figures, ...]
    charts: tuple[Chart, ...]
    goals: tuple[GoalOf, ...]
    behind: dict[str, dict[str, str]]
    changed: tuple[str, ...]
    unlabelled: int
    matrix: Matrix
    reliability: Reliability
    coverage: tuple[Covered, ...]
    room: Improvable | None


class RunView(msgspec.Struct, frozen=True):
    """One run. ``measured`` is None for a failed one; ``metrics`` are those that held-out rows can tell.

    ``other`` are the figures of the other parts, ``before`` is the run before this one.
    """

    id: str
    status: str
    error: str
    notes: tuple[str, ...]
    time_us: int
    actor: str
    part: str
    wall_seconds: float
    cpu_seconds: float
    peak_mb: float
    given: Given
    bundle: BundleView | None
    became: tuple[Became, ...]
    goals: Standing
    metrics: tuple[MetricHead, ...]
    other: dict[str, dict[str, Estimate]]
    baselines: tuple[BaselineRow, ...]
    slices: tuple[str, ...]
    slice: str
    measured: Measured | None
    before: str


def run_view(visit: Visit, params: RunParams) -> RunView:
    """Everything about one run. Raises ``NotFound`` for an unknown run or slice."""
    from andon.model.run import find_run

    project = visit.project
    run = find_run(project.workspace, params.run)
    done = run.status == "done"
    slices = tuple(readable_slices(project, run)) if done else ()
    if params.slice and params.slice not in slices:
        raise NotFound(
            f"no slice that this run can tell is called {params.slice!r}; {did_you_mean(params.slice, slices)}"
        )
    every = heads(project.charter, run.metrics)
    baselines = baselines_of(project, run) if done else ()
    measured = (
        kept(project, "run", (run.id, params.slice), lambda: _measured(project, run, params.slice)) if done else None
    )
    return RunView(
        id=run.id,
        status=run.status,
        error=run.error,
        notes=run.notes,
        time_us=run.time_us,
        actor=run.actor,
        part=run.part,
        wall_seconds=run.wall_seconds,
        cpu_seconds=run.cpu_seconds,
        peak_mb=run.peak_mb,
        given=given_of(project.workspace, run),
        bundle=bundle_of(project.workspace, run),
        became=became_of(project).get(run.id, ()),
        goals=standing(measured.goals, every) if measured is not None else Standing("stop", run.status, 0, 0),
        metrics=wider([part.metrics for part in measured.figures], every) if measured is not None else (),
        other=run.other,
        baselines=baselines,
        slices=slices,
        slice=params.slice,
        measured=measured,
        before=_before(project, run),
    )


def _before(project: Project, run: Run) -> str:
    names = project.workspace.records.names("run")
    at = names.index(run.id)
    return names[at - 1] if at else ""


def _measured(project: Project, run: Run, slice: str) -> Measured:
    """The charter's metrics as they are today on what the run answered then."""
    from andon.model.calibration import coverage, reliability
    from andon.model.evaluate import confusion
    from andon.model.run import predictions
    from andon.model.table import cohorts
    from andon.model.training import evaluation

    charter = project.charter
    records = predictions(project.workspace, run)
    found = evaluation(records, charter)
    parts = cohorts(records, slices={name: charter.slices[name] for name in found.slices})
    every = heads(charter, found.metrics)
    shown = records.filter(parts[slice]) if slice else records
    sizes = {name: int(mask.sum()) for name, mask in parts.items()}
    figures = [Figures("", records.height, found.metrics)]
    figures += [Figures(name, sizes[name], metrics) for name, metrics in found.slices.items()]
    return Measured(
        figures=tuple(figures),
        charts=_charts(figures, baselines_of(project, run), every),
        goals=goals_of(charter, every, found.metrics, found.slices),
        behind={one.name: behind(one.of) for one in every},
        changed=_changed(run, found),
        unlabelled=int(shown["label"].null_count()),
        matrix=matrix_of(confusion(shown, charter.target.classes)),
        reliability=reliability(shown),
        coverage=tuple(coverage(shown)),
        room=_room(project, records, parts),
    )


def _changed(run: Run, found: Evaluation) -> tuple[str, ...]:
    """Metrics that meant something else, or were not there, when the run was measured."""

    def same(name: str, one: Estimate) -> bool:
        stored = run.metrics.get(name)
        return not told(one) or (stored is not None and (stored.value, stored.n) == (one.value, one.n))

    return tuple(name for name, one in found.metrics.items() if not same(name, one))


def _charts(
    figures: Sequence[Figures], baselines: Sequence[BaselineRow], every: Sequence[MetricHead]
) -> tuple[Chart, ...]:
    """One chart for each metric that has a goal or is about answers, as many as there is room for."""
    metrics = wider([part.metrics for part in figures], every)
    aimed = [one for one in metrics if one.goal is not None or behind(one.of)] or list(metrics)
    charts: list[Chart] = []
    left = _WHISKERS
    for head in aimed:
        rows = [(one.slice or "everybody", one.metrics[head.name]) for one in figures if head.name in one.metrics]
        rows += [(f"{one.kind}: {one.source}", one.metrics[head.name]) for one in baselines if head.name in one.metrics]
        room = max(12, left) if not charts else left
        if room < min(len(rows), 12):
            break
        charts.append(Chart(head, tuple(rows[:room]), max(0, len(rows) - room)))
        left -= len(rows[:room])
    return tuple(charts)


def _room(project: Project, records: pl.DataFrame, parts: Mapping[str, pl.Series]) -> Improvable | None:
    """The priority table by the charter's slices or, where it names none, by the true classes."""
    import polars as pl

    from andon.model.priority import prioritise
    from andon.model.table import cohorts

    labelled = records["label"].is_not_null()
    known = records.filter(labelled)
    if not known.height:
        return None
    by = "slices" if parts else "true classes"
    inside = {name: mask.filter(labelled) for name, mask in parts.items()} or cohorts(known, ["label"])
    right = (known["prediction"] == known["label"]).fill_null(False)
    levels: dict[str, float] = {}
    if "human" in known.columns and any(one.kind == "human" for one in project.charter.baselines):
        people = (known["human"].cast(pl.String) == known["label"]).fill_null(False)
        levels = {name: float(people.filter(mask).sum()) / n for name, mask in inside.items() if (n := int(mask.sum()))}
    return _told_room(by, prioritise(right, inside, levels), bool(levels))


def _told_room(by: str, found: Priorities, compared: bool) -> Improvable:
    places = [row.rank for row in found.rows if row.rank is not None]
    return Improvable(by, tuple(found.rows), found.total, len(set(places)) < len(places), compared)
