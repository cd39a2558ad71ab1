"""The queue: how many cases wait, how long, and which come first."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

import msgspec

from andon.core.clock import DAY, HOUR, MINUTE
from andon.core.record import Item, ItemKind
from andon.store.items import Waiting
from andon.surface.page import Page
from andon.surface.view.review_desk import Held, at_hand, desk, last_held

if TYPE_CHECKING:
    from andon.surface.visit import Visit

__all__ = ["PAGE", "Band", "OpenCase", "Queue", "QueueParams", "queue_view"]

_PAGE = 50
#: Where it is asked whether people can keep up: so many cases are due by then, so many can be answered.
_AHEAD = (0, *(minutes * MINUTE for minutes in (5, 10, 15, 20, 30, 40, 50, 60, 90, 120, 180, 240, 480, 1440, 2880)))
_BANDS = (("overdue", 0), ("within 10 min", 10 * MINUTE), ("within the hour", HOUR), ("within a day", DAY))


class QueueParams(msgspec.Struct, frozen=True):
    """Which part of the list."""

    page: Annotated[int, msgspec.Meta(ge=1, le=1_000_000, description="Page of the list, 50 cases each.")] = 1


class Band(msgspec.Struct, frozen=True):
    """How many open cases are due in a span of time."""

    name: str
    n: int


class OpenCase(msgspec.Struct, frozen=True):
    """A case that waits, without its inputs: those are shown to whoever takes it.

    ``place`` counts from 1 in the order they are given out. ``risk`` is None where it would tell a blind reviewer how
    sure the model is; ``first`` says that it was moved to the front.
    """

    place: int
    id: str
    kind: ItemKind
    created_us: int
    due_us: int
    late: bool
    slice: str
    blind: bool
    risk: float | None
    first: bool


class Queue(msgspec.Struct, frozen=True):
    """What waits, by kind: ``seconds`` are second looks, ``adjudications`` cases on which two people differ.

    ``offered``: something of it is for the viewer, who does not look again at what they answered. ``taken`` counts the
    cases that somebody is at; ``mine`` are the viewer's own, ``held`` their last answer.

    ``per_hour`` is how many cases people decide by the charter (None: it does not say); at that pace ``beyond`` of those that
    wait, or more, are not answered by their deadline, in whatever order.
    """

    now_us: int
    decisions: Waiting
    audits: Waiting
    seconds: Waiting
    adjudications: Waiting
    taken: int
    offered: bool
    due: tuple[Band, ...]
    mine: int
    held: Held | None
    cases: tuple[OpenCase, ...]
    per_hour: float | None
    beyond: int
    page: int
    pages: int


def queue_view(visit: Visit, params: QueueParams) -> Queue:
    """The queue as it is now. Raises ``Unavailable`` when the database is gone."""
    inbox, items, now = desk(visit), visit.project.workspace.items, visit.now_us
    waiting, counts = items.waiting(), items.counts()
    pages = max(1, -(-counts.get("open", 0) // _PAGE))
    page = min(params.page, pages)
    first = (page - 1) * _PAGE
    per_hour = visit.project.charter.review.reviewers_per_hour
    return Queue(
        now_us=now,
        decisions=waiting.get("decision", Waiting()),
        audits=waiting.get("audit", Waiting()),
        seconds=waiting.get("second", Waiting()),
        adjudications=waiting.get("adjudication", Waiting()),
        taken=counts.get("taken", 0),
        offered=bool(items.queue(1, "open", 0, visit.viewer.name)),
        due=_bands(items.due_by([now + far for _, far in _BANDS]), counts.get("open", 0)),
        mine=len(at_hand(inbox, visit.viewer.name)),
        held=last_held(inbox, visit),
        cases=tuple(_case(first + n, item, now) for n, item in enumerate(inbox.queue(_PAGE, "open", first), start=1)),
        per_hour=per_hour,
        beyond=0 if per_hour is None else _beyond(items.due_by([now + far for far in _AHEAD]), per_hour),
        page=page,
        pages=pages,
    )


def _beyond(due: list[int], per_hour: float) -> int:
    """How many are late at least: by some time more are due than can be answered until then.

    >>> hour = [0 if far < HOUR else 60 for far in _AHEAD]
    >>> _beyond(hour, 60.0), _beyond([n + 10 for n in hour], 60.0)
    (0, 10)
    """
    return max(n - math.floor(per_hour * far / HOUR) for n, far in zip(due, _AHEAD, strict=True))


def _bands(until: list[int], open_: int) -> tuple[Band, ...]:
    """From "so many by then" to "so many between"."""
    ends = [*until, open_]
    names = [*(name for name, _ in _BANDS), "later"]
    return tuple(
        Band(name, max(0, end - before)) for name, end, before in zip(names, ends, [0, *ends[:-1]], strict=True)
    )


def _case(place: int, item: Item, now: int) -> OpenCase:
    return OpenCase(
        place=place,
        id=item.id,
        kind=item.kind,
        created_us=item.created_us,
        due_us=item.due_us,
        late=item.due_us <= now,
        slice=item.slice,
        blind=item.blind,
        risk=None if item.blind or item.kind != "decision" else item.risk,
        first=item.risk > 1,
    )


PAGE = Page(
    name="review",
    path="/review",
    title="Review",
    section="review",
    view=queue_view,
    params=QueueParams,
    result=Queue,
    template="review.html",
    live=("items",),
    personal=True,
)
