"""A bound as a chart draws it, and what a chart says when there is nothing to draw."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from andon.errors import UsageError
from andon.measure.gate import Bound
from andon.surface.board.chart_axis import finite, number
from andon.surface.board.chart_shape import tag

__all__ = ["Bounds", "bound_of", "limits", "nothing"]

Bounds = Bound | str | Sequence[float] | None
"""A gate's bound, as it is or as it is written in the charter, or just the values."""


def limits(bounds: Bounds, unit: str = "") -> list[tuple[float, str]]:
    """The values at which a bound's lines are drawn, and what each says; none for what is not a bound.

    >>> limits("<= 0.05", "share"), limits("9 .. 19"), limits([3.0])
    ([(0.05, '≤ 5 %')], [(9.0, '≥ 9'), (19.0, '≤ 19')], [(3.0, '3')])
    >>> limits("reference")
    []
    """
    bound = bound_of(bounds)
    if bound is not None:
        signs = ("> ", "< ") if bound.strict else ("≥ ", "≤ ")
        ends = zip((bound.low, bound.high), signs, strict=True)
        return [(end, sign + number(end, unit)) for end, sign in ends if end is not None]
    if bounds is None or isinstance(bounds, str | Bound):
        return []
    return [(value, number(value, unit)) for value in finite(bounds)]


def bound_of(bounds: Bounds) -> Bound | None:
    """The bound, or None for what is none, such as "reference"."""
    if not isinstance(bounds, str):
        return bounds if isinstance(bounds, Bound) else None
    try:
        return Bound.parse(bounds)
    except UsageError:
        return None


def nothing(label: str) -> Markup:
    """The place of a chart without values."""
    text = f"{label}: no values" if label else "no values"
    return tag("p", "No window here has a value.", class_="why", aria_label=text)
