"""Commands about the line itself: tokens, and the journal of who did what when and why."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from andon.core.clock import DAY, iso
from andon.core.verdict import Verdict
from andon.surface.cli.output import ActorOption, JsonFlag, ProjectOption, ReasonOption, console, emit, note

if TYPE_CHECKING:
    from andon.core.record import Event
    from andon.people.access import Access, Token
    from andon.store.journal import Journal
    from andon.store.workspace import Workspace

__all__ = ["register"]

_ROLE = Annotated[str, typer.Option("--role", help="client, viewer, labeler, reviewer, operator or owner.")]
_DAYS = Annotated[float | None, typer.Option("--days", help="Days until it expires; never if not given.")]
_LONG = 500
_ALL = Annotated[bool, typer.Option("--all", help="Also those that have expired or were revoked.")]


def register(app: typer.Typer) -> None:
    """Add the group ``token`` and the command ``journal``."""
    group = typer.Typer(help="Who may call, and with which role.", no_args_is_help=True)
    group.command("create")(create)
    group.command("list")(list_tokens)
    group.command("revoke")(revoke)
    app.add_typer(group, name="token")
    app.command()(journal)


def create(
    name: Annotated[str, typer.Argument(help="Whose it is: a person or a program.")],
    role: _ROLE,
    days: _DAYS = None,
    project: ProjectOption = None,
    actor: ActorOption = None,
    reason: ReasonOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Make a token; it is shown this once."""
    from andon.surface.keyring import give

    workspace, access = _open(project)
    given = give(workspace, access, (name, role), days, actor or getpass.getuser(), reason)
    _warn(given.note)
    if as_json:
        emit({"token": given.secret, **_shown(given.token, workspace.clock.wall())})
        return
    typer.echo(given.secret)
    note(f"This is the token of {name} ({role}, id {given.token.id}); it is not shown again.")


def list_tokens(project: ProjectOption = None, everything: _ALL = False, as_json: JsonFlag = False) -> None:
    """List tokens; never their secrets."""
    workspace, access = _open(project)
    now = workspace.clock.wall()
    rows = [_shown(token, now) for token in access.tokens()]
    rows = [row for row in rows if everything or row["state"] == "active"]
    if as_json:
        emit({"tokens": rows})
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table("id", "name", "role", "state", "made", "expires", box=None, pad_edge=False)
    for row in rows:
        table.add_row(
            row["id"], escape(row["name"]), row["role"], row["state"], row["created"], row["expires"] or "never"
        )
    console.print(table if rows else "no tokens; `andon token create NAME --role ROLE` makes one")


def revoke(
    id: Annotated[str, typer.Argument(help="The token's id, as `token list` shows it.")],
    project: ProjectOption = None,
    actor: ActorOption = None,
    reason: ReasonOption = "",
    as_json: JsonFlag = False,
) -> None:
    """End a token at once; every gateway refuses it from its next request on."""
    from andon.surface.keyring import take_back

    workspace, access = _open(project)
    token, said = take_back(workspace, access, id, actor or getpass.getuser(), reason)
    _warn(said)
    if as_json:
        emit(_shown(token, workspace.clock.wall()))
    else:
        console.print(f"revoked the token of {token.name} ({token.role}, id {token.id})", markup=False)


def _open(project: str | None) -> tuple[Workspace, Access]:
    from andon.config import open_workspace
    from andon.people.access import Access
    from andon.store.tokens import TokenFile

    workspace = open_workspace(project)
    return workspace, Access(TokenFile(workspace.home))


def _shown(token: Token, now_us: int) -> dict[str, Any]:
    return {
        "id": token.id,
        "name": token.name,
        "role": token.role,
        "state": token.state(now_us),
        "created": iso(token.created_us),
        "expires": iso(token.expires_us) if token.expires_us is not None else None,
    }


def _warn(said: str) -> None:
    """With the database gone a token counts all the same, and the person is told."""
    if said:
        note(f"andon: {said}")


