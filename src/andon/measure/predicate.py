"""The tree of a slice predicate, and its meaning for one row.

Every node evaluates to a boolean, a number (float), a text or None (null). A row holds plain Python values. ``predicate_frame`` gives the same tree its
meaning for a table; property tests hold the two together.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from andon.core.record import Scalar

__all__ = [
    "Arithmetic",
    "Column",
    "Comparison",
    "IsNull",
    "Like",
    "Literal",
    "Logic",
    "Member",
    "Negative",
    "Node",
    "Not",
    "columns_of",
    "faults_of",
    "like_pattern",
    "row_function",
]

Value = bool | float | str | None
Row = Sequence[Scalar]
RowFunction = Callable[[Row], Value]


@dataclass(frozen=True)
class Literal:
    """TRUE, FALSE, a number (always a float) or a text."""

    value: bool | float | str


@dataclass(frozen=True)
class Column:
    """A column by name."""

    name: str


@dataclass(frozen=True)
class Comparison:
    """``left sign right`` with sign one of = <> < <= > >=."""

    sign: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Member:
    """``left IN (values)``; all values are of one kind."""

    left: Node
    values: tuple[bool | float | str, ...]


@dataclass(frozen=True)
class Like:
    """``left LIKE 'pattern'``."""

    left: Node
    pattern: str


@dataclass(frozen=True)
class IsNull:
    """``left IS NULL``."""

    left: Node


@dataclass(frozen=True)
class Not:
    """``NOT left``."""

    left: Node


@dataclass(frozen=True)
class Logic:
    """``left AND right`` or ``left OR right``."""

    word: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Arithmetic:
    """``left sign right`` with sign one of + - * /."""

    sign: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Negative:
    """``-left``."""

    left: Node


Node = Literal | Column | Comparison | Member | Like | IsNull | Not | Logic | Arithmetic | Negative

_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def kind_of(value: object) -> str:
    """The kind of a value: bool, number, text or null.

    >>> kind_of(True), kind_of(3), kind_of("a"), kind_of(None)
    ('bool', 'number', 'text', 'null')
    """
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else "null"


def children(node: Node) -> tuple[Node, ...]:
    """The nodes right below."""
    if isinstance(node, Comparison | Logic | Arithmetic):
        return node.left, node.right
    if isinstance(node, Literal | Column):
        return ()
    return (node.left,)


def walk(node: Node) -> Iterator[Node]:
    """The node and all below it."""
    yield node
    for child in children(node):
        yield from walk(child)


def columns_of(node: Node) -> set[str]:
    """The names of the columns that a predicate reads.

    >>> columns_of(Comparison("<", Column("age"), Literal(3.0)))
    {'age'}
    """
    return {found.name for found in walk(node) if isinstance(found, Column)}


def like_pattern(pattern: str) -> str:
    """The body of a regular expression that means the same as a LIKE pattern, in Python and in Rust alike.

    >>> like_pattern("a.%_")
    'a\\\\..*.'
    """
    return "".join({"%": ".*", "_": "."}.get(sign) or re.escape(sign) for sign in pattern)


def row_function(node: Node, places: Mapping[str, int]) -> RowFunction:
    """Compile for one row; ``places`` says at which index each column's value is."""
    if isinstance(node, Literal):
        value = node.value
        return lambda row: value
    if isinstance(node, Column):
        return _column(places[node.name])
    if isinstance(node, Comparison):
        return _comparison(node, places)
    if isinstance(node, Logic):
        left, right = row_function(node.left, places), row_function(node.right, places)
        return _and(left, right) if node.word == "AND" else _or(left, right)
    if isinstance(node, Arithmetic):
        return _arithmetic(node.sign, row_function(node.left, places), row_function(node.right, places))
    return _unary(node, row_function(node.left, places))


def _column(index: int) -> RowFunction:
    def get(row: Row) -> Value:
        value = row[index]
        if value.__class__ is int:
            return float(value)
        return None if value != value else value

    return get


def _comparison(node: Comparison, places: Mapping[str, int]) -> RowFunction:
    compare = _COMPARE[node.sign]
    left = row_function(node.left, places)
    if isinstance(node.right, Literal):
        fixed, kind = node.right.value, node.right.value.__class__

        def with_literal(row: Row) -> Value:
            value = left(row)
            return compare(value, fixed) if value.__class__ is kind else None

        return with_literal
    right = row_function(node.right, places)

    def both(row: Row) -> Value:
        a, b = left(row), right(row)
        return compare(a, b) if a is not None and a.__class__ is b.__class__ else None

    return both


