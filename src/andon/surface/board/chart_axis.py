"""Axes: round numbers for values, sensible dates for times, and how wide a text will be.

>>> [tick.text for tick in value_ticks(0.62, 0.87, "share").ticks]
['60 %', '70 %', '80 %', '90 %']
>>> [tick.text for tick in time_ticks(0, 4 * 86_400_000_000)]
['1 Jan 1970', '2 Jan', '3 Jan', '4 Jan', '5 Jan']
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from andon.core.clock import DAY, HOUR, MINUTE, SECOND

__all__ = [
    "SHORT",
    "Scale",
    "Tick",
    "finite",
    "number",
    "shorten",
    "span_text",
    "text_width",
    "time_ticks",
    "value_ticks",
]

#: Units that are written with every number; a longer one is said once.
SHORT = {"share": " %", "%": " %", "ms": " ms", "s": " s", "per second": " / s"}
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_CHARACTER = 6.4
_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_US = 253_402_300_799 * SECOND
_MONTHS = (1, 3, 6, 12, 24, 60, 120, 600, 1200, 6000, 12000)
_SPANS = (
    *(one * SECOND for one in (1, 5, 15, 30)),
    *(one * MINUTE for one in (1, 5, 15, 30)),
    *(one * HOUR for one in (1, 3, 6, 12)),
    *(one * DAY for one in (1, 2, 7, 14)),
)


@dataclass(frozen=True, slots=True)
class Tick:
    """One mark of an axis: where (in the axis's own unit) and what it says."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Scale:
    """The part of the numbers that is shown, ``low`` to ``high`` (always ``low < high``), with its ticks."""

    low: float
    high: float
    ticks: tuple[Tick, ...]

    def share(self, value: float) -> float:
        """Where a value is, from 0 (low) to 1 (high); what is outside is put on the edge.

        >>> Scale(10, 20, ()).share(15), Scale(10, 20, ()).share(99)
        (0.5, 1.0)
        """
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))


def finite(values: Iterable[float | None]) -> list[float]:
    """Those that are numbers.

    >>> finite([1.0, None, float("nan")])
    [1.0]
    """
    return [value for value in values if value is not None and math.isfinite(value)]


def value_ticks(low: float, high: float, unit: str = "", most: int = 3) -> Scale:
    """Round numbers that enclose ``low`` to ``high``, in at most ``most`` steps; a share stays between 0 and 1."""
    low, high = _room(low, high, unit)
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    for factor in (*_STEPS, 20.0, 25.0, 50.0):
        step = factor * power
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first <= most:
            break
    last = max(last, first + 1)
    ticks = tuple(Tick(index * step, number(index * step, unit, step)) for index in range(first, last + 1))
    return Scale(first * step, last * step, ticks)


def _room(low: float, high: float, unit: str) -> tuple[float, float]:
    """An interval that has a width worth drawing."""
    low, high = sorted(min(max(end, -1e300), 1e300) for end in (low, high))
    width = max(abs(low), abs(high))
    if high - low <= width * 1e-9 or high - low < 1e-300:
        if width <= 1e-300:
            return 0.0, 0.1 if unit == "share" else 1.0
        within = unit == "share" and low >= 0 and high <= 1
        low, high = low - width * 0.1, high + width * 0.1
        if within:
            low, high = max(0.0, low), min(1.0, high)
    return low, high


def number(value: float, unit: str = "", step: float | None = None, *, bare: bool = False) -> str:
    """A number of an axis, as a page writes it: as many digits as the step needs, a share in per cent, with a short unit.

    >>> number(0.85, "share", 0.05), number(12400, "ms", 100), number(0.021, "share", bare=True)
    ('85 %', '12,400 ms', '2.1')
    >>> number(0.123456), number(1e9), number(-2.5e-7), number(0, "", 1)
    ('0.123', '1e+09', '−2.5e-07', '0')
    """
    if not math.isfinite(value):
        return "–"
    factor = 100 if unit == "share" else 1
    text = _plain(value * factor, None if step is None else step * factor)
    mark = SHORT.get(unit, "")
    return text if bare else text + mark


