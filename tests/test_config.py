"""Where a project is found and where its state lives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from andon.config import Place, find_root, open_line, open_workspace, place
from andon.errors import NotFound, UsageError
from andon.scope.taken import keep

CHARTER = """
project: parts
inputs: {{width: float}}
target: {{name: verdict, classes: [accept, reject]}}
safe_default: {safe}
"""


def test_a_project_is_found_from_a_folder_below_it(tmp_path: Path) -> None:
    (tmp_path / "andon.yaml").write_text("project: x\n")
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    assert find_root(below) == tmp_path
    assert find_root(tmp_path / "andon.yaml") == tmp_path


def test_no_project_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"no andon\.yaml in") as caught:
        find_root(tmp_path)
    assert caught.value.hint is not None
    assert "andon init" in caught.value.hint


def test_state_lives_beside_the_charter_or_where_the_environment_says(tmp_path: Path) -> None:
    assert place(tmp_path, {}) == Place(tmp_path / ".andon", None)
    assert place(tmp_path, {"ANDON_WORKSPACE": "/elsewhere"}) == Place(Path("/elsewhere"), None)
    grown = {"ANDON_WORKSPACE": "postgresql://h/d", "ANDON_STORAGE": "/files"}
    assert place(tmp_path, grown) == Place(Path("/files"), "postgresql://h/d")


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"ANDON_WORKSPACE": "postgresql://h/d"}, "ANDON_STORAGE is not set"),
        ({"ANDON_WORKSPACE": "mysql://h/d"}, "found mysql://"),
    ],
)
def test_half_an_address_is_refused(environ: dict[str, str], sentence: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=sentence):
        place(tmp_path, environ)


def test_a_workspace_whose_making_was_interrupted_is_made_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "andon.yaml").write_text("project: x\n")
    first = open_workspace(tmp_path)
    key = first.key
    first.close()
    (tmp_path / ".andon" / "workspace.json").unlink()  # as if it had been killed just before the last step
    again = open_workspace(tmp_path)
    assert again.key == key
    again.close()


OPEN = "from andon.config import open_workspace; w = open_workspace(); print(w.key.hex()); w.close()"


def test_two_first_commands_at_once_share_one_workspace(tmp_path: Path) -> None:
    (tmp_path / "andon.yaml").write_text("project: x\n")
    words = (sys.executable, "-c", OPEN)
    racers = [subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    keys = {racer.communicate(timeout=60)[0] for racer in racers}
    assert [racer.returncode for racer in racers] == [0] * 4
    assert len(keys) == 1


def test_a_process_of_the_line_works_by_the_charter_the_line_took(tmp_path: Path) -> None:
    file = tmp_path / "andon.yaml"
    file.write_text(CHARTER.format(safe="refer"))
    first = open_line(tmp_path)  # no line ever started here: the file counts
    keep(first.workspace.home, file, first.charter)
    first.workspace.close()
    file.write_text(CHARTER.format(safe="accept"))
    changed = open_line(tmp_path)
    changed.workspace.close()
    file.write_text("project: [broken")
    broken = open_line(tmp_path)
    broken.workspace.close()
    assert changed.charter.safe_default == broken.charter.safe_default == "refer"
