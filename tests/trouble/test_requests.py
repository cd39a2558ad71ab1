"""Requests that are wrong on purpose: the sentence names the field, and says what would have been right."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from andon.core.record import Field
from andon.data.contract import Contract
from andon.deploy.gateway_decisions import parse_decision
from andon.deploy.replica import Replica, Replicas
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


class Sleepy:
    """A bundle whose model comes back when it is told to."""

    def __init__(self, engine: str) -> None:
        self.contract = Contract((Field("a", "float"),), "y", ("good", "bad"))
        self.classes = ("good", "bad")
        self.path = Path("model")
        self.engine = engine
        self.awake = threading.Event()

    def predict(self, columns: Any) -> Any:
        self.awake.wait(20)
        return np.array([[1.0, 0.0]] * len(columns["a"]))


def test_anybodys_code_is_never_called_on_the_serving_thread_and_its_hanging_is_seen() -> None:
    sleepy = Sleepy("python")
    replica = Replica("v1", "h", cast(Any, sleepy))
    assert replica.slow(60.0) and not Replica("v2", "h", cast(Any, Sleepy("onnx"))).slow(60.0)
    replicas = Replicas(cast(Any, None), lambda call: call(), lambda: None)
    replicas._have["v1"] = replica
    now = time.monotonic()
    assert not replicas.hangs(now + 100, 10.0)
    done = threading.Event()
    replica.submit(lambda: replica.score([[1.0]]), lambda scored: done.set(), lambda call: call())
    assert replicas.hangs(now + 100, 10.0) and not replicas.hangs(now, 10.0)
    sleepy.awake.set()
    assert done.wait(20) and not replicas.hangs(now + 100, 10.0)
    replicas.close()
