"""The house rules, measured on the source itself; every offender is named at once, with its file and line."""

from __future__ import annotations

import ast
import re
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"

#: Where any exception at all may be caught: other people's code and the network.
BOUNDARIES: set[str] = {"andon/model/predictor.py", "andon/monitor/notify.py"}
HOMELESS = re.compile(r"(utils?|common|helpers?|managers?|base|misc|lib)$")
FUNCTION = ast.FunctionDef | ast.AsyncFunctionDef
COMMANDS = "andon/surface/cli/"


@dataclass(frozen=True)
class Source:
    """One file of the package."""

    path: str
    text: str
    tree: ast.Module

    def at(self, node: ast.AST, what: str) -> str:
        return f"src/{self.path}:{getattr(node, 'lineno', 1)}: {what}"


@cache
def sources() -> tuple[Source, ...]:
    found = []
    for path in sorted(SRC.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        found.append(Source(path.relative_to(SRC).as_posix(), text, ast.parse(text)))
    return tuple(found)


def nobody(offenders: Iterator[str]) -> None:
    found = list(offenders)
    assert not found, "\n" + "\n".join(found)


def functions() -> Iterator[tuple[Source, FUNCTION]]:
    for source in sources():
        for node in ast.walk(source.tree):
            if isinstance(node, FUNCTION):
                yield source, node


def classes() -> Iterator[tuple[Source, ast.ClassDef]]:
    for source in sources():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ClassDef):
                yield source, node


def code_lines(node: FUNCTION) -> int:
    """Lines from ``def`` to the end, without the docstring."""
    last = node.end_lineno or node.lineno
    first = node.body[0]
    doc = 0
    if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
        doc = (first.end_lineno or first.lineno) - first.lineno + 1
    return last - node.lineno + 1 - doc


def test_files_are_short() -> None:
    nobody(
        f"src/{source.path}:{lines}: {lines} lines, at most 400"
        for source in sources()
        if (lines := len(source.text.splitlines())) > 400
    )


def test_functions_are_short() -> None:
    nobody(
        source.at(node, f"{node.name} has {code_lines(node)} lines, at most 40")
        for source, node in functions()
        if code_lines(node) > 40
    )
    assert statistics.median(code_lines(node) for _, node in functions()) < 8


def test_functions_take_few_arguments() -> None:
    def count(node: FUNCTION) -> int:
        names = [arg.arg for arg in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        return len([name for name in names if name not in ("self", "cls")])

    nobody(
        source.at(node, f"{node.name} takes {count(node)} arguments, at most 7")
        for source, node in functions()
        if count(node) > 7
    )


def test_classes_have_few_public_methods() -> None:
    def public(node: ast.ClassDef) -> int:
        return len([one for one in node.body if isinstance(one, FUNCTION) and not one.name.startswith("_")])

    nobody(
        source.at(node, f"{node.name} has {public(node)} public methods, at most 15")
        for source, node in classes()
        if public(node) > 15
    )


def test_inheritance_is_shallow() -> None:
    bases = {
        node.name: [base.id if isinstance(base, ast.Name) else getattr(base, "attr", "") for base in node.bases]
        for _, node in classes()
    }

    def depth(name: str) -> int:
        return max((1 + depth(base) for base in bases.get(name, []) if base in bases and base != name), default=0)

    nobody(
        source.at(node, f"{node.name} is {depth(node.name)} levels deep, at most 2")
        for source, node in classes()
        if depth(node.name) > 2
    )


def test_every_error_is_in_the_one_tree() -> None:
    nobody(
        source.at(node, f"{node.name} is an error outside andon.errors; private control flow starts with _")
        for source, node in classes()
        if source.path != "andon/errors.py"
        and not node.name.startswith("_")
        and any(re.search(r"(Error|Exception)$|^AndonError$", ast.unparse(base)) for base in node.bases)
    )


def test_nothing_is_swallowed() -> None:
    def broad(handler: ast.ExceptHandler) -> bool:
        caught = handler.type
        names = caught.elts if isinstance(caught, ast.Tuple) else [caught] if caught else []
        return caught is None or any(ast.unparse(name) in ("Exception", "BaseException") for name in names)

    def raises(handler: ast.ExceptHandler) -> bool:
        """Clean-up that passes the exception on as it was."""
        return isinstance(handler.body[-1], ast.Raise) and handler.body[-1].exc is None

    nobody(
        source.at(node, "catches everything; name what can go wrong")
        for source in sources()
        if source.path not in BOUNDARIES
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ExceptHandler) and broad(node) and not raises(node)
    )


def test_every_file_has_its_room() -> None:
    nobody(
        f"src/{source.path}:1: {part!r} says nothing about what is inside"
        for source in sources()
        for part in source.path.removesuffix(".py").split("/")
        if HOMELESS.fullmatch(part)
    )


