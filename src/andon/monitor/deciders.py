"""Who decides, window by window: people, each version as the live one or as the candidate, the safe default.

``DECIDED`` counts decisions as they are made, in one transaction with the rest: what waits for a person then is
``pending``. ``REVIEWED`` counts, in the window of the decision, what came of those: a person's answer or, after the
deadline, the safe default. ``LABELLED`` counts those whose label has come. All are kept by the hour and by the day, too
(`andon.monitor.rollup`).

>>> table = pl.DataFrame({"time_us": [1, 2, 3], "status": ["decided", "decided", "pending"],
...     "decided_by": ["model", "model", "nobody"], "version": ["v1", "v2", "v1"], "arm": ["live", "candidate", "live"]})
>>> decided(table, 10)[0].summary.counts
{'model:candidate:v2': 1, 'model:live:v1': 1, 'pending': 1}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal

import msgspec
import polars as pl

from andon.measure.sketch import Categories
from andon.monitor.rollup import coarser, lengths
from andon.monitor.window import WindowRow

if TYPE_CHECKING:
    from andon.store.workspace import Workspace

__all__ = [
    "DECIDED",
    "LABELLED",
    "REVIEWED",
    "Decider",
    "Share",
    "decided",
    "labelled",
    "labels_so_far",
    "over_time",
    "reviewed",
    "shares",
]

DECIDED = "decided by"
"""Decisions as they were made, by who made them; no metric of a charter can have this name."""
REVIEWED = "reviewed by"
"""Decisions that waited for a person, by who answered."""
LABELLED = "with a label"
"""Decisions whose label has come: what there is to learn from."""

_FEWEST = 40
_LEAST = 10


class Decider(msgspec.Struct, frozen=True, order=True):
    """Who decides: ``people``, a ``model`` (with its version and arm), or the ``safe_default``."""

    kind: Literal["people", "model", "safe_default"]
    version: str = ""
    arm: Literal["live", "candidate", "none"] = "none"


class Share(msgspec.Struct, frozen=True):
    """One stretch of time, [``start_us``, ``start_us + length_us``), and how many decisions each decider made in it.

    ``waiting`` are those of the people that are not answered yet.
    """

    start_us: int
    length_us: int
    counts: dict[Decider, int]
    waiting: int = 0

    @property
    def total(self) -> int:
        """All decisions."""
        return sum(self.counts.values())


def decided(table: pl.DataFrame, window_us: int, cohort: str = "") -> list[WindowRow]:
    """The windows of recorded decisions, in every length in which they are kept."""
    made = pl.concat_str(pl.lit("model"), pl.col("arm"), pl.col("version").fill_null(""), separator=":")
    waits, by_model = pl.col("status") == "pending", pl.col("decided_by") == "model"
    who = pl.when(waits).then(pl.lit("pending")).when(by_model).then(made).otherwise("decided_by")
    rows = _counted(table.select("time_us", who=who), window_us, DECIDED, cohort)
    return rows + coarser(rows, lengths(window_us)[1:])


def reviewed(table: pl.DataFrame, window_us: int) -> list[WindowRow]:
    """The windows of outcomes that somebody reviewed, by who answered; of the line's own length only."""
    answered = pl.col("reviewer").is_not_null() & pl.col("decided_by").is_in(["person", "safe_default"])
    return _counted(table.filter(answered).select("time_us", who="decided_by"), window_us, REVIEWED)


def labelled(table: pl.DataFrame, window_us: int) -> list[WindowRow]:
    """The windows of outcomes that have a label; of the line's own length only."""
    known = table.filter(pl.col("label").is_not_null())
    return _counted(known.select("time_us", who=pl.lit("label")), window_us, LABELLED)


def labels_so_far(workspace: Workspace, window_us: int) -> int:
    """How many decisions have a label by now."""
    made = _stored(workspace, LABELLED, None, None, lengths(window_us)[-1])
    return sum(sum(counts.values()) for counts in made.values())


