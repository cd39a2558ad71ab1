"""The controller: the one process that turns the log into items, metrics, alarms and their consequences.

Any number of controllers may run; one leads, by a lease with a term, the others stand by. Everything it does is begun
again by the next leader where it was left. With the database locked or gone it waits, says so once, and goes on: the
live path does not need it, and the write-ahead log keeps everything meanwhile. Only harm is not waited with: a rollout
that shows it goes back all the same. When it last did its round, and what is in its way, it leaves in a file
(``andon.monitor.report``).
"""

from __future__ import annotations

import logging
import os
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from andon.core.clock import SECOND
from andon.errors import AndonError, Conflict, Corrupt, NotFound, Unavailable
from andon.monitor.duty import Duties
from andon.monitor.holder import holder_name, is_dead
from andon.monitor.ingest import Pace, Tick
from andon.monitor.notify import Notifier, understood
from andon.monitor.report import Report, leave, led_since

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.store.workspace import Workspace

__all__ = ["LEASE", "Controller", "run_controller"]

LEASE = "controller"
"""The name of the leader's lease."""

TTL = 15.0
"""Seconds for which the lease is held without a sign of life."""

_TICK = 0.2
_LEAVE = 1.0  # seconds between two reports
_log = logging.getLogger("andon.controller")


class Controller:
    """Leads when nobody else does. ``say`` receives sentences for people: what changed, what is in the way.

    ``pace`` is in seconds of wall time. ``holder`` is the name that holds the lease, this process's if not given.
    """

    def __init__(
        self,
        workspace: Workspace,
        charter: Charter,
        *,
        pace: Pace | None = None,
        notifier: Notifier | None = None,
        say: Callable[[str], None] = _log.info,
        holder: str | None = None,
    ) -> None:
        self._workspace = workspace
        self._charter = charter
        self._pace = pace or Pace()
        self._say = say
        self._notifier = notifier or self._notify()
        self._holder = holder or holder_name()
        self._term: int | None = None
        self._renewed = 0.0
        self._duties: Duties | None = None
        self._said: str | None = None
        self._faults: frozenset[str] = frozenset()
        self._left = Report("", 0)

    def _notify(self) -> Notifier:
        """To whoever can be told: an address with a fault must not keep everything else from being done."""
        stays = self._charter.checklist.privacy.stays
        targets, said = understood(self._charter.alarms.notify, stays)
        for sentence in said:
            self._say(sentence)
        return Notifier(targets, stays=stays)

    @property
    def leading(self) -> bool:
        """Whether this controller leads now."""
        return self._duties is not None

    def run(self, stop: Callable[[], bool], sleep: Callable[[float], None] = time.sleep) -> None:
        """Lead or stand by until ``stop()``; then pass on what is there and give the lease back."""
        failures = 0
        while not stop():
            try:
                busy = self.turn()
                failures = 0
            except (Unavailable, Corrupt, NotFound) as error:
                self._trouble(error)
                self._without_database(error)
                failures += 1
                busy = False
            sleep(0.0 if busy else min(_TICK * 2 ** min(failures, 4), 2.0))
        self._end()

    def turn(self) -> bool:
        """One round; True when there is more to do at once. Raises ``Unavailable`` when the database is gone."""
        if not self._lead():
            return False
        duties = self._duties or self._begin()
        try:
            tick, said = duties.turn()
        except Conflict as error:
            self._stand_by(error.message)
            return False
        for sentence in said:
            self._say(sentence)
        self._report(tick)
        self._recovered()
        self._leave_report(acted=True)
        return tick.more

    def _lead(self) -> bool:
        """Take or renew the lease; False when somebody else has it."""
        now, leases = time.monotonic(), self._workspace.leases
        if self._term is not None and now - self._renewed < TTL / 5:
            return True
        if self._term is not None and not leases.renew(LEASE, self._holder, self._term):
            self._stand_by("the lease ran out")
        if self._term is None:
            self._acquire()
        self._renewed = now
        return self._term is not None

    def _acquire(self) -> None:
        """Take the lease if it is free, or held by a process of this machine that no longer runs: that is not waited for."""
        leases = self._workspace.leases
        holder = leases.holder(LEASE)
        if holder is not None and holder != self._holder:
            if not is_dead(holder):
                self._tell_once(f"another controller leads ({holder}); this one stands by")
                return
            leases.release(LEASE, holder)
        self._term = leases.acquire(LEASE, self._holder, TTL)
        if self._term is not None:
            self._say(f"this controller leads (term {self._term})")
            self._said = None

    def _begin(self) -> Duties:
        self._workspace.routes.reconcile()
        self._duties = Duties(self._workspace, self._charter, self._pace, self._notifier, self._term or 0)
        self._leave_report()
        return self._duties

    def _stand_by(self, why: str) -> None:
        self._say(f"this controller no longer leads: {why}")
        self._leave()

    def _leave_report(self, *, acted: bool = False, waiting: str = "") -> None:
        """Say when the last round was and what is in the way; at most once a second where nothing is new."""
        if self._duties is None or self._term is None:
            return
        last, wall, troubles = self._left, self._workspace.clock.wall(), self._duties.troubles.now
        mine = (last.holder, last.term) == (self._holder, self._term)
        first = acted and not last.acted_us
        same = mine and not first and last.waiting == waiting and last.troubles == troubles
        if same and 0 <= wall - last.seen_us < _LEAVE * SECOND:
            return
        acted_us = wall if acted else last.acted_us if mine else 0
        since = 0 if not waiting else last.waiting_us if mine and last.waiting else wall
        self._left = Report(self._holder, self._term, acted_us, wall, waiting, since, troubles)
        with suppress(Unavailable):  # a full disk: it is said as the database's own trouble, or by the log's
            leave(self._workspace.run_dir, self._left)

    def _leave(self) -> None:
        if self._duties is not None:
            self._duties.close()
        self._term = self._duties = None

    def _report(self, tick: Tick) -> None:
        for gap in tick.gaps:
            rows = "an unknown number of" if gap.rows is None else str(gap.rows)
            self._say(
                f"stream {gap.stream}: bytes {gap.offset} to {gap.end} cannot be read; {rows} rows are lost, counted"
            )
        faults = frozenset(tick.faults)
        for fault in sorted(faults - self._faults):
            self._say(fault)
        self._faults = faults

    def _trouble(self, error: AndonError) -> None:
        self._tell_once(f"waiting: {error.message}")

    def _without_database(self, error: AndonError) -> None:
        """What a leader does even so. Others need not be told: whoever was quicker has published who answers."""
        if not isinstance(error, Unavailable) or self._duties is None:
            return
        if led_since(self._workspace.run_dir, self._term or 0):
            return  # another one led since: what it did is not known here
        self._leave_report(waiting=error.message)
        for sentence in self._duties.without_database():
            self._say(sentence)

    def _tell_once(self, sentence: str) -> None:
        if sentence != self._said:
            self._say(sentence)
            self._said = sentence

    def _recovered(self) -> None:
        if self._said is not None:
            self._say("going on")
            self._said = None

    def _end(self) -> None:
        try:
            if self._duties is not None and self._term is not None:
                self._duties.finish()
            if self._term is not None:
                self._workspace.leases.release(LEASE, self._holder, self._term)
        except AndonError as error:
            self._say(f"ended without a last round: {error.message}")
        self._leave()


def run_controller(workspace: Workspace, charter: Charter, *, ship_seconds: float = 5.0, parent_fd: int = -1) -> None:
    """The controller's process: runs until SIGTERM, SIGINT, or the end of the process that started it.

    ``parent_fd`` is a pipe that reaches its end when the parent is gone (-1: none). What happens is said on stderr.
    """
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    ending: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda received, _frame: ending.append(received))

    def sleep(seconds: float) -> None:
        if parent_fd < 0:
            time.sleep(seconds)
        elif select.select([parent_fd], [], [], seconds)[0] and not os.read(parent_fd, 1):
            ending.append(0)

    try:
        Controller(workspace, charter, pace=Pace(ship=ship_seconds, measure=min(2.0, ship_seconds))).run(
            lambda: bool(ending), sleep
        )
    finally:
        workspace.close()
