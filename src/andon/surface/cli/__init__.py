"""The command line: one file per lifecycle group of commands, all of them thin.

``main`` turns every ``AndonError`` into its one sentence on stderr (or its JSON with ``--json``) and its exit code.
Groups are imported only when their command is called, so that ``andon --help`` is quick.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module

import msgspec
import typer

from andon.errors import AndonError, CharterError

__all__ = ["build", "main"]

#: Which file registers which commands, in the order of the lifecycle.
GROUPS = ("start", "scope", "data", "model", "deploy", "review", "monitor", "admin", "process")


def build(groups: Sequence[str] = GROUPS) -> typer.Typer:
    """The command tree, whole or of some groups."""
    app = typer.Typer(
        name="andon",
        help="See every station; stop the line; improve; go on.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for group in groups:
        import_module(f"andon.surface.cli.{group}").register(app)
    return app


def main() -> None:
    """Entry point of the ``andon`` command."""
    try:
        # The processes of a line are started often and know what they want: they need not read the other groups.
        build(("process", "scope") if sys.argv[1:2] == ["process"] else GROUPS)()
    except AndonError as error:
        _report(error)
        sys.exit(error.exit_code)


def _report(error: AndonError) -> None:
    if "--json" in sys.argv:
        sys.stdout.write(msgspec.json.encode({"error": error.to_dict()}).decode() + "\n")
    sys.stderr.write(f"andon: {error.message}\n")
    if isinstance(error, CharterError):
        sys.stderr.writelines(f"  {fault}\n" for fault in error.faults)
    if error.hint:
        sys.stderr.write(f"  → {error.hint}\n")
