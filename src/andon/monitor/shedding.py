"""Answers that are in no log, told in the journal: when a worker begins to give them, and what the log says is missing.

The journal is the controller's, so it is told when the controller next looks; each beginning and each record once, however
often they are met.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from andon.core.clock import iso
from andon.deploy.crew import alive
from andon.errors import Corrupt
from andon.store.codec import SHED, decode_losses
from andon.store.frame import Frame, FrameKind

if TYPE_CHECKING:
    from andon.store.workspace import Workspace

__all__ = ["ACTION", "note_begun", "note_recorded"]

ACTION = "log.shed"


def note_begun(workspace: Workspace) -> list[str]:
    """Journal what workers say has begun; sentences about what is new."""
    said = []
    for ack in workspace.routes.acks():
        if not ack.shed_us or not alive([ack]):
            continue
        subject = f"worker {ack.worker} since {iso(ack.shed_us)}"
        reason = f"{ack.worker} answers what its log cannot take (logging.pressure: shed)"
        if _once(workspace, subject, reason, {"worker": ack.worker, "since_us": ack.shed_us, "phase": "begun"}):
            said.append(f"{reason}, since {iso(ack.shed_us)}")
    return said


def note_recorded(workspace: Workspace, frame: Frame) -> None:
    """Journal what a frame of losses says was shed."""
    if frame.kind is not FrameKind.LOSS:
        return
    try:
        losses = [loss for loss in decode_losses(frame) if loss.what == SHED]
    except Corrupt:
        return  # the shipper counts it as lost
    for loss in losses:
        subject = f"stream {frame.stream} at {frame.offset}"
        span = f"between {iso(loss.since_us)} and {iso(loss.until_us)}"
        reason = f"{loss.n} answers of {frame.stream} {span} are in no log; it takes frames again"
        evidence = {"stream": frame.stream, "rows": loss.n, "since_us": loss.since_us, "until_us": loss.until_us}
        _once(workspace, subject, reason, {**evidence, "total": loss.total, "phase": "ended"})


def _once(workspace: Workspace, subject: str, reason: str, evidence: dict[str, object]) -> bool:
    journal = workspace.journal
    if journal.read(action=ACTION, subject=subject, limit=1):
        return False
    journal.append("log.shed", subject, "controller", reason, evidence)
    return True
