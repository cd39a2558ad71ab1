"""Decisions told to a receiver of events: read from the log by the controller, never on the live path.

What was sent is remembered as a place in each stream, stored after the receiver said yes: each event is sent at least
once, and again with the same id after a kill. A receiver that does not answer is tried again later and later, up to
once a minute; the log keeps what waits. It holds up nothing else: a turn sends for a quarter of a second at most (or
until one POST gives up), and the streams are tidied as if there were no receiver, so what it leaves for longer than
the log keeps its streams is lost to it, and said.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from andon.core.redact import Redactor
from andon.errors import Corrupt, NotFound, UsageError
from andon.monitor.payload import Event, decision_events, review_event
from andon.monitor.sink import Sink, check_sink, shown_sink
from andon.store.codec import decode_decisions, decode_reviews
from andon.store.frame import Frame, FrameKind, Gap, server_id
from andon.store.outbox import PEOPLE
from andon.store.reader import StreamReader
from andon.store.segment import streams

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from andon.core.record import Field
    from andon.scope.charter import Charter
    from andon.store.workspace import Workspace

__all__ = ["EVENTS", "Emitter", "emitter_of"]

EVENTS = "events"
"""The consumer whose places are stored."""

BUDGET = 0.25
"""Seconds that a turn sends for."""

TRIES = 3
"""An event that the receiver refuses as such (400, 413, 415, 422) is tried this often, then left out and counted."""

_REFUSED = frozenset({400, 413, 415, 422})
_LONGEST = 60.0
_STORE_EVERY = 1.0
_STEP = 1 << 20


class Receiver(Protocol):
    """What events are posted to (``andon.monitor.sink.Sink``)."""

    def post(self, headers: Mapping[str, str], body: bytes) -> int | str:
        """The status, or why there was none."""
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


class _Stream:
    """One stream: what was read of it, and the events of the frame that is being sent."""

    def __init__(self, workspace: Workspace, name: str, stored: int) -> None:
        self.reader = StreamReader(workspace.wal_dir, name, stored)
        self.reached = self.stored = stored
        self.read: deque[Frame | Gap] = deque()
        self.sending: deque[Event] = deque()
        self.end = stored


def emitter_of(workspace: Workspace, charter: Charter) -> tuple[Emitter | None, list[str]]:
    """The emitter that a charter asks for, and a sentence when its address must not be sent to: then nothing is."""
    checklist = charter.checklist
    url = checklist.logging.events
    try:
        check_sink(url, checklist.privacy.stays, checklist.privacy.hosts)
    except UsageError as error:
        return None, [f"{error.message}; no event is sent"]
    return (None, []) if url is None else (Emitter(workspace, charter, url), [])


class Emitter:
    """Sends what is new; made anew by each leader, since places are loaded here. Raises ``Unavailable`` as the database does."""

    def __init__(
        self,
        workspace: Workspace,
        charter: Charter,
        url: str,
        *,
        receiver: Receiver | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workspace = workspace
        self._project = charter.project
        rules = charter.checklist.privacy.redact
        self._redactor = Redactor(rules, workspace.redaction_key() if "hash" in rules.values() else b"")
        self._name = shown_sink(url)
        self._receiver = receiver or Sink(url)
        self._clock = clock
        self._fields = lru_cache(maxsize=64)(lambda name: workspace.load_contract(name)[0])
        self._known = workspace.windows.offsets(EVENTS)
        self._streams: dict[str, _Stream] = {}
        self._due = self._store_due = 0.0
        self._failures = self._tries = 0
        self._said: str | None = None
        self.sent = self.refused = 0

    def turn(self, seconds: float = BUDGET) -> list[str]:
        """Send for a while, if it is time; sentences about what is in the way."""
        now = self._clock()
        if now < self._due:
            return []
        for name in streams(self._workspace.wal_dir):
            if name not in self._streams:
                self._streams[name] = _Stream(self._workspace, name, self._known.get(name, 0))
        said: list[str] = []
        order = sorted(self._streams, key=lambda name: (name == PEOPLE, name))  # what people answer was asked before
        for at, name in enumerate(order):
            began = self._clock()
            share = max(0.0, now + seconds - began) / (len(order) - at)
            if not self._send(self._streams[name], began + share, said):
                break
        if now >= self._store_due:
            self.store()
            self._store_due = now + _STORE_EVERY
        return said

    @property
    def fault(self) -> str:
        """What is in the way now; empty while events are taken."""
        return self._said or ""

    def store(self) -> None:
        """Remember how far the receiver has got."""
        moved = {name: stream for name, stream in self._streams.items() if stream.reached > stream.stored}
        if not moved:
            return
        db, windows = self._workspace.db, self._workspace.windows
        with db.write() as connection:
            for name, stream in moved.items():
                windows.move(connection, EVENTS, name, stream.reached)
        for stream in moved.values():
            stream.stored = stream.reached

    def close(self) -> None:
        """Close the connection."""
        self._receiver.close()

    def _send(self, stream: _Stream, until: float, said: list[str]) -> bool:
        """Send what is new in a stream; False when the receiver takes nothing now."""
        while self._clock() < until:
            if stream.sending:
                if not self._post(stream, said):
                    return False
                continue
            stream.reached = stream.end
            if not stream.read:
                stream.read += stream.reader.poll(_STEP)
            if not stream.read:
                return True
            try:
                self._take(stream, stream.read[0], said)
            except NotFound as error:
                said += self._once(error.message)
                self._due = self._clock() + 1.0
                return True  # this stream waits; others need not
            stream.end = stream.read.popleft().end
        return True

    def _take(self, stream: _Stream, entry: Frame | Gap, said: list[str]) -> None:
        """The events of one frame; what cannot be read, or is gone already, is said."""
        if isinstance(entry, Gap):
            rows = "an unknown number of rows" if entry.rows is None else f"{entry.rows} rows"
            said.append(f"events: {rows} of the stream {entry.stream} are damaged or gone; they are not sent")
            return
        try:
            stream.sending.extend(self._events(entry))
        except Corrupt as error:
            said.append(f"events: {error.message}; it is not sent")

    def _events(self, frame: Frame) -> Iterator[Event]:
        if frame.kind is FrameKind.DECISION:
            fields: Sequence[Field] = self._fields(frame.contract.hex())
            for decision in decode_decisions(fields, frame):
                if self._redactor:  # also what an older charter stored as it came
                    decision = replace(decision, x=self._redactor.row(decision.x, again=True))
                yield from decision_events(self._project, fields, decision, frame.generation)
        elif frame.kind is FrameKind.REVIEW:
            for at, review in enumerate(decode_reviews(frame)):
                if review.kind == "decision":
                    yield review_event(
                        self._project, review, server_id(frame.stream, frame.generation, frame.first + at)
                    )

    def _post(self, stream: _Stream, said: list[str]) -> bool:
        """Send one event; True when it is done with."""
        event = stream.sending[0]
        found = self._receiver.post(event.headers, event.body)
        if isinstance(found, int) and 200 <= found < 300:
            self.sent += 1
        elif found in _REFUSED and self._tries + 1 >= TRIES:
            self.refused += 1
            said.append(
                f"events: {self._name} refused one ({found}) {TRIES} times; it is left out, {self.refused} so far"
            )
        else:
            self._tries += found in _REFUSED
            self._failures += 1
            self._due = self._clock() + min(_LONGEST, 2.0 ** min(self._failures - 1, 10))
            said += self._once(f"events: {self._name} does not take them ({found}); they wait in the log")
            return False
        if self._said is not None:
            said.append(f"events: {self._name} takes them again")
            self._said = None
        self._failures = self._tries = 0
        stream.sending.popleft()
        return True

    def _once(self, sentence: str) -> list[str]:
        if sentence == self._said:
            return []
        self._said = sentence
        return [sentence]
