"""The database: transactions that happen or say why not; locked, gone, full, damaged, old, new."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text

from andon.errors import Conflict, Corrupt, Unavailable, UsageError
from andon.store.migrations import apply
from andon.store.tables import HEAD_REVISION, Database, items, leases, metadata, states

ROW = {"kind": "k", "key": "a", "revision": 1, "body": "{}"}


def file_of(db: Database) -> Path:
    return Path(str(db.url.database))


def keys(db: Database) -> list[str]:
    with db.read() as connection:
        return list(connection.scalars(select(states.c.key)))


def test_a_block_that_raises_changes_nothing(db: Database) -> None:
    with pytest.raises(ZeroDivisionError), db.write() as connection:
        connection.execute(insert(states), ROW)
        raise ZeroDivisionError
    assert keys(db) == []
    with db.write() as connection:
        connection.execute(insert(states), ROW)
    assert keys(db) == ["a"]


def test_the_same_key_twice_is_a_conflict(db: Database) -> None:
    for _ in range(2):
        try:
            with db.write() as connection:
                connection.execute(insert(states), ROW)
        except Conflict as error:
            assert "refused a change: UNIQUE" in str(error)
            break
    else:
        pytest.fail("expected a Conflict")
    assert keys(db) == ["a"]


def test_a_locked_database_is_unavailable_and_readers_do_not_wait(db: Database) -> None:
    hasty = Database(db.url.render_as_string(), busy_seconds=0.05)
    with db.write() as connection:
        connection.execute(insert(states), ROW)
        with pytest.raises(Unavailable, match="database is locked; another process holds it; try again"), hasty.write():
            pass
        assert keys(hasty) == []
    assert keys(hasty) == ["a"]
    with hasty.write() as connection:
        connection.execute(insert(states), {**ROW, "key": "b"})
    hasty.close()


def test_a_database_that_is_gone_is_unavailable_and_comes_back(db: Database) -> None:
    with db.write() as connection:
        connection.execute(insert(states), ROW)
    file = file_of(db)
    aside = file.with_name("aside.db")
    db.close()
    keys(db)
    file.rename(aside)
    for _ in range(2):
        with pytest.raises(Unavailable, match="was moved, deleted or replaced"), db.write():
            pytest.fail("nothing may be written into a file that nobody will find")
    assert not file.exists()
    aside.rename(file)
    assert keys(db) == ["a"]


def test_a_database_that_never_was_is_unavailable_and_not_made(tmp_path: Path) -> None:
    missing = Database(f"sqlite:///{tmp_path / 'none' / 'andon.db'}")
    with pytest.raises(Unavailable, match="is unavailable"), missing.read():
        pass
    assert not (tmp_path / "none").exists()


def test_another_file_in_its_place_is_opened_anew(db: Database, tmp_path: Path) -> None:
    with db.write() as connection:
        connection.execute(insert(states), ROW)
    other = Database.create(f"sqlite:///{tmp_path / 'other.db'}")
    other.close()
    file = file_of(db)
    for suffix in ("-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    file_of(other).replace(file)
    assert keys(db) == []


def test_a_damaged_database_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "andon.db"
    path.write_bytes(b"this is not a database" * 100)
    db = Database(f"sqlite:///{path}")
    with pytest.raises(Corrupt, match="restore it from a backup"), db.read():
        pass
    db.close()


def test_an_emptied_database_is_not_begun_anew(tmp_path: Path, db: Database) -> None:
    """Else a journal would be gone and nobody would know."""
    db.close()
    file_of(db).write_bytes(b"")
    with pytest.raises(Corrupt, match="is empty, but was in use before; restore it from a backup"), db.read():
        pass
    db.close()


def test_a_full_disk_is_unavailable(db: Database) -> None:
    with db.read() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
    with pytest.raises(Unavailable, match="database or disk is full; free some space"), db.write() as connection:
        connection.execute(text(f"PRAGMA max_page_count={pages}"))
        connection.execute(insert(states), {**ROW, "body": "x" * 100_000})
    db.close()
    assert keys(db) == []


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(Unavailable):
        Database.create(f"sqlite:///{tmp_path / 'file' / 'andon.db'}")


@pytest.mark.parametrize("url", ["mysql://host/db", "sqlite://", "sqlite:///"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(UsageError, match="a database URL: expected"):
        Database(url)


def test_a_password_is_in_no_message() -> None:
    db = Database("postgresql://ann:secret@localhost:1/andon")
    assert "secret" not in db.name
    assert db.url.drivername == "postgresql+psycopg"


def test_threads_write_one_after_the_other(db: Database) -> None:
    def work(name: str) -> None:
        for i in range(20):
            with db.write() as connection:
                connection.execute(insert(states), {**ROW, "key": f"{name}{i}"})

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys(db)) == 80


OPEN = """
import sys
from andon.store.tables import Database
db = Database.create(sys.argv[1])
db.close()
"""


def test_many_processes_create_it_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'andon.db'}"
    processes = [subprocess.Popen([sys.executable, "-c", OPEN, url]) for _ in range(4)]
    assert [process.wait(60) for process in processes] == [0] * 4
    assert keys(Database(url)) == []


def test_the_migrations_lead_to_the_tables_of_today(any_db: Database) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    assert apply.head() == HEAD_REVISION
    with any_db.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_items_of_the_first_release_get_the_columns_of_today(any_db: Database) -> None:
    """Whatever the newest columns are, an old row has in them what a new one would have."""
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    from andon.core.record import Item
    from andon.store.items import ItemTable
    from andon.store.migrations.versions import m0002_whose_items

    table = ItemTable(any_db)
    kept = [
        Item("a", "decision", 1, 9, {"name": 'ann "b" \u2028'}, state="taken", holder="ann", lease_until_us=1 << 50),
        Item("b", "audit", 2, 9, {}, state="decided", decided_by="person", holder="ann", reviewer="bob"),
        Item("c", "decision", 3, 9, {}, state="decided", decided_by="safe_default", holder="ann", reviewer="deadline"),
        Item("d", "decision", 4, 9, {}),
    ]
    table.add(kept)
    new = select(items.c.id, items.c.kind, items.c.created_us, items.c.person, items.c.decided_by, items.c.wake_us)
    with any_db.read() as connection:
        today = connection.execute(new.order_by(items.c.id)).all()
    with any_db.write() as connection, Operations.context(MigrationContext.configure(connection)):
        m0002_whose_items.downgrade()
        m0002_whose_items.upgrade()
    with any_db.read() as connection:
        assert connection.execute(new.order_by(items.c.id)).all() == today
    assert [row.person for row in today] == ["ann", "bob", "ann", ""]
    assert table.queue(9, None) == sorted(kept, key=lambda item: item.id)


def test_a_database_of_the_version_before_offers_nobody_a_second_look_at_their_own(any_db: Database) -> None:
    from alembic.migration import MigrationContext
    from alembic.operations import Operations

    from andon.core.record import Item
    from andon.store.items import ItemTable
    from andon.store.migrations.versions import m0004_said_before

    table = ItemTable(any_db)
    table.add([Item("old", "decision", 1, 9, {}), Item("done", "decision", 1, 9, {}, state="decided", reviewer="ann")])
    with any_db.write() as connection, Operations.context(MigrationContext.configure(connection)):
        m0004_said_before.downgrade()
        before = connection.execute(text("SELECT * FROM items ORDER BY id")).all()
        connection.execute(text("UPDATE alembic_version SET version_num = '0003'"))
        apply.upgrade(connection)
        after = connection.execute(text("SELECT * FROM items ORDER BY id")).all()
    assert [tuple(row)[:-2] for row in after] == [tuple(row) for row in before]
    assert {tuple(row)[-2:] for row in after} == {("", "")}
    long = "z" * 300
    table.add([
        Item("second", "second", 1, 9, {}, risk=-3.0, of="done", said={"ann": "x"}),
        Item("third", "adjudication", 1, 9, {}, risk=-2.0, of="done", said={"ann": "x", long: "y"}),
    ])  # fmt: skip
    assert [item.id for item in table.queue(9, "open", 0, "bob")] == ["old", "third", "second"]
    assert [item.id for item in table.queue(9, "open", 0, "ann")] == ["old"]
    assert [item.id for item in table.queue(9, "open", 0, long)] == ["old", "second"]
    assert [item.id for item in table.queue(9, "open", 1)] == ["third", "second"]


def test_which_migration_a_database_has_is_asked_without_migrating_it(tmp_path: Path, db: Database) -> None:
    assert db.revision() == HEAD_REVISION
    with db.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0001'"))
    db.close()
    assert db.revision() == db.revision() == "0001"
    file = file_of(db)
    file.write_bytes(b"")
    assert db.revision() is None
    file.write_bytes(b"garbage" * 999)
    with pytest.raises(Corrupt, match="not a database"):
        db.revision()
    file.unlink()
    with pytest.raises(Unavailable, match="was moved, deleted"):
        db.revision()


def test_no_message_holds_a_password() -> None:
    db = Database("postgresql://ann:hunter2@127.0.0.1:1/line?password=hunter3&sslpassword=hunter4", busy_seconds=1)
    assert db.name == "postgresql+psycopg://ann:***@127.0.0.1:1/line"
    try:
        db.revision()
    except (Unavailable, UsageError) as error:
        assert "hunter" not in str(error)
    else:
        pytest.fail("nobody listens there")


def test_a_database_of_a_newer_release_is_refused(tmp_path: Path, db: Database) -> None:
    with db.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    db.close()
    with pytest.raises(UsageError, match="newer release of Andon"), db.read():
        pass


def test_a_migration_that_fails_half_way_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "andon.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE windows (x)")
    connection.close()
    with pytest.raises(Unavailable, match="already exists"):
        Database.create(f"sqlite:///{path}")
    connection = sqlite3.connect(path)
    names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    connection.close()
    assert names == ["windows"]


def test_opening_a_current_database_does_not_import_alembic(db: Database) -> None:
    code = (
        "import sys; from andon.store.tables import Database; db = Database(sys.argv[1]);"
        "ctx = db.read(); ctx.__enter__(); print('alembic' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code, db.url.render_as_string()], capture_output=True, text=True)
    assert out.stdout.strip() == "False", out.stderr


def test_numbers_of_64_bits_are_kept_at_the_edge(any_db: Database) -> None:
    edge = 2**63 - 1
    with any_db.write() as connection:
        row = {"name": "n", "holder": "h", "term": edge, "ttl_us": edge, "expires_wall_us": -edge - 1}
        connection.execute(insert(leases), row)
        assert connection.execute(select(leases.c.term, leases.c.expires_wall_us)).one() == (edge, -edge - 1)


@pytest.mark.line
def test_a_postgres_server_that_does_not_answer_is_unavailable(postgres: str) -> None:
    db = Database(postgres.format("postgres") + "-elsewhere", busy_seconds=1)
    with pytest.raises(Unavailable, match="is unavailable"), db.read():
        pass


def test_a_missing_driver_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    db = Database("postgresql://ann@localhost:1/andon", busy_seconds=1)
    with pytest.raises(UsageError, match=r"install andon\[postgres\]"), db.read():
        pass


@pytest.mark.line
def test_a_value_that_does_not_fit_is_told(postgres: str) -> None:
    db = Database.create(postgres.format("postgres"))
    with pytest.raises(UsageError, match="cannot hold a value"), db.write() as connection:
        connection.execute(insert(states), {**ROW, "key": "x" * 300})
    db.close()
