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
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from andon.core.registry import did_you_mean
from andon.errors import UsageError
from andon.measure.estimate import Estimate, bootstrap, undefined, wilson

__all__ = [
    "Agreement",
    "Majority",
    "agreement",
    "cohen_kappa",
    "copycat",
    "fleiss_kappa",
    "krippendorff_alpha",
    "majority",
    "pairwise",
]

#: One list of labels per item.
Units = Sequence[Sequence[str]]
Array = npt.NDArray[np.float64]


class Majority(msgspec.Struct, frozen=True):
    """The most frequent label of an item with its share; ``tie`` lists all that share the first place, if several."""

    label: str | None
    share: float
    tie: tuple[str, ...] = ()


@dataclass(frozen=True)
class Agreement:
    """How well labelers agree on a table of labels; ``table`` has one row for every item."""

    table: pl.DataFrame
    items: int
    labelers: int
    pairwise: Estimate
    fleiss_kappa: Estimate
    alpha: Estimate
    copycat: Estimate
    cohen_kappa: Estimate | None = None

    def to_json(self) -> dict[str, Any]:
        """JSON-ready; ``cohen_kappa`` only where there are two labelers."""
        majority = {
            "ties": int(self.table["tie"].sum()),
            "unanimous": int(((self.table["share"] == 1) & (self.table["n"] > 1)).sum()),
            "labels": dict(Counter(self.table["label"].drop_nulls().to_list())),
        }
        parts = {
            "items": self.items,
            "labelers": self.labelers,
            "pairwise": self.pairwise,
            **({} if self.cohen_kappa is None else {"cohen_kappa": self.cohen_kappa}),
            "fleiss_kappa": self.fleiss_kappa,
            "alpha": {"nominal": self.alpha},
            "majority": majority,
            "copycat": self.copycat,
        }
        body: dict[str, Any] = msgspec.to_builtins(parts)
        return body

    def _repr_html_(self) -> str:
        return f"<p>pairwise {self.pairwise}, alpha {self.alpha}</p>{self.table._repr_html_()}"

    def plot(self) -> Any:
        """How many items have which share for their most frequent label, as a plotly figure."""
        import plotly.graph_objects as figures

        bars = figures.Histogram(x=self.table["share"].to_list(), xbins={"start": 0, "end": 1.05, "size": 0.05})
        axes = {"xaxis": {"title": "share of the most frequent label"}, "yaxis": {"title": "items"}}
        return figures.Figure([bars], axes)


def agreement(frame: Any, *, item: str = "item", labeler: str = "labeler", label: str = "label") -> Agreement:
    """Measure the agreement in a table (polars or pandas) with one row for each label that somebody gave.

    Missing labels are left out. Raises ``UsageError`` for an unknown column or two labels of one labeler for one item.

    >>> table = pl.DataFrame({"item": [1, 1, 2, 2], "labeler": ["a", "b", "a", "b"], "label": ["x", "x", "x", "y"]})
    >>> found = agreement(table)
    >>> print(found.pairwise, found.to_json()["majority"])
    0.5 (0.0945 to 0.905, n 2) {'ties': 1, 'unanimous': 1, 'labels': {'x': 1}}
    """
    given = _given(frame, [item, labeler, label])
    items: dict[str, dict[str, str]] = {}
    for key, who, what in given.iter_rows():
        if who in items.setdefault(key, {}):
            raise UsageError(f"labeler {who!r} labelled item {key!r} twice; keep the label that counts")
        items[key][who] = what
    labelers = sorted({who for labels in items.values() for who in labels})
    units = [list(labels.values()) for labels in items.values()]
    two = None
    if len(labelers) == 2:
        two = cohen_kappa(*([labels.get(who) for labels in items.values()] for who in labelers))
    table = _items_table(items)
    return Agreement(
        table,
        len(items),
        len(labelers),
        pairwise(units),
        fleiss_kappa(units),
        krippendorff_alpha(units),
        copycat(units),
        two,
    )


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


def _given(frame: Any, names: list[str]) -> pl.DataFrame:
    """The three columns as texts, without rows that hold no label."""
    columns = list(frame.columns)
    if missing := [name for name in names if name not in columns]:
        raise UsageError(f"no column is called {missing[0]!r}; {did_you_mean(missing[0], columns)}")
    # A NaN is how pandas says "missing".
    values = {str(i): [None if v != v else v for v in frame[name].to_list()] for i, name in enumerate(names)}
    return pl.DataFrame(values, strict=False).select(pl.all().cast(pl.String)).drop_nulls()


def _items_table(items: dict[str, dict[str, str]]) -> pl.DataFrame:
    found = [(key, len(labels), majority(list(labels.values()))) for key, labels in items.items()]
    rows = [(key, n, most.label, most.share, bool(most.tie)) for key, n, most in found]
    kinds = {"item": pl.String, "n": pl.Int64, "label": pl.String, "share": pl.Float64, "tie": pl.Boolean}
    return pl.DataFrame(rows, schema=kinds, orient="row")


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
