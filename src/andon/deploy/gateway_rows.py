"""Many rows of one request: each asked for by itself, a faulty one fails alone, and one answer when all are through.

The Open Inference Protocol and MLflow's calls both come through here, so a row is decided and written down as one of
``POST /v1/projects/{p}/decisions`` is.

>>> adapted(1, "bool"), adapted(0.0, "bool"), adapted(2, "bool"), adapted(1, "int")
(True, False, 2, 1)
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from math import isfinite
from typing import Any

import msgspec

from andon.data.validator import show
from andon.deploy.case import Case, Outcome
from andon.deploy.desk import Desk
from andon.deploy.gateway_decisions import UNIT_MAX, check_id, check_tags
from andon.deploy.protocol_message import Request
from andon.errors import ContractError, UsageError

__all__ = ["Row", "adapted", "ask", "plain_body"]


class Row(msgspec.Struct):
    """One row: its inputs and what else a decision takes. ``fault`` is what was wrong with it before it was asked for."""

    x: dict[str, Any]
    unit: str | None = None
    id: str | None = None
    tags: dict[str, str] | None = None
    human: str | None = None
    fault: ContractError | None = None


def adapted(value: Any, kind: str) -> Any:
    """The numbers 0 and 1 may stand for a bool, since many clients send every number in one table."""
    if kind == "bool" and value is not None and not isinstance(value, str) and value in (0, 1):
        return bool(value)
    return value


def plain_body(request: Request) -> bytes:
    """The body; raises ``UsageError`` when it is compressed."""
    coding = request.header(b"content-encoding")
    if coding is not None and coding.lower() not in (b"", b"identity"):
        raise UsageError(f"the body is compressed ({coding.decode('latin-1')[:20]!r}); send it as it is")
    return request.body


def ask(
    desk: Desk,
    classes: Collection[str],
    rows: Sequence[Row],
    done: Callable[[list[Outcome]], None],
    pin: str | None = None,
) -> None:
    """Ask the desk for every row; ``done`` gets the outcomes in the order of the rows, once. ``pin`` is a version by name."""
    gathered = _Gathered(len(rows), done)
    for at, row in enumerate(rows):
        place = gathered.place(at)
        try:
            _check(row, classes)
        except ContractError as error:
            place(error)
            continue
        case = Case(row.x, place, id=row.id or "", unit=row.unit, tags=row.tags or {}, human=row.human, pin=pin)
        desk.submit(case)


def _check(row: Row, classes: Collection[str]) -> None:
    if row.fault is not None:
        raise row.fault
    for name, value in row.x.items():
        if isinstance(value, dict | list) or (isinstance(value, float) and not isfinite(value)):
            what = "finite number" if isinstance(value, float) else "single value"
            raise ContractError(f"x.{name[:60]}: expected a {what}, found {show(value)}", field=f"x.{name[:60]}")
    if row.id is not None:
        check_id(row.id)
    if row.tags:
        check_tags(row.tags)
    if row.unit is not None and not 0 < len(row.unit) <= UNIT_MAX:
        raise ContractError(f"unit: expected 1 to {UNIT_MAX} characters, found {len(row.unit)}", field="unit")
    if row.human is not None and row.human not in classes:
        raise ContractError("human: expected a class of this project", field="human")


class _Gathered:
    """Waits for the outcome of every row, then tells once."""

    def __init__(self, count: int, done: Callable[[list[Outcome]], None]) -> None:
        self._outcomes: list[Outcome | None] = [None] * count
        self._missing = count
        self._done = done

    def place(self, at: int) -> Callable[[Outcome], None]:
        """Where the outcome of row ``at`` goes."""

        def take(outcome: Outcome) -> None:
            self._outcomes[at] = outcome
            self._missing -= 1
            if not self._missing:
                self._done([found for found in self._outcomes if found is not None])

        return take
