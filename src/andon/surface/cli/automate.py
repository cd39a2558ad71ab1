"""The command ``automate``: how much the model decides by itself, slice by slice, and what it has earned."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from andon.errors import NotFound, UsageError
from andon.surface.cli.output import ActorOption, JsonFlag, ProjectOption, ReasonOption, console, emit, note

if TYPE_CHECKING:
    from andon.deploy.ladder import Capacity, Rung
    from andon.measure.estimate import Estimate

__all__ = ["automate"]

#: How a suggestion looks.
_STYLES = {"demote": "bold red", "promote": "green", "stay": ""}


def automate(
    level: Annotated[
        str | None,
        typer.Argument(help="human, shadow, assist, partial or full; if not given, what each slice has earned."),
    ] = None,
    slice: Annotated[
        str | None,
        typer.Option("--slice", help="A slice of the charter; everything that no slice matches if not given."),
    ] = None,
    project: ProjectOption = None,
    actor: ActorOption = None,
    reason: ReasonOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Set how much the model decides by itself; without a level, show what each slice has earned and what is missing."""
    if level is None:
        if actor is not None or reason:
            raise UsageError("nothing changes without a level, so there is no --actor and no --reason; name a level")
        _show(project, slice, as_json)
        return
    from andon.config import open_project
    from andon.deploy.line import Line
    from andon.surface.cli.deploy import report

    opened = open_project(project)
    act = Line(opened.workspace, opened.charter).automate(level, slice or "*", actor=actor, reason=reason)
    report(act, as_json)


def _show(project: str | None, slice: str | None, as_json: bool) -> None:
    from andon.config import open_project
    from andon.deploy.ladder_evidence import rungs

    opened = open_project(project)
    found = rungs(opened.workspace, opened.charter)
    if slice is not None:
        named = [rung.slice for rung in found.rungs]
        if slice not in named:
            raise NotFound(
                f"no slice with a level of its own is called {slice!r}; there are: {', '.join(named) or 'none'}"
            )
        found = msgspec.structs.replace(found, rungs=tuple(rung for rung in found.rungs if rung.slice == slice))
    automation = opened.charter.automation
    if as_json:
        body: dict[str, Any] = msgspec.to_builtins(found)
        emit({**body, "promote": automation.promote, "highest": automation.highest, "path": list(automation.path)})
    elif not found.rungs:
        console.print("Nothing has been deployed yet. Begin with: andon deploy shadow VERSION", markup=False)
    else:
        _print(found.rungs, opened.charter.target.truth == "human")


def _print(found: tuple[Rung, ...], people: bool) -> None:
    """The table and its sentences; where ``people`` are the truth, an error is an answer that differs from theirs."""
    from rich.table import Table
    from rich.text import Text

    table = Table(
        "slice", "level", "next", "automatic that differ from people" if people else "wrong of the automatic", "automatic", "for people", "people err", "model errs",
        box=None, pad_edge=False, header_style="dim",
    )  # fmt: skip
    for rung in found:
        table.add_row(
            Text(_named(rung.slice)),
            Text(rung.level, style="cyan"),
            Text(rung.to or "-", style=_STYLES[rung.kind]),
            Text(_audit(rung)),
            Text(_automatic(rung)),
            Text(_work(rung.capacity)),
            Text("-" if rung.human_error is None else _percent(rung.human_error)),
            Text("-" if rung.model_error is None else _percent(rung.model_error)),
        )
    console.print(table)
    for rung in found:
        note(f"{_named(rung.slice)}: {rung.reason}")
        if missing := _missing(rung):
            note(f"{_named(rung.slice)}: {missing}")


def _named(slice: str) -> str:
    return "all others" if slice == "*" else slice


def _percent(found: Estimate) -> str:
    """An error rate for a narrow column.

    >>> from andon.measure.estimate import undefined, wilson
    >>> _percent(wilson(3, 200)), _percent(undefined("nothing yet"))
    ('1.5 % (0.511 to 4.32)', '-')
    """
    if found.value is None or found.low is None or found.high is None:
        return "-"
    return f"{found.value * 100:.3g} % ({found.low * 100:.3g} to {found.high * 100:.3g})"


def _audit(rung: Rung) -> str:
    if not rung.drawn:
        return "-"
    known = f"{rung.error.n if rung.kind != 'demote' else 'the last ' + str(rung.error.n)} of {rung.drawn} audited"
    return f"{_percent(rung.error)}, at most {rung.max_error * 100:.3g} %; {known}"


def _automatic(rung: Rung) -> str:
    if rung.level == "full" and rung.kind != "demote":
        return "every answer"
    if rung.threshold is None:
        return "none"
    share = "" if rung.coverage is None else f", {rung.coverage * 100:.3g} %"
    would = "" if rung.level == "partial" and rung.kind == "stay" else "would be "
    return f"{would}from {rung.threshold:.4g} on{share}"


def _work(room: Capacity) -> str:
    if room.deferral is None:
        return "no cases yet"
    allowed = "" if room.allowed is None else f" of {room.allowed * 100:.3g} % allowed"
    return f"{room.deferral * 100:.3g} %{allowed}, {room.arrivals:.3g} cases an hour"


def _missing(rung: Rung) -> str:
    """What the next level waits for."""
    if rung.kind == "promote":
        by = "the controller does it with its next look" if rung.automatic else rung.held
        where = "" if rung.slice == "*" else f" --slice {rung.slice}"
        return f"{rung.to} is earned: {by}" + (
            "" if rung.automatic else f"; do it with: andon automate {rung.to}{where}"
        )
    if rung.kind == "demote":
        return f"the controller lowers it to {rung.to} with its next look (andon up)"
    if rung.labels_needed is None:
        return ""
    pace = "" if rung.eta_hours is None else f", in about {rung.eta_hours:.3g} hours at today's pace"
    return f"{rung.labels:,} of about {rung.labels_needed:,} labels are there{pace}"
