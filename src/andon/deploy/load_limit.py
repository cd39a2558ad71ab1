"""How much the line could carry: the rate is raised stepwise until the goal breaks, then the edge is narrowed; bounded.

>>> def step(rate):
...     return Step(rate, rate <= 700, rate, 1.0, True, "")
>>> found = search(100.0, step)
>>> 600 < found.held <= 700 < found.broke, len(found.steps) <= STEPS_MAX
(True, True)
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from andon.core.verdict import Verdict
from andon.deploy.load import Load

__all__ = ["STEPS_MAX", "Limit", "Step", "search", "step_of"]

STEPS_MAX = 14
_FACTOR = 1.5
_CLOSE = 1.1


class Step(msgspec.Struct, frozen=True):
    """One rate that was tried: whether the goal held, what was answered, p95 in ms, whether the driver kept up, and why not."""

    rate: float
    held: bool
    answered: float
    p95_ms: float | None
    kept: bool
    why: str


class Limit(msgspec.Struct, frozen=True):
    """The highest rate that held and the lowest that broke (None: none did), with every step in the order it was tried."""

    held: float | None
    broke: float | None
    sentence: str
    steps: tuple[Step, ...]


def step_of(load: Load) -> Step:
    """What a short run says about its rate: too short for intervals, so the figures themselves count."""
    bad = [check for check in load.checks if check.verdict is Verdict.FAIL and check.name in ("errors", "rate")]
    late = (load.late.value or 0.0) > 0.05 and load.goal.p95_ms is not None
    kept = all(check.verdict is Verdict.PASS for check in load.checks if check.name == "schedule")
    why = "; ".join(check.sentence for check in bad)
    if late:
        why = "; ".join(
            filter(None, [why, f"{100 * (load.late.value or 0):.2g} % took longer than {load.goal.p95_ms:g} ms"])
        )
    return Step(load.goal.qps, not bad and not late, load.rate, load.lateness["p95"].value, kept, why)


def search(start: float, run: Callable[[float], Step]) -> Limit:
    """Raise the rate by half until it breaks (or lower it until it holds), then halve the gap while it is over a tenth.

    A step that broke while the driver could not keep its schedule ends the search: that may not be the line's doing. One
    that held all the same counts, since the driver's lateness is part of every latency.
    """
    steps: list[Step] = []
    held: float | None = None
    broke: float | None = None
    rate = start
    while len(steps) < STEPS_MAX:
        step = run(rate)
        steps.append(step)
        if not (step.held or step.kept):
            break
        if step.held:
            held = max(rate, held or 0.0)
        else:
            broke = min(rate, broke or rate)
        if held is None:
            rate /= _FACTOR
        elif broke is None:
            rate *= _FACTOR
        elif broke / held <= _CLOSE:
            break
        else:
            rate = (held * broke) ** 0.5
        if rate < 1:
            break
    return Limit(held, broke, _sentence(held, broke, steps), tuple(steps))


def _sentence(held: float | None, broke: float | None, steps: list[Step]) -> str:
    carried = "no rate tried was carried" if held is None else f"carries at least {held:,.0f} per second"
    if steps and not (steps[-1].held or steps[-1].kept):
        return f"{carried}; at {steps[-1].rate:,.0f} the driver could not keep its schedule, so no more can be told from here"
    if broke is None:
        return f"{carried}; it never broke within {len(steps)} steps"
    why = next((step.why for step in reversed(steps) if step.rate == broke), "")
    return f"{carried}; at {broke:,.0f} it broke: {why}"
