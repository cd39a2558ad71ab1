"""One request's whole life: what came in, why it went where it went, who said what, what people did, and what came back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import unquote

import msgspec

from andon.core.record import Kind, Scalar
from andon.errors import NotFound
from andon.surface.page import Content, Page, Raw
from andon.surface.view.decision_veil import HIDDEN, veiled
from andon.surface.view.watch_card import link

if TYPE_CHECKING:
    from andon.store.workspace import Workspace
    from andon.surface.visit import Visit

__all__ = [
    "PAGES",
    "RAWS",
    "Answer",
    "Asked",
    "Came",
    "DecisionParams",
    "DecisionView",
    "Given",
    "Reviewed",
    "Step",
    "Why",
    "decision_view",
]

_PICTURE = 640
_LONGEST_TEXT = 20_000


class DecisionParams(msgspec.Struct, frozen=True):
    """Which one."""

    id: Annotated[str, msgspec.Meta(max_length=800, description="The decision's id.")]


class Given(msgspec.Struct, frozen=True):
    """One input as it was recorded; of a picture, ``picture`` is where it is and ``value`` None."""

    name: str
    kind: Kind
    value: Scalar
    picture: str = ""


class Why(msgspec.Struct, frozen=True):
    """Why it went where it went: the route in force, who put it there, and what was drawn under it.

    ``threshold`` is the confidence from which the model decides by itself (None: it does not, or always).
    ``probability`` is that of the arm it got.
    """

    epoch: int
    level: str
    slice: str
    condition: str
    arm: str
    probability: float
    actor: str = ""
    action: str = ""
    reason: str = ""
    since_us: int | None = None
    live: str | None = None
    candidate: str | None = None
    share: float = 0.0
    threshold: float | None = None
    stopped: str = ""


class Answer(msgspec.Struct, frozen=True):
    """What somebody or something said. ``scores`` are (class, probability), the largest first."""

    who: str
    kind: Literal["model", "shadow", "person", "audit", "second", "adjudication", "client", "safe_default"]
    label: str | None
    time_us: int
    confidence: float | None = None
    scores: tuple[tuple[str, float], ...] = ()
    error: str | None = None
    counts: bool = False


class Reviewed(msgspec.Struct, frozen=True):
    """A person's answer (or the deadline's): ``seconds`` is their time on it, of the machine; ``blind`` without a suggestion."""

    kind: str
    decision: str
    decided_by: str
    reviewer: str
    time_us: int
    seconds: float
    blind: bool
    simulated: bool


class Asked(msgspec.Struct, frozen=True):
    """That a person was asked: since when, until when (event time), and how it stands."""

    kind: str
    state: str
    blind: bool
    created_us: int
    due_us: int


class Came(msgspec.Struct, frozen=True):
    """Feedback: what happened when; ``value`` is None where it is hidden or there is none."""

    kind: str
    value: str | None
    time_us: int
    received_us: int | None
    event: str | None


class Step(msgspec.Struct, frozen=True):
    """One moment of its life."""

    time_us: int
    what: str
    who: str = ""


class DecisionView(msgspec.Struct, frozen=True):
    """The page. ``hidden`` says why something is not shown, or is empty. ``waited_us`` is from request to answer."""

    now_us: int
    id: str
    time_us: int
    status: str
    decision: str | None
    decided_by: str
    version: str | None
    unit: str
    contract: str
    x: tuple[Given, ...]
    tags: dict[str, str]
    why: Why
    answers: tuple[Answer, ...]
    asked: Asked | None
    reviews: tuple[Reviewed, ...]
    feedback: tuple[Came, ...]
    life: tuple[Step, ...]
    latency_us: int
    waited_us: int | None
    audit: float
    hidden: str


def decision_view(visit: Visit, params: DecisionParams) -> DecisionView:
    """The whole life of a decision. Raises ``NotFound``."""
    workspace = visit.project.workspace
    found = _find(workspace, params.id)
    # The people stream may hold a review twice, never two different ones.
    found["reviews"] = list({_mark(one): one for one in reversed(found["reviews"])}.values())[::-1]
    row = found["decision"]
    hidden = bool(veiled(workspace, [row]))
    classes = workspace.load_contract(row["contract"])[1]
    reviews = () if hidden else tuple(_reviewed(one) for one in found["reviews"])
    feedback = tuple(_came(one, hidden) for one in found["feedback"])
    asked = _asked(found["item"])
    answers = () if hidden else tuple(_answers(found, classes))
    return DecisionView(
        now_us=visit.now_us, id=row["id"], time_us=row["time_us"], status=row["status"],
        decision=None if hidden else row["decision"], decided_by="hidden" if hidden else row["decided_by"],
        version=None if hidden else row["version"], unit=row["unit"], contract=row["contract"],
        x=tuple(_given(workspace, row)), tags=row["tags"], why=_why(found, hidden), answers=answers, asked=asked,
        reviews=reviews, feedback=feedback, life=tuple(_life(row, answers, asked, reviews, feedback)),
        latency_us=row["latency_us"], waited_us=_waited(row, hidden), audit=row["audit"],
        hidden=HIDDEN if hidden else "",
    )  # fmt: skip


def _find(workspace: Workspace, id: str) -> dict[str, Any]:
    from andon.store.view import find

    try:
        return find(workspace, id)
    except NotFound:
        if unquote(id) == id:
            raise
        return find(workspace, unquote(id))


def _mark(review: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(review[name] for name in ("kind", "decision", "decided_by", "reviewer", "time_us"))


def _given(workspace: Workspace, row: dict[str, Any]) -> Iterator[Given]:
    for field in workspace.load_contract(row["contract"])[0]:
        value = row["x"][field.name]
        if field.kind == "image" and isinstance(value, str):
            yield Given(field.name, field.kind, None, link("/decisions", row["id"], "picture", input=field.name))
        else:
            yield Given(field.name, field.kind, value[:_LONGEST_TEXT] if isinstance(value, str) else value)


def _why(found: dict[str, Any], hidden: bool) -> Why:
    row, route = found["decision"], found["route"]
    mine: dict[str, Any] = {name: row[name] for name in ("epoch", "level", "slice", "arm", "probability")}
    if hidden:
        mine |= {"arm": "", "probability": 1.0}
    if route is None:
        return Why(**mine, condition="")
    return Why(
        **mine,
        condition=route.get("slices", {}).get(row["slice"], ""),
        actor=route["actor"],
        action=route["action"],
        reason=route["reason"],
        since_us=route["time_us"],
        live=route.get("live"),
        candidate=route.get("candidate"),
        share=route.get("share", 0.0),
        threshold=None if hidden else route.get("thresholds", {}).get(f"{row['version']}/{row['slice']}"),
        stopped=route.get("stopped", ""),
    )


def _answers(found: dict[str, Any], classes: tuple[str, ...]) -> Iterator[Answer]:
    row = found["decision"]
    by, label = row["decided_by"], row["decision"]
    if row["version"] is not None:
        said = label if by == "model" else row["suggestion"]
        yield Answer(
            row["version"], "model", said, row["time_us"], row["confidence"], _scores(row["scores"], classes),
            row["error"], counts=by == "model",
        )  # fmt: skip
    if row["human"] is not None:
        yield Answer("decided elsewhere", "client", row["human"], row["time_us"], counts=by == "client")
    if by == "safe_default" and not found["reviews"]:
        yield Answer("the charter", "safe_default", label, row["time_us"], counts=True)
    for one in found["shadow"]:
        scores = _scores(one["scores"], classes)
        yield Answer(one["version"], "shadow", one["label"], one["time_us"], one["confidence"], scores, one["error"])
    for number, one in enumerate(found["reviews"]):
        again, default = one["kind"] != "decision", one["decided_by"] == "safe_default"
        first = not any(other["kind"] == one["kind"] for other in found["reviews"][:number])
        yield Answer(
            "the deadline" if default else one["reviewer"],
            one["kind"] if again else "safe_default" if default else "person",
            one["decision"],
            one["time_us"],
            counts=first and not again,
        )


def _scores(scores: list[float] | None, classes: tuple[str, ...]) -> tuple[tuple[str, float], ...]:
    if not scores or len(scores) != len(classes):
        return ()
    return tuple(sorted(zip(classes, scores, strict=True), key=lambda pair: -pair[1]))


def _reviewed(one: dict[str, Any]) -> Reviewed:
    return Reviewed(
        kind=one["kind"],
        decision=one["decision"],
        decided_by=one["decided_by"],
        reviewer=one["reviewer"] or "",
        time_us=one["time_us"],
        seconds=one["seconds"],
        blind=not one["saw_suggestion"],
        simulated=bool(one["simulated"]),
    )


def _asked(item: dict[str, Any] | None) -> Asked | None:
    if item is None:
        return None
    state, blind = item.get("state", "open"), item.get("blind", True)
    return Asked(item["kind"], state, blind, item["created_us"], item["due_us"])


def _came(one: dict[str, Any], hidden: bool) -> Came:
    number = one["number"]
    value = one["value"] if one["value"] is not None else None if number is None else f"{number:g}"
    return Came(one["kind"], None if hidden else value, one["time_us"], one["received_us"], one["event"])


def _waited(row: dict[str, Any], hidden: bool) -> int | None:
    if hidden or row["status"] == "pending":
        return None
    decided = row["decided_us"]
    return int(row["latency_us"] if decided is None else max(0, decided - row["time_us"]))


def _life(
    row: dict[str, Any],
    answers: tuple[Answer, ...],
    asked: Asked | None,
    reviews: tuple[Reviewed, ...],
    feedback: tuple[Came, ...],
) -> Iterator[Step]:
    steps = [Step(row["time_us"], "the request came in")]
    for one in answers:
        if one.kind in ("model", "shadow", "client") or (one.kind == "safe_default" and one.who == "the charter"):
            steps.append(Step(one.time_us, _said(one), one.who))
    if asked is not None:
        steps.append(Step(asked.created_us, "a person was asked" + (", blind" if asked.blind else "")))
    for review in reviews:
        again = _AGAIN.get(review.kind, "decided")
        default = review.decided_by == "safe_default"
        steps.append(
            Step(review.time_us, f"{'the deadline passed:' if default else again} {review.decision}", review.reviewer)
        )
    for came in feedback:
        value = f": {came.value}" if came.value is not None else ""
        steps.append(Step(came.time_us, f"{came.kind} came{value}"))
    yield from sorted(steps, key=lambda step: step.time_us)


_AGAIN = {
    "audit": "looked at it again and said",
    "second": "looked at it as the second person and said",
    "adjudication": "adjudicated between the two:",
}


def _said(one: Answer) -> str:
    where = {"shadow": "said in the shadow", "client": "had been"}.get(one.kind, "said")
    if one.label is None:
        return f"gave no answer{f': {one.error}' if one.error else ''}"
    sure = f" (confidence {one.confidence:.3f})" if one.confidence is not None else ""
    return f"{where} {one.label}{sure}"


class PictureParams(msgspec.Struct, frozen=True):
    """Which input of which decision."""

    id: Annotated[str, msgspec.Meta(max_length=800)]
    input: Annotated[str, msgspec.Meta(max_length=256)]


def picture(visit: Visit, params: PictureParams) -> Content:
    """An input that is a picture, made to fit a page. Raises ``NotFound``, or ``ContractError`` where it does not decode."""
    from andon.data.image import open_image
    from andon.surface.view.data_image import recorded, thumbnail

    workspace = visit.project.workspace
    row = _find(workspace, params.id)["decision"]
    kinds = {field.name: field.kind for field in workspace.load_contract(row["contract"])[0]}
    value = row["x"].get(params.input)
    if kinds.get(params.input) != "image" or not isinstance(value, str):
        raise NotFound(f"decision {params.id[:80]!r} has no picture called {params.input[:80]!r}", field="input")
    return Content(thumbnail(open_image(recorded(workspace.blobs, value)), _PICTURE), "image/png")


PAGES = (
    Page(
        "decision", "/decisions/{id}", "Decision", "watch", decision_view, DecisionParams, DecisionView, "decision.html",
        live=("items",),
    ),
)  # fmt: skip
RAWS = (Raw("decision.picture", "/decisions/{id}/picture", picture, PictureParams),)
