"""The Models pages: every run side by side with what it became, one run with everything behind it, two or more compared."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

import msgspec

from andon.measure.estimate import Estimate
from andon.surface.page import Page
from andon.surface.view.models_baseline import BaselineRow, baselines_of
from andon.surface.view.models_became import Became, became_of
from andon.surface.view.models_compare import CompareParams, CompareView, compare_view
from andon.surface.view.models_examples import ExamplesParams, ExamplesView, examples_view
from andon.surface.view.models_goal import MetricHead, Standing, goals_of, heads, standing, wider
from andon.surface.view.models_run import RunParams, RunView, run_view
from andon.surface.view.models_text import brief

if TYPE_CHECKING:
    from andon.model.run import Run
    from andon.surface.visit import Visit

__all__ = ["PAGES", "ModelsParams", "ModelsView", "models_view"]

_PAGE = 30
_FIGURES = 4


class ModelsParams(msgspec.Struct, frozen=True):
    """Which page of the runs."""

    page: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1


class RunRow(msgspec.Struct, frozen=True):
    """One run. ``differs`` are the parameters that are not the same in all runs shown ("" where it has none of that name).

    ``code_changed`` says that its code is not that of the run before; ``metrics`` are of its held-out ``part``.
    """

    id: str
    status: str
    error: str
    time_us: int
    actor: str
    dataset: str
    dataset_name: str
    code: str
    code_changed: bool
    seed: int
    differs: dict[str, str]
    engine: str
    part: str
    held_out: int
    metrics: dict[str, Estimate]
    goals: Standing
    became: tuple[Became, ...]


class ModelsView(msgspec.Struct, frozen=True):
    """Runs, newest first. ``metrics`` are the main ones; ``same`` are parameters that all runs shown have in common.

    ``baselines`` are of the held-out rows of the run ``measured_on``.
    """

    rows: tuple[RunRow, ...]
    total: int
    page: int
    pages: int
    metrics: tuple[MetricHead, ...]
    more_metrics: int
    same: dict[str, str]
    baselines: tuple[BaselineRow, ...]
    measured_on: str
    dataset: str
    sentence: str


def models_view(visit: Visit, params: ModelsParams) -> ModelsView:
    """All runs and what became of them. Raises ``Unavailable`` when the database is gone."""
    from andon.model.run import runs

    project = visit.project
    every = runs(project.workspace)
    pages = max(1, -(-len(every) // _PAGE))
    page = min(params.page, pages)
    newest = every[::-1]
    shown = newest[(page - 1) * _PAGE : page * _PAGE]
    all_heads = heads(project.charter, next((run.metrics for run in newest if run.metrics), {}))
    main = wider([run.metrics for run in shown], all_heads)
    differing, same = _parameters(shown)
    became = became_of(project)
    codes = {run.id: before.code for before, run in pairwise(every)}
    rows = tuple(_row(visit, run, all_heads, differing, became, codes) for run in shown)
    judged = next((run for run in newest if run.status == "done"), None)
    return ModelsView(
        rows=rows,
        total=len(every),
        page=page,
        pages=pages,
        metrics=main[:_FIGURES],
        more_metrics=len(main[_FIGURES:]),
        same=same,
        baselines=baselines_of(project, judged) if judged is not None else (),
        measured_on=judged.id if judged is not None else "",
        dataset=_newest_data(visit) if not every else "",
        sentence=_sentence(every, became),
    )


def _row(
    visit: Visit,
    run: Run,
    all_heads: Sequence[MetricHead],
    differing: Sequence[str],
    became: dict[str, tuple[Became, ...]],
    codes: dict[str, str],
) -> RunRow:
    goals = goals_of(visit.project.charter, all_heads, run.metrics, run.slices)
    failed = Standing("stop", run.status, 0, 0)
    return RunRow(
        id=run.id,
        status=run.status,
        error=run.error,
        time_us=run.time_us,
        actor=run.actor,
        dataset=run.dataset,
        dataset_name=run.dataset_name,
        code=run.code,
        code_changed=codes.get(run.id, run.code) != run.code,
        seed=run.seed,
        differs={name: brief(run.parameters[name]) if name in run.parameters else "" for name in differing},
        engine=run.engine,
        part=run.part,
        held_out=run.rows.get(run.part, 0),
        metrics=run.metrics,
        goals=standing(goals, all_heads) if run.status == "done" else failed,
        became=became.get(run.id, ()),
    )


def _parameters(shown: Sequence[Run]) -> tuple[list[str], dict[str, str]]:
    """Names of parameters that differ between these runs, and those that are the same in all with their value."""
    names = sorted({name for run in shown for name in run.parameters})
    values: dict[str, set[str]] = {
        name: {brief(run.parameters[name], 10_000) if name in run.parameters else "" for run in shown} for name in names
    }
    differing = [name for name in names if len(values[name]) > 1]
    return differing, {name: brief(shown[0].parameters[name]) for name in names if name not in differing}


def _newest_data(visit: Visit) -> str:
    from andon.data.dataset import listing

    found = listing(visit.project.workspace)
    return found[-1].name if found else ""


def _sentence(every: Sequence[Run], became: dict[str, tuple[Became, ...]]) -> str:
    if not every:
        return "no model yet"
    failed = sum(run.status != "done" for run in every)
    made = [one for several in became.values() for one in several]
    live = next((one.version for one in made if one.place == "live"), None)
    parts = [f"{len(every):,} run{'' if len(every) == 1 else 's'}" + (f", {failed} of them failed" if failed else "")]
    parts.append(f"{len(made):,} release{'' if len(made) == 1 else 's'}" if made else "none is released yet")
    parts.append(f"{live} is live" if live else "none is live" if made else "people decide")
    return "; ".join(parts)


PAGES = (
    Page(
        name="models",
        path="/models",
        title="Models",
        section="models",
        view=models_view,
        params=ModelsParams,
        result=ModelsView,
        template="models.html",
        live=("route",),
    ),
    Page(
        name="models.compare",
        path="/models/compare",
        title="Compare models",
        section="models",
        view=compare_view,
        params=CompareParams,
        result=CompareView,
        template="models_compare.html",
    ),
    Page(
        name="models.run",
        path="/models/{run}",
        title="Model",
        section="models",
        view=run_view,
        params=RunParams,
        result=RunView,
        template="models_run.html",
        live=("route",),
    ),
    Page(
        name="models.examples",
        path="/models/{run}/examples",
        title="Examples",
        section="models",
        view=examples_view,
        params=ExamplesParams,
        result=ExamplesView,
        template="models_examples.html",
    ),
)
