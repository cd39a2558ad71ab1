"""A line with an automatic rollout in any of its states: its route is real, its evidence and its transitions are put there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace
from tests.board.deploying import CHARTER, GATES, Yard

from andon.deploy.rollout import record
from andon.deploy.rollout_record import (
    CONTROLLER,
    Evidence,
    Plan,
    Rail,
    Rollout,
    Shadowed,
    Standing,
    State,
    Transition,
)
from andon.deploy.rollout_store import KIND, Kept
from andon.measure.alone import Alone
from andon.measure.bounded import Difference
from andon.measure.evidence import Assigned
from andon.measure.guardrail import Guardrail
from andon.monitor.course import LOOKED

__all__ = ["COURSES", "LONG", "RULES", "Courses", "Move", "rail"]

RULES = CHARTER.replace(
    "rollout: {start_share: 0.05}",
    "metrics: {nulls: {of: null_outputs, goal: '<= 0.1'}, worth: {of: macro_f1, goal: '>= 0.5'}}\n"
    "rollout: {start_share: 0.05, path: [shadow, canary, live], guardrails: [nulls, worth]}",
).replace("level: shadow", "level: full")
#: A version's name of sixty characters.
LONG = "release-of-the-twenty-first-of-november-with-a-very-long-nam"
_PATH = ("shadow", "canary", "live")


class Move(NamedTuple):
    """A transition: where to, why, with what share then."""

    after: State
    reason: str = ""
    sentence: str = "every guardrail is shown to be safe"
    share: float = 0.05
    place: State | None = None


def rail(candidate: int, live: int, units: tuple[int, int] = (2000, 38_000), name: str = "nulls", **more: Any) -> Rail:
    """A guardrail with so many events of either arm."""
    guard = Guardrail.begin(name, 1.5)
    return Rail(name, guard.add(candidate, live, 0.05) if candidate + live else guard, units, **more)


class Courses(Yard):
    """A yard on which a rollout was, or is, begun."""

    def __init__(self, root: Path, charter: str = RULES) -> None:
        super().__init__(root, charter)
        record = {
            "version": LONG,
            "bundle": "long" * 8,
            "run": "r4",
            "dataset": "d1",
            "contract": "c1",
            "verdict": "pass",
        }
        self.workspace.records.put("release", LONG, {**record, "gates": GATES[:1], "actor": "ann"})

    def went(
        self,
        moves: Sequence[Move],
        *,
        version: str = "v2",
        rails: Sequence[Rail] = (),
        plan: Plan | None = None,
        looked: bool = True,
        **evidence: Any,
    ) -> Courses:
        """Put a rollout there that went this way, with what its last look saw."""
        plan = plan or Plan(version, "v1", _PATH, tuple(one.name for one in rails) or ("nulls",), actor="ann")
        route, name = self.workspace.routes.current(), f"{plan.version}#1"
        began = self.clock.now()
        rollout = Rollout(name, plan, began_us=began, since_us=began, sentence="ann asked for it")
        standing = Standing(
            0 if route is None else route.epoch,
            None if route is None else route.live,
            None if route is None else route.candidate,
            0.0 if route is None else route.share,
            held=route is not None and route.held,
            actor="ann",
            action="hold",
        )
        seen = Evidence(standing, began, rails=tuple(rails), **evidence)
        for number, one in enumerate(moves, 1):
            self.clock.advance(20 * 60)
            now = self.clock.now()
            seen = replace(seen, as_of_us=now)
            stays = one.after in ("hold", "frozen", "rolling_back")
            place = one.place or (rollout.place if stays else one.after)
            made = Transition(number, rollout.state, one.after, place, one.reason, one.sentence, share=one.share)
            body = record(rollout, seen, now, made)
            self.workspace.journal.append("rollout.transition", name, CONTROLLER, one.sentence, body)
            rollout = made.applied(rollout, now)
        self.workspace.states.put(KIND, name, Kept(rollout))
        if looked and moves:
            self.clock.advance(10 * 60)
            self.workspace.states.put(LOOKED, name, replace(seen, as_of_us=self.clock.now()))
        self.clock.advance(2)
        return self


_SHADOW = Move("shadow", "", "v2 predicts beside v1, unseen", 0.0)
_BEGIN = (Move("preflight", "", "ann began the rollout of v2 against v1: fewer misses", 0.0), _SHADOW)
_CANARY = (
    *_BEGIN,
    Move("canary", "", "300 cases in the shadow, 0 not answered, no harm shown: it gets 5 % of the units, v1 the rest"),
)
_UNITS = {"candidate": 2000, "live": 38_000, "per_hour": 1200.0, "assigned": Assigned(0.05).add(2000, 38_000)}
_SAFE, _HARM, _OPEN = rail(14, 600), rail(400, 800), rail(21, 400)
_WORTH = Rail(
    "worth",
    Guardrail.begin("worth", 1.5),
    (2000, 38_000),
    other=Difference.begin(-10.0, 1.0, 1.5, worse="lower").add([(at % 20 == 0, 0.05, 0.9 - at % 3) for at in range(2000)]),
)  # fmt: skip
_ALONE = Rail(
    "nulls", Guardrail.begin("nulls", 1.5), (500, 0), other=Alone.begin(0.1).add([at % 40 == 0 for at in range(500)])
)


def _went(
    moves: Sequence[Move], act: Callable[[Yard], Any] = lambda yard: None, **more: Any
) -> Callable[[Path], Courses]:
    def make(root: Path) -> Courses:
        yard = Courses(root)
        yard.line.switch("v1", actor="olga")
        act(yard)
        return yard.went(moves, **more)

    return make


def _on(share: float = 0.05, version: str = "v2") -> Callable[[Yard], Any]:
    return lambda yard: yard.line.canary(version, share, actor="controller")


def _held(yard: Yard) -> None:
    yard.line.canary("v2", 0.05, actor="controller")
    yard.line.hold(actor="ann", reason="a second look first")


def _hold(reason: str, sentence: str, place: State = "canary", **more: Any) -> Callable[[Path], Courses]:
    share = 0.05 if place == "canary" else 0.95
    moves = (*_CANARY, Move("hold", reason, sentence, share, place))
    return _went(moves, _held if reason == "human_gate" else _on(share), **{"rails": (_OPEN,), **_UNITS, **more})


def _frozen(reason: str, sentence: str, **more: Any) -> Callable[[Path], Courses]:
    return _went((*_CANARY, Move("frozen", reason, sentence)), _on(), **{"rails": (_OPEN,), **_UNITS, **more})


def _ended(after: State, reason: str, sentence: str, share: float = 0.0, **more: Any) -> Callable[[Path], Courses]:
    return _went((*_CANARY, Move(after, reason, sentence, share)), **{"rails": (_SAFE,), **_UNITS, **more})


def _none(root: Path) -> Courses:
    yard = Courses(root)
    yard.line.switch("v1", actor="olga")
    return yard


def _unsure(root: Path) -> Courses:
    yard = Courses(root)
    return yard.went((), plan=Plan("v2", "v1", _PATH, ("nulls",), actor="ann"))


_FROM_HARM = "nulls: harm: 9.5 times as many units as on the live version (6.9 to 12.4, 1,200 units with an event)"
_SKEWED = {"candidate": 4000, "live": 36_000, "per_hour": 1200.0, "assigned": Assigned(0.05).add(4000, 36_000)}
_FIRST = Plan("v2", "", ("canary", "live"), ("nulls",), actor="", limits={"nulls": 0.1})
_HUGE = {"candidate": 123_456_789, "live": 9_876_543_210, "per_hour": 9e8}
_LONG_MOVES = tuple(one._replace(sentence=one.sentence.replace("v2", LONG)) for one in _CANARY)
COURSES: dict[str, Callable[[Path], Courses]] = {
    "none": _none,
    "draft": _went(()),
    "draft_before_the_line": _unsure,
    "preflight": _went(_BEGIN[:1]),
    "shadow": _went(_BEGIN, lambda yard: yard.line.shadow("v2"), shadow=Shadowed(57, 1, (Guardrail.begin("nulls").add(3, 2, 0.5),))),
    "canary_nothing_known": _went(_CANARY, _on(), plan=Plan("v2", "v1", _PATH, (), actor="ann")),
    "canary_no_unit": _went(_CANARY, _on(), rails=(rail(0, 0, (0, 0)),)),
    "canary": _went(_CANARY, _on(), rails=(_OPEN, _WORTH), **_UNITS),
    "canary_only_its_own": _went(_CANARY, _on(), rails=(rail(9, 0),), **_UNITS),
    "blue_green": _went((*_CANARY, Move("blue_green", "", "v2 gets 95 % of the units, v1 keeps the rest to compare with, until it is cleared", 0.95)), _on(0.95), rails=(_SAFE,), **_UNITS),
    "bake": _went((*_CANARY, Move("bake", "", "every guardrail is shown to be safe: v2 gets 95 % of the units while it bakes, v1 the rest to compare with", 0.95)), _on(0.95), rails=(_SAFE,), **_UNITS),
    "hold_no_data": _hold("no_data", "no unit came lately, so there is no evidence; nothing is promoted and nothing taken back", per_hour=0.0),
    "hold_dependency": _hold("dependency", "the line is stopped"),
    "hold_human_gate": _hold("human_gate", "held by ann; `andon deploy resume` lets it go on, harm still acts"),
    "hold_label_lag": _hold("label_lag", "the labels of nulls come later; what is known at once is safe"),
    "hold_inconclusive": _hold("inconclusive", "nulls: twice the evidence that clears a good candidate has come and does not decide it"),
    "hold_capacity": _hold("capacity", "v2 would send 120 cases an hour to people, more than 0.8 of the 40 that the charter counts on"),
    "hold_bake": _hold("inconclusive", "nulls: what is known does not clear v2, and no more comes; roll back, or resume to keep it", "bake"),
    "frozen_person": _frozen("person", "frozen by eve: lunch; nothing moves by itself, not even back, until somebody resumes or rolls back"),
    "frozen_srm": _frozen("srm", "4000 units came to v2 and 36000 to v1, which is not what the route promised", **_SKEWED),
    "frozen_harm": _frozen("harm", f"{_FROM_HARM}; people decide everything until a person acts", rails=(_HARM,)),
    "rolling_back": _went((*_CANARY, Move("rolling_back", "harm", f"{_FROM_HARM}; v1 answers again")), _on(), rails=(_HARM,), **_UNITS),
    "rolled_back": _ended("rolled_back", "harm", f"v1 answers; {_FROM_HARM}", rails=(_HARM,)),
    "rejected": _went((_BEGIN[0], Move("rejected", "unfit", "v2 is not rolled out: its bundle is damaged", 0.0))),
    "superseded": _ended("superseded", "superseded", "v3#2 was begun, so v2 is taken off the line"),
    "aborted": _ended("aborted", "person", "v2 was taken off the line by olga (switch: v3 is urgent)"),
    "settled": _ended("settled", "", "nothing went wrong while it baked: v2 stays, the rollout is over", 1.0),
    "settled_by_a_person": _ended("settled", "person", "v2 stays by the word of ann; it held: nulls: no label came in time", 1.0),
    "first": _went((Move("preflight", "", "somebody began it", 0.0), Move("canary", "", "v2 is fit: it gets 5 % of the units, people the rest")), plan=_FIRST, rails=(_ALONE,), candidate=500),
    "huge": _went(_CANARY, _on(), rails=(rail(123_456, 2_345_678, (123_456_789, 9_876_543_210)),), **_HUGE),
    "long": _went(_LONG_MOVES, _on(version=LONG), version=LONG, rails=(_OPEN, _WORTH), **_UNITS),
}  # fmt: skip
"""Every state that a rollout's page can be in, by a name: each makes the line that is in it."""
