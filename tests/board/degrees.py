"""A line in any state of its degrees of automation: the route is real, what evidence says of it is put there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.board.deploying import CHARTER, Yard

from andon.core.record import Level
from andon.deploy.automation import Threshold
from andon.deploy.ladder import Capacity, Facts, Rung, decide, rules_of
from andon.deploy.ladder_evidence import KEPT, Rungs
from andon.measure.audit import Audited, audited
from andon.measure.estimate import wilson

__all__ = ["BROKEN", "KEEPS", "LEARNT", "STATES", "SURE", "Degrees", "charter"]

#: From here on the model of every line here decides at level partial.
SURE = 0.93
KEEPS = audited([False] * 900, [0.1] * 900, 0.02)
BROKEN = audited([True] * 30 + [False] * 70, [0.1] * 100, 0.02)
LEARNT = Threshold(SURE, 0.6, 1000, 600, 2, 0.02, 0.05, "2 of 600 accepted answers were wrong")
CROWD = Capacity(1_234_567.0, 0.38, 12.0, 0.3)
FEW = Capacity(0.04, 1.0, 0.0, 1.0)


def charter(truth: str = "external", automation: str = "", **more: str) -> str:
    """The yard's charter with another truth, more words on automation (``promote: automatic``) and on level partial."""
    said = CHARTER.replace("[accept, reject]", f"[accept, reject], truth: {truth}")
    if automation:
        said = said.replace("automation: {level: shadow,", f"automation: {{level: shadow, {automation},")
    partial = "".join(f", {name}: {value}" for name, value in more.items())
    return said.replace("confidence: 0.95}", f"confidence: 0.95{partial}}}")


class Degrees(Yard):
    """A yard whose slices are at levels that were set, with evidence that was made up."""

    def at(self, levels: Mapping[str, Level], *, live: str | None = "v1", sure: bool = True) -> Degrees:
        """Publish a route with these levels; at level partial with a threshold, or with none."""
        if live is not None:
            self.line.switch(live)
        for name, level in levels.items():
            found = {f"{live}/{name}": SURE} if sure and level == "partial" else {}
            self.line.automate(level, name, actor="olga", thresholds=found)
        return self

    def found(self, **facts: Any) -> tuple[Rung, ...]:
        """Put there what the controller's last look found: the same of every slice, unless its name says otherwise."""
        rules, route, now = rules_of(self.project.charter), self.route, self.clock.now()
        made = []
        for name in [*(one for one in route.slices if one in route.levels), "*"]:
            level = route.levels.get(name, route.levels["*"])
            known = {key: value for key, value in facts.items() if key != "slices"} | facts.get("slices", {}).get(
                name, {}
            )
            threshold = route.thresholds.get(f"{route.live}/{name}") if level == "partial" else None
            made.append(decide(rules, Facts(name, level, route.live, **{"threshold": threshold, **known})))
        self.workspace.states.put(KEPT, "all", Rungs(tuple(made), route.epoch, now))
        self.clock.advance(2)  # what a page showed a moment ago is shown for a second
        return tuple(made)


def _plain(
    levels: Mapping[str, Level] | Level, text: str = "", sure: bool = True, **facts: Any
) -> Callable[[Path], Degrees]:
    def make(root: Path) -> Degrees:
        yard = Degrees(root, text or charter()).at({"*": levels} if isinstance(levels, str) else levels, sure=sure)
        yard.found(**facts)
        return yard

    return make


def _stopped(mode: Any, level: Level) -> Callable[[Path], Degrees]:
    def make(root: Path) -> Degrees:
        yard = Degrees(root, charter()).at({"*": level})
        yard.line.stop(mode, actor="olga", reason="smoke")
        yard.found(audit=KEEPS, drawn=1000, busy="the line is stopped")
        return yard

    return make


def _unbegun(root: Path) -> Degrees:
    return Degrees(root, charter())


def _nobody_live(level: Level) -> Callable[[Path], Degrees]:
    def make(root: Path) -> Degrees:
        yard = Degrees(root, charter().replace("level: shadow", f"level: {level}"))
        yard.line.begin(actor="ann")
        yard.found()
        return yard

    return make


def _many(root: Path) -> Degrees:
    names = [f"slice_{number:02}_of_thirty_with_a_rather_long_name"[:40] for number in range(30)]
    text = charter().replace(
        "slices: {", "slices: {" + "".join(f'{name}: "age >= {at}", ' for at, name in enumerate(names))
    )
    levels: list[Level] = ["human", "shadow", "assist", "partial", "full"]
    yard = Degrees(root, text).at({"*": "shadow", **{name: levels[at % 5] for at, name in enumerate(names)}})
    yard.found(audit=KEEPS, whole=KEEPS, drawn=1000, labels=1234, learnt=LEARNT, capacity=CROWD)
    return yard


