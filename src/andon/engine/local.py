"""The engine of one machine: child processes, spawned (never forked from a threaded parent), restarted when they end.

Every child holds the reading end of a pipe whose writing end only this process has. If this process goes, however it
goes, the kernel closes the pipe and the children see its end: no orphan keeps a port.
"""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from andon.core.clock import Clock
from andon.engine.polite import Polite, shorten
from andon.engine.port import IDLE, ProcessSpec, ProcessState
from andon.errors import UsageError

__all__ = ["ONE_THREAD", "LocalEngine", "backoff", "signal_name"]

# A process that ends by itself within so many seconds of its start is taken to be failing; one that was killed from
# outside is so only if it had no time to begin.
_QUICK = 5.0
_QUICK_KILLED = 1.0
#: A line is several processes: each with as many threads as the machine has cores would only get in each other's way.
#: What the user has set counts.
ONE_THREAD = dict.fromkeys(("POLARS_MAX_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def backoff(failures: int) -> float:
    """Seconds to wait before starting again after so many quick ends in a row: 0.05 s doubling up to 5 s.

    >>> [backoff(n) for n in (0, 1, 2, 20)]
    [0.0, 0.05, 0.1, 5.0]
    """
    return 0.0 if failures <= 0 else min(5.0, 0.05 * 2.0 ** min(failures - 1, 16))


def signal_name(number: int) -> str:
    """A signal in words; real-time signals have numbers only.

    >>> signal_name(9), signal_name(35)
    ('SIGKILL', 'signal 35')
    """
    return signal.Signals(number).name if number in {*signal.Signals} else f"signal {number}"


@dataclass(slots=True)
class _Child:
    spec: ProcessSpec
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    not_before: float = 0.0
    failures: int = 0
    starts: int = 0
    last_exit: int | None = None
    polite: Polite | None = None


@dataclass(slots=True)
class LocalEngine:
    """Keeps processes of this machine alive. ``logs`` is the folder that receives what they print."""

    logs: Path
    clock: Clock
    _children: dict[str, _Child] = field(default_factory=dict)
    _pipe: tuple[int, int] | None = None

    def replicas(self, specs: tuple[ProcessSpec, ...]) -> None:
        """Start these processes; raises ``UsageError`` when a name is taken."""
        self.logs.mkdir(parents=True, exist_ok=True)
        for spec in specs:
            if spec.name in self._children:
                raise UsageError(f"a process called {spec.name!r} runs already")
            child = _Child(spec)
            self._children[spec.name] = child
            self._start(child)

    def states(self) -> list[ProcessState]:
        """What is known of every process, in the order they were asked for."""
        return [
            ProcessState(name, child.process.pid if child.process else None, max(0, child.starts - 1), child.last_exit)
            for name, child in self._children.items()
        ]

    def poll(self) -> list[str]:
        """Start again what ended and may start by now; one sentence for each end and each new start."""
        said: list[str] = []
        now = self.clock.monotonic()
        for child in self._children.values():
            if child.process is not None and (code := child.process.poll()) is not None:
                said.append(self._ended(child, code, now))
            if child.process is not None and child.polite is not None:
                child.polite.turn(now)
            if child.process is None and now >= child.not_before:
                said.append(self._again(child, now))
        return said

    def close(self, grace_seconds: float = 12.0) -> None:
        """Ask every process to finish (SIGTERM), wait, then end what is left (SIGKILL)."""
        running = [child.process for child in self._children.values() if child.process is not None]
        for process in running:
            with suppress(ProcessLookupError):
                process.terminate()
        deadline = self.clock.monotonic() + grace_seconds
        for process in running:
            try:
                process.wait(timeout=max(0.05, deadline - self.clock.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._children.clear()
        if self._pipe is not None:
            for end in self._pipe:
                os.close(end)
            self._pipe = None

    def _start(self, child: _Child) -> None:
        if self._pipe is None:
            self._pipe = os.pipe()
        reading = self._pipe[0]
        command = [part.replace("{parent_fd}", str(reading)) for part in child.spec.command]
        if child.spec.niceness:
            command = ["nice", "-n", str(child.spec.niceness), *command]
        with (self.logs / f"{child.spec.name}.log").open("ab") as output:
            child.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(reading, *child.spec.files),
                start_new_session=True,
                env={**ONE_THREAD, **os.environ},
            )
        child.started = self.clock.monotonic()
        child.starts += 1
        idle = child.spec.niceness >= IDLE
        child.polite = Polite(child.process.pid, IDLE, again=child.starts > 1) if idle else None
        if child.polite is not None:
            shorten(child.process.pid, IDLE)
            child.polite.turn(child.started)

    def _again(self, child: _Child, now: float) -> str:
        try:
            self._start(child)
        except OSError as error:  # no memory, no file to open: the others go on, and it may be better in a moment
            child.failures += 1
            child.not_before = now + backoff(child.failures)
            return f"{child.spec.name} could not be started again ({error.strerror or error}); it is tried again"
        return f"{child.spec.name} started again (pid {self._pid(child)})"

    def _ended(self, child: _Child, code: int, now: float) -> str:
        child.process = None
        child.last_exit = code
        quick = _QUICK_KILLED if code == -signal.SIGKILL else _QUICK
        child.failures = child.failures + 1 if now - child.started < quick else 0
        child.not_before = now + backoff(child.failures)
        how = f"was ended by {signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        return f"{child.spec.name} {how}; see {self.logs.name}/{child.spec.name}.log"

    @staticmethod
    def _pid(child: _Child) -> int:
        return child.process.pid if child.process is not None else 0
