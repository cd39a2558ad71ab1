"""Two runs or releases on the very same rows: every metric on every slice side by side, and the paired difference.

Both are loaded from their sealed bundles and answer the same held-out part. The difference in accuracy is paired (the
same rows), so it has a much smaller interval than the two accuracies; where it does not exclude 0, nobody won.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import polars as pl

from andon.data.dataset import load
from andon.data.division import part_of
from andon.errors import UsageError
from andon.measure.estimate import Estimate, mean_interval
from andon.model.run import Run, find_run, served
from andon.model.table import cohorts
from andon.model.training import Enrich, evaluation, record_frame

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.store.workspace import Workspace

__all__ = ["Comparison", "compare", "paired"]


class Comparison(msgspec.Struct, frozen=True):
    """``first`` and ``second`` on ``part`` of ``dataset``; ``difference`` is second minus first, in accuracy, by slice.

    ``legs`` names what differs between the runs (code, data, parameters, split): when several do, the difference cannot
    be put down to one of them. ``warning`` says when the first run may have learnt from some of these rows.
    """

    first: str
    second: str
    dataset: str
    part: str
    n: int
    metrics: dict[str, tuple[Estimate, Estimate]]
    slices: dict[str, dict[str, tuple[Estimate, Estimate]]]
    difference: dict[str, Estimate]
    legs: tuple[str, ...]
    warning: str = ""

    def to_json(self) -> dict[str, Any]:
        """JSON-ready."""
        body: dict[str, Any] = msgspec.to_builtins(self)
        return body


def compare(
    workspace: Workspace, charter: Charter, first: str, second: str, enrich: Enrich | None = None
) -> Comparison:
    """Compare two runs (``r1``) or releases (``v1``) on the part that ``second`` was evaluated on.

    Raises ``NotFound`` for unknown or failed ones and ``UsageError`` when the inputs of the two do not go together.
    """
    one, two = find_run(workspace, first), find_run(workspace, second)
    frame = load(workspace, two.dataset).filter(part_of(workspace, two.dataset) == two.part)
    tables = [_answers(workspace, charter, run, frame, enrich) for run in (one, two)]
    parts = {"": pl.repeat(True, frame.height, eager=True), **_slices(charter, tables[0])}
    found = [evaluation(table, charter) for table in tables]
    return Comparison(
        first=first,
        second=second,
        dataset=two.dataset,
        part=two.part,
        n=frame.height,
        metrics=_side_by_side(found[0].metrics, found[1].metrics),
        slices={name: _side_by_side(found[0].slices[name], found[1].slices[name]) for name in found[0].slices},
        difference={name: paired(tables[0].filter(mask), tables[1].filter(mask)) for name, mask in parts.items()},
        legs=tuple(leg for leg, value in two.legs.items() if one.legs[leg] != value),
        warning=_warning(one, two),
    )


def _answers(
    workspace: Workspace, charter: Charter, run: Run, frame: pl.DataFrame, enrich: Enrich | None
) -> pl.DataFrame:
    model = served(workspace, run, charter.checklist.privacy.reach)
    missing = sorted({field.name for field in model.fields} - set(frame.columns))
    if missing:
        raise UsageError(f"{run.id} needs the input {missing[0]!r}, which the data it is compared on do not have")
    return record_frame(model, frame, model.contract, enrich)


def _slices(charter: Charter, table: pl.DataFrame) -> dict[str, pl.Series]:
    from andon.measure.slice import parse_slice

    known = {name: text for name, text in charter.slices.items() if parse_slice(text).columns <= set(table.columns)}
    return cohorts(table, slices=known)


def _side_by_side(one: dict[str, Estimate], two: dict[str, Estimate]) -> dict[str, tuple[Estimate, Estimate]]:
    return {name: (one[name], two[name]) for name in two}


def paired(one: pl.DataFrame, two: pl.DataFrame) -> Estimate:
    """By how much ``two`` is right more often than ``one`` on the same labelled rows, with a paired interval.

    >>> truth = pl.DataFrame({"label": ["a"] * 100})
    >>> one = truth.with_columns(prediction=pl.Series(["a"] * 80 + ["b"] * 20))
    >>> two = truth.with_columns(prediction=pl.Series(["a"] * 90 + ["b"] * 10))
    >>> print(paired(one, two))
    0.1 (0.0402 to 0.16, n 100)
    """
    right = [((t["prediction"] == t["label"]).fill_null(False).cast(pl.Int64).to_numpy()) for t in (one, two)]
    difference = (right[1] - right[0])[one["label"].is_not_null().to_numpy()].astype(np.float64)
    n = len(difference)
    mean = float(difference.mean()) if n else 0.0
    return mean_interval(n, mean, float(((difference - mean) ** 2).sum()))


def _warning(one: Run, two: Run) -> str:
    if one.dataset == two.dataset and one.split == two.split:
        return ""
    return f"{one.id} was trained on other data ({one.dataset}); it may have learnt from some of these rows"
