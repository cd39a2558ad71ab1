"""The decision log: exactly once, whatever happens in between."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from random import Random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.core.clock import DAY
from andon.core.record import Feedback, Field, Prediction, Review
from andon.errors import NotFound, Unavailable
from andon.store import log as log_module
from andon.store.codec import (
    DecisionBatch,
    DecisionRow,
    Loss,
    encode_decisions,
    encode_feedback,
    encode_losses,
    encode_predictions,
    encode_reviews,
)
from andon.store.frame import Frame, FrameKind, Gap
from andon.store.log import DecisionLog
from andon.store.shape import SYSTEM, decision_schema, stored_names, text_of
from andon.store.writer import WalWriter

FIELDS = (
    Field("cough", "bool", optional=True),
    Field("age", "int"),
    Field("temperature", "float"),
    Field("note", "text"),
)
CONTRACT = bytes(range(8))
TABLE = "decisions/" + CONTRACT.hex()
MARCH = 1_583_884_800_000_000


def contracts(hash_hex: str) -> Sequence[Field]:
    if hash_hex != CONTRACT.hex():
        raise NotFound(f"no contract has the hash {hash_hex}")
    return FIELDS


class Stream:
    """Frames one after the other, as a writer would number them."""

    def __init__(self, name: str = "w0") -> None:
        self.name, self.offset, self.sequence = name, 40, 0

    def frame(self, kind: FrameKind, payload: bytes, count: int, time_us: int = MARCH) -> Frame:
        start, first = self.offset, self.sequence
        self.offset += 56 + len(payload)
        self.sequence += count
        contract = CONTRACT if kind is FrameKind.DECISION else bytes(8)
        return Frame(self.name, kind, start, self.offset, contract, 1, first, count, time_us, payload, "00c0ffee")

    def decisions(self, n: int, time_us: int = MARCH) -> Frame:
        batch = DecisionBatch.empty(FIELDS)
        for i in range(n):
            row = DecisionRow(time_us=time_us + i, wall_us=time_us, epoch=1, status="decided", decision="negative")
            batch.append_row([None if i % 2 else True, i, 36.5, "fine"], row)
        return self.frame(FrameKind.DECISION, encode_decisions(FIELDS, batch), n, time_us)

    def feedback(self, *rows: Feedback) -> Frame:
        return self.frame(FrameKind.FEEDBACK, encode_feedback(rows), len(rows))

    def garbage(self, kind: FrameKind, count: int) -> Frame:
        return self.frame(kind, b"\xc1 no msgpack", count)


def rows(log: DecisionLog, table: str) -> pl.DataFrame:
    handle = log.open(table)
    assert handle is not None
    return pl.scan_delta(handle).collect().sort("stream", "sequence")


def test_every_kind_has_its_table_with_its_schema(tmp_path: Path) -> None:
    log, w0 = DecisionLog(tmp_path), Stream()
    said = Prediction("a1", "v2", "negative", 0.9, (0.9, 0.1))
    review = Review("a1", "positive", "person", "ann", MARCH, simulated=True)
    frames = [
        w0.decisions(3),
        w0.feedback(Feedback("a1", "label", "positive"), Feedback("a1", "stars", 4.5, MARCH + 7, "e1")),
        w0.frame(FrameKind.REVIEW, encode_reviews([review]), 1),
        w0.frame(FrameKind.SHADOW, encode_predictions([said]), 1),
        w0.frame(FrameKind.LOSS, encode_losses([Loss("shadow ring", 7)]), 1),
    ]
    assert log.ship("w0", frames, contracts) == {TABLE: 3, "feedback": 2, "reviews": 1, "shadow": 1, "losses": 1}
    assert log.tables() == [TABLE, "feedback", "losses", "reviews", "shadow"]
    decided = rows(log, TABLE)
    assert decided.schema == decision_schema(FIELDS)
    assert decided["id"].to_list() == ["w0-00c0ffee-0", "w0-00c0ffee-1", "w0-00c0ffee-2"]
    assert decided["x_cough"].to_list() == [True, None, True]
    assert decided["day"].dtype == pl.Date and str(decided["day"][0]) == "2020-03-11"
    came = rows(log, "feedback").select("value", "number", "time_us", "event").rows()
    assert came == [("positive", None, MARCH, None), ("4.5", 4.5, MARCH + 7, "e1")]
    assert rows(log, "reviews")["simulated"].to_list() == [True]
    assert rows(log, "shadow")["scores"].to_list() == [[0.9, 0.1]]
    assert rows(log, "losses").select("what", "n").rows() == [("shadow ring", 7)]


def test_a_batch_of_nulls_is_typed_like_any_other(tmp_path: Path) -> None:
    log, w0 = DecisionLog(tmp_path), Stream()
    fields = tuple(Field(f.name, f.kind, optional=True) for f in FIELDS)
    batch = DecisionBatch.empty(fields)
    batch.append_row([None, None, None, None], DecisionRow(time_us=MARCH))
    log.ship("w0", [w0.frame(FrameKind.DECISION, encode_decisions(fields, batch), 1)], lambda _: fields)
    log.ship("w0", [w0.decisions(2)], contracts)
    assert rows(log, TABLE)["x_age"].to_list() == [None, 0, 1]
    assert rows(log, TABLE).schema["scores"] == pl.List(pl.Float64)


def test_shipping_again_changes_nothing(tmp_path: Path) -> None:
    log, w0 = DecisionLog(tmp_path), Stream()
    frames = [w0.decisions(3), w0.feedback(Feedback("a", "redo")), w0.decisions(2)]
    assert log.ship("w0", frames[:2], contracts) == {TABLE: 3, "feedback": 1}
    assert log.ship("w0", frames, contracts) == {TABLE: 2, "feedback": 0}
    again = DecisionLog(tmp_path)
    assert again.ship("w0", frames, contracts) == {TABLE: 0, "feedback": 0}
    assert (again.rows(TABLE), again.rows("feedback")) == (5, 1)
    assert again.version(TABLE, "w0") == frames[2].end
    assert again.version("feedback", "w0") == frames[1].end
    assert again.version(TABLE, "w1") == again.version("shadow", "w0") == 0


def test_streams_are_counted_apart(tmp_path: Path) -> None:
    log = DecisionLog(tmp_path)
    for name in ("w0", "w1"):
        log.ship(name, [Stream(name).decisions(2)], contracts)
    assert rows(log, TABLE)["stream"].to_list() == ["w0", "w0", "w1", "w1"]


def test_of_two_shippers_of_one_stream_one_commits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second reads the version before the first commits: Delta refuses, it looks again and drops the frames."""
    frame = Stream().decisions(4)
    first, second = DecisionLog(tmp_path), DecisionLog(tmp_path)
    first.ship("w0", [], contracts)
    write, raced = vars(log_module)["write_deltalake"], list[bool]()

    def slow(*args: object, **options: object) -> None:
        if not raced:
            raced.append(True)
            assert first.ship("w0", [frame], contracts) == {TABLE: 4}
        write(*args, **options)

    monkeypatch.setattr(log_module, "write_deltalake", slow)
    assert second.ship("w0", [frame], contracts) == {TABLE: 0}
    assert raced and second.rows(TABLE) == 4


