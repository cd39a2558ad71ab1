"""Files through the bundle: counts that add up, the gateway's answers and sentences, formats, privacy, refusals."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.deploy.batch_rig import CONFIG, cases, frame, make_bundle, publish, run
from tests.deploy.rig import Rig

from andon.core.record import Field
from andon.deploy.batch import Wish, predict
from andon.deploy.batch_progress import Progress
from andon.errors import AndonError, Conflict, ContractError, Corrupt, NotFound, UsageError
from andon.model.bundle import bundle_path, load_bundle
from andon.store.workspace import Workspace

NUMBERS = count()


@pytest.fixture
def bundle(workspace: Workspace) -> str:
    made = make_bundle(workspace.home)
    publish(workspace, made)
    return made


def jsonl(path: Path, rows: list[Any]) -> Path:
    path.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
    return path


def write(rows: pl.DataFrame, path: Path) -> None:
    if path.suffix == ".csv":
        rows.write_csv(path)
    elif path.suffix == ".parquet":
        rows.write_parquet(path)
    else:
        rows.write_ndjson(path)


@pytest.mark.usefixtures("bundle")
@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl"])
@pytest.mark.parametrize("written", [".csv", ".parquet", ".jsonl"])
def test_every_row_is_in_the_output_or_among_the_rejects_once(
    workspace: Workspace, tmp_path: Path, suffix: str, written: str
) -> None:
    rows = cases(300)
    path = tmp_path / f"rows{suffix}"
    write(rows, path)
    found = run(workspace, path, out=tmp_path / f"out{written}", batch_rows=37)
    answers, rejects = frame(found.out), frame(found.rejects)
    assert sorted([*answers["row"], *rejects["row"]]) == list(range(1, 301))
    assert answers["row"].is_sorted() and rejects["row"].is_sorted()
    bad = rows.with_row_index("row", 1).filter((pl.col("age") < 0) | (pl.col("age") == 13) | (pl.col("site") == "west"))
    assert rejects["row"].to_list() == bad["row"].to_list()
    old = answers.filter(pl.col("prediction").is_null())
    assert set(rows[[row - 1 for row in old["row"]]]["age"]) <= {17.0} and old.height == found.unanswered
    assert set(old["decided_by"]) <= {"safe_default"} and set(old["decision"]) <= {"refer"}
    came = json.loads(rejects["came"][0])
    assert came["site"] == rows[rejects["row"][0] - 1, "site"]


@given(
    rows=st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "age": st.one_of(st.integers(-2, 100), st.floats(0, 100), st.sampled_from([13, 17, "x", None, [1], 1e300])),
                "cough": st.sampled_from([True, False, None, 1, "yes"]),
                "site": st.sampled_from(["north", "süd", "west", None]),
                "note": st.one_of(st.text(max_size=5), st.none()),
                "other": st.just(1),
            },
        ),
        min_size=1,
        max_size=12,
    ),
    level=st.sampled_from(["human", "shadow", "assist", "partial", "full"]),
    stopped=st.sampled_from(["", "", "people", "safe_default"]),
)  # fmt: skip
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_gateway_says_the_same_of_the_same_rows(
    workspace: Workspace, tmp_path: Path, rows: list[dict[str, Any]], level: str, stopped: str
) -> None:
    number = next(NUMBERS)
    digest = make_bundle(workspace.home)
    served = load_bundle(bundle_path(workspace.home, digest), digest)
    rig = Rig(workspace, CONFIG, {digest: served})  # type: ignore[dict-item]
    try:
        rig.route(
            live="v1", bundles={"v1": digest}, levels={"*": level, "old": "full"}, slices={"old": "age >= 60"},
            thresholds={"v1/*": 0.7}, only=("negative",), stopped=stopped,
        )  # fmt: skip
        found = run(workspace, jsonl(tmp_path / f"{number}.jsonl", rows), batch_rows=5)
        answers = {row["row"]: row for row in frame(found.out).iter_rows(named=True)}
        rejects = {row["row"]: row for row in frame(found.rejects).iter_rows(named=True)}
        for at, row in enumerate(rows, 1):
            status, body = rig.decide(row)
            if row.get("age") == [1]:  # told by the shape of the request already
                assert status == 422 and rejects[at]["field"] == "x.age"
            elif status == 422:
                assert (rejects[at]["reason"], rejects[at]["field"]) == (
                    body["error"]["message"],
                    body["error"]["field"],
                )
            elif at in rejects:
                assert row["age"] == 13 and "raised ValueError: thirteen" in rejects[at]["reason"]
            elif status == 202:
                assert (answers[at]["decided_by"], answers[at]["decision"]) == ("person", None)
            else:
                said = answers[at]
                assert (said["decision"], said["decided_by"]) == (body["decision"], body["decided_by"])
                if body["decided_by"] == "model":
                    assert said["confidence"] == pytest.approx(body["confidence"], abs=1e-6)
    finally:
        rig.close()


@pytest.mark.usefixtures("bundle")
def test_every_poison_row_is_found_and_no_other_is_lost(workspace: Workspace, tmp_path: Path) -> None:
    ages = [13.0 if n % 3 == 0 else 20.0 for n in range(900)]
    pl.DataFrame({"age": ages}).write_parquet(tmp_path / "rows.parquet")
    found = run(workspace, tmp_path / "rows.parquet")
    assert (found.predicted, found.rejected) == (600, 300)
    reasons = frame(found.rejects)["reason"]
    assert all("features in model.py" in one and "thirteen" in one for one in reasons)


@pytest.mark.usefixtures("bundle")
def test_ids_and_columns_beside_the_contract(workspace: Workspace, tmp_path: Path) -> None:
    rows = pl.DataFrame({"case": [7, 8, None], "age": [1.0, -1.0, 3.0], "result": ["negative"] * 3, "day": [1, 2, 3]})
    path = tmp_path / "rows.parquet"
    rows.write_parquet(path)
    with pytest.raises(ContractError, match=r"rows\.parquet: not in the contract: column 'case', 'day'"):
        run(workspace, path)
    found = run(workspace, path, id="case", ignore=("day",))
    assert frame(found.out)["id"].to_list() == ["7", None] and frame(found.rejects)["id"].to_list() == ["8"]
    with pytest.raises(UsageError, match=r"there is no column 'cas' \(--id\)"):
        run(workspace, path, id="cas", ignore=("day", "case"), fresh=True)
    lines = jsonl(tmp_path / "rows.jsonl", rows.to_dicts())
    again = run(workspace, lines, out=tmp_path / "two.csv", id="case", ignore=("day",))
    assert again.predicted == 2 and frame(again.rejects)["id"].to_list() == ["8"]


@pytest.mark.usefixtures("bundle")
def test_what_cannot_be_read_costs_that_row_or_one_sentence(workspace: Workspace, tmp_path: Path) -> None:
    torn = tmp_path / "torn.csv"
    torn.write_bytes(b'age,note\n20,a\n21\n22,\xff\n23,"open\n24,"two\nlines"\n25,b')
    found = run(workspace, torn, batch_rows=2)
    rejects = frame(found.rejects)
    assert frame(found.out)["row"].to_list() == [1, 5, 6] and rejects["row"].to_list() == [2, 3, 4]
    assert rejects["reason"][0] == "line 3: expected 2 values, found 1" and rejects["came"][0] == "21"
    bad = tmp_path / "bad.jsonl"
    bad.write_bytes(b'\xef\xbb\xbf{"age": 1}\n\n{"age": \n[1]\n"x"\n{"age": 2}')
    found = run(workspace, bad, batch_rows=1)
    reasons = frame(found.rejects)["reason"].to_list()
    assert found.predicted == 2 and reasons[0].startswith("line 3: not JSON")
    assert reasons[1] == "x: expected an object with the fields of the contract, found a list of 1"
    for name, content, said in (
        ("empty.csv", b"", "the file is empty"),
        ("blank.csv", b"\n\n", "the file is empty"),
        ("wide.csv", b"age,age\n", "names 'age' twice"),
        ("utf16.csv", "age\n1\n".encode("utf-16"), "found UTF-16"),
        ("no.parquet", b"PAR1 no", "not a readable Parquet file"),
        ("no.tar", b"no", "the contract has none"),
        ("no.txt", b"no", "expected one of .csv"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(UsageError, match=said):
            run(workspace, tmp_path / name)
        assert not (tmp_path / f".{Path(name).stem}.predictions.parquet.progress").exists()
    with pytest.raises(NotFound):
        run(workspace, tmp_path / "nowhere.csv")


@pytest.mark.usefixtures("bundle")
def test_a_header_alone_one_row_and_missing_columns(workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / "none.csv").write_text("age,cough\n")
    found = run(workspace, tmp_path / "none.csv")
    assert (found.read, frame(found.out).columns[:3]) == (0, ["file", "row", "prediction"])
    (tmp_path / "one.csv").write_text("age\n90")
    found = run(workspace, tmp_path / "one.csv")
    assert frame(found.out)["prediction"].to_list() == ["positive"]
    (tmp_path / "less.csv").write_text("agee,cough\n1,true\n")
    with pytest.raises(
        ContractError, match="there is no column 'age', which the contract requires; did you mean 'agee'"
    ):
        run(workspace, tmp_path / "less.csv")


def test_which_model_answers(workspace: Workspace, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "rows.jsonl", [{"age": 40}])
    with pytest.raises(NotFound, match="nothing is live"):
        run(workspace, path)
    first, second = make_bundle(workspace.home), make_bundle(workspace.home, turn=20)
    publish(workspace, first)
    workspace.records.put("release", "v2", {"version": "v2", "bundle": second, "run": "r2", "dataset": "", "contract": "", "verdict": ""})  # fmt: skip
    live = run(workspace, path)
    assert (live.version, live.bundle, live.predictions) == ("v1", first, {"negative": 1})
    other = run(workspace, path, release="v2", out=tmp_path / "two.csv")
    assert (other.version, other.bundle, other.predictions) == ("v2", second, {"positive": 1})
    with pytest.raises(NotFound):
        run(workspace, path, release="v7", out=tmp_path / "three.csv")
    model = bundle_path(workspace.home, first) / "model.pkl"
    model.write_bytes(model.read_bytes()[:-1] + b"?")
    with pytest.raises(Corrupt, match="has changed"):
        run(workspace, path, out=tmp_path / "four.csv")


@pytest.mark.usefixtures("bundle")
def test_the_live_release_is_known_without_the_database(workspace: Workspace, tmp_path: Path) -> None:
    workspace.close()
    for path in workspace.home.glob("*.db*"):
        path.unlink()
    path = jsonl(tmp_path / "rows.jsonl", [{"age": 40}])
    opened = Workspace.open(workspace.home)
    assert run(opened, path).version == "v1"
    assert not list(workspace.home.glob("*.db"))
    opened.close()


@pytest.mark.usefixtures("bundle")
def test_what_is_redacted_is_written_nowhere(workspace: Workspace, tmp_path: Path) -> None:
    secret = "Ann Smith"
    config = msgspec.structs.replace(CONFIG, redact=("note",))
    rows = [
        {"age": 13, "note": secret},  # breaks the model, whose words repeat it
        {"age": -1, "note": secret},
        {"age": 1, "note": [secret]},
        {"age": 1, "note": secret, "noet": secret},
        secret,
        {"age": 1, "note": secret},
    ]
    path = jsonl(tmp_path / "rows.jsonl", rows)
    with path.open("ab") as file:
        file.write(f'{{"age": 1, "note": "{secret}\n'.encode())
    lines = run(workspace, path, config=config, out=tmp_path / "a.csv")
    table = pl.DataFrame({"age": [13.0, -1.0], "note": [secret * 2000, secret * 2000]})
    table.write_csv(tmp_path / "rows.csv")
    texts = run(workspace, tmp_path / "rows.csv", config=config, out=tmp_path / "b.csv")
    assert (lines.read, lines.predicted, texts.rejected) == (7, 1, 2)
    for written in (lines.out, lines.rejects, texts.out, texts.rejects):
        assert "Smith" not in Path(written).read_text()
    reasons = frame(lines.rejects)["reason"].to_list()
    assert reasons[0].endswith("raised ValueError; its words are not kept (privacy.redact)")
    assert reasons[2].endswith("or null, found a value that is not shown (privacy.redact)")
    with pytest.raises(UsageError, match=r"--id note: it is in privacy\.redact"):
        run(workspace, tmp_path / "rows.csv", config=config, id="note")


def test_it_does_not_go_on_with_something_else(workspace: Workspace, tmp_path: Path) -> None:
    publish(workspace, make_bundle(workspace.home))
    path = jsonl(tmp_path / "rows.jsonl", [{"age": 40}, {"age": 41}])
    done = run(workspace, path)
    again = run(workspace, path)
    assert (again.resumed, again.output_hash, again.rows_per_second) == (2, done.output_hash, 0)
    with pytest.raises(
        Conflict, match="it was begun with --batch-rows 16384, now it is 7; it does not go on; `--fresh`"
    ):
        run(workspace, path, batch_rows=7)
    publish(workspace, make_bundle(workspace.home), levels={"*": "human"})
    with pytest.raises(Conflict, match="the route says something else of its answers"):
        run(workspace, path)
    publish(workspace, make_bundle(workspace.home, turn=20))
    with pytest.raises(Conflict, match=r"it was begun with v1 \(bundle"):
        run(workspace, path)
    jsonl(path, [{"age": 40}, {"age": 42}])
    with pytest.raises(Conflict, match=r"rows\.jsonl has changed since it was begun"):
        run(workspace, path)
    assert Path(done.out).is_file()
    fresh = run(workspace, path, fresh=True)
    assert fresh.resumed == 0 and fresh.bundle != done.bundle
    Path(fresh.out).write_text("other")
    with pytest.raises(Conflict, match="expected what was written"):
        run(workspace, path)


@pytest.mark.usefixtures("bundle")
def test_nobodys_file_is_replaced_and_two_do_not_write_one(workspace: Workspace, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "rows.jsonl", [{"age": 40}])
    (tmp_path / "mine.csv").write_text("mine")
    with pytest.raises(Conflict, match="exists already"):
        run(workspace, path, out=tmp_path / "mine.csv")
    assert (tmp_path / "mine.csv").read_text() == "mine"
    held = Progress(tmp_path / "held.csv", tmp_path / "held.jsonl", disk=None)  # type: ignore[arg-type]
    with pytest.raises(Conflict, match="another `andon predict` is writing it"):
        run(workspace, path, out=tmp_path / "held.csv")
    held.close()
    run(workspace, path, out=tmp_path / "held.csv")
    for wish in (Wish((path,), out=path), Wish((path,), out=tmp_path / "x.txt"), Wish((path, path)),
                 Wish((path,), out=tmp_path / "a.csv", rejects=tmp_path / "a.csv"),
                 Wish((path,), out=tmp_path), Wish((tmp_path,), out=tmp_path / "a.csv")):  # fmt: skip
        with pytest.raises(UsageError):
            predict(workspace, CONFIG, wish)


PHOTO = (Field("photo", "image"), Field("site", "category", optional=True))
LOOK = b"""
import numpy as np
def features(x: dict[str, np.ndarray]) -> np.ndarray:
    return np.array([[len(one), 0.0] for one in x["photo"]])