def _plain(value: float, step: float | None) -> str:
    size = abs(value)
    if value == 0:
        return "0"
    if size >= 1e7 or (size < 1e-4 and (step is None or step < 1e-4)):
        text = f"{value:.3g}"
    elif step is None:
        text = f"{value:,.0f}" if size >= 1000 else f"{value:.3g}"
    else:
        text = f"{value:,.{_decimals(step)}f}"
    bare = text.lstrip("-")
    return f"−{bare}" if value < 0 and bare.strip("0.") else bare


def _decimals(step: float) -> int:
    exact = max(0, -math.floor(math.log10(step) + 1e-9))
    scaled = step * 10.0**exact
    return exact if abs(scaled - round(scaled)) < 1e-6 else exact + 1


def text_width(text: str) -> float:
    """About how many pixels a text of the charts' size takes; rather too many than too few.

    >>> text_width("abc") < text_width("漢字仮")
    True
    """
    return sum(_CHARACTER * (2 if unicodedata.east_asian_width(one) in "WF" else 1) for one in text)


def shorten(text: str, width: float) -> str:
    """As much of a text as fits.

    >>> shorten("partial automation", 60)
    'partial…'
    """
    if text_width(text) <= width:
        return text
    while text and text_width(text) + _CHARACTER > width:
        text = text[:-1]
    return text.rstrip() + "…"


def time_ticks(since_us: int, until_us: int, most: int = 7) -> list[Tick]:
    """Whole minutes, hours, days, Mondays, months or years of event time (UTC) between two times, at most ``most``.

    The first one says the date, or the year, that the later ones leave out.
    """
    since_us, until_us = max(0, since_us), min(_LAST_US, until_us)
    for span in _SPANS:
        if (until_us - since_us) // span < most:
            return [Tick(at, text) for at, text in _days(since_us, until_us, span)]
    for months in _MONTHS:
        found = list(_months(since_us, until_us, months))
        if len(found) <= most:
            return [Tick(at, text) for at, text in found]
    return []


def _days(since_us: int, until_us: int, span: int) -> Iterator[tuple[int, str]]:
    # 1 January 1970 was a Thursday: weeks begin on Mondays.
    offset = 4 * DAY if span % (7 * DAY) == 0 else 0
    at = -((offset - since_us) // span) * span + offset
    at = at if at >= since_us else at + span
    first = True
    while at <= until_us:
        yield at, _day_text(at, span, first)
        at, first = at + span, False


def _day_text(at: int, span: int, first: bool) -> str:
    moment = _EPOCH + timedelta(microseconds=at)
    day = _day(moment)
    if span >= DAY:
        return f"{day} {moment.year}" if first else day
    clock = f"{moment:%H:%M:%S}" if span < MINUTE else f"{moment:%H:%M}"
    if first:
        return f"{day} {clock}"
    return day if at % DAY == 0 else clock


def _months(since_us: int, until_us: int, months: int) -> Iterator[tuple[int, str]]:
    start = _EPOCH + timedelta(microseconds=since_us)
    index = -(-(start.year * 12 + start.month - 1) // months) * months
    first = True
    while index < 10_000 * 12:
        moment = datetime(index // 12, index % 12 + 1, 1, tzinfo=UTC)
        at = (moment - _EPOCH) // timedelta(microseconds=1)
        if at > until_us:
            return
        if at >= since_us:
            short = months < 12 and not (first or moment.month == 1)
            name = _NAMES[moment.month - 1]
            yield at, name if short else f"{name} {moment.year}" if months < 12 else f"{moment.year}"
            first = False
        index += months


def span_text(start_us: int, length_us: int = 0) -> str:
    """A time, or a window of time, in words.

    >>> span_text(0), span_text(0, 3_600_000_000), span_text(0, 172_800_000_000)
    ('1 Jan 1970 00:00', '1 Jan 1970 00:00 to 01:00', '1 Jan 1970 00:00 to 3 Jan 1970 00:00')
    """
    start = _EPOCH + timedelta(microseconds=min(max(0, start_us), _LAST_US))
    text = f"{_day(start)} {start.year} {start:%H:%M}"
    if length_us <= 0:
        return text
    end = _EPOCH + timedelta(microseconds=min(start_us + length_us, _LAST_US))
    same = end.date() == start.date()
    return f"{text} to " + (f"{end:%H:%M}" if same else f"{_day(end)} {end.year} {end:%H:%M}")


def _day(moment: datetime) -> str:
    return f"{moment.day} {_NAMES[moment.month - 1]}"
