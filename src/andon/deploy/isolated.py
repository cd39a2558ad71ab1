"""A model in a process of its own: whatever it does (a crash, ``os._exit``, no memory, no end) the worker goes on.

The worker never loads the model nor runs its code: it reads the contract from the bundle, and asks the process. When the
process ends during a call, the batch is asked again by halves with a new process each time, until the guilty rows are
alone or the batch's time is over; then every row that has no answer gets an error, which is decided as any error of a
model is. A process that answers nothing between its ends is started ever more slowly (``andon.engine.local.backoff``).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from andon.deploy.away import Away, Limits
from andon.deploy.isolated_wire import decode_answer, decode_ready, encode_question
from andon.engine.child import Child
from andon.engine.local import backoff
from andon.errors import AndonError, Unavailable, UserCodeError
from andon.model.bundle import load_contract, load_manifest
from andon.model.columns import Columns, length_of

__all__ = ["ENDS_MAX", "LINGER_SECONDS", "Isolated", "model_command"]

#: New processes for one batch at most: enough to find one guilty row among a thousand.
ENDS_MAX = 24
#: How long a process that ended is told of after a new one answers.
LINGER_SECONDS = 60.0
_GRACE = 0.5
_LOADS_LEAST, _LOADS_TIMES = 30.0, 4.0

Scores = np.ndarray[Any, np.dtype[np.float32]]
Start = Callable[[], Child]


def model_command(path: Path, hash: str, limits: Limits) -> tuple[str, ...]:
    """The command line of a model's process."""
    words = (str(path), hash, str(limits.memory_mb), str(limits.seconds))
    return (sys.executable, "-m", "andon.deploy.isolated_child", "{fd}", *words)


