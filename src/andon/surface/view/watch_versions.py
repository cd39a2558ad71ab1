"""Each model version, and people, beside one another: the charter's metrics on what each of them decided.

Measured from the log itself, so it is limited to the time shown and to the newest decisions in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated

import msgspec

from andon.measure.estimate import Estimate
from andon.monitor.overview import group_of
from andon.monitor.window import Measured, is_late
from andon.surface.page import Page
from andon.surface.station import bound_words, unit_shown
from andon.surface.view.watch import SliceName, a_slice
from andon.surface.view.watch_card import link
from andon.surface.view.watch_span import MOST_WINDOWS, Moment, Span, span_of, typed

if TYPE_CHECKING:
    import polars as pl

    from andon.measure.slice import Slice
    from andon.scope.charter import Charter
    from andon.surface.visit import Visit

__all__ = ["MOST_ROWS", "PAGES", "Decider", "Measure", "VersionsParams", "VersionsView", "versions_view"]

#: So many of the newest decisions are measured.
MOST_ROWS = 50_000
_WORDS = {"person": "people", "safe_default": "safe default", "client": "decided elsewhere"}
_TONES = {"person": "people", "model": "machine"}


class VersionsParams(msgspec.Struct, frozen=True):
    """Whose decisions: of a slice, in the last windows or between two times."""

    slice: SliceName = ""
    windows: Annotated[int, msgspec.Meta(ge=1, le=MOST_WINDOWS, description="So many of the last windows.")] = 24
    since: Moment = ""
    until: Moment = ""


class Decider(msgspec.Struct, frozen=True):
    """Who decided: ``kind`` is model, person, safe_default or client; ``n`` decisions, ``labelled`` of them with a label."""

    name: str
    kind: str
    tone: str
    version: str
    n: int
    labelled: int
    first_us: int
    last_us: int
    href: str


class Measure(msgspec.Struct, frozen=True):
    """One metric: the estimate of each decider, in the order of ``VersionsView.deciders``."""

    metric: str
    of: str
    unit: str
    group: str
    late: bool
    bound: str
    held: str | None
    href: str
    estimates: tuple[Estimate, ...]


class VersionsView(msgspec.Struct, frozen=True):
    """The page; ``cut`` says that only the newest decisions of the time were measured, from ``span.since_us`` on."""

    now_us: int
    slice: str
    slices: tuple[str, ...]
    span: Span
    total: int
    cut: bool
    waiting: int
    labels_to_us: int
    deciders: tuple[Decider, ...]
    measures: tuple[Measure, ...]


def versions_view(visit: Visit, params: VersionsParams) -> VersionsView:
    """Metrics by who decided. Raises ``UsageError`` or ``NotFound``."""
    from andon.store.browse import kth_newest
    from andon.store.view import outcomes

    charter, workspace = visit.project.charter, visit.project.workspace
    plan = Measured.of(charter)
    cohort, span = a_slice(params.slice, plan), span_of(visit, plan, params.windows, params.since, params.until)
    oldest = kth_newest(workspace, MOST_ROWS, span.until_us)
    cut = oldest is not None and oldest > span.since_us
    if oldest is not None and cut:
        span = msgspec.structs.replace(span, since_us=oldest)
    rows = outcomes(workspace, span.since_us, span.until_us, truth=plan.truth)
    if cohort:
        rows = _limited(plan.slices[cohort], rows)
    parts = dict(_parts(rows))
    return VersionsView(
        now_us=visit.now_us,
        slice=cohort,
        slices=tuple(plan.slices),
        span=span,
        total=rows.height,
        cut=cut,
        waiting=int((rows["status"] == "pending").sum()) if rows.height else 0,
        labels_to_us=visit.now_us - plan.delay_us,
        deciders=tuple(_decider(key, part, span) for key, part in parts.items()),
        measures=tuple(_measures(charter, plan, parts)),
    )


Key = tuple[str, str]


def _parts(rows: pl.DataFrame) -> Iterator[tuple[Key, pl.DataFrame]]:
    """Each version by when it first decided, then people, then the others."""
    import polars as pl

    made = rows.filter(pl.col("status") == "decided")
    mine = made.filter(pl.col("decided_by") == "model")
    for version in mine["version"].drop_nulls().unique(maintain_order=True):
        yield ("model", version), mine.filter(pl.col("version") == version)
    for kind in ("person", "safe_default", "client"):
        part = made.filter(pl.col("decided_by") == kind)
        if part.height:
            yield (kind, ""), part


def _decider(key: Key, part: pl.DataFrame, span: Span) -> Decider:
    kind, version = key
    times = {"since": typed(span.since_us), "until": typed(span.until_us)}
    return Decider(
        name=version if kind == "model" else _WORDS[kind],
        kind=kind,
        tone=_TONES.get(kind, "idle"),
        version=version,
        n=part.height,
        labelled=part["label"].count(),
        first_us=int(part["time_us"][0]),
        last_us=int(part["time_us"][-1]),
        href=link("/decisions", by=kind, version=version, **times),
    )


def _measures(charter: Charter, plan: Measured, parts: Mapping[Key, pl.DataFrame]) -> Iterator[Measure]:
    """Metrics that tell deciders apart: how right they are, then the rest."""
    names = sorted(charter.metrics, key=lambda name: group_of(plan.metrics[name]) != "performance")
    for name in names:
        metric, spec = plan.metrics[name], charter.metrics[name]
        limit = plan.where.get(name)
        held = spec.goal if spec.goal is not None else spec.alarm
        estimates = tuple(metric.measure(part if limit is None else _limited(limit, part)) for part in parts.values())
        unit = next((unit_shown(metric.unit, one) for one in estimates if one.defined), metric.unit)
        yield Measure(
            metric=name,
            of=metric.name + (f" where {spec.where}" if spec.where else ""),
            unit=unit,
            group=group_of(metric),
            late=is_late(metric),
            bound=bound_words(held, unit),
            held=str(held) if held not in (None, "reference") else None,
            href=link("/watch/metrics", name),
            estimates=estimates,
        )


def _limited(limit: Slice, part: pl.DataFrame) -> pl.DataFrame:
    return limit.filter(part) if limit.columns.issubset(part.columns) else part.clear()


PAGES = (
    Page(
        "watch.versions", "/watch/versions", "Versions", "watch", versions_view, VersionsParams, VersionsView,
        "watch_versions.html", live=("windows",),
    ),
)  # fmt: skip
