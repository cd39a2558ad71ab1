"""Double review: a second person blindly, a third where two differ; the client has the first answer and no other."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from andon.core.clock import MINUTE, SECOND, ManualClock
from andon.core.record import Item, Review
from andon.deploy.reviews import Reviews
from andon.errors import Conflict
from andon.people.agreement import Double, bias, of_reviewer, of_team
from andon.people.double import DEADLINES, Doubling, double_id, drawn, follow_up, item_id
from andon.people.inbox import Inbox, ReviewPolicy, veil
from andon.people.memory import MemoryItems, MemoryOutbox
from andon.store.frame import parse_server_id
from andon.store.outbox import PeopleStream

ANSWERS = ("negative", "positive", "refer")
HOUR = 60 * MINUTE


class Desk:
    """An inbox where a share of the cases is looked at twice, with everything it stands on."""

    def __init__(self, share: float = 1.0, *, blind: bool = True, undo_us: int = 0) -> None:
        self.items = MemoryItems()
        self.outbox = MemoryOutbox()
        self.clock = ManualClock(1_000_000)
        rule = Doubling(share, DEADLINES * HOUR, blind)
        self.policy = ReviewPolicy(ANSWERS, "refer", deadline_us=HOUR, undo_us=undo_us, doubling=rule)
        self.inbox = Inbox(self.items, self.outbox, self.clock, self.policy)

    def ask(self, *ids: str, **fields: Any) -> None:
        defaults: dict[str, Any] = {"kind": "decision", "created_us": 0, "due_us": HOUR, "x": {"cough": True}}
        self.items.add([Item(id=id, **{**defaults, **fields}) for id in ids])

    def sent(self) -> list[tuple[str, str, str, str]]:
        return [(one.kind, one.id, one.reviewer, one.decision) for one in self.outbox.reviews]

    def look(self, id: str, kind: Any = "second") -> Item:
        found = self.items.get(double_id(id, kind))
        assert found is not None
        return found


def test_a_second_person_looks_blindly_and_the_client_waits_for_nobody() -> None:
    desk = Desk()
    desk.ask("a", suggestion="positive", confidence=0.7, blind=False, level="assist")
    desk.inbox.take("maria")
    desk.inbox.decide("a", "negative", "maria")
    assert desk.sent() == [("decision", "a", "maria", "negative")], "the client has its answer"
    assert desk.inbox.take("maria") == [], "nobody looks at their own case again"
    (seen,) = desk.inbox.take("tom")
    assert (seen.kind, seen.x, seen.state) == ("second", {"cough": True}, "taken")
    assert (seen.of, seen.said, seen.suggestion, seen.confidence) == ("", {}, None, None)
    desk.clock.advance(42)
    done = desk.inbox.decide(seen.id, "negative", "tom")
    assert (done.seconds, done.of, done.share, done.said) == (42.0, "a", 1.0, {"maria": "negative"})
    review = desk.outbox.reviews[-1]
    assert (review.id, review.kind, review.reviewer, review.saw_suggestion) == ("a", "second", "tom", False)
    assert desk.inbox.take("ann", 9) == [], "they agree: nothing is to adjudicate"
    first = desk.items.get("a")
    assert first is not None and (first.decision, first.reviewer) == ("negative", "maria")


@pytest.mark.parametrize("blind", [True, False])
def test_where_two_differ_a_third_person_decides(blind: bool) -> None:
    desk = Desk(blind=blind)
    desk.ask("a", suggestion="positive")
    desk.inbox.decide("a", "negative", "maria")
    desk.inbox.decide(double_id("a", "second"), "positive", "tom")
    assert desk.inbox.take("maria") == desk.inbox.take("tom") == []
    (seen,) = desk.inbox.take("ann")
    assert (seen.kind, seen.between) == ("adjudication", ("negative", "positive"))
    assert (seen.of, seen.said) == (("", {}) if blind else ("a", {"maria": "negative", "tom": "positive"}))
    assert seen.suggestion == (None if blind else "positive")
    for name in ("maria", "tom"):
        with pytest.raises(Conflict):
            desk.inbox.decide(seen.id, "negative", name)
    desk.inbox.decide(seen.id, "positive", "ann")
    assert desk.sent() == [
        ("decision", "a", "maria", "negative"),
        ("second", "a", "tom", "positive"),
        ("adjudication", "a", "ann", "positive"),
    ]
    assert desk.inbox.take("zoe", 9) == [], "an adjudication is the end of it"
    first = desk.items.get("a")
    assert first is not None and first.decision == "negative"


def test_who_answered_is_refused_a_second_look_in_one_sentence() -> None:
    desk = Desk()
    desk.ask("a")
    desk.inbox.decide("a", "negative", "maria")
    for act in (desk.inbox.take_one, desk.inbox.release):
        with pytest.raises(Conflict, match="another look at a case that maria answered"):
            act(double_id("a", "second"), "maria")
    for answer in (desk.inbox.decide, desk.inbox.hold):
        with pytest.raises(Conflict, match="another person"):
            answer(double_id("a", "second"), "negative", "maria")
    assert len(desk.outbox.reviews) == 1


def test_first_decisions_come_before_audits_and_those_before_second_looks() -> None:
    desk = Desk()
    desk.ask("a", "b")
    desk.inbox.decide("a", "negative", "maria")
    desk.inbox.decide("b", "negative", "maria")
    desk.inbox.decide(double_id("b", "second"), "positive", "tom")
    desk.ask("audit", kind="audit", risk=-1.0)
    desk.ask("late", risk=0.0, due_us=99 * HOUR)
    desk.ask("skipped", risk=0.0, due_us=98 * HOUR)
    desk.inbox.release(desk.inbox.take_one("skipped", "ann").id, "ann", skip=True)
    offered = [item.id for item in desk.inbox.take("ann", 9)]
    assert offered == ["late", "audit", "skipped", double_id("b", "adjudication"), double_id("a", "second")]


def test_second_looks_of_ones_own_hide_nothing_behind_them() -> None:
    desk = Desk()
    ids = [f"a{n}" for n in range(1200)]
    desk.ask(*ids)
    desk.inbox.take("maria", 1000)
    desk.inbox.decide_many(dict.fromkeys(ids, "negative"), "maria")
    desk.ask("toms", due_us=HOUR)
    desk.inbox.decide("toms", "negative", "tom")
    last = desk.look("toms")
    assert desk.items.swap(Item(**{**{f: getattr(last, f) for f in last.__struct_fields__}, "due_us": 1 << 50,
                                   "revision": last.revision + 1}))  # fmt: skip
    desk.inbox.take("zoe", 200)
    assert double_id("toms", "second") in [item.id for item in desk.inbox.take("maria", 9)]


def test_leases_release_and_undo_hold_for_second_looks() -> None:
    desk = Desk(undo_us=10 * SECOND)
    desk.ask("a")
    desk.inbox.decide("a", "negative", "maria")
    second = double_id("a", "second")
    desk.inbox.take("tom")
    assert desk.inbox.take("ann") == []
    with pytest.raises(Conflict, match="with tom"):
        desk.inbox.decide(second, "positive", "ann")
    desk.inbox.release(second, "tom")
    desk.inbox.take("ann")
    desk.clock.advance(601)
    assert [item.id for item in desk.inbox.take("tom")] == [second], "the lease ended"
    desk.inbox.hold(second, "positive", "tom")
    desk.inbox.undo(second, "tom")
    desk.inbox.hold(second, "refer", "tom")
    assert len(desk.outbox.reviews) == 1
    desk.clock.advance(10)
    assert [item.decision for item in desk.inbox.settle()] == ["refer"]
    assert desk.look("a", "adjudication").between == ("negative", "refer")


@pytest.mark.parametrize("kind", ["second", "adjudication"])
def test_what_nobody_looks_at_again_is_closed_and_answers_nobody(kind: str) -> None:
    desk = Desk()
    desk.ask("a")
    desk.inbox.decide("a", "negative", "maria")
    if kind == "adjudication":
        desk.inbox.decide(double_id("a", "second"), "positive", "tom")
    sent = desk.sent()
    desk.clock.advance(DEADLINES * 3600 - 1)
    assert desk.inbox.expire() == []
    desk.clock.advance(1)
    (closed,) = desk.inbox.expire()
    assert (closed.id, closed.decision, closed.decided_by) == (double_id("a", kind), None, "nobody")  # type: ignore[arg-type]
    assert desk.sent() == sent and desk.inbox.flush_outbox() == 0
    assert {item.id for item in desk.items.queue(9, "open")} == set()


def test_the_deadlines_answer_is_not_looked_at_again_and_audits_are() -> None:
    desk = Desk()
    desk.ask("late")
    desk.clock.advance(3600)
    assert [item.decided_by for item in desk.inbox.expire()] == ["safe_default"]
    assert desk.items.queue(9, "open") == []
    desk.ask("audit", kind="audit", risk=-1.0, due_us=99 * HOUR)
    desk.inbox.decide("audit", "negative", "maria")
    assert [item.kind for item in desk.inbox.take("tom", 9)] == ["second"]


def test_without_a_share_nothing_is_asked_again() -> None:
    desk = Desk(0.0)
    desk.ask("a")
    desk.inbox.decide("a", "negative", "maria")
    assert desk.items.queue(9, "open") == []


def test_the_draw_is_a_share_the_same_everywhere_and_its_probability_is_kept() -> None:
    desk = Desk(0.3)
    ids = [f"case {n}" for n in range(1000)]
    desk.ask(*ids)
    desk.inbox.take("maria", 1000)
    desk.inbox.decide_many(dict.fromkeys(ids, "negative"), "maria")
    open_ = desk.items.queue(2000, "open")
    assert 240 < len(open_) < 360
    assert {item.of for item in open_} == {id for id in ids if drawn(id, 0.3)}
    assert {item.share for item in open_} == {0.3}
    assert {item.id for item in open_} <= {double_id(id, "second") for id in ids}


@pytest.mark.parametrize("id", ["a", "second-00000000-0", "é" * 200, "\ud800", "w0-00c0ffee-1f"])
def test_no_client_can_have_the_id_of_a_second_look(id: str) -> None:
    for kind in ("second", "adjudication"):
        made = double_id(id, kind)
        assert parse_server_id(made) is not None and len(made) <= 30
        assert item_id(id, kind) == made
    assert item_id(id, "decision") == item_id(id, "audit") == id


def test_a_second_look_is_veiled_until_it_is_answered() -> None:
    case = Item(
        "a", "decision", 0, 9, {}, state="decided", decision="x", decided_by="person", reviewer="ann", blind=False
    )
    second = follow_up(case, Doubling(1.0, 9, blind=False))
    assert second is not None and veil(second).said == {} and veil(second, "tom").of == ""


def test_the_gateway_answers_with_the_first_answer_whichever_comes_first(tmp_path: Path) -> None:
    outbox = PeopleStream(tmp_path)
    outbox.append([Review("a", "positive", "person", "tom", 2, kind="second")])
    outbox.append([Review("a", "positive", "person", "zoe", 3, kind="adjudication")])
    reviews = Reviews(tmp_path)
    reviews.catch_up()
    assert reviews.get("a") is None
    outbox.append([Review("a", "negative", "person", "maria", 1)])
    reviews.catch_up()
    told = reviews.get("a")
    assert told is not None and (told.decision, told.reviewer) == ("negative", "maria")


class Killed(BaseException):
    """The process ends here."""


class Mortal:
    """Stores in front of which a process may be killed: before or after a write."""

    def __init__(self) -> None:
        self.fuse: int | None = None

    def step(self) -> None:
        if self.fuse is not None:
            self.fuse -= 1
            if self.fuse < 0:
                self.fuse = None
                raise Killed


class MortalItems(MemoryItems):
    def __init__(self, mortal: Mortal) -> None:
        super().__init__()
        self._mortal = mortal

    def add(self, items: Sequence[Item]) -> int:
        self._mortal.step()
        added = super().add(items)
        self._mortal.step()
        return added

    def swap(self, item: Item) -> bool:
        self._mortal.step()
        won = super().swap(item)
        self._mortal.step()
        return won


class MortalOutbox(MemoryOutbox):
    def __init__(self, mortal: Mortal) -> None:
        super().__init__()
        self._mortal = mortal

    def append(self, reviews: Sequence[Review]) -> None:
        self._mortal.step()
        super().append(reviews)
        self._mortal.step()


CASES = ("a", "b", "c")
PEOPLE = ("maria", "tom", "ann")
ITEMS = (*CASES, *(double_id(id, kind) for id in CASES for kind in ("second", "adjudication")))


class TwoOrThree(RuleBasedStateMachine):
    """Three people, deadlines and kills in any order: one decision each, and every look by somebody else."""

    def __init__(self) -> None:
        super().__init__()
        self.mortal = Mortal()
        self.desk = Desk(undo_us=10 * SECOND)
        self.desk.items = MortalItems(self.mortal)
        self.desk.outbox = MortalOutbox(self.mortal)
        self.first: dict[str, tuple[str | None, str | None]] = {}
        self.begin()
        self.desk.ask(*CASES[:2], suggestion="positive")
        self.desk.ask(CASES[2], kind="audit", risk=-1.0, due_us=30 * HOUR)

    def begin(self) -> None:
        self.inbox = Inbox(self.desk.items, self.desk.outbox, self.desk.clock, self.desk.policy)

    def act(self, what: Any, *args: Any, **named: Any) -> Any:
        try:
            return what(*args, **named)
        except Conflict:
            return None
        except Killed:
            self.begin()
            return None

    @rule(steps=st.integers(0, 12))
    def kill(self, steps: int) -> None:
        self.mortal.fuse = steps

    @rule(name=st.sampled_from(PEOPLE), n=st.integers(1, 4))
    def take(self, name: str, n: int) -> None:
        for item in self.act(self.inbox.take, name, n) or ():
            assert item.suggestion is None and not item.said, "they see what they must not"
            assert item.kind in ("decision", "audit") or not item.of

    @rule(id=st.sampled_from(ITEMS), name=st.sampled_from(PEOPLE), answer=st.sampled_from(ANSWERS))
    def decide(self, id: str, name: str, answer: str) -> None:
        if self.desk.items.get(id) is not None:
            self.act(self.inbox.decide, id, answer, name)

    @rule(id=st.sampled_from(ITEMS), name=st.sampled_from(PEOPLE), answer=st.sampled_from(ANSWERS))
    def hold(self, id: str, name: str, answer: str) -> None:
        if self.desk.items.get(id) is not None:
            self.act(self.inbox.hold, id, answer, name)

    @rule(name=st.sampled_from(PEOPLE), answer=st.sampled_from(ANSWERS))
    def many(self, name: str, answer: str) -> None:
        self.act(self.inbox.decide_many, dict.fromkeys(ITEMS, answer), name)

    @rule(id=st.sampled_from(ITEMS), name=st.sampled_from(PEOPLE), skip=st.booleans())
    def release(self, id: str, name: str, skip: bool) -> None:
        if self.desk.items.get(id) is not None:
            self.act(self.inbox.release, id, name, skip=skip)

    @rule(seconds=st.sampled_from([1, 10, 600, 3600, 25 * 3600]))
    def advance(self, seconds: float) -> None:
        self.desk.clock.advance(seconds)

    @rule()
    def controller(self) -> None:
        for what in (self.inbox.settle, self.inbox.expire, self.inbox.flush_outbox):
            self.act(what)

    @invariant()
    def nothing_is_decided_twice(self) -> None:
        for item in self.desk.items.queue(99, "decided"):
            assert self.first.setdefault(item.id, (item.decision, item.reviewer)) == (item.decision, item.reviewer)

    @invariant()
    def the_client_gets_the_first_answer_and_no_other(self) -> None:
        told: dict[tuple[str, str], tuple[str, str]] = {}
        for one in self.desk.outbox.reviews:
            said = (one.decision, one.reviewer)
            assert told.setdefault((one.id, one.kind), said) == said
            assert one.id in CASES and self.first[item_id(one.id, one.kind)] == said

    @invariant()
    def every_look_is_another_persons(self) -> None:
        for id in CASES:
            chain = [self.desk.items.get(item_id(id, kind)) for kind in ("decision", "second", "adjudication")]
            there = [item for item in chain if item is not None]
            people = [item.reviewer for item in there if item.decided_by == "person"]
            assert len(set(people)) == len(people)
            assert all(item.holder not in item.said for item in there)
            if chain[2] is not None:
                assert chain[0] is not None and chain[1] is not None and chain[0].decision != chain[1].decision

    def teardown(self) -> None:
        """In the end everything that a person answered is sent, and was looked at again as it should be."""
        self.mortal.fuse = None
        self.begin()
        for _ in range(4):
            self.desk.clock.advance(48 * 3600)
            for what in (self.inbox.settle, self.inbox.expire, self.inbox.flush_outbox):
                what()
        assert self.desk.items.queue(99, "open") == self.desk.items.queue(99, "taken") == []
        sent = {item_id(one.id, one.kind): one.decision for one in self.desk.outbox.reviews}
        decided = {item.id: item for item in self.desk.items.queue(99, "decided")}
        assert sent == {id: item.decision for id, item in decided.items() if item.decision is not None}
        for item in decided.values():
            after = follow_up(item, self.desk.policy.doubling)
            assert after is None or after.id in decided


TestTwoOrThree = TwoOrThree.TestCase
TestTwoOrThree.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


def test_racing_people_answer_every_look_once_and_none_their_own() -> None:
    desk = Desk()
    ids = [f"a{n}" for n in range(40)]
    desk.ask(*ids)
    barrier = Barrier(3)

    def work(name: str, answer: str) -> None:
        barrier.wait()
        for _ in range(400):
            for item in desk.inbox.take(name, 3):
                desk.inbox.decide(item.id, answer, name)

    threads = [Thread(target=work, args=one) for one in zip(PEOPLE, ANSWERS, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in PEOPLE:  # whoever was away when the last ones were put up
        for item in desk.inbox.take(name, 200):
            desk.inbox.decide(item.id, ANSWERS[PEOPLE.index(name)], name)
    for name in PEOPLE:
        for item in desk.inbox.take(name, 200):
            desk.inbox.decide(item.id, ANSWERS[PEOPLE.index(name)], name)
    told = [(one.id, one.kind) for one in desk.outbox.reviews]
    assert len(told) == len(set(told)) == 120
    by = {(one.id, one.kind): one.reviewer for one in desk.outbox.reviews}
    assert all(len({by[id, kind] for kind in ("decision", "second", "adjudication")}) == 3 for id in ids)


# -------------------------------------------------------------------------------------------------------- what it says


def test_the_error_of_raters_is_found_in_as_many_intervals_as_promised() -> None:
    draw = random.Random(7)

    def says(truth: str) -> str:
        return truth if draw.random() > 0.1 else ANSWERS[1 - ANSWERS.index(truth)]

    found = 0
    for _ in range(200):
        truths = [draw.choice(ANSWERS[:2]) for _ in range(300)]
        team = of_team([Double("a", "ann", says(one), True, "bob", says(one), True) for one in truths], ANSWERS[:2])
        error, reference = team.rater_error, team.reference_error
        assert error.low is not None and error.high is not None
        assert reference.low is not None and reference.high is not None
        found += error.low <= 0.1 <= error.high
        assert (reference.low <= 0.028 <= reference.high) == (error.low <= 0.1 <= error.high)
    assert found >= 180  # of 190 that 95 % are; fewer than 180 come by chance once in a thousand times


def test_who_errs_more_is_told_from_the_others() -> None:
    draw = random.Random(3)
    errs = {"ann": 0.02, "bob": 0.02, "zoe": 0.2}

    def says(name: str) -> str:
        return ANSWERS[draw.random() < errs[name]]

    couples = (("ann", "bob"), ("bob", "zoe"), ("zoe", "ann"))
    pairs = [Double("a", a, says(a), True, b, says(b), True) for _ in range(2000) for a, b in couples]
    team = of_team(pairs, ANSWERS[:2])
    error = {name: of_reviewer(name, pairs, team, ANSWERS[:2]).error.value or 0.0 for name in errs}
    assert error["zoe"] > 0.1 > 0.06 > max(error["ann"], error["bob"])


def test_pairs_that_saw_a_suggestion_or_gave_no_class_say_nothing_of_errors() -> None:
    pairs = [
        Double("a", "ann", "negative", False, "bob", "positive", True, model="negative"),
        Double("b", "ann", "refer", True, "bob", "positive", True, third="zoe", adjudicated="positive"),
    ]
    team = of_team(pairs, ANSWERS[:2])
    assert (team.n, team.disagreed, team.adjudicated, team.blind) == (2, 2, 1, 0)
    assert team.rater_error.reason == team.reference_error.reason == "no case was decided twice"
    assert (team.bias.seen.value, team.bias.unseen.value, team.bias.difference.value) == (1.0, 0.0, 1.0)
    ann, bob, zoe = (of_reviewer(name, pairs, team, ANSWERS[:2]) for name in ("ann", "bob", "zoe"))
    assert (ann.overruled.value, bob.overruled.value) == (1.0, 0.0)
    assert zoe.agreement.reason == "nobody else decided one of these cases"
    assert ann.error.reason == "no case was decided twice"
    assert bias([], [("a", "a")]).difference.reason == "no answer was given after a suggestion"
