"""The route plane: who answers, as files beside the database, seen by every worker of this machine at once.

A route is a file named by its epoch, complete before it has a name and created exclusively: of two who publish the
same epoch exactly one wins. An epoch word in shared memory tells workers, in about 100 ns, that there is a new one. No
SQL is involved, so a line can be rolled back or stopped with the database and the controller dead.

>>> import tempfile
>>> with tempfile.TemporaryDirectory() as folder:
...     plane = RoutePlane(Path(folder))
...     first = plane.publish(Route(epoch=1, time_us=0, wall_us=0, actor="ann", action="start", reason="new line"))
...     print(plane.word(), plane.current() == first)
...     plane.close()
1 True
"""

from __future__ import annotations

import mmap
import os
import secrets
from hashlib import blake2b
from pathlib import Path
from struct import Struct

import msgspec

from andon.core.record import Route
from andon.errors import Conflict, Corrupt, NotFound
from andon.store.files import create_file, locked, replace_file, unavailable

__all__ = ["NO_EPOCH", "Ack", "RoutePlane"]

NO_EPOCH = 0
_WORD = Struct("<Q")


class Ack(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a worker says about itself: the epoch it serves, the versions it has loaded, and what would not load.

    ``began`` is when its process began, in ticks since the boot (0: not told), since process ids are used again.
    ``shed_us`` is since when it answers what its log cannot take (0: it does not).
    """

    worker: str
    pid: int
    epoch: int
    loaded: tuple[str, ...] = ()
    wall_us: int = 0
    faults: dict[str, str] = {}
    began: int = 0
    shed_us: int = 0


class _Sealed(msgspec.Struct):
    check: str
    route: msgspec.Raw


def _check(body: bytes) -> str:
    return blake2b(body, digest_size=16).hexdigest()


def _seal(route: Route) -> bytes:
    body = msgspec.json.encode(route)
    return b'{"check":"%s","route":%s}\n' % (_check(body).encode(), body)


_decode_sealed = msgspec.json.Decoder(_Sealed).decode
_decode_route = msgspec.json.Decoder(Route).decode


class RoutePlane:
    """The routes of one workspace. ``faults`` holds a sentence for every unreadable file that was passed over.

    Epochs count from 1; ``word()`` is 0 (``NO_EPOCH``) before the first route.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = Path(directory)
        self.faults: dict[str, str] = {}
        self._acks = self.directory / "acks"
        try:
            self._acks.mkdir(parents=True, exist_ok=True)
            self._map = _open_word(self.directory / "epoch")
        except OSError as error:
            raise unavailable(f"the route plane {self.directory} could not be opened", error) from error
        self._words = memoryview(self._map).cast("Q")

    def word(self) -> int:
        """The newest epoch announced; one read of shared memory."""
        return self._words[0]

    def current(self) -> Route | None:
        """The newest readable route, or None before the first one."""
        word = self.word()
        epoch = word
        while word and self._path(epoch + 1).exists():
            epoch += 1
        route = self._read(epoch) if word else None
        return route if route is not None else next(iter(self.history(limit=1)), None)

    def next_epoch(self) -> int:
        """The epoch that ``publish`` would accept now."""
        current = self.current()
        return max(0 if current is None else current.epoch, self.word()) + 1

    def publish(self, route: Route) -> Route:
        """Put a route in force. Raises ``Conflict`` when its epoch exists already or is not the next one.

        When it returns, the route is on the disk and announced to every worker. Raises ``Unavailable``; then nothing changed.
        """
        with locked(self.directory / "lock"):
            expected = self.next_epoch()
            if route.epoch != expected:
                raise Conflict(
                    f"route epoch {route.epoch}: expected {expected}; another route came first, look at it and try again"
                )
            path = self._path(route.epoch)
            if path.exists():
                path.rename(path.with_name(f"unreadable-{path.stem}-{secrets.token_hex(3)}"))
            if not create_file(path, _seal(route)):
                raise Conflict(
                    f"route epoch {route.epoch} exists already; another route came first, look at it and try again"
                )
            self._announce(route.epoch)
        return route

    def _announce(self, epoch: int) -> None:
        if epoch > self._words[0]:
            self._words[0] = epoch

    def reconcile(self) -> int:
        """Announce the newest route if whoever published it died before doing so; returns the epoch in force."""
        with locked(self.directory / "lock"):
            current = self.current()
            if current is not None:
                self._announce(current.epoch)
        return self.word()

    def at(self, epoch: int) -> Route:
        """The route of an epoch. Raises ``NotFound`` or ``Corrupt``."""
        route = self._read(epoch)
        if route is None:
            if str(epoch) in self.faults:
                raise Corrupt(self.faults[str(epoch)])
            raise NotFound(f"no route has the epoch {epoch}; the newest is {self.word()}")
        return route

    def history(self, limit: int | None = None) -> list[Route]:
        """Readable routes, newest first."""
        routes: list[Route] = []
        for epoch in sorted(self._listed(), reverse=True):
            if limit is not None and len(routes) >= limit:
                break
            route = self._read(epoch)
            if route is not None:
                routes.append(route)
        return routes

    def acknowledge(self, worker: str, ack: Ack) -> None:
        """Tell everyone what this worker serves and has loaded."""
        replace_file(self._acks / f"{worker}.json", msgspec.json.encode(ack), sync=False)

    def acks(self) -> list[Ack]:
        """What every worker said last, by name. One that died is still here: look at its ``pid`` and ``wall_us``."""
        acks = []
        for path in sorted(self._acks.glob("[!.]*.json")):
            try:
                acks.append(msgspec.json.decode(path.read_bytes(), type=Ack))
            except (OSError, msgspec.DecodeError) as error:
                self.faults[path.name] = f"the acknowledgement {path.name} cannot be read ({error}); it is passed over"
        return acks

    def close(self) -> None:
        """Release the shared memory."""
        self._words.release()
        self._map.close()

    def _path(self, epoch: int) -> Path:
        return self.directory / f"{epoch:012d}.json"

    def _listed(self) -> list[int]:
        try:
            return [int(path.stem) for path in self.directory.glob("*.json") if path.stem.isdigit()]
        except OSError as error:
            raise unavailable(f"the routes in {self.directory} could not be listed", error) from error

    def _read(self, epoch: int) -> Route | None:
        path = self._path(epoch)
        try:
            sealed = _decode_sealed(path.read_bytes())
            body = bytes(sealed.route)
            route = _decode_route(body)
            if sealed.check == _check(body) and route.epoch == epoch:
                return route
            why = "its checksum or epoch differs"
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unavailable(f"the route {path.name} could not be read", error) from error
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            why = str(error)
        self.faults[str(epoch)] = f"the route file {path.name} cannot be read ({why}); it is passed over"
        return None


def _open_word(path: Path) -> mmap.mmap:
    """The epoch word, shared by all processes that map the same file."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        if os.fstat(fd).st_size < _WORD.size:
            os.posix_fallocate(fd, 0, _WORD.size)  # its room is taken: a full disk must not end who writes to the map
        return mmap.mmap(fd, _WORD.size)
    finally:
        os.close(fd)
