"""Items, records, states, leases, windows: facts once, changes by compare-and-swap, counts exactly once."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator

import msgspec
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.core.clock import ManualClock
from andon.core.port import Items
from andon.core.record import Draft, Field, Item
from andon.errors import Conflict, Corrupt, NotFound, UsageError
from andon.measure.summary import Moments
from andon.store.items import ItemTable, Waiting, last_decided
from andon.store.leases import Leases
from andon.store.records import Records
from andon.store.states import States
from andon.store.tables import Database
from andon.store.windows import WindowRow, WindowStore


def item(id: str, **changes: object) -> Item:
    base = Item(id=id, kind="decision", created_us=1, due_us=100, x={"cough": True, "age": None})
    return msgspec.structs.replace(base, **changes)


def changed(old: Item, **changes: object) -> Item:
    return msgspec.structs.replace(old, revision=old.revision + 1, **changes)


@pytest.fixture
def table(any_db: Database) -> ItemTable:
    return ItemTable(any_db)


def test_items_are_added_once(table: ItemTable) -> None:
    items: Items = table
    assert items.add([]) == 0
    assert items.add([item("a"), item("b"), item("a")]) == 2
    assert items.swap(changed(item("a"), state="taken", holder="ann"))
    assert items.add([item("a"), item("c")]) == 1
    found = items.get("a")
    assert found is not None and (found.state, found.holder, found.x) == ("taken", "ann", {"cough": True, "age": None})
    assert items.get("z") is None
    assert table.counts() == {"open": 2, "taken": 1}
    assert sorted(table.many(["a", "c", "z"])) == ["a", "c"]
    assert len(table.many(f"x{i}" for i in range(1200))) == 0


def test_the_newest_decision_is_known_wherever_it_waits(any_db: Database, table: ItemTable) -> None:
    assert last_decided(any_db) == 0
    table.add([item("a"), item("b"), item("c")])
    assert last_decided(any_db) == 0 and table.counts("decided") == {} and table.counts("open") == {"open": 3}
    table.swap(changed(item("a"), state="decided", decided_us=7, outboxed=True))
    table.swap(changed(item("b"), state="decided", decided_us=9))
    assert last_decided(any_db) == 9 and table.counts("open", "taken") == {"open": 1}


def test_the_queue_is_worked_on_by_risk_then_deadline(table: ItemTable) -> None:
    table.add([item("late", due_us=9), item("soon", due_us=1), item("risky", risk=0.9), item("done", state="decided")])
    assert [i.id for i in table.queue(10)] == ["risky", "soon", "late"]
    assert [i.id for i in table.queue(2)] == ["risky", "soon"]
    assert [i.id for i in table.queue(10, "decided")] == ["done"]
    assert len(table.queue(10, None)) == 4


def test_of_cases_that_are_about_as_risky_the_one_that_is_due_first_comes_first(table: ItemTable) -> None:
    table.add([item("0.39", risk=0.39, due_us=9), item("0.31", risk=0.31, due_us=1), item("0.4", risk=0.4, due_us=99)])
    table.add([item("audit", risk=-1.0, due_us=0), item("0.29", risk=0.29, due_us=0)])
    assert [i.id for i in table.queue(10)] == ["0.4", "0.31", "0.39", "0.29", "audit"]
    assert table.queue(10)[1].risk == 0.31


def test_deadlines_are_due_at_their_time(table: ItemTable) -> None:
    table.add([item("a", due_us=10), item("b", due_us=5, state="taken"), item("c", due_us=1, state="decided")])
    assert [i.id for i in table.due(4, 9)] == []
    assert [i.id for i in table.due(5, 9)] == ["b"]
    assert [i.id for i in table.due(10, 9)] == ["b", "a"]
    assert [i.id for i in table.due(10, 1)] == ["b"]


def test_a_lease_has_lapsed_at_its_end(table: ItemTable) -> None:
    late = 1 << 50  # beyond 32 bits, as microseconds are
    taken = [item("a", state="taken", lease_until_us=late), item("b", state="taken", lease_until_us=late + 1)]
    table.add([*taken, item("c"), item("d", state="decided", lease_until_us=1)])
    assert table.lapsed(late - 1, 9) == []
    assert table.lapsed(late, 9) == [taken[0]]
    assert len(table.lapsed(late + 1, 9)) == 2 and len(table.lapsed(late + 1, 1)) == 1


def test_a_held_answer_wakes_before_its_lease(table: ItemTable) -> None:
    held = item("a", state="taken", holder="ann", lease_until_us=90, draft=Draft("refer", 1, until_us=50))
    table.add([held, item("b", state="taken", holder="ann", lease_until_us=60), item("c", draft=Draft("refer", 1, 1))])
    assert table.lapsed(49, 9) == []
    assert table.lapsed(50, 9) == [held]
    assert {i.id for i in table.lapsed(60, 9)} == {"a", "b"}


def test_the_queue_goes_on_where_a_page_ended(table: ItemTable) -> None:
    table.add([item(f"i{n}", risk=n / 10) for n in range(5)])
    assert [i.id for i in table.queue(2, "open", 1)] == ["i3", "i2"]
    assert table.queue(2, "open", 9) == []


def test_what_a_person_holds_is_theirs_alone(table: ItemTable) -> None:
    table.add([item("a", state="taken", holder="ann"), item("b", state="taken", holder="bob", risk=1.0)])
    table.add([item("c", state="taken", holder="ann", risk=0.5), item("d", state="decided", holder="ann"), item("e")])
    assert [i.id for i in table.taken("ann", 9)] == ["c", "a"]
    assert [i.id for i in table.taken("ann", 1)] == ["c"]
    assert table.taken("", 9) == []
    long = "x" * 300
    table.add([item("f", state="taken", holder=long)])
    assert [i.id for i in table.taken(long, 9)] == ["f"]


def test_what_waits_is_counted_by_kind_and_deadline(table: ItemTable) -> None:
    assert table.waiting() == {} and table.due_by([9]) == [0]
    table.add(
        [item("a", created_us=5, due_us=20), item("b", created_us=3, due_us=30), item("c", state="taken", due_us=1)]
    )
    table.add([item("d", kind="audit", created_us=4, due_us=90), item("e", state="decided", due_us=1)])
    assert table.waiting() == {"decision": Waiting(2, 3, 20), "audit": Waiting(1, 4, 90)}
    assert table.due_by([19, 20, 30, 1000]) == [0, 1, 2, 3]


def test_what_a_person_decided_and_what_the_deadline_took_from_them(table: ItemTable) -> None:
    by_ann = {"state": "decided", "decided_by": "person", "reviewer": "ann"}
    table.add([item("a", decided_us=5, **by_ann), item("b", decided_us=9, holder="bob", **by_ann)])
    late = {"state": "decided", "reviewer": "deadline", "holder": "ann", "decided_us": 7}
    table.add([item("c", decided_by="safe_default", **late), item("d", decided_by="nobody", kind="audit", **late)])
    assert (table.decided("ann"), table.decided("ann", 6), table.decided("bob"), table.decided("")) == (2, 1, 0, 0)
    assert (table.missed("ann"), table.missed("ann", 8), table.missed("bob")) == (2, 0, 0)


def test_the_outbox_holds_what_is_decided_and_not_yet_written(table: ItemTable) -> None:
    table.add([item("a"), item("b"), item("c")])
    second = changed(item("b"), state="decided", decided_us=2, decision="refer")
    first = changed(item("c"), state="decided", decided_us=1, decision="refer")
    assert table.swap_many([second, first]) == [second, first]
    assert table.pending_outbox(9) == [first, second]
    assert table.swap(changed(first, outboxed=True))
    assert table.pending_outbox(9) == [second]


def test_of_many_who_swap_one_wins(table: ItemTable) -> None:
    table.add([item("a")])
    won: list[str] = []

    def decide(name: str) -> None:
        if table.swap(changed(item("a"), state="decided", reviewer=name)):
            won.append(name)

    threads = [threading.Thread(target=decide, args=(f"r{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = table.get("a")
    assert found is not None and won == [found.reviewer]
    assert not table.swap(changed(item("none")))


class Kept(msgspec.Struct, frozen=True):
    id: str
    fields: tuple[Field, ...] = ()


@pytest.fixture
def records(any_db: Database, clock: ManualClock) -> Records:
    return Records(any_db, clock)


def test_records_are_written_once(records: Records) -> None:
    first = Kept("a", (Field("age", "int", low=0.0),))
    records.put("dataset", "a", first)
    with pytest.raises(Conflict, match="a dataset called 'a' exists already"):
        records.put("dataset", "a", Kept("b"))
    records.put("run", "a", Kept("c"))
    assert records.get("dataset", "a", Kept) == first
    assert records.list("dataset", Kept) == [first]
    assert records.names("dataset") == ("a",)
    with pytest.raises(NotFound, match="no dataset is called 'aa'; did you mean 'a'"):
        records.get("dataset", "aa", Kept)
    with pytest.raises(Corrupt, match="cannot be read as"):
        records.get("dataset", "a", int)


def test_numbers_are_given_in_order_even_to_many_at_once(records: Records) -> None:
    assert records.next_number("run") == 1
    names: list[str] = []

    def work() -> None:
        for _ in range(5):
            names.append(records.add("run", "r", Kept))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(names, key=lambda name: int(name[1:])) == [f"r{i}" for i in range(1, 21)]
    assert records.next_number("run") == 21
    assert [kept.id for kept in records.list("run", Kept)] == [f"r{i}" for i in range(1, 21)]


def test_states_have_revisions(any_db: Database) -> None:
    states = States(any_db)
    assert states.get("alarm", "a", dict) is None
    assert states.put("alarm", "a", {"n": 1}, expected_revision=0) == 1
    assert states.put("alarm", "a", {"n": 2}, expected_revision=1) == 2
    with pytest.raises(Conflict, match="expected revision 1, found 2"):
        states.put("alarm", "a", {"n": 3}, expected_revision=1)
    with pytest.raises(Conflict, match="expected revision 0, found 2"):
        states.put("alarm", "a", {"n": 3}, expected_revision=0)
    assert states.put("alarm", "b", {"n": 9}) == 1
    assert states.get("alarm", "a", dict[str, int]) == ({"n": 2}, 2)
    assert states.list("alarm", dict[str, int]) == {"a": {"n": 2}, "b": {"n": 9}}
    assert states.delete("alarm", "b") and not states.delete("alarm", "b")


def test_a_lease_has_one_holder_and_its_term_grows(any_db: Database, clock: ManualClock) -> None:
    leases = Leases(any_db, clock)
    assert leases.holder("leader") is None
    assert leases.acquire("leader", "a", 10) == 1
    assert leases.acquire("leader", "b", 10) is None
    assert leases.acquire("leader", "a", 10) == 1
    assert leases.holder("leader") == "a"
    clock.advance(9.999999)
    assert leases.renew("leader", "a", 1)
    clock.advance(10)
    assert not leases.renew("leader", "a", 1), "it ran out: somebody else may have it by now"
    assert leases.acquire("leader", "a", 10) == 2
    assert leases.renew("leader", "a", 2, 5, clock) and not leases.renew("leader", "a", 1)
    assert not leases.release("leader", "b")
    assert not leases.release("leader", "a", 1)
    assert leases.release("leader", "a", 2)
    assert not leases.release("leader", "a", 2)
    assert leases.acquire("leader", "b", 10) == 3
    with pytest.raises(UsageError, match="more than 0 seconds"):
        leases.acquire("leader", "b", 0)


def test_of_many_who_want_a_lease_one_gets_it(any_db: Database, clock: ManualClock) -> None:
    leases = Leases(any_db, clock)
    terms: list[int | None] = []
    threads = [
        threading.Thread(target=lambda i=i: terms.append(leases.acquire("leader", f"h{i}", 5))) for i in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(terms, key=str) == [1, None, None, None, None, None]


def summary(*values: float) -> Moments:
    return Moments.of(pl.Series(values, dtype=pl.Float64))


def row(start: int, *values: float, metric: str = "mean(age)", cohort: str = "") -> WindowRow:
    return WindowRow(metric, cohort, start, 60, summary(*values))


@pytest.fixture
def windows(any_db: Database) -> Iterator[WindowStore]:
    yield WindowStore(any_db)


def test_summaries_add_up_and_offsets_move_in_one_transaction(any_db: Database, windows: WindowStore) -> None:
    with any_db.write() as connection:
        assert windows.merge(connection, "profile", "w0", 100, [row(0, 1.0, 2.0), row(60, 5.0)])
    with any_db.write() as connection:
        assert windows.merge(connection, "profile", "w0", 200, [row(0, 3.0)])
    with any_db.write() as connection:
        assert not windows.merge(connection, "profile", "w0", 200, [row(0, 99.0)])
        assert not windows.merge(connection, "profile", "w0", 150, [row(0, 99.0)])
    assert windows.offsets("profile") == {"w0": 200}
    assert windows.offsets("other") == {}
    first, second = windows.read()
    assert first.summary.to_dict() == pytest.approx(summary(1.0, 2.0, 3.0).to_dict())
    assert second.summary.to_dict() == summary(5.0).to_dict()


def test_a_transaction_that_fails_counts_nothing(any_db: Database, windows: WindowStore) -> None:
    with pytest.raises(ZeroDivisionError), any_db.write() as connection:
        windows.merge(connection, "profile", "w0", 100, [row(0, 1.0)])
        raise ZeroDivisionError
    assert windows.offsets("profile") == {} and windows.read() == []


def test_windows_are_read_by_metric_cohort_and_time_and_can_be_replaced(windows: WindowStore) -> None:
    windows.replace([row(0, 1.0), row(60, 2.0), row(60, 3.0, cohort="older"), row(120, 4.0, metric="null_rate")])
    assert [(w.start_us, w.cohort) for w in windows.read("mean(age)")] == [(0, ""), (60, ""), (60, "older")]
    assert [w.start_us for w in windows.read(cohort="older")] == [60]
    assert [w.start_us for w in windows.read(since_us=60, until_us=120)] == [60, 60]
    windows.replace([row(0, 7.0)])
    assert windows.read("mean(age)", "", 0, 1) == [row(0, 7.0)]


def test_an_empty_summary_with_its_infinite_bounds_comes_back(windows: WindowStore) -> None:
    windows.replace([row(0)])
    assert windows.read() == [row(0)]


@pytest.fixture(scope="module")
def long_lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    database = Database.create(f"sqlite:///{tmp_path_factory.mktemp('windows') / 'andon.db'}")
    yield database
    database.close()


@settings(max_examples=25, deadline=None)
@given(
    batches=st.lists(st.lists(st.floats(-100, 100), max_size=3), max_size=6),
    stops=st.lists(st.integers(0, 6), max_size=4),
)
def test_replayed_batches_are_counted_once(long_lived: Database, batches: list[list[float]], stops: list[int]) -> None:
    """Law: a consumer that dies after any batch and starts from the beginning again ends with the same summaries."""
    name = secrets.token_hex(4)
    windows = WindowStore(long_lived)
    for stop in [*stops, len(batches)]:
        for at, batch in enumerate(batches[:stop]):
            with long_lived.write() as connection:
                windows.merge(connection, name, "w0", (at + 1) * 10, [row(0, *batch, metric=name)])
    found = [window.summary for window in windows.read(name)]
    assert [moments.n for moments in found if isinstance(moments, Moments)] == [
        sum(len(batch) for batch in batches) for _ in batches[:1]
    ]
