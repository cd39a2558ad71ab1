"""``andon doctor``: a whole workspace is found whole and left as it is; each thing that is broken is named, and only it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import polars as pl
import pytest
import typer
from deltalake import DeltaTable, write_deltalake
from tests.line.toyline import make_toy
from typer.testing import CliRunner

from andon.config import open_project
from andon.core.clock import DAY, HOUR, ManualClock
from andon.core.record import Field, Review
from andon.deploy.crew import process_began
from andon.deploy.line import Line
from andon.errors import NotFound
from andon.monitor.believed import Belief
from andon.monitor.controller import LEASE, Controller
from andon.monitor.holder import holder_name
from andon.monitor.ingest import Pace
from andon.people.access import Access
from andon.store.codec import DecisionBatch, DecisionRow, encode_decisions
from andon.store.frame import HEAD_SIZE, FrameKind
from andon.store.journal import Journal
from andon.store.reader import read_stream
from andon.store.routes import Ack
from andon.store.segment import SEGMENT_HEAD_SIZE
from andon.store.tables import Database
from andon.store.tally import tally
from andon.store.tokens import TokenFile
from andon.store.workspace import Workspace
from andon.store.writer import WalWriter
from andon.surface import doctor_files
from andon.surface.cli import doctor as command
from andon.surface.doctor import CHECKS, Health, examine
from andon.surface.doctor_check import Check
from andon.surface.running import Listening, leave

CONTRACT = "ab" * 8
FIELDS = (Field("a", "float"), Field("b", "float"), Field("c", "category"))
PACE = Pace(window=0, ship=0, tidy=1e9, measure=0)


def write(workspace: Workspace, ids: list[str], *, pending: bool = False, stream: str = "w0") -> None:
    """Frames of one row each, as a worker writes them."""
    writer = WalWriter(workspace.wal_dir, stream, segment_bytes=2_000)
    made: dict[str, Any] = {"status": "decided", "decision": "small", "decided_by": "model", "version": "v1"}
    for id in ids:
        batch = DecisionBatch.empty(FIELDS)
        row = DecisionRow(id=id, time_us=workspace.clock.now(), epoch=1, level="human", **({} if pending else made))
        batch.append_row([1.0, 2.0, "x"], row)
        payload = encode_decisions(FIELDS, batch)
        writer.append(
            FrameKind.DECISION, payload, count=1, contract=bytes.fromhex(CONTRACT), time_us=workspace.clock.now()
        )
    writer.close()


def take_in(root: Path) -> None:
    """What a controller does: ship, measure, ask."""
    project = open_project(root)
    controller = Controller(project.workspace, project.charter, pace=PACE, say=lambda _: None)
    while controller.turn():
        pass
    controller.turn()
    controller.run(lambda: True)
    project.workspace.close()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A line with two releases, a live one, a log of two streams, cases for people, and nothing wrong; only copied."""
    root = make_toy(tmp_path_factory.mktemp("doctor"))
    project = open_project(root)
    workspace = project.workspace
    line = Line(workspace, project.charter)
    line.begin(actor="ann", reason="")
    line.switch("v1", actor="ann", reason="it passed")
    workspace.save_contract(CONTRACT, FIELDS, ("small", "large"))
    write(workspace, [f"d{i}" for i in range(40)])
    write(workspace, [f"p{i}" for i in range(6)], pending=True, stream="w1")
    workspace.close()
    take_in(root)
    project = open_project(root)
    project.workspace.outbox.append([Review(f"p{i}", "small", "person", "ann", project.clock.now()) for i in range(2)])
    project.workspace.close()
    take_in(root)
    return root


@dataclass
class Ward:
    """A copy that may be broken."""

    root: Path

    @property
    def home(self) -> Path:
        return self.root / ".andon"

    def examine(self, **how: Any) -> Health:
        return examine(self.root, environ={}, **how)

    def check(self, name: str, **how: Any) -> Check:
        return next(one for one in self.examine(**how).checks if one.name == name)

    def open(self) -> Workspace:
        return Workspace.open(self.home)

    def sql(self, *statements: str) -> None:
        """As somebody does who has the database in their hands."""
        connection = sqlite3.connect(self.home / "andon.db")
        for statement in statements:
            connection.execute(statement)
        connection.commit()
        connection.close()

    def only(self, health: Health, *names: str) -> None:
        """Nothing else may be said to be wrong."""
        assert {one.name for one in health.checks if one.state != "good"} == set(names), [
            (one.name, one.sentence) for one in health.checks if one.state != "good"
        ]


