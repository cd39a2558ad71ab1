"""``andon predict``: whole files through the bundle, contract and cleaning that the gateway uses."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from andon.surface.cli.bar import Bar
from andon.surface.cli.output import JsonFlag, ProjectOption, console, emit, note

if TYPE_CHECKING:
    from andon.deploy.batch import Summary
    from andon.deploy.batch_progress import Tally

__all__ = ["register"]

_FILES = Annotated[
    list[Path],
    typer.Argument(help="CSV, TSV, Parquet or JSONL files; a folder or tar of images, with a CSV behind it that names them."),
]  # fmt: skip
_RELEASE = Annotated[
    str | None, typer.Option("--release", help="A release (v1) or a run (r3); the live release if not given.")
]
_OUT = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Parquet, CSV or JSONL by its suffix; NAME.predictions.parquet if not given."),
]
_REJECTS = Annotated[
    Path | None, typer.Option("--rejects", help="Rows without a prediction, and why; beside the output if not given.")
]
_ID = Annotated[str | None, typer.Option("--id", help="A column that is copied to the output beside the row number.")]
_IGNORE = Annotated[
    list[str] | None,
    typer.Option("--ignore", help="A column that is not in the contract and is passed over; repeatable."),
]
_ROWS = Annotated[int, typer.Option("--batch-rows", min=1, max=1_000_000, help="Rows put to the model at once.")]
_FRESH = Annotated[bool, typer.Option("--fresh", help="Begin anew and replace what is there, whatever was begun.")]


def register(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command("predict")(Predict)


@dataclass(frozen=True)
class Predict:
    """Predict whole files, in constant memory; the same call goes on after a kill. Ends with 1 when rows were rejected."""

    files: _FILES
    release: _RELEASE = None
    out: _OUT = None
    rejects: _REJECTS = None
    id: _ID = None
    ignore: _IGNORE = None
    batch_rows: _ROWS = 16_384
    fresh: _FRESH = False
    project: ProjectOption = None
    as_json: JsonFlag = False

    def __post_init__(self) -> None:
        """Run it: the fields are the words on the command line."""
        from andon.config import open_project
        from andon.deploy.batch import Wish, predict
        from andon.deploy.settings import GatewayConfig

        opened = open_project(self.project)
        files, ignored = tuple(self.files), tuple(self.ignore or ())
        wish = Wish(files, self.out, self.rejects, self.release, self.id, ignored, self.batch_rows, self.fresh)
        with _Bar() as told:
            found = predict(opened.workspace, GatewayConfig.from_charter(opened.charter), wish, told=told)
        if self.as_json:
            emit(found)
        else:
            _show(found)
        if found.rejected:
            raise typer.Exit(1)


class _Bar(Bar):
    """Rows, those rejected, and rows a second since the first word."""

    _first: tuple[float, int] | None = None

    def __call__(self, tally: Tally, share: float) -> None:
        now = time.monotonic()
        if self._first is None:
            self._first = (now, tally.read)
        since, rows = self._first
        rate = (tally.read - rows) / (now - since) if now > since else 0.0
        self.move(share, f"{tally.read:,} rows, {tally.rejected:,} rejected, {rate:,.0f} rows/s")


def _show(found: Summary) -> None:
    resumed = f" ({found.resumed:,} of them before)" if found.resumed else ""
    console.print(
        f"{found.read:,} rows read{resumed} = {found.predicted:,} predicted by {found.version} + {found.rejected:,} rejected",
        markup=False,
    )
    for name, counts in (("predicted", found.predictions), ("decided by", found.decided_by)):
        if counts:
            console.print(f"  {name}: {', '.join(f'{key} {n:,}' for key, n in counts.items())}", markup=False)
    if found.unanswered:
        console.print(f"  {found.unanswered:,} got no answer from the model", markup=False)
    console.print(f"  {found.out}", markup=False)
    if found.rejected:
        console.print(f"  {found.rejects}", markup=False)
    for text in found.notes:
        note(f"Mind: {text}")
