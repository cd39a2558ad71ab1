"""Commands about data: freeze rows, see what they are, compare versions, split them, follow them back."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Column, Table

from andon.core.clock import iso
from andon.errors import UsageError
from andon.surface.cli.output import JsonFlag, ProjectOption, ReasonOption, console, emit, note

if TYPE_CHECKING:
    from andon.config import Project
    from andon.data.dataset import Dataset
    from andon.data.difference import Difference

__all__ = ["register"]

_FILES = Annotated[
    list[Path], typer.Argument(help="A CSV, Parquet or JSONL file; or a folder or tar of images and their CSV.")
]
_REF = Annotated[str | None, typer.Argument(help="A dataset's name or version; the project's dataset if not given.")]
_NAME = Annotated[str | None, typer.Option("--name", help="The dataset's name; the project's if not given.")]
_NULL = Annotated[
    list[str], typer.Option("--null", help="A text that means 'missing', beside the empty one; repeatable.")
]
_BY_HAND = Annotated[bool, typer.Option("--by-hand", help="A person changed these rows outside of any code; say what with --reason.")]  # fmt: skip
_ROWS = Annotated[int, typer.Option("--rows", min=0, max=1000, help="How many rows to show.")]
_LEFT_OUT = Annotated[bool, typer.Option("--left-out", help="Show the rows that were left out, and why.")]
_PARTS = Annotated[str, typer.Option("--parts", help="Shares: 60/20/20, or train=0.6,dev=0.2,test=0.2.")]
_BY = Annotated[list[str], typer.Option("--by", help="A column to balance beside the label; repeatable.")]
_GROUP = Annotated[str | None, typer.Option("--group", help="A column whose equal rows stay in one part.")]
_SEED = Annotated[int, typer.Option("--seed", min=0, help="Which of the equally good splits.")]
_ROW = Annotated[int | None, typer.Option("--row", min=1, help="Follow this row of the source, counted from 1.")]


def register(app: typer.Typer) -> None:
    """Add the group ``data``."""
    group = typer.Typer(help="What we know: frozen, split, traced.", no_args_is_help=True)
    group.command("add")(add)
    group.command("list")(list_datasets)
    group.command("show")(show)
    group.command("diff")(diff)
    group.command("split")(split)
    group.command("steps")(steps)
    group.command("lineage")(lineage)
    app.add_typer(group, name="data")


def add(
    files: _FILES,
    name: _NAME = None,
    null: _NULL = [],  # noqa: B006
    by_hand: _BY_HAND = False,
    reason: ReasonOption = "",
    project: ProjectOption = None,
    json: JsonFlag = False,
) -> None:
    """Freeze rows under the hash of their content; rows that do not fit the charter's inputs are kept aside."""
    from andon.data import dataset
    from andon.data.contract import Contract
    from andon.data.source import read

    if len(files) > 2:
        raise UsageError(f"data add: expected one file, or images and their CSV, found {len(files)} files")
    opened = _open(project)
    charter = opened.charter
    if by_hand and charter.phase == "production":
        raise UsageError(
            "phase production takes no rows changed by hand; do it in clean() in model.py, or set phase: poc",
        )
    contract = Contract(charter.fields(), charter.target.name, tuple(charter.target.classes))
    images = next((field.name for field in contract.fields if field.kind == "image"), "image")
    raw = read(files[0], meta=files[1] if len(files) > 1 else None, nulls=tuple(null), image=images)
    found = dataset.add(
        opened.workspace, raw, contract, name=name or charter.project, note=reason, actor=_actor(), by_hand=by_hand
    )
    reasons = _reasons(opened, found)
    if json:
        emit({**_summary(found), "reasons": reasons})
        return
    console.print(f"{found.name} [bold]{found.version}[/]: {found.rows:,} rows ({_labels(found)})")
    if found.rejected:
        note(f"{found.rejected:,} rows were left out:")
        for line in reasons:
            note(f"  {line['n']:>9,}  {line['reason']}")


def list_datasets(project: ProjectOption = None, json: JsonFlag = False) -> None:
    """All datasets, oldest first."""
    from andon.data.dataset import listing

    found = listing(_open(project).workspace)
    if json:
        emit([_summary(one) for one in found])
        return
    table = Table(Column("version", no_wrap=True), "name", "rows", "left out", "labels", "added", "from", box=None)
    for one in found:
        added, source = iso(one.created_us), Path(one.origin.path).name
        table.add_row(one.version, one.name, f"{one.rows:,}", f"{one.rejected:,}", _labels(one), added, source)
    console.print(table if found else "No dataset yet: `andon data add FILE`.")


def show(
    dataset: _REF = None,
    rows: _ROWS = 5,
    left_out: _LEFT_OUT = False,
    project: ProjectOption = None,
    json: JsonFlag = False,
) -> None:
    """A dataset's columns, labels and first rows, or the rows that were left out."""
    from andon.data.dataset import find, load, rejects

    opened = _open(project)
    found = find(opened.workspace, dataset or opened.charter.project)
    if left_out:
        _print_rows(rejects(opened.workspace, found.version).head(rows).to_dicts(), json)
        return
    frame = load(opened.workspace, found.version, images=False)
    kinds = {field.name: field.kind for field in found.contract.fields} | {found.contract.target: "target"}
    columns: list[dict[str, Any]] = [
        {"column": c.name, "kind": kinds.get(c.name, "meta-data"), "type": str(c.dtype), "missing": c.null_count()}
        | {"distinct": c.n_unique()}
        for c in frame.get_columns()
    ]
    if json:
        emit({**_summary(found), "columns": columns, "first": frame.head(rows).to_dicts()})
        return
    console.print(f"{found.name} [bold]{found.version}[/]: {found.rows:,} rows ({_labels(found)})")
    _print_rows(columns, False)
    _print_rows(frame.head(rows).to_dicts(), False)


