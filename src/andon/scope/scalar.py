"""The small words of a charter: durations, names and the one-line description of an input.

>>> duration("2d") == 2 * 24 * 3600 * 1_000_000
True
>>> describe_field("age", "int(0..120)?")
Field(name='age', kind='int', optional=True, categories=None, low=0.0, high=120.0)
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema

from andon.core.record import Field as Column
from andon.core.record import Kind
from andon.core.redact import parse_rule
from andon.core.registry import did_you_mean
from andon.errors import UsageError
from andon.measure.gate import Bound

__all__ = [
    "Alarm",
    "BoundText",
    "ColumnName",
    "Description",
    "Duration",
    "Many",
    "Name",
    "Redact",
    "Text",
    "describe_field",
    "duration",
    "duration_text",
    "shown",
]

_UNITS = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 604_800_000_000,
}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*(us|ms|s|m|h|d|w)")
_FIELD = re.compile(r"([A-Za-z]+)\s*(?:\((.*)\))?\s*(\?)?", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


def shown(value: Any) -> str:
    """A found value as a person would write it in YAML, cut to a readable length.

    >>> shown(True), shown(None), shown("a"), shown({"a": 1})
    ('true', 'nothing', "'a'", 'a mapping')
    """
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def duration(value: object) -> int:
    """Microseconds of a duration such as ``500ms``, ``30s``, ``5m``, ``1h``, ``2d`` or ``1w``; 0 stays 0.

    >>> duration("1.5h")
    5400000000
    >>> duration("an hour")
    Traceback (most recent call last):
    ...
    ValueError: expected a duration such as 30s, 5m, 1h or 2d, found 'an hour'
    """
    if value == 0 and not isinstance(value, bool):
        return 0
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"expected a duration such as 30s, 5m, 1h or 2d, found {shown(value)}")
    return round(float(match[1]) * _UNITS[match[2]])


def duration_text(us: int) -> str:
    """A duration as a charter writes it; the reverse of ``duration``.

    >>> duration_text(172_800_000_000), duration_text(90_000_000), duration_text(500_000), duration_text(0)
    ('2d', '90s', '500ms', '0s')
    """
    for unit in ("d", "h", "m", "s", "ms"):
        if us and us % _UNITS[unit] == 0:
            return f"{us // _UNITS[unit]}{unit}"
    return f"{us}us" if us else "0s"


def describe_field(name: str, text: str) -> Column:
    """One input from its description: a kind, then categories or a range in brackets, then ``?`` if it may be missing.

    Kinds are bool, int, float, category, text and image. Raises ``ValueError`` with what was expected and found.

    >>> describe_field("size", "category(small, large)?").categories
    ('small', 'large')
    >>> describe_field("size", "categry")
    Traceback (most recent call last):
    ...
    ValueError: expected a kind of input, found 'categry'; did you mean 'category'?
    """
    match = _FIELD.fullmatch(text.strip())
    kinds = get_args(Kind)
    if match is None or match[1] not in kinds:
        found = match[1] if match else text
        raise ValueError(f"expected a kind of input, found {shown(found)}; {did_you_mean(found, kinds)}")
    kind: Kind = match[1]  # type: ignore[assignment]
    categories, (low, high) = None, (None, None)
    if match[2] is not None:
        if kind == "category":
            categories = _categories(match[2])
        elif kind in ("int", "float"):
            low, high = _range(match[2])
        else:
            raise ValueError(f"expected nothing in brackets after {kind}, found {shown(match[2])}")
    return Column(name, kind, match[3] is not None, categories, low, high)


def _categories(text: str) -> tuple[str, ...]:
    names = tuple(part.strip().strip("'\"") for part in text.split(","))
    if not all(names) or len(set(names)) != len(names):
        raise ValueError(f"expected different categories with commas between, found {shown(text)}")
    return names


def _range(text: str) -> tuple[float, float]:
    low, dots, high = text.partition("..")
    try:
        bounds = float(low), float(high)
    except ValueError:
        dots = ""
    if not dots or not bounds[0] <= bounds[1] or abs(bounds[0]) == float("inf") or abs(bounds[1]) == float("inf"):
        raise ValueError(f"expected a range such as 0..120, found {shown(text)}")
    return bounds


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(
            f"expected a name of at most 64 letters, digits, _ and - that starts with a letter, found {shown(value)}"
        )
    return value


def _column(value: str) -> str:
    if not value.isidentifier() or len(value) > 64:
        raise ValueError(
            f"expected a column name of at most 64 letters, digits and _ that starts with a letter, found {shown(value)}; "
            "rename the column in clean()"
        )
    return value


def _description(value: str) -> str:
    describe_field("", value)
    return value


def _rule(value: str) -> str:
    parse_rule(value)
    return value


def _rules(value: object) -> object:
    """A plain list of inputs means that each of them is dropped."""
    if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value):
        return dict.fromkeys(value, "drop")
    if not isinstance(value, dict):
        raise ValueError(f"expected a list of inputs, or inputs and what is kept of each, found {shown(value)}")
    return value


def _bound(value: object) -> Bound:
    if not isinstance(value, str):
        raise ValueError(f"expected a bound such as '>= 0.85' or '0.09 .. 0.19', found {shown(value)}")
    try:
        return Bound.parse(value)
    except UsageError as error:
        raise ValueError(error.message) from None


def _alarm(value: object) -> Bound | Literal["reference"]:
    if value == "reference":
        return "reference"
    if value == "adaptive":
        raise ValueError(
            "expected a bound or reference, found 'adaptive': adaptive alarms are not in this release; "
            "use reference, which takes its bound from the data the model was trained on"
        )
    return _bound(value)


Text = Annotated[str, Field(min_length=1, max_length=4000)]
Name = Annotated[str, AfterValidator(_name)]
ColumnName = Annotated[str, AfterValidator(_column)]
#: What `describe_field` reads.
Description = Annotated[
    Text,
    AfterValidator(_description),
    WithJsonSchema({"type": "string", "pattern": r"^(bool|int|float|category|text|image)\s*(\(.*\))?\s*\??$"}),
]
#: A list in the file, a tuple in memory; what is inside stays strict.
Many = Annotated[tuple[Text, ...], Field(strict=False)]
Duration = Annotated[
    int,
    BeforeValidator(duration),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": r"^\d+(\.\d+)?\s*(us|ms|s|m|h|d|w)$"}, {"const": 0}]}),
]
#: Inputs with the rule that `andon.core.redact` applies to each.
Redact = Annotated[
    dict[str, Annotated[Text, AfterValidator(_rule)]],
    BeforeValidator(_rules),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "array", "items": {"type": "string"}},
                {
                    "type": "object",
                    "additionalProperties": {
                        "type": "string",
                        "pattern": r"^(drop|hash|mask\s*\(.*\)|truncate\s*\(.*\))$",
                    },
                },
            ],
            "examples": [["name"], {"name": "drop", "mail": "hash", "card": "mask(4)", "age": "truncate(5)"}],
        }
    ),
]
BoundText = Annotated[
    Bound,
    PlainValidator(_bound),
    WithJsonSchema({"type": "string", "examples": [">= 0.85", "<= 0.05", "0.09 .. 0.19"]}),
]
Alarm = Annotated[
    Bound | Literal["reference"],
    PlainValidator(_alarm),
    WithJsonSchema({"type": "string", "examples": ["<= 0.06", "reference"]}),
]
