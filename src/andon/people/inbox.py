"""The review inbox: questions for people, leased, decided once, answered by the policy when nobody comes in time.

Every change is a compare-and-swap on an item's revision, so any number of reviewers, processes and the deadline may
race: exactly one of them decides. A decision is kept first and written to the people stream second; what lies between
is written again by ``flush_outbox``, so the stream may hold a review twice, never two different ones.

Deadlines run on event time (``Item.due_us``); leases and the time on task on the machine's time, as people do
(``Item.lease_until_us``, ``Item.taken_us``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec
from msgspec.structs import replace

from andon.core.clock import MINUTE, SECOND, Clock, iso
from andon.core.port import Items, ReviewOutbox
from andon.core.record import Item, ItemState, Review
from andon.core.registry import did_you_mean
from andon.errors import Conflict, ContractError, NotFound, Unavailable, UsageError

__all__ = ["MAX_TAKE", "Inbox", "ReviewPolicy", "review_of", "veil"]

#: The most items that one reviewer takes at once.
MAX_TAKE = 1000

#: How much an escalated item's risk grows; risks are otherwise at most 1, so it goes to the front.
ESCALATION = 10.0


class ReviewPolicy(msgspec.Struct, frozen=True):
    """How people decide: the answers there are, how long an item is theirs, and what happens when nobody comes.

    ``on_timeout``: ``safe_default`` answers with it, ``wait`` keeps waiting, ``escalate`` moves the item to the front
    of the queue; the latter two give it ``deadline_us`` once more.
    """

    answers: tuple[str, ...]
    safe_default: str
    on_timeout: Literal["safe_default", "wait", "escalate"] = "safe_default"
    deadline_us: int = 60 * MINUTE
    lease_us: int = 10 * MINUTE


def veil(item: Item) -> Item:
    """The item as its reviewer may see it: without the model's view where the review is blind and not yet made.

    >>> veil(Item("a", "decision", 0, 0, {}, blind=True, suggestion="negative", confidence=0.9)).suggestion is None
    True
    """
    if item.blind and item.state != "decided":
        return replace(item, suggestion=None, confidence=None)
    return item


def review_of(item: Item) -> Review:
    """The row of the people stream that a decided item becomes."""
    return Review(
        id=item.id,
        decision=item.decision or "",
        decided_by=item.decided_by,
        reviewer=item.reviewer or "",
        time_us=item.decided_us,
        seconds=item.seconds,
        saw_suggestion=not item.blind and item.suggestion is not None,
        kind=item.kind,
        simulated=item.simulated,
    )


class Inbox:
    """The review queue over any ``Items`` store and any people stream.

    >>> from andon.core.clock import ManualClock
    >>> from andon.people.memory import MemoryItems, MemoryOutbox
    >>> items = MemoryItems()
    >>> inbox = Inbox(items, MemoryOutbox(), ManualClock(), ReviewPolicy(("accept", "reject"), "reject"))
    >>> items.add([Item("a1", "decision", created_us=0, due_us=60_000_000, x={"size": 3}, suggestion="accept")])
    1
    >>> [item.suggestion for item in inbox.take("maria", 5)]         # blind: her own view
    [None]
    >>> inbox.decide("a1", "accept", "maria").state
    'decided'
    >>> inbox.decide("a1", "reject", "tom")
    Traceback (most recent call last):
    ...
    andon.errors.Conflict: item a1 was decided 'accept' by maria at 1970-01-01T00:00:00Z
    """

    def __init__(self, items: Items, outbox: ReviewOutbox, clock: Clock, policy: ReviewPolicy) -> None:
        self._items = items
        self._outbox = outbox
        self._clock = clock
        self.policy = policy

    def queue(self, limit: int = 50, state: ItemState | None = "open") -> list[Item]:
        """Up to ``limit`` items, in the order in which they are to be worked on."""
        return [veil(item) for item in self._items.queue(_positive(limit), state)]

    def held(self, reviewer: str, limit: int = MAX_TAKE) -> list[Item]:
        """What a reviewer has taken and not decided, the lease still running."""
        now = self._clock.wall()
        taken = self._items.queue(limit, "taken")
        return [veil(item) for item in taken if item.holder == reviewer and item.lease_until_us > now]

    def take(self, reviewer: str, n: int = 1) -> list[Item]:
        """Lease up to ``n`` items to a reviewer; nobody else decides them until the lease ends.

        Returns fewer when the queue is shorter. Raises ``UsageError`` for an empty name or ``n`` outside 1..1000.
        """
        _named(reviewer)
        if _positive(n) > MAX_TAKE:
            raise UsageError(f"n: at most {MAX_TAKE} items are taken at once, found {n}")
        self._reclaim()
        return [veil(item) for item in self._lease(reviewer, n)]

    def release(self, id: str, reviewer: str) -> Item:
        """Give an item back to the queue. Raises ``NotFound``, or ``Conflict`` when somebody else holds it."""
        while True:
            item = self._get(id)
            self._refuse_decided(item)
            self._refuse_held(item, reviewer)
            freed = _freed(item)
            if self._items.swap(freed):
                return veil(freed)

    def decide(self, id: str, decision: str, reviewer: str, *, simulated: bool = False) -> Item:
        """Answer an item; the decision is kept when this returns, and reaches the client through the people stream.

        The same decision by the same reviewer again is no error. Raises ``NotFound``, ``ContractError`` when the
        decision is none of the answers, ``Conflict`` when it is decided already or held by somebody else.
        """
        _named(reviewer)
        self._refuse_unknown(decision)
        while True:
            item = self._get(id)
            if item.state == "decided" and (item.decision, item.reviewer) == (decision, reviewer):
                return item
            self._refuse_decided(item)
            self._refuse_held(item, reviewer)
            decided = self._decided(item, decision, reviewer, simulated)
            if self._items.swap(decided):
                return self._send(decided)

    def decide_many(self, decisions: Mapping[str, str], reviewer: str, *, simulated: bool = False) -> list[Item]:
        """Answer many items that ``reviewer`` has taken, in one go (``decisions``: id to answer); returns the decided.

        For reviewers with a list of answers (an import, a program). What is no longer theirs, because the lease or the
        deadline ended, is left out. Raises ``ContractError`` when a decision is none of the answers; then none is kept.
        """
        _named(reviewer)
        for decision in set(decisions.values()):
            self._refuse_unknown(decision)
        answered = [
            self._decided(item, decisions[item.id], reviewer, simulated)
            for item in self._items.many(decisions).values()
            if item.state == "taken" and item.holder == reviewer
        ]
        return self._send_many(self._items.swap_many(answered))

    def expire(self, now_us: int | None = None, limit: int = 1000) -> list[Item]:
        """Act on items whose deadline has passed as the policy says; returns those that it decided or closed.

        An audit is not answered by a deadline: it is closed undecided (``decided_by`` "nobody").
        """
        now = self._clock.now() if now_us is None else now_us
        changed = self._items.swap_many([self._late(item, now) for item in self._items.due(now, limit)])
        done = [item for item in changed if item.state == "decided"]
        self._send_many([item for item in done if item.kind == "decision"])
        return done

    def flush_outbox(self, limit: int = 1000) -> int:
        """Write what is decided and not yet in the people stream; returns how many reviews were written.

        Raises ``Unavailable`` when the stream cannot be written to; nothing is lost, call it again.
        """
        waiting = self._items.pending_outbox(limit)
        reviews = [item for item in waiting if item.decided_by != "nobody"]
        if reviews:
            self._outbox.append([review_of(item) for item in reviews])
        self._items.swap_many([_changed(item, outboxed=True) for item in waiting])
        return len(reviews)

    def _lease(self, reviewer: str, n: int) -> Iterator[Item]:
        left = n
        while left and (found := self._items.queue(left, "open")):
            now = self._clock.wall()
            until = now + self.policy.lease_us
            taken = self._items.swap_many(
                [_changed(item, state="taken", holder=reviewer, lease_until_us=until, taken_us=now) for item in found]
            )
            left -= len(taken)
            yield from taken

    def _reclaim(self) -> None:
        """Put all items whose lease has ended back into the queue."""
        now = self._clock.wall()
        while self._items.swap_many([_freed(item) for item in self._items.lapsed(now, MAX_TAKE)]):
            pass

    def _get(self, id: str) -> Item:
        item = self._items.get(id)
        if item is None:
            raise NotFound(f"no review item has the id {id!r}; andon review list shows those that are open")
        return item

    def _refuse_decided(self, item: Item) -> None:
        if item.state == "decided":
            answer = f"decided {item.decision!r} by {item.reviewer}" if item.decision is not None else "closed"
            raise Conflict(f"item {item.id} was {answer} at {iso(item.decided_us)}")

    def _refuse_held(self, item: Item, reviewer: str) -> None:
        if item.state == "taken" and item.holder != reviewer and item.lease_until_us > self._clock.wall():
            raise Conflict(f"item {item.id} is with {item.holder} until {iso(item.lease_until_us)}")

    def _decided(self, item: Item, decision: str, reviewer: str, simulated: bool) -> Item:
        mine = item.state == "taken" and item.holder == reviewer
        seconds = max(0, self._clock.wall() - item.taken_us) / SECOND if mine else 0.0
        return _changed(
            item,
            state="decided",
            decision=decision,
            decided_by="person",
            reviewer=reviewer,
            decided_us=self._clock.now(),
            seconds=seconds,
            simulated=simulated,
        )

    def _late(self, item: Item, now: int) -> Item:
        if item.kind == "audit":
            return _changed(item, state="decided", decided_by="nobody", decided_us=now, outboxed=True)
        if self.policy.on_timeout == "safe_default":
            answer = self.policy.safe_default
            return _changed(
                item, state="decided", decision=answer, decided_by="safe_default", reviewer="deadline", decided_us=now
            )
        again = max(now, item.due_us) + self.policy.deadline_us
        risk = item.risk + ESCALATION if self.policy.on_timeout == "escalate" else item.risk
        return _changed(item, due_us=again, risk=risk)

    def _send(self, item: Item) -> Item:
        return self._send_many([item])[0]

    def _send_many(self, decided: list[Item]) -> list[Item]:
        """Write reviews at once; where that fails they stay in the outbox for ``flush_outbox``."""
        if not decided:
            return []
        try:
            self._outbox.append([review_of(item) for item in decided])
        except Unavailable:
            return decided
        sent = {item.id: item for item in self._items.swap_many([_changed(item, outboxed=True) for item in decided])}
        return [sent.get(item.id, item) for item in decided]

    def _refuse_unknown(self, decision: str) -> None:
        if decision not in self.policy.answers:
            hint = did_you_mean(decision, self.policy.answers)
            raise ContractError(f"decision: {decision!r} is none of the answers; {hint}", field="decision")


def _changed(item: Item, **changes: object) -> Item:
    return replace(item, revision=item.revision + 1, **changes)


def _freed(item: Item) -> Item:
    return _changed(item, state="open", holder=None, lease_until_us=0, taken_us=0)


def _named(reviewer: str) -> None:
    if not reviewer.strip():
        raise UsageError("reviewer: expected a name, found an empty text")


def _positive(n: int) -> int:
    if n < 1:
        raise UsageError(f"expected a number of items of 1 or more, found {n}")
    return n
