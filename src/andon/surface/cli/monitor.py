"""Commands for watching: ``monitor show|metrics``, ``alarms list|ack|silence``, ``feedback import``."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from andon.core.clock import iso
from andon.errors import UsageError
from andon.surface.cli.output import ActorOption, JsonFlag, ProjectOption, ReasonOption, console, emit, note

if TYPE_CHECKING:
    from andon.measure.estimate import Estimate
    from andon.monitor.alarm import Alarm
    from andon.monitor.feedback import FeedbackFile
    from andon.monitor.overview import View

__all__ = ["register"]

_SLICE = Annotated[str, typer.Option("--slice", help="Only records of this slice of the charter.")]
_WINDOWS = Annotated[int, typer.Option("--windows", "-n", min=1, max=10_000, help="So many of the last windows.")]
_NAMES = Annotated[list[str] | None, typer.Argument(help="Only these metrics; all if none is named.")]
_ALL = Annotated[bool, typer.Option("--all", help="Also those that are quiet.")]
_COLORS = {"firing": "bold red", "recovering": "yellow", "pending": "yellow", "resolved": "green", "inactive": "green"}
_SHOWN_REJECTS = 10


def register(app: typer.Typer) -> None:
    """Add the groups ``monitor``, ``alarms`` and ``feedback``."""
    monitor = typer.Typer(help="What is measured on the line.", no_args_is_help=True)
    monitor.command("show")(show)
    monitor.command("metrics")(metrics)
    app.add_typer(monitor, name="monitor")
    alarm = typer.Typer(help="Gates that are watched over time.", no_args_is_help=True)
    alarm.command("list")(list_alarms)
    alarm.command("ack")(ack)
    alarm.command("silence")(silence)
    app.add_typer(alarm, name="alarms")
    feedback = typer.Typer(help="What happened after a decision.", no_args_is_help=True)
    feedback.command("import")(import_feedback)
    app.add_typer(feedback, name="feedback")


def show(
    names: _NAMES = None,
    slice: _SLICE = "",
    windows: _WINDOWS = 24,
    project: ProjectOption = None,
    as_json: JsonFlag = False,
) -> None:
    """The last windows of every metric: value with interval, trend, bound, alarm."""
    from andon.config import open_project
    from andon.monitor.overview import overview

    found = open_project(project)
    views = overview(found.workspace, found.charter, cohort=slice, only=names or (), windows=windows)
    if as_json:
        emit(
            {
                "window_us": found.charter.monitor.window_us,
                "now_us": found.clock.now(),
                "slice": slice,
                "metrics": views,
            }
        )
    else:
        _table(views, iso(found.clock.now()))


def metrics(project: ProjectOption = None, as_json: JsonFlag = False) -> None:
    """What each metric of the charter means: how it is measured, which way is better, its goal and its alarm."""
    from andon.config import find_root
    from andon.monitor.overview import definition
    from andon.scope.charter import load

    charter = load(find_root(project) / "andon.yaml")
    rows = [definition(name, spec, charter.target.classes) for name, spec in charter.metrics.items()]
    if as_json:
        emit({"metrics": rows})
    else:
        _definitions(rows)


def list_alarms(everything: _ALL = False, project: ProjectOption = None, as_json: JsonFlag = False) -> None:
    """Alarms that are pending, firing, recovering or resolved, with the last verdict and its evidence."""
    from andon.config import open_workspace
    from andon.monitor.watch import alarms

    found = [one for one in alarms(open_workspace(project)).values() if everything or one.phase != "inactive"]
    found.sort(key=lambda one: (list(_COLORS).index(one.phase), -one.since_us))
    if as_json:
        emit({"alarms": [_alarm_json(one) for one in found]})
        return
    from rich.markup import escape

    for one in found:
        seen = f", seen by {one.acknowledged_by}" if one.acknowledged_by and one.active else ""
        sentence = one.result.sentence if one.result is not None else ""
        console.print(
            f"[{_COLORS[one.phase]}]{one.phase:<10}[/] {escape(one.key):<20} since {iso(one.since_us)}{escape(seen)}"
        )
        console.print(f"           {sentence}", markup=False)
    if not found:
        note("no alarm is or was up" + ("" if everything else "; --all shows the quiet ones"))


def ack(
    key: Annotated[str, typer.Argument(help="The alarm's name, as `alarms list` shows it.")],
    project: ProjectOption = None,
    actor: ActorOption = None,
    reason: ReasonOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Say that you have seen a firing alarm."""
    from andon.config import open_workspace
    from andon.monitor.watch import acknowledge_alarm

    found = acknowledge_alarm(open_workspace(project), key, actor or getpass.getuser(), reason)
    if as_json:
        emit(_alarm_json(found))
    else:
        console.print(f"alarm {key} is {found.phase}; {found.acknowledged_by} has seen it", markup=False)