def test_nothing_is_left_for_later() -> None:
    later = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    nobody(
        f"src/{source.path}:{number}: {line.strip()}"
        for source in sources()
        for number, line in enumerate(source.text.splitlines(), 1)
        if later.search(line)
    )


def test_rooms_open_with_three_sentences_and_no_imports() -> None:
    for source in sources():
        if not source.path.endswith("/__init__.py") or source.path in ("andon/__init__.py", f"{COMMANDS}__init__.py"):
            continue
        imports = [node for node in source.tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
        lazy = [node for node in imports if not (isinstance(node, ast.ImportFrom) and node.module == "__future__")]
        assert not lazy, source.at(lazy[0], "a room's __init__ imports nothing")

    def sentences(text: str) -> int:
        return len(re.findall(r"[.!?:](?=\s|$)", re.sub(r"``[^`]*``", "code", text)))

    nobody(
        f"src/{source.path}:1: the room opens with what it is, why it is, and where to read on"
        for source in sources()
        if re.fullmatch(r"andon/\w+/__init__\.py", source.path) and sentences(ast.get_docstring(source.tree) or "") < 3
    )


def test_every_public_name_says_what_it_is() -> None:
    def public(body: list[ast.stmt]) -> Iterator[FUNCTION | ast.ClassDef]:
        for node in body:
            if isinstance(node, FUNCTION | ast.ClassDef) and not node.name.startswith("_"):
                yield node
                if isinstance(node, ast.ClassDef):
                    yield from public(node.body)

    def overload(node: FUNCTION | ast.ClassDef) -> bool:
        """An overload, or an attribute that a Protocol only names."""
        marks = {ast.unparse(one) for one in node.decorator_list}
        return "overload" in marks or ("property" in marks and ast.unparse(node.body[0]) == "...")

    def offenders() -> Iterator[str]:
        for source in sources():
            if not ast.get_docstring(source.tree):
                yield f"src/{source.path}:1: the module has no docstring"
            for node in public(source.tree.body):
                if not ast.get_docstring(node) and not overload(node) and not _is_private_class(source, node):
                    yield source.at(node, f"{node.name} has no docstring")

    nobody(offenders())


def _is_private_class(source: Source, node: ast.AST) -> bool:
    """Methods of private classes need none."""
    return any(
        isinstance(owner, ast.ClassDef) and owner.name.startswith("_") and node in owner.body
        for owner in ast.walk(source.tree)
    )


def test_every_module_says_what_it_offers() -> None:
    def listed(tree: ast.Module) -> list[str] | None:
        for node in tree.body:
            if isinstance(node, ast.Assign) and any(ast.unparse(one) == "__all__" for one in node.targets):
                return [str(name) for name in ast.literal_eval(node.value)]
        return None

    def bound(tree: ast.Module) -> set[str]:
        names: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, FUNCTION | ast.ClassDef):
                names.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                names.add(node.id)
            elif isinstance(node, ast.Import | ast.ImportFrom):
                names |= {alias.asname or alias.name for alias in node.names}
        return names

    def offenders() -> Iterator[str]:
        for source in sources():
            names = listed(source.tree)
            if names is None:
                if not source.path.endswith(("/__init__.py", "/__main__.py")) and "/migrations/" not in source.path:
                    yield f"src/{source.path}:1: there is no __all__"
                continue
            for name in sorted(set(names) - bound(source.tree)):
                yield f"src/{source.path}:1: __all__ names {name!r}, which is not there"

    nobody(offenders())


def test_no_path_of_one_machine_and_no_document_that_is_not_here() -> None:
    private = re.compile(r"(?<![\w.$}])/(?:home|work|Users|mnt|media)/\w")
    document = re.compile(r"(?<![\w/*-])([\w][\w./-]*\.md)\b")
    documents = {path.name for path in ROOT.rglob("*.md") if ".venv" not in path.parts}

    def offenders() -> Iterator[str]:
        for path in _texts():
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                where = f"{path.relative_to(ROOT)}:{number}"
                if private.search(line):
                    yield f"{where}: a path of one machine: {line.strip()[:100]}"
                for name in document.findall(line):
                    if Path(name).name not in documents:
                        yield f"{where}: {name} is not in this repository"

    nobody(offenders())


def _texts() -> Iterator[Path]:
    """Every text that is ours: code, tests, documents, build files."""
    for folder in ("src", "tests", "docs", "examples", "benchmarks", "scripts", "requirements", ".ci"):
        for path in sorted((ROOT / folder).rglob("*")) if (ROOT / folder).exists() else ():
            ours = path.suffix in (".py", ".md", ".yaml", ".toml", ".txt", ".in", ".json", "") and path != Path(
                __file__
            )
            if ours and path.is_file() and path.stat().st_size < 1 << 20 and "out" not in path.parts:
                yield path
    yield from (ROOT / name for name in ("Makefile", "README.md", "CHANGELOG.md", "pyproject.toml"))
