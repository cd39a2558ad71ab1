"""What a model is compared with, so that a figure means something: people, a quick rule, the release before.

A baseline is the same metrics on the same slices and the very same held-out rows, or a figure that the charter quotes.

>>> rows = pl.DataFrame({"label": ["no", "no", "no", "yes"], "prediction": ["no", "yes", "no", "yes"]})
>>> quick(rows, {"no": 30, "yes": 10})["prediction"].to_list()
['no', 'no', 'no', 'no']
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
import polars as pl

from andon.data.dataset import find, load
from andon.data.division import part_of
from andon.measure.estimate import Estimate, exact
from andon.model.run import Run, find_run, predictions, served
from andon.model.training import evaluation, record_frame

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.store.workspace import Workspace

__all__ = ["Baseline", "baselines", "quick"]


class Baseline(msgspec.Struct, frozen=True):
    """Estimates by metric, and by slice and metric. ``source`` says where they come from, or why there are none."""

    kind: str
    source: str
    metrics: dict[str, Estimate] = {}
    slices: dict[str, dict[str, Estimate]] = {}


def baselines(workspace: Workspace, charter: Charter, run: Run) -> list[Baseline]:
    """The baselines that the charter names, measured on the rows that ``run`` was evaluated on.

    ``quick`` always answers the most common label; ``previous`` is a release, asked about the same rows; ``human`` is the
    column ``human`` where the data have one, else what the charter quotes, as ``literature`` is.
    """
    records = predictions(workspace, run)
    found = []
    for wanted in charter.baselines:
        if wanted.values:
            figures = {name: exact(value, 0) for name, value in wanted.values.items()}
            found.append(Baseline(wanted.kind, wanted.source or "as the charter says", figures))
        elif wanted.kind == "quick":
            labels = find(workspace, run.dataset).labels
            found.append(_measured("quick", "always the most common label", quick(records, labels), charter))
        elif wanted.kind == "previous" and wanted.release:
            other = _asked(workspace, charter, run, wanted.release)
            found.append(_measured("previous", wanted.release, other, charter))
        elif wanted.kind == "human" and "human" in records.columns:
            people = records.with_columns(prediction=pl.col("human").cast(pl.String))
            found.append(_measured("human", "the column human", people, charter))
        else:
            found.append(Baseline(wanted.kind, "not measured yet: the data and the charter say nothing about it"))
    return found


def quick(records: pl.DataFrame, labels: Mapping[str, int]) -> pl.DataFrame:
    """The records as if every answer were the most common label."""
    common = max(labels, key=lambda name: labels[name])
    return records.with_columns(prediction=pl.lit(common), confidence=pl.lit(None, dtype=pl.Float64))


def _asked(workspace: Workspace, charter: Charter, run: Run, version: str) -> pl.DataFrame:
    """What a release says of the rows that ``run`` was evaluated on."""
    model = served(workspace, find_run(workspace, version), charter.checklist.privacy.reach)
    frame = load(workspace, run.dataset).filter(part_of(workspace, run.dataset) == run.part)
    return record_frame(model, frame, model.contract)


def _measured(kind: str, source: str, records: pl.DataFrame, charter: Charter) -> Baseline:
    found = evaluation(records, charter)
    return Baseline(kind, source, found.metrics, found.slices)