@pytest.fixture
def ward(whole: Path, tmp_path: Path) -> Ward:
    return Ward(shutil.copytree(whole, tmp_path / "line"))


def tree(home: Path) -> dict[str, tuple[str, int]]:
    """Every file's content and time of change, but the database's own and the clock's, which whoever asks the hour marks."""
    return {
        str(path.relative_to(home)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(home.rglob("*"))
        if path.is_file() and not path.name.startswith("andon.db") and path.name != "clock"
    }


def dump(home: Path) -> list[str]:
    connection = sqlite3.connect(home / "andon.db")
    lines = list(connection.iterdump())
    connection.close()
    return lines


def test_a_whole_workspace_is_found_whole_and_left_as_it_is(ward: Ward) -> None:
    before, rows = tree(ward.home), dump(ward.home)
    health = ward.examine(log=True)
    ward.only(health)
    assert (health.state, health.sound, health.sentence) == ("good", True, "18 checks, all good")
    assert [one.name for one in health.checks] == [*(name for name, _ in CHECKS), "losses", "agreement"]
    found = ward.check("agreement", log=True)
    assert "48 rows of the write-ahead log, each in the decision log once; 6 pending cases" in found.sentence
    assert found.facts["whole"] is True
    assert (tree(ward.home), dump(ward.home)) == (before, rows)


def test_the_quick_checks_take_a_moment(ward: Ward) -> None:
    ward.examine(deep=False)
    health = ward.examine(deep=False)
    assert [one.name for one in health.checks] == [name for name, _ in CHECKS]
    ward.only(health)
    assert health.seconds < 3  # a second on a machine that has nothing else to do


def test_a_project_that_was_never_opened_stays_so(tmp_path: Path, ward: Ward) -> None:
    with pytest.raises(NotFound, match=r"no andon\.yaml"):
        examine(tmp_path, environ={})
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    shutil.copy(ward.root / "andon.yaml", fresh)
    found = Ward(fresh).check("files", log=True)
    assert (found.state, found.sentence) == ("stop", "there is no workspace in .andon")
    assert "`andon up` makes one" in found.next
    assert not (fresh / ".andon").exists()


class Break(NamedTuple):
    name: str
    act: Callable[[Ward], Any]
    state: str
    says: str
    deep: bool = False
    also: tuple[str, ...] = ()


def flip(path: Path, place: int = -5) -> None:
    """One byte of a file becomes another; its size and time stay."""
    path.chmod(0o644)
    data, times = bytearray(path.read_bytes()), path.stat()
    data[place] ^= 0xFF
    path.write_bytes(bytes(data))
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def first(home: Path, pattern: str) -> Path:
    return sorted(home.glob(pattern))[0]


def live_bundle(ward: Ward) -> Path:
    workspace = ward.open()
    route = workspace.routes.current()
    workspace.close()
    assert route is not None
    return ward.home / "bundles" / route.bundles["v1"]


def other_bundle(ward: Ward) -> Path:
    return next(path for path in (ward.home / "bundles").iterdir() if path != live_bundle(ward))


def garble(path: Path) -> None:
    """Other bytes, as many of them."""
    path.write_bytes(b"x" * path.stat().st_size)


def parquet(ward: Ward, table: str) -> Path:
    return first(ward.home / "log", f"{table}/**/*.parquet")


def newest_route(ward: Ward) -> Path:
    return sorted(path for path in (ward.home / "routes").glob("*.json") if path.stem.isdigit())[-1]


def with_workspace(act: Callable[[Workspace], Any]) -> Callable[[Ward], None]:
    def done(ward: Ward) -> None:
        workspace = ward.open()
        act(workspace)
        workspace.close()

    return done


def dead_middle(ward: Ward) -> None:
    """A byte of a payload that was read long ago."""
    frame = list(read_stream(ward.home / "wal", "w0"))[7]
    start = max(
        int(path.stem, 16) for path in (ward.home / "wal/w0").glob("*.wal") if int(path.stem, 16) <= frame.offset
    )
    flip(ward.home / f"wal/w0/{start:016x}.wal", frame.offset - start + HEAD_SIZE + 4)


def open_tokens(ward: Ward) -> None:
    (ward.home / "tokens.json").write_text("[]")
    (ward.home / "tokens.json").chmod(0o644)


def rewind(ward: Ward) -> None:
    last = sorted((ward.home / "wal/w0").glob("*.wal"))[-1]
    os.truncate(last, SEGMENT_HEAD_SIZE)


BREAKS = [
    Break("charter", lambda w: (w.root / "andon.yaml").write_text("project: toy\ninputz: {a: float}\n"), "stop", "andon.yaml has", also=("workers", "retention")),
    Break("files", lambda w: w.home.chmod(0o755), "stop", "every account of this machine may read"),
    Break("files", lambda w: w.home.chmod(0o750), "look", "its group may read"),
    Break("files", lambda w: (w.home / "key").chmod(0o644), "stop", "key can be read by others"),
    Break("tokens", open_tokens, "stop", "tokens.json can be read by others"),
    Break("tokens", lambda w: (w.home / "tokens.json").write_text("{nonsense"), "stop", "is damaged"),
    Break("tokens", lambda w: (w.root / "andon.yaml").write_text((w.root / "andon.yaml").read_text() + "checklist: {security: {tokens: required}}\n"), "look", "nobody can call this line"),
    Break("database", lambda w: w.sql("UPDATE alembic_version SET version_num = '9999'"), "stop", "a newer release wrote it", also=("journal", "controller", "backlog", "blobs")),
    Break("journal", lambda w: w.sql("DROP TRIGGER events_no_update", "UPDATE events SET actor = 'eve' WHERE sequence = 3"), "stop", "event 3 does not fit"),
    Break("journal", lambda w: w.sql("DROP TRIGGER events_no_delete", "DELETE FROM events WHERE sequence = 2"), "stop", "found event 3: what was between is gone"),
    Break("clock", with_workspace(lambda w: w.clock.set(rate=0.0)), "look", "stands still"),
    Break("clock", with_workspace(lambda w: w.clock.set(time_us=w.clock.now() - HOUR)), "look", "it was set back"),
    Break("clock", with_workspace(lambda w: Journal(w.db, ManualClock(w.clock.wall() + HOUR)).append("x", "y", "z", "")), "stop", "the machine's clock is"),
    Break("routes", lambda w: newest_route(w).write_text("{}"), "stop", "is in force instead", also=()),
    Break("routes", lambda w: newest_route(w).unlink(), "stop", "its file is gone"),
    Break("routes", lambda w: (w.home / "routes/000000000001.json").write_text("{}"), "look", "passed over"),
    Break("bundles", lambda w: shutil.rmtree(live_bundle(w)), "stop", "v1, which the route names: no bundle"),
    Break("bundles", lambda w: first(live_bundle(w), "*.onnx").unlink(), "stop", "is gone or has another size"),
    Break("bundles", lambda w: flip(live_bundle(w) / "model.py"), "stop", "model.py has changed", deep=True),
    Break("bundles", lambda w: shutil.rmtree(other_bundle(w)), "look", "v2, which does not answer now: no bundle", deep=True),
    Break("workers", lambda w: leave(w.home / "run", Listening(holder_name(), "127.0.0.1", 1, 2)), "stop", "no worker answers"),
    Break("wal", dead_middle, "stop", "1 row damaged after they were read", deep=True),
    Break("wal", rewind, "stop", "the stream w0 ends before a place that was read already"),
    Break("wal", with_workspace(lambda w: w.journal.append("log.gap", "stream w0 at 40", "controller", "", {"rows": 3})), "look", "damaged in 1 place: 3 rows lost, all counted"),
    Break("backlog", with_workspace(lambda w: write(w, ["late1", "late2"])), "look", "2 rows ("),
    Break("tables", lambda w: parquet(w, "decisions").unlink(), "stop", "1 of"),
    Break("tables", lambda w: os.truncate(parquet(w, "reviews"), 100), "stop", "reviews: 1 of"),
    Break("tables", lambda w: garble(parquet(w, "decisions")), "stop", "cannot be read", deep=True),
    Break("blobs", lambda w: first(w.home, "blobs/*/*").unlink(), "stop", "1 blob gone"),
    Break("blobs", lambda w: flip(first(w.home, "blobs/*/*")), "stop", "expected the hash", deep=True),
]  # fmt: skip


@pytest.mark.parametrize("case", BREAKS, ids=lambda case: f"{case.name}: {case.says[:40]}")
def test_what_is_broken_is_named_and_nothing_else(ward: Ward, case: Break) -> None:
    case.act(ward)
    health = ward.examine(deep=case.deep)
    found = next(one for one in health.checks if one.name == case.name)
    assert (found.state, case.says in found.sentence) == (case.state, True), found
    assert found.next
    assert str(ward.root) not in found.sentence + found.next
    ward.only(health, case.name, *case.also)
    if case.deep:
        ward.only(ward.examine(deep=False))
    assert health.sound == (case.state == "look")


@pytest.mark.parametrize("name", ["key", "clock", "routes/epoch", "wal", "workspace.json"])
def test_a_workspace_that_lacks_something_is_neither_opened_nor_mended(ward: Ward, name: str) -> None:
    gone = ward.home / name
    shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    health = ward.examine(log=True)
    found = next(one for one in health.checks if one.name == "files")
    assert found.sentence == f"the workspace has no {name} any more"
    assert not gone.exists()
    assert [one.state for one in health.checks if one.name == "journal"] == ["look"]


def test_with_the_database_gone_the_files_are_looked_at_all_the_same(ward: Ward) -> None:
    (ward.home / "andon.db").rename(ward.home / "aside")
    health = ward.examine(log=True)
    states = {one.name: one.state for one in health.checks}
    assert states["database"] == "stop"
    assert {name for name, state in states.items() if state == "look"} == {
        "journal", "controller", "backlog", "blobs", "losses", "agreement"
    }  # fmt: skip
    assert "not looked at: the database" in ward.check("journal").sentence
    assert not (ward.home / "andon.db").exists()


def test_an_older_database_is_not_migrated_by_looking(ward: Ward) -> None:
    later = ("DROP INDEX events_time", *(f"ALTER TABLE items DROP COLUMN said_{n}" for n in (1, 2)))
    ward.sql(*later, "UPDATE alembic_version SET version_num = '0002'")
    found = ward.check("database", log=True)
    assert (found.state, "at migration 0002, this release wants" in found.sentence) == ("look", True)
    assert Database(f"sqlite:///{ward.home / 'andon.db'}").revision() == "0002"
    Workspace.open(ward.home).journal.head()
    assert ward.check("database").state == "good"


def test_a_database_with_damage_inside_is_found_when_it_is_read_through(ward: Ward) -> None:
    ward.sql("PRAGMA wal_checkpoint(TRUNCATE)")
    path = ward.home / "andon.db"
    data = bytearray(path.read_bytes())
    place = data.index(b"events_no_update") // 4096 * 4096 + 3 * 4096
    data[place : place + 4096] = os.urandom(4096)
    path.write_bytes(bytes(data))
    assert ward.check("database").state == "stop"


def test_a_full_disk_and_one_that_is_soon_full(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        total: int
        used: int
        free: int

    def disk(free: int, daily: int | None) -> Check:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, free))
        monkeypatch.setattr(doctor_files, "_daily", lambda _: daily)
        return ward.check("disk", deep=False)

    assert (disk(10**11, 10**9).state, disk(10**11, 10**9).sentence) == (
        "good", "100 GB free; a day writes about 1 GB: enough for 100 days"
    )  # fmt: skip
    assert "10 days are left" in disk(10**11, 10**10).sentence
    assert disk(10**9, 2 * 10**9).state == disk(10**8, 1).state == disk(10**8, None).state == "stop"
    assert "too young" in disk(10**11, None).sentence
    assert disk(2 * 10**10, 10**6).state == "look"