def test_shippers_of_two_streams_do_not_disturb_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = DecisionLog(tmp_path), DecisionLog(tmp_path)
    first.ship("w0", [Stream("w9").decisions(1)], contracts)
    write, raced = vars(log_module)["write_deltalake"], list[bool]()

    def slow(*args: object, **options: object) -> None:
        if not raced:
            raced.append(True)
            first.ship("w0", [Stream("w0").decisions(4)], contracts)
        write(*args, **options)

    monkeypatch.setattr(log_module, "write_deltalake", slow)
    assert second.ship("w1", [Stream("w1").decisions(3)], contracts) == {TABLE: 3}
    assert second.rows(TABLE) == 8


def test_a_gap_is_a_counted_loss(tmp_path: Path) -> None:
    log, w0 = DecisionLog(tmp_path), Stream()
    frames: list[Frame | Gap] = [
        w0.decisions(1),
        Gap("w0", w0.offset, w0.offset + 100, 12),
        Gap("w0", w0.offset + 200, w0.offset + 300, None),
    ]
    for _ in range(2):
        log.ship("w0", frames, contracts)
    assert rows(log, "losses").select("what", "n", "time_us").rows() == [("gap", 12, MARCH), ("gap", None, MARCH)]


def test_a_payload_that_cannot_be_read_is_a_counted_loss_and_stops_nothing(tmp_path: Path) -> None:
    log, w0 = DecisionLog(tmp_path), Stream()
    bad = w0.garbage(FrameKind.DECISION, 5)
    frames = [
        w0.decisions(2),
        bad,
        w0.garbage(FrameKind.FEEDBACK, 3),
        w0.feedback(Feedback("a", "redo")),
        w0.decisions(1),
    ]
    assert log.ship("w0", [frames[1], *frames[2:]], contracts)[TABLE] == 1
    log.ship("w0", frames, contracts)
    assert rows(log, "losses").select("what", "n").rows() == [("gap", 5), ("gap", 3)]
    assert log.rows("feedback") == 1


