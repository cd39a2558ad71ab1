"""The meaning of a slice predicate for a table: the tree compiled to one polars expression.

polars has its own ideas about NaN, division, kinds and booleans; here they are bent to those of ``andon.measure.slice``.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from andon.measure.predicate import (
    Arithmetic,
    Column,
    Comparison,
    IsNull,
    Like,
    Literal,
    Logic,
    Member,
    Negative,
    Node,
    Not,
    kind_of,
    like_pattern,
)

__all__ = ["truth"]


@dataclass(frozen=True)
class _Typed:
    """An expression with the kind all its values have: bool, number, text or null."""

    kind: str
    expr: pl.Expr


_NULL = _Typed("null", pl.lit(None, dtype=pl.Boolean))


def truth(node: Node, frame: pl.DataFrame) -> pl.Series:
    """True, False or null for every row of the frame.

    >>> truth(Comparison("<", Column("a"), Literal(2.0)), pl.DataFrame({"a": [1.0, 3.0, None]})).to_list()
    [True, False, None]
    """
    found = _compile(node, frame.schema)
    expr = found.expr if found.kind == "bool" else _NULL.expr
    # A column of indices makes a constant predicate as long as the frame.
    return frame.select(pl.when(pl.int_range(pl.len()) >= 0).then(expr).alias("truth")).to_series()


def _compile(node: Node, schema: pl.Schema) -> _Typed:
    if isinstance(node, Literal):
        return _Typed(kind_of(node.value), pl.lit(node.value))
    if isinstance(node, Column):
        return _column(node.name, schema[node.name])
    if isinstance(node, Comparison):
        return _comparison(node.sign, _compile(node.left, schema), _compile(node.right, schema))
    if isinstance(node, Logic):
        left, right = _condition(node.left, schema), _condition(node.right, schema)
        return _Typed("bool", left & right if node.word == "AND" else left | right)
    if isinstance(node, Arithmetic):
        return _arithmetic(node.sign, _compile(node.left, schema), _compile(node.right, schema))
    return _unary(node, _compile(node.left, schema))


def _column(name: str, dtype: pl.DataType) -> _Typed:
    column = pl.col(name)
    if dtype == pl.Boolean:
        return _Typed("bool", column)
    if dtype.is_numeric():
        return _Typed("number", column.cast(pl.Float64).fill_nan(None))
    if dtype == pl.String or isinstance(dtype, pl.Categorical | pl.Enum):
        return _Typed("text", column.cast(pl.String))
    return _NULL


def _condition(node: Node, schema: pl.Schema) -> pl.Expr:
    found = _compile(node, schema)
    return found.expr if found.kind == "bool" else _NULL.expr


def _comparison(sign: str, left: _Typed, right: _Typed) -> _Typed:
    if left.kind != right.kind or left.kind == "null":
        return _Typed("bool", _NULL.expr)
    a, b = left.expr, right.expr
    results = {"=": a == b, "<>": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}
    return _Typed("bool", results[sign])


def _arithmetic(sign: str, left: _Typed, right: _Typed) -> _Typed:
    if left.kind != "number" or right.kind != "number":
        return _NULL
    a, b = left.expr, right.expr
    if sign == "/":
        b = pl.when(b == 0).then(None).otherwise(b)
    results = {"+": a + b, "-": a - b, "*": a * b, "/": a / b}
    return _Typed("number", results[sign].fill_nan(None))


def _unary(node: Member | Like | IsNull | Not | Negative, left: _Typed) -> _Typed:
    if isinstance(node, IsNull):
        return _Typed("bool", left.expr.is_null())
    if isinstance(node, Negative):
        return _Typed("number", -left.expr) if left.kind == "number" else _NULL
    return _Typed("bool", _test(node, left))


def _test(node: Member | Like | Not, left: _Typed) -> pl.Expr:
    if isinstance(node, Not):
        return ~left.expr if left.kind == "bool" else _NULL.expr
    if isinstance(node, Like):
        pattern = rf"(?s)\A(?:{like_pattern(node.pattern)})\z"
        return left.expr.str.contains(pattern) if left.kind == "text" else _NULL.expr
    if left.kind != kind_of(node.values[0]):
        return _NULL.expr
    return left.expr.is_in(list(node.values))