def silence(
    key: Annotated[str, typer.Argument(help="The alarm's name, as `alarms list` shows it.")],
    for_: Annotated[str, typer.Option("--for", help="For how long, such as 30m, 2h or 1d; 0 ends the silence.")] = "2h",
    project: ProjectOption = None,
    actor: ActorOption = None,
    reason: ReasonOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Send nobody a notice of an alarm for a while; it is still judged, shown, and does what the charter says."""
    from andon.config import open_workspace
    from andon.monitor.watch import silence_alarm
    from andon.scope.scalar import duration

    try:
        length = duration(0 if for_ == "0" else for_)
    except ValueError as error:
        raise UsageError(f"--for: {error}") from None
    found = silence_alarm(open_workspace(project), key, actor or getpass.getuser(), length, reason)
    until = f"silent until {iso(found.silenced_until_us)}" if found.silenced_until_us else "no longer silent"
    if as_json:
        emit(_alarm_json(found))
    else:
        console.print(f"alarm {key} is {found.phase}, {until}", markup=False)


def import_feedback(
    file: Annotated[Path, typer.Argument(help="CSV, Parquet or JSON lines; columns id, kind, value, time, event.")],
    kind: Annotated[str | None, typer.Option("--kind", help="The kind of rows that name none, such as label.")] = None,
    column: Annotated[
        list[str] | None, typer.Option("--column", help="What the file calls a column, such as value=result.")
    ] = None,
    project: ProjectOption = None,
    actor: ActorOption = None,
    reason: ReasonOption = "",
    as_json: JsonFlag = False,
) -> None:
    """Record labels and other feedback from a file; a bad row is told and left out, and makes the exit code 4."""
    from andon.config import open_project
    from andon.monitor.feedback import read_feedback, record_feedback

    found = open_project(project)
    given = read_feedback(file, found.charter.target.classes, kind=kind, columns=_columns(column or []))
    recorded = record_feedback(found.workspace, given.rows)
    if recorded:
        evidence = {"recorded": recorded, "rejected": len(given.rejects)}
        found.workspace.journal.append("feedback.import", file.name, actor or getpass.getuser(), reason, evidence)
    if as_json:
        rejects = [{"row": row, "reason": why} for row, why in given.rejects]
        emit({"recorded": recorded, "rejected": len(rejects), "rejects": rejects[:1000]})
    else:
        _imported(file, given, recorded)
    if given.rejects:
        raise typer.Exit(4)


def _columns(pairs: list[str]) -> dict[str, str]:
    from andon.monitor.feedback import COLUMNS

    columns = {}
    for pair in pairs:
        ours, _, theirs = pair.partition("=")
        if ours not in COLUMNS or not theirs:
            raise UsageError(
                f"--column: expected one of {', '.join(COLUMNS)}, '=' and the file's name of it, found {pair!r}"
            )
        columns[ours] = theirs
    return columns


def _imported(file: Path, given: FeedbackFile, recorded: int) -> None:
    for row, why in given.rejects[:_SHOWN_REJECTS]:
        note(f"{file.name}, row {row}: {why}")
    if len(given.rejects) > _SHOWN_REJECTS:
        note(f"... and {len(given.rejects) - _SHOWN_REJECTS} more bad rows; --json lists them")
    console.print(
        f"{recorded} rows of feedback recorded" + (f", {len(given.rejects)} left out" if given.rejects else "")
    )


def _alarm_json(alarm: Alarm) -> dict[str, Any]:
    return {
        "key": alarm.key,
        "metric": alarm.metric,
        "slice": alarm.cohort,
        "phase": alarm.phase,
        "since": iso(alarm.since_us),
        "fired": iso(alarm.fired_us) if alarm.fired_us else None,
        "episode": alarm.episode,
        "acknowledged_by": alarm.acknowledged_by or None,
        "note": alarm.note,
        "silenced_until": iso(alarm.silenced_until_us) if alarm.silenced_until_us else None,
        "result": None if alarm.result is None else alarm.result.to_dict(),
    }


def _table(views: list[View], now: str) -> None:
    from rich.markup import escape
    from rich.table import Table

    from andon.monitor.overview import spark

    table = Table(
        "metric", "now", "95 % interval", "n", "trend", "bound", "alarm", box=None, pad_edge=False, title=None
    )
    group = ""
    for view in sorted(views, key=lambda view: _GROUPS.index(view.group)):
        if view.group != group:
            group = view.group
            table.add_row(f"[bold]{group}[/]")
        trend = spark([point.estimate.value for point in view.points])
        bound = view.alarm or (f"goal {view.goal}" if view.goal else "")
        phase = f"[{_COLORS[view.phase]}]{view.phase}[/]" if view.phase else ""
        table.add_row("  " + escape(view.name), *_value(view.current), trend, escape(bound), phase)
    console.print(f"[dim]{now}[/]")
    console.print(table)


_GROUPS = ("input", "output", "performance", "feedback", "software")


def _value(estimate: Estimate) -> tuple[str, str, str]:
    if estimate.value is None:
        return "[dim]–[/]", f"[dim]{estimate.reason}[/]", str(estimate.n or "")
    low, high = ("" if end is None else f"{end:.3g}" for end in (estimate.low, estimate.high))
    return f"{estimate.value:.3g}", f"{low or 'open'} to {high or 'open'}", str(estimate.n)


def _definitions(rows: list[dict[str, Any]]) -> None:
    from rich.markup import escape
    from rich.table import Table

    better = {"up": "higher", "down": "lower", None: ""}
    table = Table("metric", "is", "group", "better", "goal", "alarm", "then", box=None, pad_edge=False)
    for row in rows:
        of = row["of"] + (f" where {row['where']}" if row["where"] else "")
        alarm = row["alarm"] or ""
        table.add_row(
            escape(row["name"]),
            escape(of),
            row["group"],
            better[row["direction"]],
            escape(row["goal"] or ""),
            escape(alarm + (f" ({row['for_windows']} windows)" if row["for_windows"] > 1 else "")),
            row["then"] if alarm else "",
        )
    console.print(table)
