"""Says what the line itself does while a story runs: alarms, routes that nobody in the story made, rollouts, suggestions."""

from __future__ import annotations

from andon.core.record import Route
from andon.demo.stage import Stage
from andon.deploy.chronicle import sentence
from andon.deploy.ladder import Rung
from andon.deploy.ladder_evidence import kept as rungs_of
from andon.deploy.rollout_record import Rollout
from andon.deploy.rollout_store import newest
from andon.monitor.alarm import Alarm

__all__ = ["Watcher"]

_KINDS = {"firing": "stop", "resolved": "good", "pending": "look"}
_ROLLOUTS = {"settled": "good", "rolled_back": "stop", "rejected": "stop", "frozen": "stop"}
#: Nothing is over yet, and nobody need look.
_PASSING = ("draft", "preflight", "rolling_back")


class Watcher:
    """Looks at alarms, routes, rollouts and degrees of automation, and says each change once.

    ``fallen`` is True once the line itself asked for people. ``suggested`` is what the line would have a person promote.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._phases: dict[str, tuple[str, int]] = {}
        self._since: set[str] = set()
        self._epoch = stage.project.workspace.routes.word()
        self._place: tuple[str, str, float] = ("", "", 0.0)
        self._reasons: set[str] = set()
        self._told: tuple[str, int] | None = None
        self.fallen = False
        self.suggested: Rung | None = None

    def look(self, now: int) -> None:
        """Say what has changed since the last look."""
        self._alarms()
        self._routes()
        self._rollout()
        self._rungs()

    def is_firing(self, key: str) -> bool:
        """Whether an alarm has been said to fire, and not to be resolved since."""
        return self._phases.get(key, ("", 0))[0] == "firing"

    def firing(self) -> set[str]:
        """The alarms that fired since the last route of the story's own, and fire still."""
        return {key for key in self._since if self.is_firing(key)}

    def forget_routes(self) -> None:
        """The story itself has just changed the route, and has said so."""
        self._epoch = self._stage.project.workspace.routes.word()
        self._since.clear()
        self.suggested = None

    def _alarms(self) -> None:
        for key, alarm in self._stage.project.workspace.states.list("alarm", Alarm).items():
            before, self._phases[key] = self._phases.get(key), (alarm.phase, alarm.episode)
            if before == (alarm.phase, alarm.episode) or alarm.phase not in ("firing", "resolved"):
                continue
            self._since.add(key)
            what = "ALARM" if alarm.phase == "firing" else "resolved:"
            self._stage.say(_KINDS[alarm.phase], f"{what} {_of(alarm)}", self._why(alarm))

    def _why(self, alarm: Alarm) -> str:
        return "" if alarm.window_us is None else f"window from {self._stage.when(alarm.window_us)}"

    def _routes(self) -> None:
        routes = self._stage.project.workspace.routes
        word = routes.word()
        for epoch in range(self._epoch + 1, word + 1):
            route = routes.at(epoch)
            self._stage.say(_colour(route), f"by itself: {sentence(route)}", f"{route.actor}: {route.reason}")
            self._reasons.add(route.reason)
            self.fallen = self.fallen or route.levels.get("*") in ("human", "shadow", "assist")
            self.suggested = None
        self._epoch = word

    def _rollout(self) -> None:
        """What a rollout does to the route is said there; here what it does else."""
        found = newest(self._stage.project.workspace)
        if found is None:
            return
        now = found.rollout
        before, self._place = self._place, (now.name, now.state, now.share)
        if now.reason == "no_data" or "no unit came lately" in now.sentence:
            return  # at night nobody comes
        if before != self._place and now.state not in _PASSING and now.sentence not in self._reasons:
            self._stage.say(_ROLLOUTS.get(now.state, "candidate"), f"rollout {now.name}: {_state(now)}", now.sentence)

    def _rungs(self) -> None:
        """What evidence suggests, once under each route."""
        found = rungs_of(self._stage.project.workspace)
        for rung in () if found is None or found.epoch != self._epoch else found.rungs:
            if (
                rung.kind == "promote"
                and rung.to == "partial"
                and self._told != (rung.slice, found.epoch if found else 0)
            ):
                self._told = (rung.slice, self._epoch)
                self.suggested = rung
                self._stage.say("machine", f"suggested: level of automation {rung.to}", rung.reason)


def _state(rollout: Rollout) -> str:
    return rollout.state.replace("_", " ") + (f" ({rollout.reason.replace('_', ' ')})" if rollout.reason else "")


def _colour(route: Route) -> str:
    if route.candidate is not None:
        return "candidate"
    return "people" if route.levels.get("*") in ("human", "shadow", "assist") else "machine"


def _of(alarm: Alarm) -> str:
    """What rang, or what the last window shows."""
    found = (alarm.cause or alarm.result) if alarm.active else alarm.result
    return alarm.key if found is None else f"{alarm.key}: {found.sentence}"
