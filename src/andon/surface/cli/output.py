"""How every command speaks: results on stdout (JSON with ``--json``), messages on stderr, one exit code each."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from contextvars import ContextVar
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import msgspec
import typer
from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.segment import Segment

from andon.errors import UsageError

if TYPE_CHECKING:
    from andon.deploy.load import Check

__all__ = [
    "ActorOption",
    "JsonFlag",
    "ProjectOption",
    "ReasonOption",
    "checked",
    "console",
    "emit",
    "note",
    "one_line",
    "person",
    "results_only",
]

NAME_MAX = 200
REASON_MAX = 2_000


def person(name: str | None) -> str | None:
    """A person's name as it may stand in the journal; raises ``UsageError`` for what is none.

    >>> person("Ana")
    'Ana'
    """
    if name is not None and not (0 < len(name) <= NAME_MAX and name.isprintable() and name.strip()):
        raise UsageError(f"a person's name: expected 1 to {NAME_MAX} printable characters, found {_brief(name)}")
    return name


def _reason(text: str) -> str:
    if len(text) > REASON_MAX:
        raise UsageError(f"a reason: expected at most {REASON_MAX} characters, found {len(text)}")
    return text


def _brief(text: str) -> str:
    return f"{text[:40]!r}... ({len(text)} characters)" if len(text) > 40 else f"{text!r}"


JsonFlag = Annotated[bool, typer.Option("--json", help="Machine output on stdout, messages on stderr.")]
ProjectOption = Annotated[
    str | None,
    typer.Option("--project", "-C", help="The project's folder; the current one or its parents if not given."),
]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it is kept in the journal.", callback=_reason)]
ActorOption = Annotated[
    str | None, typer.Option("--actor", help="Who does this; your user name if not given.", callback=person)
]

#: What would move the cursor, colour the screen or turn the reading direction around: nobody's data may do that.
_UNSEEN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


class _Harmless(RenderHook):
    """Shows data of others as text and nothing else: what steers a terminal becomes a �; ``--json`` has it as it is."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Wrap what is printed."""
        return [_Shown(renderable) for renderable in renderables]


class _Shown:
    def __init__(self, inner: ConsoleRenderable) -> None:
        self.inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield from self._segments(console, options)

    def _segments(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        for segment in console.render(self.inner, options):
            if segment.control or not _UNSEEN.search(segment.text):
                yield segment
            else:
                yield Segment(_UNSEEN.sub("\ufffd", segment.text), segment.style)


_RESULTS: ContextVar[TextIO | None] = ContextVar("results", default=None)

console = Console(highlight=False, soft_wrap=True)
_messages = Console(stderr=True, highlight=False, soft_wrap=True)
for _one in (console, _messages):
    _one.push_render_hook(_Harmless())


def one_line(text: str) -> str:
    """A text of others as part of a sentence on one line.

    >>> one_line("two\\nlines, \\x1b[31mred")
    'two lines, �[31mred'
    """
    return _UNSEEN.sub("\ufffd", " ".join(text.splitlines()))


@contextmanager
def results_only() -> Iterator[None]:
    """Within it stdout is for ``emit`` alone: what anybody else prints there, as a project's own code may, is a message."""
    token = _RESULTS.set(sys.stdout)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _RESULTS.reset(token)


def emit(value: Any) -> None:
    """Print a result as one JSON document on stdout: in UTF-8, whatever the terminal speaks, as JSON is."""
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2), file=_RESULTS.get())


def checked(checks: Iterable[Check]) -> None:
    """Print each check on a line, with a mark for its verdict."""
    from andon.core.verdict import Verdict

    marks = {Verdict.PASS: "[green]✓[/]", Verdict.FAIL: "[red]✗[/]"}
    for check in checks:
        console.print(f"{marks.get(check.verdict, '[yellow]?[/]')} ", end="")
        console.print(check.sentence, markup=False)


def note(message: str) -> None:
    """A message for the person at the terminal, on stderr."""
    _messages.print(message, markup=False)
