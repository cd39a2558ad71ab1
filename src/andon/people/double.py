"""Double review: a second person looks at a random share of what people decided, and a third where the two differ.

The first answer is the client's and stays so. What follows from it is another item with an id of its own, in the form
that the server keeps for itself, so that no client's case can have it. All of it follows from the item that was
answered: after a kill it is made again, and is the same.

>>> case = Item("a1", "decision", 0, 90, {"cough": True}, state="decided", decision="negative", reviewer="ann",
...             decided_by="person", decided_us=50, suggestion="positive")
>>> rule = Doubling(share=1.0, deadline_us=1000)
>>> second = follow_up(case, rule)
>>> second.id, second.kind, second.of, second.due_us, second.said, second.blind
('second-9f656691-330ed1b', 'second', 'a1', 1050, {'ann': 'negative'}, True)
>>> answered = msgspec.structs.replace(second, state="decided", decision="positive", reviewer="bob",
...                                    decided_by="person", decided_us=70)
>>> third = follow_up(answered, rule)
>>> third.kind, third.of, third.said, third.between
('adjudication', 'a1', {'ann': 'negative', 'bob': 'positive'}, ('negative', 'positive'))
>>> follow_up(msgspec.structs.replace(answered, decision="negative"), rule) is None     # they agree
True
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Literal

import msgspec

from andon.core.record import Item

__all__ = ["DEADLINES", "DoubleKind", "Doubling", "double_id", "drawn", "follow_up", "item_id"]

DoubleKind = Literal["second", "adjudication"]

#: A second look keeps nobody waiting: it stays open for so many deadlines of a case that somebody waits for.
DEADLINES = 24

_TWO64 = 2**64
#: They come after everything else, audits too (risk -1): nobody waits for them.
_RISK: dict[DoubleKind, float] = {"adjudication": -2.0, "second": -3.0}


class Doubling(msgspec.Struct, frozen=True):
    """``share`` of the answered cases get a second look, open for ``deadline_us`` (event time).

    ``blind``: whoever adjudicates sees which answers there are, and not who gave them nor what the model said.
    """

    share: float = 0.0
    deadline_us: int = 0
    blind: bool = True


def drawn(id: str, share: float) -> float:
    """``share`` where the case ``id`` is drawn for a second look, else 0: a hash of the id, the same in every process.

    >>> drawn("a1", 1.0), drawn("a1", 0.0)
    (1.0, 0.0)
    >>> 480 < sum(drawn(str(n), 0.25) > 0 for n in range(2000)) < 520
    True
    """
    if share <= 0.0:
        return 0.0
    digest = blake2b(b"double\0" + id.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return share if int.from_bytes(digest, "big") < share * _TWO64 else 0.0


def double_id(id: str, kind: DoubleKind) -> str:
    """The id of a case's second look or adjudication."""
    digest = int.from_bytes(blake2b(id.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
    return f"{kind}-{digest >> 32:08x}-{digest & 0xFFFFFFFF:x}"


def item_id(id: str, kind: str) -> str:
    """The id of the item that a review with this id and kind answered."""
    return double_id(id, kind) if kind in ("second", "adjudication") else id  # type: ignore[arg-type]


def follow_up(item: Item, rule: Doubling) -> Item | None:
    """What follows from an item that was answered: a second look, an adjudication, or nothing.

    Only a person's answer is looked at again, never the safe default that a deadline gave.
    """
    if item.state != "decided" or item.decided_by != "person" or item.decision is None or item.reviewer is None:
        return None
    if item.kind in ("decision", "audit"):
        share = drawn(item.id, rule.share)
        return _next(item, "second", item.id, rule, share=share, blind=True) if share else None
    if item.kind == "second" and item.decision not in item.said.values():
        return _next(item, "adjudication", item.of, rule, share=item.share, blind=rule.blind)
    return None


def _next(item: Item, kind: DoubleKind, of: str, rule: Doubling, *, share: float, blind: bool) -> Item:
    said = {**item.said, item.reviewer or "": item.decision or ""}
    return Item(
        id=double_id(of, kind),
        kind=kind,
        created_us=item.decided_us,
        due_us=item.decided_us + rule.deadline_us,
        x=item.x,
        level=item.level,
        slice=item.slice,
        blind=blind,
        suggestion=item.suggestion,
        confidence=item.confidence,
        risk=_RISK[kind],
        of=of,
        share=share,
        said=said,
        between=tuple(sorted(said.values())) if kind == "adjudication" else (),
    )
