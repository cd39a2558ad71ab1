"""Metrics that need the truth: all are functions of one confusion matrix, so one summary serves them all.

An answer that is no class ("refer", or none at all) is never right: it counts in accuracy and as missed in recall, and
leaves precision alone. A share uses Wilson's interval; F1 uses it through F1 = 2 J / (1 + J) with J = TP / (TP + FP +
FN), a share too; macro F1 and value use MOVER with the correlations of a multinomial.

``value(c: {right: a, missed: b}, d: {wrong: e})`` is the mean worth of a case. The amounts belong to the *true* class:
``right`` when a case of ``c`` was answered ``c``, ``missed`` (or ``wrong``, the same) when it was not. Wrongly answering
"c" is priced at the class that was there: a false alarm is ``negative: {wrong: -15}``. ``unanswered`` prices answers
that are no class; where it is not given they count as missed.

>>> import polars as pl
>>> from andon.measure.metric import parse_metric
>>> worth = parse_metric("value(yes: {right: 40, missed: -400}, no: {wrong: -15})", ("no", "yes"))
>>> worth.measure(pl.DataFrame({"label": ["yes", "no", "no"], "prediction": ["yes", "yes", "no"]})).value
8.33...
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import polars as pl

from andon.errors import UsageError
from andon.measure.estimate import Estimate, mover, undefined, wilson
from andon.measure.metric import Call, Direction, Metric, estimator, register
from andon.measure.summary import Confusion, Summary

__all__ = ["amounts_of", "f1_of", "macro_f1_of", "precision_of", "recall_of", "value_of"]

Array = npt.NDArray[np.float64]


def accuracy_of(kept: Confusion) -> Estimate:
    """The share of labelled rows answered right."""
    return _labelled(kept, float(np.trace(kept.matrix)))


def error_rate_of(kept: Confusion) -> Estimate:
    """The share of labelled rows not answered right."""
    return _labelled(kept, kept.total - float(np.trace(kept.matrix)))


def precision_of(kept: Confusion, name: str) -> Estimate:
    """Of the answers ``name``, the share that was right; undefined when it was never the answer.

    >>> precision_of(Confusion(("a", "b"), ((914.0, 0.0, 0.0), (86.0, 0.0, 0.0)), 1000, 1000.0, 1000.0), "b").reason
    "nothing with a label was answered 'b'"
    """
    hit, _, answered = _cells(kept, name)
    return _share(kept, hit, answered, f"nothing with a label was answered {name!r}")


def recall_of(kept: Confusion, name: str) -> Estimate:
    """Of the true ``name``, the share that was answered so; undefined when there was none."""
    hit, true, _ = _cells(kept, name)
    return _share(kept, hit, true, f"no row has the label {name!r}")


def specificity_of(kept: Confusion, name: str) -> Estimate:
    """Of the rows that are not ``name``, the share that was not answered so."""
    hit, true, answered = _cells(kept, name)
    others = kept.total - true
    return _share(kept, others - (answered - hit), others, f"every row has the label {name!r}")


def f1_of(kept: Confusion, name: str) -> Estimate:
    """2 TP / (2 TP + FP + FN); undefined only when ``name`` neither occurred nor was answered."""
    hit, true, answered = _cells(kept, name)
    jaccard = _share(kept, hit, true + answered - hit, f"{name!r} neither occurred nor was answered")
    if jaccard.value is None or jaccard.low is None or jaccard.high is None:
        return jaccard
    value, low, high = (2 * share / (1 + share) for share in (jaccard.value, jaccard.low, jaccard.high))
    return Estimate(value, low, high, jaccard.n, "wilson of jaccard")


def macro_f1_of(kept: Confusion) -> Estimate:
    """The plain mean of all classes' F1; undefined when one of them is."""
    parts = [f1_of(kept, name) for name in kept.classes]
    if not parts or kept.n == 0:
        return undefined("no row has a label", 0)
    if missing := [part.reason for part in parts if part.reason]:
        return undefined(missing[0], kept.n)
    return mover(parts, [1 / len(parts)] * len(parts), _f1_correlation(kept), kept.n)


