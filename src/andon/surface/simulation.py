"""A planned rollout played before it begins, as commands and pages ask for it: the charter's plan, its traffic, the table."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from andon.core.clock import DAY, HOUR
from andon.deploy.rehearsal import Outcome, Tell, Wish, default_ratios, rehearse
from andon.deploy.rehearsal_course import course_of
from andon.deploy.rehearsal_traffic import Assumed, Traffic
from andon.deploy.rollout_plan import Pattern, pattern_of, plan_of
from andon.deploy.rollout_proof import level_of
from andon.deploy.rollout_record import LEAST_SHADOWED, Plan
from andon.errors import UsageError
from andon.scope.charter import Charter, parse
from andon.scope.scalar import duration

if TYPE_CHECKING:
    from andon.config import Project

__all__ = ["Ask", "Played", "Simulated", "simulate"]

_PAST_US = 7 * DAY
#: What stands in for a charter where there is none, or for metrics where it names none that can be judged.
_ANY = """
project: any
inputs: {any: bool}
target: {name: answer, classes: [a, b]}
safe_default: nobody
metrics: {events: {of: error_responses, goal: "<= 0.5"}}
"""


class Ask(msgspec.Struct, frozen=True):
    """What is asked, as it was written; None is the charter's, or the default.

    ``steps`` are those of a blue/green, ``ramp`` is one by hand, in place of what the rollout would do by itself.
    """

    version: str | None = None
    rate: float | None = None
    per_hour: float | None = None
    delay: str | None = None
    past: str | None = None
    guardrail: str | None = None
    ratios: tuple[float, ...] = ()
    pattern: Pattern | None = None
    steps: tuple[float, ...] | None = None
    share: float | None = None
    holdback: float | None = None
    bake: str | None = None
    ramp: str | None = None
    margin: float | None = None
    alpha: float | None = None
    beta: float | None = None
    budget: float | None = None
    runs: int = 100
    most: str = "28d"
    seed: int = 0


class Played(msgspec.Struct, frozen=True):
    """One guardrail: the traffic it was played on, its part of alpha, and what became of the runs.

    ``per_hour`` are units of which it is known how they went, ``rate`` is the share of them with an event on the live
    version, ``requests`` how many requests come for each of them. Where people look at a sample, one of these units stands
    for ``stands_for``.
    """

    guardrail: str
    rate: float
    per_hour: float
    requests: float
    stands_for: float
    alpha: float
    late: bool
    ratios: tuple[Outcome, ...]


class Simulated(msgspec.Struct, frozen=True):
    """A plan that was played. ``traffic`` is "assumed" or "past", ``ramp`` "automatic" or the steps in hours and shares.

    ``path`` is the way that was played, ``bake_share`` what the candidate has while it bakes for ``bake_hours`` (1: everything).
    ``not_played`` has what is left out of the plan, each with why.
    """

    version: str | None
    traffic: str
    ramp: str | tuple[tuple[float, float], ...]
    path: tuple[str, ...]
    start_share: float
    steps: tuple[float, ...]
    bake_share: float
    bake_hours: float
    margin: float
    alpha: float
    beta: float
    budget: float
    negligible: float
    runs: int
    hours: float
    seed: int
    guardrails: tuple[Played, ...]
    not_played: dict[str, str]


def simulate(project: Project | None, ask: Ask, tell: Tell | None = None) -> Simulated:
    """Play it; without a project on assumed traffic and the charter's defaults.

    Raises ``UsageError``, ``NotFound``, ``NotEnoughEvidence`` where the log has too little traffic.
    """
    course = None if ask.ramp is None else course_of(ask.ramp)
    wish = Wish(ask.runs, _span("--most", ask.most) / HOUR, ask.seed, course)
    plan = _plan(project, ask)
    ratios = tuple(dict.fromkeys(ask.ratios)) or default_ratios(plan.margin)
    traffic = _traffic(project, ask)
    _compared(project, plan, ask)
    alpha, path = level_of(plan), tuple(place for place in plan.path if place != "shadow")
    found = []
    for name, comes in traffic.items():
        delay = round(comes.delay * HOUR) if isinstance(comes, Assumed) else _horizon(project, name)
        one = replace(plan, guardrails=(name,), path=path, alpha=alpha, horizon_us=delay)
        outcomes = rehearse(comes, one, ratios, wish, _named(tell, name, len(traffic)))
        stands = 1.0 if comes.sample is None else comes.sample.weight
        found.append(Played(name, comes.rate, comes.per_hour, comes.requests, stands, alpha, delay > 0, outcomes))
    return Simulated(
        ask.version,
        "assumed" if ask.rate is not None else "past",
        "automatic" if course is None else course,
        path,
        plan.start_share,
        plan.steps,
        plan.bake_share,
        plan.bake_us / HOUR,
        plan.margin,
        plan.alpha,
        plan.beta,
        plan.budget,
        plan.negligible,
        wish.runs,
        wish.hours,
        wish.seed,
        tuple(found),
        _not_played(project, plan, ask),
    )


def _named(tell: Tell | None, name: str, guardrails: int) -> Tell | None:
    if tell is None or guardrails == 1:
        return tell
    return lambda stage, number, of: tell(f"{name}: {stage}", number, of)


def _span(option: str, text: str) -> int:
    try:
        found = duration(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None
    except OverflowError:
        raise UsageError(f"{option}: expected a time such as 12h or 7d, found one that is too long") from None
    if found <= 0:
        raise UsageError(f"{option}: expected a time above 0 such as 12h or 7d, found {text[:40]!r}")
    return found


# ------------------------------------------------------------------------------------------------------- the plan


def _plan(project: Project | None, ask: Ask) -> Plan:
    """The charter's plan with what was asked in its place; on assumed traffic also where no charter names what to judge."""
    from andon.deploy.standing import bundles_of

    if ask.version is not None:
        if project is None:
            raise UsageError(f"{ask.version} is a release of a project, and there is none here; name it with --project")
        bundles_of(project.workspace, ask.version)
    charter = _any() if project is None else project.charter
    pattern = ask.pattern or ("blue-green" if ask.steps is not None else pattern_of(charter))
    _fitting(ask, pattern)
    asked = _asked(charter, ask)

    def plan(of: Charter) -> Plan:
        return plan_of(of, ask.version or "candidate", "live", pattern=pattern, steps=ask.steps)

    if ask.rate is not None and not _judges(asked):
        rules = asked.rollout.model_copy(update={"guardrails": ()})
        asked = asked.model_copy(update={"rollout": rules, "metrics": _any().metrics})
    return plan(asked)


