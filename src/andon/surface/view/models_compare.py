"""Two or more runs side by side: what they were given, how good each is, and by how much they differ on the same rows."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec

from andon.errors import NotFound, UsageError
from andon.measure.estimate import Estimate
from andon.surface.view.models_became import Became, became_of
from andon.surface.view.models_goal import MetricHead, heads, wider
from andon.surface.view.models_kept import kept
from andon.surface.view.models_pair import PairView, pair_of
from andon.surface.view.models_sealed import code_of
from andon.surface.view.models_text import brief

if TYPE_CHECKING:
    from andon.config import Project
    from andon.model.pairing import Pair
    from andon.model.run import Run
    from andon.model.training import Enrich
    from andon.surface.visit import Visit

__all__ = ["CompareParams", "CompareView", "compare_view"]

#: Runs side by side at most, and runs that can be chosen from.
MOST, _OFFERED = 6, 40
_DIFF = 400


class CompareParams(msgspec.Struct, frozen=True):
    """Which runs or releases, given several times or with commas between."""

    runs: Annotated[
        tuple[Annotated[str, msgspec.Meta(max_length=2000)], ...],
        msgspec.Meta(max_length=50, description="Runs (r3) or releases (v1): runs=r1&runs=r2 or runs=r1,r2."),
    ] = ()


class Side(msgspec.Struct, frozen=True):
    """One of them: what it was given, and its figures on its own held-out part."""

    id: str
    became: tuple[Became, ...]
    time_us: int
    actor: str
    dataset: str
    dataset_name: str
    code: str
    split: str
    seed: int
    part: str
    held_out: int
    metrics: dict[str, Estimate]
    parameters: dict[str, str]


class Offer(msgspec.Struct, frozen=True):
    """A run that may be chosen."""

    id: str
    chosen: bool
    says: str


class CodeDiff(msgspec.Struct, frozen=True):
    """What changed in model.py from one run to another: (sign, line), sign "+", "-", "@" or " "; ``cut`` lines are not shown."""

    first: str
    second: str
    lines: tuple[tuple[str, str], ...]
    cut: int


class CompareView(msgspec.Struct, frozen=True):
    """Runs side by side, oldest first; ``pairs`` compare each with the first on the same rows, on the rows of either where data differ.

    ``differs`` are the legs that differ (code, data, parameters, split). Empty where fewer than two are chosen.
    """

    sides: tuple[Side, ...]
    offers: tuple[Offer, ...]
    metrics: tuple[MetricHead, ...]
    differs: tuple[str, ...]
    parameters: tuple[str, ...]
    pairs: tuple[PairView, ...]
    code: tuple[CodeDiff, ...]


def compare_view(visit: Visit, params: CompareParams) -> CompareView:
    """Compare runs. Raises ``NotFound`` for an unknown or failed one and ``UsageError`` for more than six."""
    project = visit.project
    chosen = _chosen(project, params)
    every = heads(project.charter, chosen[0].metrics if chosen else {})
    enough = len(chosen) > 1
    became = became_of(project)
    return CompareView(
        sides=tuple(_side(run, became.get(run.id, ())) for run in chosen),
        offers=_offers(project, {run.id for run in chosen}, became),
        metrics=wider([run.metrics for run in chosen], every),
        differs=_legs(chosen),
        parameters=_differing(chosen),
        pairs=tuple(_pairs(project, chosen, every)) if enough else (),
        code=tuple(_codes(project, chosen)) if enough else (),
    )


def _chosen(project: Project, params: CompareParams) -> list[Run]:
    from andon.model.run import find_run

    names = [name.strip() for text in params.runs for name in text.split(",") if name.strip()]
    if len(set(names)) > 4 * MOST:
        raise UsageError(f"runs: expected at most {MOST}, found {len(set(names)):,}", field="runs")
    found = {run.id: run for run in (find_run(project.workspace, name) for name in dict.fromkeys(names))}
    if len(found) > MOST:
        raise UsageError(
            f"runs: expected at most {MOST}, found {len(found)}", field="runs", hint="compare fewer at once"
        )
    for run in found.values():
        if run.status != "done":
            raise NotFound(f"run {run.id} {run.status}, so there is nothing to compare: {run.error}")
    order = {name: at for at, name in enumerate(project.workspace.records.names("run"))}
    return sorted(found.values(), key=lambda run: order[run.id])


def _side(run: Run, became: tuple[Became, ...]) -> Side:
    return Side(
        id=run.id,
        became=became,
        time_us=run.time_us,
        actor=run.actor,
        dataset=run.dataset,
        dataset_name=run.dataset_name,
        code=run.code,
        split=run.split,
        seed=run.seed,
        part=run.part,
        held_out=run.rows.get(run.part, 0),
        metrics=run.metrics,
        parameters={name: brief(value, 500) for name, value in run.parameters.items()},
    )


def _offers(project: Project, chosen: set[str], became: dict[str, tuple[Became, ...]]) -> tuple[Offer, ...]:
    """Chosen ones first, then the newest."""
    from andon.model.run import runs

    done = [run for run in runs(project.workspace)[::-1] if run.status == "done"]
    done.sort(key=lambda run: run.id not in chosen)
    offered = done[: max(_OFFERED, len(chosen))]
    return tuple(
        Offer(
            run.id,
            run.id in chosen,
            ", ".join((one.version + f" {one.place}").strip() for one in became.get(run.id, ())),
        )
        for run in offered
    )


def _legs(chosen: Sequence[Run]) -> tuple[str, ...]:
    return tuple(leg for leg in (chosen[0].legs if chosen else {}) if len({run.legs[leg] for run in chosen}) > 1)


def _differing(chosen: Sequence[Run]) -> tuple[str, ...]:
    names = sorted({name for run in chosen for name in run.parameters})
    return tuple(name for name in names if len({brief(run.parameters.get(name, "\0"), 10_000) for run in chosen}) > 1)


def _pairs(project: Project, chosen: Sequence[Run], every: Sequence[MetricHead]) -> list[PairView]:
    """Each against the first, on the rows that it held out; and on the first's, where those are others."""
    first, found = chosen[0], []
    others = chosen[1:]
    apart = [run for run in others if (run.dataset, run.split, run.part) != (first.dataset, first.split, first.part)]
    among = len(others) + len(apart)
    for run in others:
        found.append(pair_of(_pair(project, first, run, among), every, run))
        if run in apart:
            found.append(pair_of(_pair(project, run, first, among), every, first, turned=True))
    return found


