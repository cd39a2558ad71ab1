"""The tables of `benchmarks.rollouts`, in Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from benchmarks.rollouts import BAD, CLOSER, OTHERS, OURS, RULES, Cell, Closer, Figures, Fourth, dominates
from benchmarks.tables import table

__all__ = ["render"]

#: The figures that may be counted as the fourth, as the table says them.
FOURTHS: dict[Fourth, str] = {
    "requests": "with requests",
    "right": "with requests to the right decision",
    "right_whole": "with these until it has everything",
}


def render(found: Sequence[Figures], again: Sequence[Closer], runs: int) -> str:
    """The page: the frontier over all cells, who dominates whom, and every cell."""
    cells = {one.cell for one in found}
    lines = [
        "# Evidence, cell by cell",
        "",
        "Made by `python -m benchmarks.rollouts`; what is measured, the grid and the rules stand there, with their sources.",
        f"{len(cells)} cells of {runs} good and {runs} bad canaries for each rule. [What it means](evidence.md).",
        "",
        "## Over all cells",
        "",
        *_frontier(found),
        "",
        "## Who dominates whom",
        "",
        *_dominance(found, runs),
        "",
        *_closer(again),
        "",
        *_cells(found),
    ]
    return "\n".join(lines) + "\n"


def _frontier(found: Sequence[Figures]) -> list[str]:
    rows = []
    for rule in RULES:
        mine = [one for one in found if one.rule == rule]
        if not mine:
            continue
        bad = [[one.bad_promoted for one in mine if one.ratio == ratio] for ratio in BAD]
        requests = [one.requests for one in mine if one.ratio == BAD[0]]
        right = [one.right for one in mine]
        rows.append([
            rule,
            *(_share(float(np.mean(one))) for one in bad),
            _share(float(np.mean([one.good_reverted for one in mine]))),
            _share(max(one.good_reverted for one in mine)),
            _share(float(np.mean([one.good_held for one in mine]))),
            _count(_geometric([one.extra for one in mine])),
            _count(float(np.median(requests))),
            _count(float(np.median(right))),
        ])  # fmt: skip
    head = ["rule", *(f"bad {ratio:g}x promoted" for ratio in BAD), "good reverted", "at worst", "good held"]
    more = ["extra errors, geometric mean", "requests, median cell", "requests to the right decision, median cell"]
    return [table([*head, *more], rows)]


def _dominance(found: Sequence[Figures], runs: int) -> list[str]:
    by = {(one.rule, one.cell): one for one in found}
    cells = sorted({one.cell for one in found})
    rows = []
    for other in OTHERS:
        pairs = [(by[OURS, cell], by[other, cell]) for cell in cells]
        ours = sum(dominates(a, b, runs) for a, b in pairs)
        theirs = [a.cell for a, b in pairs if dominates(b, a, runs)]
        fourths = [
            sum(dominates(*pair, runs, fourth) for pair in order)
            for fourth in FOURTHS
            for order in (pairs, [(b, a) for a, b in pairs])
        ]
        rows.append([other, *(f"{n} of {len(cells)}" for n in (ours, len(theirs), *fourths))])
    told = [f"{what} {name}" for name in FOURTHS.values() for what in ("dominates", "is dominated")]
    head = ["other rule", f"{OURS} dominates", f"{OURS} is dominated", *told]
    lost = [(other, cell) for other in OTHERS for cell in cells if dominates(by[other, cell], by[OURS, cell], runs)]
    lines = [table(head, rows), ""]
    if lost:
        lines.append(f"Where {OURS} is dominated:")
        lines.append("")
        lines += [f"* by {rule}: {_cell(cell)}" for rule, cell in lost]
    return lines


def _closer(again: Sequence[Closer]) -> list[str]:
    """The cells in which another rule dominates ours by some count, played with more runs."""
    names: dict[str, str] = {"None": "three figures"}
    names.update((str(count), name) for count, name in FOURTHS.items())
    rows = []
    for one in again:
        for figures in (one.ours, one.theirs):
            mine = figures is one.ours
            rows.append([
                _cell(figures.cell) if mine else "",
                figures.rule,
                _share(figures.bad_promoted),
                _share(figures.good_reverted),
                f"{_count(figures.extra)} ± {_count(2 * figures.extra_error)}",
                _count(figures.requests),
                "" if mine else ", ".join(names[count] for count in one.counts),
                "" if mine else ", ".join(names[count] for count in one.still) or "no more",
            ])  # fmt: skip
    head = ["cell", "rule", "bad promoted", "good reverted", "extra errors", "requests"]
    return [
        f"## Cells in which another rule dominated {OURS} by some count of figures, with {CLOSER:,} runs",
        "",
        table([*head, f"dominated {OURS}", f"dominates {OURS} with {CLOSER:,} runs"], rows),
    ]


def _cells(found: Sequence[Figures]) -> list[str]:
    lines: list[str] = []
    for cell in sorted({one.cell for one in found}):
        rows = [
            [
                one.rule,
                _share(one.bad_promoted),
                _share(one.good_reverted),
                _share(one.good_held),
                _count(one.extra),
                _count(one.requests),
                _count(one.right),
            ]
            for one in found
            if one.cell == cell
        ]
        head = ["rule", "bad promoted", "good reverted", "good held", "extra errors", "requests", "right decision"]
        lines += [f"## {_cell(cell)}", "", table(head, rows), ""]
    return lines[:-1]


def _cell(cell: Cell) -> str:
    traffic, base, world, ratio = cell
    return f"{traffic:,} requests a minute, {base * 100:g} % errors, {world}, bad {ratio:g} times as many"


def _share(value: float) -> str:
    return f"{max(0.0, 100 * value):.1f} %"


def _count(value: float) -> str:
    return "never" if math.isinf(value) else f"{float(f'{value:.2g}'):,.0f}"


def _geometric(values: Sequence[float]) -> float:
    return math.exp(sum(math.log(max(one, 0.1)) for one in values) / len(values))
