"""Reading: every row is either there or a reject with its number and reason; a bad file is one sentence."""

from __future__ import annotations

import csv
import io
import os
import tarfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from andon.data import delimited
from andon.data.album import safe_name
from andon.data.image import IMAGE_BYTES_MAX, image_fault, image_stats
from andon.data.source import as_polars, from_frame, read
from andon.errors import AndonError, ContractError, NotFound, UsageError


def jpeg(grey: int = 100, size: tuple[int, int] = (16, 16)) -> bytes:
    out = io.BytesIO()
    Image.new("L", size, grey).save(out, "JPEG")
    return out.getvalue()


def test_csv_parquet_and_jsonl_hold_the_same_rows(tmp_path: Path) -> None:
    frame = pl.DataFrame({"n": [1, 2], "t": ["a", "é,x"], "y": [True, False]})
    frame.write_csv(tmp_path / "f.csv")
    frame.write_parquet(tmp_path / "f.parquet")
    frame.write_ndjson(tmp_path / "f.jsonl")
    assert read(tmp_path / "f.csv").frame.rows() == [("1", "a", "true"), ("2", "é,x", "false")]
    for name in ("f.parquet", "f.jsonl"):
        raw = read(tmp_path / name)
        assert raw.frame.rows() == frame.rows()
        assert raw.rows.to_list() == [1, 2]
        assert raw.origin.bytes == (tmp_path / name).stat().st_size


@pytest.mark.parametrize(
    ("text", "rows", "rejects"),
    [
        (b"a,b\n1,2\n3\n4,5,6\n7,8\n", [("1", "2"), ("7", "8")], ["line 3: expected 2 values, found 1", "line 4: expected 2 values, found 3"]),
        (b"a,b\n1,\xff\n3,4\n", [("3", "4")], ["line 2: not UTF-8 (byte 0xff)"]),
        (b'a,b\n1,"x\n3,4\n', [("3", "4")], ["line 2: a quote that does not close"]),
        (b'a,b\n1,"x\n3,4"\n5,6\n', [("1", "x\n3,4"), ("5", "6")], []),
        (b'a,b\n"x\n3,4\n5",6,7\n8,9\n', [("3", "4"), ("8", "9")], ["line 2: expected 2 values, found 3", "line 4: expected 2 values, found 3"]),
        (b'a,b\n"x"y,2\n3,4\n', [("3", "4")], ["line 2: ',' expected after '\"'"]),
        (b"\xef\xbb\xbfa,b\r\n1,\r\n\r\n,2\r\n", [("1", None), (None, "2")], []),
        (b"a;b\n1,5;2\n", [("1,5", "2")], []),
        (b'a,b\n1,"' + b"x" * 140_000 + b'"\n3,4\n', [("3", "4")], ["line 2: a quote that does not close"]),
        (b"a\n1\n\n2", [("1",), ("2",)], []),
    ],
)  # fmt: skip
def test_a_csv_row_that_cannot_be_read_costs_that_row_alone(
    tmp_path: Path, text: bytes, rows: list[tuple[str, ...]], rejects: list[str]
) -> None:
    (tmp_path / "f.csv").write_bytes(text)
    if len(text) > 140_000:  # polars reads it, the limit belongs to the careful path
        frame, _, bad = delimited._careful(text, ["a", "b"], ",")
    else:
        raw = read(tmp_path / "f.csv")
        frame, bad = raw.frame, raw.rejects
        assert raw.total == len(rows) + len(rejects)
    assert frame.rows() == rows
    assert bad["reason"].to_list() == rejects


piece = st.sampled_from(
    ["a", "bc", ",", '"', '""', "\n", "\r\n", "\r", " ", "é", ";", '"x,y"', '"p\nq"', "1,2\n", '"1","2"\n']
)


@settings(max_examples=500, deadline=None)
@given(st.lists(piece, max_size=12).map("".join))
@example(body=',"x,y"""é""')
@example(body=',""a""')
def test_the_quick_csv_path_reads_what_the_careful_one_reads(body: str) -> None:
    data = ("a,b\n" + body).encode()
    quick = delimited._quick(data, ["a", "b"], ",")
    if quick is not None:
        frame, _, rejects = delimited._careful(data, ["a", "b"], ",")
        assert rejects.is_empty()
        assert quick.rows() == frame.rows()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.lists(
            st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\0"), max_size=5),
            min_size=2,
            max_size=2,
        )
    )
)
def test_what_csv_writes_is_read_back(rows: list[list[str]]) -> None:
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows([["a", "b"], *rows])
    frame, numbers, rejects = delimited.parse_csv(out.getvalue().encode(), "f.csv")
    assert rejects.is_empty()
    assert frame.rows() == [tuple(value or None for value in row) for row in rows]
    assert numbers.to_list() == list(range(1, len(rows) + 1))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([".csv", ".jsonl", ".parquet", ".tsv"]))
