"""Commands for the people who decide: ``review list``, ``take``, ``decide``, ``release``, ``people``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
import typer

from andon.core.clock import MINUTE, SECOND, iso
from andon.surface.cli.output import JsonFlag, ProjectOption, console, emit, note, person

if TYPE_CHECKING:
    from andon.core.record import Item
    from andon.people.inbox import Inbox
    from andon.surface.view.review_people import Reviewers

__all__ = ["register"]

_REVIEWER = Annotated[
    str | None, typer.Option("--reviewer", help="Who reviews; your user name if not given.", callback=person)
]
_ID = Annotated[str, typer.Argument(help="The item's id, as `review list` shows it.")]


def register(app: typer.Typer) -> None:
    """Add the group ``review``."""
    group = typer.Typer(help="The cases that wait for a person.", no_args_is_help=True)
    group.command("list")(list_items)
    group.command("take")(take)
    group.command("decide")(decide)
    group.command("release")(release)
    group.command("people")(people)
    app.add_typer(group, name="review")


def list_items(
    state: Annotated[Literal["open", "taken", "decided", "all"], typer.Option("--state", help="Which ones.")] = "open",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="At most so many.")] = 20,
    project: ProjectOption = None,
    as_json: JsonFlag = False,
) -> None:
    """The queue, in the order to be worked on: the riskiest tenth first, then earliest due; second looks and adjudications last."""
    inbox, now = _open(project)
    items = inbox.queue(limit, None if state == "all" else state)
    if as_json:
        emit({"items": items})
    elif not items:
        console.print("Nothing waits for a person." if state == "open" else f"No items are {state}.", markup=False)
    else:
        _show(items, now)


def take(
    n: Annotated[int, typer.Argument(help="How many cases.")] = 1,
    reviewer: _REVIEWER = None,
    project: ProjectOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Take cases: for some minutes nobody else decides them."""
    inbox, now = _open(project)
    items = inbox.take(_name(reviewer), n)
    if as_json:
        emit({"items": items, "answers": inbox.policy.answers})
        return
    if not items:
        console.print("Nothing waits for a person.", markup=False)
        return
    _show(items, now)
    minutes = inbox.policy.lease_us // MINUTE
    note(f"Yours for {minutes} minutes. Answer with: andon review decide ID {'|'.join(inbox.policy.answers)}")


