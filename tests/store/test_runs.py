"""Rows found by a key: as a filter of all that was added would find them, whatever was added in which parts."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.store.runs import Runs

ROWS = st.lists(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 5)), max_size=9), max_size=12)


@settings(max_examples=25, deadline=None)
@given(ROWS, st.lists(st.integers(0, 14)), st.booleans(), st.booleans())
def test_what_is_found_is_what_a_filter_finds(
    parts: list[list[tuple[int, int]]], keys: list[int], texts: bool, between: bool
) -> None:
    runs, every, n = Runs("id"), [], 0
    newest = Runs("id", ("id", "place"))
    latest: dict[tuple[object, object], tuple[object, ...]] = {}
    for part in parts:
        rows = pl.DataFrame(
            {"id": [key for key, _ in part], "place": [place for _, place in part], "n": range(n, n + len(part))},
            schema={"id": pl.Int64, "place": pl.Int64, "n": pl.Int64},
        )
        rows = rows.cast({"id": pl.String}) if texts else rows
        n += len(part)
        runs.add(rows)
        newest.add(rows)
        every += rows.rows()
        latest |= {(key, place): row for key, place, row in rows.rows()}
        if between:
            runs.find(rows["id"])
    if not parts:
        return
    wanted = pl.Series("id", keys, dtype=pl.Int64).cast(pl.String if texts else pl.Int64)
    names = set(wanted.to_list())
    found = runs.find(wanted).rows()
    assert sorted(found, key=lambda row: row[2]) == [row for row in every if row[0] in names]
    for name in names:
        mine = [row[2] for row in found if row[0] == name]
        assert mine == sorted(mine), "older ones first"
    assert runs.height == len(every) == runs.all().height
    assert {(key, place): row for key, place, row in newest.find(wanted).rows()} == {
        place: row for place, row in latest.items() if place[0] in names
    }
    assert newest.find(wanted).height == sum(place[0] in names for place in latest)
    assert newest.all().height == len(latest) <= newest.height <= len(every)


def test_a_key_is_looked_for_in_few_runs() -> None:
    runs = Runs("id")
    for n in range(300):
        runs.add(pl.DataFrame({"id": [n]}))
        runs.find(pl.Series([n]))
    assert len(runs._runs) <= 10 and runs.height == 300