def test_what_a_day_writes_is_measured(ward: Ward) -> None:
    workspace = ward.open()
    assert doctor_files._daily(workspace) is None
    marker = ward.home / "workspace.json"
    stored = msgspec.json.decode(marker.read_bytes())
    marker.write_bytes(msgspec.json.encode({**stored, "created_wall_us": workspace.clock.wall() - 2 * DAY}))
    sizes = sum(path.stat().st_size for name in ("wal", "log", "blobs", "bundles") for path in (ward.home / name).rglob("*") if path.is_file())  # fmt: skip
    database = (ward.home / "andon.db").stat().st_size / 2
    assert doctor_files._daily(workspace) == pytest.approx(sizes + database, rel=0.01)
    for path in (ward.home / "wal").rglob("*.wal"):
        os.utime(path, (0, 0))
    assert (doctor_files._daily(workspace) or 0) < sizes + database
    workspace.close()


def acknowledge(ward: Ward, epoch: int, silent: float = 0.0, faults: dict[str, str] | None = None) -> None:
    workspace = ward.open()
    wall = workspace.clock.wall() - round(silent * 1e6)
    for name in ("w0", "w1"):
        ack = Ack(name, os.getpid(), epoch, ("v1",), wall, faults or {}, process_began(os.getpid()))
        workspace.routes.acknowledge(name, ack)
    workspace.close()