def test_any_bytes_are_rows_or_one_sentence(tmp_path_factory: pytest.TempPathFactory, data: bytes, suffix: str) -> None:
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    path.write_bytes(data)
    try:
        raw = read(path)
    except AndonError as error:
        assert path.name in error.message
        return
    assert raw.frame.height == raw.rows.len()
    assert raw.total >= 1


def test_many_stray_quotes_are_still_one_pass_per_record(tmp_path: Path) -> None:
    lines = ["a,b"] + [f'{i},"{i}' if i % 50 == 0 else f"{i},{i}" for i in range(1_000)]
    (tmp_path / "f.csv").write_text("\n".join(lines))
    raw = read(tmp_path / "f.csv")
    assert raw.total + raw.frame.filter(pl.col("b").str.contains("\n")).height >= 900


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("f.csv", b"", "f.csv: the file is empty"),
        ("f.csv", b"\n\n", "f.csv: the file is empty; expected a header line"),
        ("f.csv", b"a,b\n", "f.csv: there are no rows"),
        ("f.csv", b"a,a\n1,2\n", "names 'a' twice"),
        ("f.csv", b"a,\n1,2\n", "leaves column 2 without a name"),
        ("f.csv", b"\xe4,b\n1,2\n", "header line is not UTF-8"),
        ("f.csv", "a,b\n1,2\n".encode("utf-16"), "found UTF-16"),
        ("f.parquet", b"PAR1 no", "f.parquet: this is not a readable Parquet file"),
        ("f.jsonl", b"[1]\n", "no line is a JSON object; the first fault: line 1: expected an object"),
        ("f.xlsx", b"x", "expected one of .csv, .tsv"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UsageError, match=message):
        read(tmp_path / name)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no such file"):
        read(tmp_path / "f.csv")


def test_jsonl_lines_keep_their_types_and_faults(tmp_path: Path) -> None:
    lines = [
        b'{"a": 1, "b": "x"}',
        b"",
        b"{oops",
        b'{"a": [1]}',
        b'{"a": 123456789012345678901234567890}',
        b'{"a": true}',
        b"\xff",
        b"{}",
        b"[" * 5000,
    ]
    (tmp_path / "f.jsonl").write_bytes(b"\n".join(lines))
    raw = read(tmp_path / "f.jsonl")
    assert raw.frame.rows() == [("1", "x"), ("true", None)]
    assert raw.rows.to_list() == [1, 5]
    assert raw.rejects["row"].to_list() == [2, 3, 4, 6, 7, 8]
    assert raw.rejects["reason"][1] == "line 4: 'a': expected a single value, found a list of 1"
    assert raw.total == 8


