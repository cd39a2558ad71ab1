"""A model on another server that speaks the Open Inference Protocol v2: Triton, KServe, MLServer, MLflow, another line.

``train`` returns ``andon.Remote(url, model)``; what is sealed is the address and which column goes into which tensor.
Calls are JSON over a connection that is kept. A call that fails because a kept connection was closed before anything came
back is made once more; a server that keeps failing is left alone for a while (``Breaker``). Rows go only where
``privacy.stays`` lets them: the address that is really connected to is looked at, not its name.

>>> Remote("http://10.0.0.7:8000", "screening", version="3").address
'http://10.0.0.7:8000/v2/models/screening/versions/3'
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec
import numpy as np

from andon.core.reach import Reach
from andon.core.record import Field, Stays
from andon.errors import AndonError, Corrupt, Denied, Unavailable, UsageError, UserCodeError
from andon.model.remote_line import Line, said_in
from andon.model.remote_tensors import Input, Spec, Tensor, decode, encode, plan

__all__ = ["Breaker", "Remote", "RemoteScorer", "SealedRemote", "seal_remote"]

_SECONDS = 10.0
#: What weighs how much, and at which weight in a row the server is left alone: three times where it is gone; where it fails,
#: more often than a search for guilty rows calls in vain (65 times), since a server may well break on rows.
_GONE, _FAILED, _OPENS = 22, 1, 66
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 60.0


class Remote(msgspec.Struct, frozen=True):
    """Where a model is. ``output`` names the tensor to read where there are several; ``rows`` go in one call at most."""

    url: str
    model: str
    version: str = ""
    output: str = ""
    rows: int = 256

    @property
    def address(self) -> str:
        """The model's own address."""
        version = f"/versions/{quote(self.version, safe='')}" if self.version else ""
        return f"{self.url.rstrip('/')}/v2/models/{quote(self.model, safe='')}{version}"


class SealedRemote(msgspec.Struct, frozen=True):
    """What a bundle keeps of a remote model. ``stays`` is how far rows might go when it was sealed."""

    remote: Remote
    inputs: tuple[Input, ...]
    stays: Stays
    hosts: tuple[str, ...] = ()


class _Metadata(msgspec.Struct):
    inputs: list[Spec] = []


class _Answer(msgspec.Struct):
    outputs: list[Tensor]


