"""One slice's degree of automation as the board shows it: the dial, what would move it, and its risk-coverage curve."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

import msgspec
from msgspec.structs import replace

from andon.core.record import Level, Route
from andon.deploy.automation import LEVELS
from andon.deploy.ladder import Rung, better
from andon.measure.estimate import undefined
from andon.measure.selective import Point
from andon.surface.station import Known, State
from andon.surface.view import deploy_dial_words as words

if TYPE_CHECKING:
    from andon.deploy.learning import Evidence
    from andon.scope.charter import Charter

__all__ = ["Dial", "Picture", "Spot", "Stop", "dial"]

#: Points of a curve that is drawn, at most.
_POINTS = 80


class Stop(msgspec.Struct, frozen=True):
    """One level on the dial: ``place`` says whether it is passed, where the slice is, where it should go, or neither.

    ``listed``: it is on the charter's ``automation.path``.
    """

    level: Level
    does: str
    place: Literal["passed", "here", "next", "ahead"]
    listed: bool


class Spot(msgspec.Struct, frozen=True):
    """One point of the curve: with this ``threshold``, ``coverage`` of the cases are automatic and ``risk`` of them errors.

    An error is what the page's ``error_is`` says. ``low`` and ``high`` are the exact 95 % interval of the risk, for this
    point alone.
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

    ``state`` and ``word`` are its lamp. What follows is said in words: what happens with a case ``now``, which answers are
    ``automatic``, which cases the next step is decided from (``counted``, "" where it needs none), what it is ``missing``
    and what people have to do (``work``). ``errs_less`` is who errs less on the same cases, ``errs`` says it. ``picture`` is
    None where there is nothing to draw; ``why`` says why.
    """

    slice: str
    title: str
    predicate: str | None
    rung: Rung
    state: State
    word: str
    stops: tuple[Stop, ...]
    now: str
    automatic: str
    counted: str
    missing: str
    work: str
    errs_less: Literal["people", "model", ""]
    errs: str
    picture: Picture | None
    why: str = ""


def dial(rung: Rung, charter: Charter, route: Route, evidence: Evidence | None, known: Known) -> Dial:
    """The dial of a rung under a route; ``evidence`` are the labelled cases of the rung's version."""
    picture = known.ask(lambda: _picture(rung, charter, route, evidence))
    gone = known.trouble
    state, word = words.lamp_of(rung, charter, route)
    others = any(name != "*" for name in route.slices)
    errs_less = better(rung.human_error, rung.model_error)
    return Dial(
        slice=rung.slice,
        title=rung.slice if rung.slice != "*" else "all other cases" if others else "all cases",
        predicate=None if rung.slice == "*" else route.slices.get(rung.slice),
        rung=_unread(rung, gone) if gone else rung,
        state="idle" if gone else state,
        word="not known now" if gone else word,
        stops=tuple(_stop(level, rung, charter) for level in LEVELS),
        now=words.now_does(rung, route),
        automatic=words.automatic(rung, charter, route),
        counted="" if gone else words.counted(rung, charter),
        missing="The database; then it is told here." if gone else words.missing(rung, charter, route),
        work="Not known now." if gone else words.work(rung),
        errs_less=errs_less,
        errs=words.errs(errs_less),
        picture=picture,
        why="" if picture is not None else known.why or _no_picture(rung, charter),
    )


def _unread(rung: Rung, gone: str) -> Rung:
    said = f"what is known of it cannot be read now: {gone}"
    return replace(rung, reason=said, error=undefined("not known now"))


def _stop(level: Level, rung: Rung, charter: Charter) -> Stop:
    order = LEVELS.index(level) - LEVELS.index(rung.level)
    place: Literal["passed", "here", "next", "ahead"] = "passed" if order < 0 else "here" if not order else "ahead"
    if level == rung.to:
        place = "next"
    return Stop(level, words.DOES[level], place, level in charter.automation.path)


def _picture(rung: Rung, charter: Charter, route: Route, evidence: Evidence | None) -> Picture | None:
    from andon.measure.selective import risk_coverage

    if evidence is None:
        return None
    rows, source = evidence.of(rung.slice, route.slices)
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


def _no_picture(rung: Rung, charter: Charter) -> str:
    if rung.version is None:
        return "no release is on the line to draw it of"
    if charter.target.truth == "human":
        return f"no case has both the answer of {rung.version} and that of a person who did not see it yet"
    return f"no case that {rung.version} answered has a known truth yet"


def _top(spots: tuple[Spot, ...], max_error: float) -> float:
    """Intervals of few cases reach to 1 and would flatten everything else."""
    highest = max((spot.risk for spot in spots), default=0.0)
    return min(1.0, max(4 * max_error, 1.3 * highest))
