from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from andon.core.clock import parse_time
from andon.errors import NotFound, UsageError
from andon.monitor.feedback import BATCH, read_feedback, record_feedback
from andon.store.codec import decode_feedback
from andon.store.frame import Frame, FrameKind
from andon.store.reader import StreamReader
from andon.store.workspace import Workspace

CLASSES = ("negative", "positive")


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    made = Workspace.create(tmp_path / "home")
    yield made
    made.close()


def file(tmp_path: Path, text: str, name: str = "labels.csv") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_file_means_what_the_gateway_s_call_means(tmp_path: Path) -> None:
    found = read_feedback(
        file(tmp_path, "id,kind,value,time,event\na1,label,positive,2020-03-11T09:00:00Z,e1\na2,redo,,,\n"), CLASSES
    )
    first, second = found.rows
    assert (first.id, first.kind, first.value, first.event) == ("a1", "label", "positive", "e1")
    assert first.time_us == parse_time("2020-03-11T09:00:00") and second.time_us is None
    assert (second.kind, second.value) == ("redo", None) and found.rejects == ()


def test_other_names_and_one_kind_for_all(tmp_path: Path) -> None:
    path = file(tmp_path, "case,result\n17,negative\n")
    found = read_feedback(path, CLASSES, kind="label", columns={"id": "case", "value": "result"})
    assert [(row.id, row.value) for row in found.rows] == [("17", "negative")]


def test_bad_rows_fail_alone_and_are_named(tmp_path: Path) -> None:
    text = "id,kind,value,time\na1,label,positve,\na2,label,negative,\n,label,negative,\na3,label,negative,noon\na4,label\n"
    found = read_feedback(file(tmp_path, text), CLASSES)
    assert [row.id for row in found.rows] == ["a2"]
    assert [row for row, _ in found.rejects] == [1, 3, 4, 5]
    assert "did you mean 'positive'" in found.rejects[0][1] and "time" in found.rejects[2][1]


def test_classes_that_look_like_numbers(tmp_path: Path) -> None:
    found = read_feedback(file(tmp_path, '{"id": 7, "kind": "label", "value": 1}\n', "labels.jsonl"), ("0", "1"))
    assert [(row.id, row.value) for row in found.rows] == [("7", "1")]


def test_parquet_with_real_times(tmp_path: Path) -> None:
    times = pl.Series(["2020-03-11T09:00:00"]).str.to_datetime(time_unit="us", time_zone="UTC")
    pl.DataFrame({"id": ["a"], "kind": ["click"], "time": times}).write_parquet(tmp_path / "f.parquet")
    assert read_feedback(tmp_path / "f.parquet", CLASSES).rows[0].time_us == parse_time("2020-03-11T09:00:00")


@pytest.mark.parametrize(
    ("text", "options", "says"),
    [
        ("case,kind\n1,redo\n", {}, "no column 'id'"),
        ("id,value\n1,redo\n", {}, "no column 'kind'"),
        ("id,value\n1,redo\n", {"kind": "label", "columns": {"value": "result"}}, "no column 'result'"),
    ],
)
def test_a_file_without_what_is_needed_is_refused(
    tmp_path: Path, text: str, options: dict[str, str], says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        read_feedback(file(tmp_path, text), CLASSES, **options)  # type: ignore[arg-type]
    with pytest.raises(NotFound):
        read_feedback(tmp_path / "nowhere.csv", CLASSES)


def test_rows_are_recorded_in_order_in_bounded_frames(tmp_path: Path, workspace: Workspace) -> None:
    text = "id,kind\n" + "".join(f"a{i},redo\n" for i in range(BATCH + 2))
    given = read_feedback(file(tmp_path, text), CLASSES)
    assert record_feedback(workspace, given.rows) == BATCH + 2
    frames = [frame for frame in StreamReader(workspace.wal_dir, "people").poll() if isinstance(frame, Frame)]
    assert [(frame.kind, frame.count) for frame in frames] == [(FrameKind.FEEDBACK, BATCH), (FrameKind.FEEDBACK, 2)]
    assert [row.id for frame in frames for row in decode_feedback(frame)] == [f"a{i}" for i in range(BATCH + 2)]
    assert record_feedback(workspace, []) == 0
