"""The search for the rows that break a model: each fails alone, within a bound of calls and of time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.core.record import Field
from andon.deploy.batcher import CALLS_BROKEN, GUILTY_MAX, SECONDS_MAX, Columns, Scored, calls_for, score
from andon.errors import Unavailable, UserCodeError

FIELDS, CLASSES = (Field("row", "float"),), ("no", "yes")


class Model:
    """Fails where one of some rows is among those it is asked about; counts its calls."""

    def __init__(self, guilty: Iterable[int]) -> None:
        self.guilty = [*guilty]
        self.calls = 0

    def __call__(self, columns: Columns) -> np.ndarray[Any, Any]:
        self.calls += 1
        if np.isin(columns["row"], self.guilty).any():
            raise UserCodeError("predict raised ValueError")
        return np.stack([columns["row"] * 0, columns["row"] * 0 + 1], axis=1)

    def asked(self, n: int) -> list[int]:
        """The rows that failed of so many."""
        found = score(self, FIELDS, CLASSES, [[float(row)] for row in range(n)])
        assert all(one == Scored("yes", 1.0, (0.0, 1.0)) for one in found if one.error is None) and len(found) == n
        return [row for row, one in enumerate(found) if one.error is not None]


@settings(max_examples=100, deadline=None)
@given(
    st.integers(1, 700).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), max_size=GUILTY_MAX)))
)
def test_up_to_32_guilty_rows_fail_alone_wherever_they_are(case: tuple[int, set[int]]) -> None:
    n, guilty = case
    model = Model(guilty)
    failed = model.asked(n)
    assert failed == sorted(guilty)
    assert model.calls <= calls_for(n)


@pytest.mark.parametrize(
    "guilty", [range(6), range(32), range(100, 132), range(0, 512, 16), range(7, 512, 16), range(15, 512, 16)]
)
def test_six_poison_rows_and_thirty_two_take_no_neighbour_along(guilty: range) -> None:
    model = Model(guilty)
    assert model.asked(512) == [*guilty] and model.calls <= calls_for(512)


def test_more_guilty_rows_than_that_take_at_most_three_neighbours_each_along() -> None:
    guilty = np.random.default_rng(1).choice(512, 60, replace=False).tolist()
    model = Model(guilty)
    failed = set(model.asked(512))
    assert set(guilty) <= failed and len(failed) <= 4 * 60 and model.calls == calls_for(512)


def test_a_broken_model_is_given_up() -> None:
    model = Model(range(512))
    assert model.asked(512) == [*range(512)] and model.calls == CALLS_BROKEN
    one = Model([0])
    assert one.asked(1) == [0] and one.calls == 1


def test_a_slow_search_ends_in_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model = Model([5])
    monkeypatch.setattr("andon.deploy.batcher.time.monotonic", lambda: 1.0 + model.calls * SECONDS_MAX / 3)
    failed = model.asked(512)
    assert model.calls == 4 and failed == [*range(256)]


def test_where_the_model_is_gone_nothing_is_halved() -> None:
    asked = []

    def gone(columns: Columns) -> np.ndarray[Any, Any]:
        asked.append(1)
        raise Unavailable("it is not there")

    assert [one.error for one in score(gone, FIELDS, CLASSES, [[1.0]] * 8)] == ["it is not there"] * 8 and len(
        asked
    ) == 1
