"""The live path without a wire: cases in, outcomes out, one turn of the loop at a time.

A turn looks at the route word, takes every case that arrived, gives each its version and level, asks each model once
for all of its rows, writes one frame for what was decided, and only then tells the clients. Slow models answer in a
later turn. The desk starts no thread and opens no socket; what it needs of the world is handed to it in ``Parts``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from andon.core.clock import SECOND, Clock
from andon.core.record import Decision, Feedback, Route
from andon.deploy.batcher import Scored
from andon.deploy.case import Case, Done, Outcome, shown_case, shown_decision
from andon.deploy.idempotency import same_x
from andon.deploy.memory import Memory
from andon.deploy.meter import Meter
from andon.deploy.placing import Placer, Terms
from andon.deploy.recorder import Recorder
from andon.deploy.replica import Replica, Replicas
from andon.deploy.reviews import Reviews
from andon.deploy.settings import GatewayConfig
from andon.errors import AndonError, Conflict, ContractError, DeadlineExceeded, NotFound, Overloaded, Unavailable
from andon.store.codec import Loss
from andon.store.routes import Ack
from andon.store.wal import Frame, parse_server_id

__all__ = ["SHADOW_LOSS", "Desk", "Parts", "Peers", "Routes", "Sink"]

_ACK_SECONDS = 1.0
_LOSS_SECONDS = 1.0
#: What the log calls rows that shadows never saw.
SHADOW_LOSS = "shadow: the ring was full"
Placed = tuple[Terms, Case]


class Peers(Protocol):
    """The other workers of this line."""

    def decide(self, owner: int, case: Case) -> None:
        """Have the owner of the case's id decide it; the case is finished with what it says."""
        ...

    def find(self, owner: int, id: str, done: Done) -> None:
        """Ask the owner of an id for the decision."""
        ...


class Routes(Protocol):
    """The route plane (``andon.store.routes``)."""

    def word(self) -> int:
        """The newest epoch."""
        ...

    def current(self) -> Route | None:
        """The newest route."""
        ...

    def at(self, epoch: int) -> Route:
        """The route of an epoch."""
        ...

    def acknowledge(self, worker: str, ack: Ack) -> None:
        """Say what this worker serves."""
        ...


class Sink(Protocol):
    """Where frames go that shadows predict on. It never waits; what does not fit is counted."""

    recorded: int

    @property
    def offered(self) -> int:
        """Rows that were offered."""
        ...

    @property
    def dropped(self) -> int:
        """Rows that found no room."""
        ...

    def offer(self, frame: Frame) -> None:
        """Take a frame or drop it."""
        ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What a desk is built from. ``wake`` asks for a turn soon; ``post`` runs a call on the desk's thread."""

    clock: Clock
    routes: Routes
    replicas: Replicas
    recorder: Recorder
    memory: Memory
    reviews: Reviews
    keep_contract: Callable[[Terms], None]
    wake: Callable[[], None]
    post: Callable[[Callable[[], None]], None]
    peers: Peers | None = None
    sink: Sink | None = None


