"""How well labelers agree: shares, kappas, alpha, and what a copycat would score.

Input is one list of labels per item (``Units``): who gave which label does not matter here, except for Cohen's kappa,
which takes two labelers' labels side by side. Missing labels are simply absent.

>>> truth, inspector = [1, 1, 1, 0, 0, 0], [1, 0, 1, 0, 0, 1]
>>> units = [[str(a), str(b)] for a, b in zip(truth, inspector)]
>>> print(pairwise(units))
0.667 (0.3 to 0.903, n 6)
>>> round(cohen_kappa([u[0] for u in units], [u[1] for u in units]).value, 6)
0.333333
>>> round(krippendorff_alpha(units).value, 6)
0.388889
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from andon.errors import UsageError
from andon.measure.estimate import Estimate, bootstrap, undefined, wilson

__all__ = ["Majority", "cohen_kappa", "copycat", "fleiss_kappa", "krippendorff_alpha", "majority", "pairwise"]

#: One list of labels per item.
Units = Sequence[Sequence[str]]
Array = npt.NDArray[np.float64]


class Majority(msgspec.Struct, frozen=True):
    """The most frequent label of an item with its share; ``tie`` lists all that share the first place, if several."""

    label: str | None
    share: float
    tie: tuple[str, ...] = ()


def pairwise(units: Units) -> Estimate:
    """The share of pairs of labels of one item that are the same, averaged over the pairs of all items.

    With two labels for every item the interval is Wilson's over items; else items are drawn again (bootstrap), because
    pairs within an item are not independent. Undefined when no item has two labels.

    >>> pairwise([["a"] * 7 + ["b"] * 3]).value
    0.533...
    """
    counted = [(same, pairs) for same, pairs in map(_pairs, units) if pairs]
    if not counted:
        return undefined("no item has two labels", 0)
    table = np.array(counted)
    if (table[:, 1] == 1).all():
        return wilson(float(table[:, 0].sum()), len(table))
    return bootstrap(table, lambda rows: float(rows[:, 0].sum() / rows[:, 1].sum()))


def cohen_kappa(first: Sequence[str | None], second: Sequence[str | None]) -> Estimate:
    """Agreement of two labelers beyond chance (Cohen 1960); items that one of them left out do not count.

    Undefined when both always gave one and the same label: chance agreement is then complete. Raises ``UsageError``
    when the lists differ in length.
    """
    if len(first) != len(second):
        raise UsageError(f"two labelers' labels side by side: {len(first)} and {len(second)} do not match")
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    if not pairs:
        return undefined("no item was labelled by both", 0)
    codes = {label: code for code, label in enumerate(sorted({label for pair in pairs for label in pair}))}
    rows = np.array([(codes[a], codes[b]) for a, b in pairs], dtype=np.float64)

    def kappa(drawn: Array) -> float:
        shares = [np.bincount(drawn[:, side].astype(int), minlength=len(codes)) / len(drawn) for side in (0, 1)]
        return _beyond_chance(float((drawn[:, 0] == drawn[:, 1]).mean()), float(shares[0] @ shares[1]))

    return _resampled(rows, kappa)


def fleiss_kappa(units: Units) -> Estimate:
    """Agreement beyond chance of many labelers (Fleiss 1971), each item labelled equally often.

    Undefined when items have different numbers of labels (use Krippendorff's alpha) or only one label ever occurs.
    """
    table = _table(units)
    sizes = set(table.sum(axis=1).astype(int).tolist())
    if not sizes:
        return undefined("no item has two labels", 0)
    if len(sizes) > 1 or len(table) < len(units):
        return undefined("items have different numbers of labels; use alpha", len(units))
    size = sizes.pop()

    def kappa(drawn: Array) -> float:
        same = ((drawn * drawn).sum(axis=1) - size) / (size * (size - 1))
        share = drawn.sum(axis=0) / drawn.sum()
        return _beyond_chance(float(same.mean()), float(share @ share))

    return _resampled(table, kappa)


def krippendorff_alpha(units: Units) -> Estimate:
    """Nominal alpha (Krippendorff 2011): any number of labelers, labels may be missing; items with one label are left out.

    >>> round(krippendorff_alpha([["a", "a"], ["b", "b"], ["a", "b"]]).value, 4)
    0.4444
    """
    table = _table(units)
    if len(table) == 0:
        return undefined("no item has two labels", 0)

    def alpha(drawn: Array) -> float:
        sizes = drawn.sum(axis=1)
        observed = float(((drawn * drawn).sum(axis=1) - sizes) @ (1 / (sizes - 1)))
        total, totals = drawn.sum(), drawn.sum(axis=0)
        expected = float((totals * (totals - 1)).sum() / (total - 1))
        return _beyond_chance(observed / float(total), expected / float(total))

    return _resampled(table, alpha)


def copycat(units: Units) -> Estimate:
    """What a predictor that copies each item's most frequent label agrees with: the mean share of that label.

    It never lies below the pairwise agreement of labelers drawn at random, so a model that beats that has proved little.

    >>> copycat([["a"] * 7 + ["b"] * 3]).value
    0.7
    """
    shares = [[majority(labels).share] for labels in units if labels]
    if not shares:
        return undefined("no item has a label", 0)
    return bootstrap(np.array(shares), lambda rows: float(rows.mean()))


def majority(labels: Sequence[str]) -> Majority:
    """The most frequent label; of several with the same count none is chosen, and all are named.

    >>> majority(["a", "b", "a"])
    Majority(label='a', share=0.6666666666666666, tie=())
    >>> majority(["a", "b"])
    Majority(label=None, share=0.5, tie=('a', 'b'))
    """
    if not labels:
        return Majority(None, 0.0)
    counts = Counter(labels)
    most = max(counts.values())
    first = tuple(sorted(label for label, count in counts.items() if count == most))
    share = most / len(labels)
    return Majority(first[0], share) if len(first) == 1 else Majority(None, share, first)


def _pairs(labels: Sequence[str]) -> tuple[float, float]:
    """Pairs of the same label, and all pairs."""
    n = len(labels)
    return sum(count * (count - 1) for count in Counter(labels).values()) / 2, n * (n - 1) / 2


def _table(units: Units) -> Array:
    """Counts, shape (items with at least two labels, classes)."""
    kept = [labels for labels in units if len(labels) > 1]
    codes = {label: code for code, label in enumerate(sorted({label for labels in kept for label in labels}))}
    table = np.zeros((len(kept), len(codes)))
    for row, code in _places(kept, codes):
        table[row, code] += 1
    return table


def _places(units: Units, codes: dict[str, int]) -> Iterator[tuple[int, int]]:
    for row, labels in enumerate(units):
        for label in labels:
            yield row, codes[label]


def _beyond_chance(observed: float, expected: float) -> float:
    return (observed - expected) / (1 - expected) if expected < 1 - 1e-12 else float("nan")


def _resampled(rows: Array, statistic: Callable[[Array], float]) -> Estimate:
    """The statistic with a bootstrap interval over items; draws in which it is undefined are left out."""
    if np.isnan(statistic(rows)):
        return undefined("only one label occurs, so chance alone would agree always", len(rows))
    return bootstrap(rows, statistic, draws=1000)
