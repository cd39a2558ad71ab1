"""What the live path takes from the charter, read once when a worker starts.

>>> from andon.core.record import Field
>>> config = GatewayConfig(project="screening", fields=(Field("cough", "bool"),), classes=("negative", "positive"))
>>> config.contract.names, config.per_worker(2).idempotency_ids
(('cough',), 500000)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import msgspec

from andon.core.clock import SECOND
from andon.core.reach import Reach
from andon.core.record import Field, Stays
from andon.core.redact import Redactor, parse_rule
from andon.data.contract import Contract
from andon.deploy.away import Isolation, Limits

if TYPE_CHECKING:
    from andon.scope.charter import Charter

__all__ = ["GatewayConfig"]


class GatewayConfig(msgspec.Struct, frozen=True):
    """A worker's settings; everything in it is a plain value.

    ``fields`` and ``classes`` are the charter's contract, used where no release says otherwise. ``unit_column`` is the
    input that names the unit (None: the request does). Inputs in ``redact`` are never written as they came:
    ``rules`` says what is kept of each (`andon.core.redact`), nothing where it does not. ``pressure`` says whether
    answers go on (``shed``) when the log cannot take them or ``backlog_bytes`` wait for its disk. ``queue`` is in rows,
    times are in seconds. An id is remembered until ``idempotency_ids`` newer ones have come or ``idempotency_seconds``
    (from a charter: at least the deadline of reviews) have gone by, whichever is first. ``slow_seconds`` is how long one
    call of a model may take on the serving thread; longer ones get a thread of their own. What a model may take that has
    a process of its own, or is on another server, is in ``limits``.
    """

    project: str
    fields: tuple[Field, ...]
    classes: tuple[str, ...]
    target: str = "label"
    safe_default: str = "refer"
    unit_column: str | None = None
    durability: Literal["flush", "commit"] = "flush"
    pressure: Literal["block", "shed"] = "block"
    backlog_bytes: int = 64 << 20
    redact: tuple[str, ...] = ()
    rules: dict[str, str] = {}
    tokens_required: bool = False
    max_body_bytes: int = 8 << 20
    queue: int = 1024
    batch_rows: int = 512
    infer_rows: int = 512
    deadline_seconds: float = 10.0
    idempotency_seconds: float = 3600.0
    idempotency_ids: int = 1_000_000
    drain_seconds: float = 10.5  # longer than the deadline: what was taken in before the end is answered
    slow_seconds: float = 0.005
    ring_bytes: int = 4 << 20
    isolation: Isolation = "auto"
    model_memory_mb: int = 0
    model_seconds: float = 5.0
    stays: Stays = "anywhere"
    hosts: tuple[str, ...] = ()

    @classmethod
    def from_charter(cls, charter: Charter) -> GatewayConfig:
        """The settings that a charter asks for."""
        checklist, gateway = charter.checklist, charter.gateway
        return cls(
            project=charter.project,
            fields=charter.fields(),
            classes=tuple(charter.target.classes),
            target=charter.target.name,
            safe_default=charter.safe_default,
            unit_column=None if charter.unit.source == "request" else charter.unit.source,
            durability=checklist.logging.durability,
            pressure=checklist.logging.pressure,
            backlog_bytes=checklist.logging.backlog_mb << 20,
            redact=tuple(checklist.privacy.redact),
            rules={name: rule for name, rule in checklist.privacy.redact.items() if rule != "drop"},
            tokens_required=checklist.security.tokens == "required",
            max_body_bytes=gateway.max_body_bytes,
            queue=gateway.queue,
            idempotency_seconds=max(gateway.idempotency_seconds, charter.review.deadline_us / SECOND),
            idempotency_ids=gateway.idempotency_ids,
            isolation=gateway.isolation,
            model_memory_mb=gateway.model_memory_mb,
            model_seconds=gateway.model_seconds,
            stays=checklist.privacy.stays,
            hosts=checklist.privacy.hosts,
        )

    @property
    def reach(self) -> Reach:
        """How far rows may go."""
        return Reach(self.stays, self.hosts)

    @property
    def limits(self) -> Limits:
        """What a model may take that is not in the worker."""
        return Limits(
            self.isolation,
            self.model_memory_mb,
            self.model_seconds,
            stays=self.stays,
            hosts=self.hosts,
            redacts=bool(self.redact),
        )

    def redactor(self, key: Callable[[], bytes]) -> Redactor:
        """The rules, ready to be applied; the key is asked for where something is hashed."""
        rules = {name: parse_rule(self.rules.get(name, "drop")) for name in self.redact}
        return Redactor(rules, key() if any(rule.kind == "hash" for rule in rules.values()) else b"")

    @property
    def contract(self) -> Contract:
        """The contract that the charter's inputs give."""
        return Contract(self.fields, self.target, self.classes)

    def per_worker(self, workers: int) -> GatewayConfig:
        """One worker's part: ids are divided among the workers, so their memory is, too."""
        return msgspec.structs.replace(self, idempotency_ids=max(1, self.idempotency_ids // workers))