def value_of(kept: Confusion, amounts: Array) -> Estimate:
    """The mean amount per labelled row; ``amounts`` has the shape of the matrix: (classes, classes + 1)."""
    if kept.n == 0:
        return undefined("no row has a label", 0)
    worth = np.unique(amounts[amounts != 0])
    sums = [float(kept.matrix[amounts == amount].sum()) for amount in worth]
    parts = [wilson(part * kept.scale, kept.total * kept.scale, rows=kept.n) for part in sums]
    share = np.array([part.value for part in parts], dtype=np.float64)
    odds = np.sqrt(np.divide(share, 1 - share, out=np.zeros_like(share), where=share < 1))
    correlation = -np.outer(odds, odds)
    np.fill_diagonal(correlation, 1.0)
    found = mover(parts, [float(amount) for amount in worth], correlation, kept.n)
    low = float(amounts.min()) if found.low is None else max(found.low, float(amounts.min()))
    high = float(amounts.max()) if found.high is None else min(found.high, float(amounts.max()))
    return Estimate(found.value, low, high, kept.n, "mover")


def _labelled(kept: Confusion, hits: float) -> Estimate:
    return _share(kept, hits, kept.total, "no row has a label")


def _share(kept: Confusion, hits: float, of: float, reason: str) -> Estimate:
    if of <= 0:
        return undefined(reason, 0)
    return wilson(min(max(hits, 0.0), of) * kept.scale, of * kept.scale)


def _cells(kept: Confusion, name: str) -> tuple[float, float, float]:
    """Of a class: rows hit, rows with that truth, rows with that answer."""
    if name not in kept.classes:
        return 0.0, 0.0, 0.0
    at, matrix = kept.classes.index(name), kept.matrix
    return float(matrix[at, at]), float(matrix[at].sum()), float(matrix[:, at].sum())


def _f1_correlation(kept: Confusion) -> Array:
    """How the classes' F1 vary together (delta method): one wrong answer lowers two of them."""
    matrix, size = kept.matrix, len(kept.classes)
    both = matrix.sum(axis=1) + matrix.sum(axis=0)[:size]
    gradient = np.zeros((size, *matrix.shape))
    for i in range(size):
        slope = 2 * matrix[i, i] / both[i] ** 2
        gradient[i, i, :] -= slope
        gradient[i, :, i] -= slope
        gradient[i, i, i] += 2 / both[i]
    flat = gradient.reshape(size, -1)
    covariance = (flat * matrix.reshape(-1)) @ flat.T
    deviation = np.sqrt(np.diag(covariance))
    scale = np.outer(deviation, deviation)
    # Where a class never varied nothing is known of how it would: count it as varying with all others.
    correlation: Array = np.divide(covariance, scale, out=np.ones_like(scale), where=scale > 0)
    return np.clip(correlation, 0, 1)


_ENTRY = re.compile(r"\s*('[^']*'|\"[^\"]*\"|[^\s:{},](?:[^:{},]*[^\s:{},])?)\s*:\s*\{([^{}]*)\}\s*(?:,|$)")
_AMOUNT = re.compile(r"\s*(\w+)\s*:\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*")
_WORDS = ("right", "missed", "wrong", "unanswered")
_VALUE_EXAMPLE = "value(positive: {right: 40, missed: -400}, negative: {wrong: -15})"


def _amounts(call: Call) -> Array:
    """The worth of every cell of the matrix, read from the text."""
    text, at = call.required(_VALUE_EXAMPLE), 0
    worth: dict[str, dict[str, float]] = {}
    while at < len(text):
        entry = _ENTRY.match(text, at)
        if entry is None:
            raise UsageError(
                f"metric {call.text!r}: {text[at:]!r} is not understood; expected something like '{_VALUE_EXAMPLE}'"
            )
        name = call.known_class(entry.group(1).strip("'\""))
        if name in worth:
            raise UsageError(f"metric {call.text!r}: {name!r} is named twice")
        worth[name] = _entry(call, name, entry.group(2))
        at = entry.end()
    if not any(amount for prices in worth.values() for amount in prices.values()):
        raise UsageError(f"metric {call.text!r}: every amount is 0, so there is nothing to measure")
    return _matrix(call.classes or tuple(worth), worth)


