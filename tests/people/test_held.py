"""Answers that are held: taken back in time, sent once, never lost; and cases that are given back."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Barrier, Thread
from typing import Any, Literal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from andon.core.clock import MINUTE, SECOND, ManualClock
from andon.core.record import Draft, Item, Review
from andon.errors import Conflict, ContractError, NotFound, Unavailable
from andon.people.change import MAX_SKIPS
from andon.people.inbox import Inbox, ReviewPolicy, veil
from andon.people.memory import MemoryItems, MemoryOutbox

ANSWERS = ("negative", "positive", "refer")
UNDO = 10


class Desk:
    """An inbox that holds answers for ten seconds, with everything it stands on."""

    def __init__(self, on_timeout: Literal["safe_default", "wait", "escalate"] = "safe_default", **policy: Any) -> None:
        self.items = MemoryItems()
        self.outbox = MemoryOutbox()
        self.clock = ManualClock(1_000_000)
        terms = {"undo_us": UNDO * SECOND, "lease_us": 10 * MINUTE, "deadline_us": 60 * MINUTE, **policy}
        self.inbox = Inbox(self.items, self.outbox, self.clock, ReviewPolicy(ANSWERS, "refer", on_timeout, **terms))

    def ask(self, *ids: str, **fields: Any) -> None:
        defaults: dict[str, Any] = {"kind": "decision", "created_us": 0, "due_us": 60 * MINUTE, "x": {"cough": True}}
        self.items.add([Item(id=id, **{**defaults, **fields}) for id in ids])

    def sent(self) -> list[tuple[str, str]]:
        return [(review.id, review.decision) for review in self.outbox.reviews]

    def state(self, id: str) -> str:
        item = self.items.get(id)
        assert item is not None
        return item.state


def test_an_answer_is_held_and_then_sent_as_it_was_given() -> None:
    desk = Desk()
    desk.ask("a", suggestion="positive")
    desk.inbox.take("maria")
    desk.clock.advance(42)
    given = desk.clock.now()
    held = desk.inbox.hold("a", "negative", "maria")
    assert held.state == "taken"
    assert held.draft == Draft("negative", given, given + UNDO * SECOND, 42.0)
    assert desk.sent() == [] and desk.inbox.settle() == []
    desk.clock.advance(UNDO - 0.1)
    assert desk.inbox.settle() == [] and [item.id for item in desk.inbox.drafts("maria")] == ["a"]
    desk.clock.advance(0.1)
    [done] = desk.inbox.settle()
    assert (done.state, done.draft, done.outboxed) == ("decided", None, True)
    assert desk.outbox.reviews == [Review("a", "negative", "person", "maria", time_us=given, seconds=42.0)]
    assert desk.inbox.settle() == [] and desk.inbox.drafts("maria") == []


def test_what_is_taken_back_is_their_case_again_and_not_sent() -> None:
    desk = Desk()
    desk.ask("a")
    desk.inbox.take("maria")
    desk.clock.advance(595)
    desk.inbox.hold("a", "negative", "maria")
    desk.clock.advance(4)
    back = desk.inbox.undo("a", "maria")
    assert (back.state, back.holder, back.draft) == ("taken", "maria", None)
    desk.clock.advance(300)
    assert desk.inbox.settle() == [] and desk.sent() == []
    assert [item.id for item in desk.inbox.held("maria")] == ["a"]
    assert desk.inbox.decide("a", "positive", "maria").seconds == 899
    assert desk.sent() == [("a", "positive")]


def test_what_was_sent_is_not_taken_back() -> None:
    desk = Desk()
    desk.ask("a")
    desk.inbox.take("maria")
    desk.inbox.hold("a", "negative", "maria")
    desk.clock.advance(UNDO)
    with pytest.raises(Conflict, match="was decided 'negative' by maria"):
        desk.inbox.undo("a", "maria")
    assert desk.sent() == [("a", "negative")]  # whoever comes first sends it, even who came to take it back


@pytest.mark.parametrize("name", ["tom", "maria"])
def test_nothing_is_held_nothing_is_taken_back(name: str) -> None:
    desk = Desk()
    desk.ask("a")
    desk.inbox.take("maria")
    with pytest.raises(Conflict):
        desk.inbox.undo("a", name)
    with pytest.raises(NotFound):
        desk.inbox.undo("b", name)


def test_a_held_answer_can_be_changed_and_said_twice() -> None:
    desk = Desk()
    desk.ask("a")
    desk.inbox.take("maria")
    first = desk.inbox.hold("a", "negative", "maria")
    desk.clock.advance(5)
    assert desk.inbox.hold("a", "negative", "maria") == first
    assert desk.inbox.hold("a", "positive", "maria").draft == Draft("positive", 6_000_000, 16_000_000, 5.0)
    with pytest.raises(Conflict, match="is with maria"):
        desk.inbox.hold("a", "refer", "tom")
    with pytest.raises(ContractError):
        desk.inbox.hold("a", "maybe", "maria")
    assert [item.decision for item in desk.inbox.send("maria")] == ["positive"]
    assert desk.inbox.hold("a", "positive", "maria").state == "decided"
    with pytest.raises(Conflict):
        desk.inbox.hold("a", "negative", "maria")
    assert desk.sent() == [("a", "positive")]


def test_without_undo_an_answer_is_sent_at_once() -> None:
    desk = Desk(undo_us=0)
    desk.ask("a")
    desk.inbox.take("maria")
    assert desk.inbox.hold("a", "negative", "maria").state == "decided"
    assert desk.sent() == [("a", "negative")]


def test_a_lease_bounds_how_long_an_answer_is_held() -> None:
    desk = Desk()
    desk.ask("a", "b")
    desk.inbox.take("maria", 2)
    desk.clock.advance(597)
    desk.inbox.hold("a", "negative", "maria")
    desk.clock.advance(3)
    assert [item.id for item in desk.inbox.take("tom", 5)] == ["b"]  # the lease of b ended; a is not given away
    assert desk.sent() == [("a", "negative")]


def test_a_case_that_is_not_leased_is_leased_by_answering_it() -> None:
    desk = Desk()
    desk.ask("a")
    held = desk.inbox.hold("a", "negative", "maria")
    assert held.draft is not None and held.draft.seconds == 0.0
    with pytest.raises(Conflict, match="is with maria"):
        desk.inbox.decide("a", "positive", "tom")
    assert desk.inbox.undo("a", "maria").holder == "maria"


def test_the_deadline_counts_a_held_answer() -> None:
    for kind in ("decision", "audit"):
        desk = Desk()
        desk.ask("a", kind=kind)
        desk.inbox.take("maria")
        desk.inbox.hold("a", "negative", "maria")
        [done] = desk.inbox.expire(60 * MINUTE)
        assert (done.decision, done.decided_by, done.reviewer) == ("negative", "person", "maria")
        assert desk.sent() == [("a", "negative")]


def test_a_deadline_that_has_come_leaves_no_time_to_hold() -> None:
    desk = Desk("wait")
    desk.ask("a", due_us=0)
    desk.inbox.take("maria")
    assert desk.inbox.hold("a", "negative", "maria").state == "decided"


def test_who_leaves_sends_what_is_held_and_only_theirs() -> None:
    desk = Desk()
    desk.ask("a", "b", "c", "d")
    desk.inbox.take("maria", 3)
    desk.inbox.take("tom")
    for id, name in (("a", "maria"), ("b", "maria"), ("d", "tom")):
        desk.inbox.hold(id, "negative", name)
        desk.clock.advance(1)
    assert [item.id for item in desk.inbox.drafts("maria")] == ["b", "a"]
    assert {item.id for item in desk.inbox.send("maria")} == {"a", "b"}
    assert desk.inbox.send("maria") == []
    assert (desk.state("c"), desk.state("d")) == ("taken", "taken")


def test_an_answer_given_at_once_replaces_what_is_held() -> None:
    desk = Desk()
    desk.ask("a")
    desk.inbox.take("maria")
    desk.inbox.hold("a", "negative", "maria")
    done = desk.inbox.decide("a", "positive", "maria")
    assert (done.state, done.draft) == ("decided", None)
    desk.clock.advance(UNDO)
    assert desk.inbox.settle() == [] and desk.sent() == [("a", "positive")]


def test_a_held_answer_that_is_due_counts_whatever_its_reviewer_says_then() -> None:
    desk = Desk()
    desk.ask("a")
    desk.inbox.take("maria")
    desk.inbox.hold("a", "negative", "maria")
    desk.clock.advance(UNDO)
    with pytest.raises(Conflict, match="decided 'negative'"):
        desk.inbox.decide("a", "positive", "maria")
    assert desk.sent() == [("a", "negative")]


def test_many_answers_at_once_leave_what_is_held() -> None:
    desk = Desk()
    desk.ask("a", "b")
    desk.inbox.take("maria", 2)
    desk.inbox.hold("a", "negative", "maria")
    assert [item.id for item in desk.inbox.decide_many({"a": "positive", "b": "positive"}, "maria")] == ["b"]


def test_others_see_nothing_of_what_is_held() -> None:
    desk = Desk()
    desk.ask("a", suggestion="positive", confidence=0.9, risk=0.1)
    desk.inbox.take("maria")
    own = desk.inbox.hold("a", "negative", "maria")
    assert own.draft is not None and own.suggestion is None  # blind until it is sent, or it would be no use taking back
    [shown] = desk.inbox.queue(state="taken")
    assert (shown.draft, shown.suggestion, shown.confidence, shown.risk) == (None, None, None, 0.0)
    assert desk.inbox.drafts("tom") == []
    desk.inbox.release("a", "maria", skip=True)
    assert [item.skips for item in desk.inbox.queue()] == [{}]


@pytest.mark.parametrize(("risk", "shown"), [(0.97, 0.0), (1.0, 0.0), (-1.0, -1.0), (10.4, 10.0), (0.0, 0.0)])
def test_the_risk_does_not_tell_a_blind_reviewer_how_sure_the_model_is(risk: float, shown: float) -> None:
    blind = Item("a", "decision", 0, 0, {}, risk=risk, suggestion="negative", confidence=0.5)
    assert veil(blind).risk == shown
    assert veil(Item("a", "decision", 0, 0, {}, blind=False, risk=risk)).risk == risk


def test_a_skipped_case_comes_to_its_skipper_last() -> None:
    desk = Desk()
    desk.ask("a", "b", "c")
    for expected in ("a", "b", "c", "a", "b"):
        [item] = desk.inbox.take("maria")
        assert item.id == expected
        desk.clock.advance(1)
        assert desk.inbox.release(item.id, "maria", skip=True).state == "open"
    assert [item.id for item in desk.inbox.take("tom", 3)] == ["a", "b", "c"]


def test_a_skip_is_found_behind_many_others() -> None:
    desk = Desk()
    desk.ask(*(f"a{n:03}" for n in range(120)))
    for item in desk.inbox.take("maria", 119):
        desk.inbox.release(item.id, "maria", skip=True)
    assert [item.id for item in desk.inbox.take("maria", 2)] == ["a119", "a000"]


def test_an_item_remembers_so_many_skips_and_no_more() -> None:
    desk = Desk()
    desk.ask("a")
    for n in range(MAX_SKIPS + 5):
        desk.clock.advance(1)
        desk.inbox.take(f"r{n}")
        desk.inbox.release("a", f"r{n}", skip=True)
    item = desk.items.get("a")
    assert item is not None and len(item.skips) == MAX_SKIPS
    assert "r4" not in item.skips and "r5" in item.skips


def test_one_case_can_be_taken_by_its_id() -> None:
    desk = Desk()
    desk.ask("a", "b")
    first = desk.inbox.take_one("b", "maria")
    assert (first.state, first.holder) == ("taken", "maria")
    desk.clock.advance(5)
    assert desk.inbox.take_one("b", "maria") == first
    with pytest.raises(Conflict, match="is with maria"):
        desk.inbox.take_one("b", "tom")
    desk.clock.advance(600)
    assert desk.inbox.take_one("b", "tom").holder == "tom"


class BrokenOutbox(MemoryOutbox):
    failing = True

    def append(self, reviews: Sequence[Review]) -> None:
        if self.failing:
            raise Unavailable("people stream: no space left")
        super().append(reviews)


def test_a_held_answer_survives_a_stream_that_cannot_be_written() -> None:
    desk = Desk()
    outbox = BrokenOutbox()
    inbox = Inbox(desk.items, outbox, desk.clock, desk.inbox.policy)
    desk.ask("a")
    inbox.take("maria")
    inbox.hold("a", "negative", "maria")
    desk.clock.advance(UNDO)
    assert [item.outboxed for item in inbox.settle()] == [False]
    outbox.failing = False
    assert inbox.flush_outbox() == 1
    assert [(review.id, review.decision) for review in outbox.reviews] == [("a", "negative")]


class LateSwap(MemoryItems):
    """Somebody else does something just before the first swap of an item."""

    meanwhile: Any = None

    def swap(self, item: Item) -> bool:
        act, self.meanwhile = self.meanwhile, None
        if act is not None:
            act()
        return super().swap(item)


@pytest.mark.parametrize("first", ["undo", "settle"])
def test_taking_back_and_sending_at_the_same_moment(first: str) -> None:
    desk = Desk()
    items = LateSwap()
    one = Inbox(items, desk.outbox, desk.clock, desk.inbox.policy)
    other = Inbox(items, desk.outbox, desk.clock, desk.inbox.policy)
    items.add([Item("a", "decision", 0, 60 * MINUTE, {})])
    one.take("maria")
    one.hold("a", "negative", "maria")
    if first == "undo":  # it has just been read as due by the one who sends
        items.meanwhile = lambda: other.undo("a", "maria")
        one.send("maria")
        assert desk.sent() == [] and [item.id for item in one.held("maria")] == ["a"]
    else:
        items.meanwhile = lambda: other.send("maria")
        with pytest.raises(Conflict, match="was decided"):
            one.undo("a", "maria")
        assert desk.sent() == [("a", "negative")]


def test_racing_undo_and_send_settle_every_answer_one_way() -> None:
    desk = Desk()
    ids = [f"i{n:03}" for n in range(150)]
    desk.ask(*ids)
    desk.inbox.take("maria", len(ids))
    for id in ids:
        desk.inbox.hold(id, "negative", "maria")
    back: list[str] = []
    barrier = Barrier(3)

    def undo() -> None:
        barrier.wait()
        for id in ids:
            try:
                desk.inbox.undo(id, "maria")
            except Conflict:
                continue
            back.append(id)

    def send() -> None:
        barrier.wait()
        for _ in range(20):
            desk.inbox.send("maria")

    threads = [Thread(target=undo), Thread(target=send), Thread(target=send)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sent = [id for id, _ in desk.sent()]
    assert len(sent) == len(set(sent))
    assert sorted([*sent, *back]) == ids


IDS = ("a", "b", "c", "d")
REVIEWERS = ("maria", "tom")


class HeldAnswers(RuleBasedStateMachine):
    """Whatever two reviewers, the deadline and a stream that fails do: one decision each, sent once, never one taken back."""

    def __init__(self) -> None:
        super().__init__()
        self.desk = Desk()
        self.outbox = BrokenOutbox()
        self.outbox.failing = False
        self.inbox = Inbox(self.desk.items, self.outbox, self.desk.clock, self.desk.inbox.policy)
        self.first: dict[str, tuple[str | None, str | None]] = {}
        self.withdrawn: dict[str, str] = {}
        self.desk.ask(*IDS[:3], due_us=4 * MINUTE)
        self.desk.ask(IDS[3], kind="audit", due_us=5 * MINUTE)

    @rule(name=st.sampled_from(REVIEWERS), n=st.integers(1, 3))
    def take(self, name: str, n: int) -> None:
        self.inbox.take(name, n)

    @rule(id=st.sampled_from(IDS), name=st.sampled_from(REVIEWERS), answer=st.sampled_from(ANSWERS))
    def hold(self, id: str, name: str, answer: str) -> None:
        try:
            held = self.inbox.hold(id, answer, name)
        except Conflict:
            return
        assert held.state == "decided" or (held.holder == name and held.draft is not None)
        self.withdrawn.pop(id, None)

    @rule(id=st.sampled_from(IDS), name=st.sampled_from(REVIEWERS))
    def undo(self, id: str, name: str) -> None:
        try:
            back = self.inbox.undo(id, name)
        except Conflict:
            return
        assert back.holder == name and back.lease_until_us > self.desk.clock.wall()
        assert id not in self.first
        self.withdrawn[id] = name

    @rule(id=st.sampled_from(IDS), name=st.sampled_from(REVIEWERS), answer=st.sampled_from(ANSWERS))
    def decide(self, id: str, name: str, answer: str) -> None:
        try:
            self.inbox.decide(id, answer, name)
        except Conflict:
            return
        self.withdrawn.pop(id, None)

    @rule(id=st.sampled_from(IDS), name=st.sampled_from(REVIEWERS), skip=st.booleans())
    def release(self, id: str, name: str, skip: bool) -> None:
        try:
            self.inbox.release(id, name, skip=skip)
        except Conflict:
            return
        self.withdrawn[id] = name

    @rule(name=st.sampled_from(REVIEWERS))
    def send(self, name: str) -> None:
        self.inbox.send(name)

    @rule()
    def settle(self) -> None:
        self.inbox.settle()

    @rule()
    def expire(self) -> None:
        self.inbox.expire()

    @rule(seconds=st.sampled_from([0.5, 5, 9.5, 10, 60, 599, 600]))
    def advance(self, seconds: float) -> None:
        self.desk.clock.advance(seconds)

    @rule(failing=st.booleans())
    def disk(self, failing: bool) -> None:
        self.outbox.failing = failing

    @precondition(lambda self: not self.outbox.failing)
    @rule()
    def flush(self) -> None:
        self.inbox.flush_outbox()

    @invariant()
    def nothing_is_decided_twice(self) -> None:
        for item in self.desk.items.queue(10, "decided"):
            assert self.first.setdefault(item.id, (item.decision, item.reviewer)) == (item.decision, item.reviewer)
            assert item.draft is None
            if item.decided_by == "person":
                assert item.id not in self.withdrawn, "an answer that was taken back was sent"

    @invariant()
    def nothing_is_sent_that_is_not_decided_so(self) -> None:
        reviews = [(review.id, (review.decision, review.reviewer)) for review in self.outbox.reviews]
        assert len(dict(reviews)) == len(reviews)
        assert all(self.first[id] == said for id, said in reviews)

    @invariant()
    def a_held_answer_has_its_reviewer(self) -> None:
        for item in self.desk.items.queue(10, None):
            if item.draft is not None:
                assert item.state == "taken" and item.holder in REVIEWERS
                assert item.draft.until_us <= item.lease_until_us

    def teardown(self) -> None:
        """In the end everything is answered and sent, whatever was held."""
        self.outbox.failing = False
        held = {
            item.id: (item.draft.decision, item.holder) for item in self.desk.items.queue(10, "taken") if item.draft
        }
        self.desk.clock.advance(3600)
        self.inbox.settle()
        self.inbox.expire()
        self.inbox.flush_outbox()
        decided = {item.id: (item.decision, item.reviewer) for item in self.desk.items.queue(10, "decided")}
        assert set(decided) == set(IDS)
        assert all(decided[id] == said for id, said in held.items())
        sent = {review.id: (review.decision, review.reviewer) for review in self.outbox.reviews}
        assert sent == {id: said for id, said in decided.items() if said[0] is not None}


TestHeldAnswers = HeldAnswers.TestCase
TestHeldAnswers.settings = settings(max_examples=120, stateful_step_count=30, deadline=None)
