"""The columns of Andon's own in the record of a decision and in the views of it, named once.

No input of a charter may have such a name (``andon.scope.consistency``); a view shows one that a log has all the same
under ``x_`` and its name (``andon.store.view``).

>>> "id" in RESERVED, "age" in RESERVED
(True, False)
"""

from __future__ import annotations

from andon.core.record import Decision

__all__ = ["DECISION", "LATER", "PAIR", "RECORD", "RESERVED", "REVIEW"]

DECISION = tuple(name for name in Decision.__struct_fields__ if name != "x")
"""Of a decision as it was made, without its inputs."""

REVIEW = ("reviewer", "decided_us", "seconds", "saw_suggestion", "simulated")
"""Of the review that decided a pending one."""

RECORD = (
    "id",
    "time_us",
    "label",
    "prediction",
    "confidence",
    "scores",
    "decided_by",
    "version",
    "arm",
    "level",
    "slice",
    "unit",
    "latency_us",
    "error",
    "suggestion",
    "human",
    "audit",
    "reviewer",
    "status",
    "epoch",
    "weight",
)
"""Of the record frame, which metrics read."""

LATER = ("feedback", "label_us", "tags", "simulated")
"""What the record frame of outcomes has beside it."""

PAIR = (*RECORD, "decision", "live", "tags", "simulated")
"""Of a shadow's answer beside what was decided."""

RESERVED = frozenset(("day", "contract", "x", "kind", *DECISION, *REVIEW, *RECORD, *LATER, *PAIR))
"""All of them; ``x`` is where a decision keeps its inputs, ``kind`` what a feedback is."""
