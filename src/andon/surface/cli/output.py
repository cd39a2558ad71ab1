"""How every command speaks: results on stdout (JSON with ``--json``), messages on stderr, one exit code each."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

__all__ = ["ActorOption", "JsonFlag", "ProjectOption", "ReasonOption", "console", "emit", "note"]

JsonFlag = Annotated[bool, typer.Option("--json", help="Machine output on stdout, messages on stderr.")]
ProjectOption = Annotated[
    str | None,
    typer.Option("--project", "-C", help="The project's folder; the current one or its parents if not given."),
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it is kept in the journal.")]
ActorOption = Annotated[str | None, typer.Option("--actor", help="Who does this; your user name if not given.")]

console = Console(highlight=False, soft_wrap=True)
_messages = Console(stderr=True, highlight=False, soft_wrap=True)


def emit(value: Any) -> None:
    """Print a result as one JSON document on stdout: in UTF-8, whatever the terminal speaks, as JSON is."""
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


def note(message: str) -> None:
    """A message for the person at the terminal, on stderr."""
    _messages.print(message, markup=False)
