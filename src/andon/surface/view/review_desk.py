"""What all review pages share: a reviewer's inbox, the case they are at, and what can still be taken back."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from andon.core.record import Item
from andon.deploy.line import open_inbox
from andon.errors import Unavailable

if TYPE_CHECKING:
    from andon.people.inbox import Inbox
    from andon.surface.visit import Visit

__all__ = ["Held", "at_hand", "desk", "last_held", "next_case"]


class Held(msgspec.Struct, frozen=True):
    """The reviewer's last answer while it can be taken back: ``left_us`` of the machine's time from now; ``more`` are held."""

    id: str
    decision: str
    left_us: int
    more: int


def desk(visit: Visit) -> Inbox:
    """The inbox, with what is due sent: whoever comes by does that, so that nothing waits for a page to be open.

    Where the database is held by another for a moment, that is left to the next one.
    """
    inbox = open_inbox(visit.project.workspace, visit.project.charter)
    with suppress(Unavailable):
        inbox.settle()
    return inbox


def at_hand(inbox: Inbox, reviewer: str) -> list[Item]:
    """What the reviewer holds unanswered, the longest held first: a case that was taken back comes before the next one."""
    return sorted(inbox.held(reviewer), key=lambda item: (item.taken_us, -item.risk, item.due_us, item.id))


def next_case(inbox: Inbox, reviewer: str) -> Item | None:
    """The case they are at; where there is none, one that is leased to them now. None where nothing waits."""
    mine = at_hand(inbox, reviewer) or inbox.take(reviewer)
    return mine[0] if mine else None


def last_held(inbox: Inbox, visit: Visit) -> Held | None:
    """The last answer that can be taken back."""
    drafts = inbox.drafts(visit.viewer.name)
    if not drafts or drafts[0].draft is None:
        return None
    draft = drafts[0].draft
    return Held(drafts[0].id, draft.decision, draft.until_us - visit.wall_us, len(drafts) - 1)
