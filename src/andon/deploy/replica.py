"""Loaded models of one worker: brought in and warmed up away from the serving thread, called where they are quick.

Which versions are loaded follows from the route: live, candidate and warm ones. A version that left the route stays
for a while (``KEPT`` of them), so that going back needs no loading. A version that would not load is tried again every
``RETRY_SECONDS``; what stands in its way is said in ``faults``.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from andon.core.reach import HERE, Reach
from andon.core.record import Field, Route, Scalar
from andon.core.redact import Words
from andon.data.contract import Contract
from andon.deploy.away import Away, Limits, Model
from andon.deploy.batcher import Columns, Scored, columns_of_rows, score_columns
from andon.deploy.isolated import Isolated
from andon.deploy.remote import RemoteModel
from andon.deploy.route import versions
from andon.errors import AndonError
from andon.model.bundle import Served, load_bundle, load_manifest
from andon.model.predictor import user_code
from andon.model.remote import RemoteScorer

__all__ = ["KEPT", "RETRY_SECONDS", "Replica", "Replicas", "load_model", "load_served", "probe_row"]

KEPT = 3
RETRY_SECONDS = 5.0
_SMOOTH = 0.2
_DOUBTS = 32  # calls of a model that took long once are timed in processor time, too

Done = Callable[[list[Scored]], None]
Post = Callable[[Callable[[], None]], None]


def load_served(path_of: Callable[[str], Path], reach: Reach = HERE) -> Callable[[str], Served]:
    """A loader by bundle hash; what a library raises while loading leaves as one sentence."""

    def load(hash: str) -> Served:
        path = path_of(hash)
        with user_code("loading the model", path / "model.py"):
            return load_bundle(path, hash, reach)

    return load


def load_model(path_of: Callable[[str], Path], limits: Limits) -> Callable[[str], Model]:
    """A loader by bundle hash as above, which gives a model a process of its own where ``limits`` say so."""
    in_process = load_served(path_of, Reach(limits.stays, limits.hosts))

    def find(path: Path, hash: str) -> Model:
        if limits.isolated(load_manifest(path, hash).engine):
            return Isolated(path, hash, limits)
        served = in_process(hash)
        scorer = served.scorer
        return RemoteModel(served, scorer, limits) if isinstance(scorer, RemoteScorer) else served

    def load(hash: str) -> Model:
        path = path_of(hash)
        with user_code("loading the model", path / "model.py"):
            return find(path, hash)

    return load


class Replica:
    """One loaded version. ``seconds`` is a call's processor time, smoothed; ``busy_since`` is 0 or when its thread began.

    ``foreign`` models are somebody's code or elsewhere: they may take their time, or never come back. ``closed`` says
    that it was let go; a call that was under way is finished all the same.
    """

    def __init__(self, version: str, hash: str, served: Model) -> None:
        self.version = version
        self.hash = hash
        self.contract: Contract = served.contract
        self.classes: tuple[str, ...] = tuple(served.classes)
        self.seconds = 0.0
        self.busy_since = 0.0
        self._doubts = _DOUBTS
        self._walls: deque[float] = deque(maxlen=8)
        self._served = served
        self._where = served.path / "model.py"
        self._away = served if isinstance(served, Away) else None
        self.foreign = served.engine == "python" or self._away is not None
        self.closed = False
        self._reviving = False
        self._next: dict[object, Callable[[], None]] = {}
        self._thread: ThreadPoolExecutor | None = None

    def call(self, columns: Columns) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        """Scores, or ``UserCodeError`` whatever the model or its runtime raised."""
        try:
            with user_code("predict", self._where):
                return self._served.predict(columns)
        except AndonError as error:
            error.message = Words(error.message, error.kept)  # whoever writes it down must know what may be
            raise

    def ask(self, columns: Columns, limit: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        """As ``call``, timed; ``limit`` is the one of ``slow``.

        A call that took less than that used less processor time as well, so the thread's own clock, which costs a
        visit to the kernel, is asked only for a while after one that took more.
        """
        busy = time.thread_time() if self._doubts else 0.0
        wall = time.perf_counter()
        scores = self.call(columns)
        wall = time.perf_counter() - wall
        if self._doubts:
            self._doubts -= 1
            self.took(wall, time.thread_time() - busy)
        elif wall <= limit:
            self.took(wall, wall)
        else:
            self._doubts = _DOUBTS
        return scores

    def score(self, rows: Sequence[Sequence[Scalar]]) -> list[Scored]:
        """Scores of rows, timed; never raises for what the model does."""
        return self.score_columns(columns_of_rows(self.contract.fields, rows), len(rows))

    def score_columns(self, columns: Columns, rows: int) -> list[Scored]:
        """The same for rows that are columns already."""
        away = self._away
        wall, busy = time.perf_counter(), time.thread_time()
        if away is not None:
            away.begin()
        found = score_columns(self.call, self.classes, columns, rows)
        if away is not None:
            away.end()
        self.took(time.perf_counter() - wall, time.thread_time() - busy)
        return found

    def took(self, wall: float, busy: float) -> None:
        """A call took so many seconds, of which so many were processor time."""
        self.seconds += (busy - self.seconds) * _SMOOTH
        self._walls.append(wall)

    def slow(self, limit: float) -> bool:
        """Whether a call keeps the serving thread for longer than ``limit`` seconds.

        Processor time counts, since a busy machine makes no model slow; a model that waits for something shows in the
        quickest of its last calls. A model that is kept as a Python object is always taken for slow.
        """
        if self.foreign or self.seconds > limit:
            return True
        walls = self._walls
        return bool(walls) and walls[-1] > 4 * limit and min(walls) > 4 * limit

    def hangs(self, now: float, seconds: float) -> bool:
        """Whether the call that is under way in its thread has been going on for longer than so many seconds."""
        return bool(self.busy_since) and now - self.busy_since > seconds

    def submit(self, ask: Callable[[], list[Scored]], done: Done, post: Post) -> None:
        """Do ``ask`` (``score`` of something) in this version's own thread; ``done`` is called through ``post``.

        One batch at a time: who finds it busy says so by ``when_free``.
        """
        self.busy_since = time.monotonic()

        def work() -> None:
            found = ask()
            post(lambda: self._finish(found, done))

        self._own_thread().submit(work)

    def when_free(self, who: object, begin: Callable[[], None]) -> None:
        """Call ``begin`` when the batch that is under way has come back; in the order in which they asked, each once."""
        self._next.setdefault(who, begin)

    def _own_thread(self) -> ThreadPoolExecutor:
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"andon-{self.version}")
        return self._thread

    def _finish(self, found: list[Scored], done: Done) -> None:
        self.busy_since = 0.0
        try:
            done(found)
        finally:
            while self._next and not self.busy_since:
                self._next.pop(next(iter(self._next)))()

    @property
    def away(self) -> bool:
        """Whether the model is in a process of its own or on another server."""
        return self._away is not None

    @property
    def fault(self) -> str:
        """What is wrong with a model that is elsewhere; empty for all others."""
        said = "" if self._away is None else self._away.fault
        return f"{self.version}: {said}" if said else ""

    def tick(self, now: float) -> None:
        """Bring a model that is elsewhere back, if it needs that and nobody asks it now."""
        away = self._away
        if away is None or self._reviving or self.busy_since or self.closed or not away.wants(now):
            return
        self._reviving = True

        def work() -> None:
            try:
                away.revive()
            finally:
                self._reviving = False

        self._own_thread().submit(work)

    def warm_up(self) -> None:
        """Call it twice on a made-up row: the first call is slow for reasons of its own, the second one is timed."""
        row = probe_row(self.contract.fields)
        if row is None:
            return
        self.score([row])
        self.seconds = 0.0
        self._walls.clear()
        self.score([row])
        self.seconds /= _SMOOTH

    def close(self) -> None:
        """Let it go, without waiting: what was asked is answered first. A call that hangs is not waited for."""
        if self.closed:
            return
        self.closed = True
        if self._away is not None:
            self._own_thread().submit(self._away.close)
        if self._thread is not None:
            self._thread.shutdown(wait=False)


def probe_row(fields: Sequence[Field]) -> list[Scalar] | None:
    """A row that fits the fields, to warm a model up with; None where there is an image.

    >>> probe_row((Field("age", "int", low=18), Field("site", "category", categories=("a", "b"))))
    [18, 'a']
    """
    if any(field.kind == "image" for field in fields):
        return None
    return [_probe(field) for field in fields]


def _probe(field: Field) -> Scalar:
    if field.kind == "bool":
        return False
    if field.kind in ("int", "float"):
        value = max(0.0, field.low) if field.low is not None else 0.0
        value = min(value, field.high) if field.high is not None else value
        return int(value) if field.kind == "int" else value
    return field.categories[0] if field.categories else "a"


class Replicas:
    """The versions that this worker has, wants, and could not load.

    ``load`` gives a bundle by its hash and runs in a thread; ``post`` brings a call back to the serving thread;
    ``changed`` is called there whenever a version was loaded or failed; ``generation`` grows with each that was loaded.
    """

    def __init__(self, load: Callable[[str], Model], post: Post, changed: Callable[[], None]) -> None:
        self.faults: dict[str, str] = {}
        self.generation = 0
        self._load = load
        self._post = post
        self._changed = changed
        self._have: dict[str, Replica] = {}
        self._want: dict[str, str] = {}
        self._loading: dict[str, str] = {}
        self._failed_at = 0.0
        self._closed = False
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="andon-load")

    @property
    def loaded(self) -> tuple[str, ...]:
        """The versions that answer, sorted."""
        return tuple(sorted(self._have))

    @property
    def settled(self) -> bool:
        """Whether everything wanted is loaded or known not to load."""
        return not self._loading

    def get(self, version: str | None) -> Replica | None:
        """A loaded version, or None."""
        return None if version is None else self._have.get(version)

    def why_not(self, version: str) -> Words:
        """Why a version is not loaded, as a sentence."""
        if version in self._loading:
            return Words(f"{version} is being loaded")
        missing = f"{version} is not loaded"
        return Words(self.faults.get(version) or missing, missing)

    def ailing(self) -> dict[str, str]:
        """What is wrong with models that are loaded but elsewhere, by version and where it is."""
        said = {version: replica.fault for version, replica in self._have.items() if version in self._want}
        return {f"{version} away": fault for version, fault in said.items() if fault}

    def hangs(self, now: float, seconds: float) -> bool:
        """Whether a call has been going on in a thread for longer than ``seconds``; nothing can end it but its process.

        Models that are elsewhere end their calls themselves.
        """
        return any(one.hangs(now, seconds) for one in self._have.values() if not one.away)

    def follow(self, route: Route) -> None:
        """Load what the route needs, keep a few that it no longer does, let the others go."""
        self._want = {version: route.bundles.get(version, "") for version in versions(route)}
        self.faults = {version: fault for version, fault in self.faults.items() if version in self._want}
        extra = [version for version in self._have if version not in self._want]
        for version in extra[: max(0, len(extra) - KEPT)]:
            self._have.pop(version).close()
        for version, hash in self._want.items():
            self._bring(version, hash)

    def tick(self, now: float) -> None:
        """Try again what failed, some seconds later; bring back what is elsewhere."""
        for replica in self._have.values():
            replica.tick(now)
        if self.faults and now - self._failed_at >= RETRY_SECONDS:
            self._failed_at = now
            for version in tuple(self.faults):
                if version in self._want:
                    self._bring(version, self._want[version])

    def close(self) -> None:
        """Let everything go."""
        self._closed = True
        self._loader.shutdown(wait=False, cancel_futures=True)
        for replica in self._have.values():
            replica.close()

    def _bring(self, version: str, hash: str) -> None:
        have = self._have.get(version)
        if have is not None and have.hash == hash:
            self._have[version] = self._have.pop(version)  # the most recently wanted is let go last
            return
        if self._loading.get(version) == hash:
            return
        if not hash:
            self._fail(version, hash, f"the route names no bundle for {version}")
            return
        self._loading[version] = hash
        self._loader.submit(self._work, version, hash)

    def _work(self, version: str, hash: str) -> None:
        if self._loading.get(version) != hash:
            return  # another bundle is wanted under this version by now
        try:
            replica = Replica(version, hash, self._load(hash))
            replica.warm_up()
        except (
            AndonError,
            OSError,
        ) as error:  # what came to nothing and is not said to be so would be waited for for ever
            message = str(error)
            self._post(lambda: self._fail(version, hash, message))
        else:
            if self._closed:
                replica.close()
            self._post(lambda: self._take(replica))

    def _take(self, replica: Replica) -> None:
        if self._loading.get(replica.version) != replica.hash:
            replica.close()  # nobody wants it any more
        if self._loading.get(replica.version) == replica.hash:
            del self._loading[replica.version]
            self.faults.pop(replica.version, None)
            old = self._have.pop(replica.version, None)
            if old is not None:
                old.close()
            self._have[replica.version] = replica
            self.generation += 1
        self._changed()

    def _fail(self, version: str, hash: str, message: str) -> None:
        if self._loading.get(version) == hash:
            del self._loading[version]
        if self._want.get(version) == hash:  # else nobody asks any more
            self.faults[version] = message
            self._failed_at = time.monotonic()
        self._changed()
