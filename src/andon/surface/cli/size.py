"""``andon scope size``: how much machine and how many people the charter takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from andon.surface.cli.output import JsonFlag, ProjectOption, checked, console, emit, note

if TYPE_CHECKING:
    from andon.surface.sizing import Sized

__all__ = ["Sizing"]

_Qps = Annotated[float | None, typer.Option("--qps", help="Requests per second; the charter's if not given.")]
_Latency = Annotated[
    float | None, typer.Option("--latency", help="The goal for the p95 in ms; the charter's if not given.")
]
_Rows = Annotated[
    float | None, typer.Option("--rows-per-day", help="Cases a day; the rate without a rest if not given.")
]
_Workers = Annotated[
    int | None, typer.Option("--workers", min=1, max=256, help="Gateway processes; the charter's if not given.")
]
_Deferral = Annotated[
    float | None, typer.Option("--deferral", help="The share of cases for people; by the level if not given.")
]
_Each = Annotated[
    float | None, typer.Option("--per-reviewer", min=0.001, help="Cases that one person decides in an hour.")
]
_Fresh = Annotated[bool, typer.Option("--fresh", help="Measure now, even where a kept load run would do.")]


@dataclass(frozen=True)
class Sizing:
    """Forecast workers, latency, memory, log and people for the charter's rate, from a short measurement on this machine."""

    qps: _Qps = None
    latency: _Latency = None
    rows_per_day: _Rows = None
    workers: _Workers = None
    deferral: _Deferral = None
    per_reviewer: _Each = None
    fresh: _Fresh = False
    project: ProjectOption = None
    as_json: JsonFlag = False

    def __post_init__(self) -> None:
        """Run it: the fields are the words on the command line."""
        from msgspec import to_builtins

        from andon.config import open_project
        from andon.surface.sizing import Size, size

        wish = Size(
            qps=self.qps,
            p95_ms=self.latency,
            rows_per_day=self.rows_per_day,
            workers=self.workers,
            deferral=self.deferral,
            each=self.per_reviewer,
            fresh=self.fresh,
        )
        found = size(open_project(self.project), wish, note)
        if self.as_json:
            body = to_builtins(found)
            body["calibration"].pop("latency_ms")
            emit({"verdict": found.verdict.value, **body})
        else:
            _show(found)
        raise typer.Exit(found.verdict.exit_code)


def _show(found: Sized) -> None:
    console.print(f"{found.qps:g} per second, forecast from {found.source}", markup=False)
    checked(found.checks)
    for sentence in _facts(found):
        console.print(f"  {sentence}", markup=False)
    note(f"{found.verdict.value}; what else runs on the machine is not in it: `andon load` shows the real thing")


def _facts(found: Sized) -> list[str]:
    said = []
    for name, one in (("p50", found.now.p50_ms), ("p99", found.now.p99_ms)):
        if one.value is not None:
            said.append(f"{name} {one.value:.3g} ms ({one.low:.3g} to {one.high:.3g})")
    if found.needed is None:
        said.append(f"no number of workers on {found.cores} cores would do")
    elif found.needed.workers != found.workers:
        said.append(f"{found.needed.workers} would do, {100 * found.needed.utilisation:.0f} % busy")
    said.append(f"{found.storage.rows_per_day:,.0f} cases a day: {found.rows_from}")
    said.append(f"{100 * found.deferral:.3g} % come to people: {found.deferral_from}")
    if found.people.reviewers is not None:
        said.append(f"{found.people.reviewers:,} reviewers, so that each is at most 80 % busy")
    if found.shadow_cores is not None:
        said.append(f"a shadow takes at most {found.shadow_cores:.2g} cores more, at idle priority")
    if found.now.stopped > 0.02:
        said.append(f"the machine stood still {100 * found.now.stopped:.0f} % of the time: other programs run on it")
    return said
