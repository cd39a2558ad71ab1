"""The journal: appended in one order by many, never edited, and an edit by force is found."""

from __future__ import annotations

import subprocess
import sys
from hashlib import sha256

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from andon.core.clock import ManualClock
from andon.core.port import JournalWriter
from andon.core.record import Event
from andon.errors import AndonError, Unavailable, UsageError
from andon.store.journal import Journal
from andon.store.tables import Database


@pytest.fixture
def journal(any_db: Database, clock: ManualClock) -> Journal:
    return Journal(any_db, clock)


def fill(journal: JournalWriter, n: int = 5) -> list[Event]:
    return [journal.append("route", f"v{i}", "ann", "because", {"i": i, "share": 0.05}) for i in range(n)]


def by_force(db: Database, sql: str) -> None:
    """As somebody does who may change the tables."""
    drops = ["events_no_update", "events_no_delete"] if db.sqlite else ["events_append_only ON events"]
    with db.write() as connection:
        for trigger in drops:
            connection.execute(text(f"DROP TRIGGER {trigger}"))
        connection.execute(text(sql))


def test_events_are_chained_and_read_back(journal: Journal, clock: ManualClock) -> None:
    assert journal.verify() == (True, None)
    assert journal.head() == (0, "0" * 64)
    events = fill(journal)
    assert journal.read() == events
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5]
    assert [event.previous for event in events] == ["0" * 64, *[event.hash for event in events[:-1]]]
    assert journal.head() == (5, events[-1].hash)
    assert journal.verify() == (True, None)
    assert events[0].time_us == clock.now()


def test_the_hash_can_be_recomputed_by_anyone(journal: Journal) -> None:
    event = fill(journal, 1)[0]
    evidence = msgspec.json.encode(event.evidence).decode()
    row = [
        event.sequence, event.time_us, event.wall_us, event.action, event.subject,
        event.actor, event.reason, evidence, event.previous,
    ]  # fmt: skip
    assert event.hash == sha256(msgspec.json.encode(row)).hexdigest()


def test_reading_filters_and_pages(journal: Journal) -> None:
    events = fill(journal, 4)
    other = journal.append("release", "v9", "bob", "it passed")
    assert journal.read(after=2, limit=2) == events[2:4]
    assert journal.read(action="release") == journal.read(actor="bob") == journal.read(subject="v9") == [other]
    assert journal.read(action="route", subject="v1", actor="ann") == [events[1]]
    assert journal.latest(2) == [other, events[3]]
    assert journal.latest(action="route", subject="v0") == [events[0]]


@pytest.mark.parametrize("verb", ["UPDATE events SET reason = 'x'", "DELETE FROM events"])
def test_an_event_cannot_be_changed(journal: Journal, any_db: Database, verb: str) -> None:
    fill(journal)
    with pytest.raises(AndonError, match="append-only"), any_db.write() as connection:
        connection.execute(text(verb))
    assert journal.verify() == (True, None)


@pytest.mark.parametrize(
    ("sql", "first_bad"),
    [
        ("UPDATE events SET reason = 'another' WHERE sequence = 3", 3),
        ("UPDATE events SET evidence = '{}' WHERE sequence = 1", 1),
        ("UPDATE events SET hash = 'f' || substr(hash, 2) WHERE sequence = 5", 5),
        ("UPDATE events SET time_us = time_us + 1 WHERE sequence = 2", 2),
        ("DELETE FROM events WHERE sequence = 2", 2),
        ("DELETE FROM events WHERE sequence = 1", 1),
        ("UPDATE events SET sequence = 6 WHERE sequence = 5", 5),
    ],
)
def test_what_is_changed_by_force_is_found(journal: Journal, any_db: Database, sql: str, first_bad: int) -> None:
    events = fill(journal)
    changed_hash = events[4].hash.startswith("f") and first_bad == 5 and "hash" in sql
    by_force(any_db, sql)
    assert journal.verify() == ((True, None) if changed_hash else (False, first_bad))


MANY = """
import sys
from andon.core.clock import SystemClock
from andon.store.journal import Journal
from andon.store.tables import Database

journal = Journal(Database(sys.argv[1], busy_seconds=30), SystemClock())
for i in range(25):
    journal.append("test", str(i), sys.argv[2], "many at once")
"""


def test_many_processes_append_to_one_chain(journal: Journal, any_db: Database) -> None:
    url = any_db.url.render_as_string()
    processes = [subprocess.Popen([sys.executable, "-c", MANY, url, name]) for name in "abc"]
    assert [process.wait(120) for process in processes] == [0] * 3
    assert journal.verify() == (True, None)
    events = journal.read(limit=1000)
    assert [event.sequence for event in events] == list(range(1, 76))
    for name in "abc":
        assert [event.subject for event in events if event.actor == name] == [str(i) for i in range(25)]


def test_evidence_that_is_not_json_is_refused(journal: Journal) -> None:
    with pytest.raises(UsageError, match="expected JSON values"):
        journal.append("a", "b", "c", "d", {"f": object()})
    assert journal.read() == []


def test_a_locked_database_writes_nothing(db: Database, clock: ManualClock) -> None:
    hasty = Journal(Database(db.url.render_as_string(), busy_seconds=0.05), clock)
    with db.write(), pytest.raises(Unavailable, match="locked"):
        hasty.append("a", "b", "c", "d")
    assert hasty.append("a", "b", "c", "d").sequence == 1


@settings(max_examples=20, deadline=None)
@given(
    texts=st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20), min_size=4, max_size=4
    ),
    evidence=st.dictionaries(
        st.text(st.characters(exclude_categories=["Cs"])),
        st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False),
        max_size=4,
    ),
)
def test_any_text_and_evidence_come_back(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], evidence: dict[str, object]
) -> None:
    db = Database.create(f"sqlite:///{tmp_path_factory.mktemp('journal') / 'andon.db'}")
    journal = Journal(db, ManualClock())
    action, subject, actor, reason = texts
    event = journal.append(action, subject, actor, reason, evidence)
    assert event.evidence == evidence
    assert journal.read() == [event]
    assert journal.verify() == (True, None)
    db.close()
