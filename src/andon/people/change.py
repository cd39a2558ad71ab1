"""What can happen to a review item, as pure functions from one revision to the next; ``andon.people.inbox`` swaps them in.

Each gives back the item as it would be, one revision on, and decides nothing about whether it may happen.

>>> item = Item("a", "decision", created_us=0, due_us=90, x={})
>>> mine = taken(item, "maria", now_us=5, until_us=65)
>>> held = drafted(mine, "reject", time_us=7, until_us=17, seconds=2.0)
>>> held.state, held.draft.decision, taken_back(held, 77).draft
('taken', 'reject', None)
>>> sent = settled(held)
>>> sent.state, sent.decision, sent.reviewer, sent.decided_us, sent.revision
('decided', 'reject', 'maria', 7, 3)
"""

from __future__ import annotations

from msgspec.structs import replace

from andon.core.record import DecidedBy, Draft, Item, Review

__all__ = [
    "ESCALATION",
    "MAX_SKIPS",
    "closed",
    "decided",
    "drafted",
    "freed",
    "outboxed",
    "postponed",
    "review_of",
    "settled",
    "skipped",
    "taken",
    "taken_back",
    "veil",
]

#: How much an escalated item's risk grows; risks are otherwise at most 1, so it goes to the front.
ESCALATION = 10.0

#: How many reviewers an item remembers that gave it back; beyond that the longest ago is forgotten.
MAX_SKIPS = 20


def veil(item: Item, reviewer: str | None = None) -> Item:
    """The item as ``reviewer`` may see it before it is decided: nothing of what others did or are about to.

    Where the review is blind it is without the model's view, of which the risk is a part: an audit stays behind the
    others, an escalated case before them, and that is all it says. A second look says nothing of the first answer; an
    adjudication that is blind says which answers there are, and not whose.

    >>> seen = veil(Item("a", "decision", 0, 0, {}, blind=True, suggestion="negative", confidence=0.9, risk=0.1))
    >>> seen.suggestion is None, seen.confidence is None, seen.risk
    (True, True, 0.0)
    """
    if item.state == "decided":
        return item
    if item.draft is not None and item.holder != reviewer:
        item = replace(item, draft=None)
    if item.skips:
        item = replace(item, skips={name: time for name, time in item.skips.items() if name == reviewer})
    if item.of and (item.blind or item.kind == "second"):
        item = replace(item, of="", said={})
    if item.blind:
        risk = item.risk if item.risk < 0 else item.risk // ESCALATION * ESCALATION
        return replace(item, suggestion=None, confidence=None, risk=risk)
    return item


def review_of(item: Item) -> Review:
    """The row of the people stream that a decided item becomes."""
    return Review(
        id=item.of or item.id,
        decision=item.decision or "",
        decided_by=item.decided_by,
        reviewer=item.reviewer or "",
        time_us=item.decided_us,
        seconds=item.seconds,
        saw_suggestion=not item.blind and item.suggestion is not None,
        kind=item.kind,
        simulated=item.simulated,
    )


def taken(item: Item, reviewer: str, now_us: int, until_us: int) -> Item:
    """Leased to a reviewer from ``now_us`` until ``until_us`` (the machine's time)."""
    return _next(item, state="taken", holder=reviewer, lease_until_us=until_us, taken_us=now_us, draft=None)


def freed(item: Item) -> Item:
    """Open again."""
    return _next(item, state="open", holder=None, lease_until_us=0, taken_us=0, draft=None)


def skipped(item: Item, reviewer: str, now_us: int) -> Item:
    """Open again, and remembered as given back by ``reviewer`` at ``now_us`` (the machine's time)."""
    kept = {name: time for name, time in item.skips.items() if name != reviewer}
    while len(kept) >= MAX_SKIPS:
        del kept[min(kept, key=kept.__getitem__)]
    return replace(freed(item), skips={**kept, reviewer: now_us})


def drafted(item: Item, decision: str, time_us: int, until_us: int, seconds: float) -> Item:
    """With an answer of its holder that is held until ``until_us``."""
    return _next(item, draft=Draft(decision, time_us, until_us, seconds))


def taken_back(item: Item, until_us: int) -> Item:
    """Without its held answer, leased to its holder until ``until_us`` at least."""
    return _next(item, draft=None, lease_until_us=max(until_us, item.lease_until_us))


def settled(item: Item) -> Item:
    """Decided as its holder said; raises ``ValueError`` where no answer is held."""
    if item.draft is None:
        raise ValueError(f"item {item.id} holds no answer")
    draft = item.draft
    done = decided(item, draft.decision, item.holder or "", draft.time_us)
    return replace(done, seconds=draft.seconds)


def decided(item: Item, decision: str, reviewer: str, time_us: int, by: DecidedBy = "person") -> Item:
    """Decided by somebody."""
    return _next(
        item, state="decided", decision=decision, decided_by=by, reviewer=reviewer, decided_us=time_us, draft=None
    )


def closed(item: Item, time_us: int) -> Item:
    """An audit, second look or adjudication that nobody did: closed without an answer, with nothing to send."""
    return _next(item, state="decided", decided_by="nobody", decided_us=time_us, outboxed=True)


def postponed(item: Item, due_us: int, risk: float) -> Item:
    """With another deadline and risk."""
    return _next(item, due_us=due_us, risk=risk)


def outboxed(item: Item) -> Item:
    """Written to the people stream."""
    return _next(item, outboxed=True)


def _next(item: Item, **changes: object) -> Item:
    return replace(item, revision=item.revision + 1, **changes)