@cache
def _any() -> Charter:
    return parse(_ANY)


def _judges(charter: Charter) -> bool:
    """Whether there is a guardrail that can be judged beside a live version."""
    from andon.deploy.rollout_plan import guarded

    return any(not isinstance(look, str) for look in guarded(charter).values())


#: What may be changed: the option, the charter's key, and the values it takes (from, to, whether the ends count).
_OPTIONS: Mapping[str, tuple[str, float, float, bool, bool]] = {
    "share": ("start_share", 0.0, 0.5, False, True),
    "holdback": ("holdback", 0.0, 0.5, True, True),
    "margin": ("margin", 1.0, 100.0, False, True),
    "alpha": ("alpha", 0.0, 0.5, False, False),
    "beta": ("beta", 0.0, 0.5, False, False),
    "budget": ("budget", 0.0, 1e9, False, True),
}


def _asked(charter: Charter, ask: Ask) -> Charter:
    """The charter with what was asked in its place."""
    given: dict[str, Any] = {}
    for option, (name, low, high, low_counts, high_counts) in _OPTIONS.items():
        value = getattr(ask, option)
        if value is None:
            continue
        if not ((value > low or (low_counts and value == low)) and (value < high or (high_counts and value == high))):
            least, most = "at least" if low_counts else "above", "at most" if high_counts else "below"
            raise UsageError(
                f"--{option}: expected a number {least} {low:g} and {most} {_plain(high)}, found {value:g}"
            )
        given[name] = value
    if ask.bake is not None:
        given["bake_us"] = 0 if ask.bake == "0" else _span("--bake", ask.bake)
    return charter.model_copy(update={"rollout": charter.rollout.model_copy(update=given)}) if given else charter


