"""Faults of a charter as sentences: line, path, what was expected and found, and what was probably meant.

``read`` turns YAML text into plain values together with the line of each of them; ``explain`` turns what pydantic
found into ``Fault`` objects. YAML is read as version 1.2 has it (``yes``, ``no``, ``on`` and ``12:30`` are plain text,
only ``true`` and ``false`` are booleans), so that a class called ``no`` stays a word. A key given twice is a fault.

>>> values, lines, faults = read("a: 1\\nb: {c: [x, yes]}\\na: 2\\n")
>>> values, lines[("b", "c", 1)]
({'a': 2, 'b': {'c': ['x', 'yes']}}, 2)
>>> print(faults[0])
line 3, a: this key is given twice; keep one
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic_core import ErrorDetails

from andon.core.registry import did_you_mean
from andon.scope.scalar import shown

__all__ = ["Fault", "Lines", "Path", "dotted", "explain", "line_of", "read"]

Path = tuple[str | int, ...]
Lines = dict[Path, int]

#: A charter is a page or two; more than this is no charter (and guards against alias bombs).
MAX_BYTES = 1 << 20
MAX_VALUES = 20_000
MAX_DEPTH = 30


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One fault: its line in the file (from 1), the path to it and a sentence."""

    line: int
    path: str
    sentence: str

    def __str__(self) -> str:
        where = f"line {self.line}, {self.path}" if self.path else f"line {self.line}"
        return f"{where}: {self.sentence}"


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core words (true, false, null, numbers; all else is text) and its ``?`` inside words: ``{a: bool?}``."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (the base declares it as an instance variable)
    _in_word = False

    def scan_plain(self) -> Any:
        """A plain word; within it a question mark is a letter like any other."""
        self._in_word = True
        try:
            return super().scan_plain()
        finally:
            self._in_word = False

    def peek(self, index: int = 0) -> str:
        """The character at an offset; scan_plain only compares what it sees here, it copies the text itself."""
        found: str = super().peek(index)
        return "x" if found == "?" and self._in_word else found


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("int", r"[-+]?[0-9]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
):
    _firsts = [*_first.replace("\0", "")] + ([""] if "\0" in _first else [])
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_pattern})$"), _firsts)


def read(text: str) -> tuple[Any, Lines, list[Fault]]:
    """Plain values of a YAML document, the line of every value, and the faults of its form."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        return (
            None,
            {},
            [Fault(1, "", f"expected a charter of at most {MAX_BYTES} bytes, found {len(text)} characters")],
        )
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return (
            None,
            {},
            [Fault(mark.line + 1 if mark else 1, "", f"this is not YAML: {error.problem or error.context}")],
        )
    except yaml.YAMLError as error:
        return None, {}, [Fault(1, "", f"this is not YAML: {str(error).splitlines()[0]}")]
    except RecursionError:
        return None, {}, [Fault(1, "", "expected a charter, found brackets nested too deep")]
    walk = _Walk(loader)
    try:
        value = walk.value(node, ()) if node is not None else None
    except _Enough as enough:
        walk.faults.append(enough.fault)
        value = None
    return value, walk.lines, walk.faults


class _Enough(Exception):
    def __init__(self, fault: Fault) -> None:
        super().__init__(str(fault))
        self.fault = fault


class _Walk:
    """From YAML nodes to plain values, keeping lines and collecting faults."""

    def __init__(self, loader: _Loader) -> None:
        self.loader = loader
        self.lines: Lines = {}
        self.faults: list[Fault] = []
        self.count = 0

    def value(self, node: yaml.Node, path: Path) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        self.count += 1
        if self.count > MAX_VALUES or len(path) > MAX_DEPTH:
            raise _Enough(
                Fault(line, "", f"expected a charter of at most {MAX_VALUES} values, {MAX_DEPTH} levels deep")
            )
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        return self.scalar(node, path)

    def scalar(self, node: yaml.Node, path: Path) -> Any:
        try:
            return _plain(self.loader.construct_object(node))
        except (yaml.YAMLError, ValueError, OverflowError) as error:
            problem = getattr(error, "problem", None) or str(error)
            self.faults.append(
                Fault(node.start_mark.line + 1, dotted(path), f"expected plain text or a number: {problem}")
            )
            return None

    def mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = self.scalar(key_node, path) if isinstance(key_node, yaml.ScalarNode) else [None]
            if not isinstance(key, str):
                self.faults.append(
                    Fault(line, dotted(path), f"expected a name as key, found {shown(key)}; put it in quotes")
                )
                continue
            if key in result:
                self.faults.append(Fault(line, dotted((*path, key)), "this key is given twice; keep one"))
            self.lines[*path, key] = line
            result[key] = self.value(value_node, (*path, key))
        return result


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise ValueError(f"found a {type(value).__name__}")


def dotted(path: Iterable[str | int]) -> str:
    """A path as a person writes it.

    >>> dotted(("risks", 0, "shows_in"))
    'risks[0].shows_in'
    """
    text = ""
    for part in path:
        part = part if isinstance(part, int) or (part.isprintable() and len(part) <= 80) else ascii(part[:80])
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def line_of(lines: Lines, path: Path) -> int:
    """The line of a path or, where it is not in the file, of the nearest thing around it."""
    for end in range(len(path), -1, -1):
        if path[:end] in lines:
            return lines[path[:end]]
    return 1


def explain(model: type[BaseModel], errors: Iterable[ErrorDetails], lines: Lines) -> list[Fault]:
    """Each of pydantic's errors as a fault."""
    faults = []
    for error in errors:
        if error["type"] == "too_short" and len(error["input"]) >= error["ctx"]["min_length"]:
            continue  # pydantic does not count the entries that are faulty, and those are told
        path = tuple(part for part in error["loc"] if part != "[key]")
        faults.append(Fault(line_of(lines, path), dotted(path), _sentence(model, path, error)))
    return faults


