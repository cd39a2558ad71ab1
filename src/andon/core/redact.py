"""What becomes of an input before anything is written: dropped, hashed under a key, masked, or made coarser.

A rule is written like a kind of input: ``drop``, ``hash``, ``mask(4)``, ``truncate(5)``, ``truncate(month)``. Applying a
rule to what it made changes nothing (`Redactor.again`), so what an older charter stored in the clear can be redacted on
its way out without harm to what is redacted already.

>>> redactor = Redactor({"name": "drop", "card": "mask(4)", "age": "truncate(5)", "born": "truncate(month)"})
>>> redactor.row({"name": "Ann", "card": "4111222233334444", "age": 43, "born": "1980-05-17", "cough": True})
{'name': None, 'card': '************4444', 'age': 40, 'born': '1980-05', 'cough': True}
>>> Redactor({"mail": "hash"}, bytes(32)).value("mail", "ann@example.org")
'h6f5f:7beb5167a3a6bce3b16fbce12179491c'
"""

from __future__ import annotations

import math
import re
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from hashlib import blake2b
from typing import Any, Literal, TypeVar

import msgspec

from andon.core.record import Field

__all__ = ["HASHED", "Plan", "Redactor", "Rule", "Words", "parse_rule", "quiet", "unfit"]

_RULE = re.compile(r"(drop|hash|mask|truncate)\s*(?:\(\s*([A-Za-z0-9.+-]*)\s*\))?")
_EXPECTED = "expected drop, hash, mask(4), truncate(5), truncate(day) or truncate(month)"
#: What a keyed hash looks like: four digits that tell the key, then 128 bits.
HASHED = re.compile(r"h[0-9a-f]{4}:[0-9a-f]{32}")
_DATES = {"day": 10, "month": 7}
_TEXTS = frozenset({"text", "category"})
_NUMBERS = frozenset({"int", "float"})
_PACKED = frozenset({"bool", "int", "float"})
_LONGEST = 10_000
_EXACT = float(1 << 53)
_NAN = float("nan")
Cell = TypeVar("Cell")


class Rule(msgspec.Struct, frozen=True):
    """One rule. ``amount``: characters that ``mask`` keeps, a step of numbers or characters for ``truncate``; ``part`` of a date."""

    kind: Literal["drop", "hash", "mask", "truncate"]
    amount: float = 0.0
    part: Literal["", "day", "month"] = ""


def parse_rule(text: str) -> Rule:
    """A rule from its text; raises ``ValueError`` with what was expected and found.

    >>> parse_rule("truncate(0.5)")
    Rule(kind='truncate', amount=0.5, part='')
    >>> parse_rule("mask")
    Traceback (most recent call last):
    ...
    ValueError: expected mask(n), the number of characters that stay at the end (0 to 10000), found 'mask'
    """
    match = _RULE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{_EXPECTED}, found {text[:60]!r}")
    kind, given = match[1], match[2]
    if kind in ("drop", "hash"):
        if given is not None:
            raise ValueError(f"expected nothing in brackets after {kind}, found {text[:60]!r}")
        return Rule("drop" if kind == "drop" else "hash")
    if kind == "truncate" and given in ("day", "month"):
        return Rule("truncate", part="day" if given == "day" else "month")
    try:
        amount = float(given or "")
    except ValueError:
        amount = _NAN
    if kind == "mask":
        if not (0 <= amount <= _LONGEST and amount.is_integer()):
            what = f"the number of characters that stay at the end (0 to {_LONGEST})"
            raise ValueError(f"expected mask(n), {what}, found {text[:60]!r}")
        return Rule("mask", amount)
    if not 0 < amount < math.inf:
        what = "a step above 0, a number of characters, day or month"
        raise ValueError(f"expected truncate(n), {what}, found {text[:60]!r}")
    return Rule("truncate", amount)


