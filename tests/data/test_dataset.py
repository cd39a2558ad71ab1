"""Frozen versions: the hash tells any change and nothing else; nothing is ever half there; every row can be followed."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from andon.core.record import Field
from andon.data.clean import clean_dataset, run_clean
from andon.data.content import canonical, content_hash
from andon.data.contract import Contract, infer
from andon.data.dataset import add, find, listing, load, rejects
from andon.data.difference import diff, difference
from andon.data.lineage import history, lineage, trace
from andon.data.source import from_frame, read
from andon.errors import ContractError, Corrupt, NotFound, UsageError, UserCodeError
from andon.store.workspace import Workspace

CONTRACT = Contract((Field("n", "int", optional=True), Field("t", "category", optional=True)), "y", ("neg", "pos"))


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    found = Workspace.create(tmp_path / "workspace")
    yield found
    found.close()


def rows(n: int = 100, positives: int = 30) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "n": range(n),
            "t": ["a", "b"] * (n // 2),
            "y": ["pos"] * positives + ["neg"] * (n - positives),
            "day": ["2020-03-11"] * n,
        }
    )


def blobs(workspace: Workspace) -> list[Path]:
    return [path for path in workspace.blobs.directory.rglob("*") if path.is_file()]


# -- the hash ---------------------------------------------------------------------------------------------------------


def test_the_version_does_not_depend_on_the_file_format(workspace: Workspace, tmp_path: Path) -> None:
    frame = pl.DataFrame(
        {
            "id": ["007", "008", "9"],
            "n": [1, None, 3],
            "t": ["é,\"x\"", "b", None],
            "y": ["pos", "neg", "neg"],
            "day": ["2020-03-11", "2020-03-12", None],
            "at": ["2020-03-11T10:00:00", "2020-03-12T11:30:00.25", "2020-03-12T11:30:01"],
            "weight": [0.5, 1e-7, -3.0],
            "version": ["1.10", "1.9", "2.0"],
            "count": [5, 6, 7],
            "seen": [True, False, None],
        }
    )  # fmt: skip
    typed = frame.with_columns(
        pl.col("day").str.to_date(),
        pl.col("at").str.to_datetime(time_unit="ns"),
        pl.col("t").cast(pl.Categorical),
        pl.col("count").cast(pl.Int8),
    )
    frame.write_csv(tmp_path / "d.csv")
    frame.write_ndjson(tmp_path / "d.jsonl")
    typed.write_parquet(tmp_path / "d.parquet")
    frame.reverse().write_parquet(tmp_path / "turned.parquet")
    names = ["d.csv", "d.jsonl", "d.parquet", "turned.parquet"]
    versions = {name: add(workspace, tmp_path / name, CONTRACT, name=name).version for name in names}
    assert len(set(versions.values())) == 1, versions
    assert len(listing(workspace)) == 1
    assert load(workspace, "d.csv")["version"].to_list() == ["1.10", "1.9", "2.0"]
    assert load(workspace, "d.csv").schema["day"] == pl.Date


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_change_of_any_value_changes_the_hash(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, 6))
    values = {
        "n": st.none() | st.integers(-3, 3),
        "t": st.none() | st.sampled_from(["", "a", "b", "ab"]),
        "y": st.sampled_from(["neg", "pos"]),
        "w": st.none() | st.floats(allow_nan=False, width=32),
        "s": st.none() | st.sampled_from(["x y", "xy", "x"]),
    }
    table = {name: data.draw(st.lists(strategy, min_size=size, max_size=size)) for name, strategy in values.items()}
    schema = {"n": pl.Int64, "t": pl.String, "y": pl.String, "w": pl.Float64, "s": pl.String}
    frame = pl.DataFrame(table, schema=schema)
    assert content_hash(frame.sample(fraction=1, shuffle=True, seed=1), CONTRACT) == content_hash(frame, CONTRACT)
    name, row = data.draw(st.sampled_from(list(table))), data.draw(st.integers(0, size - 1))
    changed = {key: list(column) for key, column in table.items()}
    changed[name][row] = data.draw(values[name])
    other = pl.DataFrame(changed, schema=schema)
    # 0.0 and -0.0 are one value; everything else that differs must differ in the hash
    same = sorted(
        map(
            repr,
            other.with_columns(
                pl.when(pl.col("w") != 0).then("w").otherwise(pl.when(pl.col("w") == 0).then(0.0))
            ).rows(),
        )
    ) == sorted(
        map(
            repr,
            frame.with_columns(
                pl.when(pl.col("w") != 0).then("w").otherwise(pl.when(pl.col("w") == 0).then(0.0))
            ).rows(),
        )
    )
    assert (
        content_hash(canonical(other, CONTRACT), CONTRACT) == content_hash(canonical(frame, CONTRACT), CONTRACT)
    ) is same


def test_every_single_label_counts_also_beyond_ten_thousand_rows() -> None:
    frame = pl.DataFrame(
        {"n": [0] * 12_000, "t": [None] * 12_000, "y": ["neg"] * 12_000},
        schema={"n": pl.Int64, "t": pl.String, "y": pl.String},
    )
    hashes = {content_hash(frame, CONTRACT)}
    for row in (0, 9_999, 11_999):  # equal rows: which one does not matter, how many does
        hashes.add(
            content_hash(
                frame.with_columns(y=pl.when(pl.int_range(pl.len()) == row).then(pl.lit("pos")).otherwise("y")),
                CONTRACT,
            )
        )
    assert len(hashes) == 2
    hashes.add(content_hash(frame.with_columns(y=pl.lit("pos")), CONTRACT))
    hashes.add(content_hash(frame.head(11_999), CONTRACT))
    hashes.add(content_hash(frame.rename({"t": "u"}), CONTRACT))
    assert len(hashes) == 5


def test_many_different_texts_are_hashed_as_they_are() -> None:
    frame = pl.DataFrame({"n": [1] * 70_000, "t": [f"v{i}" for i in range(70_000)], "y": ["neg"] * 70_000})
    before = content_hash(frame, CONTRACT)
    assert content_hash(frame.reverse(), CONTRACT) == before
    assert content_hash(frame.with_columns(t=pl.col("t").replace("v69999", "v70000")), CONTRACT) != before


def test_the_hash_is_the_one_written_down() -> None:
    """A change here means that every stored version changes its name: never do that."""
    frame = pl.DataFrame(
        {"n": [1, None], "t": ["a", "é"], "y": ["pos", "neg"], "w": [0.5, None], "day": ["2020-03-11", None]}
    )
    assert (
        content_hash(canonical(frame, CONTRACT), CONTRACT)
        == "6eaf5999986329cac16e77b923c3c86acb802b1d81faf27764f74dd49871db38"
    )


# -- adding -----------------------------------------------------------------------------------------------------------


def test_a_changed_label_is_another_version_with_the_first_as_its_parent(workspace: Workspace) -> None:
    first = add(workspace, rows(), CONTRACT, name="cases", actor="ann", note="first weeks")
    again = add(workspace, rows().reverse(), CONTRACT, name="cases")
    assert again == first
    second = add(workspace, rows(positives=31), CONTRACT, name="cases")
    assert second.version != first.version
    assert second.parent == first.version
    assert find(workspace, "cases") == second
    assert find(workspace, first.version[:6]) == first
    assert [d.version for d in history(workspace, "cases")] == [second.version, first.version]
    events = workspace.journal.read(action="data.add")
    assert [(event.subject, event.actor, event.reason) for event in events] == [
        (first.version, "ann", "first weeks"),
        (second.version, "", ""),
    ]


def test_going_back_to_older_rows_moves_the_name(workspace: Workspace) -> None:
    first = add(workspace, rows(), CONTRACT, name="cases")
    add(workspace, rows(positives=31), CONTRACT, name="cases")
    assert add(workspace, rows(), CONTRACT, name="cases") == first
    assert find(workspace, "cases") == first
    assert len(listing(workspace)) == 2


def test_rows_that_do_not_fit_are_kept_aside_with_their_reasons(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("id,n,t,y\na,1,x,pos\nb,two,x,pos\nc,3\na,4,x,neg\nd,5,x,maybe\n,6,x,neg\n,7,x,neg\n")
    found = add(workspace, path, CONTRACT, name="d")
    assert (found.rows, found.rejected) == (3, 4)
    assert rejects(workspace, "d").rows() == [
        (2, "n: expected a whole number or null, found 'two'"),
        (3, "line 4: expected 4 values, found 2"),
        (4, "id: a is already the id of row 1"),
        (5, "y: expected one of 'neg', 'pos', found 'maybe'"),
    ]
    steps = [(step.name, step.rows_in, step.rows_out) for step in found.steps]
    assert steps == [("read", 7, 6), ("check", 6, 3)]
    assert trace(workspace, "d", 6).now == 2
    assert trace(workspace, "d", 6).values == {"n": 6, "t": "x", "y": "neg", "id": None}
    assert trace(workspace, "d", 3).reason == "line 4: expected 4 values, found 2"
    for missing in (0, 8):
        with pytest.raises(NotFound, match="rows 1 to 7"):
            trace(workspace, "d", missing)


def test_nothing_is_stored_when_no_row_fits(workspace: Workspace, tmp_path: Path) -> None:
    path = tmp_path / "d.csv"
    path.write_text("n,y\none,pos\n")
    with pytest.raises(ContractError, match=r"none of the 1 rows fits the contract; the first: row 1: n: expected"):
        add(workspace, path, CONTRACT, name="d")
    with pytest.raises(ContractError, match="no column 'y'"):
        add(workspace, pl.DataFrame({"n": [1]}), CONTRACT, name="d")
    with pytest.raises(ContractError, match="a column of type List"):
        add(workspace, rows().with_columns(pl.lit([1]).alias("many")), CONTRACT, name="d")
    with pytest.raises(UsageError, match="a dataset's name"):
        add(workspace, rows(), CONTRACT, name="")
    assert blobs(workspace) == []
    assert listing(workspace) == []
    assert list(workspace.journal.read()) == []


def test_a_record_that_fails_leaves_no_dataset(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: object) -> None:
        raise NotFound("the database is gone")

    monkeypatch.setattr(workspace.records, "put", gone)
    with pytest.raises(NotFound, match="gone"):
        add(workspace, rows(), CONTRACT, name="cases")
    monkeypatch.undo()
    assert listing(workspace) == []
    with pytest.raises(NotFound, match="no dataset is called 'cases'"):
        find(workspace, "cases")
    assert add(workspace, rows(), CONTRACT, name="cases").rows == 100


def test_names_that_are_not_there(workspace: Workspace) -> None:
    add(workspace, rows(), CONTRACT, name="cases")
    with pytest.raises(NotFound, match="did you mean 'cases'"):
        find(workspace, "casse")
    with pytest.raises(NotFound):
        find(workspace, find(workspace, "cases").version[:3])


def test_a_damaged_blob_is_told(workspace: Workspace) -> None:
    found = add(workspace, rows(), CONTRACT, name="cases")
    path = workspace.blobs.path(found.blob)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(Corrupt, match="expected the hash"):
        load(workspace, "cases")


def test_a_step_by_hand_keeps_its_note_and_hashes(workspace: Workspace) -> None:
    first = add(workspace, rows(), CONTRACT, name="cases")
    with pytest.raises(UsageError, match="needs a note"):
        add(workspace, rows().head(90), CONTRACT, name="cases", by_hand=True)
    second = add(
        workspace, rows().head(90), CONTRACT, name="cases", by_hand=True, note="took out a broken camera's rows"
    )
    step = second.steps[-1]
    assert step.manual
    assert (step.before, step.after, step.rows_in, step.rows_out) == (first.content, second.content, 100, 90)


def test_images_are_stored_once_and_come_back_as_bytes(workspace: Workspace) -> None:
    def png(grey: int) -> bytes:
        out = io.BytesIO()
        Image.new("L", (4, 4), grey).save(out, "PNG")
        return out.getvalue()

    contract = Contract((Field("image", "image"),), "y", ("neg", "pos"))
    photos = [png(1), png(2), png(1), png(3)[:-20]]
    frame = pl.DataFrame({"image": photos, "y": ["neg", "pos", "neg", "pos"]})
    found = add(workspace, frame, contract, name="parts")
    assert found.rows == 3
    assert "do not decode" in rejects(workspace, "parts")["reason"][0]
    assert load(workspace, "parts")["image"].to_list() == photos[:3]
    assert len(load(workspace, "parts", images=False)["image"][0]) == 64
    assert len(blobs(workspace)) == 4  # two images, the rows, the rejects
    assert content_hash(load(workspace, "parts"), contract) == found.content


# -- differences ------------------------------------------------------------------------------------------------------


def test_diff_speaks_rows_and_labels(workspace: Workspace) -> None:
    add(workspace, rows(), CONTRACT, name="a")
    changed = rows(positives=33).filter(pl.col("n") != 50).vstack(rows().head(1).with_columns(n=pl.lit(500, pl.Int64)))
    add(workspace, changed, CONTRACT, name="b")
    found = diff(workspace, "a", "b")
    assert (found.added, found.removed, found.relabelled) == (1, 1, 3)
    assert found.to_json()["transitions"] == [{"before": "neg", "after": "pos", "n": 3}]
    assert diff(workspace, "a", "a").same


def test_diff_by_id_tells_revised_values_from_labels() -> None:
    old = pl.DataFrame({"id": ["a", "b", "c"], "n": [1, 2, 3], "y": ["p", "p", "q"], "gone": [1, 1, 1]})
    new = pl.DataFrame({"id": ["c", "b", "d"], "n": [3, 9, 4], "y": ["p", "p", "q"], "new": [0, 0, 0]})
    found = difference(old, new, "y")
    assert (found.added, found.removed, found.relabelled, found.revised) == (1, 1, 1, 1)
    assert found.columns == {"added": ["new"], "removed": ["gone"]}


@settings(max_examples=100, deadline=None)
@given(*[st.lists(st.tuples(st.integers(0, 2), st.sampled_from("pqr")), max_size=8)] * 2)
def test_diff_is_the_smallest_explanation(before: list[Any], after: list[Any]) -> None:
    schema = {"n": pl.Int64, "y": pl.String}
    found = difference(
        pl.DataFrame(before, schema=schema, orient="row"), pl.DataFrame(after, schema=schema, orient="row"), "y"
    )
    assert len(before) + found.added - found.removed == len(after)
    assert found.relabelled == found.transitions["n"].sum()
    stayed = sum(min(sum(n == k for n, _ in before), sum(n == k for n, _ in after)) for k in range(3))
    same = sum(min(before.count(key), after.count(key)) for key in itertools.product(range(3), "pqr"))
    assert (found.removed, found.relabelled) == (len(before) - stayed, stayed - same)


# -- cleaning and lineage ---------------------------------------------------------------------------------------------


def test_clean_makes_a_child_whose_rows_can_be_followed(workspace: Workspace) -> None:
    parent = add(workspace, rows(), CONTRACT, name="raw")

    def clean(raw: pl.DataFrame) -> pl.DataFrame:
        return (
            raw.filter(pl.col("n") % 10 != 3)
            .sample(fraction=1, shuffle=True, seed=3)
            .drop("t")
            .with_columns(twice=pl.col("n") * 2)
        )

    child = clean_dataset(workspace, "raw", clean, name="clean", code="c0de", note="no threes")
    assert child.parent == parent.version
    assert child.contract.names == ("n",)
    assert [step.name for step in child.steps] == ["read", "check", "clean"]
    assert (child.steps[-1].before, child.steps[-1].after, child.steps[-1].code) == (
        parent.content,
        child.content,
        "c0de",
    )
    assert trace(workspace, "clean", 4).reason == "dropped by clean"
    assert trace(workspace, "clean", 15).values == {
        "n": 14,
        "y": "pos",
        "day": load(workspace, "raw")["day"][0],
        "twice": 28,
    }
    told = lineage(workspace, "clean")
    assert [one["version"] for one in told["history"]] == [child.version, parent.version]
    assert told["rejected"] == {"rows": 10, "reasons": [{"reason": "dropped by clean", "n": 10}]}


def test_clean_that_forgets_the_row_numbers_is_only_counted(workspace: Workspace) -> None:
    add(workspace, rows(), CONTRACT, name="raw")
    child = clean_dataset(workspace, "raw", lambda raw: raw.head(10).drop("_row"), name="clean")
    assert child.steps[-1].rows_out == 10
    with pytest.raises(NotFound, match="did not give the column _row back"):
        trace(workspace, "clean", 1)


def test_clean_must_give_a_frame_that_keeps_the_contract(workspace: Workspace) -> None:
    with pytest.raises(UserCodeError, match="expected it to return a polars DataFrame, found NoneType"):
        run_clean(rows(), lambda raw: None)
    add(workspace, rows(), CONTRACT, name="raw")
    with pytest.raises(UserCodeError, match="breaks the contract: y: expected"):
        clean_dataset(workspace, "raw", lambda raw: raw.with_columns(y=pl.lit("?")), name="clean")


def test_a_frame_can_be_inferred_and_added(workspace: Workspace) -> None:
    frame = pl.DataFrame({"a": ["1.5", "2"], "y": ["u", "v"]})
    found = add(workspace, from_frame(frame), infer(frame, "y"), name="inferred")
    assert found.labels == {"u": 1, "v": 1}
    assert load(workspace, "inferred").schema["a"] == pl.Float64


def test_archives_of_real_sizes_are_read_whole(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text(
        "n,t,y\n" + "".join(f"{i},v{i % 7},{'pos' if i % 5 == 0 else 'neg'}\n" for i in range(60_000))
    )
    raw = read(tmp_path / "f.csv")
    assert add(workspace, raw, CONTRACT, name="f").labels == {"neg": 48_000, "pos": 12_000}
