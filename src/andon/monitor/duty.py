"""A leader's duties: read, measure, let deadlines pass, judge, tidy up; one round of all of them is a ``turn``.

The order matters in one place: what labels bring is measured before alarms look at labelled windows. A duty that cannot
be done does not keep the others from being done (``andon.monitor.trouble``); without the database none is.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import msgspec

from andon.deploy.line import open_inbox, reconcile
from andon.errors import AndonError, Conflict, Unavailable
from andon.measure.metric import parse_metric
from andon.monitor.climb import Climb
from andon.monitor.events import emitter_of
from andon.monitor.hands import Hands
from andon.monitor.ingest import Ingest, Pace, Tick
from andon.monitor.keeping import Keeper
from andon.monitor.notify import Notifier
from andon.monitor.remeasure import Remeasure
from andon.monitor.shedding import note_begun
from andon.monitor.steer import Steer
from andon.monitor.trouble import Troubles
from andon.monitor.watch import AlarmWatch
from andon.monitor.window import Measured, WindowRow

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.store.workspace import Workspace

__all__ = ["Duties", "forget_changed"]

_DEADLINES_EVERY = 0.5
_KEEP_EVERY = 600.0
_KEEP_SOON = 10.0
_SHED_EVERY = 1.0
_LAST_SECONDS = 1.0
#: Between two looks at rollouts and degrees of automation, and at all their labelled cases, where the log is written
#: every so many seconds; sooner where that is written sooner, as on a fast clock.
_LOOK, _SLOW, _SHIP = 3.0, 60.0, 5.0
#: Duties that measure: who meets another controller there no longer leads.
_FENCED = frozenset({"log", "labels"})

T = TypeVar("T")


class Duties:
    """What a leader does, made anew when it begins to lead."""

    def __init__(self, workspace: Workspace, charter: Charter, pace: Pace, notifier: Notifier, term: int = 0) -> None:
        plan = Measured.of(charter)
        self._workspace = workspace
        self._plan = plan
        self.troubles = Troubles(workspace, charter.project, notifier)
        self._keeper = Keeper(workspace, charter.checklist.logging.retain_days)
        self._inbox = open_inbox(workspace, charter)
        self.ingest = Ingest(workspace, charter, plan=plan, pace=pace, wall=self._keeper.believed.wall_us)
        self._remeasure = Remeasure(workspace, plan, self.ingest.taps, seconds=pace.measure)
        self._watch = AlarmWatch(workspace, charter, plan)
        self._hands = Hands(workspace, charter, notifier)
        part = min(1.0, (pace.ship or _SHIP) / _SHIP)
        self._steer = Steer(workspace, charter, seconds=_LOOK * part, notifier=notifier, term=term)
        self._climb = Climb(workspace, charter, notifier, seconds=_LOOK * part, slow=_SLOW * part)
        self._events, refused = emitter_of(workspace, charter)
        self._unsent = "; ".join(refused)
        self._labelled_us: int | None = None
        self._looked: tuple[int, int, int] | None = None
        self._epoch = -1
        self._shipped = True
        self._next = dict.fromkeys(("deadlines", "shed", "keep"), 0.0)
        # Soon: a line that is started anew every few minutes keeps to it, too.
        self._next["keep"] = time.monotonic() + _KEEP_SOON
        forget_changed(workspace, charter)

    def turn(self) -> tuple[Tick, list[str]]:
        """One round of everything; what was read, and sentences about what was done.

        Raises ``Unavailable`` where the database is gone, ``Conflict`` where another controller measures.
        """
        said: list[str] = []
        tick = self._do("log", self.ingest.tick, Tick(), said)
        for fault in tick.faults:
            self.troubles.note("log", fault)
        self._shipped |= bool(tick.shipped)
        self._do("routes", self._routes, None, said)
        if self._do("labels", self._measure, False, said) and not self._remeasure.waiting:
            self._labelled_us = self.ingest.closed_us
        if self._is_time("deadlines", _DEADLINES_EVERY):
            self._do("review", self._deadlines, None, said)
        said += self._do("alarms", self._alarms, [], said)
        said += self._do("rollouts", self._steer.turn, [], said)
        said += self._do("automation", self._climb.turn, [], said)
        if self._events is not None:
            said += self._do("events", self._events.turn, [], said)
        if self._is_time("shed", _SHED_EVERY):
            said += self._do("shed", lambda: note_begun(self._workspace), [], said)
        if not self.troubles.waits("retention") and self._is_time("keep", _KEEP_EVERY):
            self._next["keep"] = 0.0  # again at once, as far as its trouble lets it, where it cannot be done now
            if self._do("retention", self._keep, False, said) and not self._next["keep"]:
                self._next["keep"] = time.monotonic() + _KEEP_EVERY
        return tick, [*said, *self._standing(), *self.troubles.turn()]

    def without_database(self) -> list[str]:
        """What is not put off until the database is back: harm takes a rollout back, a broken promise a level.

        Returns sentences about what was done.
        """
        said = [*self._steer.without_database(), *self._climb.without_database()]
        self._hands.send()
        return [*said, *self._standing()]

    def _do(self, duty: str, call: Callable[[], T], nothing: T, said: list[str]) -> T:
        """A duty, unless it failed a moment ago; what fails is said where it is new, and comes to ``nothing``."""
        if self.troubles.waits(duty):
            return nothing
        try:
            return call()
        except (AndonError, OSError) as error:
            if isinstance(error, Conflict) and duty in _FENCED:
                raise
            if isinstance(error, Unavailable):
                with self._workspace.db.write():
                    pass  # it raises where it is the database that is gone: then nothing else can be done either
            why = error.message if isinstance(error, AndonError) else str(error)
            said += self.troubles.note(duty, why, again=True)
            return nothing

    def _standing(self) -> list[str]:
        """What duties say is in their way, although they were done."""
        said = []
        for name, why in self._steer.faults.items():
            said += self.troubles.note("rollouts", f"{name} {why}")
        if self._climb.fault:
            said += self.troubles.note("automation", self._climb.fault, silent=True)
        if fault := self._unsent if self._events is None else self._events.fault:
            said += self.troubles.note("events", fault)
        return said

    def finish(self) -> None:
        """Measure and ship everything that is there."""
        self.ingest.finish()
        self._remeasure.note()
        self._remeasure.run(now=True)
        self.ingest.finish()
        if self._events is not None:
            self._events.turn(_LAST_SECONDS)
            self._events.store()

    def close(self) -> None:
        """Let go of what is open."""
        if self._events is not None:
            self._events.close()

    def _measure(self) -> bool:
        self._remeasure.note()
        self._remeasure.run()
        return True

    def _deadlines(self) -> None:
        self._inbox.settle()
        self._inbox.expire()
        self._inbox.flush_outbox()

    def _routes(self) -> None:
        epoch = self._workspace.routes.word()
        if epoch != self._epoch:
            reconcile(self._workspace)
            self._epoch = epoch

    def _alarms(self) -> list[str]:
        """Judge what has closed, when a window has closed or one was measured again; do what is owed."""
        self._hands.tell()
        if self.ingest.closed_us is None or self._labelled_us is None:
            return []
        closed, length = min(self.ingest.closed_us, self._labelled_us), self._plan.window.length_us
        state = (closed // length, (closed - self._plan.delay_us) // length, self._remeasure.rounds)
        if state == self._looked:
            return []
        said = self._hands.do(self._watch.look(closed), self._watch.settle)
        self._looked = state
        return said

    def _keep(self) -> bool:
        """Retention, whatever was shipped; compaction only where something was."""
        if self._keeper.turn():
            self._next["keep"] = time.monotonic() + _KEEP_SOON
        if self._shipped:
            self._workspace.log.compact(orphans=True)
            self._shipped = False
        return True

    def _is_time(self, what: str, seconds: float) -> bool:
        now = time.monotonic()
        if now < self._next[what]:
            return False
        self._next[what] = now + seconds
        return True


class _Meaning(msgspec.Struct, frozen=True):
    """What a metric's stored windows were measured with."""

    of: str
    where: str | None = None


def forget_changed(workspace: Workspace, charter: Charter) -> list[str]:
    """Empty the windows of metrics whose meaning the charter has changed; returns their names.

    Old and new summaries under one name must not be added up.
    """
    stored = workspace.states.list("metric", _Meaning)
    changed = []
    for name, spec in charter.metrics.items():
        meaning = _Meaning(spec.of, spec.where)
        if stored.get(name) == meaning:
            continue
        empty = parse_metric(spec.of, charter.target.classes).kind()
        rows = workspace.windows.read(name)
        if rows:
            kept = [WindowRow(name, row.cohort, row.start_us, row.length_us, empty) for row in rows]
            workspace.windows.replace(kept)
            changed.append(name)
        workspace.states.put("metric", name, meaning)
    return changed
