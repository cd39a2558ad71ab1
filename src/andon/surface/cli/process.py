"""The processes of a line, as ``andon up`` starts them; not meant to be called by hand."""

from __future__ import annotations

from typing import Annotated

import typer

__all__ = ["register"]

_Project = Annotated[str, typer.Option("--project")]
_ParentFd = Annotated[int, typer.Option("--parent-fd")]
_Workers = Annotated[int, typer.Option("--workers")]


def register(app: typer.Typer) -> None:
    """Add the hidden group."""
    group = typer.Typer(help="The processes of a line (started by `andon up`).", no_args_is_help=True)
    group.command()(worker)
    group.command()(controller)
    group.command()(shadow)
    group.command()(board)
    app.add_typer(group, name="process", hidden=True)


def worker(
    project: _Project,
    parent_fd: _ParentFd,
    workers: _Workers,
    index: Annotated[int, typer.Option("--index")],
    door: Annotated[str, typer.Option("--door")],
) -> None:
    """One gateway worker."""
    from andon.surface.line import run_worker_process

    run_worker_process(project, index=index, workers=workers, door=door, parent_fd=parent_fd)


def controller(
    project: _Project, parent_fd: _ParentFd, ship_seconds: Annotated[float, typer.Option("--ship-seconds")]
) -> None:
    """The controller."""
    from andon.surface.line import run_controller_process

    run_controller_process(project, ship_seconds=ship_seconds, parent_fd=parent_fd)


def shadow(project: _Project, parent_fd: _ParentFd) -> None:
    """The shadow."""
    from andon.surface.line import run_shadow_process

    run_shadow_process(project, parent_fd=parent_fd)


def board(
    project: _Project,
    parent_fd: _ParentFd,
    host: Annotated[str, typer.Option("--host")],
    port: Annotated[int, typer.Option("--port")],
) -> None:
    """The board."""
    from andon.surface.line import run_board_process

    run_board_process(project, host=host, port=port, parent_fd=parent_fd)
