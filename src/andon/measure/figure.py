"""A bounded figure of each case (what an answer is worth, how sure the release was): what a rollout compares by means.

It needs bounds that are known beforehand: those of the table of amounts, of a confidence, or the range of an input as
the charter has it (``int(0..120)``). It needs a margin, too, in the metric's own unit: how much worse a mean may be. A
metric that counts an event of a case (``andon.measure.event``) is judged by that and needs neither.

An input is what it is before the release answers, so its mean tells of the draw and not of the release.

>>> from andon.measure.gate import Bound
>>> worth = figure_of("value(yes: {right: 40}, no: {wrong: -15})", Bound.parse("> 0"), ("no", "yes"), ())
>>> worth.low, worth.high, worth.worse, worth.late
(-15.0, 40.0, 'lower', True)
>>> table = pl.DataFrame({"label": ["yes", "no", "no", None], "prediction": ["yes", "yes", None, "no"]})
>>> table.select(worth.value)["value"].to_list()
[40.0, -15.0, -15.0, None]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from andon.core.record import Field
from andon.errors import UsageError
from andon.measure.event import Event, event_of
from andon.measure.gate import Bound
from andon.measure.metric import parse_metric
from andon.measure.quality import amounts_of

__all__ = ["Figure", "figure_of", "watched"]


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of a case in [``low``, ``high``]: ``value`` is a number, or null where the case does not count (yet).

    It reads the columns of ``andon.store.view.outcomes``. ``worse`` says which way is worse, ``limit`` what the bound
    asks of the mean (None: nothing on that side). ``margin`` is how much worse a mean is not accepted any more.
    """

    value: pl.Expr
    low: float
    high: float
    worse: Literal["higher", "lower"]
    late: bool
    limit: float | None
    margin: float | None = None


def watched(
    of: str, bound: Bound | None, classes: tuple[str, ...], inputs: Sequence[Field], margin: float | None = None
) -> Event | Figure:
    """What a guardrail looks at of each case: its event, else its figure.

    Raises ``UsageError`` where it has neither, or its figure no margin; ``NotFound`` for a metric that there is not.

    >>> watched("mean(confidence)", Bound.parse(">= 0.6"), (), (), 0.05).margin
    0.05
    >>> watched("mean(confidence)", Bound.parse(">= 0.6"), (), ())
    Traceback (most recent call last):
    ...
    andon.errors.UsageError: mean(confidence) is a mean: give the metric a margin, so much worse (in its own unit) ...
    """
    name = of.strip().partition("(")[0].strip()
    if name not in ("value", "mean"):
        return event_of(of, bound, classes)
    found = figure_of(of, bound, classes, inputs)
    if margin is None:
        raise UsageError(
            f"{of} is a mean: give the metric a margin, so much worse (in its own unit) is not accepted; "
            "without one it is shown and not judged"
        )
    if not 0 < margin <= found.high - found.low:
        raise UsageError(
            f"{of} lies between {found.low:g} and {found.high:g}: expected a margin above 0 and at most "
            f"{found.high - found.low:g}, found {margin:g}; it is shown and not judged"
        )
    return Figure(found.value, found.low, found.high, found.worse, found.late, found.limit, margin)


def figure_of(of: str, bound: Bound | None, classes: tuple[str, ...], inputs: Sequence[Field]) -> Figure:
    """The figure of a mean or a value. Raises ``UsageError`` where its bounds or its better side are not known."""
    parse_metric(of, classes)
    argument = of.strip().partition("(")[2].rpartition(")")[0].strip()
    if of.strip().startswith("value"):
        return _worth(of, argument, bound, classes)
    low, high = _range(of, argument, inputs)
    if bound is None or (bound.low is None) == (bound.high is None):
        raise UsageError(
            f"{of} is neither good nor bad by itself; give it a one-sided goal or alarm such as '>= 0.6'; "
            "without one it is shown and not judged"
        )
    limit = bound.low if bound.high is None else bound.high
    value = pl.col(argument).cast(pl.Float64)
    value = pl.when(value.is_between(low, high)).then(value).alias("value")
    return Figure(value, low, high, "lower" if bound.high is None else "higher", False, limit)


def _range(of: str, column: str, inputs: Sequence[Field]) -> tuple[float, float]:
    if column == "confidence":
        return 0.0, 1.0
    field = next((one for one in inputs if one.name == column), None)
    if field is not None and field.kind == "bool":
        return 0.0, 1.0
    if field is None or field.low is None or field.high is None or field.low >= field.high:
        raise UsageError(
            f"the bounds of {of} are not known, so it is shown and not judged; an input has some with a range, as in "
            f"'{column}: float(0..100)'"
        )
    return field.low, field.high


def _worth(of: str, argument: str, bound: Bound | None, classes: tuple[str, ...]) -> Figure:
    """What a case is worth, by its label and its answer; an answer that is no class counts as none."""
    amounts = amounts_of(argument, classes)
    true, said = pl.col("label"), pl.col("prediction")
    value = pl.when(true.is_in(classes)).then(pl.lit(0.0))
    for at, name in enumerate(classes):
        row = amounts[at]
        if row.any():
            prices = dict(zip(classes, row[:-1].tolist(), strict=True))
            paid = said.replace_strict(prices, default=float(row[-1]), return_dtype=pl.Float64)
            value = pl.when(true == name).then(paid.fill_null(float(row[-1]))).otherwise(value)  # type: ignore[assignment]
    limit = None if bound is None else bound.low
    return Figure(value.alias("value"), float(amounts.min()), float(amounts.max()), "lower", True, limit)
