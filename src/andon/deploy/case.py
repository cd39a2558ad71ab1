"""One request on its way through the live path, and what its client is told.

>>> shown = Shown("a1", "pending")
>>> shown.suggestion is None, told(Shown("a1", "decided", "negative", "model"))
(True, True)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import msgspec

from andon.core.record import DecidedBy, Decision, Level, Review, Scalar, Status
from andon.errors import AndonError

__all__ = ["Case", "Done", "Outcome", "Shown", "shown_case", "shown_decision", "told"]


class Shown(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """What a client may know of a decision. ``suggestion`` is set only where people are not blind."""

    id: str
    status: Status
    decision: str | None = None
    decided_by: DecidedBy = "nobody"
    version: str | None = None
    confidence: float | None = None
    epoch: int = 0
    suggestion: str | None = None
    arm: Literal["live", "candidate", "none"] = "none"
    level: Level = "human"
    time_us: int = 0


Outcome = Shown | AndonError
Done = Callable[[Outcome], None]


def told(shown: Shown) -> bool:
    """Whether the decision is made."""
    return shown.status == "decided"


class Case:
    """One row: first what came, then, filled in on the way, what was decided.

    ``pin`` is a version that the client asked for by name (Open Inference Protocol); such a case is no part of a
    rollout's evidence. ``arrived`` and ``deadline`` are seconds of the monotonic clock. ``closed`` is set when the
    client got its answer (or an error) and what still comes must be thrown away.
    """

    __slots__ = (
        "arm",
        "arrived",
        "audit",
        "closed",
        "confidence",
        "deadline",
        "decided_by",
        "decision",
        "done",
        "epoch",
        "error",
        "human",
        "id",
        "label",
        "latency_us",
        "level",
        "pin",
        "probability",
        "scores",
        "server_id",
        "shown",
        "slice",
        "status",
        "sticky",
        "suggestion",
        "tags",
        "unit",
        "values",
        "version",
        "waiters",
        "x",
    )

    def __init__(
        self,
        x: Mapping[str, Any],
        done: Done,
        *,
        id: str = "",
        unit: str | None = None,
        tags: dict[str, str] | None = None,
        human: str | None = None,
        pin: str | None = None,
    ) -> None:
        self.x = x
        self.done = done
        self.id = id
        self.server_id = ""
        self.unit = unit
        self.tags: dict[str, str] = tags or {}
        self.human = human
        self.pin = pin
        self.arrived = 0.0
        self.deadline = 0.0
        self.closed = False
        self.waiters: list[Done] | None = None
        self.values: list[Scalar] = []
        self.version: str | None = None
        self.arm: Literal["live", "candidate", "none"] = "none"
        self.probability = 1.0
        self.sticky = True
        self.level: Level = "human"
        self.slice = "*"
        self.label: str | None = None
        self.confidence: float | None = None
        self.scores: tuple[float, ...] | None = None
        self.error: str | None = None
        self.status: Status = "pending"
        self.decision: str | None = None
        self.decided_by: DecidedBy = "nobody"
        self.suggestion: str | None = None
        self.shown: str | None = None
        self.audit = 0.0
        self.epoch = 0
        self.latency_us = 0

    def finish(self, outcome: Outcome) -> None:
        """Tell the client and everybody who sent the same id meanwhile; only the first call counts."""
        if self.closed:
            return
        self.closed = True
        self.done(outcome)
        if self.waiters:
            for done in self.waiters:
                done(outcome)


def shown_case(case: Case, time_us: int) -> Shown:
    """What the client of a case that was just recorded is told."""
    decided = case.status == "decided"
    return Shown(
        case.id or case.server_id,
        case.status,
        case.decision,
        case.decided_by,
        case.version if decided else None,
        case.confidence if decided else None,
        case.epoch,
        None if decided else case.shown,
        case.arm,
        case.level,
        time_us,
    )


def shown_decision(decision: Decision, review: Review | None, *, blind: bool) -> Shown:
    """What a client is told of a decision that is in the log, with its review laid over it."""
    made, by, status = decision.decision, decision.decided_by, decision.status
    if review is not None and status == "pending":
        made, by, status = review.decision, review.decided_by, "decided"
    decided = status == "decided"
    seen = decision.level == "assist" or (decision.level == "partial" and not blind)
    return Shown(
        decision.id,
        status,
        made,
        by,
        decision.version if decided else None,
        decision.confidence if decided else None,
        decision.epoch,
        decision.suggestion if seen and not decided else None,
        decision.arm,
        decision.level,
        decision.time_us,
    )
