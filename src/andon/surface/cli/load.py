"""``andon load``: what the line does under the charter's load."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from andon.surface.cli.output import ActorOption, JsonFlag, ProjectOption, checked, console, emit, note

if TYPE_CHECKING:
    from collections.abc import Callable

    from andon.deploy.load import Load
    from andon.surface.load import Done, Wish

__all__ = ["register"]

_Url = Annotated[str | None, typer.Argument(help="The gateway's address; the running line's if not given.")]
_Qps = Annotated[float | None, typer.Option("--qps", help="Requests per second; the charter's if not given.")]
_Requests = Annotated[
    Path | None,
    typer.Option("--requests", help="JSON lines with `x` (and `unit`, `tags`); the release's test rows if not given."),
]
_Token = Annotated[str | None, typer.Option("--token", help="A client's token; else the variable ANDON_TOKEN.")]
_Seconds = Annotated[float, typer.Option("--seconds", help="How long.")]
_Connections = Annotated[int, typer.Option("--connections", help="Keep-alive connections to send over.")]
_Seed = Annotated[int, typer.Option("--seed", min=0, help="Of the Poisson stream.")]
_Tagged = Annotated[bool, typer.Option("--tag/--no-tag", help="Tag the requests; their ids tell them apart anyway.")]
_Closed = Annotated[bool, typer.Option("--closed", help="Ask again as soon as answered, without a schedule.")]
_Limit = Annotated[bool, typer.Option("--find-limit", help="Then raise the rate stepwise until the goal breaks.")]
_Even = Annotated[bool, typer.Option("--even", help="Space requests evenly instead of as a Poisson stream.")]
_People = Annotated[bool, typer.Option("--to-people", help="Go on even where cases of this load come to people.")]
_Elsewhere = Annotated[bool, typer.Option("--yes-elsewhere", help="Go on although the address is another machine.")]


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command("load")(Drive)


@dataclass(frozen=True)
class Drive:
    """Send requests by a schedule fixed beforehand, at the charter's rate, and hold the answers against its goal."""

    url: _Url = None
    qps: _Qps = None
    seconds: _Seconds = 30.0
    connections: _Connections = 32
    requests: _Requests = None
    token: _Token = None
    closed: _Closed = False
    find_limit: _Limit = False
    even: _Even = False
    seed: _Seed = 0
    tagged: _Tagged = True
    to_people: _People = False
    yes_elsewhere: _Elsewhere = False
    actor: ActorOption = None
    project: ProjectOption = None
    as_json: JsonFlag = False

    def __post_init__(self) -> None:
        """Run it: the fields are the words on the command line."""
        from msgspec import to_builtins

        from andon.config import open_project
        from andon.surface.load import drive

        done = drive(open_project(self.project), self._wish(), _progress(), None if self.as_json else note)
        if self.as_json:
            found = to_builtins(done.load)
            found.pop("grid", None)  # for forecasts; it is kept with the run
            emit({"name": done.name, "verdict": done.load.verdict.value, **found, "notes": list(done.notes)})
        else:
            _show(done)
        raise typer.Exit(done.load.verdict.exit_code)

    def _wish(self) -> Wish:
        from andon.deploy.line import user_name
        from andon.surface.load import Wish

        return Wish(
            url=self.url,
            qps=self.qps,
            seconds=self.seconds,
            connections=self.connections,
            requests=self.requests,
            token=self.token,
            closed=self.closed,
            find_limit=self.find_limit,
            spacing="even" if self.even else "poisson",
            seed=self.seed,
            tagged=self.tagged,
            elsewhere=self.yes_elsewhere,
            to_people=self.to_people,
            actor=self.actor or user_name(),
        )


def _progress() -> Callable[[float, int, int], None] | None:
    """Say on a terminal how far it is, on one line."""
    if not sys.stderr.isatty():
        return None

    def tell(now: float, sent: int, answered: int) -> None:
        sys.stderr.write(f"\r{now:5.1f} s  {sent:,} sent, {sent - answered:,} not answered yet   \r")
        sys.stderr.flush()

    return tell


def _show(done: Done) -> None:
    from rich.table import Table

    load = done.load
    table = Table("", "ms", "95 % interval", box=None, pad_edge=False)
    for name, one in load.lateness.items():
        ends = [f"{end:,.3g}" if end is not None else "open" for end in (one.low, one.high)]
        known = f"{one.value:,.3g}" if one.value is not None else str(one.reason)
        table.add_row(name.replace("_", "."), known, f"{ends[0]} to {ends[1]}" if one.value is not None else "")
    table.add_row("max", f"{load.max_ms:,.3g}" if load.max_ms is not None else "-", "")
    console.print(table)
    checked(load.checks)
    for sentence in _facts(load):
        console.print(f"  {sentence}", markup=False)
    kept = f"kept as {done.name}" if done.name else "not kept"
    console.print(f"{load.verdict.value} ({kept})", markup=False)
    for sentence in done.notes:
        note(sentence)


def _facts(load: Load) -> list[str]:
    said = []
    if load.cpu_ms_per_request is not None:
        others = ", ".join(f"{kind} {seconds:.2g} s" for kind, seconds in load.cpu.items() if kind != "worker")
        said.append(
            f"the gateway's processors: {load.cpu_ms_per_request:.3g} ms a request{f'; {others}' if others else ''}"
        )
    if load.waited > 0.01:
        said.append(f"{100 * load.waited:.2g} % waited for a free connection (counted as latency); see --connections")
    if load.reopened:
        said.append(f"{load.reopened:,} connections were closed or broke, and were opened again")
    if load.limit:
        said.append(f"the limit: {load.limit['sentence']}")
    if load.busy > load.cores:
        said.append(
            f"load average {load.busy:.1f} on {load.cores} cores: other programs ran, so these figures count little"
        )
    return said
