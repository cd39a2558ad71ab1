"""The inspection story's tables: what the line was asked, set for reading."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table

from andon.core.clock import iso
from andon.measure.estimate import Estimate
from andon.model.evaluate import Evaluation
from andon.model.priority import Priorities

__all__ = ["by_class", "confusions", "hours", "priorities", "two_digits"]


def two_digits(estimate: Estimate | None) -> str:
    """An estimate and its interval in twelve characters.

    >>> two_digits(Estimate(0.912, 0.85, 0.957, 90, "wilson")), two_digits(None)
    ('0.91 .85–.96', '-')
    """
    if estimate is None or estimate.value is None or estimate.low is None or estimate.high is None:
        return "-"
    return f"{estimate.value:.2f} {_end(estimate.low)}–{_end(estimate.high)}"


def _end(share: float) -> str:
    text = f"{share:.2f}"
    return text[1:] if text.startswith("0") else text[:3]


def _sheet(title: str, *columns: str) -> Table:
    """A table of at most 80 characters; its column "type" is text, all others are numbers."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        table.add_column(name, justify="left" if name == "type" else "right", no_wrap=True)
    return table


def by_class(found: Evaluation, counts: Mapping[str, int], title: str) -> Table:
    """Precision, recall and F1 of every class, each with its interval; ``counts`` are the rows that are truly of it."""
    table = _sheet(title, "type", "n", "precision", "recall", "F1")
    for name in found.confusion["classes"]:
        figures = (two_digits(found.metrics[f"{kind}[{name}]"]) for kind in ("precision", "recall", "f1"))
        table.add_row(name, str(counts.get(name, 0)), *figures)
    return table


def confusions(found: Evaluation) -> Table:
    """Who is taken for whom: a row for each true type, a column (its initials) for each answer; zeros are left out."""
    classes, matrix = found.confusion["classes"], found.confusion["matrix"]
    initials = ("".join(word[0] for word in name.split()) for name in classes)
    table = _sheet("rows: the type; columns: what the model says, by initials", "type", *initials)
    for truth, row in zip(classes, matrix, strict=True):
        cells = [f"[bold]{n}[/]" if answer == truth else str(n or "") for answer, n in zip(classes, row, strict=True)]
        table.add_row(truth, *cells)
    return table


def priorities(found: Priorities) -> Table:
    """The priority table by type. ``gain`` is what being always right on it would add to the accuracy, in points."""
    table = _sheet(
        "where to improve next; gain: points of accuracy, were it always right",
        *("#", "type", "n", "share", "accuracy", "errors", "gain"),
    )
    for row in found.rows:
        part = "-" if row.error_share is None else f"{row.error_share:.0%}"
        figures = (f"{row.share:.1%}", two_digits(row.accuracy), part, f"{100 * row.error_gain:.1f}")
        table.add_row(str(row.rank), row.slice, str(row.n), *figures)
    return table


def hours(series: Mapping[str, Sequence[tuple[int, Estimate]]]) -> Table:
    """Metrics by hour: a row for each window, a column for each metric."""
    table = _sheet("the pictures themselves, by hour", "hour", "n", *series)
    known = {name: dict(found) for name, found in series.items()}
    for start in sorted(set().union(*known.values())):
        row = [known[name].get(start) for name in series]
        n = max((one.n for one in row if one is not None), default=0)
        table.add_row(iso(start)[11:16], str(n), *(_three_digits(one) for one in row))
    return table


def _three_digits(estimate: Estimate | None) -> str:
    return "-" if estimate is None or estimate.value is None else f"{estimate.value:.3f}"
