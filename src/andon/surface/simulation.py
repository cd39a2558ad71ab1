"""A planned rollout played before it begins, as commands and pages ask for it: the charter's plan, its traffic, the table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from andon.core.clock import DAY, HOUR
from andon.deploy.rehearsal import Outcome, Tell, Wish, default_ratios, rehearse
from andon.deploy.rehearsal_course import course_of
from andon.deploy.rehearsal_traffic import Assumed, Traffic
from andon.deploy.rollout_proof import level_of
from andon.deploy.rollout_record import Plan
from andon.errors import UsageError
from andon.scope.scalar import duration
from andon.scope.section import Rollout

if TYPE_CHECKING:
    from andon.config import Project

__all__ = ["Ask", "Played", "Simulated", "simulate"]

_PAST_US = 7 * DAY


class Ask(msgspec.Struct, frozen=True):
    """What is asked, as it was written; None is the charter's, or the default."""

    version: str | None = None
    rate: float | None = None
    per_hour: float | None = None
    delay: str | None = None
    past: str | None = None
    guardrail: str | None = None
    ratios: tuple[float, ...] = ()
    share: float | None = None
    steps: str | None = None
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
    version, ``requests`` how many requests come for each of them.
    """

    guardrail: str
    rate: float
    per_hour: float
    requests: float
    alpha: float
    late: bool
    ratios: tuple[Outcome, ...]


class Simulated(msgspec.Struct, frozen=True):
    """A plan that was played. ``traffic`` is "assumed" or "past", ``ramp`` "automatic" or the steps in hours and shares."""

    version: str | None
    traffic: str
    ramp: str | tuple[tuple[float, float], ...]
    start_share: float
    margin: float
    alpha: float
    beta: float
    budget: float
    negligible: float
    runs: int
    hours: float
    seed: int
    guardrails: tuple[Played, ...]


def simulate(project: Project | None, ask: Ask, tell: Tell | None = None) -> Simulated:
    """Play it; without a project on assumed traffic and the charter's defaults.

    Raises ``UsageError``, ``NotFound``, ``NotEnoughEvidence`` where the log has too little traffic.
    """
    wish = Wish(
        ask.runs, _span("--most", ask.most) / HOUR, ask.seed, None if ask.steps is None else course_of(ask.steps)
    )
    plan = _changed(_plan(project, ask), ask)
    ratios = tuple(dict.fromkeys(ask.ratios)) or default_ratios(plan.margin)
    traffic = _traffic(project, ask)
    alpha, found = level_of(plan), []
    for name, comes in traffic.items():
        delay = round(comes.delay * HOUR) if isinstance(comes, Assumed) else _horizon(project, name)
        one = replace(plan, guardrails=(name,), path=("canary", "live"), alpha=alpha, horizon_us=delay)
        outcomes = rehearse(comes, one, ratios, wish, _named(tell, name, len(traffic)))
        found.append(Played(name, comes.rate, comes.per_hour, comes.requests, alpha, delay > 0, outcomes))
    return Simulated(
        ask.version,
        "assumed" if ask.rate is not None else "past",
        "automatic" if wish.course is None else wish.course,
        plan.start_share,
        plan.margin,
        plan.alpha,
        plan.beta,
        plan.budget,
        plan.negligible,
        wish.runs,
        wish.hours,
        wish.seed,
        tuple(found),
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


def _plan(project: Project | None, ask: Ask) -> Plan:
    """The charter's plan; on assumed traffic also where it names nothing to judge, or no charter is there."""
    from andon.deploy.rollout_plan import plan_of
    from andon.deploy.standing import bundles_of

    version = ask.version or "candidate"
    if project is None:
        if ask.version is not None:
            raise UsageError(f"{ask.version} is a release of a project, and there is none here; name it with --project")
        return _bare(Rollout.model_validate({}))
    if ask.version is not None:
        bundles_of(project.workspace, ask.version)
    try:
        return plan_of(project.charter, version, "live")
    except UsageError:
        if ask.rate is None:
            raise
        return _bare(project.charter.rollout)


def _bare(rules: Rollout) -> Plan:
    return Plan(
        "candidate",
        "live",
        ("canary", "live"),
        ("events",),
        start_share=min(rules.start_share, 0.5),
        margin=rules.margin,
        alpha=rules.alpha,
        beta=rules.beta,
        budget=rules.budget,
        negligible=rules.negligible,
    )


#: What may be changed: the option, and which values the charter takes there (from, to, whether the ends count).
_OPTIONS: Mapping[str, tuple[str, float, float, bool, bool]] = {
    "share": ("start_share", 0.0, 0.5, False, True),
    "margin": ("margin", 1.0, 100.0, False, True),
    "alpha": ("alpha", 0.0, 0.5, False, False),
    "beta": ("beta", 0.0, 0.5, False, False),
    "budget": ("budget", 0.0, 1e9, False, True),
}


def _changed(plan: Plan, ask: Ask) -> Plan:
    """The plan with what was asked in the charter's place."""
    if ask.steps is not None and (ask.share is not None or ask.budget is not None):
        raise UsageError("--steps is a ramp by hand, in which --share and --budget do nothing; leave them out")
    given = {}
    for option, (name, low, high, low_counts, high_counts) in _OPTIONS.items():
        value = getattr(ask, option)
        if value is None:
            continue
        fits = (value > low or (low_counts and value == low)) and (value < high or (high_counts and value == high))
        if not fits:
            ends = f"above {low:g} and {'at most' if high_counts else 'below'} {high:,.0f}" if high > 1 else ""
            ends = ends or f"above {low:g} and {'at most' if high_counts else 'below'} {high:g}"
            raise UsageError(f"--{option}: expected a number {ends}, found {value:g}")
        given[name] = value
    return replace(plan, **given)


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
