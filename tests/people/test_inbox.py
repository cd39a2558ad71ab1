"""The inbox: decided once whatever races, blind where it must be, leases and deadlines that end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from threading import Barrier, Thread
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from andon.core.clock import MINUTE, ManualClock
from andon.core.record import Item, Review
from andon.errors import Conflict, ContractError, NotFound, Unavailable, UsageError
from andon.people.inbox import MAX_TAKE, Inbox, ReviewPolicy, review_of, veil
from andon.people.memory import MemoryItems, MemoryOutbox

ANSWERS = ("negative", "positive", "refer")


class Desk:
    """An inbox with everything it stands on."""

    def __init__(self, on_timeout: Literal["safe_default", "wait", "escalate"] = "safe_default") -> None:
        self.items = MemoryItems()
        self.outbox = MemoryOutbox()
        self.clock = ManualClock(1_000_000)
        policy = ReviewPolicy(ANSWERS, "refer", on_timeout, deadline_us=60 * MINUTE, lease_us=10 * MINUTE)
        self.inbox = Inbox(self.items, self.outbox, self.clock, policy)

    def ask(self, *ids: str, **fields: Any) -> None:
        defaults: dict[str, Any] = {"kind": "decision", "created_us": 0, "due_us": 60 * MINUTE, "x": {"cough": True}}
        self.items.add([Item(id=id, **{**defaults, **fields}) for id in ids])


def test_take_leases_in_order_of_risk_then_deadline() -> None:
    desk = Desk()
    desk.ask("late", due_us=90)
    desk.ask("soon", due_us=10)
    desk.ask("risky", due_us=99, risk=0.9)
    assert [item.id for item in desk.inbox.take("maria", 2)] == ["risky", "soon"]
    assert [item.id for item in desk.inbox.take("tom", 5)] == ["late"]
    assert desk.inbox.take("ann", 5) == []
    assert {item.id for item in desk.inbox.held("maria")} == {"risky", "soon"}


def test_ended_leases_are_found_behind_many_that_run() -> None:
    desk = Desk()
    desk.ask("ended")
    desk.inbox.take("maria", 1)
    desk.clock.advance(300)
    desk.ask(*(f"a{n}" for n in range(MAX_TAKE)), risk=1.0)
    assert len(desk.inbox.take("ann", MAX_TAKE)) == MAX_TAKE
    desk.clock.advance(360)
    assert [item.id for item in desk.inbox.take("tom", 5)] == ["ended"]


def test_all_ended_leases_are_reclaimed_at_once() -> None:
    desk = Desk()
    desk.ask(*(f"a{n}" for n in range(MAX_TAKE + 1)))
    desk.inbox.take("maria", MAX_TAKE)
    desk.inbox.take("ann", 1)
    desk.clock.advance(660)
    desk.inbox.take("tom", 1)
    assert Counter(item.state for item in desk.items.queue(2 * MAX_TAKE, None)) == {"open": MAX_TAKE, "taken": 1}


@pytest.mark.parametrize("n", [0, -1, MAX_TAKE + 1])
def test_take_refuses_numbers_outside_its_bound(n: int) -> None:
    with pytest.raises(UsageError):
        Desk().inbox.take("maria", n)


def test_take_accepts_the_bound_and_a_reviewer_needs_a_name() -> None:
    desk = Desk()
    desk.ask("a")
    assert len(desk.inbox.take("maria", MAX_TAKE)) == 1
    with pytest.raises(UsageError, match="reviewer"):
        desk.inbox.take("  ")


def test_decide_keeps_who_how_long_and_sends_a_review() -> None:
    desk = Desk()
    desk.ask("a", suggestion="positive", confidence=0.7)
    desk.inbox.take("maria")
    desk.clock.advance(42)
    item = desk.inbox.decide("a", "negative", "maria")
    assert (item.state, item.decided_by, item.seconds, item.outboxed) == ("decided", "person", 42.0, True)
    assert desk.outbox.reviews == [
        Review("a", "negative", "person", "maria", time_us=desk.clock.now(), seconds=42.0, saw_suggestion=False)
    ]


def test_simulated_reviewers_are_marked_in_item_and_stream() -> None:
    desk = Desk()
    desk.ask("a")
    assert desk.inbox.decide("a", "negative", "clinic", simulated=True).simulated
    assert desk.outbox.reviews[0].simulated


def test_nothing_is_decided_twice() -> None:
    desk = Desk()
    desk.ask("a")
    desk.inbox.decide("a", "negative", "maria")
    assert desk.inbox.decide("a", "negative", "maria").decision == "negative"  # a retry is no second decision
    with pytest.raises(Conflict, match="was decided 'negative' by maria"):
        desk.inbox.decide("a", "positive", "maria")
    with pytest.raises(Conflict):
        desk.inbox.decide("a", "negative", "tom")
    with pytest.raises(Conflict):
        desk.inbox.release("a", "maria")
    assert len(desk.outbox.reviews) == 1


def test_unknown_items_and_answers_are_refused_in_one_sentence() -> None:
    desk = Desk()
    desk.ask("a")
    with pytest.raises(NotFound, match="'b'"):
        desk.inbox.decide("b", "negative", "maria")
    with pytest.raises(ContractError, match="did you mean 'negative'") as caught:
        desk.inbox.decide("a", "negatve", "maria")
    assert caught.value.field == "decision"
    assert desk.inbox.decide("a", "refer", "maria").decision == "refer"  # the safe default is an answer too


def test_a_lease_keeps_others_out_until_it_ends() -> None:
    desk = Desk()
    desk.ask("a")
    desk.inbox.take("maria")
    with pytest.raises(Conflict, match="is with maria"):
        desk.inbox.decide("a", "negative", "tom")
    with pytest.raises(Conflict):
        desk.inbox.release("a", "tom")
    desk.clock.advance(599)
    assert desk.inbox.take("tom") == []
    desk.clock.advance(1)
    assert [item.id for item in desk.inbox.take("tom")] == ["a"]
    assert desk.inbox.held("maria") == []
    with pytest.raises(Conflict, match="is with tom"):
        desk.inbox.decide("a", "negative", "maria")


def test_released_items_are_open_again() -> None:
    desk = Desk()
    desk.ask("a")
    desk.inbox.take("maria")
    assert desk.inbox.release("a", "maria").state == "open"
    assert [item.holder for item in desk.inbox.take("tom")] == ["tom"]


@pytest.mark.parametrize(
    ("level", "blind", "seen"), [("shadow", True, None), ("partial", True, None), ("assist", False, "positive")]
)
def test_blind_reviewers_do_not_see_the_model(level: Any, blind: bool, seen: str | None) -> None:
    desk = Desk()
    desk.ask("a", level=level, blind=blind, suggestion="positive", confidence=0.7)
    assert [item.suggestion for item in desk.inbox.queue()] == [seen]
    assert [item.suggestion for item in desk.inbox.take("maria")] == [seen]
    assert [item.suggestion for item in desk.inbox.held("maria")] == [seen]
    done = desk.inbox.decide("a", "negative", "maria")
    assert veil(done).suggestion == "positive"  # shown once it is decided
    assert desk.outbox.reviews[0].saw_suggestion is (not blind)


def test_the_deadline_answers_the_safe_default_once() -> None:
    desk = Desk()
    desk.ask("a", "b")
    desk.inbox.take("maria")
    assert desk.inbox.expire(60 * MINUTE - 1) == []
    done = desk.inbox.expire(60 * MINUTE)
    assert [(item.decision, item.decided_by, item.reviewer) for item in done] == [
        ("refer", "safe_default", "deadline")
    ] * 2
    assert desk.inbox.expire(61 * MINUTE) == []
    with pytest.raises(Conflict):
        desk.inbox.decide("a", "negative", "maria")
    assert [review.decided_by for review in desk.outbox.reviews] == ["safe_default"] * 2


@pytest.mark.parametrize(("on_timeout", "first"), [("wait", "soon"), ("escalate", "late")])
def test_waiting_and_escalating_give_the_deadline_again(on_timeout: Any, first: str) -> None:
    desk = Desk(on_timeout)
    desk.ask("late", due_us=MINUTE)
    desk.ask("soon", due_us=3 * MINUTE)
    assert desk.inbox.expire(2 * MINUTE) == []
    assert desk.items.due(2 * MINUTE, 10) == []
    item = desk.items.get("late")
    assert item is not None and (item.state, item.due_us) == ("open", 62 * MINUTE)
    assert desk.inbox.queue()[0].id == first


def test_an_audit_is_closed_by_its_deadline_and_answers_nobody() -> None:
    desk = Desk()
    desk.ask("a", kind="audit")
    [closed] = desk.inbox.expire(60 * MINUTE)
    assert (closed.state, closed.decision, closed.decided_by) == ("decided", None, "nobody")
    assert desk.outbox.reviews == [] and desk.inbox.flush_outbox() == 0
    with pytest.raises(Conflict, match="was closed"):
        desk.inbox.decide("a", "negative", "maria")


def test_an_audit_review_says_that_it_is_one() -> None:
    desk = Desk()
    desk.ask("a", kind="audit", suggestion="negative")
    desk.inbox.decide("a", "positive", "maria")
    assert desk.outbox.reviews[0].kind == "audit"


class FailingOutbox(MemoryOutbox):
    """A stream that cannot be written to until told otherwise."""

    failing = True

    def append(self, reviews: Sequence[Review]) -> None:
        if self.failing:
            raise Unavailable("people stream: no space left")
        super().append(reviews)


def test_a_decision_survives_a_stream_that_cannot_be_written() -> None:
    desk = Desk()
    outbox = FailingOutbox()
    inbox = Inbox(desk.items, outbox, desk.clock, desk.inbox.policy)
    desk.ask("a", "b")
    assert inbox.decide("a", "negative", "maria").outboxed is False
    inbox.expire(60 * MINUTE)
    with pytest.raises(Unavailable):
        inbox.flush_outbox()
    outbox.failing = False
    assert inbox.flush_outbox() == 2 and inbox.flush_outbox() == 0
    assert {(review.id, review.decision) for review in outbox.reviews} == {("a", "negative"), ("b", "refer")}


def race(inbox: Inbox, reviewers: int, ids: list[str]) -> list[tuple[str, str]]:
    """Every reviewer tries to decide every item, all at once; returns who succeeded."""
    won: list[tuple[str, str]] = []
    barrier = Barrier(reviewers)

    def work(name: str, answer: str) -> None:
        barrier.wait()
        for id in ids:
            try:
                inbox.decide(id, answer, name)
            except Conflict:
                continue
            won.append((id, name))

    threads = [Thread(target=work, args=(f"r{n}", ANSWERS[n % 3])) for n in range(reviewers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return won


def test_racing_reviewers_decide_every_item_exactly_once() -> None:
    desk = Desk()
    ids = [f"i{n}" for n in range(100)]
    desk.ask(*ids)
    won = race(desk.inbox, 6, ids)
    assert Counter(id for id, _ in won) == dict.fromkeys(ids, 1)
    assert {(review.id, review.reviewer) for review in desk.outbox.reviews} == set(won)
    assert len(desk.outbox.reviews) == 100


def test_racing_reviewers_never_hold_the_same_item() -> None:
    desk = Desk()
    desk.ask(*[f"i{n}" for n in range(100)])
    taken: list[str] = []
    barrier = Barrier(5)

    def work(name: str) -> None:
        barrier.wait()
        taken.extend(item.id for item in desk.inbox.take(name, 30))

    threads = [Thread(target=work, args=(f"r{n}",)) for n in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == len(set(taken)) == 100


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "decide", "release", "expire", "wait"]),
        st.sampled_from(["maria", "tom"]),
        st.sampled_from(["a", "b", "c"]),
        st.sampled_from(ANSWERS),
        st.integers(0, 40),
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_whatever_happens_an_item_keeps_its_first_decision(steps: list[tuple[str, str, str, str, int]]) -> None:
    desk = Desk()
    desk.ask("a", "b", "c")
    first: dict[str, str | None] = {}
    for action, reviewer, id, answer, minutes in steps:
        try:
            if action == "take":
                desk.inbox.take(reviewer, 2)
            elif action == "decide":
                desk.inbox.decide(id, answer, reviewer)
            elif action == "release":
                desk.inbox.release(id, reviewer)
            elif action == "expire":
                desk.inbox.expire()
            else:
                desk.clock.advance(minutes * 60)
        except Conflict:
            pass
        for item in desk.items.queue(10, "decided"):
            assert first.setdefault(item.id, item.decision) == item.decision
    assert {review.id: review.decision for review in desk.outbox.reviews} == first
    assert len(desk.outbox.reviews) == len(first)


def test_review_of_a_person_who_saw_the_suggestion() -> None:
    item = Item(
        "a",
        "decision",
        0,
        0,
        {},
        state="decided",
        blind=False,
        suggestion="negative",
        decision="negative",
        decided_by="person",
        reviewer="maria",
    )
    assert review_of(item).saw_suggestion


def test_many_answers_at_once_keep_the_promises_of_one() -> None:
    items, outbox = MemoryItems(), MemoryOutbox()
    inbox = Inbox(items, outbox, ManualClock(now=5), ReviewPolicy(("accept", "reject"), "reject"))
    items.add([Item(f"i{n}", "decision", 0, 10**12, {}, suggestion="accept") for n in range(4)])
    inbox.take("maria", 3)
    inbox.decide("i1", "reject", "maria")
    decided = inbox.decide_many(dict.fromkeys(["i0", "i1", "i2", "i3", "nobody"], "accept"), "maria", simulated=True)
    assert sorted(item.id for item in decided) == [
        "i0",
        "i2",
    ]  # i1 was decided, i3 is nobody's, the last does not exist
    assert all(item.suggestion == "accept" and item.simulated for item in decided)
    assert sorted((review.id, review.decision) for review in outbox.reviews) == [
        ("i0", "accept"),
        ("i1", "reject"),
        ("i2", "accept"),
    ]
    with pytest.raises(ContractError, match="none of the answers"):
        inbox.decide_many({"i3": "acept"}, "maria")
    assert items.many(["i3"])["i3"].state == "open"
