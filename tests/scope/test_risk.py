"""Risks and metrics are held against each other, from both sides."""

from __future__ import annotations

from andon.scope.charter import parse
from andon.scope.risk import metrics_without_risk, register, risks_without_metric

BASE = """
project: line
inputs: {a: float}
target: {name: y, classes: [good, bad]}
safe_default: refer
metrics: {error: {of: error_rate, alarm: "<= 0.1"}, a: {of: mean(a)}, spare: {of: accuracy}}
risks:
  - {what: it errs, shows_in: [error, a]}
  - {what: the sensor fails, shows_in: [a]}
  - {what: fraud}
"""


def test_every_risk_has_its_state() -> None:
    rows = register(parse(BASE))
    assert [(row.what, row.shows_in, row.rings, row.state) for row in rows] == [
        ("it errs", ("error", "a"), ("error",), "watched"),
        ("the sensor fails", ("a",), (), "seen, but nothing rings"),
        ("fraud", (), (), "no metric"),
    ]


def test_what_is_missing_on_either_side_is_listed() -> None:
    charter = parse(BASE)
    assert risks_without_metric(charter) == ["fraud"]
    assert metrics_without_risk(charter) == ["spare"]
