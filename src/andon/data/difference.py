"""What changed between two versions, in rows and labels.

With a column ``id`` rows are matched by it; without one a row is known by everything but its label, so that equal rows
are counted, not guessed at: of a rows like this before and b after, the smaller number stayed, and among those that
stayed as few labels as possible changed.

>>> a = pl.DataFrame({"n": [1, 2, 3], "y": ["p", "q", "q"]})
>>> b = pl.DataFrame({"n": [1, 2, 4], "y": ["p", "p", "q"]})
>>> found = difference(a, b, "y")
>>> found.added, found.removed, found.relabelled, found.transitions.rows()
(1, 1, 1, [('q', 'p', 1)])
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from andon.data.dataset import find, load
from andon.store.workspace import Workspace

__all__ = ["Difference", "diff", "difference"]


@dataclass(frozen=True)
class Difference:
    """Counts of rows; ``transitions`` has ``before``, ``after`` and ``n`` for every pair of labels that changed.

    ``revised`` counts rows with the same id of which a value other than the label changed (None without ids).
    """

    rows: tuple[int, int]
    added: int
    removed: int
    relabelled: int
    transitions: pl.DataFrame
    revised: int | None = None
    columns: dict[str, list[str]] = field(default_factory=dict)

    @property
    def same(self) -> bool:
        """Whether nothing changed."""
        return not (self.added or self.removed or self.relabelled or self.revised or any(self.columns.values()))

    def to_json(self) -> dict[str, Any]:
        """As printed by ``andon data diff --json``."""
        return {
            "rows": {"before": self.rows[0], "after": self.rows[1]},
            "added": self.added,
            "removed": self.removed,
            "relabelled": self.relabelled,
            "revised": self.revised,
            "transitions": self.transitions.to_dicts(),
            "columns": self.columns,
        }


def diff(workspace: Workspace, before: str, after: str) -> Difference:
    """The difference between two datasets of a workspace; their targets must have the same name to compare labels."""
    a, b = find(workspace, before), find(workspace, after)
    old, new = load(workspace, a.version, images=False), load(workspace, b.version, images=False)
    if a.contract.target != b.contract.target:
        new = new.rename({b.contract.target: a.contract.target})
    return difference(old, new, a.contract.target)


def difference(old: pl.DataFrame, new: pl.DataFrame, target: str) -> Difference:
    """The difference between two frames with a label column ``target``; columns that only one has are named, not compared."""
    shared = [name for name in old.columns if name in new.columns]
    columns = {
        "added": [n for n in new.columns if n not in shared],
        "removed": [n for n in old.columns if n not in shared],
    }
    alike = [name for name in shared if old.schema[name] == new.schema[name]]
    casts = {name: pl.String for name in shared if name not in alike}
    old, new = old.select(shared).cast(casts), new.select(shared).cast(casts)  # type: ignore[arg-type]
    rows = (old.height, new.height)
    if "id" in shared and old["id"].null_count() == 0 and new["id"].null_count() == 0:
        return _by_id(old, new, target, rows, columns)
    return _by_value(old, new, target, rows, columns)


def _by_id(
    old: pl.DataFrame, new: pl.DataFrame, target: str, rows: tuple[int, int], columns: dict[str, list[str]]
) -> Difference:
    both = old.join(new, on="id", suffix="\0new")
    values = [name for name in old.columns if name not in ("id", target)]
    moved = both.filter(pl.col(target).ne_missing(pl.col(f"{target}\0new")))
    transitions = moved.group_by(before=target, after=f"{target}\0new").agg(n=pl.len())
    changed = [pl.col(name).ne_missing(pl.col(f"{name}\0new")) for name in values]
    revised = int(both.select(pl.any_horizontal(*changed).sum()).item()) if changed else 0
    return Difference(
        rows, rows[1] - both.height, rows[0] - both.height, moved.height, _ordered(transitions), revised, columns
    )


def _by_value(
    old: pl.DataFrame, new: pl.DataFrame, target: str, rows: tuple[int, int], columns: dict[str, list[str]]
) -> Difference:
    """Per distinct row (label aside): how many of each label there were and are."""
    keys = [name for name in old.columns if name != target]
    counts = _counts(old, keys, target, "a").join(
        _counts(new, keys, target, "b"), on=[*keys, target], how="full", coalesce=True, nulls_equal=True
    )
    counts = counts.with_columns(pl.col("a").fill_null(0), pl.col("b").fill_null(0))
    totals = counts.group_by(keys or pl.lit(0)).agg(
        a=pl.col("a").sum(), b=pl.col("b").sum(), same=pl.min_horizontal("a", "b").sum()
    )
    stayed, same = (int(n) for n in totals.select(pl.min_horizontal("a", "b").sum(), pl.col("same").sum()).row(0))
    moved = counts.with_columns(less=(pl.col("a") - pl.col("b")).clip(0), more=(pl.col("b") - pl.col("a")).clip(0))
    transitions = _transitions(moved, keys, target)
    return Difference(rows, rows[1] - stayed, rows[0] - stayed, stayed - same, _ordered(transitions), None, columns)


def _counts(frame: pl.DataFrame, keys: list[str], target: str, name: str) -> pl.DataFrame:
    return frame.group_by([*keys, target]).agg(pl.len().cast(pl.Int64).alias(name))


def _transitions(moved: pl.DataFrame, keys: list[str], target: str) -> pl.DataFrame:
    """Within one distinct row, pair the labels that became fewer with those that became more, in label order."""
    less, more = pl.col("less") > 0, pl.col("more") > 0
    busy = moved.filter(less | more).sort(target).group_by(keys or pl.lit(0), maintain_order=True)
    sides = busy.agg(
        gone=pl.col(target).filter(less), gone_n=pl.col("less").filter(less),
        come=pl.col(target).filter(more), come_n=pl.col("more").filter(more),
    ).select("gone", "gone_n", "come", "come_n")  # fmt: skip
    alone = (pl.col("gone").list.len() == 1) & (pl.col("come").list.len() == 1)
    first = pl.all().list.first()
    plain = sides.filter(alone).select(first).select(
        before="gone", after="come", n=pl.min_horizontal("gone_n", "come_n")
    )  # fmt: skip
    rest = [pair for row in sides.filter(~alone).iter_rows() for pair in _pairs(*row)]
    schema = {"before": plain.schema["before"], "after": plain.schema["after"], "n": pl.Int64()}
    everything = pl.concat([plain, pl.DataFrame(rest, schema=schema, orient="row")])
    return everything.group_by("before", "after").agg(pl.col("n").sum())


def _pairs(gone: list[Any], gone_n: list[int], come: list[Any], come_n: list[int]) -> Iterator[tuple[Any, Any, int]]:
    i = j = 0
    while i < len(gone) and j < len(come):
        n = min(gone_n[i], come_n[j])
        yield gone[i], come[j], n
        gone_n[i] -= n
        come_n[j] -= n
        i, j = i + (not gone_n[i]), j + (not come_n[j])


def _ordered(transitions: pl.DataFrame) -> pl.DataFrame:
    return transitions.select("before", "after", pl.col("n").cast(pl.Int64)).sort(
        ["n", "before", "after"], descending=[True, False, False]
    )
