"""Rows of a frozen dataset to look at: a page of them, filtered by slice, part, label and text.

Everything is looked up in whole columns, so a hundred thousand rows are searched in well under a second; images stay
hashes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import polars as pl

from andon.core.registry import did_you_mean
from andon.data.column import plain
from andon.data.dataset import Dataset, load
from andon.data.division import division, part_of
from andon.errors import NotFound
from andon.measure.slice import Slice
from andon.store.workspace import Workspace

__all__ = ["PAGE", "Example", "Filter", "Found", "alike", "browse", "containing"]

#: Rows of one page.
PAGE = 50


class Example(msgspec.Struct, frozen=True):
    """One row: its place in the dataset (from 1), its part (None: never split) and its values by column."""

    row: int
    part: str | None
    values: dict[str, Any]


@dataclass(frozen=True)
class Filter:
    """Which rows: empty means all. ``text`` is looked for in every value, whatever the case of its letters."""

    slice: Slice | None = None
    part: str = ""
    label: str = ""
    text: str = ""


@dataclass(frozen=True)
class Found:
    """A page of examples, how many rows fit in all, and how many pages that is (at least 1)."""

    examples: tuple[Example, ...]
    total: int
    pages: int


def browse(workspace: Workspace, dataset: Dataset, wanted: Filter, page: int = 1) -> Found:
    """A page of the rows that fit, in the order of the dataset; a page beyond the last one is the last.

    Raises ``NotFound`` for a part or label that the dataset does not have, and ``UsageError`` where the slice reads a
    column that it does not have.
    """
    frame = load(workspace, dataset.version, images=False)
    parts = part_of(workspace, dataset.version) if division(workspace, dataset.version) is not None else None
    keep = _mask(frame, parts, dataset, wanted)
    rows = keep.arg_true() if keep is not None else pl.int_range(frame.height, eager=True)
    pages = max(1, -(-rows.len() // PAGE))
    shown = rows.slice((min(max(page, 1), pages) - 1) * PAGE, PAGE)
    named = zip(shown, frame[shown].iter_rows(named=True), strict=True)
    examples = tuple(
        Example(row + 1, parts[row] if parts is not None else None, {name: plain(v) for name, v in values.items()})
        for row, values in named
    )
    return Found(examples, rows.len(), pages)


def containing(frame: pl.DataFrame, text: str) -> pl.Series:
    """Which rows have the text in any of their values, as they are written; the case of letters does not matter.

    >>> containing(pl.DataFrame({"n": [12, 21], "t": ["a.c", "ABC"]}), "b").to_list()
    [False, True]
    >>> containing(pl.DataFrame({"n": [12, 21], "t": ["a.c", "abc"]}), "A.").to_list()
    [True, False]
    """
    written = pl.all().cast(pl.String).str.to_lowercase().str.contains(text.lower(), literal=True)
    return frame.select(pl.any_horizontal(written.fill_null(False))).to_series()


def alike(frame: pl.DataFrame, inputs: tuple[str, ...], parts: pl.Series | None, row: int) -> dict[str, int]:
    """How many other rows have the same inputs as row ``row`` (from 1), by part ("" where nothing is split).

    >>> frame = pl.DataFrame({"x": [1, 1, 2, 1], "y": ["a", "b", "a", "a"]})
    >>> alike(frame, ("x",), pl.Series(["train", "test", "train", "train"]), 1)
    {'test': 1, 'train': 1}
    """
    names = [name for name in inputs if name in frame.columns]
    same = frame.select(
        pl.all_horizontal(pl.col(name).eq_missing(pl.lit(frame[name][row - 1], frame.schema[name])) for name in names)
    )
    places = same.to_series().arg_true()
    places = places.filter(places != row - 1)
    found = pl.Series("part", [""]).new_from_index(0, places.len()) if parts is None else parts[places]
    return dict(sorted(found.rename("part").value_counts().iter_rows()))


def _mask(frame: pl.DataFrame, parts: pl.Series | None, dataset: Dataset, wanted: Filter) -> pl.Series | None:
    """Which rows fit; None for all of them."""
    masks: list[pl.Series] = []
    if wanted.part:
        known = sorted(parts.unique().drop_nulls()) if parts is not None else []
        _known(dataset, "part", wanted.part, known)
        assert parts is not None
        masks.append(parts == wanted.part)
    if wanted.label:
        _known(dataset, "label", wanted.label, list(dataset.labels))
        masks.append(frame[dataset.contract.target].cast(pl.String) == wanted.label)
    if wanted.slice is not None:
        masks.append(wanted.slice.mask(frame))
    if wanted.text:
        masks.append(containing(frame, wanted.text))
    keep: pl.Series | None = None
    for mask in masks:
        mask = mask.fill_null(False)
        keep = mask if keep is None else keep & mask
    return keep


def _known(dataset: Dataset, what: str, name: str, known: list[str]) -> None:
    if name not in known:
        why = did_you_mean(name, known) if known else "it was never split"
        raise NotFound(f"{dataset.name} {dataset.version} has no {what} {name!r}; {why}")
