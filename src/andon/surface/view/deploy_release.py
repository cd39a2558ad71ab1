"""The releases that could answer, how each met its goals, and what may be done with it now.

What is possible is not listed anywhere: every action is tried on the route in force, without doing it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from andon.core.record import Route
from andon.deploy.chronicle import sentence
from andon.deploy.prospect import Prospects
from andon.errors import AndonError
from andon.surface.station import Known, State
from andon.surface.view.deploy_change import place_of

if TYPE_CHECKING:
    from andon.deploy.release import Release
    from andon.store.workspace import Workspace

__all__ = ["GateSaid", "Possible", "ReleaseRow", "possible", "releases_now"]

MOST = 20
_WORDS: dict[str, tuple[State, str]] = {
    "pass": ("good", "goals met"),
    "unsure": ("look", "not enough evidence"),
    "error": ("look", "could not be measured"),
    "fail": ("stop", "goals not met"),
}
_MET: dict[str, tuple[State, str]] = {**_WORDS, "pass": ("good", "met"), "fail": ("stop", "not met")}

_ROLES = {
    "live": ("live", "machine"),
    "candidate": ("candidate", "candidate"),
    "shadow": ("in the shadow", "plain"),
    "warm": ("kept loaded", "plain"),
    "": ("", "plain"),
}


class GateSaid(msgspec.Struct, frozen=True):
    """One goal held against the held-out rows; ``cohort`` is a slice, "" for everyone."""

    metric: str
    cohort: str
    state: State
    word: str
    sentence: str


class Possible(msgspec.Struct, frozen=True):
    """Something that may be done now: the command with its parameters, and what the route would then say.

    ``asks_share``: a share of the units has to be chosen, too.
    """

    command: str
    label: str
    params: dict[str, str]
    then: str
    asks_share: bool = False


class ReleaseRow(msgspec.Struct, frozen=True):
    """A release: where it comes from, how it met its goals, what it does now (``role``, "" for nothing).

    ``later`` are the goals that only live traffic can tell; ``shadowed`` says that it runs or ran in the shadow.
    """

    version: str
    run: str
    dataset: str
    time_us: int
    actor: str
    reason: str
    overridden: bool
    state: State
    word: str
    gates: tuple[GateSaid, ...]
    later: tuple[str, ...]
    role: str
    tone: str
    shadowed: bool
    actions: tuple[Possible, ...]


def releases_now(
    workspace: Workspace, prospects: Prospects, shadowed: set[str], known: Known
) -> tuple[tuple[ReleaseRow, ...], int]:
    """The newest releases and those that the route names, newest first, and how many others there are."""
    from andon.deploy.release import releases

    made = known.ask(lambda: releases(workspace)) or []
    route = prospects.now
    named = {route.live, route.candidate, *route.shadows, *route.warm}
    shown = [one for at, one in enumerate(made) if at >= len(made) - MOST or one.version in named]
    return tuple(_row(one, prospects, shadowed) for one in reversed(shown)), len(made) - len(shown)


def possible(prospects: Prospects) -> tuple[Possible, ...]:
    """What may be done with the line itself."""
    route = prospects.now
    candidate = route.candidate or ""
    tried: list[tuple[str, str, bool, Callable[[], Route]]] = [
        ("deploy.ramp", f"Change the share of {candidate}", True, lambda: prospects.ramp(0.5)),
        ("deploy.hold", "Hold the share", False, prospects.hold),
        ("deploy.resume", "Let it go on", False, prospects.resume),
        ("deploy.switch", f"Make {candidate} live", False, prospects.switch),
        ("deploy.rollback", "Roll back", False, prospects.rollback),
    ]
    return tuple(
        msgspec.structs.replace(one, params={"version": candidate}) if one.command == "deploy.switch" else one
        for one in _tried(tried, {})
    )


def _row(one: Release, prospects: Prospects, shadowed: set[str]) -> ReleaseRow:
    state, word = _WORDS.get(one.verdict, ("look", one.verdict))
    role, tone = _ROLES[place_of(one.version, prospects.now)]
    return ReleaseRow(
        version=one.version,
        run=one.run,
        dataset=one.dataset,
        time_us=one.time_us,
        actor=one.actor,
        reason=one.reason,
        overridden=one.overridden,
        state=state if not one.overridden or state != "stop" else "look",
        word=word,
        gates=tuple(_gate(gate) for gate in one.gates),
        later=one.later,
        role=role,
        tone=tone,
        shadowed=one.version in shadowed,
        actions=_for(one.version, prospects),
    )


def _gate(gate: dict[str, Any]) -> GateSaid:
    state, word = _MET.get(str(gate.get("verdict")), ("look", "not judged"))
    return GateSaid(
        str(gate.get("metric", "")), str(gate.get("cohort", "")), state, word, str(gate.get("sentence", ""))
    )


def _for(version: str, prospects: Prospects) -> tuple[Possible, ...]:
    """What may be done with one release; the candidate's own steps are among the line's."""
    if version == prospects.now.candidate and prospects.now.share > 0:
        return ()
    return _tried(
        [
            ("deploy.shadow", "Shadow", False, lambda: prospects.shadow(version)),
            ("deploy.unshadow", "End the shadow", False, lambda: prospects.unshadow(version)),
            ("deploy.canary", "Canary", True, lambda: prospects.canary(version)),
            ("deploy.blue-green", "Stand by", False, lambda: prospects.blue_green(version)),
            ("deploy.switch", "Make live", False, lambda: prospects.switch(version)),
        ],
        {"version": version},
    )


def _tried(tried: list[tuple[str, str, bool, Callable[[], Route]]], params: dict[str, str]) -> tuple[Possible, ...]:
    """Those that are not refused."""
    found = []
    for command, label, asks_share, wish in tried:
        try:
            then = sentence(wish())
        except AndonError:
            continue
        found.append(Possible(command, label, params, then, asks_share))
    return tuple(found)
