"""Units in the order in which they became known: put in anywhere, in any parts, they say what all at once say."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from andon.deploy.rollout_record import Plan
from andon.measure.detect import walk
from andon.measure.figure import Figure
from andon.monitor.firsts import BLOCK, firsts
from andon.monitor.rails import events, values

PLAN = Plan("v2", "v1", ("canary", "live"), ("wrong",), margins={"wrong": 0.2})
WORTH = Figure(pl.col("label"), -1.0, 1.0, "lower", True, None, 0.2)


def cases(n: int, seed: int, *, units: int | None = None) -> pl.DataFrame:
    draw = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "key": draw.integers(0, units or n, n),
            "known_us": draw.integers(0, n // 2 + 1, n),
            "stream": draw.choice(["w0", "w1"], n),
            "sequence": np.arange(n),
            "mine": draw.random(n) < 0.4,
            "rho": draw.choice([0.1, 0.5], n),
            "value": draw.uniform(-1, 1, n).round(3),
            "chance": draw.choice([0.5, 1.0], n),
        }
    ).with_columns(pl.col("key").cast(pl.UInt64))


@pytest.mark.parametrize("n", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK])
def test_the_edges_of_a_block(n: int) -> None:
    rows = cases(max(n, 1), 1)[:n].with_columns(key=pl.int_range(n, dtype=pl.UInt64) if n else pl.col("key"))
    many, one = values("wrong", PLAN, WORTH), values("wrong", PLAN, WORTH)
    many.swap(rows.clear(), rows)
    for row in rows.sort("known_us", "stream", "sequence").iter_slices(37):
        one.swap(row.clear(), row)
    assert many.now == one.now and many.now.n == n


@pytest.mark.parametrize("seed", range(4))
def test_in_whatever_parts_units_are_swapped_it_is_the_same_to_the_bit(seed: int) -> None:
    """Cases come, go (a label that was corrected), and come back with another value; units have several."""
    draw = np.random.default_rng(seed)
    rows = cases(3 * BLOCK, seed, units=2 * BLOCK)
    going = {"values": values("wrong", PLAN, WORTH), "events": events("wrong", PLAN)}
    held = rows.clear()
    for step in range(12):
        keys = pl.Series(draw.integers(0, 2 * BLOCK, 400)).cast(pl.UInt64).implode()
        if step < 6:
            there = pl.col("sequence") < (step + 1) * BLOCK // 2
            after = rows.filter(there & (pl.col("key").is_in(keys) | (pl.col("sequence") >= step * BLOCK // 2)))
        else:
            after = rows.filter(pl.col("key").is_in(keys), pl.col("sequence") % 3 > 0).with_columns(-pl.col("value"))
        mine = after["key"].unique().implode() if step < 6 else keys
        before = held.filter(pl.col("key").is_in(mine))
        after = pl.concat([before, after]).unique("sequence", keep="last", maintain_order=True) if step < 6 else after
        held = pl.concat([held.filter(~pl.col("key").is_in(mine)), after])
        new = {"values": values("wrong", PLAN, WORTH), "events": events("wrong", PLAN)}
        for name, one in going.items():
            one.swap(before, after)  # type: ignore[attr-defined]
            new[name].swap(held.clear(), held)  # type: ignore[attr-defined]
            assert one.now == new[name].now  # type: ignore[attr-defined]


def test_the_evidence_of_events_is_that_of_a_walk_over_all_of_them() -> None:
    rows = cases(3 * BLOCK, 9)
    made = events("wrong", PLAN)
    made.swap(rows.clear(), rows)
    first, found = firsts(rows), made.now.evidence.guard
    for test in (found.harm, found.safe):
        walked = walk(test, first["mine"].to_numpy()[None, :], first["rho"].to_numpy()[None, :])
        assert test.peak == max(0.0, float(walked.max()))
    assert found.events == first.height and made.now.arms == (first["mine"].sum(), (~first["mine"]).sum())
