"""The live path without a wire: cases in, outcomes out, one turn of the loop at a time.

A turn looks at the route word, takes every case that arrived, gives each its version and level, asks each model once
for all of its rows, writes one frame for what was decided, and only then tells the clients. Slow models answer in a
later turn. The desk starts no thread and opens no socket; what it needs of the world is handed to it in ``Parts``.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain

from andon.core.clock import iso
from andon.core.record import Decision, Feedback, Scalar
from andon.deploy.case import Case, Done, Outcome, Shown, shown_decision
from andon.deploy.crew import process_began
from andon.deploy.idempotency import as_written, same_x
from andon.deploy.meter import Meter
from andon.deploy.parts import Parts, Quick
from andon.deploy.placing import Placer
from andon.deploy.rounds import Rounds, too_late
from andon.deploy.settings import GatewayConfig
from andon.deploy.shed import x_digest
from andon.errors import AndonError, Conflict, ContractError, DeadlineExceeded, NotFound, Overloaded, Unavailable
from andon.store.codec import Loss
from andon.store.routes import Ack
from andon.store.wal import Frame, parse_server_id

__all__ = ["SHADOW_LOSS", "Desk"]

_ACK_SECONDS = 1.0
_LOOKUPS = 4  # old decisions that are found in one turn at most
_LOSS_SECONDS = 1.0
_WRITTEN = Shown("", "decided")  # what becomes of feedback
#: What the log calls rows that shadows never saw.
SHADOW_LOSS = "shadow: the ring was full"


class Desk:
    """One worker's desk; ``index`` is its number. All methods are called on one thread."""

    def __init__(self, config: GatewayConfig, parts: Parts, index: int = 0) -> None:
        self.meter = Meter()
        self.placer = Placer(config, parts.replicas, config.deadline_seconds)
        self._rounds = Rounds(config, parts, self.placer, self.meter, self._close)
        self._index = index
        self._name = parts.recorder.wal.stream
        self.config, self.parts = config, parts
        self.quick: Quick | None = None  # settles what came the quick way
        self.quick_ids: set[str] = set()  # the clients' ids among that
        self._open: set[Case] = set()
        self._busy_ids: dict[str, Case] = {}
        self._feedback: list[tuple[Sequence[Feedback], Case]] = []
        self._telling: set[Case] = set()  # who sent feedback and waits; they take no place from who asks for decisions
        self._walks: deque[tuple[str, Done, float]] = deque()  # what is looked for, for whom, until when
        self._word = -1
        self._blind: dict[int, bool] = {}
        self._next_ack = self._next_loss = 0.0

    @property
    def idle(self) -> bool:
        """Whether nobody waits for an answer."""
        return not (self._open or self._telling or self._walks or self._behind)

    def submit(self, case: Case, *, handed: bool = False) -> None:
        """Take a case; its client is told sooner or later. ``handed``: another worker gave it to us, so keep it."""
        parts = self.parts
        if case.id in self.quick_ids and self.quick is not None:
            self.quick.run()  # its twin came in the same turn: that one first, then this id is known
        case.arrived = parts.clock.monotonic()
        case.deadline = case.arrived + self.config.deadline_seconds
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
        waiting = len(self._open) + self._behind
        if waiting >= self.config.queue:
            case.finish(Overloaded(f"{waiting} requests are waiting already; try again in a second"))
            return
        self._open.add(case)
        if case.id:
            self._busy_ids[case.id] = case
        self._rounds.waiting.append(case)
        parts.wake()

    def busy(self, id: str) -> bool:
        """Whether a case with this id of a client is being decided, or was answered and is in no log."""
        shed = self.parts.shed
        return id in self._busy_ids or (shed is not None and shed.holds(id))

    def find(self, id: str, done: Done, *, handed: bool = False) -> None:
        """Tell what is known of a decision."""
        parts = self.parts
        if id in self.quick_ids and self.quick is not None:
            self.quick.run()
        owner = parts.memory.owner(id)
        if owner != self._index and parts.peers is not None and not handed:
            parts.peers.find(owner, id, done)
            return
        if self._waits_behind(id, partial(self.find, id, done, handed=True)):
            return
        busy = self._busy_ids.get(id)
        if busy is not None:
            _wait_for(busy, done)
            return
        shed = None if parts.shed is None else parts.shed.known(id)
        if shed is not None:
            done(shed[1])
            return
        if (self._walks and parse_server_id(id) is not None) or not self._look_up(id, done):
            self._walk(id, done)

    def feedback(self, rows: Sequence[Feedback], done: Callable[[AndonError | None], None]) -> None:
        """Record feedback; ``done`` gets None when it is written, or the error."""
        case = Case({}, lambda outcome: done(outcome if isinstance(outcome, AndonError) else None))
        self._admit(case, self._telling)
        self._feedback.append((rows, case))
        self.parts.wake()

    def turn(self) -> None:
        """Everything that can be done now."""
        self.follow()
        if self.quick is not None:
            self.quick.run()
        if self._rounds.open:
            self._rounds.run(self.parts.clock.monotonic())
        if self._feedback:
            self._write_feedback()

    def follow(self) -> None:
        """Put the newest route in force, if there is a newer one."""
        word = self.parts.routes.word()
        if word == self._word:
            return
        try:
            route = self.parts.routes.current()
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
        parts = self.parts
        faults = {**parts.replicas.faults, **parts.replicas.ailing(), **self.placer.faults}
        shed_us = 0 if parts.shed is None else parts.shed.since_us
        if shed_us and parts.shed is not None:
            faults["log"] = (
                f"the log cannot be written: {parts.shed.waiting} answers since {iso(shed_us)} are in no log"
            )
        wall = parts.clock.wall()
        pid, epoch = os.getpid(), self.placer.epoch
        ack = Ack(self._name, pid, epoch, parts.replicas.loaded, wall, faults, process_began(pid), shed_us)
        self.meter.loaded = ack.loaded
        self._next_ack = parts.clock.monotonic() + _ACK_SECONDS
        with suppress(AndonError):
            parts.routes.acknowledge(self._name, ack)

    def tick(self) -> None:
        """What goes on without requests; call it every few hundredths of a second."""
        parts = self.parts
        self.follow()
        now = parts.clock.monotonic()
        with suppress(AndonError):
            parts.reviews.poll()
        parts.memory.seen.rotate(now)
        parts.replicas.tick(now)
        for case in [case for case in chain(self._open, self._telling) if now > case.deadline]:
            self._close(case, too_late(case.arrived, now))
        if self.quick is not None:
            self.quick.late(now)
        if now >= self._next_ack:
            self.acknowledge()
        if now >= self._next_loss:
            self._next_loss = now + _LOSS_SECONDS
            self._record_losses()
            self.settle_shed()

    def settle_shed(self) -> None:
        """Say in the log what is missing from it, once it takes frames again; what it cannot take now waits."""
        shed, recorder = self.parts.shed, self.parts.recorder
        if shed is None:
            return
        shed.forget(self.parts.clock.monotonic())
        loss = shed.loss()
        if loss is not None:
            with suppress(AndonError):
                recorder.losses([loss], self.parts.clock.now())
                shed.settled(loss)

    def gauge(self) -> Meter:
        """The counters, with what is measured at this moment."""
        meter, parts = self.meter, self.parts
        meter.queue_rows = len(self._open) + self._behind
        meter.ids_remembered = len(parts.memory.seen)
        meter.log_failures = parts.recorder.failures
        meter.log_backlog = parts.recorder.wal.end - parts.recorder.wal.synced_end
        if parts.shed is not None:
            meter.shed, meter.shedding = parts.shed.rows, parts.shed.waiting
        if parts.sink is not None:
            meter.shadow_offered, meter.shadow_dropped = parts.sink.offered, parts.sink.dropped
        return meter

    @property
    def _behind(self) -> int:
        """How many rows of the quick way wait for a slow model."""
        return 0 if self.quick is None else self.quick.behind

    def _look_up(self, id: str, done: Done) -> bool:
        """Tell of a decision in the log; False where that takes more steps, of which this was one."""
        memory = self.parts.memory
        try:
            if not memory.reach(id):
                return False
            found = memory.recorded(id)
            if found is None:
                raise NotFound(
                    f"no decision has the id {id!r}, or it is older than what the gateway keeps",
                    hint="older decisions are found with `andon journal --decision ID`",
                )
            self._tell(Case({}, done), *found)
        except AndonError as error:
            done(error)
        return True

    def _walk(self, id: str, done: Done) -> None:
        """Look for a row in an old part of the log, one step in each turn of the loop, however many are looked for."""
        if len(self._walks) >= self.config.queue:
            done(Overloaded(f"{len(self._walks)} old decisions are looked for already; try again in a second"))
            return
        self._walks.append((id, done, self.parts.clock.monotonic() + self.config.deadline_seconds))
        if len(self._walks) == 1:
            self.parts.post(self._walk_on)

    def _walk_on(self) -> None:
        now = self.parts.clock.monotonic()
        for _ in range(min(len(self._walks), _LOOKUPS)):
            id, done, deadline = self._walks[0]
            if now > deadline:
                seconds = f"{self.config.deadline_seconds:g} seconds"
                done(DeadlineExceeded(f"the decision was not found within {seconds}; ask again, it goes on from there"))
            elif not self._look_up(id, done):
                self._walks.rotate(-1)
                break
            self._walks.popleft()
        if self._walks:
            self.parts.post(self._walk_on)

    def _waits_behind(self, id: str, again: Callable[[], None]) -> bool:
        return self.quick is not None and self.quick.behind > 0 and self.quick.after(id, again)

    def _repeated(self, case: Case) -> bool:
        """Answer a case whose id was seen before; True when that was done, or will be once the first one is answered."""
        if self._waits_behind(case.id, partial(self.submit, case, handed=True)):
            return True
        busy = self._busy_ids.get(case.id)
        try:
            if busy is not None:
                self._expect_same(case, same_x(case.x, busy.x))
                _wait_for(busy, case.done)
                return True
            if self._was_shed(case):
                return True
            found = self.parts.memory.recorded(case.id)
            if found is None:
                return False
            self._expect_same(case, self._same(case.x, found[0].x))
            self.meter.repeated += 1
            self._tell(case, *found)
        except AndonError as error:
            case.finish(error)
        return True

    def _was_shed(self, case: Case) -> bool:
        """Answer a case whose first answer is in no log, from memory; True when that was done."""
        known = None if self.parts.shed is None else self.parts.shed.known(case.id)
        if known is None:
            return False
        self._expect_same(case, known[0] == x_digest(case.x))
        self.meter.repeated += 1
        case.finish(known[1])
        return True

    def _same(self, given: Mapping[str, Scalar], recorded: Mapping[str, Scalar]) -> bool:
        """Whether an input is the one that was written, as far as what is kept of it can tell."""
        redactor, given = self.parts.recorder.redactor, as_written(given, recorded)
        if not redactor:
            return same_x(given, recorded)
        return same_x(redactor.row(given), redactor.row(recorded, again=True))

    def _tell(self, case: Case, decision: Decision, frame: Frame) -> None:
        """Tell what was recorded, once what was promised holds for it, as for the first who asked."""
        self._admit(case, self._open)
        shown = self._shown(decision)
        self.parts.recorder.when_kept(frame, partial(self._close, case, shown), partial(self._close, case))

    def _admit(self, case: Case, among: set[Case]) -> None:
        """Somebody waits from now on, until the deadline at most."""
        case.arrived = self.parts.clock.monotonic()
        case.deadline = case.arrived + self.config.deadline_seconds
        among.add(case)

    def _expect_same(self, case: Case, same: bool) -> None:
        if not same:
            self.meter.conflicts += 1
            raise Conflict(
                f"the id {case.id!r} was used before with another x; the same id means the same case",
                field="id",
                hint="send a new id for a new case",
            )

    def _shown(self, decision: Decision) -> Outcome:
        review = self.parts.reviews.get(decision.id)
        return shown_decision(decision, review, blind=self._was_blind(decision))

    def _was_blind(self, decision: Decision) -> bool:
        """Whether people were blind under the route that this decision was made under; when in doubt, yes."""
        if decision.level != "partial" or decision.status == "decided":
            return True
        blind = self._blind.get(decision.epoch)
        if blind is None:
            try:
                blind = self.parts.routes.at(decision.epoch).blind
            except AndonError:
                blind = True
            if len(self._blind) > 1000:
                self._blind.clear()
            self._blind[decision.epoch] = blind
        return blind

    def _close(self, case: Case, outcome: Outcome) -> None:
        self._open.discard(case)
        self._telling.discard(case)
        if case.id and self._busy_ids.get(case.id) is case:
            del self._busy_ids[case.id]
        case.finish(outcome)

    def _write_feedback(self) -> None:
        waiting, self._feedback = self._feedback, []
        rows = [row for part, _ in waiting for row in part]

        def tell(error: AndonError | None) -> None:
            for _, case in waiting:
                self._close(case, _WRITTEN if error is None else error)

        try:
            frame = self.parts.recorder.feedback(rows, self.parts.clock.now())
        except AndonError as error:
            tell(error)
            return
        self.meter.feedback += len(rows)
        self.parts.recorder.when_safe(frame, partial(tell, None), tell)

    def _record_losses(self) -> None:
        """Write down what shadows missed; a loss that cannot be written now is written with the next one."""
        sink = self.parts.sink
        if sink is None or sink.dropped <= sink.recorded:
            return
        dropped = sink.dropped
        with suppress(AndonError):
            self.parts.recorder.losses([Loss(SHADOW_LOSS, dropped - sink.recorded)], self.parts.clock.now())
            sink.recorded = dropped


def _wait_for(case: Case, done: Done) -> None:
    if case.waiters is None:
        case.waiters = []
    case.waiters.append(done)
