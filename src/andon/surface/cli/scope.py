"""Commands about the scope: start a project, check its charter, show it, list its risks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from andon.errors import CharterError, Conflict, UsageError
from andon.surface.cli.output import JsonFlag, ProjectOption, console, emit, note
from andon.surface.cli.size import Sizing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from andon.core.record import Field
    from andon.scope.charter import Charter

__all__ = ["register"]

_DATA = Annotated[Path | None, typer.Option("--data", help="A CSV, Parquet or JSONL file to take the inputs from.")]
_TARGET = Annotated[str | None, typer.Option("--target", help="The column of --data to predict.")]
_NAME = Annotated[str | None, typer.Option("--name", help="The project's name; the folder's if not given.")]


def register(app: typer.Typer) -> None:
    """Add ``init``, ``check`` and the group ``scope``."""
    app.command()(init)
    app.command()(check)
    group = typer.Typer(help="What the line is for.", no_args_is_help=True)
    group.command("show")(show)
    group.command("risks")(risks)
    group.command("size")(Sizing)
    app.add_typer(group, name="scope")


def init(
    folder: Annotated[Path, typer.Argument(help="Where the project begins.")] = Path(),
    data: _DATA = None,
    target: _TARGET = None,
    name: _NAME = None,
    json: JsonFlag = False,
) -> None:
    """Start a project: write andon.yaml and model.py, with comments, ready to be changed."""
    from andon.scope.starter import EXAMPLE_FIELDS, starter

    project = _project_name(name or folder.resolve().name)
    if (data is None) != (target is None):
        raise UsageError("--data and --target belong together", hint="name the file and the column of it to predict")
    fields: Sequence[Field] = EXAMPLE_FIELDS
    classes: Sequence[str] = ("good", "bad")
    if data is not None and target is not None:
        fields, classes = _look(data, target)
    charter, model = starter(project, fields, target or "outcome", classes)
    written = _write_all(folder, {"andon.yaml": charter, "model.py": model})
    if json:
        emit({"project": project, "written": [str(path) for path in written]})
        return
    for path in written:
        console.print(f"wrote {path}", markup=False)
    note("Now: look at both files, then `andon check`, `andon data add FILE`, `andon train`.")


def _project_name(text: str) -> str:
    kept = "".join(letter if letter.isascii() and (letter.isalnum() or letter in "_-") else "_" for letter in text)
    return (kept if kept[:1].isalpha() else f"line_{kept}".rstrip("_"))[:64]


def _look(path: Path, target: str) -> tuple[Sequence[Field], Sequence[str]]:
    """Inputs and classes as the data have them."""
    from andon.data.contract import infer
    from andon.data.source import read

    contract = infer(read(path).frame, target)
    return contract.fields, contract.classes


def _write_all(folder: Path, files: dict[str, str]) -> list[Path]:
    """Write all of them or none."""
    there = [name for name in files if (folder / name).exists()]
    if there:
        raise Conflict(f"{folder / there[0]} is there already; nothing was written", hint="choose an empty folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {folder}: {error.strerror}") from None
    return [folder / name for name in files]


def check(
    project: ProjectOption = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the charter's JSON Schema and do nothing else.")
    ] = False,
    json: JsonFlag = False,
) -> None:
    """Check andon.yaml: every fault at once; then what is unanswered, unwatched or without effect."""
    from andon.config import CHARTER, find_root
    from andon.scope.charter import schema as charter_schema

    if schema:
        emit(charter_schema())
        return
    root = find_root(project)
    try:
        charter = _loaded(root / CHARTER)
    except CharterError as error:
        if not json:
            raise
        emit({"ok": False, "charter": str(root / CHARTER), "faults": list(error.faults)})
        note(f"andon: {error.message}")
        raise typer.Exit(error.exit_code) from None
    found = _findings(charter, root)
    if json:
        emit({"ok": True, "charter": str(root / CHARTER), "faults": [], **found})
    else:
        _tell(root / CHARTER, found)


def _loaded(path: Path) -> Charter:
    """The charter; whether its addresses are understood is known only to what sends to them."""
    from andon.monitor.notify import check_targets
    from andon.monitor.sink import check_sink
    from andon.scope.charter import load

    charter = load(path)
    try:
        privacy = charter.checklist.privacy
        check_targets(charter.alarms.notify, privacy.stays)
        check_sink(charter.checklist.logging.events, privacy.stays, privacy.hosts)
    except UsageError as error:
        raise CharterError(f"{path.name} has 1 fault", (error.message,)) from None
    return charter


def _findings(charter: Charter, root: Path) -> dict[str, Any]:
    from andon.scope.checklist import doubts, idle, unanswered
    from andon.scope.risk import metrics_without_risk, register, risks_without_metric

    return {
        "unanswered": [{"key": question.key, "asks": question.asks} for question in unanswered(charter)],
        "recorded_only": idle(charter),
        "risks_without_metric": risks_without_metric(charter),
        "risks_without_alarm": [row.what for row in register(charter) if row.state == "seen, but nothing rings"],
        "metrics_without_risk": metrics_without_risk(charter),
        "doubts": doubts(charter) + _model_doubts(root / "model.py"),
    }


def _model_doubts(path: Path) -> list[str]:
    """What can be said about model.py without running it."""
    import ast

    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ["model.py: there is none yet; `andon train` needs its train(data, params)"]
    except (SyntaxError, ValueError) as error:
        line = f" (line {error.lineno})" if isinstance(error, SyntaxError) else ""
        return [f"model.py: Python cannot read it{line}: {error.args[0]}"]
    defined = {node.name for node in tree.body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))}
    return [] if "train" in defined else ["model.py: it has no function train(data, params)"]


_HEADINGS = {
    "recorded_only": "Recorded, but nothing acts on it in this release",
    "doubts": "Probably not meant",
    "risks_without_metric": "Risks that no metric shows",
    "risks_without_alarm": "Risks that are seen but do not ring",
    "metrics_without_risk": "Metrics that no risk needs",
    "unanswered": "Questions left to their defaults",
}


def _tell(path: Path, found: dict[str, Any]) -> None:
    console.print(f"[green]✓[/] {path.name} is sound")
    for key, heading in _HEADINGS.items():
        if found[key]:
            console.print(f"\n[bold]{heading}[/]")
        for entry in found[key]:
            text = f"{entry['key']:<28} {entry['asks']}" if isinstance(entry, dict) else entry
            console.print(f"  {text}", markup=False)


def show(project: ProjectOption = None, json: JsonFlag = False) -> None:
    """Show the charter with all defaults filled in; what the file does not say itself is dimmed."""
    charter = _charter(project)
    if json:
        emit(charter.to_dict())
        return
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    for path, value in _leaves(charter.to_dict()):
        style = "" if charter.answered(path) else "dim"
        table.add_row(f"[bold]{path}[/]" if not style else path, _brief(path, value), style=style)
    console.print(table)


def _leaves(value: dict[str, Any], before: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, item in value.items():
        path = f"{before}.{key}" if before else key
        rows += _leaves(item, path) if isinstance(item, dict) and item else [(path, item)]
    return rows


_DURATIONS = {"target.delay", "automation.partial.evidence", "review.deadline", "monitor.window"}


def _brief(path: str, value: Any) -> str:
    from rich.markup import escape

    from andon.scope.scalar import duration_text

    if path in _DURATIONS:
        return duration_text(value)
    if isinstance(value, list):
        return escape(", ".join(item.get("what", str(item)) if isinstance(item, dict) else str(item) for item in value))
    return escape("-" if value in (None, "", {}) else str(value))


def risks(project: ProjectOption = None, json: JsonFlag = False) -> None:
    """The risk register: every risk with the metrics that show it, and what is missing on either side."""
    from andon.scope.risk import metrics_without_risk, register

    charter = _charter(project)
    rows, spare = register(charter), metrics_without_risk(charter)
    if json:
        emit({"risks": rows, "metrics_without_risk": spare})
        return
    from rich.markup import escape
    from rich.table import Table

    table = Table("risk", "shows in", "rings", "state", box=None, pad_edge=False)
    colours = {"watched": "green", "seen, but nothing rings": "yellow", "no metric": "red"}
    for row in rows:
        state = f"[{colours[row.state]}]{row.state}[/]"
        table.add_row(escape(row.what), ", ".join(row.shows_in) or "-", ", ".join(row.rings) or "-", state)
    console.print(table if rows else "no risks are named yet; add `risks:` to andon.yaml")
    if spare:
        console.print(f"\nMetrics that no risk needs: {', '.join(spare)}", markup=False)


def _charter(project: str | None) -> Charter:
    from andon.config import CHARTER, find_root
    from andon.scope.charter import load

    return load(find_root(project) / CHARTER)
