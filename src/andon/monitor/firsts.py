"""The units of a guardrail, each with its first case that counts, in the order in which those became known, and what that says.

The order may change only from where something new stands: a case that became known before others were read, a label that was
corrected. So units are kept in blocks with the evidence up to the end of each; what is new is put in its place, and only what
is behind it is counted again. Blocks begin at the same units however often one has looked, so the evidence is the same to
the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import polars as pl

__all__ = ["BLOCK", "Firsts", "Tallied", "firsts"]

BLOCK = 4000
"""So many units at most are counted again where something is put behind them."""

_ORDER = ("known_us", "stream", "sequence")
_Evidence = TypeVar("_Evidence")


def firsts(cases: pl.DataFrame) -> pl.DataFrame:
    """Each unit's first case, in the order in which they became known."""
    return cases.sort(_ORDER).unique("key", keep="first", maintain_order=True)


@dataclass(frozen=True, slots=True)
class Tallied(Generic[_Evidence]):
    """Units of the candidate (``mine``) and in all (``n``), and the ``evidence`` after the last of them.

    ``stands`` is the sum, over the candidate's, of 1 over the chance that each had to be seen.
    """

    evidence: _Evidence
    mine: int = 0
    n: int = 0
    stands: float = 0.0

    @property
    def arms(self) -> tuple[int, int]:
        """Units of (candidate, live)."""
        return self.mine, self.n - self.mine


class Firsts(Generic[_Evidence]):
    """Units by their first case, with the evidence: ``begun`` before any, ``on`` takes it on by units in their order.

    Cases have ``key``, ``known_us``, ``stream``, ``sequence``, ``mine``, ``rho``, ``value`` and ``chance``.
    """

    def __init__(self, begun: _Evidence, on: Callable[[_Evidence, pl.DataFrame], _Evidence]) -> None:
        self._on = on
        self._begun = Tallied(begun)
        self._blocks: list[tuple[pl.DataFrame, Tallied[_Evidence]]] = []
        self._tail: pl.DataFrame | None = None
        self._now: Tallied[_Evidence] | None = self._begun

    @property
    def now(self) -> Tallied[_Evidence]:
        """All units, and what they say."""
        if self._now is None:
            before = self._blocks[-1][1] if self._blocks else self._begun
            self._now = before if self._tail is None else self._counted(before, self._tail)
        return self._now

    def swap(self, before: pl.DataFrame, after: pl.DataFrame) -> None:
        """Some units' cases were those ``before`` and are those ``after``: all of each unit's, in any order."""
        gone, come = _changed(firsts(before), firsts(after))
        if not gone.height and not come.height:
            return
        least = min(int(part["known_us"].min()) for part in (gone, come) if part.height)  # type: ignore[arg-type]
        parts = [come] if self._tail is None else [self._tail.join(gone, on="key", how="anti"), come]
        while self._blocks and self._blocks[-1][0]["known_us"][-1] >= least:
            parts.append(self._blocks.pop()[0].join(gone, on="key", how="anti"))
        rows = pl.concat(parts).sort(_ORDER)
        while rows.height >= BLOCK:
            last = self._blocks[-1][1] if self._blocks else self._begun
            block, rows = rows[:BLOCK], rows[BLOCK:]
            self._blocks.append((block, self._counted(last, block)))
        self._tail, self._now = rows, None

    def _counted(self, before: Tallied[_Evidence], units: pl.DataFrame) -> Tallied[_Evidence]:
        mine = units.filter("mine")
        return replace(
            before,
            evidence=self._on(before.evidence, units),
            mine=before.mine + mine.height,
            n=before.n + units.height,
            stands=before.stands + float((1 / mine["chance"]).sum()),
        )


def _changed(gone: pl.DataFrame, come: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Without the units whose first case is the one that it was, with all that is said of it."""
    both = gone.join(come, on=["key", *_ORDER], suffix=" now")
    said = [pl.col(name) == pl.col(f"{name} now") for name in ("value", "chance")]
    same = both.filter(*said)["key"].implode()
    return gone.filter(~pl.col("key").is_in(same)), come.filter(~pl.col("key").is_in(same))
