"""The rollout at work: which release is on its way, how its share grew, and both arms side by side.

What is shown is what was measured so far; nothing here says whether it is enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from andon.core.record import Route
from andon.measure.estimate import Estimate, undefined
from andon.measure.sketch import Categories
from andon.measure.summary import Summary
from andon.monitor.arms import ARMS, Arm, so_far
from andon.monitor.deciders import DECIDED, shares
from andon.monitor.window import Measured
from andon.surface.station import Known, bound_text
from andon.surface.view.line_words import Word, linked

if TYPE_CHECKING:
    from andon.config import Project

__all__ = ["Arms", "Guard", "RolloutView", "Step", "rollout"]


class Step(msgspec.Struct, frozen=True):
    """A share of the units, from when on, and who set it."""

    time_us: int
    share: float
    action: str
    actor: str
    reason: str


class Arms(msgspec.Struct, frozen=True):
    """One arm so far: its decisions, and how many of them the model made itself."""

    arm: Arm
    version: str | None
    n: int
    automatic: int


class Guard(msgspec.Struct, frozen=True):
    """A guardrail in both arms so far; ``bound`` is its goal as written, ``says`` with its unit."""

    metric: str
    unit: str
    bound: str | None
    says: str
    candidate: Estimate
    live: Estimate


class RolloutView(msgspec.Struct, frozen=True):
    """``kind`` says what is on its way; ``sentence`` says it in words, ``next`` what one can do.

    ``share`` of the units go to ``version`` since ``since_us``; ``steps`` are the shares it had, oldest first. ``auto`` is
    where an automatic rollout of this version is and why; empty where people move it by hand.
    """

    kind: Literal["canary", "standby", "shadow", "none"]
    sentence: str
    next: tuple[Word, ...] = ()
    version: str | None = None
    live: str | None = None
    share: float = 0.0
    since_us: int = 0
    held: bool = False
    auto: str = ""
    steps: tuple[Step, ...] = ()
    arms: tuple[Arms, ...] = ()
    guards: tuple[Guard, ...] = ()
    trouble: str = ""


def rollout(project: Project, known: Known, routes: Sequence[Route]) -> RolloutView:
    """What is on its way now; ``routes`` are the newest, newest first."""
    route = routes[0] if routes else None
    if route is None or (route.candidate is None and not route.shadows):
        return _none(project, known, route)
    if route.candidate is None:
        return RolloutView(
            kind="shadow",
            sentence=f"{', '.join(route.shadows)} runs in the shadow of {route.live or 'people'} and answers nothing.",
            next=linked(f"`andon deploy compare {route.shadows[-1]}` sets it beside those who decide"),
            version=route.shadows[-1],
            live=route.live,
            auto=_auto(project, known, route.shadows[-1]),
        )
    if not route.share:
        return RolloutView(
            kind="standby",
            sentence=f"{route.candidate} stands by, loaded; it answers nothing yet.",
            next=linked("`andon deploy switch` makes it live at once, `andon deploy ramp` gives it a share"),
            version=route.candidate,
            live=route.live,
        )
    return _canary(project, known, route, routes)


def _none(project: Project, known: Known, route: Route | None) -> RolloutView:
    made = known.ask(lambda: project.workspace.records.names("release"))
    if not made:
        next_ = known.why or "`andon release` makes a trained run a version that can go live"
        return RolloutView("none", "No release yet, so none is on its way.", linked(next_))
    newest = made[-1]
    if route is not None and route.live == newest:
        return RolloutView(
            "none",
            f"The newest release, {newest}, is live; none is on its way.",
            linked("`andon train` makes the next one"),
            live=newest,
        )
    live = route.live if route is not None else None
    back = _taken_back(project, known, newest)
    if back:
        return RolloutView("none", back, linked("`andon deploy explain` says why, in every step"), newest, live)
    said = f"{newest} is the newest release and is not live."
    return RolloutView("none", said, linked(f"`andon deploy canary {newest}` gives it a small share"), newest, live)


def _canary(project: Project, known: Known, route: Route, routes: Sequence[Route]) -> RolloutView:
    mine = [one for one in routes if one.salt == route.salt and one.candidate == route.candidate]
    steps: list[Step] = []
    for one in reversed(mine):
        if one.share and (not steps or steps[-1].share != one.share):
            steps.append(Step(one.time_us, one.share, one.action, one.actor, one.reason))
    plan = Measured.of(project.charter)
    found = known.ask(lambda: so_far(project.workspace, plan, route.salt))
    kept: Mapping[Arm, Mapping[str, Summary]] = found or {arm: {} for arm in ARMS}
    rest = f"{route.live} the rest" if route.live else "people the rest"
    sentence = f"{route.candidate} answers {route.share * 100:.3g} % of the units, {rest}."
    auto = _auto(project, known, route.candidate or "")
    by_hand = "`andon deploy ramp SHARE`, `andon deploy switch` or `andon deploy rollback`, by hand"
    by_itself = "`andon deploy explain` says what the next step waits for, `andon deploy rollback` is the way back"
    return RolloutView(
        kind="canary",
        sentence=sentence + (" Its share is held until somebody resumes." if route.held else ""),
        next=linked(by_itself if auto else by_hand),
        version=route.candidate,
        live=route.live,
        share=route.share,
        since_us=steps[0].time_us if steps else route.time_us,
        held=route.held,
        auto=auto,
        steps=tuple(steps),
        arms=tuple(_arm(arm, route, kept[arm].get(DECIDED)) for arm in ARMS),
        guards=tuple(_guard(project, plan, name, kept) for name in plan.guarded),
        trouble=known.why if found is None else "",
    )


def _taken_back(project: Project, known: Known, version: str) -> str:
    """That the last automatic rollout took this version back, in a sentence; empty where it did not."""
    from andon.deploy.rollout_store import newest

    kept = known.ask(lambda: newest(project.workspace))
    if kept is None or kept.rollout.plan.version != version or kept.rollout.state != "rolled_back":
        return ""
    return f"{version} is the newest release and was taken back" + (
        f": {kept.rollout.sentence}." if kept.rollout.sentence else "."
    )


def _auto(project: Project, known: Known, version: str) -> str:
    """Where the automatic rollout of a version is, in a sentence; empty where there is none."""
    from andon.deploy.rollout_store import active

    kept = known.ask(lambda: active(project.workspace))
    if kept is None or kept.rollout.plan.version != version:
        return ""
    one = kept.rollout
    return f"{one.name} is {one.state.replace('_', ' ')}" + (f": {one.sentence}." if one.sentence else ".")


def _arm(arm: Arm, route: Route, kept: Summary | None) -> Arms:
    made = kept.counts if isinstance(kept, Categories) else {}
    counts, _ = shares(made, {})
    automatic = sum(n for who, n in counts.items() if who.kind == "model")
    return Arms(arm, route.candidate if arm == "candidate" else route.live, sum(counts.values()), automatic)


def _guard(project: Project, plan: Measured, name: str, kept: Mapping[Arm, Mapping[str, Summary]]) -> Guard:
    metric, spec = plan.metrics[name], project.charter.metrics[name]
    both = []
    for arm in ARMS:
        summary = kept[arm].get(name)
        fits = summary is not None and isinstance(summary, metric.kind)
        both.append(metric.estimate(summary) if summary is not None and fits else undefined("nothing was measured yet"))
    says = "" if spec.goal is None else bound_text(spec.goal, metric.unit)
    return Guard(name, metric.unit, None if spec.goal is None else str(spec.goal), says, *both)