_TYPES = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dict_type": "a mapping (`key: value`)",
    "model_type": "a mapping (`key: value`)",
    "tuple_type": "a list",
    "list_type": "a list",
    "finite_number": "a finite number",
}
_LIMITS = {
    "greater_than": ("a number above {}", "gt"),
    "greater_than_equal": ("at least {}", "ge"),
    "less_than": ("a number below {}", "lt"),
    "less_than_equal": ("at most {}", "le"),
    "string_too_short": ("at least {} characters", "min_length"),
    "string_too_long": ("at most {} characters", "max_length"),
    "too_short": ("at least {} entries", "min_length"),
    "too_long": ("at most {} entries", "max_length"),
}


def _sentence(model: type[BaseModel], path: Path, error: ErrorDetails) -> str:
    kind, found, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "missing":
        return "this key is required"
    if kind == "extra_forbidden":
        return f"no such key here; {did_you_mean(str(path[-1]), _known_keys(model, path[:-1]))}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        known = re.findall(r"'([^']*)'", context["expected"])
        return f"expected {context['expected']}, found {shown(found)}{_closest(found, known)}"
    if kind in _LIMITS:
        form, key = _LIMITS[kind]
        size = f"{len(found)}" if "length" in key and hasattr(found, "__len__") else shown(found)
        return f"expected {form.format(context[key])}, found {size}"
    if kind in _TYPES:
        quote = "; put it in quotes" if kind == "string_type" and isinstance(found, (bool, int, float)) else ""
        return f"expected {_TYPES[kind]}, found {shown(found)}{quote}"
    return f"{error['msg'][:1].lower()}{error['msg'][1:]}, found {shown(found)}"


def _closest(found: Any, known: list[str]) -> str:
    hint = did_you_mean(found, known) if isinstance(found, str) else ""
    return f"; {hint}" if hint.startswith("did") else ""


def _known_keys(model: type[BaseModel], path: Path) -> list[str]:
    """The keys that the section at a path knows."""
    here: Any = model
    for part in path:
        if isinstance(here, type) and issubclass(here, BaseModel):
            fields = {field.alias or name: field.annotation for name, field in here.model_fields.items()}
            here = fields.get(str(part))
        elif get_origin(here) in (dict, tuple):
            here = get_args(here)[1 if get_origin(here) is dict else 0]
    if isinstance(here, type) and issubclass(here, BaseModel):
        return [field.alias or name for name, field in here.model_fields.items()]
    return []