class Isolated(Away):
    """A bundle that answers from a child process; built in the loader's thread, asked in its version's thread."""

    def __init__(self, path: Path, hash: str, limits: Limits, start: Start | None = None) -> None:
        manifest = load_manifest(path, hash)
        self.path = path
        self.contract = load_contract(path, hash)
        self.classes = manifest.classes
        self.engine = manifest.engine
        self._limits = limits
        self._start = start or (lambda: Child(model_command(path, hash, limits)))
        self._child: Child | None = None
        self._ready = False
        self._loads_in = 0.0
        self._until = 0.0
        self._failures = 0
        self._not_before = 0.0
        self._batch_ends = self._batch_answers = 0
        self._ends, self._ended_at, self._said, self._kept = 0, 0.0, "", ""
        try:
            self._spawn()
            self._await(limits.load_seconds)
        except AndonError:
            self.close()
            raise

    @property
    def pid(self) -> int | None:
        """The process, while there is one."""
        return None if self._child is None else self._child.pid

    @property
    def fault(self) -> str:
        """What became of its process lately; empty when nothing did."""
        if not self._said or (self._ready and time.monotonic() - self._ended_at > LINGER_SECONDS):
            return ""
        times = "once" if self._ends == 1 else f"{self._ends} times"
        return f"{self._said} ({times} since it was loaded); " + (
            "a new one answers" if self._ready else "it is started again"
        )

    def begin(self) -> None:
        """A batch begins: its time runs."""
        self._until = time.monotonic() + self._limits.seconds
        self._batch_ends = self._batch_answers = 0

    def end(self) -> None:
        """The batch has been answered: decide when a process that ended may begin again."""
        if self._batch_answers:
            self._failures = 0
        elif self._batch_ends:
            self._later()

    def predict(self, columns: Columns) -> Scores:
        """Scores. ``UserCodeError`` says that these rows may be to blame, ``Unavailable`` that no rows are."""
        rows = length_of(columns)
        if rows == 0:
            return np.zeros((0, len(self.classes)), dtype=np.float32)
        child = self._running()
        try:
            body = child.ask(encode_question(columns, self.contract.fields), self._left())
            scores = decode_answer(body, rows, len(self.classes))
        except TimeoutError:
            self._lose(f"the model's process did not answer within {self._limits.seconds:g} s and was ended")
            raise Unavailable(self._said, kept=self._kept) from None
        except Unavailable as gone:
            self._lose(f"the model's process {gone}")
            raise UserCodeError(self._said, kept=self._kept) from None
        except ValueError as strange:
            kept = "the model's process said what is no answer and was ended"
            self._lose(f"the model's process said what is no answer ({strange}) and was ended", kept)
            raise UserCodeError(self._said, kept=self._kept) from None
        self._batch_answers += 1
        return scores

    def wants(self, now: float) -> bool:
        """Whether there is no process although there may be one; notes one that ended while nobody asked."""
        if self._child is not None and self._child.ended:
            self._lose(f"the model's process {self._child.exit()} while nothing was asked")
            self._later()
        if self._child is None:
            return now >= self._not_before
        overdue = now - self._child.started > self._loads_within
        return not self._ready and (overdue or self._child.speaks)

    def revive(self) -> None:
        """Start a process, or see whether the one that was started is ready by now; does not wait for it."""
        with suppress(AndonError):  # ``fault`` says it
            if self._child is None:
                self._spawn()
            else:
                self._await(0.001)
        if self._child is None:
            self._later()

    def close(self) -> None:
        """End the process and wait until it is gone."""
        child, self._child, self._ready = self._child, None, False
        if child is not None:
            child.close(_GRACE)

    @property
    def _loads_within(self) -> float:
        """How long loading may take: what is allowed at first, then several times what it took, so that a hang shows."""
        most = self._limits.load_seconds
        return min(most, max(_LOADS_LEAST, _LOADS_TIMES * self._loads_in)) if self._loads_in else most

    def _left(self) -> float:
        return max(0.001, self._until - time.monotonic())

    def _running(self) -> Child:
        """A process that is ready; raises ``Unavailable`` when there can be none in time."""
        now = time.monotonic()
        if now >= self._until or self._batch_ends >= ENDS_MAX:
            late = f"the model did not answer within {self._limits.seconds:g} s"
            raise Unavailable(self._said or late, kept=self._kept or late)
        if self._child is None:
            if not self._batch_ends and now < self._not_before:
                wait = f"it is started again in {self._not_before - now:.1f} s"
                raise Unavailable(f"{self._said}; {wait}", kept=f"{self._kept}; {wait}")
            self._spawn()
        if not self._ready:
            assert self._child is not None
            if self._child.started + self._loads_in > self._until:
                loading = "a new one is loading the model"
                raise Unavailable(f"{self._said}; {loading}", kept=f"{self._kept}; {loading}")
            self._await(self._left())
        assert self._child is not None
        return self._child

    def _spawn(self) -> None:
        try:
            self._child = self._start()
        except OSError as error:
            self._lose(f"the model's process could not be started: {error.strerror or error}")
            raise Unavailable(self._said, kept=self._kept) from error

    def _await(self, seconds: float) -> None:
        """Wait until the process has loaded the model; raises what loading raised, ``Unavailable`` when it takes longer."""
        child = self._child
        if child is None or self._ready:
            return
        try:
            decode_ready(child.hear(max(seconds, 0.001)))
        except TimeoutError:
            if time.monotonic() - child.started > self._loads_within:
                self._lose(f"the model's process did not load the model within {self._loads_within:.3g} s")
            loading = "the model is being loaded"
            raise Unavailable(self._said or loading, kept=self._kept or loading) from None
        except (Unavailable, ValueError) as gone:
            self._lose(
                f"the model's process {gone}, while it loaded the model", "the model's process failed to load it"
            )
            raise UserCodeError(self._said, kept=self._kept) from None
        except AndonError as error:
            self._lose(f"the model did not load again: {error.message}", "the model did not load again")
            raise
        self._ready = True
        self._loads_in = max(self._loads_in, time.monotonic() - child.started)

    def _later(self) -> None:
        """It failed again: begin later than the last time."""
        self._failures += 1
        self._not_before = time.monotonic() + backoff(self._failures)

    def _lose(self, said: str, kept: str = "") -> None:
        """There is no process any more; ``kept`` is what may be written of why, where that is not all of it."""
        if self._child is not None:
            self._child.close()
        self._child, self._ready = None, False
        self._said, self._kept = said, kept or said
        self._ends += 1
        self._batch_ends += 1
        self._ended_at = time.monotonic()
