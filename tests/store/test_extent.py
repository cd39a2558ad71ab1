"""How much room a workspace takes, and what its database says of itself; on SQLite and on PostgreSQL."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from andon.store.extent import database_damage, database_version, extents, measured, oldest_day, segments, written
from andon.store.log import DecisionLog
from andon.store.tables import Database
from andon.store.wal import FrameKind, WalWriter
from andon.store.workspace import Workspace


def test_every_part_is_measured_whatever_the_database(any_db: Database, tmp_path: Path) -> None:
    workspace = Workspace.create(tmp_path / "line", database_url=any_db.url.render_as_string(hide_password=False))
    writer = WalWriter(workspace.wal_dir, "w0", segment_bytes=100)
    for number in range(3):
        writer.append(FrameKind.LOSS, b"x" * 200, count=1, time_us=number)
    writer.close()
    workspace.blobs.put(b"12345")
    parts = {one.name: one for one in extents(workspace)}
    assert set(parts) == {"database", "write-ahead log", "decision log", "blobs", "bundles"}
    assert (parts["blobs"].bytes, parts["decision log"].files) == (5, 0)
    assert parts["write-ahead log"].bytes > 600
    assert parts["database"].bytes > 10_000 or any_db.sqlite
    assert segments(workspace) == 3
    kind, version = database_version(workspace.db).split()[:2]
    assert (kind, version[0].isdigit()) == ("SQLite" if any_db.sqlite else "PostgreSQL", True)
    assert database_damage(workspace.db) == ""
    workspace.close()


def test_a_part_with_very_many_files_is_said_to_be_at_least_so_large(tmp_path: Path) -> None:
    for number in range(7):
        (tmp_path / str(number)).write_bytes(b"abc")
    found = measured("many", [tmp_path], most=5)
    assert (found.bytes, found.files, found.whole) == (15, 5, False)
    assert measured("gone", [tmp_path / "nowhere"]).files == 0


def test_only_what_was_changed_since_counts_as_written(tmp_path: Path) -> None:
    import os

    workspace = Workspace.create(tmp_path / "line")
    name = workspace.blobs.put(b"x" * 50)
    old = workspace.blobs.put(b"y" * 70)
    os.utime(workspace.blobs.path(old), (5, 5))
    assert written(workspace, 10_000_000) == 50
    assert written(workspace, 0) == 120
    workspace.blobs.delete(name)
    assert written(workspace, 10_000_000) == 0
    workspace.close()


def test_the_oldest_day_is_one_that_still_has_something(tmp_path: Path) -> None:
    table = tmp_path / "decisions" / "ab"
    for name in ("_delta_log", "day=2020-01-01", "day=2020-01-02", "day=odd"):
        (table / name).mkdir(parents=True)
    log = DecisionLog(tmp_path)
    assert oldest_day(log) is None
    (table / "day=2020-01-02" / "part.parquet").touch()
    assert oldest_day(log) == date(2020, 1, 2)
