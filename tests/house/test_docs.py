"""The documents say what the code does: commands, charter keys, journal actions, examples and links are checked."""

from __future__ import annotations

import ast
import doctest
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest

from andon.monitor.alarm import What
from andon.scope.charter import parse, schema
from andon.scope.checklist import QUESTIONS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md"]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def made() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_made_from_code", ROOT / "scripts" / "docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def words() -> str:
    return "\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def blocks(page: Path, language: str) -> Iterator[tuple[int, str]]:
    """(line, text) of every fenced block in a language."""
    text = page.read_text(encoding="utf-8")
    for match in re.finditer(rf"^```{language}[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield text[: match.start()].count("\n") + 2, match[1]


def nobody(offenders: Iterator[str]) -> None:
    found = sorted(set(offenders))
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize(
    ("name", "make"),
    [("commands.md", "commands_page"), ("charter.schema.json", "schema_page"), ("scope.md", "scope_page")],
)
def test_pages_made_from_the_code_are_current(name: str, make: str) -> None:
    assert (DOCS / name).read_text(encoding="utf-8") == getattr(made(), make)(), "run: make docs"


def test_every_command_is_explained_in_the_page_of_its_room() -> None:
    import typer

    from andon.surface.cli import build

    told = "\n".join(page.read_text(encoding="utf-8") for page in PAGES if page.name != "commands.md")
    commands = [" ".join(path) for path, _ in made().commands(typer.main.get_command(build()))]
    nobody(f"no page tells of `andon {command}`" for command in commands if f"andon {command}" not in told)


def test_every_command_and_option_has_a_help() -> None:
    import typer

    from andon.surface.cli import build

    def bare() -> Iterator[str]:
        for path, command in made().commands(typer.main.get_command(build())):
            if not command.help:
                yield f"`andon {' '.join(path)}` has no help"
            for parameter in command.params:
                if not getattr(parameter, "help", None):
                    yield f"`andon {' '.join(path)}`: {parameter.name} has no help"

    nobody(bare())


def test_every_key_of_the_charter_is_in_its_page() -> None:
    page = (DOCS / "scope.md").read_text(encoding="utf-8")
    nobody(
        f"docs/scope.md does not explain `{key}`" for key, _ in made().charter_keys(schema()) if f"`{key}`" not in page
    )


def literals(path: str, place: int, *functions: str) -> set[str]:
    """The constants that calls of these functions have as the argument at a place."""
    tree = ast.parse((ROOT / "src/andon" / path).read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and len(node.args) > place]
    named = [call.args[place] for call in calls if ast.unparse(call.func) in functions]
    return {str(name.value) for name in named if isinstance(name, ast.Constant)}


def routes() -> set[str]:
    """The actions that a transition gives its route."""
    return literals("deploy/transition.py", 2, "_next", "_candidate")


def test_every_action_of_a_route_is_found() -> None:
    assert {"begin", "warm", "canary", "blue-green", "switch", "rollback", "automate", "stop"} <= routes()
    assert {"token.create", "token.revoke"} == literals("surface/keyring.py", 1, "_written")


def test_every_action_in_the_journal_is_explained() -> None:
    """The page is docs/journal.md. An action put together from parts is known by where its parts are listed."""
    page = (DOCS / "journal.md").read_text(encoding="utf-8")
    made_of_parts = {
        "f'deploy.{route.action}'": {f"deploy.{name}" for name in routes()},
        "f'alarm.{action.what}'": {f"alarm.{what}" for what in get_args(What)},
        "action": literals("surface/keyring.py", 1, "_written"),
    }
    found: set[str] = set()

    def actions() -> Iterator[tuple[str, str]]:
        for path in sorted((ROOT / "src").rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not (isinstance(node, ast.Call) and ast.unparse(node.func).endswith("journal.append")):
                    continue
                first = node.args[0] if node.args else next((k.value for k in node.keywords if k.arg == "action"), None)
                where = f"{path.relative_to(ROOT)}:{node.lineno}"
                if isinstance(first, ast.Constant):
                    yield where, str(first.value)
                    continue
                text = ast.unparse(first) if first is not None else ""
                found.add(text)
                for action in made_of_parts.get(text, ()):
                    yield where, action

    nobody(
        f"{where}: docs/journal.md does not explain `{action}`"
        for where, action in actions()
        if f"`{action}`" not in page
    )
    # A bare name is a helper's argument: the helper's callers pass constants, which the page explains too.
    assert found == set(made_of_parts), "tell this test of which parts the action is made"


def test_every_key_is_read_by_something_or_said_to_be_idle() -> None:
    """By the name of its attribute: a key that nothing outside the scope reads has to be idle in the table."""
    read: set[str] = set()
    for path in (ROOT / "src").rglob("*.py"):
        if "scope" not in path.parts and path.name != "scope.py":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            read |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    said = {
        question.key for question in QUESTIONS if question.idle is not None or question.configures.startswith("rec")
    }
    said |= {
        "unit.from",
        "case",
        "risks",
        "checklist.latency_p95_ms",
        "checklist.compute.cores",
    }  # read in the scope itself

    def idle(key: str) -> bool:
        return any(key == one or key.startswith((f"{one}.", f"{one}[")) for one in said)

    names = {key: key.split(".")[-1] for key, _ in made().charter_keys(schema())}
    nobody(
        f"nothing reads `{key}`, and `andon check` does not say so"
        for key, name in names.items()
        if not idle(key) and not {name, f"{name}_us"} & read
    )


def test_the_tests_that_the_table_names_are_there() -> None:
    def missing() -> Iterator[str]:
        for question in QUESTIONS:
            file, _, name = question.test.partition("::")
            if question.test and not (ROOT / file).is_file():
                yield f"{question.key}: {file} is not there"
            elif name and f"def {name}(" not in (ROOT / file).read_text(encoding="utf-8"):
                yield f"{question.key}: {file} has no {name}"

    nobody(missing())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks with prompts run in order, in one empty folder per page; the others at least are Python."""
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "docs"}
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    told: list[str] = []
    for line, text in blocks(page, "(?:python|pycon)"):
        if ">>>" not in text:
            compile(text, f"{page.name}:{line}", "exec")
            continue
        test = doctest.DocTestParser().get_doctest(text, names, page.name, str(page), line - 1)
        runner.run(test, out=told.append, clear_globs=False)
        names = test.globs
    assert runner.failures == 0, "".join(told)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_charters_shown_are_sound(page: Path) -> None:
    for _, text in blocks(page, "yaml"):
        if text.lstrip().startswith("project:"):
            parse(text)


def test_links_lead_somewhere() -> None:
    nobody(
        f"{page.relative_to(ROOT)}: {target} is not there"
        for page in PAGES
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
        if "://" not in target and not target.startswith("mailto:")
        if not (page.parent / target).exists()
    )


def test_every_page_is_reached_from_the_first() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    nobody(
        f"docs/index.md does not lead to {page.relative_to(DOCS)}"
        for page in PAGES
        if page.is_relative_to(DOCS) and page.name not in ("index.md", "0000-template.md")
        if f"({page.relative_to(DOCS).as_posix()})" not in index
    )


def test_every_room_has_a_page() -> None:
    rooms = [
        room.parent.name for room in (ROOT / "src/andon").glob("*/__init__.py") if len([*room.parent.glob("*.py")]) > 1
    ]
    nobody(f"there is no docs/{room}.md" for room in rooms if not (DOCS / f"{room}.md").is_file())
