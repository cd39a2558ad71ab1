"""Commands that change who answers: the group ``deploy``, and ``automate``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import typer

from andon.core.clock import iso
from andon.errors import UsageError
from andon.surface.cli.automate import automate
from andon.surface.cli.output import ActorOption, JsonFlag, ProjectOption, ReasonOption, console, emit, note
from andon.surface.cli.replay import Replay
from andon.surface.cli.simulate import Simulate

if TYPE_CHECKING:
    from andon.core.record import Route
    from andon.deploy.line import Act, Line

__all__ = ["register", "report"]

_VERSION = Annotated[str, typer.Argument(help="A release, such as v2.")]
_SHARE = Annotated[float | None, typer.Argument(help="Share of the units, above 0 and at most 1.")]
_SHARE_OPTION = Annotated[float | None, typer.Option("--share", help="The same, by name.")]

#: How an action looks in the history.
_STYLES = {"stop": "bold red", "rollback": "yellow", "cool": "yellow", "switch": "bold green", "automate": "cyan"}


def register(app: typer.Typer) -> None:
    """Add the group ``deploy`` and the command ``automate``."""
    group = typer.Typer(help="Let a release act: shadow, canary, blue/green, and the way back.", no_args_is_help=True)
    group.command("shadow")(shadow)
    group.command("canary")(Canary)
    group.command("ramp")(ramp)
    group.command("blue-green")(BlueGreen)
    group.command("switch")(switch)
    group.command("hold")(hold)
    group.command("resume")(resume)
    group.command("freeze")(freeze)
    group.command("explain")(explain)
    group.command("rollback")(rollback)
    group.command("status")(status)
    group.command("history")(history)
    group.command("compare")(compare)
    group.command("replay")(Replay)
    group.command("simulate")(Simulate)
    app.add_typer(group, name="deploy")
    app.command()(automate)


def shadow(
    version: _VERSION,
    remove: Annotated[bool, typer.Option("--remove", help="End the shadow instead.")] = False,
    project: ProjectOption = None,
    actor: ActorOption = None,
    reason: ReasonOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Let a release predict beside whoever answers, unseen."""
    line = _line(project)
    report((line.unshadow if remove else line.shadow)(version, actor=actor, reason=reason), as_json)


@dataclass(frozen=True)
class Canary:
    """Send a small share of the units (the charter's start_share if not given) to a release; the rest stay."""

    version: _VERSION
    share: _SHARE = None
    share_named: _SHARE_OPTION = None
    auto: Annotated[
        bool, typer.Option("--auto", help="The whole rollout by itself, by evidence: shadow, canary, all, or back.")
    ] = False
    project: ProjectOption = None
    actor: ActorOption = None
    reason: ReasonOption = ""
    as_json: JsonFlag = False

    def __post_init__(self) -> None:
        """Run it: the fields are the words on the command line."""
        part = self.share if self.share_named is None else self.share_named
        if self.auto:
            from andon.surface.cli.rollout import begin

            if part is not None:
                raise UsageError(
                    "an automatic rollout begins with the charter's rollout.start_share and finds the others itself; "
                    "leave out the share"
                )
            begin(self.version, self.project, self.actor, self.reason, self.as_json)
        else:
            act = _line(self.project).canary(self.version, part, actor=self.actor, reason=self.reason)
            report(act, self.as_json)


