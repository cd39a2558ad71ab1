"""How ``andon deploy compare`` shows a shadow beside people or the live model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from andon.surface.cli.output import console

if TYPE_CHECKING:
    from rich.table import Table

    from andon.deploy.paired import Comparison
    from andon.deploy.raters import Raters

__all__ = ["show_comparison"]


def show_comparison(found: Comparison) -> None:
    """The sentence, the figures, and which answers met which."""
    from rich.table import Table
    from rich.text import Text

    console.print(found.sentence + ".", markup=False)
    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_row("agreement", Text(str(found.agreement)))
    table.add_row("they differ in", Text(f"{found.discordant} cases"))
    table.add_row("outcomes known", Text(str(found.outcomes)))
    table.add_row(f"error of {found.version}", Text(str(found.model_error)))
    table.add_row(f"error of {found.against}", Text(str(found.other_error)))
    table.add_row("difference", Text(str(found.difference)))
    if found.outcomes:
        table.add_row(f"only {found.version} right", Text(str(found.only_model_right)))
        table.add_row(f"only {found.against} right", Text(str(found.only_other_right)))
        table.add_row("verdict", Text(found.verdict))
    if found.raters is not None:
        _add_raters(table, found.version, found.raters)
    console.print(table)
    if found.matrix:
        console.print(_matrix(found))


def _add_raters(table: Table, version: str, found: Raters) -> None:
    from rich.text import Text

    table.add_row("decided by two", Text(f"{found.doubles} cases, blindly both times; {found.settled} settled"))
    if found.doubles:
        table.add_row("people err in", Text(str(found.people_error)))
        table.add_row(f"{version} errs in", Text(f"{found.model_error}; by settled cases {found.settled_error}"))
        table.add_row("as if independent", Text(str(found.difference)))
        table.add_row("alone", Text(f"{version} {found.alone_model}, one of two people {found.alone_person}"))
    table.add_row("by double review", Text(found.verdict))


def _matrix(found: Comparison) -> Table:
    from rich.table import Table
    from rich.text import Text

    others = sorted({other for row in found.matrix.values() for other in row})
    table = Table(f"{found.version} \\ {found.against}", *others, box=None, pad_edge=False, header_style="dim")
    for model, row in found.matrix.items():
        cells = [Text(str(row.get(other, 0)), style="bold" if other == model else "") for other in others]
        table.add_row(Text(model or "(no answer)"), *cells)
    return table
