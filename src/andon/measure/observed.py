"""Metrics that need no truth: about answers, people, inputs, what happened later, and the software.

>>> import polars as pl
>>> from andon.measure.metric import parse_metric
>>> table = pl.DataFrame({"prediction": ["a", None, None], "status": ["decided", "decided", "pending"]})
>>> parse_metric("null_outputs").measure(table).value
0.5
>>> parse_metric("missing(prediction)").measure(table).n
3
"""

from __future__ import annotations

import re
from collections.abc import Callable

import polars as pl

from andon.core.clock import SECOND
from andon.errors import UsageError
from andon.measure.estimate import Estimate, mean_interval, rate, undefined, wilson
from andon.measure.metric import Call, Direction, Metric, estimator, register
from andon.measure.sketch import Latency
from andon.measure.slice import parse_slice
from andon.measure.summary import Count, Moments, Span, Summary

__all__ = ["count_of", "mean_of"]


def count_of(kept: Count) -> Estimate:
    """The share of rows that hit.

    >>> print(count_of(Count(10, 5.0, 10.0, 10.0)))
    0.5 (0.237 to 0.763, n 10)
    """
    if kept.n == 0:
        return undefined("no row to count", 0)
    return wilson(kept.hits * kept.scale, kept.total * kept.scale, rows=kept.n)


def mean_of(kept: Moments) -> Estimate:
    """The mean of a column; where all values are 0 or 1 it is a share, with a share's interval.

    >>> mean_of(Moments(4, 0.5, 1.0, 0.0, 1.0)).method
    'wilson'
    """
    if kept.n == 0:
        return undefined("no values", 0)
    if kept.binary:
        return wilson(min(kept.mean, 1.0) * kept.n, kept.n)
    return mean_interval(kept.n, kept.mean, kept.m2)


Hits = Callable[[pl.DataFrame], pl.Series]


def _share(call: Call, direction: Direction, needs: set[str], hits: Hits, uses: frozenset[str] = frozenset()) -> Metric:
    """A metric that counts: ``hits`` gives a boolean for every row, null where the row does not count at all."""

    def of_table(frame: pl.DataFrame) -> Summary:
        return Count.of(hits(frame))

    judged = estimator(Count, count_of)
    return Metric(call.text.strip(), "share", direction, frozenset(needs), False, Count, of_table, judged, uses)


def _only(frame: pl.DataFrame, hit: pl.Expr, among: pl.Expr) -> pl.Series:
    return frame.select(hit=pl.when(among.fill_null(False)).then(hit.fill_null(False)).otherwise(None))["hit"]


@register("null_outputs")
def _null_outputs(call: Call) -> Metric:
    call.no_argument()

    def hits(frame: pl.DataFrame) -> pl.Series:
        decided = pl.col("status") == "decided" if "status" in frame.columns else pl.lit(True)
        return _only(frame, pl.col("prediction").is_null(), decided)

    return _share(call, "down", {"prediction"}, hits, frozenset({"status"}))


@register("automatic_share")
def _automatic_share(call: Call) -> Metric:
    call.no_argument()
    everyone = pl.col("decided_by").is_not_null()
    return _share(call, None, {"decided_by"}, lambda f: _only(f, pl.col("decided_by") == "model", everyone))


@register("deferral_rate")
def _deferral_rate(call: Call) -> Metric:
    call.no_argument()
    passed_on = pl.col("decided_by").is_in(["person", "safe_default"]) | (pl.col("status") == "pending")
    return _share(call, None, {"decided_by", "status"}, lambda f: _only(f, passed_on, pl.col("status").is_not_null()))


@register("agreement")
def _agreement(call: Call) -> Metric:
    call.no_argument()
    same = pl.col("prediction") == pl.col("human")
    return _share(call, "up", {"prediction", "human"}, lambda f: _only(f, same, pl.col("human").is_not_null()))


@register("override_rate")
def _override_rate(call: Call) -> Metric:
    call.no_argument()
    advised = (pl.col("decided_by") == "person") & pl.col("suggestion").is_not_null()
    other = pl.col("prediction") != pl.col("suggestion")
    needs = {"prediction", "suggestion", "decided_by"}
    return _share(call, "down", needs, lambda f: _only(f, other, advised))


@register("labelled_share")
def _labelled_share(call: Call) -> Metric:
    call.no_argument()
    return _share(call, None, {"label"}, lambda f: f["label"].is_not_null())


@register("error_responses")
def _error_responses(call: Call) -> Metric:
    call.no_argument()
    return _share(call, "down", {"error"}, lambda f: f["error"].is_not_null())


@register("missing")
def _missing(call: Call) -> Metric:
    name = call.required("missing(age)")

    def hits(frame: pl.DataFrame) -> pl.Series:
        column = frame[name]
        return column.is_null() | column.is_nan().fill_null(True) if column.dtype.is_float() else column.is_null()

    return _share(call, "down", {name}, hits)


@register("share")
def _share_of(call: Call) -> Metric:
    predicate = parse_slice(call.required("share(region = 'North')"))
    return _share(call, None, set(predicate.columns), predicate.truth)


@register("mean")
def _mean(call: Call) -> Metric:
    name = call.required("mean(age)")
    judged = estimator(Moments, mean_of)
    return Metric(call.text.strip(), "", None, frozenset({name}), False, Moments, lambda f: Moments.of(f[name]), judged)


@register("feedback")
def _feedback(call: Call) -> Metric:
    """``feedback(kind)`` of all decisions, ``feedback(kind, other)`` of those that have feedback of the other kind."""
    kinds = [kind.strip() for kind in call.required("feedback(redo)").split(",")]
    if len(kinds) > 2 or not all(re.fullmatch(r"[\w.-]+", kind) for kind in kinds):
        raise UsageError(f"metric {call.text!r}: expected 'feedback(redo)' or 'feedback(click, shown)'")
    has = [pl.col("feedback").list.contains(kind) for kind in kinds]
    among = has[1] if len(has) == 2 else pl.lit(True)
    return _share(call, None, {"feedback"}, lambda f: _only(f, has[0], among))


@register("throughput_per_s")
def _throughput(call: Call) -> Metric:
    call.no_argument()
    return Metric(
        "throughput_per_s",
        "per second",
        None,
        frozenset({"time_us"}),
        False,
        Span,
        lambda f: Span.of(f["time_us"]),
        estimator(Span, _per_second),
    )


def _per_second(kept: Span) -> Estimate:
    if kept.n < 2 or kept.first_us is None or kept.last_us is None:
        return undefined("fewer than two rows, so no time passed", kept.n)
    # n rows bound n - 1 intervals.
    return rate(kept.n - 1, (kept.last_us - kept.first_us) / SECOND)


def _latency(percent: int) -> None:
    @register(f"latency_p{percent}_ms")
    def factory(call: Call) -> Metric:
        call.no_argument()
        estimate = estimator(Latency, lambda kept: kept.estimate(percent / 100))
        needs = frozenset({"latency_us"})
        return Metric(call.text.strip(), "ms", "down", needs, False, Latency, _milliseconds, estimate)


def _milliseconds(frame: pl.DataFrame) -> Summary:
    return Latency.of(frame["latency_us"].cast(pl.Float64) / 1000)


for _percent in (50, 90, 95, 99):
    _latency(_percent)
