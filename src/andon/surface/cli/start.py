"""Commands that begin, end and overlook: ``up``, ``status``, ``stop``, ``start``, ``demo``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from andon.surface.cli.output import ActorOption, JsonFlag, ProjectOption, ReasonOption, console, emit, note
from andon.surface.cli.record import with_options

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands of this file."""
    app.command()(with_options(UpOptions, up))
    app.command()(board)
    app.command()(status)
    app.command()(stop)
    app.command()(start)
    app.command()(demo)


@dataclass(frozen=True, slots=True)
class UpOptions:
    """The options of ``andon up``."""

    project: ProjectOption = None
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port; the charter's if not given.")] = None
    workers: Annotated[
        int | None, typer.Option(min=1, max=1024, help="Gateway processes; the charter's if not given.")
    ] = None
    ship_seconds: Annotated[float, typer.Option(min=0.05, help="Commit the decision log every so many seconds.")] = 5.0
    with_board: Annotated[bool, typer.Option("--board/--no-board", help="Serve the board's pages, too.")] = True
    board_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the board; the one after the gateway's if not given.")
    ] = None
    uds: Annotated[Path | None, typer.Option(help="Take requests at a Unix socket of this path, too.")] = None
    tls: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="CERT KEY", help="Speak TLS at the port: a certificate (chain) and its key, PEM files."),
    ] = None


def up(options: UpOptions) -> None:
    """Run the line here: gateway, controller, shadow and board, until Ctrl-C."""
    from andon.config import open_project
    from andon.surface.line import Settings, run

    settings = Settings(
        options.host,
        options.port,
        options.workers,
        options.ship_seconds,
        (options.board_port or 0) if options.with_board else None,
        uds=options.uds,
        tls=options.tls,
    )
    run(open_project(options.project), settings, say=lambda sentence: console.print(sentence, markup=False))


def board(
    project: ProjectOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Port; the charter's if not given.")] = None,
) -> None:
    """Serve the board alone, until Ctrl-C: `andon up` serves it together with the line."""
    from andon.config import open_project
    from andon.surface.board.serve import serve
    from andon.surface.line import Settings, with_board

    opened = open_project(project)
    chosen = with_board(opened, Settings(host, board=port or 0)).board
    assert chosen is not None
    where = f"http://{f'[{host}]' if ':' in host else host}:{chosen}"
    serve(opened, host=host, port=chosen, say=lambda: console.print(f"{opened.charter.project}: {where}", markup=False))


def status(project: ProjectOption = None, as_json: JsonFlag = False) -> None:
    """The five stations: is the line good, who decides, what needs me?"""
    from andon.config import open_project
    from andon.surface.status import line_status, show

    found = line_status(open_project(project))
    if as_json:
        emit(found)
    else:
        show(found, console)


def stop(
    project: ProjectOption = None,
    reason: ReasonOption = "",
    answer: Annotated[
        bool, typer.Option("--safe-default", help="Answer the safe default at once instead of asking people.")
    ] = False,
    actor: ActorOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Stop the line: from now on every decision goes to people, or is the safe default."""
    from andon.config import open_project
    from andon.deploy.line import Line
    from andon.surface.cli.deploy import report

    opened = open_project(project)
    line = Line(opened.workspace, opened.charter)
    report(line.stop(mode="safe_default" if answer else "people", actor=actor, reason=reason), as_json)
    if not as_json:
        note("Start it again with `andon start`.")


def start(
    project: ProjectOption = None, reason: ReasonOption = "", actor: ActorOption = None, as_json: JsonFlag = False
) -> None:
    """Start the line again as it was before it was stopped."""
    from andon.config import open_project
    from andon.deploy.line import Line
    from andon.surface.cli.deploy import report

    opened = open_project(project)
    report(Line(opened.workspace, opened.charter).start(actor=actor, reason=reason), as_json)


def demo(
    story: Annotated[str, typer.Argument(help="screening or inspection")] = "screening",
    folder: Annotated[Path | None, typer.Option(help="Where the story's project is laid out.")] = None,
    port: Annotated[int | None, typer.Option(help="Port; the story's own if not given.")] = None,
    look: Annotated[
        bool, typer.Option("--open/--no-open", help="Open the board in a browser, if there is one.")
    ] = True,
) -> None:
    """Play a story on real data on a fast clock, then leave its line running (without a terminal: end)."""
    from andon.demo.play import play

    play(story, folder or Path.cwd() / "build" / "demo" / story, port, look=look)
