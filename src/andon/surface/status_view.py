"""``andon status`` for a terminal: colour, shape and word say the same, so that it reads without any one of them.

From 120 columns on the stations stand side by side, as on the board; below that they are listed.
"""

from __future__ import annotations

import re
from itertools import zip_longest

from rich.box import HEAVY_EDGE
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from andon.core.record import Event
from andon.monitor.overview import spark
from andon.surface.running import Running
from andon.surface.station import State, Station, count, minute
from andon.surface.status import Deciding, LineStatus, Need

__all__ = ["SHAPES", "render"]

#: Shape and colour of each state; the word is the state itself.
SHAPES: dict[State, tuple[str, str]] = {
    "good": ("●", "green"),
    "look": ("▲", "yellow"),
    "stop": ("■", "bold red"),
    "idle": ("○", "dim"),
}
_WIDE = 120
_WIDEST = 180


def render(status: LineStatus, console: Console) -> None:
    """Print the whole status."""
    width = min(console.width, _WIDEST)
    parts: list[RenderableType] = [_heading(status, width), Text()]
    parts.append(_cards(status.stations, width) if width >= _WIDE else _list(status.stations))
    parts += [Text(), *_section("Needs you", _needs(status.needs))]
    parts += [Text(), *_section("Who decides", _deciding(status.deciding))]
    parts += [Text(), *_section("The line", _running(status.running))]
    parts += [Text(), *_section("Journal", _journal(status.journal, status.trouble))]
    console.print(Group(*parts), width=width, soft_wrap=False)


def _heading(status: LineStatus, width: int) -> RenderableType:
    left = Text.assemble((status.project, "bold"), "  ", status.sentence)
    pace = "" if status.rate == 1 else f", {status.rate:,.0f} times as fast" if status.rate else ", standing still"
    right = Text(f"{minute(status.now_us)} UTC{pace}", style="dim", justify="right")
    if len(left) + len(right) + 2 > width:
        return Group(left, Text(right.plain, style="dim"))
    table = Table.grid(expand=True, padding=0)
    table.add_column(ratio=1)
    table.add_column(justify="right")
    table.add_row(left, right)
    return table


def _sign(state: State) -> Text:
    shape, style = SHAPES[state]
    return Text(f"{shape} {state}", style=style)


def _styled(text: str) -> Text:
    """Commands, which stand in backquotes, in bold and without them."""
    made = Text()
    for index, part in enumerate(re.split(r"`([^`]*)`", text)):
        made.append(part, style="bold" if index % 2 else "")
    return made


def _list(stations: tuple[Station, ...]) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    for no_wrap in (True, True, False):
        table.add_column(no_wrap=no_wrap)
    for station in stations:
        headline = Text(station.headline, style="bold")
        if _has_trend(station):
            headline.append(f"  {spark(station.trend)}", style="dim")
        said = Group(headline, Text(station.detail, style="dim"), _arrow(station.next))
        table.add_row(_sign(station.state), Text(station.name), said)
    return table


def _arrow(text: str) -> Text:
    return Text.assemble(("→ ", "dim"), _styled(text))


def _cards(stations: tuple[Station, ...], width: int) -> RenderableType:
    table = Table.grid(expand=True, padding=(0, 1, 0, 0))
    for _ in stations:
        table.add_column(ratio=1)
    inner = width // len(stations) - 5
    heads = [_head(station, inner) for station in stations]
    height = max(_lines(head, inner) for head in heads)
    nexts = [_arrow(station.next) for station in stations]
    foot = max(_lines(one, inner) for one in nexts)
    table.add_row(
        *(
            _card(
                station,
                Group(Padding(head, (0, 0, height - _lines(head, inner), 0)), Text("╌" * inner, style="dim"), next_),
                height + foot + 1,
            )
            for station, head, next_ in zip(stations, heads, nexts, strict=True)
        )
    )
    return table


def _card(station: Station, body: RenderableType, height: int) -> RenderableType:
    _, style = SHAPES[station.state]
    return Panel(
        body, title=Text.assemble((station.name.upper(), "bold"), "  ", _sign(station.state)), title_align="left",
        border_style=style, box=HEAVY_EDGE, height=height + 2, padding=(0, 1),
    )  # fmt: skip


