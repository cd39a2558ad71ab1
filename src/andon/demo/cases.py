"""The screening story's traffic: real tests, drawn the same number from every day, each at a time of its day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from andon.core.clock import DAY, SECOND

__all__ = ["Case", "draw"]

_FLAGS = ("cough", "fever", "sore_throat", "shortness_of_breath", "head_ache")
_GROUPS = ("age_60_and_above", "gender", "test_indication")
#: People come between 8 and 20 o'clock.
_OPEN, _CLOSE = 8 * 3600 * SECOND, 20 * 3600 * SECOND


@dataclass(frozen=True, slots=True)
class Case:
    """One person at the door: when, what was asked, and the test result that comes two days later."""

    id: str
    time_us: int
    x: dict[str, Any]
    result: str


def draw(file: Path, per_day: int, seed: int, busy: tuple[str, int] | None = None) -> list[Case]:
    """``per_day`` tests of every day (all where there are fewer), in order of time; inconclusive results are left out.

    ``busy`` is a day (as in 2020-10-20) and how many tests a day it is from then on.
    """
    rng = np.random.default_rng(seed)
    since, more = (date.max, per_day) if busy is None else (date.fromisoformat(busy[0]), busy[1])
    most = pl.when(pl.col("test_date") < since).then(per_day).otherwise(more)
    tests = pl.read_parquet(file).filter(pl.col("corona_result") != "other")
    drawn = (
        tests.with_columns(pl.Series("lot", rng.random(len(tests))))
        .sort("test_date", "lot")
        .filter(pl.int_range(pl.len()).over("test_date") < most)
        .with_columns(pl.col(_FLAGS).cast(pl.Boolean), pl.col((*_GROUPS, "corona_result")).cast(pl.String))
    )
    times = rng.integers(_OPEN, _CLOSE, len(drawn))
    cases = []
    for number, (row, within) in enumerate(zip(drawn.iter_rows(named=True), times.tolist(), strict=True)):
        x = {name: row[name] for name in (*_FLAGS, *_GROUPS)}
        cases.append(Case(f"case-{number:06d}", _midnight(row["test_date"]) + within, x, row["corona_result"]))
    return sorted(cases, key=lambda case: case.time_us)


def _midnight(day: date) -> int:
    return (day.toordinal() - date(1970, 1, 1).toordinal()) * DAY
