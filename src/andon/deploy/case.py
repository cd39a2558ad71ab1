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
    """What a client may know of a decision. ``suggestion`` is set only where people are not blind; ``recorded`` is False for
    an answer that the log could not take (``logging: {pressure: shed}``).
    """

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
    recorded: bool = True


Outcome = Shown | AndonError
Done = Callable[[Outcome], None]


def told(shown: Shown) -> bool:
    """Whether the decision is made."""
    return shown.status == "decided"


class Case(msgspec.Struct, eq=False):
    """One row: first what came, then, filled in on the way, what was decided.

    ``pin`` is a version that the client asked for by name (Open Inference Protocol); such a case is no part of a
    rollout's evidence. ``nonce`` is what it was drawn by before, where it has neither unit nor id. ``arrived`` and ``deadline`` are seconds of the monotonic clock. ``closed`` is set when the
    client got its answer (or an error) and what still comes must be thrown away. ``audit`` is the share of the audit
    until the row is written, then the probability with which it was drawn (0: it was not).
    """

    x: Mapping[str, Any]
    done: Done
    id: str = ""
    unit: str | None = None
    tags: dict[str, str] = {}
    human: str | None = None
    pin: str | None = None
    nonce: str = ""
    server_id: str = ""
    arrived: float = 0.0
    deadline: float = 0.0
    closed: bool = False
    waiters: list[Done] | None = None
    values: list[Scalar] = []
    version: str | None = None
    arm: Literal["live", "candidate", "none"] = "none"
    probability: float = 1.0
    sticky: bool = True
    level: Level = "human"
    slice: str = "*"
    epoch: int = 0
    label: str | None = None
    confidence: float | None = None
    scores: tuple[float, ...] | None = None
    error: str | None = None
    status: Status = "pending"
    decision: str | None = None
    decided_by: DecidedBy = "nobody"
    suggestion: str | None = None
    shown: str | None = None
    audit: float = 0.0
    latency_us: int = 0

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
