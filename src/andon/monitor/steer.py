"""Steers the automatic rollout: looks every few seconds, decides purely, and makes each transition exactly once.

A transition is written down as pending with all it was decided from, then done to the line by the function that the
command line calls, then told in the journal, then the rollout is in its new state. Whoever is killed in between leaves
the pending one, which is taken up again: what the line has done already is seen by the line itself. Where a person was
quicker, it is dropped, and the next look sees what they did.

Without the database harm is acted on all the same, on the rollout as it was last known. What may have changed since and
stops it is files: who answers, and a person's freeze (``andon.deploy.frozen``).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from andon.core.clock import SECOND
from andon.core.record import Route
from andon.deploy.frozen import asked, refuse
from andon.deploy.line import Act, Line
from andon.deploy.rollout import record, step
from andon.deploy.rollout_record import CONTROLLER, HARM, Evidence, Rollout, Standing, Transition, Word
from andon.deploy.rollout_store import KIND, Kept, Pending, kept
from andon.deploy.standing import bundles_of
from andon.errors import AndonError, Conflict, Corrupt, NotFound, Unavailable, UsageError
from andon.monitor.bringing import Bringing
from andon.monitor.course import LOOKED, keep
from andon.monitor.notify import Notice, Notifier
from andon.monitor.proof import Proof
from andon.monitor.report import led_since
from andon.monitor.stands import standing

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.store.workspace import Workspace

__all__ = ["ACTOR", "Steer", "standing"]

ACTOR = CONTROLLER
"""The actor of everything that an automatic rollout does."""

_LOOK = 3.0  # seconds of wall time between two looks
_REST = 9.0  # after a look that took t seconds of processor time, rest for this many times t: at most a tenth of a core
_AGAIN = {True: 30.0, False: 300.0}  # seconds after an act that failed: one that takes something back, another one
_LONGEST = 300.0  # one that takes something back is tried again twice as late each time, up to this
_PATIENCE = 10.0  # seconds that the workers get to load what a way back needs; the lease, renewed every 3 s, lasts 15
_LEAST_US = 300 * SECOND  # of event time that a share is kept
_BACK = frozenset({"rollback", "unshadow", "people", "hold"})
_STEPS = 8  # transitions in one look


class Steer:
    """Takes every rollout that is on its way further. Made anew by each leader; it keeps nothing that matters.

    ``seconds`` of wall time pass at least between two looks, and more where a look costs much; 0 looks at every turn.
    ``faults`` are what stands in the way of a rollout now, by name. ``notifier`` is told what people must know of.
    ``term`` is the leader's: nothing is done once a later one leads (0: nobody is asked).
    """

    def __init__(
        self,
        workspace: Workspace,
        charter: Charter,
        *,
        line: Callable[[Callable[[Route], None]], Line] | None = None,
        seconds: float = _LOOK,
        notifier: Notifier | None = None,
        term: int = 0,
    ) -> None:
        self.faults: dict[str, str] = {}
        self._workspace = workspace
        self._project = charter.project
        self._notifier, self._term = notifier, term
        self._bringing = Bringing(workspace)
        self._proof = Proof(workspace, charter)
        self._line = line or (lambda only: Line(workspace, charter, patience=_PATIENCE, only=only))
        self._seconds = seconds
        self._due = 0.0
        self._last: dict[str, Rollout] = {}
        self._later: dict[str, float] = {}
        self._undone: dict[str, tuple[float, str]] = {}
        self._tries: dict[str, int] = {}
        self._warned: set[str] = set()

    def turn(self) -> list[str]:
        """Look if it is time; sentences about what was done. Raises ``Unavailable``: what is pending stays so."""
        began, worked = time.monotonic(), time.process_time()
        if began < self._due:
            return []
        self._due = began + self._seconds
        said: list[str] = []
        all_of = kept(self._workspace)
        going = [name for name, one in all_of.items() if not one.rollout.ended]
        by_name: tuple[dict[str, Any], ...] = (self._last, self._later, self._undone, self._tries, self.faults)
        for mine in by_name:
            for name in set(mine) - set(going):
                del mine[name]
        self._warned.clear()
        for name in going:
            if self._later.get(name, 0.0) > began:
                continue
            try:
                said += self._take(name, all_of, going)
            except Conflict:
                continue  # somebody asked something meanwhile: the next look reads it
            except (Corrupt, NotFound, UsageError) as error:
                said += self._cannot(name, f"cannot be judged: {error.message}")
        if going and self._seconds:
            self._due = max(self._due, time.monotonic() + _REST * (time.process_time() - worked))
        return said

    def without_database(self) -> list[str]:
        """Look at the rollouts as they were when the database was last there; harm takes them back, nothing else happens.

        Who answers, and the log, are files. What is done so is told by the route, and in the journal once it is back.
        """
        began, worked = time.monotonic(), time.process_time()
        if began < self._due or not self._last:
            return []
        self._due = began + self._seconds
        said: list[str] = []
        for name, rollout in list(self._last.items()):
            if self._later.get(name, 0.0) > began:
                continue
            try:
                said += self._harm(rollout)
            except Conflict:
                continue  # somebody changed who answers meanwhile: the next look sees it
            except AndonError as error:
                said += self._cannot(name, f"cannot be judged: {error.message}")
        if self._seconds:
            self._due = max(self._due, time.monotonic() + _REST * (time.process_time() - worked))
        return said

    def _cannot(self, name: str, why: str) -> list[str]:
        """What stands in the way of a rollout: said when it is new; looked at again in a while, the others meanwhile."""
        new = self.faults.get(name) != why
        self.faults[name] = why
        self._later[name] = time.monotonic() + _AGAIN[True]
        return [f"rollout {name} {why}"] if new else []

    def _harm(self, rollout: Rollout) -> list[str]:
        stand = standing(self._workspace, rollout)
        every_us = max(_LEAST_US, round(self._seconds * SECOND * self._workspace.clock.rate()))
        looked = self._proof.look(rollout, stand)
        self.faults.pop(rollout.name, None)
        word, hour = asked(self._workspace.routes, rollout, None), self._workspace.clock.now()
        known = msgspec.structs.replace(looked, standing=stand, every_us=every_us)
        if word is not None and word.what == "resume":
            rollout = msgspec.structs.replace(rollout, state=rollout.place, reason="")
        made = step(rollout, known, hour)
        if word is not None and word.what == "freeze":
            return self._asked_not_to(rollout, made, word)
        if made is None or made.reason != HARM or made.do not in _BACK:
            return []
        self._do(rollout, Pending(made, known, hour))
        del self._last[rollout.name]
        self._warn(rollout, "was acted on with the database gone", made.sentence)
        return [f"rollout {rollout.name}, with the database gone: {made.sentence}"]

    def _asked_not_to(self, rollout: Rollout, made: Transition | None, word: Word) -> list[str]:
        """A person froze it, which the database does not know yet: harm is told, to them, and nothing is done."""
        if made is None or made.reason != HARM or rollout.name in self._warned:
            return []
        said = f"{made.sentence.partition(';')[0]}; frozen by {word.actor}, so nothing was changed"
        self._warn(rollout, "shows harm, and nothing is done", said)
        return [f"rollout {rollout.name}, with the database gone: {said}"]

    def _warn(self, rollout: Rollout, what: str, said: str) -> None:
        """Tell whom alarms tell."""
        self._warned.add(rollout.name)
        if self._notifier is not None:
            title = f"{self._project}: rollout {rollout.name} {what}"
            now = self._workspace.clock.now()
            self._notifier.add(Notice(title, said, f"rollout/{rollout.name}", now, "harm", self._project))

    def _take(self, name: str, all_of: dict[str, Kept], going: list[str]) -> list[str]:
        """One rollout as far as it goes now."""
        said: list[str] = []
        known: Evidence | None = None
        for _ in range(_STEPS):
            found = self._workspace.states.get(KIND, name, Kept)
            assert found is not None
            now, revision = found
            if now.pending is not None:
                told, goes_on = self._finish(now, revision, now.pending)
                said += told
                if not goes_on:
                    break
                known = None
                continue
            self._last[name] = now.rollout
            stand = standing(self._workspace, now.rollout)
            if known is None:
                known = self._proof.look(now.rollout, stand)
            evidence = self._with(known, now, stand, name, going)
            hour = self._workspace.clock.now()
            made, waits = step(now.rollout, evidence, hour), name in self._undone
            if waits and made is not None and made.do and made.do not in _BACK:
                made = None  # it failed a moment ago: harm is looked for meanwhile, and taken back
            loads = self._bringing.first(now.rollout, made, evidence, self._only(evidence))
            if loads is not None:
                evidence, made = loads, step(now.rollout, loads, hour)
            if made is None:
                if not waits:
                    self.faults.pop(name, None)
                    self._forget(now, revision)
                self._workspace.states.put(LOOKED, name, evidence)
                keep(self._workspace, now.rollout, evidence)
                break
            pending = Pending(made, evidence, hour)
            try:
                self._workspace.states.put(KIND, name, msgspec.structs.replace(now, pending=pending), revision)
            except Conflict:
                break  # a person asked something, or another controller leads: look again
        return said

    def _with(self, known: Evidence, now: Kept, stand: Standing, name: str, going: list[str]) -> Evidence:
        """The evidence with what does not come from the log."""
        clock = self._workspace.clock
        place = going.index(name)
        if self._undone.get(name, (0.0, ""))[0] <= time.monotonic():
            self._undone.pop(name, None)
        unfit = ""
        if now.rollout.place in ("draft", "preflight"):
            try:
                bundles_of(self._workspace, now.rollout.plan.version)
            except Unavailable:
                raise
            except AndonError as error:
                unfit = error.message
        whole = msgspec.structs.replace(
            known,
            standing=stand,
            every_us=max(_LEAST_US, round(self._seconds * SECOND * clock.rate())),
            newer=going[place + 1] if place + 1 < len(going) else "",
            older=going[place - 1] if place else "",
            unfit=unfit,
            failed=now.failed or self._undone.get(now.rollout.name, (0.0, ""))[1],
            word=asked(self._workspace.routes, now.rollout, now.word),
        )
        return self._bringing.seen(now.rollout, whole)

    def _forget(self, now: Kept, revision: int) -> None:
        """A word that asks for nothing, and a failure that has been told, are not kept; the act is tried again."""
        if now.word is not None or now.failed:
            clean = msgspec.structs.replace(now, word=None, failed="")
            self._workspace.states.put(KIND, now.rollout.name, clean, revision)

    def _finish(self, now: Kept, revision: int, pending: Pending) -> tuple[list[str], bool]:
        """Do what a transition asks for, tell it, and be there; False where it has to be tried again later."""
        made, name = pending.transition, now.rollout.name
        try:
            self._do(now.rollout, pending)
        except AndonError as error:
            # With the database gone this raises as well, and the transition stays pending.
            said = self._give_up(now, revision, made, error)
            return said, isinstance(error, Conflict) or made.do not in _BACK
        self._last[name] = after = made.applied(now.rollout, pending.now_us)
        if made.do:
            self._undone.pop(name, None)
        if name not in self._undone:
            self._tries.pop(name, None)
            self.faults.pop(name, None)
        if self._tell(now.rollout, pending):
            self._alert(after)
        failed = now.failed if made.reason == "dependency" else ""
        word = None if now.word == pending.evidence.word else now.word  # one that came meanwhile is still to be heard
        self._workspace.states.put(KIND, name, Kept(after, word=word, failed=failed), revision)
        return [f"rollout {name} {made.after.replace('_', ' ')}: {made.sentence}"], True

    def _give_up(self, now: Kept, revision: int, made: Transition, error: AndonError) -> list[str]:
        name, quicker = now.rollout.name, isinstance(error, Conflict)
        failed = "" if quicker else error.message
        if failed and failed != now.failed:
            self._workspace.journal.append(
                "rollout.failed", name, ACTOR, failed, {"after": made.after, "do": made.do, "number": made.number}
            )
        self._workspace.states.put(KIND, name, msgspec.structs.replace(now, pending=None, failed=failed), revision)
        if quicker:
            return []
        said, tries = self._cannot(name, f"could not {made.do}: {failed}"), self._tries.get(name, 0)
        self._tries[name] = tries + 1
        until = time.monotonic() + min(_LONGEST, _AGAIN[made.do in _BACK] * 2.0**tries)
        if made.do in _BACK:
            self._later[name] = until
        else:
            del self._later[name]
            self._undone[name] = until, failed
        return said

    def _alert(self, now: Rollout) -> None:
        """Tell people of what is taken back, and of what is frozen until somebody decides, unless a person did it."""
        if now.state == "rolling_back" and now.reason != "superseded":
            self._warn(now, "is taken back", now.sentence)
        elif now.state == "frozen" and now.reason != "person":
            self._warn(now, "is frozen until a person decides", now.sentence)

    def _tell(self, rollout: Rollout, pending: Pending) -> bool:
        """One event for each transition, however often it is made; whether this one is new."""
        made, journal = pending.transition, self._workspace.journal
        for event in journal.latest(3, action="rollout.transition", subject=rollout.name):
            if event.evidence["transition"]["number"] == made.number:
                return False
        kept_of = record(rollout, pending.evidence, pending.now_us, made)
        journal.append("rollout.transition", rollout.name, ACTOR, made.sentence, kept_of)
        return True

    def _do(self, rollout: Rollout, pending: Pending) -> None:
        made, version = pending.transition, rollout.plan.version
        self._bringing.drop(rollout, made)
        route = self._workspace.routes.current()
        if not made.do or (route is not None and (_is_done(route, rollout, made) or self._was_done(route, pending))):
            return
        line = self._line(self._only(pending.evidence))
        said = made.sentence
        acts: dict[str, Callable[[], Act]] = {
            "shadow": lambda: line.shadow(version, actor=ACTOR, reason=said),
            "unshadow": lambda: line.unshadow(version, actor=ACTOR, reason=said),
            "canary": lambda: line.canary(version, made.share, actor=ACTOR, reason=said),
            "ramp": lambda: line.ramp(made.share, actor=ACTOR, reason=said),
            "switch": lambda: line.switch(version, actor=ACTOR, reason=said),
            "rollback": lambda: line.rollback(actor=ACTOR, reason=said, without=version),
            "hold": lambda: line.hold(actor=ACTOR, reason=said),
            "people": lambda: line.to_people(actor=ACTOR, reason=said),
        }
        acts[made.do]()

    def _only(self, evidence: Evidence) -> Callable[[Route], None]:
        """Refuses what was decided on ``evidence`` once somebody changed who answers, froze it, or leads, since."""

        def only(route: Route) -> None:
            refuse(self._workspace.routes, route, evidence.standing)
            if self._term and led_since(self._workspace.run_dir, self._term):
                raise Conflict("another controller leads by now")

        return only

    def _was_done(self, route: Route, pending: Pending) -> bool:
        """Whether it was done before whoever did it was killed, and somebody has undone it since: it is not done twice."""
        made = pending.transition
        for epoch in range(pending.evidence.standing.epoch + 1, route.epoch + 1):
            try:
                then = self._workspace.routes.at(epoch)
            except AndonError:
                continue
            if (then.actor, then.reason) == (ACTOR, made.sentence) and then.action not in ("warm", "cool"):
                return True
        return False


def _is_done(route: Route, rollout: Rollout, made: Transition) -> bool:
    """Whether the line is already as a transition would make it."""
    version = rollout.plan.version
    return {
        "shadow": version in route.shadows,
        "unshadow": version not in route.shadows,
        "canary": route.candidate == version and route.share == made.share,
        "ramp": route.candidate == version and route.share == made.share,
        "switch": route.live == version,
        "rollback": version not in (route.live, route.candidate),
        "hold": route.held,
        "people": not {"assist", "partial", "full"} & set(route.levels.values()),
    }[made.do]
