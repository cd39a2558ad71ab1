"""The decisions: every request with what was answered and by whom, found by time, slice, who decided, version and id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from andon.core.clock import iso
from andon.errors import UsageError
from andon.monitor.window import Measured
from andon.surface.page import Page
from andon.surface.view.decision_veil import veiled
from andon.surface.view.watch import SliceName, a_slice
from andon.surface.view.watch_card import link
from andon.surface.view.watch_span import Moment, moment

if TYPE_CHECKING:
    from andon.surface.visit import Visit

__all__ = ["PAGES", "DecisionRow", "DecisionsParams", "DecisionsView", "decisions_view"]

_ROWS = 50
By = Literal["", "model", "person", "safe_default", "client", "nobody"]


class DecisionsParams(msgspec.Struct, frozen=True):
    """Which decisions; what is left empty limits nothing."""

    since: Moment = ""
    until: Moment = ""
    slice: SliceName = ""
    by: Annotated[By, msgspec.Meta(description="Who decided, as it stands now.")] = ""
    version: Annotated[str, msgspec.Meta(max_length=64, description="The release that was asked, such as v2.")] = ""
    q: Annotated[str, msgspec.Meta(max_length=256, description="Part of an id.")] = ""
    page: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = 1


class DecisionRow(msgspec.Struct, frozen=True):
    """One decision. ``label`` is what turned out to be right; ``seconds`` a person's time on it (of the machine).

    ``hidden``: a person is still to decide it blindly, so what the model and others said is left out, and ``decided_by``
    is "hidden".
    """

    id: str
    time_us: int
    status: str
    decision: str | None
    decided_by: str
    version: str | None
    arm: str
    level: str
    slice: str
    confidence: float | None
    latency_us: int
    label: str | None
    reviewer: str | None
    seconds: float | None
    simulated: bool
    error: str | None
    hidden: bool
    href: str


class DecisionsView(msgspec.Struct, frozen=True):
    """One page of decisions, the newest first; ``total`` is how many there are in all."""

    now_us: int
    rows: tuple[DecisionRow, ...]
    total: int
    page: int
    pages: int
    slices: tuple[str, ...]
    base: str


def decisions_view(visit: Visit, params: DecisionsParams) -> DecisionsView:
    """A page of decisions. Raises ``UsageError`` or ``NotFound``."""
    from andon.store.browse import Wanted, page

    plan = Measured.of(visit.project.charter)
    cohort = a_slice(params.slice, plan)
    since, until = moment(params.since, "since"), moment(params.until, "until")
    if since is not None and until is not None and until <= since:
        raise UsageError(f"until: expected a time after {iso(since)}", field="until")
    wanted = Wanted(since, until, params.by, params.version, params.q.strip(), plan.slices.get(cohort))
    workspace = visit.project.workspace
    rows, total = page(workspace, wanted, (params.page - 1) * _ROWS, _ROWS)
    hidden = veiled(workspace, rows)
    kept = {name: getattr(params, name) for name in ("since", "until", "slice", "by", "version", "q")}
    return DecisionsView(
        now_us=visit.now_us,
        rows=tuple(_row(row, row["id"] in hidden) for row in rows),
        total=total,
        page=params.page,
        pages=max(1, -(-total // _ROWS)),
        slices=tuple(plan.slices),
        base=link("/decisions", **kept),
    )


def _row(row: dict[str, Any], hidden: bool) -> DecisionRow:
    seen = {name: None if hidden else row[name] for name in ("decision", "version", "confidence", "label", "error")}
    return DecisionRow(
        id=row["id"],
        time_us=row["time_us"],
        status=row["status"],
        decided_by="hidden" if hidden else row["decided_by"],
        arm="" if hidden else row["arm"],
        level=row["level"],
        slice=row["slice"],
        latency_us=row["latency_us"],
        reviewer=None if hidden else row["reviewer"] or None,
        seconds=None if hidden or not row["reviewer"] else row["seconds"],
        simulated=not hidden and bool(row["simulated"]),
        hidden=hidden,
        href=link("/decisions", row["id"]),
        **seen,
    )


PAGES = (
    Page(
        "decisions", "/decisions", "Decisions", "watch", decisions_view, DecisionsParams, DecisionsView, "decisions.html"
    ),
)  # fmt: skip
