"""Requests that are wrong on purpose: the sentence names the field, and says what would have been right."""

from __future__ import annotations

import pytest

from andon.deploy.gateway_decisions import parse_decision
from andon.errors import AndonError, ContractError, UsageError


@pytest.mark.parametrize(
    ("body", "kind", "field", "says"),
    [
        (b'{"x": {"amount": 1e400}}', ContractError, "x.amount", "expected a finite number"),
        (b'{"x": {"a": 1, "amount": -1e999}}', ContractError, "x.amount", "expected a finite number"),
        (b'{"x": {"amount": [1]}}', ContractError, "x.amount", "expected a single value, found a list of 1"),
        (b'{"x": {"amount": NaN}}', UsageError, None, "the body is not JSON"),
        (b'{"x": {"amount": Infinity}}', UsageError, None, "the body is not JSON"),
        (b'{"x":' * 100_000, ContractError, "x", "expected single values"),
        (b"[" * 100_000, ContractError, "body", "expected an object, found a list"),
    ],
)
def test_a_number_or_a_shape_that_json_can_write_but_nothing_can_hold(
    body: bytes, kind: type[AndonError], field: str | None, says: str
) -> None:
    with pytest.raises(kind) as raised:
        parse_decision(body, ("good", "bad"))
    assert raised.value.field == field
    assert says in raised.value.message


def test_a_number_that_is_none_in_json_is_explained() -> None:
    with pytest.raises(UsageError) as raised:
        parse_decision(b'{"x": {"amount": NaN}}', ())
    assert raised.value.hint == "send UTF-8 JSON; NaN and Infinity are none"
