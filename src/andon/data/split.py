"""Train, dev and test: exact for every class, whole for groups and duplicates, sticky as data grow.

On small data a random split is a lottery: of 100 rows with 30 positive, a random 60/20/20 draw leaves dev or test off by
3 or more positives in 30.7 % of cases. Here 18/6/6 comes out every time.

>>> frame = pl.DataFrame({"x": range(100), "y": ["pos"] * 30 + ["neg"] * 70})
>>> result = split(frame, "y")
>>> result.table.select("part", "n", "pos").rows()
[('train', 60, 18), ('dev', 20, 6), ('test', 20, 6)]
>>> result.message
'Exact: train 18 of 60, dev 6 of 20, test 6 of 20 rows are pos. A random draw would leave dev or test off by 3 or more in 30.7 % of draws.'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

from andon.core.registry import did_you_mean
from andon.data.allot import controlled_rounding, unlucky
from andon.data.source import as_polars
from andon.errors import NotFound, UsageError

__all__ = ["DEFAULT_PARTS", "Plan", "Split", "divide", "parse_parts", "split"]

DEFAULT_PARTS: dict[str, float] = {"train": 0.6, "dev": 0.2, "test": 0.2}
_PARTS_MAX = 20

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Plan:
    """How to split: shares by part, the label, more columns to balance (``by``), a column whose rows stay together.

    ``inputs`` are the columns that make two rows duplicates (all others when empty). Raises ``UsageError`` when the
    shares are not positive numbers.
    """

    label: str
    parts: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_PARTS))
    by: tuple[str, ...] = ()
    group: str | None = None
    inputs: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        shares = list(self.parts.values())
        if not 2 <= len(shares) <= _PARTS_MAX or not all(0 < share < float("inf") for share in shares):
            raise UsageError(f"parts: expected 2 to {_PARTS_MAX} names with positive shares, found {dict(self.parts)}")

    @property
    def shares(self) -> Floats:
        """The shares, adding up to 1."""
        shares = np.asarray(list(self.parts.values()), dtype=np.float64)
        normal: Floats = shares / shares.sum()
        return normal


@dataclass(frozen=True)
class Split:
    """The part of every row (``parts``, in the rows' order) and what came out.

    ``table`` has ``part``, ``n``, ``share`` and one column of counts per class. ``together`` says how many rows stay in
    one part because they are duplicates or of one group; ``kept`` how many kept the part they had.
    """

    parts: pl.Series
    table: pl.DataFrame
    message: str
    classes: tuple[str, ...]
    together: int = 0
    kept: int = 0

    def to_json(self) -> dict[str, Any]:
        """``parts`` by name: ``n``, ``share``, ``classes`` and, where there are two classes, ``positives`` (the second)."""
        parts = {}
        for row in self.table.iter_rows(named=True):
            counts = {name: row[_column(name)] for name in self.classes}
            parts[row["part"]] = {"n": row["n"], "share": row["share"], "classes": counts}
            if len(self.classes) == 2:
                parts[row["part"]]["positives"] = counts[self.classes[1]]
        return {"parts": parts, "message": self.message, "together": self.together, "kept": self.kept}

    def _repr_html_(self) -> str:
        return f"<p>{self.message}</p>{self.table._repr_html_()}"

    def plot(self) -> Any:
        """Classes by part, as a plotly figure."""
        import plotly.graph_objects as figures

        bars = [
            figures.Bar(name=name, x=self.table["part"].to_list(), y=self.table[_column(name)].to_list())
            for name in self.classes
        ]
        return figures.Figure(bars, {"barmode": "stack", "yaxis": {"title": "rows"}})


def split(
    frame: Any,
    label: str,
    parts: Mapping[str, float] | None = None,
    *,
    by: Sequence[str] = (),
    group: str | None = None,
    seed: int = 0,
    previous: pl.Series | None = None,
) -> Split:
    """Split a polars or pandas frame; see ``Plan`` for the arguments. ``previous`` holds the part that a row had, or null.

    Raises ``NotFound`` for a column that is not there and ``UsageError`` for parts that make no sense.
    """
    plan = Plan(label, parts or DEFAULT_PARTS, tuple(by), group, seed=seed)
    return divide(as_polars(frame), plan, previous)


def divide(frame: pl.DataFrame, plan: Plan, previous: pl.Series | None = None, classes: Sequence[str] = ()) -> Split:
    """Split by a plan, in four moves: keep what had a part, then whole units by size, then single rows exactly."""
    for name in (plan.label, *plan.by, *plan.inputs, *([plan.group] if plan.group else [])):
        if name not in frame.columns:
            raise NotFound(f"the data have no column {name!r}; {did_you_mean(name, frame.columns)}")
    if not frame.height:
        raise UsageError("there are no rows to split; expected at least one")
    strata = _codes(frame, [plan.label, *plan.by])
    units, together, note = _units(frame, plan)
    had = _had(frame.height, plan, previous)
    part = had.copy()
    table = _Table(strata, plan.shares)
    table.take(np.arange(frame.height), part)
    if units is not None:
        _whole_units(units, part, table, plan.seed)
    _single_rows(part, table, plan.seed)
    names = pl.Series(list(plan.parts))
    assigned = names.gather(pl.Series(part)).alias("part")
    return _result(frame, plan, assigned, (together, int((had >= 0).sum()), note), tuple(classes))


def parse_parts(text: str) -> dict[str, float]:
    """Shares as people write them.

    >>> parse_parts("60/20/20"), parse_parts("train=0.9,test=0.1")
    ({'train': 60.0, 'dev': 20.0, 'test': 20.0}, {'train': 0.9, 'test': 0.1})
    """
    names = {2: ("train", "test"), 3: ("train", "dev", "test")}
    try:
        if "=" in text:
            pairs = [piece.split("=") for piece in text.split(",")]
            parts = {name.strip(): float(share) for name, share in pairs}
            if len(parts) == len(pairs) and all(parts):
                return parts
        else:
            shares = [float(piece) for piece in text.split("/")]
            return dict(zip(names[len(shares)], shares, strict=True))
    except (ValueError, KeyError):
        pass
    raise UsageError(f"parts: expected '60/20/20' or 'train=0.6,dev=0.2,test=0.2', found {text!r}")


# -- the moves --------------------------------------------------------------------------------------------------------


class _Table:
    """Rows given to each (stratum, part) so far, beside how many there should be in the end."""

    def __init__(self, strata: Ints, shares: Floats) -> None:
        self.strata = strata
        self.shares = shares
        self.sizes = np.bincount(strata)
        self.ideal = np.outer(self.sizes, shares)
        self.have = np.zeros_like(self.ideal)

    def take(self, rows: Ints, part: Ints) -> None:
        """Count these rows where they have a part."""
        rows = rows[part[rows] >= 0]
        np.add.at(self.have, (self.strata[rows], part[rows]), 1)

    def best(self, rows: Ints) -> int:
        """The part in which these rows, together, leave the smallest squared deviation over strata and in total."""
        strata, counts = np.unique(self.strata[rows], return_counts=True)
        over = self.have[strata] - self.ideal[strata]
        cost = (counts[:, None] * (2 * over + counts[:, None])).sum(axis=0)
        total = (self.have - self.ideal).sum(axis=0)
        cost += rows.size * (2 * total + rows.size)
        return int(np.argmin(np.round(cost, 6)))

    def wanted(self, waiting: Ints) -> Ints:
        """How many of the ``waiting`` rows of each stratum each part gets: what it lacks, as far as there are rows."""
        lack = np.clip(self.ideal - self.have, 0.0, None)
        sums = lack.sum(axis=1, keepdims=True)
        shares = np.where(sums > 0, lack / np.where(sums > 0, sums, 1.0), self.shares)
        return controlled_rounding(shares * waiting[:, None])


def _whole_units(units: Ints, part: Ints, table: _Table, seed: int) -> None:
    """Units of several rows: to the part that some of their rows have already, else to where they fit, largest first."""
    order = np.argsort(units, kind="stable")
    starts = np.flatnonzero(np.diff(units[order], prepend=-1))
    sizes = np.diff(starts, append=order.size)
    shuffled = np.random.default_rng(seed).permutation(np.flatnonzero(sizes > 1))
    for unit in shuffled[np.argsort(-sizes[shuffled], kind="stable")]:
        rows = order[starts[unit] : starts[unit] + sizes[unit]]
        fixed = part[rows][part[rows] >= 0]
        waiting = rows[part[rows] < 0]
        if waiting.size:
            part[waiting] = int(np.bincount(fixed).argmax()) if fixed.size else table.best(waiting)
            table.take(waiting, part)


def _single_rows(part: Ints, table: _Table, seed: int) -> None:
    waiting = np.flatnonzero(part < 0)
    if not waiting.size:
        return
    waiting = np.random.default_rng([seed, 1]).permutation(waiting)
    waiting = waiting[np.argsort(table.strata[waiting], kind="stable")]
    sizes = np.bincount(table.strata[waiting], minlength=table.sizes.size)
    wanted = table.wanted(sizes)
    part[waiting] = np.repeat(np.tile(np.arange(wanted.shape[1]), wanted.shape[0]), wanted.ravel())


def _units(frame: pl.DataFrame, plan: Plan) -> tuple[Ints | None, int, str]:
    """Which rows must stay together (one number per unit), how many rows that binds, and what to say about it."""
    marks, note = [], ""
    if plan.group is not None:
        marks.append(_lonely(_codes(frame, [plan.group]), frame[plan.group].is_null().to_numpy()))
    taken = {plan.label, "id", *plan.by, plan.group}
    equal = list(plan.inputs) or [name for name in frame.columns if name not in taken]
    if equal:
        codes = _codes(frame, equal)
        largest, smallest = int(np.bincount(codes).max()), float(plan.shares.min()) * frame.height
        if largest > 1 and largest <= max(2.0, smallest / 2):
            marks.append(codes)
        elif largest > 1:
            note = f" Rows with equal inputs are not kept together: {largest:,} are alike, too many for one part."
    if not marks:
        return None, 0, note
    units = marks[0] if len(marks) == 1 else _joined(marks[0], marks[1])
    bound = int((np.bincount(units)[units] > 1).sum())
    return units, bound, note


def _codes(frame: pl.DataFrame, names: list[str]) -> Ints:
    """Rows numbered by their distinct values in these columns, in sorted order of the values (null last)."""
    rows = frame.select(names).with_row_index("\0row")
    distinct = frame.select(names).unique().sort(names, nulls_last=True).with_row_index("\0code")
    joined = rows.join(distinct, on=names, how="left", nulls_equal=True, maintain_order="left")
    codes: Ints = joined["\0code"].to_numpy().astype(np.int64)
    return codes


def _lonely(codes: Ints, alone: NDArray[np.bool_]) -> Ints:
    """Rows without a group are groups of one."""
    return np.where(alone, codes.max(initial=0) + 1 + np.arange(codes.size), codes)


def _joined(a: Ints, b: Ints) -> Ints:
    """Rows connected through either numbering, as one numbering."""
    offset = int(a.max()) + 1
    size = offset + int(b.max()) + 1
    edges = csr_array((np.ones(a.size, dtype=np.int8), (a, b + offset)), shape=(size, size))
    labels: Ints = connected_components(edges, directed=False)[1].astype(np.int64)[a]
    return labels


def _had(height: int, plan: Plan, previous: pl.Series | None) -> Ints:
    if previous is None:
        return np.full(height, -1, dtype=np.int64)
    if previous.len() != height:
        raise UsageError(f"previous: expected one part or null for each of the {height} rows, found {previous.len()}")
    places = {name: i for i, name in enumerate(plan.parts)}
    strange = sorted(set(previous.drop_nulls().unique()) - set(places))
    if strange:
        raise UsageError(f"rows have the part {strange[0]!r} already, which is not among the parts {', '.join(places)}")
    had: Ints = previous.replace_strict(places, default=-1, return_dtype=pl.Int64).fill_null(-1).to_numpy().copy()
    return had


# -- what came out ----------------------------------------------------------------------------------------------------


def _result(
    frame: pl.DataFrame, plan: Plan, part: pl.Series, told: tuple[int, int, str], classes: tuple[str, ...]
) -> Split:
    label = frame[plan.label].cast(pl.String).fill_null("(none)")
    known = [name for name in classes if name in label.unique()]
    names = tuple(classes) if known else tuple(label.unique().sort())
    counts = pl.DataFrame({"part": part, "label": label}).group_by("part", "label").len()
    cells = {(p, c): n for p, c, n in counts.iter_rows()}
    rows = []
    for name in plan.parts:
        n = sum(count for (p, _), count in cells.items() if p == name)
        rows.append(
            {"part": name, "n": n, "share": n / max(1, frame.height)}
            | {_column(c): cells.get((name, c), 0) for c in names}
        )
    table = pl.DataFrame(rows)
    return Split(part, table, _message(table, names, plan, told), names, *told[:2])


def _column(name: str) -> str:
    """The table's column for a class, also for a class called ``n``."""
    return f"class {name}" if name in ("part", "n", "share") else name


def _message(table: pl.DataFrame, classes: Sequence[str], plan: Plan, told: tuple[int, int, str]) -> str:
    """What came out for the rarest class, and what a random draw would have risked."""
    rare = min(reversed(classes), key=lambda name: int(table[_column(name)].sum()))
    counts = table[_column(rare)]
    said = ", ".join(f"{part} {k:,} of {n:,}" for part, k, n in zip(table["part"], counts, table["n"], strict=True))
    found = np.array([table[_column(name)].to_list() for name in classes])
    ideal = np.outer(found.sum(axis=1), plan.shares)
    exact = bool((np.abs(found - ideal) < 1).all())
    sentence = f"{'Exact' if exact else 'As near as whole groups allow'}: {said} rows are {rare}."
    positives, total = int(counts.sum()), int(table["n"].sum())
    held = table.filter(pl.int_range(pl.len()) != table["n"].arg_max())
    expected = [n * positives / total for n in held["n"]]
    off = max(1, round(min(expected, default=0.0) / 2))
    chance = unlucky(total, positives, held["n"].to_list(), off) if expected else None
    if chance is not None and chance >= 0.0005:
        names = " or ".join(held["part"])
        sentence += f" A random draw would leave {names} off by {off} or more in {100 * chance:.1f} % of draws."
    together, kept, note = told
    if together:
        sentence += f" {together} rows stay together with others like them."
    return sentence + (f" {kept} rows kept their part." if kept else "") + note