def _head(station: Station, inner: int) -> Text:
    head = Text.assemble((station.headline, "bold"), "\n", (station.detail, "dim"))
    if _has_trend(station):
        head.append(f"\n{spark(station.trend[-inner:])}", style="dim")
    return head


def _has_trend(station: Station) -> bool:
    """One point is no trend."""
    return sum(value is not None for value in station.trend) > 1


def _lines(text: Text, width: int) -> int:
    return len(text.wrap(Console(width=width), width))


def _section(title: str, rows: list[tuple[RenderableType, ...]]) -> list[RenderableType]:
    table = Table.grid(padding=(0, 2, 0, 0))
    for row in zip_longest(*rows):
        table.add_column(no_wrap=all(isinstance(cell, Text) and len(cell) <= 24 for cell in row if cell is not None))
    for row in rows:
        table.add_row(*row)
    return [Text(title, style="bold"), Padding(table, (0, 0, 0, 2))]


def _needs(needs: tuple[Need, ...]) -> list[tuple[RenderableType, ...]]:
    if not needs:
        return [(Text("nothing; the line needs nobody now", style="dim"),)]
    rows: list[tuple[RenderableType, ...]] = []
    for need in needs:
        said = Text.assemble(need.what, "\n" if need.detail else "", (need.detail, "dim"))
        said.append_text(Text.assemble("\n", ("→ ", "dim"), (need.command, "bold")))
        rows.append((_sign(need.state), said))
    return rows


def _deciding(found: Deciding) -> list[tuple[RenderableType, ...]]:
    rows: list[tuple[RenderableType, ...]] = [(Text("now"), Text(found.sentence))]
    if not found.epoch:
        return rows
    for level in found.levels:
        name = "all" if len(found.levels) == 1 else "the rest" if level.slice == "*" else level.slice
        rows.append((Text(name), Text.assemble((level.level, "bold"), ": ", level.sentence)))
    if found.candidate:
        rows.append((Text("candidate"), Text(f"{found.candidate} on {found.share * 100:.3g} % of the units")))
    if found.shadows:
        rows.append((Text("in shadow"), Text(", ".join(found.shadows))))
    why = f": {found.reason}" if found.reason else ""
    rows.append(
        (Text("since"), Text(f"{minute(found.since_us)}, route {found.epoch} by {found.actor}{why}", style="dim"))
    )
    return rows


def _running(found: Running) -> list[tuple[RenderableType, ...]]:
    rows: list[tuple[RenderableType, ...]] = [
        (_sign(found.state), Text.assemble(found.sentence, "\n", _arrow(found.next)))
    ]
    for worker in found.workers:
        for fault in worker.faults:
            rows.append((_sign("look"), Text(f"{worker.worker}: {fault}")))
    for one in found.troubles[1:]:  # the sentence has the first
        rows.append((_sign("look"), Text(f"the controller, since {minute(one.since_us)}: {one.sentence}")))
    if found.shadow_dropped:
        share = found.shadow_dropped / max(1, found.shadow_offered)
        said = f"shadows were too slow for {count(found.shadow_dropped, 'row')} ({share:.1%} of those offered); answers did not wait"
        rows.append((_sign("look"), Text(said)))
    if found.gaps:
        said = f"the log was damaged in {count(found.gaps, 'place')}: {count(found.lost_rows, 'row')} lost, as far as known"
        rows.append((_sign("look"), Text.assemble(said, "\n", _arrow("`andon journal --action log.gap`"))))
    return rows


def _journal(events: tuple[Event, ...], trouble: str | None) -> list[tuple[RenderableType, ...]]:
    if not events:
        return [(Text(trouble or "nothing yet: whatever is done to the line will be here", style="dim"),)]
    return [
        (
            Text(minute(event.time_us), style="dim"),
            Text(event.action),
            Text.assemble(f"{event.subject}, {event.actor}", (f": {event.reason}" if event.reason else "", "dim")),
        )
        for event in events
    ]
