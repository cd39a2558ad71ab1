"""Write the pages of ``docs/`` that are made from the code: every command with its options, and the charter's schema.

Run by ``make docs``; ``tests/house/test_docs.py`` fails when a page is no longer what the code says.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from andon.scope.charter import schema
from andon.scope.checklist import QUESTIONS
from andon.surface.cli import build

__all__ = ["charter_keys", "commands_page", "main", "schema_page", "scope_page"]

DOCS = Path(__file__).parents[1] / "docs"
_HEAD = """# Commands

Made from the code by `make docs`. Every command takes `--json` where it has something to say: one JSON document on
stdout, messages on stderr. Exit codes: 0 success, 1 a gate or check failed, 2 wrong use, 3 not enough evidence, 4 an error.
"""


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that a person may call, with the words that call it."""
    if hasattr(command, "commands"):
        for name, inner in command.commands.items():
            if not inner.hidden:
                yield from commands(inner, (*words, name))
    else:
        yield words, command


def commands_page() -> str:
    """``docs/commands.md``."""
    root = typer.main.get_command(build())
    version = next(_row(parameter) for parameter in root.params if parameter.name == "version")
    parts = [_HEAD, f"## `andon`\n\n{(root.help or '').strip()}\n", f"{version}\n"]
    for words, command in commands(root):
        parts.append(f"## `andon {' '.join(words)}`\n\n{(command.help or '').strip()}\n")
        rows = [_row(parameter) for parameter in command.params if not getattr(parameter, "hidden", False)]
        parts.append("\n".join(row for row in rows if row) + "\n")
    return "\n".join(parts)


def _row(parameter: Any) -> str:
    text = str(getattr(parameter, "help", "") or "").replace("\n", " ")
    if parameter.param_type_name == "argument":
        name = (parameter.name or "").upper()
        return f"* `{name}` {text}".rstrip()
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    return f"* {names} {text}".rstrip()


def schema_page() -> str:
    """``docs/charter.schema.json``."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def charter_keys(body: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key of the charter, dotted, with its schema; ``<name>`` stands for a name of the user's, ``[]`` for an entry."""

    def walk(part: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
        found = body["$defs"][part["$ref"].rsplit("/", 1)[1]] if "$ref" in part else part
        for key, entry in found.get("properties", {}).items():
            here = f"{path}.{key}" if path else key
            inner = list(walk(entry, here))
            for below, mark in ((entry.get("additionalProperties"), ".<name>"), (entry.get("items"), "[]")):
                if isinstance(below, dict) and "$ref" in below:
                    inner += walk(below, here + mark)
            yield from inner or [(here, entry)]

    yield from walk(body, "")


def scope_page() -> str:
    """``docs/scope.md`` with its two tables made anew."""
    keys = ["| key | values | default | meaning |", "|---|---|---|---|"]
    keys += [_key_row(key, entry) for key, entry in charter_keys(schema())]
    table = ["| answer | question | configures | test |", "|---|---|---|---|"]
    table += [
        f"| `{one.key}` | {one.asks} | {one.configures} | {f'`{one.test}`' if one.test else 'none'} |"
        for one in QUESTIONS
    ]
    text = (DOCS / "scope.md").read_text(encoding="utf-8")
    for mark, rows in (("keys", keys), ("answers", table)):
        before, rest = text.split(f"<!-- {mark} -->\n", 1)
        after = rest.split(f"<!-- end of {mark} -->", 1)[1]
        text = f"{before}<!-- {mark} -->\n" + "\n".join(rows) + f"\n<!-- end of {mark} -->{after}"
    return text


def _key_row(key: str, entry: dict[str, Any]) -> str:
    default = entry.get("default")
    shown = "" if default is None else f"`{json.dumps(default, ensure_ascii=False)}`"
    return f"| `{key}` | {_values(entry)} | {shown} | {entry.get('description', '')} |".replace("\n", " ")


def _values(entry: dict[str, Any]) -> str:
    kinds = [one for one in entry.get("anyOf", [entry]) if one.get("type") != "null" and "const" not in one]
    return " or ".join(dict.fromkeys(_one(one) for one in kinds))


def _one(entry: dict[str, Any]) -> str:
    if "enum" in entry:
        return ", ".join(f"`{value}`" for value in entry["enum"])
    if "const" in entry:
        return f"`{entry['const']}`"
    if entry.get("examples"):
        return " ".join(f"`{value}`" for value in entry["examples"])
    if "us|ms" in entry.get("pattern", ""):
        return "duration"
    if entry.get("type") == "array":
        return f"list of {_one(entry.get('items', {}))}"
    if entry.get("type") == "object":
        return f"name: {_one(entry.get('additionalProperties', {}))}"
    return _NAMES.get(entry.get("type", ""), "text") + _limits(entry)


_NAMES = {"integer": "whole number", "number": "number", "boolean": "`true`, `false`", "string": "text"}


def _limits(entry: dict[str, Any]) -> str:
    if entry.get("type") not in ("integer", "number"):
        return ""
    low = f"> {entry['exclusiveMinimum']}" if "exclusiveMinimum" in entry else f">= {entry.get('minimum', 0)}"
    high = (
        f"< {entry['exclusiveMaximum']}"
        if "exclusiveMaximum" in entry
        else f"<= {entry['maximum']}"
        if "maximum" in entry
        else ""
    )
    return f" {low}" + (f", {high}" if high else "")


def main() -> None:
    """Write all of them."""
    pages = {"commands.md": commands_page, "charter.schema.json": schema_page, "scope.md": scope_page}
    for name, make in pages.items():
        (DOCS / name).write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
