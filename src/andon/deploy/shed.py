"""Answers that are given although the log cannot take them (``logging: {pressure: shed}``), counted so that none is forgotten.

The counts are in a small mapped file whose room was taken when the worker began: counting needs no disk, and survives the
worker. A row is counted before its client is told. When the log takes frames again, one record in it says how many rows
are missing and from when to when; the record holds the count since the beginning, so that a kill between the record and
the file changes no sum.

What was answered is remembered for a while, so that the same id gets the same answer; the memory ends with the worker.
"""

from __future__ import annotations

import mmap
import os
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec

from andon.deploy.case import Case, Shown, shown_case
from andon.deploy.idempotency import as_float
from andon.store.codec import SHED, Loss, decode_losses
from andon.store.files import unavailable
from andon.store.frame import Frame, FrameKind, server_id
from andon.store.reader import read_stream
from andon.store.segment import segment_starts

__all__ = ["REMEMBERED", "Shed", "settle_left", "x_digest"]

#: How many answers with a client's id are remembered at most.
REMEMBERED = 100_000
_MAGIC = 0x414E444F4E534831
_BYTES = 4096
_TOTAL, _RECORDED, _SINCE, _UNTIL = range(1, 5)


class Shed:
    """The answers of one worker that are not in its stream. ``seconds`` is how long an answer is remembered.

    Raises ``Unavailable`` where the file cannot be made.
    """

    def __init__(self, path: Path, wal_dir: Path, stream: str, seconds: float = 3600.0, most: int = REMEMBERED) -> None:
        self._map = _mapped(path)
        self._words = memoryview(self._map).cast("Q")
        self._stream, self._seconds, self._most = stream, seconds, most
        self._nonce, self._number = secrets.token_hex(4), 0
        self._known: OrderedDict[str, tuple[float, bytes, Shown]] = OrderedDict()
        words = self._words
        if words[0] != _MAGIC or words[_RECORDED] > words[_TOTAL]:
            for word in (_TOTAL, _RECORDED, _SINCE, _UNTIL):
                words[word] = 0
            words[0] = _MAGIC
        if self.waiting:
            words[_RECORDED] = max(words[_RECORDED], min(words[_TOTAL], _last_total(wal_dir, stream)))
        self.rows = 0
        """Rows that this process has shed."""

    @property
    def waiting(self) -> int:
        """Rows that the log does not yet say are missing."""
        return int(self._words[_TOTAL] - self._words[_RECORDED])

    @property
    def since_us(self) -> int:
        """When the first of them was answered; 0 when there is none."""
        return int(self._words[_SINCE]) if self.waiting else 0

    def take(self, cases: Sequence[Case], time_us: int, now: float) -> list[Shown]:
        """Count these decided cases as answered and not recorded; what each client is told. ``now`` is steady seconds."""
        words = self._words
        if not self.waiting:
            words[_SINCE] = time_us
        words[_UNTIL] = max(time_us, words[_SINCE])
        words[_TOTAL] += len(cases)
        self.rows += len(cases)
        told = []
        for case in cases:
            if not case.id:
                case.server_id = server_id(f"{self._stream}_shed", self._nonce, self._number)
                self._number += 1
            shown = msgspec.structs.replace(shown_case(case, time_us), recorded=False)
            if case.id:
                self._known[case.id] = (now, x_digest(case.x), shown)
            told.append(shown)
        self.forget(now)
        return told

    def holds(self, id: str) -> bool:
        """Whether the answer to an id is remembered."""
        return id in self._known

    def known(self, id: str) -> tuple[bytes, Shown] | None:
        """(what x was, by its digest; what was told), or None."""
        found = self._known.get(id)
        return None if found is None else (found[1], found[2])

    def forget(self, now: float) -> None:
        """Forget what is too old, or too much."""
        known = self._known
        while known and (len(known) > self._most or now - next(iter(known.values()))[0] > self._seconds):
            known.popitem(last=False)

    def loss(self) -> Loss | None:
        """What the log has to say is missing; None where it has said so."""
        if not self.waiting:
            return None
        words = self._words
        return Loss(SHED, self.waiting, int(words[_SINCE]), int(words[_UNTIL]), int(words[_TOTAL]))

    def settled(self, loss: Loss) -> None:
        """The log has taken that record."""
        self._words[_RECORDED] = loss.total

    def close(self) -> None:
        """Release the file."""
        self._words.release()
        self._map.close()


def settle_left(path: Path, wal_dir: Path, stream: str, write: Callable[[Loss], object]) -> None:
    """Record what an earlier worker shed, where the charter no longer lets answers be shed. Raises ``Unavailable``."""
    if not path.exists():
        return
    left = Shed(path, wal_dir, stream)
    loss = left.loss()
    if loss is not None:
        write(loss)
        left.settled(loss)
    left.close()
    path.unlink()


def x_digest(x: Mapping[str, Any]) -> bytes:
    """What tells two inputs apart, as ``andon.deploy.idempotency.same_x`` does: null is absent, 3 is 3.0, true is not 1.

    >>> x_digest({"a": 3, "b": None}) == x_digest({"a": 3.0}), x_digest({"a": True}) == x_digest({"a": 1})
    (True, False)
    """
    kept = sorted((name, isinstance(value, bool), value) for name, value in x.items() if value is not None)
    plain = [(name, truth, as_float(value) if isinstance(value, int | float) else value) for name, truth, value in kept]
    return blake2b(repr(plain).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _mapped(path: Path) -> mmap.mmap:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(fd, 0, _BYTES)
            return mmap.mmap(fd, _BYTES)
        finally:
            os.close(fd)
    except OSError as error:
        raise unavailable(f"the counts of shed answers, {path.name}, could not be opened", error) from error


def _last_total(wal_dir: Path, stream: str) -> int:
    """The count that the newest record of shed answers in a stream holds; looked for in its newest segments."""
    starts = segment_starts(wal_dir / stream)[-8:]  # one that is old is closed, however little is in it
    total = 0
    for entry in read_stream(wal_dir, stream, starts[0]) if starts else ():
        if isinstance(entry, Frame) and entry.kind is FrameKind.LOSS:
            total = max([total, *(loss.total for loss in decode_losses(entry) if loss.what == SHED)])
    return total
