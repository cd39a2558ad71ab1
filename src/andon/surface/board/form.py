"""A command's form, made from the struct of its parameters: one field each, with its label, its kind and its value.

>>> class Params(msgspec.Struct):
...     level: Literal["human", "full"]
...     share: float = 0.05
...     reason: str = ""
>>> [(one.name, one.label, one.kind, one.value, one.required) for one in form_fields(Params, {"level": "full"})]
[('level', 'level', 'choice', 'full', True), ('share', 'share', 'number', '0.05', False), ('reason', 'reason', 'area', '', False)]
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from andon.surface.decode import fields_of

__all__ = ["FormField", "form_fields", "local_path"]

Kind = Literal["text", "number", "choice", "check", "area", "hidden"]


class FormField(msgspec.Struct, frozen=True):
    """One field of a form."""

    name: str
    label: str
    kind: Kind
    value: str
    required: bool
    options: tuple[str, ...] = ()
    description: str = ""


def form_fields(params: type[msgspec.Struct], given: Mapping[str, str]) -> tuple[FormField, ...]:
    """The fields in their order; values are what was given, else the defaults."""
    return tuple(_field(field, given) for field in fields_of(params))


def local_path(text: str, otherwise: str) -> str:
    """A path on this board to go to next, or ``otherwise``: nobody is sent elsewhere by a link that looks like ours.

    >>> local_path("/deploy?x=1", "/"), local_path("//evil.example", "/"), local_path("https://evil.example", "/")
    ('/deploy?x=1', '/', '/')
    """
    fair = text.startswith("/") and not text.startswith("//") and "\\" not in text and text.isprintable()
    return text if fair and len(text) <= 500 else otherwise


def _field(field: msgspec.inspect.Field, given: Mapping[str, str]) -> FormField:
    kind: Any = field.type
    said: dict[str, Any] = {}
    if isinstance(kind, msgspec.inspect.Metadata):
        said, kind = kind.extra_json_schema or {}, kind.type
    if isinstance(kind, msgspec.inspect.UnionType):
        kind = next(one for one in kind.types if not isinstance(one, msgspec.inspect.NoneType))
        if isinstance(kind, msgspec.inspect.Metadata):
            said, kind = {**said, **(kind.extra_json_schema or {})}, kind.type
    name = field.encode_name
    shown, options = _kind(name, kind)
    default = "" if field.default in (msgspec.NODEFAULT, None) else field.default
    value = given.get(name, str(default).lower() if isinstance(default, bool) else str(default))
    label = str(said.get("title") or name.replace("_", " "))
    return FormField(name, label, shown, value, field.required, options, str(said.get("description", "")))


def _kind(name: str, kind: Any) -> tuple[Kind, tuple[str, ...]]:
    if isinstance(kind, msgspec.inspect.LiteralType):
        return "choice", tuple(map(str, kind.values))
    if isinstance(kind, msgspec.inspect.BoolType):
        return "check", ()
    if isinstance(kind, msgspec.inspect.FloatType | msgspec.inspect.IntType):
        return "number", ()
    return ("area" if name == "reason" else "text"), ()
