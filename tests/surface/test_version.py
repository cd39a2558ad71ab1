from __future__ import annotations

import subprocess
import sys
from importlib import metadata

from typer.testing import CliRunner

from andon.surface.cli import build


def test_the_version_is_that_of_the_package() -> None:
    result = CliRunner().invoke(build(("start",)), ["--version"])
    assert result.exit_code == 0 and result.stdout == f"andon {metadata.version('andon')}\n"


def test_it_is_said_by_the_command_itself() -> None:
    done = subprocess.run([sys.executable, "-m", "andon", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"andon {metadata.version('andon')}\n", "")
