"""The grammar of slices: text to tree, with the place of every fault.

::

    or         := and { OR and }
    and        := not { AND not }
    not        := NOT not | test
    test       := sum [ sign sum | [NOT] IN (literals) | [NOT] LIKE 'pattern' | [NOT] BETWEEN sum AND sum | IS [NOT] NULL ]
    sum        := product { (+|-) product }
    product    := unary { (*|/) unary }
    unary      := - unary | ( or ) | literal | column
"""

from __future__ import annotations

import math
import re
from typing import NamedTuple, NoReturn

from andon.errors import UsageError
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
)

__all__ = ["MAX_DEPTH", "MAX_WORDS", "parse"]

#: Bounds that keep a hostile predicate from exhausting the stack: words in all, and parentheses within one another.
MAX_WORDS = 500
MAX_DEPTH = 40

_KEYWORDS = {"AND", "OR", "NOT", "IN", "IS", "NULL", "LIKE", "BETWEEN", "TRUE", "FALSE"}
_WORD = re.compile(
    r"""\s*(?:
      (?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
    | (?P<text>'(?:[^']|'')*')
    | (?P<quoted>"(?:[^"]|"")+")
    | (?P<name>[^\W\d]\w*)
    | (?P<sign><=|>=|<>|!=|==|[-+*/()=<>,])
    )""",
    re.VERBOSE,
)


class _Token(NamedTuple):
    kind: str
    text: str
    place: int


def parse(text: str) -> Node:
    """The tree of a predicate; raises ``UsageError`` naming the character at fault.

    >>> parse("a = 1")
    Comparison(sign='=', left=Column(name='a'), right=Literal(value=1.0))
    """
    reader = _Reader(text, _tokens(text))
    node = reader.disjunction()
    if reader.peek().kind != "end":
        reader.fail("the end, AND or OR")
    return node


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    place, end = 0, len(text.rstrip())
    while place < end:
        found = _WORD.match(text, place)
        if found is None or found.lastgroup is None:
            start = place + len(text[place:]) - len(text[place:].lstrip())
            raise _fault(text, start, f"{text[start]!r} is not understood")
        word, kind = found.group(found.lastgroup), found.lastgroup
        if kind == "name" and word.upper() in _KEYWORDS:
            kind, word = "keyword", word.upper()
        tokens.append(_Token(kind, word, found.start(found.lastgroup)))
        place = found.end()
        if len(tokens) > MAX_WORDS:
            raise UsageError(
                f"slice of more than {MAX_WORDS} words; make it shorter or add a column that says the same"
            )
    return [*tokens, _Token("end", "the end", end)]


def _fault(text: str, place: int, what: str) -> UsageError:
    return UsageError(f"slice {text!r}, character {place + 1}: {what}")


