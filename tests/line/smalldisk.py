"""A real, small file system for a test: ext4 in a file where the machine lets us mount one, else a bounded tmpfs."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["Small", "small_disk"]


class Small:
    """The mounted file system at ``root``."""

    def __init__(self, root: Path, kind: str) -> None:
        self.root, self.kind = root, kind
        self._ballast = root / "ballast"

    @property
    def free(self) -> int:
        """Bytes that are left."""
        state = os.statvfs(self.root)
        return state.f_bavail * state.f_frsize

    def fill(self, left: int) -> None:
        """Write until at most so many bytes are left, to the last one if none."""
        with self._ballast.open("ab", buffering=0) as file:
            try:
                while (room := self.free - left) > 0:
                    file.write(b"\1" * min(room, 1 << 20))
                while not left:
                    file.write(b"\1" * 512)
            except OSError:
                if left:
                    raise

    def empty(self) -> None:
        """Give the room back."""
        self._ballast.unlink()


def _run(*words: str) -> bool:
    try:
        return subprocess.run(words, capture_output=True, timeout=60, check=False).returncode == 0
    except OSError:
        return False


@contextmanager
def small_disk(at: Path, megabytes: int) -> Iterator[Small]:
    """A file system of that size at a folder, for the length of the block; the test is skipped where none can be made."""
    at.mkdir(parents=True, exist_ok=True)
    image = at.with_name(f"{at.name}.img")
    with image.open("wb") as file:
        file.truncate(megabytes << 20)
    made = shutil.which("mkfs.ext4") is not None and _run("mkfs.ext4", "-q", "-m", "0", str(image))
    kind = "ext4" if made and _run("mount", "-o", "loop", str(image), str(at)) else ""
    if not kind and _run("mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(at)):
        kind = "tmpfs"
    if not kind:
        image.unlink()
        pytest.skip("a small file system can be mounted by root only")
    try:
        yield Small(at, kind)
    finally:
        if not _run("umount", str(at)):
            _run("umount", "-l", str(at))
        image.unlink()
