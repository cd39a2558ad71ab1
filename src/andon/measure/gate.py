"""A gate is a metric with a bound: it says pass, fail or unsure, and why in one sentence.

The whole interval decides, not the value: wholly inside the bound is a pass, wholly outside a fail, and everything else
is ``unsure``. So too few rows can neither pass nor fail.

>>> from andon.measure.estimate import wilson
>>> bound = Bound.parse(">= 0.85")
>>> gate("recall", wilson(68, 86), bound).verdict.value
'unsure'
>>> gate("recall", wilson(680, 860), bound).sentence
'recall is 0.791 (0.762 to 0.817, n 860): outside >= 0.85'
"""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec

from andon.core.verdict import Verdict
from andon.errors import UsageError
from andon.measure.estimate import Estimate

__all__ = ["Bound", "GateResult", "could_not_measure", "gate"]

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_ONE_SIDED = re.compile(rf"\s*(<=|>=|<|>)\s*({_NUMBER})\s*")
_RANGE = re.compile(rf"\s*({_NUMBER})\s*\.\.\s*({_NUMBER})\s*")


class Bound(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a metric may be: at least ``low``, at most ``high`` (None: open); ``strict`` leaves the limit itself out.

    >>> Bound.parse("< 3").holds(3), Bound.parse("<= 3").holds(3), Bound.parse("1 .. 3").holds(1)
    (False, True, True)
    >>> str(Bound.parse("0.09..0.19")), str(Bound.parse("<=5e-2"))
    ('0.09 .. 0.19', '<= 0.05')
    """

    low: float | None = None
    high: float | None = None
    strict: bool = False

    @classmethod
    def parse(cls, text: str) -> Bound:
        """Read ``<= 0.05``, ``< 1``, ``>= 0.85``, ``> 0`` or ``0.09 .. 0.19``; raises ``UsageError`` for anything else."""
        if found := _ONE_SIDED.fullmatch(text):
            sign, limit = found.group(1), _finite(found.group(2), text)
            strict = len(sign) == 1
            return cls(high=limit, strict=strict) if sign[0] == "<" else cls(low=limit, strict=strict)
        if found := _RANGE.fullmatch(text):
            low, high = _finite(found.group(1), text), _finite(found.group(2), text)
            if low > high:
                raise UsageError(f"bound {text!r}: the first number is the smaller one; write '{high:g} .. {low:g}'")
            return cls(low, high)
        raise UsageError(
            f"bound {text!r} is not understood; expected something like '<= 0.05', '>= 0.85', '> 0' or '0.09 .. 0.19'"
        )

    def holds(self, value: float) -> bool:
        """Whether a value is inside."""
        return self._above(value) and self._below(value)

    def verdict(self, low: float, high: float) -> Verdict:
        """Pass when all of [low, high] is inside, fail when all of it is outside, else unsure."""
        if self.holds(low) and self.holds(high):
            return Verdict.PASS
        if not self._above(high) or not self._below(low):
            return Verdict.FAIL
        return Verdict.UNSURE

    def __str__(self) -> str:
        if self.low is not None and self.high is not None:
            return f"{_text(self.low)} .. {_text(self.high)}"
        if self.low is not None:
            return f"{'>' if self.strict else '>='} {_text(self.low)}"
        return f"{'<' if self.strict else '<='} {_text(self.high)}" if self.high is not None else "any"

    def _above(self, value: float) -> bool:
        return self.low is None or (value > self.low if self.strict else value >= self.low)

    def _below(self, value: float) -> bool:
        return self.high is None or (value < self.high if self.strict else value <= self.high)


class GateResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """A verdict with its evidence: the estimate, the bound and the cohort ("" is everyone)."""

    metric: str
    verdict: Verdict
    sentence: str
    estimate: Estimate
    bound: Bound
    cohort: str = ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; the bound is written as in the charter."""
        body: dict[str, Any] = msgspec.to_builtins(self)
        return {**body, "bound": str(self.bound), "cohort": self.cohort}


def gate(metric_name: str, estimate: Estimate, bound: Bound, cohort: str = "", unit: str = "") -> GateResult:
    """Hold an estimate against a bound. Where the ``unit`` is "share" the sentence is in per cent.

    >>> from andon.measure.estimate import undefined, wilson
    >>> gate("f1", undefined("no labels yet"), Bound.parse("> 0.5"), "older").sentence
    'f1 on older: no labels yet, so > 0.5 can not be judged'
    >>> gate("harm", wilson(61, 634), Bound.parse("<= 0.05"), unit="share").sentence
    'harm is 9.62 % (7.56 to 12.2 %, n 634): outside <= 5 %'
    """
    name = f"{metric_name} on {cohort}" if cohort else metric_name
    if estimate.value is None or math.isnan(estimate.value):
        sentence = f"{name}: {estimate.reason or 'no value'}, so {_limit(bound, unit)} can not be judged"
        return GateResult(metric_name, Verdict.UNSURE, sentence, estimate, bound, cohort)
    low = -math.inf if estimate.low is None else estimate.low
    high = math.inf if estimate.high is None else estimate.high
    verdict = bound.verdict(low, high)
    sentence = f"{name} is {_said(estimate, unit)}: {_SAYS[verdict]} {_limit(bound, unit)}"
    return GateResult(metric_name, verdict, sentence, estimate, bound, cohort)


def could_not_measure(metric_name: str, why: str, bound: Bound, cohort: str = "") -> GateResult:
    """The verdict ``error``: measuring itself failed.

    >>> could_not_measure("recall", "the log can not be read", Bound.parse("> 0")).verdict.value
    'error'
    """
    estimate = Estimate(None, None, None, 0, "error", why)
    return GateResult(metric_name, Verdict.ERROR, f"{metric_name}: {why}", estimate, bound, cohort)


_SAYS = {
    Verdict.PASS: "inside",
    Verdict.FAIL: "outside",
    Verdict.UNSURE: "not enough evidence for or against",
}


def _finite(text: str, whole: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise UsageError(f"bound {whole!r}: {text} is too large a number")
    return value


def _limit(bound: Bound, unit: str) -> str:
    if unit != "share":
        return str(bound)
    low, high = (None if end is None else end * 100 for end in (bound.low, bound.high))
    return f"{Bound(low, high, bound.strict)} %"


def _said(estimate: Estimate, unit: str) -> str:
    if unit != "share":
        return str(estimate)
    return str(estimate.scaled(100)).replace(" (", " % (", 1).replace(", n ", " %, n ", 1)


def _text(value: float) -> str:
    return f"{value:.12g}"
