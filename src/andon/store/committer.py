"""The committer: one thread that makes written frames durable in groups, so that nobody who answers waits for a disk.

Group commit (DeWitt et al. 1984): while one sync runs, frames pile up; the next sync covers all of them.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from andon.errors import Unavailable
from andon.store.files import sync_directory, unavailable

__all__ = ["Committer", "Done", "Failed"]

Done = Callable[[], None]
Failed = Callable[[Unavailable], None]

#: How many stretches of frames that the disk refused to sync are remembered until the process ends.
_REFUSALS = 1024


class Committer:
    """Syncs the active file at most once per ``interval`` seconds (0: as soon as something was written).

    ``synced_end`` is the logical offset up to which frames survive a power loss. ``errors`` counts failed syncs; after
    one, its frames stay refused, ``broken`` is set and the writer goes on in a new segment, since a file whose sync failed cannot be trusted
    (Rebello et al. 2020, *Can Applications Recover from fsync Failures?*).
    """

    def __init__(self, folder: Path, fd: int, end: int, *, interval: float, sync: Callable[[int], None]) -> None:
        self.synced_end = end
        self.errors = 0
        self.broken = False
        self._folder, self._fd, self._end = folder, fd, end
        self._interval, self._sync = interval, sync
        self._sealed: list[int] = []
        self._new_name = True
        self._waiting: list[tuple[int, Done, Failed | None]] = []
        self._refused: deque[tuple[int, int, Unavailable]] = deque(maxlen=_REFUSALS)
        self._idle = True
        self._stopping = False
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._run, name=f"andon-commit-{folder.name}", daemon=True)
        self._thread.start()

    def wrote(self, end: int) -> None:
        """Tell that the active file now ends at ``end``. Cheap: it takes the lock only when the thread sleeps."""
        self._end = end
        if self._idle:
            with self._wake:
                self._idle = False
                self._wake.notify()

    def wait(self, end: int, done: Done, failed: Failed | None) -> None:
        """Call ``done`` from the committer's thread once ``end`` is durable, or ``failed`` when it cannot be."""
        with self._wake:
            refused = next((error for after, until, error in self._refused if after < end <= until), None)
            if refused is not None:
                done = _refusal(failed, refused)
            elif self.synced_end < end:
                self._waiting.append((end, done, failed))
                self._idle = False
                self._wake.notify()
                return
        done()

    def switch(self, fd: int, end: int) -> None:
        """From now on the active file is ``fd``; the old one is synced once more and closed."""
        with self._wake:
            self._sealed.append(self._fd)
            self._fd, self._end, self._new_name = fd, end, True
            self.broken = False
            self._idle = False
            self._wake.notify()

    def close(self) -> None:
        """Sync what is left, answer who waits, end the thread, close the files."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            with self._wake:
                self._wake.wait_for(lambda: self._stopping or not self._idle)
                if self._interval and not self._stopping:
                    self._wake.wait_for(lambda: self._stopping, self._interval)
            self._commit()
        self._commit()
        os.close(self._fd)

    def _commit(self) -> None:
        with self._wake:
            self._idle = True
            end, fd = self._end, self._fd
            sealed, self._sealed = self._sealed, []
            new_name, self._new_name = self._new_name, False
        error = self._sync_all(sealed, fd if end > self.synced_end else None, new_name)
        for old in sealed:
            os.close(old)
        if error is None:
            self._finish(end)
        else:
            self._fail(end, error)

    def _sync_all(self, sealed: list[int], fd: int | None, new_name: bool) -> Unavailable | None:
        try:
            for old in sealed:
                self._sync(old)
            if fd is not None:
                self._sync(fd)
            if new_name:
                sync_directory(self._folder)
        except OSError as error:
            return unavailable(f"the log {self._folder.name} could not be made durable", error)
        return None

    def _finish(self, end: int) -> None:
        with self._wake:
            self.synced_end = max(self.synced_end, end)
            ready = self._take(end)
        for _, done, _ in ready:
            _call(done)

    def _fail(self, end: int, error: Unavailable) -> None:
        with self._wake:
            self.errors += 1
            self.broken = self._new_name = True
            if self._refused and self._refused[-1][0] == self.synced_end:
                self._refused.pop()  # the same frames, and those that came since
            self._refused.append((self.synced_end, end, error))
            refused = self._take(end)
        for _, _, failed in refused:
            _call(_refusal(failed, error))

    def _take(self, end: int) -> list[tuple[int, Done, Failed | None]]:
        """Those who wait for an offset up to ``end``; who asks again may wait for an older one behind a newer one."""
        waiting, self._waiting = self._waiting, []
        taken: list[tuple[int, Done, Failed | None]] = []
        for one in waiting:
            (taken if one[0] <= end else self._waiting).append(one)
        return taken


def _refusal(failed: Failed | None, error: Unavailable) -> Done:
    def refuse() -> None:
        if failed is not None:
            failed(error)

    return refuse


def _call(done: Done) -> None:
    """An event loop that has been closed meanwhile raises RuntimeError; nobody waits for that answer any more."""
    with suppress(RuntimeError):
        done()
