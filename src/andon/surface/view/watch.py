"""The Watch page: every metric as a small chart with its bound, by what it is about, and what rings above them all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from andon.core.registry import did_you_mean
from andon.errors import NotFound
from andon.monitor.watch import alarms
from andon.monitor.window import Measured
from andon.surface.page import Page
from andon.surface.view.watch_card import GROUPS, Card, Ring, card_of, ring_of, unit_of
from andon.surface.view.watch_span import MOST_WINDOWS, Moment, Span, read, span_of

if TYPE_CHECKING:
    from andon.surface.visit import Visit

__all__ = ["PAGES", "Group", "WatchParams", "WatchView", "a_slice", "watch_view"]

_ABOUT = {
    "input": "What comes in",
    "output": "What goes out",
    "performance": "How right it is",
    "feedback": "What came back",
    "software": "How the service runs",
}

SliceName = Annotated[str, msgspec.Meta(max_length=200, description="A slice of the charter; nothing for everyone.")]
Windows = Annotated[int, msgspec.Meta(ge=1, le=MOST_WINDOWS, description="So many of the last windows.")]


class WatchParams(msgspec.Struct, frozen=True):
    """What to look at: a slice, and the last windows or what lies between two times."""

    slice: SliceName = ""
    windows: Windows = 48
    since: Moment = ""
    until: Moment = ""


class Group(msgspec.Struct, frozen=True):
    """Metrics that are about the same thing: ``name`` is input, output, performance, feedback or software."""

    name: str
    title: str
    cards: tuple[Card, ...]


class WatchView(msgspec.Struct, frozen=True):
    """The page: alarms that are up (the loudest first), then every metric."""

    now_us: int
    slice: str
    slices: tuple[str, ...]
    span: Span
    alarms: tuple[Ring, ...]
    quiet: int
    groups: tuple[Group, ...]

    @property
    def measured(self) -> bool:
        """Whether there is any figure."""
        return any(card.points for group in self.groups for card in group.cards)


def a_slice(name: str, plan: Measured) -> str:
    """The slice itself; raises ``NotFound`` for one that the charter does not have."""
    if name and name not in plan.slices:
        raise NotFound(f"no slice is called {name!r}; {did_you_mean(name, plan.slices)}", field="slice")
    return name


def watch_view(visit: Visit, params: WatchParams) -> WatchView:
    """Every metric over the time asked for. Raises ``UsageError``, ``NotFound`` or ``Unavailable``."""
    charter, now = visit.project.charter, visit.now_us
    plan = Measured.of(charter)
    cohort, span = a_slice(params.slice, plan), span_of(visit, plan, params.windows, params.since, params.until)
    names = [*charter.metrics, *(name for name in plan.metrics if name not in charter.metrics)]
    rows, kept = read(visit, plan, names, [cohort], span), alarms(visit.project.workspace)
    cards = [card_of(name, cohort, charter, plan, rows.get((name, cohort), []), span, (now, kept)) for name in names]
    rung = [ring_of(alarm, unit_of(plan, alarm.metric)) for alarm in kept.values() if alarm.metric in charter.metrics]
    up = sorted(
        (one for one in rung if one.state in ("stop", "look")), key=lambda one: (one.state != "stop", one.since_us)
    )
    return WatchView(
        now_us=now,
        slice=cohort,
        slices=tuple(plan.slices),
        span=span,
        alarms=tuple(up),
        quiet=len(rung) - len(up),
        groups=tuple(
            Group(group, _ABOUT[group], mine)
            for group in GROUPS
            if (mine := tuple(card for card in cards if card.group == group))
        ),
    )


PAGES = (
    Page(
        "watch",
        "/watch",
        "Watch",
        "watch",
        watch_view,
        WatchParams,
        WatchView,
        "watch.html",
        live=("windows", "journal"),
    ),
)
