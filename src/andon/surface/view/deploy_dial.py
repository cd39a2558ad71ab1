"""One slice's degree of automation as the board shows it: the dial, what would move it, and its risk-coverage curve."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec.structs import replace

from andon.core.clock import HOUR
from andon.core.record import Level
from andon.deploy.automation import LEVELS
from andon.deploy.ladder import Rung, Why, better
from andon.measure.selective import Point
from andon.surface.station import Known, State, count, span

if TYPE_CHECKING:
    from andon.deploy.learning import Evidence
    from andon.scope.charter import Charter

__all__ = ["DOES", "Dial", "Picture", "Spot", "Stop", "dial", "lamp_of"]

#: Points of a curve that is drawn, at most.
_POINTS = 80

DOES: dict[Level, str] = {
    "human": "people decide, no model is asked",
    "shadow": "people decide, the model is asked unseen",
    "assist": "people decide and see what the model says",
    "partial": "the model decides what it is sure of",
    "full": "the model decides everything",
}
_STAYS: dict[Why, tuple[State, str]] = {
    "breach": ("stop", "promise broken"),
    "top": ("good", "as high as it goes"),
    "release": ("idle", "no release yet"),
    "labels": ("idle", "too few labels yet"),
    "evidence": ("idle", "not shown yet"),
    "capacity": ("look", "more than people can decide"),
    "only": ("good", "as far as the charter allows"),
    "people": ("good", "people err less here"),
    "watch": ("good", "a shadow costs nothing"),
    "earned": ("good", "earned"),
    "unjudged": ("idle", "too few were judged"),
}


class Stop(msgspec.Struct, frozen=True):
    """One level on the dial: ``place`` says whether it is passed, where the slice is, where it should go, or neither.

    ``listed``: it is on the charter's ``automation.path``.
    """

    level: Level
    does: str
    place: Literal["passed", "here", "next", "ahead"]
    listed: bool


class Spot(msgspec.Struct, frozen=True):
    """One point of the curve: with this ``threshold``, ``coverage`` of the cases are automatic and ``risk`` of them wrong.

    ``low`` and ``high`` are the exact 95 % interval of the risk, for this point alone.
    """

    threshold: float
    coverage: float
    risk: float
    low: float
    high: float


class Picture(msgspec.Struct, frozen=True):
    """The risk-coverage curve of ``n`` labelled cases: ``source`` says which. It is a picture and promises nothing.

    ``now`` is the point of the threshold in force, or of the one that was learnt (None: there is none). ``whole`` is the
    point at which all that may be automatic is. ``area`` is the area under the curve, in units of risk; ``top`` the
    largest risk worth drawing.
    """

    source: str
    n: int
    spots: tuple[Spot, ...]
    now: Point | None
    whole: Point
    area: float
    top: float


class Dial(msgspec.Struct, frozen=True):
    """One slice ("*": everything that no slice matches): its rung, the five stops of the dial, what is missing, the curve.

    ``state`` and ``word`` are its lamp. ``missing`` and ``work`` (what people have to decide) are sentences. ``errs_less``
    is who errs less on the same cases. ``picture`` is None where there is nothing to draw; ``why`` says why.
    """

    slice: str
    title: str
    predicate: str | None
    rung: Rung
    state: State
    word: str
    stops: tuple[Stop, ...]
    missing: str
    work: str
    errs_less: Literal["people", "model", ""]
    picture: Picture | None
    why: str = ""


def dial(rung: Rung, charter: Charter, slices: Mapping[str, str], evidence: Evidence | None, known: Known) -> Dial:
    """The dial of a rung. ``slices`` are the route's predicates; ``evidence`` the labelled cases of the rung's version."""
    picture = known.ask(lambda: _picture(rung, charter, slices, evidence))
    gone = known.trouble
    state, word = lamp_of(rung)
    others = any(name != "*" for name in slices)
    return Dial(
        slice=rung.slice,
        title=rung.slice if rung.slice != "*" else "all other cases" if others else "all cases",
        predicate=None if rung.slice == "*" else slices.get(rung.slice),
        rung=replace(rung, reason=f"what is known of it cannot be read now: {gone}") if gone else rung,
        state="idle" if gone else state,
        word="not known now" if gone else word,
        stops=tuple(_stop(level, rung, charter) for level in LEVELS),
        missing="The database; then it is told here." if gone else _missing(rung),
        work=_work(rung),
        errs_less=better(rung.human_error, rung.model_error),
        picture=picture,
        why="" if picture is not None else known.why or _no_picture(rung),
    )


def lamp_of(rung: Rung) -> tuple[State, str]:
    """State and word of a rung.

    >>> from andon.deploy.ladder import Facts, Rules, decide
    >>> lamp_of(decide(Rules(), Facts("*", "shadow", "v1")))
    ('idle', 'too few labels yet')
    """
    if rung.kind == "demote":
        return "stop", f"down to {rung.to}"
    if rung.kind == "promote":
        return "look", f"ready for {rung.to}"
    if rung.why in ("labels", "evidence") and rung.labels_needed is None:
        return "idle", "errs too often"
    return _STAYS[rung.why]


def _stop(level: Level, rung: Rung, charter: Charter) -> Stop:
    order = LEVELS.index(level) - LEVELS.index(rung.level)
    place: Literal["passed", "here", "next", "ahead"] = "passed" if order < 0 else "here" if not order else "ahead"
    if level == rung.to:
        place = "next"
    return Stop(level, DOES[level], place, level in charter.automation.path)


def _missing(rung: Rung) -> str:
    """What the next level waits for, in one sentence."""
    if rung.kind == "demote":
        return f"Nothing is missing: the promise is broken, and the controller lowers it to {rung.to}."
    if rung.kind == "promote":
        if rung.automatic:
            return f"Nothing is missing: the controller raises it to {rung.to} with its next look."
        return f"Only a person's word: {rung.held or 'raise it below'}."
    if rung.labels_needed is not None:
        more = max(0, rung.labels_needed - rung.labels)
        if not more:
            return "The labels are there: the controller (`andon up`) looks at them next."
        pace = "" if rung.eta_hours is None else f", about {span(round(rung.eta_hours * HOUR))} at today's pace"
        return f"{count(more, 'more case')} with a known truth, if errors stay as seen{pace}."
    return {
        "top": "Nothing: there is no level above it on the charter's path.",
        "release": "A release: `andon train`, then `andon release RUN`.",
        "capacity": "People: more of them (`review: {reviewers_per_hour}`), or a model that leaves them less.",
        "only": "Nothing: `automation.partial.only` leaves the other labels to people.",
        "unjudged": "People's word or labels for what was answered already, from people who did not see the model's answer.",
        "people": "A better model: this one errs more than people do here.",
    }.get(rung.why, "A better model: no number of labels would show it with errors as seen.")


def _work(rung: Rung) -> str:
    """What people have to decide of this slice, and what they can."""
    room = rung.capacity
    if not room.arrivals or room.deferral is None:
        return "How many cases come is not known yet."
    comes = f"{_per_hour(room.arrivals)} cases an hour come, {_share(room.deferral)} of them wait for people"
    if room.allowed is None:
        return f"{comes}; the charter does not say how many they can decide (`review: {{reviewers_per_hour}}`)."
    return f"{comes}, who can decide {_share(min(1.0, room.allowed))}."


def _picture(rung: Rung, charter: Charter, slices: Mapping[str, str], evidence: Evidence | None) -> Picture | None:
    from andon.measure.selective import risk_coverage

    if evidence is None:
        return None
    rows, source = evidence.of(rung.slice, slices)
    partial = charter.automation.partial
    confidence, said = rows["confidence"].cast(float).to_numpy(), rows["model"].cast(str).to_list()
    right = (rows["model"].cast(str) == rows["truth"].cast(str)).to_numpy()
    curve = risk_coverage(confidence, right, said, partial.only)
    if not len(curve.threshold):
        return None
    # Fewer cases than one error's worth of the promise have no risk worth drawing.
    drawn = curve.thinned(_POINTS, least=math.ceil(1 / rung.max_error))
    ends = drawn.interval()
    columns = (drawn.threshold, drawn.coverage, drawn.risk, *ends)
    spots = tuple(Spot(*map(float, one)) for one in zip(*columns, strict=True))
    now = None if rung.threshold is None else curve.at(rung.threshold)
    whole = curve.at(float(curve.threshold[-1]))
    top = _top(spots, rung.max_error)
    return Picture(source, curve.n, spots, now if now and now.accepted else None, whole, curve.aurc, top)


def _no_picture(rung: Rung) -> str:
    if rung.version is None:
        return "there is no release to draw it of"
    return f"no case that {rung.version} answered has a known truth yet"


def _per_hour(rate: float) -> str:
    return f"About {rate:,.0f}" if rate >= 10 else f"About {rate:.2g}"


def _share(part: float) -> str:
    return f"{part * 100:.3g} %"


def _top(spots: tuple[Spot, ...], max_error: float) -> float:
    """Intervals of few cases reach to 1 and would flatten everything else."""
    highest = max((spot.risk for spot in spots), default=0.0)
    return min(1.0, max(4 * max_error, 1.3 * highest))
