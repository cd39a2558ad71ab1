"""The README's way from nothing to a living line, walked as it is written; only the port is another one."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.ports import free_port

README = Path(__file__).parents[2] / "README.md"
BASH = shutil.which("bash")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture
def port() -> int:
    return free_port()


def shell(text: str, folder: Path, port: int) -> str:
    """What a newcomer sees when they paste a block; the environment is active, as `make setup` leaves it."""
    assert BASH is not None
    script = text.replace("8700", str(port))
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [BASH, "-e", "-o", "pipefail", "-c", script],
        cwd=folder, env={**os.environ, "PATH": path, "COLUMNS": "80"}, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture
def up(tmp_path: Path, port: int) -> Iterator[Path]:
    """The project as the README makes it, and its line running."""
    _, _, begin, release, start, *_ = blocks("sh")
    assert start == "andon up\n"
    shell(begin, tmp_path, port)
    (model,) = [text for text in blocks("python") if "def train" in text]
    assert len([line for line in model.splitlines() if line.strip()]) <= 10
    (tmp_path / "parts" / "model.py").write_text(model)
    told = shell(release, tmp_path, port)
    assert "engine onnx" in told and "r1 is v1" in told
    with (tmp_path / "up.txt").open("w") as out:
        line = subprocess.Popen(
            [sys.executable, "-m", "andon", "up", "--port", str(port)], cwd=tmp_path / "parts", stdout=out, stderr=out
        )
    try:
        end = time.monotonic() + 60
        while "Ctrl-C ends it" not in (tmp_path / "up.txt").read_text():
            assert time.monotonic() < end and line.poll() is None, (tmp_path / "up.txt").read_text()
            time.sleep(0.1)
        yield tmp_path / "parts"
    finally:
        line.send_signal(signal.SIGINT)
        assert line.wait(30) == 0


@pytest.mark.line
@pytest.mark.skipif(shutil.which("curl") is None or BASH is None, reason="the README asks with curl, in bash")
def test_the_way_from_nothing_to_a_living_line(up: Path, port: int) -> None:
    ask, cord, look = blocks("sh")[5:8]
    shown = json.loads(blocks("json")[0])
    answer = json.loads(shell(ask, up, port))
    assert answer.keys() == shown.keys()
    for key in shown.keys() - {"confidence"}:
        assert answer[key] == shown[key], key
    assert round(answer["confidence"], 2) == round(shown["confidence"], 2)
    told = shell(cord, up, port)
    assert '"status":"pending"' in told and "width 10.0" in told and "part-2: accept, by" in told
    assert '"decision":"accept","decided_by":"person"' in told
    told = shell(look, up, port)
    assert '"accepted":1' in told and "part-1: reject, decided by v1" in told
    for words in ("v1 decides", "● good  Model", "● good  Deploy  v1 live", "the controller leads", "only steam"):
        assert words in told
    pattern = re.compile(r"[●▲■○] \w+ +(?:Scope|Data|Model|Deploy|Watch)")
    found, shown_ = pattern.findall(told), pattern.findall(blocks("text")[0])
    assert len(found) == 5 and found[:4] == shown_[:4]  # a window of Watch may just have ended


def test_the_demo_and_the_set_up_are_targets_of_make() -> None:
    made = (README.parent / "Makefile").read_text(encoding="utf-8")
    demo, setup = blocks("sh")[:2]
    assert demo == "make demo\n" and "\ndemo:" in made
    assert setup.startswith("make setup &&") and "\nsetup:" in made
