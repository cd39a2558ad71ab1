"""The command ``automate``: how much the model decides by itself, slice by slice, and what evidence says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from andon.errors import NotFound, UsageError
from andon.surface.cli.output import ActorOption, JsonFlag, ProjectOption, ReasonOption, console, emit, note

if TYPE_CHECKING:
    from andon.core.record import Route
    from andon.deploy.ladder import Capacity, Rung
    from andon.measure.estimate import Estimate
    from andon.scope.charter import Charter

__all__ = ["automate"]

#: How a suggestion looks.
_STYLES = {"demote": "bold red", "promote": "green", "stay": ""}


def automate(
    level: Annotated[
        str | None,
        typer.Argument(help="human, shadow, assist, partial or full; if not given, what evidence says of each slice."),
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
    """Set how much the model decides by itself; without a level, show what evidence says of each slice and what is missing."""
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
    from andon.surface.view.deploy_dial_words import error_is

    opened = open_project(project)
    found = rungs(opened.workspace, opened.charter)
    if slice is not None:
        named = [rung.slice for rung in found.rungs]
        if slice not in named:
            raise NotFound(
                f"no slice with a level of its own is called {slice!r}; there are: {', '.join(named) or 'none'}"
            )
        found = msgspec.structs.replace(found, rungs=tuple(rung for rung in found.rungs if rung.slice == slice))
    automation, route = opened.charter.automation, opened.workspace.routes.current()
    if as_json:
        body: dict[str, Any] = msgspec.to_builtins(found)
        truth = {"truth": opened.charter.target.truth, "error_is": error_is(opened.charter)}
        more = {"promote": automation.promote, "highest": automation.highest, "path": list(automation.path)}
        emit({**body, "rungs": [_told(rung, opened.charter, route) for rung in found.rungs], **more, **truth})
    elif not found.rungs or route is None:
        console.print("Nothing has been deployed yet. Begin with: andon deploy shadow VERSION", markup=False)
    else:
        _print(found.rungs, opened.charter, route)


def _told(rung: Rung, charter: Charter, route: Route | None) -> dict[str, Any]:
    """A rung as JSON, with the sentences that the board's page says of it."""
    from andon.surface.view import deploy_dial_words as words

    body: dict[str, Any] = msgspec.to_builtins(rung)
    if route is None:
        return body
    said = {"now": words.now_does(rung, route), "automatic_answers": words.automatic(rung, charter, route)}
    return {**body, **said, "missing": words.missing(rung, charter, route)}


def _print(found: tuple[Rung, ...], charter: Charter, route: Route) -> None:
    """The table and its sentences; where people are the truth, an error is an answer that differs from theirs."""
    from rich.table import Table
    from rich.text import Text

    from andon.surface.view.deploy_dial_words import automatic, missing

    people = charter.target.truth == "human"
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
            Text(_would(rung) or automatic(rung, charter, route)),
            Text(_work(rung.capacity)),
            Text("-" if rung.human_error is None else _percent(rung.human_error)),
            Text("-" if rung.model_error is None else _percent(rung.model_error)),
        )
    console.print(table)
    for rung in found:
        note(f"{_named(rung.slice)}: {rung.reason}")
        told = missing(rung, charter, route).replace("`", "")
        note(f"{_named(rung.slice)}: {told}{_by_hand(rung)}")


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


def _would(rung: Rung) -> str:
    """What would be automatic at the next level; empty where no threshold was learnt for it."""
    if rung.threshold is None or rung.level == "partial":
        return ""
    share = "" if rung.coverage is None else f", {rung.coverage * 100:.3g} %"
    return f"would be from {rung.threshold:.4g} on{share}"


def _work(room: Capacity) -> str:
    if room.deferral is None:
        return "no cases yet"
    allowed = "" if room.allowed is None else f" of {room.allowed * 100:.3g} % allowed"
    return f"{room.deferral * 100:.3g} %{allowed}, {room.arrivals:.3g} cases an hour"


def _by_hand(rung: Rung) -> str:
    """The command with which a person does what is offered."""
    if rung.kind != "promote" or rung.automatic:
        return ""
    where = "" if rung.slice == "*" else f" --slice {rung.slice}"
    return f" Do it with: andon automate {rung.to}{where}"
