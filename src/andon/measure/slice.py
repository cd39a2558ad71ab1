"""A slice is a named predicate over records, written in a small, documented subset of SQL.

The same text is compiled twice: to a closure for one row (the live path, well under a microsecond for a simple
predicate) and to polars for a table. The meaning is ours, so that both agree on every row:

* SQL's three-valued logic; a row belongs to the slice only when the predicate is true, never when it is unknown.
* Missing, NaN, the result of a division by zero, and values of different kinds compared (text with a number) are null.
* All numbers are compared as 64-bit floats. Text is compared by code point; upper and lower case differ.
* ``LIKE`` knows ``%`` (any text, also none) and ``_`` (exactly one character) and has no escape character.

Words: ``= <> != < <= > >=``, ``IN``, ``BETWEEN``, ``LIKE``, ``IS [NOT] NULL``, ``AND OR NOT``, ``+ - * /``, parentheses,
``TRUE FALSE``, numbers, ``'text'``, column names (in double quotes where they are not plain words).

>>> older = parse_slice("age >= 60 AND region <> 'North'", ["age", "region"])
>>> belongs = older.row(["region", "age"])
>>> belongs(["South", 70]), belongs(["North", 70]), belongs([None, 70])
(True, False, False)
>>> import polars as pl
>>> older.mask(pl.DataFrame({"age": [70, 70, 12], "region": ["South", None, "South"]})).to_list()
[True, False, False]
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from andon.core.record import Scalar
from andon.core.registry import did_you_mean
from andon.errors import UsageError
from andon.measure.predicate import Node, columns_of, faults_of, row_function
from andon.measure.syntax import parse

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Slice", "parse_slice"]


@dataclass(frozen=True)
class Slice:
    """A predicate that was understood: its text and the columns it reads."""

    text: str
    columns: frozenset[str]
    node: Node

    def row(self, names: Sequence[str]) -> Callable[[Sequence[Scalar]], bool]:
        """A function from one row's values, in the order of ``names``, to whether the row belongs to the slice.

        Raises ``UsageError`` when a column of the slice is not among the names.
        """
        self._require(names)
        value = row_function(self.node, {name: index for index, name in enumerate(names)})
        return lambda row: value(row) is True

    def mask(self, frame: pl.DataFrame) -> pl.Series:
        """One boolean for every row of the frame: whether it belongs. Raises ``UsageError`` for a missing column."""
        return self.truth(frame).fill_null(False)

    def truth(self, frame: pl.DataFrame) -> pl.Series:
        """Like ``mask``, with null where the answer is unknown."""
        from andon.measure.predicate_frame import truth

        self._require(frame.columns)
        return truth(self.node, frame)

    def filter(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The rows that belong."""
        return frame.filter(self.mask(frame))

    def check(self, kinds: Mapping[str, str]) -> list[str]:
        """What can never be true, given each column's kind (as in a contract's fields): one sentence each.

        >>> parse_slice("fever = 'yes'").check({"fever": "bool"})
        ["fever is true or false, but is compared with the text 'yes': that is never true"]
        """
        return faults_of(self.node, kinds)

    def _require(self, names: Collection[str]) -> None:
        if missing := sorted(self.columns.difference(names)):
            raise UsageError(
                f"slice {self.text!r}: no column is called {missing[0]!r}; {did_you_mean(missing[0], names)}"
            )


def parse_slice(expr: str, columns: Collection[str] | None = None) -> Slice:
    """Read a predicate; raises ``UsageError`` with the place of the fault, or for a column not in ``columns``.

    ``columns`` may be a mapping from name to kind (``bool``, ``int``, ``float``, ``category``, ``text``): comparisons
    that could never be true are then refused too.

    >>> parse_slice("age > AND x")
    Traceback (most recent call last):
    ...
    andon.errors.UsageError: slice 'age > AND x', character 7: expected a value or a column, found 'AND'
    >>> parse_slice("agee > 3", ["age"])
    Traceback (most recent call last):
    ...
    andon.errors.UsageError: slice 'agee > 3': no column is called 'agee'; did you mean 'age'?
    """
    node = parse(expr)
    found = Slice(expr, frozenset(columns_of(node)), node)
    if columns is not None:
        found._require(columns)
    if isinstance(columns, Mapping) and (faults := found.check(columns)):
        raise UsageError(f"slice {expr!r}: {faults[0]}")
    return found
