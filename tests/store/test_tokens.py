"""The token file is whole or old, never half, and nobody else's to read."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from andon.errors import Corrupt, Unavailable
from andon.store.tokens import TokenFile


def test_rows_come_back_and_the_version_tells_of_changes(tmp_path: Path) -> None:
    file = TokenFile(tmp_path)
    assert (file.load(), file.version()) == ([], None)
    file.update(lambda rows: [*rows, {"id": "a"}])
    first = file.version()
    assert first == TokenFile(tmp_path).version() != None  # noqa: E711
    file.update(lambda rows: [*rows, {"id": "b"}])
    assert file.version() != first
    assert TokenFile(tmp_path).load() == [{"id": "a"}, {"id": "b"}]


def test_only_the_owner_may_read_it_even_under_a_lax_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        TokenFile(tmp_path).update(lambda rows: rows)
    finally:
        os.umask(before)
    assert (tmp_path / "tokens.json").stat().st_mode & 0o777 == 0o600


def test_a_change_that_fails_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    file = TokenFile(tmp_path)
    file.update(lambda rows: [{"id": "a"}])

    def refuse(rows: object) -> list[dict[str, object]]:
        raise KeyError("no")

    with pytest.raises(KeyError):
        file.update(refuse)
    (tmp_path / "tokens.new").write_text("left behind by a crash")
    file.update(lambda rows: [*rows, {"id": "b"}])
    assert file.load() == [{"id": "a"}, {"id": "b"}]


def test_a_disk_that_refuses_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be written: No such file or directory; it is unchanged"):
        TokenFile(tmp_path / "gone").update(lambda rows: rows)


@pytest.mark.parametrize("content", ["", "{", "{}", "[1]"])
def test_a_damaged_file_says_so(tmp_path: Path, content: str) -> None:
    (tmp_path / "tokens.json").write_text(content)
    with pytest.raises(Corrupt, match="is damaged"):
        TokenFile(tmp_path).load()
    (tmp_path / "tokens.json").write_bytes(b'[{"id": "\xff"}]')
    with pytest.raises(Corrupt, match="is damaged"):
        TokenFile(tmp_path).load()


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    def write(name: int) -> None:
        for _ in range(10):
            TokenFile(tmp_path).update(lambda rows: [*rows, {"id": name}])

    writers = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(TokenFile(tmp_path).load()) == 40


def test_a_file_that_cannot_be_read_lets_nobody_in(tmp_path: Path) -> None:
    (tmp_path / "tokens.json").mkdir()
    with pytest.raises(Unavailable, match="cannot be read: Is a directory; nobody is let in"):
        TokenFile(tmp_path).load()
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot be read: Not a directory"):
        TokenFile(tmp_path / "file").version()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_what_root_writes_belongs_to_who_runs_the_line(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    os.chown(home, 12345, 12346)
    TokenFile(home).update(lambda rows: rows)
    for name in ("tokens.json", "tokens.lock"):
        found = (home / name).stat()
        assert (found.st_uid, found.st_gid) == (12345, 12346)
