"""An answer in the charter arrives where it acts: the gateway's settings."""

from __future__ import annotations

from typing import Any

import pytest

from andon.deploy.settings import GatewayConfig
from andon.scope.charter import parse

SMALL = "project: line\ninputs: {a: float, b: category}\ntarget: {name: y, classes: [good, bad]}\nsafe_default: refer\n"


@pytest.mark.parametrize(
    ("answer", "setting", "value"),
    [
        ("unit: {from: b}", "unit_column", "b"),
        ("unit: {from: request}", "unit_column", None),
        ("checklist: {logging: {durability: commit}}", "durability", "commit"),
        ("checklist: {security: {tokens: required}}", "tokens_required", True),
        ("checklist: {security: {tokens: none}}", "tokens_required", False),
        ("checklist: {privacy: {redact: [b]}}", "redact", ("b",)),
        ("gateway: {max_body_bytes: 1000}", "max_body_bytes", 1000),
        ("gateway: {queue: 7}", "queue", 7),
        ("gateway: {idempotency_seconds: 7200}", "idempotency_seconds", 7200),
        ("gateway: {idempotency_seconds: 60}", "idempotency_seconds", 3600),
        ("gateway: {idempotency_seconds: 60}\nreview: {deadline: 30s}", "idempotency_seconds", 60),
        ("review: {deadline: 3d}", "idempotency_seconds", 3 * 86_400),
        ("gateway: {idempotency_ids: 10}", "idempotency_ids", 10),
    ],
)
def test_an_answer_reaches_the_gateway(answer: str, setting: str, value: Any) -> None:
    assert getattr(GatewayConfig.from_charter(parse(SMALL + answer)), setting) == value


def test_without_answers_the_gateway_has_its_own_defaults() -> None:
    own = GatewayConfig(project="line", fields=(), classes=())
    told = GatewayConfig.from_charter(parse(SMALL))
    for setting in ("durability", "redact", "max_body_bytes", "queue", "idempotency_seconds", "idempotency_ids"):
        assert getattr(told, setting) == getattr(own, setting)
