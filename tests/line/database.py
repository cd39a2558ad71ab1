"""What may befall a workspace's database while the line runs: another process holds it, or its file is moved away."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["locked", "moved_away"]

_HOLD = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
connection.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked(home: Path) -> Iterator[None]:
    """Another process holds an exclusive transaction on the database for the length of the block."""
    pipe = subprocess.PIPE
    holder = subprocess.Popen([sys.executable, "-c", _HOLD, str(home / "andon.db")], stdin=pipe, stdout=pipe, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        yield
    finally:
        holder.communicate("")


@contextmanager
def moved_away(home: Path) -> Iterator[None]:
    """The database's files have other names for the length of the block."""
    away = home / "away"
    away.mkdir()
    names = [path.name for path in home.glob("andon.db*")]
    for name in names:
        (home / name).rename(away / name)
    try:
        yield
    finally:
        for path in home.glob("andon.db*"):
            raise AssertionError(f"something made a new database: {path.name}")
        for name in names:
            (away / name).rename(home / name)
        away.rmdir()
