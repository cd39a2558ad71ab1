"""Whole files or none: atomic and exclusive creation, locks held by the kernel, and OSError told as one sentence.

A process that is killed in the middle leaves either the old file or the new one, never a half (Pillai et al. 2014,
*All File Systems Are Not Created Equal*: write aside, sync, rename or link, sync the directory).
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from andon.errors import Unavailable

__all__ = ["create_file", "locked", "replace_file", "sync_directory", "try_lock", "unavailable"]

_WHY = {
    errno.ENOSPC: "the disk is full; free some space, the next attempt then succeeds",
    errno.EDQUOT: "the disk quota is used up; free some space, the next attempt then succeeds",
    errno.EFBIG: "the file-size limit is reached; raise it (ulimit -f)",
    errno.EROFS: "the file system is read-only; remount it writable",
    errno.EIO: "the disk reported an input/output error; look at the system log",
    errno.EACCES: "permission was denied; check the owner and mode",
    errno.ENOENT: "the file or its directory is gone; restore it",
    errno.EMFILE: "the process has too many open files; raise the limit (ulimit -n)",
}


def unavailable(doing: str, error: OSError) -> Unavailable:
    """The sentence for an OSError: what could not be done, why, and what to do.

    >>> import errno
    >>> str(unavailable("the log w0 could not be written", OSError(errno.ENOSPC, "")))
    'the log w0 could not be written: the disk is full; free some space, the next attempt then succeeds'
    """
    why = _WHY.get(error.errno or 0) or f"{error.strerror or error}; look at the file system"
    return Unavailable(f"{doing}: {why}")


def sync_directory(path: Path) -> None:
    """Make names created in a directory survive a power loss."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _write_aside(path: Path, data: bytes, mode: int, sync: bool) -> Path:
    aside = path.with_name(f".{path.name}.{os.getpid():x}-{secrets.token_hex(4)}")
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        if sync:
            os.fsync(fd)
    except OSError:
        with suppress(OSError):
            aside.unlink()
        raise
    finally:
        os.close(fd)
    return aside


def replace_file(path: Path, data: bytes, *, mode: int = 0o644, sync: bool = True) -> None:
    """Write a file so that readers see the old or the new content, never a half. Raises ``Unavailable``."""
    try:
        aside = _write_aside(path, data, mode, sync)
        aside.replace(path)
        if sync:
            sync_directory(path.parent)
    except OSError as error:
        raise unavailable(f"{path} could not be written", error) from error


def create_file(path: Path, data: bytes, *, mode: int = 0o644, sync: bool = True) -> bool:
    """Create a complete file exclusively; False when somebody was first. Raises ``Unavailable``."""
    try:
        aside = _write_aside(path, data, mode, sync)
        try:
            os.link(aside, path)
        except FileExistsError:
            return False
        finally:
            aside.unlink()
        if sync:
            sync_directory(path.parent)
    except OSError as error:
        raise unavailable(f"{path} could not be created", error) from error
    return True


def try_lock(path: Path) -> int | None:
    """Take a lock that the kernel releases when this process ends, however it ends; its descriptor, or None if held."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd


@contextmanager
def locked(path: Path, *, patience: float = 5.0) -> Iterator[None]:
    """Hold the lock file for a block, waiting for at most ``patience`` seconds; then ``Unavailable``."""
    deadline = time.monotonic() + patience
    pause = 0.0005
    while (fd := try_lock(path)) is None:
        if time.monotonic() > deadline:
            raise Unavailable(f"{path} has been locked by another process for {patience:g} s; see which one hangs")
        time.sleep(pause)
        pause = min(pause * 2, 0.02)
    try:
        yield
    finally:
        os.close(fd)
