"""Two runs on the same rows: which rows those are, and differences that claim no more than they should."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from andon.core.record import Field
from andon.data.contract import Contract
from andon.data.dataset import add
from andon.data.division import Wish, split_dataset
from andon.errors import Corrupt, NotFound
from andon.measure.metric import parse_metric
from andon.model import pairing
from andon.model import shared as shared_rows
from andon.model.compare import compare
from andon.model.example import Wanted, examples
from andon.model.pairing import differ, discordant, pair
from andon.model.run import find_run, predictions
from andon.model.shared import shared
from andon.model.training import Options, train
from andon.scope.charter import parse
from andon.store.workspace import Workspace

CHARTER = parse("""
project: p
inputs: {a: float, b: float}
target: {name: y, classes: [no, yes]}
safe_default: nobody
metrics: {error: {of: error_rate}, recall: {of: "recall[yes]"}, a: {of: mean(a)}, sure: {of: error_rate, where: confidence > 0.9}}
slices: {low: "a < 0", sure: "confidence > 0.9"}
""")
MODEL = """
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
def train(data, params):
    return make_pipeline(ColumnTransformer([("n", "passthrough", params["use"])]), LogisticRegression()).fit(data.x, data.y)
"""
CONTRACT = Contract(CHARTER.fields(), "y", ("no", "yes"))


def rows(n: int, seed: int, ids: bool = True) -> pl.DataFrame:
    a, b = np.random.default_rng(seed).normal(size=(2, n))
    frame = pl.DataFrame({"a": a, "b": b, "y": np.where(a + b > 0, "yes", "no")})
    return frame.with_columns(id=pl.Series([f"{seed}-{i}" for i in range(n)])) if ids else frame


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    (tmp_path / "model.py").write_text(MODEL)
    opened = Workspace.create(tmp_path / "w")
    yield opened
    opened.close()


def made(workspace: Workspace, frame: pl.DataFrame, use: list[str], contract: Contract = CONTRACT) -> str:
    version = add(workspace, frame, contract, name="p").version
    return train(workspace, CHARTER, version, Options(workspace.home.parent / "model.py", {"use": use})).id


def test_on_one_split_the_stored_answers_are_compared_as_the_command_compares(workspace: Workspace) -> None:
    ids = [made(workspace, rows(600, 1), use) for use in (["a"], ["a", "b"])]
    one, two = (find_run(workspace, id) for id in ids)
    found = pair(workspace, CHARTER, one, two)
    command = compare(workspace, CHARTER, ids[0], ids[1])
    assert (found.how, found.rows, found.held_out, found.learnt) == ("stored", 120, 120, 0)
    error = found.metrics["error"]
    assert (error.first, error.second) == command.metrics["error"]
    assert error.difference.value == pytest.approx(-(command.difference[""].value or 0)) and error.sign == -1
    # The jackknife of a share is the paired t interval, here wider because two metrics are looked at.
    assert error.difference.low is not None and error.difference.low < -(command.difference[""].high or 0)
    assert set(found.metrics) == {"error", "recall"} and set(found.slices) == {"low"}
    assert found.within >= found.confidence > 0.95


def test_a_run_on_other_data_is_asked_about_rows_that_it_did_not_learn_from(workspace: Workspace) -> None:
    first = made(workspace, rows(300, 1), ["a"])
    split_dataset(workspace, "p")
    second = made(workspace, pl.concat([rows(300, 1), rows(200, 2)]), ["a", "b"])
    one, two = find_run(workspace, first), find_run(workspace, second)
    found = shared(workspace, one, two)
    assert (found.how, found.held_out, found.second.height, found.learnt) == ("asked", 100, 100, 0)
    # Where both had stored an answer, asking again gives that answer.
    stored = predictions(workspace, one).select("id", "prediction")
    again = found.first.select("id", "prediction").join(stored, on="id")
    assert again.height > 20 and (again["prediction"] == again["prediction_right"]).all()
    assert found.first["id"].equals(found.second["id"]) and found.first["label"].equals(found.second["label"])


@pytest.mark.parametrize("ids", [True, False])
def test_rows_that_it_may_have_learnt_from_do_not_count(workspace: Workspace, ids: bool) -> None:
    frame = rows(300, 1, ids)
    first = made(workspace, frame, ["a"])
    # The same rows, split afresh: what one held out the other learnt from.
    split_dataset(workspace, find_run(workspace, first).dataset, Wish(seed=5))
    second = made(workspace, frame, ["a", "b"])
    one, two = find_run(workspace, first), find_run(workspace, second)
    found = shared(workspace, one, two)
    assert found.how == "asked" and found.learnt + found.second.height == 60 and 30 < found.learnt < 60
    held = predictions(workspace, one)["a"]
    assert found.second["a"].is_in(held.implode()).all()


def test_where_no_row_is_left_it_is_said(workspace: Workspace) -> None:
    frame = rows(60, 1)
    first = made(workspace, frame, ["a"])
    two = made(workspace, frame, ["b"])
    split_dataset(workspace, "p", Wish(parts={"train": 0.2, "dev": 0.6, "test": 0.2}, seed=3))
    known = predictions(workspace, find_run(workspace, two))
    second = made(workspace, frame.filter(~pl.col("id").is_in(known["id"].implode())), ["b"])
    found = pair(workspace, CHARTER, find_run(workspace, first), find_run(workspace, second))
    assert (found.how, found.rows) == ("none", 0) and "may have learnt from every row" in found.note
    assert found.metrics["error"].difference.value is None and found.metrics["error"].sign == 0


def test_a_model_that_cannot_answer_is_said(workspace: Workspace) -> None:
    wide = Contract((*CHARTER.fields(), Field("c", "float")), "y", ("no", "yes"))
    first = made(workspace, rows(60, 1).with_columns(c=pl.lit(1.0)), ["a", "c"], wide)
    second = made(workspace, rows(60, 2), ["a"])
    found = shared(workspace, find_run(workspace, first), find_run(workspace, second))
    assert found.how == "none" and "r1 needs the input 'c'" in found.note


def test_many_rows_are_thinned(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [made(workspace, rows(300, seed), ["a"]) for seed in (1, 2)]
    monkeypatch.setattr(shared_rows, "MOST", 25)
    found = shared(workspace, find_run(workspace, ids[0]), find_run(workspace, ids[1]))
    assert found.second.height == 20 and "one row in 3" in found.note


def two_sides(right: tuple[int, int, int, int]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Tables in which so many rows are right in both, in the first, in the second, in neither."""
    both, first, second, neither = right
    truth = pl.DataFrame({"label": ["no", "yes"] * (sum(right) // 2)})
    one = [True] * (both + first) + [False] * (second + neither)
    two = [True] * both + [False] * first + [True] * second + [False] * neither
    turned = pl.when(pl.col("label") == "no").then(pl.lit("yes")).otherwise(pl.lit("no"))
    sides = [
        truth.with_columns(prediction=pl.when(pl.Series(hits)).then("label").otherwise(turned)) for hits in (one, two)
    ]
    return sides[0], sides[1]


def test_differences_are_paired_and_their_intervals_hold() -> None:
    """Of 120 draws from one truth about 95 of 100 intervals contain it, for a share and for what is none."""
    draw = np.random.default_rng(4)
    truth = np.array([0.7, 0.1, 0.06, 0.14])
    for name in ("accuracy", "macro_f1"):
        metric = parse_metric(name, ("no", "yes"))
        hits = 0
        for _ in range(120):
            kinds = draw.choice(4, 200, p=truth)
            first, second = two_sides((200, 0, 0, 0))
            wrong = pl.when(pl.col("label") == "no").then(pl.lit("yes")).otherwise(pl.lit("no"))
            first = first.with_columns(
                prediction=pl.when(pl.Series(np.isin(kinds, (0, 1)))).then("label").otherwise(wrong)
            )
            second = second.with_columns(prediction=pl.when(pl.Series(np.isin(kinds, (0, 2)))).then("label").otherwise(wrong))  # fmt: skip
            found = differ(metric, first, second, ("no", "yes")).difference
            assert found.low is not None and found.high is not None
            hits += found.low <= -0.04 <= found.high
        assert hits >= 107, (name, hits)


def test_no_more_is_claimed_than_was_seen() -> None:
    metric = parse_metric("accuracy", ("no", "yes"))
    same = differ(metric, *two_sides((18, 0, 0, 2)), ("no", "yes"))
    assert same.difference.value == 0 and same.sign == 0
    every = differ(metric, *two_sides((0, 0, 4, 0)), ("no", "yes"))
    assert every.difference.value == 1 and every.difference.low is None and every.sign == 0
    few = differ(metric, *two_sides((90, 0, 4, 6)), ("no", "yes"))
    assert few.sign == 1 and few.chance == 0.125  # the interval says yes, the exact test does not
    precision = parse_metric("precision[yes]", ("no", "yes"))
    never = pl.DataFrame({"label": ["no"] * 3, "prediction": ["no"] * 3})
    assert differ(precision, never, never, ("no", "yes")).difference.reason == "nothing with a label was answered 'yes'"
    once = pl.DataFrame({"label": ["no"] * 3, "prediction": ["no", "no", "yes"]})
    assert "too few rows" in str(differ(precision, once, once, ("no", "yes")).difference.reason)


def test_what_would_take_too_long_is_left_out_and_said(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = (find_run(workspace, made(workspace, rows(60, 1), use)) for use in (["a"], ["b"]))
    monkeypatch.setattr(pairing, "_LOOKS", 10)
    found = pair(workspace, CHARTER, one, two)
    assert (
        found.slices == {} and "slices are left out" in found.note and found.metrics["error"].difference.low is not None
    )
    monkeypatch.setattr(pairing, "_NUMBERS", 10)
    left = pair(workspace, CHARTER, one, two).metrics["error"]
    assert left.first.defined and left.difference.reason == "too many classes: the interval would take too long"


def test_mcnemars_test_is_exact() -> None:
    found = discordant(*two_sides((10, 1, 9, 0)))
    assert (found.both, found.first, found.second, found.neither, found.answers, found.n) == (10, 1, 9, 0, 10, 20)
    assert found.chance == pytest.approx(2 * (1 + 10) / 2**10)
    share = differ(parse_metric("error_rate"), *two_sides((10, 1, 9, 0)), ("no", "yes"))
    assert share.chance == found.chance
    # Of a recall only the rows of its class count: here 5 of the 10 that differ, all one way.
    recall = differ(parse_metric("recall[yes]", ("no", "yes")), *two_sides((10, 0, 10, 0)), ("no", "yes"))
    assert recall.chance == pytest.approx(2 / 2**5)
    # Where rows do not count alike, it is the least that so few rows could give.
    f1 = differ(parse_metric("f1[yes]", ("no", "yes")), *two_sides((10, 2, 8, 0)), ("no", "yes"))
    assert f1.chance == pytest.approx(2 / 2**10)
    assert abs(differ(parse_metric("accuracy"), *two_sides((2, 0, 8, 0)), ("no", "yes")).difference.high or 0) <= 1


# ------------------------------------------------------------------------------------------------------------ examples


def test_examples_name_their_row_also_after_another_split(workspace: Workspace) -> None:
    frame = rows(100, 1)
    id = made(workspace, frame, ["a"])
    run = find_run(workspace, id)
    before = examples(workspace, run, Wanted())
    split_dataset(workspace, run.dataset, Wish(seed=9))
    after = examples(workspace, run, Wanted())
    assert after == before and before.total == 20 and before.columns[:2] == ("a", "b")
    for one in before.examples:
        assert frame["id"][one.row - 1] == one.values["id"] and frame["y"][one.row - 1] == one.label
        assert one.confidence == pytest.approx(max(one.scores.values())) and one.right == (one.label == one.prediction)


def test_examples_of_a_failed_run_or_another_split_are_refused(workspace: Workspace) -> None:
    import msgspec

    id = made(workspace, rows(100, 1), ["a"])
    run = find_run(workspace, id)
    other = split_dataset(workspace, run.dataset, Wish(parts={"train": 0.5, "test": 0.5}))
    with pytest.raises(Corrupt, match="answered 20 rows of part 'test'"):
        examples(workspace, msgspec.structs.replace(run, split=other.id), Wanted())
    with pytest.raises(NotFound, match="so it has no predictions"):
        examples(workspace, msgspec.structs.replace(run, predictions="", status="failed"), Wanted())
