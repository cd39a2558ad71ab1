"""The shadow process: releases predict on what was decided, unseen, and nobody ever waits for them.

It takes frames from the rings of all gateway workers (the very bytes that were logged), asks every version that the
route names as a shadow, and writes what they said to a stream of its own. When it is slow, hangs or dies, rings fill up,
rows are dropped and counted, and answers go on as before. It runs at idle priority. A frame leaves its ring when what was
said about it is written, so one that is killed asks some again (a view takes one of two) and misses none.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import msgspec

from andon.core.clock import Clock
from andon.core.record import Decision, Field, Prediction, Route
from andon.core.redact import Words, quiet
from andon.deploy.away import Limits, Model
from andon.deploy.batcher import Scored
from andon.deploy.replica import Replica, load_model
from andon.deploy.ring import RingReader
from andon.errors import AndonError, Conflict, Unavailable
from andon.model.bundle import bundle_path
from andon.store.codec import Loss, decode_decisions, encode_losses, encode_predictions
from andon.store.files import try_lock, unavailable
from andon.store.routes import RoutePlane
from andon.store.wal import Frame, FrameKind, WalWriter
from andon.store.workspace import Workspace

__all__ = [
    "RING_LOSS",
    "SHADOW_STREAM",
    "UNREAD_LOSS",
    "Shadow",
    "empty_rings",
    "pause",
    "predictions",
    "ring_path",
    "rings",
    "run_shadow",
    "unread_before",
]

SHADOW_STREAM = "s0"
#: What the log calls rows that were put into a ring and never came out of it.
RING_LOSS = "shadow: the ring was damaged"
#: What the log calls rows of frames that came whole but could not be read.
UNREAD_LOSS = "shadow: a frame could not be read"
#: A step that waited for a processor for more than this part of its time was in somebody's way; the longest rest after it.
_UNDISTURBED, _REST_SECONDS = 0.3, 0.05
_SCHEDSTAT = Path("/proc/thread-self/schedstat")
_IDLE_SECONDS = 0.02
_RETRY_SECONDS = 5.0
_FRAMES = 64
_PEEK = 1_000_000  # frames; more than a ring has room for

FieldsOf = Callable[[bytes], tuple[Field, ...]]


def ring_path(run_dir: Path, index: int) -> Path:
    """The ring of gateway worker ``index``."""
    return run_dir / f"ring-w{index}"


def rings(run_dir: Path) -> list[Path]:
    """The rings of all workers that there are or were."""
    return sorted(run_dir.glob("ring-w*"))


def unread_before(path: Path, before_us: int) -> int:
    """How many rows of a ring were put in before then and not taken; nothing changes. Raises ``Unavailable``."""
    reader = RingReader(path)
    try:
        return sum(frame.count for frame in reader.take(_PEEK) if frame.time_us < before_us)
    finally:
        reader.close()


def empty_rings(workspace: Workspace, before_us: int) -> int:
    """Take what was put into the rings before then and no shadow has taken; how many rows. Where a shadow runs, it does.

    They are copies of what is in the log, so nothing is counted as lost. Raises ``Unavailable``.
    """
    old = [path for path in rings(workspace.run_dir) if unread_before(path, before_us)]
    if not old:
        return 0
    folder = workspace.wal_dir / SHADOW_STREAM
    try:
        folder.mkdir(exist_ok=True)
        lock = try_lock(folder / "lock")
    except OSError as error:
        raise unavailable("the shadow's stream could not be opened", error) from error
    if lock is None:
        return 0  # it reads them itself
    try:
        return sum(_empty(path, before_us) for path in old)
    finally:
        os.close(lock)


def _empty(path: Path, before_us: int) -> int:
    reader, rows = RingReader(path), 0
    try:
        frames = reader.take(1)
        while frames and frames[0].time_us < before_us:
            rows += frames[0].count
            reader.done()
            frames = reader.take(1)
        if not frames:
            reader.done()  # what is behind the last sound one
    finally:
        reader.close()
    return rows


def predictions(replica: Replica, fields: Sequence[Field], decisions: Sequence[Decision]) -> list[Prediction]:
    """What a version says about decisions that were made under a contract with these fields."""
    known = {field.name for field in fields}
    missing = [field.name for field in replica.contract.fields if not field.optional and field.name not in known]
    if missing:
        error = Words(f"{replica.version} needs the input {missing[0]!r}, which the live contract does not have")
        return [_prediction(decision, replica.version, Scored(None, error=error)) for decision in decisions]
    names = replica.contract.names
    scores = replica.score([[decision.x.get(name) for name in names] for decision in decisions])
    return [_prediction(decision, replica.version, scored) for decision, scored in zip(decisions, scores, strict=True)]


def _prediction(decision: Decision, version: str, scored: Scored) -> Prediction:
    return Prediction(
        decision.id, version, scored.label, scored.confidence, scored.scores, scored.error, decision.time_us
    )


class Shadow:
    """The work of the process, one ``step`` at a time. ``load`` gives a bundle by its hash; ``say`` takes sentences.

    ``hidden``: inputs are redacted, so of a model's error only our own words are written.
    """

    def __init__(
        self,
        workspace: Workspace,
        wal: WalWriter,
        load: Callable[[str], Model],
        say: Callable[[str], None],
        *,
        hidden: bool = False,
    ) -> None:
        self._routes: RoutePlane = workspace.routes
        self._clock: Clock = workspace.clock
        self._run_dir = workspace.run_dir
        self._wal = wal
        self._load = load
        self._say = say
        self._hidden = hidden
        self._word = -1
        self._route: Route | None = None
        self._loaded: dict[str, Replica] = {}
        self._failed: dict[str, float] = {}
        self._rings: dict[Path, tuple[int, RingReader]] = {}
        self._looked = -1.0
        self._unwritten: list[tuple[FrameKind, bytes, int, int]] = []
        self._fields_of: FieldsOf = lru_cache(64)(lambda hash8: workspace.load_contract(hash8.hex())[0])

    def step(self) -> int:
        """Follow the route, take what is in the rings, predict, write; returns how many frames there were."""
        self._follow()
        self._open_rings()
        if not self._write():
            return 0
        frames: list[Frame] = []
        for _, ring in self._rings.values():
            frames += ring.take(_FRAMES)
            if ring.lost:
                self._lose(RING_LOSS, ring.lost)
        for frame in frames:
            self._predict(frame)
        self._write()
        return len(frames)

    def close(self) -> None:
        """Let the models go."""
        for replica in self._loaded.values():
            replica.close()

    def _follow(self) -> None:
        word = self._routes.word()
        if word != self._word:
            with suppress(Unavailable):
                self._route = self._routes.current()
                self._word = word
                self._failed.clear()
        shadows = self._route.shadows if self._route is not None else ()
        for version in [version for version in self._loaded if version not in shadows]:
            self._loaded.pop(version).close()
        for version in shadows:
            self._bring(version, self._route.bundles.get(version, "") if self._route else "")

    def _bring(self, version: str, hash: str) -> None:
        have = self._loaded.get(version)
        if have is not None and have.hash == hash:
            return
        now = time.monotonic()
        if now - self._failed.get(version, -_RETRY_SECONDS) < _RETRY_SECONDS:
            return
        try:
            fresh = Replica(version, hash, self._load(hash))
            if have is not None:
                have.close()
            self._loaded[version] = fresh
            self._failed.pop(version, None)
        except AndonError as error:
            if version not in self._failed:
                self._say(f"shadow {version} could not be loaded: {error.message}")
            self._failed[version] = now

    def _open_rings(self) -> None:
        """Open rings that appeared or were replaced, those of workers that are no more as well; looked at once a second."""
        now = time.monotonic()
        if now - self._looked < 1.0:
            return
        self._looked = now
        for path in rings(self._run_dir):
            try:
                number = path.stat().st_ino
                if self._rings.get(path, (0, None))[0] != number:
                    self._rings[path] = (number, RingReader(path))
            except (OSError, Unavailable):
                continue

    def _predict(self, frame: Frame) -> None:
        if frame.kind != FrameKind.DECISION:
            return
        try:
            fields = self._fields_of(frame.contract)
            decisions = decode_decisions(fields, frame)
        except AndonError as error:
            self._say(f"a frame could not be read by the shadow: {error.message}")
            self._lose(UNREAD_LOSS, frame.count)
            return
        for version in self._route.shadows if self._route is not None else ():
            replica = self._loaded.get(version)
            if replica is not None:
                found = predictions(replica, fields, decisions)
            else:
                nothing = Scored(None, error=Words(f"{version} is not loaded"))
                found = [_prediction(decision, version, nothing) for decision in decisions]
            found = [one if one.error is None else self._kept(one, one.error) for one in found]
            self._unwritten.append((FrameKind.SHADOW, encode_predictions(found), len(found), frame.epoch))

    def _kept(self, found: Prediction, error: str) -> Prediction:
        """What is written of a row that the model failed on."""
        return msgspec.structs.replace(found, error=quiet(error) if self._hidden else str(error))

    def _lose(self, what: str, rows: int) -> None:
        """Rows that no shadow will see, to be written down with the predictions."""
        self._unwritten.append((FrameKind.LOSS, encode_losses([Loss(what, rows)]), 1, 0))

    def _write(self) -> bool:
        """Write what was predicted, then let it go; False when the log cannot take it now (the rings fill and count)."""
        while self._unwritten:
            kind, payload, count, epoch = self._unwritten[0]
            try:
                self._wal.append(kind, payload, count=count, epoch=epoch, time_us=self._clock.now())
            except Unavailable:
                return False
            del self._unwritten[0]
        for _, ring in self._rings.values():
            ring.done()
        return True


def pause(took: float, waited: float) -> float:
    """How many seconds to rest after a step that took so many, ``waited`` of them ready and without a processor.

    One that had to wait takes processors from those who answer: it rests as long as it took. What does not fit the ring
    meanwhile is counted, and live requests are not slower.

    >>> pause(0.010, 0.001), pause(0.010, 0.008), pause(30.0, 29.0)
    (0.0, 0.01, 0.05)
    """
    return 0.0 if waited <= took * _UNDISTURBED else min(took, _REST_SECONDS)


def _waited() -> float:
    """Seconds that this thread stood ready without a processor so far; 0 where the system does not say."""
    try:
        return int(_SCHEDSTAT.read_text().split()[1]) * 1e-9
    except (OSError, ValueError, IndexError):
        return 0.0


def run_shadow(workspace_home: Path, *, parent_fd: int, limits: Limits | None = None) -> None:
    """Run until SIGTERM or until ``parent_fd`` reaches its end. Raises ``Conflict`` when another shadow runs.

    ``limits`` are those of the gateway.
    """
    ending: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda received, _frame: ending.append(received))
    workspace = Workspace.open(workspace_home)
    wal = _open_stream(workspace.wal_dir)
    limits = limits or Limits()
    load = load_model(lambda hash: bundle_path(workspace.home, hash), limits)
    shadow = Shadow(workspace, wal, load, _say, hidden=limits.redacts)
    try:
        while not ending and not _ended(parent_fd):
            began, waited = time.perf_counter(), _waited()
            found = shadow.step()
            time.sleep(pause(time.perf_counter() - began, _waited() - waited) if found else _IDLE_SECONDS)
    finally:
        shadow.close()
        wal.close()
        workspace.close()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201


def _open_stream(wal_dir: Path, patience: float = 5.0) -> WalWriter:
    """The shadow's stream; one that is just ending is waited for."""
    end = time.monotonic() + patience
    while True:
        try:
            return WalWriter(wal_dir, SHADOW_STREAM)
        except Conflict:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def _ended(parent_fd: int) -> bool:
    """Whether the other end of the pipe is gone."""
    readable, _, _ = select.select([parent_fd], [], [], 0)
    return bool(readable) and not os.read(parent_fd, 1)
