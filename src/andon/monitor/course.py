"""The course of a rollout: what its looks saw, kept thinned, beside the transitions that the journal has anyway.

A transition is in the journal with all that it was decided from. Between two of them the controller looks every few
seconds and keeps the newest look only; of the others at most `MOST` are kept here, even over the rollout's time. They are
for people: nothing is decided from them, and whoever is killed while one is kept loses that one. They tell what the
controller saw *then*: a label that is corrected later, or a day of the log that is deleted, changes no past look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from andon.core.record import Event
from andon.deploy.rollout_record import Evidence, Rollout, Transition
from andon.errors import Conflict, Corrupt
from andon.monitor.race import Act, Drawn, Sight, Step, actor_of, bands, races, sighted, thinned, weights

if TYPE_CHECKING:
    from andon.store.workspace import Workspace

__all__ = ["COURSE", "LOOKED", "Course", "Told", "course_of", "keep", "newest_look", "told"]

LOOKED = "rollout-look"
"""The kind under which the evidence of the last look at each rollout is kept, for whoever shows it."""

COURSE = "rollout-course"
"""The kind under which the looks of each rollout are kept."""

#: So many events of one rollout are read at most.
_EVENTS = 200


class Course(msgspec.Struct, frozen=True):
    """The looks that are kept of one rollout, the oldest first."""

    sights: tuple[Sight, ...] = ()


class Told(msgspec.Struct, frozen=True):
    """What the journal has of a rollout: its transitions, the oldest first, and what was seen at them."""

    steps: tuple[Step, ...] = ()
    sights: tuple[Sight, ...] = ()


def keep(workspace: Workspace, rollout: Rollout, evidence: Evidence) -> None:
    """Keep a look where it is far enough from the last one that was kept. Raises ``Unavailable``."""
    new = sighted(rollout, evidence)
    if new is None:
        return
    found = workspace.states.get(COURSE, rollout.name, Course)
    course, revision = (Course(), 0) if found is None else found
    sights = thinned(course.sights, new)
    if sights is None:
        return
    try:
        workspace.states.put(COURSE, rollout.name, Course(sights), revision)
    except Conflict:
        return  # another controller leads, and keeps its own


def told(workspace: Workspace, name: str) -> Told:
    """The newest transitions of a rollout. Raises ``Unavailable``, ``Corrupt``."""
    events = workspace.journal.latest(_EVENTS, action="rollout.transition", subject=name)
    made = [_made(event) for event in reversed(events)]
    seen = [found for rollout, evidence, _ in made if (found := sighted(rollout, evidence)) is not None]
    return Told(tuple(step for *_, step in made), tuple(seen))


def _made(event: Event) -> tuple[Rollout, Evidence, Step]:
    """A transition as it was decided, and in short."""
    try:
        rollout = msgspec.convert(event.evidence["rollout"], Rollout)
        evidence = msgspec.convert(event.evidence["evidence"], Evidence)
        made = msgspec.convert(event.evidence["transition"], Transition)
        time_us = int(event.evidence["now_us"])
    except (KeyError, msgspec.ValidationError) as error:
        raise Corrupt(f"event {event.sequence} of the journal, {event.subject}: {error}") from error
    by, act = actor_of(made, evidence)
    step = Step(
        made.number,
        time_us,
        made.before,
        made.after,
        made.reason,
        made.sentence,
        made.do,
        made.share,
        by,
        act,
        event.sequence,
    )
    return rollout, evidence, step


def newest_look(workspace: Workspace, name: str) -> Evidence | None:
    """The evidence of the newest look at a rollout, or of its newest transition where that came later; None before any."""
    kept, last = workspace.states.get(LOOKED, name, Evidence), told_last(workspace, name)
    found = [one for one in (None if kept is None else kept[0], last) if one is not None]
    return max(found, key=lambda one: one.as_of_us, default=None)


def told_last(workspace: Workspace, name: str) -> Evidence | None:
    """The evidence of a rollout's newest transition."""
    events = workspace.journal.latest(1, action="rollout.transition", subject=name)
    return _made(events[0])[1] if events else None


def course_of(workspace: Workspace, rollout: Rollout) -> Drawn:
    """A rollout over time, as it is drawn. Raises ``Unavailable``, ``Corrupt``."""
    found = told(workspace, rollout.name)
    kept = workspace.states.get(COURSE, rollout.name, Course)
    looked = workspace.states.get(LOOKED, rollout.name, Evidence)
    last = None if looked is None else sighted(rollout, looked[0])
    sights = [*found.sights, *(kept[0].sights if kept is not None else ()), *([last] if last is not None else [])]
    until = _until(rollout, found, sights, workspace.clock.now())
    acts = [Act(rollout.began_us, rollout.plan.actor or "somebody", "begin")]
    acts += [Act(one.time_us, one.by, one.act) for one in found.steps if one.by]
    shown = weights(rollout, found.steps)
    return Drawn(
        since_us=min([rollout.began_us, *(one.time_us for one in shown[:1])]),
        until_us=until,
        weights=shown,
        bands=bands(rollout, found.steps, until),
        acts=tuple(acts),
        races=races(rollout, {one.time_us: one for one in sights}.values()),
        steps=found.steps[::-1],
        omitted=found.steps[0].number - 1 if found.steps else 0,
    )


def _until(rollout: Rollout, found: Told, sights: list[Sight], now_us: int) -> int:
    """Now; where it is over, a little after its end, so that the last state is seen."""
    if not rollout.ended:
        return max([now_us, *(one.time_us for one in sights)])
    end = max([rollout.since_us, *(one.time_us for one in found.steps[-1:])])
    return end + max(1, (end - rollout.began_us) // 10)
