"""Reading in chunks tells the same as reading at once, from the beginning and from any mark."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from andon.data import stream_lines
from andon.data.delimited import parse_csv
from andon.data.jsonlines import parse_jsonl
from andon.data.stream import Chunk, Mark, open_stream
from andon.errors import Corrupt

NUMBERS = count()
CELL = st.sampled_from(
    ["1", "", "a b", '"q"', '"two\nlines"', '"d""d"', '"open', "é", "\udcff", 'x"y', '"a,b"', " ", "\r"]
)
LINE: st.SearchStrategy[list[str]] = st.one_of(
    st.lists(CELL, min_size=2, max_size=2), st.lists(CELL, min_size=1, max_size=4), st.just([])
)


def told(chunks: list[Chunk]) -> list[tuple[int, object]]:
    """Every row by its number: its values, or why it cannot be read."""
    rows: list[tuple[int, object]] = []
    for chunk in chunks:
        rows += [(one.row, one.reason) for one in chunk.unread]
        values = chunk.values if chunk.frame is None else chunk.frame.rows()
        rows += zip(chunk.rows.to_list(), values, strict=True)
    return sorted(rows, key=lambda row: row[0])


@given(lines=st.lists(LINE, max_size=25), size=st.integers(1, 7), end=st.sampled_from(["", "\n", "\r\n"]))
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_csv_in_chunks_is_csv_at_once(tmp_path: Path, lines: list[list[str]], size: int, end: str) -> None:
    text = "n,t\n" + "\n".join(",".join(line) for line in lines) + end
    data = text.encode("utf-8", "surrogateescape")
    path = tmp_path / f"{next(NUMBERS)}.csv"
    path.write_bytes(data)
    frame, rows, rejects = parse_csv(data, "x")
    at_once = sorted([*zip(rows.to_list(), frame.rows(), strict=True), *rejects.rows()], key=lambda row: row[0])
    chunks = list(open_stream(path).chunks(Mark(), size))
    assert told(chunks) == at_once
    assert (
        all(chunk.count <= size for chunk in chunks)
        or any("\n" in cell for line in lines for cell in line)
        or '"' in text
    )
    for at, chunk in enumerate(chunks):
        again = list(open_stream(path).chunks(chunk.after, size))
        assert told(again) == told(chunks[at + 1 :])
        assert [one.after for one in again] == [one.after for one in chunks[at + 1 :]]


@given(
    lines=st.lists(st.sampled_from(['{"a": 1}', '{"a": "x", "b": null}', "", "  ", '{"a": ', '{"a": 1}\r', "\udcff"]), max_size=20),
    size=st.integers(1, 5),
    end=st.sampled_from(["", "\n"]),
)  # fmt: skip
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_json_lines_in_chunks_are_json_lines_at_once(tmp_path: Path, lines: list[str], size: int, end: str) -> None:
    data = ("\n".join([*lines, '{"a": 2}']) + end).encode("utf-8", "surrogateescape")
    path = tmp_path / f"{next(NUMBERS)}.jsonl"
    path.write_bytes(data)
    _, rows, rejects = parse_jsonl(data, "x")
    chunks = list(open_stream(path).chunks(Mark(), size))
    assert [number for chunk in chunks for number in chunk.rows.to_list()] == rows.to_list()
    assert [(one.row, one.reason) for chunk in chunks for one in chunk.unread] == rejects.rows()
    for at, chunk in enumerate(chunks):
        assert told(list(open_stream(path).chunks(chunk.after, size))) == told(chunks[at + 1 :])


def test_a_line_longer_than_can_be_held_costs_that_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_lines, "BLOCK_MAX", 1 << 20)
    long = b"x" * (3 << 20)
    for name, first, line in (("a.csv", b"n,t\n", b"1,b\n"), ("a.jsonl", b"", b'{"n": 1}\n')):
        path = tmp_path / name
        path.write_bytes(first + line + long + b"\n" + line)
        rows = told(list(open_stream(path).chunks(Mark(), 10)))
        assert [number for number, _ in rows] == [1, 2, 3]
        number = 2 + first.count(b"\n")
        assert rows[1][1] == f"line {number}: expected at most {1 << 20} bytes"


def test_a_quote_that_never_closes_costs_that_row_however_long_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b'n,t\n1,"open\n' + b"2,b\n" * 100_000)
    chunks = list(open_stream(path).chunks(Mark(), 1000))
    assert sum(chunk.rows.len() for chunk in chunks) == 100_000
    assert [one.reason for chunk in chunks for one in chunk.unread] == ["line 2: a quote that does not close"]


def test_a_file_that_becomes_shorter_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(msgspec.json.encode({"a": 1}) + b"\n" + b"{}\n" * 1_000_000)
    stream = open_stream(path)
    chunks = stream.chunks(Mark(), 10)
    next(chunks)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(Corrupt, match="as when reading began"):
        list(chunks)