def _unary(node: Member | Like | IsNull | Not | Negative, left: RowFunction) -> RowFunction:
    if isinstance(node, Member):
        members, kind = frozenset(node.values), node.values[0].__class__
        return lambda row: (value in members) if (value := left(row)).__class__ is kind else None
    if isinstance(node, Like):
        fits = re.compile(like_pattern(node.pattern), re.DOTALL).fullmatch
        return lambda row: fits(value) is not None if isinstance(value := left(row), str) else None
    if isinstance(node, IsNull):
        return lambda row: left(row) is None
    if isinstance(node, Not):
        return lambda row: (not value) if isinstance(value := left(row), bool) else None
    return lambda row: -value if (value := left(row)).__class__ is float else None


def _and(left: RowFunction, right: RowFunction) -> RowFunction:
    def both(row: Row) -> Value:
        a = left(row)
        if a is False:
            return False
        b = right(row)
        if b is False:
            return False
        return True if a is True and b is True else None

    return both


def _or(left: RowFunction, right: RowFunction) -> RowFunction:
    def either(row: Row) -> Value:
        a = left(row)
        if a is True:
            return True
        b = right(row)
        if b is True:
            return True
        return False if a is False and b is False else None

    return either


def _arithmetic(sign: str, left: RowFunction, right: RowFunction) -> RowFunction:
    def combine(row: Row) -> Value:
        a, b = left(row), right(row)
        if a.__class__ is not float or b.__class__ is not float or (sign == "/" and b == 0):
            return None
        value = _calculate(sign, a, b)
        return None if value != value else value

    return combine


def _calculate(sign: str, a: float, b: float) -> float:
    if sign == "+":
        return a + b
    if sign == "-":
        return a - b
    return a * b if sign == "*" else a / b


_FIELD_KINDS = {"bool": "bool", "int": "number", "float": "number", "category": "text", "text": "text"}
_SAY = {"bool": "true or false", "number": "a number", "text": "text"}


def static_kind(node: Node, kinds: Mapping[str, str]) -> str | None:
    """The kind that a node has whatever the row, or None where it is not known."""
    if isinstance(node, Literal):
        return kind_of(node.value)
    if isinstance(node, Column):
        return _FIELD_KINDS.get(kinds.get(node.name, ""))
    return "number" if isinstance(node, Arithmetic | Negative) else "bool"


def faults_of(node: Node, kinds: Mapping[str, str]) -> list[str]:
    """What can never be true because kinds differ, one sentence each; ``kinds`` are field kinds by column."""
    return [fault for found in walk(node) if (fault := _fault(found, kinds))]


def _fault(node: Node, kinds: Mapping[str, str]) -> str | None:
    if isinstance(node, Comparison):
        return _mismatch(node.left, static_kind(node.right, kinds), _say(node.right), kinds)
    if isinstance(node, Member):
        return _mismatch(node.left, kind_of(node.values[0]), _say(Literal(node.values[0])), kinds)
    if isinstance(node, Like):
        return _mismatch(node.left, "text", "a LIKE pattern", kinds)
    if isinstance(node, Arithmetic):
        parts = [static_kind(part, kinds) for part in (node.left, node.right)]
        return f"{node.sign} needs two numbers" if set(parts) - {"number", None} else None
    if isinstance(node, Logic):
        parts = [static_kind(part, kinds) for part in (node.left, node.right)]
        return f"{node.word} needs a condition on both sides" if set(parts) - {"bool", None} else None
    if isinstance(node, Not) and static_kind(node.left, kinds) not in ("bool", None):
        return "NOT needs a condition"
    return None


def _mismatch(left: Node, right: str | None, said: str, kinds: Mapping[str, str]) -> str | None:
    found = static_kind(left, kinds)
    if found is None or right is None or found == right:
        return None
    return f"{_say(left)} is {_SAY[found]}, but is compared with {said}: that is never true"


def _say(node: Node) -> str:
    if isinstance(node, Column):
        return node.name
    if isinstance(node, Literal):
        value = node.value
        if isinstance(value, str):
            return f"the text {value!r}"
        return str(value).upper() if isinstance(value, bool) else f"the number {value:g}"
    return "the expression"
