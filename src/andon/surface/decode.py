"""From the strings of an address, a form or a JSON body to the parameters' struct of a page or command.

>>> class Params(msgspec.Struct):
...     share: float
...     page: int = 1
...     runs: tuple[str, ...] = ()
>>> from_strings([("share", "0.05"), ("runs", "a"), ("runs", "b"), ("page", "")], Params)
Params(share=0.05, page=1, runs=('a', 'b'))
>>> from_strings([("share", "much")], Params)
Traceback (most recent call last):
...
andon.errors.UsageError: share: expected a number, found 'much'
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, TypeVar

import msgspec

from andon.core.registry import did_you_mean
from andon.errors import UsageError

__all__ = ["fields_of", "from_json", "from_strings", "is_many"]

T = TypeVar("T", bound=msgspec.Struct)
_PATH = re.compile(r"^(?P<what>.*?)(?: - at `\$\.?(?P<where>[^`]*)`)?$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]*)`")
_WORDS = {"`int`": "a whole number", "`float`": "a number", "`bool`": "true or false", "`str`": "text"}
_LONGEST = 100_000


def fields_of(kind: type[msgspec.Struct]) -> tuple[msgspec.inspect.Field, ...]:
    """The fields of a parameters' struct, as msgspec describes them."""
    found = msgspec.inspect.type_info(kind)
    assert isinstance(found, msgspec.inspect.StructType)
    return found.fields


def is_many(field: msgspec.inspect.Field) -> bool:
    """Whether a field takes several values."""
    many = (msgspec.inspect.VarTupleType, msgspec.inspect.ListType, msgspec.inspect.SetType)
    return isinstance(_bare(field.type), many)


def from_strings(pairs: Iterable[tuple[str, str]], kind: type[T], *, strict: bool = False) -> T:
    """Decode name and value pairs; a value that is empty counts as not given, as a form sends it.

    With ``strict``, for programs, an empty value is a value, and a name that nobody asked for is an error. Raises ``UsageError`` with the field's name.
    """
    fields = {field.encode_name: field for field in fields_of(kind)}
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name not in fields:
            if strict:
                raise UsageError(f"{name[:80]!r} is no parameter here; {did_you_mean(name, fields)}", field=name[:80])
            continue
        if len(value) > _LONGEST:
            raise UsageError(f"{name}: expected at most {_LONGEST:,} characters, found {len(value):,}", field=name)
        if value == "" and not strict and not fields[name].required:
            continue
        if is_many(fields[name]):
            found.setdefault(name, []).append(value)
        elif strict and name in found:
            raise UsageError(f"{name} is given twice", field=name)
        else:
            found[name] = value
    try:
        return msgspec.convert(found, kind, strict=False)
    except msgspec.ValidationError as error:
        raise _fault(error, found) from None


def from_json(body: bytes, kind: type[T]) -> T:
    """Decode a JSON body; no body counts as ``{}``. Raises ``UsageError`` with the field's name."""
    try:
        found = msgspec.json.decode(body or b"{}")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"the body is not JSON: {error}", hint="send a JSON object") from None
    if not isinstance(found, dict):
        raise UsageError(f"the body: expected a JSON object, found {type(found).__name__}")
    fields = {field.encode_name for field in fields_of(kind)}
    for name in found:
        if name not in fields:
            raise UsageError(f"{name[:80]!r} is no parameter here; {did_you_mean(name, fields)}", field=name[:80])
    try:
        return msgspec.convert(found, kind)
    except msgspec.ValidationError as error:
        raise _fault(error, found) from None


def _bare(kind: Any) -> Any:
    return kind.type if isinstance(kind, msgspec.inspect.Metadata) else kind


def _fault(error: msgspec.ValidationError, found: dict[str, Any]) -> UsageError:
    """One sentence: which field, what was expected, what was found."""
    text = str(error)
    if missing := _MISSING.match(text):
        return UsageError(f"{missing['name']} is missing", field=missing["name"])
    parts = _PATH.match(text)
    assert parts is not None
    where, what = parts["where"] or "", parts["what"]
    name = re.split(r"[.\[]", where)[0]
    what = what.split(", got ")[0]
    for code, words in _WORDS.items():
        what = what.replace(code, words)
    what = what[:1].lower() + what[1:].replace("`", "")
    value = repr(found[name])[:80] if name in found else "nothing"
    return UsageError(f"{where or 'the parameters'}: {what}, found {value}", field=where or None)
