"""Charts, drawn on the server: pure functions from numbers to SVG, with classes for colours and every text escaped.

A value that is None leaves a gap: nothing is drawn where nothing was measured. What is not yet sure (a window whose
labels may still come) is dashed and hollow. Every window says its numbers on hovering, and the chart its content to a
screen reader.

>>> print(spark([1.0, 2.0], tone="ok"))
<svg class="spark" viewBox="0 -3 150 40" preserveAspectRatio="none" aria-hidden="true"><path d="M0 34L150 0" class="ok"></path></svg>
"""

from __future__ import annotations

from andon.surface.board.chart_bound import Bounds, limits
from andon.surface.board.chart_compare import Curve, Spot, beside, curve, named, whiskers
from andon.surface.board.chart_race import acts, odds, race, weight
from andon.surface.board.chart_series import Dot, dots, series, spark, values
from andon.surface.board.chart_shape import Mark, marks
from andon.surface.board.chart_share import Layer, bars, layers, stacked

__all__ = [
    "Bounds",
    "Curve",
    "Dot",
    "Layer",
    "Mark",
    "Spot",
    "acts",
    "bars",
    "beside",
    "curve",
    "dots",
    "layers",
    "limits",
    "marks",
    "named",
    "odds",
    "race",
    "series",
    "spark",
    "stacked",
    "values",
    "weight",
    "whiskers",
]
