"""The review inbox: questions for people, leased, decided once, answered by the policy when nobody comes in time.

Every change is a compare-and-swap on an item's revision, so any number of reviewers, processes and the deadline may
race: exactly one of them decides. A decision is kept first and written to the people stream second; what lies between
is written again by ``flush_outbox``, so the stream may hold a review twice, never two different ones.

A decision that was sent cannot be taken back, because a client may have it. So an answer can be held first: it stays on
the item as a draft, with its reviewer, until the time to take it back is over; then whoever comes first sends it.

Deadlines run on event time (``Item.due_us``); leases, held answers and the time on task on the machine's time, as people
do (``Item.lease_until_us``, ``Draft.until_us``, ``Item.taken_us``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

import msgspec
from msgspec.structs import replace

from andon.core.clock import MINUTE, SECOND, Clock, iso
from andon.core.port import Items, ReviewOutbox
from andon.core.record import Item, ItemState
from andon.core.registry import did_you_mean
from andon.errors import Conflict, ContractError, NotFound, Unavailable, UsageError
from andon.people import change
from andon.people.change import ESCALATION, review_of, veil
from andon.people.double import Doubling, follow_up

__all__ = ["MAX_TAKE", "Inbox", "ReviewPolicy", "review_of", "veil"]

#: The most items that one reviewer takes at once.
MAX_TAKE = 1000

#: How far down the queue a reviewer who gave cases back is led past them.
_PAST = 1000


class ReviewPolicy(msgspec.Struct, frozen=True):
    """How people decide: the answers there are, how long an item is theirs, and what happens when nobody comes.

    ``on_timeout``: ``safe_default`` answers with it, ``wait`` keeps waiting, ``escalate`` moves the item to the front
    of the queue; the latter two give it ``deadline_us`` once more. ``undo_us`` is how long a held answer can be taken
    back (the machine's time, as the lease, which bounds it); 0 holds none. ``doubling`` says how many cases another
    person looks at after that.
    """

    answers: tuple[str, ...]
    safe_default: str
    on_timeout: Literal["safe_default", "wait", "escalate"] = "safe_default"
    deadline_us: int = 60 * MINUTE
    lease_us: int = 10 * MINUTE
    undo_us: int = 0
    doubling: Doubling = Doubling()


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

    def queue(self, limit: int = 50, state: ItemState | None = "open", offset: int = 0) -> list[Item]:
        """Up to ``limit`` items after the first ``offset``, in the order in which they are to be worked on."""
        return [veil(item) for item in self._items.queue(_positive(limit), state, offset)]

    def held(self, reviewer: str, limit: int = MAX_TAKE) -> list[Item]:
        """What a reviewer has taken and not answered, the lease still running."""
        now = self._clock.wall()
        mine = self._items.taken(reviewer, limit)
        return [veil(item, reviewer) for item in mine if item.draft is None and item.lease_until_us > now]

    def drafts(self, reviewer: str) -> list[Item]:
        """Answers of a reviewer that are held and can be taken back, the latest first."""
        now = self._clock.wall()
        found = [(item.draft, veil(item, reviewer)) for item in self._items.taken(reviewer, MAX_TAKE)]
        held = [(draft.until_us, item) for draft, item in found if draft is not None and draft.until_us > now]
        return [item for _, item in sorted(held, key=lambda one: (-one[0], one[1].id))]

    def take(self, reviewer: str, n: int = 1) -> list[Item]:
        """Lease up to ``n`` items to a reviewer; nobody else decides them until the lease ends.

        Those that they gave back come last. Returns fewer when the queue is shorter. Raises ``UsageError`` for an empty
        name or ``n`` outside 1..1000.
        """
        _named(reviewer)
        if _positive(n) > MAX_TAKE:
            raise UsageError(f"n: at most {MAX_TAKE} items are taken at once, found {n}")
        self.settle()
        return [veil(item, reviewer) for item in self._lease(reviewer, n)]

    def take_one(self, id: str, reviewer: str) -> Item:
        """Lease this item to a reviewer. Raises ``NotFound``, or ``Conflict`` when it is decided or with somebody else."""
        _named(reviewer)
        while True:
            item = self._open(id, reviewer)
            now = self._clock.wall()
            if item.state == "taken" and item.holder == reviewer and item.lease_until_us > now:
                return veil(item, reviewer)
            leased = change.taken(item, reviewer, now, now + self.policy.lease_us)
            if self._items.swap(leased):
                return veil(leased, reviewer)

    def release(self, id: str, reviewer: str, *, skip: bool = False) -> Item:
        """Give an item back to the queue, with the answer that is held for it; ``skip``: not to be offered it at once.

        Raises ``NotFound``, or ``Conflict`` when it is decided or somebody else holds it.
        """
        while True:
            item = self._open(id, reviewer)
            freed = change.skipped(item, reviewer, self._clock.wall()) if skip else change.freed(item)
            if self._items.swap(freed):
                return veil(freed, reviewer)

    def decide(self, id: str, decision: str, reviewer: str, *, simulated: bool = False) -> Item:
        """Answer an item; the decision is kept when this returns, and reaches the client through the people stream.

        The same decision by the same reviewer again is no error. Raises ``NotFound``, ``ContractError`` when the
        decision is none of the answers, ``Conflict`` when it is decided already or held by somebody else.
        """
        _named(reviewer)
        self._refuse_unknown(decision)
        while True:
            item = self._asked(id, decision, reviewer)
            if item.state == "decided":
                return item
            decided = self._decided(item, decision, reviewer, simulated)
            if self._items.swap(decided):
                return self._send(decided)

    def hold(self, id: str, decision: str, reviewer: str) -> Item:
        """Answer an item so that it can be taken back for ``policy.undo_us``, and is sent after that.

        The item stays with its reviewer until then. It is decided at once where there is no time to hold it: undo is 0,
        or its deadline has come. Raises as ``decide``.
        """
        _named(reviewer)
        self._refuse_unknown(decision)
        while True:
            item = self._asked(id, decision, reviewer)
            if item.state == "decided":
                return item
            if item.draft is not None and item.draft.decision == decision:
                return veil(item, reviewer)
            drafted = self._drafted(item, decision, reviewer)
            if drafted is None:
                return self.decide(id, decision, reviewer)
            if self._items.swap(drafted):
                return veil(drafted, reviewer)

    def undo(self, id: str, reviewer: str) -> Item:
        """Take a held answer back; the item is the reviewer's still, with a new lease.

        Raises ``NotFound``, or ``Conflict`` when the answer was sent, none is held, or the item is with somebody else.
        """
        while True:
            item = self._open(id, reviewer)
            if item.draft is None:
                raise Conflict(f"no answer of {reviewer}'s is held for item {id}; there is nothing to take back")
            back = change.taken_back(item, self._clock.wall() + self.policy.lease_us)
            if self._items.swap(back):
                return veil(back, reviewer)

    def send(self, reviewer: str) -> list[Item]:
        """Send all answers of a reviewer that are held, without waiting; returns the items that this decided."""
        held = [item for item in self._items.taken(reviewer, MAX_TAKE) if item.draft is not None]
        return self._send_many(self._items.swap_many([change.settled(item) for item in held]))

    def settle(self) -> list[Item]:
        """Send held answers whose time to be taken back is over, and open what leases ended; returns what was decided.

        Anybody may call it at any time: the board does when a reviewer comes by, the controller always.
        """
        now, done = self._clock.wall(), list[Item]()
        while found := self._items.lapsed(now, MAX_TAKE):
            ended = [change.freed(item) if item.draft is None else change.settled(item) for item in found]
            if not (changed := self._items.swap_many(ended)):
                break
            done += self._send_many([item for item in changed if item.state == "decided"])
        return done

    def decide_many(self, decisions: Mapping[str, str], reviewer: str, *, simulated: bool = False) -> list[Item]:
        """Answer many items that ``reviewer`` has taken, in one go (``decisions``: id to answer); returns the decided.

        For reviewers with a list of answers (an import, a program). What is no longer theirs, because the lease or the
        deadline ended, and what they have answered is left out. Raises ``ContractError`` when a decision is none of the
        answers; then none is kept.
        """
        _named(reviewer)
        for decision in set(decisions.values()):
            self._refuse_unknown(decision)
        answered = [
            self._decided(item, decisions[item.id], reviewer, simulated)
            for item in self._items.many(decisions).values()
            if item.state == "taken" and item.holder == reviewer and item.draft is None
        ]
        return self._send_many(self._items.swap_many(answered))

    def expire(self, now_us: int | None = None, limit: int = 1000) -> list[Item]:
        """Act on items whose deadline has passed as the policy says; returns those that it decided or closed.

        A held answer came in time: it counts. An audit, a second look and an adjudication keep nobody waiting and are
        not answered by a deadline: they are closed undecided (``decided_by`` "nobody").
        """
        now = self._clock.now() if now_us is None else now_us
        changed = self._items.swap_many([self._late(item, now) for item in self._items.due(now, limit)])
        done = [item for item in changed if item.state == "decided"]
        self._send_many([item for item in done if item.decided_by != "nobody"])
        return done

    def flush_outbox(self, limit: int = 1000) -> int:
        """Write what is decided and not yet in the people stream; returns how many reviews were written.

        Raises ``Unavailable`` when the stream cannot be written to; nothing is lost, call it again.
        """
        waiting = self._items.pending_outbox(limit)
        reviews = [item for item in waiting if item.decided_by != "nobody"]
        if reviews:
            self._outbox.append([review_of(item) for item in reviews])
            self._ask_again(reviews)
        self._items.swap_many([change.outboxed(item) for item in waiting])
        return len(reviews)

    def _lease(self, reviewer: str, n: int) -> Iterator[Item]:
        left = n
        while left and (found := self._offered(reviewer, left)):
            now = self._clock.wall()
            until = now + self.policy.lease_us
            won = self._items.swap_many([change.taken(item, reviewer, now, until) for item in found])
            left -= len(won)
            yield from won

    def _offered(self, reviewer: str, n: int) -> list[Item]:
        """Up to ``n`` open items; those that the reviewer gave back come last, the longest ago first.

        Second looks and adjudications come after even those, and none is at a case that the reviewer answered.
        """
        fresh: list[Item] = []
        again: list[Item] = []
        size, seen = n, 0
        while len(fresh) < n and seen < _PAST + n and (found := self._items.queue(size, "open", seen, reviewer)):
            for item in found:
                (again if reviewer in item.skips else fresh).append(item)
            seen += len(found)
            size = max(n, 50)
        again.sort(key=lambda item: item.skips[reviewer])
        return sorted([*fresh, *again], key=lambda item: bool(item.of))[:n]

    def _current(self, id: str) -> Item:
        """The item, its held answer sent if that is due: nothing else happens to it before."""
        while True:
            item = self._items.get(id)
            if item is None:
                raise NotFound(f"no review item has the id {id!r}; andon review list shows those that are open")
            if item.draft is None or item.draft.until_us > self._clock.wall():
                return item
            if self._items.swap(settled := change.settled(item)):
                return self._send(settled)

    def _open(self, id: str, reviewer: str) -> Item:
        """The item, which is not decided and not with anybody else. Raises ``NotFound`` or ``Conflict``."""
        item = self._current(id)
        self._refuse(item, reviewer)
        return item

    def _asked(self, id: str, decision: str, reviewer: str) -> Item:
        """As ``_open``, but also the item that this reviewer has decided just so."""
        item = self._current(id)
        if item.state != "decided" or (item.decision, item.reviewer) != (decision, reviewer):
            self._refuse(item, reviewer)
        return item

    def _refuse(self, item: Item, reviewer: str) -> None:
        if item.state == "decided":
            answer = f"decided {item.decision!r} by {item.reviewer}" if item.decision is not None else "closed"
            raise Conflict(f"item {item.id} was {answer} at {iso(item.decided_us)}")
        if item.state == "taken" and item.holder != reviewer and item.lease_until_us > self._clock.wall():
            raise Conflict(f"item {item.id} is with {item.holder} until {iso(item.lease_until_us)}")
        if reviewer in item.said:
            raise Conflict(
                f"item {item.id} is another look at a case that {reviewer} answered; it takes another person"
            )

    def _seconds(self, item: Item, reviewer: str) -> float:
        """The time on task: since they took it."""
        mine = item.state == "taken" and item.holder == reviewer
        return max(0, self._clock.wall() - item.taken_us) / SECOND if mine else 0.0

    def _decided(self, item: Item, decision: str, reviewer: str, simulated: bool) -> Item:
        done = change.decided(item, decision, reviewer, self._clock.now())
        return replace(done, seconds=self._seconds(item, reviewer), simulated=simulated)

    def _drafted(self, item: Item, decision: str, reviewer: str) -> Item | None:
        """The item with the answer held for it, leased anew where it was not theirs; None where nothing can be held."""
        wall, now, lease = self._clock.wall(), self._clock.now(), item.lease_until_us
        if item.state != "taken" or item.holder != reviewer or lease <= wall:
            lease = wall + self.policy.lease_us
        until = min(wall + self.policy.undo_us, lease)
        if until <= wall or item.due_us <= now:
            return None
        began = item.taken_us if item.holder == reviewer and item.state == "taken" else wall
        drafted = change.drafted(item, decision, now, until, self._seconds(item, reviewer))
        return replace(drafted, state="taken", holder=reviewer, lease_until_us=lease, taken_us=began)

    def _late(self, item: Item, now: int) -> Item:
        if item.draft is not None:
            return change.settled(item)
        if item.kind != "decision":
            return change.closed(item, now)
        if self.policy.on_timeout == "safe_default":
            return change.decided(item, self.policy.safe_default, "deadline", now, "safe_default")
        again = max(now, item.due_us) + self.policy.deadline_us
        risk = item.risk + ESCALATION if self.policy.on_timeout == "escalate" else item.risk
        return change.postponed(item, again, risk)

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
        self._ask_again(decided)
        sent = {item.id: item for item in self._items.swap_many([change.outboxed(item) for item in decided])}
        return [sent.get(item.id, item) for item in decided]

    def _ask_again(self, answered: list[Item]) -> None:
        """Put up what follows from answers, before they count as written: a kill in between does it again, the same."""
        asked = [item for item in (follow_up(one, self.policy.doubling) for one in answered) if item is not None]
        if asked:
            self._items.add(asked)

    def _refuse_unknown(self, decision: str) -> None:
        if decision not in self.policy.answers:
            hint = did_you_mean(decision, self.policy.answers)
            raise ContractError(f"decision: {decision!r} is none of the answers; {hint}", field="decision")


def _named(reviewer: str) -> None:
    if not reviewer.strip():
        raise UsageError("reviewer: expected a name, found an empty text")


def _positive(n: int) -> int:
    if n < 1:
        raise UsageError(f"expected a number of items of 1 or more, found {n}")
    return n
