"""One reading of the log for whoever looks again and again: decisions, what became known of them, and each look only what is new.

A look reads on from where the last one ended: rows behind a position in each stream, in files that were not there before.
What was read is kept by the case, so that a review, a label or an adjudication that comes now is put together with what
was known of its case. The rules are those of ``andon.store.outcome``, on all that is known of a case, so what a look says is
what a reading from the beginning says, whatever came in which order and however often one has looked.

Nothing of it is stored. Whoever is started again, or takes over, reads from the beginning once; so does a look that finds
that retention has deleted a day, or that a contract has brought a column, as what was read is then no longer what there is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from andon.store.runs import Runs
from andon.store.view import Mark, Seen

if TYPE_CHECKING:
    from andon.store.workspace import Workspace

__all__ = ["FEEDBACK", "HELD", "REVIEWS", "Follow", "Step"]

HELD = 1_500_000
"""So many rows at most are kept between two looks; with more, each look reads from the beginning."""

REVIEWS = ("id", "kind", "decision", "decided_by", "reviewer", "time_us", "seconds", "saw_suggestion", "simulated")
"""What is kept of a review, beside its place in the log."""

FEEDBACK = ("id", "kind", "value", "time_us", "received_us")
"""What is kept of a feedback, beside its place in the log."""

_PLACE = ("stream", "sequence")


@dataclass(frozen=True, slots=True)
class Step:
    """What a look has found: decisions that are ``new``, and ``old`` ones of which something became known since.

    ``later`` has everything that is known by now of both: the rows of each table that is followed. ``position`` is the last
    sequence of each stream.
    """

    new: pl.DataFrame
    old: pl.DataFrame
    later: Mapping[str, pl.DataFrame]
    position: dict[str, int]

    @property
    def touched(self) -> pl.DataFrame:
        """Both, with what is kept of them."""
        return pl.concat([self.old, self.new.select(self.old.columns)])


class Follow:
    """Follows the decisions since ``since_us`` that somebody asks about, and what becomes known of them.

    ``kept`` names the columns of decisions that are kept (``id`` and the place in the log are always). ``tables`` maps each
    later table that is followed to those of its columns; without any, decisions are read and not kept.
    """

    def __init__(
        self,
        workspace: Workspace,
        since_us: int,
        kept: Sequence[str] = (),
        tables: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self.since_us = since_us
        self._workspace = workspace
        self._kept = list(dict.fromkeys(("id", *_PLACE, *kept)))
        self._tables = {name: list(dict.fromkeys((*columns, *_PLACE))) for name, columns in (tables or {}).items()}
        self.forget()

    def forget(self) -> None:
        """Begin anew with the next look."""
        self._mark: Mark | None = None
        self._decisions = Runs("id")
        self._later = {name: Runs("id") for name in self._tables}

    @property
    def height(self) -> int:
        """How many rows are kept."""
        return self._decisions.height + sum(runs.height for runs in self._later.values())

    @property
    def begins(self) -> bool:
        """Whether the next step reads from the beginning."""
        return self._mark is None

    def look(self, position: Mapping[str, int] | None = None) -> Seen:
        """The log behind what was read; all of it (then ``begins`` is true) where that does not hold any more.

        With a ``position`` it is the log as it was then, from the beginning. Raises ``Unavailable``.
        """
        if position is not None:
            self.forget()
        seen = Seen(self._workspace, self.since_us, None, position, self._mark)
        if seen.goes_on():
            return seen
        self.forget()
        return Seen(self._workspace, self.since_us, None)

    def step(self, seen: Seen, wanted: pl.LazyFrame) -> Step:
        """Read what ``look`` has given: ``wanted`` are rows of ``seen.raw()``, with ``id`` and their place.

        The columns must be the same at each step; what is not wanted now is never seen again. Raises ``PolarsError``
        where a table cannot be read; nothing has changed then.
        """
        parts = [wanted, *(seen.later(name).select(columns) for name, columns in self._tables.items())]
        new, *came = pl.collect_all(parts)
        mark, later = seen.mark(), dict(zip(self._tables, came, strict=True))
        if self.begins:
            found = Step(new, new.select(self._kept).clear(), later, mark.position)
        else:
            found = self._joined(new, later, mark.position)
        if seen.as_of is not None or self.height + len(new) + sum(map(len, came)) > HELD:
            self.forget()
            return found
        self._mark = mark
        if self._tables:
            self._decisions.add(new.select(self._kept))
        for name, rows in later.items():
            self._later[name].add(rows)
        return found

    def _joined(self, new: pl.DataFrame, later: Mapping[str, pl.DataFrame], position: dict[str, int]) -> Step:
        if not later:
            return Step(new, new.select(self._kept).clear(), later, position)
        old = self._decisions.find(pl.concat([rows["id"] for rows in later.values()]))
        ids = pl.concat([old["id"], new["id"]]).unique()
        known = {
            name: pl.concat([self._later[name].find(ids), rows.filter(pl.col("id").is_in(ids.implode()))])
            for name, rows in later.items()
        }
        return Step(new, old, known, position)
