"""One round of the desk: place every case that waits, ask each model once, write one frame, then answer.

A quick model is asked here. A slow one works in its own thread while the next batch forms behind it; what it answers is
settled in a later round, under the route that is in force then.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from andon.core.clock import SECOND
from andon.deploy.batcher import Scored
from andon.deploy.case import Case, Outcome, shown_case
from andon.deploy.meter import Meter
from andon.deploy.parts import Parts
from andon.deploy.placing import Placer, Terms
from andon.deploy.replica import Replica
from andon.deploy.settings import GatewayConfig
from andon.deploy.shed import Shed
from andon.errors import AndonError, DeadlineExceeded

__all__ = ["Rounds", "too_late"]

Placed = tuple[Terms, Case]


class Rounds:
    """The rounds of one desk. ``waiting`` are cases for the next one; ``close`` tells a client and lets the case go."""

    def __init__(
        self, config: GatewayConfig, parts: Parts, placer: Placer, meter: Meter, close: Callable[[Case, Outcome], None]
    ) -> None:
        self.waiting: list[Case] = []
        self._config = config
        self._parts = parts
        self._placer = placer
        self._meter = meter
        self._close = close
        self._name = parts.recorder.wal.stream
        self._nonce = 0
        self._behind: dict[Replica, list[Placed]] = {}
        self._returned: list[tuple[list[Placed], list[Scored]]] = []
        self._contracts_kept: set[bytes] = set()

    @property
    def open(self) -> bool:
        """Whether a round has anything to do."""
        return bool(self.waiting or self._returned)

    def run(self, now: float) -> None:
        """One round; ``now`` is the monotonic clock's."""
        settled = self._take_returned()
        groups: dict[Replica, list[Placed]] = {}
        waiting, self.waiting = self.waiting, []
        for case in waiting:
            if case.closed:
                continue
            placed = self._place(case, now)
            if placed is None:
                continue
            terms, replica = placed
            if replica is None:
                self._placer.settle(case, terms, None)
                settled.append((terms, case))
            else:
                groups.setdefault(replica, []).append((terms, case))
        for replica, group in groups.items():
            self._ask(replica, group, settled)
        if settled:
            self._write(settled)

    def _place(self, case: Case, now: float) -> tuple[Terms, Replica | None] | None:
        if now > case.deadline:
            self._close(case, too_late(case.arrived, now))
            return None
        self._nonce += 1
        try:
            return self._placer.place(case, f"{self._name}:{self._nonce}", now)
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
                if case.epoch == self._placer.epoch:
                    self._settle(terms, case, scored)
                    settled.append((terms, case))
                else:
                    self.waiting.append(case)
        return settled

    def _settle(self, terms: Terms, case: Case, scored: Scored) -> None:
        if scored.error is not None:
            self._meter.model_errors += 1
        self._placer.settle(case, terms, scored)

    def _ask(self, replica: Replica, group: list[Placed], settled: list[Placed]) -> None:
        """Ask a model for all of its rows: here when it is quick, else in its own thread."""
        limit = self._config.batch_rows
        if replica.busy_since or replica.slow(self._config.slow_seconds):
            self._behind.setdefault(replica, []).extend(group)
            self._begin(replica)
            return
        for at in range(0, len(group), limit):
            part = group[at : at + limit]
            self._meter.batches.add(len(part))
            for (terms, case), scored in zip(part, replica.score([case.values for _, case in part]), strict=True):
                self._settle(terms, case, scored)
            settled += part

    def _begin(self, replica: Replica) -> None:
        """Start the next batch of a slow model, unless one is running; rows of clients who gave up are left out."""
        if replica.busy_since:
            replica.when_free(self, partial(self._begin, replica))
            return
        queue = [placed for placed in self._behind.pop(replica, []) if not placed[1].closed]
        if replica.closed:  # let go while they stood behind it: they are placed anew
            self.waiting += [case for _, case in queue]
            return
        batch, rest = queue[: self._config.batch_rows], queue[self._config.batch_rows :]
        if rest:
            self._behind[replica] = rest
        if batch:
            self._meter.batches.add(len(batch))
            rows = [case.values for _, case in batch]
            replica.submit(lambda: replica.score(rows), partial(self._came_back, batch), self._parts.post)
            if rest:
                self._begin(replica)

    def _came_back(self, batch: list[Placed], scores: list[Scored]) -> None:
        self._returned.append((batch, scores))
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
            refuse(error) if parts.shed is None else self._shed(parts.shed, cases, error, time_us)
            return
        self._meter.log_bytes += frame.end - frame.offset
        parts.memory.wrote(frame, cases, monotonic)
        parts.recorder.when_safe(frame, partial(self._answer, cases, time_us), refuse)
        if parts.sink is not None and self._placer.route.shadows:
            parts.sink.offer(frame)

    def _answer(self, cases: list[Case], time_us: int) -> None:
        for case in cases:
            self._meter.outcome(case.decided_by, case.arm)  # it is in the log, also where its client gave up
            if not case.closed:
                self._meter.latency.add(case.latency_us / SECOND)
                self._close(case, shown_case(case, time_us))

    def _shed(self, shed: Shed, cases: list[Case], error: AndonError, time_us: int) -> None:
        """The log cannot take them: what is decided is answered and counted, what people would decide is refused."""
        self._refuse([case for case in cases if case.status != "decided"], error)
        decided = [case for case in cases if case.status == "decided" and not case.closed]
        told = shed.take(decided, time_us, self._parts.clock.monotonic())
        for case, shown in zip(decided, told, strict=True):
            self._meter.outcome(case.decided_by, case.arm)
            self._meter.latency.add(case.latency_us / SECOND)
            self._close(case, shown)

    def _refuse(self, cases: list[Case], error: AndonError) -> None:
        for case in cases:
            self._close(case, error)


def too_late(arrived: float, now: float) -> DeadlineExceeded:
    """The error of a case whose deadline has passed.

    >>> too_late(1.0, 11.0).message
    'no answer within 10.0 seconds; try again'
    """
    return DeadlineExceeded(f"no answer within {now - arrived:.1f} seconds; try again")
