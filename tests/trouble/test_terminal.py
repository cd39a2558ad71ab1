"""What others sent is shown as text: it cannot colour, clear or turn around the terminal of who looks at it."""

from __future__ import annotations

import io

import pytest
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.testing import CliRunner

from andon.errors import UsageError
from andon.surface.cli import output, review, start


def shown(value: str, monkeypatch: pytest.MonkeyPatch) -> str:
    table = Table("case", box=None)
    table.add_row(Text(value))
    target = io.StringIO()
    monkeypatch.setattr(output.console, "_file", target)  # not `file`: reading that fixes today's stdout
    output.console.print(table)
    return target.getvalue()


@pytest.mark.parametrize(
    "hostile", ["\x1b[31mred", "\x1b]0;title\x07", "\x9b2J", "a\rb", "\u202etxt.exe", "\u2066x", "\x00"]
)
def test_nothing_steers_the_terminal(hostile: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(hostile, monkeypatch)
    assert "case" in text and not set(text) & set("\x1b\x07\x9b\r\x00\u202e\u2066")


def test_ordinary_texts_of_any_language_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for text in ("plain", "日本 🏭", "Ἀθῆναι é", "[bold]no markup[/]", "שלום"):
        assert text in shown(text, monkeypatch)


def test_colours_of_our_own_stay() -> None:
    coloured = Console(file=io.StringIO(), force_terminal=True, color_system="standard")
    coloured.push_render_hook(output._Harmless())
    coloured.print(Text("late", style="red"))
    assert "\x1b[31mlate" in coloured.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["", " ", "a\nb", "\u202eana", "x" * (output.NAME_MAX + 1)])
def test_a_name_in_the_journal_is_a_name(name: str) -> None:
    app = typer.Typer()
    review.register(app)
    start.register(app)
    for words in (["review", "decide", "1", "good", "--reviewer", name], ["stop", "--actor", name]):
        error = CliRunner().invoke(app, words).exception
        assert isinstance(error, UsageError) and "printable characters" in error.message
    assert output.person("x" * output.NAME_MAX) and output.person("José 日本") and output.person(None) is None


def test_a_reason_is_no_book() -> None:
    app = typer.Typer()
    review.register(app)
    start.register(app)
    error = CliRunner().invoke(app, ["stop", "--reason", "x" * (output.REASON_MAX + 1)]).exception
    assert isinstance(error, UsageError) and "at most 2000 characters, found 2001" in error.message
