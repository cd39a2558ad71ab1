"""Writes what was decided before anybody is told: one frame for the batch, then the answers.

In ``flush`` answers leave when ``write(2)`` is done; in ``commit`` when the disk has confirmed a sync that covers the
frame. When the log cannot be written, nothing of the batch is answered but the one sentence why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from andon.core.record import Feedback, Field, Scalar
from andon.core.redact import Redactor, quiet
from andon.data.contract import Contract
from andon.deploy.automation import audit_probability
from andon.deploy.case import Case
from andon.errors import AndonError, Overloaded, Unavailable
from andon.store.codec import DecisionBatch, Loss, encode_decisions, encode_feedback, encode_losses
from andon.store.wal import Frame, FrameKind, WalWriter, server_id

__all__ = ["BACKLOG", "Recorder"]

#: Bytes that may wait for the disk.
BACKLOG = 64 << 20

Post = Callable[[Callable[[], None]], None]


class Recorder:
    """The writing end of one worker's stream. ``hash_unit`` is how a unit is stored; ``redactor`` what becomes of inputs.

    ``backlog`` bytes may be written that the disk has not confirmed; beyond that nothing is taken but the record of a loss.
    """

    def __init__(
        self,
        wal: WalWriter,
        hash_unit: Callable[[str], str],
        redactor: Redactor,
        *,
        commit: bool,
        post: Post,
        backlog: int = BACKLOG,
    ) -> None:
        self.wal = wal
        self.failures = 0
        self.hash_unit = hash_unit
        self.redactor = redactor
        self._commit = commit
        self._backlog = backlog
        self._post = post

    def decisions(self, contract: Contract, hash8: bytes, cases: Sequence[Case], time_us: int, wall_us: int) -> Frame:
        """Write one batch and give every case its id; raises ``Unavailable``, and then nothing was written."""
        self._name(cases)
        payload = encode_decisions(contract.fields, self._batch(contract.fields, cases, time_us, wall_us))
        return self.append(FrameKind.DECISION, payload, len(cases), time_us, cases[0].epoch, hash8)

    def feedback(self, rows: Sequence[Feedback], time_us: int) -> Frame:
        """Write feedback as it came; raises ``Unavailable``."""
        return self.append(FrameKind.FEEDBACK, encode_feedback(rows), len(rows), time_us)

    def losses(self, losses: Sequence[Loss], time_us: int) -> Frame:
        """Write what was lost, counted; raises ``Unavailable``."""
        return self.append(FrameKind.LOSS, encode_losses(losses), len(losses), time_us)

    def when_safe(self, frame: Frame, done: Callable[[], None], failed: Callable[[AndonError], None]) -> None:
        """Call ``done`` when what the durability promises holds for a new frame: at once, or after the disk's sync."""
        self.when_kept(frame, done, lambda error: self._refused(failed, error))

    def when_kept(self, frame: Frame, done: Callable[[], None], failed: Callable[[AndonError], None]) -> None:
        """As ``when_safe``, for a frame that is read again; those of other streams were kept by who wrote them."""
        if self._commit and frame.stream == self.wal.stream:
            self.wal.on_durable(frame.end, lambda: self._post(done), lambda error: self._post(lambda: failed(error)))
        else:
            done()

    def _refused(self, failed: Callable[[AndonError], None], error: AndonError) -> None:
        self.failures += 1
        failed(error)

    def append(
        self, kind: FrameKind, payload: bytes, count: int, time_us: int, epoch: int = 0, contract: bytes = bytes(8)
    ) -> Frame:
        """Write one frame; raises ``Unavailable`` or ``Overloaded``, and then nothing was written."""
        wal = self.wal
        if wal.end - wal.synced_end > self._backlog and kind != FrameKind.LOSS:
            self.failures += 1
            raise Overloaded(
                f"the disk is behind: {wal.end - wal.synced_end} bytes of the log {wal.stream} wait for it, more than "
                f"logging.backlog_mb allows; try again in a second"
            )
        try:
            return self.wal.append(kind, payload, count=count, epoch=epoch, contract=contract, time_us=time_us)
        except Unavailable:
            self.failures += 1
            raise

    def _name(self, cases: Sequence[Case]) -> None:
        """Ids of rows whose client gave none, and the draw of the audit, which is a hash of the id."""
        wal = self.wal
        for sequence, case in enumerate(cases, wal.next_sequence):
            case.server_id = server_id(wal.stream, wal.generation, sequence)
            if case.audit and case.decided_by == "model":
                case.audit = audit_probability(case.id or case.server_id, case.audit)
            else:
                case.audit = 0.0

    def _batch(self, fields: Sequence[Field], cases: Sequence[Case], time_us: int, wall_us: int) -> DecisionBatch:
        n = len(cases)
        columns = zip(*[case.values for case in cases], strict=True)
        keep, hidden = self.redactor.column, bool(self.redactor)
        x: list[list[Scalar]] = [keep(field.name, cells) for field, cells in zip(fields, columns, strict=True)]
        hashed = self.hash_unit
        return DecisionBatch(
            x,
            [case.id or None for case in cases],
            [time_us] * n,
            [wall_us] * n,
            [case.epoch for case in cases],
            [case.status for case in cases],
            [case.decision for case in cases],
            [case.decided_by for case in cases],
            [case.level for case in cases],
            [case.slice for case in cases],
            [hashed(case.unit) if case.unit is not None else "" for case in cases],
            [case.sticky for case in cases],
            [case.version for case in cases],
            [case.arm for case in cases],
            [case.probability for case in cases],
            [case.confidence for case in cases],
            [case.scores for case in cases],
            [case.suggestion for case in cases],
            [case.human for case in cases],
            [case.audit for case in cases],
            [case.latency_us for case in cases],
            [case.tags for case in cases],
            [(quiet(case.error) if hidden else str(case.error)) if case.error else None for case in cases],
        )