def _shown(url: str) -> str:
    """An address for a sentence: its host, and of the rest, which may be secret, only that there is one.

    >>> _shown("http://ann:hush@example.org:8000/a?key=hush"), _shown("example.org"), _shown("ftp://example.org")
    ('http://...@example.org:8000/...', 'example.org', 'ftp://example.org')
    """
    scheme, slashes, rest = url[:200].rpartition("//") if url.count("//") == 1 else ("", "", url[:200])
    place, more = re.match(r"([^/?#]*)(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]
    _, at, host = place.rpartition("@")
    return f"{scheme}{slashes}{'...@' if at else ''}{host}{'/...' if more.strip('/') else ''}"


def check(remote: Remote, stays: Stays) -> None:
    """Raise ``UsageError`` for an address that cannot be one, ``Denied`` where rows may not leave at all."""
    try:
        parts = urlsplit(remote.url)
        sound = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if not sound or parts.username or parts.password or parts.query or parts.fragment or not remote.url.isprintable():
        raise UsageError(
            f"a remote model's url: expected http(s)://host:port without a password, found {_shown(remote.url)!r}"
        )
    if not remote.model or remote.rows < 1:
        raise UsageError("a remote model needs a name, and at least one row for each call")
    if stays == "device":
        raise Denied(
            f"rows may not be sent to {remote.url}: checklist.privacy.stays is 'device'",
            hint="train a model that answers here, or change privacy.stays if rows may leave",
        )


def seal_remote(remote: Remote, fields: Sequence[Field], stays: Stays, hosts: tuple[str, ...] = ()) -> bytes:
    """What is sealed: asks the server which inputs the model takes. Raises as ``check``, ``plan`` and a call do."""
    check(remote, stays)
    line = Line(remote.url, stays, hosts)
    try:
        said = _good(remote, *line.call("GET", remote.address, b"", time.monotonic() + _SECONDS))
    finally:
        line.close()
    try:
        found = msgspec.json.decode(said, type=_Metadata)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UserCodeError(f"{remote.address} does not describe a model: {error}") from None
    return msgspec.json.encode(SealedRemote(remote, plan(found.inputs, fields), stays, hosts))


class Breaker:
    """Leaves a server alone that keeps failing: 5 s, then twice as long each time, up to a minute; then one call tries.

    ``why`` is told in ``andon status`` and on the board, and written for them: it holds no word of the server's.

    >>> breaker = Breaker()
    >>> for _ in range(3): breaker.failed(0.0, "no connection", gone=True)
    >>> breaker.closed_in(0.0), breaker.closed_in(5.0)
    (5.0, 0.0)
    """

    def __init__(self) -> None:
        self.why = ""
        self._weight = 0
        self._pause = 0.0
        self._until = 0.0

    @property
    def failing(self) -> bool:
        """Whether a call failed since one was answered."""
        return self._weight > 0

    def closed_in(self, now: float) -> float:
        """Seconds until the server is asked again; 0 when it may be asked now."""
        return max(0.0, self._until - now)

    def worked(self) -> None:
        """A call was answered."""
        self.why, self._weight, self._pause, self._until = "", 0, 0.0, 0.0

    def failed(self, now: float, why: str, *, gone: bool) -> None:
        """A call failed; ``gone``: because of the server, whatever the rows."""
        self.why = why
        self._weight += _GONE if gone else _FAILED
        if self._weight >= _OPENS:
            self._pause = min(_LONGEST_PAUSE, 2 * self._pause or _FIRST_PAUSE)
            self._until = now + self._pause
            self._weight = _OPENS - _FAILED  # the next failure opens it again


class RemoteScorer:
    """Asks the server. ``until`` (monotonic seconds) is when an answer is of no more use; 0: 10 s for each call.

    ``reach`` is how far rows may go now; the stricter of that and what was sealed counts, and of its hosts those that it
    names now. Raises as ``check``, so that no remote model is loaded without that being asked.
    """

    def __init__(self, payload: bytes, classes: tuple[str, ...], reach: Reach) -> None:
        try:
            self.sealed = msgspec.json.decode(payload, type=SealedRemote)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise Corrupt(f"remote.json holds no remote model: {error}") from None
        order: tuple[Stays, ...] = ("device", "organisation", "anywhere")
        stays = min(reach.stays, self.sealed.stays, key=order.index)
        check(self.sealed.remote, stays)
        self.until = 0.0
        self.breaker = Breaker()
        self._classes = classes
        self._lock = threading.Lock()
        self._line = Line(self.sealed.remote.url, stays, reach.hosts)

    @property
    def failing(self) -> bool:
        """Whether the last call failed, and not because the server says that its rows do not fit."""
        return self.breaker.failing

    @property
    def fault(self) -> str:
        """That the server is left alone, and why; empty when it is not."""
        if self.breaker.closed_in(time.monotonic()) <= 0:
            return ""
        return f"{self.sealed.remote.url} is left alone for a while, since it keeps failing: {self.breaker.why}"

    def scores(self, x: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
        """Scores of rows. ``Unavailable`` says that no row is to blame."""
        rows = len(x) if hasattr(x, "shape") else len(next(iter(x.values())))
        step = self.sealed.remote.rows
        with self._lock:
            parts = [self._part(_rows(x, at, at + step), min(step, rows - at)) for at in range(0, rows, step)]
        return np.concatenate(parts).astype(np.float32)

    def close(self) -> None:
        """Close the connection."""
        self._line.close()

    def _part(self, x: Any, rows: int) -> np.ndarray[Any, np.dtype[np.float64]]:
        now = time.monotonic()
        if wait := self.breaker.closed_in(now):
            again = f"{self.sealed.remote.url} is asked again in {wait:.1f} s: {self.breaker.why}"
            raise Unavailable(again, kept=again)
        remote = self.sealed.remote
        body = msgspec.json.encode({"inputs": encode(self.sealed.inputs, x, rows)})
        try:
            until = self.until or now + _SECONDS
            said = _good(remote, *self._line.call("POST", f"{remote.address}/infer", body, until))
            found = decode(_answer(said), rows, self._classes, remote.output)
        except Denied as error:
            self.breaker.failed(time.monotonic(), error.kept, gone=True)
            raise Unavailable(error.message, kept=error.kept) from error
        except AndonError as error:
            if not isinstance(error, _Refused):
                self.breaker.failed(time.monotonic(), error.kept, gone=isinstance(error, Unavailable))
            raise
        self.breaker.worked()
        return found


class _Refused(UserCodeError):
    """The server says that these rows do not fit: it is well."""


def _good(remote: Remote, status: int, said: bytes) -> bytes:
    """The body of a good answer; raises ``UserCodeError`` where rows may be to blame."""
    if status == 200:
        return said
    answered = f"{remote.url} answered {status}"
    raise (_Refused if status < 500 else UserCodeError)(f"{answered}: {said_in(said)}", kept=answered)


def _answer(said: bytes) -> list[Tensor]:
    try:
        return msgspec.json.decode(said, type=_Answer).outputs
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        none = "the server's answer is none of the protocol"
        raise UserCodeError(f"{none}: {error}", kept=none) from None


def _rows(x: Any, start: int, stop: int) -> Any:
    return x[start:stop] if hasattr(x, "shape") else {name: column[start:stop] for name, column in x.items()}
