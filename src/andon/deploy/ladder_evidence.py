"""What is known of each slice of automation, from the log, the journal and the routes: the facts that a rung is decided from.

Only answers since the slice's level, version, threshold or condition last changed count: what was measured before is
about something else. Nothing here changes anything, and no threshold is looked for: looks are written down where they are made
(``andon.monitor.climb``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from andon.core.clock import DAY, HOUR
from andon.core.record import Event, Level, Route
from andon.deploy.automation import Threshold
from andon.deploy.ladder import Facts, Rules, Rung, decide, next_up, rules_of
from andon.deploy.ladder_audit import all_of, answering, audit_of, drawn, sides, waiting
from andon.deploy.ladder_rows import NO_ROWS, Answers, work_of
from andon.deploy.ladder_stretch import Stretch, broken_us, level_of, slices_of, stretch, turns, version_of
from andon.deploy.learning import LIVE, Evidence, Learnt, due_at, learn_from
from andon.deploy.rollout_store import active
from andon.errors import Corrupt, NotFound, Unavailable
from andon.measure.audit import Audited
from andon.measure.estimate import Estimate
from andon.store.shape import unreadable

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.store.workspace import Workspace

__all__ = ["KEPT", "Consider", "Known", "Ladder", "Rungs", "kept", "last_look", "looks_of", "rungs"]

Consider = Callable[[str, str, pl.DataFrame, str], None]
"""Given (version, slice, labelled cases, their source)."""

KEPT = "ladder"
"""The kind under which the rungs of the controller's last look are kept."""

_PACE_US = DAY
_LABELS_US = 7 * DAY
_AUTOMATIC: tuple[Level, ...] = ("partial", "full")
_NOBODY = Estimate(None, None, None, 0, "undefined", "no case was answered by both a person, blindly, and the model")


class Rungs(msgspec.Struct, frozen=True):
    """The rungs of all slices under the route ``epoch``, as of ``as_of_us`` (event time)."""

    rungs: tuple[Rung, ...]
    epoch: int
    as_of_us: int


class Known(msgspec.Struct, frozen=True):
    """What takes long to find out of a slice: the labelled cases of a version, and who errs less on the same ones."""

    labels: int = 0
    look_at: int = 0
    per_hour: float = 0.0
    human: Estimate | None = None
    model: Estimate | None = None


def kept(workspace: Workspace) -> Rungs | None:
    """The rungs of the controller's last look; None where there was none. Raises ``Unavailable``."""
    found = workspace.states.get(KEPT, "all", Rungs)
    return None if found is None else found[0]


def rungs(workspace: Workspace, charter: Charter) -> Rungs:
    """The rungs as of now, read anew. Raises ``Unavailable`` or ``Corrupt`` where something cannot be read."""
    return Ladder(workspace, charter).look()


def looks_of(workspace: Workspace, version: str, slice: str) -> list[Event]:
    """The looks for a threshold that were made, oldest first."""
    return workspace.journal.read(limit=10_000, action="automation.learn", subject=f"{version}/{slice}")


def last_look(workspace: Workspace, version: str, slice: str, since_us: int) -> Learnt | None:
    """What the last look since then found; None where there was none."""
    events = workspace.journal.latest(1, action="automation.learn", subject=f"{version}/{slice}")
    if not events or events[0].time_us < since_us:
        return None
    return msgspec.convert(events[0].evidence, Learnt)


