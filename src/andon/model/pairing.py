"""By how much two runs differ on the very same rows, which neither learnt from (``andon.model.shared`` finds them).

A difference is second less first, and paired: both come from the same rows, so its interval is much smaller than the two.

>>> from andon.measure.metric import parse_metric
>>> truth = pl.DataFrame({"label": ["a"] * 100})
>>> one = truth.with_columns(prediction=pl.Series(["a"] * 80 + ["b"] * 20))
>>> two = truth.with_columns(prediction=pl.Series(["a"] * 90 + ["b"] * 10))
>>> print(differ(parse_metric("error_rate"), one, two, ("a", "b")).difference)
-0.1 (-0.16 to -0.0402, n 100)
>>> discordant(one, two).chance
0.00195...
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from andon.errors import Conflict
from andon.measure.estimate import CONFIDENCE, Estimate, undefined
from andon.measure.metric import Metric
from andon.measure.slice import parse_slice
from andon.measure.summary import Confusion
from andon.model.evaluate import Measure, charter_measures
from andon.model.run import Run
from andon.model.shared import How, shared
from andon.model.table import cohorts

if TYPE_CHECKING:
    from andon.model.training import Enrich
    from andon.scope.charter import Charter
    from andon.store.workspace import Workspace

__all__ = ["Difference", "Discordant", "Pair", "differ", "discordant", "pair"]

#: How often a metric may be worked out for the slices of a pair, and how many numbers one metric may look at: more would
#: take seconds while somebody waits.
_LOOKS, _NUMBERS = 20_000, 20_000_000
_SLICES_LEFT_OUT = "slices are left out, because with so many classes they would take too long"

Array = npt.NDArray[np.float64]


class Difference(msgspec.Struct, frozen=True):
    """One metric of both on the same rows, and second less first in the metric's unit.

    ``chance`` is how probable so uneven answers are if neither were better: exact for shares such as recall (McNemar's
    test on the rows that count), else the least it could be with so few rows that differ. An interval of few rows that
    differ is too narrow; this is not.
    """

    first: Estimate
    second: Estimate
    difference: Estimate
    chance: float = 1.0

    @property
    def sign(self) -> int:
        """1 or -1 where the whole interval is on one side of 0, else 0."""
        low, high = self.difference.low, self.difference.high
        return (low is not None and low > 0) - (high is not None and high < 0)


class Discordant(msgspec.Struct, frozen=True):
    """How often both were right, only the first, only the second, neither; ``answers`` counts rows with other answers.

    ``chance`` is the exact two-sided probability of so uneven a split if neither were better (McNemar's test).
    """

    both: int
    first: int
    second: int
    neither: int
    answers: int

    @property
    def n(self) -> int:
        """Rows with a label."""
        return self.both + self.first + self.second + self.neither

    @property
    def chance(self) -> float:
        """McNemar's exact test.

        >>> Discordant(5, 1, 1, 0, 2).chance
        1.0
        """
        return _uneven(self.first, self.second)


def _uneven(one: int, two: int) -> float:
    """The two-sided probability of a split as uneven if each side were as likely."""
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(one, two), one + two, 0.5))) if one + two else 1.0


class Pair(msgspec.Struct, frozen=True):
    """Two runs on ``rows`` rows that the second held out, of ``held_out`` in all; ``how``, ``learnt`` and ``note`` say which.

    ``metrics`` and ``slices`` hold what is a function of truth and answer; metrics of inputs alone are the same for both.
    Intervals of ``metrics`` have ``confidence``, those of ``slices`` ``within``.
    """

    first: str
    second: str
    rows: int
    held_out: int
    how: How
    learnt: int
    note: str
    metrics: dict[str, Difference]
    slices: dict[str, dict[str, Difference]]
    right: Discordant
    confidence: float
    within: float


def pair(
    workspace: Workspace, charter: Charter, one: Run, two: Run, *, among: int = 1, enrich: Enrich | None = None
) -> Pair:
    """Two runs on rows that the second held out and the first did not learn from, on everybody and on the charter's slices.

    ``among`` is how many pairs are looked at: intervals grow (Bonferroni) by that and the number of metrics, so that all
    of them together hold with 95 %; those of slices grow by the number of slices, too. Raises ``NotFound`` for a failed run and ``Conflict``
    when the first answers what is no class now.
    """
    rows = shared(workspace, one, two, enrich, charter.checklist.privacy.reach)
    first, second = rows.first, rows.second
    if unknown := set(first["prediction"].drop_nulls().unique()) - set(charter.target.classes):
        raise Conflict(f"run {one.id} answers {sorted(unknown)[0]!r}, which is no class of the charter now")
    measures = _comparable(charter, second)
    level = 1 - (1 - CONFIDENCE) / max(1, among * len(measures))
    parts = _slices(charter, second)
    left_out = len(parts) * len(measures) * _cells(first, second) > _LOOKS
    parts = {} if left_out else parts
    within = 1 - (1 - level) / max(1, len(parts))
    sides = {name: (first.filter(mask), second.filter(mask)) for name, mask in parts.items()}
    return Pair(
        first=one.id,
        second=two.id,
        rows=second.height,
        held_out=rows.held_out,
        how=rows.how,
        learnt=rows.learnt,
        note="; ".join(filter(None, (rows.note, _SLICES_LEFT_OUT if left_out else ""))),
        metrics=_differences(measures, (first, second), charter.target.classes, level),
        slices={name: _differences(measures, side, charter.target.classes, within) for name, side in sides.items()},
        right=discordant(first, second),
        confidence=level,
        within=within,
    )


def _cells(first: pl.DataFrame, second: pl.DataFrame) -> int:
    """How many cells of both matrices are not empty: the metric is looked at without a row of each."""
    return sum(one.select("label", "prediction").n_unique() for one in (first, second))


def _readable(table: pl.DataFrame) -> set[str]:
    """Columns that are the same for both: what reads the answer would be other rows for each of the two."""
    return set(table.columns) - {"prediction", "confidence", "scores"}


def _slices(charter: Charter, table: pl.DataFrame) -> dict[str, pl.Series]:
    known = {name: text for name, text in charter.slices.items() if parse_slice(text).columns <= _readable(table)}
    return cohorts(table, slices=known)


def _comparable(charter: Charter, table: pl.DataFrame) -> list[Measure]:
    """Metrics that are a function of truth and answer."""
    readable = _readable(table)
    every = [one for one in charter_measures(charter) if one.metric.kind is Confusion]
    return [one for one in every if one.where is None or one.where.columns <= readable]


def _differences(
    measures: list[Measure], sides: tuple[pl.DataFrame, pl.DataFrame], classes: tuple[str, ...], level: float
) -> dict[str, Difference]:
    first, second = sides
    found = {}
    for one in measures:
        mask = pl.repeat(True, second.height, eager=True) if one.where is None else one.where.mask(second)
        found[one.name] = differ(one.metric, first.filter(mask), second.filter(mask), classes, level)
    return found


def differ(
    metric: Metric,
    first: pl.DataFrame,
    second: pl.DataFrame,
    classes: tuple[str, ...],
    confidence: float = CONFIDENCE,
) -> Difference:
    """A metric of truth and answer for two tables of the same rows; the interval of the difference is a jackknife's.

    Each row is left out once (Efron and Stein 1981): exact for shares such as accuracy, close for F1 and the like.
    """
    matrices = [Confusion.of(side["label"], side["prediction"], classes) for side in (first, second)]
    ends = [metric.estimate(one) for one in matrices]
    values = [one.value for one in ends]
    if values[0] is None or values[1] is None:
        why = next(one.reason for one in ends if one.value is None)
        return Difference(ends[0], ends[1], undefined(why or "no value", ends[1].n))
    value = values[1] - values[0]
    n = min(ends[0].n, ends[1].n)
    # A metric looks at the whole matrix, and a macro average does so once for every class.
    numbers = len(classes) ** (3 if metric.name.startswith("macro") else 2)
    if _cells(first, second) * numbers > _NUMBERS:
        return Difference(ends[0], ends[1], undefined("too many classes: the interval would take too long", n))
    kinds = _kinds(first, second, classes)
    spread = _spread(metric, matrices, kinds)
    if isinstance(spread, str):
        return Difference(ends[0], ends[1], undefined(spread, n))
    most = 1.0 if metric.unit == "share" else math.inf
    difference = _interval(value, spread, n, confidence, most)
    return Difference(ends[0], ends[1], difference, _chance(metric, matrices[0], kinds))


def _interval(value: float, spread: float, n: int, confidence: float, most: float) -> Estimate:
    """Student's interval, no further from 0 than ``most``; open where no row varies but there is a difference."""
    from scipy.special import stdtrit

    if n < 2 or (spread == 0 and value != 0):
        return Estimate(value, None, None, n, "jackknife")
    half = float(stdtrit(n - 1, 0.5 + confidence / 2)) * spread
    return Estimate(value, max(-most, value - half), min(most, value + half), n, "jackknife")


def _kinds(first: pl.DataFrame, second: pl.DataFrame, classes: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """Every (truth, first answer, second answer) that occurs, with how often: shape (kinds, 4)."""
    codes = {name: code for code, name in enumerate(classes)}
    columns = [first["label"], first["prediction"], second["prediction"]]
    numbers = [one.replace_strict(codes, default=len(classes), return_dtype=pl.Int64) for one in columns]
    frame = pl.DataFrame({str(at): one for at, one in enumerate(numbers)}).filter(pl.col("0") < len(classes))
    found: npt.NDArray[np.int64] = frame.group_by("0", "1", "2", maintain_order=True).len().cast(pl.Int64).to_numpy()
    return found


def _effects(metric: Metric, kept: Confusion, kinds: npt.NDArray[np.int64], answer: int, n: int) -> Array:
    """For every kind the value with ``n`` (1 or -1) more rows of its truth and its answer; nan where there is none.

    Shape (kinds,). The value depends on the cell of the matrix only, so each cell is looked at once.
    """
    cells, place = np.unique(kinds[:, [0, answer]], axis=0, return_inverse=True)
    found = [metric.estimate(_with(kept, truth, given, n)).value for truth, given in cells.tolist()]
    values: Array = np.array([math.nan if one is None else one for one in found], dtype=np.float64)[place.reshape(-1)]
    return values


def _spread(metric: Metric, matrices: list[Confusion], kinds: npt.NDArray[np.int64]) -> float | str:
    """The standard error of the difference, or why there is none."""
    without = [_effects(metric, one, kinds, at, -1) for at, one in enumerate(matrices, start=1)]
    values, weights = without[1] - without[0], kinds[:, 3].astype(np.float64)
    if np.isnan(values).any():
        return "too few rows: without one of them there would be no value"
    n = float(weights.sum())
    mean = float(weights @ values) / n
    return math.sqrt((n - 1) / n * float(weights @ (values - mean) ** 2))


def _chance(metric: Metric, first: Confusion, kinds: npt.NDArray[np.int64]) -> float:
    """How probable so uneven answers are: each row that counts could as well have its two answers the other way round."""
    change = _effects(metric, first, kinds, 2, 1) - _effects(metric, first, kinds, 1, 1)
    counts = np.abs(change) > 1e-12
    up, down = (int(kinds[counts & (change * sign > 0), 3].sum()) for sign in (1, -1))
    sizes = np.abs(change[counts])
    alike = not len(sizes) or float(sizes.max() - sizes.min()) <= 1e-9 * float(sizes.max())
    return _uneven(up, down) if alike else min(1.0, 2 * 0.5 ** (up + down))


def _with(kept: Confusion, truth: int, answer: int, n: int) -> Confusion:
    """The same table with ``n`` more rows of one kind."""
    row = kept.counts[truth]
    more = (*row[:answer], row[answer] + n, *row[answer + 1 :])
    counts = (*kept.counts[:truth], more, *kept.counts[truth + 1 :])
    return Confusion(kept.classes, counts, kept.n + n, kept.total + n, kept.squares + n)


def discordant(first: pl.DataFrame, second: pl.DataFrame) -> Discordant:
    """Who was right on the same labelled rows."""
    known = second["label"].is_not_null()
    one, two = (
        (side["prediction"] == second["label"]).fill_null(False).filter(known).to_numpy() for side in (first, second)
    )
    other = first["prediction"].ne_missing(second["prediction"]).filter(known)
    return Discordant(
        both=int((one & two).sum()),
        first=int((one & ~two).sum()),
        second=int((~one & two).sum()),
        neither=int((~one & ~two).sum()),
        answers=int(other.sum()),
    )