def journal(
    project: ProjectOption = None,
    decision: Annotated[
        str | None, typer.Option("--decision", help="The whole life of one decision, by its id.")
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Recompute the chain of hashes.")] = False,
    action: Annotated[
        str | None, typer.Option("--action", help="Only this action, such as deploy.stop, or all that begin so: alarm.")
    ] = None,
    subject: Annotated[str | None, typer.Option("--subject", help="Only events about this.")] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=100_000, help="At most this many, the newest.")
    ] = 20,
    as_json: JsonFlag = False,
) -> None:
    """Who did what when and why; with --decision, who answered it and who put that version there."""
    from andon.config import open_workspace

    workspace = open_workspace(project)
    if decision is not None:
        _life(workspace, decision, as_json)
    elif verify:
        _verify(workspace.journal, as_json)
    else:
        from andon.surface.view.journal import wanted

        asked = wanted(workspace.journal, (action or "", "", subject or ""))
        _events(workspace.journal.page(asked, limit=limit)[::-1], as_json)


def _events(events: list[Event], as_json: bool) -> None:
    if as_json:
        emit({"events": events})
        return
    for event in events:
        line = f"{event.sequence:>5}  {iso(event.time_us)}  {event.action:<16} {event.subject:<12} {event.actor}"
        console.print(line + (f": {event.reason}" if event.reason else ""), markup=False)
    if not events:
        note("no such events")


def _verify(journal: Journal, as_json: bool) -> None:
    from andon.surface.view.journal import verified

    found = journal.check()
    verdict = Verdict.PASS if found.sound else Verdict.FAIL
    if as_json:
        sequence, head = journal.head()
        told = {"checked": found.events, "seconds": found.seconds, "fault": found.fault}
        emit({"verdict": verdict, "events": sequence, "head": head, "first_bad": found.bad, **told})
    else:
        console.print(verified(found), markup=False)
    raise typer.Exit(verdict.exit_code)


def _life(workspace: Workspace, id: str, as_json: bool) -> None:
    from andon.store.view import find

    life = find(workspace, id)
    if as_json:
        emit(life)
        return
    for sentence in _told(life):
        console.print(sentence, markup=False)
    for part, value in life.items():
        if value is None or value == [] or value == {}:
            continue
        console.print(f"\n[bold]{part}[/]")
        for row in value if isinstance(value, list) else [value]:
            console.print(_indented(row), markup=False)


def _told(life: dict[str, Any]) -> list[str]:
    """Which version answered, and who put it there, when and why."""
    made, route = life["decision"], life["route"]
    by = made["version"] if made["decided_by"] == "model" else made["decided_by"]
    answer = f"{made['decision']}, decided by {by}" if made["decision"] is not None else "pending: a person decides"
    sentences = [f"{made['id']}: {answer}, asked at {iso(made['time_us'])}"]
    if route is not None:
        why = f": {route['reason']}" if route["reason"] else ""
        when = iso(route["time_us"])
        sentences.append(
            f"route {route['epoch']} ({route['action']}) was in force, put there by {route['actor']} at {when}{why}"
        )
    return sentences


def _indented(row: Any) -> str:
    import msgspec

    plain = msgspec.to_builtins(row)
    if not isinstance(plain, dict):
        return f"  {plain}"
    shown = {key: iso(value) if key.endswith("_us") and _is_date(value) else value for key, value in plain.items()}
    return "\n".join(f"  {key:<14} {_short(value)}" for key, value in shown.items() if value not in (None, "", {}, []))


def _short(value: Any) -> Any:
    """For the eye: a text as long as an image's is cut; ``--json`` has it whole."""
    if isinstance(value, dict):
        return {key: _short(one) for key, one in value.items()}
    if isinstance(value, str) and len(value) > _LONG:
        return f"{value[:40]}... ({len(value):,} characters)"
    return value


def _is_date(value: Any) -> bool:
    return isinstance(value, int) and value > 1000 * DAY  # shorter ones are durations
