"""``andon deploy replay``: decisions of the log put to a release again, and compared with what was answered."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from andon.surface.cli.bar import Bar
from andon.surface.cli.output import JsonFlag, ProjectOption, console, emit

if TYPE_CHECKING:
    from andon.deploy.replay import Replayed

__all__ = ["Replay"]

_RELEASE = Annotated[str | None, typer.Argument(help="A release (v1) or a run (r3); the live release if not given.")]
_SINCE = Annotated[str | None, typer.Option("--since", help="Decisions from this time on (ISO 8601).")]
_UNTIL = Annotated[str | None, typer.Option("--until", help="Decisions before this time (ISO 8601).")]
_SLICE = Annotated[
    str | None, typer.Option("--slice", help="A slice of the charter, or a condition such as \"age >= 60\".")
]  # fmt: skip
_VERSION = Annotated[str | None, typer.Option("--version", help="Decisions that this release answered.")]
_MOST = Annotated[int | None, typer.Option("--most", min=1, help="At most so many, the oldest first.")]
_OUT = Annotated[Path | None, typer.Option("--out", "-o", help="A CSV file for the rows that differ.")]
_TOLERANCE = Annotated[float, typer.Option("--tolerance", min=0.0, help="Scores that differ by no more are the same.")]
_TO = Annotated[
    str | None,
    typer.Option(
        "--to", help="The gateway of another line that is asked instead; it writes the rows into its own log."
    ),
]
_TOKEN = Annotated[str | None, typer.Option("--token", help="A client's token there; else the variable ANDON_TOKEN.")]


@dataclass(frozen=True)
class Replay:
    """Put logged decisions to a release again and compare row by row; ends with 1 when rows differ. Writes no log."""

    release: _RELEASE = None
    since: _SINCE = None
    until: _UNTIL = None
    slice: _SLICE = None
    version: _VERSION = None
    most: _MOST = None
    out: _OUT = None
    tolerance: _TOLERANCE = 1e-6
    to: _TO = None
    token: _TOKEN = None
    project: ProjectOption = None
    as_json: JsonFlag = False

    def __post_init__(self) -> None:
        """Run it: the fields are the words on the command line."""
        found = self._run()
        if self.as_json:
            emit({**msgspec.to_builtins(found), "compared": found.compared})
        else:
            _show(found)
        if found.different:
            raise typer.Exit(1)

    def _run(self) -> Replayed:
        from andon.config import open_project
        from andon.deploy.batch_model import choose
        from andon.deploy.replay import Wish, asks_bundle, replay
        from andon.deploy.settings import GatewayConfig
        from andon.errors import UsageError
        from andon.surface.replay import gateway_of

        opened = open_project(self.project)
        config = GatewayConfig.from_charter(opened.charter)
        slice = opened.charter.slices.get(self.slice, self.slice) if self.slice is not None else None
        since, until = _time("--since", self.since), _time("--until", self.until)
        wish = Wish(since, until, slice, self.version, self.most, self.out, self.tolerance)
        if self.to is None:
            model = choose(opened.workspace, config, self.release)
            with _Bar() as told:
                return replay(opened.workspace, config, wish, model.version, asks_bundle(model), told)
        if self.release is not None:
            raise UsageError("--to asks whatever answers there; leave out the release")
        gateway = gateway_of(opened, self.to, self.token or os.environ.get("ANDON_TOKEN"))
        try:
            with _Bar() as told:
                return replay(opened.workspace, config, wish, gateway.name, gateway, told)
        finally:
            gateway.close()


def _time(option: str, text: str | None) -> int | None:
    from andon.core.clock import parse_time
    from andon.errors import UsageError

    if text is None:
        return None
    try:
        return parse_time(text)
    except (ValueError, OverflowError):
        raise UsageError(f"{option}: expected a time such as 2026-03-11T09:00:00Z, found {text[:60]!r}") from None


class _Bar(Bar):
    """How many decisions were read, and how many differ."""

    def __call__(self, found: Replayed, share: float) -> None:
        self.move(share, f"{found.read:,} read, {found.different:,} differ")


def _show(found: Replayed) -> None:
    left = sum(found.not_replayable.values())
    console.print(
        f"{found.read:,} decisions read = {found.equal:,} answered the same by {found.release} + "
        f"{found.different:,} otherwise + {left:,} not replayable",
        markup=False,
    )
    if found.different:
        console.print(f"  decided otherwise: {found.other_decision:,}", markup=False)
    if found.compared:
        console.print(f"  largest difference of a score: {found.largest_difference:.3g}", markup=False)
    for why, n in sorted(found.not_replayable.items(), key=lambda pair: -pair[1]):
        console.print(f"  not replayable: {n:,} ({why})", markup=False)
    if found.out:
        console.print(f"  {found.out}", markup=False)
