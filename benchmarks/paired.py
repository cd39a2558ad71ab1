"""Paired measurement: contestants take turns, A B C A B C, so that a machine whose speed drifts treats all alike.

A figure is the median over rounds with a 95 % interval (bootstrap over rounds, seeded); a ratio is taken inside each
round, where both sides saw the same machine, and a claim counts by the lower end of its interval.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Figure", "median", "ratio", "take_turns"]


@dataclass(frozen=True)
class Figure:
    """A median and its 95 % interval."""

    value: float
    low: float
    high: float

    def text(self, digits: int = 0) -> str:
        """Value and interval as printed."""
        return f"{self.value:,.{digits}f} [{self.low:,.{digits}f}, {self.high:,.{digits}f}]"


def median(values: Sequence[float]) -> Figure:
    """The median of the rounds with its bootstrap interval."""
    data = np.asarray(values, dtype=float)
    draws = np.random.default_rng(7).choice(data, size=(4000, len(data)))
    low, high = np.quantile(np.median(draws, axis=1), [0.025, 0.975])
    return Figure(float(np.median(data)), float(low), float(high))


def ratio(above: Sequence[float], below: Sequence[float]) -> Figure:
    """The median of the ratios round by round."""
    return median([a / b for a, b in zip(above, below, strict=True)])


def take_turns(contestants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Call every contestant once a round, in turn; the order is reversed in every other round."""
    results: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds):
        names = list(contestants)[:: 1 if number % 2 == 0 else -1]
        for name in names:
            results[name].append(contestants[name]())
    return results
