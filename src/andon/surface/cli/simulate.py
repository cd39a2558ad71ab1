"""``andon deploy simulate``: a planned rollout played many times before it begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from andon.surface.cli.output import JsonFlag, ProjectOption, console, emit, note

if TYPE_CHECKING:
    from andon.config import Project
    from andon.deploy.rehearsal import Outcome, Spread
    from andon.measure.estimate import Estimate
    from andon.surface.simulation import Played, Simulated

__all__ = ["Simulate"]

_VERSION = Annotated[str | None, typer.Argument(help="The release that is planned; any if not given.")]
_RATE = Annotated[
    float | None,
    typer.Option("--rate", help="Assume that so many of the live version's units have an event (a share)."),
]
_PER_HOUR = Annotated[float | None, typer.Option("--per-hour", help="Assume so many units an hour.")]
_DELAY = Annotated[str | None, typer.Option("--delay", help="Assume that events are known so much later, such as 6h.")]
_PAST = Annotated[str | None, typer.Option("--past", help="So much of the log is played again; 7d if not given.")]
_GUARDRAIL = Annotated[str | None, typer.Option("--guardrail", help="Only this one of the charter's.")]
_RATIO = Annotated[
    list[float] | None,
    typer.Option("--ratio", help="So many times the live version's events (repeat); 1, the margin, 2, 3, 10."),
]
_SHARE = Annotated[float | None, typer.Option("--share", help="The share it begins with; the charter's start_share.")]
_STEPS = Annotated[
    str | None, typer.Option("--steps", help="A ramp by hand instead of the automatic one: 0.05:2h,0.2:6h,0.5")
]
_MARGIN = Annotated[float | None, typer.Option("--margin", help="Safe below so many times; the charter's.")]
_ALPHA = Annotated[float | None, typer.Option("--alpha", help="Chance to call a harmless one harmful; the charter's.")]
_BETA = Annotated[float | None, typer.Option("--beta", help="Chance to call a bad one safe; the charter's.")]
_BUDGET = Annotated[float | None, typer.Option("--budget", help="Units with an event more it may cost; the charter's.")]
_RUNS = Annotated[int, typer.Option("--runs", help="How many times each ratio is played.")]
_MOST = Annotated[str, typer.Option("--most", help="A run that takes longer is not decided.")]
_SEED = Annotated[int, typer.Option("--seed", help="The same seed gives the same table.")]


@dataclass(frozen=True)
class Simulate:
    """Play a planned rollout on assumed or past traffic: when it decides, how often wrongly, and what it costs."""

    version: _VERSION = None
    rate: _RATE = None
    per_hour: _PER_HOUR = None
    delay: _DELAY = None
    past: _PAST = None
    guardrail: _GUARDRAIL = None
    ratio: _RATIO = None
    share: _SHARE = None
    steps: _STEPS = None
    margin: _MARGIN = None
    alpha: _ALPHA = None
    beta: _BETA = None
    budget: _BUDGET = None
    runs: _RUNS = 100
    most: _MOST = "28d"
    seed: _SEED = 0
    project: ProjectOption = None
    as_json: JsonFlag = False

    def __post_init__(self) -> None:
        """Run it: the fields are the words on the command line."""
        from andon.surface.cli.model_view import progress_shown
        from andon.surface.simulation import Ask, simulate

        names = (name for name in Ask.__struct_fields__ if name != "ratios")
        ask = Ask(ratios=tuple(self.ratio or ()), **{name: getattr(self, name) for name in names})
        opened = self._project()
        with progress_shown() as tell:
            found = simulate(opened, ask, tell)
        if self.as_json:
            emit(msgspec.to_builtins(found))
        else:
            _show(found)

    def _project(self) -> Project | None:
        """The project; none is needed where the traffic is assumed."""
        from andon.config import find_root, open_project
        from andon.errors import NotFound

        if self.project is None and self.rate is not None:
            try:
                find_root()
            except NotFound:
                return None
        return open_project(self.project)


def _show(found: Simulated) -> None:
    ramp = f"begins with {100 * found.start_share:.4g} % of the units, then by a harm budget of {found.budget:g}"
    if not isinstance(found.ramp, str):
        ramp = ", ".join(f"{100 * share:.4g} % from hour {hour:.4g}" for hour, share in found.ramp)
    console.print(
        f"{found.version or 'a release'}: {ramp}; margin {found.margin:g}, alpha {found.alpha:g}, beta {found.beta:g}; "
        f"{found.runs:,} runs for each ratio, seed {found.seed}",
        markup=False,
    )
    for one in found.guardrails:
        _table(found, one)
    note(
        "too many: units of the candidate with an event that the live version would have spared them; ( ) behind hours, "
        f"requests and these: 9 of 10 runs need no more; -: never within {found.hours / 24:.4g} days; !: a wrong verdict; "
        "shares with 95 % intervals"
    )


def _table(found: Simulated, one: Played) -> None:
    from rich.table import Table

    from andon.surface.cli.model_view import show_table

    console.print(
        f"{one.guardrail}, {found.traffic} traffic: {one.per_hour:,.4g} units an hour, {100 * one.rate:.3g} % of them with an "
        f"event, {one.requests:.3g} requests for each; alpha here {one.alpha:.3g}",
        markup=False,
    )
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("ratio", "rolled back %", "safe %", "not decided %"):
        table.add_column(column, no_wrap=True)
    for column in ("hours", "requests", "too many"):
        table.add_column(column, no_wrap=True, justify="right")
    for row in one.ratios:
        table.add_row(
            f"{row.ratio:g}", *_shares(row), *(_spread(each) for each in (row.hours, row.requests, row.extra))
        )
    show_table(table)


def _shares(row: Outcome) -> list[str]:
    parts = {"rolled_back": row.rolled_back, "safe": row.safe, "": row.undecided}
    return [
        f"{_share(part)}{' !' if name and name == row.false and part.value else ''}" for name, part in parts.items()
    ]


def _share(part: Estimate) -> str:
    """A share with its interval, in percent.

    >>> from andon.measure.estimate import wilson
    >>> _share(wilson(3, 100)), _share(wilson(100, 100))
    ('3 (1 to 8.5)', '100 (96 to 100)')
    """
    value, low, high = (100 * (end or 0.0) for end in (part.value, part.low, part.high))
    return f"{value:.3g} ({low:.2g} to {'100' if high > 99.5 else format(high, '.2g')})"


def _spread(one: Spread) -> str:
    middle, most = ("-" if end is None else _short(end) for end in (one.median, one.most))
    return f"{middle} ({most})"


def _short(number: float) -> str:
    """Three digits.

    >>> _short(0.12345), _short(30072.4), _short(600083321.0), _short(11.0)
    ('0.123', '30,100', '600,000,000', '11')
    """
    return f"{number:.3g}" if abs(number) < 100 else f"{float(f'{number:.3g}'):,.0f}"
