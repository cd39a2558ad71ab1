"""What a station of the line is, and how its figure is written for people.

>>> from andon.measure.estimate import wilson
>>> figure_text(wilson(26, 1238), "share")
'2.1 % (1.4 to 3.1 %, n 1,238)'
>>> bound_text(Bound.parse("<= 0.05"), "share"), bound_text(Bound.parse("<= 500"), "ms")
('<= 5 %', '<= 500 ms')
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable
from typing import Any, Literal, TypeVar

import msgspec

from andon.core.clock import iso
from andon.core.verdict import Verdict
from andon.errors import Corrupt, NotFound, Unavailable
from andon.measure.estimate import Estimate
from andon.measure.gate import Bound, GateResult

__all__ = [
    "Known",
    "State",
    "Station",
    "bound_text",
    "bound_words",
    "count",
    "figure_text",
    "minute",
    "share_text",
    "span",
    "told",
    "unit_shown",
]

State = Literal["good", "look", "stop", "idle"]
T = TypeVar("T")

_WORDS = {Verdict.PASS: "inside", Verdict.FAIL: "outside", Verdict.UNSURE: "not enough evidence about"}
_MARKS = {"share": " %", "per second": " / s", "": ""}


class Station(msgspec.Struct, frozen=True):
    """One station: its state, one line that says it, what is behind that, and what to do next.

    ``metric`` names the ``figure``, ``unit`` is its unit and ``goal`` the bound it is held against (shares are fractions
    of 1); ``trend`` are its last windows, oldest first.
    """

    name: str
    state: State
    headline: str
    detail: str
    next: str
    metric: str | None = None
    figure: Estimate | None = None
    unit: str = ""
    goal: str | None = None
    trend: tuple[float | None, ...] = ()


class Known:
    """Reads of the database, which may be gone: then nothing more is asked of it, and ``trouble`` says why.

    >>> def gone():
    ...     raise Unavailable("the database is gone")
    >>> known = Known()
    >>> known.ask(lambda: 5), known.ask(gone), known.ask(lambda: 5), known.trouble
    (5, None, None, 'the database is gone')
    """

    def __init__(self) -> None:
        self.trouble = ""
        self.why = ""
        self._read: dict[Hashable, Any] = {}

    def once(self, name: Hashable, read: Callable[[], T]) -> T | None:
        """As ``ask``, and read once only in this look at the line, however many want it."""
        if name not in self._read:
            found = self.ask(read)
            if found is None:
                return None
            self._read[name] = found
        known: T = self._read[name]
        return known

    def ask(self, read: Callable[[], T]) -> T | None:
        """What was read, or None, with the reason in ``why``."""
        self.why = self.trouble
        if self.trouble:
            return None
        try:
            return read()
        except Unavailable as error:
            self.why = self.trouble = error.message
        except (Corrupt, NotFound) as error:
            self.why = error.message
        return None


def figure_text(estimate: Estimate, unit: str) -> str:
    """An estimate for people, in its unit: value, interval, rows; or why there is none."""
    if estimate.value is None:
        return f"not known ({estimate.reason})"
    value = _number(estimate.value, unit)
    if estimate.low == estimate.high and estimate.low is not None:
        return value + _mark(unit)
    low, high = ("open" if end is None else _number(end, unit) for end in (estimate.low, estimate.high))
    return f"{value}{_mark(unit)} ({low} to {high}{_mark(unit)}, n {estimate.n:,})"


def bound_text(bound: Bound, unit: str) -> str:
    """A bound in the unit in which its metric is shown."""
    factor = 100 if unit == "share" else 1
    low, high = (None if limit is None else float(f"{limit * factor:.4g}") for limit in (bound.low, bound.high))
    return str(Bound(low, high, bound.strict)) + _mark(unit)


def unit_shown(unit: str, estimate: Estimate) -> str:
    """The unit to show an estimate in: the mean of a yes-or-no input has none of its own and is a share."""
    return "share" if not unit and estimate.method == "wilson" else unit


def bound_words(bound: Bound | str | None, unit: str) -> str:
    """A bound for people; a text is what a charter may have instead.

    >>> bound_words(Bound.parse("<= 0.05"), "share"), bound_words("reference", ""), bound_words(None, "")
    ('≤ 5 %', 'as in training', '')
    """
    if isinstance(bound, Bound):
        return bound_text(bound, unit).replace("<=", "≤").replace(">=", "≥").replace(" .. ", " to ")
    return "" if bound is None else "as in training"


def told(result: GateResult | None, unit: str) -> str:
    """A verdict in one sentence, in the metric's unit.

    >>> from andon.measure.estimate import wilson
    >>> from andon.measure.gate import gate
    >>> told(gate("cough", wilson(26, 1238), Bound.parse(">= 0.04"), "older"), "share")
    'cough on older is 2.1 % (1.4 to 3.1 %, n 1,238): outside ≥ 4 %'
    """
    if result is None:
        return "no window was judged yet"
    name = f"{result.metric} on {result.cohort}" if result.cohort else result.metric
    if result.verdict is Verdict.ERROR or result.bound == Bound():
        return result.sentence
    unit = unit_shown(unit, result.estimate)
    bound = bound_words(result.bound, unit)
    if result.estimate.value is None:
        return f"{name}: {result.estimate.reason or 'no value'}, so {bound} can not be judged"
    return f"{name} is {figure_text(result.estimate, unit)}: {_WORDS[result.verdict]} {bound}"


def count(n: int, thing: str) -> str:
    """A number of things.

    >>> count(1, "case"), count(1400, "case")
    ('1 case', '1,400 cases')
    """
    return f"{n:,} {thing}{'' if n == 1 else 's'}"


def share_text(share: float) -> str:
    """A share of 1 in per cent, to two or three digits and without an exponent; only what is all of it is 100 %.

    >>> share_text(0.0213), share_text(0.625), share_text(0.99996), share_text(3e-7)
    ('2.1 %', '62.5 %', '99.996 %', '0.00003 %')
    """
    percent = share * 100
    size = abs(percent)
    decimals = None
    if 0 < size < 10:
        decimals = max(0, 1 - math.floor(math.log10(size)))
    elif size < 100 <= float(f"{size:.3g}"):
        decimals = 1 - math.floor(math.log10(100 - size))
    if decimals is None:
        return f"{percent:.3g} %"
    return f"{percent:.{min(12, decimals)}f}".rstrip("0").rstrip(".") + " %"


def minute(time_us: int) -> str:
    """A time to the minute, UTC.

    >>> minute(1_583_884_800_000_000)
    '2020-03-11 00:00'
    """
    return iso(time_us)[:16].replace("T", " ")


def span(us: int) -> str:
    """A duration for people, in the largest unit of which there are two.

    >>> span(90_000_000), span(3 * 3600 * 10**6), span(5 * 86400 * 10**6)
    ('1 min', '3 h', '5 days')
    """
    seconds = max(0, int(us)) // 1_000_000
    for size, name in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size or (seconds >= size and name == "min"):
            return f"{seconds // size:,} {name}"
    return f"{seconds} s"


def _mark(unit: str) -> str:
    return _MARKS.get(unit, f" {unit}")


def _number(value: float, unit: str) -> str:
    if unit != "share":
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    percent = value * 100
    return f"{percent:.2g}" if percent < 10 else f"{percent:.3g}"