def test_words_for_missing_become_null(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("a,b\nNone,1\n2,NA\n")
    assert read(tmp_path / "f.csv", nulls=("None", "NA")).frame.rows() == [(None, "1"), ("2", None)]


def test_frames_of_polars_and_pandas_are_sources() -> None:
    class Pandas:
        columns = ("a",)

        def to_dict(self, orient: str) -> dict[str, list[float]]:
            return {"a": [1.0, float("nan")]}

    assert as_polars(Pandas())["a"].to_list() == [1.0, None]
    assert from_frame(pl.LazyFrame({"a": [1]})).frame.height == 1
    with pytest.raises(UsageError, match="found list"):
        as_polars([1])


# -- images ---------------------------------------------------------------------------------------------------------


def add(archive: tarfile.TarFile, name: str, data: bytes, kind: bytes = tarfile.REGTYPE, link: str = "") -> None:
    member = tarfile.TarInfo(name)
    member.size, member.type, member.linkname = len(data), kind, link
    archive.addfile(member, io.BytesIO(data))


def test_a_tar_of_images_and_its_meta_data(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "images.tar", "w") as archive:
        add(archive, "images/a/1.jpg", jpeg(10))
        add(archive, "images/a/2.jpg", jpeg(20))
        add(archive, "images/stranger.jpg", jpeg())
        add(archive, "../evil.jpg", jpeg())
        add(archive, "/etc/evil.jpg", jpeg())
        add(archive, "images/link.jpg", b"", tarfile.SYMTYPE, "/etc/passwd")
        add(archive, "images/device.jpg", b"", tarfile.CHRTYPE)
        add(archive, "images/a/1.jpg", jpeg(99))
    (tmp_path / "images.csv").write_text("file,type\na/1.jpg,p\na/2.jpg,q\nlink.jpg,p\nnone.jpg,p\n../evil.jpg,q\n,q\n")
    raw = read(tmp_path / "images.tar", meta=tmp_path / "images.csv")
    assert raw.frame["file"].to_list() == ["a/1.jpg", "a/2.jpg"]
    assert raw.frame["image"].to_list() == [jpeg(10), jpeg(20)]
    assert raw.total == 6
    assert raw.origin.unlisted == 1
    said = dict(raw.rejects.filter(pl.col("row").is_not_null()).iter_rows())
    assert said == {
        3: "file 'link.jpg': a link or device, not a file",
        4: "file 'none.jpg': there is no such file",
        5: "file '../evil.jpg': the name leads outside the folder or archive",
        6: "no file is named in this row",
    }
    strangers = raw.rejects.filter(pl.col("row").is_null())["reason"].to_list()
    assert "'../evil.jpg': the name leads outside the archive" in strangers
    assert "'/etc/evil.jpg': the name leads outside the archive" in strangers
    assert any("device" in reason for reason in strangers)


def test_a_folder_of_images_is_never_left(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "1.jpg").write_bytes(jpeg())
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / "link.jpg").symlink_to(tmp_path / "secret")
    (folder / "big.jpg").touch()
    os.truncate(folder / "big.jpg", IMAGE_BYTES_MAX + 1)
    (tmp_path / "m.csv").write_text("file,y\n1.jpg,a\nlink.jpg,b\nbig.jpg,a\n../secret,b\n")
    raw = read(folder, meta=tmp_path / "m.csv")
    assert raw.frame.height == 1
    reasons = raw.rejects["reason"].to_list()
    assert reasons[0] == "file 'link.jpg': a link that leads outside the folder"
    assert reasons[1].endswith(f"found {IMAGE_BYTES_MAX + 1} bytes")
    assert "leads outside" in reasons[2]


@pytest.mark.parametrize("cut", [100, 600, 1500])
def test_a_damaged_archive_is_refused_whole(tmp_path: Path, cut: int) -> None:
    with tarfile.open(tmp_path / "i.tar", "w") as archive:
        add(archive, "1.jpg", jpeg(size=(200, 200)) + b"\0" * 2000)
    (tmp_path / "i.tar").write_bytes((tmp_path / "i.tar").read_bytes()[:cut])
    (tmp_path / "m.csv").write_text("file,y\n1.jpg,a\n")
    with pytest.raises(UsageError, match=r"i\.tar: the archive cannot be read to its end"):
        read(tmp_path / "i.tar", meta=tmp_path / "m.csv")


def test_images_need_their_meta_data(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="images need a CSV"):
        read(tmp_path)
    (tmp_path / "m.csv").write_text("who,y\n1.jpg,a\n")
    with pytest.raises(UsageError, match="no column of its meta-data names the files"):
        read(tmp_path, meta=tmp_path / "m.csv")


@given(st.text())
def test_a_safe_name_stays_inside(name: str) -> None:
    plain = safe_name(name)
    if plain is not None:
        assert os.path.normpath(f"/somewhere/x/{plain}").startswith("/somewhere/x")


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]),
    st.integers(0, 10**6),
    st.binary(max_size=8),
    st.booleans(),
)
def test_a_damaged_image_is_a_sentence(kind: str, where: int, junk: bytes, cut: bool) -> None:
    out = io.BytesIO()
    Image.effect_noise((9, 7), 50).convert("RGB").save(out, kind)
    data = out.getvalue()
    where %= len(data)
    damaged = data[:where] if cut else data[:where] + junk + data[where + len(junk) :]
    said = image_fault(damaged)
    assert said is None or said.startswith("expected an image")


def test_image_measures() -> None:
    stats = image_stats(jpeg(51))
    assert stats["brightness"] == pytest.approx(0.2, abs=0.01)
    assert stats["contrast"] == pytest.approx(0.0, abs=0.01)
    with pytest.raises(ContractError, match="no known format"):
        image_stats(b"no image at all")
    with pytest.raises(ContractError, match="at most"):
        image_stats(b"\0" * (IMAGE_BYTES_MAX + 1))
