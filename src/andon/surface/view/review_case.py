"""One case, alone: what is asked, what is known, the answers there are, and how long there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal
from urllib.parse import urlencode

import msgspec

from andon.core.record import Item, ItemKind, Kind, Scalar
from andon.errors import NotFound
from andon.people.inbox import veil
from andon.surface.page import Page
from andon.surface.view.review_desk import Held, at_hand, desk, last_held

if TYPE_CHECKING:
    from andon.core.record import Field
    from andon.people.inbox import Inbox
    from andon.scope.charter import Charter
    from andon.surface.visit import Visit

__all__ = ["PAGE", "Answer", "Case", "CaseParams", "CaseView", "Input", "case_view"]

State = Literal["yours", "open", "own", "elsewhere", "answered", "late", "none"]

#: Side of the square into which a picture is made to fit, in pixels.
_PICTURE = 1200
#: From this many characters on, or with a line break, a text is shown as a text and not as a value.
_LONG = 80


class CaseParams(msgspec.Struct, frozen=True):
    """Which case: the one the viewer is at, if none is named."""

    id: Annotated[str, msgspec.Meta(max_length=256, description="The case's id; empty: the one you are at.")] = ""


class Input(msgspec.Struct, frozen=True):
    """One input value. ``shown``: word, text or picture; a picture's ``value`` is None and ``picture`` says where it is."""

    name: str
    kind: Kind
    shown: Literal["word", "text", "picture", "missing"]
    value: Scalar = None
    picture: str = ""


class Answer(msgspec.Struct, frozen=True):
    """One answer there is; ``key`` is the number key that gives it (None beyond nine), ``safe`` marks the safe default."""

    name: str
    key: int | None
    safe: bool


class Case(msgspec.Struct, frozen=True):
    """The case that the viewer is at. ``suggestion`` and ``confidence`` are there only where the review is not blind.

    ``between`` are the answers of the two who differ, where the viewer adjudicates, and ``said`` who gave which, where the
    charter lets them see it. ``due_us`` is event time; ``lease_left_us`` is time of the machine from now.
    """

    id: str
    kind: ItemKind
    slice: str
    created_us: int
    due_us: int
    lease_left_us: int
    blind: bool
    inputs: tuple[Input, ...]
    suggestion: str | None = None
    confidence: float | None = None
    between: tuple[str, ...] = ()
    said: dict[str, str] = {}


class CaseView(msgspec.Struct, frozen=True):
    """The page. ``state`` says what ``id`` is to the viewer: theirs (then ``case`` is there), open, with somebody else, another look at
    what they answered (own),
    answered (``decision`` is there where they answered it), answered by the deadline (late), or no case at all (none).

    ``rate`` is how fast event time runs. ``waiting`` counts the open cases, ``held`` is the last answer that can be
    taken back, ``of`` the decision's id once the case is answered, ``undo_us`` how long answers are held.
    """

    now_us: int
    rate: float
    state: State
    id: str
    waiting: int
    problem: str
    question: str
    answers: tuple[Answer, ...]
    undo_us: int
    held: Held | None
    case: Case | None = None
    decision: str | None = None
    of: str = ""


def case_view(visit: Visit, params: CaseParams) -> CaseView:
    """The case that is named, or the one the viewer is at. Raises ``NotFound``, ``Unavailable``."""
    inbox, charter = desk(visit), visit.project.charter
    item = _named(visit, params.id) if params.id else next(iter(at_hand(inbox, visit.viewer.name)), None)
    state = "none" if item is None else _state(item, visit)
    mine = item is not None and state == "yours"
    return CaseView(
        now_us=visit.now_us,
        rate=visit.project.clock.rate(),
        state=state,
        id="" if item is None else item.id,
        waiting=visit.project.workspace.items.counts().get("open", 0),
        problem=charter.problem,
        question=f"What is the {charter.target.name.replace('_', ' ')}?",
        answers=_answers(inbox, charter),
        undo_us=inbox.policy.undo_us,
        held=last_held(inbox, visit),
        case=_case(veil(item, visit.viewer.name), visit) if item is not None and mine else None,
        decision=item.decision if item is not None and item.reviewer == visit.viewer.name else None,
        of=item.of or item.id if item is not None and item.state == "decided" else "",
    )


def _named(visit: Visit, id: str) -> Item:
    item = visit.project.workspace.items.get(id)
    if item is None:
        raise NotFound(f"no case has the id {id!r}", hint="the list of open cases is at /review")
    return item


def _state(item: Item, visit: Visit) -> State:
    if item.state == "decided":
        return "answered" if item.decided_by == "person" else "late"
    if visit.viewer.name in item.said:
        return "own"
    if item.state == "open" or (item.draft is None and item.lease_until_us <= visit.wall_us):
        return "open"
    return "yours" if item.holder == visit.viewer.name else "elsewhere"


def _answers(inbox: Inbox, charter: Charter) -> tuple[Answer, ...]:
    return tuple(
        Answer(name, number if number <= 9 else None, name == charter.safe_default)
        for number, name in enumerate(inbox.policy.answers, start=1)
    )


def _case(item: Item, visit: Visit) -> Case:
    fields = {field.name: field for field in visit.project.charter.fields()}
    return Case(
        id=item.id,
        kind=item.kind,
        slice=item.slice,
        created_us=item.created_us,
        due_us=item.due_us,
        lease_left_us=item.lease_until_us - visit.wall_us,
        blind=item.blind,
        inputs=tuple(_input(item.id, name, value, fields.get(name)) for name, value in item.x.items()),
        suggestion=item.suggestion,
        confidence=item.confidence,
        between=item.between,
        said=item.said,
    )


def _input(id: str, name: str, value: Scalar, field: Field | None) -> Input:
    """A value as it is shown; one that the charter no longer knows goes by its type."""
    kind: Kind = field.kind if field is not None else _kind(value)
    if value is None:
        return Input(name, kind, "missing")
    if kind == "image":
        query = urlencode({"id": id, "input": name, "size": _PICTURE})
        return Input(name, kind, "picture", picture=f"/review/picture?{query}")
    long = isinstance(value, str) and (kind == "text" or len(value) > _LONG or "\n" in value)
    return Input(name, kind, "text" if long else "word", value)


def _kind(value: Scalar) -> Kind:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    return "float" if isinstance(value, float) else "category"


PAGE = Page(
    name="review.case",
    path="/review/case",
    title="A case",
    section="review",
    view=case_view,
    params=CaseParams,
    result=CaseView,
    template="review_case.html",
    may="review",
    personal=True,
)