class Desk:
    """One worker's desk; ``index`` is its number. All methods are called on one thread."""

    def __init__(self, config: GatewayConfig, parts: Parts, index: int = 0) -> None:
        self.meter = Meter()
        self.placer = Placer(config, parts.replicas, config.deadline_seconds)
        self._config = config
        self._parts = parts
        self._index = index
        self._name = parts.recorder.wal.stream
        self._redacted = frozenset(config.redact)
        self._waiting: list[Case] = []
        self._open: set[Case] = set()
        self._busy_ids: dict[str, Case] = {}
        self._behind: dict[Replica, list[Placed]] = {}
        self._returned: list[tuple[list[Placed], list[Scored]]] = []
        self._feedback: list[tuple[Sequence[Feedback], Callable[[AndonError | None], None]]] = []
        self._word = -1
        self._nonce = 0
        self._blind: dict[int, bool] = {}
        self._contracts_kept: set[bytes] = set()
        self._next_ack = self._next_loss = 0.0

    @property
    def idle(self) -> bool:
        """Whether nobody waits for an answer."""
        return not self._open and not self._feedback

    def submit(self, case: Case, *, handed: bool = False) -> None:
        """Take a case; its client is told sooner or later. ``handed``: another worker gave it to us, so keep it."""
        parts = self._parts
        case.arrived = parts.clock.monotonic()
        case.deadline = case.arrived + self._config.deadline_seconds
        if case.id and not handed:
            owner = parts.memory.owner(case.id)
            if parse_server_id(case.id) is not None:
                case.finish(ContractError("id: this form is the server's own; send another id, or none", field="id"))
                return
            if owner != self._index and parts.peers is not None:
                self.meter.handed_over += 1
                parts.peers.decide(owner, case)
                return
        if case.id and self._repeated(case):
            return
        if len(self._open) >= self._config.queue:
            case.finish(Overloaded(f"{len(self._open)} requests are waiting already; try again in a second"))
            return
        self._open.add(case)
        if case.id:
            self._busy_ids[case.id] = case
        self._waiting.append(case)
        parts.wake()

    def find(self, id: str, done: Done, *, handed: bool = False) -> None:
        """Tell what is known of a decision."""
        parts = self._parts
        owner = parts.memory.owner(id)
        if owner != self._index and parts.peers is not None and not handed:
            parts.peers.find(owner, id, done)
            return
        busy = self._busy_ids.get(id)
        if busy is not None:
            _wait_for(busy, done)
            return
        try:
            decision = parts.memory.recorded(id)
            if decision is None:
                raise NotFound(
                    f"no decision has the id {id!r}, or it is older than what the gateway keeps",
                    hint="older decisions are found with `andon journal --decision ID`",
                )
            done(self._shown(decision))
        except AndonError as error:
            done(error)

    def feedback(self, rows: Sequence[Feedback], done: Callable[[AndonError | None], None]) -> None:
        """Record feedback; ``done`` gets None when it is written, or the error."""
        self._feedback.append((rows, done))
        self._parts.wake()

    def turn(self) -> None:
        """Everything that can be done now."""
        self.follow()
        now = self._parts.clock.monotonic()
        settled = self._take_returned()
        groups: dict[Replica, list[Placed]] = {}
        waiting, self._waiting = self._waiting, []
        for case in waiting:
            if case.closed:
                continue
            placed = self._place(case, now)
            if placed is None:
                continue
            terms, replica = placed
            if replica is None:
                self.placer.settle(case, terms, None)
                settled.append((terms, case))
            else:
                groups.setdefault(replica, []).append((terms, case))
        for replica, group in groups.items():
            self._ask(replica, group, settled)
        if settled:
            self._write(settled)
        if self._feedback:
            self._write_feedback()

    def follow(self) -> None:
        """Put the newest route in force, if there is a newer one."""
        word = self._parts.routes.word()
        if word == self._word:
            return
        try:
            route = self._parts.routes.current()
        except Unavailable as error:
            self.placer.faults["route"] = error.message
            return
        self._word = word
        if route is not None:
            self.placer.follow(route)
        self.meter.route_epoch = self.placer.epoch
        self.acknowledge()

    def acknowledge(self) -> None:
        """Tell everyone which epoch is served here from now on, and what is loaded."""
        parts = self._parts
        faults = {**parts.replicas.faults, **self.placer.faults}
        wall = parts.clock.wall()
        ack = Ack(self._name, os.getpid(), self.placer.epoch, parts.replicas.loaded, wall, faults)
        self.meter.loaded = ack.loaded
        self._next_ack = parts.clock.monotonic() + _ACK_SECONDS
        with suppress(AndonError):
            parts.routes.acknowledge(self._name, ack)

    def tick(self) -> None:
        """What goes on without requests; call it every few hundredths of a second."""
        parts = self._parts
        self.follow()
        now = parts.clock.monotonic()
        with suppress(AndonError):
            parts.reviews.poll()
        parts.memory.seen.rotate(now)
        parts.replicas.tick(now)
        for case in [case for case in self._open if now > case.deadline]:
            self._close(case, _too_late(case, now))
        if now >= self._next_ack:
            self.acknowledge()
        if now >= self._next_loss:
            self._next_loss = now + _LOSS_SECONDS
            self._record_losses()

    def gauge(self) -> Meter:
        """The counters, with what is measured at this moment."""
        meter, parts = self.meter, self._parts
        meter.queue_rows = len(self._open)
        meter.ids_remembered = len(parts.memory.seen)
        meter.log_failures = parts.recorder.failures
        if parts.sink is not None:
            meter.shadow_offered, meter.shadow_dropped = parts.sink.offered, parts.sink.dropped
        return meter

    def _repeated(self, case: Case) -> bool:
        """Answer a case whose id was seen before; True when that was done."""
        busy = self._busy_ids.get(case.id)
        try:
            if busy is not None:
                self._expect_same(case, same_x(case.x, busy.x))
                _wait_for(busy, case.done)
                return True
            decision = self._parts.memory.recorded(case.id)
            if decision is None:
                return False
            self._expect_same(case, same_x(case.x, decision.x, self._redacted))
            self.meter.repeated += 1
            case.finish(self._shown(decision))
        except AndonError as error:
            case.finish(error)
        return True

    def _expect_same(self, case: Case, same: bool) -> None:
        if not same:
            self.meter.conflicts += 1
            raise Conflict(
                f"the id {case.id!r} was used before with another x; the same id means the same case",
                field="id",
                hint="send a new id for a new case",
            )

    def _shown(self, decision: Decision) -> Outcome:
        review = self._parts.reviews.get(decision.id)
        return shown_decision(decision, review, blind=self._was_blind(decision))

    def _was_blind(self, decision: Decision) -> bool:
        """Whether people were blind under the route that this decision was made under; when in doubt, yes."""
        if decision.level != "partial" or decision.status == "decided":
            return True
        blind = self._blind.get(decision.epoch)
        if blind is None:
            try:
                blind = self._parts.routes.at(decision.epoch).blind
            except AndonError:
                blind = True
            if len(self._blind) > 1000:
                self._blind.clear()
            self._blind[decision.epoch] = blind
        return blind

    def _place(self, case: Case, now: float) -> tuple[Terms, Replica | None] | None:
        if now > case.deadline:
            self._close(case, _too_late(case, now))
            return None
        self._nonce += 1
        try:
            return self.placer.place(case, f"{self._name}:{self._nonce}", now)
        except AndonError as error:
            self._close(case, error)
            return None

    def _take_returned(self) -> list[Placed]:
        """What slow models answered since; cases of an older route go through the newer one."""
        settled: list[Placed] = []
        returned, self._returned = self._returned, []
        for group, scores in returned:
            for (terms, case), scored in zip(group, scores, strict=True):
                if case.closed:
                    continue
                if case.epoch == self.placer.epoch:
                    self._settle(terms, case, scored)
                    settled.append((terms, case))
                else:
                    self._waiting.append(case)
        return settled

    def _settle(self, terms: Terms, case: Case, scored: Scored) -> None:
        if scored.error is not None:
            self.meter.model_errors += 1
        self.placer.settle(case, terms, scored)

    def _ask(self, replica: Replica, group: list[Placed], settled: list[Placed]) -> None:
        """Ask a model for all of its rows: here when it is quick, else in its own thread."""
        limit = self._config.batch_rows
        if replica.seconds > self._config.slow_seconds or replica.busy_since:
            self._behind.setdefault(replica, []).extend(group)
            self._begin(replica)
            return
        for at in range(0, len(group), limit):
            part = group[at : at + limit]
            self.meter.batches.add(len(part))
            for (terms, case), scored in zip(part, replica.score([case.values for _, case in part]), strict=True):
                self._settle(terms, case, scored)
            settled += part

    def _begin(self, replica: Replica) -> None:
        """Start the next batch of a slow model, unless one is running; rows of clients who gave up are left out."""
        if replica.busy_since:
            return
        queue = [placed for placed in self._behind.pop(replica, []) if not placed[1].closed]
        batch, rest = queue[: self._config.batch_rows], queue[self._config.batch_rows :]
        if rest:
            self._behind[replica] = rest
        if batch:
            self.meter.batches.add(len(batch))
            replica.submit(
                [case.values for _, case in batch], partial(self._came_back, replica, batch), self._parts.post
            )

    def _came_back(self, replica: Replica, batch: list[Placed], scores: list[Scored]) -> None:
        self._returned.append((batch, scores))
        self._begin(replica)
        self._parts.wake()

    def _write(self, settled: list[Placed]) -> None:
        """One frame for each contract (there is rarely more than one), then the answers."""
        groups: dict[int, list[Placed]] = {}
        for placed in settled:
            groups.setdefault(id(placed[0].contract), []).append(placed)
        for group in groups.values():
            self._write_group(group[0][0], [case for _, case in group])

    def _write_group(self, terms: Terms, cases: list[Case]) -> None:
        parts = self._parts
        monotonic, time_us = parts.clock.monotonic(), parts.clock.now()
        for case in cases:
            case.latency_us = int((monotonic - case.arrived) * SECOND)
        refuse = partial(self._refuse, cases)
        try:
            if terms.hash8 not in self._contracts_kept:
                parts.keep_contract(terms)
                self._contracts_kept.add(terms.hash8)
            frame = parts.recorder.decisions(terms.contract, terms.hash8, cases, time_us, parts.clock.wall())
        except AndonError as error:
            refuse(error)
            return
        self.meter.log_bytes += frame.end - frame.offset
        parts.memory.wrote(frame, cases, monotonic)
        parts.recorder.when_safe(frame, partial(self._answer, cases, time_us), refuse)
        if parts.sink is not None and self.placer.route.shadows:
            parts.sink.offer(frame)

    def _answer(self, cases: list[Case], time_us: int) -> None:
        for case in cases:
            if not case.closed:
                self.meter.outcome(case.decided_by, case.arm)
                self.meter.latency.add(case.latency_us / SECOND)
                self._close(case, shown_case(case, time_us))

    def _refuse(self, cases: list[Case], error: AndonError) -> None:
        for case in cases:
            self._close(case, error)

    def _close(self, case: Case, outcome: Outcome) -> None:
        self._open.discard(case)
        if case.id and self._busy_ids.get(case.id) is case:
            del self._busy_ids[case.id]
        case.finish(outcome)

    def _write_feedback(self) -> None:
        waiting, self._feedback = self._feedback, []
        rows = [row for part, _ in waiting for row in part]

        def tell(error: AndonError | None) -> None:
            for _, done in waiting:
                done(error)

        try:
            frame = self._parts.recorder.feedback(rows, self._parts.clock.now())
        except AndonError as error:
            tell(error)
            return
        self.meter.feedback += len(rows)
        self._parts.recorder.when_safe(frame, partial(tell, None), tell)

    def _record_losses(self) -> None:
        """Write down what shadows missed; a loss that cannot be written now is written with the next one."""
        sink = self._parts.sink
        if sink is None or sink.dropped <= sink.recorded:
            return
        dropped = sink.dropped
        with suppress(AndonError):
            self._parts.recorder.losses([Loss(SHADOW_LOSS, dropped - sink.recorded)], self._parts.clock.now())
            sink.recorded = dropped


def _wait_for(case: Case, done: Done) -> None:
    if case.waiters is None:
        case.waiters = []
    case.waiters.append(done)


def _too_late(case: Case, now: float) -> DeadlineExceeded:
    return DeadlineExceeded(f"no answer within {now - case.arrived:.1f} seconds; try again")
