"""What could go wrong, and which metric would show it: the risk register of a charter.

A risk that no metric shows is a hope; a metric that no risk needs is noise. Both are listed, so that the few metrics
that are watched are the ones that matter.

>>> from andon.scope.charter import parse
>>> charter = parse('''
... project: line
... inputs: {a: float}
... target: {name: y, classes: [good, bad]}
... safe_default: refer
... metrics: {error: {of: error_rate, alarm: "<= 0.1"}, a: {of: mean(a)}}
... risks: [{what: the sensor fails, shows_in: [a]}, {what: fraud}]
... ''')
>>> [(row.what, row.state) for row in register(charter)]
[('the sensor fails', 'seen, but nothing rings'), ('fraud', 'no metric')]
>>> metrics_without_risk(charter)
['error']
"""

from __future__ import annotations

from typing import Literal

import msgspec

from andon.scope.charter import Charter

__all__ = ["RiskRow", "metrics_without_risk", "register", "risks_without_metric"]


class RiskRow(msgspec.Struct, frozen=True):
    """One risk: the metrics that show it, those of them that have an alarm, and what that amounts to."""

    what: str
    shows_in: tuple[str, ...]
    rings: tuple[str, ...]
    state: Literal["watched", "seen, but nothing rings", "no metric"]


def register(charter: Charter) -> list[RiskRow]:
    """Every risk of the charter, in its order."""
    rows = []
    for risk in charter.risks:
        rings = tuple(name for name in risk.shows_in if charter.metrics[name].alarm is not None)
        seen: Literal["seen, but nothing rings", "no metric"] = (
            "seen, but nothing rings" if risk.shows_in else "no metric"
        )
        rows.append(RiskRow(risk.what, risk.shows_in, rings, "watched" if rings else seen))
    return rows


def risks_without_metric(charter: Charter) -> list[str]:
    """The risks that no metric would show."""
    return [risk.what for risk in charter.risks if not risk.shows_in]


def metrics_without_risk(charter: Charter) -> list[str]:
    """The metrics that no risk needs."""
    needed = {name for risk in charter.risks for name in risk.shows_in}
    return [name for name in charter.metrics if name not in needed]