def unfit(rule: Rule, field: Field) -> str | None:
    """Why a rule cannot be applied to an input, as a sentence; None when it can.

    >>> unfit(parse_rule("hash"), Field("age", "int"))
    'hash needs a text or a category without a list, and this is an int; send it as text, or use truncate(n) or drop'
    """
    if rule.kind == "drop":
        return None
    listed = field.kind == "category" and field.categories is not None
    if rule.kind == "truncate" and field.kind in _NUMBERS:
        if rule.part:
            return f"truncate({rule.part}) needs a date as text, and this is {_named(field)}; use truncate(n), a step"
        if field.kind == "int" and not rule.amount.is_integer():
            return f"the step of an int is a whole number, found {rule.amount:g}"
        return None
    if field.kind not in _TEXTS or listed:
        kept = "truncate(n) or drop" if field.kind in _NUMBERS else "drop"
        why = "a category with a list" if listed else _named(field)
        send = "" if listed or field.kind == "image" else "send it as text, or "
        return f"{rule.kind} needs a text or a category without a list, and this is {why}; {send}use {kept}"
    if rule.kind == "truncate" and not rule.part and not (rule.amount.is_integer() and rule.amount <= _LONGEST):
        return f"truncate keeps 1 to {_LONGEST} characters of a text, found {rule.amount:g}"
    return None


def _named(field: Field) -> str:
    return f"{'an' if field.kind[0] in 'aeiou' else 'a'} {field.kind}"


class Words(str):
    """Why a model gave no answer. ``kept`` is what of it is our own and holds no value; all of it unless given."""

    __slots__ = ("kept",)
    kept: str

    def __new__(cls, text: str, kept: str | None = None) -> Words:
        """A text, and what of it may be written where inputs are redacted."""
        made = super().__new__(cls, text)
        made.kept = text if kept is None else kept
        return made


def quiet(error: str) -> str:
    """What is written of a model's error where inputs are redacted: our own words, never those of a model or a server.

    A text that does not say which of its words are our own has none.

    >>> quiet(Words("predict raised ValueError: no such name 'Ann'", "predict raised ValueError"))
    'predict raised ValueError; its words are not kept (privacy.redact)'
    >>> quiet(Words("v2 is being loaded"))
    'v2 is being loaded'
    >>> quiet("no such name 'Ann'")
    'it failed; its words are not kept (privacy.redact)'
    """
    kept = error.kept if isinstance(error, Words) else "it failed"
    return kept if kept == error else f"{kept}; its words are not kept (privacy.redact)"


class Redactor:
    """The rules of a charter, by input, ready to be applied. ``key`` is the secret of ``hash``; rules are texts or ``Rule``s.

    Values are those of a checked row: of another type than the rule is for, they stay (and fit no contract).
    """

    def __init__(self, rules: Mapping[str, str | Rule], key: bytes = b"") -> None:
        self.rules = {name: parse_rule(rule) if isinstance(rule, str) else rule for name, rule in rules.items()}
        self._key = key
        self._mark = f"h{blake2b(b'', digest_size=2, key=key, person=b'andon key').hexdigest()}:"
        self._calls: dict[str, Callable[[Any], Any]] = {
            name: self._call(name, rule) for name, rule in self.rules.items()
        }

    def __bool__(self) -> bool:
        return bool(self.rules)

    @property
    def dropped(self) -> frozenset[str]:
        """Inputs of which nothing is kept."""
        return frozenset(name for name, rule in self.rules.items() if rule.kind == "drop")

    def value(self, name: str, value: Any) -> Any:
        """What is kept of one value; None stays None."""
        call = self._calls.get(name)
        return value if call is None or value is None else call(value)

    def again(self, name: str, value: Any) -> Any:
        """What is kept of a value that may be redacted already."""
        hashed = name in self.rules and self.rules[name].kind == "hash"
        if hashed and isinstance(value, str) and HASHED.fullmatch(value):
            return value
        return self.value(name, value)

    def row(self, x: Mapping[str, Any], *, again: bool = False) -> dict[str, Any]:
        """What is kept of a row; ``again``: it may be redacted already."""
        keep = self.again if again else self.value
        return {name: keep(name, value) if name in self._calls else value for name, value in x.items()}

    def column(self, name: str, cells: Sequence[Any]) -> list[Any]:
        """What is kept of many values of one input."""
        call = self._calls.get(name)
        if call is None:
            return list(cells)
        return [None if cell is None else call(cell) for cell in cells]

    def plan(self, fields: Sequence[Field]) -> Plan | None:
        """How rows of a contract are redacted that are packed already; None where nothing is to be done."""
        numbers = [field.name for field in fields if field.kind in _PACKED]
        texts = [field.name for field in fields if field.kind not in _PACKED]
        found = Plan(_placed(numbers, self._calls), _placed(texts, self._calls))
        return found if found.numbers or found.texts else None

    def _call(self, name: str, rule: Rule) -> Callable[[Any], Any]:
        if rule.kind == "drop":
            return _nothing
        if rule.kind == "hash":
            return self._hashing(name)
        if rule.kind == "mask":
            return _masking(int(rule.amount))
        return _dating(rule.part) if rule.part else _truncating(rule.amount)

    def _hashing(self, name: str) -> Callable[[Any], Any]:
        """BLAKE2b under the key, each input apart: the same text in two inputs has two hashes."""
        begun = blake2b(name.encode() + b"\0", digest_size=16, key=self._key, person=b"andon redact")
        mark = self._mark

        def hashed(value: Any) -> Any:
            if not isinstance(value, str):
                return value
            mine = begun.copy()
            mine.update(value.encode("utf-8", "surrogatepass"))
            return mark + mine.hexdigest()

        return hashed