def decide(
    id: _ID,
    decision: Annotated[str, typer.Argument(help="One of the charter's classes, or its safe default.")],
    reviewer: _REVIEWER = None,
    simulated: Annotated[
        bool, typer.Option("--simulated", help="The reviewer is a program; it is marked wherever it shows.")
    ] = False,
    project: ProjectOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Answer a case; the client is told at once. A second look and an adjudication change nothing for the client."""
    inbox, _ = _open(project)
    item = inbox.decide(id, decision, _name(reviewer), simulated=simulated)
    if as_json:
        emit(item)
        return
    console.print(f"{item.id}: {item.decision}, by {item.reviewer}", markup=False)
    if item.suggestion is not None and item.blind:
        note(f"The model, which you did not see, said {item.suggestion}.")


def release(id: _ID, reviewer: _REVIEWER = None, project: ProjectOption = None, as_json: JsonFlag = False) -> None:
    """Give a case back to the queue."""
    inbox, _ = _open(project)
    item = inbox.release(id, _name(reviewer))
    if as_json:
        emit(item)
    else:
        console.print(f"{item.id} is open again", markup=False)


def people(project: ProjectOption = None, as_json: JsonFlag = False) -> None:
    """The reviewers: how much, how fast, how often two of them agree, err, and follow the model."""
    from andon.config import open_project
    from andon.surface.station import count
    from andon.surface.view.review_people import reviewers_of

    opened = open_project(project)
    found = reviewers_of(opened, opened.clock.now())
    if as_json:
        emit(found)
        return
    team = found.team
    doubles = f"{count(team.n, 'case')} decided by two in {found.days} days, differing in {team.disagreed}"
    open_ = f"{count(found.waiting, 'second look')} and {count(found.to_adjudicate, 'adjudication')} open"
    missed = f"{found.missed} and {found.left} nobody did in time"
    console.print(f"{doubles}, {team.adjudicated} adjudicated; {open_}, {missed}.", markup=False)
    errors = f"One reviewer's error rate: {team.rater_error}; of what two agree on or a third decides: {team.reference_error}."
    console.print(errors, markup=False)
    late = f"Cases that nobody answered by the deadline: {found.timeouts} (on_timeout: {found.on_timeout})"
    console.print(f"{late}; {found.overdue} overdue now; {found.audits_left} audits closed undecided.", markup=False)
    _show_people(found)


def _show_people(found: Reviewers) -> None:
    from rich.table import Table
    from rich.text import Text

    if not found.reviewers:
        console.print(f"Nobody answered a case in the last {found.days} days.", markup=False)
        return
    names = ("who", "answered", "seconds", "agrees with others", "overruled", "errs", "follows the model more, seen")
    table = Table(*names, box=None, pad_edge=False, header_style="dim")
    for one in found.reviewers:
        name = f"{one.reviewer} (simulated)" if one.simulated else one.reviewer
        parts = (one.seconds, one.double.agreement, one.double.overruled, one.double.error, one.bias.difference)
        table.add_row(Text(name), str(one.answered), *(Text(str(part) if part.defined else "–") for part in parts))
    console.print(table)


def _open(project: str | None) -> tuple[Inbox, int]:
    """The inbox and the event time now."""
    from andon.config import open_project
    from andon.deploy.line import open_inbox

    opened = open_project(project)
    return open_inbox(opened.workspace, opened.charter), opened.clock.now()


def _name(reviewer: str | None) -> str:
    from andon.deploy.line import user_name

    return user_name() if reviewer is None else reviewer


def _show(items: list[Item], now_us: int) -> None:
    from rich.table import Column, Table
    from rich.text import Text

    whole = Column("id", min_width=min(40, max(len(item.id) for item in items)))  # it is what the other commands take
    table = Table(whole, "kind", "due", "case", "model says", "state", box=None, pad_edge=False, header_style="dim")
    for item in items:
        late = item.due_us <= now_us and item.state != "decided"
        table.add_row(
            Text(item.id),
            _kind(item),
            Text(_due(item, now_us), style="bold red" if late else ""),
            Text(_case(item.x)),
            Text(_suggestion(item)),
            Text(_state(item)),
        )
    console.print(table)


def _kind(item: Item) -> str:
    name = "second look" if item.kind == "second" else item.kind
    return name if item.slice == "*" else f"{name} ({item.slice})"


def _due(item: Item, now_us: int) -> str:
    if item.state == "decided":
        return iso(item.due_us)
    left = item.due_us - now_us
    return f"in {_span(left)}" if left > 0 else f"{_span(-left)} late"


def _span(time_us: int) -> str:
    seconds = time_us // SECOND
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _case(x: dict[str, Any]) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in x.items())


def _value(value: Any) -> str:
    text = msgspec.json.encode(value).decode() if not isinstance(value, str) else value
    return text if len(text) <= 40 else text[:37] + "..."


def _suggestion(item: Item) -> str:
    if item.between and item.state != "decided":
        said = ", ".join(f"{who}: {what}" for who, what in item.said.items())
        return f"two people differ ({said or ' or '.join(item.between)})"
    if item.suggestion is None:
        return "(blind)" if item.blind and item.state != "decided" else ""
    return item.suggestion if item.confidence is None else f"{item.suggestion} ({item.confidence:.2f})"


def _state(item: Item) -> str:
    if item.state == "taken":
        return f"with {item.holder}"
    if item.state == "decided":
        who = f"{item.reviewer} (simulated)" if item.simulated else item.reviewer or "nobody"
        return f"{item.decision or 'closed'} by {who}"
    return item.state
