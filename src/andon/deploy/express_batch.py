"""What the quick way (`andon.deploy.express`) decided of one batch, in columns: as the log takes it and as clients are told."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from andon.core.clock import SECOND
from andon.core.redact import quiet
from andon.deploy.automation import Outcome, audit_probability, decide
from andon.deploy.express_rows import Lane, Row
from andon.deploy.gateway_decisions import Decided, Pending, decision_bodies
from andon.deploy.meter import Meter
from andon.deploy.protocol_message import Answer, error_answer
from andon.deploy.route import CompiledRoute
from andon.errors import AndonError
from andon.store.wal import server_id

__all__ = ["Batch"]


class Batch:
    """Rows with what a model said about each: its scores, or None; ``errors`` say why, where there are any."""

    def __init__(
        self,
        lane: Lane,
        rows: list[Row],
        scores: Sequence[Sequence[float] | None],
        errors: Sequence[str | None] = (),
    ) -> None:
        self.rows = rows
        self._errors = errors
        self._lane = lane
        self._scores: list[Sequence[float] | None] = []
        self._outcomes: list[Outcome] = []
        self._confidences: list[float | None] = []
        self._ids: list[str] = []
        self._latencies: list[int] = []
        self._settle(lane.terms.route, lane.terms.contract.classes, scores)

    def _settle(self, route: CompiledRoute, classes: tuple[str, ...], scores: Sequence[Sequence[float] | None]) -> None:
        """What becomes of each row. At level full nothing but the label counts, so that is decided once a label."""
        full: dict[int, Outcome] = {}
        for row, mine in zip(self.rows, scores, strict=True):
            if mine is None or not math.isfinite(sum(mine)):  # a score that is no number, or one without an end
                self._outcomes.append(decide(route.policy, row.level, None, None, None))
                self._scores.append(None)
                self._confidences.append(None)
                continue
            confidence = max(mine)
            at = mine.index(confidence)
            outcome = full.get(at) if row.level == "full" else None
            if outcome is None:
                threshold = route.threshold(row.assigned.version, row.slice)
                outcome = decide(route.policy, row.level, classes[at], confidence, threshold)
                if row.level == "full":
                    full[at] = outcome
            self._outcomes.append(outcome)
            self._scores.append(mine)
            self._confidences.append(confidence)

    def name(self, stream: str, generation: str, first: int) -> None:
        """Every row's id: the client's, or the one that says where it is."""
        self._ids = [
            row.given.id or server_id(stream, generation, number) for number, row in enumerate(self.rows, first)
        ]

    def columns(
        self, time_us: int, wall_us: int, now: float, hashed: Callable[[str], str], *, hidden: bool = False
    ) -> tuple[list[Any], ...]:
        """The columns of the frame, in the order of ``DecisionBatch``; ``hidden``: errors may not quote inputs."""
        rows, outcomes, n = self.rows, self._outcomes, len(self.rows)
        share = self._lane.terms.route.policy.audit_share
        self._latencies = [int((now - row.arrived) * SECOND) for row in rows]
        return (
            [row.given.id for row in rows],
            [time_us] * n,
            [wall_us] * n,
            [self._lane.terms.route.epoch] * n,
            [one.status for one in outcomes],
            [one.decision for one in outcomes],
            [one.decided_by for one in outcomes],
            [row.level for row in rows],
            [row.slice for row in rows],
            [hashed(row.given.unit) if row.given.unit is not None else "" for row in rows],
            [row.assigned.sticky for row in rows],
            [row.assigned.version for row in rows],
            [row.assigned.arm for row in rows],
            [row.assigned.probability for row in rows],
            self._confidences,
            self._scores,
            [one.suggestion for one in outcomes],
            [],  # no decision of a person, no tags: columns that are left out read so
            [
                audit_probability(id, share) if share and one.decided_by == "model" else 0.0
                for id, one in zip(self._ids, outcomes, strict=True)
            ],
            self._latencies,
            [],
            [(quiet(one) if hidden else str(one)) if one else None for one in self._errors],
        )

    def answer(self, meter: Meter) -> None:
        """Tell everybody, and count."""
        epoch = self._lane.terms.route.epoch
        made = [
            Decided(id, one.decision, one.decided_by, row.assigned.version, confidence, epoch)
            if one.status == "decided"
            else Pending(id, "pending", one.shown)
            for row, id, one, confidence in zip(self.rows, self._ids, self._outcomes, self._confidences, strict=True)
        ]
        told: dict[tuple[str, str, int], int] = {}
        for row, one, body in zip(self.rows, self._outcomes, decision_bodies(made), strict=True):
            status = 200 if one.status == "decided" else 202
            kind = (one.decided_by, row.assigned.arm, status)
            told[kind] = told.get(kind, 0) + 1
            row.reply(Answer(status, body))
        meter.latency.add_all([took / SECOND for took in self._latencies])
        for (decided_by, arm, status), n in told.items():
            meter.outcome(decided_by, arm, n)
            meter.answered("decisions", status, n)

    def refuse(self, error: AndonError, meter: Meter) -> None:
        """Nothing was written: tell everybody why."""
        answer = error_answer(error)
        meter.answered("decisions", answer.status, len(self.rows))
        for row in self.rows:
            row.reply(answer)
