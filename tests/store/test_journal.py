"""The journal: appended in one order by many, never edited, and an edit by force is found."""

from __future__ import annotations

import subprocess
import sys
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, event, text

from andon.core.clock import ManualClock
from andon.core.port import JournalWriter
from andon.core.record import Event
from andon.errors import AndonError, Unavailable, UsageError
from andon.store.journal import Journal, Wanted
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


def test_pages_go_back_and_forth_without_a_hole(journal: Journal) -> None:
    events = fill(journal, 11)
    seen = journal.page(limit=4)
    assert seen == events[:6:-1]
    while seen[-1].sequence > 1:
        older = journal.page(before=seen[-1].sequence, limit=4)
        assert journal.page(after=older[0].sequence, limit=4)[-1].sequence == older[0].sequence + 1
        seen += older
    assert seen == events[::-1]
    assert journal.page(before=1) == journal.page(after=11) == []


def test_a_page_is_of_what_was_wanted(journal: Journal, clock: ManualClock) -> None:
    for number in range(6):
        journal.append(f"alarm.{'fired' if number % 2 else 'resolved'}", f"m{number % 3}", "controller", "")
        clock.advance(60)
    journal.append("deploy.stop", "route 1", "ann", "smoke")
    alarms = Wanted(("alarm.fired", "alarm.resolved"))
    assert [event.sequence for event in journal.page(alarms, limit=4)] == [6, 5, 4, 3]
    assert [event.sequence for event in journal.page(alarms, before=3)] == [2, 1]
    assert [event.sequence for event in journal.page(alarms, after=1, limit=2)] == [3, 2]
    assert [event.sequence for event in journal.page(Wanted(subject="m1"))] == [5, 2]
    assert [event.sequence for event in journal.page(Wanted(actor="ann"))] == [7]
    assert journal.page(Wanted(("alarm.fired",), actor="ann")) == journal.page(Wanted(())) == []
    assert journal.actions() == ["alarm.fired", "alarm.resolved", "deploy.stop"]
    assert journal.actors() == ["ann", "controller"]
    assert journal.actors(1) == ["ann"]


def test_a_stretch_of_time_is_half_open_also_where_the_clock_was_set_back(journal: Journal, clock: ManualClock) -> None:
    start = clock.now()
    for seconds in (0, 60, 60, -100, 60, 60):
        clock.advance(seconds)
        journal.append("a", "b", "c", "")
    times = {event.sequence: (event.time_us - start) // 1_000_000 for event in journal.read()}
    for since in (-200, 0, 20, 60, 120, 500):
        for until in (-200, 20, 60, 61, 121):
            wanted = Wanted(since_us=start + since * 1_000_000, until_us=start + until * 1_000_000)
            found = [event.sequence for event in journal.page(wanted)]
            assert found == [number for number in (6, 5, 4, 3, 2, 1) if since <= times[number] < until]
    assert len(journal.page(Wanted(since_us=start + 60_000_000))) == sum(time >= 60 for time in times.values())


@pytest.mark.parametrize(
    ("wanted", "edge"),
    [
        (Wanted(), {}),
        (Wanted(), {"before": 500_000}),
        (Wanted(), {"after": 500_000}),
        (Wanted(("route", "release")), {"before": 9}),
        (Wanted(actor="ann"), {}),
        (Wanted(subject="v1"), {"after": 1}),
        (Wanted(since_us=1, until_us=9), {}),
        (Wanted(("route",), since_us=1), {}),
    ],
)
def test_no_page_reads_or_sorts_the_whole_table(
    db: Database, clock: ManualClock, wanted: Wanted, edge: dict[str, int]
) -> None:
    """By SQLite's own plan of every query that a page asks: each goes by an index, in its order."""
    journal = Journal(db, clock)
    fill(journal)
    asked: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, sql: str, values: Any, *_rest: object) -> None:
        asked.append((sql, values))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        journal.page(wanted, **edge)
        journal.actions()
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    plans = []
    with db.read() as connection:
        for sql, values in [one for one in asked if one[0].startswith("SELECT")]:
            plans += [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)]
    assert plans
    for plan in plans:
        assert "TEMP B-TREE" not in plan
        # The newest of all are read in the order of the table, and no further than the page is long.
        assert not plan.startswith("SCAN events") or wanted == Wanted() or "INDEX" in plan, plan


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


def test_a_break_is_told_with_what_was_expected_and_found(journal: Journal, any_db: Database) -> None:
    events = fill(journal)
    found = journal.check()
    assert (found.sound, found.events, found.first, found.head, found.fault) == (True, 5, 1, events[4].hash, "")
    by_force(any_db, "UPDATE events SET reason = 'another' WHERE sequence = 3")
    found = journal.check()
    assert (found.sound, found.events, found.bad) == (False, 2, 3)
    assert f"found {events[2].hash[:16]}: it was changed" in found.fault


def test_an_event_with_a_new_hash_of_its_own_breaks_the_next(journal: Journal, any_db: Database) -> None:
    events = fill(journal)
    row = msgspec.structs.replace(events[1], reason="other")
    evidence = msgspec.json.encode(row.evidence).decode()
    content = [
        row.sequence, row.time_us, row.wall_us, row.action, row.subject, row.actor, row.reason, evidence, row.previous
    ]  # fmt: skip
    forged = sha256(msgspec.json.encode(content)).hexdigest()
    by_force(any_db, f"UPDATE events SET reason = 'other', hash = '{forged}' WHERE sequence = 2")
    found = journal.check()
    assert found.bad == 3
    assert f"to follow the hash {forged[:16]}, found {events[1].hash[:16]}" in found.fault
    assert journal.check(last=2).sound


def test_the_last_events_can_be_checked_alone(journal: Journal, any_db: Database) -> None:
    events = fill(journal)
    found = journal.check(last=2)
    assert (found.events, found.first, found.head, found.sound) == (2, 4, events[4].hash, True)
    assert journal.check(last=99).events == 5
    by_force(any_db, "DELETE FROM events WHERE sequence = 3")
    assert journal.check(last=2).bad == 4
    assert journal.check(last=1).sound
    assert "found event 4: what was between is gone" in journal.check().fault


MANY = """
import sys
from andon.core.clock import SystemClock
from andon.store.journal import Journal, Wanted
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
