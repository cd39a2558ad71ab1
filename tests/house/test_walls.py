"""The walls between the rooms, and the doors to the outside: who may import, write, listen and start what."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SRC = ROOT / "src"

#: Libraries that only some files may use; a path ending in / stands for all files under it.
KEEPERS = {
    "sqlalchemy": ("andon/store/",),
    "alembic": ("andon/store/",),
    "sqlite3": ("andon/store/",),
    "psycopg": ("andon/store/",),
    "deltalake": ("andon/store/",),
    "httptools": ("andon/deploy/protocol", "andon/demo/"),
    "uvloop": ("andon/deploy/worker", "andon/deploy/gateway"),
    "starlette": ("andon/surface/",),
    "uvicorn": ("andon/surface/",),
    "jinja2": ("andon/surface/",),
    "typer": ("andon/surface/cli/",),
    "http.client": ("andon/demo/", "andon/surface/", "andon/model/remote_line.py", "andon/monitor/sink.py"),
    "http.server": (),
    "urllib.request": ("andon/monitor/notify.py", "andon/demo/", "andon/surface/"),
    "apprise": ("andon/monitor/notify.py",),
    "lightgbm": ("andon/model/booster.py",),
    "xgboost": ("andon/model/booster.py",),
    "ray": ("andon/engine/ray.py",),
    "mlflow": (),
    "requests": (),
}
#: Who starts threads or processes: the engine and the serving side; the log's committer.
STARTERS = (
    "andon/engine/",
    "andon/deploy/replica.py",
    "andon/deploy/shadow.py",
    "andon/deploy/worker.py",
    "andon/store/committer.py",
    "andon/demo/",
    "andon/surface/line.py",
)
#: Modules that decide purely.
PURE = ("rollout", "automation", "alarm", "threshold", "trigger", "loop", "route", "transition")
IMPURE_MODULES = {"time", "random", "secrets", "os", "io", "socket", "pathlib", "threading", "subprocess", "datetime"}
HEAVY = {"polars", "numpy", "scipy", "sklearn", "deltalake", "onnxruntime", "sqlalchemy", "pydantic", "plotly", "PIL"}


def trees() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(SRC.rglob("*.py")):
        yield path.relative_to(SRC).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, module) of every import anywhere in it, those for types left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module
        yield from imported(node)


def nobody(offenders: Iterator[str]) -> None:
    found = sorted(set(offenders))
    assert not found, "\n" + "\n".join(found)


def test_the_rooms_import_one_another_only_downwards() -> None:
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command as c; c()",
        "--no-cache",
        "--no-logo",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_library_has_its_keepers() -> None:
    nobody(
        f"src/{path}:{line}: imports {module}, which is for {', '.join(keepers) or 'nobody'}"
        for path, tree in trees()
        for line, module in imported(tree)
        for library, keepers in KEEPERS.items()
        if f"{module}.".startswith(f"{library}.") and not path.startswith(keepers)
    )


def test_only_the_engine_and_the_serving_side_start_anything() -> None:
    starts = {
        "Thread",
        "Process",
        "Popen",
        "ThreadPoolExecutor",
        "ProcessPoolExecutor",
        "fork",
        "spawnv",
        "start_new_thread",
    }

    def offenders() -> Iterator[str]:
        for path, tree in trees():
            for node in ast.walk(tree):
                name = (
                    getattr(node, "id", getattr(node, "attr", "")) if isinstance(node, ast.Name | ast.Attribute) else ""
                )
                if name in starts and not path.startswith(STARTERS):
                    yield f"src/{path}:{node.lineno}: starts a {name}"  # type: ignore[attr-defined]

    nobody(offenders())


def test_nothing_forks() -> None:
    nobody(
        f"src/{path}:{node.lineno}: forks; polars does not survive it"
        for path, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("os.fork", "os.forkpty", "pty.fork")
    )


def test_deciders_see_no_clock_disk_network_or_chance() -> None:
    nobody(
        f"src/{path}:{line}: decides purely, but imports {module}"
        for path, tree in trees()
        if Path(path).stem in PURE and path.startswith(("andon/deploy/", "andon/monitor/", "andon/retrain/"))
        for line, module in imported(tree)
        if module.split(".")[0] in IMPURE_MODULES or module.startswith(("andon.store", "andon.config", "numpy.random"))
    )


def test_sql_is_written_in_one_room() -> None:
    words = ("SELECT ", "INSERT INTO ", "UPDATE ", "DELETE FROM ", "CREATE TABLE ", "PRAGMA ", "BEGIN IMMEDIATE")
    nobody(
        f"src/{path}:{node.lineno}: writes SQL: {node.value[:50]!r}"
        for path, tree in trees()
        if not path.startswith("andon/store/")
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith(words)
    )


def test_commands_import_what_is_heavy_only_when_they_run() -> None:
    def top(tree: ast.Module) -> Iterator[tuple[int, str]]:
        for node in tree.body:
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield from imported(ast.Module([node], []))

    light = ("andon.core", "andon.errors", "andon.surface.cli")
    nobody(
        f"src/{path}:{line}: imports {module} at its top"
        for path, tree in trees()
        if path.startswith("andon/surface/cli/")
        for line, module in top(tree)
        if module.split(".")[0] in HEAVY or (module.startswith("andon.") and not module.startswith(light))
    )


def loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("statement", ["import andon", "from andon.surface.cli import build; build()"])
def test_what_is_asked_first_loads_little(statement: str) -> None:
    assert loaded_by(statement) & HEAVY == set()


def test_every_module_imports_alone_and_without_optional_libraries() -> None:
    """Each in the order found, in one interpreter in which no optional library can be imported."""
    names = [path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path, _ in trees()]
    names = [name for name in names if not name.endswith("__main__") and ".migrations" not in name]
    code = (
        "import sys, importlib, warnings, traceback\n"
        "warnings.simplefilter('error')\n"
        "for optional in ('psycopg', 'ray', 'pandas', 'mlflow', 'lightgbm', 'xgboost'): sys.modules[optional] = None\n"
        "bad = []\n"
        "for name in sys.argv[1:]:\n"
        "    try: importlib.import_module(name)\n"
        "    except BaseException: bad.append(name + ': ' + traceback.format_exc().splitlines()[-1])\n"
        "print(chr(10).join(bad))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *names], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.strip() == "", done.stdout + done.stderr


def test_what_a_module_offers_is_there() -> None:
    import importlib

    def missing(name: str, has: Callable[[object, str], bool] = hasattr) -> Iterator[str]:
        module = importlib.import_module(name)
        for offered in getattr(module, "__all__", ()):
            if not has(module, offered):
                yield f"{name}.{offered} is not there"

    names = [path.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for path, _ in trees()]
    nobody(
        one for name in names if not name.endswith("__main__") and ".migrations" not in name for one in missing(name)
    )
