"""The Review pages, and what a reviewer does on them: take, decide, undo, skip, release, done.

On the pages an answer is held for a while, so that it can be taken back, and the next case is taken with it; a program
that posts ``review.decide`` decides at once, as the command line does, unless it asks for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated
from urllib.parse import quote

import msgspec

from andon.core.clock import SECOND
from andon.errors import Conflict
from andon.surface.page import Command, Done
from andon.surface.station import count
from andon.surface.view.review_case import PAGE as CASE
from andon.surface.view.review_desk import desk, next_case
from andon.surface.view.review_mine import PAGE as MINE
from andon.surface.view.review_people import PAGE as PEOPLE
from andon.surface.view.review_picture import RAW
from andon.surface.view.review_queue import PAGE as QUEUE

if TYPE_CHECKING:
    from andon.core.record import Item
    from andon.surface.visit import Visit

__all__ = [
    "COMMANDS",
    "PAGES",
    "RAWS",
    "At",
    "Decide",
    "Decided",
    "OneCase",
    "decide",
    "done",
    "release",
    "skip",
    "take",
    "undo",
]

_Id = Annotated[str, msgspec.Meta(title="Case", min_length=1, max_length=256, description="The case's id.")]
_MaybeId = Annotated[str, msgspec.Meta(title="Case", max_length=256, description="The case's id; may be left out.")]


class OneCase(msgspec.Struct, frozen=True):
    """One case by its id."""

    id: _Id


class AnyCase(msgspec.Struct, frozen=True):
    """A case by its id, or the one that follows from what the reviewer is at."""

    id: _MaybeId = ""


class Decide(msgspec.Struct, frozen=True):
    """An answer. Without ``hold`` it is sent at once; ``next`` takes the next case with it (if left out: as ``hold``)."""

    id: _Id
    decision: Annotated[str, msgspec.Meta(title="Answer", max_length=256, description="One of the answers there are.")]
    hold: Annotated[bool, msgspec.Meta(description="Hold it for `review.undo`, so that it can be taken back.")] = False
    next: Annotated[bool | None, msgspec.Meta(description="Take the next case with it.")] = None


class At(Done, frozen=True, kw_only=True):
    """Where the reviewer is then: ``id`` is the case they are at ("" for none), ``goto`` the page that shows it.

    ``quiet``: the page shows it all, no sentence is needed at its top.
    """

    id: str = ""
    goto: str = "/review"
    quiet: bool = False


class Decided(At, frozen=True, kw_only=True):
    """``answered`` is the case that was answered with ``decision`` (None: the deadline came first).

    ``sent`` says that the client has it; else it can be taken back for ``undo_us`` from now.
    """

    answered: str
    decision: str | None
    sent: bool
    undo_us: int = 0


def take(visit: Visit, params: AnyCase) -> At:
    """Lease a case to the viewer: this one, or the next; who is at one already stays there."""
    inbox, name = desk(visit), visit.viewer.name
    item = inbox.take_one(params.id, name) if params.id else next_case(inbox, name)
    return _at(item, f"Case {item.id} is yours." if item else "Nothing waits for a person.", quiet=item is not None)


def decide(visit: Visit, params: Decide) -> Decided:
    """Answer a case. Raises ``Conflict`` where somebody else decided it or holds it.

    Where the deadline came first and the next case was asked for, that is said and not raised.
    """
    inbox, name = desk(visit), visit.viewer.name
    onwards = params.hold if params.next is None else params.next
    try:
        answer = inbox.hold if params.hold else inbox.decide
        item = answer(params.id, params.decision, name)
    except Conflict:
        late = _missed(visit, params.id) if onwards else ""
        if not late:
            raise
        at = _at(next_case(inbox, name), late)
        return Decided(sentence=at.sentence, id=at.id, goto=at.goto, answered=params.id, decision=None, sent=False)
    sent = item.draft is None
    left = 0 if item.draft is None else item.draft.until_us - visit.wall_us
    told = "sent" if sent else f"it can be taken back for {left // SECOND} s"
    at = _at(next_case(inbox, name) if onwards else None, f"Case {item.id}: {params.decision}; {told}.")
    return Decided(
        sentence=at.sentence,
        id=at.id,
        goto=at.goto,
        quiet=not sent and bool(at.id),
        answered=item.id,
        decision=params.decision,
        sent=sent,
        undo_us=left,
    )


def undo(visit: Visit, params: AnyCase) -> At:
    """Take a held answer back: this case's, or the last one. Raises ``Conflict`` where it was sent."""
    inbox, name = desk(visit), visit.viewer.name
    id = params.id or next((item.id for item in inbox.drafts(name)), "")
    if not id:
        raise Conflict("there is nothing to take back: no answer of yours is held", hint="what was sent stays as it is")
    try:
        back = inbox.undo(id, name)
    except Conflict as error:
        raise Conflict(f"it cannot be taken back: {error.message}", hint="what was sent stays as it is") from error
    return _at(back, f"The answer to case {back.id} is taken back; it is yours again.")


def skip(visit: Visit, params: OneCase) -> At:
    """Give a case back and take the next one; this one is offered to others first. Raises ``Conflict``."""
    inbox, name = desk(visit), visit.viewer.name
    inbox.release(params.id, name, skip=True)
    item = next_case(inbox, name)
    if item is not None and item.id == params.id:
        inbox.release(item.id, name, skip=True)
        return _at(None, f"Case {params.id} is open to others again; no other case waits.")
    return _at(item, f"Case {params.id} is open to others again.")


def release(visit: Visit, params: OneCase) -> At:
    """Give a case back and take no other. Raises ``Conflict``."""
    desk(visit).release(params.id, visit.viewer.name)
    return _at(None, f"Case {params.id} is open again.")


def done(visit: Visit, params: AnyCase) -> At:
    """Leave: what is held is sent, and the case that one was at is given back."""
    inbox, name = desk(visit), visit.viewer.name
    sent = inbox.send(name)
    told = f"{count(len(sent), 'answer')} sent." if sent else "Nothing was held."
    if params.id and any(item.id == params.id for item in inbox.held(name)):
        inbox.release(params.id, name)
        told += f" Case {params.id} is open again."
    return _at(None, told)


def _at(item: Item | None, sentence: str, *, quiet: bool = False) -> At:
    id = "" if item is None else item.id
    return At(sentence=sentence, id=id, goto=f"/review/case?id={quote(id, safe='')}" if id else "/review", quiet=quiet)


def _missed(visit: Visit, id: str) -> str:
    """One sentence, where the deadline answered or closed the case."""
    item = visit.project.workspace.items.get(id)
    if item is None or item.state != "decided" or item.decided_by == "person":
        return ""
    stands = "it is closed" if item.decision is None else f"it was answered {item.decision!r}, as the charter says"
    return f"The deadline of case {id} came first: {stands}."


def _command(name: str, title: str, params: type[msgspec.Struct], run: object, result: type[Done] = At) -> Command:
    return Command(f"review.{name}", title, params, run, may="review", result=result, back="/review/case")  # type: ignore[arg-type]


PAGES = (QUEUE, CASE, MINE, PEOPLE)
RAWS = (RAW,)
COMMANDS = (
    _command("take", "Take a case", AnyCase, take),
    _command("decide", "Answer a case", Decide, decide, Decided),
    _command("undo", "Take an answer back", AnyCase, undo),
    _command("skip", "Skip a case", OneCase, skip),
    _command("release", "Give a case back", OneCase, release),
    _command("done", "Done for now", AnyCase, done),
)
