"""How the ends of a guardrail's interval are found."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from andon.measure import guardrail


@pytest.mark.parametrize("at", [-13.0, -0.3, 0.0, 1e-6, 2.5, 13.0])
@pytest.mark.parametrize("shape", [lambda x: x, math.expm1, lambda x: math.copysign(1.0, x), lambda x: x**3], ids=["line", "exp", "step", "flat"])  # fmt: skip
def test_the_end_of_an_interval_is_found_in_few_steps_whatever_the_evidence_looks_like(
    at: float, shape: Callable[[float], float]
) -> None:
    asked: list[float] = []

    def falling(x: float) -> float:
        asked.append(x)
        return -shape(x - at)

    found = guardrail._root(falling)
    assert found == pytest.approx(at, abs=1e-9) and len(asked) <= 160
    assert guardrail._root(lambda x: -1.0) is None and guardrail._root(lambda x: 1.0) is None
