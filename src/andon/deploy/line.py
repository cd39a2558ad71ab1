"""The line's actions: what the command line, the API and the controller all do when they change who answers.

Each action reads the route in force, decides the next one purely (``andon.deploy.transition``), has a new version
loaded by every worker first, publishes by compare-and-swap (whoever was second looks again), and writes the journal
last. So an action costs no request, works while no gateway runs, and works with the database gone: the route plane is
enough, and the journal follows.
"""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Literal

import msgspec

from andon.core.record import Route
from andon.deploy import transition
from andon.deploy.automation import parse_level
from andon.deploy.chronicle import reconcile, sentence
from andon.deploy.crew import Following, alive, wait_followed, wait_loaded
from andon.deploy.ladder_stretch import broken_us
from andon.deploy.learning import Learnt, learn
from andon.deploy.publish import publish
from andon.deploy.standing import bundles_of, first_route, predicates_of, route_before, rules
from andon.deploy.transition import Stamp
from andon.errors import Conflict, Corrupt, Unavailable
from andon.people.double import DEADLINES, Doubling
from andon.people.inbox import Inbox, ReviewPolicy

if TYPE_CHECKING:
    from andon.scope.charter import Charter
    from andon.store.workspace import Workspace

__all__ = ["Act", "Line", "doubling", "open_inbox", "reconcile", "user_name"]


class Act(msgspec.Struct, frozen=True):
    """What an action did: the route now in force, what it means, and what the person should know.

    ``journalled`` is False when the database was gone; ``following`` of ``workers`` live workers answer by the route.
    """

    route: Route
    sentence: str
    notes: tuple[str, ...] = ()
    journalled: bool = True
    following: int = 0
    workers: int = 0

    @property
    def epoch(self) -> int:
        """The epoch of the route."""
        return self.route.epoch


Change = Callable[[Route, Stamp], Route]


