"""The one handle: made once, opened with the database gone, and what it keeps under lock."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from andon.core.port import Items, JournalWriter, ReviewOutbox
from andon.core.record import Field, Review, Route
from andon.errors import Conflict, Corrupt, NotFound, Unavailable, UsageError
from andon.store.wal import FrameKind, WalWriter, streams
from andon.store.workspace import Workspace

FIELDS = (Field("cough", "bool", optional=True), Field("place", "category", categories=("a", "b")))


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    workspace = Workspace.create(tmp_path / ".andon")
    yield workspace
    workspace.close()


def test_a_workspace_is_made_once_and_opened_again(workspace: Workspace) -> None:
    with pytest.raises(Conflict, match="is a workspace already"):
        Workspace.create(workspace.home)
    again = Workspace.open(workspace.home)
    assert again.key == workspace.key
    assert again.unit_hash("ann") == workspace.unit_hash("ann") != workspace.unit_hash("bob")
    assert again.unit_hash("") == ""
    again.close()


def test_units_of_two_workspaces_cannot_be_matched(workspace: Workspace, tmp_path: Path) -> None:
    other = Workspace.create(tmp_path / "other")
    assert other.unit_hash("ann") != workspace.unit_hash("ann")
    other.close()


def test_the_key_is_for_its_owner_only(workspace: Workspace) -> None:
    path = workspace.home / "key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(workspace.key) == 32
    path.write_bytes(b"short")
    with pytest.raises(Corrupt, match="expected 32 bytes, found 5"):
        Workspace.open(workspace.home)


def test_it_meets_the_ports(workspace: Workspace) -> None:
    journal: JournalWriter = workspace.journal
    items: Items = workspace.items
    outbox: ReviewOutbox = workspace.outbox
    assert journal.append("create", "line", "ann", "new").sequence == 1
    assert items.queue(1) == []
    outbox.append([Review("a", "refer", "person", "ann", 1)])
    assert streams(workspace.wal_dir) == ["people"]


def test_a_workspace_is_open_to_its_owner_only(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(mode=0o755)
    for home in (tmp_path / "new" / ".andon", tmp_path / "there"):
        Workspace.create(home).close()
        assert home.stat().st_mode & 0o777 == 0o700


def test_what_is_not_a_workspace_is_told(tmp_path: Path, workspace: Workspace) -> None:
    with pytest.raises(NotFound, match="is not a workspace"):
        Workspace.open(tmp_path / "none")
    marker = workspace.home / "workspace.json"
    marker.write_bytes(b"{")
    with pytest.raises(Corrupt, match="cannot be read"):
        Workspace.open(workspace.home)
    marker.write_bytes(b'{"format": 2, "created_wall_us": 0}')
    with pytest.raises(UsageError, match="newer release"):
        Workspace.open(workspace.home)


def test_the_live_path_works_with_the_database_gone(workspace: Workspace) -> None:
    (workspace.home / "andon.db").rename(workspace.home / "aside")
    gone = Workspace.open(workspace.home)
    gone.routes.publish(Route(epoch=1, time_us=0, wall_us=0, actor="ann", action="stop", reason="database is gone"))
    assert workspace.routes.word() == 1
    writer = WalWriter(gone.wal_dir, "w0")
    writer.append(FrameKind.LOSS, b"", count=1, time_us=gone.clock.now())
    writer.close()
    gone.save_contract("ab" * 8, FIELDS, ("no", "yes"))
    gone.outbox.append([Review("a", "refer", "person", "ann", 1)])
    with pytest.raises(Unavailable, match="is unavailable"):
        gone.journal.append("stop", "line", "ann", "")
    (workspace.home / "aside").rename(workspace.home / "andon.db")
    assert gone.journal.append("stop", "line", "ann", "").sequence == 1
    gone.close()


def test_contracts_are_kept_by_hash(workspace: Workspace) -> None:
    name = "0123456789abcdef"
    path = workspace.save_contract(name + "ffff", FIELDS, ["no", "yes"])
    assert path == workspace.contract_path(name)
    assert workspace.load_contract(name) == (FIELDS, ("no", "yes"))
    assert workspace.save_contract(name, FIELDS, ["no", "yes"]) == path
    with pytest.raises(Conflict, match="another contract under the same hash"):
        workspace.save_contract(name, FIELDS, ["no"])
    with pytest.raises(NotFound, match="no contract has the hash"):
        workspace.load_contract("f" * 16)
    with pytest.raises(UsageError, match="at least 16 hex digits"):
        workspace.contract_path("../../etc/passwd")
    path.write_bytes(b"{")
    with pytest.raises(Corrupt):
        workspace.load_contract(name)


def test_a_creation_that_was_cut_short_is_completed(tmp_path: Path) -> None:
    first = Workspace.create(tmp_path / "home")
    key = first.key
    first.close()
    (tmp_path / "home" / "workspace.json").unlink()
    second = Workspace.create(tmp_path / "home")
    assert second.key == key
    second.close()


MAKE = """
import sys
from pathlib import Path
from andon.errors import Conflict
from andon.store.workspace import Workspace
try:
    Workspace.create(Path(sys.argv[1])).close()
    print("made")
except Conflict:
    print("was first")
"""


def test_of_many_processes_one_makes_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    processes = [
        subprocess.Popen([sys.executable, "-c", MAKE, str(home)], stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    answers = sorted(process.communicate(timeout=60)[0].strip() for process in processes)
    assert answers == ["made", "was first", "was first"]
    Workspace.open(home).close()


def test_a_home_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable):
        Workspace.create(tmp_path / "file" / "home")