def diff(
    before: Annotated[str, typer.Argument(help="The older dataset: name or version.")],
    after: Annotated[str, typer.Argument(help="The newer dataset: name or version.")],
    project: ProjectOption = None,
    json: JsonFlag = False,
) -> None:
    """What changed between two datasets, in rows and labels."""
    from andon.data.difference import diff as compare

    found = compare(_open(project).workspace, before, after)
    if json:
        emit(found.to_json())
        return
    _print_difference(found)


def split(
    dataset: _REF = None,
    parts: _PARTS = "60/20/20",
    by: _BY = [],  # noqa: B006
    group: _GROUP = None,
    seed: _SEED = 0,
    project: ProjectOption = None,
    json: JsonFlag = False,
) -> None:
    """Split exactly: every class in every part as near its share as whole rows allow; known rows keep their part."""
    from andon.data.division import Wish, split_dataset
    from andon.data.split import parse_parts

    opened = _open(project)
    wish = Wish(parse_parts(parts), tuple(by), group, seed)
    found = split_dataset(opened.workspace, dataset or opened.charter.project, wish, actor=_actor())
    if json:
        emit(found.to_json())
        return
    lines = [{"part": name, "n": part["n"], **part["classes"]} for name, part in found.parts.items()]
    _print_rows(lines, False)
    console.print(found.message, markup=False)


def steps(dataset: _REF = None, project: ProjectOption = None, json: JsonFlag = False) -> None:
    """What was done to a dataset's rows, step by step, with the hashes before and after."""
    from andon.data.dataset import find

    opened = _open(project)
    found = find(opened.workspace, dataset or opened.charter.project)
    if json:
        emit({"version": found.version, "steps": found.steps})
        return
    table = Table("step", "rows in", "rows out", "before", "after", "note", box=None)
    for step in found.steps:
        said = f"by a person: {step.note}" if step.manual else step.note
        table.add_row(step.name, f"{step.rows_in:,}", f"{step.rows_out:,}", step.before[:12], step.after[:12], said)
    console.print(table)


def lineage(dataset: _REF = None, row: _ROW = None, project: ProjectOption = None, json: JsonFlag = False) -> None:
    """Where a dataset came from, through all its versions; or what became of one row of its source."""
    from andon.data.lineage import lineage as follow
    from andon.data.lineage import trace

    opened = _open(project)
    ref = dataset or opened.charter.project
    if row is not None:
        found = trace(opened.workspace, ref, row)
        if json:
            emit(found)
        elif found.now is None:
            console.print(f"row {row} was left out: {found.reason}", markup=False)
        else:
            console.print(
                f"row {row} is row {found.now}{f', part {found.part}' if found.part else ''}: {found.values}",
                markup=False,
            )
        return
    told = follow(opened.workspace, ref)
    if json:
        emit(told)
        return
    console.print(f"{told['name']} [bold]{told['version']}[/] from {told['origin'].path} ({told['origin'].hash[:12]})")
    for one in told["history"]:
        console.print(
            f"  {one['version']}  {iso(one['created_us'])}  {one['rows']:,} rows  {one['actor']}  {one['note']}",
            markup=False,
        )
    if told["split"]:
        console.print(f"  split {told['split']['split']}: {told['split']['message']}", markup=False)


def _open(project: str | None) -> Project:
    from andon.config import open_project

    return open_project(project)


def _actor() -> str:
    return getpass.getuser()


def _summary(found: Dataset) -> dict[str, Any]:
    return {
        "version": found.version,
        "name": found.name,
        "content": found.content,
        "rows": found.rows,
        "rejected": found.rejected,
        "labels": found.labels,
        "contract": found.contract.hash,
        "parent": found.parent,
        "origin": found.origin,
        "created_us": found.created_us,
    }


def _reasons(opened: Project, found: Dataset) -> list[dict[str, Any]]:
    from andon.data.lineage import reasons

    return reasons(opened.workspace, found, limit=10)


def _labels(found: Dataset) -> str:
    named = [f"{label} {n:,}" for label, n in found.labels.items()]
    return ", ".join(named[:6]) + (f" and {len(named) - 6} more" if len(named) > 6 else "")


def _print_rows(rows: list[dict[str, Any]], json: bool) -> None:
    if json:
        emit(rows)
        return
    if rows:
        table = Table(*rows[0], box=None)
        for row in rows:
            table.add_row(*(_cell(value) for value in row.values()))
        console.print(table)


def _cell(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "", True: "true", False: "false"}[value]
    return f"{value:,}" if isinstance(value, int) else str(value)


def _print_difference(found: Difference) -> None:
    before, after = found.rows
    console.print(
        f"{before:,} rows before, {after:,} after: {found.added:,} added, {found.removed:,} removed, {found.relabelled:,} relabelled"
    )
    if found.revised:
        console.print(f"{found.revised:,} rows have other values under the same id")
    for row in found.transitions.head(20).iter_rows(named=True):
        console.print(f"  {row['n']:>9,}  {row['before']} → {row['after']}", markup=False)
    for what, names in found.columns.items():
        if names:
            console.print(f"  columns {what}: {', '.join(names)}", markup=False)
