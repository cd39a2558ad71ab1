"""The command line as a whole: whatever is typed, one sentence, the right exit code, and only JSON where JSON was asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import andon.surface.cli as cli
from andon.errors import Unavailable

CHARTER = "{project: x, inputs: {a: float}, target: {name: y, classes: [good, bad]}, safe_default: refer}"


def andon(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["andon", *words])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)  # put back afterwards
    with pytest.raises(SystemExit) as ended:
        cli.main()
    out, err = capsys.readouterr()
    return (0 if ended.value.code is None else int(ended.value.code), out, err)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("frobnicate",), "no such command 'frobnicate'"),
        (("relase",), "Did you mean 'release'?"),
        (("data", "frob"), "no such command 'frob'"),
        (("data", "add"), "missing argument 'files'"),
        (("train", "--frob"), "no such option: --frob"),
        (("train", "--seed", "x"), "'--seed'"),
        (("check", "left", "over"), "unexpected extra argument"),
        (("data", "add", "\udcff.csv"), r"'\udcff.csv' is not UTF-8 text"),
    ],
)
def test_wrong_words_are_one_sentence_a_hint_and_exit_code_2(
    words: tuple[str, ...], says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = andon(monkeypatch, capsys, *words)
    assert code == 2 and out == ""
    assert err.startswith("andon: ") and says in err and err.count("\n") == 2
    code, out, _ = andon(monkeypatch, capsys, *words, "--json")
    error = json.loads(out)["error"]
    assert code == 2 and error["code"] == "usage" and says in error["message"] and error["hint"]


def test_a_group_alone_shows_its_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = andon(monkeypatch, capsys, "data")
    assert code == 2 and err == ""
    code, out, err = andon(monkeypatch, capsys, "data", "--help")
    assert code == 0 and "lineage" in out and err == ""


def test_an_interruption_is_neither_an_error_nor_a_gate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("andon.config.find_root", interrupted)
    assert andon(monkeypatch, capsys, "data", "list")[0] == 130


def test_what_the_machine_refuses_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device", "/data/log/part-1")

    monkeypatch.setattr("andon.config.find_root", full)
    code, out, err = andon(monkeypatch, capsys, "data", "list", "--json")
    assert code == Unavailable.exit_code == 4
    assert json.loads(out)["error"]["message"] == "/data/log/part-1: No space left on device"
    assert err.startswith("andon: /data/log/part-1: No space left on device\n") and "Traceback" not in err


def test_with_json_stdout_has_the_document_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def chatty(*_: Any, **__: Any) -> Path:
        print("a library says hello")
        return tmp_path

    (tmp_path / "andon.yaml").write_text(CHARTER)
    monkeypatch.setattr("andon.config.find_root", chatty)
    code, out, err = andon(monkeypatch, capsys, "data", "list", "--json")
    assert (code, json.loads(out)) == (0, []) and "a library says hello" in err
    assert "a library says hello" in andon(monkeypatch, capsys, "data", "list")[1]


BROKEN = """
import sys
import andon.config

def broken(*_):
    raise ZeroDivisionError("nobody thought of this")

andon.config.find_root = broken
sys.argv = ["andon", "data", "list", "--json"]
from andon.surface.cli import main
main()
"""


@pytest.mark.parametrize("asked", [False, True])
def test_what_nobody_foresaw_is_one_sentence_and_never_the_exit_code_of_a_gate(tmp_path: Path, asked: bool) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "ANDON_TRACEBACK"}
    environment |= {"ANDON_TRACEBACK": "1"} if asked else {}
    ended = subprocess.run(
        (sys.executable, "-c", BROKEN), capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60
    )
    if asked:
        assert "Traceback" in ended.stderr and "nobody thought of this" in ended.stderr
        return
    assert ended.returncode == 4 and "Traceback" not in ended.stderr
    assert "ZeroDivisionError: nobody thought of this" in json.loads(ended.stdout)["error"]["message"]
    assert "ANDON_TRACEBACK=1" in ended.stderr


def test_a_terminal_that_knows_only_ascii_is_served_too(tmp_path: Path) -> None:
    (tmp_path / "日本").mkdir()
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1"}
    words = (sys.executable, "-m", "andon", "init", "日本", "--name", "line")
    ended = subprocess.run(words, capture_output=True, cwd=tmp_path, env=environment, timeout=60)
    assert ended.returncode == 0, ended.stderr
    words = (sys.executable, "-m", "andon", "check", "--json", "-C", "日本")
    ended = subprocess.run(words, capture_output=True, cwd=tmp_path, env=environment, timeout=60)
    assert json.loads(ended.stdout.decode())["charter"].endswith("日本/andon.yaml")
