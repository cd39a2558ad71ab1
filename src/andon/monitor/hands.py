"""The hands of the alarms: what an alarm owes is done here, and only then settled.

Doing something twice does no harm: who hands over to people when people decide already changes nothing, and a rollback
takes back only what the alarm has measured. Once a rollback came after the window began that the alarm fired for, or
other versions answer than at its end, nothing is left to take back: so alarms that fire together, one that was not
settled, and one whose labels came late do not go back release by release. What a hand cannot do is said in the journal
and not tried for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from andon.core.clock import iso
from andon.core.record import Route
from andon.deploy.line import Line
from andon.errors import AndonError, Unavailable
from andon.monitor.alarm import AlarmAction
from andon.monitor.notify import Delivery, Notifier, notice_of

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.store.workspace import Workspace

__all__ = ["ACTOR", "Hands"]

ACTOR = "controller"
"""The actor of everything that is done because an alarm fired."""

Settle = Callable[[AlarmAction, str], None]


class Hands:
    """Does what alarms owe: tells people through ``notifier``, changes routes through what ``line`` makes."""

    def __init__(
        self, workspace: Workspace, charter: Charter, notifier: Notifier, line: Callable[[], Line] | None = None
    ) -> None:
        self._workspace = workspace
        self._project = charter.project
        self._window_us = charter.monitor.window_us
        self._notifier = notifier
        self._line = line or (lambda: Line(workspace, charter, patience=2.0))
        self._unwritten: list[Delivery] = []

    def do(self, actions: Iterable[AlarmAction], settle: Settle) -> list[str]:
        """Do each action and settle it; a sentence for each. Raises ``Unavailable``: what is left stays owed."""
        said = []
        for action in actions:
            detail = self._do(action)
            settle(action, detail)
            said.append(f"alarm {action.alarm.key} {action.what}: {detail or action.sentence}")
        return said

    def tell(self) -> None:
        """Send one waiting notice; what became of it is an event of the journal once it is final."""
        self.send()
        while self._unwritten:
            delivery = self._unwritten[0]
            told = "was told" if delivery.ok else f"could not be told: {delivery.detail}"
            reason = f"{delivery.target} {told}"
            self._workspace.journal.append("alarm.notified", delivery.alarm, ACTOR, reason, {"ok": delivery.ok})
            del self._unwritten[0]

    def send(self) -> None:
        """Send one waiting notice, also with the database gone; ``tell`` writes down later what became of it."""
        if self._notifier.waiting:
            self._unwritten += [one for one in self._notifier.flush(1) if one.ok or one.final]

    def _do(self, action: AlarmAction) -> str:
        if action.what in ("fired", "resolved"):
            if action.alarm.silenced_until_us > self._workspace.clock.now():
                return f"nobody was told: silenced by {action.alarm.silenced_by} until {iso(action.alarm.silenced_until_us)}"
            self._notifier.add(notice_of(action, self._project, self._workspace.clock.now()))
            return ""
        try:
            return self._to_people(action) if action.what == "people" else self._rollback(action)
        except Unavailable:
            raise
        except AndonError as error:
            return f"nothing was changed: {error.message}"

    def _to_people(self, action: AlarmAction) -> str:
        route = self._workspace.routes.current()
        if route is None or route.stopped or _people_decide(route):
            return "people decide everything already"
        self._line().to_people(actor=ACTOR, reason=action.sentence)
        return "people decide everything from now on"

    def _rollback(self, action: AlarmAction) -> str:
        now = self._workspace.routes.current()
        if now is None:
            return "nothing was changed: no route is in force"
        spared = "people decide everything already" if _people_decide(now) else self._over(action, now)
        if spared:
            return f"nothing was changed: {spared}"
        return self._line().rollback(actor=ACTOR, reason=action.sentence, of=now).sentence

    def _over(self, action: AlarmAction, now: Route) -> str:
        """Why what was measured does not answer any more; empty where it still does."""
        began = action.alarm.fired_us - self._window_us if action.alarm.cause_us is None else action.alarm.cause_us
        for route in self._workspace.routes.history():
            if route.time_us > began and route.action == "rollback":
                return f"route {route.epoch} by {route.actor} is a rollback since that window began"
            if route.time_us < began + self._window_us:
                same = (route.live, route.candidate) == (now.live, now.candidate)
                return "" if same else f"{_versions(now)} answers now, measured was {_versions(route)}"
        return "the window was over before the line began"


def _people_decide(route: Route) -> bool:
    return not {"assist", "partial", "full"} & set(route.levels.values())


def _versions(route: Route) -> str:
    return " and ".join(version for version in (route.live, route.candidate) if version) or "no model"
