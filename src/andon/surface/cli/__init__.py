"""The command line: one file per lifecycle group of commands, all of them thin.

``main`` turns whatever goes wrong into one sentence on stderr (with ``--json`` also into a document on stdout) and its
exit code: Andon's own errors, words that no command knows, files that cannot be read or written, and what nobody foresaw.
Groups are imported only when their command is called, so that ``andon --help`` is quick.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from contextlib import nullcontext
from importlib import import_module
from io import TextIOWrapper
from types import TracebackType
from typing import Annotated

import typer
import typer.main

from andon import __version__
from andon.errors import AndonError, CharterError, Unavailable, UsageError
from andon.surface.cli.output import emit, one_line, results_only

__all__ = ["build", "main"]

#: Which file registers which commands, in the order of the lifecycle.
GROUPS = (
    "start",
    "scope",
    "data",
    "model",
    "deploy",
    "predict",
    "review",
    "monitor",
    "load",
    "admin",
    "doctor",
    "process",
)


def build(groups: Sequence[str] = GROUPS) -> typer.Typer:
    """The command tree, whole or of some groups."""
    app = typer.Typer(
        name="andon",
        help="See every station; stop the line; improve; go on.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_whole)
    for group in groups:
        import_module(f"andon.surface.cli.{group}").register(app)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"andon {__version__}\n")
        raise typer.Exit


def _whole(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the release of Andon and end.")
    ] = False,
) -> None:
    """See every station; stop the line; improve; go on."""


def main() -> None:
    """Entry point of the ``andon`` command."""
    # The processes of a line are started often and know what they want: they need not read the other groups.
    process = sys.argv[1:2] == ["process"]
    if not process and not os.environ.get("ANDON_TRACEBACK"):
        sys.excepthook = _unforeseen
    _any_letter()
    try:
        _readable(sys.argv[1:])
        command = typer.main.get_command(build(("process", "scope") if process else GROUPS))
        with results_only() if "--json" in sys.argv else nullcontext():
            code = command.main(standalone_mode=False)
    except AndonError as error:
        _end(error)
    except typer.TyperException as error:
        _end(_wrong_use(error))
    except typer.Abort:
        sys.exit(130)
    except OSError as error:
        if process:
            raise
        _end(_no_file(error))
    sys.exit(code if isinstance(code, int) else 0)


def _any_letter() -> None:
    """A terminal that knows ASCII only shows the other letters as escapes, and no command fails of them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _readable(words: Sequence[str]) -> None:
    """Words that are not UTF-8 would be refused later, by whatever has to write them down."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            raise UsageError(
                f"{word!a} is not UTF-8 text", hint="rename the file, or set the terminal to UTF-8"
            ) from None


def _wrong_use(error: typer.TyperException) -> UsageError:
    """A word, option or value that the command does not know, told like every other error."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":  # the help was printed, and is the answer
        sys.exit(2)
    hint = f"`{context.command_path} --help` shows what it takes" if context is not None else None
    message = error.format_message().rstrip(".")
    return UsageError(f"{message[:1].lower()}{message[1:]}", hint=hint)


def _no_file(error: OSError) -> Unavailable:
    """A file, folder or socket that the machine refuses."""
    where = f"{error.filename}: " if error.filename is not None else ""
    return Unavailable(f"{where}{error.strerror or error}", hint="check the path, its permissions and the space left")


def _end(error: AndonError) -> None:
    _report(error)
    sys.exit(error.exit_code)


def _unforeseen(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """The last resort: a fault of Andon's own is one sentence too, and never the exit code of a gate that said no."""
    last = traceback.extract_tb(trace)[-1:]
    where = "".join(f" (line {frame.lineno} of {frame.filename})" for frame in last)
    fault = AndonError(
        f"a fault of Andon's own: {kind.__name__}: {error}{where}",
        hint="please report it with what ANDON_TRACEBACK=1 shows when the command is run again",
    )
    _report(fault)
    raise SystemExit(fault.exit_code)  # Python ends with the exit code that its hook asks for


def _report(error: AndonError) -> None:
    if "--json" in sys.argv:
        emit({"error": error.to_dict()})
    sys.stderr.write(f"andon: {one_line(error.message)}\n")
    if isinstance(error, CharterError):
        sys.stderr.writelines(f"  {one_line(fault)}\n" for fault in error.faults)
    if error.hint:
        sys.stderr.write(f"  → {one_line(error.hint)}\n")