def lead(ward: Ward, ttl: float = 15.0) -> None:
    workspace = ward.open()
    assert workspace.leases.acquire(LEASE, holder_name(), ttl) is not None
    workspace.close()


def test_the_crew_of_a_line_that_runs(ward: Ward) -> None:
    workspace = ward.open()
    epoch = workspace.routes.word()
    workspace.close()
    acknowledge(ward, epoch)
    found = ward.check("controller", deep=False)
    assert (found.state, "nothing is measured" in found.sentence) == ("stop", True)
    lead(ward)
    ward.only(ward.examine(deep=False))
    assert f"2 workers on route {epoch}" in ward.check("workers", deep=False).sentence
    acknowledge(ward, epoch - 1)
    assert ward.check("workers", deep=False).sentence == f"w0, w1 not yet on route {epoch}"
    acknowledge(ward, epoch, silent=42)
    found = ward.check("workers", deep=False)
    assert (found.state, "no sign of life for 42 s" in found.sentence) == ("stop", True)
    acknowledge(ward, epoch, faults={"v1": "v1 does not load"})
    assert ward.check("workers", deep=False).sentence == "a worker says: v1 does not load"


def test_a_controller_that_is_gone_for_long_is_more_than_a_look(ward: Ward) -> None:
    acknowledge(ward, 9)
    lead(ward)
    ward.sql("UPDATE leases SET expires_wall_us = expires_wall_us - 200000000 WHERE name = 'controller'")
    found = ward.check("controller", deep=False)
    assert (found.state, "no controller leads for" in found.sentence) == ("stop", True)


