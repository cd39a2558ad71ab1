"""Times of a charter that must be longer than others, or what comes late comes too late to count.

>>> from andon.scope.charter import parse
>>> head = "project: p\\ninputs: {a: float}\\nsafe_default: n\\n"
>>> print(too_short(parse(head + "target: {name: y, classes: [n, p], delay: 5w}"))[0].split(";")[0])
automation.partial.evidence: 28d are not longer than target.delay (35d): whatever is known of the model by then is older than the evidence that is asked for
"""

from __future__ import annotations

from andon.core.clock import DAY
from andon.scope.charter import Charter
from andon.scope.scalar import duration_text

__all__ = ["too_short"]


def too_short(charter: Charter) -> list[str]:
    """One sentence for each time that is shorter than what it must hold."""
    delay, evidence = charter.target.delay_us, charter.automation.partial.evidence_us
    bake, kept = charter.rollout.bake_us, charter.checklist.logging.retain_days
    found = []
    if evidence <= delay:
        found.append(
            f"automation.partial.evidence: {duration_text(evidence)} are not longer than target.delay "
            f"({duration_text(delay)}): whatever is known of the model by then is older than the evidence that is asked "
            "for; make it longer, by as long as it takes to gather the cases"
        )
    longer = [
        f"{name} ({duration_text(span)})"
        for name, span in (("automation.partial.evidence", evidence), ("rollout.bake", bake))
        if kept * DAY < delay + span
    ]
    if longer:
        late = f"target.delay ({duration_text(delay)}) and " if delay else ""
        found.append(
            f"checklist.logging.retain_days: {kept} days are shorter than {late}{' or '.join(longer)}"
            f"{' together' if delay else ''}: cases are deleted before it counts how they went"
        )
    return found
