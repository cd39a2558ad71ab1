"""Says what the line itself does while a story runs: alarms that change and routes that nobody in the story made."""

from __future__ import annotations

from andon.demo.stage import Stage
from andon.deploy.chronicle import sentence
from andon.monitor.alarm import Alarm

__all__ = ["Watcher"]

_KINDS = {"firing": "stop", "resolved": "good", "pending": "look"}


class Watcher:
    """Looks at alarms and routes and says each change once. ``fallen`` is True once the line itself asked for people."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._phases: dict[str, tuple[str, int]] = {}
        self._since: set[str] = set()
        self._epoch = stage.project.workspace.routes.word()
        self.fallen = False

    def look(self, now: int) -> None:
        """Say what has changed since the last look."""
        self._alarms()
        self._routes()

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
            self._stage.say("people", f"by itself: {sentence(route)}", f"{route.actor}: {route.reason}")
            self.fallen = self.fallen or route.levels.get("*") in ("human", "shadow")
        self._epoch = word


def _of(alarm: Alarm) -> str:
    """What rang, or what the last window shows."""
    found = (alarm.cause or alarm.result) if alarm.active else alarm.result
    return alarm.key if found is None else f"{alarm.key}: {found.sentence}"
