"""Servers under measurement: started, waited for, accounted by the kernel's books, and ended, each by its own id.

A server is all the processes below the one that was started: MLServer's pool, Ray's daemons, our controller and shadow.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["NotStarted", "alone", "cpu_seconds", "rest", "running", "tree"]

_PROC = Path("/proc")
_TICK = 1 / os.sysconf("SC_CLK_TCK")


class NotStarted(Exception):
    """A server that could not be installed or started, with the reason in one sentence."""


def tree(root: int) -> list[int]:
    """A process and everything below it."""
    below: dict[int, list[int]] = {}
    for path in _PROC.iterdir():
        if path.name.isdigit() and (stat := _stat(int(path.name))):
            below.setdefault(int(stat[1]), []).append(int(path.name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += below.get(pid, [])
    return found


def cpu_seconds(root: int) -> float:
    """Processor time of a server so far: of all its processes, and of those of them that ended and were waited for."""
    return sum(sum(int(part) for part in stat[11:15]) for pid in tree(root) if (stat := _stat(pid))) * _TICK


def _stat(pid: int) -> list[str]:
    """The fields of ``/proc/PID/stat`` from the third on; empty for a process that is gone."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def rest(root: int, limit: float = 30.0, share: float = 0.1) -> float:
    """Wait until a server takes less than ``share`` of a processor, at most so many seconds; the seconds it took.

    Ours ships its log after it answered: the next contestant begins when that is done.
    """
    begun = time.monotonic()
    calm = 0
    before = cpu_seconds(root)
    while time.monotonic() - begun < limit and calm < 2:
        time.sleep(0.5)
        now = cpu_seconds(root)
        calm = calm + 1 if now - before < share * 0.5 else 0
        before = now
    return time.monotonic() - begun


@contextmanager
def alone(others: Iterable[int], settle: float = 0.5) -> Iterator[None]:
    """Stop the servers below these processes while the block runs (SIGSTOP), so that who is measured has the machine.

    Daemons of some peers take half a core without a request. Those of whoever was stopped before get ``settle`` seconds
    first, and at the end all go on.
    """
    stopped = [pid for root in others for pid in tree(root)]
    _signal(stopped, signal.SIGSTOP)
    try:
        time.sleep(settle)
        yield
    finally:
        _signal(stopped, signal.SIGCONT)


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@contextmanager
def running(
    command: list[str],
    answers: Callable[[], object],
    log: Path,
    *,
    environ: Mapping[str, str] | None = None,
    folder: Path | None = None,
    patience: float = 120.0,
) -> Iterator[int]:
    """Run a server until the block ends; its process id. Raises ``NotStarted`` with the last line it wrote."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # whoever ends us ends the servers, too
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, env={**os.environ, **(environ or {})}, cwd=folder, stdout=out, stderr=out, start_new_session=True
        )
    try:
        _wait(process, answers, log, patience)
        yield process.pid
    finally:
        _end(process)


def _wait(process: subprocess.Popen[bytes], answers: Callable[[], object], log: Path, patience: float) -> None:
    end, said = time.monotonic() + patience, "it did not answer"
    while time.monotonic() < end:
        if process.poll() is not None:
            raise NotStarted(f"it ended with {process.returncode}: {_last_line(log)}")
        try:
            answers()
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            said = f"{type(error).__name__}: {error}"
            time.sleep(0.2)
        else:
            return
    raise NotStarted(f"no right answer within {patience:.0f} s ({said[:200]}); its log ends with: {_last_line(log)}")


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:200] if lines else "nothing was written"


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end; what is left of its tree after 15 s is killed."""
    pids = tree(process.pid)
    with suppress(OSError):
        process.send_signal(signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(15)
    for pid in pids:
        if _session(pid) == process.pid:  # still one of ours, not another process with the number of one that ended
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
    process.wait()


def _session(pid: int) -> int:
    stat = _stat(pid)
    return int(stat[3]) if stat else -1
