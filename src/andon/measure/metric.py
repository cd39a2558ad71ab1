"""A metric is defined once: what it keeps of a table (a summary) and what a summary says (an estimate).

::

    accuracy  error_rate  precision[c]  recall[c]  specificity[c]  f1[c]  macro_f1       need a label
    value(c: {right: 40, missed: -400}, d: {wrong: -15})                                 needs a label; see `quality`
    null_outputs  automatic_share  deferral_rate  agreement  override_rate               about answers
    labelled_share  feedback(redo)  feedback(click, shown)                               about what happened later
    mean(column)  missing(column)  share(predicate)                                      about inputs; predicate as in slices
    latency_p50_ms  latency_p95_ms  latency_p99_ms  throughput_per_s  error_responses    about the software

>>> import polars as pl
>>> recall = parse_metric("recall[positive]", ("negative", "positive"))
>>> table = pl.DataFrame({"label": ["positive", "positive", None], "prediction": ["positive", None, "negative"]})
>>> print(recall.estimate(recall.summarise(table)))
0.5 (0.0945 to 0.905, n 2)
>>> parse_metric("recal[positive]")
Traceback (most recent call last):
...
andon.errors.NotFound: no metric is called 'recal'; did you mean 'recall'?
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Literal, TypeVar

import polars as pl

from andon.core.registry import Registry, did_you_mean
from andon.errors import UsageError
from andon.measure.estimate import Estimate
from andon.measure.summary import Summary

__all__ = ["Call", "Direction", "Metric", "estimator", "metric_names", "parse_metric", "register"]

Direction = Literal["up", "down"] | None


@dataclass(frozen=True)
class Metric:
    """A named pair of functions: table to summary, summary to estimate.

    ``needs`` are the columns without which nothing can be measured (the summary is then empty and the estimate
    undefined), ``uses`` those that also count where they are present. ``kind`` is the class of its summary;
    ``kind()`` is the summary of no rows. ``direction`` says which way is better, where that is known.
    """

    name: str
    unit: str
    direction: Direction
    needs: frozenset[str]
    needs_label: bool
    kind: type[Summary]
    of_table: Callable[[pl.DataFrame], Summary]
    estimate: Callable[[Summary], Estimate]
    uses: frozenset[str] = frozenset()

    @property
    def columns(self) -> frozenset[str]:
        """Every column it reads where there is one."""
        return self.needs | self.uses

    def summarise(self, frame: pl.DataFrame) -> Summary:
        """What is kept of a table of records; empty when a needed column is not there."""
        return self.of_table(frame) if self.needs.issubset(frame.columns) else self.kind()

    def measure(self, frame: pl.DataFrame) -> Estimate:
        """The estimate for a table at once."""
        return self.estimate(self.summarise(frame))


@dataclass(frozen=True)
class Call:
    """A metric as it was written: ``text`` is all of it, ``argument`` what stands in brackets (None: no brackets)."""

    text: str
    name: str
    argument: str | None
    classes: tuple[str, ...]

    def no_argument(self) -> None:
        """Raise ``UsageError`` when there are brackets."""
        if self.argument is not None:
            raise UsageError(f"metric {self.text!r}: {self.name} takes nothing in brackets; write '{self.name}'")

    def required(self, example: str) -> str:
        """What stands in brackets; raises ``UsageError`` when that is nothing."""
        if self.argument is None or not self.argument:
            raise UsageError(f"metric {self.text!r}: {self.name} needs something in brackets, like '{example}'")
        return self.argument

    def class_name(self) -> str:
        """The class in brackets; raises ``UsageError`` when it is not one of the target's."""
        example = f"{self.name}[{self.classes[0] if self.classes else 'positive'}]"
        return self.known_class(_unquote(self.required(example)))

    def known_class(self, name: str) -> str:
        """The name itself; raises ``UsageError`` when it is not one of the target's classes."""
        if self.classes and name not in self.classes:
            raise UsageError(f"metric {self.text!r}: no class is called {name!r}; {did_you_mean(name, self.classes)}")
        return name


Factory = Callable[[Call], Metric]
_METRICS: Registry[Factory] = Registry("metric")
_CALL = re.compile(r"\s*([A-Za-z]\w*)\s*(?:\[(.*)\]|\((.*)\))?\s*", re.DOTALL)


def register(name: str) -> Callable[[Factory], Factory]:
    """Make a metric known by name; the function receives the ``Call`` and returns the ``Metric``.

    >>> @register("rows")
    ... def rows(call: Call) -> Metric:
    ...     from andon.measure.estimate import exact
    ...     from andon.measure.summary import Count
    ...     count = lambda table: Count(table.height, 0, table.height, table.height)
    ...     return Metric("rows", "rows", None, frozenset(), False, Count, count, lambda kept: exact(kept.n, kept.n))
    >>> parse_metric("rows").measure(pl.DataFrame({"a": [1, 2]})).value
    2.0
    """

    def keep(factory: Factory) -> Factory:
        _METRICS.add(name, factory)
        return factory

    return keep


def parse_metric(of: str, classes: tuple[str, ...] = ()) -> Metric:
    """The metric that the text means for a target with these classes.

    Raises ``NotFound`` for an unknown name and ``UsageError`` for wrong brackets or an unknown class.

    >>> parse_metric("f1[dent]", ("dent", "scratch")).needs == {"label", "prediction"}
    True
    """
    _load()
    found = _CALL.fullmatch(of)
    if found is None:
        raise UsageError(f"metric {of!r} is not understood; expected a name, like 'accuracy' or 'recall[positive]'")
    name, square, round_ = found.groups()
    argument = square if square is not None else round_
    call = Call(of, name, None if argument is None else argument.strip(), tuple(classes))
    return _METRICS.get(name)(call)


def metric_names() -> list[str]:
    """Every name that ``parse_metric`` knows.

    >>> "macro_f1" in metric_names()
    True
    """
    _load()
    return list(_METRICS)


S = TypeVar("S", bound=Summary)


def estimator(kind: type[S], estimate: Callable[[S], Estimate]) -> Callable[[Summary], Estimate]:
    """Let a function of one kind of summary take any; raises ``UsageError`` when it is given another kind."""

    def checked(summary: Summary) -> Estimate:
        if not isinstance(summary, kind):
            raise UsageError(f"expected a summary of kind {kind.__name__}, found {type(summary).__name__}")
        return estimate(summary)

    return checked


def _unquote(text: str) -> str:
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if quoted else text


def _load() -> None:
    # They register what they define, and need this module for it: so they come in on first use.
    for room in ("quality", "observed"):
        import_module(f"andon.measure.{room}")
