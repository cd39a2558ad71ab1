"""Windows of time: what is measured live, and the mergeable summaries that a table of records leaves in each window.

A window is [start, start + length) of event time, aligned to 1970. Rows become summaries once and are then only added
up, so a metric over a minute, a day or a slice needs no rows again. What is *early* is known when a decision is made and
is measured from the log as it is read; what is *late* needs a label, a person or feedback, and is measured again
(`andon.monitor.remeasure`) whenever some of that arrives.

>>> from andon.measure.metric import parse_metric
>>> table = pl.DataFrame({"time_us": [3, 14, 15], "cough": [True, False, True]})
>>> rows = profile(table, {"cough": parse_metric("mean(cough)")}, {}, WindowSpec(10))
>>> [(row.metric, row.start_us, row.summary.n) for row in rows]
[('cough', 0, 1), ('cough', 10, 2)]
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from andon.core.record import Field
from andon.errors import UsageError
from andon.measure.estimate import Estimate
from andon.measure.metric import Metric, parse_metric
from andon.measure.slice import Slice, parse_slice
from andon.measure.summary import Summary, add
from andon.store.view import Truth
from andon.store.windows import WindowRow

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.store.workspace import Workspace

__all__ = ["STANDARD", "Measured", "WindowRow", "WindowSpec", "folded", "is_late", "profile", "series"]

STANDARD = (
    "throughput_per_s",
    "latency_p50_ms",
    "latency_p95_ms",
    "automatic_share",
    "deferral_rate",
    "null_outputs",
    "error_responses",
)
"""Measured on every line, whatever its charter says, under the metric's own name."""

_LATE = frozenset({"label", "human", "feedback", "reviewer", "suggestion"})


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """How time is cut: windows of ``length_us`` microseconds.

    >>> WindowSpec(10).start(19), list(WindowSpec(10).starts(5, 21))
    (10, [0, 10, 20])
    """

    length_us: int

    def __post_init__(self) -> None:
        if self.length_us <= 0:
            raise UsageError(f"a window: expected a length of more than 0 microseconds, found {self.length_us}")

    def start(self, time_us: int) -> int:
        """The start of the window that a time falls in."""
        return time_us // self.length_us * self.length_us

    def starts(self, since_us: int, until_us: int) -> range:
        """The starts of all windows that touch [``since_us``, ``until_us``)."""
        return range(self.start(since_us), until_us, self.length_us)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a line measures: metrics by name, the slices it looks at, and the condition that limits a metric.

    ``guarded`` are the metrics that a rollout measures in both of its arms.
    """

    window: WindowSpec
    fields: tuple[Field, ...]
    metrics: Mapping[str, Metric]
    slices: Mapping[str, Slice] = field(default_factory=dict)
    where: Mapping[str, Slice] = field(default_factory=dict)
    truth: Truth = "external"
    delay_us: int = 0
    guarded: tuple[str, ...] = ()

    @classmethod
    def of(cls, charter: Charter) -> Measured:
        """What a charter asks for, what every line measures (`STANDARD`), and ``missing(x)`` of each optional input."""
        fields = charter.fields()
        texts = [*STANDARD, *(f"missing({field.name})" for field in fields if field.optional and _plain(field.name))]
        metrics = {text: parse_metric(text) for text in texts}
        metrics |= {name: parse_metric(spec.of, charter.target.classes) for name, spec in charter.metrics.items()}
        return cls(
            window=WindowSpec(charter.monitor.window_us),
            fields=fields,
            metrics=metrics,
            slices={name: parse_slice(text) for name, text in charter.slices.items()},
            where={name: parse_slice(spec.where) for name, spec in charter.metrics.items() if spec.where is not None},
            truth=charter.target.truth,
            delay_us=charter.target.delay_us,
            guarded=_guarded(charter),
        )

    @property
    def early(self) -> dict[str, Metric]:
        """Metrics that are known when a decision is made."""
        return {name: metric for name, metric in self.metrics.items() if not is_late(metric)}

    @property
    def late(self) -> dict[str, Metric]:
        """Metrics that need something that comes later."""
        return {name: metric for name, metric in self.metrics.items() if is_late(metric)}

    @property
    def columns(self) -> frozenset[str]:
        """Every column that some metric, slice or condition reads."""
        parts = [metric.columns for metric in self.metrics.values()]
        return frozenset().union(*parts, *(one.columns for one in (*self.slices.values(), *self.where.values())))


def _guarded(charter: Charter) -> tuple[str, ...]:
    """The charter's guardrails, else the metrics that have a goal."""
    named = tuple(name for name in charter.rollout.guardrails if name in charter.metrics)
    return named or tuple(name for name, spec in charter.metrics.items() if spec.goal is not None)


