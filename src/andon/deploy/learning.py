"""From what is known of a release to the confidence at which it may decide by itself, for one slice.

Two sources are looked at, and the number of labels alone says which one counts (never the result, which would break
the promise): what the release said in production, in the shadow or where people decided, joined with what turned out;
and, while that is too little to show anything, the part of the data it was tested on before release. Evidence ages:
only releases of the last ``automation.partial.evidence`` of the charter count, and cases of as long before truth comes
(``target.delay``), because what held in spring says little about autumn.

Whoever asks every week until the answer is yes looks many times, and each look may err. So the k-th look at a version
and slice spends only delta / (k (k + 1)): over all looks, however many, these add up to delta. The same labels again
are the same look. What was known when the machine lowered a level for a broken promise counts no more: neither those
cases nor the looks at them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
import polars as pl

from andon.deploy.automation import Threshold, learn_threshold
from andon.deploy.ladder_words import as_people
from andon.errors import NotFound, Unavailable

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.store.workspace import Workspace

__all__ = [
    "LIVE",
    "TESTED",
    "Evidence",
    "Learnt",
    "Look",
    "due_at",
    "from_live",
    "from_shadow",
    "learn",
    "learn_from",
    "look_at",
]


#: A look that was made: (source, number of labels, the first and the last one's event time).
Look = tuple[str, int, int, int]
_MORE, _ENOUGH = 1.1, 1.5  # times as many labels as at the last look, at least and at most
LIVE = "labelled cases in production"
TESTED = "the release's test data"


#: What is read of cases beside their inputs.
_ASKED = ("id", "time_us", "level", "version", "decided_by", "prediction", "suggestion", "confidence", "label")


class Learnt(msgspec.Struct, frozen=True):
    """The threshold found for a version and a slice, and which labels it rests on.

    ``confidence`` is that of the promise over all looks; this one, the ``look``-th, was stricter (``threshold.delta``).
    ``first_us`` and ``last_us`` are the event times of the first and the last case (0: the source has none).
    """

    version: str
    slice: str
    source: str
    threshold: Threshold
    look: int = 1
    confidence: float = 0.95
    first_us: int = 0
    last_us: int = 0

    @property
    def made(self) -> Look:
        """Which labels were looked at."""
        return self.source, self.threshold.n, self.first_us, self.last_us

    @property
    def value(self) -> float | None:
        """The least confidence, or None."""
        return self.threshold.value

    def __str__(self) -> str:
        """For people: what may be automatic, or why nothing may be yet."""
        where = "" if self.slice == "*" else f" in {self.slice}"
        found = self.threshold
        if found.value is None:
            return f"{self.version} decides nothing by itself{where} yet ({self.source}): {found.reason}"
        return (
            f"{self.version} decides by itself{where} from a confidence of {found.value:.4g} on, "
            f"{found.coverage * 100:.3g} % of the cases ({self.source}): {found.reason}"
        )


def learn(
    workspace: Workspace,
    charter: Charter,
    version: str,
    slice: str = "*",
    slices: Mapping[str, str] | None = None,
    looks: Sequence[Look] = (),
    after_us: int = 0,
) -> Learnt:
    """The threshold of a version in a slice, from the evidence there is.

    ``slices`` are a route's predicates, in the order they are tried: a case belongs to the first that matches, and to
    "*" when none does. ``looks`` are those made before, in order. Only cases after ``after_us`` count, where it is not 0.
    """
    rows, source = Evidence(workspace, charter, version).of(slice, slices, after_us)
    return look_at(charter, rows, (version, slice, source), looks)


def look_at(charter: Charter, rows: pl.DataFrame, of: tuple[str, str, str], looks: Sequence[Look]) -> Learnt:
    """Spend a look on these cases, ``of`` (version, slice, source), after those made before; the same again is the same."""
    partial, (version, slice, source) = charter.automation.partial, of
    made = list(dict.fromkeys(looks))
    first, last = _span(rows)
    here = (source, len(rows), first, last)
    look = made.index(here) + 1 if here in made else len(made) + 1
    delta = (1 - partial.confidence) / (look * (look + 1))
    threshold = learn_from(rows, partial.max_error, delta, partial.only)
    if charter.target.truth == "human":
        threshold = msgspec.structs.replace(threshold, reason=as_people(threshold.reason))
    return Learnt(version, slice, source, threshold, look, partial.confidence, first, last)


def due_at(last: Learnt | None, max_error: float, delta: float) -> int:
    """How many labels are worth a look that may err with a chance of ``delta``, after the last one that still counts.

    Fewer than could show anything are not. After a look there must be so many more that its answer may differ: half as
    many again, or as many as it asked for, and a tenth more at least.

    >>> due_at(None, 0.02, 0.025)
    183
    """
    least = math.ceil(math.log(delta) / math.log1p(-max_error))
    if last is None:
        return least
    before, needed = last.threshold.n, last.threshold.labels_needed
    enough = min(_ENOUGH * before, math.inf if needed is None else needed)
    return max(least, math.ceil(max(_MORE * before, enough)))


def _span(rows: pl.DataFrame) -> tuple[int, int]:
    """The event times of the first and the last case."""
    if "time_us" not in rows.columns or not len(rows):
        return 0, 0
    first, last = rows.select(first=pl.col("time_us").min(), last=pl.col("time_us").max()).row(0)
    return int(first or 0), int(last or 0)


class Evidence:
    """The labelled cases of a version, slice by slice, each source read once at most: what ``learn`` looks at.

    No look: nothing is learnt from them here. A picture of them promises nothing, and whoever waits until it is pleasant
    before they look has looked. ``since_us`` (event time) leaves older cases out, where a picture must be quick.
    """

    def __init__(self, workspace: Workspace, charter: Charter, version: str, *, since_us: int = 0) -> None:
        self._sources = {
            LIVE: lambda: _seen(workspace, charter, version, since_us),
            TESTED: lambda: _tested(workspace, charter, version),
        }
        self._read: dict[str, pl.DataFrame] = {}
        partial = charter.automation.partial
        self._enough = math.ceil(math.log(1 - partial.confidence) / math.log1p(-partial.max_error))

    def of(
        self, slice: str = "*", slices: Mapping[str, str] | None = None, after_us: int = 0
    ) -> tuple[pl.DataFrame, str]:
        """Rows with ``model``, ``confidence`` and ``truth``, all of them known, and their source.

        ``slices`` are a route's predicates, in the order in which they are tried. Where ``after_us`` is not 0, only what
        production has shown after it counts.
        """
        rows = self._within(LIVE, slices, slice)
        if after_us:
            return rows.filter(pl.col("time_us") > after_us) if "time_us" in rows.columns else rows.clear(), LIVE
        if len(rows) < self._enough:
            tested = self._within(TESTED, slices, slice)
            return (tested, TESTED) if len(tested) > len(rows) else (rows, LIVE)
        return rows, LIVE

    def _within(self, source: str, slices: Mapping[str, str] | None, slice: str) -> pl.DataFrame:
        if source not in self._read:
            self._read[source] = self._sources[source]()
        return _within(self._read[source], slices or {}, slice)


def learn_from(rows: pl.DataFrame, max_error: float, delta: float, only: Sequence[str] | None = None) -> Threshold:
    """The threshold from rows with ``model`` (its label), ``confidence`` and ``truth``, all of them known.

    ``only`` are the labels that may be automatic; the others count as cases, never as automatic ones.
    """
    usable = pl.col("confidence").cast(pl.Float64)
    if only is not None:
        usable = pl.when(pl.col("model").is_in(list(only))).then(usable)
    scored = rows.select(confidence=usable.fill_null(float("nan")), correct=pl.col("model") == pl.col("truth"))
    return learn_threshold(scored["confidence"].to_numpy(), scored["correct"].to_numpy(), max_error, delta)


def _seen(workspace: Workspace, charter: Charter, version: str, since_us: int) -> pl.DataFrame:
    """What a release said in production of cases whose truth is known, with the inputs; each case once."""
    from andon.store.view import outcomes, shadow_pairs

    # Of what was asked in the last ``target.delay`` nothing is known yet: as much evidence as is asked for lies before.
    truth, since = charter.target.truth, max(since_us, _since(workspace, charter) - charter.target.delay_us)
    try:
        shadowed = from_shadow(shadow_pairs(workspace, version, since), truth)
        asked = from_live(outcomes(workspace, since, truth=truth, columns=_ASKED), version, truth)
    except Unavailable:
        return _NOTHING
    rows = [rows for rows in (shadowed, asked) if len(rows)]
    return pl.concat(rows, how="diagonal_relaxed").unique("id", maintain_order=True) if rows else _NOTHING


def _since(workspace: Workspace, charter: Charter) -> int:
    return workspace.clock.now() - charter.automation.partial.evidence_us


def from_shadow(pairs: pl.DataFrame, truth: str) -> pl.DataFrame:
    """Rows of ``andon.store.view.shadow_pairs`` with ``model`` and ``truth``, where both are known.

    With ``truth`` "external" that is the label that came; with "human" what a person decided without a suggestion, where
    people decided every case: those that another model passed to them are not like the rest.
    """
    if truth == "human":
        pairs = pairs.filter(pl.col("level").is_in(["human", "shadow"]))
    known = pl.col("label") if truth == "external" else pl.coalesce("human", "label")
    return _judged(pairs.rename({"prediction": "model"}).with_columns(truth=known))


def from_live(frame: pl.DataFrame, version: str, truth: str) -> pl.DataFrame:
    """Rows of ``andon.store.view.outcomes`` that ``version`` was asked about, with ``model`` and ``truth``."""
    mine = frame.filter(pl.col("version") == version)
    if truth == "human":
        mine = mine.filter(pl.col("level") == "shadow")
    said = pl.when(pl.col("decided_by") == "model").then("prediction").otherwise("suggestion")
    return _judged(mine.with_columns(model=said, truth=pl.col("label")))


def _judged(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(
        pl.col("truth").is_not_null() & pl.col("model").is_not_null() & pl.col("confidence").is_not_null()
    )


def _tested(workspace: Workspace, charter: Charter, version: str) -> pl.DataFrame:
    """What a release, if it is young enough, said of the data that it was tested on and never learnt from."""
    from andon.model.run import find_run, predictions

    try:
        run = find_run(workspace, version)
        if run.time_us < _since(workspace, charter):
            return _NOTHING
        rows = predictions(workspace, run)
    except (NotFound, Unavailable):
        return _NOTHING
    return _judged(rows.with_columns(model=pl.col("prediction"), truth=pl.col("label")))


def _within(rows: pl.DataFrame, slices: Mapping[str, str], slice: str) -> pl.DataFrame:
    from andon.measure.slice import parse_slice

    rest = rows
    for name, text in slices.items() if len(rows) else ():
        inside = parse_slice(text, rest.columns).mask(rest)
        if name == slice:
            return rest.filter(inside)
        rest = rest.filter(~inside)
    return rest


_NOTHING = pl.DataFrame(schema={"model": pl.String, "confidence": pl.Float64, "truth": pl.String})
