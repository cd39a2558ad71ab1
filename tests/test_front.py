"""The front page of the package: every public name works, whatever was imported before it."""

from __future__ import annotations

import subprocess
import sys

import pytest

TABLE = "polars.DataFrame({'label': ['a', 'b'], 'prediction': ['a', 'a'], 'line': ['x', 'y']})"


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("before", ["", "import andon.errors", "andon.evaluate", "from andon.errors import AndonError"])
def test_errors_is_the_analysis_and_the_tree_in_any_order(before: str) -> None:
    code = f"import polars, andon\n{before}\nprint(len(andon.errors({TABLE}, by=['line']).rows))\n"
    assert run(code + "print(issubclass(andon.errors.NotFound, andon.errors.AndonError))") == "2\nTrue\n"


def test_every_public_name_is_there() -> None:
    assert run("import andon\nfor name in andon.__all__: getattr(andon, name)\nprint('all')") == "all\n"
