"""``andon doctor``: is everything sound that the line stands on?"""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated

import typer

from andon.core.verdict import Verdict
from andon.surface.cli.output import ActorOption, JsonFlag, ProjectOption, ReasonOption, console, emit, note

if TYPE_CHECKING:
    from andon.surface.doctor import Health

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    project: ProjectOption = None,
    log: Annotated[
        bool, typer.Option("--log", help="Also compare the logs and the inbox row by row, by id; takes longest.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Only what takes a moment: nothing is read through.")] = False,
    confirm_clock: Annotated[
        bool,
        typer.Option("--confirm-clock", help="First say that the machine's clock is right, where it is not believed."),
    ] = False,
    actor: ActorOption = None,
    reason: ReasonOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Check files, database, journal, clock, disk, logs, workers and bundles; changes nothing, also beside a running line."""
    from andon.surface.doctor import examine

    if confirm_clock:
        _confirm(project, actor or getpass.getuser(), reason)
    found = examine(project, deep=not quick, log=log)
    if as_json:
        emit(found)
    else:
        _show(found)
    raise typer.Exit((Verdict.PASS if found.sound else Verdict.FAIL).exit_code)


def _confirm(project: str | None, actor: str, reason: str) -> None:
    from andon.config import open_workspace
    from andon.monitor.believed import confirm

    workspace = open_workspace(project)
    try:
        note(confirm(workspace, actor, reason))
    finally:
        workspace.close()


def _show(found: Health) -> None:
    from rich.text import Text

    from andon.surface.status_view import SHAPES

    wide = max(len(one.name) for one in found.checks)
    for one in found.checks:
        shape, style = SHAPES[one.state]
        line = Text.assemble((f"{shape} {one.state:<4}", style), f"  {one.name:<{wide}}  {one.sentence}")
        console.print(line)
        if one.next:
            console.print(f"{'':<{wide + 10}}→ {one.next}", markup=False)
    console.print(f"{found.sentence} ({found.seconds:.2g} s)", markup=False)
