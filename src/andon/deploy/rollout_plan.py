"""What a rollout is begun with: the charter's rules, by the pattern that was asked for and whether a version is live.

A *canary* follows the charter's ``rollout.path``. A *blue/green* leaves the canary out: the shadow first, unless the
path names the blue/green without one. Where no version is live there is nobody to compare with, so each guardrail is held
against its goal; so it is in a blue/green that leaves no unit on the old version at any time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from andon.deploy.rollout_record import Plan
from andon.errors import UsageError
from andon.measure.event import Event
from andon.measure.figure import Figure, figure_of, watched
from andon.measure.gate import Bound

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.scope.section import MetricSpec

__all__ = ["GRADUAL", "Pattern", "bound_of", "guarded", "pattern_of", "plan_of"]

Pattern = Literal["canary", "blue-green"]

#: The steps of a gradual blue/green where the charter has none.
GRADUAL = (0.1, 0.25, 0.5)


def bound_of(spec: MetricSpec) -> Bound | None:
    """The goal of a metric, or its alarm where that is a bound."""
    return spec.goal if spec.goal is not None else spec.alarm if isinstance(spec.alarm, Bound) else None


def guarded(charter: Charter, *, alone: bool = False) -> dict[str, Event | Figure | str]:
    """The charter's guardrails (else its metrics with a goal): what each looks at of a case, or why it is not judged.

    ``alone`` is without a live version: then a figure needs no margin, and everything a bound on its worse side.
    """
    named = charter.rollout.guardrails or [name for name, spec in charter.metrics.items() if spec.goal is not None]
    found: dict[str, Event | Figure | str] = {}
    for name in named:
        look: Callable[[Charter, MetricSpec], Event | Figure] = _alone if alone else _compared
        try:
            found[name] = look(charter, charter.metrics[name])
        except UsageError as error:
            found[name] = error.message
    return found


def _compared(charter: Charter, spec: MetricSpec) -> Event | Figure:
    return watched(spec.of, bound_of(spec), charter.target.classes, charter.fields(), spec.margin)


def _alone(charter: Charter, spec: MetricSpec) -> Event | Figure:
    bound, classes = bound_of(spec), charter.target.classes
    figure = spec.of.strip().partition("(")[0].strip() in ("value", "mean")
    found: Event | Figure
    found = figure_of(spec.of, bound, classes, charter.fields()) if figure else watched(spec.of, bound, classes, ())
    low, high = (found.low, found.high) if isinstance(found, Figure) else (0.0, 1.0)
    if found.limit is None or not low < found.limit < high:
        said = "no bound on its worse side" if found.limit is None else f"the bound {bound}, which no cases can show"
        raise UsageError(f"{spec.of} has {said}, so without a live version to compare with it is shown and not judged")
    return found


def pattern_of(charter: Charter) -> Pattern:
    """The pattern of the charter's path where nobody names one."""
    path = charter.rollout.path
    return "blue-green" if "blue-green" in path and "canary" not in path else "canary"


def plan_of(
    charter: Charter,
    version: str,
    live: str,
    *,
    pattern: Pattern = "canary",
    steps: Sequence[float] | None = None,
    actor: str = "",
    reason: str = "",
) -> Plan:
    """What the charter says of a rollout; ``live`` is "" where no version is, ``steps`` those of a blue/green (None: its own).

    Raises ``UsageError`` where it names nothing that can be judged, or a path without the pattern that was asked for.
    """
    rules = charter.rollout
    path, taken = _way(charter, live, pattern), tuple(rules.steps if steps is None else steps)
    alone = not live or ("canary" not in path and not rules.holdback and not taken)
    judged = _judged(charter, alone)
    figures = {name: found for name, found in judged.items() if isinstance(found, Figure)}
    limits = {name: found.limit for name, found in judged.items() if found.limit is not None}
    return Plan(
        version=version,
        live=live,
        path=path,
        guardrails=tuple(judged),
        start_share=min(rules.start_share, 0.5),
        margin=rules.margin,
        alpha=rules.alpha,
        beta=rules.beta,
        on_harm=rules.on_harm,
        budget=rules.budget,
        negligible=rules.negligible,
        horizon_us=charter.target.delay_us,
        bake_us=rules.bake_us,
        reviewers_per_hour=charter.review.reviewers_per_hour,
        actor=actor,
        reason=reason,
        steps=_steps(taken, rules.holdback) if "blue-green" in path else (),
        holdback=rules.holdback if "blue-green" in path else 0.0,
        limits=limits if alone else {},
        margins={name: found.margin or 0.0 for name, found in figures.items()},
        bake_share=1.0 if alone else 1.0 - rules.holdback,
        edition=2,
    )


def _judged(charter: Charter, alone: bool) -> dict[str, Event | Figure]:
    """What each guardrail looks at that can be judged; raises ``UsageError`` where none can."""
    every = guarded(charter, alone=alone)
    found = {name: look for name, look in every.items() if not isinstance(look, str)}
    if not found:
        why = "; ".join(str(one) for one in every.values()) or "the charter has no guardrail and no metric with a goal"
        raise UsageError(
            f"an automatic rollout needs a guardrail that counts events, such as error_rate or null_outputs: {why}"
        )
    return found


def _way(charter: Charter, live: str, pattern: Pattern) -> tuple[str, ...]:
    path: tuple[str, ...] = charter.rollout.path
    if pattern == "blue-green":
        if not live:
            raise UsageError(
                "no version is live, so there is nothing to change over from; a first release begins with a small share: "
                "andon deploy canary VERSION --auto"
            )
        named = tuple(step for step in path if step != "canary") if "blue-green" in path else ()
        return named or ("shadow", "blue-green", "live")
    if "canary" not in path:
        raise UsageError(
            f"an automatic rollout compares both versions in a canary; rollout.path has none: {', '.join(path)}; "
            "without one it is: andon deploy blue-green VERSION --auto"
        )
    # With nobody live there is nothing to change over from, and to compare with in pairs.
    return path if live else tuple(step for step in path if step not in ("shadow", "blue-green"))


def _steps(steps: tuple[float, ...], holdback: float) -> tuple[float, ...]:
    """The steps that lead up to the last one. Raises ``UsageError`` unless they grow and lie between 0 and it."""
    top = 1.0 - holdback
    if list(steps) != sorted(set(steps)) or not all(0 < share < top for share in steps):
        raise UsageError(
            f"the steps of a blue/green: expected shares that grow, above 0 and below {top:g} (all but the holdback), "
            f"found {', '.join(f'{share:g}' for share in steps)}"
        )
    return steps
