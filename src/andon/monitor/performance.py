"""Performance as labels arrive: every window is measured again, and said to be mature once its labels had time to come.

An immature window is no lie but a selection: the labels that come first may differ from those that come late. So alarms
look at mature windows only, and what is shown is marked.

>>> import polars as pl
>>> from andon.measure.metric import parse_metric
>>> table = pl.DataFrame({"time_us": [1, 2, 11], "label": ["a", None, "a"], "prediction": ["a", "b", "b"]})
>>> rows = performance(table, {"accuracy": parse_metric("accuracy")}, {}, window_us=10, now=15, delay_us=3)
>>> [(row.start_us, row.labelled, row.rows, row.mature) for row in rows]
[(0, 1, 2, True), (10, 1, 1, False)]
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from andon.measure.estimate import Estimate
from andon.measure.metric import Metric, parse_metric
from andon.measure.slice import Slice
from andon.measure.summary import Count, Mergeable, Summary
from andon.monitor.window import WindowRow, WindowSpec, profile

__all__ = ["PerformanceRow", "is_mature", "performance"]


@dataclass(frozen=True, slots=True)
class PerformanceRow:
    """One labelled metric of one cohort ("" is everyone) in the window of ``length_us`` from ``start_us`` on.

    Of its ``rows``, ``labelled`` have a label so far.
    """

    metric: str
    cohort: str
    start_us: int
    length_us: int
    summary: Summary
    estimate: Estimate
    rows: int
    labelled: int
    mature: bool

    @property
    def coverage(self) -> float:
        """The share of rows with a label so far."""
        return self.labelled / self.rows if self.rows else 0.0


def is_mature(start_us: int, length_us: int, now: int, delay_us: int) -> bool:
    """Whether the labels of a window's last row had time to come.

    >>> is_mature(0, 10, 13, 3), is_mature(0, 10, 12, 3)
    (True, False)
    """
    return start_us + length_us + delay_us <= now


def performance(
    outcomes: pl.DataFrame,
    metrics: Mapping[str, Metric],
    slices: Mapping[str, Slice],
    *,
    window_us: int,
    now: int,
    delay_us: int = 0,
    where: Mapping[str, Slice] | None = None,
) -> list[PerformanceRow]:
    """Measure every labelled metric in every window and cohort of a table of outcomes.

    ``metrics`` without need of a label are passed over. ``where`` limits a metric, by its name, to the rows of a slice.
    A metric limited so counts only those rows, in ``rows`` and ``labelled`` too. Raises ``UsageError`` when the table
    has no ``time_us``.
    """
    labelled = {name: metric for name, metric in metrics.items() if metric.needs_label}
    if not labelled or "label" not in outcomes.columns:
        return []
    spec = WindowSpec(window_us)
    counts = {
        _key(row): row.summary for row in profile(outcomes, dict.fromkeys(labelled, _LABELLED), slices, spec, where)
    }
    return sorted(
        (
            _row(row, labelled[row.metric], counts[_key(row)], is_mature(row.start_us, window_us, now, delay_us))
            for row in profile(outcomes, labelled, slices, spec, where)
        ),
        key=lambda row: (row.start_us, row.metric, row.cohort),
    )


def _key(row: WindowRow) -> tuple[str, str, int]:
    return row.metric, row.cohort, row.start_us


def _row(row: WindowRow, metric: Metric, counted: Mergeable, mature: bool) -> PerformanceRow:
    assert isinstance(row.summary, Summary)
    assert isinstance(counted, Count)
    estimate, labelled = metric.estimate(row.summary), round(counted.hits)
    place = (row.metric, row.cohort, row.start_us, row.length_us)
    return PerformanceRow(*place, row.summary, estimate, counted.n, labelled, mature)


_LABELLED = parse_metric("labelled_share")
