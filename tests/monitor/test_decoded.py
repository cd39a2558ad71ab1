"""Decoding once: whatever the portions, the rows are those of decoding at once."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from andon.core.record import Feedback, Field
from andon.errors import Corrupt
from andon.monitor import decoded as decoded_module
from andon.monitor.decoded import Decoded
from andon.store.codec import DecisionBatch, DecisionRow, encode_decisions, encode_feedback
from andon.store.frame import Frame, FrameKind
from andon.store.reader import read_stream
from andon.store.shape import rows_of
from andon.store.writer import WalWriter

FIELDS = (Field("age", "int"),)
TABLE = "decisions/" + bytes(8).hex()


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[Frame]:
    folder = tmp_path_factory.mktemp("wal")
    writer = WalWriter(folder, "w0")
    for n in range(12):
        batch = DecisionBatch.empty(FIELDS)
        for i in range(n % 3 + 1):
            batch.append_row([i], DecisionRow(time_us=n))
        writer.append(FrameKind.DECISION, encode_decisions(FIELDS, batch), count=len(batch), time_us=n)
    writer.close()
    return [entry for entry in read_stream(folder, "w0") if isinstance(entry, Frame)]


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=8), st.integers(0, 12))
@settings(max_examples=80, deadline=None)
def test_in_any_portions_the_rows_are_the_same(
    frames: list[Frame], portions: list[tuple[int, int]], forget: int
) -> None:
    kept = Decoded()
    for number, (begin, end) in enumerate(portions):
        part = frames[min(begin, end) : max(begin, end)]
        assert_frame_equal(kept.rows(TABLE, part, FIELDS), rows_of(TABLE, part, FIELDS))
        if number == forget:
            kept.forget("w0", frames[forget % 12].end)


def test_what_was_decoded_is_not_decoded_again(frames: list[Frame], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def told(table: str, part: list[Frame], *rest: object) -> object:
        asked.append(len(part))
        return rows_of(table, part, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(decoded_module, "rows_of", told)
    kept = Decoded()
    kept.rows(TABLE, frames[:5], FIELDS)
    kept.rows(TABLE, frames[5:8], FIELDS)
    kept.rows(TABLE, frames[:10], FIELDS)
    kept.rows(TABLE, frames, FIELDS)
    kept.forget("w0", frames[7].end)
    kept.forget("w1", frames[-1].end)
    kept.rows(TABLE, frames[8:], FIELDS)
    kept.rows(TABLE, frames[:2], FIELDS)
    assert asked == [5, 3, 2, 2, 2]


def test_other_tables_pass_through_and_damage_is_not_kept(tmp_path: Path) -> None:
    writer = WalWriter(tmp_path, "w0")
    feedback = writer.append(FrameKind.FEEDBACK, encode_feedback([Feedback("a", "redo")]), count=1, time_us=0)
    bad = writer.append(FrameKind.DECISION, b"\xc1", count=1, time_us=0)
    writer.close()
    kept = Decoded()
    assert kept.rows("feedback", [feedback])["id"].to_list() == ["a"]
    for _ in range(2):
        with pytest.raises(Corrupt):
            kept.rows(TABLE, [bad], FIELDS)