@dataclass
class Ladder:
    """Looks at the slices of a line. Keeps what never changes (routes, what was read of the log) and, for a while, what takes long.

    ``facts`` are those that the last look decided from, by slice.
    """

    workspace: Workspace
    charter: Charter
    facts: dict[str, Facts] = field(default_factory=dict)
    _routes: dict[int, Route | None] = field(default_factory=dict)
    _unread: str = ""
    _known: dict[str, Known] = field(default_factory=dict)
    _known_of: tuple[object, ...] = ()

    def __post_init__(self) -> None:
        self._answers = Answers(self.workspace, self.charter.target.truth)

    @property
    def rules(self) -> Rules:
        """What the charter says."""
        return rules_of(self.charter)

    def routes(self) -> list[Route]:
        """All readable routes, newest first; while one is not, nothing rises by itself."""
        plane = self.workspace.routes
        current = plane.current()
        newest = 0 if current is None else current.epoch
        self._unread = ""
        for epoch in range(newest, 0, -1):
            if epoch in self._routes:
                continue
            try:
                self._routes[epoch] = plane.at(epoch)
            except NotFound:
                self._routes[epoch] = None
            except (Corrupt, Unavailable) as error:  # asked again: who lowered a level may stand there
                self._unread = f"route {epoch} cannot be read: {error.message}"
        return [route for epoch in range(newest, 0, -1) if (route := self._routes.get(epoch)) is not None]

    def look(self, consider: Consider | None = None, *, anew: bool = False) -> Rungs:
        """The rungs now; without a route there are none.

        ``anew`` reads what takes long, too; ``consider`` is then shown the labelled cases of each slice that may rise by
        them.
        """
        routes = self.routes()
        now = self.workspace.clock.now()
        if not routes:
            return Rungs((), 0, now)
        try:
            if anew or self.is_stale(routes[0]):
                self._known, self._known_of = self._find(routes, consider), _known_of(routes[0])
            facts = self._facts(routes, now, self._known)
        except pl.exceptions.PolarsError as error:
            raise unreadable("decisions", error) from error
        return self._decided(facts, routes[0].epoch, now)

    def _decided(self, facts: Sequence[Facts], epoch: int, now: int) -> Rungs:
        self.facts = {one.slice: one for one in facts}
        return Rungs(tuple(decide(self.rules, one) for one in facts), epoch, now)

    def is_stale(self, route: Route) -> bool:
        """Whether what takes long has to be read anew, because another version, level or slice is asked about."""
        return self._known_of != _known_of(route)

    def _find(self, routes: Sequence[Route], consider: Consider | None) -> dict[str, Known]:
        route = routes[0]
        version = version_of(route)
        since = self._young() - self.charter.target.delay_us
        errors = sides(self.workspace, self.charter, version, since) if version is not None else {}
        evidence = Evidence(self.workspace, self.charter, version) if version is not None else None
        found = {}
        for slice in slices_of(route):
            labels, per_hour, look_at = 0, 0.0, 0
            if version is not None and evidence is not None and level_of(route, slice) in ("shadow", "assist"):
                rows, source = self._cases(evidence, slice, routes)
                labels, per_hour = len(rows), _per_hour(rows, self.workspace.clock.now())
                look_at = self.due(version, slice, source)
                if consider is not None and next_up(self.rules.path, level_of(route, slice)) in ("assist", "partial"):
                    consider(version, slice, rows, source)
            human, model = errors.get(slice, (_NOBODY, _NOBODY))
            found[slice] = Known(labels, look_at, per_hour, human, model)
        return found

    def _cases(self, evidence: Evidence, slice: str, routes: Sequence[Route]) -> tuple[pl.DataFrame, str]:
        """The labelled cases that a threshold of this slice would be learnt from, and their source.

        After a breach only those since; where the machine may act on them, only those since the level last changed.
        """
        after = broken_us(routes, slice, version_of(routes[0]))
        rows, source = evidence.of(slice, routes[0].slices, after)
        if self.charter.automation.promote != "automatic":
            return rows, source
        one = stretch(routes, slice)
        rows = rows.filter(pl.col("time_us") > one.level_us) if source == LIVE and len(rows) else rows.clear()
        return rows, _since(one)

    # --------------------------------------------------------------------------------------------------- one by one

    def _facts(self, routes: Sequence[Route], now: int, known: Mapping[str, Known]) -> list[Facts]:
        route, version = routes[0], version_of(routes[0])
        stretches = {slice: self._stretch(routes, slice, now) for slice in slices_of(route)}
        day = max(now - _PACE_US, routes[-1].time_us)
        automatic = {name: one for name, one in stretches.items() if one.level in _AUTOMATIC}
        judged, came = self._answers.look(automatic, day)
        looks = {name: None if version is None else self._learnt(version, name, one) for name, one in stretches.items()}
        ahead = _left(self.rules.path, stretches, looks)
        work = work_of(came, stretches, day, now, self.charter.review.reviewers_per_hour, ahead)
        busy = self._busy(route)
        found = []
        for slice, one in stretches.items():
            slow = known.get(slice, Known())
            rows = judged.get(slice, NO_ROWS)
            audits = self._audits(one, rows, route)
            learnt = looks[slice]
            found.append(
                Facts(
                    slice=slice,
                    level=one.level,
                    version=version,
                    threshold=route.thresholds.get(f"{version}/{slice}") if one.level == "partial" else None,
                    coverage=None if work[slice].deferral is None else 1 - (work[slice].deferral or 0.0),
                    learnt=None if learnt is None else learnt.threshold,
                    source="" if learnt is None else learnt.source,
                    labels=slow.labels,
                    per_hour=_pace(rows, max(one.time_us, now - _LABELS_US), now) if rows.height else slow.per_hour,
                    capacity=work[slice],
                    human=slow.human,
                    model=slow.model,
                    rises=self._turns(slice) + one.windows if one.level == "partial" else 0,
                    cap=self.charter.automation.slices.get(slice),
                    look_at=slow.look_at,
                    lowered_by=one.lowered_by,
                    busy=busy,
                    fallback=self._fallback(one, rows, route, slice, audits.get("audit")),
                    **audits,
                )
            )
        return found

    def _learnt(self, version: str, slice: str, one: Stretch) -> Learnt | None:
        """The last look that still counts: young enough, after any breach and, where the machine acts, of this level."""
        if one.level not in ("shadow", "assist"):
            return None
        found = last_look(self.workspace, version, slice, self._young())
        if found is None or not self.counts(found, self.workspace.clock.now()):
            return None
        return None if self.charter.automation.promote == "automatic" and found.source != _since(one) else found

    def counts(self, look: Learnt, made_us: int) -> bool:
        """Whether a look made then still counts: in the last ``partial.evidence``, at nothing from before a breach."""
        broken = broken_us(self.routes(), look.slice, look.version)
        return made_us >= self._young() and (not broken or look.first_us > broken)

    def _young(self) -> int:
        return self.workspace.clock.now() - self.charter.automation.partial.evidence_us

    def due(self, version: str, slice: str, source: str) -> int:
        """At how many labels of this source the next look is due."""
        events = looks_of(self.workspace, version, slice)
        made = [msgspec.convert(event.evidence, Learnt) for event in events]
        look = len({one.made for one in made}) + 1
        # A look that is too old to count, or from before a breach, must not keep one from looking again.
        last = [
            one
            for event, one in zip(events, made, strict=True)
            if one.source == source and self.counts(one, event.time_us)
        ]
        return due_at(last[-1] if last else None, self.rules.max_error, self.rules.delta / (look * (look + 1)))

    def _turns(self, slice: str) -> int:
        return turns(self.routes(), slice, self.charter.automation.partial.evidence_us)

    def _stretch(self, routes: Sequence[Route], slice: str, now: int) -> Stretch:
        return stretch(routes, slice).within(
            now, self.charter.automation.partial.evidence_us, self.charter.target.delay_us
        )

    def _busy(self, route: Route) -> str:
        if self._unread:
            return self._unread
        if route.stopped:
            return "the line is stopped"
        if route.candidate is not None:
            return f"{route.candidate} is on its way to be live"
        rollout = active(self.workspace)
        return "" if rollout is None else f"the rollout {rollout.rollout.name} is on its way"

    def broken(self) -> Rungs:
        """The slices whose promise is broken, from the log and the routes alone: people decide them, whoever can be asked."""
        routes, now = self.routes(), self.workspace.clock.now()
        found = {slice: self._stretch(routes, slice, now) for slice in slices_of(routes[0])} if routes else {}
        automatic = {slice: one for slice, one in found.items() if one.level in _AUTOMATIC}
        if not automatic:
            return Rungs((), 0, now)
        try:
            judged, _ = self._answers.look(automatic, max(now - _PACE_US, routes[-1].time_us))
        except pl.exceptions.PolarsError as error:
            raise unreadable("decisions", error) from error
        version = version_of(routes[0])
        facts = [
            Facts(slice, one.level, version, **self._audits(one, judged.get(slice, NO_ROWS), routes[0]))
            for slice, one in automatic.items()
        ]
        decided = self._decided(facts, routes[0].epoch, now)
        return msgspec.structs.replace(decided, rungs=tuple(one for one in decided.rungs if one.kind == "demote"))

    def _audits(self, one: Stretch, rows: pl.DataFrame, route: Route) -> dict[str, Any]:
        """The audit of the automatic answers, and at level partial that of all answers."""
        if one.level not in _AUTOMATIC:
            return {}
        mine = drawn(rows, one, answering(route))
        shares = {route.epoch: route.audit_share for route in self.routes()}
        whole = all_of(rows, one, version_of(route), shares, self.rules) if one.level == "partial" else None
        # Truth that is there after ``target.delay`` has a quarter of a window more for people to get to it.
        partial, delay = self.charter.automation.partial, self.charter.target.delay_us
        late = waiting(mine, self.workspace.clock.now() - delay - partial.evidence_us // 4)
        return {"audit": audit_of(mine, self.rules), "drawn": mine.height, "overdue": late, "whole": whole}

    def _fallback(
        self, one: Stretch, rows: pl.DataFrame, route: Route, slice: str, audit: Audited | None
    ) -> Threshold | None:
        """After a breach at full a threshold from the stretch that shows it: what was before it is true no more.

        The model has not selected the audited cases, as far as they were drawn alike.
        """
        version = version_of(route)
        if one.level != "full" or audit is None or version is None or not audit.breached(self.rules.delta):
            return None
        told = drawn(rows, one, answering(route)).filter(pl.col("truth").is_not_null())
        shown = told[audit.since :].filter(pl.col("version") == version, pl.col("confidence").is_not_null())
        if not shown.height:
            return None
        alike = shown.filter(pl.col("chance") == shown["chance"].mode().max())
        events = looks_of(self.workspace, version, slice)
        look = len({msgspec.convert(event.evidence, Learnt).made for event in events}) + 1
        rules, only = self.rules, self.charter.automation.partial.only
        return learn_from(alike, rules.max_error, rules.delta / (look * (look + 1)), only)


def _since(one: Stretch) -> str:
    """The labels that count where the machine may act on them."""
    return f"{LIVE} since route {one.level_epoch}"


def _left(
    path: tuple[Level, ...], stretches: Mapping[str, Stretch], looks: Mapping[str, Learnt | None]
) -> dict[str, float]:
    """The share that each slice would leave to people at level partial, where a threshold is known for it."""
    return {
        name: 1 - look.threshold.coverage
        for name, look in looks.items()
        if look is not None and look.value is not None and "partial" in path and stretches[name].level not in _AUTOMATIC
    }


def _known_of(route: Route) -> tuple[object, ...]:
    """What the slow part depends on beside the log."""
    return version_of(route), tuple(route.slices.items()), tuple(route.levels.items())


def _pace(rows: pl.DataFrame, since: int, now: int) -> float:
    """How many judged answers an hour brings."""
    return rows.filter(pl.col("known_us") > since).height / (max(now - since, HOUR) / HOUR)


def _per_hour(rows: pl.DataFrame, now: int) -> float:
    """How many labelled cases an hour brings: those of the last week, or since the first of them."""
    if "time_us" not in rows.columns or not rows.height:
        return 0.0
    lately = rows["time_us"].cast(pl.Int64).filter(rows["time_us"] > now - _LABELS_US)
    first: Any = lately.min()
    return 0.0 if first is None else lately.len() / (max(now - first, HOUR) / HOUR)