def _counted(table: pl.DataFrame, window_us: int, metric: str, cohort: str = "") -> list[WindowRow]:
    start = (pl.col("time_us") // window_us * window_us).alias("start")
    windows: dict[int, dict[str, int]] = {}
    for at, who, n in table.group_by(start, "who").len().sort("start", "who").iter_rows():
        windows.setdefault(at, {})[who] = n
    return [WindowRow(metric, cohort, at, window_us, Categories(counts)) for at, counts in windows.items()]


def shares(made: Mapping[str, int], answered: Mapping[str, int]) -> tuple[dict[Decider, int], int]:
    """Who decided how many, and how many wait: from the counts as made, and those of the answers that came since.

    >>> shares({"pending": 5, "model:live:v1": 2, "client": 1}, {"person": 3, "safe_default": 1})[1]
    1
    """
    counts: dict[Decider, int] = {}
    for who, n in made.items():
        decider = _decider(who)
        counts[decider] = counts.get(decider, 0) + n
    # The answers are counted by another reader of the log, which may be a moment ahead.
    lapsed = min(answered.get("safe_default", 0), made.get("pending", 0))
    waiting = max(0, made.get("pending", 0) - lapsed - answered.get("person", 0))
    if lapsed:
        counts[Decider("people")] -= lapsed
        counts[Decider("safe_default")] = counts.get(Decider("safe_default"), 0) + lapsed
    return {decider: n for decider, n in counts.items() if n}, waiting


def _decider(who: str) -> Decider:
    if who.startswith("model:"):
        _, arm, version = who.split(":", 2)
        return Decider("model", version, "candidate" if arm == "candidate" else "live")
    return Decider("safe_default") if who == "safe_default" else Decider("people")


def over_time(
    workspace: Workspace, window_us: int, *, since_us: int | None = None, until_us: int | None = None, points: int = 120
) -> list[Share]:
    """Who decided, from the first decision (or ``since_us``) on, in at most about ``points`` stretches of equal length.

    Stretches in which nothing was decided are left out. Read are a few hundred rows, however long the line has run.
    """
    for length in reversed(lengths(window_us)):
        made = _stored(workspace, DECIDED, since_us, until_us, length)
        if not made:
            return []
        first, last = min(made), max(made)
        if (last - first) // length >= _FEWEST or length == window_us:
            break
        since_us = max(first, since_us or 0)
    answered = _stored(workspace, REVIEWED, since_us, until_us, length)
    return list(_merged(made, answered, first, _step(made, length, points)))


def _step(made: Mapping[int, object], length: int, points: int) -> int:
    """The length of the stretches: few enough points, and most of them with a decision where there are few decisions."""
    first, span = min(made), max(made) - min(made) + length
    step = length * max(1, -(-span // length // points))
    while step * _LEAST < span and 2 * len({(start - first) // step for start in made}) * step < span:
        step *= 2
    return step


def _stored(
    workspace: Workspace, metric: str, since_us: int | None, until_us: int | None, length_us: int
) -> dict[int, Mapping[str, int]]:
    rows = workspace.windows.read(metric, "", since_us, until_us, length_us)
    return {row.start_us: row.summary.counts for row in rows if isinstance(row.summary, Categories)}


def _merged(
    made: Mapping[int, Mapping[str, int]], answered: Mapping[int, Mapping[str, int]], first: int, step: int
) -> Iterator[Share]:
    sums: dict[int, tuple[dict[str, int], dict[str, int]]] = {}
    for start, counts in made.items():
        both = sums.setdefault((start - first) // step, ({}, {}))
        for into, found in zip(both, (counts, answered.get(start, {})), strict=True):
            for who, n in found.items():
                into[who] = into.get(who, 0) + n
    for place, both in sorted(sums.items()):
        yield Share(first + place * step, step, *shares(*both))
