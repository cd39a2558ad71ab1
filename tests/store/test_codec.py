"""Payloads come back as they were written, from every release, and damage is told apart from absence."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.core.record import Decision, Feedback, Field, Prediction, Review, Scalar
from andon.errors import Corrupt, UsageError
from andon.store.codec import (
    DecisionBatch,
    DecisionRow,
    Loss,
    decisions_frame,
    decode_decisions,
    decode_feedback,
    decode_losses,
    decode_predictions,
    decode_reviews,
    encode_decisions,
    encode_feedback,
    encode_losses,
    encode_predictions,
    encode_reviews,
    row_of,
)
from andon.store.codecframe import _scores, decision_schema
from andon.store.wal import Frame, FrameKind, WalWriter, fetch, read_stream, server_id

GOLDEN = Path(__file__).parent / "golden"

FIELDS = (
    Field("cough", "bool", optional=True),
    Field("age", "int"),
    Field("fever", "float", optional=True),
    Field("place", "category", categories=("home", "abroad")),
    Field("note", "text", optional=True),
    Field("scan", "image", optional=True),
)
VALUES: dict[str, st.SearchStrategy[Scalar]] = {
    "bool": st.booleans() | st.none(),
    "int": st.integers(-(2**53), 2**53) | st.none(),
    "float": st.floats(allow_nan=False) | st.none(),
    "category": st.text(max_size=8) | st.none(),
    "text": st.text(max_size=30) | st.none(),
    "image": st.text("abcABC+/=", max_size=30) | st.none(),
}
names = st.none() | st.text(min_size=1, max_size=12)
micro = st.integers(-(2**62), 2**62)
unit = st.floats(0, 1)
rows = st.builds(
    DecisionRow,
    id=names,
    time_us=micro,
    wall_us=micro,
    epoch=st.integers(0, 2**40),
    status=st.sampled_from(["pending", "decided"]),
    decision=names,
    decided_by=st.sampled_from(["model", "person", "safe_default", "client", "nobody"]),
    level=st.sampled_from(["human", "shadow", "assist", "partial", "full"]),
    slice=st.text(min_size=1, max_size=5),
    unit=st.text("0123456789abcdef", max_size=8),
    sticky=st.booleans(),
    version=names,
    arm=st.sampled_from(["live", "candidate", "none"]),
    probability=unit,
    confidence=st.none() | unit,
    scores=st.none() | st.lists(unit, max_size=3),
    suggestion=names,
    human=names,
    audit=unit,
    latency_us=st.integers(0, 2**40),
    tags=st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=2),
    error=names,
)
fields_ = st.lists(st.sampled_from(FIELDS), unique=True, max_size=len(FIELDS)).map(tuple)


def frame_of(payload: bytes, count: int, kind: FrameKind = FrameKind.DECISION, first: int = 0) -> Frame:
    end = len(payload)
    return Frame("w0", kind, 0, end, bytes(8), 3, first, count, 5, payload, "00c0ffee")


def batch_of(fields: tuple[Field, ...], values: list[list[Scalar]], cells: list[DecisionRow]) -> DecisionBatch:
    batch = DecisionBatch.empty(fields)
    for value, row in zip(values, cells, strict=True):
        batch.append_row(value, row)
    return batch


@settings(max_examples=150, deadline=None)
@given(data=st.data(), fields=fields_, cells=st.lists(rows, max_size=5), first=st.integers(0, 2**50))
def test_decisions_come_back_as_written(
    data: st.DataObject, fields: tuple[Field, ...], cells: list[DecisionRow], first: int
) -> None:
    values = [[data.draw(VALUES[field.kind]) for field in fields] for _ in cells]
    batch = batch_of(fields, values, cells)
    frame = frame_of(encode_decisions(fields, batch), len(batch), first=first)
    decisions = decode_decisions(fields, frame)
    expected = []
    for i, (value, row) in enumerate(zip(values, cells, strict=True)):
        columns: dict[str, Any] = msgspec.structs.asdict(row)
        columns["id"] = row.id or server_id("w0", "00c0ffee", first + i)
        columns["scores"] = None if row.scores is None else tuple(row.scores)
        x = {field.name: cell for field, cell in zip(fields, value, strict=True)}
        expected.append(Decision(**columns, x=x, stream="w0", sequence=first + i))
    assert decisions == expected
    assert [row_of(fields, frame, i) for i in range(len(cells))] == expected
    for decision, field in ((d, f) for d in decisions for f in fields if d.x[f.name] is not None):
        kinds = {"bool": bool, "int": int, "float": float}
        assert type(decision.x[field.name]) is kinds.get(field.kind, str)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), fields=fields_, batches=st.lists(st.lists(rows, max_size=3), max_size=4))
def test_the_frame_says_the_same_as_the_records(
    data: st.DataObject, fields: tuple[Field, ...], batches: list[list[DecisionRow]]
) -> None:
    frames, first = [], 0
    for cells in batches:
        values = [[data.draw(VALUES[field.kind]) for field in fields] for _ in cells]
        payload = encode_decisions(fields, batch_of(fields, values, cells))
        frames.append(frame_of(payload, len(cells), first=first))
        first += len(cells)
    table = decisions_frame(fields, frames)
    assert table.schema == decision_schema(fields)
    records = [record for frame in frames for record in decode_decisions(fields, frame)]
    assert table.height == len(records)
    for row, record in zip(table.iter_rows(named=True), records, strict=True):
        for name, value in msgspec.structs.asdict(record).items():
            if name == "x":
                assert {field.name: row["x." + field.name] for field in fields} == value
            elif name == "tags":
                assert msgspec.json.decode(row["tags"]) == value
            else:
                assert row[name] == (list(value) if name == "scores" and value is not None else value)


def test_a_contract_without_inputs_and_a_frame_without_rows() -> None:
    batch = DecisionBatch.empty(())
    batch.append_row([], DecisionRow())
    frame = frame_of(encode_decisions((), batch), 1)
    assert decode_decisions((), frame)[0].x == {}
    assert decisions_frame((), [frame]).height == 1
    empty = frame_of(encode_decisions(FIELDS, DecisionBatch.empty(FIELDS)), 0)
    assert decode_decisions(FIELDS, empty) == []
    assert decisions_frame(FIELDS, [empty]).schema == decision_schema(FIELDS)


def test_all_null_columns_keep_their_types() -> None:
    batch = batch_of(FIELDS, [[None] * len(FIELDS)] * 2, [DecisionRow(), DecisionRow()])
    table = decisions_frame(FIELDS, [frame_of(encode_decisions(FIELDS, batch), 2)])
    assert table["x.cough"].dtype == pl.Boolean and table["x.age"].dtype == pl.Int64
    assert table["scores"].dtype == pl.List(pl.Float64) and table["human"].dtype == pl.String
    assert table.select(pl.col("^x\\..*$").null_count()).row(0) == (2,) * len(FIELDS)


def test_the_widest_integers_are_exact_at_the_edge() -> None:
    fields = (Field("n", "int"),)
    for value in (2**53, -(2**53)):
        batch = batch_of(fields, [[value]], [DecisionRow()])
        assert decode_decisions(fields, frame_of(encode_decisions(fields, batch), 1))[0].x == {"n": value}


def test_columns_of_different_length_and_wrong_types_are_refused() -> None:
    batch = batch_of((Field("a", "float"),), [[1.0]], [DecisionRow()])
    batch.id.append(None)
    with pytest.raises(UsageError, match="every column to hold 1 rows"):
        encode_decisions((Field("a", "float"),), batch)
    wrong = batch_of((Field("a", "float"),), [["one"]], [DecisionRow()])
    with pytest.raises(UsageError, match="expected numbers"):
        encode_decisions((Field("a", "float"),), wrong)
    huge = batch_of((Field("a", "int"),), [[10**400]], [DecisionRow()])
    with pytest.raises(UsageError, match="expected numbers"):
        encode_decisions((Field("a", "int"),), huge)
    short = DecisionBatch.empty(FIELDS)
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        short.append_row([1], DecisionRow())


def test_rows_out_of_range_and_wrong_kinds_are_refused() -> None:
    frame = frame_of(encode_decisions((), DecisionBatch.empty(())), 0)
    with pytest.raises(UsageError, match="row 0 of a frame"):
        row_of((), frame, 0)
    with pytest.raises(UsageError, match="expected a FEEDBACK frame, found DECISION"):
        decode_feedback(frame)


def test_the_wrong_contract_is_told() -> None:
    batch = batch_of(FIELDS, [[True, 1, 2.0, "home", None, None]], [DecisionRow()])
    frame = frame_of(encode_decisions(FIELDS, batch), 1)
    for fields in (FIELDS[:-1], FIELDS[1:], (*FIELDS, Field("more", "int"))):
        with pytest.raises(Corrupt, match="read it with the contract"):
            decode_decisions(fields, frame)
    with pytest.raises(Corrupt):
        decode_decisions(FIELDS, frame_of(frame.payload, 2))


@given(payload=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_with_a_sentence(payload: bytes) -> None:
    decoders: list[tuple[FrameKind, Any]] = [
        (FrameKind.FEEDBACK, decode_feedback),
        (FrameKind.REVIEW, decode_reviews),
        (FrameKind.SHADOW, decode_predictions),
        (FrameKind.LOSS, decode_losses),
        (FrameKind.DECISION, lambda frame: decode_decisions(FIELDS, frame)),
    ]
    for kind, decode in decoders:
        try:
            decode(frame_of(payload, 1, kind))
        except Corrupt as error:
            assert str(error).startswith("the stream w0 at offset 0")


FEEDBACK = [Feedback("a", "label", "negative"), Feedback("b", "click", True, 5, "e1"), Feedback("c", "rating", 4.5)]
REVIEWS = [
    Review("a", "negative", "person", "ann", 7, 1.5, True, "audit", True),
    Review("b", "refer", "safe_default", "-", 8),
]
PREDICTIONS = [
    Prediction("a", "v2", "negative", 0.9, (0.9, 0.1), None, 3),
    Prediction("b", "v2", None, error="timed out"),
]
LOSSES = [Loss("shadow ring full", 3)]
ROWS = [
    DecisionRow(
        id="order-1",
        time_us=1_583_884_800_000_000,
        wall_us=1_700_000_000_000_000,
        epoch=3,
        status="decided",
        decision="negative",
        decided_by="model",
        level="partial",
        slice="older",
        unit="ab12",
        sticky=False,
        version="v1",
        arm="candidate",
        probability=0.05,
        confidence=0.97,
        scores=[0.97, 0.03],
        suggestion="negative",
        human="positive",
        audit=0.02,
        latency_us=812,
        tags={"clinic": "north"},
        error="late",
    ),
    DecisionRow(time_us=5, wall_us=6, epoch=3),
]
X: list[list[Scalar]] = [[True, 41, 38.5, "abroad", "caf\u00e9", "aGk="], [None, 7, None, "home", None, None]]


def write_samples(directory: Path) -> None:
    """One frame of every kind, as this release writes them."""
    writer = WalWriter(directory, "w0")
    payload = encode_decisions(FIELDS, batch_of(FIELDS, X, ROWS))
    writer.append(FrameKind.DECISION, payload, count=2, epoch=3, contract=b"contract", time_us=5)
    writer.append(FrameKind.FEEDBACK, encode_feedback(FEEDBACK), count=3, time_us=6)
    writer.append(FrameKind.REVIEW, encode_reviews(REVIEWS), count=2, time_us=7)
    writer.append(FrameKind.SHADOW, encode_predictions(PREDICTIONS), count=2, time_us=8)
    writer.append(FrameKind.LOSS, encode_losses(LOSSES), count=1, time_us=9)
    writer.close()


def check_samples(directory: Path) -> None:
    entries = list(read_stream(directory, "w0"))
    decided, feedback, reviews, shadow, losses = [entry for entry in entries if isinstance(entry, Frame)]
    assert decode_feedback(feedback) == FEEDBACK
    assert decode_reviews(reviews) == REVIEWS
    assert decode_predictions(shadow) == PREDICTIONS
    assert decode_losses(losses) == LOSSES
    first, second = decode_decisions(FIELDS, decided)
    assert first.x == dict(zip([field.name for field in FIELDS], X[0], strict=True))
    assert (
        msgspec.structs.asdict(first).items()
        >= {
            **msgspec.structs.asdict(ROWS[0]),
            "scores": (0.97, 0.03),
            "stream": "w0",
            "sequence": 0,
        }.items()
    )
    assert second.id == server_id("w0", decided.generation, 1)
    assert (decided.epoch, decided.contract, losses.first) == (3, b"contract", 9)
    assert fetch(directory, "w0", decided.offset) == decided


def test_what_this_release_writes_reads_back(tmp_path: Path) -> None:
    write_samples(tmp_path)
    check_samples(tmp_path)


@pytest.mark.parametrize("release", sorted(path.name for path in GOLDEN.iterdir()))
def test_what_every_release_wrote_stays_readable(release: str) -> None:
    check_samples(GOLDEN / release)


def test_an_older_layout_gets_defaults_and_a_newer_one_is_read_as_far_as_known() -> None:
    fields = (Field("a", "float"),)
    batch = batch_of(fields, [[1.5]], [DecisionRow(id="old", time_us=3)])
    columns = msgspec.msgpack.decode(encode_decisions(fields, batch))
    older = frame_of(msgspec.msgpack.encode(columns[:6]), 1)
    decision = decode_decisions(fields, older)[0]
    assert (decision.id, decision.time_us, decision.status, decision.slice) == ("old", 3, "pending", "*")
    assert decisions_frame(fields, [older]).row(0, named=True)["probability"] == 1.0
    torn = frame_of(msgspec.msgpack.encode([*columns[:4], [1, 2], *columns[5:]]), 1)
    with pytest.raises(Corrupt):
        decode_decisions(fields, torn)
    newer = frame_of(msgspec.msgpack.encode([*columns, ["something new"]]), 1)
    assert decode_decisions(fields, newer) == decode_decisions(fields, frame_of(encode_decisions(fields, batch), 1))


def test_a_packed_block_has_no_surprises_for_infinities() -> None:
    fields = (Field("a", "float"),)
    batch = batch_of(fields, [[math.inf], [-0.0]], [DecisionRow(), DecisionRow()])
    first, second = decode_decisions(fields, frame_of(encode_decisions(fields, batch), 2))
    assert first.x["a"] == math.inf
    assert math.copysign(1, second.x["a"] or 0.0) == 1 or second.x["a"] == 0.0  # type: ignore[arg-type]


if __name__ == "__main__":  # writes the sample of a new release: python tests/store/test_codec.py 0.2.0
    import sys

    target = GOLDEN / sys.argv[1]
    write_samples(target)
    (target / "w0" / "lock").unlink()


@pytest.mark.parametrize(
    "cells",
    [
        [],
        [None, None],
        [[0.1, 0.9], None, [0.3, 0.7]],
        [[0.1, 0.9]],
        [[0.1], [0.2, 0.8]],
        [[], [0.1]],
        [(0.1, 0.2, 0.7)],
    ],
)
def test_a_column_of_scores_is_the_same_whatever_their_widths(cells: list[list[float] | None]) -> None:
    found = _scores(cells)
    plain = pl.Series("scores", cells, dtype=pl.List(pl.Float64()))
    assert found.name == "scores"
    assert found.dtype == plain.dtype
    assert found.equals(plain, null_equal=True)