class Line:
    """The actions on one workspace's line, each with an actor (your user name if not given) and a reason.

    ``patience`` is how many seconds the workers get to load a version; ``only`` may refuse, by raising ``Conflict``, a
    route that one does not want to act on. Errors of all actions: ``UsageError`` when it
    makes no sense, ``NotFound`` for an unknown version, ``Conflict`` when somebody else has begun something,
    ``Unavailable`` when a worker cannot load the version, ``Corrupt`` when its bundle is damaged; then nothing has changed.
    """

    def __init__(
        self,
        workspace: Workspace,
        charter: Charter,
        *,
        patience: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
        only: Callable[[Route], None] | None = None,
    ) -> None:
        self._workspace = workspace
        self._charter = charter
        self._patience = patience
        self._sleep = sleep
        self._only = only

    def begin(self, *, actor: str | None = None, reason: str = "") -> Act | None:
        """Publish the first route, or take over what the charter says now; None when there is nothing to change."""
        current = self._workspace.routes.current()
        if current is None:
            return self._act(lambda route, stamp: route, actor, reason)
        said = rules(self._charter, current.slices)
        if all(getattr(current, name) == value for name, value in said.items()):
            return None
        why = reason or "the charter changed: " + ", ".join(n for n, v in said.items() if getattr(current, n) != v)
        return self._act(lambda r, s: transition.policy(r, s, **rules(self._charter, r.slices)), actor, why)

    def shadow(self, version: str, *, actor: str | None = None, reason: str = "") -> Act:
        """Let a version predict beside whoever answers, unseen."""
        bundles = bundles_of(self._workspace, version)
        return self._act(lambda r, s: transition.shadow(r, s, version, bundles), actor, reason)

    def unshadow(self, version: str, *, actor: str | None = None, reason: str = "") -> Act:
        """End a shadow."""
        return self._act(lambda r, s: transition.unshadow(r, s, version), actor, reason)

    def canary(self, version: str, share: float | None = None, *, actor: str | None = None, reason: str = "") -> Act:
        """Send a share of the units to a version; the charter's ``rollout.start_share`` when none is given."""
        part = self._charter.rollout.start_share if share is None else share
        return self._introduce(
            lambda r, s, b, t: transition.canary(r, s, version, part, bundles=b, thresholds=t), version, actor, reason
        )

    def blue_green(self, version: str, *, actor: str | None = None, reason: str = "") -> Act:
        """Load a version beside the live one, without traffic; ``switch`` then changes over at once."""
        return self._introduce(
            lambda r, s, b, t: transition.blue_green(r, s, version, bundles=b, thresholds=t), version, actor, reason
        )

    def ramp(self, share: float, *, actor: str | None = None, reason: str = "") -> Act:
        """Change the candidate's share of the units."""
        return self._act(lambda r, s: transition.ramp(r, s, share), actor, reason)

    def switch(self, version: str | None = None, *, actor: str | None = None, reason: str = "") -> Act:
        """Make the candidate, or the version named, live at once; the old one stays warm."""
        current = self._current(actor)
        target = version or current.candidate
        if target is None:
            return self._act(transition.switch, actor, reason)  # refuses, in its own words
        return self._introduce(
            lambda r, s, b, t: transition.switch(r, s, version, bundles=b, thresholds=t), target, actor, reason
        )

    def rollback(
        self, *, actor: str | None = None, reason: str = "", of: Route | None = None, without: str | None = None
    ) -> Act:
        """The answers of the last settled route again, at once; once more goes back further.

        What somebody took away since (a level, a shadow) stays away. With ``of`` only while the versions of that route
        are those that answer: ``Conflict`` when somebody changed them. With ``without`` as far back as that version
        answers nothing any more.
        """

        def change(route: Route, stamp: Stamp) -> Route:
            made = transition.rollback(route, stamp, route_before(self._workspace, route), of)
            while without is not None and without in (made.live, made.candidate):
                made = transition.rollback(made, stamp, route_before(self._workspace, made))
            return made

        trial = change(self._current(actor), self._stamp(actor, reason))
        for version in (trial.live, trial.candidate):
            if version is not None:
                self._load(version, {version: trial.bundles[version]}, actor, reason)
        return self._act(change, actor, reason)

    def automate(
        self,
        level: str,
        slice: str = "*",
        *,
        actor: str | None = None,
        reason: str = "",
        thresholds: Mapping[str, float] | None = None,
    ) -> Act:
        """Set the level of automation of a slice of the charter, or of everything that no slice matches.

        At level partial a threshold is looked for. With ``thresholds`` (by "version/slice") these are taken instead, and
        the slice is one that the route has: whoever lowers a level must not be stopped by a charter that changed since.
        """
        wanted, current = parse_level(level), self._current(actor)
        predicates = predicates_of(self._charter, slice) if thresholds is None or slice not in current.slices else None
        trial = transition.automate(current, self._stamp(actor, reason), wanted, slice, slices=predicates)
        named = [v for v in (trial.live, trial.candidate) if v is not None]
        for version in named:
            self._load(version, {version: trial.bundles[version]}, actor, reason)
        asked = named if wanted == "partial" and thresholds is None else []
        learnt = [self._learn(version, slice, trial.slices, actor) for version in asked]
        found = {f"{one.version}/{slice}": one.value for one in learnt if one.value is not None} | dict(
            thresholds or {}
        )
        return self._act(
            lambda r, s: transition.automate(r, s, wanted, slice, slices=predicates, thresholds=found),
            actor,
            reason,
            tuple(str(one) for one in learnt),
        )

    def to_people(self, *, actor: str | None = None, reason: str = "") -> Act:
        """Lower every slice that a model decides or advises in to level shadow, in one step.

        The model is asked on, unseen, so that it can be judged; a stopped line asks no model. No rollback undoes it.
        """
        return self._act(transition.to_people, actor, reason)

    def learn(self, version: str, slice: str = "*", *, actor: str | None = None) -> Learnt:
        """What ``version`` could decide by itself in a slice, by the evidence there is; nothing changes.

        It is written in the journal as a look: the more often one looks, the more evidence each look asks for.
        """
        current, predicates = self._current(actor), predicates_of(self._charter, slice) or {}
        bundles_of(self._workspace, version)
        named = {**predicates, **{n: t for n, t in current.slices.items() if n not in predicates}}
        tried = {name: text for name, text in named.items() if name in current.levels or name == slice}
        return self._learn(version, slice, tried, actor)

    def stop(
        self, mode: Literal["people", "safe_default"] = "people", *, actor: str | None = None, reason: str = ""
    ) -> Act:
        """Stop the line: every decision to people, or the safe default at once."""
        return self._act(lambda r, s: transition.stop(r, s, mode), actor, reason)

    def start(self, *, actor: str | None = None, reason: str = "") -> Act:
        """Let a stopped line go on as it was."""
        return self._act(transition.start, actor, reason)

    def hold(self, *, actor: str | None = None, reason: str = "") -> Act:
        """Keep the candidate's share as it is: no ramp, canary or switch until ``resume``; a rollback ends it, too."""
        return self._act(transition.hold, actor, reason)

    def resume(self, *, actor: str | None = None, reason: str = "") -> Act:
        """Let a held rollout go on."""
        return self._act(transition.resume, actor, reason)

    # ------------------------------------------------------------------------------------------- how it is done

    def _introduce(
        self,
        change: Callable[[Route, Stamp, Mapping[str, str], Mapping[str, float]], Route],
        version: str,
        actor: str | None,
        reason: str,
    ) -> Act:
        """An action that gives a version something to answer: check, load everywhere, learn thresholds, publish."""
        current, bundles = self._current(actor), bundles_of(self._workspace, version)
        change(current, self._stamp(actor, reason), bundles, {})
        self._load(version, bundles, actor, reason)
        found, notes = self._learn_all(version, current, actor)
        return self._act(lambda r, s: change(r, s, bundles, found), actor, reason, notes)

    def _act(self, change: Change, actor: str | None, reason: str, notes: tuple[str, ...] = ()) -> Act:
        route = self._publish(change, actor, reason)
        following, workers = self._followed(route)
        journalled = True
        try:
            reconcile(self._workspace)
        except (Unavailable, Corrupt) as error:
            journalled = False
            notes = (*notes, f"the route is in force, the journal follows: {error.message}")
        notes = (*notes, *self._faults(route))
        if following < workers:
            notes = (*notes, f"{following} of {workers} workers follow so far")
        return Act(route, sentence(route), notes, journalled, following, workers)

    def _publish(self, change: Change, actor: str | None, reason: str) -> Route:
        return publish(
            self._workspace.routes,
            lambda: self._current(actor),
            lambda route: change(route, self._stamp(actor, reason)),
            self._only,
        )

    def _current(self, actor: str | None) -> Route:
        """The route in force; the first one is published when there is none."""
        plane = self._workspace.routes
        while (current := plane.current()) is None:
            first = first_route(self._charter, self._stamp(actor, "the line begins as the charter says"))
            try:
                plane.publish(msgspec.structs.replace(first, epoch=plane.word() + 1))
            except Conflict:
                continue
        return current

    def _load(self, version: str, bundles: Mapping[str, str], actor: str | None, reason: str) -> None:
        """Have every live worker load a version before anything depends on it."""
        current, plane = self._current(actor), self._workspace.routes
        if version in (current.live, current.candidate, *current.warm):
            return
        if not alive(plane.acks()):
            self._look_at(bundles[version])
            return
        epoch = self._publish(lambda r, s: transition.warm(r, s, version, bundles), actor, reason).epoch
        try:
            wait_loaded(plane.acks, version, epoch, self._patience, self._sleep)
        except Unavailable:
            self._publish(lambda r, s: transition.cool(r, s, version), actor, f"{version} did not load")
            raise

    def _look_at(self, bundle: str) -> None:
        """With no worker there to load it: refuse at least a bundle that was damaged. Raises ``Corrupt``."""
        from andon.model.bundle import bundle_path, verify_bundle

        path = bundle_path(self._workspace.home, bundle)
        if path.exists():
            verify_bundle(path, bundle)

    def _followed(self, route: Route) -> Following:
        return wait_followed(self._workspace.routes.acks, route.epoch, 1.0, self._sleep)

    def _faults(self, route: Route) -> list[str]:
        """What the workers say is wrong with a route, each sentence once."""
        acks = alive(self._workspace.routes.acks())
        found = [fault for ack in acks if ack.epoch >= route.epoch for fault in ack.faults.values()]
        return list(dict.fromkeys(found))

    def _learn(self, version: str, slice: str, slices: Mapping[str, str], actor: str | None) -> Learnt:
        """Look at the evidence; the look is written down first of all, because each one costs some of the promise."""
        journal, subject = self._workspace.journal, f"{version}/{slice}"
        events = journal.read(limit=10_000, action="automation.learn", subject=subject)
        looks = [msgspec.convert(event.evidence, Learnt).made for event in events]
        after = broken_us(self._workspace.routes.history(), slice, version)
        learnt = learn(self._workspace, self._charter, version, slice, slices, looks, after)
        evidence = msgspec.to_builtins(learnt)
        journal.append("automation.learn", subject, actor or user_name(), str(learnt), evidence)
        return learnt

    def _learn_all(self, version: str, current: Route, actor: str | None) -> tuple[dict[str, float], tuple[str, ...]]:
        """Thresholds for a version that is about to answer where the level is partial, and what to say of them."""
        found: dict[str, float] = {}
        notes = []
        for slice, level in current.levels.items():
            if level != "partial" or f"{version}/{slice}" in current.thresholds:
                continue
            try:
                learnt = self._learn(version, slice, current.slices, actor)
            except (Unavailable, Corrupt) as error:
                notes.append(f"{version} decides nothing by itself yet, people do: {error.message}")
                continue
            notes.append(str(learnt))
            if learnt.value is not None:
                found[f"{version}/{slice}"] = learnt.value
        return found, tuple(notes)

    def _stamp(self, actor: str | None, reason: str) -> Stamp:
        clock = self._workspace.clock
        return Stamp(actor or user_name(), reason, clock.now(), clock.wall())


def user_name() -> str:
    """Who is at the keyboard, as the operating system knows them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "unknown"


def doubling(charter: Charter) -> Doubling:
    """How many cases a charter has another person look at."""
    review = charter.review
    return Doubling(review.double_share, DEADLINES * review.deadline_us, charter.automation.partial.blind)


def open_inbox(workspace: Workspace, charter: Charter) -> Inbox:
    """The review inbox of a workspace, with the charter's policy."""
    answers = tuple(dict.fromkeys((*charter.target.classes, charter.safe_default)))
    review = charter.review
    policy = ReviewPolicy(
        answers,
        charter.safe_default,
        review.on_timeout,
        review.deadline_us,
        undo_us=review.undo_us,
        doubling=doubling(charter),
    )
    return Inbox(workspace.items, workspace.outbox, workspace.clock, policy)
