"""The room's figures, for notebooks: estimates with their intervals as a plotly figure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from andon.measure.estimate import Estimate

__all__ = ["bars"]


def bars(estimates: Mapping[str, Estimate], title: str) -> Any:
    """Points with intervals, one line each, in the order given; undefined ones are named and left empty."""
    import plotly.graph_objects as go

    shown = [(name, e) for name, e in estimates.items() if e.value is not None]
    point = [e.value for _, e in shown]
    below = [_distance(e.value, e.low) for _, e in shown]
    above = [_distance(e.value, e.high) for _, e in shown]
    figure = go.Figure(
        go.Scatter(
            x=point,
            y=[name for name, _ in shown],
            mode="markers",
            error_x={"type": "data", "symmetric": False, "array": above, "arrayminus": below},
        )
    )
    figure.update_yaxes(categoryorder="array", categoryarray=list(reversed(list(estimates))))
    figure.update_layout(title=title, template="plotly_white")
    return figure


def _distance(value: float | None, end: float | None) -> float:
    return 0.0 if value is None or end is None else abs(end - value)
