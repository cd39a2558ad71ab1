"""How good a model is, and where: every metric on every slice as an estimate, and who is taken for whom.

>>> frame = pl.DataFrame({"y": ["a", "a", "b", "b"], "yhat": ["a", "b", "b", "b"], "place": ["in", "in", "in", "out"]})
>>> result = evaluate(frame, label="y", prediction="yhat", by=["place"], metrics={"accuracy": "accuracy"})
>>> print(result.metrics["accuracy"], "|", result.slices["out"]["accuracy"])
0.75 (0.301 to 0.954, n 4) | 1 (0.207 to 1, n 1)
>>> result.confusion["matrix"]
[[1, 1], [0, 2]]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from andon.measure.estimate import Estimate, undefined
from andon.measure.metric import Metric, parse_metric
from andon.measure.slice import Slice, parse_slice
from andon.model.table import Cohorts, cohorts, labelled

if TYPE_CHECKING:
    from andon.scope.charter import Charter

__all__ = [
    "UNKNOWN",
    "Evaluation",
    "Measure",
    "charter_measures",
    "confusion",
    "default_metrics",
    "evaluate",
    "measure",
]


UNKNOWN = "is not known of these records"
"""How the reason ends where only live traffic can tell a figure."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric under a charter's name, over those records for which ``where`` holds."""

    name: str
    metric: Metric
    where: Slice | None = None

    def missing(self, columns: Sequence[str]) -> list[str]:
        """Columns without which this cannot be measured."""
        needed = self.metric.needs | (self.where.columns if self.where else frozenset())
        return sorted(needed - set(columns))

    def of(self, frame: pl.DataFrame) -> Estimate:
        """The estimate for a table; undefined, with the reason, when a column that it needs is not there."""
        missing = self.missing(frame.columns)
        if missing:
            return undefined(f"{missing[0]} {UNKNOWN}")
        return self.metric.measure(self.where.filter(frame) if self.where else frame)


@dataclass(frozen=True)
class Evaluation:
    """Estimates by metric, the same by slice, and the confusion matrix (rows are the truth, columns the answer)."""

    metrics: dict[str, Estimate]
    slices: dict[str, dict[str, Estimate]]
    confusion: dict[str, Any]
    n: int

    @property
    def table(self) -> pl.DataFrame:
        """One row for every metric and slice; slice "" is everybody."""
        rows = [("", name, estimate) for name, estimate in self.metrics.items()]
        rows += [(part, name, e) for part, estimates in self.slices.items() for name, e in estimates.items()]
        return pl.DataFrame(
            [(part, name, e.value, e.low, e.high, e.n, e.method, e.reason) for part, name, e in rows],
            schema=_TABLE,
            orient="row",
        )

    def to_json(self) -> dict[str, Any]:
        """JSON-ready: ``metrics``, ``slices``, ``confusion``, ``n``."""
        body: dict[str, Any] = msgspec.to_builtins(
            {"metrics": self.metrics, "slices": self.slices, "confusion": self.confusion, "n": self.n}
        )
        return body

    def _repr_html_(self) -> str:
        return self.table._repr_html_()

    def plot(self, metric: str | None = None) -> Any:
        """One metric (the first if not given) by slice with its intervals, as a plotly figure."""
        from andon.model.figure import bars

        name = metric or next(iter(self.metrics))
        return bars(
            {"everybody": self.metrics[name]} | {part: found[name] for part, found in self.slices.items()}, name
        )


_TABLE = {
    "slice": pl.String,
    "metric": pl.String,
    "value": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "n": pl.Int64,
    "method": pl.String,
    "reason": pl.String,
}


def evaluate(
    frame: Any,
    *,
    label: str = "label",
    prediction: str = "prediction",
    by: Sequence[str] = (),
    slices: Mapping[str, str] | None = None,
    metrics: Mapping[str, str] | None = None,
    classes: Sequence[str] | None = None,
) -> Evaluation:
    """Measure a table of predictions (polars or pandas).

    ``metrics`` maps your names to what is measured (``{"recall": "recall[positive]"}``); without them accuracy, macro F1
    and precision, recall and F1 of every class are. ``slices`` maps names to predicates; ``by`` adds a slice for every
    value of some columns. ``classes`` are those that occur unless given. Raises ``UsageError`` for an unknown column.
    """
    table = labelled(frame, label, prediction)
    known = tuple(classes) if classes else _classes(table)
    asked = metrics or default_metrics(known)
    measures = [Measure(name, parse_metric(of, known)) for name, of in asked.items()]
    return measure(table, measures, cohorts(table, by, slices), known)


def measure(
    frame: pl.DataFrame, measures: Sequence[Measure], parts: Cohorts | None = None, classes: Sequence[str] = ()
) -> Evaluation:
    """Measure a table that has ``label`` and ``prediction``, overall and on each part."""
    return Evaluation(
        metrics={one.name: one.of(frame) for one in measures},
        slices={name: _measure_part(frame.filter(mask), measures) for name, mask in (parts or {}).items()},
        confusion=confusion(frame, classes),
        n=frame.height,
    )


def _measure_part(part: pl.DataFrame, measures: Sequence[Measure]) -> dict[str, Estimate]:
    return {one.name: one.of(part) for one in measures}


def _classes(table: pl.DataFrame) -> tuple[str, ...]:
    found = pl.concat([table["label"], table["prediction"].rename("label")]).drop_nulls().unique()
    return tuple(sorted(found.to_list()))


def default_metrics(classes: Sequence[str]) -> dict[str, str]:
    """What is measured when nobody says what.

    >>> default_metrics(["a", "b"])["recall[b]"]
    'recall[b]'
    """
    names = ["accuracy", "error_rate", "macro_f1", "null_outputs"]
    names += [f"{kind}[{name}]" for name in classes for kind in ("precision", "recall", "f1")]
    return {name: name for name in names}


def confusion(frame: pl.DataFrame, classes: Sequence[str]) -> dict[str, Any]:
    """Who is taken for whom: ``matrix[truth][answer]`` over ``classes``; ``other`` are answers that are none of them."""
    rows = frame.filter(pl.col("label").is_not_null()).group_by("label", "prediction").len()
    counts = {(truth, answer): int(n) for truth, answer, n in rows.iter_rows()}
    matrix = [[counts.get((truth, answer), 0) for answer in classes] for truth in classes]
    other = [sum(n for (t, a), n in counts.items() if t == truth and a not in classes) for truth in classes]
    return {"classes": list(classes), "rows": "label", "columns": "prediction", "matrix": matrix, "other": other}


def charter_measures(charter: Charter) -> list[Measure]:
    """Every metric of a charter, ready to measure."""
    return [
        Measure(name, parse_metric(spec.of, charter.target.classes), parse_slice(spec.where) if spec.where else None)
        for name, spec in charter.metrics.items()
    ]
