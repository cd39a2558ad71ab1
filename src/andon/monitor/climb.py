"""The degrees of automation as a duty of the controller: what the audit breaks is taken back, what evidence earns is offered.

Each look reads what is known of every slice (``andon.deploy.ladder_evidence``) and decides purely
(``andon.deploy.ladder``). A breach demotes at once, whatever the charter says of promotions. A move is written down as
pending with all it was decided from, then done to the line by the function that the command line calls, then told in
the journal and to the addresses of ``alarms.notify``, then forgotten. Whoever is killed in between leaves the pending
one, and the next leader takes it up: what the line has done already is seen by the line itself. Where a person was
quicker, it is dropped.

Looking for a threshold spends some of the promise, so that is done seldom: when so many labels came that the answer may
differ, and written in the journal (``automation.learn``) before it is used.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import polars as pl

from andon.core.record import Route
from andon.deploy.ladder import Facts, Rung
from andon.deploy.ladder_evidence import KEPT, Ladder, Rungs, kept, looks_of
from andon.deploy.ladder_stretch import ACTOR, level_of, version_of
from andon.deploy.learning import Learnt, look_at
from andon.deploy.line import Line
from andon.errors import AndonError, Conflict, Corrupt
from andon.monitor.notify import Notice, Notifier

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.store.workspace import Workspace

__all__ = ["MOVE", "Climb", "Move"]

MOVE = "ladder-move"
"""The kind under which a move that is being made is kept, by slice."""

_LOOK = 3.0  # seconds of wall time between two looks
_SLOW = 60.0  # between two looks at all labelled cases
_REST = {
    False: 9.0,
    True: 19.0,
}  # after a look that took t seconds, rest for so many times t: a tenth, a twentieth of a core
_AGAIN = 30.0  # seconds after a look or an act that failed
_LONGEST = 3600.0  # a promotion that fails is tried again twice as late each time, up to this
_UNDONE = 0.2  # of the answers drawn into the audit: when so many were judged by nobody in time, that is told
_NEVER = (0.0, 0, "")
_REFRESH_US = 60_000_000  # what is shown is at most so old (event time), where nothing changes


class Move(msgspec.Struct, frozen=True):
    """A change of level that was decided and is being made, from the route ``epoch`` on, with all it was decided from."""

    rung: Rung
    facts: Facts
    epoch: int
    now_us: int


class Climb:
    """Looks at every slice's degree of automation. Made anew by each leader; it keeps nothing that matters.

    ``seconds`` of wall time pass at least between two looks, ``slow`` between two that read all labelled cases; more
    where a look takes long. 0 looks at every turn.
    """

    def __init__(
        self,
        workspace: Workspace,
        charter: Charter,
        notifier: Notifier,
        *,
        line: Callable[[Callable[[Route], None]], Line] | None = None,
        seconds: float = _LOOK,
        slow: float = _SLOW,
    ) -> None:
        self._workspace = workspace
        self._charter = charter
        self._notifier = notifier
        self._ladder = Ladder(workspace, charter)
        self._line = line or (lambda only: Line(workspace, charter, patience=2.0, only=only))
        self._seconds, self._slow = seconds, slow
        self._due = self._slow_due = 0.0
        self._stored: Rungs | None = None
        self._untold: list[Move] = []
        self._fault = ""
        self._undone: set[str] | None = None
        # By slice: when an act that failed is tried again, how often it was, and which.
        self._later: dict[str, tuple[float, int, str]] = {}

    def turn(self) -> list[str]:
        """Look if it is time; sentences about what was done. Raises ``Unavailable``: what is pending stays so."""
        began = time.monotonic()
        if began < self._due:
            return []
        self._due = began + self._seconds
        said: list[str] = []
        moves = self._workspace.states.list(MOVE, Move)
        while self._untold:
            self._told(self._untold[0])
            del self._untold[0]
        for slice, move in moves.items():
            if move.rung.kind == "promote" and not self._is_done(slice, move):
                # Stop, rollout, charter and evidence may have changed since: the next look decides it anew.
                self._workspace.states.delete(MOVE, slice)
            else:
                said += self._finish(slice, move)
        try:
            said += self._look()
            self._fault = ""
        except Corrupt as error:
            said.append(f"the degrees of automation cannot be judged: {error.message}")
            self._cannot(error.message)
            self._due = time.monotonic() + _AGAIN
        if self._seconds:
            self._due = max(self._due, time.monotonic() + _REST[False] * (time.monotonic() - began))
        return said

    @property
    def fault(self) -> str:
        """Why the levels cannot be judged now; empty while they are."""
        return self._fault

    def _missed(self, rung: Rung, now: int) -> None:
        """Where a good part of the audits is not done in time nobody would see a broken promise: whom alarms tell is told, once."""
        assert self._undone is not None
        if not _is_undone(rung):
            self._undone.discard(rung.slice)
        elif rung.slice not in self._undone:
            self._undone.add(rung.slice)
            project, of = self._charter.project, _named(rung.slice)
            title = f"{project}: nobody judges the answers of {of} that were drawn into the audit"
            self._notifier.add(Notice(title, rung.reason, f"automation/{rung.slice}", now, "undone", project))

    def _cannot(self, why: str) -> None:
        """While nothing can be judged no broken promise is seen: told in the journal and to whom alarms tell, once."""
        if why == self._fault:
            return
        self._fault, now = why, self._workspace.clock.now()
        self._workspace.journal.append("automation.failed", "*", ACTOR, f"the levels cannot be judged: {why}", {})
        title = f"{self._charter.project}: the degrees of automation cannot be judged"
        self._notifier.add(Notice(title, why, "automation", now, "failed", self._charter.project))

    def without_database(self) -> list[str]:
        """With the database gone a broken promise is taken back all the same; nothing rises, and it is told later.

        Who answers, and the log, are files. A threshold is not looked for then, so people decide.
        """
        began = time.monotonic()
        if began < self._due:
            return []
        self._due = began + self._seconds
        said = []
        try:
            found = self._ladder.broken()
            for rung in found.rungs:
                self._do(rung.slice, rung)
                self._untold.append(Move(rung, self._ladder.facts[rung.slice], found.epoch, found.as_of_us))
                said.append(f"with the database gone, {_moved(rung)}")
        except Conflict:  # a person was quicker
            self._due = began
        except AndonError as error:
            said.append(f"the degrees of automation cannot be judged: {error.message}")
            self._due = time.monotonic() + _AGAIN
        if self._seconds:
            self._due = max(self._due, time.monotonic() + _REST[False] * (time.monotonic() - began))
        return said

    def _look(self) -> list[str]:
        route = self._workspace.routes.current()
        if route is None:
            return []
        began = time.monotonic()
        anew = began >= self._slow_due or self._ladder.is_stale(route)
        found = self._ladder.look(self._consider, anew=anew)
        if anew:
            took = time.monotonic() - began
            self._slow_due = began + took + max(self._slow, _REST[True] * took) if self._slow else 0.0
        if self._undone is None:  # a leader before this one has told of these
            before = kept(self._workspace)
            self._undone = {rung.slice for rung in (() if before is None else before.rungs) if _is_undone(rung)}
        self._keep(found)
        said = []
        for rung in found.rungs:
            self._missed(rung, found.as_of_us)
            again, _, failed = self._later.get(rung.slice, _NEVER)
            if again > began and (rung.kind, failed) != ("demote", "promote"):
                continue  # what takes something back waits for nothing but itself
            if rung.kind == "demote" or (rung.kind == "promote" and rung.automatic):
                move = Move(rung, self._ladder.facts[rung.slice], found.epoch, found.as_of_us)
                self._workspace.states.put(MOVE, rung.slice, move)
                said += self._finish(rung.slice, move)
        return said

    def _keep(self, found: Rungs) -> None:
        """For whoever shows them; when something changed, else now and then so that it stays young."""
        last = self._stored
        old = last is None or found.as_of_us - last.as_of_us >= _REFRESH_US
        if old or last is None or (last.rungs, last.epoch) != (found.rungs, found.epoch):
            self._workspace.states.put(KEPT, "all", found)
            self._stored = found

    # ----------------------------------------------------------------------------------------------------- thresholds

    def _consider(self, version: str, slice: str, rows: pl.DataFrame, source: str) -> None:
        """Look for a threshold where that is due, and write the look down."""
        if len(rows) < self._ladder.due(version, slice, source):
            return
        events = looks_of(self._workspace, version, slice)
        made = [msgspec.convert(event.evidence, Learnt).made for event in events]
        learnt = look_at(self._charter, rows, (version, slice, source), made)
        self._write_down(learnt)

    def _write_down(self, learnt: Learnt) -> None:
        evidence, subject = msgspec.to_builtins(learnt), f"{learnt.version}/{learnt.slice}"
        self._workspace.journal.append("automation.learn", subject, ACTOR, str(learnt), evidence)

    def _fell_back(self, slice: str, move: Move) -> None:
        """The threshold that a breach left is a look, too: written down before it is used, once."""
        found, rung = move.facts.fallback, move.rung
        if rung.kind != "demote" or found is None or rung.version is None:
            return
        source = f"audited answers until {move.now_us} under route {move.epoch}"
        made = [msgspec.convert(e.evidence, Learnt) for e in looks_of(self._workspace, rung.version, slice)]
        if all(one.source != source for one in made):
            look = len({one.made for one in made}) + 1
            confidence = self._charter.automation.partial.confidence
            self._write_down(Learnt(rung.version, slice, source, found, look, confidence))

    # ---------------------------------------------------------------------------------------------------------- moves

    def _finish(self, slice: str, move: Move) -> list[str]:
        """Do what a move asks for, tell it, and be done with it; a failure is told and tried again with a later look."""
        rung = move.rung
        try:
            if not self._is_done(slice, move):
                self._fell_back(slice, move)
                self._do(slice, rung)
        except Conflict:  # a person was quicker: the next look sees what they did
            self._workspace.states.delete(MOVE, slice)
            return []
        except AndonError as error:
            # With the database gone this raises as well, and the move stays pending.
            self._tell("automation.failed", slice, move, f"{rung.kind} to {rung.to}: {error.message}")
            self._workspace.states.delete(MOVE, slice)
            tries = self._later.get(slice, _NEVER)[1]
            rest = _AGAIN if rung.kind == "demote" else min(_LONGEST, _AGAIN * 2.0**tries)
            self._later[slice] = time.monotonic() + rest, tries + 1, rung.kind
            return [f"automation of {_named(slice)} could not be set to {rung.to}: {error.message}"]
        self._told(move)
        self._workspace.states.delete(MOVE, slice)
        self._later.pop(slice, None)
        return [_moved(rung)]

    def _told(self, move: Move) -> None:
        """What was done, in the journal and to whom alarms tell."""
        rung, project = move.rung, self._charter.project
        self._tell(f"automation.{rung.kind}", rung.slice, move, rung.reason)
        title = f"{project}: {_named(rung.slice)} goes {'down' if rung.kind == 'demote' else 'up'} to {rung.to}"
        notice = Notice(title, rung.reason, f"automation/{rung.slice}", move.now_us, rung.kind, project)
        self._notifier.add(notice)

    def _do(self, slice: str, rung: Rung) -> None:
        assert rung.to is not None
        found = {f"{rung.version}/{slice}": rung.threshold} if rung.to == "partial" else {}
        thresholds = {key: value for key, value in found.items() if value is not None}
        line = self._line(lambda route: _refuse_changed(route, slice, rung))
        line.automate(rung.to, slice, actor=ACTOR, reason=rung.reason, thresholds=thresholds)

    def _is_done(self, slice: str, move: Move) -> bool:
        """Whether a route that does it was published already."""
        return any(
            route.epoch > move.epoch
            and (route.actor, route.action, route.reason) == (ACTOR, "automate", move.rung.reason)
            and level_of(route, slice) == move.rung.to
            for route in self._ladder.routes()
        )

    def _moved_since(self, subject: str, sequence: int) -> bool:
        journal = self._workspace.journal
        done = [journal.latest(1, action=f"automation.{kind}", subject=subject) for kind in ("demote", "promote")]
        return any(events[0].sequence > sequence for events in done if events)

    def _tell(self, action: str, slice: str, move: Move, reason: str) -> None:
        """One event for each move, however often it is made."""
        journal, rung = self._workspace.journal, move.rung
        subject = f"{rung.version}/{slice}"
        for event in journal.latest(3, action=action, subject=subject):
            if (
                action == "automation.failed"
                and event.reason == reason
                and not self._moved_since(subject, event.sequence)
            ):
                return  # each try may leave routes behind (a version that is loaded, and dropped again): it is the same trouble
            if (event.evidence.get("epoch"), event.evidence.get("at_us")) == (move.epoch, move.now_us):
                return
        evidence = {
            "slice": slice,
            "version": rung.version,
            "from": rung.level,
            "to": rung.to,
            "epoch": move.epoch,
            "at_us": move.now_us,
            "rules": msgspec.to_builtins(self._ladder.rules),
            "facts": msgspec.to_builtins(move.facts),
            "rung": msgspec.to_builtins(rung),
        }
        journal.append(action, subject, ACTOR, reason, evidence)


def _is_undone(rung: Rung) -> bool:
    """Whether so many audits are not done in time that nobody would see a broken promise."""
    return rung.overdue >= max(1.0, _UNDONE * rung.drawn)


def _refuse_changed(route: Route, slice: str, rung: Rung) -> None:
    """What was decided for one level and version is not done to another."""
    if (level_of(route, slice), version_of(route)) != (rung.level, rung.version):
        raise Conflict(f"route {route.epoch} by {route.actor} has changed the level or the version meanwhile")


def _moved(rung: Rung) -> str:
    return f"automation of {_named(rung.slice)} goes from {rung.level} to {rung.to}: {rung.reason}"


def _named(slice: str) -> str:
    return "everything" if slice == "*" else slice