def _plain(name: str) -> bool:
    return ")" not in name and "(" not in name


def is_late(metric: Metric) -> bool:
    """Whether a metric needs a label, a person's decision or feedback.

    >>> is_late(parse_metric("accuracy")), is_late(parse_metric("automatic_share"))
    (True, False)
    """
    return metric.needs_label or bool(metric.needs & _LATE)


def profile(
    frame: pl.DataFrame,
    metrics: Mapping[str, Metric],
    slices: Mapping[str, Slice],
    spec: WindowSpec,
    where: Mapping[str, Slice] | None = None,
) -> list[WindowRow]:
    """Summarise every metric in every window and cohort ("" is everything, else a slice's name) that has rows.

    ``where`` limits a metric, by its name, to the rows of a slice. A slice or condition that reads a column which the
    table does not have holds for no row. Raises ``UsageError`` without the column ``time_us``.
    """
    if "time_us" not in frame.columns:
        raise UsageError("a profile needs the column time_us, the time of each decision")
    limits = where or {}
    rows: list[WindowRow] = []
    for start, window in _windows(frame, spec):
        for cohort, part in _cohorts(window, slices):
            for name, metric in metrics.items():
                limit = limits.get(name)
                table = part if limit is None else _filter(limit, part)
                if table.height:
                    rows.append(WindowRow(name, cohort, start, spec.length_us, metric.summarise(table)))
    return rows


def _windows(frame: pl.DataFrame, spec: WindowSpec) -> Iterator[tuple[int, pl.DataFrame]]:
    if not frame.height:
        return
    start = (pl.col("time_us") // spec.length_us * spec.length_us).alias("__start_us")
    cut = frame.with_columns(start).partition_by("__start_us", as_dict=True, include_key=False)
    for key in sorted(cut):
        yield int(key[0]), cut[key]


def _cohorts(frame: pl.DataFrame, slices: Mapping[str, Slice]) -> Iterator[tuple[str, pl.DataFrame]]:
    yield "", frame
    for name, found in slices.items():
        part = _filter(found, frame)
        if part.height:
            yield name, part


def _filter(found: Slice, frame: pl.DataFrame) -> pl.DataFrame:
    return found.filter(frame) if found.columns.issubset(frame.columns) else frame.clear()


def series(
    workspace: Workspace,
    name: str,
    metric: Metric,
    cohort: str = "",
    *,
    since_us: int | None = None,
    until_us: int | None = None,
    length_us: int | None = None,
) -> list[tuple[int, Estimate]]:
    """A metric over time: (start, estimate) of every stored window, or of longer ones made by adding those up.

    ``length_us`` is the length wanted: None for that of the newest window, else a multiple of it. Windows of a length
    that does not fit, and summaries left from another meaning of the same name, are passed over.
    """
    stored = workspace.windows.read(name, cohort, since_us, until_us)
    length = length_us or (stored[-1].length_us if stored else 1)
    return [(start, metric.estimate(summary)) for start, summary in folded(stored, metric, length)]


def folded(rows: Iterable[WindowRow], metric: Metric, length_us: int) -> list[tuple[int, Summary]]:
    """Stored windows of one metric and cohort, added up to windows of this length, by start."""
    spec = WindowSpec(length_us)
    sums: dict[int, Summary] = {}
    for row in rows:
        if length_us % row.length_us == 0 and isinstance(row.summary, metric.kind):
            start = spec.start(row.start_us)
            sums[start] = add([sums[start], row.summary], metric.kind) if start in sums else row.summary
    return sorted(sums.items())
