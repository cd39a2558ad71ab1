"""The Journal page: who did what, when and why, newest first, with its evidence; and the proof that nobody edited it.

A page is found by the sequence at its edge, so that the last of a million events is as quick as the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

import msgspec

from andon.core.clock import DAY, iso
from andon.core.record import Event
from andon.core.registry import did_you_mean
from andon.errors import UsageError
from andon.store.journal import Verification, Wanted
from andon.surface.page import Command, Done, Empty, Page
from andon.surface.station import Known, State
from andon.surface.view.journal_words import ACTIONS, href_of, reason_of, state_of, told, units_of
from andon.surface.view.watch_span import Moment, moment, typed

if TYPE_CHECKING:
    from andon.store.journal import Journal
    from andon.surface.visit import Visit

__all__ = [
    "COMMANDS",
    "PAGES",
    "Entry",
    "Fact",
    "JournalParams",
    "JournalView",
    "Verified",
    "journal_view",
    "verified",
    "verify",
    "wanted",
]

EVENTS = 50
"""So many events are on a page."""

MACHINES = frozenset(("controller",))
"""Actors that are no person."""

Short = Annotated[str, msgspec.Meta(max_length=256)]
Edge = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]


class JournalParams(msgspec.Struct, frozen=True):
    """Which events: of one action (or of all that begin with a word, such as ``alarm``), by whom, about what, when.

    ``before`` and ``after`` are sequences: the page ends before the one, or begins behind the other (0: neither).
    """

    action: Annotated[
        str, msgspec.Meta(max_length=64, description="Such as deploy.stop, or alarm for all of them.")
    ] = ""
    actor: Short = ""
    subject: Short = ""
    since: Moment = ""
    until: Moment = ""
    before: Edge = 0
    after: Edge = 0


class Fact(msgspec.Struct, frozen=True):
    """One line of evidence for people; ``block`` says that it has lines of its own."""

    name: str
    text: str
    block: bool = False


class Entry(msgspec.Struct, frozen=True):
    """One event: the event itself, and what it says in words. ``reason`` is empty where the sentence has it already.

    ``wall_us`` is the machine's time. ``machine`` says that no person did it.
    """

    sequence: int
    time_us: int
    wall_us: int
    action: str
    subject: str
    actor: str
    machine: bool
    sentence: str
    reason: str
    href: str
    state: State | None
    evidence: dict[str, Any]
    hash: str
    previous: str

    @property
    def facts(self) -> tuple[Fact, ...]:
        """The evidence, line by line."""
        # A route's times and its sentence are those of the event.
        told = ("said", "time_us", "wall_us") if self.action.startswith("deploy.") else ()
        return tuple(_fact(name, value) for name, value in self.evidence.items() if name not in told)


class JournalView(msgspec.Struct, frozen=True):
    """Events, the newest first. ``newest`` is the sequence and ``head`` the hash of the newest event there is.

    ``older`` and ``newer`` are the addresses of the pages beside this one, where there are any. ``actions`` and
    ``actors`` are those that can be asked for, ``groups`` what the actions of the journal begin with; ``since`` and
    ``until`` are the times asked for, to the minute. ``trouble`` says why nothing could be read.
    """

    now_us: int
    entries: tuple[Entry, ...]
    newest: int
    head: str
    narrowed: bool
    older: str | None
    newer: str | None
    actions: tuple[str, ...]
    actors: tuple[str, ...]
    groups: tuple[str, ...]
    since: str
    until: str
    trouble: str | None = None


class Verified(Done, frozen=True, kw_only=True):
    """What came of the check: ``events`` fit one another from the sequence ``first`` on, found out in ``seconds``.

    ``bad`` is the first one that does not fit, and ``fault`` what was expected there and found.
    """

    sound: bool
    events: int
    first: int
    head: str
    seconds: float
    bad: int | None = None
    fault: str = ""


def journal_view(visit: Visit, params: JournalParams) -> JournalView:
    """A page of the journal. Raises ``UsageError`` for an action that there is not and for a time that is none."""
    journal, known = visit.project.workspace.journal, Known()
    kept = known.ask(journal.actions) or []
    names = (params.action, params.actor, params.subject)
    asked = _wanted(names, moment(params.since, "since"), moment(params.until, "until"), kept)
    found = (
        known.ask(
            lambda: journal.page(asked, before=params.before or None, after=params.after or None, limit=EVENTS + 1)
        )
        or []
    )
    more = len(found) > EVENTS
    # Read forwards, the one too many is the newest; backwards, the oldest.
    events = found[1:] if more and params.after else found[:EVENTS]
    head = known.ask(journal.head) or (0, "")
    forwards = params.after > 0
    return JournalView(
        now_us=visit.now_us,
        entries=tuple(_entry(event, units_of(visit)) for event in events),
        newest=head[0],
        head=head[1],
        narrowed=asked != Wanted(),
        older=_beside(params, "before", events, more or forwards),
        newer=_beside(params, "after", events, more if forwards else params.before > 0),
        actions=tuple(sorted({*kept, *ACTIONS})),
        actors=tuple(known.ask(journal.actors) or ()),
        groups=tuple(sorted({name.partition(".")[0] for name in kept})),
        since="" if asked.since_us is None else typed(asked.since_us),
        until="" if asked.until_us is None else typed(asked.until_us),
        trouble=known.trouble or None,
    )


def wanted(journal: Journal, names: tuple[str, str, str], since: str = "", until: str = "") -> Wanted:
    """Which events, from what somebody wrote: ``names`` are action, actor and subject, each empty for any.

    Raises ``UsageError`` with the closest names for an action that there is not, and for a time that is none.
    """
    return _wanted(names, moment(since, "since"), moment(until, "until"), journal.actions())


def _wanted(names: tuple[str, str, str], since: int | None, until: int | None, kept: Sequence[str]) -> Wanted:
    if since is not None and until is not None and until <= since:
        raise UsageError(f"since: expected a time before {iso(until)}, found {iso(since)}", field="since")
    action, actor, subject = names
    return Wanted(_actions(action, kept), actor or None, subject or None, since, until)


def _actions(asked: str, kept: Sequence[str]) -> tuple[str, ...] | None:
    """The actions that a word stands for; those of other releases are known when they are in the journal."""
    if not asked:
        return None
    names = sorted({*kept, *ACTIONS})
    group = tuple(name for name in names if name == asked or name.startswith(f"{asked.removesuffix('.*')}."))
    if not group:
        groups = {name.partition(".")[0] for name in names}
        raise UsageError(f"no action is called {asked!r}; {did_you_mean(asked, [*names, *groups])}", field="action")
    return tuple(name for name in group if name in kept)


def _beside(params: JournalParams, edge: str, events: Sequence[Event], there: bool) -> str | None:
    if not there or not events:
        return None
    given = {name: str(value) for name, value in msgspec.structs.asdict(params).items() if value not in ("", None)}
    given = {name: value for name, value in given.items() if name not in ("before", "after")}
    return "/journal?" + urlencode({**given, edge: str(events[-1 if edge == "before" else 0].sequence)})


def _entry(event: Event, units: Mapping[str, str]) -> Entry:
    return Entry(
        sequence=event.sequence,
        time_us=event.time_us,
        wall_us=event.wall_us,
        action=event.action,
        subject=event.subject,
        actor=event.actor,
        machine=event.actor in MACHINES,
        sentence=told(event, units),
        reason=reason_of(event),
        href=href_of(event),
        state=state_of(event),
        evidence=event.evidence,
        hash=event.hash,
        previous=event.previous,
    )


def _fact(name: str, value: Any) -> Fact:
    """Evidence as text: a time as a time, a few values in a row, what is nested as JSON on lines of its own.

    >>> _fact("time_us", 1_583_884_800_000_000), _fact("share", 0.05).text, _fact("live", None).text
    (Fact(name='time', text='2020-03-11 00:00:00 UTC', block=False), '0.05', 'none')
    >>> _fact("levels", {"*": "full"}).text, _fact("warm", ["v1", "v2"]).text, _fact("gates", [{"n": 1}]).block
    ('*: full', 'v1, v2', True)
    """
    if name.endswith("_us") and isinstance(value, int) and value > 1000 * DAY:  # shorter ones are durations
        return Fact(name.removesuffix("_us"), f"{iso(value)[:19].replace('T', ' ')} UTC")
    if isinstance(value, dict) and not any(isinstance(one, dict | list) for one in value.values()):
        text = ("\n" if len(str(value)) > 100 else ", ").join(f"{key}: {_plain(one)}" for key, one in value.items())
    elif isinstance(value, list) and not any(isinstance(one, dict | list) for one in value):
        text = ", ".join(map(_plain, value))
    elif isinstance(value, dict | list):
        text = msgspec.json.format(msgspec.json.encode(value), indent=1).decode()
    else:
        text = _plain(value)
    return Fact(name, text or "none", "\n" in text)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else "none" if value is None else msgspec.json.encode(value).decode()


# ------------------------------------------------------------------------------------------------------------- commands


def verify(visit: Visit, params: Empty) -> Verified:
    """Recompute the whole chain; about ten seconds for a million events. Raises ``Unavailable``."""
    found = visit.project.workspace.journal.check()
    return Verified(
        sentence=verified(found),
        sound=found.sound,
        events=found.events,
        first=found.first,
        head=found.head,
        seconds=found.seconds,
        bad=found.bad,
        fault=found.fault,
    )


def verified(found: Verification) -> str:
    """What came of a check, in one sentence.

    >>> verified(Verification(1234, 1, "ab" * 32, 0.02))
    'the journal is whole: 1,234 events, each follows the one before, checked in 0.02 s; head abababababababab'
    """
    if not found.sound:
        before = f"; the {found.events:,} before it are whole" if found.events else ""
        return f"the journal was changed: event {found.bad} does not fit the chain before it: {found.fault}{before}"
    if not found.events:
        return "the journal is empty"
    return (
        f"the journal is whole: {found.events:,} event{'' if found.events == 1 else 's'}, each follows the one before,"
        f" checked in {found.seconds:.2g} s; head {found.head[:16]}"
    )


COMMANDS = (
    Command(
        "journal.verify", "Verify the chain", Empty, verify, "read", result=Verified, template="journal_verified.html",
        back="/journal",
    ),
)  # fmt: skip

PAGES = (
    Page(
        "journal", "/journal", "Journal", "journal", journal_view, JournalParams, JournalView, "journal.html",
        live=("journal",),
    ),
)  # fmt: skip
