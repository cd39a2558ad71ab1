"""Holds every closed window against its alarm's bound, keeps the alarms' states, and gives out what is to be done.

Only windows that are over are judged, and those of late metrics only once their labels had time to come. A metric is
watched as a whole; a critical one on every slice too. What an alarm owes stays stored until ``settle``: a controller
that dies in between is given it again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from andon.errors import AndonError, Conflict, NotFound
from andon.measure.estimate import Estimate
from andon.measure.gate import Bound, GateResult, gate
from andon.monitor.alarm import Alarm, AlarmAction, Rule, Seen, acknowledge, alarm_key, settle, silence, step
from andon.monitor.threshold import Reference, alarm_alpha, judge, reference
from andon.monitor.window import Measured, is_late, series

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.store.workspace import Workspace

__all__ = ["KIND", "AlarmWatch", "Watched", "acknowledge_alarm", "alarms", "silence_alarm", "watched"]

#: The kind under which alarms are kept among the workspace's states.
KIND = "alarm"
#: An alarm that never judged a window begins with this many of the latest ones.
LOOK_BACK = 50
_TRIES = 20


@dataclass(frozen=True, slots=True)
class Watched:
    """One alarm of a charter: a metric by name, a slice ("" is everyone), its bound (None: the reference) and rule."""

    metric: str
    cohort: str
    bound: Bound | None
    rule: Rule


def watched(charter: Charter) -> list[Watched]:
    """Every alarm that a charter asks for."""
    return [
        Watched(
            name, cohort, spec.alarm if isinstance(spec.alarm, Bound) else None, Rule(spec.for_windows, 1, spec.then)
        )
        for name, spec in charter.metrics.items()
        if spec.alarm is not None
        for cohort in ("", *(charter.slices if spec.critical else ()))
    ]


def alarms(workspace: Workspace) -> dict[str, Alarm]:
    """Every alarm that ever judged a window, by key."""
    return workspace.states.list(KIND, Alarm)


def acknowledge_alarm(workspace: Workspace, key: str, actor: str, note: str = "") -> Alarm:
    """A person has seen it; kept in the journal. Raises ``NotFound``, or ``Conflict`` when it is not firing."""
    found = _change(workspace, key, lambda alarm: acknowledge(alarm, actor, workspace.clock.now(), note))
    workspace.journal.append("alarm.acknowledged", key, actor, note, {"episode": found.episode})
    return found


def silence_alarm(workspace: Workspace, key: str, actor: str, for_us: int, note: str = "") -> Alarm:
    """Send no notice of it for so long (event time; 0 ends the silence); kept in the journal.

    It is judged, shown and acts as ever. Raises ``NotFound``, or ``UsageError`` for too long a time.
    """
    now = workspace.clock.now()
    found = _change(workspace, key, lambda alarm: silence(alarm, actor, now, now + for_us))
    workspace.journal.append("alarm.silenced", key, actor, note, {"until_us": found.silenced_until_us})
    return found


class AlarmWatch:
    """The alarms of one charter over one workspace."""

    def __init__(self, workspace: Workspace, charter: Charter, plan: Measured | None = None) -> None:
        self._workspace = workspace
        self._charter = charter
        self._plan = plan or Measured.of(charter)
        self._watched = watched(charter)
        by_reference = sum(one.bound is None for one in self._watched)
        length = charter.monitor.window_us
        self._alpha = alarm_alpha(charter.alarms.false_per_month, length, by_reference)
        self._references: dict[tuple[str, str], Reference] = {}

    def look(self, closed_us: int | None = None) -> list[AlarmAction]:
        """Judge the windows that are over; returns all that is owed, decided now or earlier and not yet settled.

        ``closed_us`` is the event time up to which everything has been measured (now, if not given). May be called as
        often as one likes: a window counts once.
        """
        now = self._workspace.clock.now()
        closed = now if closed_us is None else min(closed_us, now)
        for _ in range(_TRIES):
            state = alarms(self._workspace)
            after, actions = step(state, list(self._seen(state, closed)), now)
            try:
                for key, alarm in after.items():
                    if alarm != state.get(key):
                        self._store(alarm, state.get(key))
            except Conflict:
                continue  # a person acknowledged one meanwhile: decide again on what is there now
            return actions
        raise Conflict("the alarms change faster than they can be judged; is another controller at work?")

    def settle(self, action: AlarmAction, detail: str = "") -> None:
        """It has been done (``detail``: how): write it into the journal and owe it no longer."""
        alarm = action.alarm
        evidence = {} if action.result is None else action.result.to_dict()
        told = action.result.sentence if action.result is not None else ""
        self._workspace.journal.append(
            f"alarm.{action.what}", alarm.key, "controller", f"{told}; {detail}" if detail else told, evidence
        )
        _change(self._workspace, alarm.key, lambda stored: settle(stored, action.what))

    def _seen(self, state: dict[str, Alarm], closed: int) -> Iterator[Seen]:
        for one in self._watched:
            alarm = state.get(alarm_key(one.metric, one.cohort))
            for start, estimate in self._windows(one, alarm, closed):
                yield Seen(self._judge(one, estimate), start, one.rule)

    def _windows(self, one: Watched, alarm: Alarm | None, closed: int) -> Sequence[tuple[int, Estimate]]:
        metric, spec = self._plan.metrics[one.metric], self._plan.window
        ripe = closed - (self._plan.delay_us if is_late(metric) else 0)
        # A window that starts at or before this one is over.
        last = spec.start(ripe) - spec.length_us
        judged = alarm.window_us if alarm is not None else None
        since = last - (LOOK_BACK - 1) * spec.length_us if judged is None else judged
        if since > last:
            return []
        return series(
            self._workspace, one.metric, metric, one.cohort, since_us=since, until_us=last + 1, length_us=spec.length_us
        )

    def _judge(self, one: Watched, estimate: Estimate) -> GateResult:
        if one.bound is not None:
            return gate(one.metric, estimate, one.bound, one.cohort, self._plan.metrics[one.metric].unit)
        return judge(one.metric, estimate, self._reference(one.metric), one.cohort)

    def _reference(self, metric: str) -> Reference:
        """What the training data of the release at work lead to expect."""
        route = self._workspace.routes.current()
        versions = () if route is None else (route.live, route.candidate, *route.shadows)
        version = next((name for name in versions if name is not None), None)
        if route is None or version is None:
            return Reference(0.0, 0.0, 0.0, 0, self._alpha, "no release is at work, so there is no reference")
        bundle = route.bundles[version]
        if (bundle, metric) not in self._references:
            from andon.model.bundle import load_profile

            try:
                profile = load_profile(self._workspace.home / "bundles" / bundle, bundle)
            except AndonError as error:  # not kept: it may be there the next time
                return Reference(0.0, 0.0, 0.0, 0, self._alpha, error.message)
            self._references[bundle, metric] = reference(profile.windows.get(metric, ()), self._alpha)
        return self._references[bundle, metric]

    def _store(self, alarm: Alarm, expected: Alarm | None) -> None:
        found = self._workspace.states.get(KIND, alarm.key, Alarm)
        if (found[0] if found else None) != expected:
            raise Conflict(f"alarm {alarm.key!r} has changed meanwhile")
        self._workspace.states.put(KIND, alarm.key, alarm, found[1] if found else 0)


def _change(workspace: Workspace, key: str, change: Callable[[Alarm], Alarm]) -> Alarm:
    for _ in range(_TRIES):
        found = workspace.states.get(KIND, key, Alarm)
        if found is None:
            raise NotFound(f"no alarm is called {key!r}; `andon alarms list` shows them")
        changed = change(found[0])
        try:
            workspace.states.put(KIND, key, changed, found[1])
        except Conflict:
            continue  # the controller judged a window meanwhile: change what is there now
        return changed
    raise Conflict(f"alarm {key!r} changes faster than it can be written; try again")