def test_damage_before_anybody_read_it_is_told_apart(ward: Ward) -> None:
    workspace = ward.open()
    write(workspace, ["late1", "late2"])
    workspace.close()
    frame = list(read_stream(ward.home / "wal", "w0"))[-2]
    start = max(
        int(path.stem, 16) for path in (ward.home / "wal/w0").glob("*.wal") if int(path.stem, 16) <= frame.offset
    )
    flip(ward.home / f"wal/w0/{start:016x}.wal", frame.offset - start + HEAD_SIZE + 4)
    assert "not counted yet" in ward.check("wal").sentence
    take_in(ward.root)
    found = ward.check("wal")
    assert (found.state, found.sentence) == ("look", "damaged in 1 place: 1 row lost, all counted")
    assert ward.check("losses").sentence.startswith("1 row counted as lost: gap 1")
    assert ward.check("agreement", log=True).state == "good"


def test_a_backlog_that_grows_old_under_a_leader(ward: Ward) -> None:
    lead(ward, 600.0)
    workspace = ward.open()
    write(workspace, ["late1", "late2"])
    assert "2 rows (" in ward.check("backlog").sentence
    assert ward.check("backlog").state == "good"
    now = workspace.clock.now()
    for after, state in ((120, "look"), (1200, "stop")):
        workspace.clock.set(time_us=now + after * 1_000_000)
        assert ward.check("backlog").state == state
    workspace.close()


# ---------------------------------------------------------------------------------------------------- the agreement


def table(ward: Ward, name: str) -> DeltaTable:
    return DeltaTable(first(ward.home / "log", f"{name}/**/_delta_log").parent)


def test_a_row_that_was_shipped_and_is_missing(ward: Ward) -> None:
    table(ward, "decisions").delete("id = 'd7'")
    found = ward.check("agreement", log=True)
    assert (found.state, "1 missing, such as d7" in found.sentence) == ("stop", True)
    table(ward, "reviews").delete("id = 'p1'")
    count = {one.table: one.missing for one in tally(ward.open()).tables}
    assert sorted(count.values())[-2:] == [1, 1]


def test_a_row_that_is_there_twice(ward: Ward) -> None:
    handle = table(ward, "decisions")
    again = pl.scan_delta(handle).filter(pl.col("id") == "d3").collect()
    write_deltalake(handle, again, mode="append")
    found = ward.check("agreement", log=True)
    assert (found.state, "1 there twice, such as d3" in found.sentence) == ("stop", True)


def test_a_case_that_waits_for_nobody(ward: Ward) -> None:
    ward.sql("DELETE FROM items WHERE id = 'p1'")  # it has a review: somebody answered
    assert ward.check("agreement", log=True).state == "good"
    ward.sql("DELETE FROM items WHERE id = 'p4'")
    found = ward.check("agreement", log=True)
    assert (found.state, "1 pending case with neither an item nor a review, such as p4" in found.sentence) == (
        "stop",
        True,
    )