"""


def picture(value: int) -> bytes:
    out = io.BytesIO()
    Image.new("L", (4, 4), value).save(out, "PNG")
    return out.getvalue()


def test_images_of_a_folder_and_an_archive(workspace: Workspace, tmp_path: Path) -> None:
    publish(workspace, make_bundle(workspace.home, LOOK, PHOTO))
    files = {f"{n:02d}.png": picture(n) for n in range(40)} | {"40.png": picture(1)[:30], "deep/41.png": picture(3)}
    folder = tmp_path / "photos"
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    with tarfile.open(tmp_path / "photos.tar", "w") as archive:
        archive.add(folder, "photos")
    (tmp_path / "photos.tar.gz").write_bytes(gzip.compress((tmp_path / "photos.tar").read_bytes()))
    alone = run(workspace, folder, out=tmp_path / "a.csv", id="file")
    assert (alone.read, alone.predicted) == (42, 41)
    (bad,) = frame(alone.rejects).iter_rows(named=True)
    assert (bad["id"], bad["field"]) == ("40.png", "x.photo") and "do not decode" in bad["reason"]
    assert (
        bad["came"] == '{"file": "40.png", "photo": "<30 bytes>"}' or json.loads(bad["came"])["photo"] == "<30 bytes>"
    )
    for name in ("photos.tar", "photos.tar.gz"):
        packed = run(workspace, tmp_path / name, out=tmp_path / f"{name}.csv", id="file", batch_rows=7)
        assert (packed.read, packed.predicted) == (42, 41)
    (tmp_path / "names.csv").write_text("filename,site\ndeep/41.png,a\n../x.png,b\n00.png,\nno.png,c\n")
    for place in (folder, tmp_path / "photos.tar"):
        named = run(workspace, place, tmp_path / "names.csv", out=tmp_path / f"{place.name}-named.csv")
        assert frame(named.out)["row"].to_list() == [1, 3]
        assert frame(named.rejects)["reason"].to_list() == [
            "file '../x.png': the name leads outside the folder or archive",
            "file 'no.png': there is no such file",
        ]
    with pytest.raises(UsageError, match="a compressed archive does not allow"):
        run(workspace, tmp_path / "photos.tar.gz", tmp_path / "names.csv", out=tmp_path / "c.csv")
    cut = (tmp_path / "photos.tar").read_bytes()[:9000]
    (tmp_path / "cut.tar").write_bytes(cut)
    with pytest.raises(AndonError, match="cannot be read to its end"):
        run(workspace, tmp_path / "cut.tar")


@pytest.mark.usefixtures("bundle")
def test_several_files_are_one_batch(workspace: Workspace, tmp_path: Path) -> None:
    rows = cases(100)
    rows[:50].write_csv(tmp_path / "a.csv")
    rows[50:].write_parquet(tmp_path / "b.parquet")
    found = run(workspace, tmp_path / "a.csv", tmp_path / "b.parquet", batch_rows=9)
    answers = pl.concat([frame(found.out).select("file", "row"), frame(found.rejects).select("file", "row")])
    assert answers.n_unique() == 100 == found.read
    assert len(found.files) == 2
