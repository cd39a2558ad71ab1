"""How runs, evaluations and priority tables look in a terminal, and how training says where it is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from andon.surface.cli.output import console, note

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from andon.measure.estimate import Estimate
    from andon.model.baseline import Baseline
    from andon.model.compare import Comparison
    from andon.model.evaluate import Evaluation
    from andon.model.priority import Priorities
    from andon.model.run import Run

__all__ = [
    "measurable",
    "progress_shown",
    "short",
    "show_baselines",
    "show_evaluation",
    "show_priorities",
    "show_run",
    "show_sides",
    "show_table",
]


class _Lines:
    """Progress where there is no terminal: one plain line on stderr for every stage."""

    def __enter__(self) -> Callable[[str, int, int], None]:
        return lambda stage, step, of: note(f"{step}/{of} {stage}")

    def __exit__(self, *_: object) -> None:
        return None


class _Bar:
    """Progress on a terminal: a bar on stderr, gone when it is done."""

    def __enter__(self) -> Callable[[str, int, int], None]:
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._progress.start()
        self._task = self._progress.add_task("begin", total=None)
        return self._show

    def _show(self, stage: str, step: int, of: int) -> None:
        self._progress.update(self._task, description=stage, completed=step - 1, total=of)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


def progress_shown() -> _Bar | _Lines:
    """A bar on a terminal, plain lines elsewhere; both on stderr."""
    return _Bar() if sys.stderr.isatty() else _Lines()


def show_table(table: Table) -> None:
    """Print a table; where there is no terminal it is as wide as it needs to be."""
    if console.is_terminal:
        console.print(table)
    else:
        Console(width=240).print(table)


def short(estimate: Estimate | None) -> str:
    """Three digits, or a dash."""
    return "-" if estimate is None or estimate.value is None else f"{estimate.value:.3g}"


def show_run(run: Run) -> None:
    """A run: its legs, how it is stored and why, what it cost, how good it is."""
    console.print(
        f"[bold]{run.id}[/] {run.status}: {run.dataset_name} {run.dataset}, code {run.code[:7]}, seed {run.seed}"
    )
    if run.error:
        console.print(run.error, markup=False)
        return
    why = f" ({run.reason})" if run.reason else ""
    console.print(f"bundle {run.bundle[:12]}, engine {run.engine}{why}", markup=False)
    console.print(f"{run.wall_seconds:.1f} s, peak memory {run.peak_mb:.0f} MB; measured on the {run.part} part:")
    shown, live = measurable({"": run.metrics})
    for name, estimate in shown[""].items():
        console.print(f"  {name:<20} {estimate}", markup=False)
    if live:
        note(f"Only live traffic can tell: {', '.join(live)}.")
    for text in run.notes:
        note(f"Mind: {text}.")


def show_evaluation(found: Evaluation) -> None:
    """Metrics by slice, and who is taken for whom."""
    table = Table("slice", "metric", "value", "interval", "n", box=None)
    shown, live = measurable({"everybody": found.metrics, **found.slices})
    for part, metrics in shown.items():
        for name, one in metrics.items():
            interval = f"{_end(one.low)} to {_end(one.high)}" if one.defined else str(one.reason)
            table.add_row(escape(part), escape(name), short(one), escape(interval), f"{one.n:,}")
    show_table(table)
    matrix = Table("true \\ answered", *map(escape, found.confusion["classes"]), "other", box=None)
    for name, row, other in zip(*(found.confusion[key] for key in ("classes", "matrix", "other")), strict=True):
        matrix.add_row(escape(name), *map(str, row), str(other))
    show_table(matrix)
    if live:
        note(f"Only live traffic can tell: {', '.join(live)}.")


def show_baselines(found: list[Baseline]) -> None:
    """What the figures are compared with: the same metrics of people, a quick rule, a release before."""
    for one in found:
        figures = ", ".join(f"{name} {estimate}" for name, estimate in one.metrics.items() if estimate.defined)
        console.print(f"baseline {one.kind} ({one.source}){': ' if figures else ''}{figures}", markup=False)


def measurable(parts: Mapping[str, Mapping[str, Estimate]]) -> tuple[dict[str, dict[str, Estimate]], list[str]]:
    """The metrics that are known in some part, and the names of those that these records cannot tell at all."""
    known = {name for metrics in parts.values() for name, one in metrics.items() if one.defined or one.n}
    every = dict.fromkeys(name for metrics in parts.values() for name in metrics)
    shown = {part: {name: one for name, one in metrics.items() if name in known} for part, metrics in parts.items()}
    return shown, [name for name in every if name not in known]


def show_sides(found: Comparison) -> None:
    """Two models side by side, metric by metric and slice by slice."""
    pairs = {"everybody": found.metrics, **found.slices}
    sides = [{part: {name: both[side] for name, both in m.items()} for part, m in pairs.items()} for side in (0, 1)]
    shown = [measurable(side)[0] for side in sides]
    table = Table("slice", "metric", found.first, found.second, box=None)
    for part, metrics in shown[0].items():
        for name, one in metrics.items():
            table.add_row(escape(part), escape(name), escape(str(one)), escape(str(sides[1][part][name])))
    show_table(table)


def _end(value: float | None) -> str:
    return "open" if value is None else f"{value:.3g}"


def show_priorities(found: Priorities) -> None:
    """The priority table with its total."""
    compared = any(row.baseline is not None for row in found.rows)
    gains = ("baseline", "model gain", "label gain") if compared else ()
    table = Table("rank", Column("slice", min_width=12), box=None)
    for name in ("n", "share", "of errors", "accuracy", "interval", *gains):
        table.add_column(name, justify="right", min_width=6)
    for row in found.rows:
        figures = [_percent(v) for v in (row.baseline, row.model_gain, row.label_gain)] if compared else []
        place = "-" if row.rank is None else str(row.rank)
        interval = f"{_end(row.accuracy.low)} to {_end(row.accuracy.high)}" if row.accuracy.defined else "-"
        shares = [_percent(row.share), _percent(row.error_share)]
        table.add_row(place, escape(row.slice), f"{row.n:,}", *shares, short(row.accuracy), interval, *figures)
    show_table(table)
    total = found.total
    summary = f"{total.n:,} rows with a label, {total.errors:,} errors, accuracy {total.accuracy}"
    room = f"; room to the baseline {_percent(total.model_gain)}" if total.model_gain is not None else ""
    console.print(summary + room, markup=False)
    if total.overlap:
        note(f"{_percent(total.overlap)} of the rows lie in several slices, so gains and shares do not add up.")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"