def ramp(
    share: _SHARE = None,
    share_named: _SHARE_OPTION = None,
    project: ProjectOption = None,
    actor: ActorOption = None,
    reason: ReasonOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Change the candidate's share; as it grows, units only move forward."""
    part = share if share_named is None else share_named
    if part is None:
        raise UsageError("ramp to which share of the units? For example: andon deploy ramp 0.2")
    report(_line(project).ramp(part, actor=actor, reason=reason), as_json)


@dataclass(frozen=True)
class BlueGreen:
    """Load a release beside the live one, without traffic; then `deploy switch` at once, or `deploy ramp` gradually.

    With --auto by evidence: a shadow, then everything but a holdback at once (or by steps), and the rest when it is cleared.
    """

    version: _VERSION
    auto: Annotated[bool, typer.Option("--auto", help="The whole changeover by itself, by evidence, or back.")] = False
    gradual: Annotated[
        bool, typer.Option("--gradual", help="With --auto: in the charter's steps, else 10, 25 and 50 %.")
    ] = False
    steps: Annotated[
        str | None, typer.Option("--steps", help="With --auto: these shares first, as in 0.1,0.5.", show_default=False)
    ] = None
    project: ProjectOption = None
    actor: ActorOption = None
    reason: ReasonOption = ""
    as_json: JsonFlag = False

    def __post_init__(self) -> None:
        """Run it: the fields are the words on the command line."""
        if not self.auto:
            if self.gradual or self.steps is not None:
                raise UsageError("--gradual and --steps are for --auto; by hand the steps are: andon deploy ramp SHARE")
            act = _line(self.project).blue_green(self.version, actor=self.actor, reason=self.reason)
            report(act, self.as_json)
            return
        from andon.config import open_project
        from andon.surface.cli.rollout import begin, steps_of

        of_charter = open_project(self.project).charter.rollout.steps
        steps = steps_of(self.gradual, self.steps, of_charter)
        begin(self.version, self.project, self.actor, self.reason, self.as_json, "blue-green", steps)


def switch(
    version: Annotated[str | None, typer.Argument(help="A release; the candidate if not given.")] = None,
    project: ProjectOption = None,
    actor: ActorOption = None,
    reason: ReasonOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Make the candidate (or the release named) live at once; the old one stays warm."""
    report(_line(project).switch(version, actor=actor, reason=reason), as_json)


def hold(
    project: ProjectOption = None, actor: ActorOption = None, reason: ReasonOption = "", as_json: JsonFlag = False
) -> None:
    """Keep the candidate's share as it is: no ramp or switch until `deploy resume`; a rollback ends it, too."""
    report(_line(project).hold(actor=actor, reason=reason), as_json)


def resume(
    project: ProjectOption = None, actor: ActorOption = None, reason: ReasonOption = "", as_json: JsonFlag = False
) -> None:
    """Let a held rollout go on, or an automatic one that a person froze or that asks for one."""
    from andon.surface.cli.rollout import resumed

    if resumed(project, actor, reason, as_json):
        return
    report(_line(project).resume(actor=actor, reason=reason), as_json)


def freeze(
    project: ProjectOption = None, actor: ActorOption = None, reason: ReasonOption = "", as_json: JsonFlag = False
) -> None:
    """Nothing of the automatic rollout moves by itself any more, not even back, until `deploy resume` or `deploy rollback`."""
    from andon.surface.cli.rollout import frozen

    frozen(project, actor, reason, as_json)


def explain(
    rollout: Annotated[
        str | None, typer.Argument(help="A rollout, such as v2#3; the newest if not given.", show_default=False)
    ] = None,
    project: ProjectOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Why an automatic rollout is where it is, what is missing, when that may come, the evidence, and how it came there."""
    from andon.surface.cli.rollout import explained

    explained(rollout, project, as_json)


def rollback(
    project: ProjectOption = None, actor: ActorOption = None, reason: ReasonOption = "", as_json: JsonFlag = False
) -> None:
    """Go back to what answered before, at once; once more goes back further."""
    report(_line(project).rollback(actor=actor, reason=reason), as_json)


def status(project: ProjectOption = None, as_json: JsonFlag = False) -> None:
    """Who answers now: versions, shares, shadows, levels of automation, workers."""
    from andon.config import open_project
    from andon.monitor.explain import status as status_of

    opened = open_project(project)
    found = status_of(opened.workspace, opened.charter)
    if as_json:
        emit(found)
    elif found["route"] is None:
        console.print("Nothing has been deployed yet. Begin with: andon deploy shadow VERSION", markup=False)
    else:
        _show_status(found)


def history(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="The newest so many.")] = 20,
    project: ProjectOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Who changed the line, when and why; newest first."""
    from andon.config import open_project
    from andon.deploy.chronicle import route_view

    routes = open_project(project).workspace.routes.history(limit)
    if as_json:
        emit({"routes": [route_view(route) for route in routes]})
    elif not routes:
        console.print("Nothing has been deployed yet.", markup=False)
    else:
        _show_history(routes)


def compare(
    version: _VERSION,
    against: Annotated[
        Literal["people", "live"], typer.Option("--against", help="people, or the live model")
    ] = "people",
    project: ProjectOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Compare a shadow with people or the live model on the same cases; agreement, where no outcome is known."""
    from andon.config import open_project
    from andon.deploy.paired import shadow_comparison
    from andon.surface.cli.comparison import show_comparison

    opened = open_project(project)
    found = shadow_comparison(opened.workspace, opened.charter, version, against)
    if as_json:
        emit(found)
    else:
        show_comparison(found)


# ------------------------------------------------------------------------------------------------------ showing


def _line(project: str | None) -> Line:
    from andon.config import open_project
    from andon.deploy.line import Line

    opened = open_project(project)
    return Line(opened.workspace, opened.charter)


def report(act: Act, as_json: bool) -> None:
    """What an action did: the sentence, then what the person should know."""
    from andon.deploy.chronicle import route_view

    if as_json:
        body: dict[str, Any] = msgspec.to_builtins(act)
        emit({**body, "route": route_view(act.route)})
    else:
        console.print(f"{act.sentence} (route {act.epoch}).", markup=False)
    for sentence in act.notes:
        note(sentence)


def _show_status(found: dict[str, Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    route, rollout = found["route"], found["rollout"]
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    if route["stopped"]:
        table.add_row(Text("stopped", style="bold red"), Text(route["sentence"], style="red"))
    table.add_row("live", Text(route["live"] or "people", style="bold green"))
    if rollout is not None and rollout["mode"] == "automatic":
        from andon.surface.cli.rollout import short

        table.add_row("rollout", Text(short(rollout)))
    elif rollout is not None:
        said = (
            f"{rollout['candidate']} with {rollout['share'] * 100:.4g} % of the units, since {iso(rollout['since_us'])}"
        )
        held = "; held until `andon deploy resume`" if rollout["held"] else ""
        by = f"by {rollout['actor']} ({rollout['pattern']}, {rollout['mode']})"
        table.add_row("candidate", Text(f"{said} {by}{held}"))
    for way in found["path"]:
        told = (one["name"] if one["where"] == "later" else f"{one['name']} {one['where']}" for one in way["stages"])
        table.add_row(f"way of {way['what']}", Text(" > ".join(told)))
    table.add_row("shadows", Text(", ".join(route["shadows"]) or "none"))
    table.add_row("warm", Text(", ".join(route["warm"]) or "none"))
    for name, level in route["levels"].items():
        table.add_row("level" if name == "*" else f"  in {name}", Text(_level(route, name, level), style="cyan"))
    table.add_row(
        "route", Text(f"{route['epoch']} by {route['actor']} at {iso(route['time_us'])}: {route['sentence']}")
    )
    table.add_row("workers", Text(_workers(found)))
    for fault in dict.fromkeys(fault for worker in found["workers"] for fault in worker["faults"].values()):
        table.add_row("fault", Text(fault, style="bold red"))
    console.print(table)


def _level(route: dict[str, Any], slice: str, level: str) -> str:
    if level != "partial":
        return level
    found = [
        f"{key.partition('/')[0]} from a confidence of {value:.4g} on"
        for key, value in route["thresholds"].items()
        if key.partition("/")[2] == slice
    ]
    return f"partial: {', '.join(found) or 'nothing is automatic yet'}"


def _workers(found: dict[str, Any]) -> str:
    epoch = found["route"]["epoch"]
    late = [worker["worker"] for worker in found["workers"] if worker["epoch"] < epoch]
    if not found["workers"]:
        return "none has reported; start them with: andon up"
    if late:
        return f"{', '.join(late)} of {len(found['workers'])} not yet on this route"
    return f"{len(found['workers'])}, all on this route"


def _show_history(routes: list[Route]) -> None:
    from rich.table import Table
    from rich.text import Text

    from andon.deploy.chronicle import sentence

    table = Table("route", "when", "who", "what", "why", box=None, pad_edge=False, header_style="dim")
    for route in routes:
        style = _STYLES.get(route.action, "")
        table.add_row(
            str(route.epoch),
            iso(route.time_us).replace("T", " ").removesuffix("Z"),
            Text(route.actor),
            Text(sentence(route), style=style),
            Text(route.reason, style="dim"),
        )
    console.print(table)
