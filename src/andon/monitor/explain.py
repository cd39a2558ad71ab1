"""An automatic rollout for people: why it is where it is, what is missing for the next step, and when that may come.

Also what a rollout could find before it begins: from the traffic and the events of the live version lately.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import msgspec

from andon.core.clock import DAY, HOUR
from andon.deploy.loading import LONGEST, loading
from andon.deploy.path import Way, rollout_way, ways
from andon.deploy.rollout_first import SPLIT_ALPHA
from andon.deploy.rollout_green import next_step
from andon.deploy.rollout_look import Look
from andon.deploy.rollout_plan import guarded
from andon.deploy.rollout_proof import Judged, baked_us, can_detect, eta_us, judged, ramp, unsafe
from andon.deploy.rollout_record import LEAST_SHADOWED, Evidence, Plan, Rail, Rollout
from andon.deploy.rollout_store import Kept, active, newest
from andon.deploy.standing import deploy_status
from andon.errors import Unavailable
from andon.measure.event import Event
from andon.measure.guardrail import Guardrail
from andon.monitor.cases import counted, measurable
from andon.monitor.course import newest_look
from andon.monitor.proof import Proof
from andon.monitor.stands import standing
from andon.store.view import Seen

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.store.workspace import Workspace

__all__ = ["Explained", "explain", "foresee", "status"]


class Explained(msgspec.Struct, frozen=True):
    """A rollout now. ``sentence`` is of the last transition, ``missing`` what the next one waits for.

    ``shown`` are guardrails that are not judged, each with why. ``units`` are (candidate, live). ``budget_left`` is of
    ``budget`` units with an event. ``log_split`` is the evidence that the arms are not what was promised, acted on from
    ``split_at`` on (natural logarithms). ``as_of_us`` is when the evidence was looked at; 0: not yet. ``path`` is the way to
    live, step by step.
    """

    name: str
    version: str
    live: str
    state: str
    place: str
    reason: str
    sentence: str
    since_us: int
    began_us: int
    actor: str
    share: float
    mode: str
    missing: tuple[str, ...]
    guardrails: tuple[Judged, ...]
    shown: dict[str, str]
    units: tuple[int, int]
    per_hour: float
    budget: float
    budget_left: float
    log_split: float
    split_at: float
    eta_us: int | None
    as_of_us: int
    shadowed: int | None = None
    failed: str = ""
    path: Way = Way("", ())


def explain(workspace: Workspace, charter: Charter, kept: Kept, *, fresh: bool = False) -> Explained:
    """What is known as of the controller's last look (its last transition, where it is over), or with ``fresh`` as of now.

    Raises ``Unavailable``, ``Corrupt``.
    """
    rollout = kept.rollout
    evidence = _known(workspace, charter, rollout, fresh)
    rails = {rail.name: rail for rail in evidence.rails}
    plan = rollout.plan
    all_of = [rails.get(name, Rail(name, Guardrail.begin(name, plan.margin))) for name in plan.guardrails]
    split = evidence.assigned
    return Explained(
        name=rollout.name,
        version=plan.version,
        live=plan.live,
        state=rollout.state,
        place=rollout.place,
        reason=rollout.reason,
        sentence=rollout.sentence,
        since_us=rollout.since_us,
        began_us=rollout.began_us,
        actor=plan.actor,
        share=rollout.share,
        mode="automatic",
        missing=() if rollout.ended else tuple(_missing(rollout, evidence)),
        guardrails=tuple(judged(plan, rail) for rail in all_of),
        shown={name: why for name, why in guarded(charter, alone=bool(plan.limits)).items() if isinstance(why, str)},
        units=(evidence.candidate, evidence.live),
        per_hour=evidence.per_hour,
        budget=plan.budget,
        budget_left=max(0.0, ramp(rollout, evidence).left),
        log_split=0.0 if split is None else max(-99.0, split.log_e),
        split_at=-math.log(SPLIT_ALPHA),
        eta_us=None if rollout.ended else eta_us(rollout, evidence),
        as_of_us=evidence.as_of_us,
        shadowed=None if evidence.shadow is None else evidence.shadow.cases,
        failed=kept.failed,
        path=rollout_way(rollout),
    )


def _known(workspace: Workspace, charter: Charter, rollout: Rollout, fresh: bool) -> Evidence:
    stand = standing(workspace, rollout)
    if fresh and not rollout.ended:
        found = Proof(workspace, charter).look(rollout, stand)
    else:
        found = newest_look(workspace, rollout.name) or Evidence(stand)
    wall = workspace.clock.wall()
    coming = loading(workspace.routes, rollout.plan.version, wall)
    now = "" if coming is None else coming.sentence(wall)
    return msgspec.structs.replace(found, loading=now)


def _missing(rollout: Rollout, evidence: Evidence) -> list[str]:
    """What the next step waits for, a sentence each."""
    plan, place = rollout.plan, rollout.place
    if rollout.state == "frozen":
        return ["a person: andon deploy resume (where a person froze it), rollback or switch"]
    if rollout.state == "rolling_back":
        return ["the line: the next look sees who answers"]
    if place in ("preflight", "shadow") and evidence.loading:
        return [f"{evidence.loading}; it gets no unit before (at most {LONGEST / 60:.0f} min)"]
    if place in ("draft", "preflight"):
        return ["the controller: it looks every few seconds while the line runs (andon up)"]
    if place == "shadow":
        cases = 0 if evidence.shadow is None else evidence.shadow.cases
        return [f"{max(0, LEAST_SHADOWED - cases)} more cases in the shadow ({cases} of {LEAST_SHADOWED})"]
    higher = next_step(Look(rollout, evidence, evidence.as_of_us))
    if place == "blue_green" and higher > rollout.share:
        missing = max(0, LEAST_SHADOWED - evidence.fresh)
        return [f"{missing} more cases at {rollout.share * 100:.4g} % without harm, then {higher * 100:.4g} %"]
    left = unsafe(plan, evidence.rails, matured=place in ("blue_green", "bake"))
    told = [_short_of(plan, rail) for rail in left]
    if place == "bake":
        until, few = baked_us(rollout, evidence.rails), LEAST_SHADOWED - evidence.fresh
        if evidence.as_of_us < until:
            told.append(f"{(until - evidence.as_of_us) / HOUR:.3g} hours of baking")
        if few > 0 and plan.edition > 1 and rollout.share < 1:
            told.append(f"{few} more cases at {rollout.share * 100:.4g} % without harm")
    if evidence.standing.held:
        told.append("somebody to let it go on: andon deploy resume")
    return told or ["nothing: the next look takes it on"]


def _short_of(plan: Plan, rail: Rail) -> str:
    one = judged(plan, rail)
    return f"{one.says}; safe is below {plan.margin:g} times" if one.kind == "ratio" else one.says


def status(workspace: Workspace, charter: Charter) -> dict[str, Any]:
    """The route, the rollout that is on its way (automatic or by hand), the ways and the workers: ``andon deploy status``."""
    found, route_now = deploy_status(workspace), workspace.routes.current()
    try:
        kept, last = active(workspace), newest(workspace)
    except Unavailable:
        kept = last = None  # the route plane is enough to say who answers
    rungs = charter.automation.path
    found["path"] = msgspec.to_builtins(
        ways(charter.case, charter.rollout.path, rungs, route_now, None if last is None else last.rollout)
    )
    if kept is not None:
        told = msgspec.to_builtins(explain(workspace, charter, kept))
        route = found["route"] or {}
        found["rollout"] = {
            "candidate": kept.rollout.plan.version,
            "held": bool(route.get("held")),
            "pattern": kept.rollout.place,
            **told,
        }
    return found


def foresee(workspace: Workspace, charter: Charter, plan: Plan) -> tuple[str, ...]:
    """What each guardrail could find, and when, at the traffic of the last day. Raises ``Unavailable``, ``Corrupt``."""
    now = workspace.clock.now()
    seen = Seen(workspace, now - DAY, None)
    looks = guarded(charter, alone=bool(plan.limits))
    events = {name: one for name, one in looks.items() if isinstance(one, Event) and name in plan.guardrails}
    table = measurable(seen, events, charter).collect()
    if not table.height:
        return tuple(can_detect(plan, name, None, 0.0) for name in plan.guardrails)
    first = table["time_us"].min()
    hours = max((now - int(str(first))) / HOUR, 0.1)
    per_hour = table["key"].n_unique() / hours
    said = []
    for name in plan.guardrails:
        if name not in events:
            said.append(can_detect(plan, name, None, per_hour))
            continue
        known, cases = counted(table, name, "bad", {})
        units = known["key"].n_unique()
        rate = known.filter("bad")["key"].n_unique() / units if units else None
        told = can_detect(plan, name, rate, per_hour if cases is None else units / hours)
        said.append(told if cases is None else f"{told}; of the units that people look at again")
    return tuple(said)
