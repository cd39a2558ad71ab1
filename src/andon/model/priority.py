"""What to work on first: room to improve times share of the data, in two lanes.

*Model lane*: (baseline - accuracy) x share, what reaching the baseline on a slice would add to the accuracy overall.
*Label lane*: (1 - baseline) x share, what even people (where they are the baseline) do not get right: check the labels or
the input there first. The two can point to different slices, and both are right. Slices may overlap: then totals that
would count rows twice are left undefined instead of pretending that shares add up to 1.

>>> frame = pl.DataFrame({
...     "y": [1] * 200, "yhat": [1] * 95 + [0] * 5 + [1] * 90 + [0] * 10, "defect": ["scratch"] * 100 + ["stain"] * 100})
>>> table = errors(frame, label="y", prediction="yhat", by=["defect"], baseline={"scratch": 0.98, "stain": 0.90})
>>> [(row.slice, row.rank, row.label_rank) for row in table.rows]
[('scratch', 1, 2), ('stain', 2, 1)]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import polars as pl

from andon.core.registry import did_you_mean
from andon.errors import UsageError
from andon.measure.estimate import Estimate, undefined, wilson
from andon.model.table import Cohorts, cohorts, labelled

__all__ = ["TIE", "Priorities", "Priority", "Total", "errors", "prioritise", "ranks"]

#: Gains closer than this are the same: rates that come from counts differ in the last bits.
TIE = 1e-9


class Priority(msgspec.Struct, frozen=True):
    """One slice. Rates are fractions of 1; ``share`` is of all rows, ``error_share`` of all errors.

    ``rank`` orders the model lane (by ``error_gain``, what being always right would add, where there is no baseline),
    ``label_rank`` the label lane; ties share a rank. ``gain_low`` and ``gain_high`` bound the model gain.
    """

    slice: str
    n: int
    share: float
    accuracy: Estimate
    baseline: float | None
    gap: float | None
    model_gain: float | None
    label_gain: float | None
    error_share: float | None
    error_gain: float
    gain_low: float | None = None
    gain_high: float | None = None
    rank: int | None = None
    label_rank: int | None = None


class Total(msgspec.Struct, frozen=True):
    """Everybody. ``share`` is the part of the rows that lies in some slice, ``overlap`` the part that lies in several.

    ``baseline``, ``gap`` and the gains are weighted sums over the slices; None when slices overlap or a baseline is
    missing, because then no sum means anything.
    """

    n: int
    errors: int
    share: float
    overlap: float
    accuracy: Estimate
    baseline: float | None
    gap: float | None
    model_gain: float | None
    label_gain: float | None


@dataclass(frozen=True)
class Priorities:
    """The priority table, most worth working on first."""

    rows: list[Priority]
    total: Total

    @property
    def table(self) -> pl.DataFrame:
        """One row for every slice."""
        plain = [msgspec.to_builtins(row) for row in self.rows]
        flat = [
            {
                **row,
                "accuracy": row["accuracy"]["value"],
                "low": row["accuracy"]["low"],
                "high": row["accuracy"]["high"],
            }
            for row in plain
        ]
        return pl.DataFrame(flat, infer_schema_length=None)

    def to_json(self) -> dict[str, Any]:
        """JSON-ready: ``rows`` and ``total``."""
        body: dict[str, Any] = msgspec.to_builtins({"rows": self.rows, "total": self.total})
        return body

    def _repr_html_(self) -> str:
        return self.table._repr_html_()

    def plot(self) -> Any:
        """Accuracy by slice with its intervals, in the order of the table, as a plotly figure."""
        from andon.model.figure import bars

        return bars({row.slice: row.accuracy for row in self.rows}, "accuracy, most worth working on first")


def errors(
    frame: Any,
    *,
    label: str = "label",
    prediction: str = "prediction",
    by: Sequence[str] = (),
    slices: Mapping[str, str] | None = None,
    baseline: Mapping[str, float] | None = None,
) -> Priorities:
    """The priority table of a frame of predictions (polars or pandas); rows without a label do not count.

    ``baseline`` maps slices to what people (or whoever) reach there, as a fraction. Raises ``UsageError`` for an unknown
    column, a baseline for no slice or outside 0 to 1, and when there is nothing to slice by.
    """
    table = labelled(frame, label, prediction).filter(pl.col("label").is_not_null())
    if not by and not slices:
        raise UsageError("nothing to compare: name columns with by (--by) or slices")
    parts = cohorts(table, by, slices)
    right = (table["prediction"] == table["label"]).fill_null(False)
    return prioritise(right, parts, matched(baseline or {}, parts, by))


def matched(baseline: Mapping[str, float], parts: Cohorts, by: Sequence[str]) -> dict[str, float]:
    """Baselines by the slices' own names; ``column=value``, ``column = 'value'`` and, where clear, the value alone will do.

    >>> matched({"noise = 'car'": 0.9}, {"car": pl.Series([True])}, ["noise"])
    {'car': 0.9}
    """
    known: dict[str, set[str]] = {}
    for part in parts:
        for alias in _aliases(part, by):
            known.setdefault(alias, set()).add(part)
    result: dict[str, float] = {}
    for name, value in baseline.items():
        if not 0 <= value <= 1:
            raise UsageError(f"baseline of {name!r}: expected a fraction from 0 to 1, found {value:g}")
        found = {name} & set(parts) or known.get(name, set())
        if len(found) != 1:
            raise UsageError(f"baseline of {name!r}: no one slice is called so; {did_you_mean(name, parts)}")
        result[found.pop()] = value
    return result


def _aliases(part: str, by: Sequence[str]) -> list[str]:
    if len(by) == 1:
        return [f"{by[0]}={part}", f"{by[0]} = '{part}'"]
    column, _, value = part.partition("=")
    return [value, f"{column} = '{value}'"] if column in by else []


def prioritise(right: pl.Series, parts: Cohorts, baseline: Mapping[str, float]) -> Priorities:
    """The table from one boolean for every row (was it right?) and the rows of every slice."""
    rows = [_row(name, right, mask, baseline.get(name)) for name, mask in parts.items()]
    lane = [row.error_gain if row.baseline is None and not baseline else row.model_gain for row in rows]
    places, label_places = ranks(lane), ranks([row.label_gain for row in rows])
    ranked = [
        msgspec.structs.replace(row, rank=place, label_rank=label_place)
        for row, place, label_place in zip(rows, places, label_places, strict=True)
    ]
    ranked.sort(key=lambda row: (row.rank is None, row.rank or 0, -row.error_gain))
    return Priorities(ranked, _total(right, parts, rows))


def _row(name: str, right: pl.Series, mask: pl.Series, baseline: float | None) -> Priority:
    size, inside = len(right), right.filter(mask)
    n, hits, wrong = len(inside), int(inside.sum()), int((~right).sum())
    share = n / size if size else 0.0
    accuracy = wilson(hits, n) if n else undefined("no row with a label is in this slice")
    known = accuracy.value if baseline is not None else None
    room = None if known is None or baseline is None else baseline - known
    return Priority(
        slice=name,
        n=n,
        share=share,
        accuracy=accuracy,
        baseline=baseline,
        gap=room,
        model_gain=None if room is None else room * share,
        label_gain=None if baseline is None else (1 - baseline) * share,
        error_share=(n - hits) / wrong if wrong else None,
        error_gain=(n - hits) / size if size else 0.0,
        gain_low=_gain(baseline, accuracy.high, share),
        gain_high=_gain(baseline, accuracy.low, share),
    )


def _gain(baseline: float | None, accuracy: float | None, share: float) -> float | None:
    return None if baseline is None or accuracy is None else (baseline - accuracy) * share


def _total(right: pl.Series, parts: Cohorts, rows: Sequence[Priority]) -> Total:
    n, hits = len(right), int(right.sum())
    memberships = sum((mask.cast(pl.Int64) for mask in parts.values()), pl.zeros(n, dtype=pl.Int64, eager=True))
    covered, several = int((memberships > 0).sum()), int((memberships > 1).sum())
    filled = [row for row in rows if row.n]
    whole = several == 0 and covered == n and n > 0 and all(row.baseline is not None for row in filled)
    return Total(
        n=n,
        errors=n - hits,
        share=covered / n if n else 0.0,
        overlap=several / n if n else 0.0,
        accuracy=wilson(hits, n) if n else undefined("no row has a label"),
        baseline=sum((row.baseline or 0) * row.share for row in filled) if whole else None,
        gap=sum(row.model_gain or 0 for row in filled) if whole else None,
        model_gain=sum(row.model_gain or 0 for row in filled) if whole else None,
        label_gain=sum(row.label_gain or 0 for row in filled) if whole else None,
    )


def ranks(gains: Sequence[float | None], tie: float = TIE) -> list[int | None]:
    """1 for the largest; those within ``tie`` of the one before share its rank; None has none.

    >>> ranks([0.6, 0.16, 0.6 + 1e-16, None, 0.0])
    [1, 3, 1, None, 4]
    """
    order = sorted((i for i, gain in enumerate(gains) if gain is not None), key=lambda i: -(gains[i] or 0.0))
    result: list[int | None] = [None] * len(gains)
    for place, i in enumerate(order):
        before = order[place - 1] if place else i
        close = place > 0 and abs((gains[before] or 0.0) - (gains[i] or 0.0)) <= tie
        result[i] = result[before] if close else place + 1
    return result