class Plan(msgspec.Struct, frozen=True):
    """The redacted inputs of one contract by their position among its numbers and among its texts."""

    numbers: tuple[tuple[int, Callable[[Any], Any]], ...]
    texts: tuple[tuple[int, Callable[[Any], Any]], ...]

    def apply(
        self, rows: int, numbers: bytes, texts: Sequence[Sequence[str | None]]
    ) -> tuple[bytes, Sequence[Sequence[str | None]]]:
        """The packed numbers (column after column of float64, missing is NaN) and the columns of texts, redacted."""
        if self.numbers:
            cells = array("d", numbers)
            for at, call in self.numbers:
                kept = [call(cell) if cell == cell else _NAN for cell in cells[at * rows : (at + 1) * rows]]
                cells[at * rows : (at + 1) * rows] = array("d", [_NAN if cell is None else cell for cell in kept])
            numbers = cells.tobytes()
        if self.texts:
            changed = list(texts)
            for at, call in self.texts:
                changed[at] = [None if cell is None else call(cell) for cell in texts[at]]
            texts = changed
        return numbers, texts


def _placed(
    names: Iterable[str], calls: Mapping[str, Callable[[Any], Any]]
) -> tuple[tuple[int, Callable[[Any], Any]], ...]:
    return tuple((at, calls[name]) for at, name in enumerate(names) if name in calls)


def _nothing(value: Any) -> None:
    return None


def _masking(kept: int) -> Callable[[Any], Any]:
    def masked(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        hidden = len(value) - kept if len(value) > kept else len(value)
        return "*" * hidden + value[hidden:]

    return masked


def _dating(part: str) -> Callable[[Any], Any]:
    """The day or month of a date in ISO 8601; what is none is dropped, since nobody knows what it holds."""

    def dated(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        month = len(value) == 7
        try:
            found = date.fromisoformat(f"{value}-01") if month else datetime.fromisoformat(value).date()
        except ValueError:
            return None
        return found.isoformat()[: 7 if month else _DATES[part]]

    return dated


def _truncating(step: float) -> Callable[[Any], Any]:
    """Numbers down to a multiple of the step, texts to so many characters."""

    def truncated(value: Any) -> Any:
        if isinstance(value, str):
            return value[: int(step)]
        if isinstance(value, bool) or not isinstance(value, int | float):
            return value
        if not abs(value) < _EXACT * step:
            return None  # beyond what a step can be told of
        times = value / step
        whole = round(times)
        if not math.isclose(times, whole, rel_tol=1e-12):
            whole = math.floor(times)
        return int(whole * step) if isinstance(value, int) else whole * step

    return truncated