def test_an_id_that_was_decided_twice(ward: Ward) -> None:
    workspace = ward.open()
    write(workspace, ["d5"], stream="w1")
    workspace.close()
    found = ward.check("agreement", log=True)
    assert (found.state, "decided twice under one id: d5" in found.sentence) == ("stop", True)


def test_what_was_not_shipped_or_asked_yet_is_no_fault(ward: Ward) -> None:
    workspace = ward.open()
    write(workspace, ["late1", "late2"])
    write(workspace, ["late3"], pending=True)
    workspace.close()
    found = ward.check("agreement", log=True)
    assert (found.state, "3 not shipped yet; 6 pending cases" in found.sentence) == ("good", True)


def test_how_much_is_compared_is_bounded_and_said(ward: Ward) -> None:
    workspace = ward.open()
    everything, part = tally(workspace), tally(workspace, most_bytes=12_000)
    workspace.close()
    assert everything.whole and not part.whole
    assert 0 < sum(one.rows for one in part.tables) < sum(one.rows for one in everything.tables)
    assert part.sound


def test_it_is_safe_beside_a_line_that_writes_and_ships(ward: Ward) -> None:
    ended = threading.Event()

    def work() -> None:
        for number in range(60):
            if ended.is_set():
                break
            workspace = ward.open()
            write(workspace, [f"n{number}-{i}" for i in range(5)])
            write(workspace, [f"q{number}"], pending=True, stream="w1")
            workspace.close()
            take_in(ward.root)
        ended.set()

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(4):
            health = ward.examine(log=True)
            assert not [one for one in health.checks if one.state == "stop"]
    finally:
        ended.set()
        worker.join()
    assert ward.check("agreement", log=True).state == "good"


# ------------------------------------------------------------------------------------------------------ the command


@pytest.fixture
def runner(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    monkeypatch.delenv("ANDON_WORKSPACE", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    app = typer.Typer()
    app.callback()(lambda: None)
    command.register(app)
    yield lambda *words: CliRunner().invoke(app, ["doctor", "-C", str(ward.root), *words], catch_exceptions=False)


def test_the_command_says_every_check_and_ends_with_its_code(ward: Ward, runner: Callable[..., Any]) -> None:
    result = runner("--log")
    assert result.exit_code == 0, result.stdout
    assert "● good  journal" in result.stdout
    assert "18 checks, all good" in result.stdout
    with_workspace(lambda w: w.clock.set(rate=0.0))(ward)
    result = runner("--quick")
    assert (result.exit_code, "▲ look  clock" in result.stdout) == (0, True)
    shutil.rmtree(live_bundle(ward))
    result = runner("--quick")
    assert (result.exit_code, "■ stop  bundles" in result.stdout) == (1, True)
    assert "→ restore it from a backup" in result.stdout
    found = json.loads(runner("--json").stdout)
    assert (found["state"], found["deep"], found["log"]) == ("stop", True, False)
    assert {"name", "state", "sentence", "next"} <= set(found["checks"][0])
    assert found["sentence"] == "17 checks; stop: bundles; look at: clock"


def test_a_person_says_that_the_clock_is_right(ward: Ward, runner: Callable[..., Any]) -> None:
    with_workspace(lambda w: w.states.put("retention", "clock", Belief(w.clock.wall() - 400 * DAY, 400 * DAY)))(ward)
    result = runner("--quick")
    assert "400 days ahead of what this line has lived through" in result.stdout
    assert "→ set it right; if it is right, say so: `andon doctor --confirm-clock`" in result.stdout
    result = runner("--quick", "--confirm-clock", "--actor", "ann", "--reason", "it was off for a year")
    assert "noted: the machine's clock is right" in result.stderr
    assert "days ahead" not in result.stdout and "● good  retention" in result.stdout
    workspace = ward.open()
    (event,) = workspace.journal.read(action="clock.confirmed")
    assert (event.actor, event.reason, event.evidence["ahead_us"]) == ("ann", "it was off for a year", 400 * DAY)
    workspace.close()


def test_no_secret_is_in_what_it_says(ward: Ward, runner: Callable[..., Any]) -> None:
    workspace = ward.open()
    secret, token = Access(TokenFile(ward.home)).create("<b>kiosk</b>", "owner", now_us=workspace.clock.wall())
    key = workspace.key.hex()
    workspace.close()
    said = runner("--log", "--json").stdout + runner("--log").stdout
    for hidden in (secret, token.digest, secret.split("_", 2)[2], key):
        assert hidden not in said
