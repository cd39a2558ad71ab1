"""``andon deploy simulate``: a planned rollout played many times before it begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
import typer

from andon.errors import UsageError
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
_PATTERN = Annotated[
    Literal["canary", "blue-green"] | None,
    typer.Option(
        "--pattern", help="As deploy canary --auto or deploy blue-green --auto; as the charter's path has it."
    ),
]
_GRADUAL = Annotated[bool, typer.Option("--gradual", help="A blue/green in the charter's steps, else 10, 25 and 50 %.")]
_STEPS = Annotated[
    str | None, typer.Option("--steps", help="A blue/green with these shares first, as in 0.1,0.5.", show_default=False)
]
_HOLDBACK = Annotated[
    float | None, typer.Option("--holdback", help="What the live version keeps until it is settled; the charter's.")
]
_BAKE = Annotated[str | None, typer.Option("--bake", help="How long it bakes, such as 1d; the charter's.")]
_RAMP = Annotated[
    str | None, typer.Option("--ramp", help="A ramp by hand instead of the automatic rollout: 0.05:2h,0.2:6h,0.5")
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
    pattern: _PATTERN = None
    gradual: _GRADUAL = False
    steps: _STEPS = None
    share: _SHARE = None
    holdback: _HOLDBACK = None
    bake: _BAKE = None
    ramp: _RAMP = None
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

        opened = self._project()
        names = (name for name in Ask.__struct_fields__ if name not in ("ratios", "steps"))
        given = {name: getattr(self, name) for name in names}
        ask = Ask(ratios=tuple(self.ratio or ()), steps=self._steps(opened), **given)
        with progress_shown() as tell:
            found = simulate(opened, ask, tell)
        if self.as_json:
            emit(msgspec.to_builtins(found))
        else:
            _show(found)

    def _steps(self, opened: Project | None) -> tuple[float, ...] | None:
        """The steps of a blue/green, as ``deploy blue-green --auto`` takes them."""
        from andon.surface.cli.rollout import steps_of

        if self.steps is not None and ":" in self.steps:
            raise UsageError(
                f"--steps: expected shares such as 0.1,0.25,0.5, found {self.steps[:40]!r}; a ramp by hand is: --ramp 0.05:2h,0.5"
            )
        return steps_of(self.gradual, self.steps, () if opened is None else opened.charter.rollout.steps)

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
    console.print(
        f"{found.version or 'a release'}: {_way(found)}; margin {found.margin:g}, alpha {found.alpha:g}, beta {found.beta:g}; "
        f"{found.runs:,} runs for each ratio, seed {found.seed}",
        markup=False,
    )
    for one in found.guardrails:
        _table(found, one)
    note(
        "hours until it has everything but the holdback, and until it is settled or back; too many: units of the candidate "
        "with an event that the live version would have spared them; ( ): 9 of 10 runs need no more; -: never within "
        f"{found.hours / 24:.4g} days; !: a wrong end; shares with 95 % intervals"
    )
    for what, why in found.not_played.items():
        note(f"{what} is not played: {why}")


def _way(found: Simulated) -> str:
    """What is played, in words."""
    if not isinstance(found.ramp, str):
        return ", ".join(f"{100 * share:.4g} % from hour {hour:.4g}" for hour, share in found.ramp)
    parts = []
    if "canary" in found.path:
        parts.append(f"canary from {100 * found.start_share:.4g} % of the units by a harm budget of {found.budget:g}")
    rest = f"{100 * found.bake_share:.4g} %" if found.bake_share < 1 else "everything"
    if "blue-green" in found.path:
        shares = [f"{100 * share:.4g}" for share in found.steps]
        parts.append(f"blue/green by {', '.join(shares)} %" if shares else f"blue/green at once with {rest}")
    return f"{', '.join(parts)}, bakes with {rest} for {found.bake_hours:.4g} h"


def _table(found: Simulated, one: Played) -> None:
    from rich.table import Table

    from andon.surface.cli.model_view import show_table

    console.print(
        f"{one.guardrail}, {found.traffic} traffic: {one.per_hour:,.4g} units an hour, {100 * one.rate:.3g} % of them with an "
        f"event, {one.requests:.3g} requests for each{_sample(one)}; alpha here {one.alpha:.3g}",
        markup=False,
    )
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("ratio", "rolled back %", "settled %" if found.ramp == "automatic" else "safe %", "open %"):
        table.add_column(column, no_wrap=True)
    for column in ("everything h", "over h", "too many"):
        table.add_column(column, no_wrap=True, justify="right")
    for row in one.ratios:
        table.add_row(
            f"{row.ratio:g}", *_shares(row), *(_spread(each) for each in (row.everything, row.hours, row.extra))
        )
    show_table(table)


def _sample(one: Played) -> str:
    """What people's look at a part of the answers means here."""
    return f", of a sample in which each stands for {one.stands_for:.3g}" if one.stands_for > 1 else ""


def _shares(row: Outcome) -> list[str]:
    parts = {"rolled_back": row.rolled_back, "safe": row.safe}
    said = [f"{_share(part)}{' !' if name == row.false and part.value else ''}" for name, part in parts.items()]
    return [*said, f"{100 * (row.undecided.value or 0.0):.3g}"]


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
