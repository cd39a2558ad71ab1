"""What the commands of ``andon deploy`` say and do about the automatic rollout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from andon.core.clock import iso
from andon.core.registry import did_you_mean
from andon.errors import AndonError, NotFound, Unavailable, UsageError
from andon.surface.cli.output import console, emit, note

if TYPE_CHECKING:
    from andon.config import Project
    from andon.deploy.rollout_plan import Pattern
    from andon.deploy.rollout_proof import Judged
    from andon.monitor.explain import Explained
    from andon.monitor.race import Drawn

__all__ = ["begin", "explained", "frozen", "resumed", "short", "steps_of"]

_STEPS = 8
_KINDS = {"difference": "difference of means", "alone": "by itself"}


def begin(
    version: str,
    project: str | None,
    actor: str | None,
    reason: str,
    as_json: bool,
    pattern: Pattern = "canary",
    steps: tuple[float, ...] | None = None,
) -> None:
    """Begin an automatic rollout, and say what it could find and when."""
    from andon.config import open_project
    from andon.deploy.line import user_name
    from andon.deploy.rollout_store import start
    from andon.monitor.explain import foresee

    opened, who = open_project(project), actor or user_name()
    made = start(opened.workspace, opened.charter, version, actor=who, reason=reason, pattern=pattern, steps=steps)
    try:
        said = foresee(opened.workspace, opened.charter, made.plan)
    except AndonError as error:
        said = (f"what can be found, and when, is not known: {error.message}",)
    if as_json:
        emit({"rollout": msgspec.to_builtins(made), "detects": list(said)})
    else:
        console.print(f"The rollout {made.name} begins: {' > '.join(made.plan.path)}.", markup=False)
    for sentence in said:
        note(sentence)
    note("it goes on while the line runs (andon up); look at it with: andon deploy explain")


def steps_of(gradual: bool, steps: str | None, of_charter: tuple[float, ...]) -> tuple[float, ...] | None:
    """The steps of a blue/green as they were asked for; None: those of the charter, else at once.

    >>> steps_of(True, None, ()), steps_of(True, None, (0.3,)), steps_of(False, "0.2, 0.6", ()), steps_of(False, None, ())
    ((0.1, 0.25, 0.5), (0.3,), (0.2, 0.6), None)
    """
    from andon.deploy.rollout_plan import GRADUAL

    if steps is None:
        return (of_charter or GRADUAL) if gradual else None
    try:
        return tuple(float(part) for part in steps.split(","))
    except ValueError:
        raise UsageError(f"--steps: expected shares such as 0.1,0.25,0.5, found {steps[:40]!r}") from None


def resumed(project: str | None, actor: str | None, reason: str, as_json: bool) -> bool:
    """Let an automatic rollout go on where it waits for that word; False where it is a matter of the route."""
    from andon.config import open_project
    from andon.deploy.line import Line, user_name
    from andon.deploy.rollout_store import active, ask

    opened = open_project(project)
    try:
        now = active(opened.workspace)
    except Unavailable:
        return _resumed_by_route(opened, actor or user_name(), reason, as_json)
    route = opened.workspace.routes.current()
    held = route is not None and route.held
    if now is None or (now.rollout.state != "frozen" and held):
        return False
    made = ask(opened.workspace, "resume", actor=actor or user_name(), reason=reason)
    if held:
        Line(opened.workspace, opened.charter).resume(actor=actor, reason=reason)
    _asked(made.name, "goes on", f"the rollout {made.name} goes on with the controller's next look", as_json)
    return True


def _resumed_by_route(opened: Project, actor: str, reason: str, as_json: bool) -> bool:
    """With the database gone: take back a freeze that a route says; False where none does."""
    from andon.deploy.frozen import put, word_of
    from andon.deploy.line import Line

    plane = opened.workspace.routes
    word, route = word_of(plane, 0), plane.current()
    if word is None or word.what != "freeze" or route is None:
        return False
    put(opened.workspace, "resume", actor=actor, reason=reason)
    if route.held:
        Line(opened.workspace, opened.charter).resume(actor=actor, reason=reason)
    _asked("", "goes on", f"the freeze by {word.actor} is taken back; it is told once the database is back", as_json)
    return True


def frozen(project: str | None, actor: str | None, reason: str, as_json: bool) -> None:
    """Freeze the automatic rollout."""
    from andon.config import open_project
    from andon.deploy.line import user_name
    from andon.deploy.rollout_store import freeze

    name, said = freeze(open_project(project).workspace, actor=actor or user_name(), reason=reason)
    _asked(name, "is frozen", said, as_json)


def _asked(name: str, what: str, said: str, as_json: bool) -> None:
    if as_json:
        emit({"rollout": name, "asked": what})
    else:
        console.print(f"{said[0].upper()}{said[1:]}.", markup=False)


def explained(name: str | None, project: str | None, as_json: bool) -> None:
    """An automatic rollout (the newest), with its evidence as of now and its course."""
    from andon.config import open_project
    from andon.deploy.rollout_store import kept, may_resume, newest
    from andon.monitor.course import course_of
    from andon.monitor.explain import explain

    opened = open_project(project)
    all_of = {} if name is None else kept(opened.workspace)
    one = newest(opened.workspace) if name is None else all_of.get(name)
    if one is None and not all_of:
        raise NotFound("there was no automatic rollout yet; begin one with: andon deploy canary VERSION --auto")
    if one is None:
        raise NotFound(f"there was no automatic rollout {name!r}; {did_you_mean(name or '', all_of)}")
    found = explain(opened.workspace, opened.charter, one, fresh=not one.rollout.ended)
    course = course_of(opened.workspace, one.rollout)
    if as_json:
        emit({**msgspec.to_builtins(found), "course": msgspec.to_builtins(course)})
    else:
        _show(found, opened.clock.now(), may_resume(one.rollout))
        _show_steps(course)


def short(rollout: dict[str, Any]) -> str:
    """One line for `deploy status`.

    >>> short({"name": "v2#1", "state": "hold", "reason": "no_data", "share": 0.05, "sentence": "no unit came"})
    'v2#1 hold (no data) at 5 %: no unit came'
    """
    return f"{rollout['name']} {_state(rollout['state'], rollout['reason'])} at {rollout['share'] * 100:.4g} %: {rollout['sentence']}"


def _state(state: str, reason: str) -> str:
    return f"{state} ({reason})".replace("_", " ") if reason else state.replace("_", " ")


def _show(found: Explained, now_us: int, may_keep: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from andon.surface.view.deploy_rollout_words import earliest, next_of

    table = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 0))
    old = found.live or "people"
    table.add_row("rollout", Text(f"{found.name} by {found.actor or 'somebody'}, {found.version} against {old}"))
    table.add_row("state", Text(f"{_state(found.state, found.reason)} since {iso(found.since_us)}", style="bold"))
    table.add_row("why", Text(found.sentence))
    table.add_row("way", Text(str(found.path)))
    for number, sentence in enumerate(found.missing):
        table.add_row("missing" if not number else "", Text(sentence))
    if (eta := earliest(found, now_us)) is not None:
        table.add_row("earliest", Text(f"{iso(eta)}, if {found.version} is as good as {found.live or 'its goals ask'}"))
    if told := next_of(found.state, found.reason, may_keep=may_keep):
        table.add_row("needs", Text(told.replace("`", "")))
    table.add_row("units", Text(f"{found.units[0]} on {found.version}, {found.units[1]} on {old}"))
    table.add_row("budget", Text(f"{found.budget_left:.3g} of {found.budget:g} units with an event are left"))
    table.add_row("split", Text(f"evidence {found.log_split:.2f}, freezes from {found.split_at:.2f} on"))
    console.print(table)
    if found.guardrails:
        console.print(_rails(found.guardrails))
    for name, why in found.shown.items():
        note(f"{name} is not judged: {why}")


def _show_steps(course: Drawn) -> None:
    """The newest transitions, the newest first."""
    from rich.table import Table
    from rich.text import Text

    if not course.steps:
        return
    table = Table("step", "when", "to", "share", "why", box=None, pad_edge=False, header_style="dim")
    for one in course.steps[:_STEPS]:
        to = Text(_state(one.after, one.reason))
        table.add_row(str(one.number), iso(one.time_us), to, f"{one.share * 100:.4g} %", Text(one.sentence))
    console.print(table)
    left = len(course.steps[_STEPS:]) + course.omitted
    if left:
        note(f"{left} earlier transitions are in the journal: andon journal --action rollout.transition")


def _rails(rails: tuple[Judged, ...]) -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table(
        "guardrail",
        "verdict",
        "ratio by units",
        "by requests",
        "units with an event",
        "harm",
        "safe",
        box=None,
        pad_edge=False,
        header_style="dim",
    )
    styles = {"harm": "bold red", "safe": "green"}
    for one in rails:
        table.add_row(
            Text(one.name),
            Text(one.said.replace("_", " "), style=styles.get(one.said, "")),
            Text(str(one.ratio) if one.kind == "ratio" else f"{one.ratio} ({_KINDS[one.kind]})"),
            "–" if one.by_requests.value is None else f"{one.by_requests.value:.3g}",
            str(one.events),
            f"{one.log_harm:.2f} of {one.harm_at:.2f}",
            f"{one.log_safe:.2f} of {one.safe_at:.2f}",
        )
    return table
