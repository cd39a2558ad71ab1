"""How a story makes a release: labelled rows out of the line's own log, frozen, split, trained on, measured, released."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl
from rich.table import Table

from andon.config import Project
from andon.core.clock import iso
from andon.data import dataset as datasets
from andon.data.contract import Contract
from andon.data.dataset import Dataset
from andon.demo.stage import Stage
from andon.deploy.release import Release, release
from andon.measure.estimate import Estimate
from andon.model.compare import compare
from andon.model.run import Run
from andon.model.training import Options, train
from andon.monitor.inputs import measured
from andon.store import view

if TYPE_CHECKING:
    from andon.data.source import Raw

__all__ = ["Made", "compare_on_test", "interval", "make_release", "new_dataset", "train_and_release"]


@dataclass(frozen=True, slots=True)
class Made:
    """A dataset, the run trained on it, and the release made of that."""

    dataset: Dataset
    run: Run
    release: Release


def interval(estimate: Estimate, *, share: bool = True) -> str:
    """An estimate with its interval, as read by people.

    >>> interval(Estimate(0.0312, 0.02, 0.05, 900, "wilson"))
    '3.1 % [2.0, 5.0]'
    >>> interval(Estimate(None, None, None, 0, "none", "no labels yet"))
    'unknown (no labels yet)'
    """
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return f"unknown ({estimate.reason})"
    if share:
        return f"{100 * estimate.value:.1f} % [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
    return f"{estimate.value:.3g} [{estimate.low:.3g}, {estimate.high:.3g}]"


def new_dataset(project: Project, data: Raw | pl.DataFrame, name: str, *, actor: str, note: str = "") -> Dataset:
    """Freeze rows under the charter's contract."""
    charter = project.charter
    contract = Contract(charter.fields(), charter.target.name, tuple(charter.target.classes))
    return datasets.add(project.workspace, data, contract, name=name, actor=actor, note=note)


def train_and_release(project: Project, dataset: Dataset, *, actor: str, reason: str) -> Made:
    """Train on a dataset, pass the charter's gates, seal and release."""
    fields = project.charter.fields()
    options = Options(project.model_file, actor=actor, reason=reason, enrich=lambda frame: measured(frame, fields))
    run = train(project.workspace, project.charter, dataset.version, options)
    made = release(project.workspace, project.charter, run.id, actor=actor, reason=reason)
    return Made(dataset, run, made)


def make_release(
    stage: Stage,
    *,
    since: int,
    name: str,
    actor: str,
    reason: str,
    fault: Callable[[pl.DataFrame], pl.DataFrame] = lambda rows: rows,
) -> Made:
    """Train on what the line has recorded and labelled since a time, and say what came of it. The clock stands still.

    ``fault`` is what goes wrong with the rows on their way out of the log.
    """
    project = stage.project
    rows = fault(view.labelled(project.workspace, since, stage.now).rename({"label": project.charter.target.name}))
    dataset = new_dataset(project, rows, name, actor=actor, note=f"the line's log from {iso(since)[:10]} on")
    stage.say(
        "people",
        f"{dataset.rows:,} labelled cases out of the line's own log are frozen as {name!r} {dataset.version}.",
        ", ".join(f"{label} {count:,}" for label, count in dataset.labels.items()) + f"; since {iso(since)[:10]}",
    )
    begun = time.monotonic()
    made = train_and_release(project, dataset, actor=actor, reason=reason)
    run = made.run
    figures = ", ".join(
        f"{metric} {interval(found, share=metric != 'value')}"
        for metric, found in run.metrics.items()
        if found.value is not None
    )
    stage.say(
        "machine",
        f"{made.release.version} is trained and released in {time.monotonic() - begun:.1f} s "
        f"({run.wall_seconds:.1f} s of training, {run.peak_mb:.0f} MB at most, answers by {run.engine}).",
        f"on {run.rows.get(run.part, 0):,} held-out rows: {figures}\n"
        + "\n".join(f"gate: {result['sentence']}" for result in made.release.gates),
    )
    return made


def compare_on_test(stage: Stage, old: Made, new: Made, metric: str) -> Table:
    """Two releases on the held-out rows of the newer one, slice by slice."""
    names = (old.release.version, new.release.version)
    found = compare(stage.project.workspace, stage.project.charter, *names)
    table = Table(title=f"{metric} on the same {found.n:,} held-out rows", title_justify="left", box=None)
    table.add_column("slice")
    for name in names:
        table.add_column(name, justify="right")
    for part, metrics in {"everybody": found.metrics, **found.slices}.items():
        table.add_row(part, *(interval(estimate) for estimate in metrics[metric]))
    return table
