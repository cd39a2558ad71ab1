"""Rows in memory that are found by a key and only ever added: what is found, and added, costs as much as it is, not as much as there is.

Rows are kept in runs sorted by a hash of the key, and a run that has grown to half of the one before it is merged with
that (O'Neil, Cheng, Gawlick & O'Neil, "The log-structured merge-tree", Acta Informatica 1996). So there are a few runs,
each row is merged a few times, and a key is found by a binary search in each.

>>> runs = Runs("id")
>>> for first in range(0, 40, 10):
...     runs.add(pl.DataFrame({"id": [f"c{n % 20}" for n in range(first, first + 10)], "n": range(first, first + 10)}))
>>> runs.find(pl.Series(["c3", "c99"]))["n"].to_list(), runs.height
([3, 23], 40)
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

__all__ = ["Runs"]

_Hashes = npt.NDArray[np.uint64]


class Runs:
    """Rows of one schema by the column ``key``; of those that agree in ``identity`` the one added last counts.

    The first rows added tell the schema, also where there are none.
    """

    def __init__(self, key: str, identity: tuple[str, ...] = ()) -> None:
        self._key = key
        self._identity = identity
        self._runs: list[tuple[_Hashes, pl.DataFrame]] = []
        self._loose: list[pl.DataFrame] = []
        self._empty = pl.DataFrame()
        self.height = 0
        """How many rows are held; of those that were replaced some still are."""

    def add(self, rows: pl.DataFrame) -> None:
        """Keep these rows, as newer than all others."""
        if not self._empty.width:
            self._empty = rows.clear()
        if rows.height:
            self._loose.append(rows)
            self.height += rows.height

    def find(self, keys: pl.Series) -> pl.DataFrame:
        """The rows with one of these keys, older ones first."""
        self._settle()
        wanted = _hashes(keys.unique())
        found = [_at(run, wanted) for run in self._runs]
        rows = pl.concat([self._empty, *found])
        if rows.height and rows.schema[self._key] == pl.String:  # two texts may have one hash
            rows = rows.filter(pl.col(self._key).is_in(keys.unique().implode()))
        return self._newest(rows)

    def all(self) -> pl.DataFrame:
        """All rows, in no order that means anything."""
        return self._newest(pl.concat([self._empty, *(rows for _, rows in self._runs), *self._loose]))

    def _newest(self, rows: pl.DataFrame) -> pl.DataFrame:
        if not self._identity:
            return rows
        return rows.unique(self._identity, keep="last", maintain_order=True)

    def _settle(self) -> None:
        """Make a run of what was added since, and merge those that have become alike in size."""
        if not self._loose:
            return
        self._runs.append(_sorted(pl.concat(self._loose), self._key))
        self._loose = []
        while len(self._runs) > 1 and 2 * self._runs[-1][1].height >= self._runs[-2][1].height:
            newer, older = self._runs.pop()[1], self._runs.pop()[1]
            self._runs.append(_sorted(self._newest(pl.concat([older, newer])), self._key))
        self.height = sum(rows.height for _, rows in self._runs)


def _hashes(keys: pl.Series) -> _Hashes:
    found: _Hashes = keys.hash(seed=11).to_numpy()
    return found


def _sorted(rows: pl.DataFrame, key: str) -> tuple[_Hashes, pl.DataFrame]:
    hashes = _hashes(rows[key])
    order = np.argsort(hashes, kind="stable")
    return hashes[order], rows[order].rechunk()


def _at(run: tuple[_Hashes, pl.DataFrame], wanted: _Hashes) -> pl.DataFrame:
    hashes, rows = run
    first, end = (np.searchsorted(hashes, wanted, side=side) for side in ("left", "right"))
    counts = end - first
    # The places first[0] .. end[0], first[1] .. end[1] and so on, in the order of the run.
    jumps = np.repeat(first - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
    return rows[np.sort(jumps + np.arange(len(jumps)))] if len(jumps) else rows.clear()
