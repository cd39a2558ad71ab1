"""How a view becomes a page: the templates' environment, and the words in which times, figures and counts are shown.

>>> from andon.measure.estimate import wilson
>>> str(figure(wilson(26, 1238), "share"))
'<span class="fig">2.1 %</span> <span class="ci">[1.4, 3.1] %, n 1,238</span>'
>>> str(code("`andon up` starts <it>"))
'<code>andon up</code> starts &lt;it&gt;'
"""

from __future__ import annotations

import hashlib
import math
import re
from functools import cache
from pathlib import Path

import jinja2
from markupsafe import Markup, escape

from andon.core.clock import iso
from andon.measure.estimate import Estimate
from andon.surface.doctor_check import size_text
from andon.surface.page import piece
from andon.surface.station import count, share_text, span

__all__ = ["STATIC", "asset", "code", "environment", "figure", "number"]

_HERE = Path(__file__).parent
STATIC = _HERE / "static"
_MARKS = {"share": " %", "per second": " / s", "": ""}
_CODE = re.compile(r"`([^`]*)`")


def environment() -> jinja2.Environment:
    """The templates, with our filters; everything that is not marked as safe here is escaped."""
    from andon.surface.board import chart

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters |= {
        "ago": ago,
        "code": code,
        "count": count,
        "day": day,
        "figure": figure,
        "number": number,
        "piece": piece,
        "size": size_text,
        "slug": slug,
        "span": span,
        "when": when,
    }
    made.globals |= {"asset": asset, "chart": chart}
    return made


@cache
def asset(name: str) -> str:
    """The address of a static file; it changes with the content, so that a browser may keep what it has."""
    mark = hashlib.blake2b((STATIC / name).read_bytes(), digest_size=6).hexdigest()
    return f"/static/{name}?v={mark}"


def when(time_us: int | None, *, seconds: bool = False) -> Markup:
    """A time to the minute, UTC; the page's script shows it in the viewer's zone and keeps UTC for the pointer."""
    if time_us is None:
        return Markup('<span class="why">never</span>')
    text = iso(time_us)
    shown = text[: 19 if seconds else 16].replace("T", " ")
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(text, text[:19].replace("T", " "), shown)


def day(time_us: int | None) -> Markup:
    """A day."""
    if time_us is None:
        return Markup('<span class="why">never</span>')
    text = iso(time_us)
    return Markup('<time datetime="{}" title="{} UTC" data-day>{}</time>').format(
        text, text[:19].replace("T", " "), text[:10]
    )


def ago(time_us: int, now_us: int) -> Markup:
    """How long ago, with the time itself for the pointer."""
    text = iso(time_us)
    told = f"{span(now_us - time_us)} ago" if now_us >= time_us else f"in {span(time_us - now_us)}"
    return Markup('<time datetime="{}" title="{} UTC" data-ago>{}</time>').format(
        text, text[:19].replace("T", " "), told
    )


def number(value: float | None, unit: str = "") -> str:
    """A plain number in its unit, to three digits.

    >>> number(0.0213, "share"), number(1234.5, "ms"), number(None)
    ('2.1 %', '1,234 ms', '–')
    >>> number(0.99996, "share"), number(1.0, "share"), number(3e-7, "share")   # never all, or none, that is not
    ('99.996 %', '100 %', '0.00003 %')
    """
    if value is None or not math.isfinite(value):
        return "–"
    if unit == "share":
        return share_text(value)
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return text + _MARKS.get(unit, f" {unit}")


def figure(estimate: Estimate, unit: str = "", *, interval: bool = True) -> Markup:
    """An estimate as people read it: rounded to what its interval allows, with the interval and the rows behind it."""
    if estimate.value is None:
        return Markup('<span class="fig none">–</span> <span class="ci">{}</span>').format(estimate.reason or "")
    mark = _MARKS.get(unit, f" {unit}")
    factor = 100 if unit == "share" else 1
    low, high = (None if end is None else end * factor for end in (estimate.low, estimate.high))
    digits = _digits(estimate.value * factor, low, high)
    shown = Markup('<span class="fig">{}{}</span>').format(_fixed(estimate.value * factor, digits), mark)
    if not interval or low == high:
        return shown
    ends = [("open" if end is None else _fixed(end, digits)) for end in (low, high)]
    return shown + Markup(' <span class="ci">[{}, {}]{}, n {}</span>').format(*ends, mark, f"{estimate.n:,}")


def code(text: str) -> Markup:
    """Text with its commands, which stand in backquotes, set as such."""
    return Markup(_CODE.sub(lambda found: f"<code>{found[1]}</code>", str(escape(text))))


def slug(text: str) -> str:
    """A name for an element.

    >>> slug("Recall <script>")
    'recall--script-'
    """
    return re.sub(r"[^a-z0-9]", "-", text.lower())[:60]


def _digits(value: float, low: float | None, high: float | None) -> int:
    """Decimals that are worth showing: to the first digit of half the interval, or three digits where it is unknown."""
    if low is None or high is None or high <= low:
        size = abs(value)
        return max(0, 2 - math.floor(math.log10(size))) if 0 < size < 1000 else 0
    return min(6, max(0, -math.floor(math.log10((high - low) / 2))))


def _fixed(value: float, digits: int) -> str:
    text = f"{value:,.{digits}f}"
    return text[1:] if text.startswith("-") and not float(text.replace(",", "")) else text
