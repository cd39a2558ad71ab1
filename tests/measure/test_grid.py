from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp

from andon.errors import UsageError
from andon.measure.grid import Grid, from_reference
from andon.measure.summary import summary_from_dict

values = st.lists(st.one_of(st.floats(-1e3, 1e3), st.sampled_from([0.0, float("nan"), float("inf")])), max_size=30)
REFERENCE = from_reference(np.random.default_rng(0).normal(size=500), cells=16)


@settings(max_examples=50, deadline=None)
@given(values, values, values)
def test_the_three_laws(a: list[float], b: list[float], c: list[float]) -> None:
    x, y, z = (REFERENCE.like(part) for part in (a, b, c))
    left, right = (x + y) + z, x + (y + z)
    assert left.counts == right.counts and left.sums == pytest.approx(right.sums)
    assert x + Grid() == x and Grid() + x == x
    joined = REFERENCE.like(a + b)
    assert joined.counts == (x + y).counts and (joined.nans, joined.infinite) == ((x + y).nans, (x + y).infinite)


def test_a_grid_survives_json() -> None:
    assert summary_from_dict(msgspec.json.decode(msgspec.json.encode(REFERENCE.to_dict()))) == REFERENCE


def test_atoms_have_cells_of_their_own() -> None:
    grid = from_reference([0.0] * 50 + [1.0, 2.0, 3.0], cells=8)
    assert 50 in grid.counts
    moved = grid.like([1e-12] * 50)
    assert grid.ks(moved) == pytest.approx(50 / 53)


def test_tails_hold_only_what_the_reference_never_reached() -> None:
    assert REFERENCE.tails == (0, 0) and REFERENCE.n == 500
    assert REFERENCE.like([-100.0, 100.0, 101.0]).tails == (1, 2)
    assert REFERENCE.add([100.0]).n == 501 and Grid().tails == (0, 0)


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.5])
def test_ks_brackets_the_exact_statistic(shift: float) -> None:
    random = np.random.default_rng(4)
    a, b = random.normal(size=20_000), random.normal(shift, 1.0, size=20_000)
    reference = from_reference(a, cells=256)
    current = reference.like(b)
    exact = ks_2samp(a, b).statistic
    assert reference.ks(current) <= exact + 1e-12 <= reference.ks_high(current) + 1e-11
    assert exact - reference.ks(current) < 0.005


def test_psi_keeps_its_stated_false_alarm_rate() -> None:
    random = np.random.default_rng(8)
    reference = from_reference(random.exponential(size=2000), cells=20)
    alarms = 0
    for _ in range(600):
        pair = [reference.like(random.exponential(size=400)) for _ in range(2)]
        alarms += pair[0].psi(pair[1]) > pair[0].psi_limit(pair[1])
    assert alarms / 600 <= 0.08


def test_psi_and_js_grow_with_the_shift_and_are_zero_without() -> None:
    random = np.random.default_rng(9)
    a = random.normal(size=5000)
    grid = from_reference(a)
    found = [(grid.psi(grid.like(a + shift)), grid.js(grid.like(a + shift))) for shift in (0.0, 0.2, 0.5, 50.0)]
    assert found[0] == pytest.approx((0.0, 0.0), abs=1e-9)
    assert found == sorted(found) and found[-1][1] <= 1
    assert np.isfinite(found[-1]).all()


def test_few_rows_are_pooled_into_one_cell() -> None:
    grid = from_reference([1.0, 2.0, 3.0], cells=3)
    assert grid.psi(grid.like([9.0])) == 0


def test_what_can_not_be_compared_is_refused() -> None:
    other = from_reference([1.0, 2.0])
    with pytest.raises(UsageError, match="different edges"):
        REFERENCE + other
    with pytest.raises(UsageError, match="both have values"):
        REFERENCE.ks(REFERENCE.like([]))
    with pytest.raises(UsageError, match="without edges"):
        Grid().add([1.0])


@pytest.mark.parametrize(
    ("numbers", "cells", "says"), [([], 4, "finite"), ([float("nan")], 4, "finite"), ([1.0], 0, "at least one cell")]
)
def test_a_reference_needs_values(numbers: list[float], cells: int, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        from_reference(numbers, cells)


def test_one_value_is_enough() -> None:
    assert from_reference([3.0], cells=1).n == 1