def _pair(project: Project, one: Run, two: Run, among: int) -> Pair:
    from andon.model.pairing import pair

    def read() -> Pair:
        return pair(project.workspace, project.charter, one, two, among=among, enrich=_enrich(project))

    return kept(project, "pair", (one.id, two.id, str(among)), read)


def _enrich(project: Project) -> Enrich:
    """Columns measured on images and texts, where a metric of the charter reads them."""
    from andon.model.evaluate import charter_measures
    from andon.monitor.inputs import measured

    fields, measures = project.charter.fields(), charter_measures(project.charter)
    wanted = frozenset(name for one in measures for name in one.missing(()))
    return lambda frame: measured(frame, fields, wanted)


def _codes(project: Project, chosen: Sequence[Run]) -> list[CodeDiff]:
    first, found = chosen[0], []
    for run in {run.code: run for run in chosen[:0:-1] if run.code != first.code}.values():
        before, after = (code_of(project.workspace, one).splitlines() for one in (first, run))
        lines = list(difflib.unified_diff(before, after, lineterm="", n=2))[2:]
        shown = tuple((line[:1] or " ", line[1:300]) for line in lines[:_DIFF])
        found.append(CodeDiff(first.id, run.id, shown, max(0, len(lines) - _DIFF)))
    return found[::-1]