def _plain(number: float) -> str:
    return f"{number:,.0f}" if number > 1 else f"{number:g}"


def _fitting(ask: Ask, pattern: Pattern) -> None:
    """Refuse options that would do nothing."""
    if ask.ramp is not None:
        others: dict[str, object] = {
            "--share": ask.share,
            "--budget": ask.budget,
            "--holdback": ask.holdback,
            "--bake": ask.bake,
        }
        others |= {"--pattern": ask.pattern, "--steps and --gradual": ask.steps}
        if any(one is not None for one in others.values()):
            names = ", ".join(others)
            raise UsageError(f"--ramp is a ramp by hand, in which {names} do nothing; leave them out")
    if pattern == "canary" and ask.steps is not None:
        raise UsageError(
            "--steps and --gradual are those of a blue/green; a ramp by hand is: --ramp 0.05:2h,0.2:6h,0.5"
        )
    if pattern == "blue-green" and (ask.share is not None or ask.budget is not None):
        raise UsageError("--share and --budget are a canary's; a blue/green goes by --steps: leave them out")


def _compared(project: Project | None, plan: Plan, ask: Ask) -> None:
    """Refuse a plan in which nobody is compared: each guardrail would be held against its goal."""
    why = ""
    if plan.limits and ask.ramp is None:
        why = "with a holdback of 0 and no steps no unit stays on the live release; give it one of them"
    elif project is not None and ask.rate is None and not _live(project):
        why = "no version is live; assume the traffic of one with --rate and --per-hour"
    if why:
        raise UsageError(
            f"what holds a release against the charter's goals alone is not played, only what compares two: {why}"
        )


def _not_played(project: Project | None, plan: Plan, ask: Ask) -> dict[str, str]:
    """What of the plan is left out, with why."""
    found = {}
    if "shadow" in plan.path and ask.ramp is None:
        found["shadow"] = (
            f"it takes {LEAST_SHADOWED} cases, and the rest of its evidence are cases in which one release alone errs: how "
            "often that is, nobody knows before"
        )
    if project is not None and ask.rate is not None and not _live(project):
        found["a first release"] = (
            "no version is live, so it would be held against the charter's goals; what is played is one that is compared"
        )
    if project is not None and ask.rate is None and ask.guardrail is None:
        from andon.monitor.past import unplayed

        found |= unplayed(project.charter)
    return found


def _live(project: Project) -> bool:
    route = project.workspace.routes.current()
    return route is not None and bool(route.live)


# ---------------------------------------------------------------------------------------------------- the traffic


def _traffic(project: Project | None, ask: Ask) -> dict[str, Traffic]:
    if (ask.rate is None) != (ask.per_hour is None):
        raise UsageError("assumed traffic needs both --rate (share of units with an event) and --per-hour (units)")
    if ask.rate is not None and ask.per_hour is not None:
        if ask.past is not None or ask.guardrail is not None:
            raise UsageError(
                "--past and --guardrail are for the traffic of the log; leave them out, or --rate and --per-hour"
            )
        delay = 0 if ask.delay in (None, "0") else _span("--delay", str(ask.delay))
        return {"events": Assumed(ask.rate, ask.per_hour, delay / HOUR)}
    if ask.delay is not None:
        raise UsageError("--delay is for assumed traffic; the log knows when labels came")
    if project is None:
        raise UsageError("there is no project here, so no log: assume a traffic with --rate and --per-hour")
    from andon.monitor.past import past_traffic

    back = _PAST_US if ask.past is None else _span("--past", ask.past)
    return dict(past_traffic(project.workspace, project.charter, back, ask.guardrail))


def _horizon(project: Project | None, name: str) -> int:
    """How late the labels of a guardrail come, where it needs any."""
    if project is None:
        return 0
    from andon.monitor.past import judged_events

    return project.charter.target.delay_us if judged_events(project.charter, name)[name].late else 0
