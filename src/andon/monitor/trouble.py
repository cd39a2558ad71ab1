"""What stands in the way of the controller's duties: seen in the status at once, and told once when it lasts.

A duty that fails does not keep the others from being done; it is tried again later and later. What lasts for
``LASTING`` seconds is an event of the journal (``controller.failed``) and a notice to whom alarms tell, and one event more
when it is over (``controller.recovered``): once each, whatever fails how often, and whoever leads meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from andon.monitor.notify import Notice, Notifier
from andon.monitor.report import Trouble

if TYPE_CHECKING:
    from andon.store.workspace import Workspace

__all__ = ["DUTIES", "LASTING", "Troubles"]

LASTING = 30.0
"""Seconds for which a duty must fail before it is told."""

_CLEAR = 10.0  # seconds without a failure, after which it is over: a duty looks every few seconds
_LONGEST = 60.0  # a duty that fails is tried again after 1, 2, 4 ... seconds, up to this
_ACTOR = "controller"

DUTIES = {
    "log": "what the gateway writes is not taken in",
    "routes": "changes of the line are not written into the journal",
    "labels": "windows are not measured again with their labels",
    "review": "the deadlines of cases are not kept",
    "alarms": "alarms are not judged",
    "rollouts": "rollouts are not taken further",
    "automation": "the degrees of automation are not judged",
    "events": "decisions are not told to the receiver of events",
    "shed": "answers that are in no log are not told",
    "retention": "what is too old is not deleted",
}
"""Every duty of the controller, and what it means when it is not done."""


class _Failing:
    """A duty that fails: since when, the last time and why, how often, and whether the journal has it."""

    def __init__(self, now: float, wall_us: int) -> None:
        self.since, self.since_us = now, wall_us
        self.last, self.sentence = now, ""
        self.tries = 0
        self.again = now
        self.told = self.silent = False


class Troubles:
    """The troubles of one leader. ``clock`` counts seconds."""

    def __init__(
        self, workspace: Workspace, project: str, notifier: Notifier, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._workspace = workspace
        self._project = project
        self._notifier = notifier
        self._clock = clock
        self._failing: dict[str, _Failing] = {}
        self._left: set[str] | None = None
        self._until = 0.0

    @property
    def now(self) -> tuple[Trouble, ...]:
        """What fails now, in words."""
        return tuple(Trouble(duty, one.sentence, one.since_us) for duty, one in self._failing.items())

    def waits(self, duty: str) -> bool:
        """Whether a duty that failed is not tried again yet."""
        one = self._failing.get(duty)
        return one is not None and self._clock() < one.again

    def note(self, duty: str, why: str, *, again: bool = False, silent: bool = False) -> list[str]:
        """A duty failed; a sentence where that is new. With ``again`` it waits before it is tried again.

        ``silent`` only shows it: the duty itself has told it.
        """
        now, one = self._clock(), self._failing.get(duty)
        new = one is None
        if one is None:
            one = self._failing[duty] = _Failing(now, self._workspace.clock.wall())
        one.silent |= silent
        one.last, one.sentence = now, f"{DUTIES[duty]}: {why}"
        if again:
            one.again = now + min(_LONGEST, 2.0**one.tries)
            one.tries += 1
        return [one.sentence] if new else []

    def turn(self) -> list[str]:
        """Tell what lasts and what is over; sentences. Raises ``Unavailable``; call it again."""
        now = self._clock()
        said = []
        for duty in self._told_before():
            self._tell("controller.recovered", duty, f"{duty}: done again")
        for duty, one in list(self._failing.items()):
            if now >= max(one.last + _CLEAR, one.again + _CLEAR):
                if one.told:
                    self._tell("controller.recovered", duty, f"{duty}: done again")
                del self._failing[duty]
                said.append(f"{duty}: done again")
            elif not one.told and not one.silent and now - one.since >= LASTING:
                one.told = self._open(duty) or self._tell("controller.failed", duty, one.sentence)
        return said

    def _told_before(self) -> list[str]:
        """What an earlier leader told and this one has not met, once it has had the time to."""
        if self._left is None:
            self._left = {duty for duty in DUTIES if self._open(duty)}
            self._until = self._clock() + 2 * LASTING
        if not self._left or self._clock() < self._until:
            return []
        over = [duty for duty in sorted(self._left) if duty not in self._failing]
        self._left = set()
        return over

    def _open(self, duty: str) -> bool:
        """Whether the journal says that a duty fails, and not that this is over."""
        journal = self._workspace.journal
        failed = journal.latest(1, action="controller.failed", subject=duty)
        over = journal.latest(1, action="controller.recovered", subject=duty)
        return bool(failed) and (not over or over[0].sequence < failed[0].sequence)

    def _tell(self, action: str, duty: str, sentence: str) -> bool:
        self._workspace.journal.append(action, duty, _ACTOR, sentence, {})
        what = "cannot do all that it should" if action.endswith("failed") else "does all of it again"
        phase, now = action.rpartition(".")[2], self._workspace.clock.now()
        title = f"{self._project}: the controller {what}"
        self._notifier.add(Notice(title, sentence, f"controller/{duty}", now, phase, self._project))
        return True