def test_a_kill_between_the_loss_and_the_rest_counts_the_loss_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, w0 = DecisionLog(tmp_path), Stream()
    frames = [w0.decisions(2), w0.garbage(FrameKind.DECISION, 5)]
    append = DecisionLog._append

    def killed(self: DecisionLog, table: str, *rest: object) -> int:
        if table == TABLE and log.tables() and "losses" in log.tables():
            raise KeyboardInterrupt
        return append(self, table, *rest)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(DecisionLog, "_append", killed)
        with pytest.raises(KeyboardInterrupt):
            log.ship("w0", frames, contracts)
    log.ship("w0", frames, contracts)
    assert (log.rows(TABLE), log.rows("losses")) == (2, 1)


def test_an_unknown_contract_is_waited_for_not_lost(tmp_path: Path) -> None:
    log, w0 = DecisionLog(tmp_path), Stream()
    frame = w0.decisions(1)

    def unknown(hash_hex: str) -> Sequence[Field]:
        raise NotFound(f"no contract has the hash {hash_hex}")

    with pytest.raises(NotFound, match="0001020304050607"):
        log.ship("w0", [frame], unknown)
    assert log.ship("w0", [frame], contracts) == {TABLE: 1}


def test_a_disk_that_refuses_is_one_sentence_and_the_next_attempt_succeeds(tmp_path: Path) -> None:
    log, w0 = DecisionLog(tmp_path), Stream()
    log.ship("w0", [w0.decisions(1)], contracts)
    frame = w0.decisions(5000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(Unavailable, match=f"decision log: {TABLE} in .* could not be written: .*too large"):
            log.ship("w0", [frame], contracts)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert log.ship("w0", [frame], contracts) == {TABLE: 5000}
    assert log.rows(TABLE) == 5001


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("in the way")
    with pytest.raises(Unavailable, match="could not be created"):
        DecisionLog(tmp_path / "log").ship("w0", [Stream().decisions(1)], contracts)


def test_a_table_that_was_taken_away_is_begun_again(tmp_path: Path) -> None:
    log, w0 = DecisionLog(tmp_path / "log"), Stream()
    frame = w0.decisions(2)
    log.ship("w0", [frame], contracts)
    (tmp_path / "log").rename(tmp_path / "aside")
    assert log.ship("w0", [frame], contracts) == {TABLE: 2}


def test_compaction_keeps_rows_order_and_what_was_reached(tmp_path: Path) -> None:
    log, w0 = DecisionLog(tmp_path), Stream()
    frames = [w0.decisions(3) for _ in range(6)]
    for frame in frames:
        log.ship("w0", [frame], contracts)
    assert log.compact(orphans=True) == {TABLE: 6}
    handle = log.open(TABLE)
    assert handle is not None and len(handle.file_uris()) == 1
    assert rows(log, TABLE)["sequence"].to_list() == list(range(18))
    assert log.version(TABLE, "w0") == frames[-1].end
    assert log.ship("w0", frames, contracts) == {TABLE: 0}
    assert log.compact() == {TABLE: 0}


def test_retention_deletes_whole_days_from_the_disk_and_keeps_what_was_reached(tmp_path: Path) -> None:
    log, w0 = DecisionLog(tmp_path), Stream()
    frames = [w0.decisions(2, MARCH + day * DAY) for day in range(3)]
    log.ship("w0", frames, contracts)
    assert log.retain(MARCH + 2 * DAY + 5) == {TABLE: 4}
    assert log.retain(MARCH + 2 * DAY) == {TABLE: 0}
    assert [path.name for path in (tmp_path / TABLE).glob("day=*") if any(path.iterdir())] == ["day=2020-03-13"]
    assert log.ship("w0", frames, contracts) == {TABLE: 0}
    assert log.rows(TABLE) == 2


def test_names_that_delta_would_refuse_are_written_otherwise() -> None:
    fields = [Field(name, "int") for name in ("a b", "A", "a", "c,d", "x=1", "größe", "a b%1")]
    names = list(stored_names(fields).values())
    assert names == ["x_a%20b", "x_A", "x_a%2", "x_c%2cd", "x_x%3d1", "x_größe", "x_a%20b%251"]


def test_odd_names_are_stored_and_read_back(tmp_path: Path) -> None:
    fields = tuple(Field(name, "int") for name in ("number of rooms", "Day", "day", "größe, m", "x.y"))
    batch = DecisionBatch.empty(fields)
    batch.append_row([1, 2, 3, 4, 5], DecisionRow(time_us=MARCH))
    log = DecisionLog(tmp_path)
    log.ship("w0", [Stream().frame(FrameKind.DECISION, encode_decisions(fields, batch), 1)], lambda _: fields)
    assert rows(log, TABLE).select(list(stored_names(fields).values())).row(0) == (1, 2, 3, 4, 5)


@given(st.lists(st.text(min_size=1, max_size=12), min_size=1, max_size=6, unique=True))
@settings(max_examples=60, deadline=None)
def test_stored_names_never_collide_not_even_in_capitals(names: list[str]) -> None:
    stored = stored_names([Field(name, "int") for name in names])
    assert len({name.casefold() for name in stored.values()}) == len(names)
    assert not {name.casefold() for name in stored.values()} & set(SYSTEM)


@given(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()))
def test_any_value_of_feedback_becomes_text(value: bool | int | float | str | None) -> None:
    assert (text_of(value) is None) == (value is None)