class _Reader:
    """One predicate being read, by recursive descent."""

    def __init__(self, text: str, tokens: list[_Token]) -> None:
        self._text = text
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def peek(self) -> _Token:
        return self._tokens[self._at]

    def fail(self, expected: str) -> NoReturn:
        found = self.peek()
        said = found.text if found.kind == "end" else repr(found.text)
        raise _fault(self._text, found.place, f"expected {expected}, found {said}")

    def disjunction(self) -> Node:
        node = self._conjunction()
        while self._take("keyword", "OR"):
            node = Logic("OR", node, self._conjunction())
        return node

    def _conjunction(self) -> Node:
        node = self._negation()
        while self._take("keyword", "AND"):
            node = Logic("AND", node, self._negation())
        return node

    def _negation(self) -> Node:
        if self._take("keyword", "NOT"):
            self._deeper()
            node = Not(self._negation())
            self._depth -= 1
            return node
        return self._test()

    def _test(self) -> Node:
        left = self._sum()
        token = self.peek()
        if token.kind == "sign" and token.text in ("=", "==", "<>", "!=", "<", "<=", ">", ">="):
            self._at += 1
            self._refuse_null()
            sign = {"==": "=", "!=": "<>"}.get(token.text, token.text)
            return Comparison(sign, left, self._sum())
        if self._take("keyword", "IS"):
            negated = self._take("keyword", "NOT")
            self._expect("keyword", "NULL")
            return Not(IsNull(left)) if negated else IsNull(left)
        negated = self._take("keyword", "NOT")
        node = self._special(left)
        if node is None:
            if negated:
                self.fail("IN, LIKE or BETWEEN")
            return left
        return Not(node) if negated else node

    def _special(self, left: Node) -> Node | None:
        if self._take("keyword", "IN"):
            return Member(left, self._members())
        if self._take("keyword", "LIKE"):
            token = self.peek()
            if token.kind != "text":
                self.fail("a pattern in single quotes")
            self._at += 1
            return Like(left, _unquote(token.text))
        if self._take("keyword", "BETWEEN"):
            low = self._sum()
            self._expect("keyword", "AND")
            return Logic("AND", Comparison(">=", left, low), Comparison("<=", left, self._sum()))
        return None

    def _members(self) -> tuple[bool | float | str, ...]:
        self._expect("sign", "(")
        values: list[bool | float | str] = []
        while True:
            self._refuse_null()
            start = self.peek().place
            value = self._literal(-1.0 if self._take("sign", "-") else 1.0)
            if values and type(value) is not type(values[0]):
                raise _fault(
                    self._text, start, "the values of IN must be of one kind: all text, all numbers or all TRUE/FALSE"
                )
            values.append(value)
            if not self._take("sign", ","):
                break
        self._expect("sign", ")")
        return tuple(values)

    def _literal(self, factor: float) -> bool | float | str:
        token = self.peek()
        if token.kind == "number":
            self._at += 1
            return factor * self._number(token)
        if factor < 0:
            self.fail("a number")
        if token.kind != "text" and token.text not in ("TRUE", "FALSE"):
            self.fail("a number, a text in single quotes, TRUE or FALSE")
        self._at += 1
        return _unquote(token.text) if token.kind == "text" else token.text == "TRUE"

    def _number(self, token: _Token) -> float:
        value = float(token.text)
        if math.isinf(value):
            raise _fault(self._text, token.place, f"{token.text} is too large a number")
        return value

    def _sum(self) -> Node:
        node = self._product()
        while (sign := self.peek()).kind == "sign" and sign.text in "+-":
            self._at += 1
            node = Arithmetic(sign.text, node, self._product())
        return node

    def _product(self) -> Node:
        node = self._unary()
        while (sign := self.peek()).kind == "sign" and sign.text in "*/":
            self._at += 1
            node = Arithmetic(sign.text, node, self._unary())
        return node

    def _unary(self) -> Node:
        self._deeper()
        node = self._atom()
        self._depth -= 1
        return node

    def _atom(self) -> Node:
        token = self.peek()
        if self._take("sign", "-"):
            inner = self._unary()
            if isinstance(inner, Literal) and isinstance(inner.value, float):
                return Literal(-inner.value)
            return Negative(inner)
        if self._take("sign", "("):
            node = self.disjunction()
            self._expect("sign", ")")
            return node
        if token.kind in ("name", "quoted"):
            self._at += 1
            return Column(token.text if token.kind == "name" else token.text[1:-1].replace('""', '"'))
        self._refuse_null()
        if token.kind not in ("number", "text") and token.text not in ("TRUE", "FALSE"):
            self.fail("a value or a column")
        return Literal(self._literal(1.0))

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise _fault(self._text, self.peek().place, f"parentheses, NOT or minus signs more than {MAX_DEPTH} deep")

    def _refuse_null(self) -> None:
        if self.peek() == _Token("keyword", "NULL", self.peek().place):
            raise _fault(self._text, self.peek().place, "nothing equals NULL; write IS NULL or IS NOT NULL")

    def _take(self, kind: str, text: str) -> bool:
        token = self.peek()
        if (token.kind, token.text) != (kind, text):
            return False
        self._at += 1
        return True

    def _expect(self, kind: str, text: str) -> None:
        if not self._take(kind, text):
            self.fail(repr(text))


def _unquote(text: str) -> str:
    return text[1:-1].replace("''", "'")