def _entry(call: Call, name: str, text: str) -> dict[str, float]:
    prices: dict[str, float] = {}
    for part in text.split(","):
        found = _AMOUNT.fullmatch(part)
        if found is None or found.group(1) not in _WORDS or not math.isfinite(float(found.group(2))):
            raise UsageError(
                f"metric {call.text!r}: {name}: expected {', '.join(_WORDS)} with a number, found {part.strip()!r}"
            )
        if found.group(1) in prices:
            raise UsageError(f"metric {call.text!r}: {name}: {found.group(1)!r} is named twice")
        prices[found.group(1)] = float(found.group(2))
    if {"missed", "wrong"} <= prices.keys():
        raise UsageError(
            f"metric {call.text!r}: {name}: 'missed' and 'wrong' both mean a case of {name!r} answered with another class; "
            f"give one, and price a wrong answer {name!r} at the class that was there, as in 'other: {{wrong: -15}}'"
        )
    return prices


def _matrix(classes: tuple[str, ...], worth: dict[str, dict[str, float]]) -> Array:
    amounts = np.zeros((len(classes), len(classes) + 1))
    for at, name in enumerate(classes):
        prices = worth.get(name, {})
        missed = prices.get("missed", prices.get("wrong", 0.0))
        amounts[at, :] = missed
        amounts[at, at] = prices.get("right", 0.0)
        amounts[at, -1] = prices.get("unanswered", missed)
    return amounts


_NEEDS = frozenset({"label", "prediction"})


def _crossed(classes: tuple[str, ...]) -> Callable[[pl.DataFrame], Summary]:
    def of_table(frame: pl.DataFrame) -> Summary:
        weight = frame["weight"] if "weight" in frame.columns else None
        return Confusion.of(frame["label"], frame["prediction"], _classes_in(frame, classes), weight)

    return of_table


def _classes_in(frame: pl.DataFrame, classes: tuple[str, ...]) -> tuple[str, ...]:
    """The target's classes, or where those are not known, those that occur as labels."""
    return classes or tuple(sorted(str(name) for name in frame["label"].drop_nulls().unique()))


def _metric(call: Call, unit: str, direction: Direction, estimate: Callable[[Confusion], Estimate]) -> Metric:
    crossed, judged = _crossed(call.classes), estimator(Confusion, estimate)
    uses = frozenset({"weight"})
    return Metric(call.text.strip(), unit, direction, _NEEDS, True, Confusion, crossed, judged, uses)


def _whole(name: str, direction: Direction, estimate: Callable[[Confusion], Estimate]) -> None:
    @register(name)
    def factory(call: Call) -> Metric:
        call.no_argument()
        return _metric(call, "share", direction, estimate)


def _by_class(name: str, estimate: Callable[[Confusion, str], Estimate]) -> None:
    @register(name)
    def factory(call: Call) -> Metric:
        of = call.class_name()
        return _metric(call, "share", "up", lambda kept: estimate(kept, of))


def amounts_of(argument: str, classes: tuple[str, ...]) -> Array:
    """The worth of each (true class, answer) of a value's argument; the last column is of answers that are no class.

    >>> amounts_of("yes: {right: 40, missed: -400}, no: {wrong: -15}", ("no", "yes")).tolist()
    [[0.0, -15.0, -15.0], [-400.0, 40.0, -400.0]]
    """
    return _amounts(Call(f"value({argument})", "value", argument, classes))


@register("value")
def _value(call: Call) -> Metric:
    amounts = _amounts(call)
    if not call.classes:
        raise UsageError(f"metric {call.text!r}: value needs the target's classes; measure it in a project")
    return _metric(call, "per case", "up", lambda kept: value_of(kept.onto(call.classes), amounts))


_whole("accuracy", "up", accuracy_of)
_whole("error_rate", "down", error_rate_of)
_whole("macro_f1", "up", macro_f1_of)
_by_class("precision", precision_of)
_by_class("recall", recall_of)
_by_class("specificity", specificity_of)
_by_class("f1", f1_of)