SHIPPER = """
import os, signal, threading
from pathlib import Path
from andon.core.record import Field
from andon.store import log as log_module
from andon.store.log import DecisionLog
from andon.store.writer import WalWriter
from andon.store.wal import StreamReader

fields = tuple(Field(name, kind) for name, kind in {fields!r})
write = log_module.write_deltalake

def told(handle, rows, **options):
    print("commit", flush=True)
    if {inside!r}:
        threading.Thread(target=die, args=(set(files()),), daemon=True).start()
    write(handle, rows, **options)

def files():
    return (Path({root!r}) / "log").rglob("day=*/*.parquet")

def die(before):
    # The first new data file is on the disk; the commit that would name it is not written yet.
    while not set(files()) - before:
        pass
    os.kill(os.getpid(), signal.SIGKILL)

log_module.write_deltalake = told
log = DecisionLog(Path({root!r}) / "log")
print("ready", flush=True)
reader = StreamReader(Path({root!r}) / "wal", "w0")
while entries := reader.poll(20_000):
    log.ship("w0", entries, lambda _: fields)
print("all", flush=True)
"""


def written(root: Path) -> dict[str, list[int]]:
    """A stream on the disk; returns the sequences that belong into each table."""
    writer, due = WalWriter(root / "wal", "w0"), dict[str, list[int]]()
    made = Stream()
    for n in range(60):
        frame = (
            made.feedback(*[Feedback(f"a{i}", "redo") for i in range(n % 7 + 1)])
            if n % 3
            else made.decisions(200, MARCH + n * DAY)
        )
        put = writer.append(
            frame.kind, frame.payload, count=frame.count, contract=frame.contract, time_us=frame.time_us
        )
        due.setdefault("feedback" if n % 3 else TABLE, []).extend(range(put.first, put.first + put.count))
    writer.close()
    return due


def shipper(root: Path, *, inside: bool) -> subprocess.Popen[str]:
    fields = [(field.name, field.kind) for field in FIELDS]
    code = SHIPPER.format(root=str(root), fields=fields, inside=inside)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def test_kills_inside_commits_leave_every_row_exactly_once(tmp_path: Path) -> None:
    due, random = written(tmp_path), Random(7)
    log = DecisionLog(tmp_path / "log")
    seen: list[int] = []
    while len(seen) < 5 or (len(seen) < 9 and not orphans(log)):
        inside, kill = len(seen) % 2 == 0, len(seen)
        with shipper(tmp_path, inside=inside) as process:
            assert process.stdout is not None and process.stdout.readline() == "ready\n"
            for _ in range(kill // 2 + 1):
                process.stdout.readline()
            if not inside:
                time.sleep(random.uniform(0, 0.012))
                process.kill()
            process.wait(timeout=30)
            assert process.returncode == -signal.SIGKILL
        seen.append(sum(log.rows(table) for table in log.tables()))
    assert seen == sorted(seen) and seen[-1] < sum(map(len, due.values()))
    with shipper(tmp_path, inside=False) as process:
        assert process.wait(timeout=60) == 0
    for table, sequences in due.items():
        assert rows(log, table)["sequence"].to_list() == sequences
    left = orphans(log)
    assert left, "no kill fell inside a commit"
    for path in (tmp_path / "log").rglob("day=*/*.parquet"):
        os.utime(path, (time.time() - 2 * 86400,) * 2)
    log.compact(orphans=True)
    assert not left & {path.name for path in (tmp_path / "log").rglob("*.parquet")}
    for table, sequences in due.items():
        assert rows(log, table)["sequence"].to_list() == sequences


def orphans(log: DecisionLog) -> set[str]:
    """Data files that no commit names: what a kill inside a commit leaves behind."""
    named = {Path(uri).name for table in log.tables() if (handle := log.open(table)) for uri in handle.file_uris()}
    return {path.name for path in log.root.rglob("day=*/*.parquet")} - named