_WHOLE = Audited(0.02, 400, 5, wilson(5, 400), log_kept=1.0, worth=40.0)
_SIDES: dict[str, Any] = {"human": wilson(2, 900), "model": wilson(40, 900)}
_FAR = Audited(0.02, 1, 0, wilson(0, 1), log_kept=0.0)
STATES: dict[str, Callable[[Path], Degrees]] = {
    "unbegun": _unbegun,
    "nobody_live_shadow": _nobody_live("shadow"),
    "nobody_live_full": _nobody_live("full"),
    "human": _plain("human"),
    "shadow_none": _plain("shadow"),
    "shadow_some": _plain("shadow", labels=57, per_hour=3.0, capacity=FEW),
    "shadow_many": _plain("shadow", labels=10_222, learnt=LEARNT, source="labelled cases in production", per_hour=40.0),
    "shadow_bad": _plain("shadow", labels=10_222, learnt=Threshold(None, 0.0, 10_222, 0, 0, 0.02, 0.05, "none of 10222 labelled answers is automatic: at no confidence is the error seen below 0.02")),
    "shadow_people": _plain("shadow", charter("human"), labels=57, per_hour=3.0),
    "shadow_people_learnt": _plain("shadow", charter("human"), labels=900, learnt=LEARNT, human=wilson(9, 300), model=wilson(7, 300)),
    "assist_crowd": _plain("assist", labels=1000, learnt=LEARNT, capacity=CROWD),
    "partial_bare": _plain("partial", charter(automation="path: [human, shadow, assist, partial]"), sure=False, capacity=FEW),
    "partial_bare_people": _plain("partial", charter("human", automation="path: [human, shadow, assist, partial]"), sure=False),
    "partial_bare_full": _plain("partial", sure=False, whole=_WHOLE),
    "partial_top": _plain("partial", charter(automation="path: [human, shadow, assist, partial]"), audit=KEEPS, drawn=1000, coverage=0.62, capacity=CROWD),
    "partial_few": _plain("partial", audit=_FAR, whole=_FAR, drawn=31, coverage=0.62, per_hour=0.001),
    "partial_ready": _plain("partial", audit=KEEPS, whole=KEEPS, drawn=1000, coverage=0.62),
    "partial_people": _plain("partial", charter("human"), audit=KEEPS, whole=_WHOLE, drawn=1000, coverage=0.62, **_SIDES),
    "partial_seen": _plain("partial", charter("human", blind="false"), audit=KEEPS, whole=_WHOLE, drawn=1000),
    "partial_unaudited": _plain("partial", charter(audit_share="0"), whole=Audited(0.02, 40, 0, wilson(0, 40), worth=0.0)),
    "partial_unjudged": _plain("partial", whole=Audited(0.02, 40, 0, wilson(0, 40), missing=900, worth=4.0)),
    "partial_only": _plain("partial", charter(only="[reject]"), audit=KEEPS, whole=KEEPS, drawn=1000),
    "partial_only_none": _plain("partial", charter(only="[]"), sure=False),
    "partial_broken": _plain("partial", audit=BROKEN, drawn=104, coverage=0.62),
    "full_broken_people": _plain("full", charter("human"), audit=BROKEN, drawn=104, fallback=LEARNT),
    "full": _plain("full", audit=KEEPS, drawn=1000),
    "full_none_judged": _plain("full", drawn=31),
    "capped": _plain({"*": "shadow", "older": "human"}, charter(automation="promote: automatic, highest: assist, slices: {older: human}"), labels=900, learnt=LEARNT, slices={"older": {"cap": "human"}}),
    "lowered": _plain("shadow", charter(automation="promote: automatic"), labels=900, learnt=LEARNT, lowered_by="olga"),
    "automatic": _plain("shadow", charter(automation="promote: automatic"), labels=900, learnt=LEARNT),
    "stopped_people": _stopped("people", "full"),
    "stopped_default": _stopped("safe_default", "partial"),
    "huge": _plain("partial", audit=Audited(0.02, 12_345_678, 246_913, wilson(246_913, 12_345_678)), whole=Audited(0.02, 123_456_789, 1, wilson(1, 123_456_789), worth=1e8, log_kept=math.log(30)), drawn=98_765_432, coverage=0.999996, labels=123_456_789, capacity=Capacity(9e9, 4e-6, 1e9, 0.0)),
    "many": _many,
}  # fmt: skip
"""Every state that the page can be in, by a name: each makes the line that is in it."""
