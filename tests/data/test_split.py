"""Exact, whole, sticky: what a split promises, on small and on large data."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.core.record import Field
from andon.data.allot import controlled_rounding, largest_remainder, unlucky
from andon.data.contract import Contract
from andon.data.dataset import add, load
from andon.data.division import Wish, division, part_of, split_dataset
from andon.data.lineage import trace
from andon.data.split import Plan, divide, parse_parts, split
from andon.errors import NotFound, UsageError
from andon.store.workspace import Workspace


def hundred() -> pl.DataFrame:
    return pl.DataFrame({"x": range(100), "y": ["pos"] * 30 + ["neg"] * 70})


def test_thirty_of_a_hundred_is_eighteen_six_six() -> None:
    for seed in range(20):
        result = split(hundred(), "y", seed=seed)
        assert result.table.rows() == [("train", 60, 0.6, 42, 18), ("dev", 20, 0.2, 14, 6), ("test", 20, 0.2, 14, 6)]
        assert "off by 3 or more in 30.7 % of draws" in result.message
    assert result.to_json()["parts"]["dev"] == {"n": 20, "share": 0.2, "classes": {"neg": 14, "pos": 6}, "positives": 6}
    assert "30.7 %" in result._repr_html_()
    assert len(result.plot().data) == 2


def test_the_chances_of_a_random_draw() -> None:
    chance = unlucky(100, 30, (20, 20), 3)
    assert chance == pytest.approx(0.307, abs=5e-4)
    exact = unlucky(100, 30, (20, 20), 1)
    assert exact is not None
    assert 1 - exact == pytest.approx(0.0473, abs=5e-5)
    generator = np.random.default_rng(7)
    drawn = generator.multivariate_hypergeometric([30, 70], 20, size=20_000)[:, 0]
    one = unlucky(100, 30, (20,), 3)
    assert one == pytest.approx(np.mean(np.abs(drawn - 6) >= 3), abs=0.01)
    assert unlucky(10**7, 10**6, (10**6,), 3) is None


def test_different_seeds_are_different_splits_and_the_same_seed_is_the_same() -> None:
    assert split(hundred(), "y", seed=1).parts.equals(split(hundred(), "y", seed=1).parts)
    assert not split(hundred(), "y", seed=1).parts.equals(split(hundred(), "y", seed=2).parts)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(any),
    st.lists(st.integers(1, 9), min_size=2, max_size=5),
)
def test_rounding_moves_no_cell_by_a_row_and_keeps_the_totals(strata: list[int], weights: list[int]) -> None:
    shares = np.asarray(weights) / sum(weights)
    ideal = np.outer(strata, shares)
    found = controlled_rounding(ideal)
    assert (np.abs(found - ideal) < 1).all()
    assert found.sum(axis=1).tolist() == strata
    assert (np.abs(found.sum(axis=0) - ideal.sum(axis=0)) < 1).all()
    if len(strata) == 1:
        assert found[0].tolist() == largest_remainder(sum(strata), weights)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_groups_and_duplicates_are_whole_and_every_row_has_a_part(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 60))
    frame = pl.DataFrame(
        {
            "x": data.draw(st.lists(st.integers(0, 30), min_size=size, max_size=size)),
            "who": data.draw(st.lists(st.none() | st.integers(0, 20), min_size=size, max_size=size)),
            "y": data.draw(st.lists(st.sampled_from("pq"), min_size=size, max_size=size)),
        },
        schema={"x": pl.Int64, "who": pl.Int64, "y": pl.String},
    )
    result = split(frame, "y", group="who")
    marked = frame.with_columns(result.parts)
    assert result.parts.null_count() == 0
    assert result.table["n"].sum() == size
    assert (marked.drop_nulls("who").group_by("who").agg(pl.col("part").n_unique())["part"] == 1).all()
    if "not kept together" not in result.message:
        assert (marked.group_by("x").agg(pl.col("part").n_unique())["part"] == 1).all()


def test_equal_rows_stay_together_unless_equal_rows_are_the_rule() -> None:
    pairs = pl.DataFrame({"x": [i // 2 for i in range(200)], "y": ["p", "p", "n", "n"] * 50})
    result = split(pairs, "y")
    assert result.together == 200
    assert result.table["n"].to_list() == [120, 40, 40]
    few = pl.DataFrame({"x": [True, False] * 100, "y": ["p", "n"] * 100})
    result = split(few, "y")
    assert result.together == 0
    assert "Rows with equal inputs are not kept together: 100 are alike" in result.message


def test_groups_come_out_as_near_as_they_allow() -> None:
    generator = np.random.default_rng(3)
    who = np.repeat(np.arange(60), generator.integers(1, 12, 60))
    frame = pl.DataFrame(
        {"x": np.arange(who.size), "who": who, "y": generator.choice(["a", "b", "c"], who.size, p=[0.6, 0.3, 0.1])}
    )
    result = split(frame, "y", group="who", by=[])
    ideal = np.outer([0.6, 0.2, 0.2], [frame["y"].eq(c).sum() for c in "abc"])
    assert np.abs(result.table.select("a", "b", "c").to_numpy() - ideal).max() <= 3


def test_tags_are_balanced_beside_the_label() -> None:
    frame = pl.DataFrame({"x": range(120), "site": ["s1", "s2", "s3"] * 40, "y": (["p"] * 3 + ["n"] * 9) * 10})
    marked = frame.with_columns(split(frame, "y", by=["site"]).parts)
    counts = marked.group_by("site", "y", "part").len()
    for site, label, part, n in counts.iter_rows():
        whole = frame.filter(pl.col("site") == site, pl.col("y") == label).height
        assert abs(n - whole * {"train": 0.6, "dev": 0.2, "test": 0.2}[part]) < 1


def test_rows_with_a_part_keep_it_and_the_rest_makes_up_the_shares() -> None:
    before = split(hundred(), "y").parts
    grown = pl.concat([hundred(), pl.DataFrame({"x": range(100, 150), "y": ["pos", "neg"] * 25})])
    result = split(grown, "y", previous=before.extend_constant(None, 50))
    assert result.parts.head(100).equals(split(hundred(), "y").parts)
    assert result.kept == 100
    assert result.table.select("n", "pos").rows() == [(90, 33), (30, 11), (30, 11)]


def test_a_new_row_joins_its_group_where_that_is() -> None:
    frame = pl.DataFrame({"x": [1, 2, 3, 4], "who": ["a", "a", "b", "b"], "y": ["p"] * 4})
    result = split(frame, "y", group="who", previous=pl.Series(["test", None, "train", None]))
    assert result.parts.to_list() == ["test", "test", "train", "train"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"label": "z"}, "no column 'z'"),
        ({"label": "y", "group": "z"}, "no column 'z'"),
        ({"label": "y", "parts": {"train": 1.0}}, "2 to 20 names"),
        ({"label": "y", "parts": {"train": 1.0, "test": 0.0}}, "positive shares"),
        ({"label": "y", "parts": {"train": 1.0, "test": float("nan")}}, "positive shares"),
        ({"label": "y", "previous": pl.Series(["train"])}, "for each of the 100 rows, found 1"),
        ({"label": "y", "previous": pl.Series(["eval"] + [None] * 99)}, "'eval' already"),
    ],
)
def test_a_split_that_makes_no_sense_is_a_sentence(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises((UsageError, NotFound), match=message):
        split(hundred(), **arguments)


def test_no_rows_cannot_be_split() -> None:
    with pytest.raises(UsageError, match="no rows to split"):
        divide(hundred().head(0), Plan("y"))


@pytest.mark.parametrize("text", ["", "60", "a/b", "60/20/20/10", "train=1,train=2", "train=", "=1,test=1"])
def test_parts_that_cannot_be_read(text: str) -> None:
    with pytest.raises(UsageError, match="parts: expected"):
        parse_parts(text)


# -- stored splits ----------------------------------------------------------------------------------------------------

CONTRACT = Contract((Field("x", "int"),), "y", ("neg", "pos"))


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    found = Workspace.create(tmp_path / "workspace")
    yield found
    found.close()


def test_a_stored_split_is_found_again_and_its_parts_load(workspace: Workspace) -> None:
    dataset = add(workspace, hundred(), CONTRACT, name="d")
    with pytest.raises(NotFound, match="has not been split yet"):
        part_of(workspace, "d")
    found = split_dataset(workspace, "d", actor="ann")
    assert found.to_json()["version"] == dataset.version
    assert found.parts["dev"]["positives"] == 6
    assert split_dataset(workspace, "d") == found
    assert load(workspace, "d", part="dev").height == 20
    with pytest.raises(NotFound, match="did you mean 'test'"):
        load(workspace, "d", part="tset")
    assert trace(workspace, "d", 1).part in ("train", "dev", "test")
    other = split_dataset(workspace, "d", Wish({"train": 0.5, "test": 0.5}))
    assert other.previous is None
    assert division(workspace, "d") == other
    assert [event.action for event in workspace.journal.read()] == ["data.add", "data.split", "data.split"]


def test_rows_keep_their_part_when_the_data_grow_are_relabelled_and_shuffled(workspace: Workspace) -> None:
    add(workspace, hundred(), CONTRACT, name="d")
    split_dataset(workspace, "d")
    before = dict(zip(load(workspace, "d")["x"], part_of(workspace, "d"), strict=True))
    more = pl.DataFrame({"x": range(100, 200), "y": ["pos", "neg"] * 50})
    relabelled = hundred().with_columns(y=pl.when(pl.col("x") == 99).then(pl.lit("pos")).otherwise("y"))
    grown = pl.concat([relabelled.filter(pl.col("x") != 5), more]).sample(fraction=1, shuffle=True, seed=2)
    add(workspace, grown, CONTRACT, name="d")
    found = split_dataset(workspace, "d")
    after = dict(zip(load(workspace, "d")["x"], part_of(workspace, "d"), strict=True))
    assert found.kept == 99
    assert all(after[x] == part for x, part in before.items() if x != 5)
    assert {name: part["n"] for name, part in found.parts.items()} == {"train": 119, "dev": 40, "test": 40}


def test_equal_rows_keep_as_many_of_each_part_as_they_had(workspace: Workspace) -> None:
    alike = pl.DataFrame({"x": [1, 2] * 50, "y": ["pos", "neg"] * 50})
    add(workspace, alike, CONTRACT, name="d")
    split_dataset(workspace, "d")
    add(workspace, pl.concat([alike, alike.head(10)]), CONTRACT, name="d")
    found = split_dataset(workspace, "d")
    assert found.kept == 100
    assert [part["n"] for part in found.parts.values()] == [66, 22, 22]


def test_new_meta_data_move_no_row(workspace: Workspace) -> None:
    add(workspace, hundred().with_columns(day=pl.lit("2020-03-11")), CONTRACT, name="d")
    split_dataset(workspace, "d")
    before = dict(zip(load(workspace, "d")["x"], part_of(workspace, "d"), strict=True))
    corrected = hundred().with_columns(day=pl.lit("2020-03-12"), site=pl.lit("north")).reverse()
    add(workspace, corrected, CONTRACT, name="d")
    assert split_dataset(workspace, "d").kept == 100
    assert dict(zip(load(workspace, "d")["x"], part_of(workspace, "d"), strict=True)) == before
